"""gradlite, but every floating array comes into being as a computed tensor.

The official suite runs on this namespace too (see CONTRIBUTING): each operation is then
recorded, and each function of the main namespace is also differentiated, at every
shape, dtype and keyword that the suite draws. A gradient must have the shape and dtype
of what it belongs to.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import gradlite as gl
from gradlite import *  # noqa: F403
from gradlite import __array_api_version__ as __array_api_version__
from gradlite import __array_namespace_info__ as __array_namespace_info__
from gradlite import autograd

ENTRANCES = (
    "arange", "asarray", "empty", "empty_like", "eye", "from_dlpack", "full",
    "full_like", "linspace", "ones", "ones_like", "zeros", "zeros_like",
)  # fmt: skip


def _track(x: gl.Tensor) -> gl.Tensor:
    """Return a floating tensor as one that a graph has computed."""
    if x.requires_grad or not gl.isdtype(
        x.dtype, ("real floating", "complex floating")
    ):
        return x
    return gl.positive(x.requires_grad_())


def _entrance(function: Callable[..., gl.Tensor]) -> Callable[..., gl.Tensor]:
    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> gl.Tensor:
        return _track(function(*args, **options))

    return call


def _tensors(value: Any) -> Iterator[gl.Tensor]:
    """Yield the tensors with a gradient in arguments or results."""
    if isinstance(value, gl.Tensor):
        if value.requires_grad:
            yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


def _differentiated(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        result = function(*args, **options)
        inputs, outputs = list(_tensors([args, options])), list(_tensors(result))
        if not inputs or not outputs:
            return result
        ones = [gl.ones_like(y.detach()) for y in outputs]
        grads = autograd.grad(
            outputs, inputs, ones, retain_graph=True, allow_unused=True
        )
        for x, grad in zip(inputs, grads, strict=True):
            if grad is not None:
                assert (grad.shape, grad.dtype) == (x.shape, x.dtype)
        return result

    return call


_export = gl.Tensor.__dlpack__


@functools.wraps(_export)
def _dlpack(self: gl.Tensor, **options: Any) -> Any:
    """Export what is refused otherwise, so that the suite's test of it runs."""
    return _export(self.detach(), **options)


gl.Tensor.__dlpack__ = _dlpack  # type: ignore[method-assign]

for _name in gl.__all__:
    _value = getattr(gl, _name)
    if _name in ENTRANCES:
        globals()[_name] = _entrance(_value)
    elif callable(_value) and not isinstance(_value, type):
        globals()[_name] = _differentiated(_value)
