"""The functions of NumPy that are not as array-api-compat has them.

Some give other values than the standard's, and some it lacks. The rest is here for
speed: NumPy and array-api-compat reach the C code through layers of Python, which take
longer than the computation where arrays are small. Rare arguments take that way still.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from operator import methodcaller
from typing import Any

import array_api_compat.numpy as library
import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from gradlite._typing import Array, Axis, DType, Key, Shape

_ALL = slice(None)
_BACKWARDS = slice(None, None, -1)


def __getattr__(name: str) -> Any:
    """Return a function of array-api-compat."""
    return getattr(library, name)


# Dtypes and copies


isdtype: Callable[..., bool] = functools.cache(np.isdtype)


def asarray(
    obj: Any, /, *, dtype: DType = None, device: Any = None, copy: bool | None = None
) -> Array:
    """Return `obj` as an array."""
    return np.array(obj, dtype, copy=copy)


# Creation


def empty(shape: Shape, *, dtype: DType = None, device: Any = None) -> Array:
    """Return an array that is not initialized."""
    return np.empty(shape, dtype)


def zeros(shape: Shape, *, dtype: DType = None, device: Any = None) -> Array:
    """Return zeros."""
    return np.zeros(shape, dtype)


def full(shape: Shape, value: Any, *, dtype: DType = None, device: Any = None) -> Array:
    """Return an array full of `value`."""
    if dtype is None:
        return library.full(shape, value)
    out = np.empty(shape, dtype)
    out[...] = value
    return out


def ones(shape: Shape, *, dtype: DType = None, device: Any = None) -> Array:
    """Return ones."""
    return full(shape, 1, dtype=np.float64 if dtype is None else dtype)


def zeros_like(x: Array, /, *, dtype: DType = None, device: Any = None) -> Array:
    """Return zeros like `x`, also in memory."""
    if not x.flags.c_contiguous:
        return np.zeros_like(x, dtype)
    return np.zeros(x.shape, x.dtype if dtype is None else dtype)


def full_like(
    x: Array, /, value: Any, *, dtype: DType = None, device: Any = None
) -> Array:
    """Return an array like `x`, full of `value`."""
    out = np.empty_like(x, dtype)
    out[...] = value
    return out


def ones_like(x: Array, /, *, dtype: DType = None, device: Any = None) -> Array:
    """Return ones like `x`."""
    return full_like(x, 1, dtype=dtype)


# Reductions


def _reduction(reduce: Callable[..., Array]) -> Callable[..., Array]:
    def function(
        x: Array, /, *, axis: Axis = None, dtype: DType = None, keepdims: bool = False
    ) -> Array:
        return reduce(x, axis, dtype, None, keepdims)

    return function


sum = _reduction(np.add.reduce)
prod = _reduction(np.multiply.reduce)
max = _reduction(np.maximum.reduce)
min = _reduction(np.minimum.reduce)


def _cumulation(
    accumulate: Callable[..., Array], general: Callable[..., Array]
) -> Callable[..., Array]:
    def function(
        x: Array,
        /,
        *,
        axis: int | None = None,
        dtype: DType = None,
        include_initial: bool = False,
    ) -> Array:
        if include_initial or not x.ndim or (axis is None and x.ndim > 1):
            return general(x, axis=axis, dtype=dtype, include_initial=include_initial)
        return accumulate(x, axis or 0, dtype)

    return function


cumulative_sum = _cumulation(np.add.accumulate, library.cumulative_sum)
cumulative_prod = _cumulation(np.multiply.accumulate, library.cumulative_prod)


# Arrangement


def reshape(x: Array, /, shape: Shape, *, copy: bool | None = None) -> Array:
    """Return the elements of `x` in row-major order with another shape."""
    return x.reshape(shape) if copy is None else library.reshape(x, shape, copy=copy)


def permute_dims(x: Array, /, axes: Shape) -> Array:
    """Return `x` with its axes in another order."""
    return x.transpose(axes)


def matrix_transpose(x: Array, /) -> Array:
    """Return `x` with its last two axes exchanged."""
    return x.swapaxes(-1, -2)


def moveaxis(x: Array, source: Any, destination: Any, /) -> Array:
    """Return `x` with axes moved to other places."""
    if not (isinstance(source, int) and isinstance(destination, int)):
        return np.moveaxis(x, source, destination)
    order = list(range(x.ndim))
    axis = order.pop(normalize_axis_index(source, x.ndim))
    order.insert(normalize_axis_index(destination, x.ndim), axis)
    return x.transpose(order)


def expand_dims(x: Array, /, *, axis: int = 0) -> Array:
    """Return `x` with a new axis of size 1."""
    axis = normalize_axis_index(axis, x.ndim + 1)
    return x[(*(_ALL,) * axis, None)]


def broadcast_to(x: Array, /, shape: Shape) -> Array:
    """Return `x` repeated to a shape, as a view that is read-only."""
    if 0 not in shape and x.ndim <= len(shape):
        y = np.nditer(x, ["multi_index"], itershape=shape, order="C").itviews[0]
        if y.shape == shape:  # a size of -1 means any to the iterator
            return y
    return np.broadcast_to(x, shape)


def flip(x: Array, /, *, axis: Axis = None) -> Array:
    """Return `x` in reverse order along axes, along all of them by default."""
    if not isinstance(axis, int):
        return np.flip(x, axis)
    return x[(*(_ALL,) * normalize_axis_index(axis, x.ndim), _BACKWARDS)]


def roll(x: Array, /, shift: Any, *, axis: Axis = None) -> Array:
    """Return `x` shifted cyclically."""
    shifts = shift if isinstance(shift, tuple) else (shift,)
    axes = (axis,) if isinstance(axis, int) else axis or ()
    if len(shifts) != 1 or len(axes) != 1:
        return np.roll(x, shift, axis)
    place = normalize_axis_index(axes[0], x.ndim)
    before, start = (_ALL,) * place, -shifts[0] % (x.shape[place] or 1)
    parts = x[(*before, slice(start, None))], x[(*before, slice(start))]
    return np.concatenate(parts, place)


def unstack(x: Array, /, *, axis: int = 0) -> tuple[Array, ...]:
    """Return the slices of `x` along an axis."""
    return tuple(moveaxis(x, axis, 0))


def _triangle(compare: Callable[..., Array], x: Array, k: int) -> Array:
    rows, columns = x.shape[-2:]
    out = np.zeros(x.shape, x.dtype)
    kept = compare(np.arange(rows)[:, None], np.arange(-k, columns - k))
    np.copyto(out, x, where=kept)
    return out


def tril(x: Array, /, *, k: int = 0) -> Array:
    """Return `x` with zeros above a diagonal of its last two axes."""
    return _triangle(np.greater_equal, x, k)


def triu(x: Array, /, *, k: int = 0) -> Array:
    """Return `x` with zeros below a diagonal of its last two axes."""
    return _triangle(np.less_equal, x, k)


_SMALL = 1 << 12
_NEXT, _LAST = np.array([1, 2, 0]), np.array([2, 0, 1])


def cross(x1: Array, x2: Array, /, *, axis: int = -1) -> Array:
    """Return the cross product along an axis of size 3."""
    if x1.size + x2.size > _SMALL:
        return library.linalg.cross(x1, x2, axis=axis)
    ahead = x1.take(_NEXT, axis) * x2.take(_LAST, axis)
    return ahead - x1.take(_LAST, axis) * x2.take(_NEXT, axis)


def vector_norm(
    x: Array, /, *, axis: Axis = None, keepdims: bool = False, ord: float = 2
) -> Array:
    """Return the norms of vectors."""
    if ord != 2 or axis is None:
        return library.linalg.vector_norm(x, axis=axis, keepdims=keepdims, ord=ord)
    squares = x * x if x.dtype.kind == "f" else (x * x.conj()).real
    return np.sqrt(sum(squares, axis=axis, keepdims=keepdims))


# Values that NumPy has otherwise


sign = np.sign  # array-api-compat's divides by complex zeros


def floor_divide(x1: Array, x2: Array, /) -> Array:
    """Return the standard's quotients of infinities, which NumPy makes NaN or -1."""
    infinite = np.isinf(x1) | np.isinf(x2)
    if not infinite.any():
        return np.floor_divide(x1, x2)
    out = np.asarray(np.floor(np.divide(x1, x2)))
    return np.floor_divide(x1, x2, out=out, where=~infinite)


