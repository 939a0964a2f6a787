"""CUDA kernels on the CPU: their source, built by g++ behind `shim.h`."""

from __future__ import annotations

import atexit
import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest

HEADER = Path(__file__).with_name("shim.h")
KERNEL = re.compile(r'extern "C" __global__ void __launch_bounds__\(\w+\)\s+(\w+)\(')


def require_compiler() -> None:
    """Skip the test where there is no g++, but not where all tests must run."""
    if sys.platform != "linux":
        pytest.skip("the CUDA kernels run on the CPU of Linux only: they need fibers")
    if shutil.which("g++") is None:
        if os.environ.get("CI"):
            pytest.fail("g++ is needed to run the CUDA kernels on the CPU")
        pytest.skip("g++ is not installed: it runs the CUDA kernels on the CPU")


@cache
def kernel_folder() -> Path:
    """Return where all tests of a run keep their compiled kernels."""
    folder = TemporaryDirectory(prefix="gradlite-kernels-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


def compile_(arguments: Sequence[str], source: str) -> str:
    """Run g++ over C++ source and return what it prints."""
    done = subprocess.run(
        ["g++", *arguments, "-x", "c++", "-"],
        input=source,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout


class HostModule:
    """A module of kernels with the methods of CuPy's `RawModule`.

    Parameters
    ----------
    code : str
        CUDA source.
    options : sequence of str
        For the compiler; definitions count, all else is for NVRTC.
    folder : Path
        For the shared libraries.
    only : iterable of str, optional
        Names of the kernels to build; all by default.
    flags : sequence of str
        Further options for g++.
    """

    def __init__(
        self,
        code: str,
        options: Sequence[str],
        folder: Path,
        only: Iterable[str] | None = None,
        flags: Sequence[str] = (),
    ) -> None:
        macros = [option for option in options if option.startswith("-D")]
        preprocessed = compile_(["-E", "-P", *macros], code)
        self.names = KERNEL.findall(preprocessed)
        body = preprocessed.replace('extern "C" __global__', "static __global__")
        exported = self.names if only is None else only
        source = "\n".join([
            f'#include "{HEADER}"',
            "namespace {",
            body,
            "}",
            *(f"EXPORT({name})" for name in exported),
        ])  # fmt: skip
        arguments = [
            "-std=c++17", "-O1", "-w", "-shared", "-fPIC", "-fvisibility=hidden",
            "-ffp-contract=off", "-fno-strict-aliasing", *flags,
        ]  # fmt: skip
        key = hashlib.sha256(repr((source, arguments)).encode()).hexdigest()[:16]
        library = folder / f"{key}.so"
        if not library.exists():
            compile_([*arguments, "-o", str(library)], source)
        self._library = ctypes.CDLL(str(library))

    def set_order(self, order: int) -> None:
        """Set the order of threads and blocks: forward, backward, or mixed."""
        self._library.shim_order(order)

    def get_function(self, name: str) -> HostKernel:
        """Return a kernel."""
        return HostKernel(name, getattr(self._library, f"run_{name}"))


class HostKernel:
    """A kernel with the signature of CuPy's `RawKernel`."""

    num_regs = 48

    def __init__(self, name: str, function: Callable[..., None]) -> None:
        self.name = name
        self._function = function

    def __call__(
        self, grid: tuple[int, ...], block: tuple[int, ...], args: tuple[Any, ...]
    ) -> None:
        values = [_value(argument) for argument in args]
        sizes = (ctypes.c_uint * 2)(grid[0], block[0])
        places = (ctypes.c_void_p * len(values))(*(v.ctypes.data for v in values))
        self._function(sizes, places)


def _value(argument: Any) -> np.ndarray[Any, Any]:
    """Return the memory of what CuPy passes to a kernel."""
    if hasattr(argument, "data") and hasattr(argument.data, "ptr"):
        return np.array(argument.data.ptr, np.uint64)
    if isinstance(argument, np.ndarray) and argument.size == 1:
        return argument
    if isinstance(argument, np.generic):
        return np.asarray(argument)
    raise TypeError(f"a kernel takes arrays, records and NumPy's scalars: {argument!r}")
