"""What SGD computes: every option against the formula, PyTorch, and other backends."""

from __future__ import annotations

import itertools
import math
import tracemalloc
from typing import Any

import numpy as np
import pytest

import gradlite as gl
from gradlite.backends import _cpu_updates, _updates, cpu
from gradlite.backends._generic_updates import PortableBatch
from gradlite.optim.functional import sgd_

Options = dict[str, Any]

SHAPES: list[tuple[int, ...]] = [(3, 4), (), (0, 2)]
STEPS = 20
LATE = 1  # this parameter has no gradient in the first steps


def allowed(o: Options) -> bool:
    """Whether the constructor accepts the options and each of them matters."""
    if (o["dampening"] or o["momentum_form"] == "torch") and not o["momentum"]:
        return False
    if o["nesterov"] and (o["dampening"] or not o["momentum"]):
        return False
    if o["decoupled_weight_decay"] and not o["weight_decay"]:
        return False
    if o["proximal"]:
        plain = (
            not (o["nesterov"] or o["dampening"]) and o["momentum_form"] == "classic"
        )
        return plain and o["alpha"] > 0
    return True


def combinations(**choices: tuple[Any, ...]) -> list[Options]:
    products = itertools.product(*choices.values())
    return [
        o for o in (dict(zip(choices, v, strict=True)) for v in products) if allowed(o)
    ]


def named(o: Options) -> str:
    return "-".join(
        k if v is True else v if isinstance(v, str) else f"{k}{v:g}"
        for k, v in o.items()
        if v
    )


COMBINATIONS = [
    {**o, "lr": 0.05}
    for o in combinations(
        momentum=(0.0, 0.9),
        dampening=(0.0, 0.3),
        weight_decay=(0.0, 0.1),
        decoupled_weight_decay=(False, True),
        alpha=(0.0, 0.02),
        nesterov=(False, True),
        maximize=(False, True),
        momentum_form=("classic", "torch"),
        proximal=(False, True),
    )
]


def soft(x: Any, threshold: float) -> Any:
    return np.sign(x) * np.maximum(np.abs(x) - threshold, 0.0)


class Reference:
    """The formula of the design in float64, written for one parameter at a time."""

    def __init__(
        self, values: list[Any], max_norm: float | None, **options: Any
    ) -> None:
        self.values = [np.asarray(v, dtype=np.float64) for v in values]
        self.buffers: list[Any] = [None] * len(values)
        self.max_norm = max_norm
        self.o = options

    def step(self, grads: list[Any], grad_scale: float | None) -> None:
        scaled = [g if g is None else np.float64(g) / (grad_scale or 1) for g in grads]
        factor = 1.0
        if self.max_norm is not None:
            total = math.fsum(x * x for g in scaled if g is not None for x in g.flat)
            factor = min(1.0, self.max_norm / (math.sqrt(total) + 1e-6))
        for i, g in enumerate(scaled):
            if g is not None:
                self.values[i] = self.updated(i, g * factor)

    def updated(self, i: int, g: Any) -> Any:
        o, p, v = self.o, self.values[i], self.buffers[i]
        lr, m, keep = o["lr"], o["momentum"], 1 - o["dampening"]
        if o["maximize"]:
            g = -g
        if o["alpha"] and not o["proximal"]:
            g = g + o["alpha"] * np.sign(p)
        if o["decoupled_weight_decay"]:
            p = p * (1 - lr * o["weight_decay"])
        else:
            g = g + o["weight_decay"] * p
        if o["proximal"]:
            v = m * (0 if v is None else v) - lr * g
            q = soft(p + v, lr * o["alpha"])
            self.buffers[i] = q - p
            return q
        if not m:
            return p - lr * g
        if o["momentum_form"] == "classic":
            self.buffers[i] = v = m * (0 if v is None else v) - lr * keep * g
            return p + (m * v - lr * g if o["nesterov"] else v)
        self.buffers[i] = b = g if v is None else m * v + keep * g
        return p - lr * (g + m * b if o["nesterov"] else b)


