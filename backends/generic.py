"""Any other namespace of the array API standard: right, not fast."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from functools import cached_property, partial
from types import ModuleType
from typing import Any

import array_api_compat
import array_api_compat.numpy
import numpy as np

from gradlite._typing import Array, DType, Key, Shape
from gradlite.backends import _generic_updates, _indexing
from gradlite.backends._generic_updates import PortableBatch
from gradlite.backends._indexing import new_zeros
from gradlite.backends._namespace import PORTABLE, RawNamespace, accumulation_dtype, bar
from gradlite.backends._special import HostFunctions
from gradlite.backends.dtypes import ALL
from gradlite.backends.protocol import ImmediateUploader, Memory, Uploader


def _host_key(key: Key) -> Key:
    """Return a key with its arrays as NumPy arrays."""
    if isinstance(key, tuple):
        return tuple(_host_key(part) for part in key)
    return key if _indexing.is_basic(key) else _to_host(key)


def _positions(shape: Shape, key: Key) -> np.ndarray[Any, Any]:
    """Return the flat index of each element that a key names, found by NumPy."""
    return np.arange(math.prod(shape)).reshape(shape)[_host_key(key)]


def _upload(xp: RawNamespace, like: Array, numbers: np.ndarray[Any, Any]) -> Array:
    return xp.asarray(np.asarray(numbers, order="C"), device=xp.device(like))


def _flat(xp: RawNamespace, x: Array) -> Array:
    return xp.reshape(x, (-1,))


def _standard_key(shape: Shape, key: Key) -> Key | None:
    """Return `key` as the standard has it, None if it has nothing like it.

    The standard has ints, None, Ellipsis, and slices that stay inside their axis; not
    every library has steps backwards.
    """
    if not _indexing.is_basic(key):
        return None
    parts = key if isinstance(key, tuple) else (key,)
    found: list[Any] = []
    axis = 0
    for i, part in enumerate(parts):
        if part is Ellipsis:
            axis = len(shape) - sum(p is not None for p in parts[i + 1 :])
        elif part is not None:
            if isinstance(part, slice) and axis < len(shape):
                start, stop, step = part.indices(shape[axis])
                if step < 0:
                    return None
                part = slice(start, stop, step) if start < stop else slice(0, 0)
            axis += 1
        found.append(part)
    return tuple(found)


def getitem(xp: RawNamespace, x: Array, /, key: Key) -> Array:
    """Return `x[key]`, also for keys that the standard leaves out."""
    standard = _standard_key(x.shape, key)
    if standard is not None:
        return x[standard]
    found = _positions(x.shape, key)
    y = xp.take(_flat(xp, x), _upload(xp, x, found.reshape(-1)), axis=0)
    return xp.reshape(y, found.shape)


def setitem(xp: RawNamespace, x: Array, value: Array, /, *, key: Key) -> Array:
    """Return `x` with `value` at `key`; the last one counts where two meet."""
    standard = _standard_key(x.shape, key)
    if standard is not None and None not in standard:
        return _indexing.setitem(xp, x, value, key=standard)
    found = _positions(x.shape, key)
    source = np.full(math.prod(x.shape), -1)
    source[found.reshape(-1)] = np.arange(found.size)
    if not found.size:
        return xp.asarray(x, copy=True)
    if isinstance(value, bool | int | float | complex):
        value = xp.full((), value, dtype=x.dtype, device=xp.device(x))
    values = _flat(xp, xp.broadcast_to(value, found.shape))
    taken = xp.take(values, _upload(xp, x, np.maximum(source, 0)), axis=0)
    y = xp.where(_upload(xp, x, source >= 0), taken, _flat(xp, x))
    return xp.reshape(y, x.shape)


def setitem_(xp: RawNamespace, x: Array, value: Array, /, *, key: Key) -> None:
    """Write `value` into `x` at `key`."""
    if not isinstance(value, bool | int | float | complex):
        value = xp.asarray(value, copy=True)  # it may be a part of `x`
    standard = _standard_key(x.shape, key)
    if standard is not None and None not in standard:
        x[standard] = value
    else:
        x[...] = setitem(xp, x, value, key=key)


def additem(xp: RawNamespace, x: Array, values: Array, /, *, key: Key) -> Array:
    """Return `x` with `values` added at `key`.

    Each element gathers what is for it, a zero from behind the values where that is
    less than for others, and sums: a one-hot product would make NaN of infinities.
    """
    found = _positions(x.shape, key)
    size, n = math.prod(x.shape), found.size
    order = np.argsort(found, axis=None, kind="stable")
    counts = np.bincount(found.reshape(-1), minlength=size)
    sources = np.full((size, counts.max(initial=0)), n)
    sources[np.arange(sources.shape[1]) < counts[:, np.newaxis]] = order
    values = _flat(xp, xp.broadcast_to(values, found.shape))
    values = xp.concat([xp.astype(values, x.dtype, copy=False), new_zeros(xp, x, (1,))])
    taken = xp.take(values, _upload(xp, x, sources.reshape(-1)), axis=0)
    added = xp.sum(xp.reshape(taken, sources.shape), axis=1, dtype=x.dtype)
    return x + xp.reshape(added, x.shape)


def index_add(
    xp: RawNamespace, x: Array, indices: Array, values: Array, /, *, axis: int
) -> Array:
    """Return `x` with slices of `values` added at `indices` along `axis`."""
    key = (*(slice(None),) * (axis % x.ndim), indices)
    return additem(xp, x, values, key=key)


def add_along_axis(
    xp: RawNamespace, x: Array, indices: Array, values: Array, /, *, axis: int
) -> Array:
    """Return `x` with `values` added at `indices` along `axis`."""
    indices = xp.broadcast_to(indices, values.shape)
    return additem(xp, x, values, key=_indexing.along_axis(xp, indices, axis))


def floor_divide(xp: RawNamespace, x1: Array, x2: Array, /) -> Array:
    """Return the standard's quotients of infinities, which libraries make NaN or -1."""
    out = xp.library.floor_divide(x1, x2)
    if not xp.isdtype(out.dtype, "real floating"):
        return out
    ones = xp.ones_like(out)
    x1, x2 = x1 * ones, x2 * ones
    infinite = xp.logical_or(xp.isinf(x1), xp.isinf(x2))
    return xp.where(infinite, xp.floor(x1 / x2), out)


