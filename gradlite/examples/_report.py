"""What the examples write at the end: the results as JSON, and a picture of them."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import numpy as np

import gradlite as gl

BLUE, ORANGE, RED = "#0072b2", "#d55e00", "#c81d25"
ROWS, COLUMNS = 5, 14


class Curves(Protocol):
    """What a picture needs to know of the training of one network."""

    seed: int
    by_writer: bool
    train_loss: list[list[float]]
    train_accuracy: list[float]
    test_loss: list[float]
    test_accuracy: list[float]
    predictions: list[int]


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write results, and what they were reached with, as JSON."""
    content = {**content, "versions": versions(), "machine": machine()}
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def versions() -> dict[str, str]:
    """Return the versions of what the results depend on."""
    blas = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})  # type: ignore[call-overload]
    found = {
        "gradlite": gl.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": f"{blas.get('name')} {blas.get('version')}",
    }
    for distribution in metadata.distributions():
        name = str(distribution.metadata["Name"]).lower()
        if name.startswith("cupy"):
            found[name] = distribution.version
    return found


def machine() -> dict[str, Any]:
    """Return what the machine is, but not which."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
    }


def cpu_name() -> str:
    """Return the model of the CPU, as far as the system tells it."""
    try:
        if platform.system() == "Darwin":
            command = ["sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.check_output(command, text=True).strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    except (OSError, subprocess.SubprocessError):
        pass
    return platform.processor() or platform.machine()


def draw(
    path: Path,
    title: str,
    runs: Sequence[Curves],
    shown: Curves,
    images: np.ndarray[Any, Any],
    labels: np.ndarray[Any, Any],
) -> None:
    """Draw the curves of all runs and some test digits with predictions as a PNG.

    Parameters
    ----------
    path : Path
        The file to write.
    title : str
        Heading of the picture.
    runs : sequence of Curves
        The trainings; the curves of one kind have one color.
    shown : Curves
        The run whose predictions are shown.
    images, labels : array
        The test digits of that run: shape (N, height, width), and (N,).
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 8.4), dpi=160, layout="constrained")
    figure.suptitle(title, fontsize=14)
    above, below = figure.subfigures(2, 1, height_ratios=(1, 1.25))
    loss, accuracy = above.subplots(1, 2)
    draw_curves(loss, accuracy, runs)

    predictions = np.asarray(shown.predictions)
    wrong = np.flatnonzero(predictions != labels)
    right = np.flatnonzero(predictions == labels)
    places = ROWS * COLUMNS
    chosen = np.concatenate([wrong[: places // 2], right])[:places]
    below.suptitle(
        f"Test digits and predictions of seed {shown.seed}: the first "
        f"{min(len(wrong), places // 2)} of its {len(wrong)} errors among "
        f"{len(labels)} (true label in brackets), then others",
        fontsize=11,
    )
    for axes, index in zip(below.subplots(ROWS, COLUMNS).flat, chosen, strict=False):
        draw_digit(axes, images[index], int(predictions[index]), int(labels[index]))
    figure.savefig(path)


def draw_curves(loss: Any, accuracy: Any, runs: Sequence[Curves]) -> None:
    """Draw the loss and the accuracy of all runs over the epochs."""
    for run in (run for run in runs if not run.by_writer):
        epochs = np.arange(1, len(run.test_loss) + 1)
        loss.plot(*np.transpose(run.train_loss), color=BLUE, alpha=0.5, lw=1)
        loss.plot(epochs, run.test_loss, "o-", color=ORANGE, ms=4)
        accuracy.plot(epochs, run.train_accuracy, "o-", color=BLUE, alpha=0.5, ms=4)
        accuracy.plot(epochs, run.test_accuracy, "o-", color=ORANGE, ms=4)
    loss.set(xlabel="epoch", ylabel="cross-entropy", yscale="log", title="Loss")
    accuracy.set(xlabel="epoch", ylabel="accuracy in %", title="Accuracy")
