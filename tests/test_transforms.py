"""Functions of functions against closed forms, finite differences and PyTorch's."""

from __future__ import annotations

import math
import weakref
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import array_api_strict
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradlite as gl
from gradlite.autograd import (
    Function,
    check_vjp,
    checkpoint,
    elementwise_grad,
    grad,
    hessian,
    hvp,
    jacobian,
    jvp,
    once_differentiable,
    value_and_grad,
    vjp,
)
from gradlite.autograd._trees import flatten, flatten_like, paths, unflatten


class Pair(NamedTuple):
    left: Any
    right: Any


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def raw(device: gl.Device, values: Any) -> Any:
    """Return an array of the device's own library."""
    dtype = np.float32 if device == "array_api_strict:device1" else np.float64
    return gl.tensor(np.asarray(values, dtype), device=device).array


def host(x: Any) -> np.ndarray:
    return np.asarray(gl.asarray(x).detach().cpu().numpy())


# Trees

LEAVES = st.integers(0, 9)
TREES = st.recursive(
    LEAVES | st.none(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
        | st.dictionaries(st.sampled_from("ab"), inner, max_size=2).map(OrderedDict)
        | st.builds(Pair, inner, inner)
    ),
    max_leaves=8,
)


@settings(max_examples=50, deadline=None)
@given(tree=TREES)
def test_trees_are_taken_apart_and_put_together(tree: Any) -> None:
    leaves, structure = flatten(tree)
    again = unflatten(structure, leaves)
    assert again == tree
    assert repr(again) == repr(tree)  # the types too
    assert flatten_like(structure, tree, "tree", "tree") == leaves
    scope = {"tree": tree}
    assert [eval(path, {}, scope) for path in paths(structure, "tree")] == leaves


def test_a_subclass_of_a_container_is_a_leaf() -> None:
    class Config(dict[str, int]):
        pass

    config = Config(a=1)
    assert flatten([config])[0] == [config]


def test_structures_match_whatever_the_order_of_keys() -> None:
    _, structure = flatten({"a": 1, "b": (2, 3)})
    assert flatten_like(structure, {"b": [8, 9], "a": 7}, "t", "x") == [7, 8, 9]


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (3, r"t must be a dict with keys \['a', 'b'\], as in x, got a int"),
        ({"a": 1}, r"got a dict with keys \['a'\]"),
        ({"a": 1, "b": (1,)}, r"t\['b'\] must be a Pair of length 2.*a tuple of leng"),
        ({"a": 1, "b": None}, r"t\['b'\] must be a Pair of length 2.*got None"),
        ({"a": 1, "b": (1, 2)}, r"t\['b'\]\.left must be None, as in x, got a int"),
        ({"a": 1, "b": {0: None, 1: 2}}, r"t\['b'\] must be a Pair"),
    ],
)
def test_another_structure_is_named_with_its_place(tree: Any, message: str) -> None:
    _, structure = flatten({"a": 1, "b": Pair(None, 3)})
    with pytest.raises(TypeError, match=message):
        flatten_like(structure, tree, "t", "x")


# Gradients


def polynomial(x: Any) -> Any:
    return gl.sum(x * x * x)


def test_arrays_of_each_library_come_back_as_such(device: gl.Device) -> None:
    x = raw(device, [1.0, 2.0])
    results = [
        grad(polynomial)(x),
        value_and_grad(polynomial)(x)[0],
        elementwise_grad(lambda x: x * x * x)(x),
        vjp(polynomial, x)[0],
        *vjp(polynomial, x)[1](1.0),
        *jvp(polynomial, (x,), (x,)),
        *hvp(polynomial, (x,), (x,)),
        jacobian(polynomial)(x),
        hessian(polynomial)(x),
    ]
    expected = [
        [3, 12], 9, [3, 12], 9, [3, 12], 9, 27, [6, 24], [3, 12], [[6, 0], [0, 12]],
    ]  # fmt: skip
    for found, value in zip(results, expected, strict=True):
        assert type(found) is type(x)
        assert found.dtype == x.dtype
        assert gl.asarray(found).device is device
        assert host(found).tolist() == np.asarray(value, float).tolist()


