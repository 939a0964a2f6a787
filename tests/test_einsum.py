"""`einsum` against NumPy's, and its derivatives against differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradlite as gl
from gradlite import autograd, ops
from gradlite.autograd import check_vjp

Host = np.ndarray[Any, Any]
Shapes = tuple[tuple[int, ...], ...]

CASES: list[tuple[str, Shapes]] = [
    # One operand: copies, permutations, sums, diagonals.
    ("", ((),)),
    ("->", ((),)),
    ("i", ((3,),)),
    ("i->", ((3,),)),
    ("ij", ((2, 3),)),
    ("ji", ((2, 3),)),
    ("aB", ((2, 3),)),
    ("ij->ji", ((2, 3),)),
    ("ij->i", ((2, 3),)),
    ("ij->j", ((2, 3),)),
    ("ij->", ((2, 3),)),
    ("kij->jk", ((2, 3, 4),)),
    ("ii", ((3, 3),)),
    ("ii->i", ((3, 3),)),
    ("iij->ji", ((2, 2, 3),)),
    ("iji->j", ((2, 3, 2),)),
    ("iii->i", ((2, 2, 2),)),
    ("iii", ((2, 2, 2),)),
    ("ijij->ij", ((2, 3, 2, 3),)),
    ("ijji", ((2, 3, 3, 2),)),
    ("...", ((2, 3),)),
    ("...->...", ((2, 3),)),
    ("...ij->...ji", ((2, 3, 4),)),
    ("i...->...", ((2, 3, 4),)),
    ("i...->...i", ((2, 3, 4),)),
    ("i...j->j...i", ((2, 3, 4, 5),)),
    ("...ii->...i", ((2, 3, 3),)),
    ("ij...", ((2, 3),)),
    ("i->...i", ((3,),)),
    ("j...i", ((1,) * 11 + (2, 3),)),
    (" i j -> j i ", ((2, 3),)),
    # Two operands, nothing summed: outer, elementwise, scaled.
    ("i,j->ij", ((2,), (3,))),
    ("i,j->ji", ((2,), (3,))),
    ("i,j", ((2,), (3,))),
    (",", ((), ())),
    (",i->i", ((), (3,))),
    ("i,->i", ((3,), ())),
    ("i,i->i", ((3,), (3,))),
    ("ij,ji->ij", ((2, 3), (3, 2))),
    ("i,ij->ij", ((2,), (2, 3))),
    ("j,ij->ij", ((3,), (2, 3))),
    ("ii,i->i", ((3, 3), (3,))),
    ("bi,bj->bij", ((2, 3), (2, 4))),
    ("bi,jb->jib", ((2, 3), (4, 2))),
    # Two operands, a sum over what they share.
    ("i,i", ((3,), (3,))),
    ("ij,j", ((2, 3), (3,))),
    ("j,ij->i", ((3,), (2, 3))),
    ("ij,jk", ((2, 3), (3, 4))),
    ("ij,jk->ki", ((2, 3), (3, 4))),
    ("ji,jk->ik", ((3, 2), (3, 4))),
    ("ij,kj->ik", ((2, 3), (4, 3))),
    ("ij,ij", ((2, 3), (2, 3))),
    ("ij,ji", ((2, 3), (3, 2))),
    ("bi,bi->b", ((2, 3), (2, 3))),
    ("bij,bjk->bik", ((2, 3, 4), (2, 4, 5))),
    ("bij,bjk->ikb", ((2, 3, 4), (2, 4, 5))),
    ("abij,bajk->abik", ((2, 3, 2, 4), (3, 2, 4, 2))),
    ("aibj,jcbk->akci", ((2, 3, 4, 2), (2, 5, 4, 3))),
    ("ijk,jil->kl", ((2, 3, 4), (3, 2, 5))),
    ("...ij,...jk", ((2, 3, 4), (2, 4, 5))),
    # Two operands, sums over what one of them has alone.
    ("i,j->", ((2,), (3,))),
    ("ij,k->k", ((2, 3), (4,))),
    ("ij,jk->k", ((2, 3), (3, 4))),
    ("ijk,jl->il", ((2, 3, 4), (3, 5))),
    ("ii,ij->j", ((3, 3), (3, 4))),
    # Axes that broadcast.
    ("...,...", ((2, 1), (3,))),
    ("...i,...i->...", ((2, 1, 3), (4, 3))),
    ("...ij,jk...->...ik", ((2, 3, 4), (4, 5, 1))),
    ("i...,->...", ((3, 2), ())),
    ("...i,j", ((2, 3), (4,))),
    ("ij,ij->ij", ((1, 3), (2, 3))),
    ("ij,ij", ((1, 3), (2, 1))),
    ("ij,jk->ik", ((2, 1), (3, 4))),
    ("ii,i->i", ((1, 1), (3,))),
    ("i,i->i", ((1,), (1,))),
    # More operands.
    ("i,i,i", ((3,), (3,), (3,))),
    ("i,j,k->kij", ((2,), (3,), (4,))),
    ("ij,jk,kl->il", ((2, 3), (3, 4), (4, 2))),
    ("ij,jk,ki", ((2, 3), (3, 4), (4, 2))),
    ("i,ij,j", ((2,), (2, 3), (3,))),
    ("ij,ik,il->jkl", ((2, 3), (2, 4), (2, 2))),
    ("...i,ij,...j->...", ((2, 3), (3, 4), (5, 1, 4))),
    ("ab,bc,cd,de->ae", ((2, 3), (3, 2), (2, 4), (4, 2))),
    ("a,ab,,bcc->c", ((2,), (2, 3), (), (3, 2, 2))),
    # Nothing at all.
    ("i->", ((0,),)),
    ("ii->i", ((0, 0),)),
    ("ij,jk", ((2, 0), (0, 3))),
    ("ij,jk", ((0, 2), (2, 3))),
    ("bij,bjk->bik", ((0, 2, 3), (0, 3, 4))),
    ("i,j->ij", ((0,), (3,))),
    ("i,i", ((0,), (1,))),
    ("...,...", ((2, 0), (1,))),
]


def hosts(shapes: Shapes, *, cplx: bool = False) -> list[Host]:
    rng = np.random.default_rng(sum(map(len, shapes)))
    arrays = [rng.standard_normal(shape) for shape in shapes]
    return [x + 1j * rng.standard_normal(x.shape) for x in arrays] if cplx else arrays


def leaves(arrays: list[Host], device: gl.Device | str = "cpu") -> list[gl.Tensor]:
    return [gl.tensor(x, device=device, requires_grad=True) for x in arrays]


# Values -------------------------------------------------------------------------------


@pytest.mark.parametrize("cplx", [False, True], ids=["float64", "complex128"])
@pytest.mark.parametrize(("subscripts", "shapes"), CASES)
def test_value(subscripts: str, shapes: Shapes, cplx: bool) -> None:
    arrays = hosts(shapes, cplx=cplx)
    expected = np.einsum(subscripts, *arrays)
    y = gl.einsum(subscripts, *map(gl.tensor, arrays))
    assert y.dtype is expected.dtype.type
    assert y.shape == expected.shape
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-12, atol=1e-13)


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, Shapes]:
    """Draw subscripts and shapes that fit."""
    sizes = {label: draw(st.integers(1, 3)) for label in "abCd"}
    rest = draw(st.lists(st.integers(1, 3), max_size=2))
    terms, shapes = [], []
    for _ in range(draw(st.integers(1, 3))):
        letters = draw(st.text("abCd", max_size=4))
        shape = [sizes[x] for x in letters]
        if draw(st.booleans()):
            k = draw(st.integers(0, len(letters)))
            own = rest[draw(st.integers(0, len(rest))) :]
            own = [n if draw(st.booleans()) else 1 for n in own]
            letters = f"{letters[:k]}...{letters[k:]}"
            shape[k:k] = own
        terms.append(letters)
        shapes.append(tuple(shape))
    subscripts = ",".join(terms)
    if draw(st.booleans()):
        seen = sorted(set(subscripts) - set(",."))
        kept = draw(st.permutations(seen))[: draw(st.integers(0, len(seen)))]
        kept.insert(draw(st.integers(0, len(kept))), "...")
        subscripts += "->" + "".join(kept)
    return subscripts, tuple(shapes)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(calls())
def test_any_subscripts(call: tuple[str, Shapes]) -> None:
    subscripts, shapes = call
    arrays = hosts(shapes)
    y = gl.einsum(subscripts, *map(gl.tensor, arrays)).numpy()
    np.testing.assert_allclose(
        y, np.einsum(subscripts, *arrays), rtol=1e-10, atol=1e-12
    )


@settings(max_examples=40, deadline=None, derandomize=True)
@given(calls())
def test_any_derivative(call: tuple[str, Shapes]) -> None:
    subscripts, shapes = call
    check_vjp(lambda *xs: gl.einsum(subscripts, *xs), leaves(hosts(shapes)))


# Derivatives --------------------------------------------------------------------------


@pytest.mark.parametrize("cplx", [False, True], ids=["float64", "complex128"])
@pytest.mark.parametrize(("subscripts", "shapes"), CASES[::2])
def test_derivatives(subscripts: str, shapes: Shapes, cplx: bool) -> None:
    check_vjp(
        lambda *xs: gl.einsum(subscripts, *xs),
        leaves(hosts(shapes, cplx=cplx)),
        order=2,
    )


@pytest.mark.parametrize(("subscripts", "shapes"), CASES[1::2])
def test_gradient_is_a_product_of_the_others(subscripts: str, shapes: Shapes) -> None:
    # The directional derivative of a multilinear map, without differences: for each
    # operand the map of a direction in its place.
    arrays = hosts(shapes)
    directions = hosts(tuple(reversed(shapes)))[::-1]
    xs = leaves(arrays)
    y = gl.einsum(subscripts, *xs)
    weight = np.random.default_rng(1).standard_normal(y.shape)
    grads = autograd.grad(y, xs, gl.tensor(weight))
    for i, (d, direction) in enumerate(zip(grads, directions, strict=True)):
        assert d is not None
        assert d.shape == shapes[i]
        moved = np.einsum(subscripts, *arrays[:i], direction, *arrays[i + 1 :])
        np.testing.assert_allclose(
            np.sum(d.numpy() * direction), np.sum(weight * moved), atol=1e-10
        )


def test_third_derivative() -> None:
    xs = leaves(hosts(((2, 3), (3, 2), (2,))))
    check_vjp(lambda *xs: gl.einsum("ij,ji,i->i", *xs), xs, order=3, atol=1e-4)


def test_one_tensor_in_two_places() -> None:
    (x,) = leaves(hosts(((3, 3),)))
    check_vjp(lambda x: gl.einsum("ij,jk->ik", x, x), [x], order=2)
    (d,) = autograd.grad(gl.einsum("ij,ij", x, x), x)
    assert d is not None
    np.testing.assert_allclose(d.numpy(), 2 * x.detach().numpy())


# Libraries, dtypes, memory ------------------------------------------------------------


@pytest.mark.parametrize(
    ("subscripts", "shapes"),
    [case for case in CASES if case[0] in {
        "iji->j", "iii", "i...->...i", ",i->i", "ij,ji->ij", "ij,ji", "bij,bjk->ikb",
        "...i,...i->...", "ij,ij", "a,ab,,bcc->c", "ij,jk",
    }],
)  # fmt: skip
def test_device(subscripts: str, shapes: Shapes, device: gl.Device) -> None:
    arrays = hosts(shapes)
    on_cpu, there = leaves(arrays), leaves(arrays, device)
    expected, y = gl.einsum(subscripts, *on_cpu), gl.einsum(subscripts, *there)
    assert y.device == device
    np.testing.assert_allclose(
        y.detach().cpu().numpy(), expected.detach().numpy(), atol=1e-12
    )
    gl.sum(expected * expected).backward()
    gl.sum(y * y).backward()
    for a, b in zip(on_cpu, there, strict=True):
        assert a.grad is not None
        assert b.grad is not None
        np.testing.assert_allclose(b.grad.cpu().numpy(), a.grad.numpy(), atol=1e-12)


@pytest.mark.parametrize("dtype", [gl.int8, gl.uint8, gl.int32, gl.int64])
@pytest.mark.parametrize("subscripts", ["ij->i", "ij,jk->ik", "ij,ij->ji", "ii,ij->"])
def test_integers_keep_their_dtype(
    subscripts: str, dtype: Any, device: gl.Device
) -> None:
    x = np.arange(9).reshape(3, 3).astype(dtype)
    arrays = [x] * (subscripts.count(",") + 1)
    y = gl.einsum(subscripts, *(gl.tensor(a, device=device) for a in arrays))
    assert y.dtype is dtype
    np.testing.assert_array_equal(y.cpu().numpy(), np.einsum(subscripts, *arrays))


@pytest.mark.parametrize(
    ("dtypes", "expected"),
    [
        ((gl.int8, gl.int32), gl.int32),
        ((gl.int8, gl.float32), gl.float32),
        ((gl.bool, gl.float32), gl.float32),
        ((gl.float32, gl.complex64), gl.complex64),
        ((gl.float32, gl.float64), gl.float64),
        ((gl.float16, gl.float16), gl.float16),
    ],
)
def test_the_common_dtype_comes_before_the_first_sum(
    dtypes: tuple[Any, Any], expected: Any
) -> None:
    x = gl.full((2, 100), 1 if dtypes[0] is gl.bool else 100, dtype=dtypes[0])
    y = gl.einsum("ij,k->ik", x, gl.ones(1, dtype=dtypes[1]))
    assert y.dtype is expected
    total = 100 if dtypes[0] is gl.bool else 10_000  # more than an int8 can hold
    np.testing.assert_array_equal(y.numpy(), np.full((2, 1), total, expected))


def test_each_operand_gets_a_gradient_of_its_dtype() -> None:
    x = gl.ones((2, 3), dtype=gl.float32, requires_grad=True)
    y = gl.ones(3, dtype=gl.float64, requires_grad=True)
    gl.einsum("ij,j->", x, y).backward()
    assert x.grad is not None
    assert y.grad is not None
    assert x.grad.dtype is gl.float32
    assert y.grad.dtype is gl.float64


@pytest.mark.parametrize("subscripts", ["ij", "ij->ji", "ii->i"])
def test_a_view_where_nothing_is_computed(subscripts: str) -> None:
    x = gl.tensor(np.zeros((3, 3)))
    y = gl.einsum(subscripts, x)
    assert y is not x
    x[0, 0] = 7.0
    assert gl.max(y).item() == 7


def test_arrays_are_welcome_and_may_change_later() -> None:
    x = gl.tensor([1.0, 2.0], requires_grad=True)
    array = np.asarray([3.0, 4.0], np.float32)
    y = gl.einsum("i,i", x, array)
    array[:] = 0
    y.backward()
    assert x.grad is not None
    np.testing.assert_array_equal(x.grad.numpy(), [3, 4])
    assert isinstance(gl.einsum("i,i", array, array), gl.Tensor)


@pytest.mark.parametrize("subscripts", ["ij,kl->kl", "kl,ij->kl"])
def test_what_one_operand_has_alone_is_summed_first(subscripts: str) -> None:
    x = gl.ones((1000, 1000))  # 10**12 products, if all were made
    y = gl.einsum(subscripts, x, x)
    assert gl.all(y == 1e6)


@pytest.mark.parametrize(
    "subscripts", ["ij,jk->ik", "ji,kj->ik", "bij,bjk->bik", "...ij,...jk->...ik"]
)
def test_matrix_products_are_left_to_matmul(subscripts: str) -> None:
    ndim = 3 if subscripts[0] in "b." else 2
    x = gl.ones((2,) * ndim, requires_grad=True)
    y = gl.einsum(subscripts, x, x)
    assert y.grad_fn is not None
    assert "matmul" in y.grad_fn.name


def test_shapes_of_one_call_do_not_stick_to_the_next() -> None:
    for n in (2, 3, 1, 2):
        x = np.arange(4.0 * n).reshape(n, 4)
        np.testing.assert_array_equal(
            gl.einsum("ij,kj->ik", x, x).numpy(), x @ x.T, strict=True
        )


def test_one_object_under_two_names() -> None:
    assert gl.einsum is ops.einsum


# What is refused ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("subscripts", "shapes", "message"),
    [
        ("i1", ((2, 2),), "got 'i1' in 'i1'"),
        ("i.j", ((2, 2),), "got 'i.j'"),
        ("....", ((2,),), r"got '\.\.\.\.'"),
        ("...i...", ((2,),), "at most one"),
        ("i>j", ((2,),), "got 'i>j'"),
        ("i->i->i", ((2,),), "got 'i->i'"),
        ("i->i,i", ((2,),), "got 'i,i'"),
        ("ij-", ((2, 2),), "got 'ij-'"),
        ("i,j", ((2,),), "each of 1 operands, got 2 in 'i,j'"),
        ("i", ((2,), (2,)), "each of 2 operands, got 1 in 'i'"),
        ("i", ((2, 3),), r"operand 0, of shape \(2, 3\), or '...' .* got 'i'"),
        ("i,jkl", ((2,), (2, 3)), r"operand 1, of shape \(2, 3\)"),
        ("ij...", ((2,),), "got 'ij...'"),
        ("", ((2,),), "got '' in ''"),
        ("i->j", ((2,),), "got 'j' in 'j'"),
        ("ij->iij", ((2, 2),), "each once, got 'i' in 'iij'"),
        ("...i->i", ((2, 3),), "must have the '...'"),
        ("...->", ((2, 3),), r"sum\(\)"),
        ("ii", ((2, 3),), r"operand 0 .* size 2 for 'i', got shape \(2, 3\)"),
        ("ii", ((1, 3),), r"size 1 for 'i', got shape \(1, 3\)"),
        ("ii", ((3, 1),), r"size 3 for 'i', got shape \(3, 1\)"),
        ("i,ii", ((3,), (1, 3)), r"operand 1 .* size 3 for 'i', got shape \(1, 3\)"),
        ("ij,jk", ((2, 3), (4, 5)), r"operand 1 .* size 3 for 'j', got shape \(4, 5\)"),
        ("i,i,i", ((2,), (1,), (3,)), r"operand 2 .* size 2 for 'i'"),
        ("i,i", ((0,), (2,)), "size 0 for 'i'"),
        ("...,...", ((2, 3), (4, 3)), r"size 2 for '\.\.\.\[-2\]'"),
    ],
)
def test_refused_subscripts(subscripts: str, shapes: Shapes, message: str) -> None:
    operands = [gl.zeros(shape) for shape in shapes]
    with pytest.raises(ValueError, match=message):
        gl.einsum(subscripts, *operands)
    with pytest.raises(ValueError, match=r"operand|subscript"):  # NumPy refuses it too
        np.einsum(subscripts, *(x.numpy() for x in operands))


def test_refused_operands() -> None:
    x: Any = gl.ones(2)
    with pytest.raises(TypeError, match=r"subscripts must be text .* got gradlite"):
        gl.einsum(x, x)
    with pytest.raises(ValueError, match="at least one tensor, got none"):
        gl.einsum("i")
    values: Any = [1.0, 2.0]
    with pytest.raises(TypeError, match=r"operand 1 of einsum .* got list"):
        gl.einsum("i,i", x, values)
    with pytest.raises(TypeError, match=r"got bool; use \.astype"):
        gl.einsum("i->", x > 0)


def test_two_devices_are_refused() -> None:
    there = gl.ones(2, device="array_api_strict")
    with pytest.raises(gl.DeviceMismatchError, match="einsum got tensors on"):
        gl.einsum("i,i", gl.ones(2), there)
