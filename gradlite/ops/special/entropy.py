"""Logistic functions and entropies."""

from __future__ import annotations

from collections.abc import Callable

from gradlite._typing import Array, Namespace, Scalar
from gradlite.autograd import differentiable
from gradlite.ops.special._library import alike, call


@differentiable(floating=True)
def logit(xp: Namespace, x: Array, /) -> Array:
    """Return `log(x / (1 - x))`, the inverse of `expit`."""
    return call(xp, "logit", x)


@differentiable(floating=True)
def log_expit(xp: Namespace, x: Array, /) -> Array:
    """Return `log(expit(x))`, also far out, where `expit` is 0 or 1."""
    return call(xp, "log_expit", x)


@differentiable(floating=True)
def entr(xp: Namespace, x: Array, /) -> Array:
    """Return `-x * log(x)`, 0 at 0 and -inf below; its derivative at 0 is infinite."""
    return call(xp, "entr", x)


logit.vjp(x=lambda xp, g, x: g / (x * (1.0 - x)))
log_expit.vjp(x=lambda xp, g, out: -g * xp.expm1(out))
entr.vjp(x=lambda xp, g, x: -g * (xp.log(x) + 1.0))


@differentiable(floating=True)
def xlogy(xp: Namespace, x: Array | Scalar, y: Array | Scalar, /) -> Array:
    """Return `x * log(y)`, 0 where `x` is 0; derivatives where both are 0 are 0."""
    return call(xp, "xlogy", x, y)


@differentiable(floating=True)
def xlog1py(xp: Namespace, x: Array | Scalar, y: Array | Scalar, /) -> Array:
    """Return `x * log(1 + y)`, 0 where `x` is 0; derivatives at (0, -1) are 0."""
    return call(xp, "xlog1py", x, y)


@differentiable(floating=True)
def rel_entr(xp: Namespace, x: Array | Scalar, y: Array | Scalar, /) -> Array:
    """Return `x * log(x / y)`, 0 where `x` is 0; infinite below 0.

    The derivatives at (0, 0) are taken as 0.
    """
    return call(xp, "rel_entr", x, y)


@differentiable(floating=True)
def kl_div(xp: Namespace, x: Array | Scalar, y: Array | Scalar, /) -> Array:
    """Return `x * log(x / y) - x + y`, `y` where `x` is 0; infinite below 0.

    The derivatives at (0, 0) are taken as 0 and 1.
    """
    return call(xp, "kl_div", x, y)


def _log(
    xp: Namespace,
    log: Callable[[Array], Array],
    pole: float,
    g: Array,
    x: Array | Scalar,
    y: Array | Scalar,
) -> Array:
    """Return `log(y)`, 0 where x is 0 and y is not above the pole of `log`."""
    x, y = alike(xp, g, x, y)
    void = xp.logical_and(x == 0, y <= pole)
    return xp.where(void, xp.zeros_like(y), log(xp.where(void, xp.ones_like(y), y)))


def _ratio(xp: Namespace, g: Array, x: Array | Scalar, y: Array | Scalar) -> Array:
    """Return x / y, 0 where both are 0."""
    x, y = alike(xp, g, x, y)
    void = xp.logical_and(x == 0, y == 0)
    return xp.where(void, xp.zeros_like(y), x / xp.where(void, xp.ones_like(y), y))


def _log_ratio(
    xp: Namespace, offset: float, g: Array, x: Array | Scalar, y: Array | Scalar
) -> Array:
    """Return log(x / y) + offset, 0 where both are 0."""
    x, y = alike(xp, g, x, y)
    void = xp.logical_and(x == 0, y == 0)
    x, y = (xp.where(void, xp.ones_like(v), v) for v in (x, y))
    return xp.where(void, xp.zeros_like(x), xp.log(x) - xp.log(y) + offset)


xlogy.vjp(
    x=lambda xp, g, x, y: g * _log(xp, xp.log, 0.0, g, x, y),
    y=lambda xp, g, x, y: g * _ratio(xp, g, x, y),
)
xlog1py.vjp(
    x=lambda xp, g, x, y: g * _log(xp, xp.log1p, -1.0, g, x, y),
    y=lambda xp, g, x, y: g * _ratio(xp, g, x, 1.0 + y),
)
rel_entr.vjp(
    x=lambda xp, g, x, y: g * _log_ratio(xp, 1.0, g, x, y),
    y=lambda xp, g, x, y: -g * _ratio(xp, g, x, y),
)
kl_div.vjp(
    x=lambda xp, g, x, y: g * _log_ratio(xp, 0.0, g, x, y),
    y=lambda xp, g, x, y: g * (1.0 - _ratio(xp, g, x, y)),
)