def expm1(x: Array, /) -> Array:
    """Return the standard's values where NumPy's complex function makes NaN or -0."""
    if x.dtype.kind != "c":
        return np.expm1(x)
    special = (x == 0) | ~np.isfinite(x)
    if not special.any():
        return np.expm1(x)
    out = np.asarray(np.exp(x) - 1)
    return np.expm1(x, out=out, where=~special)


def tanh(x: Array, /) -> Array:
    """Return the standard's signs at complex infinities, where NumPy has others."""
    if x.dtype.kind != "c":
        return np.tanh(x)
    out = np.asarray(np.tanh(x))
    far = np.isinf(x.real) & np.isfinite(x.imag)
    np.copysign(out.imag, x.imag, out=out.imag, where=far)
    return out


# What the standard lacks


bar = methodcaller("conjugate")  # of real values and scalars: themselves


def accumulation_dtype(dtype: DType, /) -> DType:
    """Return the dtype in which sums of `dtype` are accumulated, None for its own."""
    return np.float32 if dtype.itemsize == 2 and dtype.kind in "fV" else None


def additem(x: Array, values: Array, /, *, key: Key) -> Array:
    """Return `x` with `values` added at `key`."""
    wide = accumulation_dtype(x.dtype)
    out = x.copy() if wide is None else x.astype(wide)
    np.add.at(out, key, values)
    return out if wide is None else out.astype(x.dtype)


def index_add(x: Array, indices: Array, values: Array, /, *, axis: int) -> Array:
    """Return `x` with slices of `values` added at `indices` along `axis`."""
    return additem(x, values, key=(*(_ALL,) * (axis % x.ndim), indices))


def _along(shape: Shape, indices: Array, axis: int) -> Key:
    """Return the key of `indices` along an axis, and of its own place elsewhere."""
    axis = normalize_axis_index(axis, len(shape))
    return tuple(
        indices if i == axis else np.arange(n).reshape(n, *(1,) * (len(shape) - i - 1))
        for i, n in enumerate(shape)
    )


def take_along_axis(x: Array, indices: Array, /, *, axis: int = -1) -> Array:
    """Return the elements of `x` at `indices` along `axis`."""
    return x[_along(x.shape, indices, axis)]


def add_along_axis(x: Array, indices: Array, values: Array, /, *, axis: int) -> Array:
    """Return `x` with `values` added at `indices` along `axis`."""
    return additem(x, values, key=_along(x.shape, indices, axis))
