"""Timing several sides in turn, and summing the times up."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

Timer = Callable[[int], float]
"""Gives the mean seconds of one call among a number of calls in a row."""

FEWEST = 5
"""Repeats at least, however long they take."""


def seconds(
    function: Callable[[], object],
    calls: int,
    finish: Callable[[], object] | None = None,
) -> float:
    """Return the mean time of one call among `calls` in a row.

    Parameters
    ----------
    function : callable
        What to time.
    calls : int
        How often it is called.
    finish : callable, optional
        Waits for what the calls have started; its time counts.
    """
    start = time.perf_counter()
    for _ in range(calls):
        function()
    if finish is not None:
        finish()
    return (time.perf_counter() - start) / calls


def alternate(
    sides: Mapping[str, Timer],
    *,
    repeats: int = 20,
    least: float = 0.01,
    enough: float = 1.0,
) -> dict[str, list[float]]:
    """Time the sides in turn, so that all meet the same disturbances.

    The order is reversed every time, so that none always follows the same neighbor.

    Parameters
    ----------
    sides : dict of callable
        What to time, by name.
    repeats : int, default 20
        How often each side is timed, after a warm-up.
    least : float, default 0.01
        Seconds that one measurement lasts at least; 0 for one call each.
    enough : float, default 1
        Seconds after which fewer repeats will do, once each side was timed for so long.
    """
    calls = {}
    for name, timer in sides.items():
        once = timer(1)
        if once < least:
            once = timer(3)
        calls[name] = max(1, int(least / once))
    times: dict[str, list[float]] = {name: [] for name in sides}
    for repeat in range(repeats):
        spent = [calls[name] * sum(values) for name, values in times.items()]
        if repeat >= FEWEST and min(spent, default=0.0) >= enough:
            break
        for name in list(sides)[:: -1 if repeat % 2 else 1]:
            times[name].append(sides[name](calls[name]))
    return times


def summary(times: Sequence[float]) -> dict[str, float]:
    """Return the median and the quartiles of some times, in seconds."""
    low, median, high = np.percentile(times, [25, 50, 75])
    return {"median": float(median), "q1": float(low), "q3": float(high)}


def paired_ratio(peer: Sequence[float], ours: Sequence[float]) -> dict[str, float]:
    """Return median and quartiles of peer's time / our time: above 1 is faster."""
    return summary([a / b for a, b in zip(peer, ours, strict=True)])
