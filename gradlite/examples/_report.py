"""What the examples write at the end: the results as JSON, and a picture of them."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import gradlite as gl
from gradlite.data import TensorDataset
from gradlite.examples._options import Run

TRAINING = {"label": "training", "color": "#0072b2", "alpha": 0.5, "lw": 1.2}
TEST = {"label": "test", "color": "#d55e00", "marker": "o", "ms": 4}
WRITERS = {"label": "other writers", "color": "#009e73", "marker": "s", "ms": 4}
RED = "#c81d25"
ROWS, COLUMNS = 5, 14


def report(
    folder: Path,
    settings: dict[str, Any],
    device: gl.Device,
    runs: Sequence[Run],
    splits: dict[bool, tuple[TensorDataset, TensorDataset]],
) -> None:
    """Print the accuracies, and write them and the picture into a folder.

    Parameters
    ----------
    folder : Path
        It exists.
    settings : dict
        What the runs depend on, besides the seed.
    device : Device
        Where they ran.
    runs : sequence of Run
        At least one that is not by writer.
    splits : dict
        By `by_writer`, the digits to train on and those to test with.
    """
    results = {
        "example": "python -m gradlite.examples.lenet",
        "settings": settings,
        "device": str(device),
        "seconds": round(sum(run.seconds for run in runs), 1),
    }
    for by_writer, (train_set, test_set) in splits.items():
        part = [run for run in runs if run.by_writer == by_writer]
        summary = summarize(part, train_set, test_set)
        results["other_writers" if by_writer else "test"] = summary
        print(
            f"{'By other writers: test' if by_writer else 'Test'} accuracy "
            f"{summary['accuracy_percent']:.2f} %{origin(part)}; "
            f"{sum(run.seconds for run in part):.1f} s"
        )
        if by_writer:
            print(
                f"  on the last {len(test_set)} digits, of networks that learned anew "
                f"from the {len(train_set)} by people who wrote none of those"
            )
    results |= {"versions": versions(device), "machine": machine()}
    (folder / "results.json").write_text(
        json.dumps(results, indent=2) + "\n", encoding="utf-8"
    )
    stratified = [run for run in runs if not run.by_writer]
    ranked = sorted(stratified, key=lambda run: run.test_accuracy[-1])
    draw(
        folder / "lenet.png",
        f"LeNet ({settings['model']}) on {settings['data']}",
        runs,
        ranked[(len(ranked) - 1) // 2],
        *(tensor.numpy() for tensor in splits[False][1].tensors),
    )
    print(f"Written to {folder}: checkpoint.npz, lenet.png, results.json")


def origin(runs: Sequence[Run]) -> str:
    """Return of which seeds an accuracy is the median, or which its only seed is."""
    if len(runs) == 1:
        return f" (seed {runs[0].seed})"
    accuracies = ", ".join(f"{run.test_accuracy[-1]:.2f}" for run in runs)
    seeds = ", ".join(str(run.seed) for run in runs)
    return f", the median of {accuracies} (seeds {seeds})"


def summarize(
    runs: Sequence[Run], train_set: TensorDataset, test_set: TensorDataset
) -> dict[str, Any]:
    """Return the accuracies of runs on the same digits."""
    return {
        "training_digits": len(train_set),
        "test_digits": len(test_set),
        "accuracy_percent": rounded(median(run.test_accuracy[-1] for run in runs)),
        "accuracy_is": "the median over the seeds",
        "runs": [
            {
                "seed": run.seed,
                "accuracy_percent": rounded(run.test_accuracy[-1]),
                "after_each_epoch": [rounded(value) for value in run.test_accuracy],
                "seconds": round(run.seconds, 1),
            }
            for run in runs
        ],
    }


def rounded(percent: float) -> float:
    """Return a percentage as it is written."""
    return round(percent, 2)


def versions(device: gl.Device) -> dict[str, str]:
    """Return the versions of what the results depend on."""
    blas = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
    found = {
        "gradlite": gl.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": f"{blas.get('name')} {blas.get('version')}",
    }
    for distribution in metadata.distributions():
        name = str(distribution.metadata["Name"]).lower()
        if device.type == "cuda" and name.startswith("cupy"):
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
    runs: Sequence[Run],
    shown: Run,
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
    runs : sequence of Run
        The trainings; the curves of one kind have one color.
    shown : Run
        The run whose predictions are shown.
    images, labels : array
        The test digits of that run: shape (N, 1, height, width), and (N,).
    """
    from matplotlib.figure import Figure

    figure: Any = Figure(figsize=(10, 8.4), dpi=160, layout="constrained")
    figure.suptitle(title, fontsize=14)
    above, below = figure.subfigures(2, 1, height_ratios=(1, 1.25))
    loss, accuracy = above.subplots(1, 2)
    draw_curves(loss, accuracy, runs)

    predictions = np.asarray(shown.predictions)
    wrong = np.flatnonzero(predictions != labels)
    right = np.flatnonzero(predictions == labels)
    places = ROWS * COLUMNS
    marked = wrong[: places // 2]
    chosen = np.concatenate([marked, right])[:places]
    errors = f"all {len(wrong)}"
    if len(marked) < len(wrong):
        errors = f"{len(marked)} of the {len(wrong)}"
    below.suptitle(
        f"Test digits and the predictions of seed {shown.seed}; in red {errors} errors "
        f"among {len(labels)}, with the true label in brackets",
        fontsize=11,
    )
    for axes, index in zip(below.subplots(ROWS, COLUMNS).flat, chosen, strict=False):
        draw_digit(axes, images[index, 0], int(predictions[index]), int(labels[index]))
    figure.savefig(path, bbox_inches="tight", pad_inches=0.15)


def draw_curves(loss: Any, accuracy: Any, runs: Sequence[Run]) -> None:
    """Draw the loss and the accuracy of all runs over the epochs."""
    from matplotlib.ticker import MaxNLocator

    for run in runs:
        epochs = range(1, len(run.test_accuracy) + 1)
        if run.by_writer:
            accuracy.plot(epochs, run.test_accuracy, **WRITERS)
            continue
        # A single point is no line.
        lone = {"marker": "."}
        style = TRAINING | (lone if len(run.train_loss) == 1 else {})
        loss.plot(*np.transpose(run.train_loss), **style)
        loss.plot(epochs, run.test_loss, **TEST)
        style = TRAINING | (lone if len(run.train_accuracy) == 1 else {})
        accuracy.plot(epochs, run.train_accuracy, **style)
        accuracy.plot(epochs, run.test_accuracy, **TEST)
    loss.set(xlabel="epoch", ylabel="cross-entropy, smoothed labels", title="Loss")
    accuracy.set(xlabel="epoch", ylabel="accuracy in %", title="Accuracy")
    if min(run.test_accuracy[-1] for run in runs) > 90:  # show where the ends differ
        accuracy.set_ylim(max(80.0, accuracy.get_ylim()[0]), 100.4)
    for axes in (loss, accuracy):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlim(left=0.0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        handles, labels = axes.get_legend_handles_labels()
        one_each = dict(zip(labels, handles, strict=True))
        axes.legend(one_each.values(), one_each.keys())


def draw_digit(
    axes: Any, image: np.ndarray[Any, Any], prediction: int, label: int
) -> None:
    """Draw one digit under its prediction, in red with its label where that differs."""
    wrong = prediction != label
    axes.imshow(image, cmap="gray_r")
    axes.set(xticks=[], yticks=[])
    axes.set_title(
        f"{prediction} ({label})" if wrong else f"{prediction}",
        color=RED if wrong else "black",
        fontweight="bold" if wrong else "normal",
        fontsize=10,
        pad=3,
    )
    for spine in axes.spines.values():
        spine.set(color=RED if wrong else "lightgray", linewidth=2.0 if wrong else 0.8)
