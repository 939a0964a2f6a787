"""Devices, and which backend serves which array and which device name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from importlib import import_module
from typing import Any, ClassVar, Self

from gradlite._typing import Array
from gradlite.backends.errors import DeviceUnavailableError
from gradlite.backends.protocol import Backend, Memory

_loaders: dict[str, Callable[[], Backend]] = {}
_loaded: dict[str, Backend] = {}
_names: dict[str, str] = {}  # top-level module of an array's type -> backend name
_by_type: dict[type, Backend] = {}
_entry_points_read = False

# Subclasses of NumPy's array that are none, and how to get an array of one.
_REFUSED = {"matrix": "numpy.asarray(x)", "MaskedArray": "x.filled(0)"}


def register(
    name: str, load: Callable[[], Backend], /, *, module: str | None = None
) -> None:
    """Register a backend for the arrays of a library.

    Parameters
    ----------
    name : str
        The type of its devices: `gl.Device(name)` is the default one.
    load : callable
        Returns the backend (see `gradlite.backends.protocol.Backend`); called on first
        use, so that registering imports nothing.
    module : str, optional
        Top-level module in which the library's array type is defined; `name` by
        default.

    Raises
    ------
    TypeError
        If `load` is not callable.
    ValueError
        If `name` cannot be the type of a device, or the backend or the arrays of that
        module belong to another registration already.

    Notes
    -----
    A package can register itself through an entry point of the group
    `gradlite.backends`, whose name is `name` and whose object is `load`.
    """
    if not name.isidentifier():
        raise ValueError(f"name must be an identifier such as 'mylib', got {name!r}")
    if not callable(load):
        raise TypeError(f"load must be a function that returns a backend, got {load!r}")
    if name in _loaded:
        raise ValueError(
            f"name {name!r} is of a backend in use; register yours before its first "
            "use, or under another name"
        )
    owner = _names.get(module or name, name)
    if owner != name:
        raise ValueError(
            f"module {module or name!r} has arrays that the backend {owner!r} serves; "
            f"register yours as {owner!r}"
        )
    _loaders[name] = load
    _names[module or name] = name
    _by_type.clear()


def backend(name: str, /) -> Backend:
    """Return the backend registered as `name`, loading it on first use."""
    found = _loaded.get(name)
    if found is None:
        if name not in _loaders:
            _read_entry_points()
        if name not in _loaders:
            raise ValueError(
                f"device {name!r} is not known: the types are "
                f"{', '.join(sorted(_loaders))}; use for example 'cpu' or 'cuda:0'"
            )
        found = _loaded[name] = _loaders[name]()
    return found


def _read_entry_points() -> None:
    global _entry_points_read
    if not _entry_points_read:
        from importlib import metadata  # slow to import, seldom needed

        _entry_points_read = True
        for point in metadata.entry_points(group="gradlite.backends"):
            if point.name not in _loaders:
                register(point.name, lambda point=point: point.load()())  # type: ignore[misc]


def backend_of(array: Array, /) -> Backend:
    """Return the backend that serves `array`, by one look-up of its type.

    Raises
    ------
    TypeError
        If no registered library made it.
    """
    found = _by_type.get(type(array))
    if found is None:
        found = _by_type[type(array)] = _resolve(type(array))
    return found


def is_array(value: object, /) -> bool:
    """Whether a registered library made `value`; its own subclasses included."""
    try:
        backend_of(value)
    except TypeError:
        return False
    return True


def _resolve(kind: type) -> Backend:
    for base in kind.__mro__:
        library = base.__module__.partition(".")[0]
        plain = _REFUSED.get(base.__name__) if library == "numpy" else None
        if plain is not None:
            raise TypeError(
                f"arrays of type {kind.__name__} are refused because their operators "
                f"mean something else; pass {plain}"
            )
        for again in (False, True):
            if again:
                _read_entry_points()
            name = _names.get(library)
            if name is not None:
                found = backend(name)
                if issubclass(kind, found.array_type):
                    return found
    raise TypeError(
        f"{kind.__module__}.{kind.__qualname__} is not an array of a registered library"
        f" ({', '.join(sorted(_loaders))}); convert it with gl.tensor, or register its "
        "library with gradlite.backends.register"
    )


_NO_SCOPE = nullcontext()


class Device:
    """A place where tensors live and are computed with.

    Parameters
    ----------
    spec : str or Device
        `"cpu"`, `"cuda"`, `"cuda:1"`, or the name of a registered library, with one of
        its devices behind a colon: `"torch:cpu"`. One object per device: equal devices
        are identical. A device also equals each of its names.

    Attributes
    ----------
    type : str
        The name of the backend: `"cpu"`, `"cuda"` or a library.
    index : int
        Number among the devices of its type, 0 where they have no numbers.
    is_host : bool
        Whether its memory is the host's.

    Raises
    ------
    DeviceUnavailableError
        If the device cannot be used; the message says what is missing.
    ValueError
        If there is no such type of device.
    """

    __slots__ = (
        "array_type", "backend", "index", "inexact", "is_host", "name", "raw", "scoped",
        "type", "xp",
    )  # fmt: skip

    type: str
    index: int
    name: str
    backend: Backend
    raw: Any
    xp: Any
    array_type: Any
    scoped: bool
    is_host: bool
    inexact: dict[Any, bool]  # by raw dtype: whether it is floating point

    _interned: ClassVar[dict[str, Device]] = {}

    def __new__(cls, spec: str | Device, /) -> Self:
        """Return the one object for the device that `spec` names."""
        if isinstance(spec, cls):
            return spec
        if isinstance(spec, AbstractContextManager):
            raise TypeError(
                f"device must be a name or a gl.Device, got {spec!r}; gl.device(...) "
                "is for with blocks, write gl.Device(...)"
            )
        if not isinstance(spec, str):
            raise TypeError(
                f"device must be a name such as 'cpu' or 'cuda:0', or a gl.Device, "
                f"got {spec!r}"
            )
        found = cls._interned.get(spec)
        if found is None:
            kind, _, suffix = spec.partition(":")
            served = backend(kind)
            suffix, raw = served.find_device(suffix)
            name = f"{kind}:{suffix}" if suffix else kind
            found = cls._interned.get(name)
            if found is None:
                found = object.__new__(cls)
                found.type, found.name = kind, name
                found.index = int(suffix) if suffix.isdecimal() else 0
                found.backend, found.raw, found.xp = served, raw, served.xp
                found.array_type = served.array_type
                found.inexact = {}
                found.is_host = served.is_host(raw)
                found.scoped = served.scope(raw) is not None
                found = cls._interned.setdefault(name, found)
            if kind != "cuda" or ":" in spec:  # the current CUDA device can change
                cls._interned[spec] = found
        return found  # type: ignore[return-value]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, str):
            return self is other
        if other.partition(":")[0] != self.type:
            return False
        try:
            return Device(other) is self
        except (ValueError, DeviceUnavailableError):
            return False

    def __hash__(self) -> int:
        return hash(self.name)

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"Device({self.name!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Device, (self.name,)

    def scope(self) -> AbstractContextManager[Any]:
        """Return a context in which new arrays of the library land on this device."""
        if not self.scoped:
            return _NO_SCOPE
        return self.backend.scope(self.raw) or _NO_SCOPE


def device_of(array: Array, /) -> Device:
    """Return the device on which `array` lives."""
    served = backend_of(array)
    suffix = served.suffix_of(array)
    return Device(f"{served.name}:{suffix}" if suffix else served.name)


_default_device: ContextVar[Device | None] = ContextVar("default_device", default=None)
_process_default: Device | None = None


def get_default_device() -> Device:
    """Return the device on which new tensors are made: the CPU unless it was set."""
    return _default_device.get() or _process_default or Device("cpu")


def set_default_device(device: str | Device, /) -> None:
    """Set the device on which new tensors are made, in all threads.

    Parameters
    ----------
    device : str or Device
        Such as `"cuda"`.
    """
    global _process_default
    _process_default = Device(device)


@contextmanager
def device(device: str | Device, /) -> Iterator[Device]:
    """Make new tensors on `device` inside a `with` block.

    The block holds for the thread or async task that entered it.

    Examples
    --------
    >>> with gl.device("cpu"):
    ...     gl.zeros(2).device
    Device('cpu')
    """
    token = _default_device.set(Device(device))
    try:
        yield Device(device)
    finally:
        _default_device.reset(token)


def synchronize(device: str | Device | None = None, /) -> None:
    """Wait until all work on a device is done; a CPU has no work left anyway."""
    target = get_default_device() if device is None else Device(device)
    target.backend.synchronize(target.raw)


def memory(device: str | Device | None = None, /) -> Memory | None:
    """Return the memory figures of a device in bytes, None where they are unknown."""
    target = get_default_device() if device is None else Device(device)
    return target.backend.memory(target.raw)


def devices() -> tuple[str, ...]:
    """Return the names of the CPU and of the CUDA devices that can be used now."""
    names = backend("cpu").device_names()
    try:
        return names + backend("cuda").device_names()
    except DeviceUnavailableError:
        return names


def _load_cpu() -> Backend:
    return import_module("gradlite.backends.cpu")


def _load_cuda() -> Backend:
    cuda = import_module("gradlite.backends.cuda")
    cuda.require()
    return cuda


def _load_generic(library: str) -> Callable[[], Backend]:
    def load() -> Backend:
        from gradlite.backends.generic import GenericBackend

        try:
            module = import_module(library)
        except ModuleNotFoundError as error:
            raise DeviceUnavailableError(
                f"device {library!r} needs the package {library}, which is not "
                f"installed: python -m pip install {library.replace('_', '-')}"
            ) from error
        return GenericBackend(library, module)

    return load


register("cpu", _load_cpu, module="numpy")
register("cuda", _load_cuda, module="cupy")
register("array_api_strict", _load_generic("array_api_strict"))
register("torch", _load_generic("torch"))
