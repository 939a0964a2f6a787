"""Type aliases of the array boundary: where `Any` stands for an array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

Array: TypeAlias = Any
"""An array of any registered library, or a tensor where a rule is differentiated."""

Namespace: TypeAlias = Any
"""The functions that go with an `Array`: the standard's names and the extras."""

DType: TypeAlias = Any
"""A NumPy scalar type above the backends, the library's own dtype inside them."""

Scalar: TypeAlias = bool | int | float | complex
Pair: TypeAlias = tuple[int, int]
Shape: TypeAlias = tuple[int, ...]
ShapeLike: TypeAlias = int | Sequence[int]
Axis: TypeAlias = int | tuple[int, ...] | None
Key: TypeAlias = Any
"""An index: int, slice, Ellipsis, None, an integer or boolean array, or a tuple."""