def test_tensors_come_back_as_tensors(device: gl.Device) -> None:
    x = gl.asarray(raw(device, [1.0, 2.0]))
    value, gradient = value_and_grad(polynomial)(x)
    for found, expected in ((value, 9.0), (gradient, [3.0, 12.0])):
        assert isinstance(found, gl.Tensor)
        assert found.device is device
        assert not found.requires_grad
        assert found.tolist() == expected
    assert not x.requires_grad


def test_one_tensor_among_arrays_makes_all_results_tensors() -> None:
    gradients = grad(lambda x, y: gl.sum(x * y), (0, 1))(np.ones(2), gl.ones(2))
    assert [type(g) for g in gradients] == [gl.Tensor] * 2
    gradient = grad(lambda x, scale: gl.sum(x * scale))(np.ones(2), scale=gl.ones(2))
    assert type(gradient) is gl.Tensor


@pytest.mark.parametrize("order", range(1, 6))
def test_any_order_of_nesting(order: int) -> None:
    x = np.linspace(-1.0, 1.0, 5)
    derivative: Callable[..., Any] = gl.sin
    for _ in range(order):
        derivative = elementwise_grad(derivative)
    expected = np.sin(x + order * math.pi / 2)
    np.testing.assert_allclose(derivative(x), expected, atol=1e-14)


def test_nested_trees_of_parameters() -> None:
    def loss(params: Any, x: Any, *, scale: float) -> Any:
        (w, b), extra = params["layer"], params["extra"]
        return scale * gl.sum((x @ w + b) ** 2) + gl.sum(extra.left * 3.0)

    w, b, e = normal(3, 2), normal(2, seed=1), normal(4, seed=2)
    params = {"layer": [w, b], "extra": Pair(e, None), "none": ()}
    x = normal(5, 3, seed=3)
    value, gradient = value_and_grad(loss)(params, x, scale=0.5)
    residual = x @ w + b
    np.testing.assert_allclose(value, 0.5 * np.sum(residual**2) + 3 * np.sum(e))
    assert list(gradient) == ["layer", "extra", "none"]
    np.testing.assert_allclose(gradient["layer"][0], x.T @ residual)
    np.testing.assert_allclose(gradient["layer"][1], residual.sum(0))
    np.testing.assert_array_equal(gradient["extra"].left, np.full(4, 3.0))
    assert gradient["extra"].right is None
    assert gradient["none"] == ()


@pytest.mark.parametrize(
    ("argnums", "expected"),
    [
        (0, 20.0),
        (1, 10.0),
        (-1, 4.0),
        ((0,), (20.0,)),
        ((2, 0), (4.0, 20.0)),
        ([1, -1], (10.0, 4.0)),
    ],
)
def test_argnums(argnums: Any, expected: Any) -> None:
    def fun(x: Any, y: Any, z: Any) -> Any:
        return x * y * z + x * y * 5.0

    found = grad(fun, argnums)(np.float64(1.0), np.float64(2.0), np.float64(5.0))
    assert grad(fun, argnums=argnums)(1.0, 2.0, 5.0) == found
    expected = tuple(np.asarray(expected) * np.asarray([1.0]))
    found = found if isinstance(found, tuple) else (found,)
    scale = [20.0, 10.0, 2.0]
    single = argnums if isinstance(argnums, list | tuple) else (argnums,)
    assert [float(f) for f in found] == [scale[n] for n in single]


def test_aux_is_handed_through() -> None:
    def fun(x: Any) -> Any:
        y = x * x
        return gl.sum(y), {"y": y, "text": "kept"}

    (value, aux), gradient = value_and_grad(fun, has_aux=True)(np.asarray([1.0, 2.0]))
    assert value == 5.0
    assert type(aux["y"]) is np.ndarray
    assert aux["text"] == "kept"
    assert gradient.tolist() == [2.0, 4.0]
    (_, aux), _ = value_and_grad(fun, has_aux=True)(gl.ones(2))
    assert not aux["y"].requires_grad


