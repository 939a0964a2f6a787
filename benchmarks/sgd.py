"""Optimizer steps: throughput, against peers and the limit of the memory.

Each case is a model and an update. All implementations of it first do the same steps as
a float64 reference, then are timed in turn, block by block, in one run: gradlite from
after `backward()`, with everything that `step()` has to collect.
"""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

import gradlite as gl
from benchmarks._arguments import count, listed
from benchmarks._machine import free_memory
from benchmarks._measure import Timer, alternate, paired_ratio, summary
from benchmarks._models import QUICK_SIZES, SIZES, Model, find
from benchmarks._peers import Jax, Numba, Torch, TorchGraph
from benchmarks._remote import Remote
from benchmarks._report import Row, note
from benchmarks._sides import Captured, Gradlite, InPlace, Limit, Naive, Side
from benchmarks._updates import LIMIT, UPDATES, Update, reference
from gradlite.backends import cpu

DEVICES = ("cpu", "cuda")
PEERS = ("torch", "jax", "numba")
DEFAULTS: dict[str, Any] = {"sizes": None, "updates": None, "threads": 1}
QUICK_UPDATES = ["momentum", "adam"]
CHECKED_STEPS = 3

Maker = Callable[[Model, Update, str], Side]


def implementations(
    device: str, peers: Sequence[str], remote: Remote | None
) -> dict[str, Maker]:
    """Return how to make each side; where memory is short, the first ones get it.

    Parameters
    ----------
    device : {"cpu", "cuda"}
        Where they run.
    peers : sequence of str
        The libraries to compare with.
    remote : Remote or None
        JAX's process.
    """
    found: dict[str, Maker] = {}
    if device == "cuda":
        found |= {"fused": Gradlite, "fused graph": Captured}
    else:
        if cpu.has_jit():
            found["jit"] = partial(Gradlite, jit=True)
        found["blocked"] = Gradlite
    if "torch" in peers:
        for kind in ("fused", "foreach"):
            found[f"torch {kind}"] = partial(Torch, kind=kind)
            if device == "cuda":
                found[f"torch {kind} graph"] = partial(TorchGraph, kind=kind)
    if remote is not None:
        found["jax"] = partial(Jax, remote)
    if "numba" in peers:
        found["numba"] = Numba
    return found | {"in-place": InPlace, "naive": Naive}


def check(name: str, side: Side, model: Model, update: Update) -> None:
    """Do the first steps and compare with a float64 reference.

    Raises
    ------
    ArithmeticError
        If the side computes something else.
    """
    side.advance(CHECKED_STEPS)
    for i, (value, p, g) in enumerate(
        zip(side.values(), model.samples(0), model.samples(1), strict=True)
    ):
        wanted = reference(update, p, g, CHECKED_STEPS)
        if not np.allclose(value, wanted, rtol=1e-5, atol=1e-6):
            raise ArithmeticError(
                f"{name} does not compute {update.name} on {model.name}: tensor {i} is "
                f"off by {np.max(np.abs(value - wanted)):.2g}"
            )


