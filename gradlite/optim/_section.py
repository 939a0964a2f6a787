"""Parameters that are updated together, and the arenas in which they lie.

What a step touches lies side by side, so that one call of a backend updates many
parameters: their state in one arena, and small parameters and their gradients too. A
small parameter then is a view of its arena, and the engine writes its gradient into a
slot. Large ones stay where they are and have gradients of their own: to copy those
would cost more than it saves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

from gradlite._typing import Array, DType, Shape
from gradlite.autograd._graph import GradientArena, Leaf, SliceVersion, Slot, Version
from gradlite.backends import Device, device_of
from gradlite.backends.protocol import Batch
from gradlite.optim._state import State
from gradlite.tensor import Tensor

MASTER = "master_param"
"""The name in the state of what a parameter of 16 bits is in float32."""


class Member(NamedTuple):
    """A parameter of a section, and the number of its group."""

    param: Tensor
    group: int


class Section:
    """Parameters of one device and dtype whose updates keep the same state.

    Parameters
    ----------
    members : sequence of Member
        The parameters.
    names : tuple of str
        Of the state arrays.
    state : State
        Where arrays that exist already are found; they are moved into the arena.
    fill : callable
        The first value of a state array, from the group's number and the name.
    counts : dict
        By `id`, how many updates the parameters have had.
    flat : bool
        Whether large parameters have slots for their gradients too.

    Attributes
    ----------
    device : Device
        Where they live.
    params : list of Tensor
        The parameters, small ones first.
    groups : list of int
        The numbers of their groups.
    states : dict of str to list of Tensor
        Their state, with the float32 values of 16-bit parameters as `MASTER`.
    grads : list of (Array or None)
        Their gradients, as the batch gets them.
    slots : list of (Slot or None)
        Where gradients are written that have no array of their own.
    batch : Batch
        What updates them.
    unknown : set of int
        The positions of those that have had no update, and no state to be seen.
    flat_grads : Tensor or None
        The arena of all slots.
    """

    batch: Batch
    slots: Sequence[Slot | None] = ()

    def __init__(
        self,
        members: Sequence[Member],
        names: tuple[str, ...],
        state: State,
        *,
        fill: Callable[[int, str], float],
        counts: dict[int, int],
        flat: bool,
    ) -> None:
        self.device = members[0].param._device
        self._small = self.device.backend.SMALL
        members = sorted(members, key=lambda member: not self._is_small(member.param))
        self.params = [member.param for member in members]
        self.groups = [member.group for member in members]
        self._names = names
        self._flat = flat
        self._epoch = Version()
        self._state_version = Version()
        self._outside = self._adopt()
        dtype = self.params[0]._array.dtype
        wide = self.device.xp.accumulation_dtype(dtype)
        self._state_dtype = dtype if wide is None else wide
        self.states = {name: self._state_arrays(state, name, fill) for name in names}
        if wide is not None:
            self.states[MASTER] = self._masters(state)
        self._seen = [param._version.count for param in self.params]
        self.unknown = {i for i, p in enumerate(self.params) if not state.get(p)}
        self.grads: list[Array | None] = [None] * len(members)
        self._make_slots()
        self._make_batch([counts.get(id(param), 0) for param in self.params])

    # Arenas

    def _is_small(self, param: Tensor) -> bool:
        return bool(math.prod(param._array.shape) <= self._small)

    def _adopt(self) -> list[Tensor]:
        """Move small parameters into one arena; return those that stay outside.

        A parameter whose memory others can reach stays where it is.
        """
        owns = self.device.backend.owns
        inside = [
            param
            for param in self.params
            if self._is_small(param)
            and not param._version.shared
            and owns(param._array)
        ]
        if len(inside) < 2:
            return self.params
        dtype = inside[0]._array.dtype
        _, views = carve(self.device, dtype, [param._array.shape for param in inside])
        for param, view in zip(inside, views, strict=True):
            view[...] = param._array
            param._version.bump()  # for graphs that saved the old array
            param._array = view
            param._version = SliceVersion(self._epoch)
        moved = set(map(id, inside))
        return [param for param in self.params if id(param) not in moved]

    def _state_arrays(
        self, state: State, name: str, fill: Callable[[int, str], float]
    ) -> list[Tensor]:
        """Return the state arrays of one name, in an arena, with what was in them."""
        shapes = [param._array.shape for param in self.params]
        _, views = carve(self.device, self._state_dtype, shapes)
        for param, group, view in zip(self.params, self.groups, views, strict=True):
            known = state.get(param, {}).get(name)
            if known is not None:
                view[...] = known._array
            elif first := fill(group, name):
                view[...] = first
        return [self._constant(view, self._state_version) for view in views]

    def _masters(self, state: State) -> list[Tensor]:
        """Return the parameters in float32, as they were before they were rounded."""
        shapes = [param._array.shape for param in self.params]
        _, views = carve(self.device, self._state_dtype, shapes)
        for param, view in zip(self.params, views, strict=True):
            known = state.get(param, {}).get(MASTER)
            self._follow(view if known is None else known._array, param, view)
        return [self._constant(view, self._state_version) for view in views]

    def _follow(self, master: Array, param: Tensor, out: Array) -> None:
        """Write `param` to `out`, but `master` where it is what `param` was before.

        Then the order in which a model and its optimizer are loaded does not matter.
        """
        xp, p = self.device.xp, param._array
        if master is out:
            master = xp.asarray(master, copy=True)
        same = xp.astype(master, p.dtype) == p
        out[...] = xp.where(same, master, xp.astype(p, out.dtype))

    def _constant(self, array: Array, version: Version | None = None) -> Tensor:
        return Tensor._wrap(array, self.device, None, version or Version())  # type: ignore[no-any-return]

    def _make_slots(self) -> None:
        """Give leaves slots in one arena for their gradients."""
        nodes = [self._slot_owner(param) for param in self.params]
        shapes = [node.shape for node in nodes if node is not None]
        self.arena = GradientArena(fixed=self._flat)
        self.flat_grads: Tensor | None = None
        slots: list[Slot | None] = [None] * len(nodes)
        self.slots = slots
        if not shapes:
            return
        flat, views = carve(self.device, self.params[0]._array.dtype, shapes)
        self.flat_grads = self._constant(flat)
        left = iter(views)
        for i, node in enumerate(nodes):
            if node is not None:
                slot = Slot(self._constant(next(left)), self.arena)
                node.slot = slots[i] = slot

    def __del__(self) -> None:
        if self.slots:  # the parameters are left for the next optimizer
            self.release()

    def _slot_owner(self, param: Tensor) -> Leaf | None:
        """Return the leaf that is to have a slot, if another optimizer gave it none."""
        node = param._node
        if type(node) is not Leaf or node.slot is not None:
            return None
        wanted = self.device.backend.ALIGNMENT and (self._flat or self._is_small(param))
        return node if wanted else None

    def fill_slots(self) -> None:
        """Bring all gradients to their slots, and zeros to those without one."""
        for param, slot in zip(self.params, self.slots, strict=True):
            grad = param._grad
            if slot is None or (grad is slot.tensor and grad._array is slot.array):
                continue
            with self.device.scope():
                slot.array[...] = 0 if grad is None else grad._array
            slot.tensor._array = slot.array  # its data may have been replaced
            slot.tensor._version.bump()
            if grad is not None:
                param._grad = slot.tensor

    def release(self) -> None:
        """Take the slots away from the leaves."""
        for param, slot in zip(self.params, self.slots, strict=False):
            node = param._node
            if slot is not None and type(node) is Leaf and node.slot is slot:
                node.slot = None

    @property
    def slots_seen(self) -> bool:
        """Whether slots that were of use have gradients that the user may have kept.

        For one who looks at every gradient before the step they are of no use.
        """
        return self.arena.shown and self._served and not self._flat

    def renew_slots(self) -> None:
        """Move the slots to new memory."""
        self.release()
        with self.device.scope():
            self._make_slots()
            self._make_batch(self.counts())

    # Steps

    def _make_batch(self, counts: Sequence[int]) -> None:
        self._served = False  # whether a step has found all gradients in their slots
        arrays = [_arrays(self.states[name]) for name in self._names]
        masters = self.states.get(MASTER)
        self.batch = self.device.backend.batch(
            _arrays(self.params),
            list(zip(*arrays, strict=True)) if arrays else [()] * len(self.params),
            self.groups,
            counts,
            [None if slot is None else slot.array for slot in self.slots],
            None if masters is None else _arrays(masters),
        )
        self._where = device_of(self.batch.steps)

    def counts(self) -> list[int]:
        """Return how many updates each parameter has had; on a GPU this waits."""
        return self._where.backend.to_host(self.batch.steps).tolist()  # type: ignore[no-any-return]

    def state_of(self, i: int) -> dict[str, Any]:
        """Return the state arrays of one parameter, by name."""
        return {name: tensors[i] for name, tensors in self.states.items()}

    def step_tensor(self, i: int) -> Tensor:
        """Return the number of updates of one parameter, which keeps counting."""
        view = self.batch.steps[i : i + 1].reshape(())
        return Tensor._wrap(view, self._where, None, Version())  # type: ignore[no-any-return]

    def refresh_masters(self) -> None:
        """Take over what others wrote to parameters of 16 bits since the last step."""
        if MASTER not in self.states:
            return
        for i, param in enumerate(self.params):
            if param._version.count != self._seen[i]:
                master = self.states[MASTER][i]._array
                self._follow(master, param, master)

    def written(self, *, complete: bool) -> None:
        """Note that a step wrote to the parameters that have a gradient."""
        self._state_version.bump()
        if complete:
            self._epoch.bump()
            for param in self._outside:
                param._version.bump()
            self._served |= not self.arena.shown
        else:
            for param, grad in zip(self.params, self.grads, strict=True):
                if grad is not None:
                    param._version.bump()
        if MASTER in self.states:
            self._seen = [param._version.count for param in self.params]


def carve(
    device: Device, dtype: DType, shapes: Sequence[Shape]
) -> tuple[Array, list[Array]]:
    """Return zeros of some shapes that lie side by side, where the library has views.

    Parameters
    ----------
    device : Device
        Where.
    dtype : dtype
        The library's dtype.
    shapes : sequence of tuple of int
        Of the arrays.

    Returns
    -------
    tuple of Array and list of Array
        The whole, and the arrays; where these are no views the whole is empty.
    """
    alignment = device.backend.ALIGNMENT
    with device.scope():
        if not alignment:
            make = partial(device.xp.zeros, dtype=dtype, device=device.raw)
            return make((0,)), [make(shape) for shape in shapes]
        unit = max(1, alignment // np.dtype(dtype).itemsize)
        sizes = [math.prod(shape) for shape in shapes]
        starts = list(accumulate((-(-n // unit) * unit for n in sizes), initial=0))
        flat = device.xp.zeros((starts[-1],), dtype=dtype, device=device.raw)
        return flat, [
            flat[start : start + n].reshape(shape)
            for start, n, shape in zip(starts, sizes, shapes, strict=False)
        ]


def _arrays(tensors: Iterable[Tensor]) -> list[Array]:
    return [tensor._array for tensor in tensors]
