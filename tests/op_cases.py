"""The table of operations that test_ops.py runs, but for those on windows of images."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import gradlite as gl
from gradlite.autograd import REGISTRY

Host = np.ndarray[Any, Any]
Maker = Callable[[np.random.Generator], Host]

# Operands ----------------------------------------------------------------------------


def normal(*shape: int) -> Maker:
    return lambda rng: rng.standard_normal(shape)


def uniform(low: float, high: float, *shape: int) -> Maker:
    return lambda rng: rng.uniform(low, high, shape)


def positive(*shape: int) -> Maker:
    return uniform(0.5, 2.0, *shape)


def inside(*shape: int) -> Maker:
    return uniform(-0.9, 0.9, *shape)


def apart(*shape: int) -> Maker:
    """Make numbers of both signs without ties, away from integers."""
    size = int(np.prod(shape))
    return lambda rng: (
        rng.permutation(size).reshape(shape) + np.full(shape, 0.3 - size // 2)
    )


def ints(low: int, high: int, *shape: int) -> Maker:
    return lambda rng: rng.integers(low, high, shape)


def bools(*shape: int) -> Maker:
    return lambda rng: rng.integers(0, 2, shape).astype(bool)


@dataclass(frozen=True)
class Case:
    """One call of an operation.

    Attributes
    ----------
    op : str
        Its name in the registry.
    reference : callable
        What it is in NumPy, with the same options.
    operands : tuple of (callable or number)
        Makers of arrays; Python scalars are passed on. Those of a list operation are
        the members of its list.
    options : dict
        Its keywords.
    kinds : str
        `"f"` float64, `"c"` complex128, or both.
    order : int
        Highest order of derivative that exists near the operands.
    """

    op: str
    reference: Callable[..., Any]
    operands: tuple[Any, ...]
    options: dict[str, Any] = field(default_factory=dict)
    kinds: str = "f"
    order: int = 2

    def arrays(self, kind: str = "f") -> list[Any]:
        """Return the same operands for the same case, floating ones of a kind."""
        rng = np.random.default_rng(zlib.crc32(self.op.encode()))
        arrays = [
            np.asarray(make(rng)) if callable(make) else make for make in self.operands
        ]
        if kind == "c":
            arrays = [
                np.asarray(x + 1j * rng.uniform(0.2, 0.8, x.shape))
                if is_floating(x)
                else x
                for x in arrays
            ]
        return arrays

    def __call__(self, *operands: Any) -> Any:
        function = REGISTRY[self.op]
        if function.op.is_list:
            return function(list(operands), **self.options)
        return function(*operands, **self.options)

    def expected(self, *arrays: Any) -> Any:
        """Return what NumPy gives."""
        if REGISTRY[self.op].op.is_list:
            return self.reference(list(arrays), **self.options)
        return self.reference(*arrays, **self.options)

    @property
    def is_differentiable(self) -> bool:
        """Whether it has a rule, and an operand to differentiate in."""
        rules = REGISTRY[self.op].op.rules.by_target
        return bool(rules) and any(is_floating(x) for x in self.arrays())

    def __str__(self) -> str:
        shapes = [getattr(x, "shape", x) for x in self.arrays()]
        options = [f"{k}={getattr(v, '__name__', v)}" for k, v in self.options.items()]
        return f"{self.op}({', '.join([*map(str, shapes), *options])})".replace(" ", "")


def is_floating(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.dtype.kind in "fc"


# Element-wise operations -------------------------------------------------------------

UNARY: list[tuple[str, Callable[..., Any], Callable[..., Maker], str]] = [
    ("abs", np.abs, apart, "fc"),
    ("acos", np.arccos, inside, "fc"),
    ("acosh", np.arccosh, lambda *s: uniform(1.2, 3.0, *s), "fc"),
    ("asin", np.arcsin, inside, "fc"),
    ("asinh", np.arcsinh, normal, "fc"),
    ("atan", np.arctan, normal, "fc"),
    ("atanh", np.arctanh, inside, "fc"),
    ("ceil", np.ceil, apart, "f"),
    ("clone", np.copy, normal, "fc"),
    ("conj", np.conj, normal, "c"),
    ("cos", np.cos, normal, "fc"),
    ("cosh", np.cosh, normal, "fc"),
    ("exp", np.exp, normal, "fc"),
    ("expm1", np.expm1, normal, "fc"),
    ("floor", np.floor, apart, "f"),
    ("imag", np.imag, normal, "c"),
    ("log", np.log, positive, "fc"),
    ("log10", np.log10, positive, "fc"),
    ("log1p", np.log1p, inside, "fc"),
    ("log2", np.log2, positive, "fc"),
    ("negative", np.negative, normal, "fc"),
    ("positive", np.positive, normal, "fc"),
    ("real", np.real, normal, "c"),
    ("reciprocal", np.reciprocal, positive, "fc"),
    ("relu", lambda x: np.maximum(x, 0.0), apart, "f"),
    ("round", np.round, apart, "fc"),
    ("sigmoid", lambda x: 1.0 / (1.0 + np.exp(-x)), normal, "fc"),
    ("sign", np.sign, apart, "fc"),
    ("sin", np.sin, normal, "fc"),
    ("sinh", np.sinh, normal, "fc"),
    ("sqrt", np.sqrt, positive, "fc"),
    ("square", np.square, normal, "fc"),
    ("tan", np.tan, inside, "fc"),
    ("tanh", np.tanh, normal, "fc"),
    ("trunc", np.trunc, apart, "f"),
    ("isfinite", np.isfinite, normal, "fc"),
    ("isinf", np.isinf, normal, "fc"),
    ("isnan", np.isnan, normal, "fc"),
]

BINARY: list[
    tuple[str, Callable[..., Any], Callable[..., Maker], Callable[..., Maker], str]
] = [
    ("add", np.add, normal, normal, "fc"),
    ("atan2", np.arctan2, normal, positive, "f"),
    ("copysign", np.copysign, apart, apart, "f"),
    ("divide", np.divide, normal, positive, "fc"),
    ("equal", np.equal, normal, normal, "fc"),
    ("floor_divide", np.floor_divide, apart, positive, "f"),
    ("greater", np.greater, normal, normal, "f"),
    ("greater_equal", np.greater_equal, normal, normal, "f"),
    ("hypot", np.hypot, normal, positive, "f"),
    ("less", np.less, normal, normal, "f"),
    ("less_equal", np.less_equal, normal, normal, "f"),
    ("logaddexp", np.logaddexp, normal, normal, "f"),
    ("maximum", np.maximum, normal, normal, "f"),
    ("minimum", np.minimum, normal, normal, "f"),
    ("multiply", np.multiply, normal, normal, "fc"),
    ("nextafter", np.nextafter, normal, normal, "f"),
    ("not_equal", np.not_equal, normal, normal, "fc"),
    ("pow", np.power, positive, normal, "fc"),
    ("remainder", np.remainder, apart, positive, "f"),
    ("subtract", np.subtract, normal, normal, "fc"),
]


def _unary() -> Iterator[Case]:
    for op, reference, make, kinds in UNARY:
        for shape in ((2, 3), (), (0, 3)):
            yield Case(op, reference, (make(*shape),), kinds=kinds)


def _binary() -> Iterator[Case]:
    pairs = [((2, 3), (2, 3)), ((2, 3), (3,)), ((2, 1), (1, 3)), ((), (2, 3)),
             ((0, 3), (3,))]  # fmt: skip
    for op, reference, first, second, kinds in BINARY:
        for shape1, shape2 in pairs:
            makers = (first(*shape1), second(*shape2))
            yield Case(op, reference, makers, kinds=kinds)
        yield Case(op, reference, (first(2, 3), 1.75), kinds=kinds)
        yield Case(op, reference, (1.25, second(2, 3)), kinds=kinds)


# NumPy 2.0 knows these arguments by position only.


def clip(x: Any, *, min: float | None, max: float | None) -> Any:
    return np.clip(x, min, max)


def reshape(x: Any, *, shape: Any) -> Any:
    return np.reshape(x, shape)


ELEMENTWISE = [
    *_unary(),
    *_binary(),
    Case("clip", clip, (normal(3, 4),), {"min": -0.5, "max": 0.7}),
    Case("clip", clip, (normal(3, 4),), {"min": None, "max": 0.2}),
    Case("clip", np.clip, (normal(3, 4), uniform(-1, 0, 4), uniform(0, 1, 3, 1))),
    Case("clip", np.clip, (normal(3, 4), uniform(-1, 2, 4), uniform(-1, 1, 3, 1))),
    Case("pow", np.power, (normal(2, 3), 3), kinds="fc"),
    Case("pow", np.power, (positive(2, 3), -0.5), kinds="fc"),
    Case("isinf", np.isinf, (lambda rng: np.asarray([np.inf, -np.inf, np.nan]),)),
    Case("isnan", np.isnan, (lambda rng: np.asarray([np.inf, np.nan, 0.0]),)),
    Case("isfinite", np.isfinite, (lambda rng: np.asarray([-np.inf, np.nan, 0.0]),)),
    Case("equal", np.equal, (ints(0, 2, 3, 4), ints(0, 2, 4))),
    Case("not_equal", np.not_equal, (ints(0, 2, 3, 4), 1)),
    Case("less_equal", np.less_equal, (ints(0, 3, 3, 4), ints(0, 3, 4))),
    Case("greater_equal", np.greater_equal, (ints(0, 3, 3, 4), ints(0, 3, 4))),
    Case("logical_and", np.logical_and, (bools(3, 4), bools(4))),
    Case("logical_or", np.logical_or, (bools(3, 4), bools(4))),
    Case("logical_xor", np.logical_xor, (bools(3, 4), bools(4))),
    Case("logical_not", np.logical_not, (bools(3, 4),)),
    Case("bitwise_and", np.bitwise_and, (ints(0, 9, 3, 4), ints(0, 9, 4))),
    Case("bitwise_or", np.bitwise_or, (ints(0, 9, 3, 4), 5)),
    Case("bitwise_xor", np.bitwise_xor, (ints(0, 9, 3, 4), bools(4))),
    Case("bitwise_invert", np.bitwise_not, (ints(0, 9, 3),)),
    Case("bitwise_invert", np.bitwise_not, (bools(3),)),
    Case("bitwise_left_shift", np.left_shift, (ints(0, 9, 3, 4), ints(0, 4, 4))),
    Case("bitwise_right_shift", np.right_shift, (ints(0, 99, 3, 4), 2)),
    Case("floor_divide", np.floor_divide, (ints(-9, 9, 3, 4), ints(1, 4, 4))),
    Case("remainder", np.remainder, (ints(-9, 9, 3, 4), ints(-4, 0, 4))),
]


# Reductions --------------------------------------------------------------------------


def _reduce(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a reference with the standard's `correction` for NumPy's `ddof`."""

    def reference(x: Host, correction: float | None = None, **options: Any) -> Any:
        if correction is not None:
            options["ddof"] = correction
        return function(x, **options)

    return reference


