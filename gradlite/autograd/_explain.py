"""What a failed operation says beside the array library's own message."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gradlite.autograd._graph import Variable

if TYPE_CHECKING:
    from gradlite.autograd._op import Op


def explain(
    op: Op, operands: Sequence[Any], options: dict[str, Any], error: Exception
) -> None:
    """Add to an error in a forward what was asked for: libraries seldom say it."""
    shown = ", ".join(
        [*map(_summary, operands), *(f"{k}={_summary(v)}" for k, v in options.items())]
    )
    error.add_note(f"in gradlite's {op.title}({shown})")


def _summary(value: Any) -> str:
    """Return a value as messages show it, an array without its elements."""
    if isinstance(value, Variable):
        dtype = value._device.backend.of_dtype(value._array.dtype)
        return f"{dtype.__name__} {tuple(value._array.shape)} on {value._device}"
    if hasattr(value, "shape") and not isinstance(value, type):
        return f"{value.dtype} {tuple(value.shape)}"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
