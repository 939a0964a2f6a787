"""The engine's cost per operation, forward and backward, against PyTorch eager.

    python -m benchmarks ops [--quick] [--out DIR]

One thread each, both sides in one process and in turn, on arrays of ten float32, where
all the time goes into bookkeeping. Each side first proves that it computes the same.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import gradlite as gl
from benchmarks._measure import alternate, environment, paired_ratio, summary, write

LENGTH = 50
VALUES = np.linspace(0.5, 1.5, 10, dtype=np.float32)

# Chains of one operation and its walk back; xp has the same names on both sides.
Step = Callable[[Any, Any, Any], Any]
CHAINS: dict[str, Step] = {
    "sin": lambda xp, y, x: xp.sin(y),
    "tanh": lambda xp, y, x: xp.tanh(y),
    "y + 1": lambda xp, y, x: y + 1.0,
    "y + x": lambda xp, y, x: y + x,
    "y * x": lambda xp, y, x: y * x,
    "1 / y": lambda xp, y, x: 1.0 / y,
}


def _chain(xp: Any, step: Step, x: Any, seed: Any, n: int) -> None:
    y = x
    for _ in range(n):
        y = step(xp, y, x)
    y.backward(seed)


def run(*, quick: bool) -> dict[str, Any]:
    """Return times per operation and ratios for each chain, alone and of 50."""
    try:
        import torch
    except ModuleNotFoundError:
        torch = None
        print("torch is not installed: no ratios; python -m pip install torch")
    else:
        torch.set_num_threads(1)
    rows = []
    for n in (1, LENGTH):
        for name, step in CHAINS.items():
            x = gl.tensor(VALUES, requires_grad=True)
            seed = gl.ones(10)
            sides = {"gradlite": partial(_chain, gl, step, x, seed, n)}
            if torch is not None:
                tx = torch.tensor(VALUES, requires_grad=True)
                tseed = torch.ones(10)
                sides["torch"] = partial(_chain, torch, step, tx, tseed, n)
                for side in sides.values():
                    side()
                np.testing.assert_allclose(
                    x.grad.numpy(), tx.grad.numpy(), rtol=1e-4, atol=1e-30
                )
            times = alternate(sides, repeats=10 if quick else 40)
            row: dict[str, Any] = {"operation": name, "length": n}
            for side, values in times.items():
                row[side] = summary([t / n for t in values])
            if torch is not None:
                row["ratio"] = paired_ratio(times["torch"], times["gradlite"])
            rows.append(row)
            print(_line(row), flush=True)
    return {"benchmark": "ops", **environment("torch"), "threads": 1, "rows": rows}


def _line(row: dict[str, Any]) -> str:
    ours = f"gradlite {row['gradlite']['median'] * 1e6:7.2f} us"
    if "ratio" not in row:
        return f"{row['operation']:9s} x{row['length']:<3d} {ours}"
    return (
        f"{row['operation']:9s} x{row['length']:<3d} {ours}   "
        f"torch {row['torch']['median'] * 1e6:7.2f} us   "
        f"torch / gradlite {row['ratio']['median']:.2f}"
    )


def main(arguments: list[str]) -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks ops")
    parser.add_argument("--quick", action="store_true", help="fewer repeats")
    parser.add_argument("--out", type=Path, help="folder for ops.json")
    options = parser.parse_args(arguments)
    print("forward + backward per operation; above 1 gradlite is faster")
    report = run(quick=options.quick)
    ratios = [row["ratio"]["median"] for row in report["rows"] if "ratio" in row]
    if ratios:
        report["geometric_mean_ratio"] = float(np.exp(np.mean(np.log(ratios))))
        print(f"geometric mean of the ratios {report['geometric_mean_ratio']:.2f}")
    if options.out:
        write(options.out / "ops.json", report)
