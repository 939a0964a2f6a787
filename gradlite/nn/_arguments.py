"""Checks of the arguments that layers and their functions share."""

from __future__ import annotations

import math
from operator import index

import numpy as np

from gradlite._typing import DType, Scalar
from gradlite.backends import dtypes, is_array
from gradlite.tensor import Tensor, asarray


def tensor(name: str, value: object) -> Tensor:
    """Return `value`, a tensor or an array of a registered library, as a tensor."""
    if isinstance(value, Tensor):
        return value
    if is_array(value):
        return asarray(value)
    raise TypeError(
        f"{name} must be a tensor or an array, got {type(value).__name__}; make one "
        "with gl.tensor"
    )


def optional(name: str, value: object) -> Tensor | None:
    """Return `value` as `tensor` does, or None."""
    return None if value is None else tensor(name, value)


def boolean(name: str, value: object) -> bool:
    """Return `value` as a bool, which it or NumPy's must be: text is not."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def floating(dtype: DType | None) -> DType:
    """Return the dtype of parameters, the default one for None; it holds floats."""
    if dtype is None:
        return dtypes.get_default_dtype()
    found = dtypes.canonical(dtype)
    if dtypes.rank(found) < 2:
        raise TypeError(
            "dtype of parameters must be a floating-point dtype such as gl.float32, "
            f"got {dtype!r}"
        )
    return found


def integer(name: str, value: object, minimum: int | None = 1) -> int:
    """Return `value` as an int of at least `minimum`; NumPy's integers are welcome."""
    try:
        number = index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(
            f"{name} must be an integer, got {value!r}; convert it with int()"
        ) from None
    if minimum is not None and number < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {value!r}")
    return number


def pair(name: str, value: object, minimum: int = 1) -> tuple[int, int]:
    """Return `value`, one int for both spatial axes or two, as (height, width)."""
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise ValueError(
                f"{name} must be an integer or a (height, width) pair, got {value!r}"
            )
        return integer(name, value[0], minimum), integer(name, value[1], minimum)
    number = integer(name, value, minimum)
    return number, number


def number(
    name: str, value: Scalar, minimum: float = -math.inf, maximum: float = math.inf
) -> float:
    """Return `value` as a finite float from `minimum` to `maximum`."""
    try:
        result = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a real number, got {value!r}") from None
    if not (math.isfinite(result) and minimum <= result <= maximum):
        raise ValueError(
            f"{name} must be a finite number between {minimum:g} and {maximum:g}, "
            f"got {value!r}"
        )
    return result


def choice(name: str, value: str, allowed: tuple[str, ...]) -> str:
    """Return `value`, which must be one of `allowed`."""
    if value not in allowed:
        raise ValueError(
            f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}"
        )
    return value
