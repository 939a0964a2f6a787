"""Eigenvalues and eigenvectors.

Eigenvectors are determined up to a factor of absolute value 1, which the library
chooses: derivatives are meaningful for functions that do not depend on it. Where
eigenvalues are equal, single eigenvectors are arbitrary and their derivative is NaN;
where they are equal up to rounding, it is a number without meaning.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from gradlite._typing import Array, Namespace
from gradlite.autograd import differentiable
from gradlite.ops.linalg._matrices import (
    adjoint,
    check_square,
    columns,
    diagonal_matrix,
    hermitian,
    inverse_gaps,
)

if TYPE_CHECKING:
    from gradlite.tensor import Tensor


class EighResult(NamedTuple):
    """What `eigh` returns."""

    eigenvalues: Tensor
    eigenvectors: Tensor


@differentiable(floating=True, several=EighResult)
def eigh(xp: Namespace, x: Array, /) -> Sequence[Array]:
    """Return eigenvalues and eigenvectors of symmetric or Hermitian matrices.

    Parameters
    ----------
    x : Tensor
        Shape (..., M, M), of which one triangle is read. The derivative is that among
        Hermitian matrices.

    Returns
    -------
    EighResult
        The real `eigenvalues` in ascending order, shape (..., M), and orthonormal
        `eigenvectors` in the columns of (..., M, M). The derivative of the latter is
        NaN where eigenvalues are equal, and without meaning where they are equal up to
        rounding.
    """
    check_square(x)
    return tuple(xp.linalg.eigh(x))


@eigh.vjp_of("x")
def _(xp: Namespace, g: list[Array | None], out: Sequence[Array]) -> Array:
    # M. B. Giles, "Collected matrix derivative results for forward and reverse mode
    # algorithmic differentiation", 2008, section 3.1.
    w, v = out
    gw, gv = g
    h = adjoint(xp, v)
    if gv is None:
        return (v * columns(gw)) @ h
    core = inverse_gaps(xp, w) * (h @ gv)
    if gw is not None:
        core = core + diagonal_matrix(xp, gw)
    return hermitian(xp, v @ core @ h)


@differentiable(floating=True)
def eigvalsh(xp: Namespace, x: Array, /) -> Array:
    """Return the eigenvalues of symmetric or Hermitian matrices, ascending and real.

    Parameters
    ----------
    x : Tensor
        Shape (..., M, M), of which one triangle is read. The derivative is that among
        Hermitian matrices; it shares out equal eigenvalues as their eigenvectors lie.
    """
    check_square(x)
    return xp.linalg.eigvalsh(x)


@eigvalsh.vjp_of("x")
def _(xp: Namespace, g: Array, x: Array) -> Array:
    _, v = xp.linalg.eigh(x)
    return (v * columns(g)) @ adjoint(xp, v)


class EigResult(NamedTuple):
    """What `eig` returns."""

    eigenvalues: Tensor
    eigenvectors: Tensor


@differentiable(floating=True, several=EigResult)
def eig(xp: Namespace, x: Array, /) -> Sequence[Array]:
    """Return eigenvalues and eigenvectors of matrices.

    Parameters
    ----------
    x : Tensor
        Shape (..., M, M).

    Returns
    -------
    EigResult
        Complex `eigenvalues` in no order, shape (..., M), and `eigenvectors` of norm 1
        in the columns of (..., M, M). Their derivative is NaN where eigenvalues are
        equal.
    """
    check_square(x)
    return tuple(xp.linalg.eig(x))


@eig.vjp_of("x")
def _(xp: Namespace, g: list[Array | None], out: Sequence[Array]) -> Array:
    # C. Boeddeker et al., "On the computation of complex-valued gradients with
    # application to statistically optimum beamforming", 2017, equation (4.77).
    w, v = out
    gw, gv = g
    h = adjoint(xp, v)
    if gv is None:
        core = diagonal_matrix(xp, gw)
    else:
        inner = h @ gv
        norms = xp.real(xp.linalg.diagonal(inner))
        core = xp.bar(inverse_gaps(xp, w)) * (inner - (h @ v) * columns(norms))
        if gw is not None:
            core = core + diagonal_matrix(xp, gw)
    return xp.linalg.solve(h, core @ h)


@differentiable(floating=True)
def eigvals(xp: Namespace, x: Array, /) -> Array:
    """Return the eigenvalues of matrices, which are complex and in no order.

    Parameters
    ----------
    x : Tensor
        Shape (..., M, M).
    """
    check_square(x)
    return xp.linalg.eigvals(x)


@eigvals.vjp_of("x")
def _(xp: Namespace, g: Array, x: Array) -> Array:
    _, v = xp.linalg.eig(x)
    h = adjoint(xp, v)
    return xp.linalg.solve(h, g[..., None] * h)
