"""NumPy's functions without their layers of Python are those of array-api-compat."""

from __future__ import annotations

from typing import Any

import array_api_compat.numpy as library
import numpy as np
import pytest

from gradlite.backends import Device

xp = Device("cpu").xp

ROW = np.array([0.5, -1.0, 0.0, np.inf, np.nan], np.float32)
CUBE = np.random.default_rng(0).standard_normal((2, 3, 4))
EMPTY = np.zeros((2, 0, 3))
NUMBER = np.array(2.5)
INTS = np.arange(12, dtype=np.int8).reshape(4, 3)
BOOLS = INTS % 2 == 0
COMPLEX = CUBE + 1j
STRIDED = CUBE.transpose(2, 0, 1)[::-1, :, ::2]

Call = tuple[str, tuple[Any, ...], dict[str, Any]]


def _calls() -> list[Call]:
    each: list[Call] = []

    def add(name: str, *arguments: Any, **options: Any) -> None:
        each.append((name, arguments, options))

    arrays = [ROW, CUBE, EMPTY, NUMBER, INTS, BOOLS, COMPLEX, STRIDED]
    for x in arrays:
        add("matrix_transpose", x)
        add("flip", x)
        add("reshape", x, (-1,) if x.size else (0,))
        add("reshape", x, x.shape, copy=True)
        add("zeros_like", x)
        add("ones_like", x)
        add("full_like", x, 1)
        add("zeros_like", x, dtype=np.complex64)
        add("asarray", x, copy=True)
        add("broadcast_to", x, (5, *x.shape))
        add("broadcast_to", x, (1, *x.shape[:-1], 7))
        add("permute_dims", x, tuple(range(x.ndim))[::-1])
        for axis in (0, -1, 1, 5, -6):
            add("flip", x, axis=axis)
            add("expand_dims", x, axis=axis)
            add("roll", x, 1, axis=axis)
            add("unstack", x, axis=axis)
            add("moveaxis", x, axis, -1)
            add("moveaxis", x, 0, axis)
            add("cumulative_sum", x, axis=axis)
            add("cumulative_prod", x, axis=axis, include_initial=True)
        for shift in (-7, 0, 3):
            add("roll", x, shift, axis=0)
        add("roll", x, (1, 2), axis=(0, 0))
        add("roll", x, (1,), axis=(-1,))
        add("roll", x, 2, axis=(0, -1))
        add("roll", x, 2)
        add("cumulative_prod", x)
        add("cumulative_sum", x, axis=0, dtype=np.complex64)
        for name in ("sum", "prod"):
            add(name, x, axis=-1, keepdims=True)
            add(name, x, axis=0, dtype=np.complex128)
        for name in ("max", "min"):
            add(name, x)
            add(name, x, axis=0, keepdims=True)
        for k in (-2, 0, 1, 9) if x.ndim > 1 else ():
            add("tril", x, k=k)
            add("triu", x, k=k)
    add("flip", CUBE, axis=(0, 2))
    add("moveaxis", CUBE, (0, 1), (2, 0))
    add("broadcast_to", CUBE, (4,))
    add("broadcast_to", ROW, (0, 5))
    add("empty", (0, 2), dtype=np.int8)
    add("zeros", 3)
    add("ones", (2, 3), dtype=np.bool_)
    add("full", (2,), -0.0, dtype=np.float32)
    add("full", (2,), 7)
    places = np.array([[2, 0, -1], [0, 0, 1]])
    add("take_along_axis", INTS[:2], places, axis=1)
    add("take_along_axis", INTS, np.array([[1, -1, 0]]), axis=0)
    add("take_along_axis", INTS, places[:1], axis=-1)
    add("take_along_axis", INTS, places[:1], axis=2)
    for dtype in (np.dtype(np.int8), np.float32, np.complex64, np.dtype(bool)):
        for kind in ("bool", "integral", "real floating", ("numeric", "bool"), np.int8):
            add("isdtype", dtype, kind)
    return each


def _outcome(function: Any, arguments: Any, options: Any) -> Any:
    try:
        with np.errstate(all="ignore"):
            return function(*arguments, **options)
    except (ValueError, TypeError, IndexError) as error:
        return error


@pytest.mark.parametrize("name", sorted({name for name, _, _ in _calls()}))
def test_functions_are_those_of_the_library(name: str) -> None:
    for _, arguments, options in (call for call in _calls() if call[0] == name):
        found = _outcome(getattr(xp, name), arguments, options)
        expected = _outcome(getattr(library, name), arguments, options)
        if isinstance(expected, Exception):
            assert isinstance(found, (ValueError, TypeError, IndexError)), options
            continue
        assert not isinstance(found, Exception), (found, arguments, options)
        if isinstance(expected, bool):
            assert found is expected
            continue
        pairs = [(found, expected)]
        if isinstance(expected, tuple):
            pairs = list(zip(found, expected, strict=True))
        for x, y in pairs:
            assert (x.shape, x.dtype) == (y.shape, y.dtype)
            np.testing.assert_array_equal(x, y)
            assert np.may_share_memory(x, arguments[0]) == np.may_share_memory(
                y, arguments[0]
            )


def test_a_broadcast_view_is_read_only() -> None:
    for x in (ROW, NUMBER, STRIDED):
        y = xp.broadcast_to(x, (2, *x.shape))
        assert not y.flags.writeable
        assert np.may_share_memory(x, y)


@pytest.mark.parametrize("axis", [-1, -2, (0, 2), (1,)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_linear_algebra(axis: Any, keepdims: bool) -> None:
    for x in (CUBE, COMPLEX):
        options = {"axis": axis, "keepdims": keepdims}
        for ord in (2, 3):
            np.testing.assert_allclose(
                xp.linalg.vector_norm(x, ord=ord, **options),
                library.linalg.vector_norm(x, ord=ord, **options),
                rtol=1e-14,
            )


@pytest.mark.parametrize("axis", [-1, -2, -3])
def test_cross(axis: int) -> None:
    rng = np.random.default_rng(1)
    for size in (3, 300):  # the way of small arrays, and that of large ones
        x, y = rng.standard_normal((2, size, 3, 3, 3))
        np.testing.assert_array_equal(
            xp.linalg.cross(x, y, axis=axis), np.linalg.cross(x, y, axis=axis)
        )


def test_negative_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"negative|broadcast"):
        xp.broadcast_to(np.ones(3), (-1, 3))


def test_arrays_like_others_are_like_them_in_memory() -> None:
    x = np.ones((3, 4), np.float32).T
    for function in ("zeros_like", "ones_like"):
        y = getattr(xp, function)(x)
        assert (y.strides, y.dtype) == (x.strides, x.dtype)
    assert xp.full_like(x, 2.0).strides == x.strides
