"""Checks of what users pass to optimizers and schedulers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from gradlite._arguments import boolean, type_name
from gradlite.backends import Device
from gradlite.tensor import Tensor


@dataclass(frozen=True, slots=True)
class Interval:
    """The range of a hyperparameter, which never includes infinities.

    Parameters
    ----------
    low, high : float
        The ends.
    brackets : {"[)", "[]", "(]", "()"}
        Which of them belong to the range.
    """

    low: float
    high: float
    brackets: str = "[)"

    def __str__(self) -> str:
        return f"{self.brackets[0]}{self.low:g}, {self.high:g}{self.brackets[1]}"

    def check(self, name: str, value: object) -> float:
        """Return a hyperparameter as a float.

        Parameters
        ----------
        name : str
            The argument's name, for the message.
        value : object
            What was passed: a real number of any type but bool.

        Raises
        ------
        TypeError
            If it is no real number.
        ValueError
            If it is not finite or out of range.
        """
        if type(value) is not float:
            if isinstance(value, bool) or not isinstance(value, Real):
                raise TypeError(
                    f"{name} must be a number in {self}, got {value!r} of type"
                    f" {type_name(value)}"
                )
            value = float(value)
        left = self.low <= value if self.brackets[0] == "[" else self.low < value
        right = value <= self.high if self.brackets[1] == "]" else value < self.high
        if not (left and right):
            raise ValueError(f"{name} must be a finite number in {self}, got {value!r}")
        return value


POSITIVE = Interval(0.0, math.inf, "()")
NON_NEGATIVE = Interval(0.0, math.inf)
FRACTION = Interval(0.0, 1.0)


def checked(
    options: Mapping[str, Any], numbers: Mapping[str, Interval], *flags: str
) -> dict[str, Any]:
    """Return some options as floats and bools, or raise naming a bad one.

    Parameters
    ----------
    options : dict
        What was passed, perhaps with others.
    numbers : dict of str to Interval
        The ranges of those that are numbers.
    *flags : str
        Those that are booleans.
    """
    values: dict[str, Any] = {
        name: interval.check(name, options[name]) for name, interval in numbers.items()
    }
    return values | {name: boolean(name, options[name]) for name in flags}


def scalar(name: str, value: Any) -> Any:
    """Return a tensor of one element as a number where that is free, else as 0-D.

    Parameters
    ----------
    name : str
        The argument's name, for the message.
    value : number, Tensor or None
        What was passed; all but tensors is returned as it is.

    Raises
    ------
    TypeError
        If it is neither.
    ValueError
        If the tensor has not one element.
    """
    if value is None or isinstance(value, Real | np.bool_):
        return value
    if not isinstance(value, Tensor):
        raise TypeError(
            f"{name} must be a number or a tensor, got {value!r} of type"
            f" {type_name(value)}"
        )
    if value.size != 1:
        raise ValueError(
            f"{name} must have one element, got shape {tuple(value.shape)}"
        )
    if value.device.is_host:
        return value.item()
    return value.detach().reshape(())


def check_counted(state: Mapping[str, Any], names: Iterable[str]) -> None:
    """Raise unless a saved state has the number of updates, and tensors for arrays.

    Parameters
    ----------
    state : dict
        What was saved for a parameter.
    names : iterable of str
        What are arrays; they may be missing.

    Raises
    ------
    TypeError
        If one of them is no tensor, or the number none.
    ValueError
        If the number is not whole or below 0.
    """
    fix = "; pass what optimizer.state_dict() returned"
    step = state.get("step")
    number = step.item() if isinstance(step, Tensor) and step.size == 1 else step
    if isinstance(number, bool) or not isinstance(number, Real):
        raise TypeError(f"step in a saved state must be a number, got {step!r}{fix}")
    if not (float(number) >= 0 and float(number).is_integer()):
        raise ValueError(
            f"step in a saved state must be whole and at least 0, got {number!r}{fix}"
        )
    for name in names:
        if not isinstance(state.get(name), Tensor | None):
            raise TypeError(
                f"{name} must be a tensor, got {type_name(state[name])}{fix}"
            )


def raw(value: float | Tensor | None, device: Device) -> Any:
    """Return a number, or the raw array of a tensor, for work on `device`."""
    return value.to(device)._array if isinstance(value, Tensor) else value
