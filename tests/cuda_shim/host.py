"""What the fused updates take from CuPy, over host memory and kernels on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from cuda_shim import HostModule

Host = np.ndarray[Any, Any]


class HostArray(np.ndarray[Any, Any]):
    """An array of NumPy with CuPy's attributes, for where CuPy is not installed."""

    @property
    def data(self) -> Any:
        """The address."""
        return SimpleNamespace(ptr=self.ctypes.data, device_id=0)

    @property
    def device(self) -> Any:
        """The GPU."""
        return SimpleNamespace(id=0)

    @property
    def _c_contiguous(self) -> bool:
        return self.flags.c_contiguous


def as_host_array(array: Host) -> HostArray:
    """Return a view of NumPy's array as a `HostArray`."""
    return array.view(HostArray)


class HostCuPy:
    """In CuPy's place: arrays in host memory, and one GPU that is the CPU.

    Parameters
    ----------
    folder : Path
        For the compiled kernels.
    array : callable
        Returns a device array that is the memory of one of NumPy's.
    ndarray : type
        Of the device arrays.
    driver : int
        The driver's version: before 12010 kernels have 4 KiB for their parameters.
    edit : callable, optional
        Changes the source of the kernels.
    flags : sequence of str
        For the compiler.

    Attributes
    ----------
    capturing : bool
        Whether a graph is being captured.
    launches : list of str
        The kernels that were launched.
    order : int
        Of blocks and threads, see `HostModule.set_order`.
    only : list of str, optional
        The kernels that are compiled; all by default.
    """

    def __init__(
        self,
        folder: Path,
        array: Callable[[Host], Any] = as_host_array,
        ndarray: type = HostArray,
        driver: int = 12000,
        edit: Callable[[str], str] = str,
        flags: Sequence[str] = (),
    ) -> None:
        self.array, self.ndarray = array, ndarray
        self.capturing = False
        self.launches: list[str] = []
        self.order = 0
        self.only: list[str] | None = None
        self._folder, self._edit, self._flags = folder, edit, flags
        stream = SimpleNamespace(is_capturing=lambda: self.capturing)
        limits = {
            "MultiProcessorCount": 1,
            "MaxThreadsPerMultiProcessor": 2048,
            "MaxRegistersPerMultiprocessor": 65536,
        }
        self.cuda = SimpleNamespace(
            runtime=SimpleNamespace(
                getDeviceCount=lambda: 1, driverGetVersion=lambda: driver
            ),
            nvrtc=SimpleNamespace(getVersion=lambda: (13, 0)),
            get_current_stream=lambda: stream,
            Device=lambda: SimpleNamespace(attributes=limits),
        )

    def RawModule(self, code: str, options: tuple[str, ...]) -> Any:  # noqa: N802
        """Return a module for the CPU, whose launches are written down."""
        only = self.only and [f"gradlite_{name}" for name in self.only]
        module = HostModule(self._edit(code), options, self._folder, only, self._flags)

        def get_function(name: str) -> Any:
            kernel = module.get_function(name)

            def launch(*arguments: Any) -> None:
                module.set_order(self.order)
                self.launches.append(name.removeprefix("gradlite_"))
                kernel(*arguments)

            launch.num_regs = kernel.num_regs  # type: ignore[attr-defined]
            return launch

        return SimpleNamespace(get_function=get_function)

    def asarray(self, array: Host) -> Any:
        """Return a copy of NumPy's array on the device."""
        return self.array(array.copy())

    def empty(self, shape: Any, dtype: Any) -> Any:
        """Return an array full of what can be seen if it is used."""
        host = np.empty(shape, dtype)
        host.reshape(-1).view(np.uint8)[:] = 0xFF
        return self.array(host)

    def zeros(self, shape: Any, dtype: Any) -> Any:
        """Return an array of zeros."""
        return self.array(np.zeros(shape, dtype))

    def copyto(self, target: Any, source: Any) -> None:
        """Copy between arrays of any strides."""
        to_numpy(target)[...] = to_numpy(source)

    def ascontiguousarray(self, array: Any) -> Any:
        """Return the array, or a copy in C order."""
        if array.flags.c_contiguous:
            return array
        return self.array(np.ascontiguousarray(to_numpy(array)))


def to_numpy(array: Any) -> Host:
    """Return a view of an array in host memory."""
    interface = {
        "data": (array.data.ptr, False),
        "shape": array.shape,
        "strides": array.strides,
        "typestr": f"|V{array.dtype.itemsize}",
        "version": 3,
    }
    holder = SimpleNamespace(__array_interface__=interface, keep=array)
    return np.asarray(holder).view(array.dtype)
