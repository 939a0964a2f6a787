"""Whether CUDA can be used here, and for each thing that is missing what mends it."""

from __future__ import annotations

import ctypes
import os
import sys
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

INSTALL = 'python -m pip install "gradlite[cuda12]"'
DRIVERS = "https://www.nvidia.com/drivers"
NO_DRIVER, NO_DEVICE = 35, 100  # of the CUDA runtime's error codes


@dataclass(frozen=True)
class Diagnosis:
    """Whether CUDA can be used here.

    Parameters
    ----------
    ok : bool
        Whether a kernel and a matrix product ran.
    problem : str, optional
        What is missing or wrong, empty if nothing is.
    fix : str, optional
        The command that mends it.
    versions : dict of str to str, optional
        What was found of CuPy, CUDA, the driver and the GPUs.
    """

    ok: bool
    problem: str = ""
    fix: str = ""
    versions: dict[str, str] = field(default_factory=dict)


_sound: Diagnosis | None = None


def diagnose() -> Diagnosis:
    """Return whether CUDA can be used, and if not, what is missing and what mends it.

    A good answer is kept. A bad one is not: whoever installs CuPy beside a running
    interpreter can go on in it.
    """
    global _sound
    if _sound is None:
        found = _examine()
        if not found.ok:
            return found
        _sound = found
    return _sound


def _examine() -> Diagnosis:
    try:
        cupy = import_module("cupy")
    except ModuleNotFoundError as error:
        if error.name == "cupy":
            return Diagnosis(False, *_no_cupy())
        return _broken(error)
    except ImportError as error:
        return _broken(error)
    runtime = cupy.cuda.runtime
    toolkit, driver = runtime.runtimeGetVersion(), runtime.driverGetVersion()
    versions = {
        "cupy": cupy.__version__,
        "cuda": _dotted(toolkit),
        "driver": f"for CUDA {_dotted(driver)}" if driver else "none",
    }
    try:
        count = runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        return Diagnosis(False, *_explain(error, toolkit, driver), versions)
    if not count:
        return Diagnosis(False, *_no_device(), versions)
    try:
        for i in range(count):
            gpu = runtime.getDeviceProperties(i)
            capability = f"compute capability {gpu['major']}.{gpu['minor']}"
            versions[f"gpu {i}"] = f"{gpu['name'].decode()}, {capability}"
        _try_out(cupy)
    except Exception as error:
        return Diagnosis(
            False,
            f"CuPy {cupy.__version__} sees a GPU and cannot compute on it: "
            f"{_summary(error)}",
            f'python -m pip install --upgrade "gradlite[cuda{toolkit // 1000}]"',
            versions,
        )
    tf32 = os.environ.get("CUPY_TF32") == "1"
    versions["float32 matmul"] = "in TF32, as CUPY_TF32=1 says" if tf32 else "exact"
    return Diagnosis(True, versions=versions)


def _try_out(cupy: Any) -> None:
    """Run a kernel and a matrix product, which load the parts of CUDA beside CuPy."""
    x = cupy.asarray([[0.0, 1.0], [2.0, 3.0]])
    y = cupy.matmul(x + x, x).tolist()
    if y != [[4.0, 6.0], [12.0, 22.0]]:
        raise ArithmeticError(f"a matrix product is wrong: {y}")


def _no_cupy() -> tuple[str, str]:
    """Return the problem without CuPy, and its fix; CuPy needs a driver first."""
    newer = "with an NVIDIA driver of version 580 or newer also [cuda13]"
    problem, fix = "CuPy is not installed", f"{INSTALL} ({newer})"
    if _driver_is_installed():
        return problem, fix
    no_driver, install_driver = _no_driver()
    return f"{no_driver}, and {problem}", f"first {install_driver}; then {fix}"


def _driver_is_installed() -> bool:
    """Return whether the library of the NVIDIA driver loads; CUDA is not started."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def _broken(error: ImportError) -> Diagnosis:
    """Return the state of an installed CuPy that does not load."""
    return Diagnosis(
        False,
        f"CuPy is installed and does not load: {_summary(error.__cause__ or error)}",
        f"uninstall each cupy-* that `python -m pip list` shows, then {INSTALL}",
    )


def _explain(error: Any, toolkit: int, driver: int) -> tuple[str, str]:
    """Return the problem behind an error of the CUDA runtime, and its fix."""
    if error.status == NO_DEVICE:
        return _no_device()
    if error.status != NO_DRIVER:
        return f"CUDA does not start: {_summary(error)}", "see what `nvidia-smi` says"
    if not driver:
        return _no_driver()
    needed = f"too old for this CuPy, which is for CUDA {_dotted(toolkit)}"
    return (
        f"the NVIDIA driver is for CUDA {_dotted(driver)}, {needed}",
        f"install a newer driver from {DRIVERS}",
    )


def _no_driver() -> tuple[str, str]:
    container = "start the container with `docker run --gpus all`"
    return (
        "there is no NVIDIA driver",
        f"install the one for your GPU from {DRIVERS}, or {container}",
    )


def _no_device() -> tuple[str, str]:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return (
            f"CUDA_VISIBLE_DEVICES={visible!r} shows none of the GPUs",
            "unset CUDA_VISIBLE_DEVICES",
        )
    return "there is no CUDA GPU", "check that `nvidia-smi` lists one"


def _dotted(version: int) -> str:
    """Return CUDA's 12090 as "12.9"."""
    return f"{version // 1000}.{version % 1000 // 10}"


def _summary(error: BaseException) -> str:
    """Return the type of an error and the first line with text in its message."""
    lines = [line for line in str(error).splitlines() if line.strip(" =")]
    return f"{type(error).__name__}: {lines[0].strip()}" if lines else repr(error)
