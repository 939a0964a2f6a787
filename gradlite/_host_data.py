"""Python numbers, nested lists of them and NumPy arrays as arrays for a tensor."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from gradlite._typing import DType
from gradlite.autograd._graph import Variable
from gradlite.backends import backend_of, dtypes


def _has_typed_leaf(value: Any) -> bool:
    """Whether the first number in nested lists has a dtype of its own."""
    while isinstance(value, list | tuple):
        if not value:
            return False
        value = value[0]
    return isinstance(value, np.generic | np.ndarray)


def holds_tensor(value: Any) -> bool:
    """Whether a tensor is anywhere in nested lists."""
    if isinstance(value, list | tuple):
        return builtins.any(holds_tensor(item) for item in value)
    return isinstance(value, Variable)


def from_python(value: Any, dtype: DType) -> np.ndarray[Any, Any]:
    """Return Python numbers, lists of them and NumPy arrays as a NumPy array."""
    if isinstance(value, np.ndarray):
        backend_of(value)  # refuses matrices and masked arrays
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"data must be numbers in lists of equal lengths, got "
            f"{type(value).__name__}: {error}"
        ) from error
    if (
        array.dtype.kind not in "biufcV"
        or array.dtype.names
        or array.dtype.itemsize > 16
    ):
        raise TypeError(
            f"data must hold booleans or numbers, ints of 64 bits at most, got "
            f"{type(value).__name__} with dtype {array.dtype}"
        )
    is_python = not isinstance(value, np.generic | np.ndarray)
    if dtype is None and is_python and not _has_typed_leaf(value):
        dtype = {"f": float, "c": complex}.get(array.dtype.kind)
    wanted = dtypes.canonical(array.dtype if dtype is None else dtype)
    if dtypes.rank(wanted) < dtypes.rank(array.dtype.type) == 3:
        raise TypeError(f"dtype {wanted.__name__} cannot hold complex data")
    if array.dtype.kind != "b" and is_python and np.dtype(wanted).kind in "iu":
        _check_range(array, wanted)
    return array.astype(wanted, copy=False)


def _check_range(array: np.ndarray[Any, Any], wanted: DType) -> None:
    """Raise if Python numbers would wrap around in an integer dtype."""
    if not array.size:
        return
    low, high, bounds = array.min(), array.max(), np.iinfo(wanted)
    if not (bounds.min <= low and high <= bounds.max):
        raise ValueError(
            f"data must fit into dtype {wanted.__name__}, from {bounds.min} to "
            f"{bounds.max}, got values from {low} to {high}"
        )
