"""Reading and writing the elements of tensors, and who may write when."""

from __future__ import annotations

from collections.abc import Callable
from operator import index
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from gradlite import ops
from gradlite._methods import ArrayMethods
from gradlite._typing import Array, DType, Key
from gradlite.autograd import no_grad
from gradlite.autograd._dispatch import FACTORY
from gradlite.autograd._graph import Variable
from gradlite.autograd._mode import MODE
from gradlite.autograd._views import leads_to_leaf, write
from gradlite.backends import DeviceMismatchError, dtypes
from gradlite.backends._indexing import full_key

if TYPE_CHECKING:
    from gradlite.tensor import Tensor


def _bound(n: Any) -> int | None:
    return n if n is None else index(n)


def _in_place(function: Callable[..., Tensor]) -> Callable[[Any, Any], Any]:
    """Return the method for `self op= other`."""

    def assign(self: Any, other: Any) -> Any:
        if self._is_recorded(other):
            self._refuse_leaf()
            result = function(self, other)
            self._check_fit(result)
            self._become(result)
        else:
            self._write(function, other)
        return self

    return assign


class ElementMethods(ArrayMethods):
    """Indexing, assignment, in-place operators, methods with a trailing underscore."""

    __slots__ = ()

    def _raw_key(self, key: Key) -> Key:
        """Return a key of raw values that names all axes, if by an Ellipsis."""
        if isinstance(key, tuple):
            return full_key(tuple(self._raw_part(part) for part in key))
        return full_key(self._raw_part(key))

    def _raw_part(self, key: Key) -> Key:
        if isinstance(key, int) or key is None or key is Ellipsis:
            return key
        if isinstance(key, slice):  # a bound that is an array could be written to
            return slice(_bound(key.start), _bound(key.stop), _bound(key.step))
        if isinstance(key, Variable):
            if key._device is not self._device:
                raise DeviceMismatchError(
                    f"the index is on {key._device}, the tensor on {self._device}; "
                    f"move it with .to({self._device.name!r})"
                )
            key = key._array
        elif isinstance(key, np.generic):
            return key.item()
        elif isinstance(key, list | tuple | np.ndarray):
            host = np.asarray(key)
            if isinstance(key, list | tuple) and not host.size:
                host = host.astype(np.int64)
            key = FACTORY.asarray(host, device=self._device)._array
        else:
            return key
        # The graph keeps the key as an option, which no version guards.
        return self._device.xp.asarray(key, copy=True)

    def __getitem__(self, key: Key) -> Tensor:
        return ops.getitem(self, key=self._raw_key(key))

    def __setitem__(self, key: Key, value: Any) -> None:
        key = self._raw_key(key)
        if not isinstance(value, Variable | bool | int | float | complex):
            value = FACTORY.asarray(value, device=self._device)
        if self._is_recorded(value):
            self._refuse_leaf()
            self._check_kind(value)
            self._become(ops.setitem(self, value, key=key))
            return
        if isinstance(value, Variable):
            value = self._own(value)
        with self._device.scope():
            self._device.xp.setitem_(self._array, value, key=key)
        self._version.bump()

    def _own(self, value: Variable) -> Array:
        """Return the raw array of a value to be written, in this tensor's dtype."""
        if value._device is not self._device:
            raise DeviceMismatchError(
                f"the value is on {value._device}, the tensor on {self._device}; "
                f"move it with .to({self._device.name!r})"
            )
        array = value._array
        if array.dtype != self._array.dtype:
            self._refuse_complex(self._device.backend.of_dtype(array.dtype))
            with self._device.scope():
                array = self._device.xp.astype(array, self._array.dtype)
        return array

    def _is_recorded(self, other: Any) -> bool:
        """Whether writing `other` into this tensor belongs to a graph."""
        tracked = self._node is not None or (
            isinstance(other, Variable) and other._node is not None
        )
        return tracked and MODE.get().recording

    def _refuse_leaf(self) -> None:
        if leads_to_leaf(self):
            raise RuntimeError(
                "a leaf that requires grad, or a view of one, is not changed in place "
                "while gradients are recorded; write x = x + 1, or change it inside "
                "no_grad()"
            )

    def _refuse_complex(self, kind: DType) -> None:
        """Raise if a value of this dtype would lose its imaginary part."""
        if dtypes.rank(kind) > max(dtypes.rank(self.dtype), 2):
            raise TypeError(
                f"the value is complex and does not fit into {self.dtype.__name__}; "
                "write gl.real(value)"
            )

    def _check_kind(self, value: Any) -> None:
        """Raise if a value to be written would lose its gradient in this dtype."""
        kind = complex if isinstance(value, complex) else getattr(value, "dtype", bool)
        self._refuse_complex(kind)
        if dtypes.rank(self.dtype) < 2 and isinstance(value, Variable):
            raise TypeError(
                f"the value requires grad, which a tensor of dtype "
                f"{self.dtype.__name__} would lose; write x = x.astype(...) first, or "
                "detach() the value"
            )

    def _check_fit(self, value: Tensor) -> None:
        """Raise if the result of an operation does not fit into this tensor."""
        if value.shape != self.shape:
            raise ValueError(
                f"an in-place operation cannot change the shape {self.shape} to "
                f"{value.shape}; write x = x + y instead"
            )
        if dtypes.rank(value.dtype) > dtypes.rank(self.dtype):
            raise TypeError(
                f"an in-place operation cannot put {value.dtype.__name__} into a "
                f"tensor of dtype {self.dtype.__name__}; write x = x + y, and so on"
            )

    def _become(self, result: Tensor) -> None:
        """Go on as another value, with all views; the graph keeps the old one."""
        if result.dtype is not self.dtype:
            result = ops.astype(result, self.dtype)
        write(self, result)

    def _write(self, function: Callable[..., Tensor], *args: Any) -> None:
        """Compute a new value and write it into the storage."""
        with no_grad():
            value = function(self, *args)
        self._check_fit(value)
        with self._device.scope():
            self._array[...] = self._own(value)
        self._version.bump()

    def _change(self, function: Callable[..., Tensor], *args: Any) -> Self:
        """Write into the storage, which nothing recorded may do."""
        if any(map(self._is_recorded, args or (None,))):
            raise RuntimeError(
                "a method with a trailing underscore does not change a tensor while "
                "gradients are recorded for it; write x = x * y instead, or change it "
                "inside no_grad()"
            )
        self._write(function, *args)
        return self

    def zero_(self) -> Self:
        """Set all elements to 0."""
        return self._change(ops.zeros_like)

    def fill_(self, value: Any) -> Self:
        """Set all elements to a number, or to the only element of a tensor."""
        number = value
        if isinstance(value, ElementMethods | np.ndarray | np.generic):
            number = value.item()  # type: ignore[union-attr]
        if not isinstance(number, bool | int | float | complex) or (
            isinstance(number, complex) and dtypes.rank(self.dtype) < 3
        ):
            raise TypeError(
                f"value must be a number that fits into {self.dtype.__name__}, got "
                f"{number!r}; use copy_() for an array"
            )
        return self._change(lambda x, _: ops.full_like(x, number), value)

    def copy_(self, source: Any) -> Self:
        """Take over the elements of a tensor or array, from any device and dtype."""
        value = FACTORY.asarray(source)
        if dtypes.rank(value.dtype) != 3 or dtypes.rank(self.dtype) == 3:
            value = value.to(self.dtype)
        shape = self.shape
        return self._change(
            lambda x, y: ops.broadcast_to(y.to(x._device), shape), value
        )

    def add_(self, other: Any) -> Self:
        """Add `other` in place."""
        return self._change(ops.add, other)

    def sub_(self, other: Any) -> Self:
        """Subtract `other` in place."""
        return self._change(ops.subtract, other)

    def mul_(self, other: Any) -> Self:
        """Multiply by `other` in place."""
        return self._change(ops.multiply, other)

    def div_(self, other: Any) -> Self:
        """Divide by `other` in place."""
        return self._change(ops.divide, other)

    def exp_(self) -> Self:
        """Take the exponential in place."""
        return self._change(ops.exp)

    def clip_(self, min: Any = None, max: Any = None) -> Self:
        """Limit the elements to [`min`, `max`] in place."""
        return self._change(ops.clip, min, max)

    # In-place operators

    __iadd__ = _in_place(ops.add)
    __isub__ = _in_place(ops.subtract)
    __imul__ = _in_place(ops.multiply)
    __itruediv__ = _in_place(ops.divide)
    __ifloordiv__ = _in_place(ops.floor_divide)
    __imod__ = _in_place(ops.remainder)
    __ipow__ = _in_place(ops.pow)
    __imatmul__ = _in_place(ops.matmul)
    __iand__ = _in_place(ops.bitwise_and)
    __ior__ = _in_place(ops.bitwise_or)
    __ixor__ = _in_place(ops.bitwise_xor)
    __ilshift__ = _in_place(ops.bitwise_left_shift)
    __irshift__ = _in_place(ops.bitwise_right_shift)
