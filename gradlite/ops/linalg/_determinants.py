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
    columns,
    diagonal_matrix,
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
    The determinant is a polynomial, so singular matrices have derivatives too. They
    are right there up to the second; higher ones need singular values that differ.
    """
    check_square(x)
    return xp.linalg.det(x)


@det.vjp_of("x")
def _(xp: Namespace, g: Array, x: Array) -> Array:
    if not x.shape[-1]:
        return xp.zeros_like(x)
    # The library's error for one matrix with NaN would hide the others.
    finite = scalars(xp.all(xp.isfinite(x), axis=(-2, -1)))
    y = xp.linalg.cofactors(xp.where(finite, x, xp.zeros_like(x)))
    return scalars(g) * xp.bar(xp.where(finite, y, xp.full_like(y, math.nan)))


@differentiable
def cofactors(xp: Namespace, x: Array, /) -> Array:
    """Return the derivatives of the determinants, `det(x) * inv(x).T`, at any rank."""
    return xp.linalg.cofactors(x)


@cofactors.vjp_of("x")
def _(xp: Namespace, g: Array, x: Array) -> Array:
    # Far from singular matrices the inverse serves any order, near them the singular
    # values do; each way gets a harmless matrix where the other one is taken.
    s = xp.linalg.svdvals(x)
    singular = scalars(s[..., -1] <= math.sqrt(xp.finfo(s.dtype).eps) * s[..., 0])
    ones = xp.ones_like(s)
    different = 0.5 + xp.cumulative_sum(ones, axis=-1) / s.shape[-1]
    regular = xp.where(singular, diagonal_matrix(xp, ones), x)
    other = xp.where(singular, x, diagonal_matrix(xp, different))
    return xp.where(singular, _near_singular(xp, g, other), _far(xp, g, regular))


def _far(xp: Namespace, g: Array, x: Array) -> Array:
    p = adjoint(xp, xp.linalg.inv(x))
    sums = scalars(xp.sum(g * p, axis=(-2, -1)))
    y = sums * p - p @ xp.matrix_transpose(g) @ p
    return scalars(xp.bar(xp.linalg.det(x))) * y


def _near_singular(xp: Namespace, g: Array, x: Array) -> Array:
    # Cofactors of U B V are det(U) det(V) conj(U) C(B) conj(V). At a diagonal B the
    # derivatives of C are products of singular values without those of a pair.
    u, s, vh = xp.linalg.svd(x, full_matrices=False)
    phase = xp.bar(xp.linalg.det(u) * xp.linalg.det(vh))
    identity = diagonal_matrix(xp, xp.ones_like(s))
    left_out = identity[..., :, None, :] + identity[..., None, :, :]
    factors = s[..., None, None, :]
    others = xp.prod(xp.where(left_out > 0, xp.ones_like(factors), factors), axis=-1)
    others = (1.0 - identity) * others
    h = xp.matrix_transpose(u) @ g @ xp.matrix_transpose(vh)
    sums = xp.sum(others * columns(xp.linalg.diagonal(h)), axis=-1)
    core = diagonal_matrix(xp, sums) - others * xp.matrix_transpose(h)
    return scalars(phase) * (u @ core @ vh)


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
