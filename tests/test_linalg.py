"""Linear algebra where no table reaches: names, singular and degenerate points."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from itertools import permutations
from typing import Any

import numpy as np
import pytest

import gradlite as gl
from gradlite import autograd, linalg, ops
from gradlite.autograd import check_vjp

inf, nan = math.inf, math.nan
Host = np.ndarray[Any, Any]


def leaf(x: Any, device: gl.Device | str = "cpu") -> gl.Tensor:
    return gl.tensor(np.asarray(x), device=device, requires_grad=True)


def normal(*shape: int, seed: int = 0) -> Host:
    return np.random.default_rng(seed).standard_normal(shape)


def cnormal(*shape: int, seed: int = 0) -> Host:
    return normal(*shape, seed=seed) + 1j * normal(*shape, seed=seed + 1)


def gradient(function: Callable[[gl.Tensor], gl.Tensor], x: Any) -> Host:
    x = leaf(x)
    (d,) = autograd.grad(gl.sum(function(x)), x)
    assert d is not None
    return d.numpy()


# Names --------------------------------------------------------------------------------

# The signatures of the standard, version 2025.12.
SIGNATURES = {
    "cholesky": "x, /, *, upper=False",
    "cross": "x1, x2, /, *, axis=-1",
    "det": "x, /",
    "diagonal": "x, /, *, offset=0",
    "eig": "x, /",
    "eigh": "x, /",
    "eigvals": "x, /",
    "eigvalsh": "x, /",
    "inv": "x, /",
    "matmul": "x1, x2, /",
    "matrix_norm": "x, /, *, keepdims=False, ord='fro'",
    "matrix_power": "x, /, n",  # also by name
    "matrix_rank": "x, /, *, rtol=None",
    "matrix_transpose": "x, /",
    "outer": "x1, x2, /",
    "pinv": "x, /, *, rtol=None",
    "qr": "x, /, *, mode='reduced'",
    "slogdet": "x, /",
    "solve": "x1, x2, /",
    "svd": "x, /, *, full_matrices=True",
    "svdvals": "x, /",
    "tensordot": "x1, x2, /, *, axes=2",
    "trace": "x, /, *, offset=0, dtype=None",
    "vecdot": "x1, x2, /, *, axis=-1",
    "vector_norm": "x, /, *, axis=None, keepdims=False, ord=2",
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_signature(name: str) -> None:
    signature = inspect.signature(getattr(linalg, name))
    plain = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    assert str(inspect.Signature(plain)) == f"({SIGNATURES[name]})"


def test_all_names_are_there() -> None:
    results = {name for name in linalg.__all__ if name.endswith("Result")}
    assert set(linalg.__all__) - results == set(SIGNATURES)
    assert set(linalg.__all__) < set(ops.linalg.__all__)


@pytest.mark.parametrize("name", ["matmul", "matrix_transpose", "tensordot", "vecdot"])
def test_one_object_under_two_names(name: str) -> None:
    assert getattr(linalg, name) is getattr(gl, name)


@pytest.mark.parametrize("name", [*SIGNATURES, "cofactors"])
def test_rules_find_one_spelling_in_both_namespaces(
    name: str, device: gl.Device
) -> None:
    assert callable(getattr(device.xp.linalg, name))
    assert callable(getattr(ops.linalg, name))


RESULTS = {
    "eig": ("eigenvalues", "eigenvectors"),
    "eigh": ("eigenvalues", "eigenvectors"),
    "qr": ("Q", "R"),
    "slogdet": ("sign", "logabsdet"),
    "svd": ("U", "S", "Vh"),
}


@pytest.mark.parametrize("name", RESULTS)
def test_results_have_names(name: str, device: gl.Device) -> None:
    result = getattr(linalg, name)(leaf(np.eye(2), device))
    assert isinstance(result, tuple)
    assert result._fields == RESULTS[name]
    assert all(isinstance(y, gl.Tensor) and y.device == device for y in result)


def test_arrays_of_a_library_are_welcome() -> None:
    x = normal(3, 3)
    for function in (linalg.trace, linalg.matrix_norm, linalg.det, linalg.pinv):
        y = function(x)
        assert isinstance(y, gl.Tensor)
        np.testing.assert_allclose(y.numpy(), function(gl.tensor(x)).numpy())
    assert linalg.outer(x[0], x[1]).shape == (3, 3)


# Dtypes -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function",
    [linalg.det, linalg.inv, linalg.svdvals, linalg.eigvalsh, linalg.matrix_norm,
     linalg.vector_norm, linalg.pinv, linalg.cholesky,
     lambda x: linalg.matrix_norm(x, ord=1), lambda x: linalg.vector_norm(x, ord=inf)],
)  # fmt: skip
def test_integers_become_the_default_dtype(
    function: Callable[[gl.Tensor], gl.Tensor], device: gl.Device
) -> None:
    x = gl.asarray([[2, 1], [1, 2]], device=device)
    y = function(x)
    assert y.dtype is gl.float32
    np.testing.assert_allclose(
        y.cpu().numpy(), function(x.astype(gl.float32)).cpu().numpy()
    )


def test_integers_stay_where_nothing_is_divided() -> None:
    x = gl.tensor([[1, 2], [3, 4]])
    for y in (linalg.diagonal(x), linalg.trace(x), linalg.outer(x[0], x[1]),
              linalg.matrix_power(x, 3), linalg.matrix_rank(x)):  # fmt: skip
        assert y.dtype is gl.int64
    assert linalg.trace(x, dtype=gl.float64).dtype is gl.float64


def test_eigenvalues_are_complex_also_where_all_are_real(device: gl.Device) -> None:
    x = gl.asarray([[2.0, 1.0], [0.0, 1.0]], device=device)
    w, v = linalg.eig(x)
    assert w.dtype is v.dtype is linalg.eigvals(x).dtype is gl.complex64


@pytest.mark.parametrize("ord", [1, 2, 3])
def test_norms_of_float16_do_not_overflow(ord: float) -> None:
    x = gl.full((4096,), 8.0, dtype=gl.float16)
    y = linalg.vector_norm(x, ord=ord)
    assert y.dtype is gl.float16
    assert y.item() == pytest.approx(8 * 4096 ** (1 / ord), rel=1e-3)


def test_operands_of_mixed_kinds() -> None:
    real, complex_ = normal(3, 3) + 3 * np.eye(3), cnormal(3, 2)
    check_vjp(linalg.solve, [leaf(real), leaf(complex_)], order=2)
    check_vjp(gl.matmul, [leaf(real), leaf(complex_)], order=2)
    check_vjp(gl.vecdot, [leaf(normal(2, 3)), leaf(cnormal(3))], order=2)
    check_vjp(linalg.outer, [leaf(normal(2)), leaf(cnormal(3))], order=2)
    check_vjp(
        lambda x, y: gl.tensordot(x, y, axes=([0, -1], [1, 0])),
        [leaf(normal(3, 4, 2)), leaf(cnormal(2, 3, 2))],
        order=2,
    )


# Determinants -------------------------------------------------------------------------


def rank(r: int, n: int, *, seed: int = 0) -> Host:
    return normal(n, r, seed=seed) @ normal(r, n, seed=seed + 1)


DETERMINANTS = {
    "1 x 1 zero": np.zeros((1, 1)),
    "2 x 2 zeros": np.zeros((2, 2)),
    "3 x 3 zeros": np.zeros((3, 3)),
    "2 x 2 of rank 1": np.asarray([[1.0, 2.0], [2.0, 4.0]]),
    "3 x 3 of rank 1": rank(1, 3),
    "3 x 3 of rank 2": rank(2, 3),
    "5 x 5 of rank 3": rank(3, 5),
    "nearly singular": np.diag([1.0, 2.0, 1e-11]),
    "identity": np.eye(3),
    "stack": np.stack([np.eye(3), np.zeros((3, 3)), rank(2, 3), normal(3, 3)]),
    "complex zeros": np.zeros((2, 2), complex),
    "complex of rank 1": np.outer(cnormal(3), cnormal(3, seed=5)),
    "complex of rank 2": cnormal(3, 2) @ cnormal(2, 3, seed=5),
}


@pytest.mark.parametrize("name", DETERMINANTS)
def test_det_of_singular_matrices(name: str) -> None:
    # The determinant is a polynomial: a large step costs little and rounds less.
    check_vjp(linalg.det, [leaf(DETERMINANTS[name])], order=2, eps=1e-4, rtol=1e-4)


def along(x: Host, directions: list[Host]) -> Any:
    """Return a mixed derivative of the determinant: rows of x replaced by others'."""
    total = 0.0
    for rows in permutations(range(x.shape[-1]), len(directions)):
        replaced = x.copy()
        for row, h in zip(rows, directions, strict=True):
            replaced[row] = h[row]
        total = total + np.linalg.det(replaced)
    return total


