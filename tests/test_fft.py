"""Fourier transforms: every length, norm and choice of axes, dtypes and errors."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradlite as gl
import gradlite.fft as fft
from gradlite.autograd import check_vjp, grad, gradcheck

NORMS = ("backward", "ortho", "forward")
ALONG_ONE = ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")
OVER_SEVERAL = ("fftn", "ifftn", "rfftn", "irfftn")
OF_REAL = ("rfft", "ihfft", "rfftn")


def signal(name: str, *shape: int, seed: int = 0) -> Any:
    """Return random numbers of the kind that a transform takes."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    return x if name in OF_REAL else x + 1j * rng.standard_normal(shape)


def leaf(x: Any, device: gl.Device | str = "cpu") -> gl.Tensor:
    return gl.tensor(x, device=device, requires_grad=True)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ALONG_ONE)
@pytest.mark.parametrize("size", [1, 4, 5])
def test_every_length(name: str, size: int, norm: Any) -> None:
    x = signal(name, 2, size)
    for n in (None, 1, 2, 3, 4, 5, 6, 9):
        if n is None and size == 1 and name in ("irfft", "hfft"):
            continue  # of length 0
        options: Any = {"n": n, "axis": -1, "norm": norm}
        expected = getattr(np.fft, name)(x, **options)
        y = getattr(fft, name)(gl.tensor(x), **options)
        np.testing.assert_allclose(y.numpy(), expected, rtol=1e-12, atol=1e-12)
        check_vjp(
            lambda x, o=options: getattr(fft, name)(x, **o), [leaf(x)], order=2
        )  # fmt: skip


AXES: list[dict[str, Any]] = [
    {},
    {"axes": (0, 1)},
    {"axes": (-1,)},
    {"axes": (2, 0, 1)},
    {"s": (4, 3), "axes": (0, -1)},
    {"s": (1, 6), "axes": (1, 2)},
    {"s": (3, 2, 5), "axes": (-1, 0, -2)},
]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", OVER_SEVERAL)
def test_every_choice_of_axes(name: str, norm: Any) -> None:
    x = signal(name, 3, 2, 4)
    for options in AXES:
        expected = getattr(np.fft, name)(x, norm=norm, **options)
        y = getattr(fft, name)(gl.tensor(x), norm=norm, **options)
        np.testing.assert_allclose(y.numpy(), expected, rtol=1e-12, atol=1e-12)
        check_vjp(
            lambda x, o=options: getattr(fft, name)(x, norm=norm, **o),
            [leaf(x)],
            order=2,
        )


@pytest.mark.parametrize("name", OVER_SEVERAL)
def test_lengths_without_axes_are_those_of_the_last_axes(name: str) -> None:
    x = signal(name, 2, 3, 4)
    y = getattr(fft, name)(gl.tensor(x), s=(4, 6))
    expected = getattr(np.fft, name)(x, s=(4, 6), axes=(1, 2))
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", [*ALONG_ONE, *OVER_SEVERAL])
def test_on_each_device(name: str, device: gl.Device) -> None:
    x = signal(name, 3, 4)
    options: Any = {"n": 5} if name in ALONG_ONE else {"s": (2, 5), "axes": (0, 1)}
    expected = getattr(np.fft, name)(x, **options)
    t = leaf(x, device)
    y = getattr(fft, name)(t, **options)
    assert y.device == device
    np.testing.assert_allclose(y.detach().cpu().numpy(), expected, atol=1e-12)
    check_vjp(lambda t: getattr(fft, name)(t, **options), [t])


@pytest.mark.parametrize("name", ["fft", "ifft", "irfft", "hfft", "fftn", "ifftn"])
def test_of_real_tensors(name: str, device: gl.Device) -> None:
    x = signal("rfft", 3, 4)
    expected = getattr(np.fft, name)(x)
    y = getattr(fft, name)(gl.tensor(x, device=device))
    np.testing.assert_allclose(y.cpu().numpy(), expected, atol=1e-12)
    gradcheck(getattr(fft, name), [leaf(x, device)])


