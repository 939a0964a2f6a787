"""What a report says about the machine and the versions, and what fits into memory."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import gradlite as gl

ROOT = Path(__file__).parents[1]
PACKAGES = ("numpy", "numba", "cupy-cuda12x", "cupy-cuda13x", "torch", "jax", "optax")


def environment(device: str, *, threads: int = 1) -> dict[str, Any]:
    """Return the machine, the versions of packages, the commit, and the threads.

    Parameters
    ----------
    device : {"cpu", "cuda"}
        Whose processor names the machine.
    threads : int, default 1
        How many each side computes with.
    """
    return {
        "device": device,
        "machine": _gpu()["gpu"] if device == "cuda" else processor(),
        "processor": processor(),
        **(_gpu() if device == "cuda" else {}),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": {"gradlite": gl.__version__, **_versions()},
        "commit": _git("rev-parse", "--short", "HEAD") or "unknown",
        "modified": bool(
            _git("status", "--porcelain", "--", ":/", ":!benchmarks/results")
        ),
        "threads": threads,
    }


def slug(machine: str) -> str:
    """Return the name of a machine as a part of a file's name."""
    plain = re.sub(r"\(.*?\)|@.*|\b(CPU|Processor)\b", " ", machine)
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-") or "unknown"


@cache
def processor() -> str:
    """Return the model of the CPU, as far as the system tells it."""
    try:
        if platform.system() == "Darwin":
            command = ["sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.check_output(command, text=True).strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except (OSError, subprocess.SubprocessError):
        pass
    return platform.processor() or platform.machine()


@cache
def _gpu() -> dict[str, Any]:
    import cupy

    runtime = cupy.cuda.runtime
    return {
        "gpu": runtime.getDeviceProperties(cupy.cuda.Device().id)["name"].decode(),
        "driver": runtime.driverGetVersion(),
        "cuda": runtime.runtimeGetVersion(),
        "tf32": os.environ.get("CUPY_TF32", "0") == "1",
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _git(*arguments: str) -> str:
    try:
        return subprocess.run(
            ["git", *arguments], check=True, capture_output=True, text=True, cwd=ROOT
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def free_memory(device: str) -> float:
    """Return the bytes that can be allocated on a device, infinity where unknown."""
    if device == "cuda":
        import cupy

        return float(cupy.cuda.runtime.memGetInfo()[0])
    try:
        for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("MemAvailable"):
                return 1024.0 * int(line.split()[1])
    except OSError:
        pass
    found = gl.backends.memory(device)
    return float(found.free) if found else float("inf")
