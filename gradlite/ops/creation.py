"""Creation functions of the standard.

`device` is the default device unless given, `dtype` the default floating dtype, or
int64 where all arguments are ints. `requires_grad` makes a leaf that collects its
gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from operator import index
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlite._typing import Array, DType, Namespace, Scalar, ShapeLike
from gradlite.autograd import differentiable
from gradlite.autograd._graph import Variable, Version
from gradlite.backends import Device, dtypes, get_default_device

if TYPE_CHECKING:
    from gradlite.tensor import Tensor


def _shape(shape: ShapeLike) -> tuple[int, ...]:
    try:
        sizes = tuple(map(index, shape if isinstance(shape, Iterable) else (shape,)))
    except TypeError:
        sizes = (-1,)
    if min(sizes, default=0) < 0:
        raise ValueError(
            f"shape must be an int or a tuple of ints of at least 0, got {shape!r}"
        )
    return sizes


def _number(name: str, value: object) -> int | float:
    """Return a real number of any library as Python's."""
    try:
        return index(value) if hasattr(value, "__index__") else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, got {value!r}") from None


def _fill_value(value: Any, dtype: DType) -> Scalar:
    """Return a number that a tensor of `dtype` can hold as a Python scalar."""
    if isinstance(value, np.generic):
        value = value.item()
    if type(value) not in (bool, int, float, complex):
        raise TypeError(
            f"fill_value must be a Python scalar, got {value!r} of type "
            f"{type(value).__name__}; use .item() for a tensor"
        )
    if type(value) is complex and dtypes.rank(dtype) < 3:
        raise TypeError(
            f"fill_value must be real for dtype {dtypes.canonical(dtype).__name__}, "
            f"got {value!r}"
        )
    return value  # type: ignore[no-any-return]


def _create(
    make: Callable[[Namespace, DType, Any], Array],
    dtype: DType,
    device: str | Device | None,
    *,
    requires_grad: bool = False,
) -> Tensor:
    target = get_default_device() if device is None else Device(device)
    raw = target.backend.to_dtype(dtypes.canonical(dtype))
    with target.scope():
        array = target.backend.asarray(make(target.xp, raw, target.raw))
    tensor: Tensor = Variable._wrap(array, target, None, Version())
    return tensor.requires_grad_(requires_grad)


