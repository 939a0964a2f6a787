"""All optimizers: their values against formulas and PyTorch, and what they share."""

from __future__ import annotations

import copy
import inspect
import itertools
import math
import pickle
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import gradlite as gl
from gradlite.optim import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop

Options = dict[str, Any]
State = dict[str, Any]

SHAPES: list[tuple[int, ...]] = [(3, 4), (), (0, 2)]
STEPS = 20
LATE = 1  # this parameter has no gradient in the first steps, and in one later


def is_missing(i: int, k: int) -> bool:
    return i == LATE and (k < 3 or k == 9)


# The formulas in float64, for the t-th update of one parameter


def sgd(o: Options, p: Any, g: Any, state: State, t: int) -> Any:
    g = g + o["weight_decay"] * p
    v = state["momentum_buffer"] = (
        o["momentum"] * state.get("momentum_buffer", 0.0) - o["lr"] * g
    )
    return p + v


def adam(o: Options, p: Any, g: Any, state: State, t: int) -> Any:
    (first, second), shrink = o["betas"], o["weight_decay"]
    if o["decoupled_weight_decay"]:
        p = p - o["lr"] * shrink * p
    else:
        g = g + shrink * p
    m = state["exp_avg"] = first * state.get("exp_avg", 0.0) + (1 - first) * g
    v = state["exp_avg_sq"] = (
        second * state.get("exp_avg_sq", 0.0) + (1 - second) * g**2
    )
    if o["amsgrad"]:
        v = np.maximum(state.get("max_exp_avg_sq", 0.0), v)
        state["max_exp_avg_sq"] = v
    m, v = m / (1 - first**t), v / (1 - second**t)
    return p - o["lr"] * m / (np.sqrt(v) + o["eps"])


def rmsprop(o: Options, p: Any, g: Any, state: State, t: int) -> Any:
    alpha = o["alpha"]
    g = g + o["weight_decay"] * p
    v = state["square_avg"] = alpha * state.get("square_avg", 0.0) + (1 - alpha) * g**2
    if o["centered"]:
        a = state["grad_avg"] = alpha * state.get("grad_avg", 0.0) + (1 - alpha) * g
        v = v - a**2
    d = g / (np.sqrt(v) + o["eps"])
    if o["momentum"]:
        d = d + o["momentum"] * state.get("momentum_buffer", 0.0)
        state["momentum_buffer"] = d
    return p - o["lr"] * d


def adagrad(o: Options, p: Any, g: Any, state: State, t: int) -> Any:
    g = g + o["weight_decay"] * p
    s = state["sum"] = state.get("sum", o["initial_accumulator_value"]) + g**2
    return p - o["lr"] / (1 + (t - 1) * o["lr_decay"]) * g / (np.sqrt(s) + o["eps"])


class Reference:
    """Parameters that follow a formula in float64."""

    def __init__(
        self, formula: Callable[..., Any], values: list[Any], **options: Any
    ) -> None:
        self.values = [np.asarray(v, dtype=np.float64) for v in values]
        self.states: list[State] = [{"step": 0} for _ in values]
        self.formula = formula
        self.options = options

    def step(
        self,
        grads: list[Any],
        max_norm: float | None = None,
        grad_scale: float | None = None,
    ) -> None:
        scaled = [g if g is None else np.float64(g) / (grad_scale or 1) for g in grads]
        total = math.fsum(x * x for g in scaled if g is not None for x in g.flat)
        factor = 1.0
        if max_norm is not None:
            factor = min(1.0, max_norm / (math.sqrt(total) + 1e-6))
        sign = -1.0 if self.options.get("maximize") else 1.0
        for i, g in enumerate(scaled):
            if g is not None:
                state = self.states[i]
                state["step"] += 1
                self.values[i] = self.formula(
                    self.options,
                    self.values[i],
                    sign * factor * g,
                    state,
                    state["step"],
                )


# The table


