"""The engine's cost per operation, forward and backward, against PyTorch eager.

Both sides in one process and in turn, on arrays of ten float32, where all the time goes
into bookkeeping. Each side first proves that it computes the same.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

import gradlite as gl
from benchmarks._measure import Timer, alternate, paired_ratio, seconds, summary
from benchmarks._report import Row, note

DEVICES = ("cpu", "cuda")
PEERS = ("torch",)
DEFAULTS: dict[str, Any] = {}
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


def sides(
    step: Step, n: int, device: str, peers: Sequence[str]
) -> dict[str, Callable[[], None]]:
    """Return a chain on each side, after a check that all compute the same.

    Parameters
    ----------
    step : callable
        The operation.
    n : int
        How many of them.
    device : {"cpu", "cuda"}
        Where they run.
    peers : sequence of str
        `"torch"` or none.
    """
    x = gl.tensor(VALUES, requires_grad=True, device=device)
    seed = gl.ones(10, device=device)
    found: dict[str, Callable[[], None]] = {
        "gradlite": partial(_chain, gl, step, x, seed, n)
    }
    if "torch" in peers:
        import torch

        torch.set_num_threads(1)
        tx = torch.tensor(VALUES, requires_grad=True, device=device)
        tseed = torch.ones(10, device=device)
        found["torch"] = partial(_chain, torch, step, tx, tseed, n)
        for side in found.values():
            side()
        assert x.grad is not None
        np.testing.assert_allclose(
            x.grad.cpu().numpy(), tx.grad.cpu().numpy(), rtol=1e-4, atol=1e-30
        )
    return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add nothing: this benchmark has no options of its own."""


def run(device: str, peers: Sequence[str], options: argparse.Namespace) -> list[Row]:
    """Return times per operation and ratios for each chain, alone and of 50.

    Parameters
    ----------
    device : {"cpu", "cuda"}
        Where to run.
    peers : sequence of str
        The libraries to compare with; all are there.
    options : Namespace
        Of the command line.
    """
    finish = None if device == "cpu" else partial(gl.synchronize, device)
    rows: list[Row] = []
    for n in (1, LENGTH):
        note(f"ops on {device}: chains of {n}")
        for name, step in CHAINS.items():
            timers: dict[str, Timer] = {
                side: partial(seconds, chain, finish=finish)
                for side, chain in sides(step, n, device, peers).items()
            }
            times = alternate(timers, repeats=10 if options.quick else 40)
            each = {side: [t / n for t in values] for side, values in times.items()}
            ours = each.pop("gradlite")
            rows.append(
                {
                    "key": f"ops/{device}/{name}/x{n}",
                    "operation": name,
                    "length": n,
                    "time": summary(ours),
                    "peers": {peer: summary(values) for peer, values in each.items()},
                    "ratios": {
                        peer: paired_ratio(values, ours)
                        for peer, values in each.items()
                    },
                }
            )
    return rows
