"""Checkpoints: the same derivatives with less memory, and what is noticed."""

from __future__ import annotations

import tracemalloc
import weakref
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradlite as gl
from gradlite import nn
from gradlite.autograd import (
    Function,
    check_vjp,
    checkpoint,
    grad,
    hvp,
    is_recomputing,
    jacobian,
)
from gradlite.nn import functional as F


def leaf(*shape: int, seed: int = 0) -> gl.Tensor:
    values = np.random.default_rng(seed).standard_normal(shape)
    return gl.tensor(values, requires_grad=True)


WEIGHT = leaf(3, 3, seed=7)


class Scaled(Function):
    @staticmethod
    def forward(ctx: Any, x: gl.Tensor) -> gl.Tensor:
        y = gl.exp(x)
        ctx.save_for_backward(x, y, x * 2.0)
        return y * x

    @staticmethod
    def backward(ctx: Any, g: gl.Tensor) -> gl.Tensor:
        x, _, twice = ctx.saved_tensors
        return g * gl.exp(x) * (1.0 + twice / 2.0)


def assigning(x: gl.Tensor) -> gl.Tensor:
    y = gl.sin(x)
    y[0] = gl.exp(x[1])
    y *= x
    return y


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "chain": lambda x: gl.exp(gl.sin(x) * x),
    "closed over": lambda x: gl.tanh(x @ WEIGHT) @ WEIGHT,
    "the argument itself": lambda x: x,
    "nothing saved": lambda x: x + 1.0,
    "a constant": lambda x: gl.ones((2, 3), dtype=gl.float64),
    "several": lambda x: {"a": [gl.exp(x), x * x], "b": gl.sum(gl.sin(x) ** 2)},
    "several results of one": lambda x: [y * y for y in gl.unstack(gl.exp(x))],
    "integers beside": lambda x: (gl.sin(x) * 2.0, gl.argmax(x)),
    "list operand": lambda x: gl.concat([gl.exp(x), x * x]) ** 2,
    "indices": lambda x: gl.exp(x)[[0, 0, 1]] ** 2,
    "assignment": assigning,
    "own rule": lambda x: Scaled.apply(gl.sin(x)),
    "nested": lambda x: checkpoint(lambda y: gl.exp(y) * y, gl.sin(x)) * x,
    "twice nested": lambda x: checkpoint(
        lambda y: checkpoint(lambda z: gl.exp(z) @ WEIGHT, y * y) * y, gl.sin(x)
    ),
    "a detached part": lambda x: gl.exp(x) * gl.exp(x).detach(),
    "no_grad inside": lambda x: gl.exp(x) * gl.no_grad()(gl.sin)(x),
    "a gradient inside": lambda x: hvp(lambda y: gl.sum(y**4), (x,), (x,))[0],
}


def outputs(result: Any) -> list[gl.Tensor]:
    """Return the differentiable tensors among the leaves of a result."""
    if isinstance(result, gl.Tensor):
        return [result] if result.requires_grad else []
    values = result.values() if isinstance(result, dict) else result
    return [y for value in values for y in outputs(value)]


def derivatives(function: Callable[..., Any], x: gl.Tensor) -> list[Any]:
    """Return first and second derivatives of a function of all its results."""
    ys = outputs(function(x * 1.5))
    if not ys:
        return []
    total = sum((gl.sum(gl.sin(y)) for y in ys), start=gl.zeros(()))
    sources = [x, WEIGHT]
    first = grad(total, sources, create_graph=True, allow_unused=True)
    found = [d for d in first if d is not None]
    square = sum((gl.sum(d * d) for d in found), start=gl.zeros(()))
    second = grad(square, sources, allow_unused=True) if square.requires_grad else ()
    return [None if d is None else d.detach().numpy() for d in (*first, *second)]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives_are_those_without(name: str) -> None:
    function, x = FUNCTIONS[name], leaf(2, 3)
    expected = derivatives(function, x)
    found = derivatives(lambda x: checkpoint(function, x), x)
    assert len(found) == len(expected)
    for d, e in zip(found, expected, strict=True):
        assert (d is None) == (e is None)
        if d is not None:
            np.testing.assert_array_equal(d, e)


def test_derivatives_agree_with_differences(device: gl.Device) -> None:
    if device == "array_api_strict:device1":
        pytest.skip("has no float64")
    weight = gl.tensor(WEIGHT.detach().numpy(), device=device, requires_grad=True)
    x = gl.tensor(leaf(2, 3).detach().numpy(), device=device, requires_grad=True)

    def fun(x: gl.Tensor, w: gl.Tensor) -> gl.Tensor:
        return checkpoint(lambda y: gl.tanh(y @ w) @ w, gl.sin(x))

    check_vjp(fun, [x, weight], order=2)


