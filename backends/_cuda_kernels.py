"""What `updates.cu` is to the host: its structs, its kernels, and tables of tensors."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from gradlite._typing import Array
from gradlite.backends._updates import Coefficients

THREADS = 256
TILE_BYTES = 8192
SMALL_SPACE, LARGE_SPACE = 4096, 32764
"""Bytes for the parameters of a kernel, before CUDA 12.1 and since."""

DTYPES = ("float32", "float64", "float16", "bfloat16")
"""Names of the dtypes for which there are kernels."""

MAX_POINTERS = 6
MAX_SUMS = 64

Addresses: TypeAlias = "np.ndarray[Any, np.dtype[np.uint64]]"
Integers: TypeAlias = "np.ndarray[Any, np.dtype[np.int64]]"
Record: TypeAlias = "np.ndarray[Any, Any]"

# The structs of updates.cu

SCALAR = np.dtype([("value", "f8"), ("at", "u8"), ("kind", "i8")])
STEP = np.dtype(
    [
        ("hypers", "u8"),
        ("rates", "u8"),
        ("steps", "u8"),
        ("advanced", "i8"),
        ("grad_scale", SCALAR),
        ("clip", SCALAR),
        ("found_inf", SCALAR),
    ]
)
UPDATE = np.dtype([("coefficients", "f8", len(Coefficients._fields)), ("flags", "i8")])
SUMS = np.dtype([("at", "u8", MAX_SUMS), ("count", "i8")])
HYPER = np.dtype(
    [
        ("wide", "f8", len(Coefficients._fields)),
        ("narrow", "f4", len(Coefficients._fields)),
        ("flags", "i4"),
    ],
    align=True,
)


def capacity(space: int, pointers: int) -> int:
    """Return how many tensors with so many arrays each fit into one launch."""
    return (space - 160) // (8 * pointers + 20)


@functools.cache
def table_dtype(space: int, pointers: int) -> np.dtype[Any]:
    """Return the struct `Table<pointers>`."""
    count = capacity(space, pointers)
    return np.dtype(
        [
            ("at", "u8", (pointers, count)),
            ("size", "i8", count),
            ("tile", "i4", count + 1),
            ("index", "i4", count),
            ("group", "i4", count),
            ("count", "i4"),
        ],
        align=True,
    )


def by_value(record: Record) -> Record:
    """Return a view of a record as CuPy passes it fastest; it follows the record."""
    return record.view(f"V{record.dtype.itemsize}")


# The compiled kernels


class Scalar(NamedTuple):
    """A number, or where on the device it is."""

    value: float
    at: int = 0
    kind: int = 0

    def by_value(self) -> Record:
        """Return the argument for a kernel."""
        return by_value(np.array(tuple(self), SCALAR))


_KINDS = {"?": 1, "f": 2, "d": 3}
SCALARS = ("grad_scale", "clip", "found_inf")
_UNIT = Scalar(1.0).by_value()
PLAIN = (Scalar(1.0), Scalar(1.0), Scalar(0.0))


def supported(name: str, dtype: Any) -> np.dtype[Any]:
    """Return `dtype` if there are kernels for it."""
    if dtype.name not in DTYPES:
        raise TypeError(
            f"{name} must be of dtype {', '.join(DTYPES)}, got {dtype}; convert them"
        )
    return dtype  # type: ignore[no-any-return]


class Kernels:
    """The kernels of `updates.cu`, compiled when they are first asked for.

    Parameters
    ----------
    cupy : module
        CuPy.
    transfer : callable
        Returns an array on another device.
    """

    def __init__(self, cupy: Any, transfer: Callable[[Array, Any], Array]) -> None:
        self.cupy = cupy
        self._transfer = transfer
        runtime = cupy.cuda.runtime
        self._several = runtime.getDeviceCount() > 1
        large = runtime.driverGetVersion() >= 12010
        self._large = large and cupy.cuda.nvrtc.getVersion() >= (12, 1)
        self._compiled: dict[int, Any] = {}
        self._held: Any = None
        self._functions: dict[tuple[str, int], Any] = {}
        self._clipping: dict[tuple[int, ...], tuple[Record, Record, Array]] = {}

    def scope(self, array: Array) -> AbstractContextManager[Any]:
        """Return a context for work on the device of `array`."""
        return array.device if self._several else nullcontext()

    def space(self, tensors: int) -> int:
        """Return the bytes of parameters of the kernels for so many tensors.

        More than need be would cost time in each launch.
        """
        many = tensors > capacity(SMALL_SPACE, MAX_POINTERS)
        return LARGE_SPACE if many and self._large else SMALL_SPACE

    def get(self, name: str, space: int | None = None) -> Any:
        """Return a kernel; those without a table are alike for every space."""
        if space is None:
            space = next(iter(self._compiled), SMALL_SPACE)
        kernel = self._functions.get((name, space))
        if kernel is None:
            if space not in self._compiled:
                self._compiled[space] = self.cupy.RawModule(
                    code=Path(__file__).with_name("updates.cu").read_text("utf-8"),
                    options=("--fmad=false", "-std=c++17", f"-DSPACE={space}"),
                )
            kernel = self._compiled[space].get_function(f"gradlite_{name}")
            self._functions[name, space] = kernel
        return kernel

    def wave(self, kernel: Any) -> int:
        """Return how many blocks of a kernel the current device runs at a time."""
        limits = self.cupy.cuda.Device().attributes
        registers = THREADS * 8 * -(-kernel.num_regs // 8)
        resident = min(
            limits["MaxThreadsPerMultiProcessor"] // THREADS,
            limits["MaxRegistersPerMultiprocessor"] // registers,
        )
        return int(limits["MultiProcessorCount"] * max(1, resident))

    def capturing(self) -> bool:
        """Whether the current stream records a graph."""
        return bool(self.cupy.cuda.get_current_stream().is_capturing())

    def scalar(self, value: Array | float | None, default: float) -> Scalar:
        """Return what a kernel needs to know of a number, which is not read."""
        if value is None:
            return Scalar(default)
        if not isinstance(value, self.cupy.ndarray):
            return Scalar(float(value))
        return Scalar(0.0, value.data.ptr, _KINDS[value.dtype.char])

    def readable(self, value: Any, device: Any) -> Any:
        """Return `value` as kernels on a device can read it."""
        if not isinstance(value, self.cupy.ndarray):
            return value
        if value.size != 1:
            raise ValueError(
                "grad_scale, clip and found_inf must be numbers, got an array of"
                f" shape {value.shape}; reduce it to one element"
            )
        if self._several and value.device != device:
            value = self._transfer(value, device)
        return value if value.dtype.char in _KINDS else value.astype(np.float64)

    def divisor(self, grad_scale: Any, device: Any) -> Record:
        """Return the argument for the divisor of a norm."""
        if grad_scale is None:
            return _UNIT
        self._held = self.readable(grad_scale, device)
        return self.scalar(self._held, 1.0).by_value()

    def clipping(self, sums: Sequence[Array]) -> tuple[Record, Record, Array]:
        """Return the arguments for the sums and the factor, and the factor's array.

        They are the same for the same sums: a captured graph writes to this array
        whenever it is launched.
        """
        key = tuple(x.data.ptr for x in sums)
        if key not in self._clipping:
            out = self.cupy.empty((), np.float64)
            self._clipping[key] = (sums_argument(sums), target_argument(out), out)
        return self._clipping[key]


def sums_argument(sums: Sequence[Array]) -> Record:
    """Return the argument for the places of sums of squares."""
    if len(sums) > MAX_SUMS:
        raise ValueError(
            f"square_sums must hold at most {MAX_SUMS} arrays, got {len(sums)}; use"
            " fewer batches"
        )
    record = np.zeros((), SUMS)
    record["at"][: len(sums)] = [x.data.ptr for x in sums]
    record["count"] = len(sums)
    return by_value(record)


def target_argument(out: Array) -> Record:
    """Return the argument for the place of a result."""
    return Scalar(0.0, out.data.ptr, _KINDS[out.dtype.char]).by_value()


# Tables


class Launch(NamedTuple):
    """One table, as a record and as an argument, and the tiles that are in it."""

    record: Record
    argument: Record
    tiles: int


class Table:
    """Tensors as kernels get them, in as many launches as they need.

    Parameters
    ----------
    space : int
        Bytes for the parameters of a kernel.
    at : array
        uint64, the addresses: a row for each array of a tensor, first the gradient.
    sizes, groups : array
        int64, for each tensor.
    chosen : array
        The indices of the tensors that take part.
    itemsize : int
        Bytes of an element in the dtype of the arithmetic.
    """

    def __init__(
        self,
        space: int,
        at: Addresses,
        sizes: Integers,
        groups: Integers,
        chosen: Integers,
        itemsize: int,
    ) -> None:
        dtype = table_dtype(space, len(at))
        self._step = capacity(space, len(at))
        self.launches: list[Launch] = []
        for start in range(0, len(chosen), self._step):
            part = chosen[start : start + self._step]
            count = len(part)
            record = np.zeros((), dtype)
            record["at"][:, :count] = at[:, part]
            record["size"][:count] = sizes[part]
            # An empty tensor has a tile too, in which its step is counted.
            tiles = np.maximum(1, -(-sizes[part] * itemsize // TILE_BYTES))
            np.cumsum(tiles, out=record["tile"][1 : count + 1])
            record["index"][:count] = part
            record["group"][:count] = groups[part]
            record["count"] = count
            self.launches.append(Launch(record, by_value(record), int(tiles.sum())))

    def point(self, gradients: Sequence[int]) -> None:
        """Set the addresses of the gradients."""
        for i, launch in enumerate(self.launches):
            part = gradients[i * self._step : (i + 1) * self._step]
            launch.record["at"][0, : len(part)] = part