def start(seed: int) -> tuple[list[Any], list[list[Any]]]:
    """Return parameters with exact zeros, and gradients for all steps."""
    rng = np.random.default_rng(seed)
    masks = [np.asarray(rng.random(s) < 0.7) for s in SHAPES]
    values = [np.asarray(m * rng.standard_normal(m.shape)) for m in masks]
    # Half of the zeros have no gradient, so that a sign of zero would show.
    masks = [np.asarray(m | (rng.random(m.shape) < 0.5)) for m in masks]
    grads = [[m * rng.standard_normal(m.shape) for m in masks] for _ in range(STEPS)]
    return values, grads


def host(tensor: gl.Tensor) -> Any:
    return tensor.detach().cpu().numpy()


def follow(
    options: Options,
    device: gl.Device,
    dtype: str,
    tolerance: float,
    max_norm: float | None,
    grad_scale: float | None,
) -> None:
    """Compare 20 steps with the formula, and see that gradients are left alone."""
    values, grads = start(3)
    values = [v.astype(dtype) for v in values]
    params = [gl.tensor(v, device=device, requires_grad=True) for v in values]
    optimizer = gl.optim.SGD(params, max_norm=max_norm, **options)
    reference = Reference(values, max_norm, **options)
    for k in range(STEPS):
        row: list[Any] = [g.astype(dtype) for g in grads[k]]
        if k < 3:
            row[LATE] = None
        for param, g in zip(params, row, strict=True):
            param.grad = None if g is None else gl.tensor(g, device=device)
        optimizer.step(grad_scale=grad_scale)
        for param, g in zip(params, row, strict=True):
            if g is not None:
                np.testing.assert_array_equal(host(param.grad), g)
        reference.step(row, grad_scale)
    for i, (param, expected) in enumerate(zip(params, reference.values, strict=True)):
        np.testing.assert_allclose(
            host(param), expected, rtol=tolerance, atol=tolerance
        )
        if options["momentum"]:
            np.testing.assert_allclose(
                host(optimizer.state[param]["momentum_buffer"]),
                reference.buffers[i],
                rtol=tolerance,
                atol=tolerance,
            )


PLACES = [
    "cpu",
    "array_api_strict",
    "torch:cpu",
    pytest.param("cuda", marks=pytest.mark.cuda),
]


@pytest.mark.parametrize("device", PLACES, indirect=True)
@pytest.mark.parametrize("options", COMBINATIONS, ids=named)
def test_options_follow_the_formula(options: Options, device: gl.Device) -> None:
    """With scaled and clipped gradients, in float64."""
    follow(options, device, "float64", 1e-12, max_norm=1.5, grad_scale=4.0)


@pytest.mark.parametrize("options", COMBINATIONS, ids=named)
def test_options_follow_the_formula_in_float32(options: Options) -> None:
    """A step may lose a few units in the last place; libraries agree, see below."""
    follow(options, gl.Device("cpu"), "float32", 2e-5, max_norm=None, grad_scale=None)


TORCH_OPTIONS = [
    o
    for o in combinations(
        momentum=(0.0, 0.9),
        dampening=(0.0, 0.3),
        weight_decay=(0.0, 0.1),
        nesterov=(False, True),
        maximize=(False, True),
        momentum_form=("classic", "torch"),
        decoupled_weight_decay=(False,),
        alpha=(0.0,),
        proximal=(False,),
    )
    if bool(o["momentum"]) == (o["momentum_form"] == "torch")
]


@pytest.fixture(scope="module")
def torch() -> Any:
    """PyTorch, whose optimizers import much when the first one is made."""
    torch = pytest.importorskip("torch")
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    return torch


@pytest.mark.parametrize("options", TORCH_OPTIONS, ids=named)
def test_torch_form_equals_torch(options: Options, torch: Any) -> None:
    values, grads = start(5)
    ours = [gl.tensor(v, requires_grad=True) for v in values]
    theirs = [torch.tensor(v, requires_grad=True) for v in values]
    shared = {
        k: options[k]
        for k in ("momentum", "dampening", "weight_decay", "nesterov", "maximize")
    }
    mine, peer = gl.optim.SGD(ours, **options), torch.optim.SGD(theirs, **shared)
    for k, row in enumerate(grads):
        lr = 0.1 / (1 + k)
        mine.param_groups[0]["lr"] = peer.param_groups[0]["lr"] = lr
        for i, g in enumerate(row):
            if i != LATE or k >= 3:
                ours[i].grad, theirs[i].grad = gl.tensor(g), torch.tensor(g)
        mine.step()
        peer.step()
    for our, their in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(host(our), their.detach().numpy(), rtol=1e-13)


