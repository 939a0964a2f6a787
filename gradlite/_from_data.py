"""Tensors from data: Python numbers, nested lists, arrays of any library, DLPack."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradlite import ops
from gradlite._host_data import from_python, holds_tensor
from gradlite._typing import DType
from gradlite.autograd import install
from gradlite.autograd._graph import Version
from gradlite.backends import Device, device_of, get_default_device, is_array
from gradlite.backends._dlpack import dlpack_device
from gradlite.tensor import Tensor


def asarray(
    obj: Any,
    /,
    *,
    dtype: DType = None,
    device: str | Device | None = None,
    copy: bool | None = None,
) -> Tensor:
    """Return `obj` as a tensor that shares its memory where that is possible.

    Parameters
    ----------
    obj : array, Tensor, number or nested sequence of numbers
        An array of any registered library stays where it is unless `device` is given;
        a tensor keeps its place in the graph; a sequence of tensors is stacked.
    dtype : dtype, optional
        That of the data unless given; Python floats get the default dtype.
    device : str or Device, optional
        Python numbers go to the default device unless given.
    copy : bool, optional
        True always copies, False raises where a copy is needed.

    Returns
    -------
    Tensor
        Which writes to the memory of `obj` if it is written to in place.

    Notes
    -----
    What is written into `obj` itself goes unnoticed by a graph that saved the tensor,
    and the gradient is then that of the new values. Where an array is to be reused
    before `backward`, take a copy.
    """
    target = None if device is None else Device(device)
    if isinstance(obj, Tensor):
        result = obj
    elif is_array(obj) and not isinstance(obj, np.ndarray):
        result = Tensor._wrap(obj, device_of(obj), None, Version())
        result._version.shared = True
    elif isinstance(obj, list | tuple) and holds_tensor(obj):
        result = ops.stack([asarray(item, device=device) for item in obj])
    else:
        host = from_python(obj, dtype)
        cpu = Device("cpu")
        if target is None:
            target = cpu if isinstance(obj, np.ndarray) else get_default_device()
        if copy is False and not (host is obj and target is cpu):
            raise ValueError("copy=False, but the data cannot be used without a copy")
        if target is not cpu:
            array = target.backend.from_host(host, target.raw)
            return Tensor._wrap(array, target, None, Version())  # type: ignore[no-any-return]
        shared = host is obj or (
            isinstance(obj, np.ndarray) and np.shares_memory(host, obj)
        )
        if copy and shared:
            host, shared = host.copy(), False
        result = Tensor._wrap(host, cpu, None, Version())
        result._version.shared = shared
        return result  # type: ignore[no-any-return]
    moved = result.to(device=target, dtype=dtype)
    if copy is False and moved is not result:
        raise ValueError("copy=False, but another dtype or device needs a copy")
    return moved.clone() if copy and moved is result else moved


def tensor(
    data: Any,
    *,
    dtype: DType = None,
    device: str | Device | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return a new tensor with a copy of `data`.

    Parameters
    ----------
    data : number, nested sequence of numbers, array or Tensor
        The elements. Python floats get the default dtype, NumPy and CuPy arrays keep
        theirs. A tensor is copied without its place in the graph.
    dtype : dtype, optional
        That of the data unless given.
    device : str or Device, optional
        The default device unless given; that of a tensor, or of an array of another
        library than NumPy, is its own.
    requires_grad : bool, default False
        Whether to collect gradients for it.

    Returns
    -------
    Tensor
        A leaf.

    Raises
    ------
    TypeError
        If a sequence holds tensors that require grad, which `gl.asarray` stacks, while
        gradients are recorded.

    Examples
    --------
    >>> x = gl.tensor([[1.0, 2.0]], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    tensor([[2., 4.]])
    """
    if device is None and isinstance(data, np.ndarray):
        device = get_default_device()
    result = asarray(data, dtype=dtype, device=device, copy=True)
    if result._node is not None and not isinstance(data, Tensor):
        raise TypeError(
            "data holds tensors that require grad, whose gradient would be lost; use "
            "gl.asarray(data) to keep it, or detach() them"
        )
    return result._alias().requires_grad_(requires_grad)


def from_dlpack(
    x: Any,
    /,
    *,
    device: str | Device | None = None,
    copy: bool | None = None,
) -> Tensor:
    """Return the array of any library that exports DLPack as a tensor.

    Parameters
    ----------
    x : object
        An array with `__dlpack__` and `__dlpack_device__`, such as PyTorch's. A tensor
        keeps its place in the graph.
    device : str or Device, optional
        Where the result is to be; where `x` is unless given: memory of the host is
        `"cpu"`, that of CUDA `"cuda"`, whatever library has made it.
    copy : bool, optional
        True always copies, False raises where a copy is needed.

    Returns
    -------
    Tensor
        Which shares the memory of `x` unless it was copied.

    Raises
    ------
    BufferError
        If `x` lies on a device that no library here can read.
    """
    if isinstance(x, Tensor):
        return asarray(x, device=device, copy=copy)
    if not (hasattr(x, "__dlpack__") and hasattr(x, "__dlpack_device__")):
        raise TypeError(
            f"x must be an array that exports DLPack, got {type(x).__name__}; use "
            "gl.asarray"
        )
    source = dlpack_device(x)
    if source is None:
        raise BufferError(
            f"x lies on a device of DLPack's type {int(x.__dlpack_device__()[0])}, "
            "which gradlite cannot read; copy it to the host first"
        )
    with source.scope():
        array = source.xp.from_dlpack(x)
    return asarray(array, device=device, copy=copy)


install(tensor_type=Tensor, namespace=ops, asarray=asarray)
