"""CuPy: CUDA devices.

Importing this module imports nothing of CuPy. `require` does so on the first use of a
device, after `diagnose` has found nothing missing, and sets `xp` and `array_type`.
"""

from __future__ import annotations

import math
import weakref
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import cache, partial
from importlib import import_module
from operator import methodcaller
from typing import Any

import numpy as np

from gradlite._typing import Array, DType, Key
from gradlite.backends import _cuda_updates
from gradlite.backends._cuda_kernels import Kernels
from gradlite.backends._cuda_updates import CUDABatch
from gradlite.backends._diagnosis import Diagnosis as Diagnosis
from gradlite.backends._diagnosis import diagnose as diagnose
from gradlite.backends._indexing import along_axis
from gradlite.backends._namespace import PORTABLE, RawNamespace, accumulation_dtype
from gradlite.backends._special import CuPyFunctions
from gradlite.backends.dtypes import BY_TYPE
from gradlite.backends.errors import DeviceUnavailableError
from gradlite.backends.protocol import Memory, Uploader

name = "cuda"
xp: RawNamespace
array_type: type
cupy: Any
cupyx: Any

WORKSPACE = 1 << 28
"""Bytes of unfolded images at a time: few large matrix products keep a GPU busy."""

STAGING = 4
"""Uploads under way at a time; each holds page-locked memory of its size."""


def require() -> None:
    """Set `xp` and `array_type`.

    Raises
    ------
    DeviceUnavailableError
        If CUDA cannot be used; the message says what is missing and what mends it.
    """
    found = diagnose()
    if not found.ok:
        raise DeviceUnavailableError(
            f"device 'cuda' cannot be used: {found.problem}; to mend it: {found.fix}"
        )
    _load()


# The namespace


def _load() -> None:
    """Import CuPy and set what the module takes from it."""
    global cupy, cupyx, xp, array_type
    cupy, cupyx = import_module("cupy"), import_module("cupyx")
    array_type = cupy.ndarray
    xp = RawNamespace(
        import_module("array_api_compat.cupy"),
        device=lambda x: x.device,
        special=CuPyFunctions(),
        full=partial(_fill, cupy.full),
        full_like=partial(_fill, cupy.full_like),
        matmul=cupy.matmul,
        permute_dims=cupy.transpose,
        additem=_additem,
        index_add=_index_add,
        add_along_axis=_add_along_axis,
        bar=methodcaller("conjugate"),
    )
    xp.provide(*PORTABLE, accumulation_dtype)
    vars(xp).update(setitem=_setitem, setitem_=_setitem_)
    for convolution in ("conv2d", "conv2d_input", "conv2d_weight"):
        bound = partial(getattr(xp, convolution), workspace=WORKSPACE)
        setattr(xp, convolution, bound)


def _fill(
    make: Any, place: Any, fill_value: Any, *, dtype: DType = None, device: Any = None
) -> Array:
    """Keep the sign of -0.0, for which CuPy clears the memory like for 0.0."""
    out = make(place, fill_value, dtype)
    return -out if _is_negative_zero(fill_value) and out.dtype.kind == "f" else out


def _is_negative_zero(value: Any) -> bool:
    return isinstance(value, float) and value == 0 and math.copysign(1, value) < 0


def _setitem(x: Array, value: Any, /, *, key: Key) -> Array:
    out = x.copy()
    _setitem_(out, value, key=key)
    return out


def _setitem_(x: Array, value: Any, /, *, key: Key) -> None:
    x[key] = -cupy.zeros((), x.dtype) if _is_negative_zero(value) else value


def _additem(x: Array, values: Any, /, *, key: Key) -> Array:
    """Add by atomic operations.

    Where an index is repeated the order of the additions varies from run to run, and
    with it the rounding.
    """
    wide = xp.accumulation_dtype(x.dtype)
    out = x.copy() if wide is None else x.astype(wide)
    if out.dtype.kind == "c":
        cupy.add.at(out.real, key, values.real)
        cupy.add.at(out.imag, key, values.imag)
    else:
        cupy.add.at(out, key, values)
    return out if wide is None else out.astype(x.dtype)


def _index_add(x: Array, indices: Array, values: Array, /, *, axis: int) -> Array:
    return _additem(x, values, key=(slice(None),) * (axis % x.ndim) + (indices,))


def _add_along_axis(x: Array, indices: Array, values: Array, /, *, axis: int) -> Array:
    indices = cupy.broadcast_to(indices, values.shape)
    return _additem(x, values, key=along_axis(xp, indices, axis))


# Devices and transfers


def find_device(suffix: str, /) -> tuple[str, Any]:
    """Return the canonical suffix and CuPy's device; the current one for no suffix."""
    if suffix and not suffix.isdecimal():
        raise ValueError(
            f"device 'cuda:{suffix}' does not exist; use 'cuda' or a number, as in "
            "'cuda:0'"
        )
    found = cupy.cuda.Device(int(suffix) if suffix else None)
    names = device_names()
    if found.id >= len(names):
        raise DeviceUnavailableError(
            f"device 'cuda:{suffix}' is not there: this machine has {len(names)} CUDA "
            f"device{'s' * (len(names) > 1)}; use one of {', '.join(names)}"
        )
    return str(found.id), found


def device_names() -> tuple[str, ...]:
    """Return `"cuda:0"` and so on."""
    return tuple(f"cuda:{i}" for i in range(_count()))


def _count() -> int:
    return cupy.cuda.runtime.getDeviceCount()  # type: ignore[no-any-return]


def suffix_of(array: Array, /) -> str:
    """Return the number of the device of `array`."""
    return str(array.data.device_id)


def is_host(raw: Any, /) -> bool:
    """Return False: a GPU has a memory of its own."""
    return False


