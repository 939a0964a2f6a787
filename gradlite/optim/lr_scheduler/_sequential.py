"""The schedule that is made of others, one after the other."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from gradlite._arguments import integer, type_name
from gradlite.optim.lr_scheduler._base import LRScheduler, as_list
from gradlite.optim.lr_scheduler._plateau import ReduceLROnPlateau
from gradlite.optim.optimizer import Optimizer


class SequentialLR(LRScheduler):
    """Follow several schedules, one after the other.

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer.
    schedulers : list of LRScheduler
        Schedulers of this optimizer, built anew, in the order of their turns; they may
        be `SequentialLR` themselves. Only this scheduler is stepped.
    milestones : list of int
        The steps at which the second and each further one takes over, not falling.
    last_epoch : int, default -1
        See `LRScheduler`. All learning rates up to there are computed once more, so
        changes of them from elsewhere are lost; a state dict keeps them.

    Raises
    ------
    TypeError, ValueError
        If a scheduler is none, takes a metric, or belongs to another optimizer, or the
        milestones are no ascending integers, one fewer than schedulers.

    Notes
    -----
    As in PyTorch, a schedule that takes over starts from its own `base_lrs`, the first
    one from the groups' ``"initial_lr"``.

    Examples
    --------
    >>> import gradlite as gl
    >>> from gradlite.optim.lr_scheduler import ExponentialLR, LinearLR, SequentialLR
    >>> w = gl.tensor([1.0], requires_grad=True)
    >>> optimizer = gl.optim.SGD([w], lr=1.0)
    >>> warmup = LinearLR(optimizer, 0.5, total_iters=2)
    >>> decay = ExponentialLR(optimizer, 0.5)
    >>> schedule = SequentialLR(optimizer, [warmup, decay], milestones=[2])
    >>> rates = []
    >>> for _ in range(5):
    ...     rates += schedule.get_last_lr()
    ...     optimizer.step()
    ...     schedule.step()
    >>> rates
    [0.5, 0.75, 1.0, 0.5, 0.25]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler],
        milestones: Sequence[int],
        last_epoch: int = -1,
    ) -> None:
        last_epoch = integer("last_epoch", last_epoch, -1)
        self._schedulers: list[LRScheduler] = as_list("schedulers", schedulers)
        steps = as_list("milestones", milestones)
        self._milestones = [integer("milestones", step, 0) for step in steps]
        if len(self._milestones) != len(self._schedulers) - 1:
            raise ValueError(
                "milestones must be one fewer than schedulers, got"
                f" {len(self._milestones)} milestones for {len(self._schedulers)}"
                " schedulers"
            )
        if self._milestones != sorted(self._milestones):
            raise ValueError(f"milestones must not fall, got {self._milestones}")
        for i, scheduler in enumerate(self._schedulers):
            _check_member(f"schedulers[{i}]", scheduler, optimizer)
        super().__init__(optimizer)
        for epoch in range(1, last_epoch + 2):
            self._move(epoch)

    def get_lr(self) -> list[float]:
        """Return the groups' learning rates at step `last_epoch`."""
        return self._schedulers[self._turn(self.last_epoch)].get_lr()

    def _turn(self, epoch: int) -> int:
        """Return the position of the scheduler whose turn it is."""
        return bisect_right(self._milestones, epoch)

    def _go(self, epoch: int) -> None:
        turn = self._turn(epoch)
        scheduler = self._schedulers[turn]
        start = self._milestones[turn - 1] if turn else 0
        if epoch == start:
            self._write(scheduler.base_lrs if epoch else self.base_lrs)
        scheduler._move(epoch - start)
        self.last_epoch, self._last_lr = epoch, scheduler.get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        """Return all attributes but the optimizer.

        Returns
        -------
        dict
            As for `LRScheduler`; ``"_schedulers"`` holds the state of each scheduler.
        """
        states = [scheduler.state_dict() for scheduler in self._schedulers]
        return {**super().state_dict(), "_schedulers": states}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over the attributes from a `state_dict`, and those of all schedulers.

        Parameters
        ----------
        state_dict : dict
            As `state_dict` of a scheduler made of the same ones returns it.

        Raises
        ------
        TypeError, ValueError
            As for `LRScheduler`.
        """
        schedulers = self._schedulers
        super().load_state_dict(state_dict)
        self._schedulers = schedulers
        for scheduler, saved in zip(schedulers, state_dict["_schedulers"], strict=True):
            scheduler.load_state_dict(saved)

    def _check_state(self, state_dict: Mapping[str, Any]) -> None:
        """Raise unless `state_dict` fits this scheduler and all that it is made of."""
        super()._check_state(state_dict)
        saved, schedulers = state_dict["_schedulers"], self._schedulers
        if not isinstance(saved, list | tuple) or len(saved) != len(schedulers):
            raise ValueError(
                "state_dict['_schedulers'] must be a list with the state of each of the"
                f" {len(schedulers)} schedulers, got {saved!r}; pass what"
                " scheduler.state_dict() returned"
            )
        for scheduler, state in zip(schedulers, saved, strict=True):
            scheduler._check_state(state)


def _check_member(name: str, scheduler: object, optimizer: Optimizer) -> None:
    """Raise unless a scheduler can be part of a sequence for this optimizer."""
    if not isinstance(scheduler, LRScheduler):
        raise TypeError(f"{name} must be a scheduler, got {type_name(scheduler)}")
    if isinstance(scheduler, ReduceLROnPlateau):
        raise ValueError(
            f"{name} is a ReduceLROnPlateau, which needs a metric in every step; leave"
            " it out and step it beside the sequence"
        )
    if scheduler.optimizer is not optimizer:
        raise ValueError(
            f"{name} belongs to another optimizer; build it with the one of the"
            " sequence"
        )
