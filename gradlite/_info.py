"""What the namespace can do: the standard's inspection functions."""

from __future__ import annotations

from gradlite._typing import DType
from gradlite.backends import Device, devices, dtypes, get_default_device


class Info:
    """The answers of `gl.__array_namespace_info__()`."""

    def capabilities(self) -> dict[str, bool | int | None]:
        """Return which optional behaviors there are."""
        return {
            "boolean indexing": True,
            "data-dependent shapes": True,
            "max dimensions": 64,
        }

    def default_device(self) -> Device:
        """Return the device on which new tensors are made."""
        return get_default_device()

    def devices(self) -> tuple[Device, ...]:
        """Return the CPU, the CUDA devices that can be used, and the default device."""
        found = [Device(name) for name in devices()]
        return tuple(dict.fromkeys([*found, get_default_device()]))

    def default_dtypes(self, *, device: str | Device | None = None) -> dict[str, DType]:
        """Return the dtypes that new tensors get, by kind."""
        real = dtypes.get_default_dtype()
        return {
            "real floating": real,
            "complex floating": dtypes.complex_of(real),
            "integral": dtypes.int64,
            "indexing": dtypes.int64,
        }

    def dtypes(
        self,
        *,
        device: str | Device | None = None,
        kind: str | tuple[str, ...] | None = None,
    ) -> dict[str, DType]:
        """Return the standard's dtypes by name, those that a device has.

        Parameters
        ----------
        device : str or Device, optional
            The default device unless given.
        kind : str or tuple of str, optional
            Only those of a kind, such as `"real floating"`: see `isdtype`.
        """
        target = get_default_device() if device is None else Device(device)
        info = target.xp.__array_namespace_info__()
        return {
            name: dtypes.ALL[name] for name in info.dtypes(device=target.raw, kind=kind)
        }


def __array_namespace_info__() -> Info:  # noqa: N807 - the standard's name
    """Return what tells the devices, dtypes and capabilities of the namespace."""
    return Info()
