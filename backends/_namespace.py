"""The raw namespace of a backend: a library's standard functions plus the extras."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

from gradlite.backends import _indexing, _windows
from gradlite.backends._linalg import LinearAlgebra


class RawNamespace:
    """The functions of one array library under the standard's names, plus the extras.

    Attributes are looked up in the library once and kept.

    Parameters
    ----------
    library : module
        A namespace of the array API standard.
    **extras : callable
        Functions that the standard lacks, or better versions of its own.
    """

    def __init__(self, library: ModuleType, **extras: Any) -> None:
        self.library = library
        self.__name__ = library.__name__
        vars(self).update(extras)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.library, name)
        if name == "linalg":
            value = LinearAlgebra(self, value)
        setattr(self, name, value)
        return value

    def provide(self, *functions: Callable[..., Any]) -> None:
        """Add extras that take the namespace first, bound to this one."""
        for function in functions:
            setattr(self, function.__name__, partial(function, self))


PORTABLE = (
    _windows.unfold2d,
    _windows.fold2d,
    _windows.conv2d,
    _windows.conv2d_input,
    _windows.conv2d_weight,
    _windows.max_pool2d,
    _windows.scatter_windows,
    _windows.gather_windows,
    _indexing.getitem,
    _indexing.setitem,
    _indexing.setitem_,
    _indexing.new_zeros,
)
"""Extras that standard functions serve as well as any library's own."""


def accumulation_dtype(xp: RawNamespace, dtype: Any) -> Any:
    """Return the dtype in which sums of `dtype` are accumulated, None for its own."""
    return xp.float32 if "float16" in str(dtype) else None


def bar(xp: RawNamespace, x: Any, /) -> Any:
    """Return the conjugate of a factor in a rule; real values as they are."""
    if isinstance(x, bool | int | float | complex):
        return x.conjugate()
    return xp.conj(x) if xp.isdtype(x.dtype, "complex floating") else x