def empty(
    shape: ShapeLike,
    *,
    dtype: DType = None,
    device: str | Device | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return a tensor of a shape whose elements are not initialized."""
    sizes = _shape(shape)
    return _create(
        lambda xp, dtype, device: xp.empty(sizes, dtype=dtype, device=device),
        dtype or dtypes.get_default_dtype(),
        device,
        requires_grad=requires_grad,
    )


def zeros(
    shape: ShapeLike,
    *,
    dtype: DType = None,
    device: str | Device | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return a tensor of zeros.

    Parameters
    ----------
    shape : int or tuple of int
        The shape.
    dtype : dtype, optional
        The default floating dtype unless given.
    device : str or Device, optional
        Where the tensor is made; the default device unless given.
    requires_grad : bool, default False
        Whether to collect gradients for it.
    """
    sizes = _shape(shape)
    return _create(
        lambda xp, dtype, device: xp.zeros(sizes, dtype=dtype, device=device),
        dtype or dtypes.get_default_dtype(),
        device,
        requires_grad=requires_grad,
    )


def ones(
    shape: ShapeLike,
    *,
    dtype: DType = None,
    device: str | Device | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return a tensor of ones; parameters as those of `zeros`."""
    sizes = _shape(shape)
    return _create(
        lambda xp, dtype, device: xp.ones(sizes, dtype=dtype, device=device),
        dtype or dtypes.get_default_dtype(),
        device,
        requires_grad=requires_grad,
    )


def full(
    shape: ShapeLike,
    fill_value: Scalar,
    *,
    dtype: DType = None,
    device: str | Device | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return a tensor whose elements all are `fill_value`, a Python scalar.

    `dtype` follows the kind of the scalar unless given; the other parameters are those
    of `zeros`.
    """
    fill_value = _fill_value(fill_value, dtype or complex)
    sizes = _shape(shape)
    return _create(
        lambda xp, dtype, device: xp.full(
            sizes, fill_value, dtype=dtype, device=device
        ),
        dtype or dtypes.of_scalar(fill_value),
        device,
        requires_grad=requires_grad,
    )


def arange(
    start: float,
    /,
    stop: float | None = None,
    step: float = 1,
    *,
    dtype: DType = None,
    device: str | Device | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return the numbers from `start` by `step` below `stop`.

    `arange(n)` returns those from 0 below `n`. The dtype is int64 if all arguments are
    ints. The other parameters are those of `zeros`.
    """
    if stop is None:
        start, stop = 0, start
    start, stop = _number("start", start), _number("stop", stop)
    step = _number("step", step)
    if step == 0 or not all(math.isfinite(v) for v in (start, stop, step)):
        raise ValueError(
            f"start, stop and step must be finite and step not 0, got {start!r}, "
            f"{stop!r}, {step!r}"
        )
    integral = all(isinstance(value, int) for value in (start, stop, step))
    return _create(
        lambda xp, dtype, device: xp.arange(
            start, stop, step, dtype=dtype, device=device
        ),
        dtype or (dtypes.int64 if integral else dtypes.get_default_dtype()),
        device,
        requires_grad=requires_grad,
    )


def linspace(
    start: float,
    stop: float,
    /,
    num: int,
    *,
    dtype: DType = None,
    device: str | Device | None = None,
    endpoint: bool = True,
    requires_grad: bool = False,
) -> Tensor:
    """Return `num` evenly spaced numbers from `start` to `stop`, with it or without."""
    start, stop = float(_number("start", start)), float(_number("stop", stop))
    if isinstance(num, bool) or not hasattr(num, "__index__") or index(num) < 0:
        raise ValueError(f"num must be an int of at least 0, got {num!r}")
    return _create(
        lambda xp, dtype, device: xp.linspace(
            start, stop, index(num), dtype=dtype, device=device, endpoint=endpoint
        ),
        dtype or dtypes.get_default_dtype(),
        device,
        requires_grad=requires_grad,
    )


def eye(
    n_rows: int,
    n_cols: int | None = None,
    /,
    *,
    k: int = 0,
    dtype: DType = None,
    device: str | Device | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return a matrix with ones on the diagonal `k` and zeros elsewhere."""
    rows, columns = _shape((n_rows, n_rows if n_cols is None else n_cols))
    return _create(
        lambda xp, dtype, device: xp.eye(
            rows, columns, k=k, dtype=dtype, device=device
        ),
        dtype or dtypes.get_default_dtype(),
        device,
        requires_grad=requires_grad,
    )


@differentiable
def _empty_like(xp: Namespace, x: Array, /, *, dtype: DType = None) -> Array:
    return xp.empty_like(x, dtype=dtype)


def empty_like(
    x: Tensor,
    /,
    *,
    dtype: DType = None,
    device: str | Device | None = None,
) -> Tensor:
    """Return an uninitialized tensor like `x`."""
    y = _empty_like(x, dtype=dtype)
    return y if device is None else y.to(device)


@differentiable
def _zeros_like(xp: Namespace, x: Array, /, *, dtype: DType = None) -> Array:
    return xp.zeros_like(x, dtype=dtype)


def zeros_like(
    x: Tensor,
    /,
    *,
    dtype: DType = None,
    device: str | Device | None = None,
) -> Tensor:
    """Return zeros with the shape of `x`, and its dtype and device unless given."""
    y = _zeros_like(x, dtype=dtype)
    return y if device is None else y.to(device)


@differentiable
def _ones_like(xp: Namespace, x: Array, /, *, dtype: DType = None) -> Array:
    return xp.ones_like(x, dtype=dtype)


def ones_like(
    x: Tensor,
    /,
    *,
    dtype: DType = None,
    device: str | Device | None = None,
) -> Tensor:
    """Return ones with the shape of `x`, and its dtype and device unless given."""
    y = _ones_like(x, dtype=dtype)
    return y if device is None else y.to(device)


@differentiable
def _full_like(
    xp: Namespace, x: Array, /, fill_value: Scalar, *, dtype: DType = None
) -> Array:
    return xp.full_like(x, fill_value, dtype=dtype)


def full_like(
    x: Tensor,
    /,
    fill_value: Scalar,
    *,
    dtype: DType = None,
    device: str | Device | None = None,
) -> Tensor:
    """Return `fill_value` in the shape of `x`, on its device and in its dtype."""
    fill_value = _fill_value(fill_value, dtype or getattr(x, "dtype", complex))
    y = _full_like(x, fill_value, dtype=dtype)
    return y if device is None else y.to(device)