def test_backward_reaches_arguments_and_parameters() -> None:
    layer, x = nn.Linear(3, 2), leaf(4, 3)
    checkpoint(layer, x).sum().backward()
    found = [p.grad.tolist() for p in (x, layer.weight, layer.bias)]
    x.grad = None
    layer.zero_grad()
    layer(x).sum().backward()
    assert found == [p.grad.tolist() for p in (x, layer.weight, layer.bias)]


def test_the_function_runs_again_when_asked_and_no_earlier() -> None:
    calls = []

    def fun(x: gl.Tensor) -> gl.Tensor:
        calls.append(1)
        return gl.exp(gl.sin(x))

    x = leaf(3)
    y = checkpoint(fun, x)
    assert len(calls) == 1
    y.sum().backward()
    assert len(calls) == 2
    checkpoint(lambda x: (calls.append(1), x + 1.0)[1], x).sum().backward()
    assert len(calls) == 3  # nothing was saved


def test_nothing_is_recorded_that_nobody_asks_for() -> None:
    x = leaf(3)
    with gl.no_grad():
        assert not checkpoint(gl.exp, x).requires_grad
    assert not checkpoint(gl.exp, x.detach()).requires_grad
    y = checkpoint(gl.no_grad()(gl.exp), x)
    assert not y.requires_grad
    with gl.no_grad():
        np.testing.assert_array_equal(checkpoint(gl.exp, x).numpy(), gl.exp(x).numpy())


def test_keyword_arguments_and_structures() -> None:
    x, y = leaf(3), leaf(3, seed=1)

    def fun(pair: Any, *, scale: Any, power: int) -> Any:
        return {"y": gl.exp(pair["x"]) ** power * scale[0]}

    checkpoint(fun, {"x": x}, scale=(y,), power=2)["y"].sum().backward()
    e = np.exp(2 * x.detach().numpy())
    np.testing.assert_allclose(x.grad.numpy(), 2 * e * y.detach().numpy())
    np.testing.assert_allclose(y.grad.numpy(), e)


def test_a_graph_that_is_retained_can_be_walked_again() -> None:
    x = leaf(3)
    y = checkpoint(lambda x: gl.exp(gl.sin(x)), x).sum()
    y.backward(retain_graph=True)
    first = x.grad.numpy().copy()
    y.backward()
    np.testing.assert_array_equal(x.grad.numpy(), 2.0 * first)
    with pytest.raises(RuntimeError, match="freed"):
        y.backward()


def test_one_input_after_the_other() -> None:
    x, y = leaf(3), leaf(3, seed=1)
    z = checkpoint(lambda x, y: gl.exp(x) * gl.sin(y), x, y).sum()
    (dx,) = grad(z, x, retain_graph=True)
    (dy,) = grad(z, y)
    a, b = x.detach().numpy(), y.detach().numpy()
    np.testing.assert_allclose(dx.numpy(), np.exp(a) * np.sin(b))
    np.testing.assert_allclose(dy.numpy(), np.exp(a) * np.cos(b))


def test_inside_a_transform() -> None:
    x = np.random.default_rng(0).standard_normal(3)

    def fun(x: gl.Tensor) -> gl.Tensor:
        return gl.exp(gl.sin(x)) * x[0]

    np.testing.assert_array_equal(
        jacobian(lambda x: checkpoint(fun, x))(x), jacobian(fun)(x)
    )
    (found,) = hvp(lambda x: gl.sum(checkpoint(fun, x)), (x,), (x,))
    (expected,) = hvp(lambda x: gl.sum(fun(x)), (x,), (x,))
    np.testing.assert_array_equal(found, expected)


@settings(max_examples=20, deadline=None)
@given(
    names=st.lists(st.sampled_from(["sin", "cos", "tanh", "sigmoid"]), max_size=6),
    cuts=st.sets(st.integers(0, 6)),
)
def test_any_cut_of_a_chain(names: list[str], cuts: set[int]) -> None:
    def run(part: list[str], x: gl.Tensor) -> gl.Tensor:
        for name in part:
            x = getattr(gl, name)(x) * x
        return x

    bounds = sorted({0, len(names)} | {cut for cut in cuts if cut < len(names)})

    def cut_up(x: gl.Tensor) -> gl.Tensor:
        for start, stop in pairwise(bounds):
            x = checkpoint(run, names[start:stop], x)
        return x

    x = leaf(3)
    found = derivatives(cut_up, x)
    expected = derivatives(lambda x: run(names, x), x)
    for d, e in zip(found, expected, strict=True):
        assert (d is None) == (e is None)
        if d is not None:
            np.testing.assert_allclose(d, e, rtol=1e-12)


