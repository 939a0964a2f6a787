"""The base class of all schedules: when rates are set, and what a state dict holds."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gradlite._arguments import integer, type_name
from gradlite.optim._arguments import NON_NEGATIVE, Interval
from gradlite.optim.optimizer import Optimizer


class LRScheduler(ABC):
    """Sets the learning rate of each group of an optimizer, step by step.

    The constructor sets the first learning rate; `step` sets the next one and is called
    after `optimizer.step()`, once per epoch or per batch. A subclass defines `get_lr`.

    Parameters
    ----------
    optimizer : Optimizer
        Whose groups' ``"lr"`` is set; the initial one stays in ``"initial_lr"``.
    last_epoch : int, default -1
        The number of the last step when training is resumed; -1 starts anew.

    Attributes
    ----------
    base_lrs : list of float
        The initial learning rates.
    last_epoch : int
        How often `step` was called.

    Raises
    ------
    TypeError
        If `optimizer` is no `Optimizer` or `last_epoch` no int.
    KeyError
        If `last_epoch` is given and a group has no ``"initial_lr"``.

    Notes
    -----
    There are two ways to resume training after k steps. Either build optimizer and
    scheduler as for a new run and then load the state of both, in this order; or load
    the optimizer's state and then build the scheduler with ``last_epoch=k - 1``.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        check_optimizer(optimizer)
        last_epoch = integer("last_epoch", last_epoch, -1)
        self.optimizer = optimizer
        with self._all_or_nothing():
            for i, group in enumerate(optimizer.param_groups):
                if last_epoch == -1:
                    group.setdefault("initial_lr", group["lr"])
                elif "initial_lr" not in group:
                    raise KeyError(
                        f"initial_lr is missing in param_groups[{i}], which"
                        f" last_epoch={last_epoch} needs; load the optimizer's"
                        " state_dict first, or leave last_epoch out"
                    )
            self.base_lrs: list[float] = [
                group["initial_lr"] for group in optimizer.param_groups
            ]
            self.last_epoch = last_epoch
            self._step_count = 1
            self._last_lr: list[float] = []
            self._resuming = last_epoch >= 0
            self._move(last_epoch + 1)
            self._resuming = False

    @abstractmethod
    def get_lr(self) -> list[float]:
        """Return the groups' learning rates at step `last_epoch`."""

    def get_last_lr(self) -> list[float]:
        """Return the learning rates that the last `step` set, one per group."""
        return list(self._last_lr)

    def step(self) -> None:
        """Set the next learning rates.

        Warns
        -----
        UserWarning
            If `optimizer.step()` was not called before, which skips the first rate.
        """
        self._check_order()
        self._move(self.last_epoch + 1)
        self._step_count += 1

    def _check_order(self) -> None:
        """Warn if this is the first step and the optimizer has made none."""
        own_step = type(self.optimizer).step is Optimizer.step
        if self._step_count == 1 and own_step and not self.optimizer._stepped:
            warnings.warn(
                "lr_scheduler.step() was called before optimizer.step(), so the first"
                " learning rate is never used; call optimizer.step() first",
                stacklevel=3,
            )

    def _move(self, epoch: int) -> None:
        """Go to a step and set its learning rates, or change nothing."""
        with self._all_or_nothing():
            self._go(epoch)

    def _go(self, epoch: int) -> None:
        """Do the work of `_move`; what else a step sets, a subclass sets here."""
        self.last_epoch = epoch
        try:
            rates = [NON_NEGATIVE.check("lr", rate) for rate in self.get_lr()]
            self._write(rates)
        except BaseException as error:
            error.add_note(f"in get_lr() of {type(self).__name__}; nothing was changed")
            raise
        self._last_lr = rates

    def _write(self, rates: Sequence[float]) -> None:
        """Set the learning rates of all groups."""
        self._check_groups(len(rates))
        for group, lr in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = lr

    def _check_groups(self, known: int) -> None:
        """Raise if the optimizer has other groups than those that have a schedule."""
        groups = len(self.optimizer.param_groups)
        if groups != known:
            raise ValueError(
                f"the scheduler knows {known} groups, the optimizer has {groups}; build"
                " the scheduler after the last group was added"
            )

    def _all_or_nothing(self) -> _AllOrNothing:
        """Put this object and the optimizer's options back if the block raises."""
        return _AllOrNothing(vars(self), *self.optimizer.param_groups)

    def state_dict(self) -> dict[str, Any]:
        """Return all attributes but the optimizer.

        Returns
        -------
        dict
            Numbers and lists of numbers, and what a subclass adds.
        """
        return {
            key: list(value) if isinstance(value, list) else value
            for key, value in vars(self).items()
            if key not in ("optimizer", "_resuming")
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over the attributes from a `state_dict`; load the optimizer's own too.

        Parameters
        ----------
        state_dict : dict
            As `state_dict` of a scheduler of the same class returns it.

        Raises
        ------
        TypeError, ValueError
            If entries are missing, unknown or of a wrong kind, or the number of groups
            differs; the scheduler is then as it was.
        """
        self._check_state(state_dict)
        for key, value in state_dict.items():
            setattr(self, key, list(value) if isinstance(value, list) else value)

    def _check_state(self, state_dict: Mapping[str, Any]) -> None:
        """Raise unless `state_dict` is that of a scheduler like this one."""
        if not isinstance(state_dict, Mapping):
            raise TypeError(
                f"state_dict must be a dict, got {type_name(state_dict)}; pass what"
                " scheduler.state_dict() returned"
            )
        own = self.state_dict()
        missing = sorted(own.keys() - state_dict.keys())
        unknown = sorted(state_dict.keys() - own.keys())
        if missing or unknown:
            raise ValueError(
                f"state_dict does not fit {type(self).__name__}: missing {missing},"
                f" unknown {unknown}"
            )
        for key in ("last_epoch", "_step_count"):
            integer(f"state_dict[{key!r}]", state_dict[key], 0)
        for key in ("base_lrs", "_last_lr"):
            if not isinstance(state_dict[key], list | tuple):
                raise TypeError(
                    f"state_dict[{key!r}] must be a list of numbers, got"
                    f" {state_dict[key]!r}"
                )
            for rate in state_dict[key]:
                NON_NEGATIVE.check(f"state_dict[{key!r}]", rate)
            groups, saved = len(self.base_lrs), len(state_dict[key])
            if saved != groups:
                raise ValueError(
                    f"state_dict[{key!r}] has learning rates for {saved} groups, the"
                    f" optimizer {groups} groups; build it with the same groups"
                )


class _AllOrNothing:
    """A context that puts some dicts back as they were if its block raises.

    Parameters
    ----------
    *dicts : dict
        The dicts; their values are replaced there and not changed themselves.
    """

    __slots__ = ("_saved",)

    def __init__(self, *dicts: dict[str, Any]) -> None:
        self._saved = [(current, dict(current)) for current in dicts]

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            for current, before in self._saved:
                current.clear()
                current.update(before)


def check_optimizer(optimizer: object) -> None:
    """Raise a TypeError unless `optimizer` is one."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(
            f"optimizer must be a gradlite.optim.Optimizer, got {type_name(optimizer)}"
        )


def as_list(name: str, value: object) -> list[Any]:
    """Return an iterable argument as a list, or raise a TypeError."""
    if not isinstance(value, Iterable):
        raise TypeError(f"{name} must be a list, got {type_name(value)}; pass [{name}]")
    return list(value)


def per_group(
    name: str, value: object, interval: Interval, optimizer: Optimizer
) -> list[float]:
    """Return a number for each group, from one for all or from a list of them.

    Parameters
    ----------
    name : str
        The argument's name, for the message.
    value : float or list of float
        What was passed.
    interval : Interval
        The range of the numbers.
    optimizer : Optimizer
        The optimizer with the groups.

    Raises
    ------
    TypeError, ValueError
        If a number is of another type or out of range, or the list has another length.
    """
    groups = len(optimizer.param_groups)
    values = list(value) if isinstance(value, list | tuple) else [value] * groups
    if len(values) != groups:
        raise ValueError(
            f"{name} must be a number, or a list of one for each of the {groups}"
            f" groups, got {len(values)}"
        )
    return [interval.check(name, item) for item in values]