@dataclass(frozen=True)
class Case:
    """An optimizer, and options that all matter."""

    kind: type[Optimizer]
    formula: Callable[..., Any]
    options: Options = field(default_factory=dict)

    def __str__(self) -> str:
        chosen = [
            name for name in self.options if name in SWITCHES and self.options[name]
        ]
        return "-".join([self.kind.__name__, *chosen])

    def make(self, params: Any, **more: Any) -> Optimizer:
        options = {**self.options, **more}
        if self.kind is AdamW:
            options.pop("decoupled_weight_decay", None)
        return self.kind(params, **options)


def cases(
    kind: type[Optimizer],
    formula: Callable[..., Any],
    fixed: Options,
    **choices: tuple[Any, ...],
) -> list[Case]:
    products = itertools.product(*choices.values())
    return [
        Case(kind, formula, {**fixed, **dict(zip(choices, values, strict=True))})
        for values in products
    ]


ON, DECAY = (False, True), (0.0, 0.1)
MEANS: Options = {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-6}
CASES = [
    *cases(
        Adam,
        adam,
        {**MEANS, "decoupled_weight_decay": False},
        weight_decay=DECAY,
        amsgrad=ON,
        maximize=ON,
    ),
    *cases(
        AdamW,
        adam,
        {**MEANS, "decoupled_weight_decay": True, "weight_decay": 0.1},
        amsgrad=ON,
        maximize=ON,
    ),
    *cases(
        RMSprop,
        rmsprop,
        {"lr": 0.02, "alpha": 0.9, "eps": 1e-6},
        weight_decay=DECAY,
        momentum=(0.0, 0.9),
        centered=ON,
        maximize=ON,
    ),
    *cases(
        Adagrad,
        adagrad,
        {"lr": 0.1, "eps": 1e-6},
        lr_decay=DECAY,
        weight_decay=DECAY,
        initial_accumulator_value=(0.0, 0.5),
        maximize=ON,
    ),
]

SWITCHES = {
    "weight_decay", "amsgrad", "maximize", "momentum", "centered", "lr_decay",
    "initial_accumulator_value",
}  # fmt: skip


def pick(kind: type[Optimizer], *switches: str) -> Case:
    """Return the case in which exactly these options are on."""
    (found,) = (
        case
        for case in CASES
        if case.kind is kind
        if {name for name in SWITCHES if case.options.get(name)} == set(switches)
    )
    return found


SGD_CASE = Case(SGD, sgd, {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.1})
COUNTED = [
    pick(Adam, "weight_decay", "amsgrad"),
    pick(AdamW, "weight_decay"),
    pick(RMSprop, "weight_decay", "momentum", "centered"),
    pick(Adagrad, "lr_decay", "weight_decay", "initial_accumulator_value"),
]
ONE_OF_EACH = [
    SGD_CASE,
    Case(SGD, sgd, {"lr": 0.05, "momentum": 0.9, "momentum_form": "torch"}),
    *COUNTED,
]


def start(seed: int) -> tuple[list[Any], list[list[Any]]]:
    """Return parameters and gradients of all steps, with zeros among them."""
    rng = np.random.default_rng(seed)
    values = [np.asarray(rng.standard_normal(shape)) for shape in SHAPES]
    masks = [np.asarray(rng.random(shape) < 0.8) for shape in SHAPES]
    grads = [[m * rng.standard_normal(m.shape) for m in masks] for _ in range(STEPS)]
    return values, grads


def host(tensor: gl.Tensor) -> Any:
    return tensor.detach().cpu().numpy()


def parameter(values: Any, **options: Any) -> gl.Tensor:
    return gl.tensor(values, requires_grad=True, **options)


# Values