# Memory

SIZE = 20_000  # elements: 160 kB


def deep(x: gl.Tensor) -> gl.Tensor:
    for _ in range(10):
        x = gl.sin(x)
    return x


def peak(action: Callable[[], Any]) -> tuple[float, float]:
    """Return the most memory that an action has taken, and what its result holds."""
    tracemalloc.start()
    try:
        kept = action()
        held, most = tracemalloc.get_traced_memory()
        del kept
        return most / (8 * SIZE), held / (8 * SIZE)
    finally:
        tracemalloc.stop()


def test_memory_between_forward_and_backward() -> None:
    x = leaf(SIZE)
    _, plain = peak(lambda: deep(x))
    _, saved = peak(lambda: checkpoint(deep, x))
    assert plain > 9.0  # arrays of that size
    assert saved < 1.5


def test_the_most_memory_of_a_step() -> None:
    x = leaf(SIZE)

    def step(segment: Callable[..., gl.Tensor]) -> None:
        y = x
        for _ in range(6):
            y = segment(y)
        grad(y.sum(), x)

    most, _ = peak(lambda: step(deep))
    less, _ = peak(lambda: step(lambda y: checkpoint(deep, y)))
    assert most > 59.0
    assert less < 22.0


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("walks", [0, 1, 2])
def test_everything_is_freed_with_the_last_reference(walks: int) -> None:
    watched: list[weakref.ref[Any]] = []

    def fun(x: gl.Tensor) -> gl.Tensor:
        y = gl.exp(gl.sin(x))
        watched.extend(weakref.ref(t.array) for t in (x, y))
        return y * y

    def run() -> None:
        x = leaf(3)
        y = checkpoint(fun, x * 2.0).sum()
        if walks:
            (d,) = grad(y, x, create_graph=walks == 2)
            if walks == 2:
                gl.sum(d * d).backward()

    run()
    assert len(watched) == (4 if walks else 2)
    assert [ref() is None for ref in watched] == [True] * len(watched)


def test_what_was_computed_again_is_dropped_as_its_rules_run() -> None:
    made: list[weakref.ref[Any]] = []
    alive: list[int] = []

    def fun(x: gl.Tensor) -> gl.Tensor:
        for _ in range(4):
            x = gl.exp(x)
            made.append(weakref.ref(x.array))
            x.register_hook(
                lambda g: alive.append(sum(ref() is not None for ref in made[4:]))
            )
            x = x * 0.5
        return x

    checkpoint(fun, leaf(3)).sum().backward()
    assert alive == [4, 3, 2, 1]


# Random numbers


def test_dropout_masks_are_those_of_the_forward(device: gl.Device) -> None:
    x = gl.tensor(np.ones((20, 20), np.float32), device=device, requires_grad=True)
    drop = nn.Dropout(0.5)
    gl.manual_seed(3)
    y = checkpoint(lambda x: gl.exp(drop(gl.exp(x))), x)
    expected = gl.log(y).detach()  # e where kept, twice
    gl.manual_seed(99)
    state = gl.random.default_generator().get_state()
    y.sum().backward()
    assert gl.random.default_generator().get_state() == state
    kept = expected.cpu().numpy() > 0
    assert 100 < kept.sum() < 300
    np.testing.assert_array_equal(x.grad.cpu().numpy() > 0, kept)


@pytest.mark.parametrize("nested", [False, True])
def test_every_generator_is_replayed(nested: bool) -> None:
    generator = gl.random.Generator(seed=1)
    drop = nn.Dropout(0.5, generator=generator)
    drawn: list[list[float]] = []

    def fun(x: gl.Tensor) -> gl.Tensor:
        drawn.append([generator.numpy.random(), gl.rand(1).item()])
        return gl.exp(drop(gl.exp(x)))

    inner = (lambda x: checkpoint(fun, gl.sin(x))) if nested else fun
    x = gl.tensor(np.ones(200), requires_grad=True)
    y = checkpoint(lambda x: inner(x) * inner(x), x)
    kept = (np.log(y.detach().numpy()) > 0).sum()
    states = [g.get_state() for g in (generator, gl.random.default_generator())]
    y.sum().backward()
    assert (x.grad.numpy() > 0).sum() == kept
    assert len(drawn) == (6 if nested else 4)
    assert {tuple(d) for d in drawn} == {tuple(d) for d in drawn[:2]}
    again = [g.get_state() for g in (generator, gl.random.default_generator())]
    assert again == states


