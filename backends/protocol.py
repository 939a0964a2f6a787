"""What every backend module exports, under the same names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

import numpy as np

from gradlite._typing import Array, DType, Namespace


class Memory(NamedTuple):
    """Memory figures of a device, in bytes."""

    used: int
    free: int
    total: int


class Uploader(Protocol):
    """Moves host arrays to a device ahead of their use."""

    def upload(self, array: np.ndarray[Any, Any], /) -> tuple[Array, Any]:
        """Start the transfer; return the device array and a token of its end."""

    def wait(self, token: Any, /) -> None:
        """Make the work that follows on the device wait for that end."""


class ImmediateUploader:
    """An uploader whose transfers are done when `upload` returns.

    Parameters
    ----------
    transfer : callable
        Returns a host array on the device.
    """

    def __init__(self, transfer: Callable[[Array], Array], /) -> None:
        self._transfer = transfer

    def upload(self, array: Array, /) -> tuple[Array, Any]:
        """Transfer `array`; there is nothing to wait for."""
        return self._transfer(array), None

    def wait(self, token: Any, /) -> None:
        """Return at once."""


class Backend(Protocol):
    """One array library behind gradlite: a module, or an object with its names.

    `raw` device arguments are the library's own device objects; `suffix` is the part of
    a device's name after the colon, `""` for the default one.
    """

    name: str
    xp: Namespace
    array_type: type

    def find_device(self, suffix: str, /) -> tuple[str, Any]:
        """Return the canonical suffix and the raw device, or raise what is missing."""

    def device_names(self) -> tuple[str, ...]:
        """Return the names of the devices that can be used now."""

    def suffix_of(self, array: Array, /) -> str:
        """Return the suffix of the device on which `array` lives."""

    def is_host(self, raw: Any, /) -> bool:
        """Whether a device's memory is the host's."""

    def scope(self, raw: Any, /) -> AbstractContextManager[Any] | None:
        """Return a context for work on a device, None where none is needed."""

    def to_dtype(self, dtype: DType, /) -> DType:
        """Return the library's dtype for one of gradlite's."""

    def of_dtype(self, dtype: DType, /) -> DType:
        """Return gradlite's dtype for one of the library's."""

    def asarray(self, value: Any, /) -> Array:
        """Return `array_type` for what a function of the library returned."""

    def from_host(self, array: np.ndarray[Any, Any], raw: Any, /) -> Array:
        """Return `array` on a device, sharing memory where that is possible."""

    def to_host(self, array: Array, /) -> np.ndarray[Any, Any]:
        """Return `array` as a NumPy array, sharing memory where that is possible."""

    def transfer(self, array: Array, raw: Any, /) -> Array:
        """Return `array` on another device of this library."""

    def owns(self, array: Array, /) -> bool:
        """Whether `array` is writable, C-contiguous and no view of another one."""

    def shares_memory(self, x1: Array, x2: Array, /) -> bool:
        """Whether two arrays may overlap in memory."""

    def synchronize(self, raw: Any, /) -> None:
        """Wait until all work on a device is done."""

    def memory(self, raw: Any, /) -> Memory | None:
        """Return the memory figures of a device where they are known."""

    def uploader(self, raw: Any, /) -> Uploader:
        """Return an uploader for a device."""

    def sgd_(
        self,
        params: Sequence[Array],
        grads: Sequence[Array],
        buffers: Sequence[Array] | None,
        /,
        **options: Any,
    ) -> None:
        """Apply one SGD step in place; `backends/_sgd.py` has the options."""

    def global_norm(
        self, arrays: Sequence[Array], /, *, grad_scale: Any = None
    ) -> Array:
        """Return the Euclidean norm over all arrays as a 0-D array."""
