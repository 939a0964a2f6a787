"""The in-place updates on CUDA: the host's side of `updates.cu`.

A step of any number of tensors is one launch, or a few. Their addresses go with the
launch by value, coefficients and counts are in device memory, and nothing is read back:
a step returns while the device is still at work, and can be captured in a graph. While
nothing changes it neither builds a table, nor copies, nor allocates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradlite._typing import Array, DType
from gradlite.backends._cuda_kernels import (
    HYPER,
    PLAIN,
    SCALARS,
    STEP,
    THREADS,
    UPDATE,
    Addresses,
    Integers,
    Kernels,
    Record,
    Scalar,
    Table,
    by_value,
    sums_argument,
    supported,
    target_argument,
)
from gradlite.backends._updates import STATES, Update

ALIGNMENT = 256
"""Bytes at whose multiples the slices of an arena begin."""

# Batches


class CUDABatch:
    """Parameters of one GPU and dtype that are updated together.

    Parameters
    ----------
    kernels : Kernels
        The kernels.
    params, states, groups, steps, slots, masters
        See `gradlite.backends.protocol.Backend.batch`.

    Attributes
    ----------
    steps : Array
        int64 in device memory, how many updates each parameter has had. Every step
        counts there, also those that a graph replays.
    """

    def __init__(
        self,
        kernels: Kernels,
        params: Sequence[Array],
        states: Sequence[Sequence[Array]],
        groups: Sequence[int],
        steps: Sequence[int],
        slots: Sequence[Array | None],
        masters: Sequence[Array] | None = None,
    ) -> None:
        counts = [len(x) for x in (params, states, groups, steps, slots)]
        if min(counts) != max(counts) or not params:
            raise ValueError(
                "params, states, groups, steps and slots must have one item for each of"
                f" at least one parameter, got {counts} items; pass equal lengths"
            )
        self._kernels = kernels
        self._device = params[0].device
        self._scope = kernels.scope(params[0])
        self._dtype = supported("params", params[0].dtype)
        narrow = self._dtype.itemsize == 2
        self._wide = np.dtype(np.float32) if narrow else self._dtype
        self._lengths: list[int] = [p.size for p in params]
        self._sizes: Integers = np.array(self._lengths)
        # What is not contiguous has a twin that is, and is copied there and back.
        self._twins: list[tuple[Array, Array]] = []
        with self._scope:
            use = self._usable
            self._params = [
                use("params", i, p, self._dtype) for i, p in enumerate(params)
            ]
            self._states = [
                [use("states", i, state, self._wide) for state in own]
                for i, own in enumerate(states)
            ]
            self._masters = [
                use("masters", i, master, self._wide)
                for i, master in enumerate((masters if narrow else None) or ())
            ]
            cupy = kernels.cupy
            self.steps = cupy.asarray(np.asarray(steps, np.int64))
            self._groups, indices = np.unique(groups, return_inverse=True)
            self._group_of: Integers = indices.reshape(-1)
            self._hypers = cupy.zeros(len(self._groups) * HYPER.itemsize, np.uint8)
            self._rates = cupy.zeros((len(params), 2), np.float64)
            self._sum = cupy.zeros((), np.float64)
        self._space = kernels.space(len(params))
        self._slots = slots
        for i, slot in enumerate(slots):
            if slot is not None:
                self._check("slots", i, slot, self._dtype)
        self._everywhere: Sequence[int] = range(len(params))
        self._outside = [i for i, slot in enumerate(slots) if slot is None]
        self._updates: Sequence[Update | None] = []
        self._layout: list[tuple[str, tuple[str, ...]]] = []
        self._step = np.zeros((), STEP)
        self._step["hypers"] = self._hypers.data.ptr
        self._step["rates"] = self._rates.data.ptr
        self._step["steps"] = self.steps.data.ptr
        self._step_argument = by_value(self._step)
        self._scalars: tuple[Scalar, ...] = ()
        self._held: tuple[Any, ...] = ()
        # Where the gradients were last, and what was made of that.
        self._complete = False
        self._found: list[int | None] | None = None
        self._gradient_twins: list[tuple[int, Array]] = []
        self._chosen: list[int] = []
        self._gradients: list[int] = []
        self._table: Table | None = None
        self._gradient_table: Table | None = None
        self._square_sum: SquareSum | None = None

    # What is looked at only when it changes

    def _check(self, name: str, i: int, array: Array, dtype: DType) -> None:
        if array.dtype != dtype:
            raise TypeError(
                f"{name}[{i}] must be of dtype {dtype}, got {array.dtype}; convert it"
            )
        if array.size != self._lengths[i]:
            raise ValueError(
                f"{name}[{i}] must have {self._lengths[i]} elements like params[{i}],"
                f" got shape {array.shape}; pass an array like the parameter"
            )
        if array.data.device_id != self._device.id:
            raise ValueError(
                f"{name}[{i}] must be on cuda:{self._device.id} like params[0], got"
                f" cuda:{array.data.device_id}; transfer it"
            )

    def _usable(self, name: str, i: int, array: Array, dtype: DType) -> Array:
        """Return `array`, or the twin that takes its place in the kernels."""
        self._check(name, i, array, dtype)
        if array.flags.c_contiguous:
            return array
        twin = self._kernels.cupy.empty(array.shape, array.dtype)
        self._twins.append((twin, array))
        return twin

    def _forbid_capture(self, changed: str) -> None:
        if self._kernels.capturing():
            raise RuntimeError(
                f"{changed} changed since the last step, and a captured graph would"
                " keep them as they are now; call step() once before capturing"
            )

    def upload(self, updates: Sequence[Update]) -> None:
        """Write changed coefficients to the device, where captured graphs see them.

        Parameters
        ----------
        updates : sequence of Update
            As for `step`, which does the same.
        """
        chosen = [updates[group] for group in self._groups]
        if chosen == self._updates:
            return
        self._forbid_capture("hyperparameters")
        with self._scope:
            layout = [(update.family, update.states) for update in chosen]
            if layout != self._layout:
                self._arrange(chosen)
                self._layout = layout
            known = self._updates or [None] * len(chosen)
            for i, (update, old) in enumerate(zip(chosen, known, strict=True)):
                if update != old:
                    self._write_hyper(i, update)
        self._updates = chosen
        self._counts = any(update.counts for update in chosen)
        self._step["advanced"] = self._counts

    def _arrange(self, updates: Sequence[Update]) -> None:
        """Collect the addresses of all arrays in the order of the kernels."""
        family = updates[0].family
        if any(update.family != family for update in updates):
            raise ValueError(
                f"updates must be of one family, got {family} and others; use a batch"
                " for each"
            )
        known = list(STATES[family])  # the kernels know all of them, in this order
        narrow = self._dtype.itemsize == 2
        at = np.zeros((2 + len(known) + narrow, len(self._params)), np.uint64)
        for i, own in enumerate(self._states):
            names = updates[self._group_of[i]].states
            if len(own) != len(names):
                raise ValueError(
                    f"states[{i}] must hold {len(names)} arrays ({', '.join(names)})"
                    f" for this {family}, got {len(own)}; make a new batch"
                )
            at[1, i] = self._params[i].data.ptr
            for name, state in zip(names, own, strict=True):
                at[2 + known.index(name), i] = state.data.ptr
        for i, master in enumerate(self._masters):
            at[-1, i] = master.data.ptr
        self._at = at
        self._update_kernel = self._kernels.get(
            f"{family}_{self._dtype.name}", self._space
        )
        self._wave = self._kernels.wave(self._update_kernel)
        self._table = None

    def _write_hyper(self, i: int, update: Update) -> None:
        record = np.zeros((), UPDATE)
        record["coefficients"] = update.coefficients
        record["flags"] = update.flags
        target = np.uint64(self._hypers.data.ptr + i * HYPER.itemsize)
        kernel = self._kernels.get("set_hyper", self._space)
        kernel((1,), (32,), (target, by_value(record)))

    # Where the gradients are

    def _aim(self, grads: Sequence[Array | None], complete: bool) -> None:
        """Let the tables point to the gradients."""
        looked_at = self._outside if complete else self._everywhere
        # `flags.c_contiguous` would make an object for each gradient.
        found = [
            None if (g := grads[i]) is None else g.data.ptr if g._c_contiguous else 0
            for i in looked_at
        ]
        if found != self._found or complete is not self._complete:
            self._forbid_capture("gradients")
            self._find(grads, complete)
            self._found, self._complete = found, complete
        for i, twin in self._gradient_twins:
            self._kernels.cupy.copyto(twin, grads[i])

    def _find(self, grads: Sequence[Array | None], complete: bool) -> None:
        """Look at each gradient, and rebuild the tables as far as they change."""
        dtype, device = self._dtype, self._device.id
        twins, chosen, gradients = [], [], []
        for i, (slot, size) in enumerate(zip(self._slots, self._lengths, strict=True)):
            g = slot if complete and slot is not None else grads[i]
            if g is None:
                if complete:
                    raise ValueError(
                        f"grads[{i}] must be an array if complete=True and it has no"
                        " slot, got None; pass complete=False"
                    )
                continue
            if g.dtype != dtype or g.size != size or g.data.device_id != device:
                self._check("grads", i, g, dtype)
            if not g._c_contiguous:
                g = self._kernels.cupy.empty(g.shape, dtype)
                twins.append((i, g))
            chosen.append(i)
            gradients.append(g.data.ptr)
        self._gradient_twins, self._gradients = twins, gradients
        if chosen != self._chosen:
            self._chosen = chosen
            self._table = self._gradient_table = self._square_sum = None
        for table in (self._table, self._gradient_table):
            if table is not None:
                table.point(gradients)

    def _tabulate(self, at: Addresses) -> Table:
        chosen = np.array(self._chosen, np.int64)
        table = Table(
            self._space, at, self._sizes, self._group_of, chosen, self._wide.itemsize
        )
        table.point(self._gradients)
        return table

    def _tabulate_gradients(self) -> Table:
        """Return the table that has no other arrays."""
        if self._gradient_table is None:
            at = np.zeros((1, len(self._params)), np.uint64)
            self._gradient_table = self._tabulate(at)
        return self._gradient_table

    # Steps

    def _set_scalars(self, grad_scale: Any, clip: Any, found_inf: Any) -> None:
        """Tell the kernels the divisor, the factor, and whether to do nothing."""
        if grad_scale is None and clip is None and found_inf is None:
            scalars: tuple[Scalar, ...] = PLAIN
        else:
            kernels, device = self._kernels, self._device
            # A captured graph reads what is held here whenever it is launched.
            self._held = tuple(
                kernels.readable(value, device)
                for value in (grad_scale, clip, found_inf)
            )
            scalars = tuple(map(kernels.scalar, self._held, (1.0, 1.0, 0.0)))
        if scalars is not self._scalars and scalars != self._scalars:
            for name, scalar in zip(SCALARS, scalars, strict=True):
                self._step[name] = scalar
        self._scalars = scalars

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
        """Update all parameters that have a gradient; see `protocol.Batch.step`.

        Raises
        ------
        RuntimeError
            If a graph is being captured, and the hyperparameters or the addresses of
            the gradients are not those of the last step.
        """
        with self._scope:
            self.upload(updates)
            self._aim(grads, complete)
            self._set_scalars(grad_scale, clip, found_inf)
            copyto = self._kernels.cupy.copyto
            for twin, array in self._twins:
                copyto(twin, array)
            if self._counts:
                self._advance()
            if self._table is None:
                self._table = self._tabulate(self._at)
            for launch in self._table.launches:
                blocks = min(launch.tiles, self._wave)
                arguments = (launch.argument, self._step_argument)
                self._update_kernel((blocks,), (THREADS,), arguments)
            for twin, array in self._twins:
                copyto(array, twin)

    def _advance(self) -> None:
        """Count before the update, which depends on the number of the step."""
        kernel = self._kernels.get(f"advance_{self._layout[0][0]}", self._space)
        for launch in self._tabulate_gradients().launches:
            blocks = -(-int(launch.record["count"]) // THREADS)
            kernel((blocks,), (THREADS,), (launch.argument, self._step_argument))

    def square_sum(
        self, grads: Sequence[Array | None], *, complete: bool = False
    ) -> Array:
        """Return the sum of the squares of all gradients.

        Returns
        -------
        Array
            0-D and float64, in the same memory after each call.
        """
        with self._scope:
            self._aim(grads, complete)
            if self._square_sum is None:
                tables = {self._dtype.name: self._tabulate_gradients()}
                self._square_sum = SquareSum(self._kernels, self._space, tables)
            self._square_sum.write(self._sum)
        return self._sum


# Norms


class SquareSum:
    """The sum of the squares of all elements, always added up in the same order.

    Parameters
    ----------
    kernels : Kernels
        The kernels.
    space : int
        Bytes for the parameters of a kernel.
    tables : dict of str to Table
        The arrays, as gradients, by the name of their dtype.
    """

    def __init__(self, kernels: Kernels, space: int, tables: dict[str, Table]) -> None:
        self._launches: list[tuple[Any, int, Record, int]] = []
        blocks = 0
        for name, table in tables.items():
            kernel = kernels.get(f"square_sum_{name}", space)
            wave = kernels.wave(kernel)
            for launch in table.launches:
                count = min(launch.tiles, wave)
                self._launches.append((kernel, count, launch.argument, blocks))
                blocks += count
        self._total = kernels.get("total", space)
        self._of_blocks = kernels.cupy.empty(blocks, np.float64)

    def write(self, out: Array) -> None:
        """Compute the sum into a 0-D array of float64."""
        sums = self._of_blocks
        for kernel, blocks, argument, first in self._launches:
            at = np.uint64(sums.data.ptr + 8 * first)
            kernel((blocks,), (THREADS,), (argument, at))
        self._total((1,), (THREADS,), (sums, np.int64(sums.size), out))


def clip_factor(
    kernels: Kernels,
    square_sums: Sequence[Array],
    max_norm: float,
    grad_scale: Array | float | None = None,
) -> Array:
    """Return ``min(1, max_norm / (norm + 1e-6))``; see `protocol.Backend.clip_factor`.

    Returns
    -------
    Array
        0-D and float64, in the same memory whenever it is asked for the same sums.
        NaN if the norm is.
    """
    first = square_sums[0]
    with kernels.scope(first):
        sums = [kernels.readable(x, first.device) for x in square_sums]
        parts, target, out = kernels.clipping(sums)
        scale = kernels.divisor(grad_scale, first.device)
        kernel = kernels.get("clip_factor")
        kernel((1,), (1,), (parts, scale, target, np.float64(max_norm)))
        return out


def global_norm(
    kernels: Kernels,
    arrays: Sequence[Array],
    *,
    grad_scale: Array | float | None = None,
) -> Array:
    """Return the Euclidean norm of all arrays; see `protocol.Backend.global_norm`.

    The squares are added up in float64, whatever the dtype of the result.
    """
    if not arrays:
        raise ValueError("arrays must hold at least one array, got an empty sequence")
    cupy = kernels.cupy
    with kernels.scope(arrays[0]):
        by_dtype: dict[str, list[Array]] = {}
        for x in map(cupy.ascontiguousarray, arrays):
            by_dtype.setdefault(supported("arrays", x.dtype).name, []).append(x)
        space = kernels.space(len(arrays))
        tables = {
            name: Table(
                space,
                np.array([[x.data.ptr for x in same]], np.uint64),
                np.array([x.size for x in same]),
                np.zeros(len(same), np.int64),
                np.arange(len(same)),
                max(4, same[0].dtype.itemsize),
            )
            for name, same in by_dtype.items()
        }
        total = cupy.empty((), np.float64)
        SquareSum(kernels, space, tables).write(total)
        out = cupy.empty((), np.float64 if "float64" in tables else np.float32)
        scale = kernels.divisor(grad_scale, out.device)
        kernel = kernels.get("norm", space)
        kernel((1,), (1,), (sums_argument([total]), scale, target_argument(out)))
        return out
