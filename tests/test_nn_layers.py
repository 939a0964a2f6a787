"""Layers and their functions, against PyTorch and against NumPy in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradlite as gl
from gradlite import nn
from gradlite.nn import functional as F

# Weights, outputs and gradients, exchanged with PyTorch


@pytest.fixture(scope="module")
def torch() -> Any:
    return pytest.importorskip("torch")


class Case(NamedTuple):
    """One layer, made by either library, and the shape of its input."""

    make: Callable[..., Any]
    shape: tuple[int, ...]


IMAGES = (2, 4, 7, 6)

CASES = {
    "linear": Case(lambda nn, **k: nn.Linear(5, 3, **k), (4, 5)),
    "linear-no-bias": Case(lambda nn, **k: nn.Linear(5, 3, bias=False, **k), (4, 5)),
    "linear-batches": Case(lambda nn, **k: nn.Linear(5, 3, **k), (2, 3, 5)),
    "linear-vector": Case(lambda nn, **k: nn.Linear(5, 3, **k), (5,)),
    "conv": Case(lambda nn, **k: nn.Conv2d(4, 6, 3, **k), IMAGES),
    "conv-no-bias": Case(lambda nn, **k: nn.Conv2d(4, 6, 3, bias=False, **k), IMAGES),
    "conv-pairs": Case(
        lambda nn, **k: nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 0), (1, 2), **k), IMAGES
    ),
    "conv-dilation": Case(lambda nn, **k: nn.Conv2d(4, 2, 3, dilation=2, **k), IMAGES),
    "conv-groups": Case(
        lambda nn, **k: nn.Conv2d(4, 6, 3, stride=2, padding=2, groups=2, **k), IMAGES
    ),
    "conv-depthwise": Case(lambda nn, **k: nn.Conv2d(4, 8, 3, groups=4, **k), IMAGES),
    "conv-1x1": Case(lambda nn, **k: nn.Conv2d(4, 3, 1, **k), IMAGES),
    "conv-valid": Case(
        lambda nn, **k: nn.Conv2d(4, 3, 3, padding="valid", **k), IMAGES
    ),
    "conv-same": Case(
        lambda nn, **k: nn.Conv2d(4, 3, 3, padding="same", dilation=2, **k), IMAGES
    ),
    "conv-one-image": Case(lambda nn, **k: nn.Conv2d(4, 6, 3, **k), IMAGES[1:]),
    "max-pool": Case(lambda nn, **k: nn.MaxPool2d(2), IMAGES),
    "max-pool-overlapping": Case(
        lambda nn, **k: nn.MaxPool2d(3, stride=1, padding=1, dilation=(2, 1)), IMAGES
    ),
    "max-pool-one-image": Case(lambda nn, **k: nn.MaxPool2d((2, 3), 2), IMAGES[1:]),
    "avg-pool": Case(lambda nn, **k: nn.AvgPool2d(2), IMAGES),
    "avg-pool-padded": Case(lambda nn, **k: nn.AvgPool2d(3, 2, (1, 0)), IMAGES),
    "avg-pool-no-pad-counted": Case(
        lambda nn, **k: nn.AvgPool2d(3, 2, 1, count_include_pad=False), IMAGES
    ),
    "batch-norm-1d": Case(lambda nn, **k: nn.BatchNorm1d(4, **k), (6, 4)),
    "batch-norm-1d-length": Case(lambda nn, **k: nn.BatchNorm1d(4, **k), (3, 4, 5)),
    "batch-norm-2d": Case(lambda nn, **k: nn.BatchNorm2d(4, eps=0.1, **k), IMAGES),
    "batch-norm-bare": Case(
        lambda nn, **k: nn.BatchNorm2d(4, affine=False, track_running_stats=False, **k),
        IMAGES,
    ),
    "relu": Case(lambda nn, **k: nn.ReLU(), (3, 4)),
    "leaky-relu": Case(lambda nn, **k: nn.LeakyReLU(0.2), (3, 4)),
    "tanh": Case(lambda nn, **k: nn.Tanh(), (3, 4)),
    "sigmoid": Case(lambda nn, **k: nn.Sigmoid(), (3, 4)),
    "softmax": Case(lambda nn, **k: nn.Softmax(1), (3, 4, 2)),
    "log-softmax": Case(lambda nn, **k: nn.LogSoftmax(-1), (3, 4, 2)),
    "flatten": Case(lambda nn, **k: nn.Flatten(), IMAGES),
    "flatten-part": Case(lambda nn, **k: nn.Flatten(0, 2), IMAGES),
    "identity": Case(lambda nn, **k: nn.Identity(54, unused=1), (3, 4)),
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_layer_equals_pytorchs_in_values_and_gradients(
    torch: Any, case: Case, training: bool
) -> None:
    rng = np.random.default_rng(0)
    gl.manual_seed(0)
    ours = case.make(nn, dtype=gl.float64).train(training)
    theirs = case.make(torch.nn, dtype=torch.float64).train(training)
    if case.shape[0] == 6:  # draw other scales and shifts than 1 and 0
        for parameter in theirs.parameters():
            torch.nn.init.uniform_(parameter, 0.5, 2.0)
    theirs.load_state_dict(
        {name: torch.tensor(t.numpy()) for name, t in ours.state_dict().items()}
    )
    ours.load_state_dict(theirs.state_dict())

    for _ in range(2):  # twice, for the running statistics
        x = rng.normal(1.0, 2.0, case.shape)
        our_x = gl.tensor(x, requires_grad=True)
        their_x = torch.tensor(x, requires_grad=True)
        our_y, their_y = ours(our_x), theirs(their_x)
        g = rng.normal(size=their_y.shape)
        our_y.backward(gl.tensor(g))
        their_y.backward(torch.tensor(g))
        close = {"rtol": 1e-10, "atol": 1e-12}
        np.testing.assert_allclose(our_y.detach().numpy(), their_y.detach(), **close)
        np.testing.assert_allclose(our_x.grad.numpy(), their_x.grad, **close)
        for (name, p), (their_name, q) in zip(
            ours.named_parameters(), theirs.named_parameters(), strict=True
        ):
            assert name == their_name
            np.testing.assert_allclose(p.grad.numpy(), q.grad, err_msg=name, **close)
        for (name, a), (their_name, b) in zip(
            ours.state_dict().items(), theirs.state_dict().items(), strict=True
        ):
            assert name == their_name
            np.testing.assert_allclose(a.numpy(), b, err_msg=name, **close)


def test_lenet_exchanges_weights_with_pytorch(torch: Any) -> None:
    def lenet(nn: Any) -> Any:
        return nn.Sequential(
            *(nn.Conv2d(1, 6, 3, dilation=2), nn.BatchNorm2d(6), nn.ReLU()),
            *(nn.MaxPool2d(2), nn.Conv2d(6, 16, 3, dilation=2), nn.BatchNorm2d(16)),
            *(nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(400, 120)),
            *(nn.Tanh(), nn.Linear(120, 84), nn.Sigmoid(), nn.Linear(84, 10)),
        )

    x = np.random.default_rng(0).normal(size=(3, 1, 32, 32)).astype(np.float32)
    ours, theirs = lenet(nn), lenet(torch.nn)
    ours.load_state_dict(theirs.state_dict())
    with torch.no_grad():
        expected = theirs(torch.tensor(x))
    np.testing.assert_allclose(
        ours(gl.tensor(x)).detach().numpy(), expected, rtol=1e-4, atol=1e-5
    )
    back = {name: torch.tensor(t.numpy()) for name, t in ours.state_dict().items()}
    theirs.load_state_dict(back)


# Convolution


def naive_conv2d(
    x: np.ndarray,
    w: np.ndarray,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
) -> np.ndarray:
    """Return the sum over the kernel, written as the definition reads."""
    (ph, pw), (sh, sw), (dh, dw) = padding, stride, dilation
    x = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    outputs, share, kh, kw = w.shape
    rows = (x.shape[2] - dh * (kh - 1) - 1) // sh + 1
    columns = (x.shape[3] - dw * (kw - 1) - 1) // sw + 1
    y = np.zeros((x.shape[0], outputs, rows, columns))
    for o, r, c in np.ndindex(outputs, rows, columns):
        first = o // (outputs // groups) * share
        for i, j in np.ndindex(kh, kw):
            pixels = x[:, first : first + share, r * sh + i * dh, c * sw + j * dw]
            y[:, o, r, c] += pixels @ w[o, :, i, j]
    return y


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 2)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 1)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    groups=st.sampled_from([1, 2]),
    seed=st.integers(0, 2**32 - 1),
)
def test_conv2d_is_its_definition(
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, 2, 5, 6))
    w = rng.normal(size=(4, 2 // groups, *kernel))
    y = F.conv2d(gl.tensor(x), gl.tensor(w), None, stride, padding, dilation, groups)
    expected = naive_conv2d(x, w, stride, padding, dilation, groups)
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-12, atol=1e-12)


def test_conv2d_dilation_is_the_distance_between_taps() -> None:
    """SEED: dilation was off by one against everyone else."""
    image = gl.reshape(gl.arange(25, dtype=gl.float64), (1, 1, 5, 5))
    corners = F.conv2d(image, gl.ones((1, 1, 2, 2), dtype=gl.float64), dilation=3)
    assert corners.shape == (1, 1, 2, 2)
    assert corners[0, 0, 0, 0].item() == 0 + 3 + 15 + 18


def test_conv2d_without_bias_trains_as_the_first_layer() -> None:
    """SEED: such a layer never trained."""
    gl.manual_seed(0)
    x = gl.random.randn(4, 1, 6, 6)
    assert not x.requires_grad
    net = nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), nn.ReLU(), nn.Flatten())
    before = net[0].weight.detach().clone()
    net(x).sum().backward()
    with gl.no_grad():
        net[0].weight.add_(net[0].weight.grad * -0.1)
    assert bool(gl.any(net[0].weight.detach() != before))


@pytest.mark.parametrize("kernel", [(2, 3), (4, 4), (1, 2)])
@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_same_padding_keeps_the_size(kernel: tuple[int, int], dilation: int) -> None:
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(1, 1, 7, 8)), rng.normal(size=(1, 1, *kernel))
    y = F.conv2d(gl.tensor(x), gl.tensor(w), padding="same", dilation=dilation)
    total = [dilation * (k - 1) for k in kernel]
    pads = [(t // 2, t - t // 2) for t in total]
    padded = np.pad(x, ((0, 0), (0, 0), *pads))
    expected = naive_conv2d(padded, w, (1, 1), (0, 0), (dilation, dilation), 1)
    assert y.shape == x.shape
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-12, atol=1e-12)


# Pooling


@pytest.mark.parametrize("pool", ["max", "avg"])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(2, 2, 0), (3, 1, 1)])
def test_pooling_and_its_gradient(
    pool: str, kernel: int, stride: int, padding: int
) -> None:
    """SEED: Python loops went back through pooling."""
    rng = np.random.default_rng(0)
    x = gl.tensor(rng.normal(size=(2, 3, 6, 7)), requires_grad=True)
    function = F.max_pool2d if pool == "max" else F.avg_pool2d
    y = function(x, kernel, stride, padding)
    g = rng.normal(size=y.shape)
    y.backward(gl.tensor(g))

    width = ((0, 0), (0, 0), (padding, padding), (padding, padding))
    fill = -np.inf if pool == "max" else 0.0
    padded = np.pad(x.detach().numpy(), width, constant_values=fill)
    expected, gradient = np.zeros(y.shape), np.zeros(padded.shape)
    for n, c, i, j in np.ndindex(y.shape):
        rows = slice(i * stride, i * stride + kernel)
        window = (n, c, rows, slice(j * stride, j * stride + kernel))
        if pool == "max":
            expected[n, c, i, j] = padded[window].max()
            gradient[window] += g[n, c, i, j] * (padded[window] == padded[window].max())
        else:
            expected[n, c, i, j] = padded[window].mean()
            gradient[window] += g[n, c, i, j] / kernel**2
    inner = slice(padding, -padding or None)
    np.testing.assert_allclose(y.detach().numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(
        x.grad.numpy(), gradient[:, :, inner, inner], rtol=1e-12, atol=1e-15
    )


def test_max_pool_never_takes_the_padding() -> None:
    x = gl.full((1, 1, 2, 2), -5.0)
    assert F.max_pool2d(x, 2, padding=1).tolist() == [[[[-5.0, -5.0], [-5.0, -5.0]]]]


def test_max_pool_gives_a_tie_to_one_pixel() -> None:
    x = gl.zeros((1, 1, 2, 2))
    x.requires_grad_()
    F.max_pool2d(x, 2).sum().backward()
    assert x.grad.sum().item() == 1.0
    assert x.grad.max().item() == 1.0


# Batch normalization


def test_batchnorm_has_pytorchs_semantics_and_names() -> None:
    """SEED: the running variance was biased, and the names its own."""
    x = np.random.default_rng(0).normal(3.0, 2.0, (8, 2))
    layer = nn.BatchNorm1d(2, momentum=0.25, dtype=gl.float64)
    y = layer(gl.tensor(x)).detach().numpy()
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(y.var(0), x.var(0) / (x.var(0) + 1e-5), rtol=1e-12)
    np.testing.assert_allclose(layer.running_mean.numpy(), 0.25 * x.mean(0))
    unbiased = 0.75 + 0.25 * x.var(0, ddof=1)
    np.testing.assert_allclose(layer.running_var.numpy(), unbiased)
    assert layer.num_batches_tracked.item() == 1
    assert list(layer.state_dict()) == [
        "weight",
        "bias",
        "running_mean",
        "running_var",
        "num_batches_tracked",
    ]


def test_batch_norm_without_momentum_keeps_the_plain_mean() -> None:
    rng = np.random.default_rng(0)
    batches = rng.normal(size=(5, 4, 3))
    layer = nn.BatchNorm1d(3, momentum=None, dtype=gl.float64)
    for batch in batches:
        layer(gl.tensor(batch))
    np.testing.assert_allclose(layer.running_mean.numpy(), batches.mean((0, 1)))
    variance = batches.var(1, ddof=1).mean(0)
    np.testing.assert_allclose(layer.running_var.numpy(), variance)
    layer.reset_running_stats()
    assert layer.running_mean.tolist() == [0.0] * 3
    assert layer.running_var.tolist() == [1.0] * 3
    assert layer.num_batches_tracked.item() == 0


def test_batch_norm_in_evaluation_leaves_the_statistics_alone() -> None:
    layer = nn.BatchNorm2d(2).eval()
    layer(gl.random.randn(4, 2, 3, 3))
    assert layer.running_mean.tolist() == [0.0, 0.0]
    assert layer.num_batches_tracked.item() == 0


def test_batch_norm_statistics_are_no_part_of_the_graph() -> None:
    layer = nn.BatchNorm1d(2)
    x = gl.random.randn(4, 2)
    x.requires_grad_()
    layer(x)
    assert not layer.running_mean.requires_grad
    assert layer.running_mean is layer.get_buffer("running_mean")


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_derivatives(training: bool) -> None:
    rng = np.random.default_rng(0)
    x, weight, bias = (
        gl.tensor(rng.normal(size=shape), requires_grad=True)
        for shape in ((5, 2), (2,), (2,))
    )
    mean, var = (
        gl.tensor([0.5, -1.0]).to(gl.float64),
        gl.tensor([2.0, 0.5]).to(gl.float64),
    )

    def norm(x: gl.Tensor, weight: gl.Tensor, bias: gl.Tensor) -> gl.Tensor:
        stats = (None, None) if training else (mean, var)
        return F.batch_norm(x, *stats, weight, bias, training=training)

    assert gl.autograd.gradcheck(norm, (x, weight, bias))
    assert gl.autograd.gradgradcheck(norm, (x, weight, bias))


def test_failed_batch_norm_changes_nothing() -> None:
    layer = nn.BatchNorm1d(2)
    with pytest.raises(ValueError, match=r"more than one value per channel.*\(1, 2\)"):
        layer(gl.ones((1, 2)))
    assert layer.num_batches_tracked.item() == 0
    assert layer.running_mean.tolist() == [0.0, 0.0]


# Dropout


def test_dropout_is_reproducible_and_keeps_the_mean() -> None:
    layer = nn.Dropout(0.25)
    x = gl.ones((100, 100))
    gl.manual_seed(3)
    first = layer(x)
    gl.manual_seed(3)
    assert bool(gl.all(first == layer(x)))
    assert bool(gl.any(first != layer(x)))
    assert set(np.unique(first.numpy())) == {0.0, np.float32(4 / 3)}
    assert abs(first.mean().item() - 1.0) < 0.02
    assert abs((first == 0).sum().item() / 10_000 - 0.25) < 0.02


def test_dropout_has_its_own_generator() -> None:
    def mask() -> list[float]:
        layer = nn.Dropout(0.5, generator=gl.random.Generator(5))
        return layer(gl.ones(50)).tolist()

    gl.manual_seed(0)
    expected = gl.random.rand(3).tolist()
    gl.manual_seed(0)
    assert mask() == mask()
    assert gl.random.rand(3).tolist() == expected


def test_dropout_gradient_is_its_mask() -> None:
    x = gl.ones(1000)
    x.requires_grad_()
    y = F.dropout(x, 0.5)
    y.sum().backward()
    assert x.grad.tolist() == y.tolist()


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0])
def test_dropout_at_the_ends_and_in_evaluation(p: float) -> None:
    layer, x = nn.Dropout(p), gl.ones(10)
    assert layer.eval()(x) is x
    y = layer.train()(x)
    if p == 0.0:
        assert y is x
    if p == 1.0:
        assert y.tolist() == [0.0] * 10


@pytest.fixture(scope="module", params=["array_api_strict", "torch:cpu"])
def device(request: pytest.FixtureRequest) -> gl.Device:
    """Return a device of another array library, where that is installed."""
    pytest.importorskip(request.param.partition(":")[0])
    return gl.Device(request.param)


def test_dropout_and_weights_do_not_depend_on_the_device(device: gl.Device) -> None:
    gl.manual_seed(0)
    here = nn.Linear(3, 3), F.dropout(gl.ones(20), 0.5)
    gl.manual_seed(0)
    there = nn.Linear(3, 3, device=device), F.dropout(gl.ones(20, device=device), 0.5)
    for tensor in (there[0].weight, there[0].bias, there[1]):
        assert tensor.device == device
    assert here[0].weight.tolist() == there[0].weight.tolist()
    assert here[0].bias.tolist() == there[0].bias.tolist()
    assert here[1].tolist() == there[1].tolist()


# Arguments


@pytest.mark.parametrize(
    "make",
    [
        lambda **k: nn.Linear(2, 3, **k),
        lambda **k: nn.Conv2d(1, 2, 3, **k),
        lambda **k: nn.BatchNorm1d(3, **k),
        lambda **k: nn.BatchNorm2d(3, **k),
    ],
)
def test_device_and_dtype(make: Callable[..., Any]) -> None:
    pytest.importorskip("array_api_strict")
    device = gl.Device("array_api_strict")
    layer = make(device="array_api_strict", dtype=gl.float64)
    tensors = [*layer.parameters(), *layer.buffers()]
    assert len(tensors) >= 2
    assert all(t.device == device for t in tensors)
    assert {t.dtype for t in tensors} <= {gl.float64, gl.int64}
    with gl.device("array_api_strict"):
        assert next(make().parameters()).device == device
    assert next(make().parameters()).dtype is gl.float32


X = gl.ones((2, 3, 4, 4))

MISUSES = {
    "in_features": (lambda: nn.Linear(0, 1), ValueError, "in_features .* 0"),
    "out_features": (lambda: nn.Linear(1, 2.5), TypeError, r"out_features .* 2\.5"),
    "kernel_size": (lambda: nn.Conv2d(1, 1, (1, 2, 3)), ValueError, "kernel_size"),
    "stride": (lambda: nn.Conv2d(1, 1, 1, stride=0), ValueError, "stride .* 0"),
    "padding": (lambda: nn.Conv2d(1, 1, 1, padding=-1), ValueError, "padding .* -1"),
    "padding-word": (lambda: nn.Conv2d(1, 1, 1, padding="full"), ValueError, "'full'"),
    "padding-same": (
        lambda: nn.Conv2d(1, 1, 3, stride=2, padding="same"),
        ValueError,
        "stride=1",
    ),
    "groups": (lambda: nn.Conv2d(3, 4, 1, groups=2), ValueError, "in_channels .* 3"),
    "groups-out": (lambda: nn.Conv2d(4, 3, 1, groups=2), ValueError, "out_channels"),
    "padding_mode": (
        lambda: nn.Conv2d(1, 1, 1, padding_mode="reflect"),
        ValueError,
        "'reflect'",
    ),
    "pool": (lambda: nn.MaxPool2d(0), ValueError, "kernel_size .* 0"),
    "pool-padding": (lambda: nn.MaxPool2d(2, padding=2), ValueError, "half .* 2"),
    "pool-stride": (lambda: nn.AvgPool2d(2, stride=0), ValueError, "stride .* 0"),
    "num_features": (lambda: nn.BatchNorm1d(-1), ValueError, "num_features .* -1"),
    "eps": (lambda: nn.BatchNorm1d(1, eps=-1.0), ValueError, r"eps .* -1\.0"),
    "momentum": (lambda: nn.BatchNorm1d(1, momentum=2), ValueError, "momentum .* 2"),
    "p": (lambda: nn.Dropout(1.5), ValueError, r"p .* 1\.5"),
    "p-nan": (lambda: nn.Dropout(float("nan")), ValueError, "p .* nan"),
    "p-word": (lambda: nn.Dropout("half"), TypeError, "p .* 'half'"),
    "generator": (
        lambda: nn.Dropout(generator=np.random.default_rng()),
        TypeError,
        "generator",
    ),
    "list": (lambda: nn.BatchNorm1d(1)([[1.0]]), TypeError, "input .* list"),
    "dtype": (lambda: nn.Linear(1, 1, dtype=gl.int64), TypeError, "float"),
    "linear-shape": (lambda: nn.Linear(5, 2)(gl.ones((2, 4))), ValueError, "5"),
    "conv-shape": (lambda: nn.Conv2d(4, 1, 1)(X), ValueError, r"4|\(2, 3, 4, 4\)"),
    "conv-ndim": (lambda: nn.Conv2d(3, 1, 1)(gl.ones((2, 3))), ValueError, "C, H, W"),
    "conv-small": (lambda: nn.Conv2d(3, 1, 5)(X), ValueError, "5x5"),
    "pool-ndim": (lambda: nn.MaxPool2d(2)(gl.ones(3)), ValueError, "C, H, W"),
    "pool-small": (lambda: nn.AvgPool2d(5)(X), ValueError, "5x5"),
    "norm-ndim": (lambda: nn.BatchNorm1d(3)(X), ValueError, r"\(N, C, L\)"),
    "norm-2d-ndim": (lambda: nn.BatchNorm2d(3)(gl.ones((2, 3))), ValueError, "N, C, H"),
    "norm-channels": (lambda: nn.BatchNorm2d(4)(X), ValueError, r"4.*\(2, 3, 4, 4\)"),
    "norm-function": (
        lambda: F.batch_norm(X, gl.ones(2), gl.ones(3)),
        ValueError,
        r"running_mean .*\(3,\)",
    ),
    "norm-no-stats": (lambda: F.batch_norm(X, None, None), ValueError, "running_mean"),
    "flatten-axis": (lambda: nn.Flatten(4)(X), IndexError, "start_dim .* 4"),
    "flatten-order": (lambda: nn.Flatten(2, 1)(X), ValueError, "start_dim"),
    "softmax-axis": (lambda: nn.Softmax(7)(X), (IndexError, ValueError), "7"),
}


@pytest.mark.parametrize(("call", "error", "words"), MISUSES.values(), ids=MISUSES)
def test_misuse_names_the_argument_and_the_value(
    call: Callable[[], Any], error: Any, words: str
) -> None:
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize("name", F.__all__)
def test_functions_are_documented(name: str) -> None:
    assert len(getattr(F, name).__doc__) > 20


def test_arrays_are_taken_as_inputs() -> None:
    x = np.ones((2, 3, 4, 4), np.float32)
    net = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2), nn.Flatten())
    assert net(x).tolist() == net(gl.asarray(x)).tolist()
    for layer in (nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.0), nn.LeakyReLU()):
        assert layer(x).tolist() == layer(gl.asarray(x)).tolist()
    target = np.zeros((2, 4, 4), np.int64)
    assert F.cross_entropy(x, target).item() == pytest.approx(np.log(3))


def test_numpy_integers_are_integers() -> None:
    two = np.int64(2)
    layer = nn.Conv2d(two, two, two, stride=(two, two), padding=two)
    assert layer(gl.ones((1, 2, 4, 4))).shape == (1, 2, 4, 4)
    assert layer.kernel_size == (2, 2)


def test_layers_of_one_seed_are_equal_and_differ_from_each_other() -> None:
    gl.manual_seed(11)
    a = nn.Linear(3, 3)
    b = nn.Linear(3, 3)
    gl.manual_seed(11)
    c = nn.Linear(3, 3)
    assert a.weight.tolist() == c.weight.tolist()
    assert a.weight.tolist() != b.weight.tolist()


@pytest.mark.parametrize(
    ("layer", "fan"),
    [(nn.Linear(50, 400), 50), (nn.Conv2d(6, 90, (3, 5), groups=2), 45)],
)
def test_default_weights_are_pytorchs_uniform_ones(layer: Any, fan: int) -> None:
    for parameter in layer.parameters():
        values = parameter.detach().numpy()
        bound = fan**-0.5
        assert bound * 0.9 < np.abs(values).max() <= bound * (1 + 1e-6)
        assert abs(values.mean()) < bound * 0.3
