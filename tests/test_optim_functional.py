"""The updates of plain arrays: values, which arrays they take, and what goes wrong."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import gradlite as gl
from gradlite.backends import cpu
from gradlite.optim import SGD, Adagrad, Adam, Optimizer, RMSprop
from gradlite.optim import functional as F
from gradlite.optim.functional import adagrad_, adam_, rmsprop_, sgd_

Options = dict[str, Any]

SHAPES: list[tuple[int, ...]] = [(3, 4), (), (5,), (0, 2)]
LATE = 2  # this parameter has no gradient in the first steps


@dataclass(frozen=True)
class Case:
    """A function, the optimizer that does the same, and what it keeps."""

    function: Callable[..., None]
    kind: type[Optimizer]
    options: Options
    states: tuple[str, ...] = ()
    counts: bool = False

    def __str__(self) -> str:
        return "-".join([self.function.__name__, *self.options])


CASES = [
    Case(sgd_, SGD, {"weight_decay": 0.1, "alpha": 0.01}),
    Case(sgd_, SGD, {"momentum": 0.9, "nesterov": True}, ("momentum_buffer",)),
    Case(
        sgd_,
        SGD,
        {"momentum": 0.9, "dampening": 0.5, "momentum_form": "torch"},
        ("momentum_buffer",),
    ),
    Case(
        sgd_,
        SGD,
        {"momentum": 0.9, "alpha": 0.1, "proximal": True},
        ("momentum_buffer",),
    ),
    Case(adam_, Adam, {"weight_decay": 0.1}, ("exp_avg", "exp_avg_sq"), counts=True),
    Case(
        adam_,
        Adam,
        {"amsgrad": True, "betas": [0.8, 0.9], "decoupled_weight_decay": True},
        ("exp_avg", "exp_avg_sq", "max_exp_avg_sq"),
        counts=True,
    ),
    Case(rmsprop_, RMSprop, {"maximize": True}, ("square_avg",)),
    Case(
        rmsprop_,
        RMSprop,
        {"momentum": 0.9, "centered": True},
        ("square_avg", "momentum_buffer", "grad_avg"),
    ),
    Case(adagrad_, Adagrad, {"lr_decay": 0.1}, ("sum",), counts=True),
]


def host(tensor: gl.Tensor) -> Any:
    return tensor.detach().cpu().numpy()


# Values


@pytest.mark.parametrize("max_norm", [None, 1.5])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_functions_do_what_the_optimizers_do(
    case: Case, max_norm: float | None, device: gl.Device
) -> None:
    """On arrays of each library, with gradients that come late.

    Bit for bit where it is the same library that does it: others lend NumPy their
    memory, and need not round square roots and sums as it does.
    """
    tolerance = 0.0 if device.backend.ALIGNMENT else 1e-12
    rng = np.random.default_rng(3)
    values = [np.asarray(rng.standard_normal(shape)) for shape in SHAPES]

    def raw(array: Any) -> Any:
        return device.backend.from_host(np.array(array), device.raw)

    params = [raw(v) for v in values]
    states = [[raw(np.zeros_like(v)) for v in values] for _ in case.states]
    tensors = [gl.tensor(v, device=device, requires_grad=True) for v in values]
    optimizer = case.kind(tensors, lr=0.1, max_norm=max_norm, **case.options)
    for k in range(5):
        rows = [np.asarray(rng.standard_normal(shape)) for shape in SHAPES]
        grads: list[Any] = [raw(g) for g in rows]
        if k < 2:
            grads[LATE] = None
        numbers = [k + 1] * len(params)
        numbers[LATE] = max(k - 1, 1)
        more: Options = {"step": numbers} if case.counts else {}
        if case.function is sgd_:
            more = {"first": [number == 1 for number in numbers]}
        lists = [params, grads, *states]
        case.function(
            *lists, lr=0.1, grad_scale=2.0, max_norm=max_norm, **more, **case.options
        )
        for tensor, g, given in zip(tensors, rows, grads, strict=True):
            tensor.grad = None if given is None else gl.tensor(g, device=device)
            if given is not None:  # only read
                np.testing.assert_array_equal(device.backend.to_host(given), g)
        optimizer.step(grad_scale=2.0)
    for i, tensor in enumerate(tensors):
        kept = [optimizer.state[tensor][name] for name in case.states]
        for array, expected in zip(
            [params[i], *(column[i] for column in states)],
            [tensor, *kept],
            strict=True,
        ):
            np.testing.assert_allclose(
                device.backend.to_host(array), host(expected), tolerance, tolerance
            )


@pytest.mark.parametrize("case", CASES, ids=str)
def test_options_are_those_of_the_optimizers(case: Case) -> None:
    """Their names and defaults, so that one cannot be forgotten."""
    ours = inspect.signature(case.function).parameters
    theirs = inspect.signature(case.kind).parameters
    unlike = {"params", "lr", "grads", "initial_accumulator_value"}
    for name in set(theirs) - unlike:
        assert ours[name].default == theirs[name].default, name
        assert ours[name].kind is inspect.Parameter.KEYWORD_ONLY


def test_all_functions_have_a_case() -> None:
    assert {case.function.__name__ for case in CASES} == set(F.__all__)


def test_arrays_of_16_bits_are_updated_in_float32() -> None:
    rng = np.random.default_rng(5)
    p, g = rng.standard_normal((2, 100)).astype(np.float16)
    v = rng.standard_normal(100).astype(np.float32)
    velocity = v * np.float32(0.9) - np.float32(0.1) * g.astype(np.float32)
    expected = (p.astype(np.float32) + velocity).astype(np.float16)
    sgd_([p], [g], [v], lr=0.1, momentum=0.9)
    np.testing.assert_array_equal(v, velocity)
    np.testing.assert_array_equal(p, expected)


@pytest.mark.parametrize("order", ["F", "sliced", "reversed"])
def test_any_layout_is_written_in_place(order: str) -> None:
    def arranged(values: Any) -> Any:
        if order == "sliced":
            return np.repeat(values, 2, axis=1)[:, ::2]
        return np.asfortranarray(values) if order == "F" else values[::-1].copy()[::-1]

    plain = np.random.default_rng(7).standard_normal((3, 6, 5))
    p, g, v = map(arranged, plain)
    view = p[1:]
    sgd_(list(plain[:1]), [plain[1]], [plain[2]], lr=0.1, momentum=0.9)
    sgd_([p], [g], [v], lr=0.1, momentum=0.9)
    np.testing.assert_array_equal(p, plain[0])
    np.testing.assert_array_equal(v, plain[2])
    np.testing.assert_array_equal(view, plain[0][1:])


def test_one_batch_serves_all_arrays_of_a_dtype(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes: list[int] = []
    make = cpu.batch

    def batch(params: Any, *others: Any) -> Any:
        sizes.append(len(params))
        return make(params, *others)

    monkeypatch.setattr(cpu, "batch", batch)
    params = [np.ones(3, dtype) for dtype in ("f4", "f8", "f4", "f8", "f4")]
    sgd_(params, [np.ones_like(p) for p in params], lr=0.25)
    assert sizes == [3, 2]
    assert all((p == 0.75).all() for p in params)


def test_max_norm_bounds_the_norm_over_all_dtypes_and_devices() -> None:
    strict = gl.Device("array_api_strict:device1")
    params = [np.zeros(1, np.float32), np.zeros(1), strict.xp.zeros(1)]
    params[2] = gl.zeros(1, device=strict)._array
    grads = [np.full(1, 20.0, np.float32), np.full(1, 20.0)]
    grads.append(gl.full(1, 10.0, device=strict)._array)
    sgd_(params, grads, lr=1.0, grad_scale=10.0, max_norm=1.0)  # the norm is 3
    found = [float(p[0]) for p in params]
    assert found == pytest.approx([-2 / 3, -2 / 3, -1 / 3], rel=1e-6)


def test_without_gradients_nothing_happens() -> None:
    sgd_([], [], lr=0.1, max_norm=1.0)
    p = np.ones(2)
    sgd_([p], [None], [np.zeros(2)], lr=0.1, momentum=0.9, max_norm=1.0)
    assert p.tolist() == [1.0, 1.0]


# Scales and flags


SCALARS: list[Callable[[float], Any]] = [
    float,
    np.float32,
    np.array,
    lambda x: np.array([x], dtype=np.float32),
    lambda x: gl.tensor([x]),
    lambda x: gl.tensor(x, device="array_api_strict:device1"),
]


@pytest.mark.parametrize("make", SCALARS)
def test_scalars_come_in_many_forms(make: Callable[[float], Any]) -> None:
    p, g = np.ones(2), np.full(2, 2.0)
    sgd_([p], [g], lr=0.25, grad_scale=make(4.0), found_inf=make(0.0))
    assert p.tolist() == [0.875, 0.875]
    sgd_([p], [g], lr=0.25, found_inf=make(1.0))
    assert p.tolist() == [0.875, 0.875]


@pytest.mark.parametrize("skip", [True, np.True_, np.array(True), np.array([1.0])])
def test_found_inf_writes_nothing(skip: Any) -> None:
    p, v = np.ones(2), np.ones(2)
    sgd_([p], [np.full(2, math.inf)], [v], lr=0.1, momentum=0.9, found_inf=skip)
    assert p.tolist() == v.tolist() == [1.0, 1.0]


# Arrays of other libraries


class Exporter:
    """An object with nothing but DLPack."""

    def __init__(self, array: Any) -> None:
        self._array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._array.__dlpack_device__()


def test_what_exports_its_memory_is_updated_there() -> None:
    p, g, v = np.ones(2, np.float32), np.full(2, 2, np.float32), np.zeros(2, np.float32)
    wrapped = [Exporter(array) for array in (p, g, v)]
    sgd_(*([x] for x in wrapped), lr=0.25, momentum=0.5)
    assert (p.tolist(), v.tolist()) == ([0.5, 0.5], [-0.5, -0.5])


@pytest.fixture(scope="module")
def torch() -> Any:
    """PyTorch, whose optimizers import much when the first one is made."""
    torch = pytest.importorskip("torch")
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    return torch


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_tensors_of_pytorch_are_updated_where_they_are(dtype: str, torch: Any) -> None:
    kind = getattr(torch, dtype)
    wide = kind if kind in (torch.float32, torch.float64) else torch.float32
    p = torch.nn.Parameter(torch.ones(2, 3, dtype=kind))
    m, v = torch.zeros(2, 3, dtype=wide), torch.zeros(2, 3, dtype=wide)
    peer = torch.nn.Parameter(p.detach().to(wide))
    optimizer = torch.optim.Adam([peer], lr=0.125, betas=(0.5, 0.75))
    address = p.data_ptr()
    for k in range(1, 4):
        p.grad = torch.full((2, 3), k * 0.5, dtype=kind)
        peer.grad = p.grad.to(wide)
        adam_([p.detach()], [p.grad], [m], [v], lr=0.125, betas=(0.5, 0.75), step=k)
        optimizer.step()
    assert p.data_ptr() == address
    state = optimizer.state[peer]
    tolerance = 1e-2 if kind is torch.bfloat16 else 1e-3 if wide is not kind else 1e-6
    assert torch.allclose(p.to(wide), peer, rtol=tolerance)
    assert torch.allclose(m, state["exp_avg"])
    assert torch.allclose(v, state["exp_avg_sq"])


def test_pytorchs_arrays_are_seen_by_numpy_without_a_copy(
    monkeypatch: pytest.MonkeyPatch, torch: Any
) -> None:
    """Their updates are then as fast as NumPy's."""
    seen: list[Any] = []
    make = cpu.batch

    def batch(params: Any, *others: Any) -> Any:
        seen.extend(params)
        return make(params, *others)

    monkeypatch.setattr(cpu, "batch", batch)
    p = torch.ones(3)
    sgd_([p], [np.ones(3, np.float32)], lr=0.25)
    assert seen[0].__array_interface__["data"][0] == p.data_ptr()
    assert p.tolist() == [0.75] * 3


