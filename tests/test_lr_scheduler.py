"""Learning-rate schedules against PyTorch's, and their state."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import pytest

import gradlite as gl
from gradlite.optim import SGD, lr_scheduler
from gradlite.optim.lr_scheduler import LambdaLR, LinearLR, LRScheduler


class Warmup:
    """A callable object with state, which belongs into the state dict."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def __call__(self, epoch: int) -> float:
        return min(1.0, (epoch + 1) / self.steps)


def optimizer(*rates: float) -> SGD:
    groups = [
        {"params": [gl.zeros(1, requires_grad=True)], "lr": lr}
        for lr in rates or (0.4,)
    ]
    return SGD(groups)


def follow(make: Callable[[Any], Any], opt: Any, steps: int) -> list[list[float]]:
    scheduler = make(opt)
    rates = []
    for _ in range(steps):
        rates.append([group["lr"] for group in opt.param_groups])
        assert scheduler.get_last_lr() == rates[-1]
        opt.step()
        scheduler.step()
    return rates


SCHEDULES = [
    ("LinearLR", {}),
    ("LinearLR", {"start_factor": 1.0, "end_factor": 0.0, "total_iters": 15}),
    ("LinearLR", {"start_factor": 0.25, "end_factor": 0.75, "total_iters": 30}),
    ("LinearLR", {"total_iters": 1}),
    ("LambdaLR", {"lr_lambda": lambda epoch: 0.9**epoch}),
    ("LambdaLR", {"lr_lambda": [Warmup(7), lambda epoch: 1 / (1 + epoch)]}),
]


