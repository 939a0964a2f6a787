"""Normalized exponentials with SciPy's arguments; they need no SciPy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gradlite._typing import Array, Axis, Namespace, Scalar
from gradlite.autograd import differentiable
from gradlite.ops import activation
from gradlite.ops.creation import ones_like
from gradlite.ops.manipulation import squeeze
from gradlite.ops.searching import where
from gradlite.ops.special._library import refuse_complex
from gradlite.ops.statistical import reduced_axes

if TYPE_CHECKING:
    from gradlite.tensor import Tensor


@differentiable(floating=True, promote=("a", "b"), several=True)
def _weighted_logsumexp(
    xp: Namespace, a: Array, b: Array | Scalar, /, *, axis: Axis
) -> Sequence[Array]:
    """Return the logarithm of the absolute value of a sum, and its sign."""
    dtype = a.dtype
    refuse_complex(xp, "logsumexp", dtype)
    wide = xp.accumulation_dtype(dtype)
    a = a if wide is None else xp.astype(a, wide)
    b = b * xp.ones_like(a)
    a = xp.where(b == 0, xp.full_like(a, -math.inf), a)
    top = xp.max(a, axis=axis, keepdims=True)
    top = xp.where(xp.isfinite(top), top, xp.zeros_like(top))
    total = xp.sum(b * xp.exp(a - top), axis=axis, keepdims=True)
    results = (xp.log(xp.abs(total)) + top, xp.sign(total))
    return tuple(xp.astype(y, dtype, copy=False) for y in results)


@_weighted_logsumexp.vjp_of("a")
def _(
    xp: Namespace,
    g: list[Array | None],
    a: Array,
    b: Array | Scalar,
    out: Sequence[Array],
) -> Array:
    # What does not count may be too large for exp: 0 * inf.
    exponent, limit = a - out[0], math.log(xp.finfo(a.dtype).max)
    ignored = xp.logical_and(b * xp.ones_like(a) == 0, ~(exponent <= limit))
    return b * _share(xp, g, xp.where(ignored, -math.inf, a), out)


@_weighted_logsumexp.vjp_of("b")
def _(
    xp: Namespace, g: list[Array | None], a: Array, b: Array, out: Sequence[Array]
) -> Array:
    return xp.ones_like(b) * _share(xp, g, a, out)


def _share(
    xp: Namespace, g: list[Array | None], a: Array, out: Sequence[Array]
) -> Array:
    """Return the derivative in the weights, NaN where the sum is 0.

    The cotangent of the sign, which is constant, does not matter.
    """
    y, sign = out
    if g[0] is None:
        return xp.zeros_like(a)
    return g[0] * sign * xp.exp(a - y)


def logsumexp(
    a: Tensor,
    axis: Axis = None,
    b: Tensor | float | None = None,
    keepdims: bool = False,
    return_sign: bool = False,
) -> Any:
    """Return `log(sum(b * exp(a)))` over `axis`, without overflow.

    Parameters
    ----------
    a : Tensor
        Real, of any shape but without axes of size 0 where there are weights.
    axis : int or tuple of int, optional
        Axes to sum over; all of them by default.
    b : Tensor or float, optional
        Weights, 1 by default; where one is 0, `a` does not count.
    keepdims : bool, default False
        Keep the summed axes with size 1.
    return_sign : bool, default False
        Return the logarithm of the absolute value of the sum, and the sign of the sum;
        otherwise the result is NaN, and its gradient, where the sum is negative.

    Returns
    -------
    Tensor or tuple of (Tensor, Tensor)
        The logarithm, and the sign if it is asked for.
    """
    if b is None and not return_sign:
        return activation.logsumexp(a, axis=axis, keepdims=keepdims)
    y, sign = _weighted_logsumexp(a, 1.0 if b is None else b, axis=axis)
    if not return_sign:
        y = y * where(sign < 0, math.nan, ones_like(y))
    if not keepdims:
        axes = reduced_axes(y.ndim, axis)
        y, sign = squeeze(y, axes), squeeze(sign, axes)
    return (y, sign) if return_sign else y


def softmax(x: Tensor, axis: Axis = None) -> Tensor:
    """Return `exp(x) / sum(exp(x))` over `axis`, over all axes by default."""
    return activation.softmax(x, axis=axis)


def log_softmax(x: Tensor, axis: Axis = None) -> Tensor:
    """Return `x - log(sum(exp(x)))` over `axis`, over all axes by default."""
    return activation.log_softmax(x, axis=axis)
