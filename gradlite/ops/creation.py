"""Creation functions of the standard.

`device` is the default device unless given, `dtype` the default floating dtype, or
int64 where all arguments are ints. `requires_grad` makes a leaf that collects its
gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from operator import index
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from gradlite._arguments import real
from gradlite._typing import Array, DType, Namespace, Scalar, Shape, ShapeLike
from gradlite.autograd import differentiable
from gradlite.autograd._graph import Variable, Version
from gradlite.backends import Device, dtypes, get_default_device, is_array
from gradlite.ops.data_types import astype, clone
from gradlite.ops.manipulation import broadcast_to, tensors_of
from gradlite.ops.statistical import total

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


def _number(name: str, value: Any) -> int | float:
    """Return a real number of any library as Python's."""
    try:
        return index(value)
    except TypeError:
        return real(name, value)


def _end(name: str, value: Any) -> float | complex:
    """Return the end of a range, which may be complex."""
    if isinstance(value, complex | np.complexfloating):
        return complex(value)
    return float(_number(name, value))


def _is_element(value: Any) -> TypeGuard[Tensor]:
    """Whether a value to fill a tensor with is a tensor or array without axes."""
    if type(value) in (bool, int, float, complex):
        return False
    return (isinstance(value, Variable) or is_array(value)) and not value.ndim


def _filled(
    value: Any, shape: Shape, dtype: DType, device: str | Device | None
) -> Tensor:
    """Return a tensor full of an element, to which its derivative belongs."""
    element = astype(value, dtype)
    element = element if device is None else element.to(device)
    return clone(broadcast_to(element, shape))


def _fill_value(value: Any, dtype: DType) -> Scalar:
    """Return a number that a tensor of `dtype` can hold as a Python scalar."""
    if isinstance(value, np.generic):
        value = value.item()
    if type(value) not in (bool, int, float, complex):
        raise TypeError(
            f"fill_value must be a number or a tensor without axes, got {value!r} of "
            f"type {type(value).__name__}"
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
    fill_value: Scalar | Tensor,
    *,
    dtype: DType = None,
    device: str | Device | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return a tensor whose elements all are `fill_value`.

    Parameters
    ----------
    shape : int or tuple of int
        The shape.
    fill_value : scalar or Tensor
        A Python scalar, or a tensor without axes, which keeps its place in the graph.
    dtype : dtype, optional
        Follows the kind of the scalar, or the tensor, unless given.
    device : str or Device, optional
        The default device, or that of the tensor, unless given.
    requires_grad : bool, default False
        Whether to collect gradients for it.
    """
    sizes = _shape(shape)
    if _is_element(fill_value):
        found = _filled(fill_value, sizes, dtype or fill_value.dtype, device)
        return found.requires_grad_() if requires_grad else found
    fill_value = _fill_value(fill_value, dtype or complex)
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
    start: complex,
    stop: complex,
    /,
    num: int,
    *,
    dtype: DType = None,
    device: str | Device | None = None,
    endpoint: bool = True,
    requires_grad: bool = False,
) -> Tensor:
    """Return `num` evenly spaced numbers from `start` to `stop`, with it or without.

    The default dtype is complex if one of them is.
    """
    start, stop = _end("start", start), _end("stop", stop)
    if isinstance(num, bool) or not hasattr(num, "__index__") or index(num) < 0:
        raise ValueError(f"num must be an int of at least 0, got {num!r}")
    return _create(
        lambda xp, dtype, device: xp.linspace(
            start, stop, index(num), dtype=dtype, device=device, endpoint=endpoint
        ),
        dtype or dtypes.of_scalar(start + stop),
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


@differentiable(several=True)
def _meshgrid(
    xp: Namespace, arrays: Sequence[Array], /, *, indexing: str
) -> Sequence[Array]:
    ndim = len(arrays)
    places = _places(ndim, indexing)
    shape = [1] * ndim
    for x, place in zip(arrays, places, strict=True):
        shape[place] = math.prod(x.shape)
    rows = (
        xp.reshape(x, (-1, *(1,) * (ndim - place - 1)))
        for x, place in zip(arrays, places, strict=True)
    )
    return [xp.asarray(xp.broadcast_to(row, tuple(shape)), copy=True) for row in rows]


def _places(ndim: int, indexing: str) -> list[int]:
    """Return the axis of the grid that belongs to each of the arrays."""
    places = list(range(ndim))
    if indexing == "xy":
        places[:2] = places[:2][::-1]
    return places


@_meshgrid.vjp_of("arrays")
def _(
    xp: Namespace, g: list[Array | None], like: list[Array], indexing: str
) -> list[Array | None]:
    def gathered(d: Array, place: int, shape: Shape) -> Array:
        others = tuple(i for i in range(d.ndim) if i != place)
        return xp.reshape(total(xp, d, others), shape)

    return [
        None if d is None else gathered(d, place, x.shape)
        for d, place, x in zip(g, _places(len(g), indexing), like, strict=True)
    ]


def meshgrid(*arrays: Tensor, indexing: str = "xy") -> tuple[Tensor, ...]:
    """Return the coordinates of all points of a grid.

    Parameters
    ----------
    *arrays : Tensor
        The coordinates along each axis, 1-D.
    indexing : {"xy", "ij"}, default "xy"
        Whether the first axis of the grid belongs to the second tensor, as in images,
        or to the first, as in matrices.

    Returns
    -------
    tuple of Tensor
        One for each argument, of the shape of the grid, with its dtype; as in NumPy
        each has memory of its own.
    """
    if indexing not in ("xy", "ij"):
        raise ValueError(f"indexing must be 'xy' or 'ij', got {indexing!r}")
    tensors = tensors_of("meshgrid", arrays)
    for x in tensors:
        if x.ndim > 1:
            raise ValueError(f"arrays must be 1-D, got one of shape {x.shape}")
    grids = _meshgrid(tensors, indexing=indexing) if tensors else ()
    # Each depends on its own array only: the grid of a constant is one.
    return tuple(
        grid if x.requires_grad else grid.detach()
        for grid, x in zip(grids, tensors, strict=True)
    )


@differentiable
def tril(xp: Namespace, x: Array, /, *, k: int = 0) -> Array:
    """Return `x` with zeros above the diagonal `k` of its last two axes."""
    _check_matrix(x)
    return xp.tril(x, k=k)


tril.vjp(x=lambda xp, g, k: xp.tril(g, k=k))


@differentiable
def triu(xp: Namespace, x: Array, /, *, k: int = 0) -> Array:
    """Return `x` with zeros below the diagonal `k` of its last two axes."""
    _check_matrix(x)
    return xp.triu(x, k=k)


triu.vjp(x=lambda xp, g, k: xp.triu(g, k=k))


def _check_matrix(x: Array) -> None:
    if x.ndim < 2:
        raise ValueError(
            f"x must have at least two axes, got a tensor of shape {tuple(x.shape)}"
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
    fill_value: Scalar | Tensor,
    *,
    dtype: DType = None,
    device: str | Device | None = None,
) -> Tensor:
    """Return `fill_value`, as in `full`, in the shape, dtype and device of `x`."""
    if _is_element(fill_value):
        y = _empty_like(x, dtype=dtype)
        return _filled(fill_value, y.shape, y.dtype, device or y.device)
    fill_value = _fill_value(fill_value, dtype or getattr(x, "dtype", complex))
    y = _full_like(x, fill_value, dtype=dtype)
    return y if device is None else y.to(device)
