"""Schedules of the learning rate, with PyTorch's names, values and state."""

from __future__ import annotations

import types
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gradlite._arguments import integer, type_name
from gradlite.optim._arguments import NON_NEGATIVE, Interval
from gradlite.optim.optimizer import Optimizer

__all__ = ["LRScheduler", "LambdaLR", "LinearLR"]


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
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        _check_optimizer(optimizer)
        last_epoch = integer("last_epoch", last_epoch, -1)
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(
                    f"initial_lr is missing in param_groups[{i}], which"
                    f" last_epoch={last_epoch} needs; load the optimizer's state_dict"
                    " first, or leave last_epoch out"
                )
        self.optimizer = optimizer
        self.base_lrs: list[float] = [g["initial_lr"] for g in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._step_count = 0
        self._last_lr: list[float] = []
        self._resuming = last_epoch >= 0
        self.step()
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
        optimizer = self.optimizer
        own_step = type(optimizer).step is Optimizer.step
        if self._step_count == 1 and own_step and not optimizer._stepped:
            warnings.warn(
                "lr_scheduler.step() was called before optimizer.step(), so the first"
                " learning rate is never used; call optimizer.step() first",
                stacklevel=2,
            )
        self.last_epoch += 1
        try:
            rates = [NON_NEGATIVE.check("lr", rate) for rate in self.get_lr()]
        except BaseException as error:
            self.last_epoch -= 1
            error.add_note(f"in get_lr() of {type(self).__name__}; nothing was changed")
            raise
        self._step_count += 1
        for group, lr in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = lr
        self._last_lr = rates

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


class LinearLR(LRScheduler):
    """Scale the learning rate by a factor that changes linearly, then stays.

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer.
    start_factor : float, default 1/3
        The first factor, in (0, 1].
    end_factor : float, default 1.0
        The last factor, in [0, 1].
    total_iters : int, default 5
        Number of steps from the first factor to the last.
    last_epoch : int, default -1
        See `LRScheduler`.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or is out of range.

    Notes
    -----
    As in PyTorch, each step multiplies the current learning rate by the ratio of two
    successive factors, so changes of it from elsewhere are kept.

    Examples
    --------
    >>> import gradlite as gl
    >>> w = gl.tensor([1.0], requires_grad=True)
    >>> optimizer = gl.optim.SGD([w], lr=1.0)
    >>> decay = gl.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=4)
    >>> rates = []
    >>> for _ in range(5):
    ...     rates += decay.get_last_lr()
    ...     optimizer.step()
    ...     decay.step()
    >>> rates
    [1.0, 0.75, 0.5, 0.25, 0.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3.0,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        self.start_factor = Interval(0.0, 1.0, "(]").check("start_factor", start_factor)
        self.end_factor = Interval(0.0, 1.0, "[]").check("end_factor", end_factor)
        self.total_iters = integer("total_iters", total_iters)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Return the groups' learning rates at step `last_epoch`."""
        if self.last_epoch == 0:
            factor = self.start_factor
        elif self._resuming or self.last_epoch > self.total_iters:
            factor = 1.0
        else:
            change = self.end_factor - self.start_factor
            before = self.total_iters * self.start_factor
            before += (self.last_epoch - 1) * change
            # A decay to zero must not end below it by a rounding error.
            factor = max(0.0, 1.0 + change / before)
        return [group["lr"] * factor for group in self.optimizer.param_groups]


class LambdaLR(LRScheduler):
    """Multiply the initial learning rate by a function of the step's number.

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer.
    lr_lambda : callable or sequence of callable
        Returns the factor for a number of steps; one for all groups, or one for each.
    last_epoch : int, default -1
        See `LRScheduler`.

    Raises
    ------
    TypeError
        If `lr_lambda` or one of its items cannot be called.
    ValueError
        If there is not one function for each group.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        _check_optimizer(optimizer)
        groups = len(optimizer.param_groups)
        functions = (
            list(lr_lambda) if isinstance(lr_lambda, Sequence) else [lr_lambda] * groups
        )
        if len(functions) != groups:
            raise ValueError(
                f"lr_lambda must hold one function for each of the {groups} groups, got"
                f" {len(functions)}"
            )
        for function in functions:
            if not callable(function):
                raise TypeError(
                    f"lr_lambda must be callable, got {function!r} of type"
                    f" {type_name(function)}"
                )
        self.lr_lambdas = functions
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Return the groups' learning rates at step `last_epoch`."""
        factors = [
            NON_NEGATIVE.check(
                f"lr_lambda({self.last_epoch})", function(self.last_epoch)
            )
            for function in self.lr_lambdas
        ]
        return [lr * f for lr, f in zip(self.base_lrs, factors, strict=True)]

    def state_dict(self) -> dict[str, Any]:
        """Return all attributes but the optimizer and plain functions.

        Returns
        -------
        dict
            As for `LRScheduler`; ``"lr_lambdas"`` holds the attributes of each callable
            object, and None for a function.
        """
        return {
            **super().state_dict(),
            "lr_lambdas": [
                None if attributes is None else dict(attributes)
                for attributes in map(_attributes, self.lr_lambdas)
            ],
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over the attributes from a `state_dict`, also those of callable objects.

        Parameters
        ----------
        state_dict : dict
            As `state_dict` of a scheduler of the same class returns it.

        Raises
        ------
        ValueError
            As for `LRScheduler`.
        """
        functions = self.lr_lambdas
        super().load_state_dict(state_dict)
        self.lr_lambdas = functions
        for function, saved in zip(functions, state_dict["lr_lambdas"], strict=True):
            if saved is not None:
                vars(function).update(saved)

    def _check_state(self, state_dict: Mapping[str, Any]) -> None:
        """Raise unless `state_dict` has attributes for these callable objects too."""
        super()._check_state(state_dict)
        saved = state_dict["lr_lambdas"]
        if (
            not isinstance(saved, list | tuple)
            or len(saved) != len(self.lr_lambdas)
            or not all(
                entry is None
                or (isinstance(entry, Mapping) and _attributes(function) is not None)
                for function, entry in zip(self.lr_lambdas, saved, strict=True)
            )
        ):
            raise ValueError(
                "state_dict['lr_lambdas'] must be a list with the attributes of each"
                f" callable object and None for each function, got {saved!r}; pass what"
                " scheduler.state_dict() returned"
            )


def _attributes(function: Callable[[int], float]) -> dict[str, Any] | None:
    """Return the attributes of a callable object, None for a function or method."""
    if isinstance(function, (types.FunctionType, types.MethodType)):
        return None
    return getattr(function, "__dict__", None)


def _check_optimizer(optimizer: object) -> None:
    """Raise a TypeError unless `optimizer` is one."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(
            f"optimizer must be a gradlite.optim.Optimizer, got {type_name(optimizer)}"
        )