def test_what_nothing_depends_on_has_a_gradient_of_zeros(device: gl.Device) -> None:
    x, y = raw(device, [1.0, 2.0]), raw(device, [[3.0]])
    constant = gl.ones((), device=device)
    for found, like in (
        *zip(grad(lambda x, y: gl.sum(x), (0, 1))(x, y)[1:], [y], strict=True),
        (grad(lambda x: constant)(x), x),
        (grad(lambda x: gl.sum(x.detach()))(x), x),
        (vjp(lambda x: constant, x)[1](1.0)[0], x),
        (jvp(lambda x: x.detach(), (x,), (x,))[1], x),
        (hvp(gl.sum, (x,), (x,))[0], x),
    ):
        assert type(found) is type(x)
        assert found.dtype == x.dtype
        assert host(found).tolist() == np.zeros(like.shape).tolist()


def test_numbers_get_the_precision_and_the_device_of_their_neighbors(
    device: gl.Device,
) -> None:
    x = raw(device, [1.0, 2.0])
    for number in (0.1, np.float64(0.1)):
        found = grad(lambda x, a: gl.sum(x * gl.exp(a * x)), 1)(x, number)
        assert type(found) is type(x)
        if "float64" in str(x.dtype):
            exact = math.exp(0.1) + 4.0 * math.exp(0.2)
            assert float(host(found)) == pytest.approx(exact, rel=1e-15)


def test_numbers_alone_get_the_default_dtype() -> None:
    assert grad(gl.square)(3.0).dtype == np.float32
    gl.set_default_dtype(gl.float64)
    assert grad(gl.square)(3.0).dtype == np.float64
    assert grad(gl.square)(np.float32(3.0)).dtype == np.float32
    found = grad(lambda z, a: gl.real(gl.sum(z)) * a, 1)(np.ones(2, np.complex64), 1.0)
    assert found.dtype == np.float32


def test_several_dtypes_at_once() -> None:
    args = [np.ones(2, dtype) for dtype in (np.float16, np.float32, np.complex64)]
    found = grad(lambda a, b, c: gl.sum(gl.abs(a * b * c)), (0, 1, 2))(*args)
    assert [g.dtype for g in found] == [np.float16, np.float32, np.complex64]


def test_several_devices_at_once() -> None:
    def fun(a: gl.Tensor, b: gl.Tensor) -> gl.Tensor:
        return gl.sum(a * b.to("cpu"))

    a, b = np.asarray([1.0, 2.0]), array_api_strict.asarray([3.0, 4.0])
    da, db = grad(fun, (0, 1))(a, b)
    assert type(da) is np.ndarray
    assert type(db) is type(b)
    assert (da.tolist(), host(db).tolist()) == ([3.0, 4.0], [1.0, 2.0])


def test_a_function_of_the_namespace_of_its_argument(device: gl.Device) -> None:
    def fun(x: Any) -> Any:
        xp = x.__array_namespace__()
        return xp.sum(xp.tanh(x))

    x = raw(device, [0.5, -1.0])
    np.testing.assert_allclose(
        host(grad(fun)(x)), 1.0 - np.tanh([0.5, -1.0]) ** 2, rtol=1e-6
    )


def test_a_function_may_write_into_its_argument() -> None:
    def fun(x: gl.Tensor) -> gl.Tensor:
        x[0] = x[1] ** 2
        x += 1.0
        return gl.sum(x * x)

    x = np.asarray([5.0, 2.0])
    assert grad(fun)(x).tolist() == [0.0, 2 * 5.0 * 4.0 + 2 * 3.0]
    assert x.tolist() == [5.0, 2.0]
    tensor = gl.tensor(x, requires_grad=True)
    assert grad(fun)(tensor).tolist() == [0.0, 46.0]
    assert tensor.tolist() == [5.0, 2.0]


def test_an_array_may_change_before_the_pullback() -> None:
    x = np.asarray([1.0, 2.0])
    _, pullback = vjp(gl.square, x)
    x[:] = 100.0
    assert pullback(np.ones(2))[0].tolist() == [2.0, 4.0]


