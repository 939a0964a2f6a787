"""All operations: values against NumPy, derivatives against differences.

`op_cases.py` and the files named after it have the table; the files beside this one
have what a table cannot say: hard points, dtypes, keys and errors.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes
from op_cases import CASES as PLAIN
from op_cases import Case, Host, is_floating
from op_cases_fft import TRANSFORMS
from op_cases_linalg import LINALG
from op_cases_namespace import NAMESPACE
from op_cases_special import SPECIAL
from op_cases_windows import WINDOWS

import gradlite as gl
from gradlite import autograd
from gradlite.autograd import REGISTRY, check_vjp

CASES = [*PLAIN, *TRANSFORMS, *LINALG, *NAMESPACE, *SPECIAL, *WINDOWS]
DIFFERENTIABLE = [case for case in CASES if case.is_differentiable and case.order]
# Arrays of no or one element behave alike on all devices: once is enough for them.
LARGE = [
    case
    for case in DIFFERENTIABLE
    if all(x.size > 1 for x in case.arrays() if isinstance(x, np.ndarray))
]
SEVERAL = [
    case
    for case in LARGE
    if "f" in case.kinds and sum(map(is_floating, case.arrays())) > 1
]


def _each(cases: Iterable[Case]) -> pytest.MarkDecorator:
    parameters = [
        pytest.param(case, kind, id=f"{case}-{kind}")
        for case in cases
        for kind in case.kinds
    ]
    return pytest.mark.parametrize(("case", "kind"), parameters)


# Tests -------------------------------------------------------------------------------


def _host(x: gl.Tensor) -> Host:
    return x.detach().cpu().numpy()


def _tensors(arrays: Iterable[Any], device: gl.Device | str = "cpu") -> list[Any]:
    """Return arrays as tensors, floating ones as leaves; scalars as they are."""
    return [
        gl.tensor(x, device=device, requires_grad=is_floating(x))
        if isinstance(x, np.ndarray)
        else x
        for x in arrays
    ]


def _several(result: Any) -> tuple[Any, ...]:
    return result if isinstance(result, tuple) else (result,)


def _backward(result: Any) -> None:
    """Go back from all results, with cotangents that must not be written to."""
    results = [y for y in _several(result) if y.requires_grad]
    ones = [np.broadcast_to(y.dtype(1), y.shape) for y in results]
    cotangents = [
        gl.asarray(u, device=y.device) for u, y in zip(ones, results, strict=True)
    ]
    autograd.backward(results, cotangents)


def test_every_op_has_a_case() -> None:
    registered = {
        name
        for name, function in REGISTRY.items()
        if function.op.forward.__module__.startswith("gradlite.")
    }
    assert {case.op for case in CASES} == registered


@_each(CASES)
def test_value(case: Case, kind: str, device: gl.Device) -> None:
    arrays = case.arrays(kind)
    results = _several(case(*_tensors(arrays, device)))
    expected = _several(case.expected(*arrays))
    for y, z in zip(results, map(np.asarray, expected), strict=True):
        assert (y.device, y.shape, y.dtype) == (device, z.shape, z.dtype.type)
        tolerance = 1e-6 if y.dtype is gl.float32 else 1e-12
        np.testing.assert_allclose(_host(y), z, rtol=tolerance, atol=tolerance)


@_each(DIFFERENTIABLE)
def test_derivatives(case: Case, kind: str) -> None:
    """SEED: the gradients of sum(axis), max and cat were wrong."""
    check_vjp(case, _tensors(case.arrays(kind)), order=case.order)


@_each(LARGE)
def test_first_derivative(case: Case, kind: str, other_device: gl.Device) -> None:
    check_vjp(case, _tensors(case.arrays(kind), other_device))


@_each(LARGE)
def test_operands_are_not_written_to(case: Case, kind: str) -> None:
    operands = []
    for x in case.arrays(kind):
        if isinstance(x, np.ndarray):
            x.flags.writeable = False
            operands.append(gl.asarray(x).requires_grad_(is_floating(x)))
        else:
            operands.append(x)
    _backward(case(*operands))


@_each(CASES)
def test_a_write_into_shared_memory_is_noticed(
    case: Case, kind: str, device: gl.Device
) -> None:
    operands = _tensors(case.arrays(kind), device)
    tensors = [x.requires_grad_(False) for x in operands if isinstance(x, gl.Tensor)]
    before = [(_host(x).copy(), x._version.count) for x in tensors]
    for y in _several(case(*operands)):
        with contextlib.suppress(ValueError, RuntimeError):  # some are read-only
            y.zero_()
    for x, (values, count) in zip(tensors, before, strict=True):
        if not np.array_equal(_host(x), values, equal_nan=is_floating(values)):
            assert x._version.count > count


@pytest.mark.parametrize("device", ["cpu", "array_api_strict:no_float64"])
@pytest.mark.parametrize("case", [c for c in LARGE if "f" in c.kinds], ids=str)
def test_float32_stays_float32(case: Case, device: str) -> None:
    if device == "cpu":
        gl.set_default_dtype(gl.float64)  # so that a leak of the default dtype shows
    elif "dtype" in case.options:
        pytest.skip("the device has no such dtype")
    arrays = [x.astype(np.float32) if is_floating(x) else x for x in case.arrays()]
    operands = _tensors(arrays, device)
    result = case(*operands)
    if "dtype" not in case.options:
        assert {y.dtype for y in _several(result)} <= {gl.float32, gl.complex64}
    _backward(result)
    for x in operands:
        if isinstance(x, gl.Tensor) and x.grad is not None:
            assert x.grad.dtype is gl.float32


@pytest.mark.parametrize("case", SEVERAL, ids=str)
def test_gradients_have_the_dtype_of_their_operand(case: Case) -> None:
    arrays = case.arrays()
    first = next(i for i, x in enumerate(arrays) if is_floating(x))
    arrays[first] = arrays[first].astype(np.float32)
    operands = _tensors(arrays)
    result = case(*operands)
    expected = np.asarray(case.expected(*arrays))
    assert result.dtype is expected.dtype.type
    np.testing.assert_allclose(_host(result), expected, rtol=1e-6, atol=1e-6)
    _backward(result)
    for x in operands:
        if isinstance(x, gl.Tensor) and x.grad is not None:
            assert x.grad.dtype is x.dtype


# Random expressions ------------------------------------------------------------------

SMOOTH: dict[str, Callable[..., gl.Tensor]] = {
    "add": gl.add,
    "multiply": lambda x, y: gl.multiply(gl.sin(x), y),
    "divide": lambda x, y: gl.divide(x, 1.5 + gl.sin(y)),
    "logaddexp": gl.logaddexp,
    "hypot": lambda x, y: gl.hypot(x, 1.0 + gl.square(y)),
    "tanh": lambda x, y: gl.tanh(x),
    "mean": lambda x, y: gl.mean(x, axis=0, keepdims=True) if x.ndim else x,
    "softmax": lambda x, y: gl.softmax(x, axis=-1) if x.ndim else x,
    "var": lambda x, y: gl.var(x),
    "atan2": lambda x, y: gl.atan2(x, 2.0 + gl.cos(y)),
}
Steps = list[tuple[str, int, int]]
steps = st.lists(
    st.tuples(st.sampled_from(sorted(SMOOTH)), st.integers(0, 9), st.integers(0, 9)),
    min_size=1,
    max_size=6,
)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(shapes=mutually_broadcastable_shapes(num_shapes=3, max_dims=3, max_side=3),
       steps=steps, seed=st.integers(0, 99))  # fmt: skip
def test_random_expressions(shapes: Any, steps: Steps, seed: int) -> None:
    """Operands are drawn from the inputs and all earlier results, so paths meet."""

    def function(*inputs: gl.Tensor) -> gl.Tensor:
        values = list(inputs)
        for name, i, j in steps:
            values.append(SMOOTH[name](values[i % len(values)], values[-1 - j % 3]))
        return values[-1]

    rng = np.random.default_rng(seed)
    inputs = [
        gl.tensor(rng.normal(size=s), requires_grad=True) for s in shapes.input_shapes
    ]
    check_vjp(function, inputs, order=2)
