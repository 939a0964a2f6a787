"""gradlite's dtype objects, which are NumPy's scalar types, and their promotion."""

from __future__ import annotations

import builtins
from collections.abc import Iterable
from typing import Any

import numpy as np

from gradlite._typing import DType, Scalar

bool = np.bool_
int8, int16, int32, int64 = np.int8, np.int16, np.int32, np.int64
uint8, uint16, uint32, uint64 = np.uint8, np.uint16, np.uint32, np.uint64
float16, float32, float64 = np.float16, np.float32, np.float64
complex64, complex128 = np.complex64, np.complex128

ALL = {
    dtype.__name__.removesuffix("_"): dtype
    for dtype in (
        bool, int8, int16, int32, int64, uint8, uint16, uint32, uint64,
        float16, float32, float64, complex64, complex128,
    )
}  # fmt: skip

BY_TYPE: dict[Any, DType] = {
    np.dtype(code).type: ALL[np.dtype(code).name] for code in "?bhilqBHILQefdFD"
}
"""gradlite's dtype for each of NumPy's types, of which two can be the same integer."""

_RANK = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}
_SCALAR_RANK = {builtins.bool: 0, int: 1, float: 2, complex: 3}
_default_dtype: type[np.floating[Any]] = float32


def get_default_dtype() -> type[np.floating[Any]]:
    """Return the dtype that Python floats get: `float32` unless it was set."""
    return _default_dtype


def set_default_dtype(dtype: DType, /) -> None:
    """Set the dtype that Python floats get.

    Parameters
    ----------
    dtype : dtype
        `float32` or `float64` (or `float16`, which is a storage dtype).

    Raises
    ------
    TypeError
        If `dtype` is not a real floating-point dtype.
    """
    global _default_dtype
    found = canonical(dtype)
    if rank(found) != 2:
        raise TypeError(
            f"dtype must be a floating-point dtype such as gl.float32, got {dtype!r}"
        )
    _default_dtype = found


def canonical(dtype: DType) -> DType:
    """Return the NumPy scalar type that `dtype` stands for.

    Accepts scalar types, `numpy.dtype` objects, names and the Python types `bool`,
    `int`, `float` (the default dtype) and `complex`.
    """
    if dtype is float:
        return _default_dtype
    if dtype is complex:
        return complex_of(_default_dtype)
    try:
        kind = None if dtype is None else np.dtype(dtype).type
    except (TypeError, ValueError):
        kind = None
    if kind is not None and kind.__name__ == "bfloat16":
        return kind
    found = BY_TYPE.get(kind)
    if found is None:
        raise TypeError(
            f"dtype must be one of gl.{', gl.'.join(ALL)}, got {dtype!r}; "
            "use for example dtype=gl.float32"
        )
    return found


def rank(dtype: DType) -> int:
    """Return 0 for bool, 1 for integers, 2 for real floats, 3 for complex."""
    return _RANK.get(np.dtype(dtype).kind, 2)  # ml_dtypes' bfloat16 has kind "V"


def complex_of(dtype: DType) -> DType:
    """Return the complex dtype whose parts have the precision of `dtype`."""
    return complex128 if np.dtype(dtype) == float64 else complex64


def of_scalar(value: Scalar) -> DType:
    """Return the dtype of a tensor made from the Python scalar `value`."""
    kind = _SCALAR_RANK[type(value)]
    if kind == 3:
        return complex_of(_default_dtype)
    return (bool, int64, _default_dtype)[kind]


def common(dtypes: Iterable[DType], scalars: Iterable[Scalar], floating: Any) -> DType:
    """Return the dtype in which an operation on mixed kinds is to be done.

    The highest kind among the operands decides; operands of lower kinds take the dtype
    of those of the highest one, as in PyTorch. Real numbers keep their precision beside
    complex ones. A Python scalar has a kind and no precision, and one of a higher kind
    than every array brings the default dtype.

    Parameters
    ----------
    dtypes : iterable of dtype
        The dtypes of the array operands.
    scalars : iterable of bool, int, float or complex
        The Python scalars among the operands.
    floating : bool
        Whether integers are to become floating point.
    """
    ranks = {dtype: rank(dtype) for dtype in dtypes}
    top = max(ranks.values())
    counts = min(top, 2)  # float64 and complex64 make complex128
    dtype = np.result_type(*(d for d, r in ranks.items() if r >= counts)).type
    weak = max((_SCALAR_RANK[type(value)] for value in scalars), default=0)
    weak = max(weak, 2 if floating else 0)
    if weak <= top:
        return dtype
    if weak == 3:
        return complex_of(dtype if top == 2 else _default_dtype)
    return (bool, int64, _default_dtype)[weak]
