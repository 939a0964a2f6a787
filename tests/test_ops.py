"""All operations: values against NumPy, derivatives against differences.

`op_cases.py` and the files named after it have the table; the files beside this one
have what a table cannot say: hard points, dtypes, keys, errors and random programs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from op_cases import CASES as PLAIN
from op_cases import KINDS, Case, Host, is_floating
from op_cases_arrangement import ARRANGEMENT
from op_cases_fft import TRANSFORMS
from op_cases_linalg import LINALG
from op_cases_namespace import NAMESPACE
from op_cases_special import SPECIAL
from op_cases_windows import WINDOWS

import gradlite as gl
from gradlite import autograd
from gradlite.autograd import REGISTRY, check_vjp

CASES = [
    *PLAIN, *ARRANGEMENT, *TRANSFORMS, *LINALG, *NAMESPACE, *SPECIAL, *WINDOWS
]  # fmt: skip
DIFFERENTIABLE = [case for case in CASES if case.is_differentiable and case.order]
# Arrays of no or one element behave alike on all devices: once is enough for them.
LARGE = [
    case
    for case in DIFFERENTIABLE
    if all(x.size > 1 for x in case.arrays() if isinstance(x, np.ndarray))
]
SEVERAL = [case for case in LARGE if sum(map(is_floating, case.arrays())) > 1]


def _each(cases: Iterable[Case], kinds: Iterable[str] = KINDS) -> pytest.MarkDecorator:
    parameters = [
        pytest.param(case, kind, id=f"{case}-{kind}")
        for case in cases
        for kind in case.kinds
        if kind in kinds
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
        for y, z in zip(
            _several(result), _several(case.expected(*arrays)), strict=True
        ):
            np.testing.assert_allclose(_host(y), z, rtol=1e-4, atol=1e-4)
    _backward(result)
    for x in operands:
        if isinstance(x, gl.Tensor) and x.grad is not None:
            assert x.grad.dtype is gl.float32


@_each(SEVERAL, kinds="fmn")
def test_gradients_have_the_dtype_of_their_operand(case: Case, kind: str) -> None:
    arrays = case.arrays(kind)
    if kind == "f":
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
