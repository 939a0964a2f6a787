"""Nested Python objects as a tree of JSON with arrays beside it, and back.

A NODE of the tree is one of::

    null   true   false   "text"   12          itself
    [NODE, ...]                                list
    {"tuple": [NODE, ...]}                     tuple
    {"dict": [[NODE, NODE], ...]}              dict: its keys and values, in order
    {"int": "0x..."}                           int beyond 2**53
    {"float": "0x1.8p+1"}                      float, exactly; also "nan" and "inf"
    {"complex": ["0x...", "0x..."]}            complex: real and imaginary part
    {"bytes": "..."}                           bytes, as base64
    {"dtype": "float32"}                       dtype
    {"array": NAME}                            tensor, array or NumPy scalar

`serialization.py` puts it into a file, with an entry for each array.
"""

from __future__ import annotations

import binascii
import zlib
from collections.abc import Callable, Collection
from typing import Any, TypeAlias

import numpy as np

from gradlite._from_data import asarray
from gradlite.backends import dtypes
from gradlite.backends.registry import Device, is_array
from gradlite.tensor import Tensor

DTYPES = {*dtypes.ALL, "bfloat16"}
"""Names of the dtypes that can be saved."""

Host: TypeAlias = np.ndarray[Any, np.dtype[Any]]
"""An array of NumPy's, of any dtype."""

_LARGEST_PLAIN_INT = 2**53  # other JSON readers turn what is above into a float


class Encoder:
    """Turns nested objects into the JSON tree and collects the arrays beside it.

    Parameters
    ----------
    reserved : collection of str
        Names that no array may get.

    Attributes
    ----------
    arrays, entries : dict
        By name the arrays in the memory of the host, and what the document says of
        each.
    """

    def __init__(self, reserved: Collection[str]) -> None:
        self.arrays: dict[str, Host] = {}
        self.entries: dict[str, dict[str, Any]] = {}
        self._reserved = reserved
        self._saved: dict[tuple[int, str, bool], tuple[str, object]] = {}
        self._open: set[int] = set()  # the containers around the current object

    def encode(self, obj: object, keys: tuple[object, ...]) -> Any:
        """Return the node for `obj`, which is found under `keys`."""
        if obj is None or type(obj) is bool or type(obj) is str:
            return obj
        if type(obj) is int:
            return obj if abs(obj) <= _LARGEST_PLAIN_INT else {"int": hex(obj)}
        if type(obj) is float:
            return {"float": obj.hex()}
        if type(obj) is complex:
            return {"complex": [obj.real.hex(), obj.imag.hex()]}
        if type(obj) is bytes:
            return {"bytes": binascii.b2a_base64(obj, newline=False).decode()}
        if type(obj) is list or type(obj) is tuple or isinstance(obj, dict):
            return self._container(obj, keys)
        if isinstance(obj, Tensor):
            to_host = obj._device.backend.to_host
            return self._array(obj._array, "tensor", obj.requires_grad, to_host, keys)
        if isinstance(obj, np.ndarray) and is_array(obj):
            return self._array(obj, "array", False, np.asarray, keys)
        if isinstance(obj, np.generic):
            return self._array(obj, "scalar", False, np.asarray, keys)
        if isinstance(obj, type) and obj in dtypes.ALL.values():
            return {"dtype": np.dtype(obj).name}
        raise TypeError(
            f"{_where(keys)} is of type {type(obj).__qualname__}, which cannot be "
            "saved; give its state as None, numbers, text, dtypes, tensors or NumPy "
            "arrays, in lists, tuples and dicts"
        )

    def _container(
        self,
        obj: list[Any] | tuple[Any, ...] | dict[Any, Any],
        keys: tuple[object, ...],
    ) -> Any:
        if id(obj) in self._open:
            raise TypeError(
                f"{_where(keys)} is one of the containers around it, and such a cycle "
                "cannot be saved; take it out"
            )
        self._open.add(id(obj))
        if isinstance(obj, dict):
            pairs = [
                [self._key(key, keys), self.encode(value, (*keys, key))]
                for key, value in obj.items()
            ]
            node: Any = {"dict": pairs}
        else:
            items = [self.encode(item, (*keys, i)) for i, item in enumerate(obj)]
            node = items if type(obj) is list else {"tuple": items}
        self._open.remove(id(obj))
        return node

    def _key(self, key: object, keys: tuple[object, ...]) -> Any:
        if not _is_key(key):
            raise TypeError(
                f"{_where(keys)} has the key {key!r} of type "
                f"{type(key).__qualname__}, which cannot be saved; use text, numbers, "
                "None, or tuples of them"
            )
        return self.encode(key, keys)

    def _array(
        self,
        source: Any,
        kind: str,
        requires_grad: bool,
        to_host: Callable[[Any], Host],
        keys: tuple[object, ...],
    ) -> dict[str, str]:
        shared = (id(source), kind, requires_grad)
        if shared not in self._saved:
            host = to_host(source)
            if host.dtype.name not in DTYPES:
                raise TypeError(
                    f"{_where(keys)} has dtype {host.dtype}, which cannot be saved; "
                    f"convert it to one of {', '.join(sorted(DTYPES))}"
                )
            name = self._name(keys)
            host = np.asarray(host, host.dtype.newbyteorder("="), order="C")
            self.arrays[name] = host
            self.entries[name] = {
                "kind": kind,
                "requires_grad": requires_grad,
                "dtype": host.dtype.name,
                "shape": list(host.shape),
                "crc32": crc32_of_array(host),
            }
            self._saved[shared] = name, source  # kept, so that no other has its id
        return {"array": self._saved[shared][0]}

    def _name(self, keys: tuple[object, ...]) -> str:
        """Return a name for the array under `keys` that both formats can hold."""
        text = ".".join(map(str, keys))[:200] or "array"
        plain = "".join(c if c.isprintable() and c != "\\" else "_" for c in text)
        name, count = plain, 1
        while name in self.arrays or name in self._reserved:
            count += 1
            name = f"{plain}~{count}"
        return name


