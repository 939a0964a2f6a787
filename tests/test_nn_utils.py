"""Clipping of gradients, by norm and by value, against NumPy in float64 and PyTorch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import gradlite as gl
from gradlite import nn

SHAPES = [(3, 4), (5,), (), (2, 0, 3), (70, 3)]
NORM_TYPES = [0.5, 1, 1.5, 2, 3.0, 10, 40, math.inf]
NAN, INF = math.nan, math.inf


def arrays(scale: float = 1.0, dtype: Any = np.float32) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [(scale * rng.normal(size=shape)).astype(dtype) for shape in SHAPES]


def parameters(
    grads: list[np.ndarray], device: gl.Device | str = "cpu"
) -> list[nn.Parameter]:
    """Return parameters with these gradients, one without, and one of them twice."""
    made = []
    for grad in grads:
        value = gl.asarray(grad, device=device, copy=True)
        made.append(nn.Parameter(gl.zeros_like(value)))
        made[-1].grad = value
    return [*made, nn.Parameter(gl.ones(2, device=device)), made[0]]


def grads_of(params: list[nn.Parameter]) -> list[np.ndarray]:
    return [p.grad.cpu().numpy() for p in params[:-2]]  # type: ignore[union-attr]


def norm_of(grads: list[np.ndarray], p: float) -> float:
    flat = np.abs(np.concatenate([grad.astype(float).ravel() for grad in grads]))
    if p == INF:
        return float(flat.max())
    return float(flat.max() * ((flat / flat.max()) ** p).sum() ** (1 / p))


# By norm


@pytest.mark.parametrize("max_norm", [0.0, 1.5, 1e9, INF])
@pytest.mark.parametrize("norm_type", NORM_TYPES)
def test_the_norm_and_the_gradients_equal_numpy(
    device: gl.Device, norm_type: float, max_norm: float
) -> None:
    grads = arrays()
    params = parameters(grads, device)
    kept = [p.grad for p in params]
    total = nn.utils.clip_grad_norm_(params, max_norm, norm_type)
    norm = norm_of(grads, norm_type)
    assert (total.device, total.dtype, total.shape) == (device, gl.float32, ())
    assert total.item() == pytest.approx(norm, rel=2e-6)
    factor = min(1.0, max_norm / (norm + 1e-6))
    for grad, clipped in zip(grads, grads_of(params), strict=True):
        np.testing.assert_allclose(clipped, grad * factor, rtol=3e-6)
    assert params[-2].grad is None
    assert all(p.grad is grad for p, grad in zip(params, kept, strict=True))


@pytest.mark.parametrize("max_norm", [0.0, 0.5, 1e9])
@pytest.mark.parametrize("norm_type", NORM_TYPES)
def test_the_norm_and_the_gradients_equal_torch(
    norm_type: float, max_norm: float
) -> None:
    torch = pytest.importorskip("torch")
    grads = [grad for grad in arrays(dtype=np.float64) if grad.size]
    peers = [torch.zeros(grad.shape, dtype=torch.float64) for grad in grads]
    for peer, grad in zip(peers, grads, strict=True):
        peer.grad = torch.tensor(grad)
    expected = torch.nn.utils.clip_grad_norm_(peers, max_norm, norm_type)
    params = parameters(grads)
    total = nn.utils.clip_grad_norm_(params, max_norm, norm_type)
    assert total.item() == pytest.approx(expected.item(), rel=1e-12)
    for peer, clipped in zip(peers, grads_of(params), strict=True):
        np.testing.assert_allclose(clipped, peer.grad.numpy(), rtol=1e-12)


@pytest.mark.parametrize("scale", [1e-30, 1e-9, 1e12, 1e30])
@pytest.mark.parametrize("norm_type", [1.5, 3, 10, 40, INF])
def test_no_power_overflows_or_vanishes(
    device: gl.Device, norm_type: float, scale: float
) -> None:
    grads = arrays(scale)
    total = nn.utils.clip_grad_norm_(parameters(grads, device), INF, norm_type)
    assert total.item() == pytest.approx(norm_of(grads, norm_type), rel=2e-6)


@pytest.mark.parametrize("norm_type", [1, 2, 3, INF])
def test_float16_is_measured_in_float32(device: gl.Device, norm_type: float) -> None:
    try:
        gl.ones(1, dtype=gl.float16, device=device)
    except TypeError as error:
        pytest.skip(str(error))
    grads = [np.full(70_000, 3.0, np.float16), np.full(5, 300.0, np.float16)]
    params = parameters(grads, device)
    total = nn.utils.clip_grad_norm_(params, 100.0, norm_type)
    norm = norm_of(grads, norm_type)
    assert total.dtype is gl.float32
    assert total.item() == pytest.approx(norm, rel=1e-5)
    for grad, clipped in zip(grads, grads_of(params), strict=True):
        expected = grad.astype(float) * min(1.0, 100 / norm)
        np.testing.assert_allclose(clipped, expected, rtol=2e-3)


@pytest.mark.parametrize("norm_type", [1, 2, 3, INF])
def test_devices_and_dtypes_have_one_norm(device: gl.Device, norm_type: float) -> None:
    here = parameters([np.array([3.0, -4.0])])
    there = parameters([np.array([12.0], np.float32)], device)
    total = nn.utils.clip_grad_norm_([*there, *here], 1.0, norm_type)
    norm = norm_of([np.array([3.0, 4.0, 12.0])], norm_type)
    assert total.device == device
    assert total.item() == pytest.approx(norm, rel=1e-6)
    np.testing.assert_allclose(grads_of(here)[0], np.array([3, -4]) / norm, rtol=1e-6)
    np.testing.assert_allclose(grads_of(there)[0], 12 / norm, rtol=1e-6)
    assert (here[0].grad.dtype, there[0].grad.dtype) == (gl.float64, gl.float32)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([1.0, NAN], [NAN, NAN]), ([1.0, INF], [0.0, NAN]), ([-INF, INF], [NAN, NAN])],
)
@pytest.mark.parametrize("norm_type", [1, 2, 3, INF])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_a_norm_that_is_not_finite(
    device: gl.Device, norm_type: float, values: list[float], expected: list[float]
) -> None:
    """As in PyTorch; with error_if_nonfinite the gradients stay as they are."""
    grad = np.array(values, np.float32)
    params = parameters([grad], device)
    with pytest.raises(RuntimeError, match=r"norm of the gradients is (inf|nan)"):
        nn.utils.clip_grad_norm_(params, 1.0, norm_type, error_if_nonfinite=True)
    np.testing.assert_array_equal(grads_of(params)[0], grad)
    total = nn.utils.clip_grad_norm_(params, INF, norm_type)
    assert not math.isfinite(total.item())
    np.testing.assert_array_equal(grads_of(params)[0], grad)
    nn.utils.clip_grad_norm_(params, 1.0, norm_type)
    np.testing.assert_array_equal(grads_of(params)[0], expected)


@pytest.mark.parametrize("norm_type", [2.0, 3.0, INF])
def test_a_finite_norm_raises_nothing(norm_type: float) -> None:
    params = parameters([np.array([3.0, 4.0])])
    nn.utils.clip_grad_norm_(params, 1.0, norm_type, error_if_nonfinite=True)
    assert norm_of(grads_of(params), norm_type) == pytest.approx(1.0)


# By value


VALUES = np.array([0.0, -0.0, 0.3, -0.3, 2.0, -2.0, 0.1, -0.1, INF, -INF, NAN])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("clip_value", [0.0, 0.1, 0.3, 1, 5.0, INF])
def test_values_equal_numpy(device: gl.Device, clip_value: float, dtype: Any) -> None:
    grads = [VALUES.astype(dtype), *arrays(dtype=dtype)]
    params = parameters(grads, device)
    kept = [p.grad for p in params]
    assert nn.utils.clip_grad_value_(params, clip_value) is None  # type: ignore[func-returns-value]
    bound = dtype(clip_value)
    for grad, clipped in zip(grads, grads_of(params), strict=True):
        assert clipped.dtype == dtype
        np.testing.assert_array_equal(clipped, np.clip(grad, -bound, bound))
    assert params[-2].grad is None
    assert all(p.grad is grad for p, grad in zip(params, kept, strict=True))


@pytest.mark.parametrize("clip_value", [0.0, 0.1, 0.3, 1, 5.0, INF])
def test_values_equal_torch(clip_value: float) -> None:
    torch = pytest.importorskip("torch")
    grad = VALUES.astype(np.float32)
    peer = torch.zeros(grad.shape)
    peer.grad = torch.tensor(grad)
    torch.nn.utils.clip_grad_value_(peer, clip_value)
    params = parameters([grad])
    nn.utils.clip_grad_value_(params, clip_value)
    np.testing.assert_array_equal(grads_of(params)[0], peer.grad.numpy())


# Both


CLIPS = [
    lambda p: nn.utils.clip_grad_norm_(p, 1.0),
    lambda p: nn.utils.clip_grad_norm_(p, 1.0, 3.0),
    lambda p: nn.utils.clip_grad_norm_(p, 1.0, INF),
    lambda p: nn.utils.clip_grad_value_(p, 0.8),
]


@pytest.mark.parametrize("clip", CLIPS)
def test_one_tensor_or_any_iterable(clip: Any) -> None:
    results = []
    for form in (lambda p: p[0], list, tuple, iter):
        params = parameters([np.array([3.0, 4.0])])
        clip(form(params))
        results.append(grads_of(params)[0].tolist())
    assert max(map(abs, results[0])) <= 1.0
    assert results == results[:1] * 4


@pytest.mark.parametrize("clip", CLIPS)
def test_nothing_to_clip(clip: Any) -> None:
    for params in ([], [nn.Parameter(gl.ones(2))], parameters([np.zeros((0, 2))])):
        total = clip(params)
        assert total is None or total.item() == 0.0
    params = parameters([np.zeros(3)])
    clip(params)
    np.testing.assert_array_equal(grads_of(params)[0], 0.0)


@pytest.mark.parametrize("clip", CLIPS)
def test_the_storage_is_kept_and_the_write_is_noted(clip: Any) -> None:
    weight = gl.tensor([3.0, 4.0], requires_grad=True)
    (weight**2).sum().backward()
    grad = weight.grad
    view = grad.numpy()  # type: ignore[union-attr]
    saved = (gl.ones(2, requires_grad=True) * grad).sum()  # type: ignore[operator]
    clip(weight)
    assert weight.grad is grad
    np.testing.assert_array_equal(view, grad.numpy())  # type: ignore[union-attr]
    assert abs(view).max() <= 1.0
    with pytest.raises(RuntimeError, match="in place"):
        saved.backward()


@pytest.mark.parametrize("clip", CLIPS)
def test_a_gradient_with_a_graph_is_clipped(clip: Any) -> None:
    weight = gl.tensor([3.0, 4.0], requires_grad=True)
    (weight**3).sum().backward(create_graph=True)
    clip([weight])
    assert float(gl.max(gl.abs(weight.grad.detach()))) <= 1.0  # type: ignore[union-attr]


@pytest.mark.parametrize("clip", CLIPS)
def test_the_gradient_does_not_count_as_seen(
    clip: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = parameters([np.array([3.0, 4.0])])

    def seen(tensor: gl.Tensor) -> None:
        raise AssertionError("the property was read")

    with monkeypatch.context() as patch:
        patch.setattr(gl.Tensor, "grad", property(seen))
        clip(params)
    assert abs(grads_of(params)[0]).max() <= 1.0


@pytest.mark.parametrize("clip", CLIPS)
def test_nothing_is_read_back(clip: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a GPU would have to wait for: no value is looked at on the host."""
    params = parameters([np.array([3.0, 4.0])], "array_api_strict:device1")

    def refuse(*_: Any) -> Iterator[Any]:
        raise AssertionError("a value was read back")

    kind = type(params[0]._array)
    with monkeypatch.context() as patch:
        for name in ("__bool__", "__float__", "__int__", "__array__"):
            patch.setattr(kind, name, refuse, raising=False)
        clip(params)
    assert abs(grads_of(params)[0]).max() <= 1.0