@pytest.mark.parametrize("of", [normal, cnormal])
@pytest.mark.parametrize(
    ("n", "r"), [(n, r) for n in range(1, 5) for r in range(n + 1)]
)
def test_derivatives_of_det_of_any_order_at_any_rank(
    n: int, r: int, of: Callable[..., Host], device: gl.Device
) -> None:
    if device == "array_api_strict:device1":
        pytest.skip("has no float64")
    host = of(n, r, seed=1) @ of(r, n, seed=3)
    directions = [of(n, n, seed=seed) for seed in (5, 7, 9, 11)]
    x = leaf(host, device)
    y = linalg.det(x)
    for order, h in enumerate(directions, start=1):
        (d,) = autograd.grad(y, x, gl.ones_like(y), create_graph=True)
        assert d is not None
        y = gl.sum(gl.conj(d) * gl.asarray(h, device=device))
        np.testing.assert_allclose(
            y.detach().cpu().numpy(), along(host, directions[:order]), atol=1e-11
        )


@pytest.mark.parametrize("x", [rank(1, 3), rank(2, 3), normal(3, 3), cnormal(2, 2)])
def test_third_derivative_of_det_by_differences(x: Host) -> None:
    check_vjp(linalg.det, [leaf(x)], order=3, eps=1e-4, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        ([[1.0, 2.0], [2.0, 4.0]], [[4.0, -2.0], [-2.0, 1.0]]),
        ([[0.0]], [[1.0]]),
        (np.zeros((3, 3)), np.zeros((3, 3))),
        (np.diag([2.0, 3.0, 0.0]), np.diag([0.0, 0.0, 6.0])),
    ],
)
def test_cofactors_of_singular_matrices(x: Any, expected: Any) -> None:
    np.testing.assert_allclose(gradient(linalg.det, x), expected, atol=1e-14)


