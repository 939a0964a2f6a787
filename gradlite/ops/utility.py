"""Utility functions of the standard."""

from __future__ import annotations

from gradlite._typing import Array, Axis, Namespace
from gradlite.autograd import differentiable


@differentiable
def all(
    xp: Namespace, x: Array, /, *, axis: Axis = None, keepdims: bool = False
) -> Array:
    """Return whether all elements along `axis` are true, or not zero."""
    return xp.all(x, axis=axis, keepdims=keepdims)


@differentiable
def any(
    xp: Namespace, x: Array, /, *, axis: Axis = None, keepdims: bool = False
) -> Array:
    """Return whether any element along `axis` is true, or not zero."""
    return xp.any(x, axis=axis, keepdims=keepdims)