@settings(max_examples=20, deadline=None)
@given(tree=TREES)
def test_gradients_have_the_structure_of_their_argument(tree: Any) -> None:
    leaves, structure = flatten(tree)
    arrays = [np.asarray(leaf / 2.0) for leaf in leaves]

    def fun(tree: Any) -> Any:
        return sum((x * x for x in flatten(tree)[0]), start=gl.zeros(()))

    gradient = grad(fun)(unflatten(structure, arrays))
    found, same = flatten(gradient)
    assert same == structure
    assert [float(g) for g in found] == [float(leaf) for leaf in leaves]


# Modes and the graph around


def test_a_transform_records_whatever_the_mode() -> None:
    weight = gl.tensor([2.0, 3.0], requires_grad=True)
    x = np.asarray([1.0, 1.0])
    with gl.no_grad():
        assert grad(lambda x: gl.sum(weight * x**3))(x).tolist() == [6.0, 9.0]
        matrix = hessian(lambda x: gl.sum(weight * x**3))(x)
        value, _ = vjp(lambda x: weight * x, gl.asarray(x))
    assert type(matrix) is np.ndarray
    assert matrix.tolist() == [[12.0, 0.0], [0.0, 18.0]]
    assert not value.requires_grad


def test_no_grad_inside_the_function_counts() -> None:
    @gl.no_grad()
    def fun(x: Any) -> Any:
        return gl.sum(x * x)

    assert grad(fun)(np.ones(2)).tolist() == [0.0, 0.0]


def test_results_depend_on_what_the_function_closes_over() -> None:
    weight = gl.tensor([2.0, 3.0], dtype=gl.float64, requires_grad=True)
    for x in (np.asarray([1.0, 2.0]), gl.tensor([1.0, 2.0], dtype=gl.float64)):
        value, gradient = value_and_grad(lambda x: gl.sum(weight**2 * x**3))(x)
        (slope,) = gl.autograd.grad(gl.sum(gradient), weight, retain_graph=True)
        assert slope.tolist() == [2 * 2 * 3 * 1, 2 * 3 * 3 * 4]
        (slope,) = gl.autograd.grad(value, weight)
        assert slope.tolist() == [4.0, 48.0]
    assert weight.grad is None


def test_a_number_inside_another_transform_stays_connected() -> None:
    def outer(w: Any) -> Any:
        return grad(lambda x: w * w * x * x)(3.0)

    assert grad(outer)(2.0) == 2 * 2 * 2 * 3


def test_results_depend_on_a_tensor_that_requires_grad() -> None:
    x = gl.tensor([1.0, 2.0], dtype=gl.float64, requires_grad=True)
    matrix = hessian(lambda x: gl.sum(x**4))(x)
    matrix.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [24.0, 48.0]
    # By the argument and not by the tensor that the function closes over.
    assert grad(lambda y: gl.sum(y * x))(x).tolist() == [1.0, 2.0]


def test_results_depend_on_cotangents_and_tangents() -> None:
    x = gl.tensor([1.0, 2.0])
    v = gl.tensor([1.0, 1.0], requires_grad=True)
    for product in (
        vjp(gl.square, x)[1](v)[0],
        jvp(gl.square, (x,), (v,))[1],
        hvp(lambda x: gl.sum(x**3) / 3.0, (x,), (v,))[0],
    ):
        (d,) = gl.autograd.grad(product.sum(), v)
        assert d.tolist() == [2.0, 4.0]


@pytest.mark.parametrize(
    "transform",
    [
        lambda x: grad(lambda x: gl.sum(gl.exp(x) * x))(x),
        lambda x: value_and_grad(lambda x: gl.sum(gl.sin(x)))(x),
        lambda x: elementwise_grad(gl.tanh)(x),
        lambda x: vjp(gl.sin, x)[1](x)[0],
        lambda x: jvp(gl.sin, (x,), (x * x,)),
        lambda x: hvp(lambda x: gl.sum(gl.sin(x) * x), (x,), (x,))[0],
        lambda x: jacobian(lambda x: gl.exp(x) * x[0])(x),
        lambda x: hessian(lambda x: gl.exp(x[0]) * x[1] * x[2])(x),
        lambda x: grad(lambda x: hvp(lambda x: gl.sum(x**3), (x,), (x,))[0][1])(x),
        lambda x: grad(lambda x: checkpoint(lambda x: gl.exp(gl.sin(x)), x).sum())(x),
    ],
)
def test_transforms_are_differentiable(transform: Callable[..., Any]) -> None:
    x = gl.tensor([0.3, -0.7, 1.1], dtype=gl.float64, requires_grad=True)
    check_vjp(transform, [x], order=2)


