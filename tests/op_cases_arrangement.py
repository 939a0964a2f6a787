"""The table's part on manipulation and indexing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from op_cases import Case, Host, Shape, apart, bools, calls, ints, normal

import gradlite as gl

# References. NumPy 2.0 knows some of these arguments by position only.


def reshape(x: Any, *, shape: Any, copy: bool | None = None) -> Any:
    return np.reshape(x, shape)


def tile(x: Any, *, repetitions: Any) -> Any:
    return np.tile(x, repetitions)


def _replaced(x: Host, value: Any, key: Any, *, add: bool = False) -> Host:
    out = x.astype(np.result_type(x, value))
    out[key] = out[key] + value if add else value
    return out


def _added(x: Host, indices: Host, values: Host, axis: int) -> Host:
    out = np.moveaxis(x.astype(np.result_type(x, values)), axis, 0)
    for i, index in enumerate(indices):
        out[index] += np.moveaxis(values, axis, 0)[i]
    return np.moveaxis(out, 0, axis)


def _added_along(x: Host, indices: Host, values: Host, axis: int) -> Host:
    out = x.copy()
    for place in np.ndindex(values.shape):
        target = list(place)
        target[axis] = indices[place]
        out[tuple(target)] += values[place]
    return out


def _padded(x: Host, widths: Any, value: complex = 0.0) -> Host:
    return np.pad(x, widths, constant_values=value) if x.ndim else x


KEY = (slice(None, None, 2), None, ..., 1)
KEYS: list[tuple[Shape, Any]] = [
    ((5, 4, 2), KEY),
    ((4, 3), (-1, slice(None, None, -2))),
    ((4, 3), np.asarray([3, 0, 1])),
    ((4, 3), (slice(1, 3), np.asarray([2, 0]))),
    ((2, 3), np.asarray([[True, False, True], [False, False, True]])),
    ((), ()),
    ((), (None, ...)),
    ((), np.asarray(True)),
    ((0, 3), (..., 1)),
    ((4, 3), slice(2, 2)),
    ((3, 2), np.asarray([], dtype=int)),
]
ROWS, COLUMNS = ints(0, 3, 5), ints(0, 3, 4, 3)


def _keyed() -> Iterator[Case]:
    def add(x: Host, value: Any, key: Any) -> Host:
        return _replaced(x, value, key, add=True)

    for shape, key in KEYS:
        part, o = np.zeros(shape)[key].shape, {"key": key}
        yield Case("getitem", lambda x, key: x[key], (normal(*shape),), o, "fc")
        for op, reference in (("setitem", _replaced), ("additem", add)):
            for values in dict.fromkeys((part, part[-1:])):
                makers = (normal(*shape), normal(*values))
                kinds = "fcmn" if key is KEY else "fc"
                yield Case(op, reference, makers, o, kinds)
    yield Case("setitem", _replaced, (normal(5, 4, 2), 1.5), {"key": KEY})


ARRANGEMENT = [
    *calls(
        "reshape", reshape, ((2, 3, 2), {"shape": (3, -1)}), ((2, 3), {"shape": 6}),
        ((2, 2), {"shape": 4, "copy": True}), ((4,), {"shape": (2, 2), "copy": False}),
        ((0, 2), {"shape": (3, 0)}), ((), {"shape": (1, 1)}), ((1, 1), {"shape": ()}),
    ),
    *calls(
        "permute_dims", np.transpose, ((2, 3, 4), {"axes": (2, 0, -2)}),
        ((0, 3), {"axes": (1, 0)}), ((), {"axes": ()}),
    ),
    *calls(
        "matrix_transpose", lambda x: x.swapaxes(-1, -2), ((2, 3, 4),), ((0, 3),)
    ),
    *calls(
        "moveaxis", np.moveaxis, ((2, 3, 4), {"source": 0, "destination": 2}),
        ((2, 3, 4), {"source": (0, -1), "destination": (1, 0)}),
        ((0, 3), {"source": -1, "destination": 0}),
        ((), {"source": (), "destination": ()}),
    ),
    *calls("expand_dims", np.expand_dims, ((2, 3), {"axis": -1}), ((0,), {"axis": 0})),
    *calls(
        "squeeze", np.squeeze, ((1, 3, 1), {"axis": (0, -1)}), ((3, 1), {"axis": 1}),
        ((1, 0), {"axis": 0}), ((1, 1), {"axis": (0, 1)}), ((), {"axis": ()}),
    ),
    *calls(
        "broadcast_to", np.broadcast_to, ((3, 1), {"shape": (2, 3, 4)}),
        ((2, 3), {"shape": (2, 3)}), ((1, 1, 2), {"shape": (3, 1, 2)}),
        ((), {"shape": (2, 3)}), ((), {"shape": ()}), ((1,), {"shape": (0,)}),
        ((0,), {"shape": (2, 0)}), ((1, 3), {"shape": (0, 3)}),
    ),
    *calls(
        "flip", np.flip, ((2, 3),), ((2, 3, 4), {"axis": (0, -1)}),
        ((2, 3), {"axis": 0}), ((2, 3), {"axis": ()}), ((0, 2),), ((),),
    ),
    *calls(
        "roll", np.roll, ((2, 3), {"shift": 2}), ((2, 3), {"shift": -7, "axis": 1}),
        ((2, 3), {"shift": (1, -2), "axis": (0, 1)}),
        ((2, 3), {"shift": (1, 2), "axis": (1, 1)}),
        ((3,), {"shift": (1, 1), "axis": 0}), ((2, 3), {"shift": 1, "axis": (0, 1)}),
        ((2, 3), {"shift": 1, "axis": ()}), ((0, 2), {"shift": 1, "axis": 0}),
        ((), {"shift": 1}),
    ),
    *calls(
        "concat", np.concatenate, ((2, 3), (0, 3), (1, 3)), ((0, 2), (0, 2)), ((3,),),
        ((2, 3), (2, 1), {"axis": -1}), ((2, 2, 1), (2, 1, 1), {"axis": 1}),
        ((2, 3), (4,), {"axis": None}), ((), (2,), {"axis": None}),
    ),
    Case("concat", np.concatenate, (normal(2, 3), normal(1, 3)), kinds="mn"),
    *calls(
        "stack", np.stack, ((2, 3), (2, 3)), ((3,), (3,), (3,), {"axis": -1}),
        ((2, 3), (2, 3), {"axis": 1}), ((), ()), ((0,), (0,), {"axis": 1}),
    ),
    Case("stack", np.stack, (normal(3), normal(3)), kinds="mn"),
    *calls(
        "unstack", lambda x, axis=0: tuple(np.moveaxis(x, axis, 0)), ((3, 2),),
        ((3, 2), {"axis": -1}), ((2, 3, 2), {"axis": 1}), ((3, 0),), ((0, 3),),
    ),
    *calls(
        "tile", tile, ((2, 3), {"repetitions": (2, 1, 3)}),
        ((2, 3, 1), {"repetitions": 2}), ((2, 3), {"repetitions": ()}),
        ((2, 3), {"repetitions": (0, 2)}), ((0, 2), {"repetitions": (2, 2)}),
        ((), {"repetitions": (2, 3)}),
    ),
    *calls(
        "_repeat", np.repeat, ((2, 3), {"repeats": 2, "axis": None}),
        ((2, 3), {"repeats": 3, "axis": -2}), ((2, 3), {"repeats": 0, "axis": 1}),
        ((2, 3), {"repeats": 0, "axis": None}), ((0, 3), {"repeats": 2, "axis": 0}),
        ((), {"repeats": 3, "axis": None}),
    ),
    *calls(
        "pad", _padded, ((2, 3), {"widths": ((1, 0), (2, 1))}),
        ((3,), {"widths": ((1, 2),), "value": -2.0}),
        ((0, 2), {"widths": ((1, 1), (0, 0))}), ((), {"widths": ()}),
    ),
    Case("pad", _padded, (normal(3),), {"widths": ((1, 2),), "value": 2j}, "c"),
    *calls(
        "_astype", np.ndarray.astype, *(
            (shape, {"dtype": gl.complex128}) for shape in ((3,), (0, 3), ())
        ),
    ),
    Case("_astype", np.ndarray.astype, (normal(3),), {"dtype": gl.complex64}, "c", 0),
    Case("_astype", np.ndarray.astype, (apart(3),), {"dtype": gl.int32}),
    Case("one_hot", lambda x, num_classes: np.eye(4, dtype=int)[x], (ints(0, 4, 2, 3),),
         {"num_classes": 4}),
    Case("where", np.where, (bools(3, 4), normal(3, 1), normal(4)), kinds="fcmn"),
    *calls(
        "where", np.where, (bools(3, 4), (3, 4), 0.5), (bools(3, 4), -1.5, (4,)),
        (bools(3), (), (2, 1)), (bools(0, 3), (3,), (0, 3)), (bools(), (), ()),
    ),
    Case("_zeros_like", np.zeros_like, (normal(2, 3),)),
    Case("_ones_like", np.ones_like, (normal(2, 3),), {"dtype": gl.int32}),
    Case("_full_like", np.full_like, (normal(2, 3),), {"fill_value": 7}),
    Case("_empty_like", np.empty_like, (normal(0, 3),)),
    Case("new_zeros", lambda x, shape: np.zeros(shape), (normal(3),), {"shape": (2,)}),
    *_keyed(),
    *calls(
        "take", np.take, ((4, 3), ROWS, {"axis": 0}), ((2, 3, 2), ROWS, {"axis": -2}),
        ((3,), ROWS), ((0, 3), ROWS, {"axis": 1}), ((3, 2), ints(0, 1, 0), {"axis": 0}),
    ),
    *calls(
        "index_add", _added, ((4, 3), ROWS, (5, 3), {"axis": 0}),
        ((2, 3), ROWS, (2, 5), {"axis": -1}), ((0, 3), ROWS, (0, 5), {"axis": 1}),
        ((3, 2), ints(0, 1, 0), (0, 2), {"axis": 0}),
    ),
    Case("index_add", _added, (normal(4), ROWS, normal(5)), {"axis": 0}, "mn"),
    *calls(
        "take_along_axis", np.take_along_axis, ((3, 3), COLUMNS, {"axis": 0}),
        ((4, 3), COLUMNS, {"axis": -1}), ((0, 3), ints(0, 3, 0, 2), {"axis": 1}),
        ((3, 2), ints(0, 3, 0, 2), {"axis": 0}),
    ),
    *calls(
        "add_along_axis", _added_along, ((3, 3), COLUMNS, (4, 3), {"axis": 0}),
        ((3, 2), ints(0, 3, 1, 2), (1, 2), {"axis": -2}),
        ((0, 3), ints(0, 3, 0, 2), (0, 2), {"axis": 1}),
    ),
]  # fmt: skip