@pytest.mark.parametrize(("name", "arguments"), SCHEDULES)
def test_rates_equal_torch(name: str, arguments: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    groups = [
        {"params": [torch.zeros(1, requires_grad=True)], "lr": lr} for lr in (0.4, 0.01)
    ]
    peer = getattr(torch.optim.lr_scheduler, name)
    expected = follow(lambda o: peer(o, **arguments), torch.optim.SGD(groups), 20)
    mine = getattr(lr_scheduler, name)
    rates = follow(lambda o: mine(o, **arguments), optimizer(0.4, 0.01), 20)
    for row, other in zip(rates, expected, strict=True):
        assert row == pytest.approx(other, rel=1e-15, abs=1e-15)


@pytest.mark.parametrize(("name", "arguments"), SCHEDULES)
def test_resumed_rates_equal_uninterrupted_ones(
    name: str, arguments: dict[str, Any]
) -> None:
    make = getattr(lr_scheduler, name)
    expected = follow(lambda o: make(o, **arguments), optimizer(0.4, 0.01), 20)
    for stop in (0, 1, 6, 15):
        first = optimizer(0.4, 0.01)
        scheduler = make(first, **arguments)
        for _ in range(stop):
            first.step()
            scheduler.step()
        second = optimizer(0.4, 0.01)
        resumed = make(second, **arguments)
        second.load_state_dict(first.state_dict())
        resumed.load_state_dict(scheduler.state_dict())
        for row in expected[stop:]:
            assert resumed.get_last_lr() == row
            assert [group["lr"] for group in second.param_groups] == row
            second.step()
            resumed.step()


def test_last_epoch_continues_from_the_optimizers_rates() -> None:
    expected = follow(LinearLR, optimizer(), 12)
    first = optimizer()
    scheduler = LinearLR(first)
    for _ in range(3):
        first.step()
        scheduler.step()
    second = optimizer()
    second.load_state_dict(first.state_dict())
    resume = functools.partial(LinearLR, last_epoch=2)
    rest = follow(resume, second, 9)
    assert rest == [pytest.approx(row) for row in expected[3:]]


@pytest.mark.parametrize("start_factor", [0.1, 0.3, 1 / 3, 0.7, 1.0])
@pytest.mark.parametrize("total_iters", [1, 3, 10, 49, 1000])
def test_a_decay_to_zero_never_goes_below(
    start_factor: float, total_iters: int
) -> None:
    opt = optimizer(0.1)
    scheduler = LinearLR(opt, start_factor, 0.0, total_iters)
    for _ in range(total_iters + 2):
        opt.step()  # refuses a negative rate
        scheduler.step()
    assert scheduler.get_last_lr() == pytest.approx([0.0], abs=1e-15)


def test_the_linear_factor_is_linear() -> None:
    rates = follow(lambda o: LinearLR(o, 0.2, 0.8, 6), optimizer(1.0), 8)
    assert [row[0] for row in rates] == pytest.approx(
        [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.8]
    )


def test_rates_changed_from_elsewhere_are_kept() -> None:
    opt = optimizer(1.0)
    scheduler = LinearLR(opt, 0.5, 1.0, 2)
    opt.param_groups[0]["lr"] *= 10
    opt.step()
    scheduler.step()
    assert scheduler.get_last_lr() == pytest.approx([7.5])


def test_the_state_holds_objects_and_no_functions() -> None:
    opt = optimizer(1.0, 1.0)
    saved = LambdaLR(opt, [Warmup(3), lambda epoch: 1.0]).state_dict()
    assert saved["lr_lambdas"] == [{"steps": 3}, None]
    assert saved["base_lrs"] == [1.0, 1.0]
    assert "optimizer" not in saved
    other = LambdaLR(optimizer(1.0, 1.0), [Warmup(5), lambda epoch: 2.0])
    other.load_state_dict(saved)
    assert other.lr_lambdas[0](0) == pytest.approx(1 / 3)
    assert other.lr_lambdas[1](0) == 2.0


def test_the_state_is_a_copy() -> None:
    scheduler = LinearLR(optimizer())
    scheduler.state_dict()["base_lrs"][0] = 7.0
    scheduler.get_last_lr()[0] = 7.0
    assert scheduler.base_lrs == [0.4]
    assert scheduler.get_last_lr() == pytest.approx([0.4 / 3])


def test_a_state_that_does_not_fit_changes_nothing() -> None:
    scheduler = LinearLR(optimizer())
    before = scheduler.state_dict()
    with pytest.raises(ValueError, match=r"missing \['end_factor'.*unknown \['lr_lam"):
        scheduler.load_state_dict(LambdaLR(optimizer(), math.cos).state_dict())
    with pytest.raises(ValueError, match="2 groups"):
        scheduler.load_state_dict(LinearLR(optimizer(1.0, 1.0)).state_dict())
    assert scheduler.state_dict() == before


@pytest.mark.parametrize("saved", [[], [None, None], None, [3], [{"steps": 3}]])
def test_functions_that_do_not_fit_change_nothing(saved: Any) -> None:
    scheduler = LambdaLR(optimizer(), math.cos)
    before = scheduler.state_dict()
    with pytest.raises(ValueError, match=r"state_dict\['lr_lambdas'\] must be a list"):
        scheduler.load_state_dict({**before, "last_epoch": 7, "lr_lambdas": saved})
    assert scheduler.state_dict() == before


def test_stepping_the_schedule_first_warns() -> None:
    scheduler = LinearLR(optimizer())
    with pytest.warns(UserWarning, match="before optimizer.step"):
        scheduler.step()


def test_an_optimizer_with_its_own_step_is_not_suspected() -> None:
    class Sign(gl.optim.Optimizer):
        def step(self, closure: Any = None, **_: Any) -> None:  # type: ignore[override]
            pass

    opt = Sign([gl.zeros(1, requires_grad=True)], {"lr": 1.0})
    LinearLR(opt).step()


def test_a_subclass_defines_get_lr() -> None:
    class Constant(LRScheduler):
        def get_lr(self) -> list[float]:
            return [0.125 for _ in self.base_lrs]

    opt = optimizer()
    Constant(opt)
    assert opt.param_groups[0] | {"params": 0} == {
        **opt.param_groups[0], "params": 0, "lr": 0.125, "initial_lr": 0.4
    }  # fmt: skip


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda o: LinearLR(0), TypeError, "optimizer must be .*Optimizer, got int"),
        (lambda o: LinearLR(o, 0.0), ValueError, r"start_factor .* \(0, 1\], got 0.0"),
        (lambda o: LinearLR(o, 1.5), ValueError, "start_factor"),
        (lambda o: LinearLR(o, math.nan), ValueError, "start_factor"),
        (lambda o: LinearLR(o, "1"), TypeError, "start_factor"),
        (lambda o: LinearLR(o, 1.0, -0.1), ValueError, r"end_factor .* \[0, 1\]"),
        (lambda o: LinearLR(o, total_iters=0), ValueError, "total_iters .* 1, got 0"),
        (lambda o: LinearLR(o, total_iters=2.0), TypeError, "total_iters"),
        (lambda o: LinearLR(o, total_iters=True), TypeError, "total_iters"),
        (lambda o: LinearLR(o, last_epoch=-2), ValueError, "last_epoch"),
        (lambda o: LinearLR(o, last_epoch=3), KeyError, "initial_lr"),
        (lambda o: LambdaLR(o, 0.5), TypeError, "lr_lambda must be callable, got 0.5"),
        (lambda o: LambdaLR(o, [math.cos] * 2), ValueError, "1 groups, got 2"),
    ],
)
def test_bad_arguments_are_named(
    make: Callable[[Any], Any], error: type[Exception], message: str
) -> None:
    opt = optimizer()
    with pytest.raises(error, match=message):
        make(opt)
    assert opt.param_groups[0]["lr"] == 0.4


def test_a_schedule_that_returns_nan_is_refused_before_anything_is_written() -> None:
    opt = optimizer()
    rate = opt.param_groups[0]["lr"]
    schedule = LambdaLR(opt, lambda epoch: math.nan if epoch else 1.0)
    opt.step()
    with pytest.raises(ValueError, match=r"lr_lambda\(1\) must be a finite number"):
        schedule.step()
    assert (opt.param_groups[0]["lr"], schedule.last_epoch) == (rate, 0)