def run_batch(
    device: str, dtype: str, options: Options, make: Any = None
) -> list[bytes]:
    """Return the bits of parameters and buffers after some steps of a batch."""
    values, grads = start(7)
    where = gl.Device(device)

    def raw(array: Any, dtype: str = dtype) -> Any:
        return where.backend.from_host(np.array(array, dtype=dtype), where.raw)

    update = _updates.sgd(**options)
    wide = "float32" if dtype == "float16" else dtype
    params = [raw(v) for v in values]
    states = [[raw(np.zeros_like(v), wide) for _ in update.states] for v in values]
    n = len(params)
    batch = (make or where.backend.batch)(params, states, [0] * n, [0] * n, [None] * n)
    arrays = {"grad_scale": raw(3.0, wide), "clip": raw(0.37, wide)}
    for k in range(3):
        batch.step(
            [raw(g) for g in grads[k]],
            [update],
            **(arrays if k % 2 else {"grad_scale": 3.0, "clip": 0.37}),
        )
    assert batch.steps.tolist() == [3] * n
    return [
        where.backend.to_host(a).tobytes() for a in [*params, *itertools.chain(*states)]
    ]


@pytest.fixture(params=[False, True], ids=["blocks", "jit"])
def way(request: pytest.FixtureRequest) -> Any:
    """Make the CPU update with NumPy's blocks, then with numba's loops."""
    if request.param:
        pytest.importorskip("numba")
    cpu.set_jit(request.param)
    assert cpu.has_jit() is request.param
    yield
    cpu.set_jit(True)