@pytest.mark.parametrize("name", [*ALONG_ONE, *OVER_SEVERAL])
def test_precision_is_that_of_the_input(name: str, device: gl.Device) -> None:
    gl.set_default_dtype(gl.float64)  # a leak of which would show
    x = signal(name, 2, 4)
    t = leaf(x.astype(np.complex64 if np.iscomplexobj(x) else np.float32), device)
    y = getattr(fft, name)(t)
    real = name in ("irfft", "hfft", "irfftn")
    assert y.dtype is (gl.float32 if real else gl.complex64)
    (d,) = grad(y, t, [gl.ones_like(y)])
    assert d is not None
    assert d.dtype is t.dtype


@pytest.mark.parametrize("name", ["fft", "rfft", "ihfft", "fftn"])
def test_other_dtypes(name: str) -> None:
    x = np.asarray([1, 2, 4], np.float16)
    expected = getattr(np.fft, name)(x.astype(np.float32))
    t = leaf(x)
    y = getattr(fft, name)(t)
    assert y.dtype is gl.complex64
    np.testing.assert_allclose(y.detach().numpy(), expected, rtol=1e-5)
    (d,) = grad(gl.real(y).sum(), t)
    assert d is not None
    assert d.dtype is gl.float16
    assert getattr(fft, name)(gl.tensor([1, 2, 4])).dtype is gl.complex64
    gl.set_default_dtype(gl.float64)
    assert getattr(fft, name)(gl.tensor([True, False])).dtype is gl.complex128


def test_no_axes_is_a_copy() -> None:
    x = gl.tensor([1j, 2.0])
    for transform in (fft.fftn, fft.ifftn):
        y = transform(x, axes=())
        assert y.tolist() == x.tolist()
        y.zero_()
        assert x.tolist() == [1j, 2.0]


@pytest.mark.parametrize("name", [*ALONG_ONE, *OVER_SEVERAL])
@pytest.mark.parametrize(
    ("shape", "axis", "n"), [((0, 4), 1, None), ((4, 0), 0, 3), ((2, 0), -1, 3)]
)
def test_of_nothing(
    name: str, shape: Any, axis: int, n: int | None, device: gl.Device
) -> None:
    x = signal(name, *shape)
    options: Any = {"n": n, "axis": axis}
    if name in OVER_SEVERAL:
        options = {"s": None if n is None else (n,), "axes": (axis,)}
    t = leaf(x, device)
    y = getattr(fft, name)(t, **options)
    expected = getattr(np.fft, name)(x, **options)
    assert (y.shape, y.dtype) == (expected.shape, expected.dtype.type)
    assert not gl.any(y != 0.0)
    (d,) = grad(y, t, [gl.ones_like(y)])
    assert d is not None
    assert d.shape == shape


def test_gradients_against_torch() -> None:
    torch = pytest.importorskip("torch")
    x = signal("irfft", 4, 6)
    for name in ("fft", "ifft", "irfft", "hfft"):
        theirs = torch.tensor(x, requires_grad=True)
        ours = leaf(x)
        torch.sum(torch.abs(getattr(torch.fft, name)(theirs, n=7)) ** 3).backward()
        (gl.abs(getattr(fft, name)(ours, n=7)) ** 3).sum().backward()
        assert ours.grad is not None
        np.testing.assert_allclose(ours.grad.numpy(), theirs.grad, rtol=1e-10)


def test_a_filter_is_learned_through_the_spectrum() -> None:
    """The gradient of a convolution by transforms is that of the direct one."""
    rng = np.random.default_rng(1)
    x, w = leaf(rng.standard_normal(6)), leaf(rng.standard_normal(3))
    spectra = fft.rfft(x, n=8) * fft.rfft(w, n=8)
    found = grad((fft.irfft(spectra, n=8) ** 2).sum(), [x, w])
    direct = sum(w[i] * gl.pad(x, ((i, 2 - i),)) for i in range(3))
    expected = grad((direct**2).sum(), [x, w])  # type: ignore[union-attr]
    for d, e in zip(found, expected, strict=True):
        assert d is not None
        assert e is not None
        np.testing.assert_allclose(d.numpy(), e.numpy(), rtol=1e-12, atol=1e-12)


# Frequencies and shifts


