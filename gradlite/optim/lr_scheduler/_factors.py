"""Schedules that multiply the current learning rate by a factor in each step."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable

from gradlite._arguments import integer
from gradlite.optim._arguments import NON_NEGATIVE, Interval
from gradlite.optim.lr_scheduler._base import LRScheduler, as_list
from gradlite.optim.optimizer import Optimizer


class _FactorLR(LRScheduler):
    """Multiplies all rates by a factor of the step, so that outside changes stay."""

    def get_lr(self) -> list[float]:
        """Return the groups' learning rates at step `last_epoch`."""
        factor = 1.0 if self._resuming else self._factor(self.last_epoch)
        return [group["lr"] * factor for group in self.optimizer.param_groups]

    @abstractmethod
    def _factor(self, epoch: int) -> float:
        """Return the ratio of the rate at step `epoch` to the one before."""


class StepLR(_FactorLR):
    """Multiply the learning rate by `gamma` every `step_size` steps.

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer.
    step_size : int
        Number of steps between two changes, at least 1.
    gamma : float, default 0.1
        The factor, at least 0.
    last_epoch : int, default -1
        See `LRScheduler`.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or is out of range.

    Notes
    -----
    As in PyTorch, the current learning rate is multiplied, so changes of it from
    elsewhere are kept. Where `last_epoch` resumes training at a multiple of
    `step_size`, PyTorch multiplies a second time; here a resumed run goes on as if it
    had not stopped.

    Examples
    --------
    >>> import gradlite as gl
    >>> w = gl.tensor([1.0], requires_grad=True)
    >>> optimizer = gl.optim.SGD([w], lr=1.0)
    >>> schedule = gl.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
    >>> rates = []
    >>> for _ in range(5):
    ...     rates += schedule.get_last_lr()
    ...     optimizer.step()
    ...     schedule.step()
    >>> rates
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        step_size: int,
        gamma: float = 0.1,
        last_epoch: int = -1,
    ) -> None:
        self.step_size = integer("step_size", step_size)
        self.gamma = NON_NEGATIVE.check("gamma", gamma)
        super().__init__(optimizer, last_epoch)

    def _factor(self, epoch: int) -> float:
        return self.gamma if epoch and epoch % self.step_size == 0 else 1.0


class MultiStepLR(_FactorLR):
    """Multiply the learning rate by `gamma` at each of the given steps.

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer.
    milestones : iterable of int
        The numbers of these steps, at least 0; one given twice counts twice.
    gamma : float, default 0.1
        The factor, at least 0.
    last_epoch : int, default -1
        See `LRScheduler`.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or is out of range.

    Notes
    -----
    Changes of the learning rate from elsewhere are kept, and training resumes as for
    `StepLR`.

    Examples
    --------
    >>> import gradlite as gl
    >>> w = gl.tensor([1.0], requires_grad=True)
    >>> optimizer = gl.optim.SGD([w], lr=1.0)
    >>> schedule = gl.optim.lr_scheduler.MultiStepLR(optimizer, [1, 4], gamma=0.5)
    >>> rates = []
    >>> for _ in range(5):
    ...     rates += schedule.get_last_lr()
    ...     optimizer.step()
    ...     schedule.step()
    >>> rates
    [1.0, 0.5, 0.5, 0.5, 0.25]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Iterable[int],
        gamma: float = 0.1,
        last_epoch: int = -1,
    ) -> None:
        steps = as_list("milestones", milestones)
        self.milestones = sorted(integer("milestones", step, 0) for step in steps)
        self.gamma = NON_NEGATIVE.check("gamma", gamma)
        super().__init__(optimizer, last_epoch)

    def _factor(self, epoch: int) -> float:
        return self.gamma ** self.milestones.count(epoch)


class ExponentialLR(_FactorLR):
    """Multiply the learning rate by `gamma` in every step.

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer.
    gamma : float
        The factor, at least 0.
    last_epoch : int, default -1
        See `LRScheduler`.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or is out of range.

    Notes
    -----
    As in PyTorch, the current learning rate is multiplied, so changes of it from
    elsewhere are kept.

    Examples
    --------
    >>> import gradlite as gl
    >>> w = gl.tensor([1.0], requires_grad=True)
    >>> optimizer = gl.optim.SGD([w], lr=1.0)
    >>> schedule = gl.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    >>> optimizer.step()
    >>> schedule.step()
    >>> schedule.get_last_lr()
    [0.5]
    """

    def __init__(
        self, optimizer: Optimizer, gamma: float, last_epoch: int = -1
    ) -> None:
        self.gamma = NON_NEGATIVE.check("gamma", gamma)
        super().__init__(optimizer, last_epoch)

    def _factor(self, epoch: int) -> float:
        return self.gamma if epoch else 1.0


class LinearLR(_FactorLR):
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

    def _factor(self, epoch: int) -> float:
        if epoch == 0:
            return self.start_factor
        if epoch > self.total_iters:
            return 1.0
        change = self.end_factor - self.start_factor
        before = self.total_iters * self.start_factor + (epoch - 1) * change
        # A decay to zero must not end below it by a rounding error.
        return max(0.0, 1.0 + change / before)
