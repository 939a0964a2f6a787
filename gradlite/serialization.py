"""Checkpoints: nested Python objects and arrays in safetensors or npz, never pickle.

Both formats hold named arrays and one JSON document::

    {"format": "gradlite", "version": 1,
     "arrays": {NAME: {"kind": "tensor" | "array" | "scalar", "requires_grad": BOOL,
                       "dtype": DTYPE, "shape": [INT, ...], "crc32": INT}, ...},
     "tree": NODE, "crc32": INT}

The last entry is the CRC-32 of the document without it, the others are those of the
arrays' bytes. `_encoding.py` says what a NODE is.

npz holds the document as the array of bytes `gradlite.json`, safetensors as the
metadata `gradlite`, next to `format: gradlite`. An array whose dtype the format lacks
is stored as its parts: complex as pairs of floats along a last axis of length 2
(safetensors), bfloat16 as uint16 along a last axis of length 1 (npz).
"""

from __future__ import annotations

import errno
import json
import math
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any, TypeAlias

import numpy as np

from gradlite._encoding import DTYPES, Encoder, Host, crc32_of_array, decode, leaf
from gradlite._from_data import asarray
from gradlite.backends.registry import Device, get_default_device

__all__ = ["CheckpointError", "load", "save"]

_VERSION = 1
_DOCUMENT = "gradlite.json"
_RESERVED = {_DOCUMENT, "__metadata__"}
_LARGEST_METADATA = 40_000_000  # bytes; safetensors reads up to 100 MB, escaped
# What stands in for a dtype that a format lacks.
_PARTS = {
    ".npz": {"bfloat16": "uint16"},
    ".safetensors": {"complex64": "float32", "complex128": "float64"},
}
_SAFETENSORS_DTYPES = {
    "BOOL", "I8", "I16", "I32", "I64", "U8", "U16", "U32", "U64",
    "F16", "BF16", "F32", "F64", "C64",
}  # fmt: skip

_Path: TypeAlias = str | os.PathLike[str]


class CheckpointError(ValueError):
    """A file is damaged, or is no checkpoint that this gradlite can read."""


def save(obj: object, path: _Path) -> None:
    """Save nested containers of tensors, arrays and numbers.

    `path` gets its new contents at one moment, after they are safely on disk: however
    the program ends, the file is the old one or the new one. A program that is killed
    in the middle may leave a file `path` + ".XXXXXXXX.tmp" beside it.

    Parameters
    ----------
    obj : object
        None, bool, int, float, complex, str, bytes, dtypes, tensors, NumPy arrays and
        scalars, and lists, tuples and dicts of them, nested as you like. The keys of
        dicts are None, bool, int, float, complex, str, bytes, or tuples of them. Such
        are the state dicts of modules, optimizers, schedulers, generators and loaders.
    path : str or path-like
        Ends in `.safetensors` (needs the extra `io`) or `.npz`.

    Raises
    ------
    TypeError
        If something in `obj` cannot be saved, such as an array of objects or a list
        that contains itself; the message says where it is. Nothing is written then.
    ValueError
        If `path` ends in something else.
    FileNotFoundError
        If the folder of `path` does not exist.
    ImportError
        If safetensors is asked for and not installed.

    Notes
    -----
    Tensors that share one array (tied weights) are saved once. Numbers come back bit
    for bit. Subclasses of dict come back as dict, and an `nn.Parameter` as a tensor
    that requires grad. Names in the file are the keys joined by dots, so that any
    program that reads safetensors can read the state dict of a module saved as such.

    Examples
    --------
    >>> gl.save({"weight": gl.asarray([1.5]), "epoch": 3}, "run.npz")
    >>> gl.load("run.npz")["epoch"]
    3
    """
    target = os.path.realpath(_checked(path))
    folder, suffix = os.path.dirname(target), os.path.splitext(target)[1].lower()
    if suffix not in _WRITERS:
        raise ValueError(
            "path must end in .safetensors or .npz, which chooses the format, got "
            f"{os.fspath(path)!r}"
        )
    if suffix == ".safetensors":
        _require_safetensors()
    if not os.path.isdir(folder):
        raise FileNotFoundError(
            errno.ENOENT,
            "path is in a folder that does not exist, make it first",
            folder,
        )
    encoder = Encoder(_RESERVED)
    try:
        tree = encoder.encode(obj, ())
    except RecursionError:
        raise TypeError(
            "obj has too many containers in one another to be saved; flatten it"
        ) from None
    document: dict[str, Any] = {
        "format": "gradlite",
        "version": _VERSION,
        "arrays": encoder.entries,
        "tree": tree,
    }
    document["crc32"] = _crc32(_dump(document))
    stored = {
        name: _to_parts(array, _PARTS[suffix]) for name, array in encoder.arrays.items()
    }
    _replace(target, lambda file: _WRITERS[suffix](file, stored, _dump(document)))