def test_slogdet_of_a_singular_matrix_leaves_the_others_alone(
    device: gl.Device,
) -> None:
    regular = normal(2, 2)
    x = leaf(np.stack([np.ones((2, 2)), regular]), device)
    with np.errstate(divide="ignore"):
        sign, logabsdet = linalg.slogdet(x)
    assert (sign[0].item(), logabsdet[0].item()) == (0, -inf)
    gl.sum(logabsdet).backward()
    assert x.grad is not None
    first, second = x.grad.cpu().numpy()
    assert np.isnan(first).all()
    np.testing.assert_allclose(second, np.linalg.inv(regular).T)


def test_sign_of_a_real_determinant_is_constant() -> None:
    x = normal(3, 3)
    assert not gradient(lambda x: linalg.slogdet(x).sign, x).any()
    check_vjp(lambda x: linalg.slogdet(x).sign, [leaf(cnormal(3, 3))], order=2)


# Higher orders ------------------------------------------------------------------------

WELL = normal(3, 3) + 3 * np.eye(3)
HIGHER: dict[str, tuple[Callable[..., Any], tuple[Host, ...]]] = {
    "inv": (linalg.inv, (WELL,)),
    "solve": (linalg.solve, (WELL, normal(3))),
    "slogdet": (linalg.slogdet, (cnormal(3, 3),)),
    "matrix_power": (lambda x: linalg.matrix_power(x, 5), (0.5 * WELL,)),
    "cholesky": (lambda x: linalg.cholesky(x @ x.mT), (WELL,)),
    "eigvalsh": (lambda x: linalg.eigvalsh(x + x.mT), (np.diag([1.0, 3.0, 7.0]),)),
    "svdvals": (linalg.svdvals, (normal(4, 3),)),
    "qr": (linalg.qr, (normal(3, 3),)),
    "complete R": (lambda x: linalg.qr(x, mode="complete").R, (normal(4, 2),)),
    "S of full matrices": (lambda x: linalg.svd(x).S, (normal(4, 2),)),
    "cross": (lambda x: linalg.cross(x, x * x), (normal(3),)),
}


