"""Norms of vectors and matrices."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np

from gradlite._typing import Array, Axis, Namespace
from gradlite.autograd import differentiable
from gradlite.ops.linalg._decompositions import svdvals
from gradlite.ops.manipulation import expand_dims
from gradlite.ops.statistical import in_wide, spread, total

if TYPE_CHECKING:
    from gradlite.tensor import Tensor


@differentiable(floating=True)
def vector_norm(
    xp: Namespace,
    x: Array,
    /,
    *,
    axis: Axis = None,
    keepdims: bool = False,
    ord: float = 2,
) -> Array:
    """Return the norms of vectors, `sum(abs(x)**ord)**(1/ord)`.

    Parameters
    ----------
    x : Tensor
        Of any shape.
    axis : int or tuple of int, optional
        Axes whose elements make one vector; all of them by default.
    keepdims : bool, default False
        Keep these axes with size 1.
    ord : int or float, default 2
        Any number: 0 counts the elements that are not 0, `inf` and `-inf` give the
        largest and the smallest absolute value.

    Notes
    -----
    Where there is no derivative, a subgradient stands: 0 for the Euclidean norm of
    zeros, 0 for an element that is 0, and equal shares among the largest elements.
    Second derivatives go through it: that of the square of a norm of zeros is 0, where
    `vecdot(x, x)` has the right one.
    """
    if not isinstance(ord, int | float):
        raise TypeError(
            f"ord must be a number, got {ord!r}; matrix_norm has 'fro' and 'nuc'"
        )

    def compute(x: Array) -> Array:
        return xp.linalg.vector_norm(x, axis=axis, keepdims=keepdims, ord=ord)

    return in_wide(xp, compute, x)


@vector_norm.vjp_of("x")
def _(xp: Namespace, g: Array, x: Array, out: Array, axis: Axis, ord: float) -> Array:
    if ord == 0:
        return xp.zeros_like(x)
    g, out = spread(xp, g, x.shape, axis), spread(xp, out, x.shape, axis)
    if ord == 1:
        return g * xp.sign(x)
    if math.isinf(ord):
        return g * xp.sign(x) * _shares(xp, xp.abs(x), out, axis)
    zero = out == 0
    ratio = xp.where(zero, xp.zeros_like(x), x) / xp.where(zero, xp.ones_like(out), out)
    return g * ratio if ord == 2 else g * ratio * _power(xp, ratio, ord - 2)


def _shares(xp: Namespace, x: Array, out: Array, axis: Axis) -> Array:
    """Return 1 at the element that was taken, parts of it where several are equal."""
    hit = xp.logical_or(x == out, xp.isnan(x))
    hits = xp.where(hit, xp.ones_like(x), xp.zeros_like(x))
    return hits / total(xp, hits, axis, keepdims=True)


def _power(xp: Namespace, x: Array, exponent: float) -> Array:
    """Return `abs(x)**exponent`, a function of squares so that it is smooth at 0.

    An even exponent makes it a polynomial; any other one has a bend at 0, or a pole.
    """
    square = xp.real(x * xp.bar(x))
    half = exponent / 2
    if half >= 0 and half == int(half):
        return square ** int(half)
    zero = square == 0
    safe = xp.where(zero, xp.ones_like(square), square)
    return xp.where(zero, xp.zeros_like(square), safe**half)


def matrix_norm(
    x: Tensor,
    /,
    *,
    keepdims: bool = False,
    ord: float | Literal["fro", "nuc"] | None = "fro",
) -> Tensor:
    """Return the norms of matrices.

    Parameters
    ----------
    x : Tensor
        Shape (..., M, N).
    keepdims : bool, default False
        Keep the last two axes with size 1.
    ord : {"fro", "nuc", 1, -1, 2, -2, inf, -inf}, default "fro"
        Frobenius norm; sum of the singular values; largest or smallest sum of absolute
        values of a column (1); singular value (2); sum of absolute values of a row
        (inf).

    Notes
    -----
    Subgradients are those of `vector_norm`, of the elements or the singular values. The
    second derivative of "nuc", 2 and -2 is NaN where singular values are equal.
    """
    if not isinstance(ord, str | int | float | np.number | None):
        raise TypeError(
            f"ord must be a number, 'fro' or 'nuc', got {ord!r}; of a tensor or array "
            "take .item()"
        )
    if ord is None or ord == "fro":
        return vector_norm(x, axis=(-2, -1), keepdims=keepdims)
    if ord in ("nuc", 2, -2):
        of_values = {"nuc": 1, 2: math.inf, -2: -math.inf}[ord]
        y = vector_norm(svdvals(x), axis=-1, keepdims=keepdims, ord=of_values)
        return expand_dims(y, axis=-1) if keepdims else y
    if ord in (1, -1, math.inf, -math.inf):
        summed = -2 if abs(ord) == 1 else -1
        y = vector_norm(x, axis=summed, keepdims=True, ord=1)
        of_sums = math.copysign(math.inf, ord)
        return vector_norm(y, axis=(-2, -1), keepdims=keepdims, ord=of_sums)
    raise ValueError(
        f"ord must be 'fro', 'nuc', 1, -1, 2, -2, inf or -inf, got {ord!r}"
    )
