"""Data type functions of the standard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlite._typing import Array, DType, Namespace, Scalar
from gradlite.autograd import differentiable
from gradlite.autograd._graph import Variable
from gradlite.backends import Device, backend_of, dtypes, is_array

if TYPE_CHECKING:
    from gradlite.tensor import Tensor

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
def _astype(xp: Namespace, x: Array, /, dtype: DType, *, copy: bool = True) -> Array:
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


_astype.vjp(x=lambda xp, g: g)


def astype(
    x: Tensor,
    /,
    dtype: DType,
    *,
    copy: bool = True,
    device: str | Device | None = None,
) -> Tensor:
    """Return `x` with elements of type `dtype`.

    Parameters
    ----------
    x : Tensor
        Of any shape.
    dtype : dtype
        Such as `gl.float64`. A real one is refused for complex `x`: use `real`.
    copy : bool, default True
        Whether to copy where `x` has that dtype already.
    device : str or Device, optional
        Where the result is to be; where `x` is unless given.
    """
    y = _astype(x, dtype=dtype, copy=copy)
    return y if device is None else y.to(device)


@differentiable
def clone(xp: Namespace, x: Array, /) -> Array:
    """Return a copy of `x` that belongs to the graph."""
    return xp.asarray(x, copy=True)


clone.vjp(x=lambda xp, g: g)


def isdtype(dtype: DType, kind: DType | str | tuple[DType | str, ...]) -> bool:
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


def _dtype_of(value: Any) -> DType:
    """Return the dtype of an array of any library, or of what stands for a dtype."""
    if isinstance(value, Variable):
        return value._device.backend.of_dtype(value._array.dtype)
    if is_array(value):
        return backend_of(value).of_dtype(value.dtype)
    return dtypes.canonical(value)


def result_type(*arrays_and_dtypes: Tensor | Scalar | DType) -> DType:
    """Return the dtype that an operation on the arguments computes in.

    Parameters
    ----------
    *arrays_and_dtypes : Tensor, dtype or Python scalar
        At least one tensor or dtype. The highest kind among them decides, and dtypes
        of lower kinds do not count: int64 and float32 make float32, as in PyTorch.

    Raises
    ------
    ValueError
        If there is no tensor and no dtype.
    """
    values = [x.item() if isinstance(x, np.generic) else x for x in arrays_and_dtypes]
    scalars = [x for x in values if isinstance(x, bool | int | float | complex)]
    typed = [
        _dtype_of(x) for x in values if not isinstance(x, bool | int | float | complex)
    ]
    if not typed:
        raise ValueError(
            f"result_type() needs a tensor or a dtype, got {arrays_and_dtypes}"
        )
    return dtypes.common(typed, scalars, floating=False)


def can_cast(from_: Tensor | DType, to: DType, /) -> bool:
    """Return whether NumPy calls the cast of a dtype, or of a tensor's, safe.

    That is, whether dtype `to` has all values of `from_`, but for the rounding of
    large integers.
    """
    return np.can_cast(_dtype_of(from_), dtypes.canonical(to))


@dataclass(frozen=True)
class FloatInfo:
    """What `finfo` returns.

    Attributes
    ----------
    bits : int
        Size of a number; of a complex dtype, of its real part, as all that follows.
    eps : float
        Distance from 1.0 to the next number.
    max, min : float
        The largest and the smallest finite number.
    smallest_normal : float
        The smallest positive number of full precision.
    dtype : dtype
        The real dtype.
    """

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: DType


@dataclass(frozen=True)
class IntegerInfo:
    """What `iinfo` returns.

    Attributes
    ----------
    bits : int
        Size of a number.
    max, min : int
        The largest and the smallest number.
    dtype : dtype
        The dtype.
    """

    bits: int
    max: int
    min: int
    dtype: DType


def finfo(type: Tensor | DType, /) -> FloatInfo:
    """Return the limits of a floating-point dtype, or of a tensor's, as Python floats.

    Examples
    --------
    >>> gl.finfo(gl.float32).eps
    1.1920928955078125e-07
    """
    dtype = _dtype_of(type)
    if dtypes.rank(dtype) < 2:
        raise TypeError(
            f"type must be a floating-point dtype, got {dtype.__name__}; use iinfo"
        )
    info = np.finfo(dtype)
    return FloatInfo(
        info.bits,
        float(info.eps),
        float(info.max),
        float(info.min),
        float(info.smallest_normal),
        info.dtype.type,
    )


def iinfo(type: Tensor | DType, /) -> IntegerInfo:
    """Return the limits of an integer dtype, or of a tensor's.

    Examples
    --------
    >>> gl.iinfo(gl.int8).max
    127
    """
    dtype = _dtype_of(type)
    if dtypes.rank(dtype) != 1:
        raise TypeError(f"type must be an integer dtype, got {dtype.__name__}")
    info = np.iinfo(dtype)
    return IntegerInfo(info.bits, int(info.max), int(info.min), dtype)


def accumulation_dtype(dtype: DType, /) -> DType:
    """Return the dtype in which sums of `dtype` are accumulated, None for its own."""
    return (
        dtypes.float32
        if np.dtype(dtype).itemsize == 2 and isdtype(dtype, "real floating")
        else None
    )
