"""Element-wise functions whose results are boolean or integer, without derivatives.

They belong to the standard's chapter of element-wise functions, as `elementwise` does.
"""

from __future__ import annotations

from gradlite._typing import Array, Namespace, Scalar
from gradlite.autograd import differentiable


@differentiable
def equal(xp: Namespace, x1: Array | Scalar, x2: Array | Scalar, /) -> Array:
    """Return whether `x1 == x2`, element by element."""
    return xp.equal(x1, x2)


@differentiable
def not_equal(xp: Namespace, x1: Array | Scalar, x2: Array | Scalar, /) -> Array:
    """Return whether `x1 != x2`, element by element."""
    return xp.not_equal(x1, x2)


@differentiable
def less(xp: Namespace, x1: Array | Scalar, x2: Array | Scalar, /) -> Array:
    """Return whether `x1 < x2`, element by element."""
    return xp.less(x1, x2)


@differentiable
def less_equal(xp: Namespace, x1: Array | Scalar, x2: Array | Scalar, /) -> Array:
    """Return whether `x1 <= x2`, element by element."""
    return xp.less_equal(x1, x2)


@differentiable
def greater(xp: Namespace, x1: Array | Scalar, x2: Array | Scalar, /) -> Array:
    """Return whether `x1 > x2`, element by element."""
    return xp.greater(x1, x2)


@differentiable
def greater_equal(xp: Namespace, x1: Array | Scalar, x2: Array | Scalar, /) -> Array:
    """Return whether `x1 >= x2`, element by element."""
    return xp.greater_equal(x1, x2)


@differentiable
def isfinite(xp: Namespace, x: Array, /) -> Array:
    """Return whether each element is neither infinite nor NaN."""
    return xp.isfinite(x)


@differentiable
def isinf(xp: Namespace, x: Array, /) -> Array:
    """Return whether each element is infinite."""
    return xp.isinf(x)


@differentiable
def isnan(xp: Namespace, x: Array, /) -> Array:
    """Return whether each element is NaN."""
    return xp.isnan(x)


@differentiable
def signbit(xp: Namespace, x: Array, /) -> Array:
    """Return whether the sign bit of each element is set, as it is in -0.0."""
    return xp.signbit(x)


@differentiable
def logical_and(xp: Namespace, x1: Array | Scalar, x2: Array | Scalar, /) -> Array:
    """Return whether both boolean elements are true."""
    return xp.logical_and(x1, x2)


@differentiable
def logical_or(xp: Namespace, x1: Array | Scalar, x2: Array | Scalar, /) -> Array:
    """Return whether one of two boolean elements is true."""
    return xp.logical_or(x1, x2)


@differentiable
def logical_xor(xp: Namespace, x1: Array | Scalar, x2: Array | Scalar, /) -> Array:
    """Return whether exactly one of two boolean elements is true."""
    return xp.logical_xor(x1, x2)


@differentiable
def logical_not(xp: Namespace, x: Array, /) -> Array:
    """Return whether each boolean element is false."""
    return xp.logical_not(x)


@differentiable
def bitwise_and(xp: Namespace, x1: Array | Scalar, x2: Array | Scalar, /) -> Array:
    """Return `x1 & x2` of integers or booleans."""
    return xp.bitwise_and(x1, x2)


@differentiable
def bitwise_or(xp: Namespace, x1: Array | Scalar, x2: Array | Scalar, /) -> Array:
    """Return `x1 | x2` of integers or booleans."""
    return xp.bitwise_or(x1, x2)


@differentiable
def bitwise_xor(xp: Namespace, x1: Array | Scalar, x2: Array | Scalar, /) -> Array:
    """Return `x1 ^ x2` of integers or booleans."""
    return xp.bitwise_xor(x1, x2)


@differentiable
def bitwise_invert(xp: Namespace, x: Array, /) -> Array:
    """Return `~x` of integers or booleans."""
    return xp.bitwise_invert(x)


@differentiable
def bitwise_left_shift(
    xp: Namespace, x1: Array | Scalar, x2: Array | Scalar, /
) -> Array:
    """Return `x1 << x2` of integers."""
    return xp.bitwise_left_shift(x1, x2)


@differentiable
def bitwise_right_shift(
    xp: Namespace, x1: Array | Scalar, x2: Array | Scalar, /
) -> Array:
    """Return `x1 >> x2` of integers."""
    return xp.bitwise_right_shift(x1, x2)
