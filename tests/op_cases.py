"""The table of operations that test_ops.py runs, but for those on windows of images."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import gradlite as gl
from gradlite.autograd import REGISTRY

Host = np.ndarray[Any, Any]
Maker = Callable[[np.random.Generator], Host]
Shape = tuple[int, ...]

KINDS = {"f": [False], "c": [True], "m": [False, True], "n": [True, False]}
"""Which floating operands are complex128, in turn; the others are float64."""

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
        Letters of `KINDS`.
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
        imaginary = itertools.cycle(KINDS[kind])
        return [
            np.asarray(x + 1j * rng.uniform(0.2, 0.8, x.shape))
            if is_floating(x) and next(imaginary)
            else x
            for x in arrays
        ]

    def __call__(self, *operands: Any) -> Any:
        function, options = REGISTRY[self.op], self.options
        if function.op.is_list:
            return function(list(operands), **options)
        if "key" in options:  # its arrays have to be the library's
            options = {**options, "key": operands[0]._raw_key(options["key"])}
        return function(*operands, **options)

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


def calls(
    op: str, reference: Callable[..., Any], *rows: tuple[Any, ...], kinds: str = "fc"
) -> Iterator[Case]:
    """Yield one case for each row: operands, a shape for normal numbers; options."""
    for row in rows:
        *operands, options = row if isinstance(row[-1], dict) else (*row, {})
        makers = tuple(normal(*x) if isinstance(x, tuple) else x for x in operands)
        yield Case(op, reference, makers, options, kinds)


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
            mixed = "mn" if kinds == "fc" and shape1 == (2, 1) else ""
            yield Case(op, reference, makers, kinds=kinds + mixed)
        yield Case(op, reference, (first(2, 3), 1.75), kinds=kinds)
        yield Case(op, reference, (1.25, second(2, 3)), kinds=kinds)


def clip(x: Any, *, min: float | None, max: float | None) -> Any:
    """Clip with the standard's names, which NumPy 2.0 lacks."""
    return np.clip(x, min, max)


