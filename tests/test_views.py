"""Writes into views and into what has views, where a gradient is recorded.

The reference is NumPy: the same program on arrays gives the values, and differences of
its result give the gradient. `test_random_graphs.py` has random programs of this kind.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any

import array_api_compat.numpy as xnp
import numpy as np
import pytest

import gradlite as gl
from gradlite import autograd, nn

X = np.linspace(-1.0, 1.3, 6).reshape(2, 3)
WEIGHTS = np.cos(np.arange(64.0))


@pytest.fixture(autouse=True)
def _float64() -> None:
    gl.set_default_dtype(gl.float64)


def differences(function: Callable[[Any], float], x: Any, step: float = 1e-6) -> Any:
    gradient = np.zeros_like(x)
    for i in np.ndindex(*x.shape):
        e = np.zeros_like(x)
        e[i] = step
        gradient[i] = (function(x + e) - function(x - e)) / (2 * step)
    return gradient


def assert_like_numpy(program: Callable[[Any, Any], Any]) -> None:
    """Compare the value and the gradient of `program(xp, x)` with those on arrays."""
    function = autograd.value_and_grad(lambda t: program(gl, t * 1.0))
    value, gradient = function(gl.asarray(X))
    np.testing.assert_allclose(value.item(), program(xnp, X * 1.0), rtol=1e-12)
    expected = differences(lambda x: program(xnp, x * 1.0), X)
    np.testing.assert_allclose(gradient.numpy(), expected, rtol=2e-6, atol=2e-6)


def total(xp: Any, *arrays: Any) -> Any:
    """Return a number that depends on each element of all arrays differently."""
    result = 0.0
    for k, a in enumerate(arrays):
        weights = np.reshape(WEIGHTS[k : k + a.size], a.shape)
        weights = weights if xp is xnp else gl.asarray(weights)
        result = result + xp.sum(a * a * weights + a * weights)
    return result


# Each kind of view

VIEWS: dict[str, Callable[[Any, Any], Any]] = {
    "row": lambda xp, x: x[0],
    "element": lambda xp, x: x[1, 2, ...],
    "slices": lambda xp, x: x[:, ::-2],
    "new axis": lambda xp, x: x[None, ..., 1:],
    "reshape": lambda xp, x: xp.reshape(x, (3, 2)),
    "flat": lambda xp, x: xp.reshape(x, (-1,)),
    "permute_dims": lambda xp, x: xp.permute_dims(x, (1, 0)),
    "matrix_transpose": lambda xp, x: xp.matrix_transpose(x),
    "T": lambda xp, x: x.T,
    "moveaxis": lambda xp, x: xp.moveaxis(x, 0, -1),
    "expand_dims": lambda xp, x: xp.expand_dims(x, axis=(0, 2)),
    "squeeze": lambda xp, x: xp.squeeze(x[:1], axis=0),
    "flip": lambda xp, x: xp.flip(x, axis=1),
    "flip all": lambda xp, x: xp.flip(x),
    "unstack": lambda xp, x: xp.unstack(x, axis=1)[2],
    "iteration": lambda xp, x: list(x)[1],
    "astype": lambda xp, x: xp.astype(x, xp.float64, copy=False),
    "real of real": lambda xp, x: xp.real(x),
    "view of a view of a view": lambda xp, x: xp.flip(x[:, 1:].T, axis=0)[0],
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_write_into_a_view_reaches_its_base(name: str) -> None:
    def program(xp: Any, x: Any) -> Any:
        view = VIEWS[name](xp, x)
        view *= 3.0
        view[...] = view * view + x[0, 1]
        return total(xp, x, view)

    assert_like_numpy(program)


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_follows_a_write_into_its_base(name: str) -> None:
    def program(xp: Any, x: Any) -> Any:
        view = VIEWS[name](xp, x)
        x *= x
        x[0, 1:] = x[1, :2]
        return total(xp, x, view)

    assert_like_numpy(program)


@pytest.mark.parametrize("name", VIEWS)
def test_views_follow_each_other(name: str) -> None:
    def program(xp: Any, x: Any) -> Any:
        rows = [x[0], x[1]]
        view = VIEWS[name](xp, x)
        other = VIEWS[name](xp, x)
        view += 1.0
        rows[0] *= 2.0
        rows[1][1:] = rows[0][:2]
        return total(xp, x, view, other, *rows)

    assert_like_numpy(program)


@pytest.mark.parametrize("part", ["real", "imag"])
def test_parts_of_complex_numbers_are_views(part: str) -> None:
    def program(xp: Any, x: Any) -> Any:
        z = x + 1j * x * x
        y = getattr(xp, part)(z)
        y *= x[0, 1]
        z[1] *= 2.0
        return total(xp, xp.real(z), xp.imag(z), y)

    assert_like_numpy(program)


def test_a_constant_that_takes_up_a_recorded_value_and_its_views() -> None:
    def program(xp: Any, x: Any) -> Any:
        constant = xp.zeros((2, 3), dtype=xp.float64)
        row, column = constant[0], constant.T[1]
        constant[0, :] = x[1]
        column *= 2.0
        row[2] = column[0] * x[0, 0]
        return total(xp, constant, row, column)

    assert_like_numpy(program)


def test_a_write_through_a_view_of_a_constant() -> None:
    def program(xp: Any, x: Any) -> Any:
        constant = xp.ones((2, 3), dtype=xp.float64)
        constant[0][:2] += x[1, :2]
        for row in xp.unstack(constant):
            row *= x[0]
        return total(xp, constant)

    assert_like_numpy(program)


def test_masks_and_integers_in_a_view() -> None:
    def program(xp: Any, x: Any) -> Any:
        row = x[1]
        mask = xp.asarray(np.array([True, False, True]))
        row[mask] = x[0][mask] * 2.0
        x.T[xp.asarray(np.array([2, 0]))] += 1.0
        return total(xp, x, row)

    assert_like_numpy(program)


def test_elements_are_exchanged_as_in_numpy() -> None:
    def program(xp: Any, x: Any) -> Any:
        first = xp.asarray(x[0], copy=True)
        x[0], x[1] = x[1], first
        return total(xp, x)

    assert_like_numpy(program)


def test_memory_stays_in_its_order_where_there_are_no_views_yet() -> None:
    def program(xp: Any, x: Any) -> Any:
        columns = xp.permute_dims(x, (1, 0)) + 0.0
        columns += xp.reshape(x, (3, 2)) + 0.0  # a sum of both would be in rows
        flat = xp.reshape(columns.T, (-1,))
        flat *= 2.0
        return total(xp, columns, flat)

    assert_like_numpy(program)


def test_derivatives_of_second_order() -> None:
    def program(t: gl.Tensor) -> gl.Tensor:
        t = t * 1.0
        row = t[0]
        row *= row
        t.T[1] = row[:2] * t[1, 2]
        return gl.sum(t * t * t)

    def plain(x: Any) -> Any:
        x = x * 1.0
        row = x[0]
        row *= row
        x.T[1] = row[:2] * x[1, 2]
        return np.sum(x * x * x)

    hessian = autograd.hessian(program)(X)
    size = X.size
    expected = np.zeros((size, size))
    for i in range(size):
        for j in range(size):
            e, f = np.zeros(size), np.zeros(size)
            e[i] = f[j] = 1e-4
            e, f = e.reshape(X.shape), f.reshape(X.shape)
            expected[i, j] = (
                plain(X + e + f)
                - plain(X + e - f)
                - plain(X - e + f)
                + plain(X - e - f)
            ) / 4e-8
    np.testing.assert_allclose(hessian.reshape(size, size), expected, atol=1e-5)


def test_every_library(device: gl.Device) -> None:
    x = gl.asarray(X, dtype=gl.float32, device=device).requires_grad_()
    y = x * 1.0
    column = y[:, 1]
    y[0] += 2.0
    column *= y[:, 0]
    gl.sum(y * y + column[0]).backward()

    def plain(x: Any) -> float:
        y = x * 1.0
        column = y[:, 1]
        y[0] += 2.0
        column *= y[:, 0]
        return float(np.sum(y * y + column[0]))

    np.testing.assert_allclose(
        x.grad.cpu().numpy(), differences(plain, X), rtol=1e-5, atol=1e-5
    )


# What is refused, and what goes its own way


def leaf() -> gl.Tensor:
    return gl.asarray(X, copy=True).requires_grad_()


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_of_a_leaf_is_not_written_to(name: str) -> None:
    x = leaf()
    view = VIEWS[name](gl, x)
    with pytest.raises(RuntimeError, match="or a view of one"):
        view += 1.0
    with pytest.raises(RuntimeError, match="or a view of one"):
        view[...] = 1.0
    assert np.array_equal(x.detach().numpy(), X)
    with gl.no_grad():
        view[...] = 1.0  # as in the storage of the leaf itself
    assert (x.detach().numpy() == 1.0).any()


@pytest.mark.parametrize(
    "make", [lambda x: gl.broadcast_to(x, (4, 2, 3)), gl.linalg.diagonal]
)
def test_a_read_only_view_stays_so(make: Callable[[Any], gl.Tensor]) -> None:
    x = leaf() * 1.0
    view = make(x)
    before = view.detach().numpy().copy()
    with pytest.raises(ValueError, match=r"read-only view .* clone\(\)"):
        view[0] = 1.0
    with pytest.raises(ValueError, match="read-only"):
        view[0][...] = 1.0
    with pytest.raises(ValueError, match="read-only"):
        view += 1.0
    assert np.array_equal(view.detach().numpy(), before)
    assert np.array_equal(x.detach().numpy(), X)
    constant = make(gl.asarray(X))
    with pytest.raises(ValueError, match="read-only"):
        constant[0] = 1.0


def test_a_copy_of_a_view_is_its_own() -> None:
    x = leaf() * 1.0
    copies = [x[0].clone(), gl.asarray(x[0], copy=True), x[0] + 0.0, x[[0]]]
    for copy in copies:
        copy += 1.0
    assert np.array_equal(x.detach().numpy(), X)
    x += 1.0
    assert np.array_equal(copies[0].detach().numpy(), X[0] + 1.0)


def test_what_was_detached_or_made_without_the_graph_keeps_the_old_value() -> None:
    x = leaf() * 1.0
    with gl.no_grad():
        outside = x[0]
    apart, of_it = x.detach(), x.detach()[0]
    x[0] = 7.0
    for kept in (outside, apart[0], of_it):
        assert np.array_equal(kept.numpy(), X[0])


def test_a_view_that_became_a_leaf_goes_its_own_way() -> None:
    base = gl.zeros(3)
    view = base[:2].requires_grad_()
    base[0] = leaf()[0, 0]
    assert view.is_leaf
    assert view.tolist() == [0.0, 0.0]
    part = view * 1.0
    part += 1.0
    gl.sum(part).backward()
    assert view.grad.tolist() == [1.0, 1.0]


def test_what_was_a_leaf_meanwhile_is_no_view_again() -> None:
    base = gl.zeros(3)
    view = base[:2].requires_grad_()
    base[0] = leaf()[0, 0]
    view.requires_grad_(False)
    view[1] = leaf()[0, 1]
    assert view.tolist() == [0.0, X[0, 1]]
    assert base.tolist() == [X[0, 0], 0.0, 0.0]


def test_a_new_value_lies_in_memory_in_the_order_of_the_old_one() -> None:
    x = leaf() * 1.0
    flat, columns = gl.reshape(x, (-1,)), x.T
    columns += gl.ones((3, 2))  # whose transpose has no flat view
    with gl.no_grad():
        flat[1] = 9.0
    assert x[0, 1].item() == columns[1, 0].item() == 9.0


def test_a_tensor_whose_data_was_replaced_is_no_view() -> None:
    base = gl.zeros(3)
    view = base[:2]
    view.data = gl.ones(2)
    view[0] = leaf()[0, 0]
    assert base.tolist() == [0.0, 0.0, 0.0]
    base[1] = leaf()[0, 0]
    assert view.tolist() == [X[0, 0], 1.0]

    base = gl.zeros(3)
    view = base[:2]
    base.data = gl.ones(3)
    view[0] = leaf()[0, 0]
    assert base.tolist() == [1.0, 1.0, 1.0]


def test_the_graph_keeps_the_values_that_it_saved() -> None:
    x = leaf()
    y = x * 1.0
    row = y[0]
    z = y * y + 0.0 * gl.sum(row * row)
    row[...] = 100.0
    gl.sum(z).backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * X)


def test_a_gradient_that_is_retained_is_that_of_the_new_value() -> None:
    y = leaf() * 1.0
    row = y[0]
    row.retain_grad()
    y *= 3.0
    gl.sum(row * row).backward()
    np.testing.assert_allclose(row.grad.numpy(), 6 * X[0])


def test_a_failed_write_changes_nothing() -> None:
    y = leaf() * 1.0
    row, flat = y[0], gl.reshape(y, (-1,))
    for write in (
        lambda: row.__setitem__(slice(0, 2), gl.ones(5)),
        lambda: row.__iadd__(gl.ones((4, 3))),
        lambda: row.__iadd__(1j * gl.ones(3)),
        lambda: flat.__setitem__(17, 1.0),
    ):
        with pytest.raises((ValueError, TypeError, IndexError)):
            write()
    for tensor, expected in ((y, X), (row, X[0]), (flat, X.reshape(-1))):
        assert np.array_equal(tensor.detach().numpy(), expected)
    flat[0] = 9.0
    assert row[0].item() == y[0, 0].item() == 9.0


@pytest.mark.usefixtures("no_collector")
def test_views_are_freed_with_their_last_reference() -> None:
    y = leaf() * 1.0
    view = y[0]
    gone = weakref.ref(view)
    del view
    assert gone() is None
    view, base = y[1], weakref.ref(y)
    view += 1.0
    del y, view
    assert base() is None


def test_many_views_leave_little_behind() -> None:
    y = leaf() * 1.0
    kept = y[0]
    for _ in range(5000):
        y[1]
    assert len(y._version.views) < 100
    y += 1.0
    np.testing.assert_allclose(kept.detach().numpy(), X[0] + 1.0)


def test_views_made_by_threads_at_once_all_follow() -> None:
    y = gl.zeros(64)
    kept: list[list[gl.Tensor]] = [[] for _ in range(4)]
    start = threading.Barrier(4)

    def make(found: list[gl.Tensor]) -> None:
        start.wait()
        for i in range(400):
            view = y[i % 64 : i % 64 + 1]
            if i % 16 == 0:
                found.append(view)

    threads = [threading.Thread(target=make, args=(found,)) for found in kept]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    y[...] = gl.ones(64, requires_grad=True) * 2.0
    assert all(view.item() == 2.0 for found in kept for view in found)


def test_a_module_that_writes_into_a_part_of_its_input() -> None:
    class Gate(nn.Module):
        def forward(self, x: gl.Tensor) -> gl.Tensor:
            x = x + 0.0
            left, right = x[:, :2], x[:, 2:]
            left *= gl.sigmoid(right)
            return x

    x = gl.asarray(np.linspace(-1.0, 1.0, 12).reshape(3, 4)).requires_grad_()
    assert autograd.gradcheck(Gate(), [x])


@pytest.mark.parametrize("part", ["real", "imag"])
def test_infinity_in_one_part_of_a_complex_number_leaves_the_other(part: str) -> None:
    z = gl.asarray(np.array([complex(1.0, np.inf), complex(np.inf, 2.0)]))
    expected = z.numpy().copy()
    getattr(expected, part)[...] = [np.inf, 3.0]
    view = getattr(gl, part)(z)
    view[...] = gl.tensor([np.inf, 3.0], requires_grad=True)
    assert np.array_equal(z.detach().numpy(), expected)


def test_a_transposed_view_of_itself_as_new_data() -> None:
    base = gl.zeros((2, 3))
    row = base[0]
    base.data = base.data.T
    base[...] = gl.ones((3, 2), requires_grad=True) * 2.0
    assert row.tolist() == [0.0, 0.0, 0.0]

    base = gl.zeros((2, 2))
    row = base[0]
    row.data = base.data
    base[...] = gl.ones((2, 2), requires_grad=True) * 2.0
    assert row.tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_a_view_that_a_function_returns_is_a_value_of_its_own() -> None:
    class First(autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: gl.Tensor) -> gl.Tensor:
            return x[0]

        @staticmethod
        def backward(ctx: Any, g: gl.Tensor) -> gl.Tensor:
            return gl.stack([g, 0.0 * g])

    y = leaf() * 1.0
    row = First.apply(y)
    with gl.no_grad():
        row[...] = 5.0
    assert np.array_equal(y.detach().numpy(), X)


def test_the_elements_of_a_vector_are_views(device: gl.Device) -> None:
    for requires_grad in (False, True):
        x = gl.zeros(3, device=device, requires_grad=requires_grad) * 1.0
        for element in x:
            element += 1.0
        assert x.tolist() == [1.0, 1.0, 1.0]


def test_a_part_of_a_constant_is_written_over_another(device: gl.Device) -> None:
    x = gl.asarray(np.arange(4.0), dtype=gl.float32, device=device)
    x[1:] = x[:-1]
    assert x.tolist() == [0.0, 0.0, 1.0, 2.0]


@pytest.mark.parametrize("value", [1j, gl.asarray([1j, 2j, 3j])])
def test_a_complex_value_is_refused_by_what_is_real(value: Any) -> None:
    y = leaf() * 1.0
    with pytest.raises(TypeError, match=r"value is complex .* write gl.real\(value\)"):
        y[0] = value
    assert np.array_equal(y.detach().numpy(), X)


@pytest.mark.usefixtures("no_collector")
def test_views_made_without_recording_keep_nothing_alive() -> None:
    base = gl.zeros(3)
    gone = weakref.ref(base)
    with gl.no_grad():
        view = base[1:]
        del base
    assert gone() is None
    assert view.tolist() == [0.0, 0.0]


def test_views_of_a_tensor_that_becomes_a_leaf_are_computed_from_it() -> None:
    flat = gl.asarray(X.reshape(-1), copy=True)
    weight, bias = gl.reshape(flat[:4], (2, 2)), flat[4:]
    flat.requires_grad_()
    gl.sum(weight * weight + bias).backward()
    np.testing.assert_allclose(flat.grad.numpy(), [*(2 * X.reshape(-1)[:4]), 2, 2])
    with pytest.raises(RuntimeError, match="or a view of one"):
        weight[0] = 5.0