def decode(node: Any, leaves: dict[str, Any]) -> Any:
    """Return the object that `node` stands for."""
    match node:
        case None | bool() | int() | str():
            return node
        case list():
            return [decode(item, leaves) for item in node]
        case {"tuple": list(items)}:
            return tuple(decode(item, leaves) for item in items)
        case {"dict": list(pairs)}:
            return {decode(k, leaves): decode(value, leaves) for k, value in pairs}
        case {"int": str(digits)}:
            return int(digits, 16)
        case {"float": str(digits)}:
            return float.fromhex(digits)
        case {"complex": [str(real), str(imag)]}:
            return complex(float.fromhex(real), float.fromhex(imag))
        case {"bytes": str(text)}:
            return binascii.a2b_base64(text, strict_mode=True)
        case {"dtype": str(name)} if name in dtypes.ALL:
            return dtypes.ALL[name]
        case {"array": str(name)} if name in leaves:
            return leaves[name]
    raise ValueError(f"it has an entry of an unknown form, {node!r}")


def leaf(array: Host, entry: dict[str, Any], device: Device) -> Any:
    """Return the tensor, array or scalar that an entry of the document describes."""
    if entry["kind"] == "scalar":
        return array[()]
    if entry["kind"] == "array":
        return array
    tensor = asarray(array, device=device)
    return tensor.requires_grad_() if entry["requires_grad"] else tensor


def crc32_of_array(array: Host) -> int:
    """Return the checksum of an array's bytes in little-endian order."""
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return zlib.crc32(little.reshape(-1).view(np.uint8).data)


def _is_key(key: object) -> bool:
    if type(key) is tuple:
        return all(map(_is_key, key))
    return key is None or type(key) in (bool, int, float, complex, str, bytes)


def _where(keys: tuple[object, ...]) -> str:
    return "obj" + "".join(f"[{key!r}]" for key in keys)