def unique_all(xp: RawNamespace, x: Array, /) -> tuple[Array, ...]:
    """Return the different elements of `x` and where they are, found by NumPy.

    PyTorch does not tell the first occurrences.
    """
    _, *found = array_api_compat.numpy.unique_all(_to_host(x))
    indices, inverse, counts = (_upload(xp, x, numbers) for numbers in found)
    return xp.take(_flat(xp, x), indices, axis=0), indices, inverse, counts


def _to_host(array: Array) -> np.ndarray[Any, Any]:
    if type(array).__module__.startswith("array_api_strict"):
        # its other devices stand in for GPUs and refuse to become NumPy arrays
        array = array_api_compat.to_device(array, _strict_cpu(array))
    return np.asarray(array)


def _strict_cpu(array: Array) -> Any:
    info = array_api_compat.array_namespace(array).__array_namespace_info__()
    return info.default_device()


def _memory(array: Array) -> np.ndarray[Any, Any] | None:
    """Return a NumPy array over the memory of `array`, None where there is no way."""
    if type(array).__module__.startswith("array_api_strict"):
        return array._array  # type: ignore[no-any-return]
    try:
        return np.asarray(array)
    except (TypeError, RuntimeError):  # on a GPU, or a tensor that PyTorch conjugates
        return None


