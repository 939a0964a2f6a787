"""The two device errors."""

from __future__ import annotations


class DeviceMismatchError(ValueError):
    """Operands of one operation live on different devices."""


class DeviceUnavailableError(RuntimeError):
    """A device cannot be used; the message says what is missing and what mends it."""
