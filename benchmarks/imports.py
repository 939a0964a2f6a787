"""What `import gradlite` costs in time, and its size on disk, beside its peers.

Time is that of a fresh process, beyond `import numpy`, the median of several in turn.
Size is that of the installed files, without and with what a package requires. For
gradlite there is the size of its wheel too: its files, compressed.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gradlite as gl
from benchmarks._measure import paired_ratio, summary
from benchmarks._remote import ROOT
from benchmarks._report import Row, note

DEVICES = ("cpu",)
PEERS = ("torch", "jax", "numba")
DEFAULTS: dict[str, Any] = {}
REQUIRED = ("numpy", "array-api-compat")

CODE = """
import time, numpy
start = time.perf_counter()
import {name}
print(time.perf_counter() - start)
"""


def import_seconds(name: str, bytecode: str) -> float:
    """Return what importing a package takes in a fresh process that has NumPy.

    Parameters
    ----------
    name : str
        The package.
    bytecode : str
        The folder in which Python keeps what it compiled, filled by a first call.
    """
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": bytecode}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(name=name)],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
    )
    return float(done.stdout)


def own_files() -> list[Path]:
    """Return the files of gradlite's package, its backends included."""
    folders = [Path(module.__file__ or "").parent for module in (gl, gl.backends)]
    return sorted(
        {
            path.resolve()
            for folder in folders
            for path in folder.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
    )


def wheel_size(files: Sequence[Path]) -> int:
    """Return how many bytes files take in a wheel, but for its metadata."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as wheel:
        for path in files:
            wheel.write(path)
    return content.tell()


def installed_size(package: str) -> int:
    """Return the bytes of the installed files of a package."""
    files = metadata.files(package) or []
    paths = [Path(str(file.locate())) for file in files if file.suffix != ".pyc"]
    return sum(path.stat().st_size for path in paths if path.is_file())


def requirements(package: str) -> Iterator[str]:
    """Yield the installed packages that a package requires, itself first, each once."""
    seen: set[str] = set()
    waiting = [package]
    while waiting:
        name = waiting.pop()
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:  # for another system or Python
            continue
        canonical = re.sub(r"[-_.]+", "-", found.metadata["Name"]).lower()
        if canonical in seen:
            continue
        seen.add(canonical)
        yield canonical
        for line in found.requires or ():
            requirement, _, marker = line.partition(";")
            if "extra" not in marker:
                waiting.append(re.split(r"[^\w.-]", requirement.strip())[0])


def sizes(name: str) -> dict[str, int]:
    """Return the bytes that a package takes on disk."""
    if name != "gradlite":
        everything = sum(map(installed_size, requirements(name)))
        return {"installed": installed_size(name), "with required": everything}
    # It may run from a checkout, which has no list of installed files.
    files = own_files()
    own = sum(path.stat().st_size for path in files)
    required = {x for package in REQUIRED for x in requirements(package)}
    return {
        "installed": own,
        "with required": own + sum(map(installed_size, required)),
        "wheel": wheel_size(files),
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add nothing: this benchmark has no options of its own."""


def run(device: str, peers: Sequence[str], options: argparse.Namespace) -> list[Row]:
    """Return a row for gradlite and each peer.

    Parameters
    ----------
    device : {"cpu"}
        Where to run.
    peers : sequence of str
        The libraries to compare with; all are there.
    options : Namespace
        Of the command line.
    """
    names = ["gradlite", *peers]
    times: dict[str, list[float]] = {name: [] for name in names}
    with TemporaryDirectory() as bytecode:
        for repeat in range(1 + (2 if options.quick else 20)):
            note(f"import: round {repeat}")
            for name in names:
                seconds = import_seconds(name, bytecode)
                if repeat:  # the first one compiles, and fills the file cache
                    times[name].append(seconds)
    rows: list[Row] = [
        {
            "key": f"import/{name}",
            "peer": name != "gradlite",
            "time": summary(times[name]),
            "bytes": sizes(name),
        }
        for name in names
    ]
    rows[0]["ratios"] = {
        peer: paired_ratio(times[peer], times["gradlite"]) for peer in peers
    }
    return rows