def test_a_graph_that_was_freed_is_no_gradient_of_zero() -> None:
    x = gl.tensor([1.0, 2.0], requires_grad=True)
    _, pullback = vjp(lambda x: gl.sum(gl.exp(x)), x)
    pullback(1.0)[0].sum().backward()
    with pytest.raises(RuntimeError, match=r"freed.*retain_graph=True"):
        pullback(1.0)

    def fun(x: gl.Tensor) -> gl.Tensor:
        y = gl.sum(gl.exp(x))
        y.backward()
        return y

    with pytest.raises(RuntimeError, match="freed"):
        grad(fun)(np.ones(2))


@pytest.mark.usefixtures("no_collector")
def test_everything_is_freed_with_the_last_reference() -> None:
    weight = gl.tensor(np.ones(3), requires_grad=True)
    watched: list[weakref.ref[Any]] = []

    def fun(x: Any) -> Any:
        y = gl.exp(x * weight)
        watched.append(weakref.ref(y.array))
        return gl.sum(y)

    x = np.ones(3)
    pullback = vjp(fun, x)[1]
    kept = [
        pullback(1.0),
        value_and_grad(fun)(x),
        jvp(fun, (x,), (x,)),
        jacobian(fun)(x),
        hvp(fun, (x,), (x,)),
    ]
    assert any(ref() is not None for ref in watched)
    del pullback, kept
    assert [ref() is None for ref in watched] == [True] * len(watched)


# Products and matrices


class Case(NamedTuple):
    """A function of arrays of these shapes, real (r) or complex (c)."""

    function: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]
    kinds: str


CASES = {
    "linear": Case(lambda x, y: x @ y, ((2, 3), (3, 2)), "rr"),
    "broadcast": Case(lambda x, y: gl.tanh(x) * y, ((2, 3), (3,)), "rr"),
    "several": Case(lambda x: {"a": x[0] * x, "b": [gl.sum(x)]}, ((3,),), "r"),
    "scalar": Case(lambda x: gl.sum(gl.exp(x)), ((2, 2),), "r"),
    "empty": Case(lambda x: x[:0] * 2.0, ((3,),), "r"),
    "complex": Case(lambda z: z * z * gl.exp(z), ((3,),), "c"),
    "conjugate": Case(lambda z, w: gl.conj(z) * w + z, ((3,), (3,)), "cc"),
    "real of complex": Case(lambda z: gl.abs(z) ** 2, ((3,),), "c"),
    "complex of real": Case(lambda x: gl.exp(1j * x), ((3,),), "r"),
    "mixed": Case(lambda x, z: gl.exp(x * z), ((3,), (3,)), "rc"),
    "unused": Case(lambda x, y: x + 1.0, ((2,), (2,)), "rr"),
}


def arguments(case: Case, seed: int = 0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    found = []
    for shape, kind in zip(case.shapes, case.kinds, strict=True):
        x = rng.standard_normal(shape)
        found.append(x + 1j * rng.standard_normal(shape) if kind == "c" else x)
    return tuple(found)


def leaves_of(tree: Any) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in flatten(tree)[0]]


def pairing(x1: Any, x2: Any) -> float:
    pairs = zip(leaves_of(x1), leaves_of(x2), strict=True)
    return float(sum(np.sum(np.conj(a) * b).real for a, b in pairs))


def call(case: Case, args: tuple[np.ndarray, ...]) -> Any:
    result = case.function(*map(gl.asarray, args))
    leaves, structure = flatten(result)
    return unflatten(structure, [leaf.numpy() for leaf in leaves])


