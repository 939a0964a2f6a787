"""Statistical functions of the standard, which reduce over axes.

`axis` is an int, a tuple of ints, or None for all axes; `keepdims` keeps reduced axes
with size 1. float16 is reduced in float32, and the result rounded.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable

from gradlite._arguments import real
from gradlite._typing import Array, Axis, DType, Namespace, Shape
from gradlite.autograd import differentiable


def reduced_axes(ndim: int, axis: Axis) -> tuple[int, ...]:
    """Return the axes of a reduction as numbers from 0."""
    if axis is None:
        return tuple(range(ndim))
    axes = axis if isinstance(axis, tuple) else (axis,)
    return tuple(a % ndim if ndim else 0 for a in axes)


def kept(shape: Shape, axis: Axis) -> Shape:
    """Return `shape` with size 1 on the reduced axes."""
    if axis is None or not shape:
        return (1,) * len(shape)
    sizes = list(shape)
    for a in axis if isinstance(axis, tuple) else (axis,):
        sizes[a] = 1
    return tuple(sizes)


def count(shape: Shape, axis: Axis) -> int:
    """Return how many elements are reduced to one."""
    if axis is None:
        return math.prod(shape)
    return math.prod([shape[a] for a in reduced_axes(len(shape), axis)])


def spread(xp: Namespace, y: Array, shape: Shape, axis: Axis) -> Array:
    """Return the result of a reduction with its axes back, at size 1."""
    return xp.reshape(y, kept(shape, axis))


def total(xp: Namespace, x: Array, axis: Axis, *, keepdims: bool = False) -> Array:
    """Return a sum in the dtype of `x`, accumulated in float32 if that is float16."""
    wide = xp.accumulation_dtype(x.dtype)
    if wide is None:
        return xp.sum(x, axis=axis, keepdims=keepdims)
    return xp.astype(xp.sum(x, axis=axis, dtype=wide, keepdims=keepdims), x.dtype)


def in_wide(xp: Namespace, function: Callable[[Array], Array], x: Array) -> Array:
    """Return `function(x)`, computed in float32 and rounded where `x` is float16."""
    wide = xp.accumulation_dtype(x.dtype)
    if wide is None:
        return function(x)
    return xp.astype(function(xp.astype(x, wide)), x.dtype)


def _numbers(xp: Namespace, x: Array) -> Array:
    return xp.astype(x, xp.int64) if xp.isdtype(x.dtype, "bool") else x


@differentiable
def sum(
    xp: Namespace,
    x: Array,
    /,
    *,
    axis: Axis = None,
    dtype: DType = None,
    keepdims: bool = False,
) -> Array:
    """Return the sum over `axis`.

    Parameters
    ----------
    x : Tensor
        Of any shape; small integers and booleans are summed in int64.
    axis : int or tuple of int, optional
        Axes to sum over; all of them by default.
    dtype : dtype, optional
        Type of the accumulator and of the result.
    keepdims : bool, default False
        Keep the summed axes with size 1.
    """
    if dtype is None and xp.isdtype(x.dtype, "real floating"):
        return total(xp, x, axis, keepdims=keepdims)
    return xp.sum(_numbers(xp, x), axis=axis, dtype=dtype, keepdims=keepdims)


@sum.vjp_of("x")
def _(xp: Namespace, g: Array, like: Array, axis: Axis) -> Array:
    return xp.broadcast_to(spread(xp, g, like.shape, axis), like.shape)


@differentiable(floating=True)
def mean(
    xp: Namespace, x: Array, /, *, axis: Axis = None, keepdims: bool = False
) -> Array:
    """Return the arithmetic mean over `axis`, over all axes by default."""
    return _mean(xp, x, axis, keepdims=keepdims)


def _mean(xp: Namespace, x: Array, axis: Axis, *, keepdims: bool) -> Array:
    wide = xp.accumulation_dtype(x.dtype)
    y = xp.sum(x, axis=axis, dtype=wide, keepdims=keepdims)
    y = y / (count(x.shape, axis) or math.nan)
    return y if wide is None else xp.astype(y, x.dtype)


@mean.vjp_of("x")
def _(xp: Namespace, g: Array, like: Array, axis: Axis) -> Array:
    n = builtins.max(count(like.shape, axis), 1)
    g = in_wide(xp, lambda g: g / n, g)  # float16 has no number above 65504
    return xp.broadcast_to(spread(xp, g, like.shape, axis), like.shape)


def _deviation(xp: Namespace, x: Array, axis: Axis) -> Array:
    return x - _mean(xp, x, axis, keepdims=True)


def _freedom(shape: Shape, axis: Axis, correction: float) -> float:
    """Return what a variance is divided by, which may be 0 or less."""
    return count(shape, axis) - real("correction", correction)


def _variance(
    xp: Namespace, x: Array, axis: Axis, correction: float, *, keepdims: bool
) -> Array:
    d = _deviation(xp, x, axis)
    squares = xp.real(d * xp.conj(d)) if _is_complex(xp, x) else d * d
    n = _freedom(x.shape, axis, correction)
    n = n if n > 0 else math.nan
    return xp.sum(squares, axis=axis, keepdims=keepdims) / n


def _is_complex(xp: Namespace, x: Array) -> bool:
    return xp.isdtype(x.dtype, "complex floating")  # type: ignore[no-any-return]


@differentiable(floating=True)
def var(
    xp: Namespace,
    x: Array,
    /,
    *,
    axis: Axis = None,
    correction: float = 0.0,
    keepdims: bool = False,
) -> Array:
    """Return the variance over `axis`: the sum of squares / (N - `correction`).

    NaN where N does not exceed `correction`, which is 0 by default, as in the standard
    and in NumPy (PyTorch's default is 1).
    """

    def compute(x: Array) -> Array:
        return _variance(xp, x, axis, correction, keepdims=keepdims)

    return in_wide(xp, compute, x)


@var.vjp_of("x")
def _(xp: Namespace, g: Array, x: Array, axis: Axis, correction: float) -> Array:
    n = _freedom(x.shape, axis, correction)
    factor = 2.0 / n if n > 0 else math.nan

    def compute(x: Array) -> Array:
        return factor * _deviation(xp, x, axis) * spread(xp, g, x.shape, axis)

    return in_wide(xp, compute, x)


@differentiable(floating=True)
def std(
    xp: Namespace,
    x: Array,
    /,
    *,
    axis: Axis = None,
    correction: float = 0.0,
    keepdims: bool = False,
) -> Array:
    """Return the standard deviation over `axis`; its derivative where it is 0 is 0.

    `correction` is 0 by default, as in the standard and in NumPy (PyTorch's is 1).
    """

    def compute(x: Array) -> Array:
        return xp.sqrt(_variance(xp, x, axis, correction, keepdims=keepdims))

    return in_wide(xp, compute, x)


@std.vjp_of("x")
def _(
    xp: Namespace, g: Array, x: Array, out: Array, axis: Axis, correction: float
) -> Array:
    n = _freedom(x.shape, axis, correction)
    factor = 1.0 / n if n > 0 else math.nan
    zero = out == 0
    safe = xp.where(zero, xp.ones_like(out), out)
    g = spread(xp, xp.where(zero, xp.zeros_like(g), g), x.shape, axis)
    safe = spread(xp, safe, x.shape, axis)

    def compute(x: Array) -> Array:
        return factor * _deviation(xp, x, axis) / safe * g

    return in_wide(xp, compute, x)


@differentiable
def prod(
    xp: Namespace,
    x: Array,
    /,
    *,
    axis: Axis = None,
    dtype: DType = None,
    keepdims: bool = False,
) -> Array:
    """Return the product over `axis`, over all axes by default."""

    def compute(x: Array) -> Array:
        return xp.prod(_numbers(xp, x), axis=axis, dtype=dtype, keepdims=keepdims)

    return in_wide(xp, compute, x) if dtype is None else compute(x)


@prod.vjp_of("x")
def _(xp: Namespace, g: Array, x: Array, axis: Axis) -> Array:
    # Each element's derivative is the product of the others: never out / x, which is
    # undefined at zeros. Products from the left and from the right are exact there and
    # differentiable again.
    n = count(x.shape, axis)
    if not n:
        return xp.zeros_like(x)
    axes = reduced_axes(x.ndim, axis)
    order = axes + tuple(i for i in range(x.ndim) if i not in axes)
    moved = xp.permute_dims(x, order)
    rows = xp.reshape(moved, (n, *moved.shape[len(axes) :]))

    def compute(rows: Array) -> Array:
        left = _products_before(xp, rows)
        right = xp.flip(_products_before(xp, xp.flip(rows, axis=0)), axis=0)
        return left * right

    others = xp.reshape(xp.bar(in_wide(xp, compute, rows)), moved.shape)
    inverse = tuple(order.index(i) for i in range(x.ndim))
    return spread(xp, g, x.shape, axis) * xp.permute_dims(others, inverse)


def _products_before(xp: Namespace, rows: Array) -> Array:
    """Return the product of the rows before each row."""
    shifted = xp.concat([xp.ones_like(rows[:1, ...]), rows[:-1, ...]])
    return xp.cumulative_prod(shifted, axis=0)


@differentiable
def max(
    xp: Namespace, x: Array, /, *, axis: Axis = None, keepdims: bool = False
) -> Array:
    """Return the largest element over `axis`; equal ones share the derivative."""
    return xp.max(x, axis=axis, keepdims=keepdims)


@differentiable
def min(
    xp: Namespace, x: Array, /, *, axis: Axis = None, keepdims: bool = False
) -> Array:
    """Return the smallest element over `axis`; equal ones share the derivative."""
    return xp.min(x, axis=axis, keepdims=keepdims)


def _share(xp: Namespace, g: Array, x: Array, out: Array, axis: Axis) -> Array:
    out = spread(xp, out, x.shape, axis)
    hit = xp.logical_or(x == out, xp.logical_and(xp.isnan(x), xp.isnan(out)))
    ones = xp.ones_like(x)
    hits = xp.where(hit, ones, xp.zeros_like(x))
    return spread(xp, g, x.shape, axis) * hits / total(xp, hits, axis, keepdims=True)


for _extremum in (max, min):
    _extremum.vjp(x=_share)


@differentiable
def cumulative_sum(
    xp: Namespace,
    x: Array,
    /,
    *,
    axis: int | None = None,
    dtype: DType = None,
    include_initial: bool = False,
) -> Array:
    """Return the running sums along `axis`, which may be left out for one axis only.

    With `include_initial` they start with 0.
    """

    def compute(x: Array) -> Array:
        return xp.cumulative_sum(
            _numbers(xp, x), axis=axis, dtype=dtype, include_initial=include_initial
        )

    return in_wide(xp, compute, x) if dtype is None else compute(x)


@cumulative_sum.vjp_of("x")
def _(
    xp: Namespace, g: Array, like: Array, axis: int | None, include_initial: bool
) -> Array:
    axis = 0 if axis is None else axis % len(like.shape)
    if include_initial:
        g = g[(*(slice(None),) * axis, slice(1, None), ...)]

    def compute(g: Array) -> Array:
        return xp.flip(xp.cumulative_sum(xp.flip(g, axis=axis), axis=axis), axis=axis)

    return in_wide(xp, compute, g)


@differentiable
def cumulative_prod(
    xp: Namespace,
    x: Array,
    /,
    *,
    axis: int | None = None,
    dtype: DType = None,
    include_initial: bool = False,
) -> Array:
    """Return the running products along `axis`; left out for one axis only.

    With `include_initial` they start with 1.
    """

    def compute(x: Array) -> Array:
        return xp.cumulative_prod(
            _numbers(xp, x), axis=axis, dtype=dtype, include_initial=include_initial
        )

    return in_wide(xp, compute, x) if dtype is None else compute(x)


@cumulative_prod.vjp_of("x")
def _(
    xp: Namespace, g: Array, x: Array, axis: int | None, include_initial: bool
) -> Array:
    # Never out / x, which is undefined at zeros: the element j has the derivative
    #   (product of those before j) * s_j,  s_j = g_j + x_{j+1} * s_{j+1}.
    axis = axis or 0

    def compute(rows: Array) -> Array:
        terms = xp.moveaxis(g, axis, 0)[int(include_initial) :, ...]
        sums = _recurrence(xp, xp.flip(rows, axis=0), xp.flip(terms, axis=0))
        return _products_before(xp, rows) * xp.flip(sums, axis=0)

    if not x.shape[axis]:
        return xp.zeros_like(x)
    wide = xp.accumulation_dtype(x.dtype)  # the engine rounds: `g` may be complex
    rows = xp.bar(xp.moveaxis(x, axis, 0))
    rows = rows if wide is None else xp.astype(rows, wide)
    return xp.moveaxis(compute(rows), 0, axis)


def _recurrence(xp: Namespace, factors: Array, terms: Array) -> Array:
    """Return y with y[0] = terms[0], y[j] = terms[j] + factors[j - 1] * y[j - 1].

    By doubling: f is what y[j - step] contributes to y[j], for each j from step on.
    """
    n = terms.shape[0]
    y, f, step = terms, factors[:-1, ...], 1
    while step < n:
        y = xp.concat([y[:step, ...], y[step:, ...] + f * y[:-step, ...]])
        if 2 * step < n:
            f = f[step:, ...] * f[:-step, ...]
        step *= 2
    return y
