"""From samples to a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

import gradlite.ops as ops
from gradlite._from_data import asarray, tensor
from gradlite.tensor import Tensor


def default_collate(samples: Sequence[Any], /) -> Any:
    """Return samples as one batch, with a new first axis.

    Parameters
    ----------
    samples : sequence
        At least one sample; all of the same structure.

    Returns
    -------
    batch
        For tensors their stack, on their device. For NumPy arrays and scalars, and for
        Python numbers, a tensor on the CPU, of their dtype or the default one. For
        strings and bytes a list of them. For tuples, named tuples, lists and dicts the
        same structure with a batch of each entry.

    Raises
    ------
    TypeError
        If samples are of another type.
    ValueError
        If there are no samples, or their shapes or lengths differ.

    Examples
    --------
    >>> from gradlite.data import default_collate
    >>> batch = default_collate([{"size": 1, "name": "a"}, {"size": 2, "name": "b"}])
    >>> batch["size"].tolist(), batch["name"]
    ([1, 2], ['a', 'b'])
    """
    if not isinstance(samples, Sequence):
        raise TypeError(
            f"samples must be a list of samples, got {type(samples).__name__}; write "
            "[sample] for one"
        )
    if not samples:
        raise ValueError("samples is empty; give at least one sample")
    first = samples[0]
    _check_kinds(samples)
    if isinstance(first, (Tensor, np.ndarray)):
        _check_same("shapes", [sample.shape for sample in samples])
    if isinstance(first, Tensor):
        return ops.stack(list(samples))
    if isinstance(first, (np.ndarray, np.generic)):
        return asarray(np.stack(samples), device="cpu")
    if isinstance(first, (bool, int, float, complex)):
        return tensor(list(samples), device="cpu")
    if isinstance(first, (str, bytes)):
        return list(samples)
    if isinstance(first, Mapping):
        _check_same("keys", [set(sample) for sample in samples])
        return {key: default_collate([s[key] for s in samples]) for key in first}
    if isinstance(first, (tuple, list)):
        _check_same("lengths", [len(sample) for sample in samples])
        return _rebuilt(first, map(default_collate, zip(*samples, strict=True)))
    raise TypeError(
        f"samples are of type {type(first).__name__}, for which there is no default "
        "batch; return tensors, arrays, numbers, strings, tuples, lists or dicts, or "
        "pass collate_fn"
    )


def map_tensors(batch: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Return `batch` with `change` applied to each tensor in it."""
    if isinstance(batch, Tensor):
        return change(batch)
    if isinstance(batch, Mapping):
        return {key: map_tensors(value, change) for key, value in batch.items()}
    if isinstance(batch, (tuple, list)):
        return _rebuilt(batch, (map_tensors(value, change) for value in batch))
    return batch


def _rebuilt(like: tuple[Any, ...] | list[Any], values: Iterable[Any]) -> Any:
    """Return `values` as a tuple, named tuple or list like `like`."""
    if isinstance(like, list):
        return list(values)
    make = getattr(type(like), "_make", tuple)  # named tuples have it
    return make(values)


_KINDS: tuple[type | tuple[type, ...], ...] = (
    Tensor,
    np.ndarray,
    (bool, int, float, complex, np.generic),
    (str, bytes),
    Mapping,
    tuple,
    list,
)
"""Types of samples that can stand in one batch."""


def _check_kinds(samples: Sequence[Any]) -> None:
    kind = next((kind for kind in _KINDS if isinstance(samples[0], kind)), object)
    for position, sample in enumerate(samples):
        if not isinstance(sample, kind):
            raise TypeError(
                f"samples are of different types, {type(samples[0]).__name__} at 0 and "
                f"{type(sample).__name__} at {position} of the batch; make them equal "
                "or pass collate_fn"
            )


def _check_same(what: str, values: list[Any]) -> None:
    for position, value in enumerate(values):
        if value != values[0]:
            raise ValueError(
                f"samples have different {what}, {values[0]} at 0 and {value} at "
                f"{position} of the batch; make them equal or pass collate_fn"
            )
