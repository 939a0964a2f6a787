"""Determinants."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from gradlite._typing import Array, Namespace
from gradlite.autograd import differentiable
from gradlite.ops.linalg._matrices import (
    adjoint,
    check_square,
    is_complex,
    scalars,
)

if TYPE_CHECKING:
    from gradlite.tensor import Tensor


@differentiable(floating=True)
def det(xp: Namespace, x: Array, /) -> Array:
    """Return the determinants of matrices.

    Parameters
    ----------
    x : Tensor
        Shape (..., M, M).

    Notes
    -----
    The determinant is a polynomial, so singular matrices have derivatives too, of any
    order. One of order k takes memory for ``M**k`` numbers.
    """
    check_square(x)
    return xp.linalg.det(x)


@det.vjp_of("x")
def _(xp: Namespace, g: Array, x: Array) -> Array:
    if not x.shape[-1]:
        return xp.zeros_like(x)
    # The library's error for one matrix with NaN would hide the others.
    finite = scalars(xp.all(xp.isfinite(x), axis=(-2, -1)))
    y = xp.linalg.cofactors([xp.where(finite, x, xp.zeros_like(x))])
    return scalars(g) * xp.bar(xp.where(finite, y, xp.full_like(y, math.nan)))


@differentiable
def cofactors(xp: Namespace, matrices: Sequence[Array], /) -> Array:
    """Return the cofactors of the first matrix, or their derivative along the others.

    Cofactors are the derivative of the determinant, `det(x) * inv(x).T`, at any rank;
    along k other matrices theirs is one of order k, in which these may be exchanged.
    """
    return xp.linalg.cofactors(matrices)


@cofactors.vjp_of("matrices")
def _(xp: Namespace, g: Array, matrices: Sequence[Array]) -> list[Array]:
    # The form is symmetric in all directions, and g takes the place of the open one.
    x, *directions = matrices
    g = xp.bar(g)
    other_directions = [
        [*directions[:i], g, *directions[i + 1 :]] for i in range(len(directions))
    ]
    return [
        xp.bar(xp.linalg.cofactors([x, *along]))
        for along in ([*directions, g], *other_directions)
    ]


class SlogdetResult(NamedTuple):
    """What `slogdet` returns."""

    sign: Tensor
    logabsdet: Tensor


@differentiable(floating=True, several=SlogdetResult)
def slogdet(xp: Namespace, x: Array, /) -> Sequence[Array]:
    """Return signs and logarithms of the determinants of matrices.

    Parameters
    ----------
    x : Tensor
        Shape (..., M, M).

    Returns
    -------
    SlogdetResult
        `sign`, a number of absolute value 1, or 0 for a singular matrix, and
        `logabsdet`, the logarithm of the absolute value; -inf with a derivative of NaN
        for a singular matrix.
    """
    check_square(x)
    return tuple(xp.linalg.slogdet(x))


@slogdet.vjp_of("x")
def _(xp: Namespace, g: list[Array | None], x: Array, out: Sequence[Array]) -> Array:
    sign, _ = out
    g_sign, factor = g
    if g_sign is not None and is_complex(xp, x):
        turn = xp.imag(xp.conj(sign) * g_sign) * 1j
        factor = turn if factor is None else factor + turn
    if factor is None:  # the sign of a real determinant is constant
        return xp.zeros_like(x)
    # The library's error for one singular matrix would hide the others.
    x = xp.where(scalars(sign == 0), xp.full_like(x, math.nan), x)
    return scalars(factor) * adjoint(xp, xp.linalg.inv(x))
