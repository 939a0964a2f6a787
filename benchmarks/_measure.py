"""Timing two sides alternately, and describing the machine."""

from __future__ import annotations

import json
import platform
import subprocess
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

import gradlite


def seconds(function: Callable[[], object], calls: int) -> float:
    """Return the mean time of one call among `calls` in a row."""
    start = time.perf_counter()
    for _ in range(calls):
        function()
    return (time.perf_counter() - start) / calls


def alternate(
    sides: dict[str, Callable[[], object]], *, repeats: int, least: float = 0.01
) -> dict[str, list[float]]:
    """Time the sides in turn, so that both meet the same disturbances.

    Parameters
    ----------
    sides : dict of callable
        What to time, by name.
    repeats : int
        How often each side is timed, after a warm-up.
    least : float, default 0.01
        Seconds that one measurement lasts at least.
    """
    calls = {}
    for name, function in sides.items():
        function()
        once = seconds(function, 3)
        calls[name] = max(1, int(least / once))
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, function in sides.items():
            times[name].append(seconds(function, calls[name]))
    return times


def summary(times: list[float]) -> dict[str, float]:
    """Return the median and the quartiles of some times, in seconds."""
    low, median, high = np.percentile(times, [25, 50, 75])
    return {"median": float(median), "q1": float(low), "q3": float(high)}


def paired_ratio(peer: list[float], ours: list[float]) -> dict[str, float]:
    """Return median and quartiles of peer's time / our time: above 1 is faster."""
    return summary([a / b for a, b in zip(peer, ours, strict=True)])


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(
            x.split(":")[1].strip() for x in lines if x.startswith("model name")
        )
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _commit() -> str:
    try:
        return subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],
            check=True,
            capture_output=True,
            text=True,
            cwd=Path(__file__).parent,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def environment(*packages: str) -> dict[str, Any]:
    """Return the processor, the versions of packages, and the commit."""
    versions = {"gradlite": gradlite.__version__}
    for name in ("numpy", *packages):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "processor": _processor(),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": versions,
        "commit": _commit(),
    }


def write(path: Path, report: dict[str, Any]) -> None:
    """Write a report as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
