"""Backends: one module per array library behind one protocol, and their registry."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from gradlite.backends._threads import get_num_threads, set_num_threads
from gradlite.backends.errors import DeviceMismatchError, DeviceUnavailableError
from gradlite.backends.protocol import Backend, Memory
from gradlite.backends.registry import (
    Device,
    backend,
    backend_of,
    device,
    device_of,
    devices,
    get_default_device,
    is_array,
    memory,
    register,
    set_default_device,
    synchronize,
)


def __getattr__(name: str) -> ModuleType:
    """Load `cpu` when it is asked for: `gl.backends.cpu.set_jit`."""
    if name == "cpu":
        return import_module("gradlite.backends.cpu")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "Backend",
    "Device",
    "DeviceMismatchError",
    "DeviceUnavailableError",
    "Memory",
    "backend",
    "backend_of",
    "device",
    "device_of",
    "devices",
    "get_default_device",
    "get_num_threads",
    "is_array",
    "memory",
    "register",
    "set_default_device",
    "set_num_threads",
    "synchronize",
]
