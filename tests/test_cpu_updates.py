"""Updates on the CPU: compiled, in blocks and by the portable formulas, bit for bit."""

from __future__ import annotations

import gc
import itertools
import logging
import math
import os
import re
import subprocess
import sys
import tracemalloc
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gradlite.backends import _cpu_updates, _threads, _updates, cpu
from gradlite.backends._generic_updates import PortableBatch
from gradlite.backends._runs import adjacent, joined
from gradlite.backends._updates import Update

ROOT = Path(__file__).parent.parent
Array = Any
Shapes = Sequence[tuple[int, ...]]
DTYPES = [np.float32, np.float64]
SHAPES: Shapes = [(5, 7), (), (37,), (2, 3, 4), (0, 3)]  # all but the last merge


@pytest.fixture(params=["jit", "blocks"])
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each implementation in turn."""
    if request.param == "jit":
        pytest.importorskip("numba")
    cpu.set_jit(request.param == "jit")
    yield request.param
    cpu.set_jit(True)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> int:
    """Blocks, and parts of threads, that small arrays already fill."""
    monkeypatch.setattr(_cpu_updates, "BLOCK", 64)
    monkeypatch.setattr(_threads, "GRAIN", 64)
    monkeypatch.setattr(_threads, "THRESHOLD", 100)
    return 64


# Every variant of every family


def products(family: Callable[..., Update], **choices: Any) -> dict[str, Update]:
    found = {}
    for values in itertools.product(*choices.values()):
        options = dict(zip(choices, values, strict=True))
        if family is _updates.sgd and not allowed(**options):
            continue
        if not options["weight_decay"] and options.get("decoupled_weight_decay"):
            continue
        name = [k if v is True else f"{k}={v}" for k, v in options.items() if v]
        found["-".join([family.__name__, *name])] = family(lr=0.05, **options)
    return found


def allowed(
    momentum: float,
    dampening: float,
    alpha: float,
    nesterov: bool,
    momentum_form: str,
    proximal: bool,
    **others: Any,
) -> bool:
    """Whether `gradlite.optim.SGD` takes the options and each of them matters."""
    torch = momentum_form == "torch"
    if not momentum and (dampening or nesterov or torch):
        return False
    if dampening and nesterov:
        return False
    return not proximal or (alpha > 0 and not (nesterov or dampening or torch))


SWITCH = (False, True)
DECAY: dict[str, Any] = {"weight_decay": (0.0, 0.1), "maximize": SWITCH}
UPDATES = {
    **products(
        _updates.sgd,
        momentum=(0.0, 0.9),
        dampening=(0.0, 0.3),
        alpha=(0.0, 0.02),
        nesterov=SWITCH,
        momentum_form=("classic", "torch"),
        proximal=SWITCH,
        decoupled_weight_decay=SWITCH,
        **DECAY,
    ),
    "sgd-lr=0": _updates.sgd(lr=0.0, momentum=0.9, alpha=0.02, proximal=True),
    **products(_updates.adam, amsgrad=SWITCH, decoupled_weight_decay=SWITCH, **DECAY),
    **products(_updates.rmsprop, momentum=(0.0, 0.9), centered=SWITCH, **DECAY),
    **products(_updates.adagrad, lr_decay=(0.0, 0.1), **DECAY),
}
SOME = {
    "classic": _updates.sgd(lr=0.05, momentum=0.9),
    "torch": _updates.sgd(lr=0.05, momentum=0.9, momentum_form="torch"),
    "amsgrad": _updates.adam(lr=0.05, amsgrad=True, weight_decay=0.1),
    "plain": _updates.sgd(lr=0.05, alpha=0.02),
}


def values(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Array:
    """Return numbers of which some are extreme."""
    x = rng.standard_normal(shape)
    info = np.finfo(dtype)
    extremes = [0.0, -0.0, info.smallest_subnormal, -info.tiny, 1e-20, 3.0]
    extremes += [info.max, math.inf, -math.inf, math.nan]
    x = np.where(rng.random(shape) < 0.1, rng.choice(extremes, shape), x)
    return np.asarray(x).astype(dtype)


def side_by_side(arrays: Sequence[Array]) -> list[Array]:
    """Return copies that lie in one array without a gap."""
    flat = np.concatenate([array.reshape(-1) for array in arrays])
    ends = np.cumsum([array.size for array in arrays])
    pieces = np.split(flat, ends[:-1])
    return [x.reshape(a.shape) for x, a in zip(pieces, arrays, strict=True)]


def assert_same(x: Array, y: Array) -> None:
    """Assert that arrays are equal bit for bit; a NaN is a NaN."""
    assert x.dtype == y.dtype
    assert x.shape == y.shape
    numbers = ~np.isnan(x)
    np.testing.assert_array_equal(numbers, ~np.isnan(y))
    bits = f"u{x.dtype.itemsize}"
    x, y = np.ascontiguousarray(x), np.ascontiguousarray(y)
    np.testing.assert_array_equal(
        np.where(numbers, x.view(bits), 0), np.where(numbers, y.view(bits), 0)
    )


class Pair:
    """The same parameters twice: for the batch under test and for the portable one."""

    def __init__(
        self,
        params: Sequence[Array],
        update: Update,
        *,
        groups: Sequence[int] | None = None,
        slots: bool | Sequence[bool] = True,
        masters: bool = False,
        states: Callable[[tuple[int, ...], Any], Array] = np.zeros,
        layout: Callable[[Sequence[Array]], list[Array]] = side_by_side,
    ) -> None:
        wide = np.float32 if params[0].dtype.itemsize == 2 else params[0].dtype
        count = len(params)
        groups = groups or [0] * count
        self.used = [slots] * count if isinstance(slots, bool) else list(slots)
        first = [[states(p.shape, wide) for p in params] for _ in update.states]
        self.sides = []
        for batch, arranged in ((cpu.batch, layout), (self.portable, copies)):
            ps = arranged(params)
            columns = [arranged(kept) for kept in first]
            rows = [tuple(column[i] for column in columns) for i in range(count)]
            whole = arranged([p.astype(wide) for p in params]) if masters else None
            gs = arranged([np.zeros(p.shape, p.dtype) for p in params])
            given = [g if used else None for g, used in zip(gs, self.used, strict=True)]
            made = batch(ps, rows, groups, [0] * count, given, whole)
            self.sides.append((made, ps, gs, rows, whole))
        self.batch, self.params = self.sides[0][:2]

    @staticmethod
    def portable(*arguments: Any) -> PortableBatch:
        return PortableBatch(cpu.xp, *arguments)

    def step(
        self,
        grads: Sequence[Array | None],
        updates: Sequence[Update],
        *,
        complete: bool | None = None,
        **options: Any,
    ) -> None:
        """Take a step on both sides with equal gradients, in their slots."""
        complete = all(g is not None for g in grads) if complete is None else complete
        for batch, _, slots, _, _ in self.sides:
            found: list[Array | None] = []
            for g, slot, used in zip(grads, slots, self.used, strict=True):
                if g is not None and used:
                    slot[...] = g
                found.append(slot if g is not None and used else g)
            portable = isinstance(batch, PortableBatch)
            with np.errstate(all="ignore" if portable else "warn"):
                batch.step(found, updates, complete=complete, **options)

    def check(self) -> None:
        ours, theirs = self.sides
        np.testing.assert_array_equal(ours[0].steps, theirs[0].steps)
        for x, y in zip(ours[1], theirs[1], strict=True):
            assert_same(x, y)
        for row, other in zip(ours[3], theirs[3], strict=True):
            for x, y in zip(row, other, strict=True):
                assert_same(x, y)
        for x, y in zip(ours[4] or [], theirs[4] or [], strict=True):
            assert_same(x, y)


def copies(arrays: Sequence[Array]) -> list[Array]:
    return [array.copy() for array in arrays]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("update", UPDATES.values(), ids=UPDATES)
def test_variants(engine: str, update: Update, dtype: Any) -> None:
    rng = np.random.default_rng(1)
    pair = Pair(
        [values(rng, s, dtype) for s in SHAPES],
        update,
        states=lambda shape, dtype: np.asarray(abs(values(rng, shape, dtype))),
    )
    assert [run.stop for run in pair.batch._runs] == [4, 5]
    scales: list[dict[str, Any]] = [
        {},
        {"grad_scale": 8.0, "clip": 0.3},
        {"clip": np.asarray(1 / 3)},
        {"grad_scale": np.float32(3)},
        {},
    ]
    for scale in scales:
        pair.step([values(rng, s, dtype) for s in SHAPES], [update], **scale)
    pair.check()


@pytest.mark.parametrize("update", SOME.values(), ids=SOME)
def test_ends_of_blocks(engine: str, update: Update, small_blocks: int) -> None:
    rng = np.random.default_rng(2)
    sizes = (1, 15, 16, 17, 63, 64, 65, 99, 100, 127, 128, 129, 1000)
    pair = Pair([values(rng, (n,), "f4") for n in sizes], update, slots=False)
    for _ in range(3):
        pair.step([values(rng, (n,), "f4") for n in sizes], [update])
    pair.check()


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("update", SOME.values(), ids=SOME)
def test_threads_change_no_bit(
    engine: str,
    update: Update,
    threads: int,
    small_blocks: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_threads, "_count", threads)
    rng = np.random.default_rng(3)
    sizes = (300, 1000, 7)
    pair = Pair([values(rng, (n,), "f4") for n in sizes], update)
    grads = [rng.standard_normal(n).astype("f4") for n in sizes]
    for _ in range(3):
        pair.step(grads, [update], clip=0.5)
    pair.check()
    total = pair.batch.square_sum(pair.sides[0][2], complete=True)
    monkeypatch.setattr(_threads, "_count", 1)
    assert total == pair.batch.square_sum(pair.sides[0][2], complete=True)


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "transposed": lambda x: x.T.copy().T,
    "strided": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "backwards": lambda x: x[::-1].copy()[::-1],
    "unaligned": lambda x: np.frombuffer(
        bytearray(b"?" + x.tobytes()), x.dtype, offset=1
    ).reshape(x.shape),
}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("what", ["params", "grads"])
def test_other_orders_in_memory(
    engine: str, layout: Callable[[Array], Array], what: str, dtype: Any
) -> None:
    rng = np.random.default_rng(4)
    update, shape = SOME["amsgrad"], (3, 5, 4)
    arrange = copies if what == "grads" else lambda xs: [layout(x) for x in xs]
    pair = Pair([values(rng, shape, dtype)], update, slots=False, layout=arrange)
    for _ in range(3):
        g = values(rng, shape, dtype)
        pair.step([layout(g) if what == "grads" else g], [update])
    pair.check()


def test_other_orders_over_blocks(engine: str, small_blocks: int) -> None:
    rng = np.random.default_rng(5)
    update = SOME["classic"]
    params = [values(rng, (30, 20), "f4"), values(rng, (150,), "f4")]
    layout = LAYOUTS["strided"]
    pair = Pair(params, update, slots=False, layout=lambda xs: [layout(x) for x in xs])
    pair.step([values(rng, p.shape, "f4") for p in params], [update])
    pair.check()


@pytest.mark.parametrize(
    "change",
    [
        lambda g: np.frombuffer(g.tobytes(), g.dtype).reshape(g.shape),
        lambda g: np.broadcast_to(g[:1], g.shape),
        lambda g: np.array(g).view(type("Subclass", (np.ndarray,), {})),
    ],
    ids=["read-only", "broadcast", "subclass"],
)
def test_gradients_that_loops_do_not_take(engine: str, change: Any) -> None:
    rng = np.random.default_rng(6)
    update = SOME["torch"]
    pair = Pair([values(rng, (6, 7), "f4")], update, slots=False)
    for _ in range(2):
        pair.step([change(values(rng, (6, 7), "f4"))], [update])
    pair.check()
    if engine == "jit":
        from gradlite.backends import _jit

        kinds = _jit.sgd_momentum.signatures  # type: ignore[attr-defined]
        assert all(x.mutable and x.aligned for kind in kinds for x in kind[1:])


def test_the_compiler_is_switched_for_existing_batches(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    monkeypatch.setattr(_cpu_updates, "follow_", lambda *args: calls.append(args))
    batch = cpu.batch([np.ones(3)], [()], [0], [0], [None])
    used = []
    for enabled in (True, False, True):
        cpu.set_jit(enabled)
        batch.step([np.ones(3)], [SOME["plain"]])
        used.append(len(calls))
    assert used == ([0, 1, 1] if cpu.has_jit() else [1, 2, 3])


# Parameters of 16 bits


@pytest.mark.parametrize("masters", [False, True])
@pytest.mark.parametrize("update", SOME.values(), ids=SOME)
def test_float16(engine: str, update: Update, masters: bool, small_blocks: int) -> None:
    rng = np.random.default_rng(7)
    shapes = [(200,), *SHAPES]
    pair = Pair([values(rng, s, "f2") for s in shapes], update, masters=masters)
    assert [run.stop for run in pair.batch._runs] == [5, 6]
    for i in range(4):
        grads = [values(rng, s, "f2") for s in shapes]
        pair.step([None if i == 1 else grads[0], *grads[1:]], [update], grad_scale=4.0)
    pair.check()


def test_masters_collect_what_is_too_small_for_16_bits(engine: str) -> None:
    p = np.ones(3, np.float16)
    master = np.ones(3, np.float32)
    batch = cpu.batch([p], [()], [0], [0], [None], [master])
    for _ in range(4096):
        batch.step([np.ones(3, np.float16)], [_updates.sgd(lr=2.0**-14)])
    assert_same(p, np.full(3, 0.75, np.float16))


# Gradients that are not there, groups, and changes


@pytest.mark.parametrize("update", SOME.values(), ids=SOME)
def test_missing_gradients(engine: str, update: Update) -> None:
    """Parameters of a run then have had different numbers of updates."""
    rng = np.random.default_rng(8)
    pair = Pair([values(rng, s, "f4") for s in SHAPES], update)
    steps = pair.batch.steps
    for missing in [(2,), (), (0, 1), (0, 1, 2, 3, 4), (4,), ()]:
        grads = [values(rng, s, "f4") for s in SHAPES]
        pair.step([None if i in missing else g for i, g in enumerate(grads)], [update])
        pair.check()
    assert pair.batch.steps is steps
    assert steps.tolist() == [4, 4, 4, 5, 4]


@pytest.mark.parametrize("update", SOME.values(), ids=SOME)
def test_gradients_elsewhere(engine: str, update: Update) -> None:
    """They need not be in their slots."""
    rng = np.random.default_rng(9)
    params = [values(rng, s, "f4") for s in SHAPES]
    pair = Pair(params, update)
    other = Pair(params, update, slots=False)
    for _ in range(3):
        grads = [values(rng, s, "f4") for s in SHAPES]
        for batch, _, slots, _, _ in pair.sides:
            slots[2][...] = grads[2]
            with np.errstate(all="ignore"):
                batch.step([*grads[:2], slots[2], *grads[3:]], [update])
        other.step(grads, [update], complete=False)
        pair.check()
        other.check()
    for x, y in zip(pair.params, other.params, strict=True):
        assert_same(x, y)


def test_some_have_slots(engine: str) -> None:
    rng = np.random.default_rng(10)
    update = SOME["amsgrad"]
    shapes = [(3,), (4,), (50,), (5,), (6,)]
    used = [True, True, False, True, True]
    pair = Pair([values(rng, s, "f4") for s in shapes], update, slots=used)
    assert [(run.start, run.stop) for run in pair.batch._runs] == [
        *((0, 2), (2, 3), (3, 5))
    ]
    for missing in (None, 2, 1, None):
        grads = [values(rng, s, "f4") for s in shapes]
        pair.step([None if i == missing else g for i, g in enumerate(grads)], [update])
    pair.check()


def test_groups_and_changes(engine: str) -> None:
    rng = np.random.default_rng(11)
    first, second = (_updates.adam(lr=lr, weight_decay=lr) for lr in (0.1, 0.01))
    pair = Pair([values(rng, s, "f4") for s in SHAPES], first, groups=[0, 0, 1, 1, 0])
    assert [run.stop for run in pair.batch._runs] == [2, 4, 5]
    updates = [first, second]
    for change in (None, "flags", "one in place", "equal", "compiler", "compiler"):
        if change == "flags":
            updates = [_updates.adam(lr=0.1, maximize=True), second]
        elif change == "one in place":
            updates[1] = _updates.adam(lr=0.3)
        elif change == "equal":
            updates = [Update(*update) for update in updates]
        elif change == "compiler":
            cpu.set_jit(not cpu.has_jit())
        pair.step([values(rng, s, "f4") for s in SHAPES], updates)
        pair.check()


@pytest.mark.parametrize("found_inf", [True, np.asarray(1.0), np.ones(1, bool)])
def test_found_inf_leaves_everything(engine: str, found_inf: Any) -> None:
    update = SOME["classic"]
    pair = Pair([np.ones(3, "f4"), np.ones((2, 2), "f4")], update)
    grads = [np.ones(3, "f4"), np.ones((2, 2), "f4")]
    pair.step(grads, [update], found_inf=found_inf)
    pair.check()
    assert pair.batch.steps.tolist() == [0, 0]
    assert_same(pair.params[0], np.ones(3, "f4"))
    pair.step(grads, [update], found_inf=np.asarray(0.0))
    assert pair.batch.steps.tolist() == [1, 1]


def test_a_gradient_of_another_shape_is_refused_before_anything_is_written() -> None:
    params = [np.ones(3), np.ones((2, 3))]
    batch = cpu.batch(params, [(), ()], [0, 0], [0, 0], [None, None])
    with pytest.raises(ValueError, match=r"grads\[1\] has shape \(3,\)"):
        batch.step([np.ones(3), np.ones(3)], [_updates.sgd(lr=1.0)])
    assert batch.steps.tolist() == [0, 0]
    assert_same(params[0], np.ones(3))


def test_an_empty_batch() -> None:
    batch = cpu.batch([], [], [], [], [])
    batch.step([], [SOME["classic"]], complete=True)
    assert batch.square_sum([]) == 0.0


# Memory


def test_joined_keeps_the_owner() -> None:
    flat = np.arange(10.0)
    owner = weakref.ref(flat)
    views = [flat[1:3], flat[3:4], flat[4:7].reshape(1, 3)]
    assert all(adjacent(x, y) for x, y in itertools.pairwise(views))
    view = joined(views[0], views[-1])
    del flat, views
    gc.collect()
    assert view.tolist() == [1, 2, 3, 4, 5, 6]
    assert owner() is not None
    del view
    gc.collect()
    assert owner() is None


def test_what_is_not_adjacent() -> None:
    flat = np.arange(24.0)
    square = flat[8:24].reshape(4, 4)
    buffer = bytearray(32)
    pairs = {
        "gap": (flat[:3], flat[4:6]),
        "overlap": (flat[:3], flat[2:6]),
        "order": (flat[3:6], flat[:3]),
        "dtype": (flat[:3], flat[3:6].view(np.int64)),
        "stride": (flat[:8:2], square),
        "transposed": (flat[:8], square.T),
        "owner": (np.frombuffer(buffer, count=2), np.frombuffer(buffer, offset=16)),
    }
    assert adjacent(flat[:8], square)
    for name, pair in pairs.items():
        assert not adjacent(*pair), name


@pytest.mark.parametrize("dtype", DTYPES)
def test_joined_in_a_buffer_of_bytes(dtype: Any) -> None:
    buffer = np.zeros(80, np.uint8)
    views = [buffer[8:24].view(dtype), buffer[24:40].view(dtype)]
    assert adjacent(*views)
    view = joined(*views)
    view[...] = 1
    assert view.dtype == dtype
    assert view.size == 32 // view.itemsize
    assert not buffer[:8].any()
    assert not buffer[40:].any()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_steady_step_allocates_nothing_large(
    engine: str, dtype: Any, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_threads, "_count", threads)
    monkeypatch.setattr(_threads, "THRESHOLD", 1 << 20)
    monkeypatch.setattr(_threads, "_pool", None)  # each new thread needs new scratch
    update = _updates.sgd(lr=0.1, momentum=0.9, weight_decay=0.1)
    n = 2_000_000
    p, g = np.zeros(n, dtype), np.zeros(n, dtype)
    batch = cpu.batch([p], [(np.zeros(n, "f4"),)], [0], [0], [None])

    def step() -> None:
        clip = cpu.clip_factor([batch.square_sum([g], complete=True)], 1.0)
        batch.step([g], [update], complete=True, clip=clip)

    for _ in range(3):
        step()
    tracemalloc.start()
    try:
        step()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 64 * 1024


# Norms


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("size", [1, 63, 64, 65, 1000, 300_000])
def test_square_sum_is_accurate(engine: str, size: int, dtype: Any) -> None:
    x = np.random.default_rng(12).standard_normal(size).astype(dtype)
    expected = math.fsum(v * v for v in x.astype(float).tolist())
    batch = cpu.batch([x.copy()], [()], [0], [0], [None])
    ulps = 2 + 2 * math.log2(size)
    unit = np.spacing(np.asarray(expected, np.result_type(dtype, np.float32)))
    assert abs(batch.square_sum([x]) - expected) <= ulps * unit


def test_square_sum_of_many_equal_numbers(engine: str) -> None:
    x = np.full(10_000_000, 0.1, np.float32)
    batch = cpu.batch([x], [()], [0], [0], [None])
    square = float(np.float32(0.1) * np.float32(0.1))
    assert batch.square_sum([x]) == pytest.approx(1e7 * square, rel=1e-5)
    x[...] = 1
    assert batch.square_sum([x]) == 1e7


def test_square_sum_of_slots_and_others(engine: str) -> None:
    pair = Pair([np.ones(n, "f4") for n in (3, 4, 5)], SOME["classic"])
    slots = pair.sides[0][2]
    for i, slot in enumerate(slots):
        slot[...] = i + 1
    assert pair.batch.square_sum([None] * 3, complete=True) == 3 + 16 + 45
    assert pair.batch.square_sum([None, slots[1], np.ones(5, "f4").T]) == 16 + 5
    assert pair.batch.square_sum([None] * 3) == 0.0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_square_sum_passes_on_what_is_not_finite(engine: str, bad: float) -> None:
    x = np.array([[1.0, bad], [2.0, 3.0]], np.float32).T
    batch = cpu.batch([x], [()], [0], [0], [None])
    np.testing.assert_equal(batch.square_sum([x]), bad * bad)
    huge = np.full(3, 1e200)
    batch = cpu.batch([huge], [()], [0], [0], [None])
    assert batch.square_sum([huge]) == math.inf


@pytest.mark.parametrize(
    ("sums", "max_norm", "scale", "factor"),
    [
        ([9.0, 16.0], 2.5, None, 2.5 / (5.0 + 1e-6)),
        ([9.0, 16.0], 2.5, 4.0, 1.0),
        ([9.0, np.float32(16.0)], 2.5, np.asarray(0.5), 2.5 / (10.0 + 1e-6)),
        ([0.0], 1.0, None, 1.0),
        ([math.inf], 1.0, None, 0.0),
        ([1.0, math.nan], 1.0, None, math.nan),
    ],
)
def test_clip_factor(sums: Any, max_norm: float, scale: Any, factor: float) -> None:
    np.testing.assert_equal(cpu.clip_factor(sums, max_norm, scale), factor)


@pytest.mark.parametrize(
    ("dtypes", "result"), [(["f2"], "f4"), (["f4"], "f4"), (["f4", "f8"], "f8")]
)
def test_global_norm(engine: str, dtypes: list[str], result: str) -> None:
    arrays = [np.full((2, 2), 100.0, dtype) for dtype in dtypes]
    norm = cpu.global_norm(arrays, grad_scale=np.asarray(8.0))
    assert norm.shape == ()
    assert norm.dtype == result
    assert float(norm) == pytest.approx(200.0 * math.sqrt(len(dtypes)) / 8, rel=1e-7)
    with pytest.raises(ValueError, match="at least one array"):
        cpu.global_norm([])


# numba


def test_set_jit_wants_a_bool() -> None:
    with pytest.raises(TypeError, match="enabled must be True or False, got 'off'"):
        cpu.set_jit("off")  # type: ignore[arg-type]


def test_the_first_use_of_a_loop_is_announced(caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("numba")
    from gradlite.backends import _jit

    _jit._compiles.cache_clear()
    with caplog.at_level(logging.INFO, "gradlite"):
        for _ in range(2):
            _jit.loop(SOME["classic"], np.dtype("f4"))
    assert len(caplog.records) == 1
    assert "sgd_momentum for float32" in caplog.messages[0]


def test_loops_that_cannot_be_cached_are_compiled_nevertheless() -> None:
    pytest.importorskip("numba")
    from gradlite.backends import _jit

    names: dict[str, Any] = {}
    exec(compile("def double(x):\n    return x + x\n", "<nowhere>", "exec"), names)
    assert _jit.compiled(names["double"])(2) == 4


@pytest.mark.parametrize("name", ["_sgd_classic", "adam", "rmsprop_full"])
def test_loops_are_vectorised(name: str) -> None:
    numba = pytest.importorskip("numba")
    from gradlite.backends import _jit

    function = getattr(_jit, name).py_func
    arrays = function.__code__.co_argcount - 1
    types = (numba.int64, *(numba.float32[::1],) * arrays)
    loop = numba.njit(types, nogil=True, error_model="numpy")(function)
    assert re.search(r"store <\d+ x float>", loop.inspect_llvm(types))


USE = """
import logging, sys
logging.basicConfig(stream=sys.stdout, format="%(message)s")
import numpy as np
from gradlite.backends import _updates, cpu
cpu.has_jit(), cpu.set_jit(False), cpu.set_jit(True)
print("numba" in sys.modules)
x = np.ones(2)
batch = cpu.batch([x], [()], [0], [0], [None])
for _ in range(2):
    batch.step([x.copy()], [_updates.sgd(lr=0.5)])
print(x.tolist(), cpu.has_jit())
"""


def run(*folders: Path) -> list[str]:
    """Use an optimizer in a fresh interpreter, with more folders to import from."""
    path = os.pathsep.join(map(str, (*folders, ROOT)))
    command = [sys.executable, "-c", USE]
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_broken_numba_is_told_once_and_done_without(tmp_path: Path) -> None:
    (tmp_path / "numba.py").write_text("raise ImportError('needs an older NumPy')")
    lines = run(tmp_path)
    assert lines[0] == "False"
    assert "numba cannot be imported" in lines[1]
    assert "needs an older NumPy" in lines[1]
    assert lines[2:] == ["[0.25, 0.25] False"]


@pytest.mark.slow
def test_numba_is_imported_by_the_first_step() -> None:
    pytest.importorskip("numba")
    assert run() == ["False", "[0.25, 0.25] True"]
