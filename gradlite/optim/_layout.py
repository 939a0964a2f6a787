"""What an optimizer keeps from step to step, so that the next one is short."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from gradlite._typing import Array
from gradlite.backends import Device, DeviceMismatchError
from gradlite.backends._updates import Update
from gradlite.optim._arguments import raw
from gradlite.optim._clipping import clip_factor
from gradlite.optim._groups import label
from gradlite.optim._section import Member, Section
from gradlite.tensor import Tensor

if TYPE_CHECKING:
    from gradlite.optim.optimizer import Optimizer

OWN = object()
"""Stands for the slot of a parameter whose gradient is an array of its own."""


Row = tuple[Array, Any, Array | None, list[Array | None], int]
"""What a parameter is compared with in each step, a plain tuple for speed.

Its array; what its gradient is if it was written into its slot, or `OWN`, and the
array of that; the gradients of its section, and where one of its own is put there.
"""


class Layout:
    """The sections of an optimizer, and its parameters as they were then.

    Parameters
    ----------
    optimizer : Optimizer
        Whose parameters and state are laid out. The state is shown in
        `optimizer.state`; the optimizer itself is not kept.
    counts : dict
        By `id`, how many updates the parameters have had.

    Attributes
    ----------
    groups : list of dict
        The optimizer's.
    sections : list of Section
        All of them.

    Raises
    ------
    ValueError
        If the state does not fit its parameter; nothing has changed then.
    """

    def __init__(self, optimizer: Optimizer, counts: dict[int, int]) -> None:
        self.groups = groups = optimizer.param_groups
        self._state = state = optimizer.state
        self._counted = optimizer._counted
        self._marks = [optimizer._marks(group) for group in groups]
        alike: dict[Any, list[Member]] = {}
        for number, group in enumerate(groups):
            names = optimizer._updates[number].states
            for param in group["params"]:
                key = param._device, param._array.dtype, names
                alike.setdefault(key, []).append(Member(param, number))
        self.sections: list[Section] = []
        for (device, _, names), members in alike.items():
            with device.scope():
                section = Section(
                    members,
                    names,
                    state,
                    fill=lambda number, name: optimizer._fill(groups[number], name),
                    counts=counts,
                    flat=optimizer.grads == "flat",
                )
            self.sections.append(section)
            self._show(section, range(len(members)), only_known=True)
        self._make_rows()
        state.changed = False

    def _make_rows(self) -> None:
        found: dict[int, Row] = {}
        for section in self.sections:
            slots = zip(section.params, section.slots, strict=True)
            for place, (param, slot) in enumerate(slots):
                wanted = (OWN, None) if slot is None else (slot.tensor, slot.array)
                found[id(param)] = param._array, *wanted, section.grads, place
        self._rows = [[found[id(p)] for p in group["params"]] for group in self.groups]

    def release(self) -> None:
        """Take the slots away from the leaves."""
        for section in self.sections:
            section.release()

    def renew_slots(self) -> None:
        """Move gradient slots that the user has seen; all gradients are None now."""
        seen = [section for section in self.sections if section.slots_seen]
        if not seen or self._state.changed or self.read() is None:
            return  # where something else has changed, the next step makes all anew
        for section in seen:
            section.renew_slots()
            self._show(section, range(len(section.params)), only_known=True)
        self._make_rows()

    def counts(self) -> dict[int, int]:
        """Return by `id` how many updates the parameters have had."""
        return {
            id(param): count
            for section in self.sections
            for param, count in zip(section.params, section.counts(), strict=True)
        }

    # A step, in its order

    def read(self) -> bool | None:
        """Look for the gradients of all parameters.

        Returns
        -------
        bool or None
            True if all are there, in their slots if they have one. False if not, and
            `gather` must have a closer look. None if the parameters are not what they
            were.
        """
        if len(self.groups) != len(self._rows):
            return None
        complete = True
        for group, rows in zip(self.groups, self._rows, strict=True):
            params = group["params"]
            if len(params) != len(rows):
                return None
            for param, row in zip(params, rows, strict=True):
                array, slot, slot_array, grads, place = row
                if param._array is not array:
                    return None
                grad = param._grad
                if grad is slot and grad._array is slot_array:
                    continue
                if slot is OWN and grad is not None and _fits(grad, param):
                    grads[place] = grad._array
                else:
                    complete = False
        return complete

    def gather(self) -> None:
        """Take note of the gradients that there are, wherever they lie.

        Raises
        ------
        ValueError, DeviceMismatchError
            If one is not like its parameter.
        """
        for i, (group, rows) in enumerate(zip(self.groups, self._rows, strict=True)):
            pairs = zip(group["params"], rows, strict=True)
            for j, (param, (*_, grads, place)) in enumerate(pairs):
                grad = param._grad
                if grad is not None and not _fits(grad, param):
                    raise _misfit(param, grad, label(group, i, j))
                grads[place] = None if grad is None else grad._array

    def _active(self, complete: bool) -> list[Section]:
        """Return the sections in which there is a gradient."""
        if complete:
            return self.sections
        return [
            section
            for section in self.sections
            if any(grad is not None for grad in section.grads)
        ]

    def clip_factor(
        self, max_norm: float, complete: bool, grad_scale: float | Tensor | None
    ) -> Array | float | None:
        """Return the factor that keeps the norm of all gradients below `max_norm`."""
        sums: dict[Device, list[Array | float]] = {}
        for section in self._active(complete):
            with section.device.scope():
                part = section.batch.square_sum(section.grads, complete=complete)
            sums.setdefault(section.device, []).append(part)
        return clip_factor(sums, max_norm, grad_scale)

    def step(
        self,
        updates: Sequence[Update],
        *,
        complete: bool,
        grad_scale: float | Tensor | None,
        clip: Array | float | None,
        found_inf: Tensor | None,
    ) -> None:
        """Update all parameters that have a gradient, and note that it was done."""
        for section in self._active(complete):
            device = section.device
            section.refresh_masters()
            with device.scope():
                section.batch.step(
                    section.grads,
                    updates,
                    complete=complete,
                    grad_scale=raw(grad_scale, device),
                    clip=clip,
                    found_inf=raw(found_inf, device),
                )
            section.written(complete=complete)
            if section.unknown:
                grads = section.grads
                first = {i for i in section.unknown if complete or grads[i] is not None}
                self._show(section, first)
                section.unknown -= first

    def _show(
        self, section: Section, places: Iterable[int], *, only_known: bool = False
    ) -> None:
        """Put what a section keeps for some of its parameters into the state."""
        for i in places:
            param, values = section.params[i], section.state_of(i)
            if self._counted:
                values["step"] = section.step_tensor(i)
            if values and not (only_known and i in section.unknown):
                marks = self._marks[section.groups[i]]
                self._state[param].data.update(values, **marks)

    def upload(self, updates: Sequence[Update]) -> None:
        """Make changed coefficients known where captured steps are replayed."""
        for section in self.sections:
            with section.device.scope():
                section.batch.upload(updates)


def _fits(grad: Tensor, param: Tensor) -> bool:
    """Whether a gradient is like its parameter."""
    g, p = grad._array, param._array
    return grad._device is param._device and g.shape == p.shape and g.dtype == p.dtype


def _misfit(param: Tensor, grad: Tensor, name: str) -> Exception:
    """Return the error for a gradient that is not like its parameter."""
    fix = "; call zero_grad() and backward() again after changing a parameter"
    if grad.device != param.device:
        return DeviceMismatchError(
            f"{name} is on {param.device}, its gradient on {grad.device}{fix}"
        )
    return ValueError(
        f"{name} has shape {tuple(param.shape)} and dtype {param.dtype.__name__}, its"
        f" gradient {tuple(grad.shape)} and {grad.dtype.__name__}{fix}"
    )