@pytest.mark.parametrize("options", COMBINATIONS, ids=named)
def test_backends_agree_bit_for_bit(
    options: Options, way: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def portable(*arguments: Any) -> PortableBatch:
        return PortableBatch(cpu.xp, *arguments)

    for dtype in ("float16", "float32", "float64"):
        expected = run_batch("cpu", dtype, options, portable)
        assert run_batch("cpu", dtype, options) == expected
        with monkeypatch.context() as patch:
            patch.setattr(_cpu_updates, "BLOCK", 4)
            assert run_batch("cpu", dtype, options) == expected


@pytest.mark.parametrize("options", COMBINATIONS, ids=named)
def test_libraries_agree_bit_for_bit(options: Options, other_device: gl.Device) -> None:
    has_half = other_device.type != "array_api_strict"
    for dtype in ["float32", "float16"] if has_half else ["float32"]:
        expected = run_batch("cpu", dtype, options)
        assert run_batch(other_device.name, dtype, options) == expected


@pytest.mark.parametrize("order", ["C", "F", "sliced", "reversed", "mixed"])
@pytest.mark.parametrize("shape", [(7, 11), (101,), (1, 40), (3, 5, 4)], ids=str)
def test_blocks_change_no_bit(
    shape: tuple[int, ...], order: str, way: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(11)

    def arranged(array: Any, order: str) -> Any:
        if order == "sliced":
            wide = np.zeros((*shape[:-1], 2 * shape[-1]))
            wide[..., ::2] = array
            return wide[..., ::2]
        if order == "reversed":
            return array[::-1].copy()[::-1]
        return np.array(array, order="F" if order == "F" else "C")

    p, g, v = rng.standard_normal((3, *shape))
    orders = ("C", "F", "sliced") if order == "mixed" else (order,) * 3
    plain = g + 0.1 * np.sign(p)
    velocity = 0.9 * v - 0.1 * plain
    for block in (1, 8, 50, 10_000):
        monkeypatch.setattr(_cpu_updates, "BLOCK", block)
        q, h, w = (arranged(a, o) for a, o in zip((p, g, v), orders, strict=True))
        sgd_([q], [h], [w], lr=0.1, momentum=0.9, alpha=0.1)
        np.testing.assert_array_equal(w, velocity)
        np.testing.assert_array_equal(q, p + velocity)
        np.testing.assert_array_equal(h, g)
        assert cpu.global_norm([h]) == pytest.approx(np.linalg.norm(g), rel=1e-14)


def test_float16_is_updated_in_float32_and_rounded_for_the_parameter_only() -> None:
    rng = np.random.default_rng(13)
    values = rng.standard_normal(1000).astype(np.float16)
    param = gl.tensor(values, requires_grad=True)
    optimizer = gl.optim.SGD([param], lr=1e-3, momentum=0.9, weight_decay=0.01)
    p, v = values.astype(np.float32), np.zeros(1000, dtype=np.float32)
    for _ in range(5):
        g = rng.standard_normal(1000).astype(np.float16)
        param.grad = gl.tensor(g)
        optimizer.step()
        wide = g.astype(np.float32) + np.float32(0.01) * p
        v = v * np.float32(0.9) - np.float32(1e-3) * wide
        p = p + v
    np.testing.assert_array_equal(host(param), p.astype(np.float16))
    np.testing.assert_array_equal(host(optimizer.state[param]["master_param"]), p)
    np.testing.assert_array_equal(host(optimizer.state[param]["momentum_buffer"]), v)


@pytest.mark.parametrize("kind", [float, np.float32, np.float64])
def test_hyperparameters_are_coerced_at_the_door(kind: type) -> None:
    values = np.linspace(-1, 1, 9, dtype=np.float32)
    param = gl.tensor(values, requires_grad=True)
    param.grad = gl.tensor(values)
    gl.optim.SGD([param], lr=kind(0.25)).step(grad_scale=kind(2.0))
    assert param.dtype is gl.float32
    np.testing.assert_array_equal(host(param), values - values / 2 * np.float32(0.25))


def test_products_of_hyperparameters_are_rounded_once() -> None:
    g = np.random.default_rng(23).standard_normal(1000).astype(np.float32)
    moved, shrunk = gl.zeros(1000, requires_grad=True), gl.tensor(g, requires_grad=True)
    moved.grad, shrunk.grad = gl.tensor(g), gl.zeros(1000)
    gl.optim.SGD([moved], lr=0.1, momentum=0.9, dampening=0.3).step()
    np.testing.assert_array_equal(host(moved), -np.float32(0.1 * 0.7) * g)
    gl.optim.SGD([shrunk], lr=0.1, weight_decay=0.3, decoupled_weight_decay=True).step()
    np.testing.assert_array_equal(host(shrunk), np.float32(1 - 0.1 * 0.3) * g)


def trajectory(form: str, rates: list[float], **options: Any) -> list[float]:
    rng = np.random.default_rng(17)
    param = gl.tensor(rng.standard_normal(6), requires_grad=True)
    optimizer = gl.optim.SGD([param], momentum=0.9, momentum_form=form, **options)
    for lr in rates:
        optimizer.param_groups[0]["lr"] = lr
        param.grad = gl.tensor(rng.standard_normal(6))
        optimizer.step()
    return host(param).tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize("dtype", [gl.float16, gl.float32])
def test_pytorchs_sum_starts_with_the_momentum(dtype: Any) -> None:
    """With an undampened gradient, however many steps there were before."""
    p = gl.ones(2, dtype=dtype, requires_grad=True)
    optimizer = gl.optim.SGD([p], lr=0.25, momentum_form="torch")
    p.grad = gl.zeros(2, dtype=dtype)
    optimizer.step()
    optimizer.param_groups[0].update(momentum=0.5, dampening=0.75)
    p.grad = gl.ones(2, dtype=dtype)
    optimizer.step()
    assert optimizer.state[p]["momentum_buffer"].tolist() == [1.0, 1.0]
    assert p.tolist() == [0.75, 0.75]


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_forms_agree_while_lr_is_constant_only(nesterov: bool, decay: float) -> None:
    o = {"nesterov": nesterov, "weight_decay": decay}
    constant, falling = [0.1] * STEPS, [0.1 / (1 + k) for k in range(STEPS)]
    same = trajectory("torch", constant, **o)
    assert trajectory("classic", constant, **o) == pytest.approx(same, rel=1e-12)
    other = trajectory("torch", falling, **o)
    assert trajectory("classic", falling, **o) != pytest.approx(other, rel=1e-2)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize(
    ("target", "minimiser"),
    [(1.0, 0.7), (-1.0, -0.7), (0.2, 0.0), (-0.2, 0.0)],
)
def test_proximal_finds_the_minimiser_of_the_lasso(
    momentum: float, target: float, minimiser: float
) -> None:
    """(p - target)**2 / 2 + 0.3 * |p|, from both sides of zero."""
    param = gl.tensor([2.0, -2.0, 0.0], dtype=gl.float64, requires_grad=True)
    optimizer = gl.optim.SGD([param], 0.1, momentum, alpha=0.3, proximal=True)
    for _ in range(400):
        param.grad = param.detach() - target
        optimizer.step()
    np.testing.assert_allclose(host(param), minimiser, atol=1e-9)
    if minimiser == 0.0:
        assert host(param).tobytes() == bytes(24)  # true zeros, without a sign


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}, {"momentum_form": "torch"}])
def test_exact_zeros_stay_with_l1(options: Options) -> None:
    """SEED: the sign at 0 was -1, which pushed exact zeros off zero."""
    param = gl.zeros(3, requires_grad=True)
    optimizer = gl.optim.SGD([param], lr=0.1, alpha=0.5, **options)
    for _ in range(3):
        param.grad = gl.zeros(3)
        optimizer.step()
    assert param.tolist() == [0.0, 0.0, 0.0]