ELEMENTWISE = [
    *_unary(),
    *_binary(),
    Case("clip", clip, (normal(3, 4),), {"min": -0.5, "max": 0.7}),
    Case("clip", clip, (normal(3, 4),), {"min": None, "max": 0.2}),
    Case("clip", np.clip, (normal(3, 4), uniform(-1, 0, 4), uniform(0, 1, 3, 1))),
    Case("clip", np.clip, (normal(3, 4), uniform(-1, 2, 4), uniform(-1, 1, 3, 1))),
    Case("clip", np.clip, (normal(4), uniform(-1, 0, 3, 1), uniform(0, 1, 2, 1, 1))),
    Case("clip", lambda x, a: np.clip(x, a, None), (normal(3), uniform(-1, 1, 2, 3))),
    Case("clip", np.clip, (normal(), uniform(-1, 0, 3), 0.5)),
    Case("clip", np.clip, (normal(0, 3), normal(3), normal())),
    Case("clip", clip, (normal(),), {"min": None, "max": 0.1}),
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


@np.errstate(divide="ignore")
def _logsumexp(x: Host, **options: Any) -> Any:
    return np.log(np.sum(np.exp(x), **options))


def _softmax(x: Host, axis: Any = -1) -> Any:
    return np.exp(x) / np.sum(np.exp(x), axis=axis, keepdims=True)


def _log_softmax(x: Host, axis: Any = -1) -> Any:
    return np.log(_softmax(x, axis))


def _sorted(x: Host, axis: int, descending: bool = False, stable: bool = True) -> Host:
    return -np.sort(-x, axis) if descending else np.sort(x, axis)


def _reductions() -> Iterator[Case]:
    floats: list[tuple[str, Callable[..., Any], str]] = [
        ("sum", np.sum, "fc"),
        ("mean", np.mean, "fc"),
        ("prod", np.prod, "fc"),
        ("var", np.var, "fc"),
        ("std", np.std, "fc"),
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
        yield Case(op, _reduce(function), (normal(0, 3),), {"axis": 1}, kinds)
        yield Case(op, _reduce(function), (normal(),), kinds=kinds)
    for op, function in (("var", np.var), ("std", np.std)):
        for correction in (1, 0.5, -1):
            options = {"axis": 0, "correction": correction}
            yield Case(op, _reduce(function), (normal(4, 3),), options)
    for op, function in (("sum", np.sum), ("prod", np.prod)):
        options = {"axis": 0, "dtype": gl.complex128}
        yield from calls(op, function, ((2, 3), options), ((0, 2), options))
        yield Case(op, function, (normal(2, 3),), {"dtype": gl.float32}, order=0)
    for op, function in (("all", np.all), ("any", np.any)):
        for form in forms:
            yield Case(op, function, (bools(2, 3, 4),), form)


REDUCTIONS = [
    *_reductions(),
    Case("sum", np.sum, (normal(2, 3),), {"axis": ()}),
    Case("sum", np.sum, (normal(0, 3),)),
    Case("prod", np.prod, (normal(0, 3),)),
    Case("prod", np.prod, (normal(2, 3),), {"axis": ()}),
    Case("prod", np.prod, (ints(1, 4, 2, 3),), {"axis": 1}),
    Case("max", np.max, (ints(0, 9, 2, 3),), {"axis": 1}),
    Case("logsumexp", _logsumexp, (normal(0, 3),), {"axis": 0}, order=0),
    *(
        case
        for op, function in (("softmax", _softmax), ("log_softmax", _log_softmax))
        for case in calls(
            op, function, ((3, 4),), ((3, 4, 2), {"axis": 1}), ((2, 3), {"axis": None}),
            ((2, 3, 2), {"axis": (0, -1)}), ((0, 3),), ((3, 0),), ((), {"axis": None}),
            kinds="f",
        )
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
    *calls(
        "sort", _sorted, (apart(3, 4), {"axis": -1}),
        (apart(3, 4), {"axis": 0, "descending": True}),
        (apart(4), {"axis": 0, "stable": False}),
        (apart(2, 4), {"axis": 1, "descending": True, "stable": False}),
        ((0, 3), {"axis": 0}), ((0, 3), {"axis": 1}), kinds="f",
    ),
]  # fmt: skip


# Products ---------------------------------------------------------------------------


def _linear(x: Host, weight: Host, bias: Host | float = 0.0) -> Host:
    return np.asarray(x @ weight.T + bias)


PRODUCTS = [
    *calls(
        "matmul", np.matmul, ((2, 3), (3, 4)), ((3,), (3,)), ((3,), (3, 4)),
        ((2, 3), (3,)), ((5, 1, 2, 3), (4, 3, 2)), ((3,), (2, 3, 4)), ((2, 2, 3), (3,)),
        ((0, 3), (3, 2)), ((2, 0), (0, 3)),
    ),
    *calls(
        "linear", _linear, ((4, 3), (2, 3), (2,)), ((3,), (2, 3), (2,)),
        ((2, 4, 3), (2, 3)), ((0, 3), (2, 3), (2,)), ((4, 0), (2, 0), (2,)),
    ),
    *calls(
        "vecdot", np.vecdot, ((2, 3), (2, 3)), ((3, 2, 1), (3, 1, 4), {"axis": -3}),
        ((0, 3), (3,)), ((2, 0), (2, 0)),
    ),
    *calls(
        "tensordot", np.tensordot, ((2, 3, 4), (3, 4, 2)), ((2, 3), (4,), {"axes": 0}),
        ((2, 3, 4), (5, 4, 2), {"axes": ((0, -1), (-1, 1))}),
        ((2, 3, 4), (4, 2, 3), {"axes": ((2, 0, 1), (0, 1, 2))}),
        ((), (), {"axes": 0}), ((), (2, 3), {"axes": 0}),
        ((0, 3), (3, 2), {"axes": 1}), ((2, 0), (0, 3), {"axes": 1}),
    ),
    *calls("matmul", np.matmul, ((2, 2, 3), (3, 2)), kinds="mn"),
    *calls("linear", _linear, ((4, 3), (2, 3), (2,)), kinds="mn"),
    *calls("vecdot", np.vecdot, ((2, 3), (3,)), kinds="mn"),
    *calls("tensordot", np.tensordot, ((2, 3), (3, 2), {"axes": 1}), kinds="mn"),
]  # fmt: skip


CASES = [*ELEMENTWISE, *REDUCTIONS, *PRODUCTS]