@pytest.mark.parametrize("name", HIGHER)
def test_third_derivative(name: str) -> None:
    function, operands = HIGHER[name]
    leaves = [leaf(x) for x in operands]
    check_vjp(function, leaves, order=3, eps=1e-4, rtol=1e-4, atol=1e-5)


# Eigenvalues and singular values ------------------------------------------------------

ROTATION = np.asarray([[0.0, -1.0, 0.3], [2.0, 0.1, 0.4], [0.2, 0.5, 1.0]])


def test_real_matrices_with_complex_eigenvalues() -> None:
    assert np.iscomplexobj(np.linalg.eigvals(ROTATION))
    check_vjp(lambda x: gl.sum(linalg.eigvals(x) ** 3), [leaf(ROTATION)], order=2)

    def squares(x: gl.Tensor) -> tuple[gl.Tensor, ...]:
        w, v = linalg.eig(x)
        weights = (gl.abs(v) * gl.abs(w)[None, :]) ** 2
        return gl.sum(weights, axis=1), gl.real((v * w * w) @ linalg.inv(v))

    check_vjp(squares, [leaf(ROTATION)], order=2)


@pytest.mark.parametrize(
    "function",
    [lambda x: linalg.eigh(x).eigenvectors, linalg.eigvalsh, linalg.cholesky,
     lambda x: linalg.cholesky(x, upper=True)],
)  # fmt: skip
def test_gradients_in_hermitian_matrices_are_hermitian(
    function: Callable[[gl.Tensor], gl.Tensor],
) -> None:
    for x in (WELL @ WELL.T, WELL @ WELL.T + 1j * (WELL - WELL.T)):
        weights = gl.tensor(normal(3, 3))
        d = gradient(lambda x: gl.real(function(x) * weights) ** 2, x)  # noqa: B023
        np.testing.assert_allclose(d, np.conj(d.T), atol=1e-12)
        assert np.abs(d).max() > 1e-3


def test_gradient_of_eigenvectors_alone() -> None:
    x = normal(3, 3)
    check_vjp(lambda x: linalg.eigh(x + x.mT).eigenvectors ** 2, [leaf(x)], order=2)
    check_vjp(lambda x: linalg.svd(x).U ** 2, [leaf(x)], order=2)
    check_vjp(lambda x: linalg.svd(x).Vh ** 2, [leaf(x)], order=2)
    check_vjp(lambda x: gl.abs(linalg.eig(x).eigenvectors) ** 2, [leaf(x)], order=2)


