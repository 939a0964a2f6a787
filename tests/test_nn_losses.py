"""Losses, against their definitions in float64 and against PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradlite as gl
from gradlite import nn
from gradlite.nn import functional as F

REDUCTIONS = ("none", "mean", "sum")


@pytest.fixture(scope="module")
def torch() -> Any:
    return pytest.importorskip("torch")


def reduced(losses: np.ndarray, reduction: str, total: float) -> np.ndarray:
    if reduction == "none":
        return losses
    return losses.sum() / (total if reduction == "mean" else 1.0)


def naive_cross_entropy(
    x: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray | None,
    ignore_index: int,
    reduction: str,
    smoothing: float,
) -> np.ndarray:
    """Return the cross-entropy of (N, C, d), one target at a time."""
    classes = x.shape[1]
    weight = np.ones(classes) if weight is None else weight
    losses, total = np.zeros((x.shape[0], x.shape[2])), 0.0
    for n, d in np.ndindex(losses.shape):
        logits = x[n, :, d]
        log_p = logits - np.log(np.exp(logits).sum())
        if target.ndim == 3:
            share, total = target[n, :, d], total + 1.0
        elif target[n, d] == ignore_index:
            continue
        else:
            share, total = np.eye(classes)[target[n, d]], total + weight[target[n, d]]
        share = share * (1.0 - smoothing) + smoothing / classes
        losses[n, d] = -(weight * share * log_p).sum()
    return reduced(losses, reduction, total)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    weighted=st.booleans(),
    kind=st.sampled_from(["classes", "ignoring", "probabilities"]),
    reduction=st.sampled_from(REDUCTIONS),
    smoothing=st.sampled_from([0.0, 0.1, 1.0]),
    shape=st.sampled_from(["vector", "matrix", "images"]),
)
def test_cross_entropy_is_its_definition(
    seed: int,
    weighted: bool,
    kind: str,
    reduction: str,
    smoothing: float,
    shape: str,
) -> None:
    rng = np.random.default_rng(seed)
    n, classes, d = {"vector": (1, 3, 1), "matrix": (4, 3, 1), "images": (2, 3, 6)}[
        shape
    ]
    x = rng.normal(size=(n, classes, d))
    weight = rng.uniform(0.5, 2.0, classes) if weighted else None
    target: np.ndarray = rng.integers(classes, size=(n, d))
    ignore_index = 1 if kind == "ignoring" else -100
    target.flat[0] = 2  # one at least counts
    if kind == "probabilities":
        target = rng.dirichlet(np.ones(classes), (n, d)).transpose(0, 2, 1)
    expected = naive_cross_entropy(
        x, target, weight, ignore_index, reduction, smoothing
    )

    def fit(array: np.ndarray, batch: tuple[int, ...]) -> gl.Tensor:
        ending = {"vector": (), "matrix": (), "images": (2, 3)}[shape]
        return gl.tensor(array.reshape((*batch, *ending)))

    batch = () if shape == "vector" else (n,)
    has_classes = target.ndim == 3
    loss = F.cross_entropy(
        fit(x, (*batch, classes)),
        fit(target, (*batch, classes) if has_classes else batch),
        None if weight is None else gl.tensor(weight),
        ignore_index=ignore_index,
        reduction=reduction,
        label_smoothing=smoothing,
    )
    np.testing.assert_allclose(
        loss.numpy().reshape(expected.shape), expected, rtol=1e-12
    )


def classification(seed: int, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape)
    target = rng.integers(shape[1], size=(shape[0], *shape[2:]))
    return x, target


WEIGHT = np.array([0.5, 2.0, 1.0, 3.0])

PEERS: dict[str, tuple[Callable[..., Any], str]] = {
    "cross-entropy": (lambda nn, w, r: nn.CrossEntropyLoss(reduction=r), "classes"),
    "cross-entropy-weights": (
        lambda nn, w, r: nn.CrossEntropyLoss(w(WEIGHT), reduction=r),
        "classes",
    ),
    "cross-entropy-all": (
        lambda nn, w, r: nn.CrossEntropyLoss(
            w(WEIGHT), ignore_index=2, reduction=r, label_smoothing=0.2
        ),
        "classes",
    ),
    "cross-entropy-probabilities": (
        lambda nn, w, r: nn.CrossEntropyLoss(
            w(WEIGHT), reduction=r, label_smoothing=0.2
        ),
        "same",
    ),
    "nll": (lambda nn, w, r: nn.NLLLoss(reduction=r), "classes"),
    "nll-all": (
        lambda nn, w, r: nn.NLLLoss(w(WEIGHT), ignore_index=1, reduction=r),
        "classes",
    ),
    "mse": (lambda nn, w, r: nn.MSELoss(reduction=r), "same"),
    "bce": (lambda nn, w, r: nn.BCELoss(reduction=r), "probabilities"),
    "bce-weights": (
        lambda nn, w, r: nn.BCELoss(w(WEIGHT[:, None]), reduction=r),
        "probabilities",
    ),
    "bce-logits": (lambda nn, w, r: nn.BCEWithLogitsLoss(reduction=r), "same"),
    "bce-logits-all": (
        lambda nn, w, r: nn.BCEWithLogitsLoss(
            w(WEIGHT[:, None]), reduction=r, pos_weight=w(WEIGHT[::-1, None].copy())
        ),
        "same",
    ),
}


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("make", "kind"), PEERS.values(), ids=PEERS)
def test_loss_equals_pytorchs_in_value_and_gradient(
    torch: Any, make: Callable[..., Any], kind: str, reduction: str
) -> None:
    x, target = classification(0, (5, 4, 3))
    if kind != "classes":
        target = np.random.default_rng(1).uniform(size=x.shape)
    if kind == "probabilities":
        x = 1 / (1 + np.exp(-x))
    ours = make(nn, gl.tensor, reduction)
    theirs = make(torch.nn, torch.tensor, reduction)
    our_x, their_x = (
        gl.tensor(x, requires_grad=True),
        torch.tensor(x, requires_grad=True),
    )
    our_loss = ours(our_x, gl.tensor(target))
    their_loss = theirs(their_x, torch.tensor(target))
    assert our_loss.shape == tuple(their_loss.shape)
    our_loss.sum().backward()
    their_loss.sum().backward()
    close = {"rtol": 1e-12, "atol": 1e-14}
    np.testing.assert_allclose(our_loss.detach().numpy(), their_loss.detach(), **close)
    np.testing.assert_allclose(our_x.grad.numpy(), their_x.grad, **close)
    assert list(ours.state_dict()) == list(theirs.state_dict())


@pytest.mark.parametrize(
    "loss",
    [
        lambda x, t: F.cross_entropy(x, t, label_smoothing=0.1),
        lambda x, t: F.cross_entropy(x, t, ignore_index=1),
        lambda x, t: F.nll_loss(x, t, gl.tensor(WEIGHT)),
        lambda x, t: F.mse_loss(x, gl.zeros_like(x)),
        lambda x, t: F.binary_cross_entropy(gl.sigmoid(x), gl.full_like(x, 0.3)),
        lambda x, t: F.binary_cross_entropy_with_logits(x, gl.full_like(x, 0.3)),
    ],
)
def test_derivatives_of_losses(loss: Callable[..., gl.Tensor]) -> None:
    array, target = classification(2, (3, 4))
    array[0, 0] = 0.0  # where two branches meet
    x, t = gl.tensor(array, requires_grad=True), gl.tensor(target)
    assert gl.autograd.gradcheck(lambda x: loss(x, t), (x,))
    assert gl.autograd.gradgradcheck(lambda x: loss(x, t), (x,))


def test_cross_entropy_of_far_apart_rows_is_exact() -> None:
    """SEED: one maximum for all rows made far ones NaN."""
    x = gl.tensor([[1000.0, 0.0], [-1000.0, -1002.0]], requires_grad=True)
    losses = F.cross_entropy(x, gl.tensor([0, 0]), reduction="none")
    np.testing.assert_allclose(
        losses.detach().numpy(), [0.0, np.log1p(np.exp(-2.0))], rtol=1e-6
    )
    losses.sum().backward()
    p = 1 / (1 + np.exp(-2.0))
    np.testing.assert_allclose(
        x.grad.numpy(), [[0, 0], [p - 1, 1 - p]], rtol=1e-5, atol=1e-7
    )


def test_bce_gradient() -> None:
    """SEED: it was wrong."""
    p = gl.tensor([0.2, 0.7], dtype=gl.float64, requires_grad=True)
    F.binary_cross_entropy(p, gl.tensor([1.0, 0.0], dtype=gl.float64)).backward()
    np.testing.assert_allclose(p.grad.numpy(), [-0.5 / 0.2, 0.5 / 0.3])


def test_bce_at_certainty_is_finite() -> None:
    p = gl.tensor([0.0, 1.0, 0.0, 1.0], requires_grad=True)
    target = gl.tensor([0.0, 1.0, 1.0, 0.0])
    losses = F.binary_cross_entropy(p, target, reduction="none")
    assert losses.tolist() == [0.0, 0.0, 100.0, 100.0]
    losses.sum().backward()
    assert bool(gl.all(gl.isfinite(p.grad)))


@pytest.mark.parametrize("logit", [-1000.0, 0.0, 1000.0])
@pytest.mark.parametrize("target", [0.0, 0.5, 1.0])
def test_bce_with_logits_is_finite_and_its_gradient_exact(
    logit: float, target: float
) -> None:
    x = gl.tensor([logit], requires_grad=True)
    loss = F.binary_cross_entropy_with_logits(x, gl.tensor([target]))
    loss.backward()
    assert loss.item() == pytest.approx(np.logaddexp(0.0, logit) - target * logit)
    assert x.grad.item() == pytest.approx((np.sign(logit) + 1) / 2 - target)


def test_ignored_samples_have_no_gradient_even_at_infinity() -> None:
    x = gl.tensor([[-np.inf, 0.0], [1.0, 2.0]], requires_grad=True)
    loss = F.cross_entropy(x, gl.tensor([0, 1]), ignore_index=0)
    loss.backward()
    assert loss.item() == pytest.approx(np.log1p(np.exp(-1.0)))
    assert x.grad[0].tolist() == [0.0, 0.0]


@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_mean_over_no_sample_is_nan() -> None:
    target = gl.tensor([-100, -100])
    assert np.isnan(F.cross_entropy(gl.zeros((2, 3)), target).item())
    assert F.cross_entropy(gl.zeros((2, 3)), target, reduction="sum").item() == 0.0


@pytest.mark.parametrize("dtype", [gl.int8, gl.uint8, gl.int32, gl.int64])
def test_classes_of_every_integer_dtype(dtype: Any) -> None:
    target = gl.tensor([2, 0], dtype=dtype)
    assert F.nll_loss(gl.asarray(np.eye(3)[:2]), target).item() == 0.0


@pytest.fixture(scope="module", params=["array_api_strict", "torch:cpu"])
def device(request: pytest.FixtureRequest) -> gl.Device:
    """Return a device of another array library, where that is installed."""
    pytest.importorskip(request.param.partition(":")[0])
    return gl.Device(request.param)


def test_losses_on_other_array_libraries(device: gl.Device) -> None:
    x, target = classification(3, (5, 4))
    expected = F.cross_entropy(
        gl.tensor(x), gl.tensor(target), gl.tensor(WEIGHT), label_smoothing=0.1
    ).item()
    loss = F.cross_entropy(
        gl.tensor(x, device=device),
        gl.tensor(target, device=device),
        gl.tensor(WEIGHT, device=device),
        label_smoothing=0.1,
    )
    assert loss.device == device
    assert loss.item() == pytest.approx(expected, rel=1e-12)


def test_wrong_targets_off_the_host_give_nan_and_no_wait() -> None:
    pytest.importorskip("array_api_strict")
    device = gl.Device("array_api_strict:device1")
    assert not device.is_host
    x = gl.zeros((4, 3), device=device)
    target = gl.tensor([0, 3, -1, -100], device=device)
    weight = gl.ones(3, device=device)
    losses = F.cross_entropy(x, target, weight, reduction="none").cpu().numpy()
    np.testing.assert_allclose(losses, [np.log(3), np.nan, np.nan, 0.0], rtol=1e-6)
    right = F.cross_entropy(x, gl.tensor([0, 1, 2, -100], device=device))
    assert right.item() == pytest.approx(np.log(3))


X = gl.zeros((2, 3))
T = gl.tensor([0, 2])

MISUSES = {
    "reduction": (lambda: nn.MSELoss(reduction="avg"), ValueError, "reduction .*'avg'"),
    "reduction-function": (
        lambda: F.cross_entropy(X, T, reduction="max"),
        ValueError,
        "'max'",
    ),
    "smoothing": (
        lambda: nn.CrossEntropyLoss(label_smoothing=1.5),
        ValueError,
        r"label_smoothing .* 1\.5",
    ),
    "ignore": (lambda: nn.NLLLoss(ignore_index=0.5), TypeError, "ignore_index"),
    "class": (
        lambda: F.cross_entropy(X, gl.tensor([0, 3])),
        IndexError,
        "classes from 0 to 2 .* 3",
    ),
    "negative-class": (
        lambda: F.nll_loss(X, gl.tensor([-1, 0])),
        IndexError,
        "got -1",
    ),
    "batch": (
        lambda: F.cross_entropy(X, gl.tensor([0])),
        ValueError,
        r"\(2,\).*\(1,\)",
    ),
    "one-hot-integers": (
        lambda: F.cross_entropy(X, gl.zeros((2, 3), dtype=gl.int64)),
        ValueError,
        r"target .*\(2,\).*\(2, 3\)",
    ),
    "float-classes": (lambda: F.nll_loss(X, gl.zeros(2)), TypeError, "integer"),
    "float-class-numbers": (
        lambda: F.cross_entropy(X, gl.zeros(2)),
        ValueError,
        r"target .*\(2, 3\).*\(2,\).*astype",
    ),
    "bool-classes": (
        lambda: F.cross_entropy(X, gl.tensor([True, False])),
        TypeError,
        "bool",
    ),
    "weight": (
        lambda: F.cross_entropy(X, T, gl.ones(2)),
        ValueError,
        r"weight .*\(3,\).*\(2,\)",
    ),
    "ignored-probabilities": (
        lambda: F.cross_entropy(X, X, ignore_index=1),
        ValueError,
        "ignore_index",
    ),
    "scalar": (lambda: F.cross_entropy(gl.ones(()), T), ValueError, "0-D"),
    "mse-shape": (
        lambda: F.mse_loss(gl.ones((2, 1)), gl.ones(2)),
        ValueError,
        r"target .*\(2, 1\).*\(2,\)",
    ),
    "bce-shape": (lambda: F.binary_cross_entropy(X, T), ValueError, "target"),
    "bce-logits-shape": (
        lambda: F.binary_cross_entropy_with_logits(X, T),
        ValueError,
        "target",
    ),
    "bce-range": (
        lambda: F.binary_cross_entropy(X - 0.5, X),
        ValueError,
        "binary_cross_entropy_with_logits",
    ),
    "list": (lambda: F.cross_entropy(X, [0, 1]), TypeError, r"gl\.tensor"),
    "mse-number": (lambda: F.mse_loss(X, 0.0), TypeError, r"gl\.tensor"),
    "module-weight": (lambda: nn.NLLLoss([1.0, 2.0]), TypeError, r"gl\.tensor"),
}


@pytest.mark.parametrize(("call", "error", "words"), MISUSES.values(), ids=MISUSES)
def test_misuse_names_the_argument_and_the_value(
    call: Callable[[], Any], error: Any, words: str
) -> None:
    with pytest.raises(error, match=words):
        call()
