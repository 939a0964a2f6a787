"""Checks of arguments that many parts share."""

from __future__ import annotations

from operator import index
from typing import Any

import numpy as np


def boolean(name: str, value: object) -> bool:
    """Return `value` as a bool, which it or NumPy's must be: text is not."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def integer(name: str, value: object, minimum: int | None = 1) -> int:
    """Return `value` as an int of at least `minimum`; NumPy's integers are welcome."""
    wanted = "an integer" if minimum is None else f"an integer of at least {minimum}"
    try:
        if isinstance(value, bool):
            raise TypeError
        number = index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be {wanted}, got {value!r}") from None
    if minimum is not None and number < minimum:
        raise ValueError(f"{name} must be {wanted}, got {value!r}")
    return number


def real(name: str, value: Any) -> float:
    """Return `value` as a float: a number, or an array or tensor without axes.

    A tensor that requires grad is none: the derivative by it would be lost.
    """
    if getattr(value, "requires_grad", False):
        raise TypeError(
            f"{name} must be a real number, got a tensor that requires grad, to which "
            "no derivative would flow; pass float(x.detach())"
        )
    try:
        if isinstance(value, str | bytes | np.complexfloating):
            raise TypeError
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a real number, got {value!r}") from None


def type_name(value: object) -> str:
    """Return the name of a value's type, for messages."""
    kind = type(value)
    prefix = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return prefix + kind.__qualname__


def check_axis(axis: int, ndim: int, name: str = "axis") -> None:
    """Raise where `axis` is none of the axes of a tensor."""
    axis = integer(name, axis, None)
    if not -ndim <= axis < ndim:
        raise IndexError(f"{name} {axis} is out of bounds for a tensor of {ndim} axes")
