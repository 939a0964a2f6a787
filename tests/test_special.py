"""Special functions: far out, at hard points, and where there is no derivative."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.special

import gradlite as gl
from gradlite import special
from gradlite.autograd import check_vjp, grad
from gradlite.backends._special import CuPyFunctions, SpecialFunctions

inf, nan = math.inf, math.nan


def leaf(x: Any, device: gl.Device | str = "cpu") -> gl.Tensor:
    return gl.tensor(np.asarray(x, dtype=float), device=device, requires_grad=True)


def derivatives(y: gl.Tensor, *inputs: gl.Tensor) -> list[gl.Tensor]:
    """Return derivatives that can be differentiated again."""
    found = grad(y.sum(), inputs, create_graph=True)
    return [gl.zeros_like(x) if d is None else d
            for x, d in zip(inputs, found, strict=True)]  # fmt: skip


# Far out, and where a formula hands over to another one. First and second derivatives
# are mpmath's differences with 80 digits, rounded.

FAR: list[tuple[str, float, float, float]] = [
    ("erfc", -9.0, -7.492073428245974e-36, -1.3485732170842753e-34),
    ("erfc", 12.0, -3.266251823898804e-63, 7.83900437735713e-62),
    ("erfcx", -3.0, -97237.06150316462, 615834.3467269868),
    ("erfcx", 7.9, -0.008831024690637856, 0.0021847646227161365),
    ("erfcx", 8.1, -0.008409660222553565, 0.0020313447493185473),
    ("erfcx", 1e4, -5.641895750849127e-09, 1.1283791332441388e-12),
    ("log_ndtr", -1e6, 1000000.000001, -0.999999999999),
    ("log_ndtr", -40.0, 40.02496884720726, -0.9993773316214086),
    ("log_ndtr", 0.001, 0.7972480500564331, -0.6364017013688413),
    ("log_ndtr", 9.0, 1.0279773571668915e-18, -9.251796214502023e-18),
    ("log_ndtr", 40.0, 0.0, 0.0),
    ("ndtri", 1e-12, 139442738525.04333, -1.3678045435400881e23),
    ("gammaln", -2.5, 1.103156640645243, 9.539246644989124),
    ("gammaln", 0.001, -1000.5755719318103, 1000001.6425331958),
    ("gammaln", 1e6, 13.81551005796419, 1.0000005000001667e-06),
    ("psi", -2.5, 9.539246644989124, -0.1082040516417274),
    ("psi", 1e6, 1.0000005000001667e-06, -1.0000010000005e-12),
    ("i1", 1e-4, 0.500000001875, 3.750000005208333e-05),
    ("i1", 0.3, 0.5169807460062877, 0.11391179780033125),
    ("i1", 0.99, 0.6966397491143657, 0.4239994593863417),
    ("i1", 1.01, 0.7052280978557482, 0.43485942623212165),
    ("i0e", -60.0, 0.00043191898458112284, 1.0844132678433691e-05),
    ("i0e", -0.4, 0.560638946263704, 0.779369831787835),
    ("i0e", 49.9, -0.0005702213759053128, 1.722949718102182e-05),
    ("i0e", 50.1, -0.0005667927494429507, 1.705717165315188e-05),
    ("i0e", 1e6, -1.9947121500246404e-10, 2.992068973055139e-16),
    ("i1e", -60.0, -0.00042107485190268914, -1.0390345461341327e-05),
    ("i1e", -0.4, 0.21873088552413106, 0.4714268937492304),
    ("i1e", 0.4, 0.21873088552413106, -0.4714268937492304),
    ("i1e", 49.9, -0.000552991878724291, 1.6361788056531182e-05),
    ("i1e", 50.1, -0.0005497355777897988, 1.62015889261405e-05),
    ("i1e", 1e6, -1.9947091579556673e-10, 2.9920614928808364e-16),
    ("log_expit", 30.0, 9.357622968839299e-14, -9.357622968838423e-14),
    ("log_expit", -800.0, 1.0, 0.0),
    ("logit", 1e-9, 1000000001.0, -1e18),
]


@pytest.mark.parametrize(("name", "x", "first", "second"), FAR)
def test_far_out(name: str, x: float, first: float, second: float) -> None:
    t = leaf(x)
    (d1,) = derivatives(getattr(special, name)(t), t)
    (d2,) = derivatives(d1, t)
    found = [d1.item(), d2.item()]
    np.testing.assert_allclose(found, [first, second], rtol=1e-11, atol=1e-300)


@pytest.mark.parametrize(
    ("a", "b", "in_a", "in_b", "mixed"),
    [
        (0.001, 2.0, -1000.9990009990009, -0.0006447320922313901, -0.6445301998639841),
        (9.9, 0.3, -0.0313875882387908, -5.775092127045306, -0.10300181345008003),
        (10.1, 0.3, -0.030744771696011072, -5.795483350990292, -0.10092452108939723),
        (1e8, 2.0, -1.9999999900000002e-08, -17.9978964238539, -9.999999850000003e-09),
        (1e8, 1e8, -0.6931471830599453, -0.6931471830599453, -5.0000000125e-09),
        (2.0, 1e8, -17.9978964238539, -1.9999999900000002e-08, -9.999999850000003e-09),
    ],
)
def test_betaln_far_out(
    a: float, b: float, in_a: float, in_b: float, mixed: float
) -> None:
    x, y = leaf(a), leaf(b)
    d1, d2 = derivatives(special.betaln(x, y), x, y)
    (d12,) = derivatives(d1, y)
    found = [d1.item(), d2.item(), d12.item()]
    np.testing.assert_allclose(found, [in_a, in_b, mixed], rtol=1e-12)


def test_betaln_of_large_numbers_in_float32() -> None:
    x = gl.tensor(1e6, requires_grad=True)
    (d,) = derivatives(special.betaln(x, 1.0), x)
    assert d.dtype is gl.float32
    np.testing.assert_allclose(d.item(), -1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", ["i0", "i1"])
def test_bessel_functions_at_zero_to_the_fourth_order(name: str) -> None:
    """The coefficients of 1 + x**2/4 + x**4/64 and of x/2 + x**3/16."""
    expected = {"i0": [1, 0, 1 / 2, 0, 3 / 8], "i1": [0, 1 / 2, 0, 3 / 8, 0]}
    x = leaf(0.0)
    y = getattr(special, name)(x)
    found = [y.item()]
    for _ in range(4):
        (y,) = derivatives(y, x)
        found.append(y.item())
    np.testing.assert_allclose(found, expected[name], atol=1e-15)


SMOOTH: list[tuple[Callable[..., gl.Tensor], tuple[Any, ...]]] = [
    (special.erfcx, ([-1.0, 0.0, 7.9999999, 8.0000001],)),
    (special.log_ndtr, ([-11.0, -1e-9, 0.0, 1e-9, 3.0],)),
    (special.i1, ([-1.0000001, -0.9999999, 0.0, 1.0],)),
    (special.i0e, ([-2.0, 49.9999999, 50.0000001],)),
    (special.i1e, ([-1.0000001, 0.9999999, 50.0000001],)),
    (special.betaln, ([9.9999999, 10.0000001, 12.0, -0.5], [0.5, 0.5, -2.5, 0.7])),
    (special.psi, ([-1.5, 0.5],)),
    (special.xlogy, ([0.0, -2.0], [0.5, 3.0])),
    (special.xlog1py, ([0.0, -2.0], [-0.5, 1e-9])),
    (lambda x: special.chdtrc(2.5, x), ([0.5, 3.0],)),
    (special.expit, ([-3.0, 0.0],)),
]


@pytest.mark.parametrize(("function", "operands"), SMOOTH)
def test_third_order(
    function: Callable[..., gl.Tensor], operands: tuple[Any, ...]
) -> None:
    check_vjp(function, [leaf(x) for x in operands], order=3)


# Conventions, and limits where there is one: derivatives of the sum of the results

POINTS: list[tuple[str, Callable[..., Any], tuple[Any, ...], tuple[Any, ...]]] = [
    ("entr", special.entr, ([0.0, 1.0],), ([inf, -1],)),
    ("xlogy", special.xlogy, ([0.0, 0.0, 0.0, 2.0], [0.0, -1.0, 4.0, 0.0]),
     ([0, 0, math.log(4), -inf], [0, 0, 0, inf])),
    ("xlog1py", special.xlog1py, ([0.0, 0.0, 2.0], [-1.0, -3.0, -1.0]),
     ([0, 0, -inf], [0, 0, inf])),
    ("rel_entr", special.rel_entr, ([0.0, 0.0, 1.0, 3.0], [0.0, 2.0, 0.0, 3.0]),
     ([0, -inf, inf, 1], [0, 0, -inf, -1])),
    ("kl_div", special.kl_div, ([0.0, 0.0, 1.0, 3.0], [0.0, 2.0, 0.0, 3.0]),
     ([0, -inf, inf, 0], [1, 1, -inf, 0])),
    ("i0e and its kink", special.i0e, ([0.0],), ([0],)),
    ("i1e", special.i1e, ([0.0],), ([0.5],)),
    ("erfinv", special.erfinv, ([-1.0, 1.0],), ([inf, inf],)),
    ("ndtri", special.ndtri, ([0.0, 1.0],), ([inf, inf],)),
    ("logit", special.logit, ([0.0, 0.5, 1.0],), ([inf, 4, inf],)),
    ("log_expit", special.log_expit, ([-inf, 0.0, inf],), ([1, 0.5, 0],)),
    ("stdtr", lambda t: special.stdtr(2.0, t), ([-inf, 0.0, inf],),
     ([0, math.sqrt(2) / 4, 0],)),
    ("chdtrc of 1", lambda x: special.chdtrc(1.0, x), ([0.0, -1.0],), ([-inf, 0],)),
    ("chdtrc of 2", lambda x: special.chdtrc(2.0, x), ([0.0],), ([-0.5],)),
    ("chdtrc of 3", lambda x: special.chdtrc(3.0, x), ([0.0, nan],), ([0, nan],)),
    ("chdtrc of many", lambda x: special.chdtrc(2000.0, x), ([2000.0, 1.0],),
     ([-0.00630730567436075, 0],)),
    ("fdtrc of 2", lambda x: special.fdtrc(2.0, 5.0, x), ([0.0],), ([-1],)),
    ("betainc of 1, 3", lambda x: special.betainc(1.0, 3.0, x), ([0.0, 0.5, 1.0],),
     ([3, 0.75, 0],)),
    ("betainc of 2, 1", lambda x: special.betainc(2.0, 1.0, x), ([0.0, 1.0],),
     ([0, 2],)),
    ("fdtrc of 4", lambda x: special.fdtrc(4.0, 5.0, x), ([0.0],), ([0],)),
]  # fmt: skip


@pytest.mark.parametrize(("function", "operands", "expected"), [p[1:] for p in POINTS],
                         ids=[p[0] for p in POINTS])  # fmt: skip
def test_hard_points(
    function: Callable[..., gl.Tensor],
    operands: tuple[Any, ...],
    expected: tuple[Any, ...],
    device: gl.Device,
) -> None:
    leaves = [leaf(x, device) for x in operands]
    with np.errstate(all="ignore"):
        found = grad(function(*leaves).sum(), leaves)
    for d, e in zip(found, expected, strict=True):
        assert d is not None
        np.testing.assert_allclose(d.cpu().numpy(), e, rtol=1e-7, atol=1e-300)


def test_the_mixed_derivative_of_xlogy_survives_a_zero() -> None:
    x, y = leaf(0.0), leaf(4.0)
    (d,) = derivatives(special.xlogy(x, y), y)
    assert d.item() == 0.0
    assert derivatives(d, x)[0].item() == 0.25


@pytest.mark.parametrize(
    ("df", "second"), [(2.0, 0.25), (4.0, -0.25), (6.0, 0.0), (3.0, -inf)]
)
def test_second_derivative_of_chdtrc_at_zero(df: float, second: float) -> None:
    x = leaf(0.0)
    with np.errstate(divide="ignore"):
        (d,) = derivatives(special.chdtrc(df, x), x)
        assert derivatives(d, x)[0].item() == second


# Degrees of freedom

TWO_OPERANDS = (special.stdtr, special.chdtrc)


@pytest.mark.parametrize(
    ("function", "name", "place"),
    [
        (special.stdtr, "df", 0),
        (special.chdtrc, "v", 0),
        (special.fdtrc, "dfn", 0),
        (special.fdtrc, "dfd", 1),
        (special.betainc, "a", 0),
        (special.betainc, "b", 1),
    ],
)
def test_degrees_of_freedom_have_no_derivative(
    function: Callable[..., gl.Tensor], name: str, place: int
) -> None:
    operands: list[Any] = [2.0] * (2 if function in TWO_OPERANDS else 3)
    operands[place], operands[-1] = leaf(3.0), leaf(0.5)
    p = function(*operands)
    with pytest.raises(NotImplementedError, match=f"respect to {name}; detach"):
        p.backward()
    operands[place] = operands[place].detach()
    function(*operands).backward()
    assert operands[-1].grad is not None


# The interface

NAMES = sorted(set(special.__all__) - {"digamma", "expit", "softmax", "log_softmax"})


def call(name: str, x: Any) -> Any:
    """Call a function with ordinary values for its other operands."""
    function = getattr(special, name)
    others = {"polygamma": [1], "fdtrc": [2.0, 3.0], "betainc": [2.0, 3.0]}
    binary = ("betaln", "chdtrc", "kl_div", "rel_entr", "stdtr", "xlog1py", "xlogy")
    return function(*others.get(name, [2.0] if name in binary else []), x)


@pytest.mark.parametrize("name", NAMES)
def test_dtypes(name: str, device: gl.Device) -> None:
    x = np.asarray([0.25, 0.5])
    expected = call(name, gl.tensor(x, device=device))
    assert expected.dtype is gl.float64
    single = gl.tensor(x.astype(np.float32), device=device, requires_grad=True)
    y = call(name, single)
    assert y.dtype is gl.float32
    np.testing.assert_allclose(y.tolist(), expected.tolist(), rtol=1e-5)
    (d,) = grad(y.sum(), single)
    assert d is not None
    assert d.dtype is gl.float32
    if device.name.startswith("array_api_strict"):
        return  # it has no float16
    half = gl.tensor(x.astype(np.float16), device=device, requires_grad=True)
    y = call(name, half)
    assert y.dtype is gl.float16
    np.testing.assert_allclose(y.tolist(), expected.tolist(), rtol=2e-3)
    (d16,) = grad(y.sum(), half)
    assert d16 is not None
    assert d16.dtype is gl.float16
    np.testing.assert_allclose(d16.tolist(), d.tolist(), rtol=1e-2)


@pytest.mark.parametrize("name", NAMES)
def test_integers_and_complex_numbers(name: str) -> None:
    y = call(name, gl.tensor([1]))
    assert y.dtype is gl.float32
    if name != "logsumexp":  # the plain one has a complex meaning
        with pytest.raises(TypeError, match=r"takes real tensors, got complex64"):
            call(name, gl.tensor([1j]))


def test_one_object_for_one_function() -> None:
    assert special.digamma is special.psi
    assert special.expit is gl.sigmoid


@pytest.mark.parametrize(("n", "error"), [(-1, ValueError), (1.5, TypeError)])
def test_order_of_polygamma(n: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="n must be an integer of at least 0"):
        special.polygamma(n, gl.tensor(1.0))


def test_two_numbers() -> None:
    y = special.betaln(2.0, 3.0)
    assert isinstance(y, gl.Tensor)
    np.testing.assert_allclose(y.item(), math.log(1 / 12), rtol=1e-6)


# Normalized exponentials


@pytest.mark.parametrize("axis", [None, 0, -1, (0, 1)])
def test_softmax_has_scipys_arguments(axis: Any) -> None:
    x = np.random.default_rng(0).standard_normal((2, 3))
    for function in (special.softmax, special.log_softmax):
        y = function(gl.tensor(x), axis)
        expected = getattr(scipy.special, function.__name__)(x, axis)
        np.testing.assert_allclose(y.numpy(), expected, rtol=1e-13)
        check_vjp(function, [leaf(x), axis], order=2)


WEIGHTED: list[tuple[Any, Any]] = [
    ([[0.5, 1.0, -2.0], [3.0, 0.0, 1.0]], [[1.0, -2.0, 0.5], [3.0, 1.0, 2.0]]),
    ([[0.5, 1.0, -2.0]], [[2.0], [-1.0]]),
    ([[1000.0, 999.0], [-1000.0, -999.0]], [2.0, -1.0]),
    ([[1.0, 2.0], [0.5, 1.0]], [[0.0, 3.0], [1.0, 2.0]]),
    ([[1.0, 2.0]], 3.0),
]


@pytest.mark.parametrize(("a", "b"), WEIGHTED)
@pytest.mark.parametrize("axis", [None, 0, (1,)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_weighted_logsumexp(a: Any, b: Any, axis: Any, keepdims: bool) -> None:
    a, b = np.asarray(a), np.asarray(b)
    options: Any = {"axis": axis, "keepdims": keepdims, "return_sign": True}
    expected = scipy.special.logsumexp(a, b=b, **options)
    found = special.logsumexp(gl.tensor(a), b=gl.tensor(b), **options)
    for y, e in zip(found, expected, strict=True):
        np.testing.assert_allclose(y.numpy(), e, rtol=1e-12)
    single = special.logsumexp(gl.tensor(a), axis, gl.tensor(b), keepdims)
    masked = np.where(expected[1] < 0, nan, expected[0])
    np.testing.assert_allclose(single.numpy(), masked, rtol=1e-12)
    check_vjp(
        lambda a, b: special.logsumexp(a, b=b, **options), [leaf(a), leaf(b)], order=2
    )  # fmt: skip


@pytest.mark.parametrize("ignored", [1000.0, inf, nan])
def test_what_has_a_weight_of_zero_does_not_count(
    ignored: float, device: gl.Device
) -> None:
    a = leaf([ignored, 2.0, 2.0], device)
    b = gl.tensor([0.0, 3.0, 1.0], dtype=gl.float64, device=device)
    y = special.logsumexp(a, b=b)
    np.testing.assert_allclose(y.item(), 2 + math.log(4))
    (d,) = derivatives(y, a)
    np.testing.assert_allclose(d.tolist(), [0.0, 0.75, 0.25])
    (d2,) = derivatives(d[1], a)
    np.testing.assert_allclose(d2.tolist(), [0.0, 0.1875, -0.1875])


def test_a_weight_of_zero_has_a_derivative() -> None:
    inputs = [leaf([3.0, 2.0, -1.0]), leaf([0.0, 3.0, 0.0])]
    check_vjp(lambda a, b: special.logsumexp(a, b=b), inputs, order=3)


def test_a_negative_sum_has_neither_value_nor_derivative() -> None:
    a = leaf([[1.0, 2.0], [2.0, 1.0]])
    y = special.logsumexp(a, axis=1, b=gl.tensor([1.0, -1.0], dtype=gl.float64))
    (d,) = derivatives(y, a)
    np.testing.assert_array_equal(np.isnan(y.tolist()), [True, False])
    np.testing.assert_array_equal(np.isnan(d.tolist()), [[True, True], [False, False]])


def test_a_sum_of_zero_has_no_derivative() -> None:
    a = leaf([1.0, 1.0])
    with np.errstate(all="ignore"):
        y, sign = special.logsumexp(a, b=gl.tensor([1.0, -1.0]), return_sign=True)
        (d,) = grad(y, a)
    assert (y.item(), sign.item()) == (-inf, 0)
    assert d is not None
    assert np.isnan(d.numpy()).all()


# Where the functions come from


def test_without_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.special", None)
    message = r'special.erf needs SciPy.*`python -m pip install "gradlite\[scipy\]"`'
    with pytest.raises(ModuleNotFoundError, match=message):
        SpecialFunctions().erf(np.ones(2))


def test_a_function_that_scipy_lacks() -> None:
    with pytest.raises(AttributeError, match="no_such_function"):
        _ = SpecialFunctions().no_such_function


def test_what_cupy_lacks() -> None:
    """CuPy has no `stdtr`; SciPy stands in for the functions that it has."""
    t = np.asarray([-inf, -1e3, -2.0, -1e-3, 0.0, 0.5, 30.0, inf])
    found = CuPyFunctions("scipy.special").stdtr(2.5, t)
    np.testing.assert_allclose(found, scipy.special.stdtr(2.5, t), rtol=1e-13)


@pytest.mark.slow
def test_scipys_functions_find_these() -> None:
    code = (
        "import numpy as np, scipy.special, gradlite as gl, gradlite.special\n"
        "x = gl.tensor([0.5, 2.0], dtype=gl.float64, requires_grad=True)\n"
        "scipy.special.gammaln(x).sum().backward()\n"
        "assert np.allclose(x.grad.numpy(), scipy.special.psi(np.array([0.5, 2.0])))\n"
        "(-gl.sum(scipy.special.rel_entr(x, 2 * x))).backward()\n"
    )
    root = str(Path(__file__).parent.parent)
    environment = {**os.environ, "SCIPY_ARRAY_API": "1", "PYTHONPATH": root}
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
