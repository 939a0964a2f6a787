"""The kernels compile for every GPU that is supported, without a GPU.

NVRTC is the compiler that CuPy uses; its wheel needs no driver.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
import sysconfig
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gradlite.backends import _cuda_kernels, _updates
from gradlite.backends._cuda_kernels import LARGE_SPACE, SMALL_SPACE

SOURCE = Path(_cuda_kernels.__file__).with_name("updates.cu").read_bytes()
ARCHITECTURES = (75, 80, 89, 90, 100, 120)

FAMILIES = tuple(_updates.STATES)
KERNELS = {
    *(f"{family}_{name}" for family in FAMILIES for name in _cuda_kernels.DTYPES),
    *(f"square_sum_{name}" for name in _cuda_kernels.DTYPES),
    *(f"advance_{family}" for family in FAMILIES if family != "rmsprop"),
    *("total", "norm", "clip_factor", "set_hyper"),
}


class Resources(NamedTuple):
    """What a thread of a kernel takes."""

    registers: int
    stack: int
    spills: int


class Compiler:
    """NVRTC through ctypes.

    Parameters
    ----------
    library : ctypes.CDLL
        NVRTC.
    """

    def __init__(self, library: Any) -> None:
        self._library = library
        library.nvrtcGetErrorString.restype = ctypes.c_char_p
        count = ctypes.c_int()
        self._call("GetNumSupportedArchs", ctypes.byref(count))
        found = (ctypes.c_int * count.value)()
        self._call("GetSupportedArchs", found)
        self.architectures = tuple(found)

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._library, f"nvrtc{name}")(*arguments)
        if status:
            raise RuntimeError(self._library.nvrtcGetErrorString(status).decode())

    def _bytes(self, name: str, program: Any) -> bytes:
        size = ctypes.c_size_t()
        self._call(f"Get{name}Size", program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        self._call(f"Get{name}", program, buffer)
        return buffer.raw

    def compile(
        self, source: bytes, architecture: int, *options: str
    ) -> tuple[bytes, dict[str, Resources]]:
        """Return the machine code, and what each kernel needs."""
        program = ctypes.c_void_p()
        self._call(
            "CreateProgram", ctypes.byref(program), source, b"updates.cu", 0, None, None
        )
        try:
            given = [f"-arch=sm_{architecture}", "--ptxas-options=-v", *options]
            encoded = (ctypes.c_char_p * len(given))(*(x.encode() for x in given))
            try:
                self._call("CompileProgram", program, len(given), encoded)
            except RuntimeError as error:
                log = self._bytes("ProgramLog", program).decode()
                raise RuntimeError(f"{error}: {log}") from None
            log = self._bytes("ProgramLog", program).decode()
            return self._bytes("CUBIN", program), resources(log)
        finally:
            self._library.nvrtcDestroyProgram(ctypes.byref(program))


def resources(log: str) -> dict[str, Resources]:
    """Return what ptxas says of each kernel."""
    found = {}
    for part in log.split("Compiling entry function ")[1:]:
        name = part.split("'")[1]
        frame = re.search(
            r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill",
            part,
        )
        registers = re.search(r"Used (\d+) registers", part)
        assert frame is not None
        assert registers is not None
        stack, stores, loads = map(int, frame.groups())
        found[name] = Resources(int(registers[1]), stack, stores + loads)
    return found


@cache
def find_compiler() -> Compiler | None:
    """Return NVRTC, from its wheel or the system."""
    folder = Path(sysconfig.get_paths()["purelib"]) / "nvidia"
    wheels = sorted(folder.glob("c*/lib/libnvrtc.so.1[0-9]"), reverse=True)
    for name in (*map(str, wheels), "libnvrtc.so.13", "libnvrtc.so.12"):
        try:
            return Compiler(ctypes.CDLL(name))
        except OSError:
            continue
    return None


@pytest.fixture(scope="module")
def compiler() -> Compiler:
    """Return NVRTC; where all tests must run, it must be there."""
    found = find_compiler()
    if found is None:
        if os.environ.get("CI") and sys.platform == "linux":
            pytest.fail("NVRTC is needed: python -m pip install nvidia-cuda-nvrtc")
        pytest.skip("NVRTC is not installed: python -m pip install nvidia-cuda-nvrtc")
    return found


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_kernels_compile_and_stay_in_their_registers(
    compiler: Compiler, architecture: int
) -> None:
    if architecture not in compiler.architectures:
        pytest.skip(f"this NVRTC does not know sm_{architecture}")
    # The oldest as for an old driver; the options as CuPy passes them on.
    space = SMALL_SPACE if architecture == min(ARCHITECTURES) else LARGE_SPACE
    options = ("--fmad=false", "-std=c++17", f"-DSPACE={space}", "-ftz=true")
    binary, found = compiler.compile(SOURCE, architecture, *options)
    assert binary.startswith(b"\x7fELF")
    assert set(found) == {f"gradlite_{name}" for name in KERNELS}
    for name, needs in found.items():
        assert (needs.stack, needs.spills) == (0, 0), name
        assert needs.registers <= 64, name


def test_spills_are_noticed(compiler: Compiler) -> None:
    source = b"""extern "C" __global__ void spills(float* x, const int* k) {
      float a[40];
      for (int i = 0; i < 40; i++) a[i] = x[i];
      for (int i = 0; i < 40; i++) a[k[i]] += i;
      for (int i = 0; i < 40; i++) x[i] = a[i];
    }"""
    _, found = compiler.compile(source, 80)
    assert found["spills"].stack > 0


def test_what_does_not_compile_is_told(compiler: Compiler) -> None:
    with pytest.raises(RuntimeError, match="identifier"):
        compiler.compile(b"__global__ void wrong() { nothing(); }", 80)


def test_the_source_includes_nothing() -> None:
    assert b"#include" not in SOURCE.replace(b"no #include", b"")
