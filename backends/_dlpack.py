"""The library that reads the memory of an array that exports DLPack."""

from __future__ import annotations

from typing import Any

from gradlite.backends.registry import Device

_NAMES = {1: "cpu", 2: "cuda", 3: "cpu", 13: "cuda"}
"""By DLPack's type of device: host, CUDA, pinned host and managed CUDA memory."""


def dlpack_device(x: Any, /) -> Device | None:
    """Return where NumPy or CuPy reads the memory of `x`, None if neither does.

    Of managed memory, which says little about where it lies, CuPy finds the device.

    Raises
    ------
    DeviceUnavailableError
        If that is CuPy, and it cannot be used.
    """
    kind, index = x.__dlpack_device__()
    name = _NAMES.get(int(kind))
    return Device(f"cuda:{index}" if name == "cuda" else name) if name else None