def _logsumexp(x: Host, **options: Any) -> Any:
    return np.log(np.sum(np.exp(x), **options))


def _softmax(x: Host, axis: int = -1) -> Any:
    return np.exp(x) / np.sum(np.exp(x), axis=axis, keepdims=True)


def _reductions() -> Iterator[Case]:
    floats: list[tuple[str, Callable[..., Any], str]] = [
        ("sum", np.sum, "fc"),
        ("mean", np.mean, "fc"),
        ("prod", np.prod, "fc"),
        ("var", np.var, "f"),
        ("std", np.std, "f"),
        ("max", np.max, "f"),
        ("min", np.min, "f"),
        ("logsumexp", _logsumexp, "f"),
    ]
    forms: list[dict[str, Any]] = [
        {}, {"axis": 1}, {"axis": (0, -1)}, {"axis": -2, "keepdims": True},
        {"keepdims": True},
    ]  # fmt: skip
    for op, function, kinds in floats:
        for form in forms:
            yield Case(op, _reduce(function), (normal(2, 3, 4),), form, kinds)
        yield Case(op, _reduce(function), (normal(0, 3),), {"axis": 1})
        if op not in ("var", "std"):  # at one element the deviation is 0
            yield Case(op, _reduce(function), (normal(),))
    for op, function in (("var", np.var), ("std", np.std)):
        options = {"axis": 0, "correction": 1}
        yield Case(op, _reduce(function), (normal(4, 3),), options)
    for op, function in (("all", np.all), ("any", np.any)):
        for form in forms:
            yield Case(op, function, (bools(2, 3, 4),), form)


