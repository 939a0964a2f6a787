"""Systems of linear equations, inverses, and rank."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradlite._typing import Array, Namespace
from gradlite.autograd import differentiable
from gradlite.ops.linalg._matrices import adjoint, check_square

if TYPE_CHECKING:
    from gradlite.tensor import Tensor


@differentiable(floating=True)
def inv(xp: Namespace, x: Array, /) -> Array:
    """Return the inverses of matrices.

    Parameters
    ----------
    x : Tensor
        Shape (..., M, M). On a CPU a singular one raises the library's error.
    """
    check_square(x)
    return xp.linalg.inv(x)


@inv.vjp_of("x")
def _(xp: Namespace, g: Array, out: Array) -> Array:
    y = adjoint(xp, out)
    return -(y @ g @ y)


@differentiable(floating=True)
def solve(xp: Namespace, x1: Array, x2: Array, /) -> Array:
    """Return `y` such that `x1 @ y` is `x2`.

    Parameters
    ----------
    x1 : Tensor
        Shape (..., M, M). On a CPU a singular one raises the library's error.
    x2 : Tensor
        Shape (M,), or (..., M, K): a vector only if it has one axis. Stacks broadcast.
    """
    check_square(x1, "x1")
    if x2.ndim < 1 or x2.shape[-min(x2.ndim, 2)] != x1.shape[-1]:
        raise ValueError(
            f"x2 must have shape (M,) or (..., M, K) with M = {x1.shape[-1]} like x1, "
            f"got {tuple(x2.shape)}"
        )
    return xp.linalg.solve(x1, x2)


@solve.vjp_joint("x1", "x2")
def _(
    xp: Namespace, g: Array, needs: tuple[bool, bool], x1: Array, out: Array
) -> tuple[Array | None, Array]:
    vector = g.ndim < x1.ndim
    if vector:
        g, out = g[..., None], out[..., None]
    d2 = xp.linalg.solve(adjoint(xp, x1), g)
    d1 = -(d2 @ adjoint(xp, out)) if needs[0] else None
    return d1, xp.squeeze(d2, -1) if vector else d2


@differentiable(promote=("x",), floating=True)
def _pinv(xp: Namespace, x: Array, rtol: Array | float | None = None, /) -> Array:
    return xp.linalg.pinv(x, rtol=rtol)


@_pinv.vjp_of("x")
def _(xp: Namespace, g: Array, x: Array, out: Array) -> Array:
    # G. H. Golub and V. Pereyra, "The differentiation of pseudo-inverses and nonlinear
    # least squares problems whose variables separate", SIAM J. Numer. Anal. 10, 1973.
    a, p, h = adjoint(xp, out), out, adjoint(xp, g)
    left, right = h @ p @ a, a @ p @ h
    return -(a @ g @ a) + left - x @ (p @ left) + right - (right @ p) @ x


# It decides which singular values count as zero, so its derivative is zero.
_pinv.vjp(rtol=lambda xp, g, like: xp.new_zeros(g, like.shape))


def pinv(x: Tensor, /, *, rtol: Tensor | float | None = None) -> Tensor:
    """Return the Moore-Penrose pseudo-inverses of matrices.

    Parameters
    ----------
    x : Tensor
        Shape (..., M, N); the result has (..., N, M).
    rtol : float or Tensor, optional
        Singular values up to `rtol` times the largest one count as 0; a tensor has the
        shape of the stack. By default max(M, N) times the precision of the dtype.

    Notes
    -----
    The derivative holds among matrices of one rank, as the function jumps elsewhere.
    """
    return _pinv(x, rtol)


@differentiable(promote=("x",), floating=True)
def _matrix_rank(
    xp: Namespace, x: Array, rtol: Array | float | None = None, /
) -> Array:
    if x.ndim < 2:
        raise ValueError(f"x must have at least two axes, got shape {tuple(x.shape)}")
    if 0 in x.shape:
        return xp.zeros(x.shape[:-2], dtype=xp.int64, device=xp.device(x))
    return xp.linalg.matrix_rank(x, rtol=rtol)


def matrix_rank(x: Tensor, /, *, rtol: Tensor | float | None = None) -> Tensor:
    """Return the ranks of matrices, which are integers and have no derivative.

    Parameters
    ----------
    x : Tensor
        Shape (..., M, N).
    rtol : float or Tensor, optional
        Singular values up to `rtol` times the largest one count as 0; a tensor has the
        shape of the stack. By default max(M, N) times the precision of the dtype.
    """
    return _matrix_rank(x, rtol)