def test_max_norm_is_one_norm_over_all_groups_after_unscaling() -> None:
    p, q = gl.zeros(1, requires_grad=True), gl.zeros(1, requires_grad=True)
    groups = [{"params": [p]}, {"params": [q], "lr": 0.5}]
    optimizer = gl.optim.SGD(groups, lr=1.0, max_norm=1.0)
    p.grad, q.grad = gl.tensor([30.0]), gl.tensor([40.0])
    optimizer.step(grad_scale=10.0)  # norm 5
    assert p.item() == pytest.approx(-0.6, rel=1e-6)
    assert q.item() == pytest.approx(-0.4, rel=1e-6)


def test_max_norm_leaves_short_gradients_alone() -> None:
    values = np.linspace(0.1, 0.3, 5, dtype=np.float32)
    param = gl.zeros(5, requires_grad=True)
    param.grad = gl.tensor(values)
    gl.optim.SGD([param], lr=1.0, max_norm=10.0).step()
    np.testing.assert_array_equal(host(param), -values)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_bad_gradient_reaches_the_parameters(bad: float) -> None:
    """Without found_inf nothing hides it."""
    param = gl.zeros(2, requires_grad=True)
    param.grad = gl.tensor([1.0, bad])
    optimizer = gl.optim.SGD([param], lr=1.0, max_norm=1.0)
    with np.errstate(invalid="ignore"):
        optimizer.step()
    assert math.isnan(param[1].item())


def test_global_norm(device: gl.Device) -> None:
    rng = np.random.default_rng(19)
    arrays = [
        rng.standard_normal(s).astype("float32") for s in [(400, 300), (), (0,), (7,)]
    ]
    expected = math.sqrt(math.fsum(float(x) ** 2 for a in arrays for x in a.flat)) / 8
    backend = device.backend
    raw = [backend.from_host(a, device.raw) for a in arrays]
    norm = backend.global_norm(raw, grad_scale=8.0)
    assert norm.shape == ()
    ulps = 4 * math.log2(sum(a.size for a in arrays))
    assert abs(float(norm) - expected) <= ulps * np.spacing(np.float32(expected))
    mixed = [raw[0], backend.from_host(np.ones(2), device.raw)]
    assert backend.of_dtype(backend.global_norm(mixed).dtype) is gl.float64


def test_global_norm_of_float16_is_accumulated_in_float32() -> None:
    array = np.full(5000, 100.0, dtype=np.float16)
    norm = gl.Device("cpu").backend.global_norm([array])
    assert float(norm) == pytest.approx(100 * math.sqrt(5000), rel=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"momentum": 0.9},
        {"momentum": 0.9, "momentum_form": "torch", "nesterov": True},
        {"momentum": 0.9, "alpha": 0.1, "proximal": True},
        {"alpha": 0.1, "weight_decay": 0.1, "maximize": True, "max_norm": 1.0},
    ],
    ids=named,
)
def test_a_step_allocates_nothing_of_parameter_size(options: Options) -> None:
    n = 1 << 21
    param = gl.ones(n, requires_grad=True)
    param.grad = gl.ones(n)
    optimizer = gl.optim.SGD([param], lr=0.1, **options)
    optimizer.step(grad_scale=2.0)
    tracemalloc.start()
    try:
        optimizer.step(grad_scale=2.0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * n / 4  # a quarter of the parameter's bytes
