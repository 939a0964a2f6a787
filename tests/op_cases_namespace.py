"""The table's part on running products, searching, sets and parts of matrices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from op_cases import Case, Host, apart, bools, calls, ints, normal

import gradlite as gl


def _running(first: float, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a reference that can put what nothing gives before the results."""

    def reference(
        x: Host, axis: int | None = None, dtype: Any = None, include_initial: Any = 0
    ) -> Host:
        axis = 0 if axis is None else axis
        widths = [(int(bool(include_initial) and k == axis % x.ndim), 0)
                  for k in range(x.ndim)]  # fmt: skip
        out = function(x, axis=axis, dtype=dtype)
        return np.pad(out, widths, constant_values=first)

    return reference


SUM, PROD = _running(0.0, np.cumsum), _running(1.0, np.cumprod)


def _running_results() -> Iterator[Case]:
    initial, wide = {"include_initial": True}, {"dtype": gl.complex128}
    for op, function in (("cumulative_sum", SUM), ("cumulative_prod", PROD)):
        yield from calls(
            op, function, ((5,),), ((1,), initial), ((5,), {"axis": None, **initial}),
            ((3, 4), {"axis": 1}), ((4, 3, 2), {"axis": -2, **initial}),
            ((6, 2), {"axis": 0}), ((3, 2), {"axis": -1, **wide}),
            ((3, 2), {"axis": 0, **initial, **wide}), ((0,),), ((0,), initial),
            ((2, 0), {"axis": 1}), ((2, 0), {"axis": 0, **initial}),
            ((0, 3), {"axis": 1}),
        )  # fmt: skip


def _unique(x: Host) -> tuple[Host, ...]:
    _, indices, inverse, counts = np.unique(
        x, return_index=True, return_inverse=True, return_counts=True
    )
    return indices, inverse.reshape(x.shape), counts


def _searched(x1: Host, x2: Host, sorter: Host | None = None, **options: Any) -> Host:
    return np.searchsorted(x1, x2, sorter=sorter, **options)


def _increasing(*shape: int) -> Any:
    return lambda rng: np.sort(rng.standard_normal(shape))


def _grids(arrays: list[Host], indexing: Any) -> tuple[Host, ...]:
    return np.meshgrid(*arrays, indexing=indexing)


def _with_part(x: Host, value: Host, part: str) -> Host:
    y = np.array(x)
    setattr(y, part, value)
    return y


NAMESPACE = [
    *_running_results(),
    Case("cumulative_prod", PROD, (ints(1, 4, 2, 3),), {"axis": 1}),
    *(
        Case(op, reference, (normal(*shape),), {"k": k}, "fc")
        for op, reference in (("tril", np.tril), ("triu", np.triu))
        for shape, k in (((3, 3), 0), ((2, 3, 4), 1), ((4, 2), -2), ((2, 2), 5),
                         ((0, 3), 0), ((2, 0, 3), 0))
    ),
    Case("tril", np.tril, (bools(3, 4),)),
    *(
        Case("_meshgrid", _grids, operands, {"indexing": indexing}, "fc")
        for indexing in ("xy", "ij")
        for operands in ((normal(2), normal(1), normal(4)), (normal(3),),
                         (normal(), normal(2)), (normal(2), normal(0)))
    ),
    *(
        Case("_with_part", _with_part, (normal(*shape),) * 2, {"part": part}, "n")
        for part in ("real", "imag")
        for shape in ((2, 3), (), (0, 2))
    ),
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
