"""Keys, and indexed reads and writes as functions, so that rules can use them."""

from __future__ import annotations

from gradlite._typing import Array, Key, Namespace, Shape


def full_key(key: Key) -> Key:
    """Return a key with an Ellipsis for the axes it does not name.

    Strict namespaces ask for it. A lone boolean array stays alone.
    """
    if type(key) is int or type(key) is slice:
        return (key, ...)
    parts = key if isinstance(key, tuple) else (key,)
    for part in parts:
        if part is Ellipsis or hasattr(part, "ndim"):
            return key  # arrays name all axes, or there is one boolean array
    return (*parts, ...)


def is_basic(key: Key) -> bool:
    """Return whether a key has no array in it, and no bool, which is a mask."""
    parts = key if isinstance(key, tuple) else (key,)
    for part in parts:
        if not (
            part is None
            or part is Ellipsis
            or (isinstance(part, int | slice) and not isinstance(part, bool))
        ):
            return False
    return True


def may_repeat(key: Key) -> bool:
    """Return whether a key has more than masks and slices, so may repeat elements."""
    parts = key if isinstance(key, tuple) else (key,)
    for part in parts:
        if not (
            part is None
            or part is Ellipsis
            or isinstance(part, int | slice)
            or "bool" in str(getattr(part, "dtype", ""))
        ):
            return True
    return False


def getitem(xp: Namespace, x: Array, /, key: Key) -> Array:
    """Return `x[key]`."""
    return x[key]


def setitem(xp: Namespace, x: Array, value: Array, /, *, key: Key) -> Array:
    """Return `x` with `value` at `key`."""
    out = xp.asarray(x, copy=True)
    out[key] = value
    return out


def setitem_(xp: Namespace, x: Array, value: Array, /, *, key: Key) -> None:
    """Write `value` into `x` at `key`."""
    x[key] = value


def new_zeros(xp: Namespace, x: Array, /, shape: Shape) -> Array:
    """Return zeros of a shape, with the dtype and device of `x`."""
    return xp.zeros(tuple(shape), dtype=x.dtype, device=xp.device(x))


def along_axis(xp: Namespace, indices: Array, axis: int) -> Key:
    """Return the key that reads `indices` along `axis` and its own place elsewhere."""
    ndim = indices.ndim
    key = []
    for i, size in enumerate(indices.shape):
        shape = [1] * ndim
        shape[i] = size
        numbers = xp.arange(size, dtype=indices.dtype, device=xp.device(indices))
        key.append(xp.broadcast_to(xp.reshape(numbers, tuple(shape)), indices.shape))
    key[axis] = indices
    return tuple(key)
