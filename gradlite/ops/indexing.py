"""Indexing functions: the standard's, `x[key]`, and their adjoints.

Reading at repeated indices has a derivative that adds there; `index_add`,
`add_along_axis` and `additem` do that, and each is the derivative of a reading function
as that one is its own.
"""

from __future__ import annotations

from gradlite._arguments import check_axis
from gradlite._typing import Array, Key, Namespace, Scalar, Shape
from gradlite.autograd import differentiable
from gradlite.backends._indexing import may_repeat


@differentiable
def new_zeros(xp: Namespace, x: Array, /, shape: Shape) -> Array:
    """Return zeros of a shape, with the dtype and device of `x`."""
    return xp.new_zeros(x, shape)


@differentiable(view=True)
def getitem(xp: Namespace, x: Array, /, key: Key) -> Array:
    """Return `x[key]`, for all keys of NumPy, whose arrays are those of the library."""
    return xp.getitem(x, key)


@getitem.vjp_of("x")
def _(xp: Namespace, g: Array, like: Array, key: Key) -> Array:
    zeros = xp.new_zeros(g, like.shape)
    if may_repeat(key):
        return xp.additem(zeros, g, key=key)
    return xp.setitem(zeros, g, key=key)


@differentiable(promote=("x", "value"))
def setitem(xp: Namespace, x: Array, value: Array | Scalar, /, *, key: Key) -> Array:
    """Return `x` with `value` at `key`.

    Where an integer array names an element twice, the last value counts.
    """
    return xp.setitem(x, value, key=key)


setitem.vjp(x=lambda xp, g, key: xp.setitem(g, 0.0, key=key))
getitem.as_view(put=lambda x, value, key: setitem(x, value, key=key))


@setitem.vjp_of("value")
def _(xp: Namespace, g: Array, like: Array, key: Key) -> Array:
    d = xp.getitem(g, key)
    if may_repeat(key):  # write the values' numbers: those still there have counted
        zeros = xp.zeros_like(xp.real(xp.reshape(d, (-1,))))
        numbers = xp.reshape(xp.argsort(zeros), d.shape)
        written = xp.setitem(xp.new_zeros(numbers, g.shape), numbers, key=key)
        d = xp.where(xp.getitem(written, key) == numbers, d, xp.zeros_like(d))
    ones = (1,) * (len(like.shape) - d.ndim)  # NumPy lets values have more axes
    return xp.reshape(d, (*ones, *d.shape))


@differentiable(promote=("x", "values"))
def additem(xp: Namespace, x: Array, values: Array | Scalar, /, *, key: Key) -> Array:
    """Return `x` with `values` added at `key`, as often as an element is named."""
    return xp.additem(x, values, key=key)


additem.vjp(x=lambda xp, g: g, values=lambda xp, g, key: xp.getitem(g, key))


@differentiable
def take(
    xp: Namespace, x: Array, indices: Array, /, *, axis: int | None = None
) -> Array:
    """Return the slices of `x` at `indices`, a 1-D integer tensor, along `axis`.

    `axis` may be left out where `x` has one only.
    """
    if axis is None and x.ndim != 1:
        raise ValueError(
            f"axis must be given for x of shape {tuple(x.shape)}; flatten() it first "
            "to take from all elements"
        )
    if not xp.isdtype(indices.dtype, "integral"):
        raise TypeError(
            f"indices must be of an integer dtype, got {indices.dtype}; use "
            "indices.astype(gl.int64), or x[indices] for a mask"
        )
    return xp.take(x, indices, axis=0 if axis is None else axis)


@take.vjp_of("x")
def _(xp: Namespace, g: Array, like: Array, indices: Array, axis: int | None) -> Array:
    zeros = xp.new_zeros(g, like.shape)
    return xp.index_add(zeros, indices, g, axis=0 if axis is None else axis)


@differentiable(promote=("x", "values"))
def index_add(
    xp: Namespace, x: Array, indices: Array, values: Array, /, *, axis: int
) -> Array:
    """Return `x` with the slices of `values` added at `indices` along `axis`."""
    check_axis(axis, x.ndim)
    return xp.index_add(x, indices, values, axis=axis)


index_add.vjp(
    x=lambda xp, g: g,
    values=lambda xp, g, indices, axis: xp.take(g, indices, axis=axis),
)


@differentiable
def take_along_axis(
    xp: Namespace, x: Array, indices: Array, /, *, axis: int = -1
) -> Array:
    """Return the elements of `x` at `indices` along `axis`, each place by itself."""
    return xp.take_along_axis(x, indices, axis=axis)


@take_along_axis.vjp_of("x")
def _(xp: Namespace, g: Array, like: Array, indices: Array, axis: int) -> Array:
    shape = list(g.shape)
    shape[axis] = like.shape[axis]
    zeros = xp.new_zeros(g, tuple(shape))
    return xp.add_along_axis(zeros, indices, g, axis=axis)


@differentiable
def add_along_axis(
    xp: Namespace, x: Array, indices: Array, values: Array, /, *, axis: int = -1
) -> Array:
    """Return `x` with `values` added at `indices` along `axis`."""
    return xp.add_along_axis(x, indices, values, axis=axis)


add_along_axis.vjp(
    x=lambda xp, g: g,
    values=lambda xp, g, indices, axis: xp.take_along_axis(g, indices, axis=axis),
)


@differentiable
def one_hot(xp: Namespace, x: Array, /, num_classes: int) -> Array:
    """Return integer classes as rows of zeros with a one, of type int64.

    Parameters
    ----------
    x : Tensor
        Integers of any shape; one outside 0 ... `num_classes - 1` is a row of zeros.
    num_classes : int
        Size of the new last axis.
    """
    if not xp.isdtype(x.dtype, "integral"):
        raise TypeError(f"x must hold integers, got {x.dtype}; use x.astype(gl.int64)")
    if not isinstance(num_classes, int):
        raise TypeError(f"num_classes must be an int, got {num_classes!r}")
    if num_classes < 1:
        raise ValueError(f"num_classes must be at least 1, got {num_classes}")
    classes = xp.arange(num_classes, dtype=x.dtype, device=xp.device(x))
    return xp.astype(xp.expand_dims(x, axis=-1) == classes, xp.int64)
