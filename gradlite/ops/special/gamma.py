"""The logarithms of the gamma and the beta function, and their derivatives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradlite._arguments import integer
from gradlite._typing import Array, Namespace, Scalar
from gradlite.autograd import differentiable
from gradlite.ops.special._library import call, polynomial

if TYPE_CHECKING:
    from gradlite.tensor import Tensor


@differentiable(floating=True)
def gammaln(xp: Namespace, x: Array, /) -> Array:
    """Return the logarithm of the absolute value of the gamma function."""
    return call(xp, "gammaln", x)


gammaln.vjp(x=lambda xp, g, x: g * xp.special.psi(x))


@differentiable(floating=True)
def psi(xp: Namespace, x: Array, /) -> Array:
    """Return the digamma function, the derivative of `gammaln`."""
    return call(xp, "psi", x)


psi.vjp(x=lambda xp, g, x: g * xp.special.polygamma(1, x))
digamma = psi


def polygamma(n: int, x: Tensor) -> Tensor:
    """Return the derivative of order `n` of `psi` at `x`.

    Parameters
    ----------
    n : int
        Order, at least 0.
    x : Tensor
        Where.
    """
    return _polygamma(x, n=integer("n", n, 0))


@differentiable(floating=True)
def _polygamma(xp: Namespace, x: Array, /, *, n: int) -> Array:
    return call(xp, "polygamma", n, x)


_polygamma.vjp(x=lambda xp, g, x, n: g * xp.special.polygamma(n + 1, x))


@differentiable(floating=True)
def betaln(xp: Namespace, a: Array | Scalar, b: Array | Scalar, /) -> Array:
    """Return the logarithm of the absolute value of the beta function of `a`, `b`."""
    return call(xp, "betaln", a, b)


betaln.vjp(
    a=lambda xp, g, a, b: -g * _psi_step(xp, a, b),
    b=lambda xp, g, a, b: -g * _psi_step(xp, b, a),
)

# psi(x) is log(x) - 1/(2 x) - the sum over k of B(2k)/(2k) / x**(2k).
_PSI = (-1/12, 1/120, -1/252, 1/240, -1/132, 691/32760, -1/12, 3617/8160)  # fmt: skip


def _psi_step(xp: Namespace, x: Array, step: Array | Scalar) -> Array:
    """Return `psi(x + step) - psi(x)`, whose terms are nearly equal for large x."""

    def rest(x: Array) -> Array:
        square = 1.0 / (x * x)
        return square * polynomial(square, _PSI) - 0.5 / x

    y = x + step
    zeros = xp.zeros_like(y)
    x, step = x + zeros, step + zeros
    far = xp.logical_and(x > 10.0, y > 10.0)
    x1, y1 = (xp.where(far, v, zeros + 10.0) for v in (x, y))
    by_series = xp.log1p(xp.where(far, step, zeros) / x1) + (rest(y1) - rest(x1))
    x0, y0 = (xp.where(far, zeros + 10.0, v) for v in (x, y))
    return xp.where(far, by_series, xp.special.psi(y0) - xp.special.psi(x0))
