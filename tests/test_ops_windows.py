"""Convolution and pooling against PyTorch, whose options they share."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import gradlite as gl
from gradlite import ops
from gradlite.backends import _windows

torch = pytest.importorskip("torch")


def _array(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).standard_normal(shape)


def _compare(ours: Any, theirs: Any, arrays: list[Any], device: gl.Device) -> None:
    """Compare a result, and the gradients of its product with random weights."""
    tensors = [gl.tensor(x, device=device, requires_grad=True) for x in arrays]
    torches = [torch.tensor(x, requires_grad=True) for x in arrays]
    y, z = ours(*tensors), theirs(*torches)
    np.testing.assert_allclose(y.detach().cpu().numpy(), z.detach().numpy(), atol=1e-12)
    weights = _array(*y.shape, seed=9)
    y.backward(gl.tensor(weights, device=device))
    z.backward(torch.tensor(weights))
    for x, t in zip(tensors, torches, strict=True):
        assert x.grad is not None
        found, expected = x.grad.cpu().numpy(), t.grad.numpy()
        np.testing.assert_allclose(found, expected, atol=1e-12)


CONVOLUTIONS = [
    {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    for stride, padding, dilation, groups in itertools.product(
        [(1, 1), (2, 3)], [(0, 0), (2, 1)], [(1, 1), (2, 1)], [1, 2, 4]
    )
]


@pytest.mark.parametrize("options", CONVOLUTIONS, ids=str)
@pytest.mark.parametrize("size", [(3, 2), (1, 1)])
def test_conv2d(
    options: dict[str, Any], size: tuple[int, int], device: gl.Device
) -> None:
    arrays = [_array(2, 4, 7, 6), _array(8, 4 // options["groups"], *size), _array(8)]
    _compare(
        lambda *x: ops.conv2d(*x, **options),
        lambda *x: torch.nn.functional.conv2d(*x, **options),
        arrays,
        device,
    )


@pytest.mark.parametrize(
    ("stride", "padding", "dilation"),
    [*itertools.product([(1, 1), (3, 2)], [(0, 0), (1, 1)], [(1, 1), (1, 2)])],
)
def test_max_pool2d(
    stride: Any, padding: Any, dilation: Any, device: gl.Device
) -> None:
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    _compare(
        lambda x: ops.max_pool2d(x, kernel_size=(3, 2), **options),
        lambda x: torch.nn.functional.max_pool2d(x, (3, 2), **options),
        [_array(2, 3, 7, 6)],
        device,
    )


def test_max_pool2d_of_negatives_in_padding(device: gl.Device) -> None:
    """The border is no zero that could win."""
    x = gl.full((1, 1, 2, 2), -3.0, device=device)
    y = ops.max_pool2d(x, kernel_size=(2, 2), stride=(2, 2), padding=(1, 1))
    assert y.tolist() == [[[[-3.0, -3.0], [-3.0, -3.0]]]]


@pytest.mark.parametrize("count_include_pad", [True, False])
@pytest.mark.parametrize(
    ("stride", "padding"), [*itertools.product([(1, 1), (3, 2)], [(0, 0), (1, 1)])]
)
def test_avg_pool2d(
    stride: Any, padding: Any, count_include_pad: bool, device: gl.Device
) -> None:
    options = {
        "stride": stride, "padding": padding, "count_include_pad": count_include_pad
    }  # fmt: skip
    _compare(
        lambda x: ops.avg_pool2d(x, kernel_size=(3, 2), **options),
        lambda x: torch.nn.functional.avg_pool2d(x, (3, 2), **options),
        [_array(2, 3, 7, 6)],
        device,
    )


def test_dilation_is_the_distance_of_taps() -> None:
    """In PyTorch's sense: 1 is dense, 2 leaves one pixel out between two taps."""
    x = gl.reshape(gl.arange(5.0), (1, 1, 1, 5))
    weight = gl.reshape(gl.tensor([1.0, 10.0, 100.0]), (1, 1, 1, 3))
    assert ops.conv2d(x, weight, dilation=(1, 2)).tolist() == [[[[420.0]]]]
    assert ops.conv2d(x, weight).tolist() == [[[[210.0, 321.0, 432.0]]]]


def test_an_empty_batch(device: gl.Device) -> None:
    x = gl.zeros((0, 2, 4, 4), device=device, requires_grad=True)
    weight = gl.ones((3, 2, 3, 3), device=device, requires_grad=True)
    y = ops.max_pool2d(ops.conv2d(x, weight), kernel_size=(2, 2), stride=(2, 2))
    assert y.shape == (0, 3, 1, 1)
    gl.sum(y).backward()
    assert x.grad is not None
    assert weight.grad is not None
    assert x.grad.shape == x.shape
    assert gl.all(weight.grad == 0.0)


@pytest.mark.parametrize("workspace", [1, 5000])
def test_batches_are_cut_into_parts_that_agree(workspace: int) -> None:
    xp = gl.Device("cpu").xp
    options = {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2), "groups": 2}
    x, weight = _array(5, 4, 7, 6), _array(6, 2, 3, 2)
    y = _windows.conv2d(xp, x, weight, **options)
    g = _array(*y.shape, seed=1)
    for function, operands, size in (
        (_windows.conv2d, (x, weight), {}),
        (_windows.conv2d_input, (g, weight), {"size": (7, 6)}),
        (_windows.conv2d_weight, (x, g), {"kernel_size": (3, 2)}),
    ):
        whole = function(xp, *operands, **size, **options)
        parts = function(xp, *operands, **size, **options, workspace=workspace)
        np.testing.assert_allclose(parts, whole, atol=1e-12)