class GenericBackend:
    """A backend made from a namespace, with standard functions only.

    Parameters
    ----------
    name : str
        Type of its devices.
    library : module
        The namespace, or a library that array-api-compat can make conform.
    """

    ALIGNMENT = 0
    SMALL = 0

    def __init__(self, name: str, library: ModuleType) -> None:
        sample = library.empty(0)
        namespace = array_api_compat.array_namespace(sample)
        self.name = name
        self.array_type: type = type(sample)
        self.xp = RawNamespace(
            namespace,
            device=array_api_compat.device,
            special=HostFunctions(namespace, _to_host),
        )
        self.xp.provide(
            *PORTABLE, getitem, setitem, setitem_, additem, index_add, add_along_axis,
            floor_divide, unique_all, accumulation_dtype, bar,
        )  # fmt: skip
        self._info = namespace.__array_namespace_info__()
        self._default = self._suffix(self._info.default_device())
        self._to_dtype = {
            ours: getattr(namespace, short)
            for short, ours in ALL.items()
            if hasattr(namespace, short)
        }
        self._of_dtype = {theirs: ours for ours, theirs in self._to_dtype.items()}

    @staticmethod
    def _suffix(raw: Any) -> str:
        text = str(raw)
        if "'" in text:  # array-api-strict prints "array_api_strict.Device('device1')"
            text = text.split("'")[1]
        return text

    def _devices(self) -> dict[str, Any]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, about devices it tries
            devices = self._info.devices()
        named = {self._suffix(raw): raw for raw in devices if raw is not None}
        named.pop("meta", None)  # torch's device for shapes without data
        return named

    def find_device(self, suffix: str, /) -> tuple[str, Any]:
        """Return the canonical suffix and the library's device."""
        suffix = suffix or self._default
        known = self._devices()
        if suffix not in known:
            raise ValueError(
                f"device '{self.name}:{suffix}' does not exist; use one of "
                f"{', '.join(repr(f'{self.name}:{s}') for s in known)}"
            )
        return suffix, known[suffix]

    def device_names(self) -> tuple[str, ...]:
        """Return the names of all devices of the library."""
        return tuple(f"{self.name}:{suffix}" for suffix in self._devices())

    def suffix_of(self, array: Array, /) -> str:
        """Return the library's name of the device of `array`."""
        return self._suffix(array_api_compat.device(array))

    def is_host(self, raw: Any, /) -> bool:
        """Whether the library calls the device a CPU."""
        return "cpu" in self._suffix(raw).lower()

    def scope(self, raw: Any, /) -> None:
        """Return None: such libraries compute where the operands are."""
        return

    def to_dtype(self, dtype: DType, /) -> DType:
        """Return the library's dtype, or refuse one that it does not have."""
        found = self._to_dtype.get(dtype)
        if found is None:
            raise TypeError(
                f"dtype {dtype.__name__} does not exist in {self.name}; use one of "
                f"{', '.join(d.__name__ for d in self._to_dtype)}"
            )
        return found

    def of_dtype(self, dtype: DType, /) -> DType:
        """Return gradlite's dtype for one of the library's."""
        found = self._of_dtype.get(dtype)
        if found is None:
            raise TypeError(f"gradlite has no dtype for {dtype} of {self.name}")
        return found

    def asarray(self, value: Any, /) -> Array:
        """Return an array for what a function of the library returned."""
        return self.xp.asarray(value)

    def from_host(self, array: np.ndarray[Any, Any], raw: Any) -> Array:
        """Return a copy of `array` on a device of the library."""
        dtype = self.to_dtype(array.dtype.type)
        copy = np.array(array, order="C")  # also makes it writable and native
        return self.xp.asarray(copy, dtype=dtype, device=raw)

    def to_host(self, array: Array, /) -> np.ndarray[Any, Any]:
        """Return `array` as a NumPy array."""
        return _to_host(array)

    def transfer(self, array: Array, raw: Any, /) -> Array:
        """Return `array` on another device of the library."""
        return array_api_compat.to_device(array, raw)

    def owns(self, array: Array, /) -> bool:
        """Return False: the standard does not tell views from arrays."""
        return False

    def is_writable(self, array: Array, /) -> bool:
        """Whether each element can be written to, if NumPy gets to see the memory."""
        seen = _memory(array) if self._shows_memory else None
        if seen is None or not seen.size:
            return True
        axes = zip(seen.shape, seen.strides, strict=True)
        return seen.flags.writeable and all(step or n == 1 for n, step in axes)

    @cached_property
    def _shows_memory(self) -> bool:
        """Whether NumPy gets to see the library's memory, and not copies of it."""
        x = self.xp.zeros(1)
        first, again = _memory(x), _memory(x)
        return (
            first is not None
            and again is not None
            and np.may_share_memory(first, again)
        )

    def shares_memory(self, x1: Array, x2: Array, /) -> bool | None:
        """Whether two arrays overlap, if the library shows NumPy their memory."""
        if 0 in x1.shape:
            return False
        first = _memory(x1) if self._shows_memory else None
        second = None if first is None else _memory(x2)
        return None if second is None else np.may_share_memory(first, second)

    def laid_out_like(self, x1: Array, x2: Array, /) -> Array:
        """Return `x1`, or a copy laid out like a new array that is like `x2`."""
        first, second = _memory(x1), _memory(x2)
        seen = first is not None and second is not None
        if seen and first.strides == second.strides:  # type: ignore[union-attr]
            return x1
        out = self.xp.empty_like(x2)
        out[...] = x1
        return out

    def synchronize(self, raw: Any, /) -> None:
        """Return at once: the standard knows no asynchrony."""

    def memory(self, raw: Any, /) -> Memory | None:
        """Return None: the standard does not tell."""
        return None

    def uploader(self, raw: Any, /) -> Uploader:
        """Return an uploader that transfers at once."""
        return ImmediateUploader(partial(self.from_host, raw=raw))

    def batch(
        self,
        params: Sequence[Array],
        states: Sequence[Sequence[Array]],
        groups: Sequence[int],
        steps: Sequence[int],
        slots: Sequence[Array | None],
        masters: Sequence[Array] | None = None,
    ) -> PortableBatch:
        """Return what updates some parameters together."""
        return PortableBatch(self.xp, params, states, groups, steps, slots, masters)

    def clip_factor(
        self, square_sums: Sequence[Array], max_norm: float, grad_scale: Any = None
    ) -> Array:
        """Return the factor that keeps the norm of all gradients below `max_norm`."""
        return _generic_updates.clip_factor(self.xp, square_sums, max_norm, grad_scale)

    def global_norm(
        self, arrays: Sequence[Array], /, *, grad_scale: Any = None
    ) -> Array:
        """Return the Euclidean norm over all arrays as a 0-D array."""
        return _generic_updates.global_norm(self.xp, arrays, grad_scale=grad_scale)