def scope(raw: Any, /) -> AbstractContextManager[Any] | None:
    """Return a context that makes a device the current one, None for the only one."""
    return raw if _count() > 1 else None


def to_dtype(dtype: DType, /) -> DType:
    """Return `dtype`, which CuPy shares with gradlite."""
    return dtype


def of_dtype(dtype: DType, /) -> DType:
    """Return the scalar type of a `numpy.dtype`."""
    return BY_TYPE.get(dtype.type, dtype.type)


def asarray(value: Any, /) -> Array:
    """Return a CuPy array for what a function of CuPy returned."""
    return cupy.asarray(value)


def from_host(array: np.ndarray[Any, Any], raw: Any, /) -> Array:
    """Return a copy of `array` on a device; the transfer may still be under way."""
    with raw:
        if array.ndim:
            return cupy.asarray(array, order="C")
        out = cupy.empty((), array.dtype)
        out.set(array)  # asarray would lose the sign of -0.0
        return out


def to_host(array: Array, /) -> np.ndarray[Any, Any]:
    """Return a copy of `array` in host memory, when all work on it is done."""
    with array.device:
        return array.get()  # type: ignore[no-any-return]


def transfer(array: Array, raw: Any, /) -> Array:
    """Return a copy of `array` on another CUDA device.

    Work on `array` before it comes first, and its memory is not used for anything else
    until the copy is done; each device has a queue of its own.
    """
    with array.device:
        array = cupy.asarray(array, order="C")
        source = cupy.cuda.get_current_stream()
        ready = source.record()
    with raw:
        target = cupy.cuda.get_current_stream()
        target.wait_event(ready)
        out = array.copy()
        copied = target.record()
    with array.device:
        source.wait_event(copied)
    return out


def owns(array: Array, /) -> bool:
    """Whether `array` is C-contiguous and no view; CuPy's are always writable."""
    flags = array.flags
    return flags.owndata and flags.c_contiguous  # type: ignore[no-any-return]


def is_writable(array: Array, /) -> bool:
    """Whether each element can be written to: CuPy's broadcast views take writes."""
    axes = zip(array.shape, array.strides, strict=True)
    return not array.size or all(step or n == 1 for n, step in axes)


def shares_memory(x1: Array, x2: Array, /) -> bool:
    """Whether two arrays may overlap in memory."""
    return bool(cupy.may_share_memory(x1, x2))


def laid_out_like(x1: Array, x2: Array, /) -> Array:
    """Return `x1` with its axes in memory in the order of those of `x2`."""
    if x1.strides == x2.strides:
        return x1
    with x2.device:
        out = cupy.empty_like(x2)
        out[...] = x1
    return out


def synchronize(raw: Any, /) -> None:
    """Wait until all work on a device is done."""
    raw.synchronize()


def memory(raw: Any, /) -> Memory:
    """Return a device's figures; what CuPy's pool keeps for reuse counts as used."""
    free, total = raw.mem_info
    return Memory(total - free, free, total)


class _StreamUploader:
    """Uploads on a stream of its own, beside the work of the one who consumes them.

    Parameters
    ----------
    raw : cupy.cuda.Device
        The device.
    """

    def __init__(self, raw: Any, /) -> None:
        self._device = raw
        with raw:
            self._stream = cupy.cuda.Stream(non_blocking=True)
        # Both ends of each transfer, kept until its event.
        self._under_way: deque[tuple[Any, Array, Array]] = deque()
        weakref.finalize(self, self._stream.synchronize)

    def upload(self, array: np.ndarray[Any, Any], /) -> tuple[Array, Any]:
        """Start the transfer; return the device array and the event of its end."""
        queue = self._under_way
        while queue and (len(queue) >= STAGING or queue[0][0].done):
            queue.popleft()[0].synchronize()
        staged = cupyx.empty_pinned(array.shape, array.dtype)
        staged[...] = array
        with self._device:
            # The memory is the consumer's, whose queue may still read what was there.
            out = cupy.empty(array.shape, array.dtype)
            self._stream.wait_event(cupy.cuda.get_current_stream().record())
            out.set(staged, stream=self._stream)
            end = self._stream.record()
        queue.append((end, out, staged))
        return out, end

    def wait(self, token: Any, /) -> None:
        """Make the work that follows on the device wait for an event."""
        with self._device:
            cupy.cuda.get_current_stream().wait_event(token)


def uploader(raw: Any, /) -> Uploader:
    """Return an uploader for a device."""
    return _StreamUploader(raw)


# The optimizer step

ALIGNMENT = _cuda_updates.ALIGNMENT

SMALL = 0
"""A gradient in a slot would cost a kernel that copies it, and its address nothing."""


@cache
def _kernels() -> Kernels:
    return Kernels(cupy, transfer)


def batch(
    params: Sequence[Array],
    states: Sequence[Sequence[Array]],
    groups: Sequence[int],
    steps: Sequence[int],
    slots: Sequence[Array | None],
    masters: Sequence[Array] | None = None,
    /,
) -> CUDABatch:
    """Return what updates some parameters together."""
    return CUDABatch(_kernels(), params, states, groups, steps, slots, masters)


def clip_factor(
    square_sums: Sequence[Array],
    max_norm: float,
    grad_scale: Array | float | None = None,
    /,
) -> Array:
    """Return the factor that keeps the norm of all gradients below `max_norm`."""
    return _cuda_updates.clip_factor(_kernels(), square_sums, max_norm, grad_scale)


def global_norm(arrays: Sequence[Array], /, *, grad_scale: Any = None) -> Array:
    """Return the Euclidean norm over all arrays as a 0-D array."""
    return _cuda_updates.global_norm(_kernels(), arrays, grad_scale=grad_scale)
