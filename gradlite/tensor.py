"""The tensor: an array with a place in the graph."""

from __future__ import annotations

import builtins
import copy
import inspect
import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self

import numpy as np

from gradlite import ops
from gradlite._arguments import boolean
from gradlite._elements import ElementMethods
from gradlite._hints import FUNCTIONS, MissingMethods
from gradlite._methods import ArrayMethods
from gradlite._typing import DType
from gradlite.autograd import Function, RemovableHandle, backward, no_grad
from gradlite.autograd._dispatch import FACTORY, is_inexact
from gradlite.autograd._graph import Leaf, Node, Version
from gradlite.autograd._mode import MODE
from gradlite.autograd._views import rebase_views, unlink
from gradlite.backends import Device, dtypes

_of_numpy = np.empty(0).__array_function__

API_VERSIONS = ("2021.12", "2022.12", "2023.12", "2024.12", "2025.12")
"""Versions of the array API standard whose functions are here."""


class Tensor(ElementMethods, MissingMethods):
    """An array that remembers how it was computed.

    Made by `gl.tensor`, `gl.asarray`, the creation functions, and by computing with
    tensors. It holds an array of NumPy, CuPy or another library; operators and methods
    are the functions of the array API standard, the members about gradients are
    PyTorch's.

    Writing in place (`t[i] = v`, `t += x`, `t[0][i] = v`) works as in NumPy, and views
    follow. Where a gradient is recorded, the tensor and its views go on with new data,
    and the graph keeps the old; on a leaf that requires grad, or on a view of one, it
    raises, except inside `no_grad()`.
    """

    __slots__ = ()
    __array_ufunc__ = None  # so that ndarray + tensor comes to __radd__
    __array_priority__ = 1000

    # Its place in the graph

    @property
    def requires_grad(self) -> bool:
        """Whether computing with it is recorded."""
        return self._node is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Collect gradients for this tensor, or no longer.

        Raises
        ------
        TypeError
            If its elements are not floating point.
        RuntimeError
            If it is the result of a recorded operation and is to require no grad.
        """
        if not boolean("requires_grad", requires_grad):
            if not self.is_leaf:
                raise RuntimeError(
                    "requires_grad of a computed tensor cannot be turned off; use "
                    "detach()"
                )
            self._node = None
        elif self._node is None:
            if not is_inexact(self._device, self._array.dtype):
                raise TypeError(
                    f"requires_grad needs a floating-point tensor, this one has dtype "
                    f"{self.dtype.__name__}; use .astype(gl.float32) first"
                )
            self._node = Leaf(self)
            rebase_views(self)
        return self

    @property
    def grad(self) -> Tensor | None:
        """The gradient that `backward` collected, None before.

        It is the caller's to keep: later gradients are added to it, or written
        elsewhere, except where an optimizer was told ``grads="flat"``.
        """
        if self._grad is not None and type(self._node) is Leaf:
            slot = self._node.slot
            if slot is not None and slot.tensor is self._grad:
                slot.arena.shown = True
        return self._grad  # type: ignore[no-any-return]

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                raise TypeError(
                    f"grad must be a tensor or None, got {type(value).__name__}"
                )
            for name in ("shape", "dtype", "device"):
                if getattr(value, name) != getattr(self, name):
                    raise ValueError(
                        f"grad has {name} {getattr(value, name)}, the tensor has "
                        f"{getattr(self, name)}; they must be equal"
                    )
            if not value._device.backend.is_writable(value._array):
                value = value.clone()  # backward adds to it
        self._grad = value

    @property
    def grad_fn(self) -> Node | None:
        """The node of the operation that computed it, None for leaves."""
        return None if self.is_leaf else self._node

    @property
    def is_leaf(self) -> bool:
        """Whether it was not computed by a recorded operation."""
        return self._node is None or type(self._node) is Leaf

    @property
    def data(self) -> Tensor:
        """The tensor without its place in the graph; shares memory.

        Assigning replaces the array of a leaf, with that of a tensor of any shape,
        dtype and device. A gradient that no longer fits is dropped.
        """
        return self.detach()

    @data.setter
    def data(self, value: Tensor) -> None:
        source = FACTORY.asarray(value)
        source._version.shared = True
        self._replace(source)

    def _replace(self, source: Tensor) -> None:
        """Go on with the array of `source`, which nobody else is to write to."""
        if not self.is_leaf:
            raise RuntimeError("data of a computed tensor cannot be replaced")
        if self._node is not None and not is_inexact(
            source._device, source._array.dtype
        ):
            raise TypeError(
                f"data of a tensor that requires grad must be floating point, got "
                f"dtype {source.dtype.__name__}"
            )
        unlink(self)
        self._array, self._device = source._array, source._device
        self._version = source._version
        if isinstance(self._node, Leaf):
            self._node.follow(self)
        grad = self._grad
        if grad is not None and (grad.shape, grad.dtype, grad.device) != (
            self.shape, self.dtype, self.device,
        ):  # fmt: skip
            self._grad = None

    def backward(
        self,
        gradient: Tensor | None = None,
        *,
        retain_graph: bool | None = None,
        create_graph: bool = False,
    ) -> None:
        """Add the gradient of this tensor to the `.grad` of every leaf it depends on.

        Parameters
        ----------
        gradient : Tensor, optional
            Cotangent of the shape of this tensor; 1 by default, for scalars only.
        retain_graph, create_graph : bool, optional
            As in `gl.autograd.backward`.
        """
        gradients = None if gradient is None else [gradient]
        backward(self, gradients, retain_graph=retain_graph, create_graph=create_graph)

    def detach(self) -> Tensor:
        """Return the tensor without its place in the graph; shares memory."""
        self._version.shared = True
        return self._alias()

    def _alias(self) -> Tensor:
        """Return what `detach` does, for a caller who does not let it out."""
        return Tensor._wrap(self._array, self._device, None, self._version)  # type: ignore[no-any-return]

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
        """Call `hook` with the gradient of this tensor whenever it is computed.

        Parameters
        ----------
        hook : callable
            Gets the gradient; what it returns, if not None, takes its place.

        Returns
        -------
        RemovableHandle
            Takes the hook away by `remove()`.
        """
        if self._node is None:
            raise RuntimeError("a hook needs a tensor with requires_grad=True")
        return self._node.add_hook(hook)

    def retain_grad(self) -> None:
        """Leave the gradient of a computed tensor in its `.grad` too."""
        if self._node is None:
            raise RuntimeError("retain_grad needs a tensor with requires_grad=True")
        if not self.is_leaf:
            self._node.retain(self)

    # Conversion

    def to(
        self,
        target: str | Device | DType | Tensor = None,
        dtype: DType = None,
        *,
        device: Any = None,
    ) -> Tensor:
        """Return the tensor on another device or with another dtype, or itself.

        Parameters
        ----------
        target : str, Device, dtype or Tensor
            A device (`"cuda"`), a dtype (`gl.float64`), or a tensor that has both.
        dtype : dtype, optional
            The dtype, beside a device.
        device : str or Device, optional
            The device by keyword.

        Raises
        ------
        TypeError
            If a device or a dtype is given twice.
        """
        beside = dtype
        if isinstance(target, str | Device) or (
            isinstance(target, Tensor) and dtype is None
        ):
            beside = device
        if target is not None and beside is not None:
            raise TypeError(
                f"target is {target!r} and {beside!r} is given beside it; give one "
                "device and one dtype, such as to('cuda', gl.float64)"
            )
        if isinstance(target, str | Device):
            device = target
        elif isinstance(target, Tensor):
            device, dtype = target.device, target.dtype
        elif target is not None:
            dtype = target
        result = self
        if dtype is not None and dtypes.canonical(dtype) is not self.dtype:
            result = ops.astype(self, dtype)
        if device is not None and Device(device) is not self._device:
            result = _Transfer.apply(result, Device(device))
        return result

    def cpu(self) -> Tensor:
        """Return the tensor on the CPU."""
        return self.to("cpu")

    def cuda(self) -> Tensor:
        """Return the tensor on the current CUDA device."""
        return self.to("cuda")

    def astype(self, dtype: DType, *, copy: bool = True) -> Tensor:
        """Return the tensor with elements of type `dtype`."""
        return ops.astype(self, dtype, copy=copy)

    def clone(self) -> Tensor:
        """Return a copy that belongs to the graph."""
        return ops.clone(self)

    def numpy(self) -> np.ndarray[Any, Any]:
        """Return the elements as a NumPy array that shares memory.

        What is written into it goes unnoticed by a graph that saved the tensor.

        Raises
        ------
        TypeError
            If the tensor requires grad or is not in host memory: a silent conversion
            would lose gradients or hide a copy. The message names the fix.
        """
        if self._node is not None:
            raise TypeError(
                "a tensor that requires grad does not become a NumPy array by itself, "
                "because its gradient would be lost; use .detach().numpy()"
            )
        if not self._device.is_host:
            raise TypeError(
                f"a tensor on {self._device} does not become a NumPy array by itself, "
                "because that would copy it; use .cpu().numpy()"
            )
        self._version.shared = True
        return self._device.backend.to_host(self._array)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        array = self.numpy()
        return np.array(array, dtype=dtype, copy=copy)

    def __array_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        if not all(issubclass(kind, Tensor | np.ndarray) for kind in types):
            return NotImplemented
        try:
            return _of_numpy(func, (), args, kwargs)
        except TypeError as error:
            name = _counterpart(func)
            if name is None:
                raise
            cause = error.__cause__ or error  # of one of NumPy's called by another
            raise TypeError(
                f"{func.__module__}.{func.__name__}() does not take this tensor, but "
                f"{name}() does: {cause}"
            ) from cause

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        if self._node is not None:
            raise BufferError(
                "a tensor that requires grad is not exported, because its gradient "
                "would be lost; use .detach()"
            )
        options = {
            "stream": stream, "max_version": max_version, "dl_device": dl_device,
            "copy": copy,
        }  # fmt: skip
        self._version.shared = True
        with self._device.scope():
            return self._array.__dlpack__(
                **{name: value for name, value in options.items() if value is not None}
            )

    def __dlpack_device__(self) -> Any:
        return self._array.__dlpack_device__()

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        import gradlite

        if api_version not in (None, *API_VERSIONS):
            raise ValueError(
                f"api_version must be one of {', '.join(API_VERSIONS)}, got "
                f"{api_version!r}"
            )
        return gradlite

    def to_device(self, device: str | Device, /, *, stream: Any = None) -> Tensor:
        """Return the tensor on another device: the standard's name of `to`."""
        return self.to(device)

    def tolist(self) -> Any:
        """Return the elements as nested lists of Python numbers."""
        return self._host().tolist()

    def item(self) -> Any:
        """Return the only element as a Python number; on a GPU this waits for it."""
        if self.size != 1:
            raise ValueError(
                f"item() needs a tensor of one element, this one has shape "
                f"{self.shape}; use tolist()"
            )
        return self._host().item()

    def _host(self) -> np.ndarray[Any, Any]:
        return self._device.backend.to_host(self._array)

    def _scalar(self, kind: str) -> Any:
        if self.ndim:
            raise TypeError(
                f"{kind}() needs a tensor without axes, this one has shape {self.shape}"
            )
        return self._host().item()

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(
                f"the truth of a tensor of shape {self.shape} is ambiguous; use .any() "
                "or .all()"
            )
        return builtins.bool(self._host().item())

    def __int__(self) -> int:
        return int(self._scalar("int"))

    def __float__(self) -> float:
        return float(self._constant("float"))

    def __complex__(self) -> complex:
        return complex(self._constant("complex"))

    def _constant(self, kind: str) -> Any:
        """Return a number, and say so where that loses a derivative."""
        number = self._scalar(kind)
        if self._node is not None and MODE.get().recording:
            warnings.warn(
                f"{kind}() of a tensor that requires grad makes a constant, through "
                "which no derivative flows (functions of math do so too); use item() "
                "where that is meant",
                stacklevel=3,
            )
        return number

    def __trunc__(self) -> int:
        return int(self)

    def __floor__(self) -> int:
        return math.floor(self._scalar("floor"))  # type: ignore[no-any-return]

    def __ceil__(self) -> int:
        return math.ceil(self._scalar("ceil"))  # type: ignore[no-any-return]

    def __round__(self, ndigits: int | None = None) -> Any:
        return round(self._scalar("round"), ndigits)

    def __index__(self) -> int:
        if dtypes.rank(self.dtype) != 1:
            raise TypeError(
                f"only an integer tensor is an index, this one has dtype "
                f"{self.dtype.__name__}"
            )
        return int(self._scalar("index"))

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("len() of a tensor without axes")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if not self.ndim:
            raise TypeError("iteration over a tensor without axes")
        return iter(ops.unstack(self, axis=0))

    def __contains__(self, value: Any) -> bool:
        return builtins.bool(ops.any(ops.equal(self, value)))

    def __format__(self, spec: str) -> str:
        if not spec:
            return repr(self)
        if self.size != 1:
            raise TypeError(
                f"the format {spec!r} needs a tensor of one element, this one has "
                f"shape {self.shape}; format the numbers of tolist()"
            )
        return format(self.item(), spec)

    def __repr__(self) -> str:
        text = np.array2string(self._host(), separator=", ", prefix="tensor(")
        notes = []
        if self.dtype not in (dtypes.bool, dtypes.int64, dtypes.get_default_dtype()):
            notes.append(f"dtype={self.dtype.__name__}")
        if self._device != "cpu":
            notes.append(f"device='{self._device}'")
        if isinstance(self._node, Leaf):
            notes.append("requires_grad=True")
        elif self._node is not None:
            notes.append(f"grad_fn=<{self._node.name}>")
        return f"tensor({', '.join([text, *notes])})"

    # Copies and pickles

    def __copy__(self) -> Tensor:
        if not self.is_leaf:
            raise RuntimeError(
                "a computed tensor that requires grad cannot be copied, because its "
                "graph would not be; use detach()"
            )
        source = self.detach()
        result = _rebuild(type(self), source, self.requires_grad, self.__dict__)
        result._version = source._version
        return result

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if id(self) in memo:
            return memo[id(self)]  # type: ignore[no-any-return]
        if not self.is_leaf:
            raise RuntimeError(
                "a computed tensor that requires grad cannot be deep-copied, because "
                "its graph would not be; use detach().clone()"
            )
        with no_grad():
            result = _rebuild(
                type(self), ops.clone(self._alias()), self.requires_grad, {}
            )
        memo[id(self)] = result
        if self._grad is not None:
            result._grad = copy.deepcopy(self._grad._alias(), memo)
        result.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return result

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        if not self.is_leaf:
            raise RuntimeError(
                "a computed tensor that requires grad cannot be copied or pickled, "
                "because its graph would not be; use detach()"
            )
        state = (type(self), self._host(), self._device, self.requires_grad)
        return _unpickle, (*state, self.__dict__)


