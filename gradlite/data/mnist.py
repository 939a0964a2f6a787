"""MNIST: 70 000 handwritten digits, downloaded or read from a folder."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gradlite._arguments import integer
from gradlite._from_data import asarray
from gradlite.data.dataset import TensorDataset
from gradlite.data.download import cache_folder, fetch_unpacked

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)

FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}

SHA256 = {
    "train-images-idx3-ubyte": (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
    ),
    "train-labels-idx1-ubyte": (
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
    ),
    "t10k-images-idx3-ubyte": (
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
    ),
    "t10k-labels-idx1-ubyte": (
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
    ),
}
"""Checksums of the unpacked files."""


def mnist(
    split: Literal["train", "test"] = "train",
    *,
    root: str | os.PathLike[str] | None = None,
    download: bool = True,
    padding: int = 0,
) -> TensorDataset:
    """Return MNIST, or other images in the same format.

    Parameters
    ----------
    split : {"train", "test"}
        Which part: 60 000 images to train on or 10 000 to test with.
    root : path, optional
        Folder with the files `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`,
        `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte`, each gzipped (`.gz`) or
        not. It is read and never written to. By default the folder `mnist` in the
        cache folder, which is `GRADLITE_CACHE` if that environment variable is set and
        the system's place for caches otherwise.
    download : bool, default True
        Whether to download what the cache lacks, 10 MB for training; the SHA-256 of
        the content is checked. Shows a progress bar if tqdm is installed.
    padding : int, default 0
        Black pixels to add on each side: 2 gives the 32 x 32 images that LeNet takes.

    Returns
    -------
    TensorDataset
        Images, float32 of shape (N, 1, 28 + 2 * padding, 28 + 2 * padding) from 0 to 1,
        and labels, int64 of shape (N,), on the CPU. The training part takes 188 MB, 246
        with `padding=2`: kept as floats, so that a batch costs no conversion.

    Raises
    ------
    ConnectionError
        If no mirror could be reached or gave the right content.
    FileNotFoundError
        If the folder lacks a file that is not to be downloaded.
    TypeError
        If `padding` is not an integer.
    ValueError
        If `split` is unknown, `padding` negative, or a file damaged.

    Notes
    -----
    The data is Y. LeCun, C. Cortes and C. J. C. Burges, "The MNIST database of
    handwritten digits".
    """
    if split not in FILES:
        raise ValueError(f"split is {split!r}; use 'train' or 'test'")
    padding = integer("padding", padding, 0)
    images_path, labels_path = (_locate(name, root, download) for name in FILES[split])
    images, labels = _read_idx(images_path, axes=3), _read_idx(labels_path, axes=1)
    if len(images) != len(labels):
        raise ValueError(
            f"{images_path} has {len(images)} images and {labels_path} {len(labels)} "
            "labels; take both files from the same source"
        )
    count, height, width = images.shape
    padded = np.zeros(
        (count, 1, height + 2 * padding, width + 2 * padding), dtype=np.float32
    )
    inside = padded[:, 0, padding : padding + height, padding : padding + width]
    np.divide(images, np.float32(255), out=inside)
    return TensorDataset(
        asarray(padded, device="cpu"), asarray(labels.astype(np.int64), device="cpu")
    )


def _locate(name: str, root: str | os.PathLike[str] | None, download: bool) -> Path:
    """Return the path of a file, downloading it where that is asked for."""
    folder = cache_folder() / "mnist" if root is None else Path(root)
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    if root is not None:
        raise FileNotFoundError(
            f"root is {str(folder)!r}, which has neither {name} nor {name}.gz; give "
            "the folder of the four IDX files, or leave root out to download them"
        )
    if not download:
        raise FileNotFoundError(
            f"download is False and the cache {folder} lacks {name}; allow the "
            "download, or pass root= the folder of the four IDX files"
        )
    target = folder / name
    fetch_unpacked([f"{m}{name}.gz" for m in MIRRORS], target, SHA256[name])
    return target


def _read_idx(path: Path, axes: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return the bytes of an IDX file as an array with `axes` axes.

    The format: two zero bytes, the type (8 for unsigned bytes), the number of axes,
    each axis's length as a big-endian 32-bit integer, and the data in C order.
    """
    content = path.read_bytes()
    if content.startswith(b"\x1f\x8b"):  # gzip, whatever the name says
        try:
            content = gzip.decompress(content)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(
                f"{path} is damaged ({error}); delete it and fetch it again"
            ) from error
    magic, header = bytes((0, 0, 8, axes)), 4 + 4 * axes
    if not content.startswith(magic) or len(content) < header:
        raise ValueError(
            f"{path} starts with the bytes {content[:4].hex(' ') or 'of nothing'} and "
            f"not with {magic.hex(' ')}, so it is no IDX file of bytes along {axes} "
            "axes; fetch it again"
        )
    shape = np.frombuffer(content, ">u4", count=axes, offset=4).tolist()
    if len(content) != header + math.prod(shape):
        raise ValueError(
            f"{path} has {len(content)} bytes, but a header for the shape {shape} "
            f"announces {header + math.prod(shape)}; it is cut off or damaged, so "
            "delete it and fetch it again"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
