"""What every backend module exports, under the same names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

import numpy as np

from gradlite._typing import Array, DType, Namespace
from gradlite.backends._updates import Update


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


class Batch(Protocol):
    """Parameters of one device and dtype that an optimizer updates together.

    Attributes
    ----------
    steps : Array
        int64, how many updates each parameter has had; `step` counts. In the memory of
        the device where the updates are counted there, else in that of the host.
    """

    steps: Array

    def step(
        self,
        grads: Sequence[Array | None],
        updates: Sequence[Update],
        *,
        complete: bool = False,
        grad_scale: Array | float | None = None,
        clip: Array | float | None = None,
        found_inf: Array | bool | None = None,
    ) -> None:
        """Update all parameters that have a gradient, in place.

        Parameters
        ----------
        grads : sequence of (Array or None)
            The gradients, only read; a parameter without one is left alone.
        updates : sequence of Update
            One for each group, all of one family.
        complete : bool, default False
            Whether every parameter has a gradient, which lies in its slot if it has
            one; what stands in its place in `grads` is then not looked at.
        grad_scale, clip : 0-D array or float, optional
            Divisor of the gradients, and then their factor.
        found_inf : 0-D array or bool, optional
            Nothing is written, and nothing counted, where it is not zero.
        """

    def upload(self, updates: Sequence[Update]) -> None:
        """Make changed coefficients known where captured steps are replayed."""

    def square_sum(
        self, grads: Sequence[Array | None], *, complete: bool = False
    ) -> Array | float:
        """Return the sum of the squares of all gradients, on their device."""


class Backend(Protocol):
    """One array library behind gradlite: a module, or an object with its names.

    `raw` device arguments are the library's own device objects; `suffix` is the part of
    a device's name after the colon, `""` for the default one.

    Attributes
    ----------
    name : str
        The type of its devices.
    xp : Namespace
        The standard's functions and the extras.
    array_type : type
        Of its arrays.
    ALIGNMENT : int
        Bytes at whose multiples the slices of an optimizer's arenas begin; 0 where
        slices are not known to share memory, so that there can be no arenas.
    SMALL : int
        Elements up to which a parameter and its gradient are kept in an arena.
    """

    name: str
    xp: Namespace
    array_type: type
    ALIGNMENT: int
    SMALL: int

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

    def is_writable(self, array: Array, /) -> bool:
        """Whether each element can be written to, so far as the library tells."""

    def shares_memory(self, x1: Array, x2: Array, /) -> bool | None:
        """Whether two arrays may overlap in memory; None where nothing tells."""

    def laid_out_like(self, x1: Array, x2: Array, /) -> Array:
        """Return `x1` with its axes in memory in the order of those of `x2`."""

    def synchronize(self, raw: Any, /) -> None:
        """Wait until all work on a device is done."""

    def memory(self, raw: Any, /) -> Memory | None:
        """Return the memory figures of a device where they are known."""

    def uploader(self, raw: Any, /) -> Uploader:
        """Return an uploader for a device."""

    def batch(
        self,
        params: Sequence[Array],
        states: Sequence[Sequence[Array]],
        groups: Sequence[int],
        steps: Sequence[int],
        slots: Sequence[Array | None],
        masters: Sequence[Array] | None = None,
        /,
    ) -> Batch:
        """Return what updates some parameters of one device and dtype together.

        Parameters
        ----------
        params : sequence of Array
            The parameters, written in place.
        states : sequence of sequence of Array
            For each parameter the arrays that its update keeps, in the order of
            `Update.states`, written in place.
        groups : sequence of int
            For each parameter the position of its update in what `Batch.step` gets.
        steps : sequence of int
            How many updates each parameter has had.
        slots : sequence of (Array or None)
            For each parameter where its gradient lies when `Batch.step` is told that
            the gradients are complete; None where it is an array of its own.
        masters : sequence of Array, optional
            For parameters of 16 bits their values in float32, which are updated in
            their place and then rounded.
        """

    def clip_factor(
        self,
        square_sums: Sequence[Array | float],
        max_norm: float,
        grad_scale: Array | float | None = None,
        /,
    ) -> Array | float:
        """Return the factor that keeps the norm of all gradients below `max_norm`.

        Parameters
        ----------
        square_sums : sequence of (Array or float)
            What `Batch.square_sum` returned, for all batches of a device.
        max_norm : float
            Bound on the norm.
        grad_scale : 0-D array or float, optional
            Divisor of the norm.
        """

    def global_norm(
        self, arrays: Sequence[Array], /, *, grad_scale: Any = None
    ) -> Array:
        """Return the Euclidean norm over all arrays as a 0-D array."""