def test_a_tensor_of_gradlite_stands_for_its_array(device: gl.Device) -> None:
    """And graphs that saved it notice."""
    p = gl.tensor([1.0, 2.0], device=device, requires_grad=True)
    v = gl.zeros(2, device=device)
    loss = (p * p).sum()
    g = gl.ones(2, device=device)
    sgd_([p], [g], [v], lr=0.25, momentum=0.5)
    assert host(p).tolist() == [0.75, 1.75]
    assert host(v).tolist() == [-0.25, -0.25]
    assert p.requires_grad
    with pytest.raises(RuntimeError, match="multiply"):
        loss.backward()
    (g * p).sum().backward()  # a gradient is only read


# What does not fit


def ones(*shape: int, dtype: Any = np.float64) -> Any:
    return np.ones(shape, dtype)


def read_only(array: Any) -> Any:
    array.flags.writeable = False
    return array


def on_device1() -> Any:
    return gl.ones(2, device="array_api_strict:device1", dtype=gl.float64)._array


def needing_grad() -> Any:
    torch = pytest.importorskip("torch")
    return torch.ones(2, dtype=torch.float64, requires_grad=True)


ERRORS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    # lists
    (lambda: sgd_(ones(2), [ones(2)], lr=1), TypeError, r"params must be a list of"),
    (lambda: sgd_([ones(2)], ones(2), lr=1), TypeError, r"grads .* pass \[array\]"),
    (
        lambda: sgd_([ones(2)], iter([ones(2)]), lr=1),
        TypeError,
        "grads must be a list",
    ),
    (
        lambda: sgd_([ones(2)], [ones(2)], ones(2), lr=1, momentum=0.5),
        TypeError,
        "velocities must be a list",
    ),
    (
        lambda: sgd_([ones(2)], [ones(2)] * 2, lr=1),
        ValueError,
        "grads has 2 entries, params 1",
    ),
    (
        lambda: sgd_([ones(2)], [ones(2)], [], lr=1, momentum=0.5),
        ValueError,
        "velocities has 0 entries, params 1",
    ),
    (
        lambda: sgd_([ones(2)], [ones(2)], lr=1, momentum=0.5),
        ValueError,
        "velocities is needed with these options, got None; pass a list",
    ),
    (
        lambda: adam_([ones(2)], [ones(2)], [ones(2)], [ones(2)], lr=1, step=1,
                      amsgrad=True),
        ValueError,
        "max_exp_avg_sqs is needed",
    ),
    (
        lambda: rmsprop_([ones(2)], [ones(2)], [ones(2)], lr=1, centered=True),
        ValueError,
        "grad_avgs is needed",
    ),
    (
        lambda: rmsprop_([ones(2)], [ones(2)], [ones(2)], lr=1, momentum=0.5),
        ValueError,
        "momentum_buffers is needed",
    ),
    # arrays
    (
        lambda: sgd_([ones(2)] * 2, [ones(2), ones(3)], lr=1),
        ValueError,
        r"grads\[1\] has shape \(3,\), params\[1\] \(2,\); they must be equal",
    ),
    (
        lambda: sgd_([ones(2)], [ones(2, dtype="f4")], lr=1),
        ValueError,
        r"grads\[0\] has dtype float32, params\[0\] float64; they must be equal",
    ),
    (
        lambda: sgd_([ones(2, dtype="f2")], [ones(2, dtype="f2")],
                     [ones(2, dtype="f2")], lr=1, momentum=0.5),
        ValueError,
        r"velocities\[0\] has dtype float16, .* 16 bits is in float32",
    ),
    (
        lambda: sgd_([ones(2)], [on_device1()], lr=1),
        gl.DeviceMismatchError,
        r"grads\[0\] is on array_api_strict:device1, params\[0\] on cpu; move one",
    ),
    (
        lambda: sgd_([ones(2, dtype="i8")], [ones(2, dtype="i8")], lr=1),
        TypeError,
        r"params\[0\] must be real and floating-point .* got dtype int64",
    ),
    (
        lambda: sgd_([ones(2, dtype="c8")], [ones(2, dtype="c8")], lr=1),
        TypeError,
        r"params\[0\] must be real .* complex64",
    ),
    (
        lambda: sgd_([ones(2, dtype=">f4")], [ones(2, dtype=">f4")], lr=1),
        TypeError,
        r"params\[0\] .* native byte order, .* got dtype >f4",
    ),
    (
        lambda: sgd_([read_only(ones(2))], [ones(2)], lr=1),
        ValueError,
        r"params\[0\] is read-only, .* pass a copy",
    ),
    (
        lambda: sgd_([ones(2)], [ones(2)], [read_only(ones(2))], lr=1, momentum=0.5),
        ValueError,
        r"velocities\[0\] is read-only",
    ),
    (
        lambda: sgd_([Exporter(read_only(ones(2)))], [ones(2)], lr=1),
        ValueError,
        r"params\[0\] .*read-?only",
    ),
    (
        lambda: sgd_([needing_grad()], [ones(2)], lr=1),
        ValueError,
        r"params\[0\] does not export its memory: .* use tensor.detach\(\)",
    ),
    (
        lambda: sgd_([[1.0, 2.0]], [ones(2)], lr=1),
        TypeError,
        r"params\[0\] must be an array, got list",
    ),
    (
        lambda: sgd_([np.ma.ones(2)], [ones(2)], lr=1),
        TypeError,
        "MaskedArray are refused",
    ),
    # options
    (lambda: sgd_([], [], lr=-1.0), ValueError, r"lr must be .* got -1.0"),
    (lambda: sgd_([], [], lr=1, momentum=1.0), ValueError, "momentum must be"),
    (
        lambda: sgd_([], [], [], lr=1, momentum=0.5, nesterov=True, dampening=0.5),
        ValueError,
        "no dampening",
    ),
    (lambda: sgd_([], [], lr=1, momentum_form="k"), ValueError, "momentum_form"),
    (lambda: sgd_([], [], lr=1, first=1), TypeError, "first must be True or False"),
    (
        lambda: sgd_([ones(2)], [ones(2)], lr=1, first=[True, False]),
        ValueError,
        "first has 2 entries, params 1; pass one for each parameter, or one for all",
    ),
    (lambda: sgd_([], [], lr=1, grad_scale=0.0), ValueError, "grad_scale must be"),
    (lambda: sgd_([], [], lr=1, grad_scale=ones(2)), ValueError, "one element"),
    (lambda: sgd_([], [], lr=1, grad_scale="4"), TypeError, "grad_scale must be"),
    (lambda: sgd_([], [], lr=1, max_norm=0.0), ValueError, "max_norm must be"),
    (lambda: sgd_([], [], lr=1, found_inf="no"), TypeError, "found_inf must be"),
    (lambda: adam_([], [], [], [], lr=1, step=0), ValueError, "step must be .* of at"),
    (lambda: adam_([], [], [], [], lr=1, step=1.0), TypeError, "step must be"),
    (
        lambda: adam_([ones(2)], [None], [ones(2)], [ones(2)], lr=1, step=[0]),
        ValueError,
        r"step\[0\] must be an integer of at least 1, got 0",
    ),
    (
        lambda: adam_([], [], [], [], lr=1, step=1, betas=(0.9, 1.0)),
        ValueError,
        r"betas\[1\]",
    ),
    (lambda: rmsprop_([], [], [], lr=1, alpha=1.0), ValueError, "alpha must be"),
    (lambda: adagrad_([], [], [], lr=1, eps=-1.0), ValueError, "eps must be"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("call", "error", "message"),
    ERRORS,
    ids=[re.sub(r"\W+", "-", message)[:40] for _, _, message in ERRORS],
)
def test_what_does_not_fit_is_named(
    call: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call()


def test_nothing_is_written_where_one_array_does_not_fit() -> None:
    p, v = [ones(2), ones(2)], [ones(2), ones(3)]
    with pytest.raises(ValueError, match=r"velocities\[1\] has shape"):
        sgd_(p, [ones(2), ones(2)], v, lr=1.0, momentum=0.9)
    assert [a.tolist() for a in (*p, *v)] == [[1, 1], [1, 1], [1, 1], [1, 1, 1]]


@pytest.fixture(scope="module")
def immutable() -> Any:
    """An array of a library that is not registered, whose arrays cannot change."""
    return pytest.importorskip("jax.numpy").ones(2)


def test_immutable_arrays_are_gradients_but_no_parameters(immutable: Any) -> None:
    p = np.ones(2, np.float32)
    sgd_([p], [immutable], lr=0.25)
    assert p.tolist() == [0.75, 0.75]
    with pytest.raises(ValueError, match=r"params\[0\] is read-only"):
        sgd_([immutable], [p], lr=0.25)
