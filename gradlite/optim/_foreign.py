"""Arrays of any library, checked and opened for an update in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gradlite._arguments import type_name
from gradlite._from_data import asarray
from gradlite._typing import Array
from gradlite.backends import Device, DeviceMismatchError, device_of, is_array
from gradlite.backends._dlpack import dlpack_device
from gradlite.optim._arguments import scalar
from gradlite.tensor import Tensor


class Place(NamedTuple):
    """An array, and the device on which it is updated."""

    device: Device
    array: Array


def rows_of(arrays: Mapping[str, Any]) -> dict[int, list[Place]]:
    """Return each parameter that has a gradient with that and its state.

    Parameters
    ----------
    arrays : dict of str to list
        By the arguments' names the parameters, their gradients and their state.

    Returns
    -------
    dict of int to list of Place
        By the position of the parameter.

    Raises
    ------
    TypeError, ValueError, DeviceMismatchError
        If one of them does not fit.
    """
    lists = {name: listed_arrays(name, values) for name, values in arrays.items()}
    count = len(lists["params"])
    for name, values in lists.items():
        if len(values) != count:
            raise ValueError(
                f"{name} has {len(values)} entries, params {count}; pass one for each"
                " parameter"
            )
    rows = {}
    for i in range(count):
        if lists["grads"][i] is not None:
            row = opened({f"{name}[{i}]": values[i] for name, values in lists.items()})
            _check_alike(row)
            rows[i] = list(row.values())
    return rows


def listed_arrays(name: str, values: Any) -> Sequence[Any]:
    """Return `values`, a list or tuple of arrays, or raise naming what to pass.

    Parameters
    ----------
    name : str
        The argument's name.
    values : object
        What was passed.
    """
    if values is None:
        raise ValueError(
            f"{name} is needed with these options, got None; pass a list with an array"
            " of zeros for each parameter before its first update"
        )
    if not isinstance(values, list | tuple):
        raise TypeError(
            f"{name} must be a list of arrays, one for each parameter, got"
            f" {type_name(values)}; pass [array] for one"
        )
    return values


def number_or_tensor(name: str, value: Any) -> Any:
    """Return a number, or an array of one element on a GPU as a 0-D tensor.

    Parameters
    ----------
    name : str
        The argument's name.
    value : number, array, Tensor or None
        What was passed.
    """
    if not isinstance(value, Tensor) and hasattr(value, "__dlpack__"):
        value = asarray(opened({name: value})[name].array)
    return scalar(name, value)


def opened(named: Mapping[str, Any]) -> dict[str, Place]:
    """Return arrays that belong together, by NumPy or CuPy if they share their memory.

    Parameters
    ----------
    named : dict of str to array
        The arrays, by how messages call them.
    """
    own = {name: _own(name, value) for name, value in named.items()}
    shared = {name: _shared(name, named[name], place) for name, place in own.items()}
    if None in shared.values():
        shared = {name: place or shared[name] for name, place in own.items()}
    return {name: place for name, place in shared.items() if place is not None}


def _own(name: str, value: Any) -> Place | None:
    """Return an array by its own library, None if that is not registered."""
    if isinstance(value, Tensor):
        value = value._array
    if isinstance(value, np.ndarray) or is_array(value):
        return Place(device_of(value), value)
    if not hasattr(value, "__dlpack__"):
        raise TypeError(f"{name} must be an array, got {type_name(value)}")
    return None


def _shared(name: str, value: Any, own: Place | None) -> Place | None:
    """Return an array by NumPy or CuPy, None if only its own library can have it."""
    if own is not None:
        value = own.array
        if own.device.backend.ALIGNMENT:  # updates it as fast
            return own
    try:
        device = dlpack_device(value)
        if device is None:
            raise TypeError("neither NumPy nor CuPy can read its memory")
        with device.scope():
            array = device.xp.from_dlpack(value)
    except BufferError as error:  # PyTorch's names the fix
        raise ValueError(f"{name} does not export its memory: {error}") from None
    except (RuntimeError, TypeError) as error:
        if own is None:
            raise TypeError(
                f"{name} of type {type_name(value)} cannot be used through DLPack:"
                f" {error}"
            ) from error
        return None
    if own is not None and not (
        device.backend.is_writable(array)
        # array_api_strict's second device stands for a GPU, whatever it exports.
        and own.device.is_host is device.is_host
    ):
        return None
    return Place(device_of(array), array)


def _check_alike(row: Mapping[str, Place]) -> None:
    """Raise if a gradient or a state is not like its parameter, the first of them."""
    (first, (device, p)), (of_gradient, _), *_ = row.items()
    wide = device.xp.accumulation_dtype(p.dtype)
    if wide is None and p.dtype not in (device.xp.float32, device.xp.float64):
        raise TypeError(
            f"{first} must be real and floating-point in native byte order, of 16, 32"
            f" or 64 bits, got dtype {p.dtype}"
        )
    for name, (where, array) in row.items():
        if where is not device:
            raise DeviceMismatchError(
                f"{name} is on {where}, {first} on {device}; move one of them"
            )
        if tuple(array.shape) != tuple(p.shape):
            raise ValueError(
                f"{name} has shape {tuple(array.shape)}, {first} {tuple(p.shape)}; they"
                " must be equal"
            )
        if wide is not None and name not in (first, of_gradient):
            if array.dtype != wide:
                raise ValueError(
                    f"{name} has dtype {array.dtype}, but the state of parameters of 16"
                    " bits is in float32"
                )
        elif array.dtype != p.dtype:
            raise ValueError(
                f"{name} has dtype {array.dtype}, {first} {p.dtype}; they must be equal"
            )
        if name != of_gradient and not where.backend.is_writable(array):
            raise ValueError(
                f"{name} is read-only, but is updated in place; pass a copy that can be"
                " written to"
            )
