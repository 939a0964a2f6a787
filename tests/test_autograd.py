"""The engine: what a walk computes, commits, refuses and frees."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import gradlite as gl
from gradlite.autograd import grad
from gradlite.autograd._graph import (
    GradientArena,
    Leaf,
    SliceVersion,
    Slot,
    Version,
)


def leaf(values: object) -> gl.Tensor:
    return gl.tensor(values, requires_grad=True)


# What is computed


def test_each_node_is_visited_once() -> None:
    """SEED: the walk visited every path, 2^n of them on shared nodes."""
    x = leaf(1.0)
    calls = []
    y = x
    for _ in range(60):
        y = y + y
        y.register_hook(lambda g: calls.append(1))
    y.backward()
    assert x.grad is not None
    assert x.grad.item() == 2.0**60
    assert len(calls) == 60


def test_contributions_are_summed_in_the_precision_of_the_operand() -> None:
    """SEED: every contribution was rounded to float32."""
    x = gl.tensor(1.0, dtype=gl.float64, requires_grad=True)
    (x * 1e-9 + x).backward()
    assert x.grad is not None
    assert x.grad.item() == 1.0 + 1e-9


@pytest.mark.parametrize("other", [gl.float64, gl.float32, gl.int64])
def test_gradients_have_the_dtype_of_their_operand(other: type) -> None:
    x = leaf([1.0, 2.0])
    y = (x * gl.tensor([3, 4], dtype=other)).sum()
    y.backward()
    assert x.grad is not None
    assert x.grad.dtype is gl.float32
    assert x.grad.tolist() == [3.0, 4.0]


def test_broadcasting_is_undone() -> None:
    x, y = leaf(np.ones((3, 1))), leaf(np.ones(4))
    (x * y).sum().backward()
    assert x.grad is not None
    assert y.grad is not None
    np.testing.assert_array_equal(x.grad.numpy(), np.full((3, 1), 4.0))
    np.testing.assert_array_equal(y.grad.numpy(), np.full(4, 3.0))


def test_higher_orders_from_rules_written_once() -> None:
    x = gl.tensor(0.7, dtype=gl.float64, requires_grad=True)
    y = gl.sin(x)
    expected = [np.cos(0.7), -np.sin(0.7), -np.cos(0.7), np.sin(0.7)]
    for value in expected:
        (y,) = grad(y, x, create_graph=True)
        assert y.item() == pytest.approx(value)


def test_backward_with_create_graph_makes_grad_differentiable() -> None:
    x = leaf(3.0)
    (x * x * x).backward(create_graph=True)
    assert x.grad is not None
    assert x.grad.requires_grad
    (second,) = grad(x.grad, x)
    assert second is not None
    assert second.item() == 18.0


def test_create_graph_records_inside_no_grad_too() -> None:
    x = leaf(3.0)
    y = x * x * x
    with gl.no_grad():
        (dx,) = grad(y, x, create_graph=True)
        y.backward(create_graph=True)
        y.backward(create_graph=True)
    assert x.grad is not None
    for once, times in ((dx, 1), (x.grad, 2)):
        assert grad(once, x, retain_graph=True)[0].item() == 18.0 * times


def test_grad_leaves_dot_grad_alone_and_reaches_intermediate_results() -> None:
    x = leaf([1.0, 2.0])
    y = x * 2.0
    z = (y * y).sum()
    dy, dx = grad(z, [y, x])
    assert dy is not None
    assert dx is not None
    assert dy.tolist() == [4.0, 8.0]
    assert dx.tolist() == [8.0, 16.0]
    assert x.grad is None


def test_grad_walks_only_where_it_must() -> None:
    x, unused = leaf(1.0), leaf(1.0)
    seen: list[str] = []
    side = unused * 2.0
    side.register_hook(lambda g: seen.append("side"))
    grad(x * 2.0 + side, x)
    assert seen == []


def test_unused_inputs() -> None:
    x, y = leaf(1.0), leaf(1.0)
    with pytest.raises(RuntimeError, match=r"inputs\[1\].*allow_unused"):
        grad(x * 2.0, [x, y])
    assert grad(x * 2.0, [x, y], allow_unused=True)[1] is None


def test_several_results_and_absent_cotangents() -> None:
    x = leaf([[1.0, 2.0], [3.0, 4.0]])
    first, _ = gl.unstack(x)
    (first * first).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[2.0, 4.0], [0.0, 0.0]]


# What is committed


def arrays_of(*tensors: gl.Tensor) -> list[np.ndarray]:
    grads = [t.grad for t in tensors]
    assert all(g is not None for g in grads)
    return [g.array for g in grads if g is not None]


CASES = {
    "one cotangent for two leaves": lambda x, y, seed: x + y,
    "the seed itself": lambda x, y, seed: (x + 0.0) + y,
    "a view of the cotangent": lambda x, y, seed: gl.reshape(x, (2, 3)) + y,
    "a transpose": lambda x, y, seed: gl.permute_dims(x, (0, 1)) * y.T.T,
}


@pytest.mark.parametrize("name", CASES)
def test_gradients_alias_nothing(name: str) -> None:
    rng = np.random.default_rng(0)
    x, y = leaf(rng.standard_normal((2, 3))), leaf(rng.standard_normal((2, 3)))
    seed = gl.tensor(rng.standard_normal((2, 3)))
    CASES[name](x, y, seed).backward(seed)
    a, b = arrays_of(x, y)
    for array in (a, b):
        assert array.flags.c_contiguous
        assert array.flags.writeable
        assert not np.shares_memory(array, seed.array)
    assert not np.shares_memory(a, b)
    for t in (x, y):
        assert not np.shares_memory(arrays_of(t)[0], t.array)


def test_a_gradient_seen_by_a_hook_is_not_shared() -> None:
    x = leaf([1.0, 2.0])
    seen: list[gl.Tensor] = []
    x.register_hook(seen.append)
    (x * 2.0).sum().backward()
    assert not np.shares_memory(seen[0].array, arrays_of(x)[0])


def test_later_gradients_are_added_into_the_same_array() -> None:
    x = leaf([1.0, 2.0])
    (x * 2.0).sum().backward()
    first = arrays_of(x)[0]
    (x * 3.0).sum().backward()
    assert arrays_of(x)[0] is first
    assert first.tolist() == [5.0, 5.0]


def test_a_sibling_is_not_corrupted_by_accumulation() -> None:
    x, y = leaf([1.0]), leaf([1.0])
    z = x + y  # both get the same cotangent
    (z + x + x).sum().backward()
    assert arrays_of(x)[0].tolist() == [3.0]
    assert arrays_of(y)[0].tolist() == [1.0]


class Failing(gl.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: gl.Tensor) -> gl.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: object, g: gl.Tensor) -> gl.Tensor:
        raise ArithmeticError("on purpose")


def test_an_exception_commits_nothing() -> None:
    x, y = leaf(1.0), leaf(1.0)
    z = Failing.apply(x) + y * 2.0
    with pytest.raises(ArithmeticError):
        z.backward()
    assert x.grad is None
    assert y.grad is None


def give_slot(x: gl.Tensor, array: Any, *, fixed: bool = False) -> None:
    assert isinstance(x._node, Leaf)
    x._node.slot = Slot(gl.asarray(array), GradientArena(fixed=fixed))


def test_a_slot_is_where_the_gradient_is_written() -> None:
    x = leaf([1.0, 2.0])
    arena = np.zeros(4, np.float32)
    give_slot(x, arena[1:3])
    for _ in range(2):  # each over the last one, which nobody has seen
        x.grad = None
        (x * x).sum().backward()
        assert arena.tolist() == [0.0, 2.0, 4.0, 0.0]
    assert x.grad is not None
    assert np.shares_memory(x.grad.array, arena)
    (x * x).sum().backward()
    assert arena.tolist() == [0.0, 4.0, 8.0, 0.0]


def test_a_gradient_that_the_user_asked_for_is_not_written_over() -> None:
    x = leaf([1.0, 2.0])
    give_slot(x, np.zeros(2, np.float32))
    (x * x).sum().backward()
    kept = x.grad
    assert kept is not None
    x.grad = None
    (x * x * x).sum().backward()
    assert kept.tolist() == [2.0, 4.0]
    assert x.grad.tolist() == [3.0, 12.0]


def test_a_gradient_that_was_kept_notices_that_its_slot_is_written_over() -> None:
    x, w = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    give_slot(x, np.zeros(2, np.float32), fixed=True)
    (x * x).sum().backward()
    y = (x.grad * w).sum()
    x.grad = None
    (x * x).sum().backward()
    with pytest.raises(RuntimeError, match="multiply saved x1"):
        y.backward()


def test_the_gradient_of_a_lost_leaf_goes_nowhere() -> None:
    x = leaf([1.0])
    y = leaf([1.0])
    z = (x * y).sum()
    del x
    z.backward()
    assert arrays_of(y)[0].tolist() == [1.0]


def test_retain_grad() -> None:
    x = leaf([1.0, 2.0])
    y = x * 2.0
    y.retain_grad()
    (y * y).sum().backward()
    assert y.grad is not None
    assert y.grad.tolist() == [4.0, 8.0]


def test_a_retained_gradient_is_accumulated() -> None:
    y = leaf([1.0, 2.0]) * 2.0
    y.retain_grad()
    z = (y * y).sum()
    z.backward(retain_graph=True)
    z.backward()
    assert arrays_of(y)[0].tolist() == [8.0, 16.0]


def test_a_retained_gradient_is_that_of_the_value_a_tensor_goes_on_as() -> None:
    y = leaf([1.0, 2.0]) * 2.0
    y.retain_grad()
    y *= 3.0
    (y * y).sum().backward()
    assert arrays_of(y)[0].tolist() == [12.0, 24.0]


def test_hooks_change_gradients_and_can_be_removed() -> None:
    x = leaf([1.0])
    handle = x.register_hook(lambda g: g * 10.0)
    (x * 2.0).sum().backward()
    assert arrays_of(x)[0].tolist() == [20.0]
    handle.remove()
    handle.remove()
    x.grad = None
    (x * 2.0).sum().backward()
    assert arrays_of(x)[0].tolist() == [2.0]


def test_a_hook_of_the_wrong_shape_is_refused() -> None:
    x = leaf([1.0])
    x.register_hook(lambda g: gl.zeros(3))
    with pytest.raises(ValueError, match=r"returned shape \(3,\)"):
        (x * 2.0).sum().backward()


# What is refused


def test_a_freed_graph_names_retain_graph() -> None:
    x = leaf(2.0)
    y = x * x
    y.backward()
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        y.backward()


def test_retain_graph() -> None:
    x = leaf(2.0)
    y = x * x
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad is not None
    assert x.grad.item() == 8.0


def test_a_saved_value_changed_in_place_is_noticed() -> None:
    """SEED: `z = y*y; y.exp_()` gave a silently wrong gradient."""
    x, y = leaf([1.0, 2.0]), gl.tensor([3.0, 4.0])
    z = x * y
    y.exp_()
    with pytest.raises(RuntimeError, match=r"multiply saved x2 .* changed in place"):
        z.sum().backward()


def test_a_saved_result_changed_in_place_is_noticed() -> None:
    x = leaf([1.0])
    y = gl.exp(x)
    with gl.no_grad():
        y.mul_(2.0)
    with pytest.raises(RuntimeError, match="exp saved out"):
        y.sum().backward()


WRITES = {
    "item": lambda y: y.__setitem__(0, 9.0),
    "view": lambda y: y[1:].zero_(),
    "reshaped view": lambda y: y.reshape(2, 1).fill_(3.0),
    "augmented assignment": lambda y: y.__iadd__(1.0),
    "copy_": lambda y: y.copy_([0.0, 0.0]),
    "detached": lambda y: y.detach().zero_(),
}


@pytest.mark.parametrize("name", WRITES)
def test_every_write_counts(name: str) -> None:
    x, y = leaf([1.0, 2.0]), gl.tensor([3.0, 4.0])
    z = (x * y).sum()
    WRITES[name](y)
    with pytest.raises(RuntimeError, match="changed in place"):
        z.backward()


@pytest.mark.parametrize("kind", [gl.tensor, np.array])
def test_an_index_changed_before_backward_does_no_harm(kind: type) -> None:
    x, index = leaf([1.0, 2.0, 3.0, 4.0]), kind([0, 0, 1])
    y = x[index].sum()
    index[0] = 3
    y.backward()
    assert arrays_of(x)[0].tolist() == [2.0, 1.0, 0.0, 0.0]


def test_an_array_written_to_by_its_owner_does_no_harm() -> None:
    x, buffer = leaf([1.0, 2.0]), np.array([3.0, 4.0], np.float32)
    y = (x * buffer).sum() + (buffer * x).sum()
    buffer[:] = 0.0
    y.backward()
    assert arrays_of(x)[0].tolist() == [6.0, 8.0]


def test_a_copy_is_not_guarded_with_its_source() -> None:
    x, y = leaf([[1.0, 2.0]]), gl.tensor([[3.0, 4.0]])
    z = (x * y).sum()
    gl.reshape(y, (2,), copy=True).zero_()
    y.clone().zero_()
    z.backward()
    assert arrays_of(x)[0].tolist() == [[3.0, 4.0]]


def test_an_optimizer_step_between_two_backwards_is_noticed() -> None:
    w = leaf([1.0])
    y = w * w
    y.sum().backward(retain_graph=True)
    with gl.no_grad():
        w -= 0.1
    with pytest.raises(RuntimeError, match="changed in place"):
        y.sum().backward()


def test_slices_of_an_arena_share_an_epoch_and_nothing_else() -> None:
    epoch = Version()
    first, second = SliceVersion(epoch), SliceVersion(epoch)
    before = second.count
    first.bump()
    assert (first.count, second.count) == (1, before)
    epoch.bump()
    assert (first.count, second.count) == (2, before + 1)


def test_no_graph_no_backward() -> None:
    with pytest.raises(RuntimeError, match="does not require grad"):
        gl.tensor(1.0).backward()


def test_a_seed_is_needed_for_a_complex_scalar() -> None:
    x = leaf(1.0 + 2.0j)
    y = x * x
    with pytest.raises(RuntimeError, match="complex"):
        y.backward()
    y.backward(gl.tensor(1.0 + 0.0j))
    assert arrays_of(x)[0].item() == 2.0 - 4.0j


def test_a_seed_is_needed_unless_scalar_and_is_checked() -> None:
    y = leaf([1.0, 2.0]) * 2.0
    with pytest.raises(RuntimeError, match=r"shape \(2,\).*gradient="):
        y.backward()
    with pytest.raises(ValueError, match=r"gradient has shape \(3,\)"):
        y.backward(gl.zeros(3))


def test_integers_have_no_gradient() -> None:
    with pytest.raises(TypeError, match=r"int64.*astype"):
        gl.tensor([1, 2], requires_grad=True)
    x = leaf([1.0, 3.0])
    assert not gl.argmax(x).requires_grad
    assert not (x > 2.0).requires_grad
    assert not x.astype(gl.int64).requires_grad


# Writing in place


def test_assignment_inside_a_differentiated_function() -> None:
    x = leaf([1.0, 2.0, 3.0])
    y = gl.zeros(3)
    old = y
    for i in range(3):
        y[i] = x[i] * x[i]
    y += 1.0
    y[1:] *= 2.0
    y.sum().backward()
    assert arrays_of(x)[0].tolist() == [2.0, 8.0, 12.0]
    assert old is y


def test_whoever_holds_the_old_value_keeps_it() -> None:
    x = leaf([1.0, 2.0])
    y = x * 2.0
    held = y.detach()
    y += 1.0
    assert held.tolist() == [2.0, 4.0]
    assert y.tolist() == [3.0, 5.0]


def test_leaves_refuse_writes_while_recording() -> None:
    x = leaf([1.0, 2.0])
    with pytest.raises(RuntimeError, match=r"x = x \+ 1.*no_grad"):
        x += 1.0
    with pytest.raises(RuntimeError, match="no_grad"):
        x[0] = 1.0
    for write in (x.zero_, lambda: x.add_(1.0), lambda: x.copy_([0.0, 0.0])):
        with pytest.raises(RuntimeError, match="trailing underscore"):
            write()
    assert x.tolist() == [1.0, 2.0]
    storage = x.array
    with gl.no_grad():
        x += 1.0
        x[0] = 7.0
        x.mul_(2.0)
    assert x.array is storage
    assert x.tolist() == [14.0, 6.0]
    assert x.requires_grad


def test_constants_behave_like_numpy() -> None:
    array = np.zeros(4, np.float32)
    x = gl.asarray(array)
    view = x[1:3]
    view += 5.0
    x[0] = 1.0
    assert array.tolist() == [1.0, 5.0, 5.0, 0.0]
    with pytest.raises(ValueError, match="cannot change the shape"):
        x += gl.zeros((3, 4))
    counts = gl.tensor([1, 2])
    with pytest.raises(TypeError, match="float32 into a tensor of dtype int64"):
        counts /= 2


# Modes


def test_modes_nest_and_restore() -> None:
    """SEED: leaving an inner no_grad turned gradients on again."""
    with gl.no_grad():
        with gl.no_grad():
            pass
        assert not gl.is_grad_enabled()
        with gl.enable_grad():
            assert gl.is_grad_enabled()
        assert not gl.is_grad_enabled()
        with gl.set_grad_enabled(True):
            assert gl.is_grad_enabled()
        assert not gl.is_grad_enabled()
    assert gl.is_grad_enabled()
    with pytest.raises(KeyError), gl.no_grad():
        {}["missing"]
    assert gl.is_grad_enabled()


def test_set_grad_enabled_as_a_call() -> None:
    gl.set_grad_enabled(False)
    try:
        assert not gl.is_grad_enabled()
    finally:
        gl.set_grad_enabled(True)
    assert gl.is_grad_enabled()


def test_modes_decorate() -> None:
    @gl.no_grad()
    def function() -> bool:
        return gl.is_grad_enabled()

    @gl.set_grad_enabled(False)
    def other() -> bool:
        return gl.is_grad_enabled()

    assert not function()
    assert not other()
    assert gl.is_grad_enabled()


def test_a_decorated_generator_gives_the_caller_its_mode_at_each_yield() -> None:
    @gl.no_grad()
    def numbers() -> Iterator[bool]:
        yield gl.is_grad_enabled()
        yield gl.is_grad_enabled()

    for inside in numbers():
        assert not inside
        assert gl.is_grad_enabled()


def test_threads_and_tasks_have_their_own_mode() -> None:
    """SEED: no_grad leaked into other threads."""
    seen: list[bool] = []
    with gl.no_grad():
        thread = threading.Thread(target=lambda: seen.append(gl.is_grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]

    async def waiting() -> bool:
        with gl.no_grad():
            await asyncio.sleep(0)
            return gl.is_grad_enabled()

    async def both() -> tuple[bool, bool]:
        task = asyncio.create_task(waiting())
        await asyncio.sleep(0)
        mine = gl.is_grad_enabled()
        return mine, await task

    assert asyncio.run(both()) == (True, False)


def test_anomaly_names_the_operation_and_the_line() -> None:
    x = leaf([0.0, 1.0])
    line = "test_autograd.py"
    with gl.detect_anomaly():
        y = gl.sqrt(x) * 0.0
        message = rf"sqrt has NaN.*{line}:\d+ in test_anomaly"
        with np.errstate(all="ignore"), pytest.raises(RuntimeError, match=message):
            y.sum().backward()
    assert x.grad is None


# Memory and depth


def test_a_chain_of_200_000_operations() -> None:
    x = leaf(1.0)
    y = x
    for _ in range(200_000):
        y = -y
    y.backward()
    assert x.grad is not None
    assert x.grad.item() == 1.0


def test_a_long_chain_is_freed_without_a_walk() -> None:
    x = leaf(1.0)
    y = x
    for _ in range(200_000):
        y = gl.positive(y)
    del y


def mlp_step(watched: list[weakref.ref], *, create_graph: bool) -> None:
    rng = np.random.default_rng(0)
    w1, w2 = leaf(rng.standard_normal((4, 8))), leaf(rng.standard_normal((8, 1)))
    x = gl.tensor(rng.standard_normal((5, 4)))
    hidden = gl.tanh(x @ w1)
    out = gl.softmax(hidden @ w2, axis=0)
    first, *_ = gl.unstack(gl.stack([out, out * 2.0]))
    loss = (first * first).sum() + gl.max(out)
    watched.extend(weakref.ref(t.array) for t in (w1, w2, x, hidden, out, first, loss))
    if create_graph:
        grads = grad(loss, [w1, w2], create_graph=True)
        assert grads[0] is not None
        watched.append(weakref.ref(grads[0].array))
        (grads[0] * grads[0]).sum().backward()
    else:
        loss.backward()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("create_graph", [False, True])
def test_everything_is_freed_with_the_last_reference(create_graph: bool) -> None:
    watched: list[weakref.ref] = []
    mlp_step(watched, create_graph=create_graph)
    assert [ref() is None for ref in watched] == [True] * len(watched)


@pytest.mark.usefixtures("no_collector")
def test_an_abandoned_graph_is_freed_too() -> None:
    x = leaf(np.ones(3))
    y = gl.exp(x)
    watched = weakref.ref(y.array)
    del y
    assert watched() is None


def test_saved_values_are_dropped_as_soon_as_their_rule_has_run() -> None:
    x = leaf(np.ones(3))
    y = gl.exp(x)
    saved = weakref.ref(y.array)
    alive: list[bool] = []
    x.register_hook(lambda g: alive.append(saved() is not None))
    z = y.sum()
    del y
    z.backward()
    assert alive == [False]


def test_a_leaf_that_requires_grad_no_longer_gets_none() -> None:
    x, y = leaf([1.0]), leaf([1.0])
    z = (x * y).sum()
    x.requires_grad_(False)
    z.backward()
    assert x.grad is None
    assert arrays_of(y)[0].tolist() == [1.0]


def test_grad_through_a_freed_part_of_the_graph_raises() -> None:
    x = leaf([1.0])
    a = gl.exp(x)
    a.sum().backward()
    with pytest.raises(RuntimeError, match="graph was freed"):
        grad((a + x).sum(), x)  # would be 1, without what came through a


def test_grad_writes_no_retained_gradient() -> None:
    x = leaf([1.0])
    y = x * 2.0
    y.retain_grad()
    grad(y.sum(), x)
    assert y.grad is None


def test_replaced_data_leaves_the_slot() -> None:
    x = leaf([1.0, 2.0])
    arena = np.zeros(2, np.float32)
    give_slot(x, arena)
    x.data = gl.tensor([1.0, 2.0, 3.0])
    (x * x).sum().backward()
    assert arena.tolist() == [0.0, 0.0]
    assert arrays_of(x)[0].tolist() == [2.0, 4.0, 6.0]


# Gradients that are there already


def test_a_read_only_gradient_is_copied(device: gl.Device) -> None:
    x, y = (
        gl.tensor(v, requires_grad=True, device=device)
        for v in ([1.0, 5.0], [2.0, 3.0])
    )
    y.grad = gl.zeros(2, device=device)
    x.grad = gl.broadcast_to(gl.zeros((), device=device), (2,))
    (x * y).sum().backward()
    assert x.grad.tolist() == [2.0, 3.0]
    assert y.grad.tolist() == [1.0, 5.0]


def test_gradients_that_are_written_in_part_say_so() -> None:
    x, y = leaf([1.0]), leaf([2.0])
    x.grad, y.grad = gl.zeros(1), gl.zeros(1)
    x.grad.array.flags.writeable = False  # behind the tensor's back
    y.grad.array.flags.writeable = False
    with pytest.raises(ValueError, match="read-only") as caught:
        (x * y).sum().backward()
    assert "may have changed; call zero_grad()" in caught.value.__notes__[0]