def _counterpart(function: Callable[..., Any]) -> str | None:
    """Return the name of the function on tensors for one of NumPy."""
    import gradlite

    *parts, name = f"{function.__module__}.{function.__name__}".split(".")[1:]
    name = FUNCTIONS.get(name, name)
    module: Any = gradlite
    for part in parts:
        module = getattr(module, part, None)
    return ".".join(["gl", *parts, name]) if hasattr(module, name) else None


for _part in (ElementMethods, ArrayMethods):
    for _member in vars(_part).values():
        if inspect.isfunction(_member):  # Python's messages then name a known class
            _member.__qualname__ = f"Tensor.{_member.__name__}"


class _Transfer(Function):
    """Move a tensor to another device; its gradient moves back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, device: Device) -> Tensor:
        ctx.source = x._device
        return _transfer(x, device)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        return g.to(ctx.source), None


def _transfer(x: Tensor, device: Device) -> Tensor:
    if x._device.backend is device.backend:
        array = device.backend.transfer(x._array, device.raw)
    else:
        host = x._device.backend.to_host(x._array)
        array = device.backend.from_host(host, device.raw)
    if device.backend.name == "cpu" and x._device.is_host:
        array = np.array(array)  # a device's tensor shares no memory with another's
    return Tensor._wrap(array, device, None, Version())  # type: ignore[no-any-return]


def _rebuild(
    kind: type[Tensor], source: Tensor, requires_grad: bool, attributes: dict[str, Any]
) -> Tensor:
    result = object.__new__(kind)
    result._array, result._device = source._array, source._device
    result._version, result._grad, result._node = Version(), None, None
    result.__dict__.update(attributes)
    return result.requires_grad_() if requires_grad else result


def _unpickle(
    kind: type[Tensor],
    host: np.ndarray[Any, Any],
    device: Device,
    requires_grad: bool,
    attributes: dict[str, Any],
) -> Tensor:
    source = FACTORY.asarray(host, device=device)
    return _rebuild(kind, source, requires_grad, attributes)
