"""The schedule of one cycle: up to a large learning rate, and far down."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gradlite._arguments import boolean, integer
from gradlite.optim._arguments import NON_NEGATIVE, POSITIVE, Interval
from gradlite.optim.lr_scheduler._base import LRScheduler, check_optimizer, per_group
from gradlite.optim.optimizer import Optimizer

_RATES = ("initial_lr", "max_lr", "min_lr")
_RATES_OF_THREE_PHASES = ("initial_lr", "max_lr", "initial_lr", "min_lr")
_MOMENTA = ("max_momentum", "base_momentum", "max_momentum", "max_momentum")


class OneCycleLR(LRScheduler):
    """Raise the learning rate to `max_lr`, then lower it far below where it began.

    The momentum goes the other way. `step` is called after every batch.

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer.
    max_lr : float or list of float
        The highest learning rate, of all groups or of each.
    total_steps : int, optional
        Number of steps of the cycle; by default ``epochs * steps_per_epoch``.
    epochs : int, optional
        Number of epochs.
    steps_per_epoch : int, optional
        Number of steps in each.
    pct_start : float, default 0.3
        Part of the cycle in which the learning rate rises, in [0, 1].
    anneal_strategy : {"cos", "linear"}, default "cos"
        Whether to go along half a cosine wave or a straight line.
    cycle_momentum : bool, default True
        Whether to set ``"momentum"`` too, or the first of ``"betas"``.
    base_momentum : float or list of float, default 0.85
        Its value where the learning rate is highest, in [0, 1).
    max_momentum : float or list of float, default 0.95
        Its value at the beginning and the end, in [0, 1).
    div_factor : float, default 25.0
        The learning rate begins at ``max_lr / div_factor``.
    final_div_factor : float, default 1e4
        It ends at its beginning divided by this.
    three_phase : bool, default False
        Whether to come down as slowly as up, and only then to go to the end.
    last_epoch : int, default -1
        See `LRScheduler`.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or is out of range, the number of steps is not
        given, or a group has no momentum.

    Notes
    -----
    All options that it sets are computed from the step's number, so changes of them
    from elsewhere last until the next step. One step beyond the cycle is allowed, as
    the last batch is followed by a step too; PyTorch then goes on along the curve, here
    a straight line stays at its end, because it would go below zero.

    References
    ----------
    Smith and Topin, "Super-convergence: very fast training of neural networks using
    large learning rates", 2018.

    Examples
    --------
    >>> import gradlite as gl
    >>> w = gl.tensor([1.0], requires_grad=True)
    >>> optimizer = gl.optim.SGD([w], momentum=0.9)
    >>> schedule = gl.optim.lr_scheduler.OneCycleLR(
    ...     optimizer, max_lr=1.0, total_steps=5, pct_start=0.4
    ... )
    >>> for _ in range(5):
    ...     print(*(f"{optimizer.param_groups[0][k]:.2f}" for k in ("lr", "momentum")))
    ...     optimizer.step()
    ...     schedule.step()
    0.04 0.95
    1.00 0.85
    0.75 0.88
    0.25 0.92
    0.00 0.95
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.85,
        max_momentum: float | Sequence[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        check_optimizer(optimizer)
        self.optimizer = optimizer
        self.total_steps = _total(total_steps, epochs, steps_per_epoch)
        self.pct_start = Interval(0.0, 1.0, "[]").check("pct_start", pct_start)
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"anneal_strategy must be 'cos' or 'linear', got {anneal_strategy!r}"
            )
        self.anneal_strategy = anneal_strategy
        self.cycle_momentum = boolean("cycle_momentum", cycle_momentum)
        self.three_phase = boolean("three_phase", three_phase)
        div_factor = POSITIVE.check("div_factor", div_factor)
        final_div_factor = POSITIVE.check("final_div_factor", final_div_factor)
        max_lrs = per_group("max_lr", max_lr, NON_NEGATIVE, optimizer)
        unit = Interval(0.0, 1.0)
        lows = per_group("base_momentum", base_momentum, unit, optimizer)
        highs = per_group("max_momentum", max_momentum, unit, optimizer)
        with self._all_or_nothing():
            for i, group in enumerate(optimizer.param_groups):
                group["initial_lr"] = max_lrs[i] / div_factor
                group["max_lr"] = max_lrs[i]
                group["min_lr"] = group["initial_lr"] / final_div_factor
                if self.cycle_momentum:
                    if "momentum" not in group and "betas" not in group:
                        raise ValueError(
                            "cycle_momentum=True needs 'momentum' or 'betas', which"
                            f" {type(optimizer).__name__} does not have; pass False"
                        )
                    group["max_momentum"], group["base_momentum"] = highs[i], lows[i]
            super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Return the groups' learning rates at step `last_epoch`."""
        return self._between(_RATES_OF_THREE_PHASES if self.three_phase else _RATES)

    def _go(self, epoch: int) -> None:
        if epoch > self.total_steps:
            raise ValueError(
                f"total_steps={self.total_steps} steps are done; build a scheduler with"
                " more of them, or a new one"
            )
        self._check_groups(len(self.base_lrs))
        super()._go(epoch)
        if not self.cycle_momentum:
            return
        momenta = self._between(_MOMENTA)
        for group, momentum in zip(self.optimizer.param_groups, momenta, strict=True):
            if "betas" in group:
                group["betas"] = (momentum, *group["betas"][1:])
            else:
                group["momentum"] = momentum

    def _between(self, names: Sequence[str]) -> list[float]:
        """Return for each group the value between the two options of this phase."""
        phase, done = self._phase()
        ends = [
            (group[names[phase]], group[names[phase + 1]])
            for group in self.optimizer.param_groups
        ]
        if self.anneal_strategy == "cos":
            height = math.cos(math.pi * done) + 1
            return [end + (start - end) / 2.0 * height for start, end in ends]
        return [(end - start) * min(done, 1.0) + start for start, end in ends]

    def _phase(self) -> tuple[int, float]:
        """Return the number of the current phase, and which part of it is done."""
        ends = [self.pct_start * self.total_steps - 1]
        if self.three_phase:
            ends.append(2 * self.pct_start * self.total_steps - 2)
        ends.append(self.total_steps - 1)
        phase, last = 0, len(ends) - 1
        while phase < last and self.last_epoch > ends[phase]:
            phase += 1
        start = ends[phase - 1] if phase else 0.0
        length = ends[phase] - start
        return phase, (self.last_epoch - start) / length if length > 0 else 1.0


def _total(
    total_steps: int | None, epochs: int | None, steps_per_epoch: int | None
) -> int:
    """Return the number of steps of the cycle."""
    if total_steps is not None:
        return integer("total_steps", total_steps)
    if epochs is None or steps_per_epoch is None:
        raise ValueError(
            "total_steps must be given, or both epochs and steps_per_epoch, got"
            f" epochs={epochs!r} and steps_per_epoch={steps_per_epoch!r}"
        )
    return integer("epochs", epochs) * integer("steps_per_epoch", steps_per_epoch)
