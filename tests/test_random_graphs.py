"""Random programs, of views, keys, writes and arithmetic on tensors of all shapes.

A program is drawn as it runs on NumPy, which has the same functions, operators and
views, so it gives the values. The gradient of a real program, which is analytic, comes
from complex steps to the last digits, that of a complex one from differences of NumPy's
values; second derivatives are compared with differences of gradients.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import array_api_compat.numpy as xnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import gradlite as gl
from gradlite import autograd
from gradlite.autograd import check_vjp

Host = np.ndarray[Any, Any]
Drawn = st.SearchStrategy[tuple[Any, ...]]


@dataclass(frozen=True)
class Step:
    """One kind of step.

    Attributes
    ----------
    run : callable
        Takes a namespace, operands and arguments; returns None if it works in place.
    fits : callable
        Whether it can have these operands; it says by its parameters how many.
    arguments : callable
        From the operands to a strategy for the arguments.
    """

    run: Callable[..., Any]
    fits: Callable[..., bool] = lambda x: True
    arguments: Callable[..., Drawn] = lambda *operands: st.just(())

    @property
    def count(self) -> int:
        return self.fits.__code__.co_argcount


@dataclass
class Program:
    """Inputs, and steps on them and on the results of earlier steps."""

    inputs: list[Host]
    steps: list[tuple[str, tuple[int, ...], tuple[Any, ...]]] = field(
        default_factory=list
    )

    def run(self, xp: Any, *inputs: Any) -> list[Any]:
        """Return all results, some of which later steps have written to."""
        # Leaves are not written to.
        values = [xp.asarray(x, copy=True) for x in inputs or self.inputs]
        for step in self.steps:
            perform(xp, values, *step)
        return values


def perform(
    xp: Any, values: list[Any], name: str, operands: Any, arguments: Any
) -> None:
    """Take a step, whose result joins the others; those of NumPy stay arrays."""
    y = STEPS[name].run(xp, *(values[k] for k in operands), *arguments)
    if y is not None:
        values.append(np.asarray(y) if xp is xnp else y)


# What fits ---------------------------------------------------------------------------


def has_axes(x: Host) -> bool:
    return x.ndim > 0


def has_elements(x: Host) -> bool:
    return x.size > 0


def has_slices(x: Host) -> bool:
    return x.ndim > 0 and x.size > 0


def works(function: Callable[..., Any], *arguments: Any) -> bool:
    with contextlib.suppress(ValueError):
        function(*arguments)
        return True
    return False


def broadcast(x: Host, y: Host) -> bool:
    return works(np.broadcast_shapes, x.shape, y.shape)


def writable(x: Host, y: Host) -> bool:
    return x.flags.writeable and bool(np.can_cast(y.dtype, x.dtype, "same_kind"))


def into(x: Host, y: Host) -> bool:
    if not (writable(x, y) and broadcast(x, y)):
        return False
    return np.broadcast_shapes(x.shape, y.shape) == x.shape


def alike(x: Host, y: Host) -> bool:
    return writable(x, y) and x.shape == y.shape


def factors(x: Host, y: Host) -> bool:
    return works(np.matmul, x, y)


def joined(x: Host, y: Host) -> bool:
    return x.ndim == y.ndim > 0 and x.shape[1:] == y.shape[1:]


# What is drawn -----------------------------------------------------------------------


def axis(x: Host, *others: Host) -> Drawn:
    return st.tuples(st.integers(-x.ndim, x.ndim - 1))


def axes(x: Host) -> Drawn:
    return st.tuples(hnp.valid_tuple_axes(x.ndim), st.booleans())


def order(x: Host) -> Drawn:
    return st.tuples(st.permutations(range(x.ndim)).map(tuple))


def masks(*operands: Host) -> Drawn:
    shape = np.broadcast_shapes(*(x.shape for x in operands))
    return st.tuples(hnp.arrays(bool, shape))


def integers(x: Host, k: int) -> st.SearchStrategy[Host]:
    n = x.shape[k]
    return hnp.arrays(int, st.integers(0, 4), elements=st.integers(-n, n - 1))


def slices(x: Host, *others: Host) -> Drawn:
    """Draw a key that makes a view, of no axes too."""

    def with_ellipsis(key: Any) -> tuple[Any, ...]:
        key = key if isinstance(key, tuple) else (key,)
        return (key if any(part is ... for part in key) else (*key, ...),)

    return hnp.basic_indices(x.shape, allow_newaxis=True).map(with_ellipsis)


def keys(x: Host, *others: Host) -> Drawn:
    """Draw a key of any kind."""
    found: list[Drawn] = [slices(x), masks(x)]
    if has_slices(x):
        shapes = hnp.array_shapes(max_dims=2, max_side=3)
        found.append(st.tuples(hnp.integer_array_indices(x.shape, result_shape=shapes)))
        found.extend(
            st.tuples(st.tuples(*(st.slices(n) for n in x.shape[:k]), integers(x, k)))
            for k in range(x.ndim)
        )
    return st.one_of(found)


def places(x: Host) -> Drawn:
    return st.integers(0, x.ndim - 1).flatmap(
        lambda k: st.tuples(integers(x, k), st.just(k))
    )


# The steps ---------------------------------------------------------------------------


def add_to(xp: Any, x: Any, y: Any) -> None:
    x += y


def subtract_from(xp: Any, x: Any, y: Any) -> None:
    x -= 0.5 * y


def scale(xp: Any, x: Any, y: Any) -> None:
    x *= y


def assign(xp: Any, x: Any, y: Any) -> None:
    x[...] = y


def assign_part(xp: Any, x: Any, y: Any, key: Any) -> None:
    x[key] = xp.sin(y[key])


def assign_number(xp: Any, x: Any, y: Any, key: Any) -> None:
    x[key] = xp.sum(0.2 * y)


def add_to_part(xp: Any, x: Any, y: Any, key: Any) -> None:
    x[key] += y[key]


def fill(xp: Any, x: Any, key: Any) -> Any:
    y = xp.zeros_like(x)
    y[key] = x[key]
    return y


FUNCTIONS = {
    "sin": Step(lambda xp, x: xp.sin(x)),
    "tanh": Step(lambda xp, x: xp.tanh(0.3 * x)),
    "exp": Step(lambda xp, x: xp.exp(0.2 * x)),
    "square": Step(lambda xp, x: 0.5 * x**2),
    "add": Step(lambda xp, x, y: x + y, broadcast),
    "subtract": Step(lambda xp, x, y: 0.3 - x - y, broadcast),
    "multiply": Step(lambda xp, x, y: x * y, broadcast),
    "where": Step(lambda xp, x, y, mask: xp.where(xp.asarray(mask), x, y), broadcast,
                  masks),
}  # fmt: skip
OF_REALS = {
    "sqrt": Step(lambda xp, x: xp.sqrt(2.0 + x * x)),
    "log": Step(lambda xp, x: xp.log(1.5 + x * x)),
    "atan": Step(lambda xp, x: xp.atan(x)),
    "divide": Step(lambda xp, x, y: x / (1.5 + y * y), broadcast),
    "pow": Step(lambda xp, x, y: (1.5 + x * x) ** (0.3 * y), broadcast),
}
OF_COMPLEX = {
    "conj": Step(lambda xp, x: xp.conj(x)),
    "real": Step(lambda xp, x: xp.real(x)),
    "imag": Step(lambda xp, x: xp.imag(x), lambda x: x.dtype.kind == "c"),
    "abs": Step(lambda xp, x: xp.abs(x + 9.0)),
    "divide by norms": Step(lambda xp, x, y: x / (1.5 + y * xp.conj(y)), broadcast),
}
SUMS = {
    "sum": Step(lambda xp, x, axis, keep: xp.sum(x, axis=axis, keepdims=keep),
                arguments=axes),
    "sum of all": Step(lambda xp, x: xp.sum(x)),
    "mean": Step(lambda xp, x, axis, keep: xp.mean(x, axis=axis, keepdims=keep),
                 has_elements, axes),
    "prod": Step(lambda xp, x, axis, keep: xp.prod(x, axis=axis, keepdims=keep),
                 arguments=axes),
    "cumulative_sum": Step(lambda xp, x, axis: xp.cumulative_sum(x, axis=axis),
                           has_axes, axis),
    "with initial": Step(
        lambda xp, x, axis: xp.cumulative_sum(x, axis=axis, include_initial=True),
        has_axes, axis),
    "cumulative_prod": Step(lambda xp, x, axis: xp.cumulative_prod(x, axis=axis),
                            has_axes, axis),
    "matmul": Step(lambda xp, x, y: x @ y, factors),
    "outer": Step(lambda xp, x: 0.3 * (x @ xp.matrix_transpose(x)),
                  lambda x: x.ndim > 1),
    "concat": Step(lambda xp, x, y: xp.concat([x, y]), joined),
    "join flat": Step(lambda xp, x, y: xp.concat([x, y], axis=None),
                      lambda x, y: True),
    "stack": Step(lambda xp, x, axis: xp.stack([x, 0.5 * x], axis=axis), has_axes,
                  axis),
}  # fmt: skip
VIEWS = {
    "slices": Step(lambda xp, x, key: x[key], arguments=slices),
    "flat": Step(lambda xp, x: xp.reshape(x, (-1,))),
    "reshape": Step(lambda xp, x: xp.reshape(x, x.shape[::-1])),
    "permute_dims": Step(lambda xp, x, axes: xp.permute_dims(x, axes), arguments=order),
    "moveaxis": Step(lambda xp, x, axis: xp.moveaxis(x, 0, axis), has_axes, axis),
    "astype": Step(lambda xp, x: xp.astype(x, x.dtype, copy=False)),
    "flip": Step(lambda xp, x, axis: xp.flip(x, axis=axis), has_axes, axis),
    "expand_dims": Step(lambda xp, x, axis: xp.expand_dims(x, axis=axis), has_axes,
                        axis),
    "unstack": Step(lambda xp, x, axis: xp.unstack(x, axis=axis)[-1],
                    # NumPy's of a vector are numbers, no views.
                    lambda x: x.ndim > 1 and x.size > 0, axis),
    "broadcast_to": Step(lambda xp, x: xp.broadcast_to(x, (2, *x.shape))),
}  # fmt: skip
KEYS = {
    "getitem": Step(lambda xp, x, key: x[key], arguments=keys),
    "take": Step(lambda xp, x, i, axis: xp.take(x, xp.asarray(i), axis=axis),
                 has_slices, places),
    "roll": Step(lambda xp, x, axis: xp.roll(x, 1, axis=axis), has_axes, axis),
    "repeat": Step(lambda xp, x, axis: xp.repeat(x, 2, axis=axis), has_axes, axis),
    "fill": Step(fill, arguments=keys),
}  # fmt: skip
WRITES = {
    "zeros": Step(lambda xp, x: xp.zeros_like(x)),  # a constant, to be written to
    "+=": Step(add_to, into),
    "-=": Step(subtract_from, into),
    "*=": Step(scale, into),
    "[...] =": Step(assign, into),
    "[key] =": Step(assign_part, alike, keys),
    "[key] = number": Step(assign_number, writable, keys),
    "[key] +=": Step(add_to_part, alike, keys),
}
STEPS = FUNCTIONS | OF_REALS | OF_COMPLEX | SUMS | VIEWS | KEYS | WRITES

shapes = hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3)
empty = hnp.mutually_broadcastable_shapes(
    num_shapes=2, min_dims=1, max_dims=3, min_side=0, max_side=2
)


@st.composite
def programs(draw: Any, names: list[str], *, is_complex: bool) -> Program:
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    found = draw(st.one_of(shapes, shapes, empty)).input_shapes
    inputs = [np.asarray(rng.standard_normal(shape)) for shape in found]
    if is_complex:
        inputs = [np.asarray(x + 1j * rng.standard_normal(x.shape)) for x in inputs]
    program = Program(inputs)
    values = program.run(xnp)
    for name in draw(st.lists(st.sampled_from(names), min_size=4, max_size=10)):
        step = STEPS[name]
        choices = [
            c
            for c in itertools.product(range(len(values)), repeat=step.count)
            if step.fits(*(values[k] for k in c))
        ]
        if not choices:
            continue
        operands = draw(st.sampled_from(choices))
        arguments = draw(step.arguments(*(values[k] for k in operands)))
        program.steps.append((name, operands, arguments))
        perform(xnp, values, *program.steps[-1])
        if any(x.size > 40 or np.any(np.abs(x) > 50.0) for x in values):
            break
    return program


# The tests ---------------------------------------------------------------------------


def weights_for(values: list[Host]) -> list[Host]:
    """Return cotangents for all results."""
    rng = np.random.default_rng(1)
    weights = [rng.standard_normal(x.shape) for x in values]
    return [
        w + 1j * rng.standard_normal(w.shape) if x.dtype.kind == "c" else w
        for w, x in zip(weights, values, strict=True)
    ]


def differentiate(program: Program, weights: list[Host]) -> list[Host]:
    """Return the gradients of Re(sum(conj(weights) * results)), from NumPy alone."""
    is_complex = program.inputs[0].dtype.kind == "c"

    def value(k: int, place: tuple[int, ...], step: complex) -> complex:
        inputs = [x.astype(complex) for x in program.inputs]
        inputs[k][place] += step
        results = program.run(xnp, *inputs)
        pairs = zip(weights, results, strict=True)
        return complex(sum(np.sum(np.conj(w) * y) for w, y in pairs))

    def difference(k: int, place: tuple[int, ...], step: complex) -> float:
        return (value(k, place, step) - value(k, place, -step)).real / 2e-6

    def derivative(k: int, place: tuple[int, ...]) -> complex:
        if not is_complex:
            return value(k, place, 1e-30j).imag / 1e-30
        return difference(k, place, 1e-6) + 1j * difference(k, place, 1e-6j)

    return [
        np.reshape([derivative(k, place) for place in np.ndindex(*x.shape)], x.shape)
        for k, x in enumerate(program.inputs)
    ]


MIXES = {
    "arithmetic": [*FUNCTIONS, *SUMS],
    "views and writes": [*VIEWS, *WRITES, "multiply"],
    "keys and writes": [*KEYS, *WRITES, "slices", "tanh"],
    "all": [*FUNCTIONS, *SUMS, *VIEWS, *KEYS, *WRITES],
}


@pytest.mark.parametrize("is_complex", [False, True], ids=["real", "complex"])
@pytest.mark.parametrize("mix", MIXES)
@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.data())
def test_random_programs(mix: str, is_complex: bool, data: st.DataObject) -> None:
    others = OF_COMPLEX if is_complex else OF_REALS
    names = sorted([*MIXES[mix], *others])
    program = data.draw(programs(names, is_complex=is_complex))
    leaves = [gl.asarray(x).requires_grad_() for x in program.inputs]
    results, expected = program.run(gl, *leaves), program.run(xnp)
    for y, z in zip(results, expected, strict=True):
        assert (y.shape, y.dtype) == (z.shape, z.dtype.type)
        np.testing.assert_allclose(y.detach().numpy(), z, rtol=1e-11, atol=1e-11)

    weights = weights_for(expected)
    recorded = [k for k, y in enumerate(results) if y.requires_grad]  # not constants
    gradients = autograd.grad(
        [results[k] for k in recorded],
        leaves,
        [gl.asarray(weights[k]) for k in recorded],
        allow_unused=True,
    )
    tolerance = 1e-5 if is_complex else 1e-10
    for d, e in zip(gradients, differentiate(program, weights), strict=True):
        found = np.zeros_like(e) if d is None else d.numpy()
        np.testing.assert_allclose(found, e, rtol=tolerance, atol=tolerance)

    def function(*inputs: gl.Tensor) -> list[gl.Tensor]:
        results = program.run(gl, *inputs)
        return [results[k] for k in recorded]

    check_vjp(function, leaves, order=2, rtol=1e-4, atol=1e-4)
