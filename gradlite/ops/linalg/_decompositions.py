"""Matrices as products of triangular, orthogonal and diagonal ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from gradlite._typing import Array, Namespace
from gradlite.autograd import differentiable
from gradlite.ops.linalg._matrices import (
    adjoint,
    check_square,
    columns,
    diagonal_matrix,
    half_lower,
    hermitian,
    inverse_gaps,
    is_complex,
)

if TYPE_CHECKING:
    from gradlite.tensor import Tensor


@differentiable(floating=True)
def cholesky(xp: Namespace, x: Array, /, *, upper: bool = False) -> Array:
    """Return triangular factors of symmetric or Hermitian positive definite matrices.

    Parameters
    ----------
    x : Tensor
        Shape (..., M, M), of which one triangle is read. The derivative is that among
        Hermitian matrices. On a CPU one that is not positive definite raises the
        library's error.
    upper : bool, default False
        Whether to return the upper factor U of `x = U^H U` and not the lower one of
        `x = L L^H`.
    """
    check_square(x)
    return xp.linalg.cholesky(x, upper=upper)


@cholesky.vjp_of("x")
def _(xp: Namespace, g: Array, out: Array, upper: bool) -> Array:
    # I. Murray, "Differentiation of the Cholesky decomposition", 2016, equation (10).
    if upper:
        g, out = adjoint(xp, g), adjoint(xp, out)
    h = adjoint(xp, out)
    d = xp.linalg.solve(h, half_lower(xp, h @ g))
    return hermitian(xp, xp.linalg.solve(h, adjoint(xp, d)))


class QRResult(NamedTuple):
    """What `qr` returns."""

    Q: Tensor
    R: Tensor


@differentiable(floating=True, several=QRResult)
def qr(
    xp: Namespace, x: Array, /, *, mode: Literal["reduced", "complete"] = "reduced"
) -> Sequence[Array]:
    """Return factors Q with orthonormal columns and upper triangular R of matrices.

    Parameters
    ----------
    x : Tensor
        Shape (..., M, N), whose first min(M, N) columns are linearly independent where
        a derivative is asked for.
    mode : {"reduced", "complete"}, default "reduced"
        Whether Q has min(M, N) or M columns. Those beyond N are arbitrary, so that a
        complete Q with M > N has no derivative.

    Returns
    -------
    QRResult
        `Q`, shape (..., M, K), and `R`, shape (..., K, N).
    """
    if mode not in ("reduced", "complete"):
        raise ValueError(f"mode must be 'reduced' or 'complete', got {mode!r}")
    return tuple(xp.linalg.qr(x, mode=mode))


@qr.vjp_of("x")
def _(xp: Namespace, g: list[Array | None], x: Array, out: Sequence[Array]) -> Array:
    # S. F. Walter and L. Lehmann, "Algorithmic differentiation of linear algebra
    # functions with application in optimum experimental design", 2010; a wide matrix
    # has further columns Q R2, which the cotangents of Q and R2 share.
    q, r = out
    gq, gr = g
    size, n = min(r.shape[-2:]), r.shape[-1]
    if q.shape[-1] > size:
        _check_unique("Q", q.shape[-1] - size, gq, "mode='reduced'")
        q, r = xp.linalg.qr(x)
    gr = xp.zeros_like(r) if gr is None else gr[..., :size, :]
    if n == size:
        return _thin_qr(xp, gq, gr, q, r)
    rest, g_rest = r[..., size:], gr[..., size:]
    shared = q @ rest @ adjoint(xp, g_rest)
    gq = shared if gq is None else gq + shared
    first = _thin_qr(xp, gq, gr[..., :size], q, r[..., :size])
    return xp.concat([first, q @ g_rest], axis=-1)


def _thin_qr(xp: Namespace, gq: Array | None, gr: Array, q: Array, r: Array) -> Array:
    inner = r @ adjoint(xp, gr)
    half = half_lower(xp, inner if gq is None else inner - adjoint(xp, gq) @ q)
    d = q @ (half + adjoint(xp, half))
    d = d if gq is None else gq + d
    return adjoint(xp, xp.linalg.solve(r, adjoint(xp, d)))


class SVDResult(NamedTuple):
    """What `svd` returns."""

    U: Tensor
    S: Tensor
    Vh: Tensor


@differentiable(floating=True, several=SVDResult)
def svd(xp: Namespace, x: Array, /, *, full_matrices: bool = True) -> Sequence[Array]:
    """Return the singular value decompositions `x = U @ diag(S) @ Vh` of matrices.

    Parameters
    ----------
    x : Tensor
        Shape (..., M, N).
    full_matrices : bool, default True
        Whether U and Vh are square. What they then have beyond K = min(M, N) columns
        and rows is arbitrary, so that such a matrix has no derivative.

    Returns
    -------
    SVDResult
        `U`, shape (..., M, M) or (..., M, K), `S` in descending order, (..., K), and
        `Vh`, (..., N, N) or (..., K, N).

    Notes
    -----
    The derivative of U and Vh is NaN where singular values are equal, without meaning
    where they are equal up to rounding, and NaN where they are 0 if `x` is not square.
    That of functions of singular values alone is right (`svdvals`). A pair of complex
    singular vectors is determined up to a factor of absolute value 1, which the library
    chooses: derivatives are meaningful for functions that do not depend on it.
    """
    return tuple(xp.linalg.svd(x, full_matrices=full_matrices))


@svd.vjp_of("x")
def _(xp: Namespace, g: list[Array | None], x: Array, out: Sequence[Array]) -> Array:
    # J. Townsend, "Differentiating the singular value decomposition", 2016; the phases
    # of complex vectors: Z.-Q. Wan and S.-X. Zhang, "Automatic differentiation for
    # complex valued SVD", 2019.
    u, s, vh = out
    gu, gs, gvh = g
    size = s.shape[-1]
    _check_unique("U", u.shape[-1] - size, gu, "full_matrices=False")
    _check_unique("Vh", vh.shape[-2] - size, gvh, "full_matrices=False")
    if max(u.shape[-1], vh.shape[-2]) > size:
        if gu is None and gvh is None:
            return _of_values(xp, gs, x)
        u, vh = u[..., :size], vh[..., :size, :]
    if gu is None and gvh is None:
        return (u * columns(gs)) @ vh
    gaps, v = inverse_gaps(xp, s * s), adjoint(xp, vh)
    core = xp.zeros_like(u[..., :size, :]) if gs is None else diagonal_matrix(xp, gs)
    d: Array = 0.0
    if gu is not None:
        inner = adjoint(xp, u) @ gu
        core = core + hermitian(xp, gaps * inner) * columns(2.0 * s)
        if is_complex(xp, u):
            core = core + diagonal_matrix(xp, _turns(xp, inner, s))
        if u.shape[-2] > size:
            d = d + ((gu - u @ inner) / columns(_nonzero(xp, s))) @ vh
    if gvh is not None:
        gv = adjoint(xp, gvh)
        inner = adjoint(xp, v) @ gv
        core = core + 2.0 * s[..., None] * hermitian(xp, gaps * inner)
        if v.shape[-2] > size:
            d = d + (u / columns(_nonzero(xp, s))) @ adjoint(xp, gv - v @ inner)
    return d + u @ core @ vh


def _check_unique(name: str, extra: int, g: Array | None, fix: str) -> None:
    """Refuse the cotangent of a factor that has arbitrary vectors."""
    if g is not None and extra:
        raise RuntimeError(
            f"{name} has no derivative, because its last {extra} vectors are "
            f"arbitrary; use {fix}"
        )


def _nonzero(xp: Namespace, s: Array) -> Array:
    return xp.where(s == 0, xp.full_like(s, math.nan), s)


def _turns(xp: Namespace, inner: Array, s: Array) -> Array:
    """Return what the phases of U contribute; those at a singular value 0 are free."""
    turns = xp.imag(xp.linalg.diagonal(inner)) * 1j
    zero = s == 0
    safe = xp.where(zero, xp.ones_like(s), s)
    return xp.where(zero, xp.zeros_like(turns), turns / safe)


@differentiable(floating=True)
def svdvals(xp: Namespace, x: Array, /) -> Array:
    """Return the singular values of matrices in descending order.

    Parameters
    ----------
    x : Tensor
        Shape (..., M, N); the result has (..., min(M, N)). The derivative shares out
        equal singular values as their singular vectors lie.
    """
    return xp.linalg.svdvals(x)


def _of_values(xp: Namespace, g: Array, x: Array) -> Array:
    u, _, vh = xp.linalg.svd(x, full_matrices=False)
    return (u * columns(g)) @ vh


svdvals.vjp(x=_of_values)
