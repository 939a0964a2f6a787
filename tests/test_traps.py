"""Uses that look harmless: what they mean, and that a failure leaves no trace."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradlite as gl
from gradlite import autograd, data, nn, optim


def leaf(*values: float) -> gl.Tensor:
    return gl.tensor(values or (1.0, 2.0), requires_grad=True)


def contents(module: nn.Module) -> dict[str, Any]:
    return {name: t.tolist() for name, t in module.state_dict().items()}


# Options of operations

N = np.int64
MATRIX = gl.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
WITH_NUMPY_INTEGERS: dict[str, Callable[[gl.Tensor, Any], gl.Tensor]] = {
    "sum": lambda x, n: gl.sum(x, axis=n(1)),
    "mean": lambda x, n: gl.mean(x, axis=n(1)),
    "std": lambda x, n: gl.std(x, axis=n(0), correction=n(1)),
    "max": lambda x, n: gl.max(x, axis=n(1)),
    "prod": lambda x, n: gl.prod(x, axis=n(1)),
    "logsumexp": lambda x, n: gl.logsumexp(x, axis=n(1)),
    "softmax": lambda x, n: gl.square(gl.softmax(x, axis=n(1))),
    "roll": lambda x, n: gl.square(gl.roll(x, n(1), axis=n(0))),
    "tensordot": lambda x, n: gl.tensordot(x, x, axes=n(2)),
    "reshape": lambda x, n: gl.square(gl.reshape(x, n(6))),
    "concat": lambda x, n: gl.square(gl.concat([x, x], axis=n(1))),
}


@pytest.mark.parametrize("name", WITH_NUMPY_INTEGERS)
def test_numpy_integers_are_integers_in_the_derivative_too(name: str) -> None:
    gradients = []
    for kind in (int, N):
        x = MATRIX.clone().requires_grad_()
        gl.sum(WITH_NUMPY_INTEGERS[name](x, kind)).backward()
        gradients.append(x.grad.tolist())
    assert gradients[0] == gradients[1]


def test_a_list_of_options_that_is_changed_before_backward_does_not_matter() -> None:
    x = MATRIX.clone().requires_grad_()
    axes = [1, 0]
    y = gl.permute_dims(x, axes) * gl.asarray(np.arange(6.0, dtype="f4").reshape(3, 2))
    axes.reverse()
    gl.sum(y).backward()
    assert x.grad.tolist() == [[0.0, 2.0, 4.0], [1.0, 3.0, 5.0]]


@pytest.mark.parametrize(
    ("device", "dtype"),
    [
        ("cpu", gl.float16),
        ("cpu", gl.float32),
        ("cpu", gl.float64),
        ("array_api_strict", gl.float64),
    ],
)
def test_numbers_among_tensors_to_be_joined_are_weak(device: str, dtype: Any) -> None:
    x = gl.ones((), dtype=dtype, device=device, requires_grad=True)
    y = gl.stack([x, 2.0, 3])
    assert (y.dtype, y.tolist()) == (dtype, [1.0, 2.0, 3.0])
    y.backward(gl.ones(3, device=device))
    assert x.grad.item() == 1.0


def test_clipping_to_nothing_copies() -> None:
    x = leaf().detach()
    gl.clip(x)[0] = 9.0
    assert x.tolist() == [1.0, 2.0]


def test_a_bound_that_requires_grad_is_not_clipped_to_in_place() -> None:
    x, bound = leaf().detach(), leaf(1.5)
    for write in (lambda: x.clip_(0.0, bound), lambda: x.fill_(bound)):
        with pytest.raises(RuntimeError, match="trailing underscore"):
            write()
    assert x.tolist() == [1.0, 2.0]


def test_an_integer_tensor_refuses_recorded_fractions() -> None:
    n = gl.tensor([1, 2])
    with pytest.raises(TypeError, match="cannot put float32 into a tensor of dtype"):
        n += leaf()


def test_a_number_as_the_condition_of_where() -> None:
    assert gl.where(True, MATRIX, 0.0).tolist() == MATRIX.tolist()
    assert gl.where(False, MATRIX, 0.0).tolist() == [[0.0] * 3] * 2


# Graphs and hooks


def test_once_differentiable_stands_on_either_side_of_staticmethod() -> None:
    class Double(autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: gl.Tensor) -> gl.Tensor:
            return x * 2.0

        @autograd.once_differentiable
        @staticmethod
        def backward(ctx: Any, g: gl.Tensor) -> gl.Tensor:
            return g * 2.0

    x = leaf()
    with pytest.raises(RuntimeError, match="differentiated once only"):
        autograd.grad(Double.apply(x).sum(), x, create_graph=True)


def test_a_hook_owns_the_gradient_that_it_changes_in_place() -> None:
    a, b = leaf(), leaf()
    x, y = a * 1.0, b * 1.0

    def clear(g: gl.Tensor) -> None:
        g.zero_()

    x.register_hook(clear)
    ((x + y) * gl.tensor([2.0, 3.0])).sum().backward()
    assert (a.grad.tolist(), b.grad.tolist()) == ([0.0, 0.0], [2.0, 3.0])


def test_a_hook_changes_a_gradient_in_a_recorded_walk() -> None:
    a, b = leaf(), leaf()
    x, y = a * 1.0, b * 1.0

    def double(g: gl.Tensor) -> None:
        g *= 2.0

    x.register_hook(double)
    da, db = gl.autograd.grad(((x + y) ** 2).sum(), [a, b], create_graph=True)
    assert (da.tolist(), db.tolist()) == ([8.0, 16.0], [4.0, 8.0])
    (second,) = gl.autograd.grad(da.sum(), b)
    assert second.tolist() == [4.0, 4.0]


def test_what_a_hook_returns_gets_the_dtype_of_the_gradient() -> None:
    x = leaf()
    x.register_hook(lambda g: gl.ones(2, dtype=gl.float64))
    x.sum().backward()
    assert x.grad.dtype is gl.float32
    y = leaf()
    y.register_hook(lambda g: np.full(2, 3.0))
    y.sum().backward()
    assert (y.grad.dtype, y.grad.tolist()) == (gl.float32, [3.0, 3.0])


@pytest.mark.parametrize(
    ("result", "error", "message"),
    [
        (3, TypeError, "result of multiply must return a tensor or None, got int"),
        (gl.ones(5), ValueError, r"returned shape \(5,\)"),
        (gl.ones(2, device="array_api_strict"), ValueError, "array_api_strict"),
    ],
)
def test_a_hook_that_returns_something_else_leaves_no_gradient(
    result: Any, error: type[Exception], message: str
) -> None:
    x = leaf()
    y = x * 2.0
    y.register_hook(lambda g: result)
    with pytest.raises(error, match=message):
        y.sum().backward()
    assert x.grad is None


def test_a_function_that_returns_a_gradient_on_another_device() -> None:
    class Lost(gl.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: gl.Tensor) -> gl.Tensor:
            return x * 2.0

        @staticmethod
        def backward(ctx: Any, g: gl.Tensor) -> gl.Tensor:
            return g.to("array_api_strict")

    x = leaf()
    with pytest.raises(gl.DeviceMismatchError, match=r"Lost\.backward.*argument 0"):
        Lost.apply(x).sum().backward()
    assert x.grad is None


def test_a_gradient_as_a_list() -> None:
    x = leaf()
    (x * 2.0).backward([1.0, 3.0])
    assert x.grad.tolist() == [2.0, 6.0]


def test_anomalies_are_looked_for_on_the_device_of_the_gradient() -> None:
    x = gl.tensor([1.0, 2.0], requires_grad=True)
    with autograd.detect_anomaly():
        x.to("array_api_strict").sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1.0, 1.0]


def test_a_sum_of_scalar_gradients_is_an_array_for_a_function_too() -> None:
    seen = []

    class Double(autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: gl.Tensor) -> gl.Tensor:
            return x * 2.0

        @staticmethod
        def backward(ctx: Any, g: gl.Tensor) -> gl.Tensor:
            seen.append(type(g.array))
            return g * 2.0

    y = Double.apply(gl.tensor(1.0, requires_grad=True))
    (y * y + y).backward()
    assert seen == [np.ndarray]


def test_gradients_come_back_through_devices() -> None:
    x = leaf()
    y = x.to("array_api_strict", gl.float64)
    assert (y.device, y.dtype) == (gl.Device("array_api_strict"), gl.float64)
    (y**3).to("cpu").sum().backward()
    assert (x.grad.dtype, x.grad.tolist()) == (gl.float32, [3.0, 12.0])


def test_backward_in_many_threads_loses_nothing() -> None:
    w = leaf(0.0, 0.0)

    def work() -> None:
        for _ in range(50):
            (w * 1.0).sum().backward()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert w.grad.tolist() == [200.0, 200.0]


# Modes


def test_a_decorated_coroutine_runs_in_the_mode() -> None:
    @gl.no_grad()
    async def inside() -> bool:
        await asyncio.sleep(0)
        return gl.is_grad_enabled()

    async def both() -> list[bool]:
        async def outside() -> bool:
            await asyncio.sleep(0)
            return gl.is_grad_enabled()

        return list(await asyncio.gather(inside(), outside()))

    assert asyncio.run(both()) == [False, True]


def test_an_asynchronous_generator_is_refused() -> None:
    async def numbers() -> AsyncIterator[int]:
        yield 1

    with pytest.raises(TypeError, match=r"asynchronous generator.*with block"):
        gl.no_grad()(numbers)


def test_one_object_nests_in_itself() -> None:
    mode = gl.no_grad()
    with mode, mode:
        pass
    assert gl.is_grad_enabled()


# Steps that fail


@pytest.mark.parametrize("groups", [1, 2])
def test_a_step_that_cannot_be_done_changes_nothing(groups: int) -> None:
    p, q = leaf(), leaf()
    split = [{"params": [p, q]}] if groups == 1 else [{"params": [p]}, {"params": [q]}]
    optimizer = optim.SGD(split, lr=0.1, momentum=0.9)
    (q * q).sum().backward()
    optimizer.step()
    q.data = gl.ones(3)
    ((p * p).sum() + (q * q).sum()).backward()
    with pytest.raises(ValueError, match=r"shape \(3,\).*optimizer\.state\[parameter"):
        optimizer.step()
    assert p.tolist() == [1.0, 2.0]
    assert p not in optimizer.state
    del optimizer.state[q]
    optimizer.step()
    assert p.tolist() != [1.0, 2.0]


def test_a_schedule_that_fails_stands_where_it_stood() -> None:
    optimizer = optim.SGD([leaf()], lr=0.1)
    factors: list[Any] = [1.0, None, 0.5]
    schedule = optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: factors[epoch])
    optimizer.step()
    before = schedule.state_dict()
    with pytest.raises(TypeError, match=r"lr_lambda\(1\)"):
        schedule.step()
    assert (schedule.state_dict(), optimizer.param_groups[0]["lr"]) == (before, 0.1)
    factors[1] = 0.25
    schedule.step()
    assert optimizer.param_groups[0]["lr"] == 0.025


def test_assigning_a_state_dict_that_does_not_fit_changes_nothing() -> None:
    layer = nn.Linear(2, 2)
    before = contents(layer)
    state = {"weight": gl.zeros((2, 2)), "bias": gl.zeros(2, dtype=gl.int64)}
    with pytest.raises(RuntimeError, match=r"nothing was loaded:\n  bias: int64"):
        layer.load_state_dict(state, assign=True)
    assert contents(layer) == before


def test_a_batch_that_cannot_be_normalized_leaves_the_statistics() -> None:
    norm = nn.BatchNorm1d(2)
    norm.weight.data = gl.ones(2, device="array_api_strict")
    before = contents(norm)
    with pytest.raises(gl.DeviceMismatchError, match="weight is on array_api_strict"):
        norm(gl.tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert contents(norm) == before


def test_an_interrupted_save_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.npz"
    gl.save({"a": gl.ones(2)}, path)
    before = path.read_bytes()

    def interrupt(*args: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        gl.save({"a": gl.zeros(2)}, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


# Copies


def test_a_copied_model_has_its_own_hooks_and_parameters() -> None:
    class Counting(nn.Linear):
        def __init__(self) -> None:
            super().__init__(2, 2)
            self.calls = 0
            self.handle = self.register_forward_hook(count)

    def count(module: Counting, *_: Any) -> None:
        module.calls += 1

    model = Counting()
    model(gl.ones((1, 2))).sum().backward()
    twin = copy.deepcopy(model)
    twin.handle.remove()
    twin(gl.ones((1, 2)))
    model(gl.ones((1, 2)))
    assert (model.calls, twin.calls) == (2, 1)
    assert not np.shares_memory(model.weight.array, twin.weight.array)
    assert twin.weight.grad.tolist() == model.weight.grad.tolist()


def test_a_shallow_copy_can_get_a_buffer() -> None:
    norm = nn.BatchNorm1d(2)
    twin = copy.copy(norm)
    twin.register_buffer("extra", gl.ones(1))
    assert "extra" not in norm.state_dict()
    assert "extra" in twin.state_dict()


@pytest.mark.parametrize(
    "again", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_a_copied_optimizer_trains_the_copied_model(again: Callable[..., Any]) -> None:
    model = nn.Linear(2, 2)
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(gl.ones((1, 2))).sum().backward()
    optimizer.step()
    before = contents(model)
    twin, twins_optimizer = again((model, optimizer))
    twins_optimizer.zero_grad()
    twin(gl.ones((1, 2))).sum().backward()
    twins_optimizer.step()
    assert contents(model) == before != contents(twin)
    assert {id(p) for p in twin.parameters()} == {id(p) for p in twins_optimizer.state}


# Defaults


def test_the_default_device_holds_for_layers_loaders_and_numbers() -> None:
    with gl.device("array_api_strict"):
        model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))
        samples = data.TensorDataset(gl.rand(4, 2), gl.arange(4) % 3)
        loader = data.DataLoader(samples, 4, shuffle=True, num_workers=1)
        for x, y in loader:
            loss = nn.CrossEntropyLoss(label_smoothing=0.1)(model(x), y)
            loss.backward()
    assert loss.device == "array_api_strict"
    assert all(p.grad.device == "array_api_strict" for p in model.parameters())
    assert gl.ones(1).device == "cpu"


def test_numbers_go_to_the_device_of_the_tensor_beside_them() -> None:
    x = gl.ones(2)
    with gl.device("array_api_strict"):
        for y in (x + 1.0, gl.pow(2.0, x), gl.where(x > 0, 1.0, 2.0), x[[0, 1]]):
            assert y.device == "cpu"


def test_leaving_a_loader_early_ends_its_threads() -> None:
    before = threading.active_count()
    loader = data.DataLoader(data.TensorDataset(gl.arange(100)), 5, num_workers=3)

    def interrupted() -> None:
        for _ in loader:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    gc.collect()
    assert threading.active_count() == before


def test_a_sample_that_raises_stop_iteration_does_not_shorten_the_epoch() -> None:
    class Broken(data.Dataset[int]):
        def __len__(self) -> int:
            return 10

        def __getitem__(self, index: int) -> int:
            if index == 5:
                raise StopIteration
            return index

    for workers in (0, 2):
        with pytest.raises(RuntimeError, match="StopIteration"):
            list(data.DataLoader(Broken(), 2, num_workers=workers))
