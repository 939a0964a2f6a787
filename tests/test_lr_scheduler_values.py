"""The values of all learning-rate schedules: PyTorch's, formulas, resumed runs."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from typing import Any

import pytest

import gradlite as gl
from gradlite.optim import SGD, lr_scheduler

STEPS = 33
RATES = (0.4, 0.01)  # of two groups


class Adamlike(gl.optim.Optimizer):
    """An optimizer with betas that changes nothing."""

    def __init__(self, params: Any) -> None:
        super().__init__(params, {"lr": 1e-3, "betas": (0.9, 0.999)})

    def step(self, closure: Any = None, **_: Any) -> None:  # type: ignore[override]
        self._stepped = True


class Warmup:
    """A callable object with state, which belongs into the state dict."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def __call__(self, epoch: int) -> float:
        return min(1.0, (epoch + 1) / self.steps)


def groups(ones: Callable[..., Any], rates: tuple[float, ...] = RATES) -> list[Any]:
    return [{"params": [ones(1, requires_grad=True)], "lr": lr} for lr in rates]


def optimizer() -> SGD:
    return SGD(groups(gl.ones), momentum=0.5)


SCHEDULES: list[tuple[str, dict[str, Any]]] = [
    ("StepLR", {"step_size": 5}),
    ("StepLR", {"step_size": 1, "gamma": 0.9}),
    ("StepLR", {"step_size": 7, "gamma": 1.25}),
    ("MultiStepLR", {"milestones": [3, 8, 20]}),
    ("MultiStepLR", {"milestones": (20, 3, 3, 5), "gamma": 0.5}),
    ("MultiStepLR", {"milestones": [0, 4], "gamma": 0.5}),
    ("MultiStepLR", {"milestones": []}),
    ("ExponentialLR", {"gamma": 0.93}),
    ("ExponentialLR", {"gamma": 1.1}),
    ("ExponentialLR", {"gamma": 0.0}),
    ("LinearLR", {}),
    ("LinearLR", {"start_factor": 1.0, "end_factor": 0.0, "total_iters": 15}),
    ("LinearLR", {"start_factor": 0.25, "end_factor": 0.75, "total_iters": 30}),
    ("LinearLR", {"total_iters": 1}),
    ("LambdaLR", {"lr_lambda": lambda epoch: 0.9**epoch}),
    ("LambdaLR", {"lr_lambda": [Warmup(7), lambda epoch: 1 / (1 + epoch)]}),
    ("CosineAnnealingLR", {"T_max": 40}),
    ("CosineAnnealingLR", {"T_max": 10, "eta_min": 0.005}),
    ("CosineAnnealingLR", {"T_max": 3}),
    ("CosineAnnealingLR", {"T_max": 1, "eta_min": 0.001}),
    ("CosineAnnealingWarmRestarts", {"T_0": 10}),
    ("CosineAnnealingWarmRestarts", {"T_0": 1, "eta_min": 0.1}),
    ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 2, "eta_min": 0.001}),
    ("CosineAnnealingWarmRestarts", {"T_0": 1, "T_mult": 3}),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": STEPS}),
    ("OneCycleLR", {"max_lr": [0.5, 2.0], "epochs": 4, "steps_per_epoch": 10}),
    (
        "OneCycleLR",
        {"max_lr": 1.0, "total_steps": 50, "anneal_strategy": "linear"},
    ),
    (
        "OneCycleLR",
        {
            "max_lr": 1,
            "total_steps": 40,
            "three_phase": True,
            "base_momentum": [0.8, 0.1],
            "max_momentum": 0.99,
            "div_factor": 10,
            "final_div_factor": 100,
        },
    ),
    (
        "OneCycleLR",
        {
            "max_lr": 0.1,
            "total_steps": 35,
            "pct_start": 0.45,
            "three_phase": True,
            "anneal_strategy": "linear",
        },
    ),
    ("OneCycleLR", {"max_lr": 0.1, "total_steps": 34, "cycle_momentum": False}),
    ("OneCycleLR", {"max_lr": 0.1, "total_steps": 34, "pct_start": 0.0}),
    ("OneCycleLR", {"max_lr": 0.1, "total_steps": 34, "pct_start": 1.0}),
]

