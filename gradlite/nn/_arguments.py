"""Checks of the arguments that layers and their functions share."""

from __future__ import annotations

import math

from gradlite._arguments import integer, real
from gradlite._from_data import asarray
from gradlite._typing import DType, Scalar
from gradlite.autograd._mode import MODE
from gradlite.backends import dtypes, is_array
from gradlite.tensor import Tensor


def tensor(name: str, value: object) -> Tensor:
    """Return `value`, a tensor or an array of a registered library, as a tensor."""
    if isinstance(value, Tensor):
        return value
    if is_array(value):  # writes by its owner are noticed by nobody: take a copy
        return asarray(value, copy=MODE.get().recording or None)
    raise TypeError(
        f"{name} must be a tensor or an array, got {type(value).__name__}; make one "
        "with gl.tensor"
    )


def optional(name: str, value: object) -> Tensor | None:
    """Return `value` as `tensor` does, or None."""
    return None if value is None else tensor(name, value)


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


def window(
    kernel_size: object, stride: object, padding: object
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Return size, step (the size for None) and border of a pooling window as pairs."""
    kernel = pair("kernel_size", kernel_size)
    step = kernel if stride is None else pair("stride", stride)
    border = pair("padding", padding, minimum=0)
    if border[0] > kernel[0] // 2 or border[1] > kernel[1] // 2:
        raise ValueError(
            f"padding must be at most half of kernel_size {kernel}, got {padding!r}"
        )
    return kernel, step, border


def number(
    name: str, value: Scalar, minimum: float = -math.inf, maximum: float = math.inf
) -> float:
    """Return `value` as a finite float from `minimum` to `maximum`."""
    result = real(name, value)
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