def load(path: _Path, *, device: str | Device | None = None) -> Any:
    """Load what `save` saved, or the tensors of any safetensors or npz file.

    Parameters
    ----------
    path : str or path-like
        The file; its contents decide which format it is.
    device : str or Device, optional
        Where the tensors are to be, wherever they were when saved; the default device
        by default. NumPy arrays come back as NumPy arrays.

    Returns
    -------
    object
        What was saved. From a file that `save` did not write, such as the weights of a
        PyTorch model in safetensors, a dict of its names and tensors.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    CheckpointError
        If the file is damaged, truncated, of a newer version, of another format, or has
        a dtype that gradlite does not know.
    ImportError
        If reading it needs a package that is not installed.

    Examples
    --------
    >>> gl.save([gl.asarray([1.5]), None], "run.npz")
    >>> weight, nothing = gl.load("run.npz", device="cpu")
    >>> weight.item()
    1.5
    """
    _checked(path)
    place = get_default_device() if device is None else Device(device)
    with _damage_reported(path):
        document, arrays = _read(path)
    if document is None:
        return {name: asarray(array, device=place) for name, array in arrays.items()}
    leaves = {
        name: leaf(arrays[name], entry, place)
        for name, entry in document["arrays"].items()
    }
    with _damage_reported(path):
        return decode(document["tree"], leaves)


def _checked(path: _Path) -> _Path:
    if not isinstance(path, str | os.PathLike):
        raise TypeError(
            f"path must be text or a path such as 'run.npz', got {type(path).__name__};"
            " write save(obj, path) and load(path)"
        )
    return path


def _read(path: _Path) -> tuple[dict[str, Any] | None, dict[str, Host]]:
    """Return the document, None where there is none, and the arrays, all verified."""
    with open(path, "rb") as file:
        start = file.read(9)
    if start.startswith(b"PK"):
        text, stored = _read_npz(path)
    elif start.endswith(b"{"):
        text, stored = _read_safetensors(path)
    else:
        raise CheckpointError(
            f"{os.fspath(path)!r} is no safetensors or npz file, it begins with "
            f"{start!r}; restore a backup, or, if PyTorch pickled it, save it there "
            "with safetensors.torch.save_file"
        )
    if text is None:
        return None, stored
    document = json.loads(text)
    if document["format"] != "gradlite":
        raise ValueError(f"its format is {document['format']!r}")
    if document["version"] > _VERSION:
        raise CheckpointError(
            f"{os.fspath(path)!r} has version {document['version']} of the format and "
            f"this gradlite reads versions up to {_VERSION}; update it with "
            "python -m pip install -U gradlite"
        )
    if document.pop("crc32") != _crc32(_dump(document)):
        raise ValueError("its document does not have the stored checksum")
    arrays = {}
    for name, entry in document["arrays"].items():
        if name not in stored:
            raise ValueError(f"the array {name!r} is missing")
        flat = stored[name].reshape(-1).view(_dtype(entry["dtype"]))
        arrays[name] = flat.reshape(entry["shape"])
        if crc32_of_array(arrays[name]) != entry["crc32"]:
            raise ValueError(f"the array {name!r} does not have the stored checksum")
        if entry["kind"] not in ("tensor", "array", "scalar"):
            raise ValueError(f"the array {name!r} has the kind {entry['kind']!r}")
    return document, arrays


