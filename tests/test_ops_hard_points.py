"""Points where derivatives are a convention, or where formulas lose digits."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import gradlite as gl
from gradlite import autograd, ops
from gradlite.autograd import check_vjp
from gradlite.nn import functional as F

inf, nan = math.inf, math.nan
BIG = 1e200  # its square overflows


class Point(NamedTuple):
    """Operands, and the derivatives of the sum of the result in each of them."""

    name: str
    function: Callable[..., gl.Tensor]
    operands: tuple[Any, ...]
    derivatives: tuple[Any, ...]


def _max_pool(x: gl.Tensor) -> gl.Tensor:
    images = gl.reshape(x, (1, 1, 1, -1))
    return ops.max_pool2d(images, kernel_size=(1, 2), stride=(1, 2), padding=(0, 0))


def _safe_sqrt(x: gl.Tensor) -> gl.Tensor:
    positive = x > 0
    return gl.where(positive, gl.sqrt(gl.where(positive, x, 1.0)), 0.0)


POINTS = [
    Point("abs at 0", gl.abs, ([-2.0, 0.0, 3.0],), ([-1, 0, 1],)),
    Point("hypot at infinity", gl.hypot, ([inf, -inf, 2.0], [0.0, 3.0, inf]),
          ([1, -1, 0], [0, 0, 1])),
    Point("abs at complex 0", gl.abs, ([0j, 3 + 4j],), ([0, 0.6 + 0.8j],)),
    Point("sign at 0", gl.sign, ([0.0, 2.0],), ([0, 0],)),
    Point("sign at complex 0", lambda x: gl.real(gl.sign(x)), ([0j, 2j],), ([0, 0.5],)),
    Point("relu at 0", gl.relu, ([-1.0, 0.0, 1.0],), ([0, 0, 1],)),
    Point("relu at NaN", gl.relu, ([nan],), ([1],)),
    Point("leaky_relu", lambda x: F.leaky_relu(x, 0.1), ([-1.0, 0.0, 1.0, nan],),
          ([0.1, 0.1, 1, 0.1],)),
    Point("maximum at ties", gl.maximum, ([1.0, 2.0, 3.0], [2.0, 2.0, 2.0]),
          ([0, 0.5, 1], [1, 0.5, 0])),
    Point("minimum at ties", gl.minimum, ([1.0, 2.0, 3.0], [2.0, 2.0, 2.0]),
          ([1, 0.5, 0], [0, 0.5, 1])),
    Point("maximum at infinite ties", gl.maximum, ([inf, -inf], [inf, -inf]),
          ([0.5, 0.5], [0.5, 0.5])),
    Point("maximum with NaN", gl.maximum, ([nan, 1.0, nan], [1.0, nan, nan]),
          ([1, 1, 1], [1, 1, 1])),
    Point("minimum with NaN", gl.minimum, ([nan, 1.0, nan], [1.0, nan, nan]),
          ([1, 1, 1], [1, 1, 1])),
    Point("maximum with a scalar", lambda x: gl.maximum(x, 2.0), ([1.0, 2.0, 3.0],),
          ([0, 0.5, 1],)),
    Point("clip at bounds", lambda x: gl.clip(x, 1.0, 2.0),
          ([0.0, 1.0, 1.5, 2.0, 3.0],), ([0, 1, 1, 1, 0],)),
    Point("clip to tensors", gl.clip,
          ([0.0, 1.0, 5.0], [1.0, 1.0, 1.0], [2.0, 2.0, 2.0]),
          ([0, 1, 0], [1, 0, 0], [0, 0, 1])),
    Point("clip with NaN", gl.clip, ([nan, 0.5, 0.5], [0.0, nan, 0.0], [1.0, 1.0, nan]),
          ([0, 0, 0], [0, 0, 0], [0, 0, 0])),
    Point("clip, bounds crossed", gl.clip, ([0.5], [2.0], [1.0]), ([0], [0], [1])),
    Point("max at ties", gl.max, ([3.0, 1.0, 3.0],), ([0.5, 0, 0.5],)),
    Point("min at ties", lambda x: gl.min(x, axis=1),
          ([[3.0, 1.0, 1.0], [2.0, 2.0, 5.0]],), ([[0, 0.5, 0.5], [0.5, 0.5, 0]],)),
    Point("max with NaN", gl.max, ([1.0, nan, 7.0],), ([0, 1, 0],)),
    Point("max pooling with NaN", _max_pool, ([nan, 1.0, 2.0, nan],), ([1, 0, 0, 1],)),
    Point("max pooling at ties", _max_pool, ([2.0, 2.0, -inf, 0.0],), ([1, 0, 0, 1],)),
    Point("prod without zeros", gl.prod, ([2.0, 3.0, 4.0],), ([12, 8, 6],)),
    Point("prod with a zero", gl.prod, ([2.0, 0.0, 4.0],), ([0, 8, 0],)),
    Point("prod with two zeros", gl.prod, ([0.0, 3.0, 0.0],), ([0, 0, 0],)),
    Point("prod of one", gl.prod, ([0.0],), ([1],)),
    Point("pow 0", lambda x: x**0, ([0.0, 2.0],), ([0, 0],)),
    Point("pow 1", lambda x: x**1, ([0.0, -2.0],), ([1, 1],)),
    Point("pow 2", lambda x: x**2, ([0.0, -2.0],), ([0, -4],)),
    Point("pow 0.5", lambda x: x**0.5, ([0.0, 4.0],), ([inf, 0.25],)),
    Point("pow of tensors", gl.pow,
          ([0.0, 0.0, 0.0, 2.0, 2.0], [0.0, 1.0, 2.0, 0.0, 1.0]),
          ([0, 1, 0, 0, 1], [0, 0, 0, math.log(2), 2 * math.log(2)])),
    Point("var of equal", gl.var, ([2.0, 2.0],), ([0, 0],)),
    Point("std of equal", lambda x: gl.std(x, axis=1), ([[2.0, 2.0], [1.0, 3.0]],),
          ([[0, 0], [-0.5, 0.5]],)),
    Point("var of too few", lambda x: gl.var(x, correction=1), ([2.0],), ([nan],)),
    Point("sqrt at 0", gl.sqrt, ([0.0, 4.0],), ([inf, 0.25],)),
    Point("sqrt behind where", _safe_sqrt, ([0.0, 4.0],), ([0, 0.25],)),
    Point("where with NaN", lambda x, y: gl.where(x > 0, x, y),
          ([1.0, -1.0], [nan, 2.0]), ([1, 0], [0, 1])),
    Point("divide by infinity", gl.divide, ([2.0], [inf]), ([0], [0])),
    Point("hypot at 0", gl.hypot, ([0.0, 3.0], [0.0, 4.0]), ([0, 0.6], [0, 0.8])),
    Point("hypot of large", gl.hypot, ([3 * BIG], [4 * BIG]), ([0.6], [0.8])),
    Point("atan2 at 0", gl.atan2, ([0.0, 1.0], [0.0, 2.0]), ([0, 0.4], [0, -0.2])),
    Point("atan2 of large", gl.atan2, ([BIG], [BIG]), ([0.5 / BIG], [-0.5 / BIG])),
    Point("logaddexp at ties", gl.logaddexp, ([1.0, 900.0], [1.0, 900.0]),
          ([0.5, 0.5], [0.5, 0.5])),
    Point("logaddexp of infinities", gl.logaddexp,
          ([-inf, inf, -inf, inf, 0.0], [-inf, inf, 0.0, -inf, inf]),
          ([0.5, 0.5, 0, 1, 0], [0.5, 0.5, 1, 0, 1])),
    Point("logaddexp far apart", gl.logaddexp, ([0.0, 1e4], [1e4, 0.0]),
          ([0, 1], [1, 0])),
    Point("logsumexp of large", gl.logsumexp, ([1e4, 1e4, -1e4],), ([0.5, 0.5, 0],)),
    Point("logsumexp with -inf", gl.logsumexp, ([-inf, 0.0],), ([0, 1],)),
    Point("logsumexp of -inf", lambda x: gl.logsumexp(x, axis=1),
          ([[-inf, -inf], [0.0, 0.0]],), ([[0, 0], [0.5, 0.5]],)),
    Point("log_softmax of large", lambda x: gl.log_softmax(x)[0], ([1e4, -1e4],),
          ([0, 0],)),
    Point("log_softmax with -inf", lambda x: gl.log_softmax(x)[1], ([-inf, 0.0, 0.0],),
          ([0, 0.5, -0.5],)),
    Point("softmax of large", lambda x: gl.softmax(x)[0], ([1e4, 1e4],),
          ([0.25, -0.25],)),
    Point("softmax with -inf", lambda x: gl.softmax(x)[1], ([-inf, 0.0, 0.0],),
          ([0, 0.25, -0.25],)),
    Point("sigmoid far out", gl.sigmoid, ([-1e4, 0.0, 1e4],), ([0, 0.25, 0],)),
    Point("tanh far out", gl.tanh, ([-1e4, 1e4],), ([0, 0],)),
    Point("remainder of negatives", gl.remainder, ([-7.0, 7.0], [3.0, -3.0]),
          ([1, 1], [3, 3])),
    Point("remainder by infinity", gl.remainder, ([2.0], [inf]), ([1], [0])),
    Point("copysign at 0", gl.copysign, ([0.0, -2.0, 2.0], [-1.0, -1.0, -1.0]),
          ([0, 1, -1], [0, 0, 0])),
    Point("copysign of numbers", lambda x: gl.copysign(x, -1.0), ([2.0, -2.0],),
          ([-1, 1],)),
    Point("copysign to a sign", lambda x: gl.copysign(3.0, x), ([2.0, -0.0],),
          ([0, 0],)),
    Point("nextafter", gl.nextafter, ([1.0, 2.0], [2.0, 2.0]), ([1, 1], [0, 0])),
    Point("unique_values at ties", lambda x: gl.unique_values(x)[1],
          ([2.0, 1.0, 2.0],), ([0.5, 0, 0.5],)),
    Point("unique_values of NaN", gl.unique_values, ([nan, 1.0, nan],), ([1, 1, 1],)),
    Point("cumulative_prod with a zero", gl.cumulative_prod, ([2.0, 0.0, 4.0],),
          ([1, 10, 0],)),
    Point("cumulative_prod with two zeros", gl.cumulative_prod,
          ([0.0, 0.0, 3.0, 5.0],), ([1, 0, 0, 0],)),
    Point("sort at ties", lambda x: gl.sort(x)[1], ([2.0, 1.0, 1.0],), ([0, 0, 1],)),
]  # fmt: skip


def _gradients(y: gl.Tensor, leaves: list[gl.Tensor]) -> list[np.ndarray[Any, Any]]:
    found = autograd.grad(y, leaves, gl.ones_like(y), allow_unused=True)
    return [np.zeros(x.shape) if d is None else d.cpu().numpy()
            for d, x in zip(found, leaves, strict=True)]  # fmt: skip


@pytest.mark.parametrize("point", POINTS, ids=lambda p: p.name)
def test_derivative(point: Point, device: gl.Device) -> None:
    leaves = [
        gl.tensor(np.asarray(x), device=device, requires_grad=True)
        for x in point.operands
    ]
    with np.errstate(all="ignore"):
        found = _gradients(point.function(*leaves), leaves)
    for d, expected in zip(found, point.derivatives, strict=True):
        np.testing.assert_allclose(d, expected, rtol=1e-12, atol=1e-300)


VALUES: list[tuple[str, Callable[..., gl.Tensor], list[float], Any]] = [
    ("logsumexp of large", gl.logsumexp, [1e4, 1e4], 1e4 + math.log(2)),
    ("logsumexp with inf", gl.logsumexp, [inf, 0.0], inf),
    ("logsumexp of -inf", gl.logsumexp, [-inf, -inf], -inf),
    ("logsumexp with NaN", gl.logsumexp, [nan, 0.0], nan),
    ("log_softmax of large", gl.log_softmax, [1e4, 0.0, -1e4], [0, -1e4, -2e4]),
    ("log_softmax with -inf", gl.log_softmax, [-inf, 0.0], [-inf, 0]),
    ("log_softmax of -inf", gl.log_softmax, [-inf, -inf], [nan, nan]),
    ("softmax of large", gl.softmax, [1e4, 0.0, 1e4], [0.5, 0, 0.5]),
    ("softmax with -inf", gl.softmax, [-inf, 0.0], [0, 1]),
    ("sigmoid far out", gl.sigmoid, [-1e4, 1e4], [0, 1]),
    ("sigmoid on the left", gl.sigmoid, [-40.0], 1 / (1 + math.exp(40))),
    ("floor_divide of infinity", lambda x: x // 2.0, [inf, -inf, 5.0], [inf, -inf, 2]),
    ("floor_divide by infinity", lambda x: 3.0 // x, [inf, 2.0], [0, 1]),
    ("maximum with NaN", lambda x: gl.maximum(x, 1.0), [nan, 0.0], [nan, 1]),
    ("max with NaN", gl.max, [nan, 0.0], nan),
    ("max pooling with NaN", _max_pool, [1.0, nan, 2.0, 3.0], [[[[nan, 3]]]]),
    ("sum of nothing", gl.sum, [], 0),
    ("prod of nothing", gl.prod, [], 1),
    ("mean of nothing", gl.mean, [], nan),
    ("var of nothing", gl.var, [], nan),
    ("var of too few", lambda x: gl.var(x, correction=1), [1.0], nan),
    ("logsumexp of nothing", gl.logsumexp, [], -inf),
    ("softmax of nothing", gl.softmax, [], []),
]


@pytest.mark.parametrize(("function", "x", "expected"), [v[1:] for v in VALUES],
                         ids=[v[0] for v in VALUES])  # fmt: skip
def test_value(
    function: Callable[..., gl.Tensor], x: list[float], expected: Any, device: gl.Device
) -> None:
    with np.errstate(all="ignore"):
        y = function(gl.tensor(np.asarray(x, dtype=float), device=device))
    np.testing.assert_allclose(y.cpu().numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("x", [[-1e4, 0.0, 1e4], [0.0]])
@pytest.mark.parametrize("function", [gl.softmax, gl.log_softmax, gl.sigmoid, gl.tanh])
def test_no_warning_far_out(function: Callable[..., gl.Tensor], x: list[float]) -> None:
    leaf = gl.tensor(x, requires_grad=True)
    gl.sum(function(leaf)).backward()  # a warning would be an error


def test_no_warning_about_the_sign_of_complex_zeros(device: gl.Device) -> None:
    x = gl.tensor(np.asarray([0j, 3 - 4j], np.complex64), device=device)
    y = gl.sign(x.requires_grad_())
    np.testing.assert_allclose(y.detach().cpu().numpy(), [0, 0.6 - 0.8j], rtol=1e-6)
    gl.sum(gl.real(y)).backward()


# Second order, where a rule that is right at the point only goes wrong

SECOND: list[tuple[str, Callable[..., gl.Tensor], tuple[Any, ...]]] = [
    ("prod without zeros", gl.prod, ([2.0, 3.0, 4.0],)),
    ("prod with a zero", gl.prod, ([2.0, 0.0, 4.0],)),
    ("prod with two zeros", gl.prod, ([0.0, 3.0, 0.0],)),
    ("prod with three zeros", gl.prod, ([0.0, 0.0, 0.0, 2.0],)),
    ("prod over rows", lambda x: gl.prod(x, axis=0), ([[0.0, 1.0], [0.0, 0.0]],)),
    ("cumulative_prod with a zero", gl.cumulative_prod, ([2.0, 0.0, 4.0, 3.0],)),
    ("cumulative_prod with two zeros", gl.cumulative_prod, ([0.0, 3.0, 0.0, 2.0],)),
    ("cumulative_prod of zeros", gl.cumulative_prod, ([0.0, 0.0, 0.0],)),
    (
        "cumulative_prod with 1 in front",
        lambda x: gl.cumulative_prod(x, axis=0, include_initial=True),
        ([[0.0, 2.0], [3.0, 0.0], [0.0, 0.0]],),
    ),
    ("unique_values", lambda x: gl.unique_values(x) ** 2, ([[3.0, 1.0], [2.0, 5.0]],)),
    ("pow 0", lambda x: x**0, ([0.0, 2.0],)),
    ("pow 1", lambda x: x**1, ([0.0, 2.0],)),
    ("pow 2", lambda x: x**2, ([0.0, -2.0],)),
    ("pow 3", lambda x: x**3, ([0.0, -2.0],)),
    (
        "pow 0, 1, 2, 3 in a tensor",
        lambda x: x ** gl.tensor([0.0, 1.0, 2.0, 3.0]),
        ([0.0, 0.0, 0.0, 0.0],),
    ),
    ("pow, both", gl.pow, ([2.0, 2.0, 2.0, 0.5], [0.0, 1.0, 2.0, -1.0])),
    ("square at 0", gl.square, ([0.0],)),
    ("logaddexp at ties", gl.logaddexp, ([1.0, 1.0], [1.0, 2.0])),
    ("logsumexp at ties", gl.logsumexp, ([1.0, 1.0, 0.0],)),
    ("softmax at ties", gl.softmax, ([1.0, 1.0, 0.0],)),
    ("var of equal", gl.var, ([2.0, 2.0, 2.0],)),
    ("clip inside", lambda x: gl.clip(x, -1.0, 1.0) ** 3, ([0.0, 0.5, 2.0],)),
    ("abs squared", lambda x: gl.abs(x) * gl.abs(x) * x, ([-1.0, 2.0],)),
    ("matmul by itself", lambda x: x @ x, ([[0.0, 1.0], [2.0, 0.0]],)),
    ("one tensor twice", lambda x: x * x + x, ([0.0, 3.0],)),
]


@pytest.mark.parametrize(("function", "operands"), [s[1:] for s in SECOND],
                         ids=[s[0] for s in SECOND])  # fmt: skip
def test_second_derivative(
    function: Callable[..., gl.Tensor], operands: tuple[Any, ...]
) -> None:
    gl.set_default_dtype(gl.float64)
    leaves = [gl.tensor(x, requires_grad=True) for x in operands]
    # The second difference of x**2 at 0 needs a step above the rounding of the first.
    check_vjp(function, leaves, order=2, eps=1e-5)


def test_third_derivative() -> None:
    x = gl.tensor(np.asarray([0.5, -1.0]), requires_grad=True)
    check_vjp(lambda x: gl.sin(x) * gl.exp(x), [x], order=3)


POWERS_OF_0 = {  # first and second derivatives in the base, then in the exponent
    -2.0: (-inf, inf, -inf, inf),
    -1.0: (-inf, inf, -inf, inf),
    -0.5: (-inf, inf, -inf, inf),
    0.0: (0, 0, 0, 0),
    0.5: (inf, -inf, 0, 0),
    1.0: (1, 0, 0, 0),
    1.5: (0, inf, 0, 0),
    2.0: (0, 2, 0, 0),
    3.0: (0, 0, 0, 0),
}


@pytest.mark.parametrize("other", ["a tensor", "a number"])
@pytest.mark.parametrize("exponent", POWERS_OF_0)
def test_powers_of_0(exponent: float, other: str, device: gl.Device) -> None:
    def constant(number: float) -> Any:
        return gl.tensor(number, device=device) if other == "a tensor" else number

    base, power = (
        gl.tensor(number, device=device, requires_grad=True)
        for number in (0.0, exponent)
    )
    found = []
    with np.errstate(all="ignore"):
        for leaf, y in (
            (base, base ** constant(exponent)),
            (power, constant(0.0) ** power),
        ):
            (first,) = autograd.grad(y, leaf, create_graph=True)
            second = _gradients(first, [leaf]) if first.requires_grad else [0.0]
            found += [first.item(), float(second[0])]
    np.testing.assert_equal(found, POWERS_OF_0[exponent])


def test_powers_of_numbers_agree_with_pytorch() -> None:
    torch = pytest.importorskip("torch")
    x = np.asarray([-2.0, -2.0, -2.0, -2.0, -2.0, 2.0, 2.0, 2.0, 2.0, 2.0])
    p = np.asarray([-1.0, 0.0, 1.0, 2.0, 0.5, -1.0, 0.0, 1.0, 2.0, 0.5])
    ours = [gl.tensor(v, requires_grad=True) for v in (x, p)]
    theirs = [torch.tensor(v, requires_grad=True) for v in (x, p)]
    with np.errstate(invalid="ignore"):
        found = _gradients(gl.pow(*ours), ours)
    expected = torch.autograd.grad(torch.pow(*theirs).sum(), theirs)
    for d, e in zip(found, expected, strict=True):
        np.testing.assert_allclose(d, e.numpy(), rtol=1e-12)


def _hessian(function: Callable[..., gl.Tensor], *point: float) -> Any:
    leaves = [gl.tensor(np.asarray(x), requires_grad=True) for x in point]
    first = autograd.grad(function(*leaves), leaves, create_graph=True)
    return [
        [d.item() for d in autograd.grad(f, leaves, retain_graph=True)] for f in first
    ]


def test_mixed_derivatives_of_pow() -> None:
    np.testing.assert_allclose(
        _hessian(gl.pow, 2.0, 0.0), [[0, 0.5], [0.5, math.log(2) ** 2]]
    )
    np.testing.assert_allclose(_hessian(gl.pow, 0.0, 2.0), [[2, 0], [0, 0]])
    np.testing.assert_allclose(_hessian(gl.pow, 0.0, 3.0), [[0, 0], [0, 0]])


def test_mixed_derivative_of_prod_with_two_zeros() -> None:
    hessian = _hessian(lambda x, y, z: gl.prod(gl.stack([x, y, z])), 0.0, 5.0, 0.0)
    np.testing.assert_allclose(hessian, [[0, 0, 5], [0, 0, 0], [5, 0, 0]])


def test_derivative_of_logsumexp_at_infinity_is_nan() -> None:
    x = gl.tensor([inf, 0.0], requires_grad=True)
    with np.errstate(invalid="ignore"):
        (d,) = _gradients(gl.logsumexp(x), [x])
    np.testing.assert_equal(d, [nan, 0])


@pytest.mark.parametrize("distance", [5.0, 15.0, 30.0, 40.0])
def test_logaddexp_keeps_its_digits_far_from_the_tie(distance: float) -> None:
    x = gl.tensor(-distance, dtype=gl.float64, requires_grad=True)
    gl.logaddexp(x, gl.zeros((), dtype=gl.float64)).backward()
    assert float(x.grad) == pytest.approx(1 / (1 + math.exp(distance)), rel=1e-12)
