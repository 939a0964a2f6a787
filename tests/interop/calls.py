"""Calls into other people's libraries, and the checks that they are differentiated.

A table lists what works and what refuses. What works has the values of the same call on
NumPy arrays, its gradient is that of finite differences of that call, and nothing in
its result has left the graph. What refuses raises an error, at the latest where the
gradient is asked for: it never gives a wrong one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import gradlite as gl

PAGE = Path(__file__).parents[2] / "docs" / "interop.md"

Host = np.ndarray[Any, Any]
Reason = tuple[type[Exception], str]

# Why calls refuse: what is raised, and a text in its message.
TO_NUMPY: Reason = (TypeError, "does not become a NumPy array")
MIXED: Reason = (TypeError, "Multiple namespaces")
UFUNC: Reason = (TypeError, "does not support ufuncs")
NO_RULE: Reason = (NotImplementedError, "has no derivative with respect to")
A_NUMBER: Reason = (UserWarning, "makes a constant, through which no derivative flows")
CONSTANT: Reason = (RuntimeError, "the output does not require grad")
WRITTEN_OVER: Reason = (RuntimeError, "was changed in place before backward")


class Call(NamedTuple):
    """A call and its inputs; it is differentiated by those of double precision.

    The name starts with the function's; a comma and what else there is to say may
    follow. docs/interop.md has the names.
    """

    name: str
    function: Callable[..., Any]
    inputs: tuple[Host, ...]
    reason: Reason | None = None


def works(name: str, function: Callable[..., Any], *inputs: Host) -> Call:
    """Return a row for a call that is differentiated."""
    return Call(name, function, inputs)


def refuses(
    name: str, reason: Reason, function: Callable[..., Any], *inputs: Host
) -> Call:
    """Return a row for a call that raises."""
    return Call(name, function, inputs, reason)


def normal(*shape: int, seed: int = 0) -> Host:
    """Return normally distributed numbers, the same ones each time."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def positive(*shape: int, seed: int = 0) -> Host:
    """Return numbers from 0.5 to 2, the same ones each time."""
    return np.random.default_rng([seed, *shape]).uniform(0.5, 2.0, shape)


def rows(table: Sequence[Call]) -> pytest.MarkDecorator:
    """Return a table as the parameter `call` of a test."""
    names = [call.name for call in table]
    assert len(set(names)) == len(names), "each row has a name of its own"
    return pytest.mark.parametrize("call", table, ids=names)


def check(call: Call) -> None:
    """Compare a call on tensors with the same call on NumPy arrays."""
    gl.set_default_dtype(gl.float64)  # as SciPy and scikit-learn do
    if call.reason is None:
        _check_gradient(call)
        return
    error, text = call.reason
    call.function(*call.inputs)  # NumPy's arrays are not refused
    with pytest.raises(error, match=text):
        _differentiate(call)


def check_page(library: str, table: Iterable[Call]) -> None:
    """Compare the names in a test's table with those that the page has."""
    shown = {}
    lines = re.findall(r"(?m)^\| `(.+?)` \|(.*)\|(.*)\|$", PAGE.read_text("utf-8"))
    for part, *cells in lines:
        if f"{part}.".startswith(f"{library}."):
            shown[part] = [set(re.findall(r"`(.+?)`", cell)) for cell in cells]
    tested: dict[str, list[set[str]]] = {part: [set(), set()] for part in shown}
    for call in table:
        name = call.name.partition(",")[0]
        part = max((x for x in shown if name.startswith(f"{x}.")), key=len)
        tested[part][call.reason is not None].add(name.removeprefix(f"{part}."))
    assert shown == tested


def _on_tensors(call: Call) -> tuple[list[gl.Tensor], list[Any]]:
    """Return the leaves and the results of a call."""
    tensors = [gl.tensor(x, requires_grad=_is_varied(x)) for x in call.inputs]
    results = list(_arrays(call.function(*tensors)))
    return [x for x in tensors if x.requires_grad], results


def _differentiate(call: Call) -> None:
    leaves, results = _on_tensors(call)
    gl.autograd.grad([gl.sum(y) if _is_tensor(y) else y for y in results], leaves)


def _check_gradient(call: Call) -> None:
    leaves, found = _on_tensors(call)
    expected = list(_arrays(call.function(*call.inputs)))
    for array, value in zip(found, expected, strict=True):
        assert isinstance(array, gl.Tensor), f"the result is of {type(array)}"
        assert array.requires_grad, "the result has left the graph"
        np.testing.assert_allclose(array.detach().numpy(), value, 1e-9, 1e-11)

    weights = [_weight(value, i) for i, value in enumerate(expected)]
    grads = gl.autograd.grad(found, leaves, [gl.asarray(w) for w in weights])
    differences = _finite_differences(call, weights)
    for grad, difference in zip(grads, differences, strict=True):
        scale = max(1.0, float(np.max(np.abs(difference))))
        np.testing.assert_allclose(grad.numpy(), difference, 1e-6, 1e-6 * scale)
    assert any(np.any(np.abs(x) > 1e-4) for x in differences), "nothing is compared"


def _is_tensor(y: Any) -> bool:
    return isinstance(y, gl.Tensor)


def _is_varied(x: Host) -> bool:
    return x.dtype in {np.dtype("float64"), np.dtype("complex128")}


def _arrays(result: Any) -> Iterator[Any]:
    """Yield the arrays in nested tuples and lists."""
    if isinstance(result, tuple | list):
        for item in result:
            yield from _arrays(item)
    else:
        yield result


def _weight(value: Any, i: int) -> Host:
    """Return random weights for the elements of a call's result of number `i`."""
    weight: Any = normal(*np.shape(value), seed=100 + i)
    if np.iscomplexobj(value):
        weight = weight + 1j * normal(*np.shape(value), seed=200 + i)
    return np.asarray(weight)


def _finite_differences(call: Call, weights: Sequence[Host]) -> list[Host]:
    """Return the gradient of the weighted sum of a call's results on NumPy arrays."""

    def weighted_sum(inputs: Sequence[Host]) -> float:
        results = _arrays(call.function(*inputs))
        pairs = zip(weights, results, strict=True)
        return float(sum(np.sum(np.conj(w) * result).real for w, result in pairs))

    gradients = []
    inputs = list(call.inputs)
    for i, x in enumerate(call.inputs):
        if not _is_varied(x):
            continue
        gradient = np.zeros_like(x)
        for index in np.ndindex(x.shape):
            for unit in (1.0, 1.0j) if np.iscomplexobj(x) else (1.0,):
                values = []
                for step in (1e-5, -1e-5):
                    inputs[i] = x.copy()
                    inputs[i][index] += step * unit
                    values.append(weighted_sum(inputs))
                gradient[index] += unit * (values[0] - values[1]) / 2e-5
        inputs[i] = x
        gradients.append(gradient)
    return gradients
