"""Datasets: anything with a length and samples to index."""

from __future__ import annotations

import math
import operator
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from numbers import Real
from typing import Any, Generic, Protocol, SupportsIndex, TypeVar

import numpy as np

import gradlite.ops as ops
from gradlite._from_data import asarray
from gradlite._generator import Generator, require_generator
from gradlite.tensor import Tensor

T_co = TypeVar("T_co", covariant=True)


class Indexable(Protocol[T_co]):
    """What `DataLoader` needs of a dataset; lists and NumPy arrays have it too."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> T_co: ...


def require_indexable(name: str, dataset: Any) -> Any:
    """Return `dataset`, or raise a TypeError if it has no length or no samples."""
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise TypeError(
            f"{name} is a {type(dataset).__name__}, which lacks __len__ or "
            "__getitem__; pass a Dataset or a list"
        )
    return dataset


class Dataset(ABC, Generic[T_co]):
    """Base class of datasets: samples by position, and how many there are.

    Inheriting from it is optional, as anything with `__len__` and `__getitem__` can be
    loaded; it checks that both are there and adds `+`, which concatenates.

    A dataset that can fetch many samples at once (from a database, say) defines
    `__getitems__(indices)`, which returns the list of those samples, as in PyTorch.
    Random transforms draw from `gradlite.data.sample_generator`.

    Examples
    --------
    >>> from gradlite.data import Dataset
    >>> class Squares(Dataset[int]):
    ...     def __len__(self):
    ...         return 4
    ...
    ...     def __getitem__(self, index):
    ...         return index**2
    >>> [Squares()[i] for i in range(4)]
    [0, 1, 4, 9]
    """

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int, /) -> T_co: ...

    def __add__(self, other: Indexable[T_co]) -> ConcatDataset[T_co]:
        return ConcatDataset([self, other])


class TensorDataset(Dataset[tuple[Tensor, ...]]):
    """Tensors of the same length; sample `i` is the tuple of their rows `i`.

    `DataLoader` fetches a batch of it in one indexing operation per tensor, which is
    why worker threads are of no use for it.

    Parameters
    ----------
    *tensors : Tensor
        One or more tensors whose first axes have the same length.

    Raises
    ------
    TypeError
        If an argument is not a tensor.
    ValueError
        If there are no tensors, or one has no first axis or one of another length.

    Examples
    --------
    >>> import gradlite as gl
    >>> from gradlite.data import TensorDataset
    >>> dataset = TensorDataset(gl.zeros((3, 2)), gl.arange(3))
    >>> len(dataset), dataset[1][1].item()
    (3, 1)
    """

    def __init__(self, *tensors: Tensor) -> None:
        if not tensors:
            raise ValueError("TensorDataset got no tensors; give it at least one")
        for position, tensor in enumerate(tensors):
            if not isinstance(tensor, Tensor):
                raise TypeError(
                    f"tensors[{position}] is a {type(tensor).__name__}; "
                    "make it a tensor with gl.asarray"
                )
            if tensor.ndim == 0:
                raise ValueError(
                    f"tensors[{position}] has shape () and so no first axis to index; "
                    "give it one entry per sample"
                )
        lengths = [tensor.shape[0] for tensor in tensors]
        if len(set(lengths)) > 1:
            raise ValueError(
                f"tensors have the lengths {lengths}; "
                "give tensors whose first axes have the same length"
            )
        self.tensors = tensors

    def __len__(self) -> int:
        return self.tensors[0].shape[0]

    def __getitem__(self, index: int, /) -> tuple[Tensor, ...]:
        return tuple(tensor[index] for tensor in self.tensors)

    def take(self, indices: Sequence[int]) -> tuple[Tensor, ...]:
        """Return the rows `indices` of each tensor, as one batch.

        Parameters
        ----------
        indices : sequence of int
            Positions of samples; negative ones count from the end.

        Returns
        -------
        tuple of Tensor
            For each tensor, a new one with `len(indices)` rows on the same device.

        Raises
        ------
        IndexError
            If a position is outside the dataset.
        """
        size = len(self)
        positions = np.array([operator.index(i) for i in indices], dtype=np.int64)
        # Checked here because a GPU would wrap positions around without a word.
        if np.any((positions < -size) | (positions >= size)):
            raise IndexError(
                f"indices holds {positions.min()} to {positions.max()}, outside a "
                f"dataset of {size} samples; use positions from {-size} to {size - 1}"
            )
        positions %= max(size, 1)
        devices = {tensor.device for tensor in self.tensors}
        on = {device: asarray(positions, device=device) for device in devices}
        return tuple(ops.take(x, on[x.device], axis=0) for x in self.tensors)


class Subset(Dataset[T_co]):
    """Some samples of another dataset.

    Parameters
    ----------
    dataset : dataset
        Anything with a length and samples to index.
    indices : iterable of int
        The positions in `dataset`, in the order of the subset; negative ones count
        from the end.

    Raises
    ------
    IndexError
        If a position is outside `dataset`.
    """

    def __init__(self, dataset: Indexable[T_co], indices: Iterable[SupportsIndex]):
        size = len(require_indexable("dataset", dataset))
        self.dataset = dataset
        try:
            self.indices = [operator.index(index) for index in indices]
        except TypeError as error:
            raise TypeError(
                f"indices must be an iterable of integers, got {indices!r} ({error})"
            ) from None
        for position, index in enumerate(self.indices):
            if not -size <= index < size:
                raise IndexError(
                    f"indices[{position}] is {index}, outside a dataset of {size} "
                    f"samples; use positions from {-size} to {size - 1}"
                )

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int, /) -> T_co:
        size = len(self.indices)
        if not -size <= index < size:
            raise IndexError(
                f"index is {index}, outside a subset of {size} samples; "
                f"use positions from {-size} to {size - 1}"
            )
        return self.dataset[self.indices[index]]


class ConcatDataset(Dataset[T_co]):
    """The samples of several datasets, one dataset after the other.

    Parameters
    ----------
    datasets : iterable of datasets
        At least one; their lengths are read once, here.

    Raises
    ------
    ValueError
        If there are no datasets.
    """

    def __init__(self, datasets: Iterable[Indexable[T_co]]) -> None:
        if isinstance(datasets, Dataset | Tensor) or not isinstance(datasets, Iterable):
            raise TypeError(
                f"datasets must be a list of datasets, got {type(datasets).__name__}; "
                "write [dataset] for one"
            )
        self.datasets = list(datasets)
        if not self.datasets:
            raise ValueError("datasets is empty; give at least one dataset")
        for position, dataset in enumerate(self.datasets):
            require_indexable(f"datasets[{position}]", dataset)
        self.cumulative_sizes = list(accumulate(map(len, self.datasets)))

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, index: int, /) -> T_co:
        size = len(self)
        if not -size <= index < size:
            raise IndexError(
                f"index is {index}, outside a dataset of {size} samples; "
                f"use positions from {-size} to {size - 1}"
            )
        index %= size
        # The first dataset that ends after `index`; empty ones end before it.
        part = bisect_right(self.cumulative_sizes, index)
        start = self.cumulative_sizes[part - 1] if part else 0
        return self.datasets[part][index - start]


def random_split(
    dataset: Indexable[T_co],
    lengths: Sequence[float],
    generator: Generator | None = None,
) -> list[Subset[T_co]]:
    """Split a dataset at random into subsets that share no sample.

    Parameters
    ----------
    dataset : dataset
        Anything with a length and samples to index.
    lengths : sequence of int or of float
        The number of samples of each part, which add up to the dataset's; or
        fractions, which add up to 1: each part then gets the whole number below its
        share, and what remains goes one by one to the parts from the first on.
    generator : Generator, optional
        Draws the permutation; the default generator by default.

    Returns
    -------
    list of Subset
        One subset for each length.

    Raises
    ------
    TypeError
        If `lengths` mixes whole numbers with fractions.
    ValueError
        If a length is negative or not finite, or the sum is not as above.

    Examples
    --------
    >>> from gradlite.data import random_split
    >>> [len(part) for part in random_split(range(10), [0.5, 0.25, 0.25])]
    [6, 2, 2]
    """
    size = len(require_indexable("dataset", dataset))
    counts = _counts(size, lengths)
    generator = require_generator(generator)
    order = generator.numpy.permutation(size).tolist()
    return [
        Subset(dataset, order[end - count : end])
        for count, end in zip(counts, accumulate(counts), strict=True)
    ]


def _counts(size: int, lengths: Sequence[float]) -> list[int]:
    """Return the number of samples of each part of a split of `size` samples."""
    if not isinstance(lengths, Iterable):
        raise TypeError(
            f"lengths is {lengths!r}; give one length for each part, such as [0.8, 0.2]"
        )
    shown = list(lengths)
    if not shown or not all(isinstance(n, Real) for n in shown):
        raise TypeError(f"lengths is {shown}; give one number for each part")
    whole = [isinstance(length, (int, np.integer)) for length in shown]
    if any(whole) != all(whole) or any(isinstance(length, bool) for length in shown):
        raise TypeError(
            f"lengths is {shown}; give either whole numbers or fractions, not both"
        )
    if not all(math.isfinite(length) and length >= 0 for length in shown):
        raise ValueError(f"lengths is {shown}; give finite numbers of at least 0")
    if all(whole):
        counts = [int(length) for length in shown]
        if sum(counts) != size:
            raise ValueError(
                f"lengths is {shown}, which add up to {sum(counts)}; "
                f"make them add up to the dataset's {size} samples"
            )
        return counts
    if not math.isclose(math.fsum(shown), 1.0):
        raise ValueError(
            f"lengths is {shown}, which add up to {math.fsum(shown)}; "
            "make fractions add up to 1"
        )
    counts = [math.floor(size * length) for length in shown]
    for spare in range(size - sum(counts)):
        counts[spare % len(counts)] += 1
    return counts