REDUCTIONS = [
    *_reductions(),
    Case("sum", np.sum, (normal(2, 3),), {"axis": ()}),
    Case("sum", np.sum, (normal(0, 3),)),
    Case("prod", np.prod, (normal(0, 3),)),
    Case("prod", np.prod, (normal(2, 3),), {"axis": ()}),
    Case("sum", np.sum, (normal(2, 3),), {"dtype": gl.float32}, order=0),
    Case("prod", np.prod, (ints(1, 4, 2, 3),), {"axis": 1}),
    Case("var", lambda x, **o: np.var(x, **o), (normal(2, 3),), {"axis": 1}, "c"),
    Case("max", np.max, (ints(0, 9, 2, 3),), {"axis": 1}),
    Case("softmax", _softmax, (normal(3, 4),)),
    Case("softmax", _softmax, (normal(3, 4, 2),), {"axis": 1}),
    Case("log_softmax", lambda x: np.log(_softmax(x)), (normal(3, 4),)),
    Case("softmax", _softmax, (normal(0, 4),)),
    Case("cumulative_sum", np.cumsum, (normal(5),), kinds="fc"),
    Case("cumulative_sum", np.cumsum, (normal(3, 4),), {"axis": -1}),
    Case(
        "cumulative_sum",
        lambda x, axis, include_initial: np.pad(np.cumsum(x, 0), ((1, 0), (0, 0))),
        (normal(3, 4),),
        {"axis": 0, "include_initial": True},
    ),
    Case("argmax", np.argmax, (apart(3, 4),)),
    Case("argmax", np.argmax, (apart(3, 4),), {"axis": 1, "keepdims": True}),
    Case("argmin", np.argmin, (apart(3, 4),), {"axis": -2}),
    Case("count_nonzero", np.count_nonzero, (ints(0, 2, 3, 4),), {"axis": 1}),
    Case("count_nonzero", np.count_nonzero, (ints(0, 2, 3, 4),)),
    Case("argsort", np.argsort, (apart(3, 4),)),
    Case(
        "argsort",
        lambda x, axis, descending: np.argsort(-x, axis),
        (apart(3, 4),),
        {"axis": 0, "descending": True},
    ),
    Case("sort", np.sort, (apart(3, 4),)),
    Case(
        "sort",
        lambda x, axis, descending: -np.sort(-x, axis),
        (apart(3, 4),),
        {"axis": 0, "descending": True},
    ),
]


