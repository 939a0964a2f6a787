"""Arenas and gradient slots: what an optimizer moves must not be noticed.

Each test compares with what plain arrays would do: values, aliases, kept gradients.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradlite as gl
from gradlite.optim import SGD

LR, MOMENTUM = 0.25, 0.5
SMALL, LARGE = (3, 4), (200, 100)


def parameters(*shapes: tuple[int, ...], seed: int = 0) -> list[gl.Tensor]:
    random = np.random.default_rng(seed)
    return [
        gl.tensor(random.standard_normal(s).astype(np.float32), requires_grad=True)
        for s in shapes
    ]


def backward(params: list[Any], factor: float = 1.0) -> None:
    """Give each parameter p the gradient factor * p."""
    loss = gl.zeros(())
    for p in params:
        loss = loss + (p * p).sum() * (factor / 2)
    loss.backward()


def train(optimizer: Any, params: list[Any], steps: int = 1) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        backward(params)
        optimizer.step()


def host(x: Any) -> Any:
    """Return a copy, without letting the tensor know."""
    return np.array(x._device.backend.to_host(x._array))


def base(x: Any) -> Any:
    """Return the array whose memory a view shows."""
    array = x._array
    while array.base is not None:
        array = array.base
    return array


def expected(start: Any, steps: int) -> Any:
    """Return what `train` makes of a parameter."""
    p, v = start.copy(), np.zeros_like(start)
    for _ in range(steps):
        v = np.float32(MOMENTUM) * v - np.float32(LR) * p
        p = p + v
    return p


def momentum(params: Any, **options: Any) -> SGD:
    return SGD(params, lr=LR, momentum=MOMENTUM, **options)


def test_small_parameters_and_their_gradients_lie_together() -> None:
    params = parameters(SMALL, LARGE, (5,))
    start = [host(p) for p in params]
    optimizer = momentum(params)
    train(optimizer, params, 3)
    small, large, bias = params
    assert base(small) is base(bias)
    assert base(large) is not base(small)
    assert base(small._grad) is base(bias._grad)
    assert base(large._grad) is not base(small._grad)
    states = [optimizer.state[p]["momentum_buffer"] for p in params]
    assert len({id(base(v)) for v in states}) == 1
    for p, before in zip(params, start, strict=True):
        np.testing.assert_array_equal(host(p), expected(before, 3))


@pytest.mark.parametrize(
    "alias",
    [
        lambda p: p.detach(),
        lambda p: p.data,
        lambda p: p.detach().numpy(),
        lambda p: p.array,
        lambda p: np.from_dlpack(p.detach()),
        lambda p: (
            gl.nn.ParameterList([p]).state_dict()["0"]
            if hasattr(gl.nn, "ParameterList")
            else p.detach()
        ),
    ],
    ids=["detach", "data", "numpy", "array", "dlpack", "state_dict"],
)
def test_what_was_taken_before_the_first_step_follows(
    alias: Callable[[Any], Any],
) -> None:
    params = parameters(SMALL, (5,), (2,))
    taken = alias(params[0])
    train(momentum(params), params, 2)
    np.testing.assert_array_equal(np.asarray(taken), host(params[0]))


def test_a_numpy_array_behind_a_parameter_follows() -> None:
    array = np.ones(4, np.float32)
    params = [gl.asarray(array).requires_grad_(), *parameters(SMALL, (2,))]
    train(momentum(params), params, 2)
    np.testing.assert_array_equal(array, expected(np.ones(4, np.float32), 2))


@pytest.mark.parametrize(
    "tie",
    [
        lambda p: gl.nn.Parameter(p),
        lambda p: gl.nn.Parameter(p.T),
        lambda p: copy.copy(p),
    ],
    ids=["parameter", "transposed", "copy"],
)
def test_parameters_that_are_tied_by_their_memory(tie: Callable[[Any], Any]) -> None:
    first = gl.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    params = [first, tie(first), *parameters((5,), (2,))]
    train(SGD(params, lr=0.25), params)
    np.testing.assert_array_equal(host(first), [[0.5, 1.0], [1.5, 2.0]])
    tied = host(params[1])
    assert sorted(tied.ravel()) == [0.5, 1.0, 1.5, 2.0]
    assert np.shares_memory(params[1]._array, first._array)


def test_a_tensor_that_became_a_parameter_follows() -> None:
    buffer = gl.ones(4)
    params = [gl.nn.Parameter(buffer), *parameters((5,), (2,))]
    train(SGD(params, lr=0.5), params)
    assert buffer.tolist() == [0.5] * 4


def test_layers_own_their_parameters() -> None:
    params = list(
        gl.nn.Sequential(
            gl.nn.Conv2d(1, 2, 3), gl.nn.BatchNorm2d(2), gl.nn.Linear(3, 2)
        ).parameters()
    )
    train(momentum(params), params, 2)
    assert len({id(base(p)) for p in params}) == 1


def test_what_is_taken_later_follows_too() -> None:
    params = parameters(SMALL, (5,))
    optimizer = momentum(params)
    train(optimizer, params)
    taken = params[0].detach()
    train(optimizer, params)
    np.testing.assert_array_equal(host(taken), host(params[0]))


def test_replaced_data_is_updated_where_it_is() -> None:
    params = parameters(SMALL, (5,), (2,))
    optimizer = momentum(params)
    train(optimizer, params, 2)
    mine = gl.full((5,), 8.0)
    velocity = host(optimizer.state[params[1]]["momentum_buffer"])
    params[1].data = mine
    train(optimizer, params, 1)
    step = np.float32(MOMENTUM) * velocity - np.float32(LR * 8.0)
    np.testing.assert_array_equal(host(mine), 8.0 + step)
    np.testing.assert_array_equal(host(params[1]), host(mine))


def test_parameters_that_share_storage() -> None:
    array = np.ones(6, np.float32)
    params = [gl.asarray(array[i : i + 3]).requires_grad_() for i in (0, 3)]
    both = gl.asarray(array)
    train(SGD(params, lr=LR), params, 2)
    np.testing.assert_array_equal(host(both), np.full(6, (1 - LR) ** 2, np.float32))


@pytest.mark.parametrize(
    "make",
    [
        lambda a: np.asfortranarray(a),
        lambda a: np.repeat(a, 2, axis=1)[:, ::2],
        lambda a: a[::-1, ::-1],
        lambda a: a.T,
    ],
    ids=["fortran", "strided", "reversed", "transposed"],
)
def test_parameters_of_any_layout(make: Callable[[Any], Any]) -> None:
    array = make(np.arange(20, dtype=np.float32).reshape(4, 5) / 16)
    start = array.copy()
    params = [gl.asarray(array).requires_grad_(), *parameters((3,), (4,))]
    train(momentum(params), params, 3)
    np.testing.assert_array_equal(array, expected(start, 3))


def test_a_gradient_that_was_kept_stays_as_it_was() -> None:
    params = parameters(SMALL, (5,))
    optimizer = momentum(params)
    train(optimizer, params, 2)
    kept = [p.grad for p in params]
    before = [host(g) for g in kept]
    train(optimizer, params, 3)
    for g, value in zip(kept, before, strict=True):
        np.testing.assert_array_equal(host(g), value)


def test_slots_are_moved_for_one_who_kept_a_gradient_once() -> None:
    params = parameters(SMALL, (5,))
    optimizer = momentum(params)
    train(optimizer, params, 2)
    before = base(params[0]._grad)
    assert params[0].grad is not None
    train(optimizer, params, 2)
    assert base(params[0]._grad) is base(params[1]._grad)
    assert base(params[0]._grad) is not before


def test_looking_at_every_gradient_changes_no_value() -> None:
    params = parameters(SMALL, (5,), seed=1)
    start = [host(p) for p in params]
    optimizer = momentum(params)
    seen = []
    for _ in range(6):
        optimizer.zero_grad()
        backward(params)
        seen.append([p.grad for p in params])
        values = [host(p) for p in params]
        for g, p in zip(seen[-1], values, strict=True):
            np.testing.assert_array_equal(host(g), p)
        optimizer.step()
    for p, before in zip(params, start, strict=True):
        np.testing.assert_array_equal(host(p), expected(before, 6))
    assert len({id(g) for row in seen for g in row}) == 12


@pytest.mark.parametrize("zero", ["optimizer", "module", "by hand", "in place"])
def test_every_way_to_forget_gradients(zero: str) -> None:
    model = gl.nn.Sequential(gl.nn.Linear(3, 2), gl.nn.Linear(2, 1))
    params = list(model.parameters())
    start = [host(p) for p in params]
    optimizer = momentum(params)
    for _ in range(4):
        if zero == "optimizer":
            optimizer.zero_grad()
        elif zero == "module":
            model.zero_grad()
        elif zero == "in place":
            optimizer.zero_grad(set_to_none=False)
        else:
            for p in params:
                p.grad = None
        backward(params)
        optimizer.step()
    for p, before in zip(params, start, strict=True):
        np.testing.assert_array_equal(host(p), expected(before, 4))


def test_gradients_accumulate_over_several_backwards() -> None:
    params = parameters(SMALL, (5,))
    optimizer = SGD(params, lr=LR)
    train(optimizer, params, 2)
    start = [host(p) for p in params]
    optimizer.zero_grad()
    backward(params, 1.0)
    backward(params, 2.0)
    optimizer.step()
    for p, before in zip(params, start, strict=True):
        np.testing.assert_allclose(host(p), before * (1 - 3 * LR), rtol=1e-6)


def test_a_gradient_set_by_hand_is_used() -> None:
    params = parameters(SMALL, (5,))
    optimizer = SGD(params, lr=1.0)
    train(optimizer, params, 2)
    before = host(params[1])
    params[1].grad = gl.full((5,), 3.0)
    optimizer.step()
    np.testing.assert_array_equal(host(params[1]), before - 3.0)
    assert params[1].grad.tolist() == [3.0] * 5


def test_a_missing_gradient_leaves_its_neighbours_in_the_arena_alone() -> None:
    params = parameters((3,), (4,), (5,))
    start = [host(p) for p in params]
    optimizer = momentum(params)
    train(optimizer, params, 2)
    rest = host(params[1]).copy()
    train(optimizer, [params[0], params[2]], 1)
    np.testing.assert_array_equal(host(params[1]), rest)
    for i in (0, 2):
        np.testing.assert_array_equal(host(params[i]), expected(start[i], 3))


def test_two_optimizers_of_one_parameter() -> None:
    params = parameters(SMALL, (5,), (2,))
    first, second = SGD(params, lr=LR), SGD(params[:2], lr=LR)
    start = host(params[0])
    for _ in range(3):
        first.zero_grad()
        backward(params)
        first.step()
        second.step()  # with the same gradient
    np.testing.assert_allclose(host(params[0]), start * (1 - 2 * LR) ** 3, rtol=1e-5)


def test_a_write_to_one_parameter_leaves_graphs_of_its_neighbours_valid() -> None:
    params = parameters(SMALL, (5,))
    train(momentum(params), params)
    loss = (params[0] * params[0]).sum()
    with gl.no_grad():
        params[1].zero_()
    loss.backward()
    loss = (params[1] * params[1]).sum()
    with gl.no_grad():
        params[1].add_(1.0)
    with pytest.raises(RuntimeError, match="multiply saved"):
        loss.backward()


@pytest.mark.parametrize("steps", [0, 2])
def test_a_step_invalidates_what_a_graph_saved(steps: int) -> None:
    params = parameters(SMALL, (5,), LARGE)
    optimizer = momentum(params)
    train(optimizer, params, steps)
    losses = [(p * p).sum() for p in params]
    backward(params)
    optimizer.step()
    for loss in losses:
        with pytest.raises(RuntimeError, match="multiply saved"):
            loss.backward()


# State


def test_state_replaced_by_hand_is_used() -> None:
    params = parameters(SMALL, (5,))
    optimizer = momentum(params)
    train(optimizer, params)
    before = host(params[1])
    optimizer.state[params[1]]["momentum_buffer"] = gl.full((5,), 2.0)
    train(optimizer, params)
    np.testing.assert_array_equal(host(params[1]), before + (1.0 - LR * before))


@pytest.mark.parametrize(
    "forget",
    [
        lambda o, p: o.state.pop(p),
        lambda o, p: o.state.clear(),
        lambda o, p: o.state[p].clear(),
        lambda o, p: o.state[p].pop("momentum_buffer"),
    ],
    ids=["pop", "clear", "clear one", "pop buffer"],
)
def test_forgotten_state_begins_anew(forget: Callable[[Any, Any], Any]) -> None:
    params = parameters(SMALL, (5,))
    optimizer = momentum(params)
    train(optimizer, params, 2)
    forget(optimizer, params[1])
    start = host(params[1])
    train(optimizer, params, 2)
    np.testing.assert_array_equal(host(params[1]), expected(start, 2))


def test_state_written_in_place_is_used() -> None:
    params = parameters(SMALL, (5,))
    optimizer = momentum(params)
    train(optimizer, params)
    optimizer.state[params[0]]["momentum_buffer"].zero_()
    start = host(params[0])
    train(optimizer, params)
    np.testing.assert_array_equal(host(params[0]), expected(start, 1))


def test_the_list_of_parameters_may_change() -> None:
    params = parameters(SMALL, (5,), (2,))
    optimizer = momentum(params[:2])
    train(optimizer, params, 1)
    start = host(params[2])
    optimizer.param_groups[0]["params"].append(params[2])
    train(optimizer, params, 1)
    np.testing.assert_array_equal(host(params[2]), expected(start, 1))
    optimizer.param_groups[0]["params"][0] = params[2]  # now twice, the first gone
    optimizer.param_groups[0]["params"].pop()
    before = host(params[0])
    train(optimizer, params, 1)
    np.testing.assert_array_equal(host(params[0]), before)


def test_groups_lie_in_one_arena_with_options_of_their_own() -> None:
    params = parameters(SMALL, (5,), (2,), (7,))
    start = [host(p) for p in params]
    optimizer = SGD([{"params": params[:2]}, {"params": params[2:], "lr": 0.5}], lr=LR)
    train(optimizer, params, 2)
    assert len({id(base(p)) for p in params}) == 1
    for p, before, lr in zip(params, start, [LR, LR, 0.5, 0.5], strict=True):
        np.testing.assert_allclose(host(p), before * (1 - lr) ** 2, rtol=1e-6)


def test_a_model_that_changes_its_dtype_keeps_its_momentum() -> None:
    model = gl.nn.Sequential(gl.nn.Linear(3, 2), gl.nn.Linear(2, 1))
    params = list(model.parameters())
    start = [host(p) for p in params]
    optimizer = momentum(params)
    train(optimizer, params, 2)
    model.double()
    train(optimizer, params, 2)
    for p, before in zip(params, start, strict=True):
        assert p.dtype is gl.float64
        np.testing.assert_allclose(host(p), expected(before, 4), rtol=1e-5, atol=1e-7)


def test_freezing_and_thawing() -> None:
    params = parameters(SMALL, (5,), (2,))
    start = [host(p) for p in params]
    optimizer = momentum(params)
    params[1].requires_grad_(False)
    for _ in range(2):
        train(optimizer, [params[0], params[2]])
    np.testing.assert_array_equal(host(params[1]), start[1])
    params[1].requires_grad_(True)
    train(optimizer, params, 2)
    np.testing.assert_array_equal(host(params[1]), expected(start[1], 2))
    np.testing.assert_array_equal(host(params[0]), expected(start[0], 4))


def test_copies_share_nothing_with_the_arena() -> None:
    model = gl.nn.Sequential(gl.nn.Linear(3, 2), gl.nn.Linear(2, 1))
    optimizer = momentum(model.parameters())
    train(optimizer, list(model.parameters()), 2)
    twin = copy.deepcopy(model)
    before = [host(p) for p in twin.parameters()]
    train(optimizer, list(model.parameters()), 2)
    for p, value in zip(twin.parameters(), before, strict=True):
        np.testing.assert_array_equal(host(p), value)
        assert p._node.slot is None


def test_memory_is_freed_with_optimizer_and_parameters() -> None:
    import weakref

    params = parameters(SMALL, (5,))
    optimizer = momentum(params)
    train(optimizer, params, 2)
    seen = [weakref.ref(p) for p in params]
    arena = weakref.ref(base(params[0]))
    del params, optimizer
    assert [ref() for ref in seen] == [None, None]
    assert arena() is None


# Flat gradients


def test_flat_gradients_are_all_gradients() -> None:
    params = parameters(SMALL, LARGE, (5,))
    optimizer = momentum(params, grads="flat")
    (flat,) = optimizer.flat_grads
    optimizer.zero_grad()
    backward(params)
    total = sum(float(np.sum(host(p) ** 2)) for p in params)
    assert flat.shape == (12 + 20000 + 5,)
    assert float(np.sum(host(flat) ** 2)) == pytest.approx(total, rel=1e-5)
    for p in params:
        np.testing.assert_array_equal(host(p.grad), host(p))
        assert base(p.grad) is base(flat)


def test_what_is_done_to_flat_gradients_is_stepped_with() -> None:
    params = parameters(SMALL, LARGE, (5,))
    start = [host(p) for p in params]
    optimizer = SGD(params, lr=1.0, grads="flat")
    for _ in range(2):
        (flat,) = optimizer.flat_grads
        optimizer.zero_grad()
        backward(params)
        flat.mul_(0.5)
        optimizer.step()
    for p, before in zip(params, start, strict=True):
        np.testing.assert_allclose(host(p), before * 0.25, rtol=1e-6)


def test_flat_gradients_of_several_dtypes() -> None:
    params = [*parameters(SMALL, (5,)), gl.ones(3, dtype=gl.float64).requires_grad_()]
    optimizer = momentum(params, grads="flat")
    assert [(f.dtype, f.shape) for f in optimizer.flat_grads] == [
        (gl.float32, (17,)),
        (gl.float64, (3,)),
    ]


def test_flat_gradients_must_be_asked_for() -> None:
    with pytest.raises(ValueError, match="grads='flat', got 'auto'"):
        momentum(parameters((2,))).flat_grads  # noqa: B018
    with pytest.raises(ValueError, match="grads must be 'auto' or 'flat', got 'all'"):
        momentum(parameters((2,)), grads="all")


def test_flat_gradients_take_in_those_from_before() -> None:
    params = parameters(SMALL, (5,), (2,))
    optimizer = SGD(params, lr=1.0, grads="flat")
    start = [host(p) for p in params]
    backward(params[:2])
    (flat,) = optimizer.flat_grads
    assert params[0].grad is not None
    assert base(params[0].grad) is base(flat)
    assert params[2].grad is None
    flat.mul_(0.5)
    optimizer.step()
    for p, before, factor in zip(params, start, (0.5, 0.5, 1.0), strict=True):
        np.testing.assert_allclose(host(p), before * factor, rtol=1e-6)


# What else may change under an optimizer


@pytest.mark.parametrize("grads", ["auto", "flat"])
def test_replaced_data_of_a_gradient_is_used(grads: str) -> None:
    params = parameters(SMALL, (5,))
    optimizer = SGD(params, lr=1.0, grads=grads)
    train(optimizer, params, 2)
    before = host(params[1])
    gradient = params[1].grad
    assert gradient is not None
    gradient.data = gl.full((5,), 2.0)
    optimizer.step()
    np.testing.assert_array_equal(host(params[1]), before - 2.0)
    train(optimizer, params)
    np.testing.assert_array_equal(host(params[1]), np.zeros(5))


def test_gradients_may_be_forgotten_after_any_change() -> None:
    params = parameters(SMALL, (5,))
    optimizer = momentum(params)
    train(optimizer, params, 2)
    start = host(params[1])
    assert params[0].grad is not None  # so that the slots are to be moved
    optimizer.state.clear()
    optimizer.zero_grad()
    assert len(optimizer.state) == 0
    train(optimizer, params, 2)
    np.testing.assert_array_equal(host(params[1]), expected(start, 2))


def test_the_list_of_groups_may_be_another_one() -> None:
    params = parameters(SMALL, (5,))
    optimizer = SGD(params, lr=1.0)
    train(optimizer, params)
    before = host(params[0])
    (group,) = optimizer.param_groups
    optimizer.param_groups = [{**group, "params": params[1:]}]
    backward(params)
    optimizer.step()
    np.testing.assert_array_equal(host(params[0]), before)


def test_the_next_optimizer_has_slots_too() -> None:
    params = parameters(SMALL, (5,))
    train(momentum(params), params, 2)  # it is gone by now
    train(momentum(params), params, 2)
    optimizer = momentum(params)
    train(optimizer, params, 2)
    assert base(params[0]._grad) is base(params[1]._grad)
    train(optimizer, params)
    assert params[0]._grad is params[0]._node.slot.tensor


def test_a_step_invalidates_graphs_that_saved_the_state() -> None:
    params = parameters(SMALL, (5,))
    optimizer = momentum(params)
    train(optimizer, params)
    velocity = optimizer.state[params[0]]["momentum_buffer"]
    x = gl.ones_like(velocity).requires_grad_()
    loss = (x * velocity).sum()
    train(optimizer, params)
    with pytest.raises(RuntimeError, match="multiply saved"):
        loss.backward()


# Anything, in any order


class Plain:
    """The same optimizer on plain float32 arrays, one parameter at a time."""

    def __init__(self, values: list[Any]) -> None:
        self.values = [v.copy() for v in values]
        self.buffers: list[Any] = [None] * len(values)
        self.grads: list[Any] = [None] * len(values)
        self.lr = LR

    def step(self) -> None:
        for i, g in enumerate(self.grads):
            if g is not None:
                v = np.zeros_like(g) if self.buffers[i] is None else self.buffers[i]
                self.buffers[i] = np.float32(MOMENTUM) * v - np.float32(self.lr) * g
                self.values[i] = self.values[i] + self.buffers[i]


@pytest.mark.parametrize("grads", ["auto", "flat"])
@pytest.mark.parametrize("seed", range(8))
def test_any_sequence_of_events_is_that_of_plain_arrays(seed: int, grads: str) -> None:
    random = np.random.default_rng(seed)
    params: list[Any] = parameters((3,), (2, 2), (130, 130), (5,), (), seed=seed)
    plain = Plain([host(p) for p in params])
    optimizer = momentum(params, grads=grads)
    kept: list[tuple[Any, Any]] = []
    aliases: list[tuple[Any, int]] = []
    for _ in range(60):
        i = int(random.integers(len(params)))
        p = params[i]
        match random.integers(12):
            case 0 | 1:
                optimizer.zero_grad()
                plain.grads = [None] * len(params)
            case 2:
                p.grad = None
                plain.grads[i] = None
            case 3 if p.grad is not None and grads == "auto":
                kept.append((p.grad.detach(), host(p._grad)))
                p.grad = None
                plain.grads[i] = None
            case 4:
                p.data = gl.tensor(random.standard_normal(p.shape).astype(np.float32))
                plain.values[i] = host(p)
            case 5:
                aliases.append((p.detach(), id(p._version)))
            case 6:
                with gl.no_grad():
                    p.mul_(0.5)
                plain.values[i] = plain.values[i] * np.float32(0.5)
            case 7:
                plain.lr = optimizer.param_groups[0]["lr"] = float(random.random())
            case 8:
                optimizer.state.pop(p, None)
                plain.buffers[i] = None
            case 9:
                optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
            case _:
                some = [k for k in range(len(params)) if random.random() < 0.9]
                if some:
                    backward([params[k] for k in some], 0.125)
                for k in some:
                    g = plain.values[k] * np.float32(0.125)
                    old = plain.grads[k]
                    plain.grads[k] = g if old is None else old + g
                optimizer.step()
                plain.step()
        for k, q in enumerate(params):
            np.testing.assert_allclose(host(q), plain.values[k], rtol=2e-5, atol=1e-6)
            assert (q._grad is None) == (plain.grads[k] is None)
        for alias, version in aliases:
            for q in params:
                if id(q._version) == version:
                    np.testing.assert_array_equal(host(alias), host(q))
    for gradient, value in kept:
        np.testing.assert_array_equal(host(gradient), value)
