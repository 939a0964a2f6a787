"""Schedules along half a cosine wave, once or with restarts."""

from __future__ import annotations

import math

from gradlite._arguments import integer
from gradlite.optim._arguments import NON_NEGATIVE
from gradlite.optim.lr_scheduler._base import LRScheduler
from gradlite.optim.optimizer import Optimizer


class CosineAnnealingLR(LRScheduler):
    """Lower the learning rate to `eta_min` along half a cosine wave.

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer.
    T_max : int
        Number of steps until `eta_min`, at least 1; then the rate climbs as it fell.
    eta_min : float, default 0.0
        The last learning rate, at least 0.
    last_epoch : int, default -1
        See `LRScheduler`.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or is out of range.

    Notes
    -----
    Step t has ``lr = eta_min + (base_lr - eta_min) * (1 + cos(pi * t / T_max)) / 2``
    if nothing else changes it. As in PyTorch it is computed from the current one, whose
    distance from `eta_min` is multiplied by the ratio of two successive factors, so
    changes of it from elsewhere are kept.

    References
    ----------
    Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017.

    Examples
    --------
    >>> import gradlite as gl
    >>> w = gl.tensor([1.0], requires_grad=True)
    >>> optimizer = gl.optim.SGD([w], lr=1.0)
    >>> schedule = gl.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=4)
    >>> rates = []
    >>> for _ in range(5):
    ...     rates += schedule.get_last_lr()
    ...     optimizer.step()
    ...     schedule.step()
    >>> print(*(f"{rate:.3f}" for rate in rates))
    1.000 0.854 0.500 0.146 0.000
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_max: int,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        self.T_max = integer("T_max", T_max)
        self.eta_min = NON_NEGATIVE.check("eta_min", eta_min)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Return the groups' learning rates at step `last_epoch`."""
        rates: list[float] = [group["lr"] for group in self.optimizer.param_groups]
        if self.last_epoch == 0 or self._resuming:
            return rates
        if (self.last_epoch - 1) % (2 * self.T_max) == self.T_max:
            # The way up starts at eta_min, where there is nothing to multiply.
            self._check_groups(len(self.base_lrs))
            rise = (1 - math.cos(math.pi / self.T_max)) / 2
            return [
                rate + (base - self.eta_min) * rise
                for rate, base in zip(rates, self.base_lrs, strict=True)
            ]
        ratio = self._height(self.last_epoch) / self._height(self.last_epoch - 1)
        return [ratio * (rate - self.eta_min) + self.eta_min for rate in rates]

    def _height(self, epoch: int) -> float:
        return 1 + math.cos(math.pi * epoch / self.T_max)


class CosineAnnealingWarmRestarts(LRScheduler):
    """Lower the learning rate along half a cosine wave, again and again.

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer.
    T_0 : int
        Number of steps until the first restart, at least 1.
    T_mult : int, default 1
        Factor of that number after each restart, at least 1.
    eta_min : float, default 0.0
        The learning rate that is approached before each restart, at least 0.
    last_epoch : int, default -1
        See `LRScheduler`.

    Attributes
    ----------
    T_cur : float
        Steps since the last restart.
    T_i : int
        Steps between the last restart and the next one.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or is out of range.

    Notes
    -----
    The rate is ``eta_min + (base_lr - eta_min) * (1 + cos(pi * T_cur / T_i)) / 2``, so
    changes of it from elsewhere last until the next step. The restart is found by
    subtraction where PyTorch uses a logarithm, which rounds some restarts away, and
    `last_epoch` finds it for any `T_mult`.

    References
    ----------
    Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017.

    Examples
    --------
    Once per batch, with the part of the epoch that is done:

    >>> import gradlite as gl
    >>> w = gl.tensor([1.0], requires_grad=True)
    >>> optimizer = gl.optim.SGD([w], lr=1.0)
    >>> schedule = gl.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=1)
    >>> for batch in range(4):
    ...     optimizer.step()
    ...     schedule.step(batch / 4)
    ...     print(f"{schedule.get_last_lr()[0]:.3f}")
    1.000
    0.854
    0.500
    0.146
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,
        T_mult: int = 1,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        self.T_0 = integer("T_0", T_0)
        self.T_mult = integer("T_mult", T_mult)
        self.eta_min = NON_NEGATIVE.check("eta_min", eta_min)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Return the groups' learning rates at step `last_epoch`."""
        height = 1 + math.cos(math.pi * self.T_cur / self.T_i)
        return [self.eta_min + (b - self.eta_min) * height / 2 for b in self.base_lrs]

    def step(self, epoch: float | None = None) -> None:
        """Set the next learning rates, or those of a given time.

        Parameters
        ----------
        epoch : float, optional
            The time to go to, at least 0, such as ``epoch + batch / batches``; by
            default 1 later than before.

        Raises
        ------
        TypeError, ValueError
            If `epoch` is no finite number of at least 0.

        Warns
        -----
        UserWarning
            If `optimizer.step()` was not called before, which skips the first rate.
        """
        time = self._time + 1 if epoch is None else NON_NEGATIVE.check("epoch", epoch)
        self._check_order()
        self._move(time)
        self._step_count += 1

    def _move(self, epoch: float) -> None:
        with self._all_or_nothing():
            self._time = self.T_cur = epoch
            self.T_i = self.T_0
            if self.T_mult == 1:
                self.T_cur %= self.T_i
            while self.T_cur >= self.T_i:
                self.T_cur -= self.T_i
                self.T_i *= self.T_mult
            self._go(math.floor(epoch))