@pytest.mark.parametrize("name", CASES)
def test_products_agree_with_differences_and_with_each_other(name: str) -> None:
    case = CASES[name]
    args, tangents = arguments(case), arguments(case, seed=1)
    value, slope = jvp(case.function, args, tangents)
    step = 1e-6
    plus, minus = (
        call(case, tuple(x + s * v for x, v in zip(args, tangents, strict=True)))
        for s in (step, -step)
    )
    found = zip(*map(leaves_of, (value, call(case, args))), strict=True)
    for y, expected in found:
        np.testing.assert_allclose(y, expected)
    for d, a, b in zip(*map(leaves_of, (slope, plus, minus)), strict=True):
        np.testing.assert_allclose(d, (a - b) / (2 * step), rtol=1e-7, atol=1e-8)
    rng = np.random.default_rng(2)
    leaves, structure = flatten(value)
    weights = [
        rng.standard_normal(y.shape) * (1 + 1j if np.iscomplexobj(y) else 1)
        for y in leaves
    ]
    _, pullback = vjp(case.function, *args)
    for _ in range(2):  # it can be called again
        pulled = pullback(unflatten(structure, weights))
        assert [d.dtype for d in pulled] == [x.dtype for x in args]
        assert pairing(weights, slope) == pytest.approx(pairing(pulled, tangents))


@pytest.mark.parametrize("name", CASES)
def test_jacobians_agree_with_products(name: str) -> None:
    case = CASES[name]
    args, tangents = arguments(case), arguments(case, seed=1)
    numbers = tuple(range(len(args)))
    if name == "conjugate":
        with pytest.raises(
            TypeError, match=r"result and an argument.*holomorphic=True"
        ):
            jacobian(case.function, numbers)(*args)
        return
    matrices = jacobian(case.function, numbers, holomorphic=True)(*args)
    _, slope = jvp(case.function, args, tangents)
    structure = flatten(slope)[1]
    rows = flatten_like(structure, matrices, "matrices", "slope")
    for row, d in zip(rows, flatten(slope)[0], strict=True):
        total = np.zeros_like(d)
        for block, x, v in zip(row, args, tangents, strict=True):
            assert block.shape == d.shape + x.shape
            if np.iscomplexobj(x) and not np.iscomplexobj(d):
                block, v = np.conj(block), v  # a gradient: d = Re(conj(g) v)
                total += np.tensordot(block, v, x.ndim).real
            else:
                total = total + np.tensordot(block, v, x.ndim)
        np.testing.assert_allclose(total, d, atol=1e-14)


def test_gradients_of_complex_arguments_have_the_convention_of_the_project() -> None:
    z = np.asarray([3.0 + 4.0j])
    gradient = grad(lambda z: gl.sum(gl.abs(z) ** 2))(z)
    np.testing.assert_allclose(gradient, [6.0 + 8.0j])
    matrix = jacobian(lambda z: gl.abs(z) ** 2)(z)
    np.testing.assert_allclose(matrix, [[6.0 + 8.0j]])
    # Not holomorphic: the derivative of the gradient along v.
    (product,) = hvp(lambda z: gl.sum(gl.real(z * z)), (z,), (np.asarray([1j]),))
    assert product.tolist() == [-2.0j]
    with pytest.raises(TypeError, match="complex"):
        hessian(lambda z: gl.sum(gl.abs(z) ** 2))(z)


def quartic(tree: Any) -> Any:
    return gl.sum(tree["a"] ** 3 * tree["b"][0]) + gl.sum(tree["a"]) ** 4


QUARTIC = {"a": normal(3), "b": (normal(2, 1, seed=1),)}


def test_hessians_and_their_products_agree_with_pytorch() -> None:
    torch = pytest.importorskip("torch")

    def torch_quartic(a: Any, b: Any) -> Any:
        return (a**3 * b).sum() + a.sum() ** 4

    given = tuple(map(torch.from_numpy, (QUARTIC["a"], *QUARTIC["b"])))
    matrix = torch.autograd.functional.hessian(torch_quartic, given)
    found = hessian(quartic)(QUARTIC)
    for x1, x2 in zip(*map(leaves_of, (found, matrix)), strict=True):
        np.testing.assert_allclose(x1, x2, rtol=1e-12)
    tangents = {"b": (normal(2, 1, seed=4),), "a": normal(3, seed=3)}
    direction = tuple(map(torch.from_numpy, (tangents["a"], *tangents["b"])))
    _, product = torch.autograd.functional.hvp(torch_quartic, given, direction)
    (again,) = hvp(quartic, (QUARTIC,), (tangents,))
    assert list(again) == list(QUARTIC)
    for x1, x2 in zip(*map(leaves_of, (again, product)), strict=True):
        np.testing.assert_allclose(x1, x2, rtol=1e-12)