def follow(
    case: Case,
    device: gl.Device,
    dtype: str,
    tolerance: float,
    max_norm: float | None = None,
    grad_scale: float | None = None,
) -> None:
    """Compare 20 steps with the formula: parameters, state, and untouched gradients."""
    values, grads = start(3)
    values = [v.astype(dtype) for v in values]
    params = [parameter(v, device=device) for v in values]
    optimizer = case.make(params, max_norm=max_norm)
    reference = Reference(case.formula, values, **case.options)
    for k in range(STEPS):
        row = [
            None if is_missing(i, k) else g.astype(dtype)
            for i, g in enumerate(grads[k])
        ]
        for param, g in zip(params, row, strict=True):
            param.grad = None if g is None else gl.tensor(g, device=device)
        optimizer.step(grad_scale=grad_scale)
        reference.step(row, max_norm, grad_scale)
        for param, g in zip(params, row, strict=True):
            if g is not None:
                np.testing.assert_array_equal(host(param.grad), g)
    for param, value, state in zip(
        params, reference.values, reference.states, strict=True
    ):
        np.testing.assert_allclose(host(param), value, rtol=tolerance, atol=tolerance)
        assert set(optimizer.state[param]) == set(state)
        for name, expected in state.items():
            found = optimizer.state[param][name]
            assert found.shape == np.shape(expected)
            np.testing.assert_allclose(
                host(found), expected, rtol=tolerance, atol=tolerance, err_msg=name
            )


@pytest.mark.parametrize("case", CASES, ids=str)
def test_options_follow_the_formula(case: Case, device: gl.Device) -> None:
    """With scaled and clipped gradients, in float64."""
    follow(case, device, "float64", 1e-11, max_norm=1.5, grad_scale=4.0)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_options_follow_the_formula_in_float32(case: Case) -> None:
    """With plain gradients; other libraries give the same bits, see below."""
    follow(case, gl.Device("cpu"), "float32", 2e-4)


TORCH_NAMES = {
    "lr", "betas", "eps", "weight_decay", "amsgrad", "maximize", "alpha", "momentum",
    "centered", "lr_decay", "initial_accumulator_value",
}  # fmt: skip


@pytest.fixture(scope="module")
def torch() -> Any:
    """PyTorch, whose optimizers import much when the first one is made."""
    torch = pytest.importorskip("torch")
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    return torch


def peer_of(torch: Any, case: Case, params: Any) -> Any:
    options = {k: v for k, v in case.options.items() if k in TORCH_NAMES}
    return getattr(torch.optim, case.kind.__name__)(params, **options)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_values_are_pytorchs(case: Case, torch: Any) -> None:
    """While the learning rate changes, with missing gradients."""
    values, grads = start(5)
    ours = [parameter(v) for v in values]
    theirs = [torch.tensor(v, requires_grad=True) for v in values]
    optimizer, peer = case.make(ours), peer_of(torch, case, theirs)
    for k, row in enumerate(grads):
        lr = 0.1 / (1 + k)
        optimizer.param_groups[0]["lr"] = peer.param_groups[0]["lr"] = lr
        for i, g in enumerate(row):
            gone = is_missing(i, k)
            ours[i].grad = None if gone else gl.tensor(g)
            theirs[i].grad = None if gone else torch.tensor(g)
        optimizer.step()
        peer.step()
    for our, their in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(host(our), their.detach().numpy(), rtol=1e-11)


