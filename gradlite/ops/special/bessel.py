"""Modified Bessel functions of the first kind."""

from __future__ import annotations

import math

from gradlite._typing import Array, Namespace
from gradlite.autograd import differentiable
from gradlite.ops.special._library import call, polynomial

ROOT_2PI = math.sqrt(2.0 * math.pi)


@differentiable(floating=True)
def i0(xp: Namespace, x: Array, /) -> Array:
    """Return the modified Bessel function of the first kind of order 0."""
    return call(xp, "i0", x)


@differentiable(floating=True)
def i1(xp: Namespace, x: Array, /) -> Array:
    """Return the modified Bessel function of the first kind of order 1."""
    return call(xp, "i1", x)


@differentiable(floating=True)
def i0e(xp: Namespace, x: Array, /) -> Array:
    """Return `exp(-abs(x)) * i0(x)`; its derivative at 0 is taken as 0."""
    return call(xp, "i0e", x)


@differentiable(floating=True)
def i1e(xp: Namespace, x: Array, /) -> Array:
    """Return `exp(-abs(x)) * i1(x)`."""
    return call(xp, "i1e", x)


i0.vjp(x=lambda xp, g, x: g * xp.special.i1(x))
i1.vjp(x=lambda xp, g, x, out: g * (xp.special.i0(x) - _over(xp, out, x, 1.0)))
i0e.vjp(x=lambda xp, g, x: -g * xp.sign(x) * _i0e_minus_i1e(xp, xp.abs(x)))


@i1e.vjp_of("x")
def _(xp: Namespace, g: Array, x: Array, out: Array) -> Array:
    size = xp.abs(x)
    return g * (_i0e_minus_i1e(xp, size) - _over(xp, out, x, xp.exp(-size)))


# i1(x) / x is half the sum over k of (x/2)**(2k) / (k! (k+1)!).
_I1 = tuple(0.5 / (math.factorial(k) * math.factorial(k + 1)) for k in range(9))


def _over(xp: Namespace, y: Array, x: Array, scale: Array | float) -> Array:
    """Return y / x for y = `scale * i1(x)`, at 0 too."""
    near = xp.abs(x) < 1.0
    inner = xp.where(near, x, xp.zeros_like(x))
    series = scale * polynomial(0.25 * inner * inner, _I1)
    return xp.where(near, series, y / xp.where(near, xp.ones_like(x), x))


def _hankel(order: int) -> list[float]:
    """Return the coefficients in 1/x of `sqrt(2 pi x) exp(-x) I(x)`."""
    terms = [1.0]
    for k in range(1, 13):
        terms.append(terms[-1] * ((2 * k - 1) ** 2 - 4 * order**2) / (8 * k))
    return terms


_HANKEL = tuple(a - b for a, b in zip(_hankel(0), _hankel(1), strict=True))


def _i0e_minus_i1e(xp: Namespace, x: Array) -> Array:
    """Return `i0e(x) - i1e(x)` for `x` of at least 0; they are nearly equal far out."""
    far = x > 50.0
    outer = xp.where(far, x, xp.full_like(x, 50.0))
    series = polynomial(1.0 / outer, _HANKEL) / (ROOT_2PI * xp.sqrt(outer))
    return xp.where(far, series, xp.special.i0e(x) - xp.special.i1e(x))