def measure(
    model: Model,
    update: Update,
    device: str,
    makers: Mapping[str, Maker],
    *,
    quick: bool,
    threads: int,
) -> list[Row]:
    """Return the rows of one case, the limit first.

    Parameters
    ----------
    model, update
        The case.
    device : {"cpu", "cuda"}
        Where it runs.
    makers : dict of callable
        The implementations.
    quick : bool
        Whether few repeats will do.
    threads : int
        Of the limit's loop.
    """
    loop = "cuda" if device == "cuda" else "numba" if find_spec("numba") else "numpy"
    flat = Model(model.name, ((-(-model.parameters // 4) * 4,),))
    limit = f"limit ({loop})"
    every: dict[str, tuple[Maker, Model, Update]] = {
        limit: (partial(Limit, loop=loop, threads=threads), flat, LIMIT),
        **{name: (make, model, update) for name, make in makers.items()},
    }
    rows: dict[str, Row] = {}
    sides: dict[str, Side] = {}
    for name, (make, tensors, done) in every.items():
        needed = done.memory(tensors.parameters)
        rows[name] = {
            "key": f"sgd/{device}/{model.name}/{update.name}/{name}",
            "model": model.name,
            "tensors": len(model.shapes),
            "parameters": model.parameters,
            "update": update.name,
            "implementation": name,
            "peer": name == limit or name.partition(" ")[0] in PEERS,
            "traffic": tensors.parameters * done.traffic,
        }
        free = free_memory(device) / 2  # the rest is for what all sides make meanwhile
        if needed > free:
            rows[name]["skipped"] = (
                f"needs {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB can be had"
            )
            note(f"{rows[name]['key']}: skipped: {rows[name]['skipped']}")
        else:
            sides[name] = make(tensors, done, device)
            check(name, sides[name], tensors, done)
    for clock, times in timed(sides, device, quick=quick).items():
        fill(rows, limit, clock, times)
    for side in sides.values():
        side.close()
    return list(rows.values())


def timed(
    sides: Mapping[str, Side], device: str, *, quick: bool
) -> dict[str, dict[str, list[float]]]:
    """Return the times of all sides, by clock."""

    def timers(clock: str) -> dict[str, Timer]:
        return {name: partial(side.seconds, clock) for name, side in sides.items()}

    if device == "cpu":
        repeats, enough = (5, 0.2) if quick else (20, 1.0)
        return {"wall": alternate(timers("wall"), repeats=repeats, enough=enough)}
    repeats = 10 if quick else 30
    return {
        clock: alternate(timers(clock), repeats=repeats, least=0.0)
        for clock in ("device", "host")
    }


def fill(
    rows: Mapping[str, Row], limit: str, clock: str, times: Mapping[str, list[float]]
) -> None:
    """Write what follows from the times by one clock into the rows.

    Parameters
    ----------
    rows : dict of dict
        By implementation.
    limit : str
        Which of them is the limit.
    clock : {"wall", "host", "device"}
        The clock.
    times : dict of list
        By implementation, without those that were skipped.
    """
    host = "host_" if clock == "host" else ""
    for name, values in times.items():
        row = rows[name]
        row[f"{host}time"] = summary(values)
        if not row["peer"]:
            row[f"{host}ratios"] = {
                peer: paired_ratio(others, values)
                for peer, others in times.items()
                if rows[peer]["peer"] and peer != limit
            }
        if not host:
            row["gb_per_s"] = row["traffic"] / row["time"]["median"] / 1e9
            if limit in times:
                times_limit = paired_ratio(times[limit], values)["median"]
                row["of_limit"] = times_limit * row["traffic"] / rows[limit]["traffic"]


def release(device: str) -> None:
    """Give memory back that libraries keep for reuse."""
    gc.collect()
    if device == "cuda":
        import cupy

        cupy.get_default_memory_pool().free_all_blocks()
        if "torch" in sys.modules:
            sys.modules["torch"].cuda.empty_cache()


def models(text: str) -> list[Model]:
    """Return the models of names with commas between them."""
    try:
        return [find(name) for name in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that only this benchmark takes."""
    parser.add_argument(
        "--sizes",
        type=models,
        metavar="lenet,200x1000,64M",
        help="models, tensors of a size, or the size of one tensor",
    )
    parser.add_argument(
        "--updates",
        type=partial(listed, choices=tuple(UPDATES)),
        metavar=",".join(UPDATES),
        help="what a step computes (all)",
    )
    parser.add_argument(
        "--threads", type=count, metavar="N", help="with which each side computes (1)"
    )


def run(device: str, peers: Sequence[str], options: argparse.Namespace) -> list[Row]:
    """Return the rows of all cases on a device.

    Parameters
    ----------
    device : {"cpu", "cuda"}
        Where to run.
    peers : sequence of str
        The libraries to compare with; all are there.
    options : Namespace
        Of the command line.
    """
    sizes = options.sizes
    if sizes is None:
        names = (QUICK_SIZES if options.quick else SIZES)[device]
        sizes = [find(name) for name in names]
    updates = options.updates
    if updates is None:
        updates = QUICK_UPDATES if options.quick else list(UPDATES)
    gl.set_num_threads(options.threads)
    if device == "cpu" and not cpu.has_jit():
        note("sgd on cpu: jit is left out: numba is not installed")
    if "torch" in peers:
        import torch

        torch.set_num_threads(options.threads)
    rows: list[Row] = []
    with ExitStack() as stack:
        remote = None
        if "jax" in peers:
            remote = Remote(
                "benchmarks._jax:Steps",
                device,
                environment={"OMP_NUM_THREADS": str(options.threads)},
            )
            stack.enter_context(remote)
        makers = implementations(device, peers, remote)
        for model in sizes:
            for update in updates:
                note(f"sgd on {device}: {model.name}, {update}")
                rows += measure(
                    model,
                    UPDATES[update],
                    device,
                    makers,
                    quick=options.quick,
                    threads=options.threads,
                )
                release(device)
    return rows