PARAMETER = nn.Parameter(gl.ones(1))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda u: u.clip_grad_norm_(PARAMETER, -1), ValueError, r"max_norm .* got -1"),
        (lambda u: u.clip_grad_norm_(PARAMETER, NAN), ValueError, r"max_norm .* nan"),
        (lambda u: u.clip_grad_norm_(PARAMETER, "a"), TypeError, r"max_norm .* 'a'"),
        (lambda u: u.clip_grad_norm_(PARAMETER, 1, 0), ValueError, r"norm_type .* 0"),
        (lambda u: u.clip_grad_norm_(PARAMETER, 1, -2), ValueError, r"norm_type .* -2"),
        (
            lambda u: u.clip_grad_norm_(PARAMETER, 1, NAN),
            ValueError,
            r"norm_type .*nan",
        ),
        (lambda u: u.clip_grad_norm_(PARAMETER, 1, "2"), TypeError, r"norm_type .*'2'"),
        (
            lambda u: u.clip_grad_norm_(PARAMETER, 1, True),
            TypeError,
            r"norm_type .*Tru",
        ),
        (
            lambda u: u.clip_grad_norm_(PARAMETER, 1, 2, "no"),
            TypeError,
            r"error_if_nonfinite .* 'no'",
        ),
        (lambda u: u.clip_grad_value_(PARAMETER, -1), ValueError, r"clip_value .* -1"),
        (
            lambda u: u.clip_grad_value_(PARAMETER, NAN),
            ValueError,
            r"clip_value .* nan",
        ),
        (
            lambda u: u.clip_grad_value_(PARAMETER, None),
            TypeError,
            r"clip_value .*None",
        ),
        (lambda u: u.clip_grad_value_([3], 1), TypeError, r"int at position 0"),
        (
            lambda u: u.clip_grad_value_(nn.ReLU(), 1),
            TypeError,
            r"parameters .*ReLU; pass model\.parameters\(\)",
        ),
        (lambda u: u.clip_grad_value_(3, 1), TypeError, r"parameters .* got int"),
    ],
)
def test_bad_arguments_are_named(call: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call(nn.utils)
