"""Initialization: ranges, moments, and the same numbers on every device."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradlite as gl
from gradlite.nn import init


@pytest.fixture(scope="module")
def torch() -> Any:
    return pytest.importorskip("torch")


RANDOM: dict[str, Callable[..., gl.Tensor]] = {
    "uniform_": lambda t, g=None: init.uniform_(t, -2.0, 3.0, generator=g),
    "normal_": lambda t, g=None: init.normal_(t, 1.0, 2.0, generator=g),
    "trunc_normal_": lambda t, g=None: init.trunc_normal_(t, generator=g),
    "xavier_uniform_": lambda t, g=None: init.xavier_uniform_(t, 2.0, generator=g),
    "xavier_normal_": lambda t, g=None: init.xavier_normal_(t, 2.0, generator=g),
    "kaiming_uniform_": lambda t, g=None: init.kaiming_uniform_(t, generator=g),
    "kaiming_normal_": lambda t, g=None: init.kaiming_normal_(
        t, 0.0, "fan_out", "relu", generator=g
    ),
    "orthogonal_": lambda t, g=None: init.orthogonal_(t, generator=g),
}

# Standard deviations for the shape (60, 20, 3, 3): fan_in 180, fan_out 540.
DEVIATIONS = {
    "uniform_": 5.0 / math.sqrt(12),
    "normal_": 2.0,
    "trunc_normal_": 0.87962566,
    "xavier_uniform_": 2.0 * math.sqrt(2 / 720),
    "xavier_normal_": 2.0 * math.sqrt(2 / 720),
    "kaiming_uniform_": math.sqrt(2 / 180),
    "kaiming_normal_": math.sqrt(2 / 540),
    "orthogonal_": math.sqrt(1 / 180),
}


@pytest.mark.parametrize("name", RANDOM)
def test_standard_deviation(name: str) -> None:
    tensor = gl.empty((60, 20, 3, 3))
    result = RANDOM[name](tensor, gl.random.Generator(0))
    assert result is tensor
    values = tensor.numpy().astype(np.float64)
    assert values.std() == pytest.approx(DEVIATIONS[name], rel=0.03)
    expected_mean = {"uniform_": 0.5, "normal_": 1.0}.get(name, 0.0)
    assert values.mean() == pytest.approx(expected_mean, abs=0.06 * DEVIATIONS[name])


@pytest.fixture(scope="module", params=["array_api_strict", "torch:cpu"])
def device(request: pytest.FixtureRequest) -> gl.Device:
    """Return a device of another array library, where that is installed."""
    pytest.importorskip(request.param.partition(":")[0])
    return gl.Device(request.param)


@pytest.mark.parametrize("fill", RANDOM.values(), ids=RANDOM)
def test_a_seed_means_the_same_on_every_device(fill: Any, device: gl.Device) -> None:
    gl.manual_seed(4)
    here = fill(gl.empty((4, 3))).tolist()
    gl.manual_seed(4)
    there = fill(gl.empty((4, 3), device=device))
    assert there.device == device
    assert there.tolist() == here
    assert fill(gl.empty((4, 3))).tolist() != here


@pytest.mark.parametrize("fill", RANDOM.values(), ids=RANDOM)
def test_a_generator_leaves_the_default_one_alone(fill: Any) -> None:
    gl.manual_seed(4)
    expected = gl.random.rand(3).tolist()
    gl.manual_seed(4)
    first = fill(gl.empty((4, 3)), gl.random.Generator(1)).tolist()
    assert gl.random.rand(3).tolist() == expected
    assert fill(gl.empty((4, 3)), gl.random.Generator(1)).tolist() == first


@pytest.mark.parametrize("dtype", [gl.float16, gl.float32, gl.float64])
@pytest.mark.parametrize("fill", RANDOM.values(), ids=RANDOM)
def test_parameters_are_filled_in_place_without_a_graph(fill: Any, dtype: Any) -> None:
    parameter = gl.nn.Parameter(gl.zeros((3, 2), dtype=dtype))
    data = parameter.detach()
    fill(parameter)
    assert parameter.is_leaf
    assert parameter.requires_grad
    assert parameter.dtype is dtype
    assert parameter.tolist() == data.tolist()
    assert len(set(np.ravel(data.numpy()).tolist())) > 2


def test_bounds() -> None:
    generator = gl.random.Generator(0)
    tensor = gl.empty((50, 100))
    bound = math.sqrt(6 / 150)
    values = init.xavier_uniform_(tensor, generator=generator).numpy()
    assert bound * 0.99 < np.abs(values).max() <= bound
    values = init.kaiming_uniform_(tensor, math.sqrt(5), generator=generator).numpy()
    assert 0.099 < np.abs(values).max() <= 0.1 * (1 + 1e-6)
    values = init.trunc_normal_(tensor, 1.0, 2.0, 0.0, 1.5, generator=generator).numpy()
    assert 0.0 <= values.min() < 0.01
    assert 1.49 < values.max() <= 1.5


@pytest.mark.parametrize("shape", [(4, 7), (7, 4), (5, 5), (6, 2, 3, 3)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    tensor = init.orthogonal_(gl.empty(shape, dtype=gl.float64), 3.0)
    matrix = tensor.numpy().reshape(shape[0], -1)
    small = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    np.testing.assert_allclose(small @ small.T, 9.0 * np.eye(len(small)), atol=1e-12)


def test_constants() -> None:
    tensor = gl.empty((2, 3))
    assert init.constant_(tensor, 0.5).tolist() == [[0.5] * 3] * 2
    assert init.ones_(tensor).tolist() == [[1.0] * 3] * 2
    assert init.zeros_(tensor).tolist() == [[0.0] * 3] * 2
    assert init.eye_(tensor).tolist() == [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]


@pytest.mark.parametrize("groups", [1, 2])
def test_dirac_passes_the_channels_unchanged(groups: int) -> None:
    weight = init.dirac_(gl.empty((4, 4 // groups, 3, 3)), groups)
    x = gl.random.randn(1, 4, 5, 5)
    y = gl.nn.functional.conv2d(x, weight, padding=1, groups=groups)
    assert y.tolist() == x.tolist()


@pytest.mark.parametrize(
    ("nonlinearity", "param"),
    [
        *((name, None) for name in ("linear", "conv2d", "sigmoid", "tanh", "relu")),
        *(("leaky_relu", slope) for slope in (None, 0.2, 1)),
        ("selu", None),
    ],
)
def test_gains_are_pytorchs(torch: Any, nonlinearity: str, param: float | None) -> None:
    gain = init.calculate_gain(nonlinearity, param)
    assert gain == pytest.approx(torch.nn.init.calculate_gain(nonlinearity, param))


VECTOR, MATRIX = gl.empty(3), gl.empty((3, 2))

MISUSES = {
    "gain": (lambda: init.calculate_gain("softplus"), ValueError, "'softplus'"),
    "mode": (lambda: init.kaiming_normal_(MATRIX, mode="fan"), ValueError, "'fan'"),
    "fans": (lambda: init.xavier_normal_(VECTOR), ValueError, r"\(3,\)"),
    "empty": (lambda: init.kaiming_uniform_(gl.empty((3, 0))), ValueError, r"\(3, 0\)"),
    "order": (lambda: init.uniform_(MATRIX, 2.0, 1.0), ValueError, r"a=2\.0"),
    "std": (lambda: init.normal_(MATRIX, std=-1.0), ValueError, r"std .*-1"),
    "cut": (lambda: init.trunc_normal_(MATRIX, mean=50.0), ValueError, "mean=50"),
    "cut-order": (lambda: init.trunc_normal_(MATRIX, a=1, b=0), ValueError, "a=1"),
    "eye": (lambda: init.eye_(VECTOR), ValueError, r"\(3,\)"),
    "dirac": (lambda: init.dirac_(MATRIX), ValueError, r"\(3, 2\)"),
    "dirac-groups": (
        lambda: init.dirac_(gl.empty((3, 2, 1)), 2),
        ValueError,
        "groups .* 3, got 2",
    ),
    "orthogonal": (lambda: init.orthogonal_(VECTOR), ValueError, r"\(3,\)"),
    "dtype": (lambda: init.normal_(gl.zeros(3, dtype=gl.int64)), TypeError, "int64"),
    "array": (lambda: init.normal_(np.ones(3)), TypeError, "ndarray"),
    "constant-array": (lambda: init.zeros_(np.ones(3)), TypeError, "ndarray"),
    "generator": (
        lambda: init.normal_(MATRIX, generator=np.random.default_rng()),
        TypeError,
        "generator",
    ),
}


@pytest.mark.parametrize(("call", "error", "words"), MISUSES.values(), ids=MISUSES)
def test_misuse_names_the_argument_and_the_value(
    call: Callable[[], Any], error: Any, words: str
) -> None:
    with pytest.raises(error, match=words):
        call()
