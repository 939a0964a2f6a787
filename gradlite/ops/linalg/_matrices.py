"""What the rules of several chapters do with matrices."""

from __future__ import annotations

import math

from gradlite._typing import Array, Namespace, Shape


def check_square(x: Array, name: str = "x") -> None:
    """Refuse an operand whose last two axes are no square matrices."""
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise ValueError(
            f"{name} must hold square matrices in its last two axes, got shape "
            f"{tuple(x.shape)}"
        )


def is_complex(xp: Namespace, x: Array) -> bool:
    """Return whether an array is complex."""
    return xp.isdtype(x.dtype, "complex floating")  # type: ignore[no-any-return]


def adjoint(xp: Namespace, x: Array) -> Array:
    """Return the conjugate transpose of matrices."""
    return xp.bar(xp.matrix_transpose(x))


def hermitian(xp: Namespace, x: Array) -> Array:
    """Return the Hermitian part of matrices."""
    return 0.5 * (x + adjoint(xp, x))


def half_lower(xp: Namespace, x: Array) -> Array:
    """Return the lower triangle of matrices with half of their diagonal."""
    return 0.5 * (xp.tril(x) + xp.tril(x, k=-1))


def columns(x: Array) -> Array:
    """Return vectors as factors of the columns of matrices."""
    return x[..., None, :]


def scalars(x: Array) -> Array:
    """Return numbers as factors of matrices."""
    return x[..., None, None]


def on_diagonal(xp: Namespace, v: Array, shape: Shape, offset: int = 0) -> Array:
    """Return zeros of `shape` with the vectors `v` on a diagonal of the matrices."""
    *batch, m, n = shape
    zeros = xp.new_zeros(v, (*batch, m * n))
    if math.prod(v.shape):  # in memory the elements of a diagonal are n + 1 apart
        start = offset if offset >= 0 else -offset * n
        stop = start + (v.shape[-1] - 1) * (n + 1) + 1
        zeros = xp.setitem(zeros, v, key=(..., slice(start, stop, n + 1)))
    return xp.reshape(zeros, tuple(shape))


def diagonal_matrix(xp: Namespace, v: Array) -> Array:
    """Return square matrices with the vectors `v` on their diagonals."""
    return on_diagonal(xp, v, (*v.shape, v.shape[-1]))


def inverse_gaps(xp: Namespace, w: Array) -> Array:
    """Return 1 / (w_j - w_i), and 0 on the diagonal.

    NaN where two numbers are equal: single vectors that belong to them are not
    defined, and neither is their derivative.
    """
    identity = diagonal_matrix(xp, xp.ones_like(w))
    gaps = columns(w) - w[..., :, None] + identity
    equal = gaps == 0
    inverse = (1.0 - identity) / xp.where(equal, xp.ones_like(gaps), gaps)
    return xp.where(equal, xp.full_like(gaps, math.nan), inverse)