@pytest.mark.parametrize("values", [[1.0, 1.0, 1.0], [2.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
def test_equal_eigenvalues_have_a_gradient(values: list[float]) -> None:
    x = np.diag(values)
    cubes = [linalg.eigvalsh, lambda x: linalg.eigh(x).eigenvalues]
    for function in cubes:
        d = gradient(lambda x, f=function: f(x) ** 3, x)  # type: ignore[misc]
        np.testing.assert_allclose(d, 3 * x @ x, atol=1e-12)
    squares = [linalg.svdvals, lambda x: linalg.svd(x).S]
    for function in squares:
        d = gradient(lambda x, f=function: f(x) ** 2, x)  # type: ignore[misc]
        np.testing.assert_allclose(d, 2 * x, atol=1e-12)


def test_vectors_of_equal_values_have_none() -> None:
    """A number there would be wrong: it cannot know what the vectors are used for."""
    weights = gl.tensor(normal(2, 2))
    for function in (
        lambda x: linalg.eigh(x).eigenvectors,
        lambda x: linalg.svd(x).U,
        lambda x: linalg.svd(x).Vh,
        lambda x: gl.real(linalg.eig(x).eigenvectors),
    ):
        d = gradient(lambda x, f=function: f(x) * weights, np.eye(2))  # type: ignore[misc]
        assert np.isnan(d).all()


def test_vectors_of_singular_matrices() -> None:
    x = np.diag([3.0, 2.0, 0.0]) @ np.linalg.qr(normal(3, 3))[0]
    check_vjp(lambda x: linalg.svd(x).U ** 2, [leaf(x)])
    tall = np.diag([3.0, 0.0, 0.0])[:, :2]
    weights = gl.tensor(normal(3, 2))
    d = gradient(lambda x: linalg.svd(x, full_matrices=False).U * weights, tall)
    assert np.isnan(d).any()


@pytest.mark.parametrize(
    ("function", "shape", "message"),
    [
        (lambda x: linalg.svd(x).U, (3, 2), "U has .* last 1 .* full_matrices=False"),
        (lambda x: linalg.svd(x).Vh, (2, 4), "Vh has .* last 2 .* full_matrices=Fal"),
        (lambda x: linalg.qr(x, mode="complete").Q, (3, 2), "Q has .* mode='reduced'"),
    ],
)
def test_arbitrary_vectors_have_no_derivative(
    function: Callable[[gl.Tensor], gl.Tensor], shape: tuple[int, int], message: str
) -> None:
    y = gl.sum(function(leaf(normal(*shape))))
    with pytest.raises(RuntimeError, match=message):
        y.backward()


def test_the_other_results_of_full_matrices_have_one() -> None:
    x = normal(2, 4, 3)
    check_vjp(lambda x: (linalg.svd(x).S, linalg.svd(x).Vh ** 2), [leaf(x)])
    check_vjp(lambda x: linalg.svd(x.mT).U ** 2, [leaf(x)])
    wide = leaf(normal(2, 3, 4))
    check_vjp(lambda x: linalg.qr(x, mode="complete"), [wide], order=2)


def test_factors_of_complex_matrices_as_the_library_turns_them() -> None:
    # R of LAPACK has a real diagonal, so that Q and R have derivatives of their own.
    for shape in ((4, 3), (3, 3), (2, 4)):
        check_vjp(linalg.qr, [leaf(cnormal(*shape))], order=2)


# Pseudo-inverses and ranks ------------------------------------------------------------


def test_pinv_among_matrices_of_one_rank() -> None:
    def function(x1: gl.Tensor, x2: gl.Tensor) -> gl.Tensor:
        return linalg.pinv(x1 @ x2, rtol=1e-9)

    check_vjp(function, [leaf(normal(4, 2)), leaf(normal(2, 3, seed=1))], order=2)
    check_vjp(function, [leaf(cnormal(3, 1)), leaf(cnormal(1, 4, seed=1))], order=2)


def test_rtol_is_a_number_or_a_tensor(device: gl.Device) -> None:
    x = leaf(np.broadcast_to(np.diag([1.0, 0.1, 0.01]), (2, 3, 3)), device)
    rtol = gl.asarray(np.asarray([0.5, 0.05]), device=device)
    assert linalg.matrix_rank(x, rtol=0.5).tolist() == [1, 1]
    assert linalg.matrix_rank(x, rtol=rtol).tolist() == [1, 2]
    assert linalg.matrix_rank(x).tolist() == [3, 3]
    first, second = linalg.pinv(x, rtol=rtol).detach().cpu().numpy()
    np.testing.assert_allclose(first, np.diag([1.0, 0.0, 0.0]), atol=1e-12)
    np.testing.assert_allclose(second, np.diag([1.0, 10.0, 0.0]), atol=1e-12)
    single = linalg.pinv(x.astype(gl.float32), rtol=rtol)
    assert single.dtype is gl.float32


def test_ranks_are_constant() -> None:
    assert not linalg.matrix_rank(leaf(np.eye(2))).requires_grad
    assert linalg.matrix_rank(gl.zeros((2, 0, 3))).tolist() == [0, 0]


# Powers -------------------------------------------------------------------------------


def test_the_zeroth_power_is_constant_and_the_first_a_copy() -> None:
    x = normal(2, 3, 3)
    assert not gradient(lambda x: linalg.matrix_power(x, 0), x).any()
    constant = gl.tensor(x)
    y = linalg.matrix_power(constant, 1)
    y += 1.0
    np.testing.assert_array_equal(constant.numpy(), x)


def test_powers_of_singular_matrices() -> None:
    check_vjp(lambda x: linalg.matrix_power(x, 6), [leaf(rank(1, 3))], order=2)


# Norms --------------------------------------------------------------------------------

VECTORS: list[tuple[float, list[float], list[float]]] = [
    *((ord, [0.0, 0.0], [0.0, 0.0])
      for ord in (2, 1, 0, 3, 4, 2.5, 0.5, -1, -2.5, inf, -inf)),
    *((ord, [0.0, 2.0], [0.0, 1.0]) for ord in (2, 1, 3, 4, 2.5, 0.5, inf)),
    *((ord, [0.0, 2.0], [0.0, 0.0]) for ord in (0, -1, -2.5, -inf)),
    (2, [3.0, -4.0], [0.6, -0.8]),
    (3, [1e-80, 1e-80], [2 ** (-2 / 3), 2 ** (-2 / 3)]),
    (inf, [2.0, -2.0, 1.0], [0.5, -0.5, 0.0]),
    (-inf, [2.0, -1.0, 1.0], [0.0, -0.5, 0.5]),
    (1, [2.0, -0.5, 0.0], [1.0, -1.0, 0.0]),
]  # fmt: skip


@pytest.mark.parametrize(("ord", "x", "expected"), VECTORS)
def test_subgradients_of_vector_norms(
    ord: float, x: list[float], expected: list[float]
) -> None:
    with np.errstate(all="ignore"):
        d = gradient(lambda x: linalg.vector_norm(x, ord=ord), x)
    np.testing.assert_allclose(d, expected, rtol=1e-12)


@pytest.mark.parametrize("x", [0j, 3 - 4j])
def test_complex_norms_at_zeros(x: complex) -> None:
    for ord in (2, 1, 3, 4, 2.5, inf):
        with np.errstate(invalid="ignore"):
            d = gradient(lambda x, o=ord: linalg.vector_norm(x, ord=o), [x, 0j])  # type: ignore[misc]
        expected = x / abs(x) if x else 0.0
        np.testing.assert_allclose(d, [expected, 0.0], rtol=1e-12)


@pytest.mark.parametrize("ord", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("kind", [float, complex])
def test_norms_are_smooth_at_an_element_zero(ord: float, kind: type) -> None:
    x = np.asarray([0.0, 3.0, -4.0, 0.0], dtype=kind)
    function = lambda x: linalg.vector_norm(x, ord=ord)  # noqa: E731
    check_vjp(function, [leaf(x)], order=2, eps=1e-5)


def test_even_norms_are_smooth_at_any_order() -> None:
    # (x**4 + 81)**(1/4) is 3 + x**4/108 near 0.
    x = leaf(0.0)
    y = linalg.vector_norm(gl.stack([x, gl.tensor(3.0, dtype=gl.float64)]), ord=4)
    for expected in (0.0, 0.0, 0.0, 24 / 108):
        (y,) = autograd.grad(y, x, create_graph=True)  # type: ignore[assignment]
        assert y.item() == pytest.approx(expected)


@pytest.mark.parametrize("ord", ["fro", "nuc", 1, -1, 2, -2, inf, -inf])
def test_matrix_norms_at_zero_and_at_ties(ord: Any) -> None:
    d = gradient(lambda x: linalg.matrix_norm(x, ord=ord), np.zeros((2, 3)))
    assert not d.any()
    scale = {"fro": 2**-0.5, "nuc": 1.0}.get(ord, 0.5)
    d = gradient(lambda x: linalg.matrix_norm(x, ord=ord), np.eye(2))
    np.testing.assert_allclose(d, scale * np.eye(2), atol=1e-12)


# Structured arguments -----------------------------------------------------------------


@pytest.mark.parametrize("offset", range(-4, 5))
@pytest.mark.parametrize("shape", [(2, 4), (4, 2), (3, 3)])
def test_diagonals_are_put_back_where_they_were(
    shape: tuple[int, int], offset: int
) -> None:
    d = gradient(lambda x: linalg.diagonal(x, offset=offset), normal(*shape))
    np.testing.assert_array_equal(d, np.eye(*shape, k=offset))


def test_an_infinite_gradient_stays_on_the_diagonal() -> None:
    x = leaf(np.eye(2))
    linalg.diagonal(x).backward(gl.tensor(np.asarray([inf, nan])))
    assert x.grad is not None
    np.testing.assert_array_equal(x.grad.numpy(), [[inf, 0.0], [0.0, nan]])


def test_a_vector_is_solved_for_each_matrix_of_a_stack(device: gl.Device) -> None:
    a, b = normal(2, 2, 2) + 3 * np.eye(2), normal(2)
    y = linalg.solve(leaf(a, device), leaf(b, device))
    np.testing.assert_allclose(y.detach().cpu().numpy(), np.linalg.inv(a) @ b)
    # Of the shape of a stack of vectors, and yet a matrix: x2 is no vector.
    b = normal(2, 2)
    y = linalg.solve(leaf(a, device), leaf(b, device))
    np.testing.assert_allclose(y.detach().cpu().numpy(), np.linalg.inv(a) @ b)


# Errors -------------------------------------------------------------------------------

V, X = np.ones(3), np.ones((2, 3))
ERRORS: list[tuple[str, Callable[[], Any], type[Exception], str]] = [
    *((name, lambda name=name: getattr(linalg, name)(X), ValueError,
       r"x must hold square matrices .* \(2, 3\)")
      for name in ("cholesky", "det", "eig", "eigh", "eigvals", "eigvalsh", "inv",
                   "slogdet")),
    ("power", lambda: linalg.matrix_power(X, 2), ValueError, r"square .* \(2, 3\)"),
    ("no matrix", lambda: linalg.det(V), ValueError, r"square matrices .* \(3,\)"),
    ("outer of a list", lambda: linalg.outer([1.0], V),  # type: ignore[arg-type]
     TypeError, r"outer\(\) argument 'x1' must be .* got list"),
    ("solve", lambda: linalg.solve(X, V), ValueError, r"x1 must hold square"),
    ("rows", lambda: linalg.solve(np.eye(2), V), ValueError, r"x2 .* M = 2 .* \(3,\)"),
    ("mode", lambda: linalg.qr(X, mode="raw"),  # type: ignore[arg-type]
     ValueError, "mode must be 'reduced' or 'complete', got 'raw'"),
    ("order", lambda: linalg.matrix_norm(X, ord=3), ValueError, "ord .* got 3"),
    ("vector", lambda: linalg.vector_norm(X, ord="fro"),  # type: ignore[arg-type]
     TypeError, "ord must be a number, got 'fro'"),
    ("cross", lambda: linalg.cross(X, X.T), ValueError, r"x2 must .* 3 .* \(3, 2\)"),
    ("positive axis", lambda: linalg.cross(X, V, axis=1), ValueError,
     "axis must be negative .* 2 and 1 axes, got 1"),
    ("vecdot", lambda: gl.vecdot(X, V, axis=1), ValueError, "axis must be negative"),
    ("outer", lambda: linalg.outer(X, V), ValueError, r"x1 and x2 must be 1-D.*\(2, 3"),
    ("trace", lambda: linalg.trace(V), ValueError, r"two axes, got shape \(3,\)"),
    ("rank", lambda: linalg.matrix_rank(V), ValueError, r"two axes, got shape \(3,\)"),
    ("axes", lambda: gl.tensordot(X, X, axes=(0, 1)),  # type: ignore[arg-type]
     ValueError, r"axes must be an int or two sequences .* got \(0, 1\)"),
    ("singular", lambda: linalg.inv(np.zeros((2, 2))), np.linalg.LinAlgError,
     "Singular"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("call", "error", "message"), [e[1:] for e in ERRORS], ids=[e[0] for e in ERRORS]
)
def test_error(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_the_first_norm_of_unlike_numbers_has_unit_gradients() -> None:
    x = gl.tensor([1e6, 1e-17, -1e-15, 0.0], requires_grad=True)
    gl.linalg.vector_norm(x, ord=1).backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1.0, 1.0, -1.0, 0.0]


def test_one_bad_matrix_spoils_no_other_determinant() -> None:
    a = np.stack([np.eye(2), np.full((2, 2), np.nan), np.diag([2.0, 3.0])])
    x = gl.tensor(a, requires_grad=True)
    with np.errstate(invalid="ignore"):  # NumPy warns of the matrix itself
        gl.linalg.det(x).sum().backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy()[2], [[3, 0], [0, 2]], atol=1e-12)
    assert np.isnan(x.grad.numpy()[1]).all()


def test_the_gradient_of_a_huge_determinant_is_finite() -> None:
    x = gl.tensor(np.diag([1e200, 1e100]), requires_grad=True)
    gl.linalg.det(x).backward()
    assert x.grad is not None
    np.testing.assert_allclose(np.diag(x.grad.numpy()), [1e100, 1e200], rtol=1e-12)
