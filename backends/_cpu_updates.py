"""Updates on the CPU: neighbours in memory are merged, then compiled or in blocks.

Parameters whose values, gradient slots and states each lie side by side are one run of
flat arrays (`_runs.py`), for which a step costs one call. With numba that is a loop of
`_jit.py`; otherwise, and for arrays that these loops do not take, NumPy follows
`_updates.py` over blocks that stay in the cache. The bits are the same, on any number
of threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from itertools import groupby
from threading import local
from typing import Any

import numpy as np

from gradlite._arguments import boolean
from gradlite._typing import Array, DType
from gradlite.backends import _threads
from gradlite.backends._runs import JIT_DTYPES, Run, is_simple, joined, runs_of
from gradlite.backends._updates import Coefficients, Scales, Step, Update, follow_

BLOCK = _threads.GRAIN
"""Elements that NumPy updates at a time; larger ones leave the cache."""

RATE = len(Coefficients._fields)
"""Where two rates and two scales follow the coefficients in the numbers of a plan."""

SMALL = 1 << 14
"""To copy a gradient of this many elements to another place costs as much as a call."""


# The switch of the compiled loops

_UNTRIED = object()
_wanted = True
_loops: Any = _UNTRIED  # the module of the compiled loops, None without numba


def set_jit(enabled: bool) -> None:
    """Turn the compiled updates on or off, also for optimizers that exist already.

    Parameters
    ----------
    enabled : bool
        Whether numba, if it is installed, compiles the updates, as it does by default.
        The results are the same, bit for bit.

    Raises
    ------
    TypeError
        If `enabled` is no bool.
    """
    global _wanted
    _wanted = boolean("enabled", enabled)


def has_jit() -> bool:
    """Return whether updates are compiled: numba is installed, works and is on."""
    if _loops is _UNTRIED:
        return _wanted and find_spec("numba") is not None
    return _wanted and _loops is not None


def _jit() -> Any:
    """Return the module of the compiled loops, None where NumPy is to be used."""
    global _loops
    if _loops is _UNTRIED and has_jit():
        try:
            _loops = import_module("gradlite.backends._jit")
        except Exception as error:  # numba raises more than ImportError
            import logging

            _loops = None
            logging.getLogger("gradlite").warning(
                "numba cannot be imported, so optimizer steps are not compiled: %s",
                error,
            )
    return _loops if has_jit() else None


# Scratch arrays


class _Room(local):
    """The scratch arrays of a thread, which it keeps."""

    def __init__(self) -> None:
        self._arrays: dict[tuple[DType, int], list[Array]] = {}

    def arrays(self, dtype: DType, count: int) -> list[Array]:
        """Return at least `count` arrays of one block."""
        arrays = self._arrays.setdefault((dtype, BLOCK), [])
        while len(arrays) < count:
            arrays.append(np.empty(BLOCK, dtype))
        return arrays


_room = _Room()


def _is_block(flat: Any, dtype: DType) -> bool:
    """Whether the slices of a flat array can be computed with as they are."""
    return type(flat) is np.ndarray and flat.dtype == dtype


def _loaded(flat: Any, part: slice, room: Array) -> Array:
    """Return a part of a flat array, in `room` if it has to be copied."""
    block = flat[part]
    if _is_block(flat, room.dtype):
        return block
    room = room[: block.size]
    room[...] = block
    return room


def _blocks(start: int, stop: int) -> Iterator[slice]:
    return (slice(a, min(a + BLOCK, stop)) for a in range(start, stop, BLOCK))


# Updates

_UNSCALED = Scales()


class Plan:
    """What a step does to the parameters of a group.

    Parameters
    ----------
    update : Update
        The formula.
    dtype : dtype
        In which it is computed.
    jit : module or None
        The compiled loops.
    """

    def __init__(self, update: Update, dtype: DType, jit: Any) -> None:
        self.update = update
        self.counts = update.counts
        self._dtype = dtype
        self._loop: Callable[..., None] | None = None
        if jit is not None:
            self._loop = jit.loop(update, dtype)
        # The compiled loops get one array of numbers, NumPy views of its elements.
        row = [*update.coefficients, *update.rates(1), 1.0, 1.0]
        with np.errstate(all="ignore"):
            self._numbers = np.array(row, dtype)
        numbers: list[Any] = list(self._numbers.reshape(-1, 1))
        *coefficients, rate, root, scale, clip = numbers
        self._coefficients = Coefficients(*coefficients)
        self._rates = rate, root
        self._factors = scale, clip
        self._given = self._scales = _UNSCALED

    def scale(self, scales: Scales) -> None:
        """Set what the gradients are scaled with from now on."""
        if scales is self._given or scales == self._given:
            return
        self._given = scales
        with np.errstate(all="ignore"):
            for factor, scale in zip(self._factors, scales, strict=True):
                factor[...] = 1.0 if scale is None else scale
        pairs = zip(self._factors, scales, strict=True)
        self._scales = Scales(*(None if x is None else factor for factor, x in pairs))

    def follow_(self, run: Run, g: Array, count: int) -> None:
        """Update the parameters of a run for the `count`-th time, from a flat `g`."""
        if self.counts:
            self._numbers[RATE : RATE + 2] = self.update.rates(count)
        loop = self._loop
        if loop is None or not (run.simple and is_simple(g, self._dtype)):
            _threads.run(partial(self._follow_blocks_, run, g), run.bounds[-1])
            return
        p, *states = run.arrays
        if g.size < _threads.THRESHOLD:
            loop(self.update.flags, self._numbers, p, g, *states)
            return

        def part(start: int, stop: int) -> None:
            parts = (array[start:stop] for array in (p, g, *states))
            loop(self.update.flags, self._numbers, *parts)

        _threads.run(part, g.size)

    def _follow_blocks_(self, run: Run, g: Array, start: int, stop: int) -> None:
        """Update a part of the run with NumPy."""
        t, s, *rooms = _room.arrays(self._dtype, 3 + len(run.arrays))
        with np.errstate(all="ignore"):
            for part in _blocks(start, stop):
                size = part.stop - part.start
                step = Step(
                    *(np, self.update.flags, self._coefficients),
                    *(self._rates, self._scales),
                    *(t[:size], s[:size]),
                )
                pairs = zip((g, *run.arrays), rooms, strict=False)
                d, p, *states = [_loaded(flat, part, room) for flat, room in pairs]
                follow_(self.update, step, p, d, states)
                for flat, block in zip(run.arrays, (p, *states), strict=True):
                    if not _is_block(flat, self._dtype):
                        flat[part] = block
                if run.rounded is not None:
                    run.rounded[part] = p


# Norms


def square_sum(flats: Sequence[Any]) -> float:
    """Return the sum of the squares of all elements of flat arrays.

    Squares are rounded to float32, or to the arrays' dtype if that is wider. The sums
    of blocks are added in float64, so the number of threads does not matter.
    """
    sums = []
    for flat in flats:
        sums.append(np.zeros(-(-len(flat) // BLOCK)))
        _threads.run(partial(_square_blocks, _jit(), flat, sums[-1]), len(flat))
    return float(np.add.reduce(np.concatenate(sums))) if sums else 0.0


def _square_blocks(jit: Any, flat: Any, sums: Array, start: int, stop: int) -> None:
    """Write the sums of squares of blocks, of which one begins at `start`."""
    dtype = _wide(flat[:0].dtype)
    room, *_ = _room.arrays(dtype, 1)
    compiled = jit is not None and dtype in JIT_DTYPES and is_simple(flat, dtype)
    with np.errstate(all="ignore"):
        for part in _blocks(start, stop):
            if compiled:
                total = jit.square_sum(flat[part])
            else:
                block = _loaded(flat, part, room)
                total = np.add.reduce(np.multiply(block, block, room[: block.size]))
            sums[part.start // BLOCK] = total


def clip_factor(
    square_sums: Sequence[Any], max_norm: float, grad_scale: Any = None
) -> float:
    """Return ``min(1, max_norm / (norm + 1e-6))``; see `Backend.clip_factor`."""
    norm = _norm(math.fsum(map(float, square_sums)), grad_scale)
    return min(max_norm / (norm + 1e-6), 1.0)  # in this order a NaN stays


def global_norm(arrays: Sequence[Array], *, grad_scale: Any = None) -> Array:
    """Return the Euclidean norm of all arrays together; see `Backend.global_norm`."""
    if not arrays:
        raise ValueError("arrays must hold at least one array, got an empty sequence")
    dtype = np.result_type(np.float32, *(array.dtype for array in arrays))
    total = square_sum([joined(array, array) for array in arrays])
    with np.errstate(all="ignore"):
        return np.asarray(_norm(total, grad_scale), dtype)


def _norm(total: float, grad_scale: Any) -> float:
    norm = math.sqrt(total)
    return norm if grad_scale is None else norm / float(grad_scale)


# Batches


class CPUBatch:
    """Parameters of one dtype on the CPU that an optimizer updates together.

    Parameters
    ----------
    params, states, groups, steps, slots, masters
        See `gradlite.backends.protocol.Backend.batch`.

    Attributes
    ----------
    steps : Array
        int64, how many updates each parameter has had; `step` counts.
    """

    def __init__(
        self,
        params: Sequence[Array],
        states: Sequence[Sequence[Array]],
        groups: Sequence[int],
        steps: Sequence[int],
        slots: Sequence[Array | None],
        masters: Sequence[Array] | None = None,
    ) -> None:
        self.steps = np.array(steps, dtype=np.int64)
        self._shapes = [param.shape for param in params]
        self._slots = slots
        self._dtype = _wide(params[0].dtype) if params else np.dtype(np.float32)
        self._runs = list(runs_of(self._dtype, params, states, groups, slots, masters))
        self._simple = any(run.simple for run in self._runs)
        self._parts: dict[tuple[int, int], Run] = {}
        self._rooms: dict[int, Array] = {}
        self._plans: list[Plan] = []
        self._counting = False
        self._jit: Any = None
        self._even: bool | None = None

    def step(
        self,
        grads: Sequence[Array | None],
        updates: Sequence[Update],
        *,
        complete: bool = False,
        grad_scale: Array | float | None = None,
        clip: Array | float | None = None,
        found_inf: Array | bool | None = None,
    ) -> None:
        """Update all parameters that have a gradient; see `protocol.Batch.step`."""
        if found_inf is not None and bool(found_inf):
            return
        plans = self._planned(updates, grad_scale, clip)
        counting = self._counting
        pieces = self._pieces(grads, complete=complete, counting=counting, copy=True)
        if complete:
            self.steps += 1
        else:
            self._even = None
            found = [i for run, _ in pieces for i in range(run.start, run.stop)]
            self.steps[found] += 1
        for run, g in pieces:
            count = int(self.steps[run.start]) if self._counting else 0
            plans[run.group].follow_(run, g, count)

    def square_sum(
        self, grads: Sequence[Array | None], *, complete: bool = False
    ) -> float:
        """Return the sum of the squares of all gradients."""
        pieces = self._pieces(grads, complete=complete, counting=False)
        return square_sum([g for _, g in pieces])

    def upload(self, updates: Sequence[Update]) -> None:
        """Return at once: there are no captured steps on a CPU."""

    def _planned(
        self,
        updates: Sequence[Update],
        grad_scale: Array | float | None,
        clip: Array | float | None,
    ) -> list[Plan]:
        """Return the plans of all groups, of which only changed ones are new."""
        plans, jit = self._plans, _jit() if self._simple else None
        if jit is not self._jit or len(updates) != len(plans):
            plans.clear()
            self._jit = jit
        scaled = not (grad_scale is None and clip is None)
        scales = Scales(_number(grad_scale), _number(clip)) if scaled else _UNSCALED
        for i, update in enumerate(updates):
            known = plans[i].update if i < len(plans) else None
            if known is not update and known != update:
                plans[i : i + 1] = [Plan(update, self._dtype, jit)]
                self._counting = any(plan.counts for plan in plans)
            plans[i].scale(scales)
        return plans

    def _pieces(
        self,
        grads: Sequence[Array | None],
        *,
        complete: bool,
        counting: bool,
        copy: bool = False,
    ) -> list[tuple[Run, Array]]:
        """Return what one call each can update, with its flat gradient.

        These are the runs where all gradients are in their slots. Otherwise they are
        the parameters of a run that follow each other and have a gradient, with an
        equal number of updates if this is `counting`; gradients outside of their slots
        are alone, unless they are small and may be copied.
        """
        if complete and (not counting or self._is_even()):
            return [
                (run, self._own(grads, run.start) if run.slot is None else run.slot)
                for run in self._runs
            ]
        slots, steps = self._slots, self.steps.tolist()
        if complete:
            grads = [g if s is None else s for g, s in zip(grads, slots, strict=True)]

        def kind(i: int) -> int | None:
            g = grads[i]
            if g is None:
                return None
            if g is not slots[i] and (g.size > SMALL or not copy):
                return ~i
            return steps[i] if counting else 0

        pieces = []
        for run in self._runs:
            for key, members in groupby(range(run.start, run.stop), kind):
                if key is not None:
                    first, *others = members
                    part = self._part(run, first, first + 1 + len(others))
                    pieces.append((part, self._gathered(run, part, grads)))
        return pieces

    def _is_even(self) -> bool:
        """Whether the parameters of each run have had equally many updates."""
        if self._even is None:
            counts = (self.steps[run.start : run.stop] for run in self._runs)
            self._even = all((count == count[0]).all() for count in counts)
        return self._even

    def _part(self, run: Run, start: int, stop: int) -> Run:
        """Return the run of some parameters of a run."""
        if (start, stop) not in self._parts:
            self._parts[start, stop] = run.part(start, stop)
        return self._parts[start, stop]

    def _gathered(self, run: Run, part: Run, grads: Sequence[Any]) -> Array:
        """Return the gradients of a part of a run as one flat array.

        Where they are not in their slots they are copied: for small ones that costs
        less than a call for each.
        """
        places = range(part.start, part.stop)
        if all(grads[i] is self._slots[i] for i in places):
            return part.slot
        if len(places) == 1:
            return self._own(grads, part.start)
        if run.start not in self._rooms:
            self._rooms[run.start] = np.empty(run.bounds[-1], grads[part.start].dtype)
        first = run.bounds[part.start - run.start]
        room = self._rooms[run.start][first : first + part.bounds[-1]]
        return np.concatenate([grads[i].reshape(-1) for i in places], out=room)

    def _own(self, grads: Sequence[Any], i: int) -> Array:
        """Return the gradient of one parameter as a flat array."""
        g = grads[i]
        if g.shape != self._shapes[i]:
            raise ValueError(
                f"grads[{i}] has shape {g.shape}, its parameter {self._shapes[i]};"
                " they must be equal"
            )
        return joined(g, g)


def _wide(dtype: DType) -> DType:
    """Return the dtype in which arrays are updated."""
    return np.dtype(np.float32) if dtype.itemsize == 2 else dtype


def _number(value: Array | float | None) -> float | None:
    return None if value is None else float(value)
