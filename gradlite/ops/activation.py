"""Activations and normalized exponentials, which the standard lacks."""

from __future__ import annotations

import math

from gradlite._typing import Array, Axis, Namespace
from gradlite.autograd import differentiable
from gradlite.ops.statistical import in_wide, reduced_axes, spread, total


@differentiable
def relu(xp: Namespace, x: Array, /) -> Array:
    """Return `max(x, 0)`; its derivative is 0 at 0, and 1 at NaN as in PyTorch."""
    return xp.maximum(x, xp.zeros_like(x))


relu.vjp(x=lambda xp, g, out: xp.where(out <= 0, xp.zeros_like(g), g))


@differentiable(floating=True)
def sigmoid(xp: Namespace, x: Array, /) -> Array:
    """Return `1 / (1 + exp(-x))`, without overflow, and exact far to the left too.

    The derivative is computed from the result: it is 0 where that rounds to 1.
    """
    if xp.isdtype(x.dtype, "complex floating"):
        return 0.5 + 0.5 * xp.tanh(0.5 * x)
    # Two exponentials are faster than a choice between the formulas for both signs.
    return xp.exp(xp.minimum(x, xp.zeros_like(x))) / (1.0 + xp.exp(-xp.abs(x)))


sigmoid.vjp(x=lambda xp, g, out: g * xp.bar(out * (1.0 - out)))


def _top(xp: Namespace, x: Array, axis: Axis) -> Array | float:
    """Return what is subtracted so that exp does not overflow: the largest element."""
    if not math.prod(x.shape):
        return 0.0
    top = xp.max(x, axis=axis, keepdims=True)
    return xp.where(xp.isfinite(top), top, xp.zeros_like(top))


@differentiable(floating=True)
def softmax(xp: Namespace, x: Array, /, *, axis: Axis = -1) -> Array:
    """Return `exp(x) / sum(exp(x))` along `axis`."""

    def compute(x: Array) -> Array:
        y = xp.exp(x - _top(xp, x, axis))
        return y / xp.sum(y, axis=axis, keepdims=True)

    return in_wide(xp, compute, x)


softmax.vjp(
    x=lambda xp, g, out, axis: out * (g - total(xp, g * out, axis, keepdims=True))
)


def _log_of_sum(xp: Namespace, x: Array, axis: Axis) -> Array:
    """Return `log(sum(exp(x)))`, where exp does not overflow, keeping the axes."""
    if not math.prod(x.shape):  # NumPy warns of log(0)
        return xp.sum(x, axis=axis, keepdims=True) - math.inf
    return xp.log(xp.sum(xp.exp(x), axis=axis, keepdims=True))


@differentiable(floating=True)
def log_softmax(xp: Namespace, x: Array, /, *, axis: Axis = -1) -> Array:
    """Return `x - log(sum(exp(x)))` along `axis`."""

    def compute(x: Array) -> Array:
        y = x - _top(xp, x, axis)
        return y - _log_of_sum(xp, y, axis)

    return in_wide(xp, compute, x)


log_softmax.vjp(
    x=lambda xp, g, out, axis: g - xp.exp(out) * total(xp, g, axis, keepdims=True)
)


@differentiable(floating=True)
def logsumexp(
    xp: Namespace, x: Array, /, *, axis: Axis = None, keepdims: bool = False
) -> Array:
    """Return `log(sum(exp(x)))` over `axis`, without overflow; -inf of nothing."""

    def compute(x: Array) -> Array:
        top = _top(xp, x, axis)
        return _log_of_sum(xp, x - top, axis) + top

    y = in_wide(xp, compute, x)
    return y if keepdims else xp.squeeze(y, reduced_axes(x.ndim, axis))


@logsumexp.vjp_of("x")
def _(xp: Namespace, g: Array, x: Array, out: Array, axis: Axis) -> Array:
    out = spread(xp, out, x.shape, axis)
    out = xp.where(out == -math.inf, xp.zeros_like(out), out)
    return spread(xp, g, x.shape, axis) * xp.exp(x - out)
