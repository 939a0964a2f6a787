"""gradlite as a namespace of the array API standard: what the op table cannot say.

The official suite (see CONTRIBUTING) looks at names, signatures, shapes and dtypes;
here are values and derivatives of functions made of operations, dtypes, inspection,
and the exchange of arrays with other libraries.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradlite as gl
from gradlite.autograd import check_vjp

DTYPES = gl.__array_namespace_info__().dtypes()


def _leaf(*shape: int, seed: int = 0) -> gl.Tensor:
    values = np.random.default_rng(seed).standard_normal(shape)
    return gl.tensor(values, requires_grad=True)


# Functions made of operations

COMPOSED: list[tuple[str, Callable[..., Any], Callable[..., Any], tuple[Any, ...]]] = [
    ("diff", gl.diff, np.diff, ((2, 5),)),
    ("diff along 0", lambda x: gl.diff(x, axis=0, n=2),
     lambda x: np.diff(x, axis=0, n=2), ((4, 3),)),
    ("diff of nothing", gl.diff, np.diff, ((0, 3),)),
    ("diff along nothing", lambda x: gl.diff(x, n=2), lambda x: np.diff(x, n=2),
     ((3, 0),)),
    ("diff, 0 times", lambda x: gl.diff(x, n=0), lambda x: x, ((3,),)),
    ("diff of too few", lambda x: gl.diff(x, n=4), lambda x: np.diff(x, n=4), ((3,),)),
    ("diff with ends", lambda x, a, b: gl.diff(x, n=2, prepend=a, append=b),
     lambda x, a, b: np.diff(x, n=2, prepend=a, append=b), ((2, 3), (2, 1), (2, 2))),
    ("diff with an end", lambda x, b: gl.diff(x, axis=-2, append=b),
     lambda x, b: np.diff(x, axis=-2, append=b), ((2, 3), (1, 3))),
    ("meshgrid", gl.meshgrid, np.meshgrid, ((2,), (3,), (4,))),
    ("meshgrid of rows", lambda *x: gl.meshgrid(*x, indexing="ij"),
     lambda *x: np.meshgrid(*x, indexing="ij"), ((2,), (0,), (1,))),
    ("meshgrid of one", gl.meshgrid, np.meshgrid, ((3,),)),
    ("meshgrid of a number", gl.meshgrid, np.meshgrid, ((), (2,))),
    ("broadcast_arrays", gl.broadcast_arrays, np.broadcast_arrays,
     ((2, 1), (3,), ())),
    ("broadcast_arrays of nothing", gl.broadcast_arrays, np.broadcast_arrays,
     ((0, 1), (3,))),
    ("repeat", lambda x: gl.repeat(x, 3), lambda x: np.repeat(x, 3), ((2, 2),)),
    ("repeat by counts", lambda x: gl.repeat(x, gl.tensor([2, 0, 1]), axis=1),
     lambda x: np.repeat(x, [2, 0, 1], axis=1), ((2, 3),)),
    ("repeat by one count", lambda x: gl.repeat(x, gl.tensor([2]), axis=-2),
     lambda x: np.repeat(x, [2], axis=-2), ((2, 3),)),
    ("repeat flat by counts", lambda x: gl.repeat(x, gl.tensor([1, 0, 2, 3])),
     lambda x: np.repeat(x, [1, 0, 2, 3]), ((2, 2),)),
    ("astype", lambda x: gl.astype(x, gl.complex128, device="cpu"),
     lambda x: x.astype(complex), ((3,),)),
    ("full of an element", lambda x: gl.full((2, 3), x), lambda x: np.full((2, 3), x),
     ((),)),
    ("full_like of an element", lambda x: gl.full_like(gl.ones((2, 0)), x,
     dtype=gl.float64), lambda x: np.full((2, 0), x), ((),)),
    ("asarray of tensors", lambda x, y: gl.asarray([[x, y], [y, 1.0]]),
     lambda x, y: np.asarray([[x, y], [y, 1.0]]), ((), ())),
]  # fmt: skip


@pytest.mark.parametrize(
    ("function", "reference", "shapes"),
    [c[1:] for c in COMPOSED],
    ids=[c[0] for c in COMPOSED],
)
def test_composed_functions(
    function: Callable[..., Any], reference: Callable[..., Any], shapes: Any
) -> None:
    leaves = [_leaf(*shape, seed=i) for i, shape in enumerate(shapes)]
    results, expected = (
        function(*leaves),
        reference(*(x.detach().numpy() for x in leaves)),
    )
    assert isinstance(results, tuple) == isinstance(expected, list | tuple)
    if not isinstance(results, tuple):
        results, expected = (results,), (expected,)
    for y, z in zip(results, expected, strict=True):
        assert y.dtype is z.dtype.type
        np.testing.assert_array_equal(y.detach().numpy(), z)
    check_vjp(function, leaves, order=2)


def test_functions_take_arrays() -> None:
    x, counts = np.asarray([1.0, 4.0, 9.0]), np.asarray([1, 0, 2])
    assert gl.diff(x).tolist() == [3, 5]
    assert gl.repeat(x, counts).tolist() == [1, 9, 9]
    assert gl.meshgrid(x, counts)[1].shape == (3, 3)
    assert gl.unique_values(np.asarray([2, 1, 2])).tolist() == [1, 2]
    assert gl.searchsorted(x, 5).item() == 2


def test_grids_have_memory_of_their_own() -> None:
    x = gl.tensor([1.0, 2.0])
    grid, _ = gl.meshgrid(x, x)
    grid[0, 0] = 9.0
    assert grid.tolist() == [[9, 2], [1, 2]]
    assert x.tolist() == [1, 2]


def test_unique_names_its_results() -> None:
    x = gl.tensor([[2.0, 1.0], [2.0, np.nan]])
    found = gl.unique_all(x)
    np.testing.assert_array_equal(found.values.numpy(), [1, 2, np.nan])
    assert found.indices.tolist() == [1, 0, 3]
    assert found.inverse_indices.tolist() == [[1, 0], [1, 2]]
    assert found.counts.tolist() == [1, 2, 1]
    assert gl.unique_counts(x).counts.tolist() == [1, 2, 1]
    assert gl.unique_inverse(x).inverse_indices.tolist() == [[1, 0], [1, 2]]


def test_complex_ranges() -> None:
    y = gl.linspace(0, 1 + 2j, 3)
    assert y.dtype is gl.complex64
    assert y.tolist() == [0, 0.5 + 1j, 1 + 2j]


# Values that NumPy gives otherwise than the standard

inf, nan = np.inf, np.nan
REPAIRED: list[tuple[Callable[..., gl.Tensor], tuple[Any, ...], Any]] = [
    (gl.floor_divide, (inf, 2.0), inf),
    (gl.floor_divide, (inf, -2.0), -inf),
    (gl.floor_divide, (-1.0, inf), -0.0),
    (gl.floor_divide, (1.0, -inf), -0.0),
    (gl.floor_divide, (7.0, 2.0), 3.0),
    (gl.floor_divide, (inf, inf), nan),
    (gl.expm1, (complex(-0.0, 0.0),), complex(0.0, 0.0)),
    (gl.expm1, (complex(inf, 0.0),), complex(inf, 0.0)),
    (gl.expm1, (complex(-inf, inf),), complex(-1.0, 0.0)),
    (gl.expm1, (1e-12 + 1e-12j,), 1e-12 + 1e-12j),
    (gl.tanh, (complex(inf, 2.0),), complex(1.0, 0.0)),
    (gl.tanh, (complex(-inf, -2.0),), complex(-1.0, -0.0)),
    (gl.sign, (0j,), 0j),
]


@pytest.mark.parametrize("axes", [0, 1])
@pytest.mark.parametrize(("function", "operands", "expected"), REPAIRED)
@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.filterwarnings("ignore:overflow")
def test_special_values(
    function: Callable[..., gl.Tensor], operands: Any, expected: complex, axes: int
) -> None:
    tensors = [gl.tensor(np.full((2,) * axes, x)) for x in operands]
    found = np.unique(function(*tensors).numpy()).item()
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    signs = [np.signbit([np.real(x), np.imag(x)]) for x in (found, expected)]
    assert np.isnan(expected) or np.array_equal(*signs)


# Dtypes


@pytest.mark.parametrize("first", DTYPES.values())
def test_result_type_is_what_operations_compute_in(first: Any) -> None:
    x = gl.zeros(1, dtype=first)
    for second in DTYPES.values():
        expected = gl.concat([x, gl.zeros(1, dtype=second)]).dtype
        assert gl.result_type(first, second) is expected
        assert gl.result_type(x, second) is expected
        assert gl.can_cast(first, second) == np.can_cast(first, second)
    for scalar in (True, 2, 2.0, 2j):
        if first is gl.bool and scalar is True:
            continue  # `+` is not for booleans
        assert gl.result_type(scalar, x) is (x + scalar).dtype


def test_result_type_of_numpy_scalars_is_weak() -> None:
    assert gl.result_type(gl.float32, np.float64(1)) is gl.float32
    assert gl.result_type(np.ones(2), 1.0) is gl.float64


@pytest.mark.parametrize("dtype", [gl.float16, gl.float32, gl.float64, gl.complex64])
def test_finfo(dtype: Any) -> None:
    expected = np.finfo(dtype)
    for given in (dtype, np.dtype(dtype), gl.zeros(1, dtype=dtype), np.zeros(1, dtype)):
        found = gl.finfo(given)
        assert found.dtype is expected.dtype.type
        assert type(found.bits) is int
        assert found.bits == expected.bits
        for name in ("eps", "max", "min", "smallest_normal"):
            assert type(getattr(found, name)) is float
            assert getattr(found, name) == getattr(expected, name)


@pytest.mark.parametrize("dtype", [gl.int8, gl.uint64])
def test_iinfo(dtype: Any) -> None:
    expected = np.iinfo(dtype)
    for given in (dtype, gl.zeros(1, dtype=dtype)):
        found = gl.iinfo(given)
        assert (found.bits, found.min, found.max, found.dtype) == (
            expected.bits, expected.min, expected.max, dtype,
        )  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES.values())
def test_booleans_become_any_dtype(dtype: Any) -> None:
    y = gl.asarray([True, False], dtype=dtype)
    assert y.dtype is dtype
    assert y.tolist() == [1, 0]


def test_dtypes_are_numpys() -> None:
    assert all(value is getattr(np, name + "_" * (name == "bool"))
               for name, value in DTYPES.items())  # fmt: skip


# Inspection


def test_inspection(device: gl.Device) -> None:
    info = gl.__array_namespace_info__()
    gl.set_default_device(device)
    assert info.default_device() is device
    assert device in info.devices()
    assert gl.Device("cpu") in info.devices()
    for dtype in info.dtypes(device=device).values():
        assert gl.zeros(1, dtype=dtype).dtype is dtype


def test_default_dtypes_follow_the_setting() -> None:
    info = gl.__array_namespace_info__()
    for real, complex_ in ((gl.float32, gl.complex64), (gl.float64, gl.complex128)):
        gl.set_default_dtype(real)
        found = info.default_dtypes()
        assert (found["real floating"], found["complex floating"]) == (real, complex_)
        assert gl.zeros(1).dtype is real


def test_kinds_of_dtypes() -> None:
    dtypes = gl.__array_namespace_info__().dtypes
    assert dtypes(kind="real floating") == {
        "float32": gl.float32, "float64": gl.float64,
    }  # fmt: skip
    assert set(dtypes(kind=("bool", "complex floating"))) == {
        "bool", "complex64", "complex128",
    }  # fmt: skip
    names = dtypes(device="array_api_strict:no_float64")
    assert "float32" in names
    assert "float64" not in names


def test_a_tensor_knows_its_namespace() -> None:
    assert gl.ones(1).__array_namespace__() is gl
    assert gl.ones(1).__array_namespace__(api_version="2024.12") is gl
    with pytest.raises(ValueError, match=r"api_version.*'1999\.12'"):
        gl.ones(1).__array_namespace__(api_version="1999.12")


@pytest.mark.parametrize("name", ["sum", "astype", "searchsorted", "meshgrid", "diff"])
def test_functions_show_their_signature(name: str) -> None:
    assert "xp" not in inspect.signature(getattr(gl, name)).parameters


# Exchange with other libraries, without copies


def test_numpy_shares_memory() -> None:
    x = np.ones(3)
    y, z = gl.from_dlpack(x), np.from_dlpack(gl.asarray(x))
    x[0] = 5.0
    assert y.tolist() == z.tolist() == [5, 1, 1]


def test_torch_shares_memory() -> None:
    torch = pytest.importorskip("torch")
    x = torch.ones(3)
    y = gl.from_dlpack(x)
    assert y.device == "cpu"
    z = torch.from_dlpack(y)
    x[0] = 5.0
    assert y.tolist() == z.tolist() == [5, 1, 1]
    assert gl.from_dlpack(x, device="torch:cpu").device == "torch:cpu"


def test_cupy_shares_memory() -> None:
    try:
        device = gl.Device("cuda")
    except gl.DeviceUnavailableError as error:
        pytest.skip(str(error))
    y = gl.from_dlpack(device.xp.ones(3))
    assert y.device is device
    y[0] = 5.0
    assert device.xp.from_dlpack(y).tolist() == [5, 1, 1]


def test_tensors_pass_through_dlpack() -> None:
    x = gl.tensor([1.0, 2.0], requires_grad=True)
    gl.sum(gl.from_dlpack(x) ** 2).backward()
    assert x.grad is not None
    assert x.grad.tolist() == [2, 4]
    with pytest.raises(BufferError, match=r"requires grad.*detach"):
        np.from_dlpack(x)


def test_copies_through_dlpack() -> None:
    x = np.ones(2)
    assert not np.shares_memory(gl.from_dlpack(x, copy=True).numpy(), x)
    assert np.shares_memory(gl.from_dlpack(x, copy=False).numpy(), x)
    with pytest.raises(ValueError, match="copy"):
        gl.from_dlpack(x, device="array_api_strict", copy=False)
    exported = gl.asarray(x).__dlpack__()
    assert "dltensor" in repr(exported)


def test_what_exports_no_dlpack() -> None:
    with pytest.raises(TypeError, match=r"DLPack.*list.*asarray"):
        gl.from_dlpack([1.0])

    class Elsewhere:
        def __dlpack__(self, **options: Any) -> Any:
            raise AssertionError

        def __dlpack_device__(self) -> tuple[int, int]:
            return 8, 0  # Metal

    with pytest.raises(BufferError, match="type 8"):
        gl.from_dlpack(Elsewhere())


# Operators take numbers on either side

BINARY = ["+", "-", "*", "/", "//", "%", "**", "@", "&", "|", "^", "<<", ">>"]


@pytest.mark.parametrize("symbol", BINARY)
def test_operators(symbol: str) -> None:
    x, y = np.asarray([[7, 2], [3, 1]]), np.asarray([[2, 3], [1, 2]])
    scope = {"x": gl.tensor(x), "y": gl.tensor(y), "a": x, "b": y}
    sides = [("x", "y"), ("a", "y"), ("x", "b")]
    if symbol != "@":
        sides += [("x", "3"), ("3", "y")]
    for left, right in sides:
        found = eval(f"{left} {symbol} {right}", scope)
        left, right = left.replace("x", "a"), right.replace("y", "b")
        expected = eval(f"{left} {symbol} {right}", scope)
        assert isinstance(found, gl.Tensor)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)
    if symbol != "/":  # which would make integers floats
        exec(f"x {symbol}= y; a {symbol}= b", scope)
        np.testing.assert_array_equal(scope["x"].numpy(), scope["a"])  # type: ignore[attr-defined]


def test_the_grid_of_a_constant_is_a_constant() -> None:
    x, y = gl.meshgrid(gl.ones(2, requires_grad=True), gl.ones(3))
    assert x.requires_grad
    assert not y.requires_grad
