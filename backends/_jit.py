"""The in-place updates compiled by numba: one pass over memory, the bits of NumPy.

Importing this module imports numba, so only a step of an optimizer does. The kernels
follow the formulas of `_updates.py`, each operation rounded on its own: without
fastmath nothing is contracted or reordered. Flags do not change inside a loop, so the
compiler moves their conditions out of it and vectorises what remains: one compilation
per family and dtype serves all variants at the speed of memory. No kernel uses numba's
threads; `_threads.py` calls them on slices.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar, cast

import numba
import numpy as np

from gradlite._typing import Array, DType
from gradlite.backends._updates import Coefficients, Flag, Update

if numba.config.DISABLE_JIT:  # without a compiler the loops take a second for 1 M
    raise ImportError("NUMBA_DISABLE_JIT is set")

Function = TypeVar("Function", bound=Callable[..., object])

LANES = 64
"""Sums that are accumulated beside each other, so that their loop is vectorised."""

# Compiled code knows no attributes of classes.
MAXIMIZE, L1 = Flag.MAXIMIZE, Flag.L1
WEIGHT_DECAY, DECOUPLED = Flag.WEIGHT_DECAY, Flag.DECOUPLED
NESTEROV, TORCH, PROXIMAL = Flag.NESTEROV, Flag.TORCH, Flag.PROXIMAL

# Where the rates and scales follow the coefficients in the array of numbers.
RATE, ROOT, SCALE, CLIP = range(
    len(Coefficients._fields), len(Coefficients._fields) + 4
)


def compiled(function: Function) -> Function:
    """Return `function` compiled on its first call, cached on disk where possible."""
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    try:
        return cast(Function, numba.njit(function, cache=True, **options))
    except RuntimeError:  # no folder can be written to
        return cast(Function, numba.njit(function, **options))


# Elements


@compiled
def _coefficients(c: Array) -> Coefficients:
    return Coefficients(
        *(c[0], c[1], c[2], c[3], c[4], c[5], c[6]),
        *(c[7], c[8], c[9], c[10], c[11], c[12]),
    )


@compiled
def _penalty(alpha: float, p: float) -> float:
    """Return ``alpha * sign(p)``."""
    if p > 0:
        return alpha
    if p < 0:
        return -alpha
    return p - p  # 0, also for -0; NaN for NaN


@compiled
def _direction(
    flags: int, k: Coefficients, scale: float, clip: float, p: float, g: float
) -> float:
    """Return the regularised gradient."""
    if scale != 1:
        g = g / scale
    if clip != 1:
        g = g * clip
    if flags & MAXIMIZE:
        g = -g
    if flags & L1:
        g = g + _penalty(k.alpha, p)
    if flags & WEIGHT_DECAY and not flags & DECOUPLED:
        g = g + p * k.weight_decay
    return g


@compiled
def _shrunk(flags: int, k: Coefficients, p: float) -> float:
    """Return the parameter after decoupled weight decay."""
    return p * k.decay if flags & DECOUPLED else p


@compiled
def _softened(threshold: float, q: float) -> float:
    if q < -threshold:
        return q - -threshold
    if q > threshold:
        return q - threshold
    return q - q


@compiled
def _mean(mean: float, beta: float, value: float, rest: float) -> float:
    return mean * beta + value * rest


@compiled
def _maximum(x: float, y: float) -> float:
    return x if x >= y or x != x else y


# Loops, named like a family and its state arrays: each takes flags, numbers, p and g.
# None reads what it wrote: that arrays do not overlap is unknown to the compiler.


@compiled
def sgd(flags: int, c: Array, p: Array, g: Array) -> None:
    """Update `p`."""
    k, scale, clip = _coefficients(c), c[SCALE], c[CLIP]
    for i in range(p.size):
        x = p[i]
        d = _direction(flags, k, scale, clip, x, g[i])
        q = _shrunk(flags, k, x) - d * k.lr
        p[i] = _softened(k.threshold, q) if flags & PROXIMAL else q


@compiled
def sgd_momentum(flags: int, c: Array, p: Array, g: Array, v: Array) -> None:
    """Update `p` and `v`."""
    if flags & PROXIMAL:
        _sgd_proximal(flags, c, p, g, v)
    elif flags & TORCH:
        _sgd_torch(flags, c, p, g, v)
    else:
        _sgd_classic(flags, c, p, g, v)


@compiled
def _sgd_classic(flags: int, c: Array, p: Array, g: Array, v: Array) -> None:
    k, scale, clip = _coefficients(c), c[SCALE], c[CLIP]
    for i in range(p.size):
        x = p[i]
        d = _direction(flags, k, scale, clip, x, g[i])
        velocity = v[i] * k.momentum - d * k.gain
        ahead = velocity * k.momentum - d * k.lr if flags & NESTEROV else velocity
        v[i] = velocity
        p[i] = _shrunk(flags, k, x) + ahead


@compiled
def _sgd_torch(flags: int, c: Array, p: Array, g: Array, v: Array) -> None:
    k, scale, clip = _coefficients(c), c[SCALE], c[CLIP]
    first = c[RATE] != 0
    for i in range(p.size):
        x = p[i]
        d = _direction(flags, k, scale, clip, x, g[i])
        total = d if first else v[i] * k.momentum + d * k.gain
        ahead = d + total * k.momentum if flags & NESTEROV else total
        v[i] = total
        p[i] = _shrunk(flags, k, x) - ahead * k.lr


@compiled
def _sgd_proximal(flags: int, c: Array, p: Array, g: Array, v: Array) -> None:
    k, scale, clip = _coefficients(c), c[SCALE], c[CLIP]
    for i in range(p.size):
        d = _direction(flags, k, scale, clip, p[i], g[i])
        x = _shrunk(flags, k, p[i])
        q = _softened(k.threshold, x + (v[i] * k.momentum - d * k.lr))
        v[i] = q - x
        p[i] = q


@compiled
def adam(flags: int, c: Array, p: Array, g: Array, m: Array, v: Array) -> None:
    """Update `p` and both running means."""
    k, scale, clip = _coefficients(c), c[SCALE], c[CLIP]
    size, root = c[RATE], c[ROOT]
    for i in range(p.size):
        x = p[i]
        d = _direction(flags, k, scale, clip, x, g[i])
        mean = _mean(m[i], k.beta1, d, k.rest1)
        square = _mean(v[i], k.beta2, d * d, k.rest2)
        m[i], v[i] = mean, square
        ahead = mean / (np.sqrt(square) / root + k.eps) * size
        p[i] = _shrunk(flags, k, x) - ahead


@compiled
def adam_max(
    flags: int, c: Array, p: Array, g: Array, m: Array, v: Array, s: Array
) -> None:
    """Update `p`, both running means and the largest second one."""
    k, scale, clip = _coefficients(c), c[SCALE], c[CLIP]
    size, root = c[RATE], c[ROOT]
    for i in range(p.size):
        x = p[i]
        d = _direction(flags, k, scale, clip, x, g[i])
        mean = _mean(m[i], k.beta1, d, k.rest1)
        square = _mean(v[i], k.beta2, d * d, k.rest2)
        largest = _maximum(s[i], square)
        m[i], v[i], s[i] = mean, square, largest
        ahead = mean / (np.sqrt(largest) / root + k.eps) * size
        p[i] = _shrunk(flags, k, x) - ahead


@compiled
def rmsprop(flags: int, c: Array, p: Array, g: Array, v: Array) -> None:
    """Update `p` and the running mean of squares `v`."""
    k, scale, clip = _coefficients(c), c[SCALE], c[CLIP]
    for i in range(p.size):
        x = p[i]
        d = _direction(flags, k, scale, clip, x, g[i])
        square = _mean(v[i], k.beta2, d * d, k.rest2)
        v[i] = square
        p[i] = _shrunk(flags, k, x) - d / (np.sqrt(square) + k.eps) * k.lr


@compiled
def rmsprop_momentum(
    flags: int, c: Array, p: Array, g: Array, v: Array, b: Array
) -> None:
    """Update `p`, `v` and the momentum `b`."""
    k, scale, clip = _coefficients(c), c[SCALE], c[CLIP]
    for i in range(p.size):
        x = p[i]
        d = _direction(flags, k, scale, clip, x, g[i])
        square = _mean(v[i], k.beta2, d * d, k.rest2)
        ahead = b[i] * k.momentum + d / (np.sqrt(square) + k.eps)
        v[i], b[i] = square, ahead
        p[i] = _shrunk(flags, k, x) - ahead * k.lr


@compiled
def rmsprop_centered(
    flags: int, c: Array, p: Array, g: Array, v: Array, a: Array
) -> None:
    """Update `p`, `v` and the running mean `a`."""
    k, scale, clip = _coefficients(c), c[SCALE], c[CLIP]
    for i in range(p.size):
        x = p[i]
        d = _direction(flags, k, scale, clip, x, g[i])
        square = _mean(v[i], k.beta2, d * d, k.rest2)
        mean = _mean(a[i], k.beta2, d, k.rest2)
        v[i], a[i] = square, mean
        ahead = d / (np.sqrt(square - mean * mean) + k.eps)
        p[i] = _shrunk(flags, k, x) - ahead * k.lr


@compiled
def rmsprop_full(
    flags: int, c: Array, p: Array, g: Array, v: Array, b: Array, a: Array
) -> None:
    """Update `p`, `v`, the momentum `b` and the running mean `a`."""
    k, scale, clip = _coefficients(c), c[SCALE], c[CLIP]
    for i in range(p.size):
        x = p[i]
        d = _direction(flags, k, scale, clip, x, g[i])
        square = _mean(v[i], k.beta2, d * d, k.rest2)
        mean = _mean(a[i], k.beta2, d, k.rest2)
        ahead = b[i] * k.momentum + d / (np.sqrt(square - mean * mean) + k.eps)
        v[i], b[i], a[i] = square, ahead, mean
        p[i] = _shrunk(flags, k, x) - ahead * k.lr


@compiled
def adagrad(flags: int, c: Array, p: Array, g: Array, s: Array) -> None:
    """Update `p` and the sum of squares `s`."""
    k, scale, clip = _coefficients(c), c[SCALE], c[CLIP]
    size = c[RATE]
    for i in range(p.size):
        x = p[i]
        d = _direction(flags, k, scale, clip, x, g[i])
        total = s[i] + d * d
        s[i] = total
        p[i] = _shrunk(flags, k, x) - d / (np.sqrt(total) + k.eps) * size


KERNELS: dict[tuple[str, ...], Callable[..., None]] = {
    ("sgd",): sgd,
    ("sgd", "momentum_buffer"): sgd_momentum,
    ("adam", "exp_avg", "exp_avg_sq"): adam,
    ("adam", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"): adam_max,
    ("rmsprop", "square_avg"): rmsprop,
    ("rmsprop", "square_avg", "momentum_buffer"): rmsprop_momentum,
    ("rmsprop", "square_avg", "grad_avg"): rmsprop_centered,
    ("rmsprop", "square_avg", "momentum_buffer", "grad_avg"): rmsprop_full,
    ("adagrad", "sum"): adagrad,
}
"""By family and state arrays; other flags are looked at inside."""


def loop(update: Update, dtype: DType) -> Callable[..., None] | None:
    """Return the loop of an update, compiled, or None where that fails."""
    found = KERNELS[update.family, *update.states]
    return found if _compiles(found, dtype, len(update.states)) else None


@cache
def _compiles(function: Any, dtype: DType, states: int) -> bool:
    """Compile a loop, on empty arrays; numba's cache on disk can be full or broken."""
    log = logging.getLogger("gradlite")
    folder = function.stats.cache_path
    log.info(
        "compiling the optimizer loop %s for %s, %s",
        *(function.__name__, dtype),
        "once" if folder is None else f"unless it is found in {folder}",
    )
    numbers, empty = np.zeros(CLIP + 1, dtype), np.empty(0, dtype)
    try:
        function(0, numbers, empty, *[empty] * (1 + states))
    except Exception as error:
        log.warning("NumPy does the optimizer steps, numba cannot compile: %s", error)
        return False
    return True


# Norms


@compiled
def square_sum(x: Array) -> float:
    """Return the sum of squares of a flat array, each rounded, added in float64."""
    sums = np.zeros(LANES)
    even = x.size - x.size % LANES
    for start in range(0, even, LANES):
        for i in range(LANES):
            sums[i] += x[start + i] * x[start + i]
    for i in range(even, x.size):
        sums[0] += x[i] * x[i]
    return sums.sum()  # type: ignore[no-any-return]
