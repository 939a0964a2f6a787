"""What optimizer steps are measured on: the tensors of some models, and single ones."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

Shape = tuple[int, ...]
Float32 = np.ndarray[Any, np.dtype[np.float32]]

SINGLE = ("1K", "4K", "16K", "64K", "256K", "1M", "4M", "16M", "64M", "256M")
SIZES = {
    "cpu": ("lenet", "200x1000", "resnet50", "gpt2", *SINGLE),
    "cuda": ("lenet", "200x1000", "10000x64", "resnet50", "gpt2", *SINGLE, "1G"),
}
QUICK_SIZES = {
    "cpu": ("lenet", "200x1000", "4M"),
    "cuda": ("lenet", "200x1000", "10000x64", "resnet50", "gpt2", *SINGLE[-3:], "1G"),
}

BLOCK = 1 << 16
"""Random numbers that are drawn once and repeated: drawing 256 M takes seconds."""


def _lenet() -> list[Shape]:
    weights = [(6, 1, 5, 5), (16, 6, 5, 5), (120, 400), (84, 120), (10, 84)]
    return [shape for weight in weights for shape in (weight, weight[:1])]


def _resnet50() -> list[Shape]:
    """Follow K. He et al., "Deep residual learning", 2016, table 1."""

    def convolution(channels: int, inputs: int, kernel: int) -> list[Shape]:
        norm = (channels,)
        return [(channels, inputs, kernel, kernel), norm, norm]

    shapes = convolution(64, 3, 7)
    inputs = 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            shapes += convolution(width, inputs, 1)
            shapes += convolution(width, width, 3)
            shapes += convolution(4 * width, width, 1)
            if block == 0:
                shapes += convolution(4 * width, inputs, 1)
            inputs = 4 * width
    return [*shapes, (1000, inputs), (1000,)]


def _gpt2() -> list[Shape]:
    """Follow A. Radford et al., "Language models are unsupervised...", 2019: small."""
    width = 768

    def linear(inputs: int, outputs: int) -> list[Shape]:
        return [(inputs, outputs), (outputs,)]

    norm = [(width,), (width,)]
    attention = linear(width, 3 * width) + linear(width, width)
    perceptron = linear(width, 4 * width) + linear(4 * width, width)
    layer = [*norm, *attention, *norm, *perceptron]
    return [(50257, width), (1024, width), *layer * 12, *norm]


_MODELS = {"lenet": _lenet, "resnet50": _resnet50, "gpt2": _gpt2}
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@dataclass(frozen=True)
class Model:
    """The shapes of a model's parameters, and numbers to fill them with."""

    name: str
    shapes: tuple[Shape, ...]

    @property
    def parameters(self) -> int:
        """How many numbers the parameters hold."""
        return sum(math.prod(shape) for shape in self.shapes)

    def _parts(self, seed: int) -> Iterator[tuple[Shape, Float32]]:
        """Yield each shape with the numbers that fill it, from the start again."""
        drawn = np.random.default_rng(seed).standard_normal(BLOCK, dtype=np.float32)
        twice = np.concatenate([drawn, drawn])
        start = 0
        for shape in self.shapes:
            size = math.prod(shape)
            yield shape, twice[start : start + min(size, BLOCK)]
            start = (start + size) % BLOCK

    def arrays(self, seed: int, xp: Any = np) -> Iterator[Any]:
        """Yield a new array of random numbers for each parameter.

        Parameters
        ----------
        seed : int
            Of the random numbers.
        xp : module, default numpy
            Whose arrays: NumPy or CuPy.
        """
        for shape, part in self._parts(seed):
            source = xp.asarray(part)
            out = xp.empty(shape, np.float32)
            flat = out.reshape(-1)
            whole = flat.size - flat.size % part.size
            flat[:whole].reshape(-1, part.size)[...] = source
            flat[whole:] = source[: flat.size - whole]
            yield out

    def samples(self, seed: int) -> Iterator[Float32]:
        """Yield the numbers at the `sampled` places of each array."""
        for shape, part in self._parts(seed):
            yield part[sampled(math.prod(shape)) % part.size]


def find(name: str) -> Model:
    """Return the model of a name: `lenet`, `200x1000` (tensors of a size), or `64M`.

    Raises
    ------
    ValueError
        If it is none of these.
    """
    if name in _MODELS:
        return Model(name, tuple(_MODELS[name]()))
    found = re.fullmatch(r"(?:([1-9]\d*)x)?([1-9]\d*)([KMG]?)", name)
    if found is None:
        raise ValueError(
            f"{name!r} is no size; give {', '.join(_MODELS)}, a number of tensors of "
            "a size as in 200x1000, or the size of one tensor as in 64M"
        )
    tensors, size, unit = found.groups()
    return Model(name, ((int(size) * _UNITS[unit],),) * int(tensors or 1))


def sampled(size: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the positions of an array that are checked: its ends, and some between."""
    ends = [*range(min(64, size)), *range(max(0, size - 64), size)]
    between = np.linspace(0, size - 1, 64).astype(np.int64)
    return np.unique(np.concatenate([np.array(ends, np.int64), between]))
