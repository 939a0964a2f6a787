"""What this installation can do, and for each problem the command that mends it."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import numpy as np

import gradlite as gl
from gradlite import backends
from gradlite.backends import cuda
from gradlite.data.download import cache_folder

EXTRAS = {
    "numba": "optimizer steps compiled for the CPU",
    "safetensors": "files in the safetensors format",
    "tqdm": "progress bars of the examples",
    "matplotlib": "plots of the examples",
    "torch": "the devices torch:*, comparisons in the tests",
    "array-api-strict": "the devices array_api_strict:*, tests",
    "scipy": "array API code to differentiate",
    "ml-dtypes": "bfloat16 on CUDA",
}
"""Optional distributions, and what gradlite or its users do with each."""

TOLERANCE = 1e-12
"""Largest error of the float64 gradient of `check_gradient`; 1e-16 is usual."""

GIB = 2**30


@dataclass(frozen=True)
class Row:
    """One line of the report.

    Parameters
    ----------
    name, text : str
        What was looked at, and what was found.
    fix : str, optional
        The command that mends it, where something is wrong.
    """

    name: str
    text: str
    fix: str = ""


def main() -> int:
    """Print the report and return the exit code: 0 when the CPU path works, else 1."""
    diagnosis = cuda.diagnose()
    devices = list(device_rows(diagnosis))
    print(f"gradlite {gl.__version__}")
    for title, rows in (
        ("Software", software_rows()),
        ("CUDA", cuda_rows(diagnosis, cupy_wheels())),
        ("Devices", devices),
        ("Optional packages", extra_rows()),
    ):
        print(f"\n{title}\n{render(rows)}")
    working = [row.name for row in devices if not row.fix]
    if "cpu" not in working:
        print("\ngradlite does not work here: mend the CPU first")
        return 1
    print(f"\ngradlite works on: {', '.join(working)}")
    return 0


def render(rows: Iterable[Row]) -> str:
    """Return the rows as aligned lines, each fix on a line of its own."""
    lines = []
    for row in rows:
        lines.append(f"  {row.name:<18}{row.text}")
        if row.fix:
            lines.append(f"  {'':<18}fix: {row.fix}")
    return "\n".join(lines)


def software_rows() -> Iterator[Row]:
    """Yield the versions on which everything else rests."""
    python = f"{platform.python_implementation()}, {platform.architecture()[0]}"
    yield Row("python", f"{platform.python_version()} ({python})")
    yield Row("platform", platform.platform())
    yield Row("numpy", np.__version__)
    yield blas_row(np.show_config(mode="dicts"))
    yield Row("array-api-compat", metadata.version("array-api-compat"))
    yield Row("default device", str(gl.get_default_device()))
    yield cache_row(cache_folder())


def blas_row(config: Any) -> Row:
    """Return the library behind `matmul`, from NumPy's build configuration."""
    blas = config.get("Build Dependencies", {}).get("blas", {})
    if blas.get("found"):
        return Row("blas", f"{blas.get('name')} {blas.get('version', '')}".rstrip())
    return Row(
        "blas",
        "none, so matrix products are slow",
        "python -m pip install --force-reinstall --only-binary numpy numpy",
    )


def cache_row(folder: Path) -> Row:
    """Return where downloads are kept, and whether they can be written there."""
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not (nearest.is_dir() and os.access(nearest, os.W_OK)):
        return Row(
            "cache folder",
            f"{folder} cannot be written",
            "set GRADLITE_CACHE to a folder that can be written",
        )
    made = "" if nearest == folder else " (made on first use)"
    return Row("cache folder", f"{folder}{made}")


def cuda_rows(diagnosis: cuda.Diagnosis, wheels: list[str]) -> Iterator[Row]:
    """Yield the versions of CuPy and the driver, and what keeps CUDA from working."""
    for name, version in diagnosis.versions.items():
        yield Row(name, version)
    if len(wheels) > 1:
        names = " ".join(wheels)
        yield Row(
            "wheels",
            f"several are installed over each other: {names}",
            f"python -m pip uninstall -y {names}, then install one of them",
        )
    if not diagnosis.ok:
        yield Row("status", f"not available: {diagnosis.problem}", diagnosis.fix)


def cupy_wheels() -> list[str]:
    """Return the names of the installed distributions that contain CuPy."""
    names = {str(found.metadata["Name"]).lower() for found in metadata.distributions()}
    return sorted(name for name in names if name.partition("-cuda")[0] == "cupy")


def device_rows(diagnosis: cuda.Diagnosis) -> Iterator[Row]:
    """Yield whether gradients are right on the CPU and on each CUDA device."""
    reinstall = "python -m pip install --force-reinstall"
    yield device_row("cpu", f"{reinstall} numpy array-api-compat")
    if diagnosis.ok:
        wheel = "".join(cupy_wheels()[:1]) or "cupy"
        for name in backends.backend("cuda").device_names():
            yield device_row(name, f'{reinstall} "{wheel}[ctk]"')


def device_row(name: str, fix: str) -> Row:
    """Return whether a gradient is right on one device, and the device's memory."""
    try:
        error = check_gradient(name)
        memory = backends.memory(name)
    except Exception as problem:
        return Row(name, f"fails: {type(problem).__name__}: {problem}", fix)
    if not error <= TOLERANCE:
        return Row(name, f"a gradient is wrong by {error:.1e}", fix)
    text = f"works, a gradient is right to {error:.1e}"
    if memory is not None:
        text += f"; {memory.free / GIB:.1f} of {memory.total / GIB:.1f} GiB free"
    return Row(name, text)


def check_gradient(device: str) -> float:
    """Return the error of one gradient on `device` against its formula in NumPy.

    Parameters
    ----------
    device : str
        Such as `"cpu"` or `"cuda:0"`.

    Returns
    -------
    float
        Largest absolute difference for the sum of `tanh(x @ w)` in float64.
    """
    random = np.random.default_rng(0)
    x, w = random.standard_normal((4, 3)), random.standard_normal((3, 5))
    t = gl.tensor(x, device=device, requires_grad=True)
    gl.sum(gl.tanh(gl.matmul(t, gl.tensor(w, device=device)))).backward()
    if t.grad is None:
        return float("nan")
    expected = (1 - np.tanh(x @ w) ** 2) @ w.T
    return float(np.max(np.abs(t.grad.cpu().numpy() - expected)))


def extra_rows() -> Iterator[Row]:
    """Yield each optional package: its version, or how to install it."""
    for name, purpose in EXTRAS.items():
        install = f"python -m pip install {name}"
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield Row(name, f"not installed ({purpose}): {install}")
            continue
        try:
            import_module(name.replace("-", "_"))
        except Exception as problem:
            text = f"{version} is broken: {type(problem).__name__}: {problem}"
            yield Row(name, text, f"{install} --upgrade --force-reinstall")
        else:
            yield Row(name, f"{version} ({purpose})")
