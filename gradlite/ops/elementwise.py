"""Element-wise functions of the standard.

Every function takes tensors of any shape; two operands broadcast together, one of them
may be a Python scalar, which has a kind but no precision. Derivatives with respect to
complex operands follow PyTorch: the cotangent is dL/dRe + i dL/dIm.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from gradlite._typing import Array, Namespace, Scalar
from gradlite.autograd import differentiable
from gradlite.ops.data_types import isdtype

LOG2, LOG10 = math.log(2.0), math.log(10.0)


# Arithmetic


@differentiable
def add(xp: Namespace, x1: Array | Scalar, x2: Array | Scalar, /) -> Array:
    """Return the element-wise sum `x1 + x2`."""
    return xp.add(x1, x2)


add.vjp(x1=lambda xp, g: g, x2=lambda xp, g: g)


@differentiable
def subtract(xp: Namespace, x1: Array | Scalar, x2: Array | Scalar, /) -> Array:
    """Return the element-wise difference `x1 - x2`."""
    return xp.subtract(x1, x2)


subtract.vjp(x1=lambda xp, g: g, x2=lambda xp, g: -g)


@differentiable
def multiply(xp: Namespace, x1: Array | Scalar, x2: Array | Scalar, /) -> Array:
    """Return the element-wise product `x1 * x2`."""
    return xp.multiply(x1, x2)


multiply.vjp(
    x1=lambda xp, g, x2: g * xp.bar(x2),
    x2=lambda xp, g, x1: g * xp.bar(x1),
)


@differentiable(floating=True)
def divide(xp: Namespace, x1: Array | Scalar, x2: Array | Scalar, /) -> Array:
    """Return the element-wise quotient `x1 / x2`; of integers in the default dtype."""
    return xp.divide(x1, x2)


divide.vjp(
    x1=lambda xp, g, x2: g / xp.bar(x2),
    x2=lambda xp, g, x2, out: -g * xp.bar(out / x2),
)


@differentiable
def floor_divide(xp: Namespace, x1: Array | Scalar, x2: Array | Scalar, /) -> Array:
    """Return the largest integer not above `x1 / x2`, element by element."""
    return xp.floor_divide(x1, x2)


floor_divide.vjp(x1=lambda xp, g: xp.zeros_like(g), x2=lambda xp, g: xp.zeros_like(g))


@differentiable
def remainder(xp: Namespace, x1: Array | Scalar, x2: Array | Scalar, /) -> Array:
    """Return the remainder of floor division, with the sign of `x2`."""
    return xp.remainder(x1, x2)


remainder.vjp(
    x1=lambda xp, g: g,
    x2=lambda xp, g, x1, x2: -g * xp.floor_divide(x1, x2),
)


@differentiable
def pow(xp: Namespace, x1: Array | Scalar, x2: Array | Scalar, /) -> Array:
    """Return `x1` to the power `x2`, element by element.

    Where `x1` is 0, derivatives of any order in one operand are limits from the right,
    infinite where the powers grow without bound; that in `x1` is 0 where `x2` is 0.
    Mixed ones have no finite limit there unless `x2` is above 1.
    """
    return xp.pow(x1, x2)


@pow.vjp_of("x1")
def _(xp: Namespace, g: Array, x1: Array, x2: Array | Scalar) -> Array:
    if isinstance(x2, bool | int | float | complex):
        if x2 == 0:
            return xp.zeros_like(g)
        return g * xp.bar(x2 * x1 ** (x2 - 1) if x2 != 1 else xp.ones_like(x1))
    # x2 multiplies outside of the guard, so that the mixed derivative at 0 survives.
    zero = xp.logical_and(x1 == 0, x2 == 0)
    base = xp.where(zero, xp.ones_like(x1), x1)
    return g * xp.bar(x2 * base ** (x2 - 1))


@pow.vjp_of("x2")
def _(xp: Namespace, g: Array, x1: Array | Scalar, x2: Array) -> Array:
    if isinstance(x1, bool | int | float | complex):
        is_zero, x1 = x1 == 0, x1 * xp.ones_like(x2)
        if not is_zero:
            return g * xp.bar(x1**x2 * xp.log(x1))
    zero = xp.logical_and(x1 == 0, x2 >= 0) if _is_real(xp, x2) else x1 == 0
    base = xp.where(zero, xp.ones_like(x1), x1)
    return g * xp.bar(x1**x2 * xp.log(base))


def _is_real(xp: Namespace, x: Array) -> bool:
    return not xp.isdtype(x.dtype, "complex floating")


@differentiable
def negative(xp: Namespace, x: Array, /) -> Array:
    """Return `-x`."""
    return xp.negative(x)


negative.vjp(x=lambda xp, g: -g)


@differentiable
def positive(xp: Namespace, x: Array, /) -> Array:
    """Return `+x`: a copy."""
    return xp.asarray(x, copy=True)  # PyTorch's positive would return x itself


positive.vjp(x=lambda xp, g: g)


@differentiable
def abs(xp: Namespace, x: Array, /) -> Array:
    """Return the absolute value; its derivative at 0 is taken as 0.

    So the second derivative of `abs(x)**2` is 0 there; `square(x)` has the right one.
    """
    return xp.abs(x)


abs.vjp(x=lambda xp, g, x: g * xp.sign(x))


@differentiable
def sign(xp: Namespace, x: Array, /) -> Array:
    """Return -1, 0 or 1 by the sign of `x`; `x/|x|` if complex, with sign(0) = 0."""
    return xp.sign(x)


@sign.vjp_of("x")
def _(xp: Namespace, g: Array, x: Array) -> Array:
    if _is_real(xp, x):
        return xp.zeros_like(g)
    zero = x == 0
    y = xp.sign(x)
    safe = xp.where(zero, xp.ones_like(x), x)
    d = (g - y * xp.real(xp.conj(g) * y)) / xp.abs(safe)
    return xp.where(zero, xp.zeros_like(d), d)


@differentiable(floating=True)
def copysign(xp: Namespace, x1: Array | Scalar, x2: Array | Scalar, /) -> Array:
    """Return the magnitude of `x1` with the sign of `x2`.

    The derivative in `x1` is taken as 0 where it is 0, as that of `abs`.
    """
    return xp.copysign(x1, x2)


copysign.vjp(
    x1=lambda xp, g, x1, x2: g * xp.copysign(xp.sign(x1), x2) * xp.sign(x1),
    x2=lambda xp, g: xp.zeros_like(g),
)


@differentiable(floating=True)
def nextafter(xp: Namespace, x1: Array | Scalar, x2: Array | Scalar, /) -> Array:
    """Return the next number of the dtype after `x1` in the direction of `x2`."""
    return xp.nextafter(x1, x2)


nextafter.vjp(x1=lambda xp, g: g, x2=lambda xp, g: xp.zeros_like(g))


@differentiable
def square(xp: Namespace, x: Array, /) -> Array:
    """Return `x * x`."""
    return xp.square(x)


square.vjp(x=lambda xp, g, x: g * xp.bar(2.0 * x))


@differentiable(floating=True)
def reciprocal(xp: Namespace, x: Array, /) -> Array:
    """Return `1 / x`."""
    return xp.reciprocal(x)


reciprocal.vjp(x=lambda xp, g, out: -g * xp.bar(out * out))


# Exponentials, logarithms and roots


@differentiable(floating=True)
def exp(xp: Namespace, x: Array, /) -> Array:
    """Return e to the power `x`."""
    return xp.exp(x)


exp.vjp(x=lambda xp, g, out: g * xp.bar(out))


@differentiable(floating=True)
def expm1(xp: Namespace, x: Array, /) -> Array:
    """Return `exp(x) - 1`, accurate near 0."""
    return xp.expm1(x)


expm1.vjp(x=lambda xp, g, out: g * xp.bar(out + 1.0))


@differentiable(floating=True)
def log(xp: Namespace, x: Array, /) -> Array:
    """Return the natural logarithm."""
    return xp.log(x)


log.vjp(x=lambda xp, g, x: g / xp.bar(x))


@differentiable(floating=True)
def log1p(xp: Namespace, x: Array, /) -> Array:
    """Return `log(1 + x)`, accurate near 0."""
    return xp.log1p(x)


log1p.vjp(x=lambda xp, g, x: g / xp.bar(1.0 + x))


@differentiable(floating=True)
def log2(xp: Namespace, x: Array, /) -> Array:
    """Return the logarithm to base 2."""
    return xp.log2(x)


log2.vjp(x=lambda xp, g, x: g / xp.bar(x * LOG2))


@differentiable(floating=True)
def log10(xp: Namespace, x: Array, /) -> Array:
    """Return the logarithm to base 10."""
    return xp.log10(x)


log10.vjp(x=lambda xp, g, x: g / xp.bar(x * LOG10))


@differentiable(floating=True)
def sqrt(xp: Namespace, x: Array, /) -> Array:
    """Return the square root; its derivative at 0 is infinite."""
    return xp.sqrt(x)


sqrt.vjp(x=lambda xp, g, out: g * 0.5 / xp.bar(out))


# Trigonometric and hyperbolic functions


@differentiable(floating=True)
def sin(xp: Namespace, x: Array, /) -> Array:
    """Return the sine of `x` in radians."""
    return xp.sin(x)


sin.vjp(x=lambda xp, g, x: g * xp.bar(xp.cos(x)))


@differentiable(floating=True)
def cos(xp: Namespace, x: Array, /) -> Array:
    """Return the cosine of `x` in radians."""
    return xp.cos(x)


cos.vjp(x=lambda xp, g, x: -g * xp.bar(xp.sin(x)))


@differentiable(floating=True)
def tan(xp: Namespace, x: Array, /) -> Array:
    """Return the tangent of `x` in radians."""
    return xp.tan(x)


tan.vjp(x=lambda xp, g, out: g * xp.bar(1.0 + out * out))


@differentiable(floating=True)
def asin(xp: Namespace, x: Array, /) -> Array:
    """Return the inverse sine in radians."""
    return xp.asin(x)


asin.vjp(x=lambda xp, g, x: g / xp.bar(xp.sqrt(1.0 - x * x)))


@differentiable(floating=True)
def acos(xp: Namespace, x: Array, /) -> Array:
    """Return the inverse cosine in radians."""
    return xp.acos(x)


acos.vjp(x=lambda xp, g, x: -g / xp.bar(xp.sqrt(1.0 - x * x)))


@differentiable(floating=True)
def atan(xp: Namespace, x: Array, /) -> Array:
    """Return the inverse tangent in radians."""
    return xp.atan(x)


atan.vjp(x=lambda xp, g, x: g / xp.bar(1.0 + x * x))


@differentiable(floating=True)
def atan2(xp: Namespace, x1: Array | Scalar, x2: Array | Scalar, /) -> Array:
    """Return the angle of the point (`x2`, `x1`) in radians; derivative 0 at (0, 0)."""
    return xp.atan2(x1, x2)


def _over_squared_norm(
    xp: Namespace, g: Array, x: Array, x1: Array, x2: Array
) -> Array:
    ones = xp.ones_like(g)
    norm = xp.hypot(x1 * ones, x2 * ones)
    zero = norm == 0
    norm = xp.where(zero, ones, norm)
    return xp.where(zero, xp.zeros_like(g), g * (x / norm) / norm)


atan2.vjp(
    x1=lambda xp, g, x1, x2: _over_squared_norm(xp, g, x2, x1, x2),
    x2=lambda xp, g, x1, x2: -_over_squared_norm(xp, g, x1, x1, x2),
)


@differentiable(floating=True)
def hypot(xp: Namespace, x1: Array | Scalar, x2: Array | Scalar, /) -> Array:
    """Return `sqrt(x1*x1 + x2*x2)` without overflow.

    Derivatives are 0 at (0, 0); in an infinite operand the first one is its sign.
    """
    return xp.hypot(x1, x2)


def _over_norm(xp: Namespace, g: Array, x: Array, out: Array) -> Array:
    hard = xp.logical_or(out == 0, xp.isinf(x))
    x = xp.where(hard, xp.sign(x), x)
    return g * x / xp.where(hard, xp.ones_like(out), out)


hypot.vjp(
    x1=lambda xp, g, x1, out: _over_norm(xp, g, x1, out),
    x2=lambda xp, g, x2, out: _over_norm(xp, g, x2, out),
)


@differentiable(floating=True)
def sinh(xp: Namespace, x: Array, /) -> Array:
    """Return the hyperbolic sine."""
    return xp.sinh(x)


sinh.vjp(x=lambda xp, g, x: g * xp.bar(xp.cosh(x)))


@differentiable(floating=True)
def cosh(xp: Namespace, x: Array, /) -> Array:
    """Return the hyperbolic cosine."""
    return xp.cosh(x)


cosh.vjp(x=lambda xp, g, x: g * xp.bar(xp.sinh(x)))


@differentiable(floating=True)
def tanh(xp: Namespace, x: Array, /) -> Array:
    """Return the hyperbolic tangent."""
    return xp.tanh(x)


@tanh.vjp_of("x")
def _(xp: Namespace, g: Array, out: Array) -> Array:
    y = xp.bar(out)
    return g - g * (y * y)  # NumPy takes twice as long for a scalar as for an array


@differentiable(floating=True)
def asinh(xp: Namespace, x: Array, /) -> Array:
    """Return the inverse hyperbolic sine."""
    return xp.asinh(x)


asinh.vjp(x=lambda xp, g, x: g / xp.bar(xp.sqrt(x * x + 1.0)))


@differentiable(floating=True)
def acosh(xp: Namespace, x: Array, /) -> Array:
    """Return the inverse hyperbolic cosine."""
    return xp.acosh(x)


# Two roots, because the root of the product lies on another branch if x is complex.
acosh.vjp(x=lambda xp, g, x: g / xp.bar(xp.sqrt(x - 1.0) * xp.sqrt(x + 1.0)))


@differentiable(floating=True)
def atanh(xp: Namespace, x: Array, /) -> Array:
    """Return the inverse hyperbolic tangent."""
    return xp.atanh(x)


atanh.vjp(x=lambda xp, g, x: g / xp.bar(1.0 - x * x))


@differentiable(floating=True)
def logaddexp(xp: Namespace, x1: Array | Scalar, x2: Array | Scalar, /) -> Array:
    """Return `log(exp(x1) + exp(x2))` without overflow."""
    return xp.logaddexp(x1, x2)


@logaddexp.vjp_joint("x1", "x2")
def _(
    xp: Namespace, g: Array, x1: Array, x2: Array, needs: tuple[bool, ...]
) -> list[Array | None]:
    # exp(x) / (exp(x1) + exp(x2)), a half where both are one infinity.
    zero = xp.zeros_like(g)
    x1, x2 = x1 + zero, x2 + zero
    infinite = xp.logical_and(x1 == x2, xp.isinf(x1))
    d = xp.where(infinite, zero, x1) - xp.where(infinite, zero, x2)
    half = 0.5 * xp.tanh(0.5 * d)

    def share(d: Array, half: Array) -> Array:
        # The sum of 0.5 and a half would cancel on the left; the tail there is its own.
        on_left = d < 0
        left = xp.exp(xp.where(on_left, d, zero))
        return g * xp.where(on_left, left / (1.0 + left), 0.5 + half)

    return [
        share(sign * d, sign * half) if need else None
        for sign, need in zip((1.0, -1.0), needs, strict=True)
    ]


# Parts of complex numbers


@differentiable(view=True)
def real(xp: Namespace, x: Array, /) -> Array:
    """Return the real part."""
    return xp.real(x)


real.vjp(x=lambda xp, g: g)


@differentiable
def _with_part(xp: Namespace, x: Array, value: Array, /, *, part: str) -> Array:
    """Return complex `x` with another part; `1j * inf` in a sum would make NaN."""
    out = xp.asarray(x, copy=True)
    getattr(xp, part)(out)[...] = value
    return out


_with_part.vjp(
    x=lambda xp, g, part: xp.imag(g) * 1j if part == "real" else xp.real(g) + 0j,
    value=lambda xp, g, part: getattr(xp, part)(g),
)


def _with_real(x: Array, value: Array) -> Array:
    is_complex = isdtype(x.dtype, "complex floating")
    return _with_part(x, value, part="real") if is_complex else value


real.as_view(put=_with_real)


@differentiable(view=True)
def imag(xp: Namespace, x: Array, /) -> Array:
    """Return the imaginary part of a complex tensor."""
    if _is_real(xp, x):
        raise TypeError(f"x must be complex, got {x.dtype}; use zeros_like(x) instead")
    return xp.imag(x)


imag.vjp(x=lambda xp, g: g * 1j)
imag.as_view(put=lambda x, value: _with_part(x, value, part="imag"))


@differentiable(view=True)
def conj(xp: Namespace, x: Array, /) -> Array:
    """Return the complex conjugate."""
    return xp.conj(x)


conj.vjp(x=lambda xp, g: xp.conj(g))


def bar(x: Array, /) -> Array:
    """Return the conjugate of a factor in a rule; scalars and real values as they are.

    The name is the overline of the formulas.
    """
    if isinstance(x, bool | int | float | complex):
        return x.conjugate()
    return conj(x) if isdtype(x.dtype, "complex floating") else x


# Piecewise functions


@differentiable
def maximum(xp: Namespace, x1: Array | Scalar, x2: Array | Scalar, /) -> Array:
    """Return the larger of two elements; equal ones share the derivative.

    Where one is NaN both get it, as in PyTorch.
    """
    return xp.maximum(x1, x2)


@differentiable
def minimum(xp: Namespace, x1: Array | Scalar, x2: Array | Scalar, /) -> Array:
    """Return the smaller of two elements; equal ones share the derivative.

    Where one is NaN both get it, as in PyTorch.
    """
    return xp.minimum(x1, x2)


def _chosen(xp: Namespace, g: Array, left: Array, tied: Array) -> Array:
    """Return g, but half of it at ties and none where the operand was left out."""
    return xp.where(left, xp.zeros_like(g), xp.where(tied, 0.5 * g, g))


maximum.vjp(
    x1=lambda xp, g, x1, x2: _chosen(xp, g, x1 < x2, x1 == x2),
    x2=lambda xp, g, x1, x2: _chosen(xp, g, x2 < x1, x1 == x2),
)
minimum.vjp(
    x1=lambda xp, g, x1, x2: _chosen(xp, g, x1 > x2, x1 == x2),
    x2=lambda xp, g, x1, x2: _chosen(xp, g, x2 > x1, x1 == x2),
)


@differentiable(promote=("x", "min", "max"))
def clip(
    xp: Namespace,
    x: Array,
    /,
    min: Array | Scalar | None = None,
    max: Array | Scalar | None = None,
) -> Array:
    """Return `x` limited to [`min`, `max`]; None leaves a side open.

    The derivative in `x` is 1 at the bounds too, and 0 where `x` is NaN, as in PyTorch.
    """
    if min is None and max is None:
        return xp.asarray(x, copy=True)
    if min is not None:
        x = xp.maximum(x, min)
    return x if max is None else xp.minimum(x, max)


@clip.vjp_of("x")
def _(xp: Namespace, g: Array, x: Array, min: Array, max: Array) -> Array:
    zero = xp.zeros_like(g)
    if min is not None:
        g = xp.where(x >= min, g, zero)
    return g if max is None else xp.where(x <= max, g, zero)


@clip.vjp_of("min")
def _(xp: Namespace, g: Array, x: Array, min: Array, max: Array) -> Array:
    zero = xp.zeros_like(g)
    g = xp.where(x < min, g, zero)
    return g if max is None else xp.where(min <= max, g, zero)


@clip.vjp_of("max")
def _(xp: Namespace, g: Array, x: Array, min: Array, max: Array) -> Array:
    over = x > max
    if min is not None:
        over = xp.logical_or(over, min > max)
    return xp.where(over, g, xp.zeros_like(g))


def _rounded(xp: Namespace, function: Callable[[Array], Array], x: Array) -> Array:
    """Leave integers as they are, which NumPy 2.0 makes float64."""
    if xp.isdtype(x.dtype, "integral"):
        return xp.asarray(x, copy=True)
    return function(x)


@differentiable
def floor(xp: Namespace, x: Array, /) -> Array:
    """Return the largest integer not above `x`."""
    return _rounded(xp, xp.floor, x)


@differentiable
def ceil(xp: Namespace, x: Array, /) -> Array:
    """Return the smallest integer not below `x`."""
    return _rounded(xp, xp.ceil, x)


@differentiable
def round(xp: Namespace, x: Array, /) -> Array:
    """Return the nearest integer, the even one of two."""
    return _rounded(xp, xp.round, x)


@differentiable
def trunc(xp: Namespace, x: Array, /) -> Array:
    """Return `x` without its fraction."""
    return _rounded(xp, xp.trunc, x)


for _step in (floor, ceil, round, trunc):
    _step.vjp(x=lambda xp, g: xp.zeros_like(g))
