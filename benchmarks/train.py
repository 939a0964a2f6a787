"""Training steps of a perceptron and of LeNet in their parts, and the peak memory.

Each side runs in a process of its own, on one thread, and the sides take turns. `step`
holds the optimizer's step and `zero_grad`; each library loads its data its own way. All
first prove that the losses of the first steps are the same.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._measure import alternate, paired_ratio, summary
from benchmarks._remote import Remote
from benchmarks._report import Row, note
from benchmarks._training import BATCH, PHASES

DEVICES = ("cpu", "cuda")
PEERS = ("torch",)
DEFAULTS: dict[str, Any] = {"before": None}
CHECKED_STEPS = 5


def folder(text: str) -> Path:
    """Return the path of a checkout."""
    path = Path(text).resolve()
    if not (path / "gradlite" / "__init__.py").is_file():
        raise argparse.ArgumentTypeError(f"'{text}' has no package gradlite in it")
    return path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the option that only this benchmark takes."""
    parser.add_argument(
        "--before",
        type=folder,
        metavar="DIR",
        help="a checkout of an older gradlite to compare with too",
    )


def measure(
    network: str, device: str, sides: Mapping[str, Remote], *, quick: bool
) -> list[Row]:
    """Return a row for each side.

    Parameters
    ----------
    network : {"mlp", "lenet"}
        What is trained.
    device : {"cpu", "cuda"}
        Where it is trained.
    sides : dict of Remote
        The processes.
    quick : bool
        Whether few repeats will do.
    """
    wanted = sides["gradlite"].call("losses", CHECKED_STEPS)
    for name, side in sides.items():
        if name != "gradlite":
            np.testing.assert_allclose(
                side.call("losses", CHECKED_STEPS),
                wanted,
                rtol=1e-3,
                err_msg=f"{name} and gradlite train {network} differently",
            )

    in_turn = partial(
        alternate,
        repeats=5 if quick else 30,
        least=0.02 if quick else 0.1,
        enough=math.inf,
    )
    whole = in_turn(
        {name: partial(side.call, "seconds") for name, side in sides.items()}
    )
    parts: dict[str, list[dict[str, float]]] = {name: [] for name in sides}

    def in_parts(name: str, steps: int) -> float:
        parts[name].append(sides[name].call("phases", steps))
        return sum(parts[name][-1].values())

    sums = in_turn({name: partial(in_parts, name) for name in sides})
    computing = {}
    rows = []
    for name, side in sides.items():
        timed = parts[name][-len(sums[name]) :]  # without the warm-up
        computing[name] = [sum(part.values()) - part["data"] for part in timed]
        rows.append(
            {
                "key": f"train/{device}/{network}/{name}",
                "network": network,
                "batch_size": BATCH[network],
                "peer": name != "gradlite",
                "time": summary(whole[name]),
                "phases": {
                    phase: summary([part[phase] for part in timed]) for phase in PHASES
                },
                "bytes": side.call("memory"),
            }
        )
    others = [name for name in sides if name != "gradlite"]
    for key, times in (("ratios", whole), ("ratios_without_data", computing)):
        rows[0][key] = {
            name: paired_ratio(times[name], times["gradlite"]) for name in others
        }
    return rows


def run(device: str, peers: Sequence[str], options: argparse.Namespace) -> list[Row]:
    """Return the rows of both networks on a device.

    Parameters
    ----------
    device : {"cpu", "cuda"}
        Where to run.
    peers : sequence of str
        The libraries to compare with; all are there.
    options : Namespace
        Of the command line.
    """
    processes: dict[str, tuple[str, Path | None]] = {
        "gradlite": ("_training_gradlite:Gradlite", None)
    }
    if options.before is not None:
        processes["before"] = ("_training_gradlite:Gradlite", options.before)
    if "torch" in peers:
        processes["torch"] = ("_training_torch:Torch", None)
    rows: list[Row] = []
    for network in BATCH:
        note(f"train on {device}: {network}")
        with ExitStack() as stack:
            sides = {
                name: stack.enter_context(
                    Remote(f"benchmarks.{target}", network, device, folder=place)
                )
                for name, (target, place) in processes.items()
            }
            rows += measure(network, device, sides, quick=options.quick)
    return rows
