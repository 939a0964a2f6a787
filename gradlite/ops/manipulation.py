"""Manipulation functions of the standard: the same elements in another arrangement."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlite._arguments import check_axis, real
from gradlite._typing import Array, Key, Namespace, Shape, ShapeLike
from gradlite.autograd import differentiable
from gradlite.autograd._dispatch import FACTORY, copies_arrays, mismatch
from gradlite.autograd._graph import Variable
from gradlite.ops._operands import check_operand
from gradlite.ops.indexing import getitem, setitem, take
from gradlite.ops.statistical import total

if TYPE_CHECKING:
    from gradlite.tensor import Tensor


@differentiable(view=True)
def reshape(
    xp: Namespace, x: Array, /, shape: ShapeLike, *, copy: bool | None = None
) -> Array:
    """Return the elements of `x` in row-major order with another shape.

    Parameters
    ----------
    x : Tensor
        Of any shape.
    shape : int or tuple of int
        With as many elements; one size may be -1, which is computed.
    copy : bool, optional
        True always copies, False raises where a copy is needed.
    """
    sizes = _sizes(shape)
    if min(sizes, default=0) < -1:
        raise ValueError(f"shape must have sizes of at least -1, got {shape!r}")
    return xp.reshape(x, sizes, copy=copy)


reshape.vjp(x=lambda xp, g, like: xp.reshape(g, like.shape))


@differentiable(view=True)
def permute_dims(xp: Namespace, x: Array, /, axes: Sequence[int]) -> Array:
    """Return `x` with its axes in the order `axes`."""
    return xp.permute_dims(x, tuple(axes))


@permute_dims.vjp_of("x")
def _(xp: Namespace, g: Array, axes: tuple[int, ...]) -> Array:
    order = [axis % len(axes) for axis in axes]
    return xp.permute_dims(g, tuple(order.index(i) for i in range(len(order))))


@differentiable(view=True)
def matrix_transpose(xp: Namespace, x: Array, /) -> Array:
    """Return `x` with its last two axes exchanged."""
    return xp.matrix_transpose(x)


matrix_transpose.vjp(x=lambda xp, g: xp.matrix_transpose(g))


@differentiable(view=True)
def moveaxis(
    xp: Namespace,
    x: Array,
    /,
    source: int | tuple[int, ...],
    destination: int | tuple[int, ...],
) -> Array:
    """Return `x` with the axes `source` moved to the positions `destination`."""
    return xp.moveaxis(x, source, destination)


moveaxis.vjp(x=lambda xp, g, source, destination: xp.moveaxis(g, destination, source))


@differentiable(view=True)
def expand_dims(xp: Namespace, x: Array, /, axis: int | tuple[int, ...] = 0) -> Array:
    """Return `x` with a new axis of size 1 at each of the positions `axis`.

    Positions are those in the result.
    """
    if isinstance(axis, int):
        return xp.expand_dims(x, axis=axis)
    ndim = x.ndim + len(axis)
    if not all(-ndim <= a < ndim for a in axis):
        raise IndexError(f"axis {axis} is out of bounds for a result of {ndim} axes")
    positions = {a % ndim for a in axis}
    if len(positions) < len(axis):
        raise ValueError(f"axis must not name a position twice, got {axis}")
    sizes = iter(x.shape)
    return xp.reshape(
        x, tuple(1 if i in positions else next(sizes) for i in range(ndim))
    )


expand_dims.vjp(x=lambda xp, g, like: xp.reshape(g, like.shape))


@differentiable(view=True)
def squeeze(xp: Namespace, x: Array, /, axis: int | tuple[int, ...]) -> Array:
    """Return `x` without the axes `axis`, whose size is 1."""
    return xp.squeeze(x, axis)


squeeze.vjp(x=lambda xp, g, like: xp.reshape(g, like.shape))


@differentiable(view="read-only")
def broadcast_to(xp: Namespace, x: Array, /, shape: Shape) -> Array:
    """Return `x` repeated to `shape` without a copy; the result is read-only."""
    return xp.broadcast_to(x, tuple(shape))


broadcast_to.vjp(x=lambda xp, g: g)  # the engine sums over the repeated axes


def broadcast_shapes(*shapes: Shape) -> Shape:
    """Return the shape to which tensors of all these shapes broadcast together."""
    return np.broadcast_shapes(*shapes)


def tensors_of(name: str, arrays: Iterable[Any]) -> list[Any]:
    """Return arguments as tensors, which must be on one device."""
    found = list(arrays)
    copy = copies_arrays(found)
    tensors = [
        x if isinstance(x, Variable) else FACTORY.asarray(x, copy=copy) for x in found
    ]
    for x in tensors:
        if x._device is not tensors[0]._device:
            mismatch(name, tensors[0], x)
    return tensors


def broadcast_arrays(*arrays: Tensor) -> tuple[Tensor, ...]:
    """Return tensors broadcast against each other, as `broadcast_to` does."""
    tensors = tensors_of("broadcast_arrays", arrays)
    shape = broadcast_shapes(*(x.shape for x in tensors))
    return tuple(broadcast_to(x, shape) for x in tensors)


@differentiable(view=True)
def flip(
    xp: Namespace, x: Array, /, *, axis: int | tuple[int, ...] | None = None
) -> Array:
    """Return `x` in reverse order along `axis`, along all axes by default."""
    return xp.flip(x, axis=axis)


flip.vjp(x=lambda xp, g, axis: xp.flip(g, axis=axis))


@differentiable
def roll(
    xp: Namespace,
    x: Array,
    /,
    shift: int | tuple[int, ...],
    *,
    axis: int | tuple[int, ...] | None = None,
) -> Array:
    """Return `x` shifted cyclically by `shift` along `axis`, flat by default."""
    if not all(isinstance(s, int) for s in _sizes(shift)):
        raise TypeError(f"shift must be an int or a tuple of ints, got {shift!r}")
    return _rolled(xp, x, shift, axis)


def _rolled(
    xp: Namespace,
    x: Array,
    shift: int | tuple[int, ...],
    axis: int | tuple[int, ...] | None,
) -> Array:
    """Roll with a shift for each axis, as PyTorch wants it."""
    if axis is None:
        return xp.roll(x, shift)
    shifts, axes = _sizes(shift), _sizes(axis)
    shifts = shifts * len(axes) if len(shifts) == 1 else shifts
    axes = axes * len(shifts) if len(axes) == 1 else axes
    return xp.roll(x, shifts, axis=axes) if axes else xp.roll(x, 0)


@roll.vjp_of("x")
def _(
    xp: Namespace,
    g: Array,
    shift: int | tuple[int, ...],
    axis: int | tuple[int, ...] | None,
) -> Array:
    back = -shift if isinstance(shift, int) else tuple(-s for s in shift)
    return _rolled(xp, g, back, axis)


@differentiable(promote=("arrays",))
def concat(xp: Namespace, arrays: Sequence[Array], /, *, axis: int | None = 0) -> Array:
    """Return tensors one after the other along `axis`; None joins them flat."""
    return xp.concat(arrays, axis=axis)


@concat.vjp_of("arrays")
def _(xp: Namespace, g: Array, like: list[Array], axis: int | None) -> list[Array]:
    parts, start = [], 0
    for part in like:
        if axis is None:
            stop = start + math.prod(part.shape)
            parts.append(xp.reshape(g[start:stop], part.shape))
        else:
            stop = start + part.shape[axis]
            before = (slice(None),) * (axis % len(part.shape))
            parts.append(g[(*before, slice(start, stop), ...)])
        start = stop
    return parts


@differentiable(promote=("arrays",))
def stack(xp: Namespace, arrays: Sequence[Array], /, *, axis: int = 0) -> Array:
    """Return tensors of one shape side by side along a new axis."""
    return xp.stack(arrays, axis=axis)


stack.vjp(arrays=lambda xp, g, axis: list(xp.unstack(g, axis=axis)))


@differentiable(several=True, view=True)
def unstack(xp: Namespace, x: Array, /, *, axis: int = 0) -> Sequence[Array]:
    """Return the slices of `x` along `axis`, without that axis."""
    parts = xp.unstack(x, axis=axis)
    if x.ndim == 1:  # of which NumPy makes numbers, which are copies
        parts = (x[i, ...] for i in range(len(parts)))
    return tuple(parts)


@unstack.vjp_of("x")
def _(xp: Namespace, g: list[Array | None], axis: int) -> Array:
    zero = xp.zeros_like(next(part for part in g if part is not None))
    return xp.stack([zero if part is None else part for part in g], axis=axis)


def _slice_key(x: Tensor, axis: int, i: int) -> Key:
    return (*(slice(None),) * (axis % x.ndim), i, ...)


unstack.as_view(
    get=lambda x, i, axis=0: getitem(x, key=_slice_key(x, axis, i)),
    put=lambda x, value, i, axis=0: setitem(x, value, key=_slice_key(x, axis, i)),
)


@differentiable
def tile(xp: Namespace, x: Array, /, repetitions: ShapeLike) -> Array:
    """Return `x` repeated `repetitions` times along each axis, as a whole."""
    return xp.tile(x, _sizes(repetitions))


def _sizes(sizes: ShapeLike) -> Shape:
    return tuple(sizes) if isinstance(sizes, Iterable) else (sizes,)


@tile.vjp_of("x")
def _(xp: Namespace, g: Array, like: Array, repetitions: ShapeLike) -> Array:
    times = _sizes(repetitions)
    ndim = max(len(like.shape), len(times))
    sizes = (1,) * (ndim - len(like.shape)) + tuple(like.shape)
    times = (1,) * (ndim - len(times)) + times
    pairs = tuple(n for pair in zip(times, sizes, strict=True) for n in pair)
    g = total(xp, xp.reshape(g, pairs), tuple(range(0, 2 * ndim, 2)))
    return xp.reshape(g, like.shape)


@differentiable
def _repeat(xp: Namespace, x: Array, /, repeats: int, *, axis: int | None) -> Array:
    if repeats < 0:
        raise ValueError(f"repeats must be at least 0, got {repeats!r}")
    return xp.repeat(x, repeats, axis=axis)


@_repeat.vjp_of("x")
def _(xp: Namespace, g: Array, like: Array, repeats: int, axis: int | None) -> Array:
    shape = tuple(like.shape)
    if axis is None:
        rows = xp.reshape(g, (math.prod(shape), repeats))
        return xp.reshape(total(xp, rows, 1), shape)
    axis %= len(shape)
    split = (*shape[: axis + 1], repeats, *shape[axis + 1 :])
    return total(xp, xp.reshape(g, split), axis + 1)


@differentiable
def _copies(xp: Namespace, repeats: Array, /, size: int) -> Array:
    """Return each of the numbers below `size` as often as `repeats` says."""
    if not xp.isdtype(repeats.dtype, "integral"):
        raise TypeError(f"repeats must hold integers, got {repeats.dtype}")
    if repeats.shape not in ((), (1,), (size,)):
        raise ValueError(
            f"repeats must be of shape () or ({size},), got {tuple(repeats.shape)}"
        )
    counts = xp.broadcast_to(xp.astype(repeats, xp.int64), (size,))
    if xp.any(counts < 0):
        raise ValueError("repeats must be at least 0, got a negative number")
    ends = xp.cumulative_sum(counts, include_initial=True)
    numbers = xp.arange(int(ends[-1]), device=xp.device(ends))  # CuPy cannot repeat so
    return xp.searchsorted(ends[1:], numbers, side="right")


def repeat(x: Tensor, /, repeats: int | Tensor, *, axis: int | None = None) -> Tensor:
    """Return each element of `x` `repeats` times along `axis`, flat by default.

    `repeats` may be a tensor with a number for each place along `axis`.
    """
    if isinstance(repeats, int | np.integer) and not isinstance(repeats, bool):
        return _repeat(x, repeats=int(repeats), axis=axis)
    check_operand("repeat", "x", x)
    if axis is None:
        x, axis = reshape(x, (-1,)), 0
    check_axis(axis, x.ndim)
    return take(x, _copies(repeats, x.shape[axis]), axis=axis)


@differentiable
def pad(
    xp: Namespace,
    x: Array,
    /,
    widths: tuple[tuple[int, int], ...],
    *,
    value: float = 0.0,
) -> Array:
    """Return `x` with `widths[i]` elements of `value` before and after along axis i."""
    if len(widths) != x.ndim or any(min(pair) < 0 for pair in widths):
        raise ValueError(
            f"widths must have a (before, after) pair of at least 0 for each of the "
            f"{x.ndim} axes of x, got {widths}"
        )
    if not isinstance(value, int | float | complex):
        value = real("value", value)
    shape = tuple(n + a + b for n, (a, b) in zip(x.shape, widths, strict=True))
    out = xp.full(shape, value, dtype=x.dtype, device=xp.device(x))
    out[_inner(x.shape, widths)] = x
    return out


def _inner(shape: Shape, widths: tuple[tuple[int, int], ...]) -> tuple[slice, ...]:
    return tuple(slice(a, a + n) for n, (a, _) in zip(shape, widths, strict=True))


pad.vjp(x=lambda xp, g, like, widths: g[_inner(like.shape, widths)])
