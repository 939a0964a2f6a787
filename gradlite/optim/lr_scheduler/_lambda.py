"""The schedule that a user's function gives."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gradlite._arguments import type_name
from gradlite.optim._arguments import NON_NEGATIVE
from gradlite.optim.lr_scheduler._base import LRScheduler, check_optimizer
from gradlite.optim.optimizer import Optimizer


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

    Examples
    --------
    >>> import gradlite as gl
    >>> w = gl.tensor([1.0], requires_grad=True)
    >>> optimizer = gl.optim.SGD([w], lr=1.0)
    >>> schedule = gl.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)
    >>> optimizer.step()
    >>> schedule.step()
    >>> schedule.get_last_lr()
    [0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        check_optimizer(optimizer)
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
