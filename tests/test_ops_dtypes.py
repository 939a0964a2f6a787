"""Dtypes: what mixed kinds promote to, and float16, which is computed in float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradlite as gl
from gradlite import ops

Operands = tuple[Any, ...]

# Operands that are dtypes stand for [1, 2] or [True, True] of that dtype.
b, i8, i16, i32, i64 = gl.bool, gl.int8, gl.int16, gl.int32, gl.int64
f32, f64, c64, c128 = gl.float32, gl.float64, gl.complex64, gl.complex128
default = float  # the default dtype, whatever it is set to


def _make(kind: Any, device: gl.Device) -> Any:
    if isinstance(kind, type) and issubclass(kind, np.generic):
        return gl.tensor(np.asarray([1, 2]).astype(kind), device=device)
    return kind


# Precisions stay, scalars have a kind only, the higher kind decides.
PROMOTIONS: list[tuple[str, Callable[..., gl.Tensor], Operands, Any]] = [
    ("f32 + float", gl.add, (f32, 1.5), f32),
    ("f32 * int", gl.multiply, (f32, 2), f32),
    ("f64 - float", gl.subtract, (f64, 1.5), f64),
    ("float / f32", gl.divide, (1.5, f32), f32),
    ("f32 * complex", gl.multiply, (f32, 1j), c64),
    ("f64 * complex", gl.multiply, (f64, 1j), c128),
    ("c64 + float", gl.add, (c64, 1.5), c64),
    ("f32 * NumPy scalar", gl.multiply, (f32, np.float64(2.0)), f32),
    ("f32 + f64", gl.add, (f32, f64), f64),
    ("f32 * i64", gl.multiply, (f32, i64), f32),
    ("f64 * i32", gl.multiply, (f64, i32), f64),
    ("f32 * bool", gl.multiply, (f32, b), f32),
    ("f64 * c64", gl.multiply, (f64, c64), gl.complex128),
    ("i32 + int", gl.add, (i32, 1), i32),
    ("i8 + i16", gl.add, (i8, i16), i16),
    ("i8 + uint8", gl.add, (i8, gl.uint8), i16),
    ("bool + int", gl.add, (b, 1), i64),
    ("i32 + bool", gl.add, (i32, b), i32),
    ("i32 // int", gl.floor_divide, (i32, 2), i32),
    ("i32 ** int", gl.pow, (i32, 2), i32),
    ("int ** i32", gl.pow, (2, i32), i32),
    ("int - i32", gl.subtract, (5, i32), i32),
    ("maximum(i32, int)", gl.maximum, (i32, 2), i32),
    ("clip(i32, int, int)", gl.clip, (i32, 0, 2), i32),
    ("sum of i8", gl.sum, (i8,), i64),
    ("sum of bool", gl.sum, (b,), i64),
    ("prod of bool", gl.prod, (b,), i64),
    ("cumulative sum of bool", gl.cumulative_sum, (b,), i64),
    ("max of i8", gl.max, (i8,), i8),
    ("abs of i8", gl.abs, (i8,), i8),
    ("floor of i32", gl.floor, (i32,), i32),
    ("i32 + float", gl.add, (i32, 1.5), default),
    ("i32 * complex", gl.multiply, (i32, 1j), complex),
    ("bool * float", gl.multiply, (b, 1.5), default),
    ("i32 ** float", gl.pow, (i32, 2.0), default),
    ("float ** i64", gl.pow, (2.0, i64), default),
    ("maximum(i32, float)", gl.maximum, (i32, 1.5), default),
    ("clip(i32, float)", gl.clip, (i32, 0.5, None), default),
    ("where(bool, i32, float)", gl.where, (b, i32, 1.5), default),
    ("i32 / int", gl.divide, (i32, 2), default),
    ("i8 / i16", gl.divide, (i8, i16), default),
    ("int / i64", gl.divide, (1, i64), default),
    ("bool / bool", gl.divide, (b, b), default),
    ("where(bool, f32, int)", gl.where, (b, f32, 0), f32),
    ("where(bool, f32, f64)", gl.where, (b, f32, f64), f64),
    ("matmul(i32, f32)", gl.matmul, (i32, f32), f32),
    ("vecdot(f32, f64)", gl.vecdot, (f32, f64), f64),
    ("concat(i32, f32)", lambda *x: gl.concat(x), (i32, f32), f32),
    ("stack(f32, f64)", lambda *x: gl.stack(x), (f32, f64), f64),
]


@pytest.mark.parametrize(
    ("function", "operands", "expected"),
    [p[1:] for p in PROMOTIONS],
    ids=[p[0] for p in PROMOTIONS],
)
def test_promotion(
    function: Callable[..., gl.Tensor],
    operands: Operands,
    expected: Any,
    device: gl.Device,
) -> None:
    for setting, of_kind in ((f32, {float: f32, complex: c64}),
                             (f64, {float: f64, complex: c128})):  # fmt: skip
        gl.set_default_dtype(setting)
        y = function(*(_make(kind, device) for kind in operands))
        assert y.dtype is of_kind.get(expected, expected)


FLOATING = [
    gl.acos, gl.acosh, gl.asin, gl.asinh, gl.atan, gl.atanh, gl.cos, gl.cosh, gl.exp,
    gl.expm1, gl.log, gl.log10, gl.log1p, gl.log2, gl.reciprocal, gl.sin, gl.sinh,
    gl.sqrt, gl.tan, gl.tanh, gl.mean, gl.var, gl.std, gl.softmax, gl.log_softmax,
    gl.logsumexp, gl.sigmoid,
]  # fmt: skip


@pytest.mark.parametrize("function", FLOATING, ids=lambda f: f.__name__)
@pytest.mark.parametrize("kind", [b, i32])
def test_floating_functions_of_integers(
    function: Callable[..., gl.Tensor], kind: Any, device: gl.Device
) -> None:
    x = gl.tensor(np.ones(1, kind), device=device)
    with np.errstate(divide="ignore"):
        y = function(x)
        expected = function(x.astype(gl.float32))
    assert y.dtype is gl.float32
    np.testing.assert_array_equal(y.cpu().numpy(), expected.cpu().numpy())


@pytest.mark.parametrize("pool", [ops.avg_pool2d, ops.max_pool2d])
def test_pooling_of_integers(pool: Callable[..., gl.Tensor], device: gl.Device) -> None:
    x = gl.ones((1, 1, 2, 2), dtype=gl.int64, device=device)
    y = pool(x, kernel_size=(2, 2), stride=(2, 2), padding=(1, 1))
    assert (y.dtype, y.shape) == (gl.float32, (1, 1, 2, 2))


def test_default_dtype_is_used_at_the_call() -> None:
    x = gl.tensor([1, 2])
    gl.set_default_dtype(gl.float64)
    assert gl.sin(x).dtype is gl.float64
    assert gl.tensor([1.0]).dtype is gl.float64


# float16

N = 4096  # one by one, float16 counts to 2048 only


@pytest.fixture(params=["cpu", "torch:cpu"])
def half_device(request: pytest.FixtureRequest) -> gl.Device:
    """Each device whose library has float16."""
    if request.param.startswith("torch"):
        pytest.importorskip("torch")
    return gl.Device(request.param)


HALF: list[tuple[str, Callable[[gl.Tensor], gl.Tensor], float, float]] = [
    ("sum", gl.sum, 1.0, N),
    ("sum that overflows", gl.sum, 100.0, np.inf),
    ("mean", gl.mean, 1.0, 1.0),
    ("mean, its sum overflows", gl.mean, 1000.0, 1000.0),
    ("var, its sum overflows", lambda x: gl.var(gl.concat([x, -x])), 200.0, 40000.0),
    ("std, its square overflows", lambda x: gl.std(gl.concat([x, -x])), 300.0, 300.0),
    ("softmax", lambda x: gl.softmax(x)[0], 7.0, 1 / N),
    ("log_softmax", lambda x: gl.log_softmax(x)[0], 7.0, -np.log(N)),
    ("logsumexp", gl.logsumexp, 0.0, np.log(N)),
    ("cumulative_sum", lambda x: gl.cumulative_sum(x)[-1], 1.0, N),
    ("prod", gl.prod, 1.001, np.float16(1.001).astype(float) ** N),
    ("vecdot", lambda x: gl.vecdot(x, x), 1.0, N),
]  # fmt: skip


@pytest.mark.parametrize(("function", "value", "expected"), [h[1:] for h in HALF],
                         ids=[h[0] for h in HALF])  # fmt: skip
def test_float16_is_accumulated_in_float32(
    function: Callable[[gl.Tensor], gl.Tensor],
    value: float,
    expected: float,
    half_device: gl.Device,
) -> None:
    x = gl.full((N,), value, dtype=gl.float16, device=half_device)
    with np.errstate(over="ignore"):
        y = function(x)
    assert y.dtype is gl.float16
    np.testing.assert_allclose(y.item(), expected, rtol=1e-3)


HALF_GRADIENTS: list[tuple[str, Callable[[gl.Tensor, gl.Tensor], gl.Tensor]]] = [
    ("broadcasting", lambda x, ones: x * ones),
    ("broadcast_to", lambda x, ones: gl.broadcast_to(x, (N,))),
    ("tile", lambda x, ones: gl.tile(x, (N,))),
    ("repeat", lambda x, ones: gl.repeat(x, N)),
    ("cumulative_sum", lambda x, ones: gl.cumulative_sum(gl.concat([x, ones[1:]]))),
    ("linear weight", lambda x, ones: ops.linear(ones[:, None], x[:, None])),
    ("linear bias", lambda x, ones: ops.linear(ones[:, None], ones[:1, None], x)),
    ("convolution weight", lambda x, ones: ops.conv2d(
        gl.reshape(ones, (N, 1, 1, 1)), gl.reshape(x, (1, 1, 1, 1)))),
    ("convolution weights", lambda x, ones: ops.conv2d(
        gl.reshape(ones, (N, 1, 1, 1)),
        gl.reshape(gl.concat([x, ones[:1]]), (2, 1, 1, 1)))),
    ("convolution bias", lambda x, ones: ops.conv2d(
        gl.reshape(ones, (N, 1, 1, 1)), gl.reshape(ones[:1], (1, 1, 1, 1)), x)),
]  # fmt: skip


@pytest.mark.parametrize("function", [h[1] for h in HALF_GRADIENTS],
                         ids=[h[0] for h in HALF_GRADIENTS])  # fmt: skip
def test_float16_gradients_are_accumulated_in_float32(
    function: Callable[[gl.Tensor, gl.Tensor], gl.Tensor], half_device: gl.Device
) -> None:
    x = gl.ones(1, dtype=gl.float16, device=half_device, requires_grad=True)
    ones = gl.ones(N, dtype=gl.float16, device=half_device)
    y = function(x, ones)
    y.backward(gl.ones_like(y))
    assert x.grad is not None
    assert x.grad.dtype is gl.float16
    assert x.grad.item() == N


def test_products_in_the_derivative_of_a_float16_product_do_not_overflow(
    half_device: gl.Device,
) -> None:
    values = [1000.0, 1000.0, 2.0**-7, 2.0**-10]
    x = gl.tensor(values, dtype=gl.float16, device=half_device, requires_grad=True)
    gl.prod(x).backward()
    assert x.grad is not None
    expected = np.prod(values) / np.asarray(values)
    np.testing.assert_allclose(x.grad.tolist(), expected, rtol=1e-3)


def test_the_mean_of_many_float16_has_a_gradient() -> None:
    x = gl.ones(70_000, dtype=gl.float16).requires_grad_()
    gl.mean(x).backward()
    assert x.grad is not None
    assert float(x.grad[0]) == pytest.approx(1 / 70_000, rel=1e-2)


def test_index_add_takes_the_wider_dtype() -> None:
    rows = gl.asarray([0, 0])
    added = gl.index_add(
        gl.zeros(2, dtype=gl.int64), rows, gl.tensor([1.5, 2.5]), axis=0
    )
    assert added.tolist() == [4.0, 0.0]
    added = gl.index_add(gl.zeros(2), rows, gl.tensor([1j, 2j]), axis=0)
    assert added.tolist() == [3j, 0]
    with pytest.raises(IndexError, match="axis"):
        gl.index_add(gl.zeros(2), rows, gl.ones(2), axis=-5)


# 16 bits


def test_float16_gathers_are_added_up_in_float32() -> None:
    w = gl.tensor(np.ones((4, 2), np.float16), requires_grad=True)
    gl.sum(w[gl.zeros(5000, dtype=gl.int64)]).backward()
    assert w.grad is not None
    assert w.grad.dtype is gl.float16
    assert w.grad.tolist() == [[5000.0, 5000.0], *([[0.0, 0.0]] * 3)]


@pytest.mark.parametrize("name", ["var", "std"])
def test_float16_deviations_are_differentiated_in_float32(name: str) -> None:
    values = 100.0 + 0.5 * np.random.default_rng(0).standard_normal(4000)
    x = gl.tensor(values.astype(np.float16), requires_grad=True)
    y = gl.tensor(x.detach().numpy().astype(np.float64), requires_grad=True)
    for t in (x, y):
        (getattr(gl, name)(t) * 1000.0).backward()
    assert x.grad is not None
    assert y.grad is not None
    largest = np.max(np.abs(y.grad.numpy()))
    np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), atol=2e-3 * largest)


def test_a_float16_product_may_be_computed_in_a_complex_dtype() -> None:
    x = gl.tensor(np.array([1.0, 2.0, 0.5], np.float16), requires_grad=True)
    y = gl.sum(gl.real(gl.cumulative_prod(x, dtype=gl.complex64)))
    (g,) = gl.autograd.grad(y, x, create_graph=True)
    assert g.dtype is gl.float16
    assert g.tolist() == [4.0, 1.5, 2.0]