def test_the_matrices_of_several_arguments() -> None:
    a, b = normal(2), normal(3, seed=1)
    blocks = hessian(lambda a, b: gl.sum(a) ** 2 * gl.sum(b), (0, 1))(a, b)
    assert [[x.shape for x in row] for row in blocks] == [
        [(2, 2), (2, 3)],
        [(3, 2), (3, 3)],
    ]
    np.testing.assert_allclose(blocks[0][1], np.full((2, 3), 2 * a.sum()))
    np.testing.assert_allclose(blocks[1][1], 0.0)


def test_a_zero_cotangent_and_a_zero_tangent_may_be_none() -> None:
    x, y = np.asarray([1.0, 2.0]), np.asarray([3.0, 4.0])
    _, pullback = vjp(lambda x, y: (x * y, y), x, y)
    assert [g.tolist() for g in pullback((np.ones(2), None))] == [[3, 4], [1, 2]]
    assert [g.tolist() for g in pullback((None, None))] == [[0, 0], [0, 0]]
    assert jvp(gl.multiply, (x, y), (None, x))[1].tolist() == [1.0, 4.0]


def test_integer_results_of_a_vjp_have_no_derivative() -> None:
    (_, index), pullback = vjp(
        lambda x: (x * 2.0, gl.argmax(x)), np.asarray([1.0, 5.0])
    )
    assert index == 1
    assert pullback((np.ones(2), None))[0].tolist() == [2.0, 2.0]
    slopes = jvp(lambda x: (x, gl.argmax(x)), (np.ones(2),), (np.ones(2),))[1]
    assert slopes[0].tolist() == [1.0, 1.0]
    assert slopes[1].tolist() == 0


# What is refused


class Once(Function):
    @staticmethod
    def forward(ctx: Any, x: gl.Tensor) -> gl.Tensor:
        return x * 2.0

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: gl.Tensor) -> gl.Tensor:
        return g * 2.0


X = np.ones(2)
Z = np.ones(2, complex)
N = np.ones(2, np.int64)

