"""Reading and writing by keys, against NumPy: `x[key]`, `x[key] = v`, and the takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, basic_indices

import gradlite as gl
from gradlite import autograd
from gradlite.autograd import check_vjp

SHAPE = (4, 5, 3)
MASK = np.arange(60).reshape(SHAPE) % 3 == 1
ROWS = np.asarray([True, False, True, True])

KEYS: dict[str, Any] = {
    "int": 2,
    "negative int": -1,
    "NumPy int": np.int64(1),
    "all ints": (1, -2, 0),
    "slice": slice(1, 3),
    "negative step": slice(None, None, -1),
    "negative step and bounds": (slice(3, 0, -2), slice(-1, -6, -3)),
    "empty slice": slice(2, 2),
    "past the end": slice(2, 99),
    "None": None,
    "Ellipsis": ...,
    "empty tuple": (),
    "int, None, slice": (1, None, slice(None, None, 2)),
    "Ellipsis in the middle": (slice(1, None), ..., -1),
    "None at the end": (..., None),
    "mask of all": MASK,
    "mask of rows": ROWS,
    "mask that is false": np.zeros(4, dtype=bool),
    "mask and slice": (ROWS, slice(None, None, 2)),
    "slice and mask": (slice(1, 3), np.asarray([True, False, True, False, True])),
    "integers": np.asarray([2, 0]),
    "repeated integers": np.asarray([1, 1, -3, 1]),
    "list": [3, -1, 3],
    "matrix of integers": np.asarray([[0, 1], [1, 0]]),
    "no integers": np.asarray([], dtype=int),
    "pair of integers": (np.asarray([0, 0, 3]), np.asarray([1, 1, -1])),
    "broadcasting pair": (np.asarray([[0], [2]]), np.asarray([1, 1, 4])),
    "integers and int": (np.asarray([1, 1]), 2),
    "int and integers apart": (0, slice(None), np.asarray([2, 2])),
    "integers and slice": (slice(None, None, -2), np.asarray([0, 0, 4])),
    "integers, None, Ellipsis": (np.asarray([1, 0, 1]), None, ..., 0),
    "mask and integers": (ROWS, np.asarray([0, 4, 0])),
    "int and integers": (1, np.asarray([0, 4, 0])),
    "integers, int, integers": (np.asarray([0, 3]), 2, np.asarray([1, 1])),
    "matrix and int": (np.asarray([[0, 1], [3, 3]]), -1, ...),
    "mask of two axes": MASK[:, :, 0],
    "mask of the last axes": (..., MASK[0]),
    "mask of rows and int": (ROWS, 1),
    "True": True,
    "False": False,
    "0-D mask": np.asarray(True),
    "0-D integer": np.asarray(2),
    "nested lists": [[0, 1], [3, 3]],
    "list of bools": [True, False, True, False],
    "int32": np.asarray([1, 3], dtype=np.int32),
}
each_key = pytest.mark.parametrize("key", KEYS.values(), ids=KEYS.keys())


def _array(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).standard_normal(shape)


def _on(key: Any, device: gl.Device) -> Any:
    """Return a key with its arrays as tensors on a device."""
    if isinstance(key, tuple):
        return tuple(_on(part, device) for part in key)
    return gl.tensor(key, device=device) if isinstance(key, np.ndarray) else key


def _host(x: gl.Tensor) -> np.ndarray[Any, Any]:
    return x.detach().cpu().numpy()


@each_key
def test_reading(key: Any, device: gl.Device) -> None:
    x = gl.tensor(_array(*SHAPE), device=device, requires_grad=True)
    y = x[_on(key, device)]
    np.testing.assert_array_equal(_host(y), _array(*SHAPE)[key])
    weights = _array(*y.shape, seed=1)
    y.backward(gl.tensor(weights, device=device))
    expected = np.zeros(SHAPE)
    np.add.at(expected, key, weights)
    assert x.grad is not None
    np.testing.assert_allclose(_host(x.grad), expected, atol=1e-15)


@each_key
def test_derivatives_of_reading(key: Any) -> None:
    x = gl.tensor(_array(*SHAPE), requires_grad=True)
    check_vjp(lambda x: gl.sin(x[key]), [x], order=2)


@pytest.mark.parametrize("key", [[2, 0], np.asarray([2, 0]), gl.tensor([2, 0])])
def test_indices_of_any_kind(key: Any) -> None:
    x = gl.tensor(_array(*SHAPE))
    np.testing.assert_array_equal(_host(x[key]), _array(*SHAPE)[[2, 0]])


def test_basic_keys_share_memory() -> None:
    x = gl.zeros((3, 2))
    x[1][0] = 5.0
    assert x.tolist() == [[0, 0], [5, 0], [0, 0]]
    x[[1]][0] = 7.0  # an integer array copies
    assert x.tolist() == [[0, 0], [5, 0], [0, 0]]


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.data())
def test_basic_keys(data: st.DataObject) -> None:
    shape = data.draw(array_shapes(max_dims=4, max_side=4))
    key = data.draw(basic_indices(shape, allow_newaxis=True))
    x = gl.tensor(_array(*shape), requires_grad=True)
    y = x[key]
    np.testing.assert_array_equal(_host(y), _array(*shape)[key])
    y.backward(gl.ones_like(y))
    expected = np.zeros(shape)
    expected[key] += 1
    assert x.grad is not None
    np.testing.assert_array_equal(_host(x.grad), expected)


# Writing


@each_key
def test_writing_a_constant(key: Any, device: gl.Device) -> None:
    expected = _array(*SHAPE)
    x = gl.tensor(expected, device=device)
    value = _array(*expected[key].shape, seed=1)
    x[_on(key, device)] = gl.tensor(value, device=device)
    expected[key] = value
    np.testing.assert_array_equal(_host(x), expected)
    x[_on(key, device)] = 2
    expected[key] = 2
    np.testing.assert_array_equal(_host(x), expected)


@each_key
def test_writing_complex_numbers(key: Any, device: gl.Device) -> None:
    value = _array(*_array(*SHAPE)[key].shape, seed=1) * (1.0 + 2.0j)
    v = gl.tensor(value, device=device, requires_grad=True)
    y = gl.zeros(SHAPE, dtype=gl.complex128, device=device)
    y[_on(key, device)] = v
    g = gl.tensor(_array(*SHAPE, seed=2) * 1.0j, device=device)
    y.backward(g)
    assert v.grad is not None
    numbers = np.full(SHAPE, -1)
    numbers[key] = np.arange(value.size).reshape(value.shape)
    counts = numbers[key] == np.arange(value.size).reshape(value.shape)
    np.testing.assert_array_equal(_host(v.grad), np.where(counts, _host(g)[key], 0.0))


@each_key
def test_writing_while_recorded(key: Any, device: gl.Device) -> None:
    """The tensor goes on as a new value, and the last of two values counts."""
    start, value = _array(*SHAPE), _array(*_array(*SHAPE)[key].shape, seed=1)
    x = gl.tensor(start, device=device, requires_grad=True)
    v = gl.tensor(value, device=device, requires_grad=True)
    y = old = x * 1.0
    y = y + 0.0
    y[_on(key, device)] = v
    expected = start.copy()
    expected[key] = value
    np.testing.assert_array_equal(_host(y), expected)
    np.testing.assert_array_equal(_host(old), start)

    weights = _array(*SHAPE, seed=2)
    y.backward(gl.tensor(weights, device=device))
    written = np.full(SHAPE, -1)  # the number of the value that is there
    written[key] = np.arange(value.size).reshape(value.shape)
    v_grad = np.zeros(value.size)
    v_grad[written[written >= 0]] = weights[written >= 0]
    assert x.grad is not None
    assert v.grad is not None
    np.testing.assert_array_equal(_host(x.grad), np.where(written < 0, weights, 0))
    np.testing.assert_array_equal(_host(v.grad), v_grad.reshape(value.shape))


@each_key
def test_derivatives_of_writing(key: Any) -> None:
    def function(x: gl.Tensor, v: gl.Tensor) -> gl.Tensor:
        y = gl.sin(x)
        y[key] = gl.exp(v)
        return y * x

    x = gl.tensor(_array(*SHAPE), requires_grad=True)
    v = gl.tensor(_array(*_array(*SHAPE)[key].shape, seed=1), requires_grad=True)
    check_vjp(function, [x, v], order=2)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (5, 1), (1, 5, 3), (1, 1, 5, 3)])
def test_written_values_broadcast(shape: tuple[int, ...]) -> None:
    x, v = gl.zeros(SHAPE) + 0.0, gl.ones(shape, requires_grad=True)
    x[1] = v
    gl.sum(x).backward()
    assert v.grad is not None
    assert v.grad.shape == shape
    assert gl.sum(v.grad).item() == 15


def test_a_tensor_that_starts_constant_is_recorded_with_its_value() -> None:
    x = gl.zeros(3)
    v = gl.tensor(2.0, requires_grad=True)
    x[1] = v * v
    assert x.requires_grad
    gl.sum(x * x).backward()
    assert v.grad is not None
    assert v.grad.item() == 4 * 2.0**3


def test_writing_casts_to_the_dtype_of_the_tensor() -> None:
    x = gl.zeros(2)
    x[0] = gl.tensor(np.asarray(0.1))
    assert x.dtype is gl.float32
    v = gl.tensor(np.asarray(0.1), requires_grad=True)
    x[1] = v
    assert x.dtype is gl.float32
    gl.sum(x).backward()
    assert v.grad is not None
    assert v.grad.dtype is gl.float64


def test_writing_keeps_no_gradient_in_integers() -> None:
    x = gl.zeros(3, dtype=gl.int64)
    v = gl.tensor(2.0, requires_grad=True)
    with pytest.raises(TypeError, match=r"value requires grad.*int64.*astype"):
        x[0] = v
    x[0] = v.detach()
    assert x.tolist() == [2, 0, 0]


def test_bounds_and_lists_may_hold_tensors() -> None:
    x, one = gl.arange(5), gl.tensor(1)
    assert x[one : gl.tensor(3)].tolist() == [1, 2]
    assert x[[one, gl.tensor(4)]].tolist() == [1, 4]


# Takes: indices that repeat, or count from the end


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("indices", [[2, 0], [1, 1, 1], [-1, 0, -3], []])
def test_take(indices: list[int], axis: int, device: gl.Device) -> None:
    x = gl.tensor(_array(*SHAPE), device=device, requires_grad=True)
    key = (slice(None),) * (axis % 3) + (np.asarray(indices, dtype=int),)
    y = gl.take(x, gl.tensor(key[-1], device=device), axis=axis)
    np.testing.assert_array_equal(_host(y), _array(*SHAPE)[key])
    weights = _array(*y.shape, seed=1)
    y.backward(gl.tensor(weights, device=device))
    expected = np.zeros(SHAPE)
    np.add.at(expected, key, weights)
    assert x.grad is not None
    np.testing.assert_allclose(_host(x.grad), expected, atol=1e-15)


@pytest.mark.parametrize("shape", [(2, 5, 3), (4, 5, 3)])
def test_take_along_axis(shape: tuple[int, ...], device: gl.Device) -> None:
    indices = np.random.default_rng(1).integers(-4, 4, shape)  # many meet
    x = gl.tensor(_array(*SHAPE), device=device, requires_grad=True)
    y = gl.take_along_axis(x, gl.tensor(indices, device=device), axis=0)
    expected = np.take_along_axis(_array(*SHAPE), indices, axis=0)
    np.testing.assert_array_equal(_host(y), expected)
    y.backward(gl.ones_like(y))
    counts = np.zeros(SHAPE)
    for place in np.ndindex(shape):
        counts[(indices[place], *place[1:])] += 1
    assert x.grad is not None
    np.testing.assert_array_equal(_host(x.grad), counts)


def test_infinities_stay_in_their_element(device: gl.Device) -> None:
    x = gl.zeros(3, device=device)
    indices = gl.tensor([0, 2, 2], device=device)
    values = gl.tensor([1.0, np.inf, 1.0], device=device)
    y = gl.index_add(x, indices, values, axis=0)
    assert y.tolist() == [1.0, 0.0, np.inf]


@pytest.mark.parametrize("axis", [0, -1])
def test_derivatives_of_index_add(axis: int) -> None:
    indices = gl.tensor([1, -1, 1])
    leaves = [gl.tensor(_array(3, 3, seed=i), requires_grad=True) for i in (0, 1)]
    check_vjp(
        lambda x, v: gl.sin(gl.index_add(x, indices, v * v, axis=axis)), leaves, order=2
    )


def test_sort_and_argsort_agree_on_the_gradient(device: gl.Device) -> None:
    x = gl.tensor(_array(3, 4), device=device, requires_grad=True)
    order = gl.argsort(x, axis=0, descending=True)
    weights = gl.tensor(_array(3, 4, seed=1), device=device)
    sorted_, taken = (
        autograd.grad(y, x, weights)[0]
        for y in (
            gl.sort(x, axis=0, descending=True),
            gl.take_along_axis(x, order, axis=0),
        )
    )
    np.testing.assert_array_equal(_host(sorted_), _host(taken))


@pytest.mark.parametrize("key", [((0, 0, 1),), ([0, 0, 1],), (np.array([0, 0, 1]),)])
def test_indices_repeated_in_any_kind_of_sequence_add_up(key: Any) -> None:
    x = gl.tensor([1.0, 2.0, 3.0], requires_grad=True)
    assert autograd.grad(x[key].sum(), x)[0].tolist() == [2.0, 1.0, 0.0]
    v = gl.tensor([4.0, 5.0, 6.0], requires_grad=True)
    y = gl.zeros(3)
    y[key] = v
    assert autograd.grad(y.sum(), v)[0].tolist() == [0.0, 1.0, 1.0]


@pytest.mark.parametrize("make", [gl.asarray, np.asarray])
def test_bounds_of_a_slice_are_read_at_once(make: Any) -> None:
    x = gl.tensor([1.0, 2.0, 3.0], requires_grad=True)
    n, m = make(0), make(2)
    y = x[n:m] * gl.tensor([1.0, 10.0])
    n += 1
    m += 1
    assert autograd.grad(y.sum(), x)[0].tolist() == [1.0, 10.0, 0.0]


def test_complex_elements_go_into_a_narrower_complex_tensor() -> None:
    x = gl.zeros(2, dtype=gl.complex64)
    x[0] = gl.full((), 1j, dtype=gl.complex128)
    x += gl.ones(2, dtype=gl.complex128)
    assert x.dtype is gl.complex64
    assert x.tolist() == [1 + 1j, 1]
