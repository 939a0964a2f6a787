"""Arrays that lie side by side in memory, as runs for which a step costs one call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import numpy as np

from gradlite._typing import Array, DType

JIT_DTYPES = (np.float32, np.float64)
"""What the compiled loops update."""


def adjacent(x: Array, y: Array) -> bool:
    """Whether `y` begins where `x` ends, in the memory of one array."""
    owner = _owner(x)
    return bool(
        x.dtype == y.dtype
        and x.flags.c_contiguous
        and y.flags.c_contiguous
        and owner is _owner(y)
        and owner.flags.c_contiguous
        and _address(x) + x.nbytes == _address(y)
    )


def joined(first: Array, last: Array) -> Array:
    """Return what lies from one array to another as one flat view of their owner.

    It reaches from the start of `first` to the end of `last`, which are the ends of a
    chain of adjacent arrays, or one array: then what has no C order is an iterator,
    whose slices are copies.
    """
    if first is last:
        return np.asarray(first).reshape(-1) if first.flags.c_contiguous else first.flat
    owner = _owner(first)
    start = _address(first) - _address(owner)
    stop = _address(last) + last.nbytes - _address(owner)
    everything = np.asarray(owner).reshape(-1).view(np.uint8)
    return everything[start:stop].view(first.dtype)


def _owner(array: Array) -> Array:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _address(array: Array) -> int:
    return array.__array_interface__["data"][0]  # type: ignore[no-any-return]


class Run(NamedTuple):
    """Parameters of one group that lie side by side, or a single one, as flat arrays.

    Attributes
    ----------
    start, stop : int
        Their positions in the batch.
    bounds : list of int
        Where each begins, and where the last ends.
    group : int
        The position of their update.
    slot : Array or None
        Their gradients, if these are in their slots.
    arrays : list of Array
        The parameters, or their masters, and their states.
    rounded : Array or None
        The parameters, if they have masters.
    simple : bool
        Whether a compiled loop can write to `arrays`.
    """

    start: int
    stop: int
    bounds: list[int]
    group: int
    slot: Array | None
    arrays: list[Array]
    rounded: Array | None
    simple: bool

    def part(self, start: int, stop: int) -> Run:
        """Return the run of some of its parameters."""
        if (start, stop) == (self.start, self.stop):
            return self
        first, last = start - self.start, stop - self.start
        part = slice(self.bounds[first], self.bounds[last])
        return self._replace(
            start=start,
            stop=stop,
            bounds=[bound - part.start for bound in self.bounds[first : last + 1]],
            slot=None if self.slot is None else self.slot[part],
            arrays=[array[part] for array in self.arrays],
            rounded=None if self.rounded is None else self.rounded[part],
        )


def runs_of(
    dtype: DType,
    params: Sequence[Array],
    states: Sequence[Sequence[Array]],
    groups: Sequence[int],
    slots: Sequence[Array | None],
    masters: Sequence[Array] | None,
) -> Iterator[Run]:
    """Yield the parameters in order, in runs that are as long as possible."""
    columns = [params] if masters is None else [masters, params]
    rows = [(*row, *state) for *row, state in zip(*columns, states, strict=True)]

    def continues(i: int) -> bool:
        before, after = slots[i - 1], slots[i]
        if before is None or after is None or groups[i - 1] != groups[i]:
            return False
        pairs = zip((before, *rows[i - 1]), (after, *rows[i]), strict=True)
        return all(adjacent(x, y) for x, y in pairs)

    starts = [i for i in range(len(rows)) if not (i and continues(i))]
    for start, stop in pairwise([*starts, len(rows)]):
        pairs = zip(rows[start], rows[stop - 1], strict=True)
        arrays = [joined(first, last) for first, last in pairs]
        rounded = None if masters is None else arrays.pop(1)
        slot = slots[start]
        yield Run(
            start=start,
            stop=stop,
            bounds=[0, *accumulate(row[0].size for row in rows[start:stop])],
            group=groups[start],
            slot=None if slot is None else joined(slot, slots[stop - 1]),
            arrays=arrays,
            rounded=rounded,
            simple=rounded is None
            and dtype in JIT_DTYPES
            and all(is_simple(x, dtype) for x in arrays),
        )


def is_simple(flat: Any, dtype: DType) -> bool:
    """Whether a compiled loop takes a flat array: contiguous, aligned and writable."""
    return type(flat) is np.ndarray and flat.dtype == dtype and flat.flags.carray
