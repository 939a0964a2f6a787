"""Utility functions of the standard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradlite._arguments import integer
from gradlite._typing import Array, Axis, Namespace
from gradlite.autograd import differentiable
from gradlite.ops.elementwise import subtract
from gradlite.ops.indexing import getitem
from gradlite.ops.manipulation import concat

if TYPE_CHECKING:
    from gradlite.tensor import Tensor


@differentiable
def all(
    xp: Namespace, x: Array, /, *, axis: Axis = None, keepdims: bool = False
) -> Array:
    """Return whether all elements along `axis` are true, or not zero."""
    return xp.all(x, axis=axis, keepdims=keepdims)


@differentiable
def any(
    xp: Namespace, x: Array, /, *, axis: Axis = None, keepdims: bool = False
) -> Array:
    """Return whether any element along `axis` is true, or not zero."""
    return xp.any(x, axis=axis, keepdims=keepdims)


def diff(
    x: Tensor,
    /,
    *,
    axis: int = -1,
    n: int = 1,
    prepend: Tensor | None = None,
    append: Tensor | None = None,
) -> Tensor:
    """Return the differences of neighbors along `axis`, taken `n` times.

    Parameters
    ----------
    x : Tensor
        Of at least one axis.
    axis : int, default -1
        Along which to take differences.
    n : int, default 1
        How often; the axis becomes shorter by one each time.
    prepend, append : Tensor, optional
        What is joined to `x` along `axis` first, before and after it.
    """
    count = integer("n", n, 0)
    y = concat([part for part in (prepend, x, append) if part is not None], axis=axis)
    before = (slice(None),) * (axis % y.ndim)
    for _ in range(count):
        after = getitem(y, key=(*before, slice(1, None), ...))
        y = subtract(after, getitem(y, key=(*before, slice(None, -1), ...)))
    return y
