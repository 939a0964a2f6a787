"""The updates that are measured, and their formulas as one first writes them down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

LR = 0.01
BETA1, BETA2, EPS = 0.9, 0.999, 1e-8

Array = Any
"""Of NumPy or of CuPy."""


@dataclass(frozen=True)
class Update:
    """An update, and what it has to move in memory.

    Parameters
    ----------
    name : str
        What the tables call it.
    traffic : int
        The bytes that each float32 parameter costs at least: every array read once,
        all but the gradient written once.
    states : int
        Arrays that accompany a parameter and its gradient.
    momentum, alpha, weight_decay : float
        Options of `gl.optim.SGD`.
    """

    name: str
    traffic: int
    states: int
    momentum: float = 0.0
    alpha: float = 0.0
    weight_decay: float = 0.0

    def memory(self, parameters: int) -> int:
        """Return the bytes that one side takes at most, with two temporary arrays."""
        return 4 * parameters * (2 + self.states + 2)


# The regularization is strong, so that its absence would not pass for rounding.
UPDATES = {
    update.name: update
    for update in (
        Update("plain", 12, 0),
        Update("momentum", 20, 1, momentum=0.9),
        Update("full", 20, 1, momentum=0.9, alpha=0.01, weight_decay=0.01),
        Update("adam", 28, 2),
    )
}
LIMIT = Update("limit", 20, 1)
"""Three reads and two writes with the least arithmetic that needs them all."""


def formula(
    xp: Any, update: Update, p: Array, g: Array, states: Sequence[Array], step: int
) -> tuple[Array, ...]:
    """Return a parameter and its states after a step, all in new arrays.

    Parameters
    ----------
    xp : module
        NumPy or CuPy.
    update : Update
        What to compute.
    p, g : array
        The parameter and its gradient.
    states : sequence of array
        As many as `update.states`.
    step : int
        The number of the step, from 1.
    """
    match update.name, states:
        case "limit", (v,):
            v = g - v
            return v - p, v
        case "plain", ():
            return (p - LR * g,)
        case "momentum", (v,):
            v = update.momentum * v - LR * g
            return p + v, v
        case "full", (v,):
            g = g + update.alpha * xp.sign(p) + update.weight_decay * p
            v = update.momentum * v - LR * g
            return p + v, v
        case "adam", (mean, square):
            mean = BETA1 * mean + (1 - BETA1) * g
            square = BETA2 * square + (1 - BETA2) * g * g
            root = xp.sqrt(square / (1 - BETA2**step)) + EPS
            return p - LR * (mean / (1 - BETA1**step)) / root, mean, square
    raise ValueError(f"update is {update.name!r}; it has no formula")


def reference(update: Update, p: Array, g: Array, steps: int) -> Array:
    """Return a parameter after some steps with the same gradient, in float64.

    Parameters
    ----------
    update : Update
        What to compute.
    p, g : array
        Of NumPy.
    steps : int
        How many.
    """
    p, g = p.astype(np.float64), g.astype(np.float64)
    states = [np.zeros_like(p) for _ in range(update.states)]
    for step in range(1, steps + 1):
        p, *states = formula(np, update, p, g, states, step)
    return p