SEQUENCES: list[tuple[list[tuple[str, dict[str, Any]]], list[int]]] = [
    ([("LinearLR", {}), ("ExponentialLR", {"gamma": 0.9})], [6]),
    ([("LinearLR", {}), ("CosineAnnealingLR", {"T_max": 9})], [3]),
    ([("ExponentialLR", {"gamma": 0.9}), ("StepLR", {"step_size": 3})], [11]),
    ([("LinearLR", {}), ("CosineAnnealingWarmRestarts", {"T_0": 4})], [7]),
    (
        [
            ("LambdaLR", {"lr_lambda": Warmup(4)}),
            ("MultiStepLR", {"milestones": [0, 3, 9]}),
            ("LinearLR", {"start_factor": 0.5}),
        ],
        [5, 20],
    ),
    ([("StepLR", {"step_size": 2}), ("LinearLR", {"total_iters": 9})], [0]),
    ([("ExponentialLR", {"gamma": 0.5})] * 3, [4, 4]),
    (
        [
            ("LinearLR", {}),
            ("OneCycleLR", {"max_lr": 0.2, "total_steps": 40}),
        ],
        [4],
    ),
    ([("CosineAnnealingLR", {"T_max": 6})], []),
]

Make = Callable[..., Any]


def single(name: str, options: dict[str, Any]) -> Make:
    """Return what builds a schedule of a library, by its optimizer."""
    return lambda opt, library=lr_scheduler, **more: getattr(library, name)(
        opt, **options, **more
    )


def sequence(parts: list[tuple[str, dict[str, Any]]], milestones: list[int]) -> Make:
    def make(opt: Any, library: Any = lr_scheduler, **more: Any) -> Any:
        members = [single(*part)(opt, library) for part in parts]
        return library.SequentialLR(opt, members, milestones, **more)

    return make


def nested(opt: Any, library: Any = lr_scheduler, **more: Any) -> Any:
    inner = library.SequentialLR(
        opt,
        [library.LinearLR(opt), library.ExponentialLR(opt, 0.9)],
        [3],
    )
    outer = [library.StepLR(opt, 2), inner, library.LinearLR(opt, 0.5)]
    return library.SequentialLR(opt, outer, [5, 12], **more)


# OneCycleLR overwrites the initial rates of all that are built after it.
OVERWRITTEN = sequence(
    [
        ("ExponentialLR", {"gamma": 0.9}),
        ("StepLR", {"step_size": 2}),
        ("OneCycleLR", {"max_lr": 0.2, "total_steps": 40}),
    ],
    [4, 8],
)

CASES = [
    *(pytest.param(single(*s), id=f"{s[0]}{i}") for i, s in enumerate(SCHEDULES)),
    *(pytest.param(sequence(*s), id=f"Sequence{i}") for i, s in enumerate(SEQUENCES)),
]


def options(opt: Any) -> list[tuple[float, float | None]]:
    """Return what a schedule sets, for each group."""
    return [
        (group["lr"], group["betas"][0] if "betas" in group else group["momentum"])
        for group in opt.param_groups
    ]


def run(
    opt: Any, scheduler: Any, steps: int, start: int = 0, outside: bool = False
) -> list[Any]:
    """Return the options at each of the steps, and after the last."""
    rows = [options(opt)]
    for step in range(start, steps):
        assert scheduler.get_last_lr() == [lr for lr, _ in rows[-1]] or outside
        opt.step()
        if outside and step % 10 in (2, 7):
            for group in opt.param_groups:
                group["lr"] *= 3.0 if step % 10 == 2 else 0.5
        scheduler.step()
        rows.append(options(opt))
    return rows


def close(rows: list[Any], others: list[Any], rel: float = 1e-14) -> None:
    assert len(rows) == len(others)
    for step, (row, other) in enumerate(zip(rows, others, strict=True)):
        for pair, expected in zip(row, other, strict=True):
            assert pair == pytest.approx(expected, rel=rel, abs=1e-16), step


# PyTorch's values


@pytest.mark.parametrize("outside", [False, True], ids=["alone", "outside"])
@pytest.mark.parametrize("make", [*CASES, pytest.param(OVERWRITTEN, id="overwritten")])
def test_rates_equal_torch(make: Make, outside: bool) -> None:
    """Also where something else changes the rates in between."""
    torch = pytest.importorskip("torch")
    peer = torch.optim.SGD(groups(torch.ones), momentum=0.5)
    expected = run(peer, make(peer, torch.optim.lr_scheduler), STEPS, outside=outside)
    opt = optimizer()
    close(run(opt, make(opt), STEPS, outside=outside), expected)