def test_the_state_is_put_back_after_an_error_too() -> None:
    fails = False

    def fun(x: gl.Tensor) -> gl.Tensor:
        noise = gl.randn(3, dtype=gl.float64)
        if fails:
            raise ArithmeticError
        return gl.exp(x * noise)

    x = leaf(3)
    y = checkpoint(fun, x).sum()
    fails = True
    state = gl.random.default_generator().get_state()
    with pytest.raises(ArithmeticError):
        y.backward()
    assert gl.random.default_generator().get_state() == state
    assert x.grad is None


def test_random_numbers_may_go_on() -> None:
    drawn = []

    def fun(x: gl.Tensor) -> gl.Tensor:
        drawn.append(gl.rand(2).tolist())
        return gl.exp(x)

    for preserve in (True, False):
        drawn.clear()
        checkpoint(fun, leaf(3), preserve_rng_state=preserve).sum().backward()
        assert (drawn[0] == drawn[1]) is preserve


# Batch statistics


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("nested", [False, True])
def test_batch_norms_count_each_batch_once(
    nested: bool, momentum: float | None
) -> None:
    def run(segment: Callable[..., gl.Tensor]) -> dict[str, list[Any]]:
        norm = nn.BatchNorm1d(3, momentum=momentum)
        x = leaf(5, 3).detach().astype(gl.float32).requires_grad_()
        for _ in range(2):
            x.grad = None
            norm.zero_grad()
            gl.sum(segment(lambda x: gl.exp(norm(gl.sin(x))), x)).backward()
        states = {name: t.tolist() for name, t in norm.state_dict().items()}
        return (
            states
            | {"weight.grad": norm.weight.grad.tolist()}
            | {"x.grad": x.grad.tolist()}
        )

    def twice(fun: Callable[..., gl.Tensor], x: gl.Tensor) -> gl.Tensor:
        return checkpoint(lambda x: checkpoint(fun, x) * 1.0, x)

    found = run(twice if nested else checkpoint)
    assert found["num_batches_tracked"] == 2
    assert found == run(lambda fun, x: fun(x) * 1.0)


def test_the_function_of_batch_norms_moves_its_statistics_once() -> None:
    mean, var = gl.zeros(3, dtype=gl.float64), gl.ones(3, dtype=gl.float64)
    y = checkpoint(lambda x: F.batch_norm(x, mean, var, training=True), leaf(5, 3))
    expected = mean.tolist(), var.tolist()
    gl.sum(y * y).backward()
    assert (mean.tolist(), var.tolist()) == expected


LAYERS: list[tuple[Callable[..., Any], tuple[int, ...], Any]] = [
    (F.cross_entropy, (2, 3), np.asarray([0, 2])),
    (F.conv2d, (1, 1, 4, 4), np.arange(4.0).reshape(1, 1, 2, 2)),
    (lambda x, w: F.batch_norm(x, None, None, w, training=True) ** 2, (4, 2),
     np.asarray([1.0, 2.0])),
]  # fmt: skip


@pytest.mark.parametrize(("function", "shape", "array"), LAYERS)
def test_arrays_given_to_layers_may_change_before_backward(
    function: Callable[..., Any], shape: tuple[int, ...], array: Any
) -> None:
    x = leaf(*shape)
    (expected,) = grad(gl.sum(function(x, array)), x)
    y = gl.sum(function(x, array))
    array[...] = array[..., ::-1].copy()
    (found,) = grad(y, x)
    np.testing.assert_array_equal(found.numpy(), expected.numpy())


def test_a_function_can_ask_whether_it_is_called_again() -> None:
    calls = []

    def fun(x: gl.Tensor) -> gl.Tensor:
        calls.append(is_recomputing())
        return gl.exp(x)

    checkpoint(fun, leaf(3)).sum().backward()
    assert calls == [False, True]
    assert not is_recomputing()


# What is noticed


def test_the_second_call_has_the_default_device_of_the_first() -> None:
    places = []

    def fun(x: gl.Tensor) -> gl.Tensor:
        places.append(str(gl.zeros(1).device))
        return gl.exp(x)

    with gl.device("array_api_strict"):
        y = checkpoint(fun, leaf(3))
    y.sum().backward()
    assert places[0] == places[1]
    assert places[0].startswith("array_api_strict")


