"""The schedule that waits for a metric to stop improving."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import SupportsFloat

from gradlite._arguments import integer, type_name
from gradlite.autograd import no_grad
from gradlite.optim._arguments import NON_NEGATIVE, Interval
from gradlite.optim.lr_scheduler._base import LRScheduler, check_optimizer, per_group
from gradlite.optim.optimizer import Optimizer


class ReduceLROnPlateau(LRScheduler):
    """Multiply the learning rate by `factor` when a metric has stopped improving.

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer.
    mode : {"min", "max"}, default "min"
        Whether a smaller or a larger metric is better.
    factor : float, default 0.1
        The factor, in [0, 1).
    patience : int, default 10
        Number of steps in a row without improvement that change nothing yet.
    threshold : float, default 1e-4
        By how much a metric must be better than the best one to count, at least 0.
    threshold_mode : {"rel", "abs"}, default "rel"
        Whether that is a part of the best metric or a difference from it.
    cooldown : int, default 0
        Number of steps after a change in which no step counts as bad.
    min_lr : float or list of float, default 0.0
        The lowest learning rate, of all groups or of each.
    eps : float, default 1e-8
        Smaller changes of the learning rate are not made.

    Attributes
    ----------
    best : float
        The best metric so far.
    num_bad_epochs : int
        Number of steps without improvement since then, or since the last change.
    cooldown_counter : int
        Number of steps until bad ones count again.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or is out of range.

    Examples
    --------
    >>> import gradlite as gl
    >>> w = gl.tensor([1.0], requires_grad=True)
    >>> optimizer = gl.optim.SGD([w], lr=1.0)
    >>> schedule = gl.optim.lr_scheduler.ReduceLROnPlateau(
    ...     optimizer, factor=0.5, patience=1
    ... )
    >>> rates = []
    >>> for loss in (3.0, 2.0, 2.0, 2.0, 2.0):
    ...     schedule.step(loss)
    ...     rates += schedule.get_last_lr()
    >>> rates
    [1.0, 1.0, 1.0, 0.5, 0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        check_optimizer(optimizer)
        if mode not in ("min", "max"):
            raise ValueError(f"mode must be 'min' or 'max', got {mode!r}")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(
                f"threshold_mode must be 'rel' or 'abs', got {threshold_mode!r}"
            )
        lowest = per_group("min_lr", min_lr, NON_NEGATIVE, optimizer)
        self.mode = mode
        self.factor = Interval(0.0, 1.0).check("factor", factor)
        self.patience = integer("patience", patience, 0)
        self.threshold = NON_NEGATIVE.check("threshold", threshold)
        self.threshold_mode = threshold_mode
        self.cooldown = integer("cooldown", cooldown, 0)
        self.min_lr = lowest if isinstance(min_lr, list | tuple) else min_lr
        self.eps = NON_NEGATIVE.check("eps", eps)
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = 0
        self.cooldown_counter = 0
        super().__init__(optimizer)

    @property
    def in_cooldown(self) -> bool:
        """Whether bad steps do not count at the moment."""
        return self.cooldown_counter > 0

    def get_lr(self) -> list[float]:
        """Return the groups' learning rates at step `last_epoch`."""
        rates: list[float] = [group["lr"] for group in self.optimizer.param_groups]
        if self.num_bad_epochs <= self.patience:
            return rates
        lowest = per_group("min_lr", self.min_lr, NON_NEGATIVE, self.optimizer)
        reduced = [
            max(lr * self.factor, m) for lr, m in zip(rates, lowest, strict=True)
        ]
        return [
            new if lr - new > self.eps else lr
            for lr, new in zip(rates, reduced, strict=True)
        ]

    def step(self, metrics: SupportsFloat) -> None:  # type: ignore[override]
        """Reduce the learning rates if the metric has not improved for too long.

        Parameters
        ----------
        metrics : float or 0-D Tensor
            Such as the loss on validation data; NaN counts as no improvement.

        Raises
        ------
        TypeError
            If `metrics` is no number.
        """
        metric = _number(metrics)
        with self._all_or_nothing():
            if self._is_better(metric):
                self.best, self.num_bad_epochs = metric, 0
            else:
                self.num_bad_epochs += 1
            if self.in_cooldown:
                self.cooldown_counter -= 1
                self.num_bad_epochs = 0
            self._go(self.last_epoch + 1)
            if self.num_bad_epochs > self.patience:
                self.cooldown_counter = self.cooldown
                self.num_bad_epochs = 0
        self._step_count += 1

    def _is_better(self, metric: float) -> bool:
        sign = -1.0 if self.mode == "min" else 1.0
        margin = sign * self.threshold
        if self.threshold_mode == "rel":
            return sign * metric > sign * self.best * (1.0 + margin)
        return sign * metric > sign * (self.best + margin)


def _number(metrics: SupportsFloat) -> float:
    """Return a metric as a float; text is none."""
    try:
        if isinstance(metrics, str | bytes):
            raise TypeError
        with no_grad():  # a loss is welcome, and no derivative is meant
            return float(metrics)
    except (TypeError, ValueError):
        raise TypeError(
            "metrics must be a number or a tensor without axes, got"
            f" {type_name(metrics)}"
        ) from None
