"""The table's part on running products, searching, sets and parts of matrices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from op_cases import Case, Host, apart, bools, ints, normal


def _running(x: Host, axis: int = 0, *, include_initial: bool = False) -> Host:
    out = np.cumprod(x, axis=axis)
    if include_initial:
        ones = np.ones_like(out.take([0], axis=axis))
        out = np.concatenate([ones, out], axis=axis)
    return out


def _running_products() -> Iterator[Case]:
    for shape, options in (
        ((5,), {}),
        ((1,), {"include_initial": True}),
        ((3, 4), {"axis": 1}),
        ((4, 3, 2), {"axis": -2, "include_initial": True}),
        ((6, 2), {"axis": 0}),
        ((2, 0), {"axis": 1}),
        ((0, 3), {"axis": 1}),
    ):
        yield Case("cumulative_prod", _running, (normal(*shape),), options, "fc")


def _unique(x: Host) -> tuple[Host, ...]:
    _, indices, inverse, counts = np.unique(
        x, return_index=True, return_inverse=True, return_counts=True
    )
    return indices, inverse.reshape(x.shape), counts


def _searched(x1: Host, x2: Host, sorter: Host | None = None, **options: Any) -> Host:
    return np.searchsorted(x1, x2, sorter=sorter, **options)


def _increasing(*shape: int) -> Any:
    return lambda rng: np.sort(rng.standard_normal(shape))


NAMESPACE = [
    *_running_products(),
    Case("cumulative_prod", _running, (ints(1, 4, 2, 3),), {"axis": 1}),
    *(
        Case(op, reference, (normal(*shape),), {"k": k}, "fc")
        for op, reference in (("tril", np.tril), ("triu", np.triu))
        for shape, k in (((3, 3), 0), ((2, 3, 4), 1), ((4, 2), -2), ((2, 2), 5),
                         ((0, 3), 0), ((2, 0, 3), 0))
    ),
    Case("tril", np.tril, (bools(3, 4),)),
    Case("expand_dims", np.expand_dims, (normal(2, 3),), {"axis": (0, -2)}, "fc"),
    Case("expand_dims", np.expand_dims, (normal(),), {"axis": (1, 0)}),
    Case("expand_dims", np.expand_dims, (normal(3),), {"axis": ()}),
    Case("_copies", lambda repeats, size: np.arange(size).repeat(repeats),
         (ints(0, 3, 4),), {"size": 4}),
    Case("_copies", lambda repeats, size: np.arange(size).repeat(2),
         (lambda rng: np.asarray(2),), {"size": 3}),
    Case("signbit", np.signbit, (apart(3, 4),)),
    Case("signbit", np.signbit, (lambda rng: np.asarray([0.0, -0.0, -np.inf]),)),
    Case("isin", np.isin, (ints(0, 9, 3, 4), ints(0, 9, 5))),
    Case("isin", np.isin, (ints(0, 9, 3, 4), 5), {"invert": True}),
    Case("isin", np.isin, (2, ints(0, 3, 5))),
    Case("nonzero", np.nonzero, (ints(0, 2, 3, 4),)),
    Case("nonzero", np.nonzero, (bools(5),)),
    Case("searchsorted", _searched, (_increasing(6), normal(2, 3))),
    Case("searchsorted", _searched, (_increasing(6), 0.5), {"side": "right"}),
    Case("searchsorted", _searched,
         (lambda rng: np.asarray([3.0, 1.0, 2.0]), normal(4),
          lambda rng: np.asarray([1, 2, 0]))),
    Case("searchsorted", _searched, (lambda rng: np.asarray([1, 2, 2, 3]), 2),
         {"side": "right"}),
    Case("_unique", _unique, (ints(0, 4, 3, 4),)),
    Case("_unique", _unique, (normal(2, 3),)),
    Case("_distinct", lambda x, indices, inverse, counts: x.reshape(-1)[indices],
         (normal(2, 2), lambda rng: np.asarray([2, 0, 3, 1]),
          lambda rng: np.asarray([[1, 3], [0, 2]]), lambda rng: np.ones(4, dtype=int)),
         kinds="fc"),
]  # fmt: skip
