"""Data type functions of the standard."""

from __future__ import annotations

import numpy as np

from gradlite._typing import Array, DType, Namespace
from gradlite.autograd import differentiable
from gradlite.backends import dtypes

_KINDS = {
    "bool": "b",
    "signed integer": "i",
    "unsigned integer": "u",
    "integral": "iu",
    "real floating": "fV",
    "complex floating": "c",
    "numeric": "iufVc",
}


@differentiable(view=True)
def astype(xp: Namespace, x: Array, /, dtype: DType, *, copy: bool = True) -> Array:
    """Return `x` with elements of type `dtype`.

    Parameters
    ----------
    x : Tensor
        Of any shape.
    dtype : dtype
        Such as `gl.float64`. A real one is refused for complex `x`: use `real`.
    copy : bool, default True
        Whether to copy where `x` has that dtype already.
    """
    if dtype is None:
        raise TypeError("dtype must be a dtype such as gl.float32, got None")
    if xp.isdtype(x.dtype, "complex floating") and not xp.isdtype(
        dtype, "complex floating"
    ):
        raise TypeError(
            f"x is complex and dtype {getattr(dtype, '__name__', dtype)} is not; take "
            "gl.real(x) or gl.abs(x) first"
        )
    return xp.astype(x, dtype, copy=copy)


astype.vjp(x=lambda xp, g: g)


@differentiable
def clone(xp: Namespace, x: Array, /) -> Array:
    """Return a copy of `x` that belongs to the graph."""
    return xp.asarray(x, copy=True)


clone.vjp(x=lambda xp, g: g)


def isdtype(dtype: DType, kind: DType | str | tuple[DType | str, ...], /) -> bool:
    """Return whether a dtype is of a kind.

    Parameters
    ----------
    dtype : dtype
        Such as `gl.float32`.
    kind : str, dtype or tuple of them
        `"bool"`, `"signed integer"`, `"unsigned integer"`, `"integral"`, `"real
        floating"`, `"complex floating"`, `"numeric"`, or a dtype.
    """
    if isinstance(kind, tuple):
        return any(isdtype(dtype, one) for one in kind)
    if not isinstance(kind, str):
        return dtypes.canonical(dtype) is dtypes.canonical(kind)
    if kind not in _KINDS:
        raise ValueError(f"kind must be one of {', '.join(_KINDS)}, got {kind!r}")
    return np.dtype(dtypes.canonical(dtype)).kind in _KINDS[kind]


def accumulation_dtype(dtype: DType, /) -> DType:
    """Return the dtype in which sums of `dtype` are accumulated, None for its own."""
    return (
        dtypes.float32
        if np.dtype(dtype).itemsize == 2 and isdtype(dtype, "real floating")
        else None
    )
