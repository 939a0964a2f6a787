"""Distribution functions of statistical tests.

They are differentiable in their last operand. In the parameters of a distribution its
derivative has no closed form, and backward raises if it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from gradlite._typing import Array, Namespace, Scalar
from gradlite.autograd import differentiable
from gradlite.ops.special._library import alike, call


@differentiable(floating=True)
def stdtr(xp: Namespace, df: Array | Scalar, t: Array | Scalar, /) -> Array:
    """Return the distribution function of Student's t distribution.

    Parameters
    ----------
    df : Tensor or float
        Degrees of freedom. The derivative in them has no closed form: backward raises
        `NotImplementedError` if it is asked for.
    t : Tensor or float
        Where.
    """
    return call(xp, "stdtr", df, t)


@differentiable(floating=True)
def chdtrc(xp: Namespace, v: Array | Scalar, x: Array | Scalar, /) -> Array:
    """Return the upper tail of the chi-squared distribution from `x`.

    `v` are the degrees of freedom, without a derivative as those of `stdtr`.
    """
    return call(xp, "chdtrc", v, x)


@differentiable(floating=True)
def fdtrc(
    xp: Namespace, dfn: Array | Scalar, dfd: Array | Scalar, x: Array | Scalar, /
) -> Array:
    """Return the upper tail of the F distribution from `x`.

    `dfn` and `dfd` are the degrees of freedom of the numerator and the denominator,
    without a derivative as those of `stdtr`.
    """
    return call(xp, "fdtrc", dfn, dfd, x)


@differentiable(floating=True)
def betainc(
    xp: Namespace, a: Array | Scalar, b: Array | Scalar, x: Array | Scalar, /
) -> Array:
    """Return the distribution function of the beta distribution, from 0 to `x`.

    `a` and `b` are without a derivative, as the degrees of freedom of `stdtr`.
    """
    return call(xp, "betainc", a, b, x)


def _refuse(function: str, operand: str) -> NoReturn:
    raise NotImplementedError(
        f"{function} has no derivative with respect to {operand}; detach() it if none "
        "is meant"
    )


stdtr.vjp(df=lambda xp, g: _refuse("stdtr", "df"))
chdtrc.vjp(v=lambda xp, g: _refuse("chdtrc", "v"))
fdtrc.vjp(
    dfn=lambda xp, g: _refuse("fdtrc", "dfn"),
    dfd=lambda xp, g: _refuse("fdtrc", "dfd"),
)
betainc.vjp(
    a=lambda xp, g: _refuse("betainc", "a"),
    b=lambda xp, g: _refuse("betainc", "b"),
)


@stdtr.vjp_of("t")
def _(xp: Namespace, g: Array, df: Array | Scalar, t: Array) -> Array:
    df, t = alike(xp, g, df, t)
    log_power = -0.5 * (df + 1.0) * xp.log1p(t * t / df)
    return g * xp.exp(log_power - xp.special.betaln(0.5 * df, 0.5)) / xp.sqrt(df)


@chdtrc.vjp_of("x")
def _(xp: Namespace, g: Array, v: Array | Scalar, x: Array) -> Array:
    v, x = alike(xp, g, 0.5 * v, 0.5 * x)
    density = _density(xp, x, v - 1.0, lambda x: -x - xp.special.gammaln(v))
    return -0.5 * g * density


@fdtrc.vjp_of("x")
def _(
    xp: Namespace, g: Array, dfn: Array | Scalar, dfd: Array | Scalar, x: Array
) -> Array:
    dfn, dfd, x = alike(xp, g, 0.5 * dfn, 0.5 * dfd, x)

    def log_rest(x: Array) -> Array:
        return -(dfn + dfd) * xp.log1p(x) - xp.special.betaln(dfn, dfd)

    ratio = dfn / dfd
    return -g * ratio * _density(xp, ratio * x, dfn - 1.0, log_rest)


@betainc.vjp_of("x")
def _(xp: Namespace, g: Array, a: Array | Scalar, b: Array | Scalar, x: Array) -> Array:
    a, b, x = alike(xp, g, a, b, x)

    def log_rest(x: Array) -> Array:
        return xp.special.xlog1py(b - 1.0, -x) - xp.special.betaln(a, b)

    return g * _density(xp, x, a - 1.0, log_rest)


def _density(
    xp: Namespace, x: Array, power: Array, log_rest: Callable[[Array], Array]
) -> Array:
    """Return `x**power * exp(log_rest(x))`, 0 for negative x.

    The power alone could overflow, and at 0 its logarithm has no derivative.
    """
    ones, zeros = xp.ones_like(x), xp.zeros_like(x)
    negative, positive = x < 0, x > 0
    x = xp.where(negative, zeros, x)
    at_zero = xp.where(positive, ones, x) ** power * xp.exp(log_rest(x))
    inside = xp.exp(power * xp.log(xp.where(positive, x, ones)) + log_rest(x))
    return xp.where(negative, zeros, xp.where(positive, inside, at_zero))
