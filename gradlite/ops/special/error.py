"""The error function, and with it the normal distribution."""

from __future__ import annotations

import math

from gradlite._typing import Array, Namespace
from gradlite.autograd import differentiable
from gradlite.ops.special._library import call

ROOT_PI, ROOT_2PI = math.sqrt(math.pi), math.sqrt(2.0 * math.pi)


@differentiable(floating=True)
def erf(xp: Namespace, x: Array, /) -> Array:
    """Return the error function, 2/sqrt(pi) times the integral of exp(-t*t) to `x`."""
    return call(xp, "erf", x)


@differentiable(floating=True)
def erfc(xp: Namespace, x: Array, /) -> Array:
    """Return `1 - erf(x)`, accurate for large `x`."""
    return call(xp, "erfc", x)


erf.vjp(x=lambda xp, g, x: g * (2.0 / ROOT_PI) * xp.exp(-x * x))
erfc.vjp(x=lambda xp, g, x: -g * (2.0 / ROOT_PI) * xp.exp(-x * x))


@differentiable(floating=True)
def erfcx(xp: Namespace, x: Array, /) -> Array:
    """Return `exp(x * x) * erfc(x)`."""
    return call(xp, "erfcx", x)


@erfcx.vjp_of("x")
def _(xp: Namespace, g: Array, x: Array, out: Array) -> Array:
    # Far to the right the two terms of 2 x y - 2/sqrt(pi) cancel. There
    # y = 1 / (sqrt(pi) (x + k)) with k the continued fraction 1/2/(x + 2/2/(x + ...)).
    far = x > 8.0
    safe = xp.where(far, x, xp.full_like(x, 8.0))
    k = 0.0
    for i in range(12, 0, -1):
        k = 0.5 * i / (safe + k)
    near = 2.0 * x * out - 2.0 / ROOT_PI
    return g * xp.where(far, -2.0 / ROOT_PI * k / (safe + k), near)


@differentiable(floating=True)
def erfinv(xp: Namespace, x: Array, /) -> Array:
    """Return the inverse of `erf`."""
    return call(xp, "erfinv", x)


erfinv.vjp(x=lambda xp, g, out: g * (ROOT_PI / 2.0) * xp.exp(out * out))


@differentiable(floating=True)
def ndtr(xp: Namespace, x: Array, /) -> Array:
    """Return the distribution function of the standard normal distribution."""
    return call(xp, "ndtr", x)


ndtr.vjp(x=lambda xp, g, x: g * _normal_density(xp, x))


def _normal_density(xp: Namespace, x: Array) -> Array:
    return xp.exp(-0.5 * x * x) / ROOT_2PI


@differentiable(floating=True)
def log_ndtr(xp: Namespace, x: Array, /) -> Array:
    """Return `log(ndtr(x))`, also far to the left, where `ndtr` is 0."""
    return call(xp, "log_ndtr", x)


@log_ndtr.vjp_of("x")
def _(xp: Namespace, g: Array, x: Array) -> Array:
    # density / ndtr: on the left both vanish, on the right erfcx overflows.
    zero = xp.zeros_like(x)
    right = x > 0
    left = math.sqrt(2.0) / ROOT_PI / xp.special.erfcx(
        xp.where(right, zero, x) * -math.sqrt(0.5)
    )  # fmt: skip
    x = xp.where(right, x, zero)
    return g * xp.where(right, _normal_density(xp, x) / xp.special.ndtr(x), left)


@differentiable(floating=True)
def ndtri(xp: Namespace, x: Array, /) -> Array:
    """Return the inverse of `ndtr`: quantiles of the standard normal distribution."""
    return call(xp, "ndtri", x)


ndtri.vjp(x=lambda xp, g, out: g * ROOT_2PI * xp.exp(0.5 * out * out))
