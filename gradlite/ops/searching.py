"""Searching functions of the standard; indices are int64."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

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


@differentiable(several=True)
def nonzero(xp: Namespace, x: Array, /) -> Sequence[Array]:
    """Return the indices of the elements that are not zero, in one tensor per axis."""
    if not x.ndim:
        raise ValueError("x must have at least one axis, got a tensor of shape ()")
    return tuple(xp.nonzero(x))


@differentiable(promote=("x1", "x2"))
def searchsorted(
    xp: Namespace,
    x1: Array,
    x2: Array | Scalar,
    /,
    sorter: Array | None = None,
    *,
    side: Literal["left", "right"] = "left",
) -> Array:
    """Return where in `x1` the elements of `x2` would have to be inserted.

    Parameters
    ----------
    x1 : Tensor
        1-D, sorted in ascending order.
    x2 : Tensor or float
        Of any shape, which is that of the result.
    sorter : Tensor, optional
        The integers that sort `x1`, if it is not sorted.
    side : {"left", "right"}, default "left"
        Whether to insert before or after elements that are equal.
    """
    if side not in ("left", "right"):
        raise ValueError(f"side must be 'left' or 'right', got {side!r}")
    if x1.ndim != 1:
        raise ValueError(
            f"x1 must have one axis, got a tensor of shape {tuple(x1.shape)}"
        )
    return xp.searchsorted(x1, element(xp, x2, x1), side=side, sorter=sorter)


def element(xp: Namespace, value: Array | Scalar, like: Array) -> Array:
    """Return a Python scalar as an array like another one, arrays as they are."""
    if isinstance(value, bool | int | float | complex):
        return xp.full((), value, dtype=like.dtype, device=xp.device(like))
    return value


@differentiable(promote=("x1", "x2"))
def where(
    xp: Namespace, condition: Array, x1: Array | Scalar, x2: Array | Scalar, /
) -> Array:
    """Return `x1` where `condition` is true and `x2` elsewhere.

    The derivative of the branch that was not taken is 0 times whatever it is, so NaN
    where that is NaN: replace the operand first, then choose.
    """
    if not xp.isdtype(condition.dtype, "bool"):
        raise TypeError(
            f"condition must be boolean, got dtype {condition.dtype}; write "
            "condition != 0"
        )
    return xp.where(condition, x1, x2)


where.vjp(
    x1=lambda xp, g, condition: xp.where(condition, g, xp.zeros_like(g)),
    x2=lambda xp, g, condition: xp.where(condition, xp.zeros_like(g), g),
)
