"""Diagonals of matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradlite._typing import Array, DType, Namespace
from gradlite.autograd import differentiable
from gradlite.ops.linalg._matrices import on_diagonal
from gradlite.ops.statistical import sum

if TYPE_CHECKING:
    from gradlite.tensor import Tensor


@differentiable(view="read-only")
def diagonal(xp: Namespace, x: Array, /, *, offset: int = 0) -> Array:
    """Return the diagonals of matrices; as a view where the library has them.

    Parameters
    ----------
    x : Tensor
        Shape (..., M, N).
    offset : int, default 0
        Which diagonal: above the main one if positive, below it if negative.
    """
    if x.ndim < 2:
        raise ValueError(f"x must have at least two axes, got shape {tuple(x.shape)}")
    return xp.linalg.diagonal(x, offset=offset)


diagonal.vjp(
    x=lambda xp, g, like, offset: on_diagonal(xp, g, tuple(like.shape), offset)
)


def trace(x: Tensor, /, *, offset: int = 0, dtype: DType = None) -> Tensor:
    """Return the sums of the diagonals of matrices.

    Parameters
    ----------
    x : Tensor
        Shape (..., M, N).
    offset : int, default 0
        Which diagonal: above the main one if positive, below it if negative.
    dtype : dtype, optional
        Type of the accumulator and of the result, as in `sum`.
    """
    return sum(diagonal(x, offset=offset), axis=-1, dtype=dtype)
