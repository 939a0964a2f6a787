"""Searching functions of the standard; indices are int64."""

from __future__ import annotations

from gradlite._typing import Array, Namespace, Scalar
from gradlite.autograd import differentiable


@differentiable
def argmax(
    xp: Namespace, x: Array, /, *, axis: int | None = None, keepdims: bool = False
) -> Array:
    """Return the index of the first largest element along `axis`, flat by default."""
    return xp.argmax(x, axis=axis, keepdims=keepdims)


@differentiable
def argmin(
    xp: Namespace, x: Array, /, *, axis: int | None = None, keepdims: bool = False
) -> Array:
    """Return the index of the first smallest element along `axis`, flat by default."""
    return xp.argmin(x, axis=axis, keepdims=keepdims)


@differentiable
def count_nonzero(
    xp: Namespace,
    x: Array,
    /,
    *,
    axis: int | tuple[int, ...] | None = None,
    keepdims: bool = False,
) -> Array:
    """Return how many elements along `axis` are not zero."""
    return xp.count_nonzero(x, axis=axis, keepdims=keepdims)


@differentiable(promote=("x1", "x2"))
def where(
    xp: Namespace, condition: Array, x1: Array | Scalar, x2: Array | Scalar, /
) -> Array:
    """Return `x1` where `condition` is true and `x2` elsewhere.

    The derivative of the branch that was not taken is 0 times whatever it is, so NaN
    where that is NaN: replace the operand first, then choose.
    """
    return xp.where(condition, x1, x2)


where.vjp(
    x1=lambda xp, g, condition: xp.where(condition, g, xp.zeros_like(g)),
    x2=lambda xp, g, condition: xp.where(condition, xp.zeros_like(g), g),
)