# Manipulation, indexing, products ----------------------------------------------------


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


KEY = (slice(None, None, 2), None, ..., 1)
ROWS, COLUMNS = ints(0, 3, 5), ints(0, 3, 4, 3)

ARRANGEMENT = [
    Case("reshape", reshape, (normal(2, 3, 2),), {"shape": (3, -1)}, "fc"),
    Case("reshape", reshape, (normal(2, 3),), {"shape": 6}),
    Case("permute_dims", np.transpose, (normal(2, 3, 4),), {"axes": (2, 0, -2)}),
    Case("matrix_transpose", lambda x: x.swapaxes(-1, -2), (normal(2, 3, 4),)),
    Case("moveaxis", np.moveaxis, (normal(2, 3, 4),), {"source": 0, "destination": 2}),
    Case(
        "moveaxis",
        np.moveaxis,
        (normal(2, 3, 4),),
        {"source": (0, -1), "destination": (1, 0)},
    ),
    Case("expand_dims", np.expand_dims, (normal(2, 3),), {"axis": -1}),
    Case("squeeze", np.squeeze, (normal(1, 3, 1),), {"axis": (0, -1)}),
    Case("broadcast_to", np.broadcast_to, (normal(3, 1),), {"shape": (2, 3, 4)}, "fc"),
    Case("flip", np.flip, (normal(2, 3),)),
    Case("flip", np.flip, (normal(2, 3, 4),), {"axis": (0, -1)}),
    Case("roll", np.roll, (normal(2, 3),), {"shift": 2}),
    Case("roll", np.roll, (normal(2, 3),), {"shift": (1, -2), "axis": (0, 1)}),
    Case("concat", np.concatenate, (normal(2, 3), normal(0, 3), normal(1, 3))),
    Case("concat", np.concatenate, (normal(2, 3), normal(2, 1)), {"axis": -1}, "fc"),
    Case("concat", np.concatenate, (normal(2, 3), normal(4)), {"axis": None}),
    Case("stack", np.stack, (normal(2, 3), normal(2, 3)), kinds="fc"),
    Case("stack", np.stack, (normal(3), normal(3), normal(3)), {"axis": -1}),
    Case("unstack", lambda x: tuple(x), (normal(3, 2),)),
    Case("unstack", lambda x, axis: tuple(x.T), (normal(3, 2),), {"axis": -1}),
    Case("tile", lambda x, repetitions: np.tile(x, repetitions), (normal(2, 3),),
         {"repetitions": (2, 1, 3)}),
    Case("tile", lambda x, repetitions: np.tile(x, repetitions), (normal(2, 3, 1),),
         {"repetitions": 2}),
    Case("_repeat", np.repeat, (normal(2, 3),), {"repeats": 2, "axis": None}),
    Case("_repeat", np.repeat, (normal(2, 3),), {"repeats": 3, "axis": -2}),
    Case("pad", lambda x, widths: np.pad(x, widths), (normal(2, 3),),
         {"widths": ((1, 0), (2, 1))}, "fc"),
    Case("pad", lambda x, widths, value: np.pad(x, widths, constant_values=value),
         (normal(3),), {"widths": ((1, 2),), "value": -2.0}),
    Case("_astype", lambda x, dtype: x.astype(dtype), (normal(3),),
         {"dtype": gl.complex128}),
    Case("_astype", lambda x, dtype: x.astype(dtype), (apart(3),), {"dtype": gl.int32}),
    Case("one_hot", lambda x, num_classes: np.eye(4, dtype=int)[x], (ints(0, 4, 2, 3),),
         {"num_classes": 4}),
    Case("where", np.where, (bools(3, 4), normal(3, 1), normal(4)), kinds="fc"),
    Case("where", np.where, (bools(3, 4), normal(3, 4), 0.5)),
    Case("where", np.where, (bools(3, 4), -1.5, normal(4))),
    Case("_zeros_like", np.zeros_like, (normal(2, 3),)),
    Case("_ones_like", np.ones_like, (normal(2, 3),), {"dtype": gl.int32}),
    Case("_full_like", np.full_like, (normal(2, 3),), {"fill_value": 7}),
    Case("_empty_like", np.empty_like, (normal(0, 3),)),
    Case("new_zeros", lambda x, shape: np.zeros(shape), (normal(3),), {"shape": (2,)}),
    Case("getitem", lambda x, key: x[key], (normal(5, 4, 2),), {"key": KEY}, "fc"),
    Case("setitem", _replaced, (normal(5, 4, 2), normal(1, 4)), {"key": KEY}, "fc"),
    Case("setitem", _replaced, (normal(5, 4, 2), 1.5), {"key": KEY}),
    Case("additem", lambda x, v, key: _replaced(x, v, key, add=True),
         (normal(5, 4, 2), normal(3, 1, 4)), {"key": KEY}),
    Case("take", np.take, (normal(4, 3), ROWS), {"axis": 0}, "fc"),
    Case("take", np.take, (normal(2, 3, 2), ROWS), {"axis": -2}),
    Case("take", np.take, (normal(3), ROWS)),
    Case("index_add", _added, (normal(4, 3), ROWS, normal(5, 3)), {"axis": 0}, "fc"),
    Case("index_add", _added, (normal(2, 3), ROWS, normal(2, 5)), {"axis": -1}),
    Case("take_along_axis", np.take_along_axis, (normal(3, 3), COLUMNS), {"axis": 0}),
    Case("take_along_axis", np.take_along_axis, (normal(4, 3), COLUMNS), {"axis": -1}),
    Case("add_along_axis", _added_along, (normal(3, 3), COLUMNS, normal(4, 3)),
         {"axis": 0}),
]  # fmt: skip


