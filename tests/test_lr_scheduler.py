"""Learning-rate schedules: their state, what they refuse, and what a failure leaves."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest

import gradlite as gl
from gradlite.optim import SGD, lr_scheduler
from gradlite.optim.lr_scheduler import (
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)


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


def sequence(opt: gl.optim.Optimizer, *milestones: int) -> SequentialLR:
    return SequentialLR(opt, [LinearLR(opt), ExponentialLR(opt, 0.5)], milestones)


def options(opt: gl.optim.Optimizer) -> list[dict[str, Any]]:
    """Return what the groups hold beside their parameters."""
    return [{**group, "params": None} for group in opt.param_groups]


MAKERS: dict[str, Callable[[Any], LRScheduler]] = {
    "CosineAnnealingLR": lambda o: CosineAnnealingLR(o, 5),
    "CosineAnnealingWarmRestarts": lambda o: CosineAnnealingWarmRestarts(o, 5),
    "ExponentialLR": lambda o: ExponentialLR(o, 0.5),
    "LambdaLR": lambda o: LambdaLR(o, Warmup(3)),
    "LinearLR": LinearLR,
    "MultiStepLR": lambda o: MultiStepLR(o, [2, 4]),
    "OneCycleLR": lambda o: OneCycleLR(o, 1.0, 9),
    "ReduceLROnPlateau": ReduceLROnPlateau,
    "SequentialLR": lambda o: sequence(o, 3),
    "StepLR": lambda o: StepLR(o, 2),
}


def test_every_schedule_is_listed() -> None:
    assert {*MAKERS, "LRScheduler"} == set(lr_scheduler.__all__)


# State


@pytest.mark.parametrize("name", MAKERS)
def test_the_state_is_a_copy(name: str) -> None:
    scheduler = MAKERS[name](optimizer())
    before = copy.deepcopy(scheduler.state_dict())
    for value in (*scheduler.state_dict().values(), scheduler.get_last_lr()):
        if isinstance(value, list) and value:
            value[0] = 7.0
    assert scheduler.state_dict() == before
    assert "optimizer" not in before


@pytest.mark.parametrize("name", MAKERS)
def test_a_state_that_does_not_fit_changes_nothing(name: str) -> None:
    scheduler = MAKERS[name](optimizer())
    before = scheduler.state_dict()
    class_name = type(scheduler).__name__
    with pytest.raises(ValueError, match=rf"{class_name}.*unknown \['what'\]"):
        scheduler.load_state_dict({**before, "what": 3})
    with pytest.raises(ValueError, match=r"missing \['last_epoch'\]"):
        scheduler.load_state_dict(
            {key: before[key] for key in before if key != "last_epoch"}
        )
    with pytest.raises(ValueError, match="2 groups"):
        scheduler.load_state_dict(MAKERS[name](optimizer(1.0, 1.0)).state_dict())
    assert scheduler.state_dict() == before


def test_the_state_holds_objects_and_no_functions() -> None:
    opt = optimizer(1.0, 1.0)
    saved = LambdaLR(opt, [Warmup(3), lambda epoch: 1.0]).state_dict()
    assert saved["lr_lambdas"] == [{"steps": 3}, None]
    assert saved["base_lrs"] == [1.0, 1.0]
    other = LambdaLR(optimizer(1.0, 1.0), [Warmup(5), lambda epoch: 2.0])
    other.load_state_dict(saved)
    assert other.lr_lambdas[0](0) == pytest.approx(1 / 3)
    assert other.lr_lambdas[1](0) == 2.0


@pytest.mark.parametrize("saved", [[], [None, None], None, [3], [{"steps": 3}]])
def test_functions_that_do_not_fit_change_nothing(saved: Any) -> None:
    scheduler = LambdaLR(optimizer(), math.cos)
    before = scheduler.state_dict()
    with pytest.raises(ValueError, match=r"state_dict\['lr_lambdas'\] must be a list"):
        scheduler.load_state_dict({**before, "last_epoch": 7, "lr_lambdas": saved})
    assert scheduler.state_dict() == before


@pytest.mark.parametrize("position", [0, 1])
def test_a_sequence_is_loaded_as_a_whole_or_not_at_all(position: int) -> None:
    scheduler = sequence(optimizer(), 3)
    before = scheduler.state_dict()
    with pytest.raises(
        ValueError, match=r"state_dict\['_schedulers'\] .* 2 schedulers"
    ):
        scheduler.load_state_dict({**before, "_schedulers": []})
    states = [{**state, "last_epoch": 5} for state in before["_schedulers"]]
    del states[position]["base_lrs"]
    with pytest.raises(ValueError, match=r"missing \['base_lrs'\]"):
        scheduler.load_state_dict({**before, "_schedulers": states})
    assert scheduler.state_dict() == before


# Steps


def test_stepping_the_schedule_first_warns_where_it_is_called() -> None:
    opt = optimizer()
    for scheduler in (
        LinearLR(opt), CosineAnnealingWarmRestarts(opt, 3), sequence(opt, 1)
    ):  # fmt: skip
        with pytest.warns(UserWarning, match="before optimizer.step") as caught:
            scheduler.step()
        assert caught[0].filename == __file__


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
    before = options(opt)[0]
    Constant(opt)
    assert options(opt) == [{**before, "lr": 0.125, "initial_lr": 0.4}]


def test_a_resumed_step_is_not_taken_twice() -> None:
    opt = optimizer(1.0)
    schedule = StepLR(opt, 2, 0.5)
    for _ in range(2):
        opt.step()
        schedule.step()
    assert StepLR(opt, 2, 0.5, last_epoch=1).get_last_lr() == [0.5]


@pytest.mark.parametrize("loss", [2.0, 2, gl.tensor(2.0, requires_grad=True)])
def test_a_plateau_takes_numbers_and_tensors(loss: Any) -> None:
    scheduler = ReduceLROnPlateau(optimizer())
    scheduler.step(loss)
    assert scheduler.best == 2.0
    assert isinstance(scheduler.best, float)


def test_a_plateau_knows_groups_that_were_added() -> None:
    opt = optimizer()
    one = ReduceLROnPlateau(opt, patience=0, min_lr=0.3)
    each = ReduceLROnPlateau(opt, patience=0, min_lr=[0.3])
    opt.add_param_group({"params": [gl.zeros(1, requires_grad=True)], "lr": 1.0})
    one.step(1.0)
    one.step(1.0)
    assert one.get_last_lr() == [0.3, 0.3]
    each.step(1.0)
    state, groups = each.state_dict(), options(opt)
    with pytest.raises(ValueError, match=r"min_lr .* 2 groups, got 1"):
        each.step(1.0)
    assert (each.state_dict(), options(opt)) == (state, groups)


# Failures


@pytest.mark.parametrize(
    "make",
    [
        lambda o: LambdaLR(o, lambda epoch: 0.5**epoch),
        lambda o: CosineAnnealingWarmRestarts(o, 3),
        lambda o: OneCycleLR(o, 1.0, 9),
        lambda o: sequence(o, 1),
        lambda o: CosineAnnealingLR(o, 1, last_epoch=0),
    ],
)
def test_a_group_that_was_added_is_not_forgotten(
    make: Callable[[Any], LRScheduler],
) -> None:
    opt = optimizer()
    opt.param_groups[0]["initial_lr"] = 0.4
    scheduler = make(opt)
    opt.add_param_group({"params": [gl.zeros(1, requires_grad=True)]})
    opt.step()
    state, groups = scheduler.state_dict(), options(opt)
    with pytest.raises(ValueError, match="1 groups, the optimizer has 2; build"):
        scheduler.step()
    assert (scheduler.state_dict(), options(opt)) == (state, groups)


@pytest.mark.parametrize(
    "make", [LinearLR, lambda o: CosineAnnealingLR(o, 3), lambda o: ExponentialLR(o, 1)]
)
def test_a_rate_that_is_multiplied_may_be_that_of_a_new_group(
    make: Callable[[Any], LRScheduler],
) -> None:
    """As in PyTorch: these schedules know no rate but the current one."""
    opt = optimizer(1.0)
    scheduler = make(opt)
    lr = opt.param_groups[0]["lr"]
    opt.add_param_group({"params": [gl.zeros(1, requires_grad=True)], "lr": lr})
    opt.step()
    scheduler.step()
    assert scheduler.get_last_lr() == [opt.param_groups[0]["lr"]] * 2


def bad(epoch: int) -> float:
    return math.nan if epoch >= 2 else 1.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda o: LambdaLR(o, bad), r"lr_lambda\(2\) must be a finite number"),
        (lambda o: ExponentialLR(o, 1e200), "lr must be a finite number"),
        (lambda o: OneCycleLR(o, 1.0, 1), "total_steps=1 steps are done"),
        (
            lambda o: SequentialLR(o, [StepLR(o, 1), OneCycleLR(o, 1.0, 1)], [0]),
            "total_steps=1",
        ),
        (
            lambda o: SequentialLR(
                o, [StepLR(o, 1), LambdaLR(o, lambda t: bad(t + 2 * o._stepped))], [2]
            ),
            r"lr_lambda\(0\)",
        ),
    ],
)
def test_a_step_that_fails_leaves_everything_as_it_was(
    make: Callable[[Any], LRScheduler], message: str
) -> None:
    opt = optimizer(10.0)
    scheduler = make(opt)
    opt.step()
    scheduler.step()
    state, groups = scheduler.state_dict(), options(opt)
    with pytest.raises(ValueError, match=message):
        scheduler.step()
    assert (scheduler.state_dict(), options(opt)) == (state, groups)


def test_an_error_names_the_schedule() -> None:
    opt = optimizer()
    schedule = LambdaLR(opt, bad)
    opt.step()
    schedule.step()
    with pytest.raises(ValueError, match="finite") as caught:
        schedule.step()
    assert caught.value.__notes__ == ["in get_lr() of LambdaLR; nothing was changed"]


class Plain(gl.optim.Optimizer):
    """An optimizer without momentum."""

    def __init__(self) -> None:
        super().__init__([gl.zeros(1, requires_grad=True)], {"lr": 0.4})


OTHER = optimizer()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda o: LinearLR(0), TypeError, "optimizer must be .*Optimizer, got int"),
        (lambda o: OneCycleLR(0, 1.0, 9), TypeError, "optimizer .* got int"),
        (lambda o: ReduceLROnPlateau(0), TypeError, "optimizer .* got int"),
        (lambda o: SequentialLR(0, [], []), ValueError, "0 schedulers"),
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
        (lambda o: LambdaLR(o, lambda epoch: -1.0), ValueError, r"lr_lambda\(0\)"),
        (lambda o: StepLR(o, 0), ValueError, "step_size .* got 0"),
        (lambda o: StepLR(o, 1.5), TypeError, "step_size .* got 1.5"),
        (lambda o: StepLR(o, 2, -0.1), ValueError, "gamma .* got -0.1"),
        (lambda o: MultiStepLR(o, 3), TypeError, r"milestones .* int; pass \[miles"),
        (lambda o: MultiStepLR(o, [1.5]), TypeError, "milestones .* got 1.5"),
        (lambda o: MultiStepLR(o, [-1]), ValueError, "milestones .* got -1"),
        (lambda o: MultiStepLR(o, [1], "a"), TypeError, "gamma .* 'a'"),
        (lambda o: ExponentialLR(o, math.inf), ValueError, "gamma .* inf"),
        (lambda o: CosineAnnealingLR(o, 0), ValueError, "T_max .* got 0"),
        (lambda o: CosineAnnealingLR(o, 9.0), TypeError, "T_max .* got 9.0"),
        (lambda o: CosineAnnealingLR(o, 9, -1), ValueError, "eta_min .* -1"),
        (lambda o: CosineAnnealingWarmRestarts(o, 0), ValueError, "T_0 .* got 0"),
        (lambda o: CosineAnnealingWarmRestarts(o, 3, 0), ValueError, "T_mult .* 0"),
        (lambda o: CosineAnnealingWarmRestarts(o, 3, 1.5), TypeError, "T_mult .* 1.5"),
        (lambda o: CosineAnnealingWarmRestarts(o, 3, 1, "a"), TypeError, "eta_min"),
        (
            lambda o: OneCycleLR(o, 1.0),
            ValueError,
            "total_steps must be given, or both",
        ),
        (lambda o: OneCycleLR(o, 1.0, epochs=3), ValueError, "steps_per_epoch=None"),
        (lambda o: OneCycleLR(o, 1.0, 0), ValueError, "total_steps .* got 0"),
        (
            lambda o: OneCycleLR(o, 1.0, epochs=3, steps_per_epoch=0.5),
            TypeError,
            "steps_per_epoch .* 0.5",
        ),
        (lambda o: OneCycleLR(o, -1.0, 9), ValueError, "max_lr .* -1"),
        (
            lambda o: OneCycleLR(o, [1.0] * 3, 9),
            ValueError,
            "max_lr .* 1 groups, got 3",
        ),
        (
            lambda o: OneCycleLR(o, 1.0, 9, pct_start=1.5),
            ValueError,
            "pct_start .* 1.5",
        ),
        (
            lambda o: OneCycleLR(o, 1.0, 9, anneal_strategy="exp"),
            ValueError,
            "anneal_strategy .* 'exp'",
        ),
        (
            lambda o: OneCycleLR(o, 1.0, 9, cycle_momentum="no"),
            TypeError,
            "cycle_momentum .* 'no'",
        ),
        (
            lambda o: OneCycleLR(o, 1.0, 9, max_momentum=1.0),
            ValueError,
            "max_momentum .* 1.0",
        ),
        (
            lambda o: OneCycleLR(o, 1.0, 9, base_momentum=[]),
            ValueError,
            "base_momentum .* 1 groups, got 0",
        ),
        (lambda o: OneCycleLR(o, 1.0, 9, div_factor=0), ValueError, "div_factor .* 0"),
        (
            lambda o: OneCycleLR(o, 1.0, 9, final_div_factor=-1),
            ValueError,
            "final_div_factor .* -1",
        ),
        (lambda o: OneCycleLR(o, 1.0, 9, last_epoch=9), ValueError, "total_steps=9"),
        (
            lambda o: OneCycleLR(Plain(), 1.0, 9),
            ValueError,
            "cycle_momentum=True .* Plain does not have; pass False",
        ),
        (lambda o: ReduceLROnPlateau(o, "low"), ValueError, "mode .* 'low'"),
        (lambda o: ReduceLROnPlateau(o, factor=1.0), ValueError, r"factor .* \[0, 1\)"),
        (lambda o: ReduceLROnPlateau(o, patience=-1), ValueError, "patience .* -1"),
        (lambda o: ReduceLROnPlateau(o, threshold=-1), ValueError, "threshold .* -1"),
        (
            lambda o: ReduceLROnPlateau(o, threshold_mode="x"),
            ValueError,
            "threshold_mode .* 'x'",
        ),
        (lambda o: ReduceLROnPlateau(o, cooldown=0.5), TypeError, "cooldown .* 0.5"),
        (lambda o: ReduceLROnPlateau(o, min_lr=[0, 0]), ValueError, "min_lr .* got 2"),
        (lambda o: ReduceLROnPlateau(o, min_lr="a"), TypeError, "min_lr .* 'a'"),
        (lambda o: ReduceLROnPlateau(o, eps=-1), ValueError, "eps .* -1"),
        (
            lambda o: SequentialLR(o, LinearLR(OTHER), []),
            TypeError,
            r"schedulers .*LinearLR; pass \[schedulers\]",
        ),
        (lambda o: SequentialLR(o, [3], []), TypeError, r"schedulers\[0\] .* got int"),
        (
            lambda o: SequentialLR(o, [StepLR(OTHER, 1)], []),
            ValueError,
            r"schedulers\[0\] belongs to another optimizer",
        ),
        (
            lambda o: SequentialLR(o, [ReduceLROnPlateau(OTHER)], []),
            ValueError,
            r"schedulers\[0\] is a ReduceLROnPlateau",
        ),
        (
            lambda o: SequentialLR(o, [StepLR(OTHER, 1)], 3),
            TypeError,
            "milestones .* int",
        ),
        (
            lambda o: SequentialLR(o, [StepLR(OTHER, 1)], [3]),
            ValueError,
            "1 milestones for 1 schedulers",
        ),
        (
            lambda o: SequentialLR(o, [StepLR(OTHER, 1)] * 3, [3, 2]),
            ValueError,
            r"milestones must not fall, got \[3, 2\]",
        ),
        (
            lambda o: SequentialLR(o, [StepLR(OTHER, 1)] * 2, [0.5]),
            TypeError,
            "milestones .* 0.5",
        ),
    ],
)
def test_bad_arguments_are_named_and_change_nothing(
    make: Callable[[Any], Any], error: type[Exception], message: str
) -> None:
    opt = optimizer()
    before = options(opt)
    with pytest.raises(error, match=message):
        make(opt)
    assert options(opt) == before


@pytest.mark.parametrize(
    ("step", "error", "message"),
    [
        (lambda o: ReduceLROnPlateau(o).step("0.5"), TypeError, "metrics .* got str"),
        (lambda o: ReduceLROnPlateau(o).step(None), TypeError, "metrics .* NoneType"),
        (
            lambda o: ReduceLROnPlateau(o).step(gl.ones(2)),
            TypeError,
            "metrics .*Tensor",
        ),
        (lambda o: ReduceLROnPlateau(o).step(1j), TypeError, "metrics .* complex"),
        (
            lambda o: CosineAnnealingWarmRestarts(o, 3).step(-0.5),
            ValueError,
            "epoch .* -0.5",
        ),
        (
            lambda o: CosineAnnealingWarmRestarts(o, 3).step("a"),
            TypeError,
            "epoch .* 'a'",
        ),
    ],
)
def test_bad_arguments_of_a_step_are_named(
    step: Callable[[Any], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        step(optimizer())
