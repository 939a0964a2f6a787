"""NumPy: the CPU."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradlite._typing import Array, DType
from gradlite.backends import _cpu_functions, _cpu_updates
from gradlite.backends._cpu_updates import CPUBatch
from gradlite.backends._cpu_updates import has_jit as has_jit
from gradlite.backends._cpu_updates import set_jit as set_jit
from gradlite.backends._namespace import PORTABLE, RawNamespace
from gradlite.backends._special import SpecialFunctions
from gradlite.backends.dtypes import BY_TYPE
from gradlite.backends.protocol import ImmediateUploader, Memory, Uploader

name = "cpu"
array_type = np.ndarray

ALIGNMENT = 1
"""Slices of arenas follow each other without a gap, so that a step can merge them."""

SMALL = _cpu_updates.SMALL


def _keep_freed_memory() -> None:
    """Let glibc keep the memory of freed arrays for the next ones.

    By default it returns large blocks to the system, and a training step pays anew for
    every page of its temporaries: a third of LeNet's time. glibc adapts: the first
    large block that is freed, here of nearly the 32 MiB up to which it does so, becomes
    the size below which blocks come from memory that is kept, up to twice as much. The
    block is never touched, so it costs nothing; other allocators do not care.
    """
    np.empty(31 << 20, np.uint8)


_keep_freed_memory()

xp = RawNamespace(_cpu_functions, device=lambda x: "cpu", special=SpecialFunctions())
xp.provide(*PORTABLE)
xp.linalg.cross = _cpu_functions.cross
xp.linalg.vector_norm = _cpu_functions.vector_norm


def find_device(suffix: str, /) -> tuple[str, str]:
    """Accept `"cpu"` and `"cpu:0"`, which are the same device."""
    if suffix not in ("", "0"):
        raise ValueError(f"device 'cpu:{suffix}' does not exist; use 'cpu'")
    return "", "cpu"


def device_names() -> tuple[str, ...]:
    """Return `("cpu",)`."""
    return ("cpu",)


def suffix_of(array: Array, /) -> str:
    """Return the empty suffix: there is one CPU."""
    return ""


def is_host(raw: Any, /) -> bool:
    """Return True."""
    return True


def scope(raw: Any, /) -> None:
    """Return None: there is nothing to enter."""
    return


def to_dtype(dtype: DType, /) -> DType:
    """Return `dtype`, which NumPy shares with gradlite."""
    return dtype


def of_dtype(dtype: DType, /) -> DType:
    """Return the scalar type of a `numpy.dtype`."""
    return BY_TYPE.get(dtype.type, dtype.type)


def asarray(value: Any, /) -> np.ndarray[Any, Any]:
    """Return an array for what a function of NumPy returned, perhaps a scalar."""
    return np.asarray(value)


def from_host(array: np.ndarray[Any, Any], raw: Any, /) -> np.ndarray[Any, Any]:
    """Return `array`."""
    return array


def to_host(array: Array, /) -> np.ndarray[Any, Any]:
    """Return `array`."""
    return array  # type: ignore[no-any-return]


def transfer(array: Array, raw: Any, /) -> Array:
    """Return `array`: there is one CPU."""
    return array


def owns(array: Array, /) -> bool:
    """Whether `array` is writable, C-contiguous and no view of another one."""
    flags = array.flags
    return flags.owndata and flags.c_contiguous and flags.writeable  # type: ignore[no-any-return]


def is_writable(array: Array, /) -> bool:
    """Whether `array` can be written to."""
    return bool(array.flags.writeable)


def shares_memory(x1: Array, x2: Array, /) -> bool:
    """Whether two arrays may overlap in memory."""
    return x1.base is x2 or bool(np.may_share_memory(x1, x2))


def laid_out_like(x1: Array, x2: Array, /) -> Array:
    """Return `x1` with its axes in memory in the order of those of `x2`."""
    if x1.strides == x2.strides:
        return x1
    out = np.empty_like(x2)
    out[...] = x1
    return out


def synchronize(raw: Any, /) -> None:
    """Return at once: NumPy has finished when it returns."""


def memory(raw: Any, /) -> Memory | None:
    """Return the machine's memory figures where the system tells them."""
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        total = page * os.sysconf("SC_PHYS_PAGES")
        free = page * os.sysconf("SC_AVPHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf
        return None
    return Memory(total - free, free, total)


def uploader(raw: Any, /) -> Uploader:
    """Return an uploader, which has nothing to do on a CPU."""
    return ImmediateUploader(np.asarray)


def batch(
    params: Sequence[Array],
    states: Sequence[Sequence[Array]],
    groups: Sequence[int],
    steps: Sequence[int],
    slots: Sequence[Array | None],
    masters: Sequence[Array] | None = None,
    /,
) -> CPUBatch:
    """Return what updates some parameters together."""
    return CPUBatch(params, states, groups, steps, slots, masters)


def clip_factor(
    square_sums: Sequence[Array | float],
    max_norm: float,
    grad_scale: Array | float | None = None,
    /,
) -> float:
    """Return the factor that keeps the norm of all gradients below `max_norm`."""
    return _cpu_updates.clip_factor(square_sums, max_norm, grad_scale)


def global_norm(arrays: Sequence[Array], /, *, grad_scale: Any = None) -> Array:
    """Return the Euclidean norm over all arrays as a 0-D array."""
    return _cpu_updates.global_norm(arrays, grad_scale=grad_scale)
