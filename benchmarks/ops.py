"""The engine's cost per operation, forward and backward, against PyTorch eager.

Both sides in one process and in turn, on small arrays of float32, where all the time
goes into bookkeeping: at least one operation of every chapter of the standard, alone,
and chains of 50. Each side first proves that it computes the same.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

import gradlite as gl
from benchmarks._measure import Timer, alternate, paired_ratio, seconds, summary
from benchmarks._report import Row, note

DEVICES = ("cpu", "cuda")
PEERS = ("torch",)
DEFAULTS: dict[str, Any] = {}
LENGTH = 50

Call = Callable[..., Any]
"""`(namespace, *tensors)` to a tensor, on either side."""

Host = np.ndarray[Any, Any]


class Operation(NamedTuple):
    """What is timed: a computation on each side, and what it is given.

    Attributes
    ----------
    chapter : str
        What kind of operation it is: a module of `gradlite.ops`.
    ours, torch : callable
        The same computation, with the names of either library.
    operands : tuple of array
        Floating ones become leaves.
    length : int
        How many operations it is made of.
    """

    chapter: str
    ours: Call
    torch: Call
    operands: tuple[Host, ...]
    length: int = 1


def _numbers(*shape: int) -> Host:
    """Return numbers without ties, the same for the same shape."""
    size = int(np.prod(shape))
    order = np.random.default_rng(size).permutation(size)
    return np.linspace(0.5, 1.5, size, dtype=np.float32)[order].reshape(shape)


VALUES = np.linspace(0.5, 1.5, 10, dtype=np.float32)
OTHERS = _numbers(10)
ROWS = _numbers(4, 3)
MATRIX = _numbers(4, 4) + 4.0 * np.eye(4, dtype=np.float32)
INDICES = np.array([0, 2, 2, 1])
CHOICE = VALUES > OTHERS

# Steps of a chain, with the same names on both sides.
CHAINS: dict[str, Call] = {
    "sin": lambda xp, y, x: xp.sin(y),
    "tanh": lambda xp, y, x: xp.tanh(y),
    "y + 1": lambda xp, y, x: y + 1.0,
    "y + x": lambda xp, y, x: y + x,
    "y * x": lambda xp, y, x: y * x,
    "1 / y": lambda xp, y, x: 1.0 / y,
}


def _chain(step: Call, length: int) -> Operation:
    def call(xp: Any, x: Any) -> Any:
        y = x
        for _ in range(length):
            y = step(xp, y, x)
        return y

    return Operation("elementwise", call, call, (VALUES,), length)


def _alike(chapter: str, call: Call, *operands: Host) -> Operation:
    """Return an operation that has the same names on both sides."""
    return Operation(chapter, call, call, operands)


def _set(xp: Any, x: Any, v: Any) -> Any:
    y = x * 1.0
    y[2:4] = v[:2]
    return y


def _mlp(xp: Any, x: Any, w1: Any, b1: Any, w2: Any) -> Any:
    return ((xp.tanh(x @ w1 + b1) @ w2) ** 2).sum()


OPERATIONS: dict[str, Operation] = {
    "exp": _alike("elementwise", lambda xp, x: xp.exp(x), VALUES),
    "maximum": _alike("elementwise", lambda xp, x, y: xp.maximum(x, y), VALUES, OTHERS),
    "logaddexp": _alike(
        "elementwise", lambda xp, x, y: xp.logaddexp(x, y), VALUES, OTHERS
    ),
    "x**2": _alike("elementwise", lambda xp, x: x**2, VALUES),
    "clip": _alike("elementwise", lambda xp, x: xp.clip(x, 0.7, 1.2), VALUES),
    "rows + row": _alike("elementwise", lambda xp, x, y: x + y, ROWS, ROWS[0]),
    "sum": _alike("statistical", lambda xp, x: xp.sum(x), VALUES),
    "mean of rows": Operation(
        "statistical",
        lambda gl, x: gl.mean(x, axis=1),
        lambda torch, x: torch.mean(x, dim=1),
        (ROWS,),
    ),
    "max of rows": Operation(
        "statistical",
        lambda gl, x: gl.max(x, axis=1),
        lambda torch, x: torch.amax(x, dim=1),
        (ROWS,),
    ),
    "std of rows": Operation(
        "statistical",
        lambda gl, x: gl.std(x, axis=1),
        lambda torch, x: torch.std(x, dim=1, correction=0),
        (ROWS,),
    ),
    "prod": _alike("statistical", lambda xp, x: xp.prod(x), VALUES),
    "cumulative_sum": Operation(
        "statistical",
        lambda gl, x: gl.cumulative_sum(x),
        lambda torch, x: torch.cumsum(x, 0),
        (VALUES,),
    ),
    "cumulative_prod": Operation(
        "statistical",
        lambda gl, x: gl.cumulative_prod(x),
        lambda torch, x: torch.cumprod(x, 0),
        (VALUES,),
    ),
    "reshape": _alike("manipulation", lambda xp, x: xp.reshape(x, (3, 4)), ROWS),
    "mT": _alike("manipulation", lambda xp, x: x.mT, ROWS),
    "broadcast_to": _alike(
        "manipulation", lambda xp, x: xp.broadcast_to(x, (4, 3)), ROWS[0]
    ),
    "concat": _alike(
        "manipulation", lambda xp, x, y: xp.concat([x, y]), ROWS, ROWS[::-1]
    ),
    "stack": _alike(
        "manipulation", lambda xp, x, y: xp.stack([x, y]), ROWS, ROWS[::-1]
    ),
    "roll": Operation(
        "manipulation",
        lambda gl, x: gl.roll(x, 1, axis=0),
        lambda torch, x: torch.roll(x, 1, 0),
        (ROWS,),
    ),
    "meshgrid": Operation(  # ours are copies, as in NumPy; PyTorch's are views
        "creation",
        lambda gl, x, y: gl.meshgrid(x, y, indexing="ij")[0],
        lambda torch, x, y: torch.meshgrid(x, y, indexing="ij")[0].clone(),
        (VALUES, OTHERS),
    ),
    "tril": _alike("creation", lambda xp, x: xp.tril(x), MATRIX),
    "astype": Operation(
        "data_types",
        lambda gl, x: gl.astype(x, gl.float64),
        lambda torch, x: x.to(torch.float64),
        (VALUES,),
    ),
    "einsum": _alike(
        "einsum",
        lambda xp, x, y: xp.einsum("ij,jk->ik", x, y),
        *(MATRIX, MATRIX[::-1]),
    ),
    "x[1:3]": _alike("indexing", lambda xp, x: x[1:3], VALUES),
    "x[indices]": _alike("indexing", lambda xp, x, i: x[i], VALUES, INDICES),
    "x[2:4] = v": _alike("indexing", _set, VALUES, OTHERS),
    "take": Operation(
        "indexing",
        lambda gl, x, i: gl.take(x, i, axis=0),
        lambda torch, x, i: torch.index_select(x, 0, i),
        (ROWS, INDICES),
    ),
    "sort": Operation(
        "sorting",
        lambda gl, x: gl.sort(x),
        lambda torch, x: torch.sort(x, stable=True).values,
        (OTHERS,),
    ),
    "where": _alike(
        "searching",
        lambda xp, x, y, c: xp.where(c, x, y),
        *(VALUES, OTHERS, CHOICE),
    ),
    "matmul": _alike("linear_algebra", lambda xp, x, y: x @ y, MATRIX, MATRIX[::-1]),
    "vecdot": Operation(
        "linear_algebra",
        lambda gl, x, y: gl.vecdot(x, y),
        lambda torch, x, y: torch.linalg.vecdot(x, y),
        (VALUES, OTHERS),
    ),
    "outer": Operation(
        "linalg",
        lambda gl, x, y: gl.linalg.outer(x, y),
        lambda torch, x, y: torch.outer(x, y),
        (VALUES, OTHERS),
    ),
    "cross": _alike("linalg", lambda xp, x, y: xp.linalg.cross(x, y), ROWS, ROWS[::-1]),
    "vector_norm": _alike("linalg", lambda xp, x: xp.linalg.vector_norm(x), VALUES),
    "inv": _alike("linalg", lambda xp, x: xp.linalg.inv(x), MATRIX),
    "solve": _alike("linalg", lambda xp, x, y: xp.linalg.solve(x, y), MATRIX, ROWS),
    "svdvals": _alike("linalg", lambda xp, x: xp.linalg.svdvals(x), MATRIX),
    "rfft": _alike("fft", lambda xp, x: xp.abs(xp.fft.rfft(x)), OTHERS),
    "sigmoid": _alike("activation", lambda xp, x: xp.sigmoid(x), VALUES),
    "softmax of rows": Operation(
        "activation",
        lambda gl, x: gl.softmax(x, axis=1),
        lambda torch, x: torch.softmax(x, dim=1),
        (ROWS,),
    ),
    "erf": _alike("special", lambda xp, x: xp.special.erf(x), VALUES),
    "MLP": _alike("network", _mlp, ROWS, ROWS.T, VALUES[:4], MATRIX),
}


def operations() -> dict[str, Operation]:
    """Return all that is timed, by the last part of its key."""
    chains = {
        f"{name}/x{length}": _chain(step, length)
        for length in (1, LENGTH)
        for name, step in CHAINS.items()
    }
    return chains | {f"{name}/x1": each for name, each in OPERATIONS.items()}


def _forward_and_backward(
    call: Call, xp: Any, operands: Sequence[Any], seed: Any
) -> None:
    call(xp, *operands).backward(seed)


def _side(call: Call, xp: Any, operands: list[Any]) -> Callable[[], None]:
    """Return a computation there and back, from a cotangent of ones."""
    seed = xp.ones_like(call(xp, *operands).detach())
    return partial(_forward_and_backward, call, xp, operands, seed)


def sides(
    operation: Operation, device: str, peers: Sequence[str]
) -> dict[str, Callable[[], None]]:
    """Return an operation on each side, after a check that all compute the same.

    Parameters
    ----------
    operation : Operation
        The operation.
    device : {"cpu", "cuda"}
        Where it runs.
    peers : sequence of str
        `"torch"` or none.
    """
    leaves = [x.dtype == np.float32 for x in operation.operands]
    ours = [
        gl.tensor(x, requires_grad=leaf, device=device)
        for x, leaf in zip(operation.operands, leaves, strict=True)
    ]
    found = {"gradlite": _side(operation.ours, gl, ours)}
    if "torch" in peers:
        import torch

        torch.set_num_threads(1)
        theirs = [
            torch.tensor(x.copy(), requires_grad=leaf, device=device)
            for x, leaf in zip(operation.operands, leaves, strict=True)
        ]
        found["torch"] = _side(operation.torch, torch, theirs)
        for side in found.values():
            side()
        for x, y in zip(ours, theirs, strict=True):
            if y.grad is not None:
                assert x.grad is not None
                np.testing.assert_allclose(
                    x.grad.cpu().numpy(), y.grad.cpu().numpy(), rtol=1e-3, atol=1e-5
                )
    return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add nothing: this benchmark has no options of its own."""


def run(device: str, peers: Sequence[str], options: argparse.Namespace) -> list[Row]:
    """Return times per operation, and ratios, of each operation and chain.

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
    for name, operation in operations().items():
        key = f"ops/{device}/{name}"
        if operation.chapter == "special" and find_spec("scipy") is None:
            rows.append({"key": key, "skipped": "SciPy is not installed"})
            continue
        note(f"ops on {device}: {name}")
        timers: dict[str, Timer] = {
            side: partial(seconds, call, finish=finish)
            for side, call in sides(operation, device, peers).items()
        }
        times = alternate(timers, repeats=10 if options.quick else 40)
        n = operation.length
        each = {side: [t / n for t in values] for side, values in times.items()}
        ours = each.pop("gradlite")
        rows.append(
            {
                "key": key,
                "operation": name.rpartition("/")[0],
                "chapter": operation.chapter,
                "length": n,
                "time": summary(ours),
                "peers": {peer: summary(values) for peer, values in each.items()},
                "ratios": {
                    peer: paired_ratio(values, ours) for peer, values in each.items()
                },
            }
        )
    return rows