@pytest.mark.parametrize("options", [o for n, o in SCHEDULES if n == "OneCycleLR"])
def test_one_cycle_sets_the_first_beta(options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    peer = torch.optim.Adam(groups(torch.ones))
    expected = run(peer, torch.optim.lr_scheduler.OneCycleLR(peer, **options), STEPS)
    opt = Adamlike(groups(gl.ones))
    close(run(opt, lr_scheduler.OneCycleLR(opt, **options), STEPS), expected)
    assert [group["betas"][1] for group in opt.param_groups] == [0.999, 0.999]


@pytest.mark.parametrize("anneal", ["cos", "linear"])
def test_the_step_after_the_cycle(anneal: str) -> None:
    """Along PyTorch's curve, but not below zero."""
    torch = pytest.importorskip("torch")
    peer, opt = torch.optim.SGD(groups(torch.ones)), SGD(groups(gl.ones))
    arguments = {"max_lr": 1.0, "total_steps": 10, "anneal_strategy": anneal}
    rows = run(opt, lr_scheduler.OneCycleLR(opt, **arguments), 10)
    theirs = run(peer, torch.optim.lr_scheduler.OneCycleLR(peer, **arguments), 10)
    close(rows[:-1], theirs[:-1])
    if anneal == "cos":
        close(rows[-1:], theirs[-1:])
    else:
        assert theirs[-1][0][0] < 0
        close(rows[-1:], rows[-2:-1])


TIMES = [
    [i / 7 for i in range(60)],
    [0, 0.5, 1, 26, 3.25, 26.5, 12.0, 11.999, 4],
]


@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize(("T_0", "T_mult"), [(3, 1), (2, 2), (1, 2), (4, 3), (10, 1)])
def test_fractional_epochs_equal_torch(
    times: list[float], T_0: int, T_mult: int
) -> None:
    torch = pytest.importorskip("torch")
    peer = torch.optim.SGD(groups(torch.ones))
    opt = SGD(groups(gl.ones))
    theirs = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(peer, T_0, T_mult)
    schedule = lr_scheduler.CosineAnnealingWarmRestarts(opt, T_0, T_mult)
    opt.step()
    for time in [None, *times, None, None, *times[::-1], None]:
        theirs.step(time)
        schedule.step(time)
        assert schedule.get_last_lr() == pytest.approx(
            theirs.get_last_lr(), rel=1e-12, abs=1e-14
        )
        assert schedule.last_epoch == theirs.last_epoch
        assert schedule.T_i == theirs.T_i


LOSSES = [
    [1.0 / (1 + i) for i in range(8)] + [0.2, 0.1, 0.3] * 8,
    [1.0] * 40,
    [math.nan, 1.0, 2.0, math.inf, 0.5, -1.0, -1.00005, -1.2] * 5,
    [0.0, -0.0, -1e-5, 1e-5] * 9,
    [math.sin(i) for i in range(40)],
]
PLATEAUS: list[dict[str, Any]] = [
    {},
    {"patience": 0, "factor": 0.5},
    {"patience": 2, "cooldown": 3, "factor": 0.3},
    {"patience": 1, "mode": "max"},
    {"patience": 1, "mode": "max", "threshold": 0.1, "threshold_mode": "abs"},
    {"patience": 3, "threshold": 0.05, "threshold_mode": "abs"},
    {"patience": 0, "threshold": 0.3, "min_lr": 0.02},
    {"patience": 0, "min_lr": [0.2, 0.001]},
    {"patience": 0, "eps": 1e-3},
    {"patience": 1, "factor": 0.0, "cooldown": 1},
]


@pytest.mark.parametrize("arguments", PLATEAUS)
@pytest.mark.parametrize("losses", LOSSES)
def test_plateaus_equal_torch(losses: list[float], arguments: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    peer, opt = torch.optim.SGD(groups(torch.ones)), SGD(groups(gl.ones))
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(peer, **arguments)
    schedule = lr_scheduler.ReduceLROnPlateau(opt, **arguments)
    for i, loss in enumerate(losses):
        if i == 9:
            for group in [*opt.param_groups, *peer.param_groups]:
                group["lr"] *= 10.0
        theirs.step(loss)
        schedule.step(loss)
        assert schedule.get_last_lr() == theirs.get_last_lr()
        assert schedule.best == theirs.best
        assert schedule.num_bad_epochs == theirs.num_bad_epochs
        assert schedule.cooldown_counter == theirs.cooldown_counter
        assert schedule.in_cooldown == theirs.in_cooldown


# Formulas, which need no PyTorch


def cosine(part: float) -> float:
    return (1 + math.cos(math.pi * part)) / 2


def warm_restart(t: float) -> float:
    """Cycles of 3, 6, 12, ... steps."""
    start, length = next(
        (3 * (2**k - 1), 3 * 2**k) for k in range(9) if t < 3 * (2 ** (k + 1) - 1)
    )
    return cosine((t - start) / length)


def one_cycle(t: int) -> float:
    """30 steps, the peak at 8; from 1/25 to 1 to 1 / 250 000."""
    if t <= 8:
        return 1 / 25 + (1 - 1 / 25) * (1 - cosine(t / 8))
    return 1 / 250_000 + (1 - 1 / 250_000) * cosine((t - 8) / 21)


FORMULAS: list[tuple[str, dict[str, Any], Callable[[int, float], float]]] = [
    ("StepLR", {"step_size": 5}, lambda t, lr: lr * 0.1 ** (t // 5)),
    (
        "MultiStepLR",
        {"milestones": [3, 9], "gamma": 0.5},
        lambda t, lr: lr * 0.5 ** ((t >= 3) + (t >= 9)),
    ),
    ("ExponentialLR", {"gamma": 0.9}, lambda t, lr: lr * 0.9**t),
    (
        "LinearLR",
        {"start_factor": 0.2, "end_factor": 0.8, "total_iters": 20},
        lambda t, lr: lr * min(0.2 + 0.03 * t, 0.8),
    ),
    ("LambdaLR", {"lr_lambda": Warmup(9)}, lambda t, lr: lr * min(1, (t + 1) / 9)),
    (
        "CosineAnnealingLR",
        {"T_max": 8, "eta_min": 0.002},
        lambda t, lr: 0.002 + (lr - 0.002) * cosine(t / 8),
    ),
    (
        "CosineAnnealingWarmRestarts",
        {"T_0": 3, "T_mult": 2},
        lambda t, lr: lr * warm_restart(t),
    ),
    ("OneCycleLR", {"max_lr": 0.7, "total_steps": 30}, lambda t, _: 0.7 * one_cycle(t)),
]


@pytest.mark.parametrize(("name", "arguments", "formula"), FORMULAS)
def test_rates_equal_the_formula(
    name: str, arguments: dict[str, Any], formula: Callable[[int, float], float]
) -> None:
    opt = optimizer()
    rows = run(opt, getattr(lr_scheduler, name)(opt, **arguments), 29)
    for t, row in enumerate(rows):
        expected = [formula(t, lr) for lr in RATES]
        assert [lr for lr, _ in row] == pytest.approx(expected, rel=1e-9, abs=1e-12), t


def test_nested_sequences_take_turns() -> None:
    opt = optimizer()
    rows = run(opt, nested(opt), 20)
    step = [0.1 ** (t // 2) for t in range(5)]
    warmup = [1 / 3 + t * 2 / 15 for t in range(3)] + [0.9**t for t in range(4)]
    last = [min(0.5 + 0.1 * t, 1.0) for t in range(9)]
    for factor, row in zip([*step, *warmup, *last], rows, strict=True):
        assert [lr for lr, _ in row] == pytest.approx([lr * factor for lr in RATES])


@pytest.mark.parametrize(("T_0", "T_mult"), [(1, 3), (1, 10), (7, 6), (3, 1)])
def test_every_restart_is_found(T_0: int, T_mult: int) -> None:
    """A logarithm rounds some of them away: log(243, 3) < 5."""
    schedule = lr_scheduler.CosineAnnealingWarmRestarts(optimizer(), T_0, T_mult)
    schedule.optimizer.step()
    start, length = 0, T_0
    for _ in range(9):
        schedule.step(start)
        assert schedule.get_last_lr() == list(RATES)
        assert (schedule.T_cur, schedule.T_i) == (0, length)
        start, length = start + length, length * T_mult


@pytest.mark.parametrize("start_factor", [0.1, 0.3, 1 / 3, 0.7, 1.0])
@pytest.mark.parametrize("total_iters", [1, 3, 10, 49, 1000])
def test_a_decay_to_zero_never_goes_below(
    start_factor: float, total_iters: int
) -> None:
    opt = optimizer()
    schedule = lr_scheduler.LinearLR(opt, start_factor, 0.0, total_iters)
    run(opt, schedule, total_iters + 2)  # the optimizer refuses a negative rate
    assert schedule.get_last_lr() == pytest.approx([0.0, 0.0], abs=1e-15)


@pytest.mark.parametrize("three_phase", [False, True])
@pytest.mark.parametrize("total_steps", [1, 2, 3, 10, 20])
@pytest.mark.parametrize("pct_start", [0.0, 0.05, 0.1, 0.5, 1.0])
def test_a_phase_may_be_empty(
    pct_start: float, total_steps: int, three_phase: bool
) -> None:
    """Also where PyTorch divides by zero; rate and momentum stay in their ranges."""
    opt = SGD(groups(gl.ones))
    schedule = lr_scheduler.OneCycleLR(
        opt, 1.0, total_steps, pct_start=pct_start, three_phase=three_phase
    )
    rows = run(opt, schedule, total_steps)
    for lr, momentum in itertools.chain(*rows):
        assert 0 < lr <= 1
        assert 0.85 <= momentum <= 0.95


# Resumed runs equal uninterrupted ones


RESUMED = [*CASES, pytest.param(nested, id="nested")]
STOPS = (0, 1, 2, 5, 6, 9, 12, 16, 24)


@pytest.mark.parametrize("make", RESUMED)
def test_a_state_dict_resumes_exactly(make: Make) -> None:
    opt = optimizer()
    expected = run(opt, make(opt), STEPS, outside=True)
    for stop in STOPS:
        first = optimizer()
        schedule = make(first)
        run(first, schedule, stop, outside=True)
        second = optimizer()
        resumed = make(second)
        second.load_state_dict(first.state_dict())
        saved = json.loads(json.dumps(schedule.state_dict()))  # plain data
        resumed.load_state_dict(saved)
        assert resumed.state_dict() == schedule.state_dict()
        rest = run(second, resumed, STEPS, stop, outside=True)
        assert rest == expected[stop:]


@pytest.mark.parametrize("make", RESUMED)
def test_last_epoch_resumes_exactly(make: Make) -> None:
    opt = optimizer()
    expected = run(opt, make(opt), STEPS)
    for stop in STOPS[1:]:
        first = optimizer()
        run(first, make(first), stop)
        second = optimizer()
        second.load_state_dict(first.state_dict())
        resumed = make(second, last_epoch=stop - 1)
        assert resumed.last_epoch == stop
        assert run(second, resumed, STEPS, stop) == expected[stop:]


@pytest.mark.parametrize(("name", "arguments"), dict(reversed(SCHEDULES)).items())
def test_last_epoch_equals_torch(name: str, arguments: dict[str, Any]) -> None:
    """The first case of each schedule: PyTorch does not resume all of them exactly."""
    torch = pytest.importorskip("torch")
    library, make = torch.optim.lr_scheduler, single(name, arguments)
    peer, opt = torch.optim.SGD(groups(torch.ones), momentum=0.5), optimizer()
    run(peer, make(peer, library), 2)
    run(opt, make(opt), 2)
    theirs = run(peer, make(peer, library, last_epoch=1), STEPS, 2)
    close(run(opt, make(opt, last_epoch=1), STEPS, 2), theirs)


@pytest.mark.parametrize("arguments", PLATEAUS)
def test_a_plateau_resumes_exactly(arguments: dict[str, Any]) -> None:
    losses = LOSSES[0]
    opt = optimizer()
    schedule = lr_scheduler.ReduceLROnPlateau(opt, **arguments)
    expected = []
    for loss in losses:
        schedule.step(loss)
        expected.append(options(opt))
    for stop in STOPS:
        first = optimizer()
        schedule = lr_scheduler.ReduceLROnPlateau(first, **arguments)
        for loss in losses[:stop]:
            schedule.step(loss)
        second = optimizer()
        resumed = lr_scheduler.ReduceLROnPlateau(second, **arguments)
        second.load_state_dict(first.state_dict())
        resumed.load_state_dict(json.loads(json.dumps(schedule.state_dict())))
        for loss, row in zip(losses[stop:], expected[stop:], strict=True):
            resumed.step(loss)
            assert options(second) == row
