"""Tensors: how they are made, converted, shown, copied and compared."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradlite as gl
from gradlite import ops, optim

# Making


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1.0, gl.float32),
        ([1.0, 2.0], gl.float32),
        (1, gl.int64),
        ([[1, 2], [3, 4]], gl.int64),
        (True, gl.bool),
        (1j, gl.complex64),
        (np.float64(1.0), gl.float64),
        ([np.float64(1.0)], gl.float64),
        (np.arange(3, dtype=np.int16), gl.int16),
        (np.ones(2, np.float16), gl.float16),
        ([], gl.float32),
    ],
)
def test_dtype_of_data(data: object, dtype: type) -> None:
    assert gl.tensor(data).dtype is dtype
    assert gl.asarray(data).dtype is dtype


def test_default_dtype() -> None:
    gl.set_default_dtype(gl.float64)
    try:
        assert gl.tensor([1.0]).dtype is gl.float64
        assert gl.zeros(2).dtype is gl.float64
        assert (gl.tensor([1]) / 2).dtype is gl.float64
    finally:
        gl.set_default_dtype(gl.float32)
    with pytest.raises(TypeError, match="floating-point"):
        gl.set_default_dtype(gl.int64)


def test_tensor_copies_and_asarray_shares() -> None:
    array = np.zeros(3)
    copied, shared = gl.tensor(array), gl.asarray(array)
    array[0] = 1.0
    assert copied.tolist() == [0.0, 0.0, 0.0]
    assert shared.tolist() == [1.0, 0.0, 0.0]
    assert gl.asarray(shared) is shared
    assert not np.shares_memory(gl.asarray(array, copy=True).array, array)
    with pytest.raises(ValueError, match="copy=False"):
        gl.asarray(array, dtype=gl.float32, copy=False)


def test_big_endian_and_read_only_data() -> None:
    assert gl.tensor(np.arange(3, dtype=">f4")).tolist() == [0.0, 1.0, 2.0]
    assert gl.asarray(np.broadcast_to(np.ones(2), (3, 2))).shape == (3, 2)


BAD_DATA = [
    ("text", TypeError, "numbers"),
    (object(), TypeError, "numbers"),
    ([[1.0], [1.0, 2.0]], ValueError, "equal lengths"),
    (np.array(["a"]), TypeError, "dtype <U1"),
    (np.ma.masked_array([1.0], [True]), TypeError, "refused"),
    (np.ones((1, 1)).view(np.matrix), TypeError, "refused"),
    (10**30, TypeError, "numbers"),
]


@pytest.mark.parametrize(("data", "error", "message"), BAD_DATA)
def test_bad_data(data: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        gl.tensor(data)


def test_bad_dtypes_and_devices() -> None:
    with pytest.raises(TypeError, match=r"dtype must be one of gl.bool"):
        gl.tensor([1.0], dtype="float31")
    with pytest.raises(ValueError, match=r"device 'tpu' is not known.*'cpu'"):
        gl.tensor([1.0], device="tpu")
    with pytest.raises(TypeError, match="device must be a name"):
        gl.tensor([1.0], device=3)
    with pytest.raises(TypeError, match="cannot hold complex"):
        gl.tensor([1j], dtype=gl.float32)


def test_creation_functions_agree_with_numpy() -> None:
    pairs = [
        (gl.zeros((2, 3)), np.zeros((2, 3))),
        (gl.ones(2, dtype=gl.int64), np.ones(2, np.int64)),
        (gl.full((2,), 3), np.full(2, 3)),
        (gl.full((2,), np.int64(3)), np.full(2, 3)),
        (gl.arange(5), np.arange(5)),
        (gl.arange(1, 2, 0.25), np.arange(1, 2, 0.25, np.float32)),
        (gl.linspace(0.0, 1.0, 5), np.linspace(0, 1, 5, dtype=np.float32)),
        (gl.eye(2, 3, k=1), np.eye(2, 3, 1, np.float32)),
        (gl.full_like(gl.zeros(2), 7.0), np.full(2, 7.0, np.float32)),
        (gl.zeros_like(gl.ones(2, dtype=gl.int64)), np.zeros(2, np.int64)),
    ]
    for ours, theirs in pairs:
        np.testing.assert_array_equal(ours.numpy(), theirs)
    assert gl.arange(3).dtype is gl.int64
    assert gl.arange(3.0).dtype is gl.float32
    assert gl.empty((2, 0)).shape == (2, 0)
    assert gl.zeros(2, requires_grad=True).requires_grad


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gl.zeros(-1), "shape must be"),
        (lambda: gl.zeros((2, 1.5)), "shape must be"),
        (lambda: gl.arange(0, 1, 0), "step not 0"),
        (lambda: gl.linspace(0.0, 1.0, -1), "num must be"),
    ],
)
def test_bad_creation(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()  # type: ignore[operator]


def test_a_list_of_tensors_is_stacked_into_the_graph() -> None:
    x = gl.tensor([1.0, 2.0], requires_grad=True)
    y = gl.asarray([x[1], x[0] * 3.0])
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [3.0, 1.0]
    with pytest.raises(TypeError, match=r"gl.asarray\(data\) .* detach\(\)"):
        gl.tensor([x[0], x[1]])
    assert not gl.tensor(x[0] * 2.0).requires_grad
    assert not gl.tensor([x[0].detach()]).requires_grad
    with gl.no_grad():
        assert gl.tensor([x[0], x[1]]).tolist() == [1.0, 2.0]


# Python and NumPy


def test_scalars_do_not_change_precision() -> None:
    """SEED: tensor([1, 2]) / 2 == [0, 1]."""
    assert (gl.tensor([1, 2]) / 2).tolist() == [0.5, 1.0]
    assert (gl.tensor([1, 2]) / 2).dtype is gl.float32
    assert (gl.tensor([1, 2]) * 1.5).dtype is gl.float32
    assert (gl.tensor([1, 2], dtype=gl.int8) + 1).dtype is gl.int8
    assert (gl.tensor([1.0]) * np.float64(2.0)).dtype is gl.float32
    assert (2 * gl.tensor([1.0], dtype=gl.float16)).dtype is gl.float16
    assert (gl.tensor([1.0]) + 1j).dtype is gl.complex64
    assert (gl.tensor([True]) + 1).dtype is gl.int64
    assert gl.exp(gl.tensor([1, 2])).dtype is gl.float32
    assert gl.exp(2.0).item() == pytest.approx(np.exp(2.0))


WEAK = [np.bool_, np.int8, np.uint64, np.longlong, np.float16, np.float64, np.complex64]


@pytest.mark.parametrize("kind", WEAK)
def test_numpys_scalars_are_as_weak_as_pythons(kind: Callable[..., Any]) -> None:
    x, number = gl.ones(2), kind(1)
    expected = gl.complex64 if kind is np.complex64 else gl.float32
    for y in (
        x * number,
        number * x,
        gl.where(x > 0, x, number),
        gl.stack([x[0], number]),
    ):
        assert y.dtype is expected
    is_integer = kind in WEAK[:4]
    assert (gl.arange(2) + number).dtype is (gl.int64 if is_integer else expected)


NO_NUMBERS = [
    np.longdouble(1), np.clongdouble(1), np.datetime64("2020"), np.timedelta64(1),
    np.timedelta64(1, "s"), np.str_("a"), np.bytes_(b"a"), np.void(b"a"),
]  # fmt: skip


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: type(value).__name__)
def test_other_scalars_of_numpy_are_refused(value: Any) -> None:
    x = gl.ones(2)
    message = (
        rf"argument 'x[12]' must be .* got {type(value).__name__}; .*a Python number"
    )
    for call in (
        lambda: x * value,
        lambda: value * x,
        lambda: x < value,
        lambda: gl.where(x > 0, x, value),
    ):
        with pytest.raises(TypeError, match=message):
            call()
    for function in (lambda: gl.clip(x, value), lambda: gl.stack([x, value]),
                     lambda: gl.exp(value)):  # fmt: skip
        with pytest.raises(TypeError, match=type(value).__name__):
            function()


OPTIONS: list[tuple[Callable[..., Any], Any]] = [
    (lambda x, widths: gl.pad(x, widths), [[0, 2], [1, 3]]),
    (lambda x, widths: gl.pad(x, tuple(widths)), [[0, 2], [1, 3]]),
    (lambda x, widths: gl.pad(x, widths), np.asarray([[0, 2], [1, 3]])),
    (lambda x, axes: gl.tensordot(x, x * x, axes=axes), [[0], [1]]),
    (lambda x, axes: gl.tensordot(x, x * x, axes=tuple(axes)), [[0], [1]]),
    (lambda x, axes: gl.permute_dims(x, axes) * x.mT, [1, 0]),
    (lambda x, axes: gl.permute_dims(x, axes) * x.mT, np.asarray([1, 0])),
    (lambda x, axis: gl.roll(x, (1, 2), axis=axis), np.asarray([0, 1])),
    (lambda x, n: gl.tile(x, n), np.asarray([1, 3])),
    (lambda x, axis: gl.moveaxis(x[None], axis, (1, 2)), np.asarray([0, 1])),
    (lambda x, axes: gl.abs(gl.fft.fftn(x, s=(4, 2), axes=axes)), np.asarray([0, 1])),
    (lambda x, axis: gl.sum(x[None], axis=axis) ** 2, [0, 1]),
    (lambda x, key: ops.getitem(x, (key,)), np.asarray([2, 0])),
    (lambda x, key: x[key], [2, 0]),
]


@pytest.mark.parametrize(("function", "option"), OPTIONS)
def test_options_may_change_before_backward(
    function: Callable[..., Any], option: Any
) -> None:
    def gradient(option: Any, change: Callable[[Any], None]) -> Any:
        x = gl.tensor(np.arange(9.0).reshape(3, 3) + 1.0, requires_grad=True)
        y = function(x, option)
        change(option)
        weights = gl.reshape(gl.arange(y.size, dtype=gl.float64), y.shape)
        gl.sum(y * weights).backward()
        return x.grad.numpy()

    def reverse(option: Any) -> None:
        for part in option:
            if isinstance(part, list):
                reverse(part)
        option[:] = option[::-1].copy()

    expected = gradient(copy.deepcopy(option), lambda option: None)
    np.testing.assert_array_equal(gradient(option, reverse), expected)


def test_scalars_alone_and_booleans(device: str) -> None:
    mask = gl.tensor([True, False], device=device)
    chosen = gl.where(mask, 1.0, 2.0)
    assert chosen.dtype is gl.float32
    assert chosen.tolist() == [1.0, 2.0]
    assert (True * gl.tensor([1.5, 2.0], device=device)).tolist() == [1.5, 2.0]


def test_ndarray_on_either_side() -> None:
    x = gl.tensor([1.0, 2.0], dtype=gl.float64, requires_grad=True)
    array = np.array([3.0, 4.0])
    for y in (x * array, array * x):
        assert isinstance(y, gl.Tensor)
        assert y.requires_grad
    assert (array - x).tolist() == [2.0, 2.0]
    assert (2.0 / x).tolist() == [2.0, 1.0]


def test_unknown_operands_are_left_to_python() -> None:
    class Friend:
        def __radd__(self, other: object) -> str:
            return "friend"

    assert gl.tensor([1.0]) + Friend() == "friend"
    with pytest.raises(TypeError, match="unsupported operand"):
        gl.tensor([1.0]) + "text"  # type: ignore[operator]


NUMPY: list[tuple[Callable[..., Any], str]] = [
    (np.sum, r"numpy\.sum\(\) .* gl\.sum\(\)"),
    (lambda x: np.std(x, axis=0), r"numpy\.std\(\) .* gl\.std\(\)"),
    (lambda x: np.concatenate([np.ones(2), x]), r"gl\.concat\(\).*\.detach\(\)"),
    (lambda x: np.where(x > 0, x, 0), r"gl\.where\(\) does: .*would be lost"),
    (np.transpose, r"gl\.permute_dims\(\)"),
    (np.zeros_like, r"^numpy\.zeros_like\(\) .* gl\.zeros_like\(\)"),
    (np.fft.fft, r"numpy\.fft\.fft\(\) .* gl\.fft\.fft\(\)"),
    (lambda x: np.linalg.inv(x[:, None]), r"gl\.linalg\.inv\(\)"),
    (np.ravel, r"^a tensor that requires grad"),
]


@pytest.mark.parametrize(("function", "message"), NUMPY)
def test_functions_of_numpy_name_those_for_tensors(
    function: Callable[..., Any], message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        function(gl.tensor([1.0, 2.0], requires_grad=True))


def test_functions_of_numpy_take_constants_and_ask_for_shapes() -> None:
    x = gl.tensor([1.0, 2.0])
    for y in (np.concatenate([x, x]), np.where(x > 1, x, 0), np.fft.fft(x), np.sort(x)):
        assert isinstance(y, np.ndarray)
    x.requires_grad_()
    assert (np.shape(x), np.ndim(x), np.size(x)) == ((2,), 1, 2)


def test_functions_of_numpy_leave_other_libraries_their_say() -> None:
    class Other:
        def __array_function__(self, *args: Any) -> str:
            return "other"

    assert np.concatenate([gl.ones(2), Other()]) == "other"  # type: ignore[list-item]


def test_a_broadcast_array_may_change_before_backward() -> None:
    x, array = gl.tensor([1.0, 2.0], requires_grad=True), np.asarray([3.0, 4.0])
    a, b = gl.broadcast_arrays(x, array)
    y = gl.sum(a * b)
    array[:] = 0.0
    y.backward()
    assert x.grad is not None
    assert x.grad.tolist() == [3.0, 4.0]
    with gl.no_grad():  # nothing is saved that could change
        assert np.shares_memory(gl.broadcast_arrays(x, array)[1].numpy(), array)


def test_conversion_to_numpy() -> None:
    x = gl.tensor([1.0, 2.0])
    assert np.shares_memory(x.numpy(), x.array)
    assert np.asarray(x, dtype=np.float64).dtype == np.float64
    tracked = gl.tensor([1.0], requires_grad=True)
    for convert in (np.asarray, lambda t: t.numpy(), np.sin):
        with pytest.raises(TypeError, match=r"detach\(\)|unsupported|ufunc"):
            convert(tracked)
    elsewhere = gl.tensor([1.0], device="array_api_strict:device1")
    with pytest.raises(TypeError, match=r"\.cpu\(\)\.numpy\(\)"):
        np.asarray(elsewhere)
    assert elsewhere.cpu().numpy().tolist() == [1.0]


def test_python_numbers() -> None:
    x = gl.tensor(2.5)
    assert (float(x), int(x), bool(x), complex(x)) == (2.5, 2, True, 2.5 + 0j)
    assert [10, 20, 30][gl.tensor(1)] == 20
    assert f"{x:.2f}" == "2.50"
    assert len(gl.zeros((3, 2))) == 3
    assert [row.tolist() for row in gl.tensor([[1], [2]])] == [[1], [2]]
    assert 2.5 in gl.tensor([1.0, 2.5])
    for bad, message in (
        (lambda: float(gl.zeros(2)), "without axes"),
        (lambda: [1, 2][gl.tensor(1.0)], "integer tensor"),
        (lambda: len(x), "without axes"),
        (lambda: iter(x), "without axes"),
    ):
        with pytest.raises(TypeError, match=message):
            bad()  # type: ignore[no-untyped-call]
    with pytest.raises(ValueError, match="ambiguous"):
        bool(gl.zeros(2))
    with pytest.raises(ValueError, match="one element"):
        gl.zeros(2).item()


@pytest.mark.parametrize("value", [2.5, -2.5, 3.567, 2**60 + 1])
def test_rounding_gives_python_numbers(value: float) -> None:
    x = gl.tensor(value, dtype=gl.float64 if isinstance(value, float) else None)
    for function in (round, math.floor, math.ceil, math.trunc):
        assert type(function(x)) is int
        assert function(x) == function(value)
    assert round(x, 1) == round(value, 1)


@pytest.mark.parametrize("other", [2, -2.5, np.array([2.0, -3.0, 0.5])])
def test_divmod_is_numpys(other: Any) -> None:
    array = np.array([7.0, -7.5, 0.25])
    x = gl.tensor(array, requires_grad=True)
    for ours, numpys in (
        (divmod(x, other), divmod(array, other)),
        (divmod(other, x), divmod(other, array)),
    ):
        for y, expected in zip(ours, numpys, strict=True):
            assert y.tolist() == expected.tolist()
    divmod(x, 2.0)[1].sum().backward()
    assert x.grad.tolist() == [1.0, 1.0, 1.0]


def test_dlpack() -> None:
    x = gl.tensor([1.0, 2.0])
    assert np.shares_memory(np.from_dlpack(x), x.array)
    with pytest.raises(BufferError, match="detach"):
        np.from_dlpack(gl.tensor([1.0], requires_grad=True))


class Exporter:
    """What exports NumPy's memory as that of a device of DLPack's type `kind`."""

    def __init__(self, array: Any, kind: int) -> None:
        self.array, self.kind = array, kind

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.kind, 0


@pytest.mark.parametrize("kind", [1, 3])
def test_memory_of_the_host_is_read_where_it_is(kind: int) -> None:
    array = np.ones(2)
    x = gl.from_dlpack(Exporter(array, kind))
    assert x.device == "cpu"
    assert np.shares_memory(x.numpy(), array)
    optim.functional.sgd_([Exporter(array, kind)], [np.full(2, 2.0)], lr=0.25)
    assert x.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("kind", [2, 13])
def test_memory_of_cuda_is_read_by_cupy(
    kind: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def device(name: str) -> None:
        raise gl.DeviceUnavailableError(f"no {name}")

    monkeypatch.setattr("gradlite.backends._dlpack.Device", device)
    x = Exporter(np.ones(2), kind)
    with pytest.raises(gl.DeviceUnavailableError, match="no cuda:0"):
        gl.from_dlpack(x)
    with pytest.raises(TypeError, match=r"params\[0\].*DLPack: no cuda:0"):
        optim.functional.sgd_([x], [x], lr=0.25)


def test_other_memory_is_not_read() -> None:
    x = Exporter(np.ones(2), 8)
    with pytest.raises(BufferError, match="type 8"):
        gl.from_dlpack(x)
    with pytest.raises(TypeError, match="neither NumPy nor CuPy"):
        optim.functional.sgd_([x], [x], lr=0.25)


def test_repr() -> None:
    assert repr(gl.tensor([1.0, 2.0])) == "tensor([1., 2.])"
    assert repr(gl.tensor([1, 2])) == "tensor([1, 2])"
    assert repr(gl.tensor(1.0, dtype=gl.float64)) == "tensor(1., dtype=float64)"
    x = gl.tensor([1.0], requires_grad=True)
    assert repr(x) == "tensor([1.], requires_grad=True)"
    assert repr(gl.exp(x)).endswith("grad_fn=<exp>)")
    strict = gl.tensor([1.0], device="array_api_strict")
    assert "device='array_api_strict:CPU_DEVICE'" in repr(strict)


# Identity, copies, data


def test_hash_by_identity_and_elementwise_equality() -> None:
    x, y = gl.tensor([1.0, 2.0]), gl.tensor([1.0, 3.0])
    assert (x == y).tolist() == [True, False]
    assert {x: 1}[x] == 1
    assert len({x, y}) == 2


def test_deepcopy_and_pickle() -> None:
    x = gl.tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()
    x.note = "kept"
    twin = copy.deepcopy(x)
    assert x.grad is not None
    assert twin.grad is not None
    assert twin.grad is not x.grad
    assert twin.grad.tolist() == x.grad.tolist()
    loaded = pickle.loads(pickle.dumps(x))
    for other in (twin, loaded):
        assert other.tolist() == x.tolist()
        assert other.requires_grad
        assert other.note == "kept"
        assert not np.shares_memory(other.array, x.array)
    pair = copy.deepcopy([x, x])
    assert pair[0] is pair[1]
    for copier in (copy.deepcopy, pickle.dumps):
        with pytest.raises(RuntimeError, match=r"detach\(\)"):
            copier(x * 2.0)


def test_grad_setter_checks() -> None:
    x = gl.tensor([1.0, 2.0], requires_grad=True)
    x.grad = gl.ones(2)
    x.grad = None
    with pytest.raises(ValueError, match=r"grad has shape \(3,\)"):
        x.grad = gl.ones(3)
    with pytest.raises(ValueError, match="grad has dtype"):
        x.grad = gl.ones(2, dtype=gl.float64)
    with pytest.raises(TypeError, match="tensor or None"):
        x.grad = np.ones(2)


def test_replacing_data() -> None:
    x = gl.tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()
    x.data = gl.tensor([[3.0]], dtype=gl.float64)
    assert x.requires_grad
    assert x.grad is None
    (x * x).sum().backward()
    assert x.grad is not None
    assert x.grad.dtype is gl.float64
    assert x.grad.tolist() == [[6.0]]
    with pytest.raises(RuntimeError, match="computed tensor"):
        (x * x).data = x
    with pytest.raises(TypeError, match="floating point"):
        x.data = gl.tensor([1])


def test_requires_grad_of_results_cannot_be_turned_off() -> None:
    y = gl.tensor([1.0], requires_grad=True) * 2.0
    with pytest.raises(RuntimeError, match=r"detach\(\)"):
        y.requires_grad_(False)


def test_moving_keeps_the_graph(device: str) -> None:
    x = gl.tensor([1.0, 2.0], requires_grad=True)
    y = (x.to(device) * 3.0).cpu()
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.device == "cpu"
    assert x.grad.tolist() == [3.0, 3.0]
    assert x.to("cpu") is x
    assert x.to(gl.float64).dtype is gl.float64


def test_methods_are_the_functions() -> None:
    x = gl.tensor(np.random.default_rng(0).random((2, 3)) + 0.5)
    for name in ("exp", "log", "sqrt", "tanh", "abs", "sigmoid", "relu"):
        np.testing.assert_array_equal(
            getattr(x, name)().numpy(), getattr(gl, name)(x).numpy()
        )
    for name in ("sum", "mean", "max", "min", "var", "std", "prod"):
        np.testing.assert_array_equal(
            getattr(x, name)(0).numpy(), getattr(gl, name)(x, axis=0).numpy()
        )
    assert x.reshape(3, 2).shape == x.reshape((3, 2)).shape == (3, 2)
    assert x.permute_dims(1, 0).shape == x.T.shape == x.mT.shape == (3, 2)
    assert x.flatten().shape == (6,)
    assert gl.zeros((2, 3, 4)).flatten(1).shape == (2, 12)
    assert x.expand_dims(0).squeeze().shape == (2, 3)
    with pytest.raises(ValueError, match="2 axes"):
        gl.zeros(3).T  # noqa: B018


@pytest.mark.parametrize(
    ("get", "message"),
    [
        (lambda: gl.cat, "called gl.concat here"),
        (lambda: gl.nonsense, "no attribute 'nonsense'$"),
        (lambda: gl.zeros(2).view, r"write \.reshape\(\) instead"),
        (lambda: gl.zeros(2).nonsense, "'Tensor' object has no attribute 'nonsense'$"),
    ],
)
def test_other_libraries_names_are_pointed_out(get: object, message: str) -> None:
    with pytest.raises(AttributeError, match=message):
        get()  # type: ignore[operator]


def test_hints_name_what_is_there() -> None:
    from gradlite._hints import FUNCTIONS, METHODS

    assert all(hasattr(gl, name) for name in FUNCTIONS.values())
    assert not any(hasattr(gl, name) for name in FUNCTIONS)
    assert not any(hasattr(gl.Tensor, name) for name in METHODS)


@pytest.mark.parametrize("convert", [float, complex, math.exp])
def test_a_number_made_of_a_tracked_tensor_warns(convert: Callable[..., Any]) -> None:
    x = gl.tensor(2.0, requires_grad=True)
    with pytest.warns(UserWarning, match="makes a constant, through which no deriv"):
        assert convert(x) == convert(2.0)
    with gl.no_grad():
        assert convert(x) == convert(x.detach()) == convert(x.item())


def test_an_array_as_axis_is_a_number() -> None:
    x = gl.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    (gl.sum(x, axis=np.array(1)) * gl.tensor([1.0, 2.0])).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[1.0, 1.0], [2.0, 2.0]]
