"""What a new user gets wrong gives an error that names it, and changes nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradlite as gl
import gradlite.nn.functional as F
from gradlite import data, nn, optim

NAN, INF = float("nan"), float("inf")
X = gl.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
INTS = gl.tensor([1, 2])
V = gl.tensor([1.0, 2.0])
STRICT = gl.ones((2, 3), device="array_api_strict")
IMAGES = gl.ones((2, 1, 8, 8))
CLASSES = gl.tensor([0, 2])
PAIRS = data.TensorDataset(gl.ones((5, 2)), gl.arange(5))


def fresh(*values: float) -> gl.Tensor:
    return gl.tensor(values or (1.0, 2.0), requires_grad=True)


def sgd(**options: Any) -> optim.SGD:
    return optim.SGD([fresh()], lr=0.1, momentum=0.9, **options)


def scheduler() -> optim.lr_scheduler.LinearLR:
    return optim.lr_scheduler.LinearLR(sgd())


def batches(samples: list[Any], **options: Any) -> list[Any]:
    return list(data.DataLoader(samples, 2, **options))


def saved(**changes: Any) -> dict[str, Any]:
    return {"state": {}, "param_groups": [{"params": [0]}], **changes}


Case = tuple[Callable[[], Any], type[Exception] | tuple[type[Exception], ...], str]

OPERATIONS: list[Case] = [
    (lambda: gl.add(X, None), TypeError, r"add\(\) argument 'x2'.*None"),
    (lambda: gl.concat([X, None]), TypeError, r"concat\(\) argument 'arrays'.*None"),
    (lambda: gl.take(X, None, axis=0), TypeError, r"take.*'indices'.*None"),
    (lambda: F.linear(X, None), TypeError, r"linear.*'weight'.*None"),
    (lambda: gl.zeros_like([1]), TypeError, r"^zeros_like\(\) argument 'x'.*list"),
    (lambda: gl.full_like([1], 2), TypeError, r"^full_like\(\) argument 'x'.*list"),
    (lambda: X + gl.zeros(4), ValueError, r"add\(float32 \(2, 3\).*float32 \(4,\)"),
    (lambda: X @ X, ValueError, r"matmul\(float32 \(2, 3\) on cpu, float32 \(2, 3\)"),
    (lambda: gl.sum(X, axis=2), IndexError, r"axis 2 .*sum\(.*axis=2"),
    (lambda: gl.sum(X, axis="a"), TypeError, r"sum\(.*axis='a'"),
    (lambda: gl.reshape(X, (4, 2)), ValueError, r"reshape\(float32 \(2, 3\).*\(4, 2\)"),
    (lambda: gl.max(gl.zeros((0, 3))), ValueError, r"max\(float32 \(0, 3\)"),
    (lambda: gl.concat([X, V]), ValueError, r"concat\(float32 \(2, 3\).*float32 \(2,"),
    (lambda: gl.sum(STRICT, axis=2), IndexError, r"sum\(.*array_api_strict.*axis=2"),
    (lambda: gl.astype(X, None), TypeError, r"dtype must be.*None"),
    (lambda: X.astype(None), TypeError, r"dtype must be.*None"),
    (lambda: INTS * [1, 2], TypeError, r"multiply.*'x2'.*list.*gl\.tensor"),
    (lambda: [1, 2] * gl.tensor(3), TypeError, r"multiply.*'x1'.*list"),
    (lambda: (1, 2) - INTS, TypeError, r"subtract.*'x1'.*tuple"),
    (lambda: gl.pad(X, 1), TypeError, r"pad\(float32 \(2, 3\).*widths=1"),
    (lambda: INTS == [1, 2], TypeError, r"equal.*'x2'.*list"),
]

TENSORS: list[Case] = [
    (lambda: gl.tensor([300], dtype=gl.uint8), ValueError, r"uint8.*255.*300"),
    (lambda: gl.tensor([-1], dtype=gl.uint8), ValueError, r"uint8.*from -1"),
    (lambda: gl.tensor([NAN], dtype=gl.int64), ValueError, r"int64.*nan"),
    (lambda: gl.tensor(2**70), TypeError, r"data.*64 bits.*int"),
    (lambda: gl.tensor([1.0], requires_grad="no"), TypeError, r"requires_grad.*'no'"),
    (lambda: V.requires_grad_("no"), TypeError, r"requires_grad.*'no'"),
    (lambda: gl.rand(2, requires_grad="no"), TypeError, r"requires_grad.*'no'"),
    (lambda: gl.ones(2, device=gl.device("cpu")), TypeError, r"device.*gl\.Device"),
    (lambda: V.clone().fill_("a"), TypeError, r"value.*float32.*'a'"),
    (lambda: V.clone().fill_(None), TypeError, r"value.*None"),
    (lambda: V.clone().fill_([1]), TypeError, r"value.*\[1\].*copy_"),
    (lambda: V.clone().fill_(1j), TypeError, r"value.*float32.*1j"),
    (lambda: V.clone().__setitem__(0, gl.tensor(1j)), TypeError, r"complex.*gl\.real"),
    (lambda: V.to("cpu", device="cpu"), TypeError, r"target is 'cpu'"),
    (lambda: V.to(gl.float64, "cpu"), TypeError, r"beside"),
    (lambda: V.to(V, device="cpu"), TypeError, r"'cpu' is given beside"),
    (lambda: fresh().register_hook(3), TypeError, r"hook.*3"),
    (lambda: (fresh() * 2).backward(gl.ones(2) * 1j), TypeError, r"gradient.*complex"),
    (lambda: (fresh() * 2).backward([1.0]), ValueError, r"gradient has shape \(1,\)"),
    (
        lambda: (fresh() * 2).backward(gl.ones(2, device="array_api_strict")),
        ValueError,
        r"gradient is on array_api_strict",
    ),
    (lambda: gl.set_grad_enabled("no"), TypeError, r"mode.*'no'"),
    (lambda: gl.no_grad(3), TypeError, r"no_grad\(\) takes no argument.*@no_grad\(\)"),
    (lambda: gl.no_grad()(int), TypeError, r"decorates functions.*methods"),
    (lambda: gl.random.Generator(0).spawn("a"), TypeError, r"key.*'a'"),
    (lambda: gl.random.Generator(0).spawn(1.5), TypeError, r"key.*1\.5"),
]

LAYERS: list[Case] = [
    (lambda: nn.Linear(3, 2, gl.float64), TypeError, r"bias must be True or False"),
    (lambda: nn.Linear(3, 2, dtype=gl.int64), TypeError, r"dtype of parameters.*int64"),
    (lambda: nn.Conv2d(1, 2, 3, bias="no"), TypeError, r"bias.*'no'"),
    (lambda: nn.Conv2d(1, 2, 3, dtype=gl.bool), TypeError, r"dtype of parameters"),
    (lambda: nn.BatchNorm1d(3, affine="no"), TypeError, r"affine.*'no'"),
    (lambda: nn.BatchNorm1d(3, dtype=gl.int32), TypeError, r"dtype of parameters"),
    (lambda: nn.AvgPool2d(2, count_include_pad=1), TypeError, r"count_include_pad.*1"),
    (lambda: nn.Flatten("a"), TypeError, r"start_dim.*'a'"),
    (lambda: nn.Flatten(1, 2.5), TypeError, r"end_dim.*2\.5"),
    (lambda: nn.CrossEntropyLoss(weight=[1.0]), TypeError, r"^weight must be a tensor"),
    (lambda: F.leaky_relu(X, "a"), TypeError, r"negative_slope.*'a'"),
    (lambda: F.conv2d(IMAGES, "a", padding="same"), TypeError, r"weight.*str"),
    (lambda: F.batch_norm(X, [0] * 3, [1] * 3), TypeError, r"running_mean.*list"),
    (
        lambda: F.batch_norm(X, gl.zeros(3), gl.ones(3), eps=-1),
        ValueError,
        r"eps.*-1",
    ),
    (
        lambda: F.batch_norm(X, None, None, training=True, momentum="a"),
        TypeError,
        r"momentum.*'a'",
    ),
    (
        lambda: F.batch_norm(X, gl.zeros(3), None, training=True),
        ValueError,
        r"running_mean and running_var must both",
    ),
    (
        lambda: F.binary_cross_entropy(V / 4, V / 4, [1]),
        TypeError,
        r"weight must be a tensor",
    ),
    (
        lambda: F.binary_cross_entropy_with_logits(V[:1], V[:1], gl.ones(5)),
        ValueError,
        r"weight must have shape \(1,\).*\(5,\)",
    ),
    (
        lambda: F.binary_cross_entropy_with_logits(V[:1], V[:1], pos_weight=gl.ones(5)),
        ValueError,
        r"pos_weight must have shape \(1,\).*\(5,\)",
    ),
    (lambda: nn.ModuleList(3), TypeError, r"modules.*int.*\[module\]"),
    (lambda: nn.ModuleList(nn.Linear(2, 2)), TypeError, r"modules.*Linear"),
    (lambda: nn.Sequential(nn.ReLU())["a"], TypeError, r"index.*'a'"),
    (lambda: nn.ModuleDict({"a": nn.ReLU()})["b"], KeyError, r"'b'.*\['a'\]"),
    (lambda: nn.ReLU().apply(3), TypeError, r"fn.*3"),
    (lambda: nn.ReLU().requires_grad_("no"), TypeError, r"requires_grad.*'no'"),
    (lambda: nn.init.uniform_([1.0]), TypeError, r"tensor must be a tensor.*list"),
    (lambda: nn.init.uniform_(V.clone(), "a"), TypeError, r"a must be.*'a'"),
    (lambda: nn.init.constant_(V.clone(), None), TypeError, r"val must be.*None"),
    (lambda: nn.init.constant_(V.clone(), "a"), TypeError, r"val must be.*'a'"),
    (lambda: nn.init.xavier_uniform_([1.0]), TypeError, r"tensor must be a tensor"),
    (lambda: nn.utils.clip_grad_norm_([V], "a"), TypeError, r"max_norm.*'a'"),
    (lambda: nn.utils.clip_grad_norm_([3], 1.0), TypeError, r"int at position 0"),
    (
        lambda: nn.utils.clip_grad_norm_(nn.ReLU(), 1.0),
        TypeError,
        r"parameters.*ReLU.*model\.parameters\(\)",
    ),
]

TRAINING: list[Case] = [
    (lambda: sgd().step(V), TypeError, r"closure.*Tensor.*step\(\)"),
    (
        lambda: optim.lr_scheduler.LambdaLR(sgd(), lambda epoch: -1.0),
        ValueError,
        r"lr_lambda\(0\).*-1",
    ),
    (
        lambda: optim.lr_scheduler.LambdaLR(sgd(), lambda epoch: None),
        TypeError,
        r"lr_lambda\(0\).*None",
    ),
    (lambda: scheduler().load_state_dict(None), TypeError, r"state_dict.*NoneType"),
    (
        lambda: scheduler().load_state_dict(
            {**scheduler().state_dict(), "last_epoch": "a"}
        ),
        TypeError,
        r"last_epoch.*'a'",
    ),
    (
        lambda: scheduler().load_state_dict(
            {**scheduler().state_dict(), "base_lrs": 3}
        ),
        TypeError,
        r"base_lrs.*3",
    ),
    *[
        (
            lambda state=state: sgd().load_state_dict(state),
            (TypeError, ValueError),
            text,
        )
        for state, text in [
            (saved(param_groups=3), r"param_groups'\] must be a list, got int"),
            (saved(param_groups=[3]), r"param_groups'\]\[0\] must be a dict"),
            (saved(param_groups=[{}]), r"param_groups'\]\[0\].*'params'"),
            (saved(param_groups=[{"params": ["a"]}]), r"list of ints"),
            (saved(state=[1]), r"state'\] must be a dict.*list"),
            (saved(state={0: 3}), r"state'\]\[0\] must be a dict, got int"),
            (saved(state={0: {"momentum_buffer": "a"}}), r"momentum_buffer.*str"),
            (saved(state={0: {"momentum_buffer": INTS}}), r"momentum_buffer.*real"),
            (saved(state={0: {"momentum_buffer": V * 1j}}), r"momentum_buffer.*real"),
            (
                saved(state={0: {"momentum_buffer": V, "momentum_form": "x"}}),
                r"momentum_form.*'x'",
            ),
            (saved(skipped_steps="a"), r"skipped_steps.*'a'"),
            (saved(skipped_steps=-1), r"skipped_steps.*-1"),
        ]
    ],
    (lambda: data.DataLoader(PAIRS, 2, [0, 1]), TypeError, r"shuffle.*\[0, 1\]"),
    (lambda: data.DataLoader(PAIRS, drop_last="no"), TypeError, r"drop_last.*'no'"),
    (lambda: data.DataLoader([], shuffle=True), ValueError, r"dataset has no samples"),
    (lambda: data.RandomSampler(PAIRS, generator=3), TypeError, r"generator.*3"),
    (lambda: data.RandomSampler(3), TypeError, r"data_source.*int"),
    (lambda: data.SequentialSampler(3), TypeError, r"data_source.*int"),
    (lambda: data.Subset(3, [0]), TypeError, r"dataset is a int"),
    (lambda: data.Subset(PAIRS, 3), TypeError, r"indices.*3"),
    (lambda: data.Subset(PAIRS, ["a"]), TypeError, r"indices.*'a'"),
    (lambda: data.Subset(PAIRS, [0])[5], IndexError, r"index is 5.*1 samples"),
    (lambda: data.ConcatDataset(PAIRS), TypeError, r"datasets.*\[dataset\]"),
    (lambda: data.ConcatDataset([1]), TypeError, r"datasets\[0\] is a int"),
    (lambda: data.ConcatDataset(3), TypeError, r"datasets.*int"),
    (lambda: data.random_split(PAIRS, 5), TypeError, r"lengths is 5"),
    (lambda: data.random_split(PAIRS, ["a"]), TypeError, r"lengths is \['a'\]"),
    (lambda: data.random_split(PAIRS, []), TypeError, r"lengths is \[\]"),
    (lambda: data.random_split(PAIRS, [2, 3], 3), TypeError, r"generator.*3"),
    (lambda: data.random_split(3, [2, 3]), TypeError, r"dataset is a int"),
    (lambda: data.default_collate(3), TypeError, r"samples.*int"),
    (lambda: data.default_collate(V), TypeError, r"samples.*Tensor"),
    (lambda: batches([V, 3]), TypeError, r"Tensor at 0 and int at 1.*samples 0, 1"),
    (lambda: batches([np.ones(2), V]), TypeError, r"ndarray at 0 and Tensor at 1"),
    (lambda: batches([{"a": 1}, 3]), TypeError, r"dict at 0 and int at 1"),
    (lambda: batches([(1, 2), 3]), TypeError, r"tuple at 0 and int at 1"),
    (lambda: gl.load(3), TypeError, r"path.*int"),
    (lambda: gl.load(None), TypeError, r"path.*NoneType"),
    (lambda: gl.save("run.npz", V), TypeError, r"path.*Tensor.*save\(obj, path\)"),
]


@pytest.mark.parametrize(
    ("call", "error", "message"), OPERATIONS + TENSORS + LAYERS + TRAINING
)
def test_the_error_names_what_is_wrong(
    call: Callable[[], Any], error: Any, message: str
) -> None:
    with pytest.raises(error, match=re.compile(message, re.DOTALL)):
        call()


WAITING: list[Case] = [
    (lambda: gl.zeros(2.0), ValueError, r"shape.*2\.0"),
    (lambda: gl.zeros(None), ValueError, r"shape.*None"),
    (lambda: gl.arange("a"), TypeError, r"stop.*'a'"),
    (lambda: gl.linspace("a", 1, 3), TypeError, r"start.*'a'"),
    (lambda: gl.full_like(X, None), TypeError, r"fill_value.*None"),
    (lambda: gl.full(2, 1j, dtype=gl.float32), TypeError, r"fill_value.*1j"),
    (lambda: gl.zeros(2, requires_grad="no"), TypeError, r"requires_grad.*'no'"),
    (lambda: gl.reshape(X, (-2, 3)), ValueError, r"shape.*-2"),
    (lambda: gl.roll(X, 1.5), TypeError, r"shift.*1\.5"),
    (lambda: gl.one_hot(INTS, 7.5), TypeError, r"num_classes.*7\.5"),
    (lambda: gl.one_hot(INTS, -2), ValueError, r"num_classes.*-2"),
    (lambda: gl.take(X, V > 1, axis=0), TypeError, r"indices.*integer.*bool"),
]


@pytest.mark.parametrize(("call", "error", "message"), WAITING)
def test_operations_name_what_is_wrong(
    call: Callable[[], Any], error: Any, message: str
) -> None:
    with pytest.raises(error, match=re.compile(message, re.DOTALL)):
        call()


def test_a_folder_in_the_place_of_the_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run.npz").mkdir()
    with pytest.raises(IsADirectoryError, match=r"path is a folder.*run\.npz"):
        gl.save(V, tmp_path / "run.npz")
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.npz"]


def test_an_unwritable_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str, mode: str) -> Any:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(PermissionError) as caught:
        gl.save(V, tmp_path / "run.npz")
    assert caught.value.filename == str(tmp_path)
    assert "choose another one" in str(caught.value)


# An option is a number; the derivative by a tensor in its place would be lost.
TRACKED: list[tuple[Callable[[Any], Any], str]] = [
    (lambda s: F.leaky_relu(X, s), "negative_slope"),
    (lambda s: F.dropout(X, s), "p"),
    (lambda s: F.batch_norm(X, None, None, training=True, eps=s), "eps"),
    (lambda s: nn.BatchNorm1d(2, momentum=s), "momentum"),
    (lambda s: F.cross_entropy(X, CLASSES, label_smoothing=s), "label_smoothing"),
    (lambda s: nn.LeakyReLU(s), "negative_slope"),
    (lambda s: nn.Dropout(s), "p"),
    (lambda s: nn.BatchNorm1d(2, eps=s), "eps"),
    (lambda s: nn.init.normal_(fresh(), std=s), "std"),
    (lambda s: gl.random.uniform(2, low=s), "low"),
    (lambda s: gl.random.normal(2, mean=s), "mean"),
    (lambda s: gl.random.bernoulli(2, s), "p"),
    (lambda s: gl.arange(0, 3, s), "step"),
    (lambda s: gl.linspace(s, 1, 3), "start"),
    (lambda s: gl.var(X, correction=s), "correction"),
    (lambda s: gl.std(X, correction=s), "correction"),
    (lambda s: gl.pad(X, ((1, 1), (1, 1)), value=s), "value"),
    (lambda s: gl.linalg.vector_norm(X, ord=s), "ord"),
    (lambda s: gl.linalg.matrix_norm(X, ord=s), "ord"),
]


@pytest.mark.parametrize(("call", "name"), TRACKED)
@pytest.mark.parametrize("within", [gl.enable_grad, gl.no_grad])
def test_a_tracked_tensor_is_no_option(
    call: Callable[[Any], Any], name: str, within: Any
) -> None:
    with within(), pytest.raises(TypeError, match=f"^{name} must be a.* number.*grad"):
        call(gl.tensor(0.5, requires_grad=True))


def test_a_function_is_not_differentiated_by_an_option() -> None:
    slope = gl.autograd.grad(lambda s: gl.sum(F.leaky_relu(-X, s)))
    with pytest.raises(TypeError, match=r"negative_slope .*float\(x\.detach\(\)\)"):
        slope(0.1)


@pytest.mark.parametrize("number", [np.array(1.0), gl.tensor(1.0), np.float32(1.0), 1])
def test_numbers_of_any_library_are_options(number: Any) -> None:
    assert gl.var(X, correction=number).item() == pytest.approx(3.5)
    assert F.leaky_relu(-X, number).tolist() == (-X).tolist()
    assert gl.arange(number, 3).tolist() == [1.0, 2.0]
    assert gl.pad(V, ((1, 0),), value=number).tolist() == [1.0, 1.0, 2.0]


NO_NUMBERS: list[Case] = [
    (lambda: gl.logical_and(X, None), TypeError, r"logical_and\(\).*'x2'.*None"),
    (lambda: gl.where(X > 0, None, X), TypeError, r"where\(\) argument 'x1'.*None"),
    (lambda: gl.where(X, X, X), TypeError, r"condition must be boolean.*!= 0"),
    (lambda: X.sum(dim=1), TypeError, r"Tensor\.sum\(\) got .* 'dim'"),
    (lambda: gl.take(None, INTS, axis=0), TypeError, r"take\(\) argument 'x'.*None"),
    (lambda: gl.var(X, correction="1"), TypeError, r"correction .* number, got '1'"),
    (lambda: F.dropout(X, "0.5"), TypeError, r"p must be a real number, got '0\.5'"),
    (lambda: F.dropout(X, np.complex64(1j)), TypeError, r"p must be a real number"),
    (lambda: gl.linalg.matrix_norm(X, ord=V[1]), TypeError, r"ord must .*tensor\(2"),
    (lambda: gl.linalg.matrix_norm(X, ord=np.ones(1)), TypeError, r"ord must .*array"),
    (lambda: gl.linalg.matrix_norm(X, ord=3), ValueError, r"ord must be 'fro'.* 3"),
    (lambda: X.flatten("a"), TypeError, r"start_axis must be an integer, got 'a'"),
    (lambda: X.flatten(0, 1.5), TypeError, r"end_axis must be an integer, got 1\.5"),
    (lambda: X.flatten(0, 2), IndexError, r"end_axis 2 .* 2 axes"),
    (lambda: gl.fft.fftshift(X, axes="a"), TypeError, r"axes .* integer, got 'a'"),
    (lambda: gl.index_add(X, INTS, X, axis="a"), TypeError, r"axis .* got 'a'"),
    (lambda: f"{V:.2f}", TypeError, r"'\.2f' .* one element.* \(2,\)"),
    (lambda: round(V), TypeError, r"round\(\) needs a tensor without axes.*\(2,\)"),
    (lambda: divmod(V, "a"), TypeError, r"divmod.*'Tensor' and 'str'"),
    (lambda: divmod(V, [1, 2]), TypeError, r"floor_divide.*'x2'.*list"),
]


@pytest.mark.parametrize(("call", "error", "message"), NO_NUMBERS)
def test_what_is_no_operand_and_no_option_is_named(
    call: Callable[[], Any], error: Any, message: str
) -> None:
    with pytest.raises(error, match=re.compile(message, re.DOTALL)):
        call()
