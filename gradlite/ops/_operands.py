"""A check of the operands of functions that are made of operations."""

from __future__ import annotations

from gradlite._arguments import type_name
from gradlite.autograd._graph import Variable
from gradlite.backends import is_array


def check_operand(function: str, name: str, value: object) -> None:
    """Raise, as an operation does, where `value` is neither a tensor nor an array."""
    if not isinstance(value, Variable) and not is_array(value):
        raise TypeError(
            f"{function}() argument {name!r} must be a tensor or an array, got "
            f"{'None' if value is None else type_name(value)}; make a tensor with "
            "gl.tensor(...)"
        )