def _write_npz(path: str, arrays: dict[str, Host], document: str) -> None:
    text = np.frombuffer(document.encode("ascii"), np.uint8)
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in {_DOCUMENT: text, **arrays}.items():
            # A fresh ZipInfo has no clock time: equal objects give equal files.
            info = zipfile.ZipInfo(f"{name}.npy")
            with archive.open(info, "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)


def _read_npz(path: _Path) -> tuple[str | None, dict[str, Host]]:
    arrays = {}
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if not info.filename.endswith(".npy"):
                raise CheckpointError(
                    f"{os.fspath(path)!r} holds {info.filename!r}, which is no NumPy "
                    "array, and pickles are never read; if PyTorch wrote it, save it "
                    "there with safetensors.torch.save_file"
                )
            arrays[info.filename.removesuffix(".npy")] = _read_npy(path, archive, info)
    text = arrays.pop(_DOCUMENT, None)
    return None if text is None else text.tobytes().decode("ascii"), arrays


def _read_npy(path: _Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Host:
    npy = np.lib.format
    headers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    with archive.open(info) as entry:
        shape, _, dtype = headers[npy.read_magic(entry)](entry)
        if dtype.name not in DTYPES:
            raise _unsupported(path, info.filename, dtype)
        # A damaged shape must not ask for more memory than the file has data.
        if math.prod(shape) * dtype.itemsize != info.file_size - entry.tell():
            raise ValueError(f"{info.filename!r} has a wrong size")
        entry.seek(0)
        array: Host = npy.read_array(entry, allow_pickle=False)
    return array.astype(dtype.newbyteorder("="), copy=False)


def _write_safetensors(path: str, arrays: dict[str, Host], document: str) -> None:
    if len(document) > _LARGEST_METADATA:
        raise ValueError(
            f"obj has {len(document)} bytes of Python numbers and text, too many for "
            "safetensors; turn long lists into NumPy arrays, or save it as .npz"
        )
    metadata = {"format": "gradlite", "gradlite": document}
    _require_safetensors(".numpy").save_file(arrays, path, metadata=metadata)


def _read_safetensors(path: _Path) -> tuple[str | None, dict[str, Host]]:
    arrays = {}
    with _require_safetensors().safe_open(path, framework="numpy") as file:
        metadata = file.metadata() or {}
        for name in file.keys():  # noqa: SIM118 - it is no dict
            code = file.get_slice(name).get_dtype()
            if code not in _SAFETENSORS_DTYPES:
                raise _unsupported(path, name, code)
            if code == "BF16":
                _dtype("bfloat16")
            arrays[name] = file.get_tensor(name)
    text = metadata.get("gradlite")
    if (text is None) == (metadata.get("format") == "gradlite"):
        raise ValueError("its metadata are incomplete")
    return text, arrays


_WRITERS = {".npz": _write_npz, ".safetensors": _write_safetensors}


def _replace(target: str, write: Callable[[str], None]) -> None:
    """Give `target` the contents that `write` writes, whole or not at all."""
    temporary = f"{target}.{os.urandom(4).hex()}.tmp"
    if os.path.isdir(target):
        raise IsADirectoryError(errno.EISDIR, "path is a folder, add a name", target)
    try:
        with _folder_named(target), open(temporary, "xb"):
            pass
        # safetensors makes files that only their owner can read.
        mode = os.stat(target if os.path.exists(target) else temporary).st_mode
        write(temporary)
        os.chmod(temporary, mode)
        with open(temporary, "r+b") as file:
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    if os.name == "posix":  # the new name is durable when its folder is
        folder = os.open(os.path.dirname(target), os.O_RDONLY)
        try:
            with suppress(OSError):  # some network file systems refuse
                os.fsync(folder)
        finally:
            os.close(folder)


@contextmanager
def _folder_named(target: str) -> Iterator[None]:
    """Name the folder of `target` where no file can be made in it."""
    try:
        yield
    except OSError as error:
        raise OSError(
            error.errno,
            f"path is in a folder in which no file can be made ({error.strerror}), "
            "choose another one",
            os.path.dirname(target),
        ) from error


@contextmanager
def _damage_reported(path: _Path) -> Iterator[None]:
    """Turn what a parser says about damaged bytes into a `CheckpointError`."""
    try:
        yield
    except (CheckpointError, ImportError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise  # the disk; EINVAL is a damaged offset that leads out of the file
        raise CheckpointError(
            f"{os.fspath(path)!r} is damaged ({error}); load a backup or an older "
            "checkpoint"
        ) from error


def _unsupported(path: _Path, name: str, dtype: object) -> CheckpointError:
    return CheckpointError(
        f"{os.fspath(path)!r} holds {name!r} in dtype {dtype}, which gradlite does not "
        "know; convert it to float32 where it was made"
    )


def _dtype(name: str) -> np.dtype[Any]:
    if name == "bfloat16":
        _require(
            "ml_dtypes", "bfloat16 needs ml_dtypes: python -m pip install ml_dtypes"
        )
    elif name not in DTYPES:
        raise ValueError(f"it has the unknown dtype {name!r}")
    return np.dtype(name)


def _require_safetensors(submodule: str = "") -> Any:
    return _require(
        f"safetensors{submodule}",
        "safetensors files need the package safetensors: "
        'python -m pip install "gradlite[io]" (npz files do not need it)',
    )


def _require(module: str, message: str) -> Any:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ImportError(message) from error


def _to_parts(array: Host, parts: dict[str, str]) -> Host:
    part = parts.get(array.dtype.name)
    return array if part is None else array[..., np.newaxis].view(part)


def _dump(document: dict[str, Any]) -> str:
    return json.dumps(document, separators=(",", ":"), allow_nan=False)


def _crc32(text: str) -> int:
    return zlib.crc32(text.encode("ascii"))