def test_an_argument_that_goes_on_as_another_value_is_none_of_its_business() -> None:
    x = leaf(3)
    z = x * 1.0
    y = checkpoint(lambda z: gl.exp(z + 1.0), z)
    z[0] = 100.0
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.exp(x.detach().numpy() + 1.0))


def test_an_array_may_change_before_backward() -> None:
    x, scale = leaf(3), np.full(3, 2.0)
    y = checkpoint(lambda x, s: gl.exp(x * gl.asarray(s)), x, scale).sum()
    scale[:] = 100.0
    y.backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * np.exp(2 * x.detach().numpy()))


def constant_argument(x: gl.Tensor, w: gl.Tensor) -> tuple[gl.Tensor, Any]:
    scale = gl.ones(3, dtype=gl.float64)
    y = checkpoint(lambda x, s: gl.exp(x + s), x, scale)
    return y, lambda: scale.fill_(2.0)


def argument(x: gl.Tensor, w: gl.Tensor) -> tuple[gl.Tensor, Any]:
    return checkpoint(lambda x, y: gl.exp(x + y), x, w), lambda: w.fill_(2.0)


def parameter(x: gl.Tensor, w: gl.Tensor) -> tuple[gl.Tensor, Any]:
    return checkpoint(lambda x: gl.exp(x + w), x), lambda: w.fill_(2.0)


def replaced_parameter(x: gl.Tensor, w: gl.Tensor) -> tuple[gl.Tensor, Any]:
    def replace() -> None:
        w.data = gl.ones(3, dtype=gl.float64)

    return checkpoint(lambda x: gl.exp(x + w), x), replace


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (constant_argument, r"its argument \[0\]\[1\] was changed in place"),
        (argument, "was changed in place"),
        (parameter, r"a leaf of shape \(3,\) that it uses was changed in place"),
        (replaced_parameter, r"a leaf of shape \(3,\)"),
    ],
)
def test_changes_in_place_are_noticed(
    make: Callable[..., tuple[gl.Tensor, Any]], message: str
) -> None:
    x, w = leaf(3), leaf(3, seed=1)
    y, change = make(x, w)
    with gl.no_grad():
        change()
    with pytest.raises(RuntimeError, match=message):
        y.sum().backward()
    assert x.grad is None
    assert w.grad is None


@pytest.mark.parametrize(
    "second",
    [
        lambda x: gl.exp(gl.exp(x)) * x,
        lambda x: gl.tanh(x) * x,
        lambda x: gl.sum(gl.exp(x)) * x,
        lambda x: x * 2.0,
    ],
)
def test_a_function_that_does_something_else_is_refused(
    second: Callable[..., gl.Tensor],
) -> None:
    functions = iter([lambda x: gl.exp(x) * x, second])
    x = leaf(3)
    y = checkpoint(lambda x: next(functions)(x), x)
    with pytest.raises(RuntimeError, match="something else when it was called again"):
        y.sum().backward()
    assert x.grad is None


def test_a_parameter_that_is_frozen_in_between_is_noticed() -> None:
    x, w = leaf(3), leaf(3, seed=1)
    y = checkpoint(lambda x: gl.sin(x) * w, x)
    w.requires_grad_(False)
    with pytest.raises(RuntimeError, match="something else when it was called again"):
        y.sum().backward()


@pytest.mark.parametrize(
    ("action", "error", "message"),
    [
        (lambda: checkpoint(leaf(1)), TypeError, "fun must be a function, got Tensor"),
        (
            lambda: checkpoint(gl.exp, leaf(1), preserve_rng_state=1),
            TypeError,
            "preserve_rng_state must be True or False, got 1",
        ),
    ],
)
def test_bad_input(action: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        action()


@pytest.mark.parametrize("write", ["base", "view"])
@pytest.mark.parametrize("use", ["base", "view"])
def test_a_value_that_is_closed_over_and_written_to_is_noticed(
    write: str, use: str
) -> None:
    x = leaf(3)
    base = x * 1.0
    tensors = {"base": base, "view": base[:2]}
    y = checkpoint(lambda x: x * x * tensors[use][1], x)
    tensors[write][1] = 9.0
    with pytest.raises(RuntimeError, match=r"closes over other tensors .* changed in"):
        y.sum().backward()


def test_a_number_that_is_closed_over_and_another_later_is_noticed() -> None:
    y = x = leaf(3)
    for k in range(1, 4):
        y = checkpoint(lambda y: gl.sin(y) * k, y)  # noqa: B023 - which is the mistake
    with pytest.raises(RuntimeError, match="did something else when it was called"):
        y.sum().backward()
    assert x.grad is None