ERRORS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "no function": (lambda: value_and_grad(X), TypeError, "fun must be a function"),
    "vector": (
        lambda: grad(gl.square)(X),
        ValueError,
        r"scalar result, got shape \(2,\).*jacobian.*elementwise_grad",
    ),
    "two results": (lambda: grad(lambda x: (x, x))(X), TypeError, "one tensor, got 2"),
    "no result": (lambda: grad(lambda x: None)(X), TypeError, "one tensor, got 0"),
    "complex": (lambda: grad(gl.sum)(Z), TypeError, "real.*complex128.*gl.real"),
    "integer": (lambda: grad(gl.argmax)(X), TypeError, "dtype int64"),
    "float()": (
        lambda: grad(lambda x: float(gl.sum(x)))(X),
        UserWarning,
        r"float\(\) of a tensor that requires grad makes a constant",
    ),
    "item()": (
        lambda: grad(lambda x: gl.sum(x).item())(X),
        TypeError,
        r"its result is a float: float\(\), item\(\), np.asarray\(\)",
    ),
    "array": (
        lambda: vjp(lambda x: {"a": x, "b": [X]}, X),
        TypeError,
        r"result\['b'\]\[0\] is a ndarray",
    ),
    "np.asarray": (
        lambda: grad(lambda x: np.sum(np.asarray(x)))(X),
        TypeError,
        "gradient would be lost",
    ),
    "integer array": (
        lambda: grad(lambda t: t["n"])({"n": N}),
        TypeError,
        r"args\[0\]\['n'\] has dtype int64, and derivatives need floating point",
    ),
    "integer tensor": (
        lambda: grad(lambda x, n: gl.sum(x), 1)(X, gl.asarray(N)),
        TypeError,
        r"args\[1\] has dtype int64",
    ),
    "int": (
        lambda: jvp(gl.square, (2,), (1.0,)),
        TypeError,
        r"primals\[0\] must be.*got 2 of type int",
    ),
    "argnums too large": (lambda: grad(gl.sum, 1)(X), ValueError, "1 arguments.*got 1"),
    "argnums twice": (
        lambda: grad(gl.multiply, (1, -1))(X, X),
        ValueError,
        r"different positions.*got \(1, -1\)",
    ),
    "argnums of a name": (lambda: grad(gl.sum, "x"), TypeError, "argnums.*'x'"),
    "argnums of tensors": (
        lambda: grad(gl.ones(1), argnums=0),
        TypeError,
        "argnums goes with a function",
    ),
    "options": (
        lambda: grad(gl.sum, create_graph=True),
        TypeError,
        "takes argnums only",
    ),
    "argnums as inputs too": (lambda: grad(gl.sum, 0, argnums=0), TypeError, "argnums"),
    "no inputs": (lambda: grad(gl.ones(1)), TypeError, "inputs must be"),
    "no pair": (
        lambda: value_and_grad(gl.sum, has_aux=True)(X),
        TypeError,
        "must return a pair.*got Tensor",
    ),
    "cotangent structure": (
        lambda: vjp(lambda x: {"y": x}, X)[1]((X,)),
        TypeError,
        r"cotangents must be a dict with keys \['y'\], as in the result, got a tuple",
    ),
    "cotangent shape": (
        lambda: vjp(lambda x: {"y": x}, X)[1]({"y": np.ones(3)}),
        ValueError,
        r"cotangents\['y'\] has shape \(3,\) where \(2,\) is needed",
    ),
    "complex cotangent": (
        lambda: vjp(gl.sin, X)[1](Z),
        TypeError,
        "cotangents has dtype complex128, which does not fit into float64",
    ),
    "text as a cotangent": (lambda: vjp(gl.sin, X)[1]("x"), TypeError, "got str"),
    "cotangent elsewhere": (
        lambda: vjp(gl.sin, X)[1](array_api_strict.ones(2)),
        gl.DeviceMismatchError,
        "cotangents got tensors on array_api_strict.* and cpu",
    ),
    "tangent structure": (
        lambda: jvp(gl.sin, (X,), (X, X)),
        TypeError,
        "tangents must be a tuple of length 1, as in primals, got a tuple of length 2",
    ),
    "tangent shape": (
        lambda: hvp(polynomial, (X,), (np.ones(3),)),
        ValueError,
        r"tangents\[0\] has shape \(3,\)",
    ),
    "a bare primal": (
        lambda: jvp(gl.sin, X, X),
        TypeError,
        r"primals must be a tuple.*got ndarray; write \(primals,\)",
    ),
    "integers in a jacobian": (
        lambda: jacobian(lambda x: (x, gl.argmax(x)))(X),
        TypeError,
        r"result\[1\] has dtype int64",
    ),
    "once": (
        lambda: jvp(Once.apply, (X,), (X,)),
        RuntimeError,
        "Once can be differentiated once only",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_bad_input_is_named(name: str) -> None:
    action, error, message = ERRORS[name]
    with pytest.raises(error, match=message):
        action()


def test_what_is_once_differentiable_has_a_gradient() -> None:
    assert elementwise_grad(Once.apply)(X).tolist() == [2.0, 2.0]
    weight = gl.tensor([1.0, 1.0], dtype=gl.float64, requires_grad=True)
    with gl.no_grad():
        assert elementwise_grad(lambda x: Once.apply(x * weight))(X).tolist() == [2, 2]


def test_modules_and_partials_are_functions() -> None:
    layer = gl.nn.Linear(2, 1)
    x = np.ones((1, 2), np.float32)
    with gl.no_grad():
        found = grad(lambda x: gl.sum(layer(x)))(x)
        assert elementwise_grad(layer)(x).tolist() == found.tolist()
    assert found.tolist() == layer.weight.tolist()
    assert elementwise_grad(partial(gl.pow, x2=2.0))(X).tolist() == [2.0, 2.0]
