"""What tensors have of the standard: attributes, operators, functions as methods."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from gradlite import ops
from gradlite._arguments import check_axis
from gradlite._typing import Array, Axis, DType, Shape
from gradlite.autograd._graph import Variable
from gradlite.backends import Device, is_array

if TYPE_CHECKING:
    from gradlite.tensor import Tensor

_SCALARS = (bool, int, float, complex, np.generic)
# The function names the fix. Without it `[1, 2] * tensor(3)` would repeat the list, and
# `tensor == [1, 2]` be False.
_REFUSED = (list, tuple)
_OPERANDS = (Variable, *_SCALARS, *_REFUSED)
R = TypeVar("R")


def _operator(
    function: Callable[..., R],
) -> tuple[Callable[[Any, Any], R], Callable[[Any, Any], R]]:
    """Return the methods for `self op other` and for `other op self`."""

    def forward(self: Any, other: Any) -> R:
        if isinstance(other, _OPERANDS) or is_array(other):
            return function(self, other)
        return NotImplemented  # type: ignore[no-any-return]

    def reflected(self: Any, other: Any) -> R:
        if isinstance(other, (*_SCALARS, *_REFUSED)) or is_array(other):
            return function(other, self)
        return NotImplemented  # type: ignore[no-any-return]

    return forward, reflected


def _divmod(x1: Any, x2: Any) -> tuple[Tensor, Tensor]:
    return ops.floor_divide(x1, x2), ops.remainder(x1, x2)


class ArrayMethods(Variable):
    """The functions of `gradlite.ops` as operators and methods."""

    __slots__ = ()
    __hash__ = object.__hash__  # by identity: == is element-wise

    # Attributes

    @property
    def shape(self) -> Shape:
        """The size of each axis."""
        return tuple(self._array.shape)

    @property
    def ndim(self) -> int:
        """How many axes there are."""
        return len(self._array.shape)

    @property
    def size(self) -> int:
        """How many elements there are."""
        return math.prod(self._array.shape)

    @property
    def dtype(self) -> DType:
        """The element type: a NumPy scalar type such as `gl.float32`."""
        return self._device.backend.of_dtype(self._array.dtype)

    @property
    def device(self) -> Device:
        """Where the elements are."""
        return self._device

    @property
    def array(self) -> Array:
        """The raw array; writing into it is not noticed."""
        self._version.shared = True
        return self._array

    @property
    def T(self) -> Tensor:  # noqa: N802 - the standard's name
        """The transpose of a matrix."""
        if self.ndim != 2:
            raise ValueError(
                f".T needs a tensor of 2 axes, this one has shape {self.shape}; "
                "use .mT or permute_dims"
            )
        return ops.matrix_transpose(self)

    @property
    def mT(self) -> Tensor:  # noqa: N802 - the standard's name
        """The tensor with its last two axes exchanged."""
        return ops.matrix_transpose(self)

    # Operators

    __add__, __radd__ = _operator(ops.add)
    __sub__, __rsub__ = _operator(ops.subtract)
    __mul__, __rmul__ = _operator(ops.multiply)
    __truediv__, __rtruediv__ = _operator(ops.divide)
    __floordiv__, __rfloordiv__ = _operator(ops.floor_divide)
    __mod__, __rmod__ = _operator(ops.remainder)
    __divmod__, __rdivmod__ = _operator(_divmod)
    __pow__, __rpow__ = _operator(ops.pow)
    __matmul__, __rmatmul__ = _operator(ops.matmul)
    __and__, __rand__ = _operator(ops.bitwise_and)
    __or__, __ror__ = _operator(ops.bitwise_or)
    __xor__, __rxor__ = _operator(ops.bitwise_xor)
    __lshift__, __rlshift__ = _operator(ops.bitwise_left_shift)
    __rshift__, __rrshift__ = _operator(ops.bitwise_right_shift)
    __eq__ = _operator(ops.equal)[0]  # type: ignore[assignment]
    __ne__ = _operator(ops.not_equal)[0]  # type: ignore[assignment]
    __lt__ = _operator(ops.less)[0]
    __le__ = _operator(ops.less_equal)[0]
    __gt__ = _operator(ops.greater)[0]
    __ge__ = _operator(ops.greater_equal)[0]

    def __neg__(self) -> Tensor:
        return ops.negative(self)

    def __pos__(self) -> Tensor:
        return ops.positive(self)

    def __abs__(self) -> Tensor:
        return ops.abs(self)

    def __invert__(self) -> Tensor:
        return ops.bitwise_invert(self)

    # The common functions as methods

    def abs(self) -> Tensor:
        """Return `gl.abs(self)`."""
        return ops.abs(self)

    def exp(self) -> Tensor:
        """Return `gl.exp(self)`."""
        return ops.exp(self)

    def log(self) -> Tensor:
        """Return `gl.log(self)`."""
        return ops.log(self)

    def sqrt(self) -> Tensor:
        """Return `gl.sqrt(self)`."""
        return ops.sqrt(self)

    def tanh(self) -> Tensor:
        """Return `gl.tanh(self)`."""
        return ops.tanh(self)

    def sigmoid(self) -> Tensor:
        """Return `gl.sigmoid(self)`."""
        return ops.sigmoid(self)

    def relu(self) -> Tensor:
        """Return `gl.relu(self)`."""
        return ops.relu(self)

    def clip(self, min: Any = None, max: Any = None) -> Tensor:
        """Return `gl.clip(self, min, max)`."""
        return ops.clip(self, min, max)

    def matmul(self, other: Any) -> Tensor:
        """Return `gl.matmul(self, other)`."""
        return ops.matmul(self, other)

    def sum(
        self, axis: Axis = None, *, dtype: DType = None, keepdims: bool = False
    ) -> Tensor:
        """Return `gl.sum(self, axis=axis, ...)`."""
        return ops.sum(self, axis=axis, dtype=dtype, keepdims=keepdims)

    def prod(
        self, axis: Axis = None, *, dtype: DType = None, keepdims: bool = False
    ) -> Tensor:
        """Return `gl.prod(self, axis=axis, ...)`."""
        return ops.prod(self, axis=axis, dtype=dtype, keepdims=keepdims)

    def mean(self, axis: Axis = None, *, keepdims: bool = False) -> Tensor:
        """Return `gl.mean(self, axis=axis, ...)`."""
        return ops.mean(self, axis=axis, keepdims=keepdims)

    def var(
        self, axis: Axis = None, *, correction: float = 0.0, keepdims: bool = False
    ) -> Tensor:
        """Return `gl.var(self, axis=axis, ...)`."""
        return ops.var(self, axis=axis, correction=correction, keepdims=keepdims)

    def std(
        self, axis: Axis = None, *, correction: float = 0.0, keepdims: bool = False
    ) -> Tensor:
        """Return `gl.std(self, axis=axis, ...)`."""
        return ops.std(self, axis=axis, correction=correction, keepdims=keepdims)

    def max(self, axis: Axis = None, *, keepdims: bool = False) -> Tensor:
        """Return `gl.max(self, axis=axis, ...)`."""
        return ops.max(self, axis=axis, keepdims=keepdims)

    def min(self, axis: Axis = None, *, keepdims: bool = False) -> Tensor:
        """Return `gl.min(self, axis=axis, ...)`."""
        return ops.min(self, axis=axis, keepdims=keepdims)

    def argmax(self, axis: int | None = None, *, keepdims: bool = False) -> Tensor:
        """Return `gl.argmax(self, axis=axis, ...)`."""
        return ops.argmax(self, axis=axis, keepdims=keepdims)

    def argmin(self, axis: int | None = None, *, keepdims: bool = False) -> Tensor:
        """Return `gl.argmin(self, axis=axis, ...)`."""
        return ops.argmin(self, axis=axis, keepdims=keepdims)

    def all(self, axis: Axis = None, *, keepdims: bool = False) -> Tensor:
        """Return `gl.all(self, axis=axis, ...)`."""
        return ops.all(self, axis=axis, keepdims=keepdims)

    def any(self, axis: Axis = None, *, keepdims: bool = False) -> Tensor:
        """Return `gl.any(self, axis=axis, ...)`."""
        return ops.any(self, axis=axis, keepdims=keepdims)

    def reshape(self, *shape: int | Sequence[int]) -> Tensor:
        """Return `gl.reshape(self, shape)`; the sizes one by one or as a tuple."""
        return ops.reshape(self, _sizes(shape))

    def permute_dims(self, *axes: int | Sequence[int]) -> Tensor:
        """Return `gl.permute_dims(self, axes)`; the axes one by one or as a tuple."""
        return ops.permute_dims(self, _sizes(axes))

    def broadcast_to(self, *shape: int | Sequence[int]) -> Tensor:
        """Return `gl.broadcast_to(self, shape)`."""
        return ops.broadcast_to(self, _sizes(shape))

    def squeeze(self, axis: int | tuple[int, ...] | None = None) -> Tensor:
        """Return `gl.squeeze(self, axis)`, by default without all axes of size 1."""
        if axis is None:
            axis = tuple(i for i, size in enumerate(self._array.shape) if size == 1)
        return ops.squeeze(self, axis)

    def expand_dims(self, axis: int = 0) -> Tensor:
        """Return `gl.expand_dims(self, axis=axis)`."""
        return ops.expand_dims(self, axis=axis)

    def flatten(self, start_axis: int = 0, end_axis: int = -1) -> Tensor:
        """Return the tensor with the axes from `start_axis` to `end_axis` as one."""
        ndim = len(self._array.shape)
        if not ndim:
            return ops.reshape(self, (1,))
        check_axis(start_axis, ndim, "start_axis")
        check_axis(end_axis, ndim, "end_axis")
        first, last = start_axis % ndim, end_axis % ndim
        if first > last:
            raise ValueError(
                f"start_axis {start_axis} lies behind end_axis {end_axis}; "
                "exchange them"
            )
        shape = tuple(self._array.shape)
        n = math.prod(shape[first : last + 1])
        return ops.reshape(self, (*shape[:first], n, *shape[last + 1 :]))


def _sizes(sizes: tuple[Any, ...]) -> tuple[int, ...]:
    if len(sizes) == 1 and not hasattr(sizes[0], "__index__"):
        sizes = tuple(sizes[0])
    return tuple(int(size) for size in sizes)