@pytest.mark.parametrize("kind", [SGD, Adam, AdamW, RMSprop, Adagrad])
def test_names_and_defaults_are_pytorchs(kind: type[Optimizer], torch: Any) -> None:
    theirs = inspect.signature(getattr(torch.optim, kind.__name__)).parameters
    ours = inspect.signature(kind).parameters
    ignored = {"params", "foreach", "capturable", "differentiable", "fused"}
    for name in set(theirs) - ignored:
        assert ours[name].default == theirs[name].default, name
    positional = [n for n, p in ours.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert positional in (["params", "lr"], ["params", "lr", "momentum"])


@pytest.mark.parametrize("case", CASES, ids=str)
def test_libraries_agree_bit_for_bit(case: Case, other_device: gl.Device) -> None:
    if other_device.type == "torch":
        pytest.skip("PyTorch does not round square roots correctly on every CPU")

    def run(device: gl.Device) -> list[bytes]:
        values, grads = start(7)
        params = [parameter(v.astype(np.float32), device=device) for v in values]
        optimizer = case.make(params)
        for k in range(4):
            for i, g in enumerate(grads[k]):
                if not is_missing(i, k):
                    params[i].grad = gl.tensor(g.astype(np.float32), device=device)
            optimizer.step(grad_scale=3.0)
        arrays = [a for p in params for a in (p, *optimizer.state[p].values())]
        return [host(array).tobytes() for array in arrays]

    assert run(other_device) == run(gl.Device("cpu"))


def test_parameters_of_16_bits_follow_a_run_in_float32(device: gl.Device) -> None:
    """Of masters that are rounded for the parameters only."""
    if device.type == "array_api_strict":
        pytest.skip("array_api_strict has no float16")
    for case in ONE_OF_EACH:
        rng = np.random.default_rng(11)
        values = rng.standard_normal(50).astype(np.float16)
        narrow = parameter(values, device=device)
        wide = parameter(values.astype(np.float32), device=device)
        narrow_run, wide_run = case.make([narrow]), case.make([wide])
        for _ in range(STEPS):
            g = rng.standard_normal(50).astype(np.float16)
            narrow.grad = gl.tensor(g, device=device)
            wide.grad = gl.tensor(g.astype(np.float32), device=device)
            narrow_run.step(grad_scale=2.0)
            wide_run.step(grad_scale=2.0)
        state = dict(narrow_run.state[narrow])
        master = state.pop("master_param")
        np.testing.assert_array_equal(host(master), host(wide))
        np.testing.assert_array_equal(host(narrow), host(wide).astype(np.float16))
        for name, value in wide_run.state[wide].items():
            if isinstance(value, gl.Tensor):
                np.testing.assert_array_equal(host(state[name]), host(value))
                assert state[name].dtype is value.dtype


# What changes between steps


CHANGES: list[tuple[Case, Options]] = [
    (SGD_CASE, {"lr": 0.1, "momentum": 0.5, "weight_decay": 0.0}),
    (pick(Adam), {"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-3}),
    (pick(Adam), {"weight_decay": 0.2}),
    (pick(Adam), {"amsgrad": True, "maximize": True}),
    (pick(Adam, "weight_decay"), {"decoupled_weight_decay": True}),
    (pick(AdamW, "weight_decay"), {"weight_decay": 0.0, "betas": [0.5, 0.9]}),
    (pick(RMSprop), {"momentum": 0.5, "centered": True}),
    (pick(RMSprop, "momentum"), {"momentum": 0.0, "alpha": 0.5}),
    (pick(Adagrad), {"lr_decay": 0.3, "weight_decay": 0.2, "eps": 1e-2}),
]


@pytest.mark.parametrize(("case", "changes"), CHANGES, ids=str)
def test_changed_options_take_effect_and_can_be_taken_back(
    case: Case, changes: Options
) -> None:
    """What is not used for a while rests, and goes on where it was."""
    values, grads = start(13)
    params = [parameter(v) for v in values]
    optimizer, reference = case.make(params), Reference(case.formula, values)
    for k in range(12):
        changed = {**case.options, **(changes if k // 4 == 1 else {})}
        optimizer.param_groups[0].update(changed)
        reference.options = changed
        row = [None if is_missing(i, k) else g for i, g in enumerate(grads[k])]
        for param, g in zip(params, row, strict=True):
            param.grad = None if g is None else gl.tensor(g)
        optimizer.step()
        reference.step(row)
    for param, value in zip(params, reference.values, strict=True):
        np.testing.assert_allclose(host(param), value, rtol=1e-11, atol=1e-13)


def test_betas_in_a_list_cannot_change_unnoticed() -> None:
    betas: Any = [0.5, 0.75]
    p, q = parameter([1.0]), parameter([1.0])
    optimizer = Adam([{"params": [p]}, {"params": [q], "betas": betas}], betas=betas)
    betas[0] = 2.0
    assert [g["betas"] for g in optimizer.param_groups] == [(0.5, 0.75)] * 2
    optimizer.param_groups[0]["betas"] = later = [0.25, 0.5]
    p.grad = gl.ones(1)
    optimizer.step()
    later[0] = 2.0
    optimizer.step()
    assert optimizer.param_groups[0]["betas"] == (0.25, 0.5)


GROUPS: list[tuple[Case, Options]] = [
    (SGD_CASE, {"lr": 0.1, "momentum": 0.0}),
    (pick(Adam), {"betas": (0.5, 0.9), "weight_decay": 0.2}),
    (pick(Adam), {"amsgrad": True}),
    (pick(AdamW, "weight_decay"), {"decoupled_weight_decay": False}),
    (pick(RMSprop), {"centered": True, "momentum": 0.9}),
    (pick(Adagrad), {"initial_accumulator_value": 0.5, "lr_decay": 0.1}),
]


@pytest.mark.parametrize(("case", "changes"), GROUPS, ids=str)
def test_groups_are_like_optimizers_of_their_own(case: Case, changes: Options) -> None:
    values, grads = start(17)
    together, apart = [parameter(v) for v in values], [parameter(v) for v in values]
    groups = [{"params": together[::2]}, {"params": together[1::2], **changes}]
    whole = case.make(groups)
    second = [{"params": apart[1::2], **changes}]
    parts = [case.make(apart[::2]), case.make(second)]
    for row in grads[:5]:
        for params in (together, apart):
            for param, g in zip(params, row, strict=True):
                param.grad = gl.tensor(g)
        for optimizer in (whole, *parts):
            optimizer.step()
    for p, q in zip(together, apart, strict=True):
        assert host(p).tobytes() == host(q).tobytes()


def test_decoupled_decay_of_zero_changes_no_bit() -> None:
    def run(kind: type[Optimizer], **options: Any) -> bytes:
        values, grads = start(19)
        param = parameter(values[0])
        optimizer = kind([param], lr=0.1, **options)
        for row in grads[:5]:
            param.grad = gl.tensor(row[0])
            optimizer.step()
        return host(param).tobytes()

    plain = run(Adam)
    assert run(AdamW, weight_decay=0.0) == plain
    assert run(Adam, decoupled_weight_decay=True) == plain
    assert run(AdamW) == run(Adam, decoupled_weight_decay=True, weight_decay=1e-2)
    assert run(AdamW) != plain
    assert run(Adam, weight_decay=1e-2) not in (plain, run(AdamW))


# Steps that are not counted


@pytest.mark.parametrize("case", COUNTED, ids=str)
def test_a_missing_gradient_does_not_count(case: Case) -> None:
    p, q = parameter([1.0]), parameter([1.0])
    optimizer = case.make([p, q])
    for k in range(4):
        p.grad, q.grad = gl.ones(1), None if k % 2 else gl.ones(1)
        optimizer.step()
    assert [optimizer.state[x]["step"].item() for x in (p, q)] == [4, 2]
    assert optimizer.state[p]["step"].dtype is gl.int64
    assert optimizer.state[p]["step"].shape == ()


@pytest.mark.parametrize("flag", ["bool", "tensor"])
@pytest.mark.parametrize("case", ONE_OF_EACH, ids=str)
def test_a_skipped_step_leaves_no_trace(
    case: Case, flag: str, device: gl.Device
) -> None:
    values, grads = start(23)
    params = [parameter(v, device=device) for v in values]
    twins = [parameter(v, device=device) for v in values]
    optimizer, plain = case.make(params), case.make(twins)
    for k, skip in enumerate([True, False, False, True, False]):
        for param, twin, g in zip(params, twins, grads[k], strict=True):
            bad = np.full_like(g, math.inf)
            param.grad = gl.tensor(bad if skip else g, device=device)
            twin.grad = gl.tensor(g, device=device)
        found: Any = skip if flag == "bool" else gl.tensor(skip, device=device)
        optimizer.step(found_inf=found)
        if not skip:
            plain.step()
    assert optimizer.skipped_steps == 2
    for param, twin in zip(params, twins, strict=True):
        assert host(param).tobytes() == host(twin).tobytes()
        for name, value in plain.state[twin].items():
            if isinstance(value, gl.Tensor):
                found = optimizer.state[param][name]
                np.testing.assert_array_equal(host(found), host(value))


@pytest.mark.parametrize("case", ONE_OF_EACH, ids=str)
def test_a_deleted_state_begins_anew(case: Case) -> None:
    """Also the number of the step, on which the bias correction depends."""
    values, grads = start(31)
    p, q = parameter(values[0]), parameter(values[0])
    optimizer = case.make([p, parameter(values[0])])
    for row in grads[:3]:
        p.grad = gl.tensor(row[0])
        optimizer.step()
    del optimizer.state[p]
    q.data = p.data.clone()
    fresh = case.make([q])
    for row in grads[3:6]:
        p.grad, q.grad = gl.tensor(row[0]), gl.tensor(row[0])
        optimizer.step()
        fresh.step()
    assert host(p).tobytes() == host(q).tobytes()
    if case in COUNTED:
        assert optimizer.state[p]["step"].item() == 3


@pytest.mark.parametrize("case", COUNTED, ids=str)
def test_a_step_allocates_nothing_of_parameter_size(case: Case) -> None:
    n = 1 << 20
    param = gl.ones(n, requires_grad=True)
    param.grad = gl.ones(n)
    optimizer = case.make([param], max_norm=1.0)
    optimizer.step(grad_scale=2.0)
    tracemalloc.start()
    try:
        optimizer.step(grad_scale=2.0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < n  # a quarter of the parameter's bytes


# Checkpoints and copies


class Net(gl.nn.Module):
    """Parameters of several shapes, one of which is used now and then."""

    def __init__(self, dtype: Any, seed: int = 1) -> None:
        super().__init__()
        rng = np.random.default_rng(seed)

        def make(*shape: int) -> gl.nn.Parameter:
            return gl.nn.Parameter(gl.tensor(rng.standard_normal(shape), dtype=dtype))

        self.weight, self.scale, self.bias = make(4, 3), make(), make(3)

    def forward(self, x: gl.Tensor, *, with_scale: bool) -> gl.Tensor:
        y = gl.tanh(x @ self.weight + self.bias)
        return (y * self.scale if with_scale else y).mean()


def train(net: Net, optimizer: Optimizer, steps: range) -> None:
    for k in steps:
        x = np.random.default_rng(k).standard_normal((2, 4))
        optimizer.zero_grad()
        net(gl.tensor(x, dtype=net.weight.dtype), with_scale=bool(k % 2)).backward()
        optimizer.step()


def bits(net: Net, optimizer: Optimizer) -> list[Any]:
    """Return all that a later step depends on."""
    found: list[Any] = []
    for param in net.parameters():
        found.append(host(param).tobytes())
        entries = sorted(optimizer.state[param].items())
        found += [
            (k, host(v).tobytes() if isinstance(v, gl.Tensor) else v)
            for k, v in entries
        ]
    return found


@pytest.mark.parametrize("named", [False, True], ids=["positions", "names"])
@pytest.mark.parametrize("order", ["model-first", "optimizer-first"])
@pytest.mark.parametrize("dtype", [gl.float16, gl.float32], ids=["float16", "float32"])
@pytest.mark.parametrize("case", [*ONE_OF_EACH, Case(SGD, sgd, {"lr": 0.05})], ids=str)
def test_resuming_equals_not_having_stopped(
    case: Case, dtype: Any, order: str, named: bool
) -> None:
    """Bit for bit, also where the model is rounded: its masters are in the state."""

    def build(seed: int) -> tuple[Net, Optimizer]:
        net = Net(dtype, seed)
        params = net.named_parameters() if named else net.parameters()
        return net, case.make(params, max_norm=0.2)

    whole = build(1)
    train(*whole, range(9))
    net, optimizer = build(1)
    train(net, optimizer, range(4))
    saved = copy.deepcopy([net.state_dict(), optimizer.state_dict()])
    train(net, optimizer, range(2))  # what was saved is a copy
    loaders: list[Any] = list(resumed := build(2))
    if order == "optimizer-first":
        loaders.reverse()
        saved.reverse()
    for loader, part in zip(loaders, saved, strict=True):
        loader.load_state_dict(part)
    train(*resumed, range(4, 9))
    assert bits(*resumed) == bits(*whole)


@pytest.mark.parametrize("case", ONE_OF_EACH, ids=str)
@pytest.mark.parametrize("dtype", [gl.float16, gl.float32], ids=["float16", "float32"])
@pytest.mark.parametrize(
    "copier",
    [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))],
    ids=["deepcopy", "pickle"],
)
def test_copies_are_independent_and_go_on_alike(
    case: Case, dtype: Any, copier: Callable[[Any], Any]
) -> None:
    net = Net(dtype)
    optimizer = case.make(net.parameters())
    train(net, optimizer, range(4))
    before = bits(net, optimizer)
    twin, twins_optimizer = copier((net, optimizer))
    assert twins_optimizer.param_groups[0]["params"][0] is twin.weight
    train(twin, twins_optimizer, range(4, 7))
    assert bits(net, optimizer) == before
    train(net, optimizer, range(4, 7))
    assert bits(twin, twins_optimizer) == bits(net, optimizer)


@pytest.mark.parametrize("case", ONE_OF_EACH, ids=str)
def test_state_is_matched_by_name(case: Case) -> None:
    net, other = Net(gl.float32, 1), Net(gl.float32, 1)
    source = case.make(net.named_parameters())
    reordered = sorted(other.named_parameters())
    assert [name for name, _ in reordered] != [
        name for name, _ in net.named_parameters()
    ]
    target = case.make(reordered)
    train(net, source, range(3))
    other.load_state_dict(net.state_dict())
    target.load_state_dict(source.state_dict())
    train(net, source, range(3, 5))
    train(other, target, range(3, 5))
    assert bits(other, target) == bits(net, source)


@pytest.mark.parametrize("case", COUNTED, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pytorchs_state_loads_and_goes_on(case: Case, dtype: str, torch: Any) -> None:
    values, grads = start(29)
    theirs = [torch.tensor(v.astype(dtype), requires_grad=True) for v in values]
    peer = peer_of(torch, case, theirs)

    def give(params: list[Any], make: Any, k: int) -> None:
        for i, (param, g) in enumerate(zip(params, grads[k], strict=True)):
            param.grad = None if is_missing(i, k) else make(g.astype(dtype))

    for k in range(5):
        give(theirs, torch.tensor, k)
        peer.step()
    saved = peer.state_dict()
    ours = [parameter(t.detach().numpy().copy()) for t in theirs]
    optimizer = case.kind(ours)
    optimizer.load_state_dict(saved)
    for k in range(5, STEPS):
        give(theirs, torch.tensor, k)
        give(ours, gl.tensor, k)
        peer.step()
        optimizer.step()
    tolerance = 1e-11 if dtype == "float64" else 1e-4
    for our, their in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(
            host(our), their.detach().numpy(), rtol=tolerance, atol=tolerance
        )
    assert [optimizer.state[p]["step"].item() for p in ours] == [20, 16, 20]


def test_adams_state_does_not_turn_adamw_into_adam() -> None:
    net = Net(gl.float32)
    source, target = Adam(net.parameters(), weight_decay=0.1), AdamW(net.parameters())
    train(net, source, range(2))
    target.load_state_dict(source.state_dict())
    (group,) = target.param_groups
    assert (group["decoupled_weight_decay"], group["weight_decay"]) == (True, 0.1)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"step": None}, TypeError, "step .* must be a number, got None"),
        ({"step": -1}, ValueError, "step"),
        ({"step": 2.5}, ValueError, "step"),
        ({"step": math.nan}, ValueError, "step"),
        ({"step": "3"}, TypeError, "step"),
        ({"step": gl.ones(2)}, TypeError, "step"),
        ({"exp_avg": [0.0]}, TypeError, "exp_avg must be a tensor, got list"),
    ],
)
def test_a_state_that_cannot_be_is_refused(
    changes: State, error: type[Exception], message: str
) -> None:
    net = Net(gl.float32)
    source, target = Adam(net.parameters()), Adam(net.parameters())
    train(net, source, range(2))
    saved = copy.deepcopy(source.state_dict())
    saved["state"][1].update(changes)
    saved["state"][1] = {k: v for k, v in saved["state"][1].items() if v is not None}
    with pytest.raises(error, match=message):
        target.load_state_dict(saved)
    assert not target.state


# Options that do not fit


NON_NEGATIVE = ([0, 0.0, 1e3, np.float32(0.5)], [-1e-9, math.inf, math.nan])
FRACTION = ([0, 0.0, 0.999], [1.0, -0.1, math.nan])
NUMBERS: dict[type[Optimizer], dict[str, Any]] = {
    Adam: dict.fromkeys(("lr", "eps", "weight_decay"), NON_NEGATIVE),
    AdamW: dict.fromkeys(("lr", "eps", "weight_decay"), NON_NEGATIVE),
    RMSprop: {
        **dict.fromkeys(("lr", "eps", "weight_decay"), NON_NEGATIVE),
        **dict.fromkeys(("alpha", "momentum"), FRACTION),
    },
    Adagrad: dict.fromkeys(
        ("lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps"),
        NON_NEGATIVE,
    ),
}
FLAGS: dict[type[Optimizer], tuple[str, ...]] = {
    Adam: ("amsgrad", "maximize", "decoupled_weight_decay"),
    AdamW: ("amsgrad", "maximize"),
    RMSprop: ("centered", "maximize"),
    Adagrad: ("maximize",),
}


@pytest.mark.parametrize(
    ("kind", "name", "good", "bad"),
    [(k, n, *ranges) for k, names in NUMBERS.items() for n, ranges in names.items()],
)
def test_numbers_are_checked_at_the_door(
    kind: type[Optimizer], name: str, good: list[Any], bad: list[Any]
) -> None:
    p = parameter([1.0])
    for value in good:
        kind([p], **{name: value})
    for value in bad:
        for make in (
            lambda value=value: kind([p], **{name: value}),
            lambda value=value: kind([{"params": [p], name: value}]),
        ):
            with pytest.raises(ValueError, match=f"{name} must be a finite number in"):
                make()
    for value in (True, "0.1", 1j, None):
        with pytest.raises(TypeError, match=f"{name} must be a number in"):
            kind([p], **{name: value})


@pytest.mark.parametrize(
    ("kind", "name"), [(k, name) for k, names in FLAGS.items() for name in names]
)
def test_flags_are_booleans(kind: type[Optimizer], name: str) -> None:
    for value in (1, None, "yes"):
        with pytest.raises(TypeError, match=f"{name} must be True or False"):
            kind([parameter([1.0])], **{name: value})


@pytest.mark.parametrize("kind", [Adam, AdamW])
@pytest.mark.parametrize(
    ("betas", "error", "message"),
    [
        ((0.9, 1.0), ValueError, r"betas\[1\] must be a finite number in \[0, 1\)"),
        ((-0.1, 0.9), ValueError, r"betas\[0\] must be"),
        ((math.nan, 0.9), ValueError, r"betas\[0\] must be"),
        (("0.9", 0.9), TypeError, r"betas\[0\] must be a number"),
        (0.9, TypeError, "betas must be a pair of numbers .* got 0.9 of type float"),
        ((0.9,), TypeError, "betas must be a pair"),
        ((0.9, 0.99, 0.999), TypeError, "betas must be a pair"),
        (None, TypeError, "betas must be a pair"),
    ],
)
def test_bad_betas_are_named(
    kind: type[Adam], betas: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        kind([parameter([1.0])], betas=betas)


@pytest.mark.parametrize("kind", [Adam, AdamW, RMSprop, Adagrad])
def test_a_bad_option_set_later_writes_nothing(kind: type[Optimizer]) -> None:
    p = parameter([1.0])
    optimizer = kind([p])
    optimizer.param_groups[0]["eps"] = -1.0
    p.grad = gl.ones(1)
    with pytest.raises(ValueError, match="eps"):
        optimizer.step()
    assert p.item() == 1.0