def _linear(x: Host, weight: Host, bias: Host | float = 0.0) -> Host:
    return np.asarray(x @ weight.T + bias)


PRODUCTS = [
    *(
        Case("matmul", np.matmul, (normal(*shape1), normal(*shape2)), kinds="fc")
        for shape1, shape2 in [
            ((2, 3), (3, 4)), ((3,), (3,)), ((3,), (3, 4)), ((2, 3), (3,)),
            ((5, 1, 2, 3), (4, 3, 2)), ((3,), (2, 3, 4)), ((2, 2, 3), (3,)),
            ((0, 3), (3, 2)), ((2, 0), (0, 3)),
        ]
    ),
    *(
        Case("linear", _linear, tuple(normal(*shape) for shape in shapes), kinds=kinds)
        for shapes, kinds in [
            (((4, 3), (2, 3), (2,)), "fc"), (((3,), (2, 3), (2,)), "f"),
            (((2, 4, 3), (2, 3)), "f"), (((0, 3), (2, 3), (2,)), "f"),
            (((4, 0), (2, 0), (2,)), "f"),
        ]
    ),
    Case("vecdot", np.vecdot, (normal(2, 3), normal(2, 3)), kinds="fc"),
    Case("vecdot", np.vecdot, (normal(3, 2, 1), normal(3, 1, 4)), {"axis": -3}),
    Case("tensordot", np.tensordot, (normal(2, 3, 4), normal(3, 4, 2)), kinds="fc"),
    Case("tensordot", np.tensordot, (normal(2, 3), normal(4)), {"axes": 0}),
    Case("tensordot", np.tensordot, (normal(2, 3, 4), normal(5, 4, 2)),
         {"axes": ((0, -1), (-1, 1))}),
    Case("tensordot", np.tensordot, (normal(2, 3, 4), normal(4, 2, 3)),
         {"axes": ((2, 0, 1), (0, 1, 2))}),
]  # fmt: skip


CASES = [*ELEMENTWISE, *REDUCTIONS, *ARRANGEMENT, *PRODUCTS]