@pytest.mark.parametrize("name", ["fftfreq", "rfftfreq"])
@pytest.mark.parametrize("n", [1, 2, 7, 8])
def test_frequencies(name: str, n: int, device: gl.Device) -> None:
    function = getattr(fft, name)
    expected = getattr(np.fft, name)(n, 0.3)
    f = function(n, d=0.3, device=device, dtype=gl.float64)
    assert (f.device, f.dtype) == (device, gl.float64)
    np.testing.assert_array_equal(f.cpu().numpy(), expected)
    gl.set_default_device(device)
    f = function(n)
    assert (f.device, f.dtype, f.shape) == (device, gl.float32, expected.shape)


@pytest.mark.parametrize("name", ["fftshift", "ifftshift"])
@pytest.mark.parametrize("axes", [None, 0, -1, (1,), (0, -1)])
def test_shifts(name: str, axes: Any) -> None:
    x = signal(name, 4, 5)
    y = getattr(fft, name)(gl.tensor(x), axes=axes)
    np.testing.assert_array_equal(y.numpy(), getattr(np.fft, name)(x, axes))
    check_vjp(lambda x: getattr(fft, name)(x, axes=axes) ** 2, [leaf(x)], order=2)


# The interface

LENGTH = "(x, /, *, n=None, axis=-1, norm='backward')"
LENGTHS = "(x, /, *, s=None, axes=None, norm='backward')"
SIGNATURES = {
    **dict.fromkeys(ALONG_ONE, LENGTH),
    **dict.fromkeys(OVER_SEVERAL, LENGTHS),
    "fftfreq": "(n, /, *, d=1.0, dtype=None, device=None)",
    "rfftfreq": "(n, /, *, d=1.0, dtype=None, device=None)",
    **dict.fromkeys(("fftshift", "ifftshift"), "(x, /, *, axes=None)"),
}


def test_signatures_are_the_standards() -> None:
    def bare(function: Callable[..., Any]) -> str:
        signature = inspect.signature(function)
        parameters = [
            p.replace(annotation=p.empty) for p in signature.parameters.values()
        ]
        return str(inspect.Signature(parameters))

    assert {name: bare(getattr(fft, name)) for name in fft.__all__} == SIGNATURES


X = gl.ones((2, 3))
ERRORS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: fft.fft(X, n=0), ValueError, "(?i)invalid number of .* data points"),
    (lambda: fft.fft(X, axis=2), IndexError, "axis|out of range"),
    (lambda: fft.fft(X, norm="both"), ValueError, "both"),  # type: ignore[arg-type]
    (lambda: fft.hfft(X, norm="both"), ValueError, "norm .* 'both'"),  # type: ignore[arg-type]
    (lambda: fft.rfft(X * 1j), TypeError, "x must be real for rfft, got complex64"),
    (lambda: fft.fftn(X, s=(2,), axes=(0, 1)), ValueError, r"s and axes .* \(2,\)"),
    (lambda: fft.ifftn(X, axes=(1, -1)), ValueError, r"different, got \(1, -1\)"),
    (lambda: fft.rfftn(X, axes=()), ValueError, "at least one axis"),
    (lambda: fft.irfftn(gl.tensor(1j)), ValueError, "at least one axis"),
    (lambda: fft.rfftn([1.0]), TypeError, r"rfftn\(\) argument 'x' must .* got list;"),  # type: ignore[arg-type]
    (lambda: fft.irfftn(None), TypeError, r"irfftn\(\) argument 'x' .* got None;"),  # type: ignore[arg-type]
    (lambda: fft.fftshift([1.0]), TypeError, r"fftshift\(\) argument 'x' .* got list"),  # type: ignore[arg-type]
    (lambda: fft.ifftshift(None), TypeError, r"ifftshift\(\) argument 'x' .* got None"),  # type: ignore[arg-type]
    (lambda: fft.fftfreq(0), ValueError, "n must be an integer of at least 1, got 0"),
    (lambda: fft.rfftfreq(2.5), TypeError, "n must be an integer"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("call", "error", "message"), ERRORS)
def test_errors(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_derivatives_of_nothing_are_recorded() -> None:
    x = gl.zeros((0, 4), dtype=gl.float64, requires_grad=True)
    check_vjp(lambda x: gl.fft.ifft(gl.fft.fft(x + 0j)), [x], order=2)
