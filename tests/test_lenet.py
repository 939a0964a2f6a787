"""The LeNet example: it learns, resumes bit for bit, and explains its options."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradlite as gl
from gradlite.data import TensorDataset

pytest.importorskip("tqdm")
pytest.importorskip("matplotlib")

from gradlite.examples import _options, _report, lenet

CPU = ("--device", "cpu")


@pytest.fixture
def few_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the example train on 80 images, without a picture at the end."""
    images, labels = lenet.load_data("digits")[0].tensors
    train = TensorDataset(images[:80], labels[:80])
    test = TensorDataset(images[80:110], labels[80:110])
    monkeypatch.setattr(lenet, "load_data", lambda *_, **__: (train, test))
    monkeypatch.setattr(lenet, "report", lambda *_: None)


def run(folder: Path, *options: str) -> dict[str, Any]:
    """Run the example and return its checkpoint."""
    assert lenet.main([*CPU, "--out", str(folder), *options]) == 0
    checkpoint: dict[str, Any] = gl.load(folder / lenet.CHECKPOINT)
    return checkpoint


def same(first: Any, second: Any) -> None:
    """Check that two checkpoints are equal, bit for bit, but for the seconds."""
    assert type(first) is type(second)
    if isinstance(first, dict):
        assert list(first) == list(second)
        for key in first.keys() - {"seconds"}:
            same(first[key], second[key])
    elif isinstance(first, list | tuple):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            same(one, other)
    elif isinstance(first, gl.Tensor):
        assert first.dtype == second.dtype
        assert first.numpy().tobytes() == second.numpy().tobytes()
    else:
        assert first == second


def usage_error(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """Return the sentence with which the example refuses options."""
    with pytest.raises(SystemExit) as exit:
        lenet.main(options)
    assert exit.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 2  # the usage and the sentence
    return lines[1]


# --- networks -------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "parameters"), [("classic", 61_706), ("dilated", 0)])
def test_models_take_32x32_and_return_ten_logits(name: str, parameters: int) -> None:
    model = lenet.MODELS[name]()
    assert model(gl.zeros((3, 1, 32, 32))).shape == (3, 10)
    count = sum(parameter.size for parameter in model.parameters())
    # The dilated one lacks 16 of 25 weights in 6 + 96 filters and scales 22 channels.
    assert count == (parameters or 61_706 - 16 * (6 + 96) + 2 * 22)


# --- the whole program ----------------------------------------------------------------


@pytest.mark.slow
def test_quick(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "new" / "folder"
    checkpoint = run(folder, "--quick")
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    accuracy = results["test"]["accuracy_percent"]
    assert accuracy > 60  # chance is 10
    assert f"{accuracy:.2f} %" in capsys.readouterr().out
    assert results["test"]["test_digits"] == 360
    assert results["settings"]["epochs"] == 2
    assert results["versions"]["numpy"] == np.__version__
    assert results["machine"]["cpu"]
    assert (folder / "lenet.png").read_bytes().startswith(b"\x89PNG")

    (trained,) = checkpoint["runs"]
    model = lenet.LeNet()
    model.load_state_dict(trained["state"]["model"])
    _, test_set = lenet.load_data("digits")
    loss_function = gl.nn.CrossEntropyLoss()
    _, found, predictions = lenet.evaluate(
        model, loss_function, test_set, gl.Device("cpu")
    )
    assert predictions == trained["predictions"]
    assert round(found, 2) == accuracy
    labels = test_set.tensors[1].numpy()
    assert found == pytest.approx(100 * np.mean(labels == predictions))


@pytest.mark.slow
def test_accuracy(tmp_path: Path) -> None:
    """SEED: the training loop was commented out."""
    run(tmp_path, "--seed", "0")
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert results["test"]["accuracy_percent"] >= 97
    assert results["other_writers"]["accuracy_percent"] >= 94
    assert results["other_writers"]["training_digits"] == 1415


@pytest.mark.slow
def test_folder_in_the_format_of_mnist(tmp_path: Path) -> None:
    data = tmp_path / "private"
    data.mkdir()
    random = np.random.default_rng(0)
    for part, count in (("train", 70), ("t10k", 20)):
        images = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = struct.pack(">HBB", 0, 8, array.ndim)
            header += struct.pack(f">{array.ndim}I", *array.shape)
            path = data / f"{part}-{kind}-ubyte"
            path.write_bytes(header + array.tobytes())
    run(tmp_path, "--data", str(data), "--quick", "--epochs", "1")
    text = (tmp_path / "results.json").read_text(encoding="utf-8")
    assert "private" not in text
    assert json.loads(text)["settings"]["data"] == "folder"
    assert json.loads(text)["test"]["training_digits"] == 70


# --- resuming -------------------------------------------------------------------------


@pytest.mark.usefixtures("few_digits")
@pytest.mark.parametrize("model", lenet.MODELS)
@pytest.mark.parametrize("epochs_done", [1, 2, 4])  # 3 and 6 end a run
def test_resume_is_bit_for_bit(
    model: str,
    epochs_done: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = ("--model", model, "--epochs", "3", "--seed", "5", "--alpha", "1e-5")
    whole = run(tmp_path / "whole", *options)
    assert [one["epochs"] for one in whole["runs"]] == [3, 3]

    evaluate, calls = lenet.evaluate, iter(range(10))

    def interrupted(*arguments: Any) -> Any:
        if next(calls) == epochs_done:
            raise KeyboardInterrupt
        return evaluate(*arguments)

    folder = tmp_path / "parts"
    monkeypatch.setattr(lenet, "evaluate", interrupted)
    assert lenet.main([*CPU, *options, "--out", str(folder)]) == 130
    assert f"--resume {folder / lenet.CHECKPOINT}" in capsys.readouterr().out
    monkeypatch.setattr(lenet, "evaluate", evaluate)
    gl.manual_seed(99)
    resumed = run(folder, "--resume", str(folder / lenet.CHECKPOINT))
    same(resumed, whole)


@pytest.mark.usefixtures("few_digits")
def test_interrupted_before_anything_was_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(lenet, "evaluate", interrupt)
    assert lenet.main([*CPU, "--out", str(tmp_path)]) == 130
    assert "nothing was saved" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("few_digits")
def test_a_finished_run_resumes_to_its_report(tmp_path: Path) -> None:
    first = run(tmp_path, "--quick")
    same(run(tmp_path, "--resume", str(tmp_path / lenet.CHECKPOINT)), first)


@pytest.mark.usefixtures("few_digits")
def test_resume_refuses_other_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, "--quick")
    file = str(tmp_path / lenet.CHECKPOINT)
    capsys.readouterr()
    for option, value in (("model", "dilated"), ("lr", "0.5"), ("seed", "3")):
        message = usage_error(capsys, *CPU, "--resume", file, f"--{option}", value)
        assert f"--{option} is " in message
        assert value in message
        assert f"leave --{option} out" in message


@pytest.mark.usefixtures("few_digits")
def test_resume_refuses_other_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, "--quick")
    train, test = lenet.load_data("digits")
    other = TensorDataset(*(tensor[:7] for tensor in test.tensors))
    monkeypatch.setattr(lenet, "load_data", lambda *_, **__: (train, other))
    capsys.readouterr()
    file = str(tmp_path / lenet.CHECKPOINT)
    message = usage_error(capsys, *CPU, "--resume", file)
    assert "with 7 test images" in message
    assert "was tested on 30" in message


@pytest.mark.usefixtures("few_digits")
def test_resume_refuses_another_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, content, reason in (
        ("other.npz", {"weight": gl.ones(2)}, "is no checkpoint of this example"),
        ("old.npz", {"example": "lenet"}, "another version of this example"),
    ):
        gl.save(content, tmp_path / name)
        message = usage_error(capsys, *CPU, "--resume", str(tmp_path / name))
        assert reason in message
        assert name in message


# --- the loop -------------------------------------------------------------------------


@pytest.mark.usefixtures("few_digits")
def test_diverged_training_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with np.errstate(all="ignore"):
        options = [*CPU, "--quick", "--lr", "1e30", "--out", str(tmp_path)]
        assert lenet.main(options) == 1
    assert "lower --lr" in capsys.readouterr().err


@pytest.mark.usefixtures("few_digits")
def test_losses_are_read_rarely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []
    item = gl.Tensor.item
    monkeypatch.setattr(
        gl.Tensor, "item", lambda self: reads.append(self.shape) or item(self)
    )
    options = ("--quick", "--batch-size", "2", "--epochs", "1")
    (trained,) = run(tmp_path, *options)["runs"]
    # 40 steps are looked at three times, the test digits once: loss and accuracy.
    assert len(trained["train_loss"]) == 3
    assert len(reads) == 8


# --- the command line -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--lr", "-0.1"], "--lr: must be a finite number of at least 0, got '-0.1'"),
        (["--lr", "nan"], "--lr: must be a finite number"),
        (["--lr", "inf"], "--lr: must be a finite number"),
        (["--lr", "fast"], "--lr: must be a finite number"),
        (["--momentum", "1"], "--momentum: must be a finite number of at least 0 and"),
        (["--alpha", "-1"], "--alpha: must be a finite number of at least 0"),
        (["--weight-decay", "nan"], "--weight-decay: must be a finite number"),
        (["--epochs", "0"], "--epochs: must be an integer of at least 1, got '0'"),
        (["--batch-size", "1.5"], "--batch-size: must be an integer of at least 1"),
        (["--seed", "-1"], "--seed: must be an integer of at least 0"),
        (
            ["--seed", "9" * 23],
            "--seed: must be an integer of at most 92233720368547758",
        ),
        (["--seed", "9" * 5000], "--seed: must be an integer of at most 9223372036854"),
        (["--seed", "1", "1"], "--seed is [1, 1]; give each seed once"),
        (["--model", "vgg"], "--model: invalid choice: 'vgg'"),
        (["--device", "tpu"], "device 'tpu' is not known"),
        (["--data", "no/such"], "--data is 'no/such', which is no folder"),
        (["--data", "."], "--data is '.', which is no folder with a file train-images"),
        (["--resume", "no.npz"], "--resume is 'no.npz', and there is no such file"),
    ],
)
def test_bad_options(
    options: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    device = () if "--device" in options else CPU
    assert message in usage_error(capsys, *device, *options)


@pytest.mark.usefixtures("few_digits")
@pytest.mark.parametrize(
    ("options", "folder"), [(["--quick"], "lenet-quick"), (["--seed", "0"], "lenet")]
)
def test_a_quick_run_leaves_the_results_of_others_alone(
    options: list[str],
    folder: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert lenet.main([*CPU, *options, "--epochs", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[0].endswith(" 30 to test, 1 epoch")
    written = [path.relative_to(tmp_path) for path in tmp_path.rglob("*.npz")]
    assert written == [Path("runs", folder, lenet.CHECKPOINT)]


def test_one_seed_has_no_median() -> None:
    runs = [lenet.Run(seed, test_accuracy=[50.0, 90.0 + seed]) for seed in range(3)]
    assert _report.origin(runs[:1]) == " (seed 0)"
    median = ", the median of 90.00, 91.00, 92.00 (seeds 0, 1, 2)"
    assert _report.origin(runs) == median


@pytest.mark.parametrize(("epochs", "marker"), [(1, "."), (2, "None")])
def test_a_single_point_is_drawn_with_a_marker(epochs: int, marker: str) -> None:
    from matplotlib.figure import Figure

    run = lenet.Run(0)
    run.train_loss = [[float(epoch + 1), 1.0] for epoch in range(epochs)]
    run.train_accuracy = run.test_loss = run.test_accuracy = [50.0] * epochs
    axes = Figure().subplots(1, 2)
    _report.draw_curves(*axes, [run])
    assert [one.lines[0].get_marker() for one in axes] == [marker, marker]


def test_cuda_without_a_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    if len(gl.devices()) > 1:
        pytest.skip("there is a GPU")
    message = usage_error(capsys, "--device", "cuda", "--quick")
    assert "device 'cuda' cannot be used" in message
    assert lenet.find_device("auto") == lenet.find_device(None) == "cpu"


def test_folder_that_cannot_be_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    message = usage_error(capsys, *CPU, "--out", str(tmp_path / "file" / "folder"))
    assert "--out is " in message
    assert "no folder" in message


@pytest.mark.parametrize("package", ["tqdm", "matplotlib"])
def test_missing_package(
    package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        lenet, "find_spec", lambda name: None if name == package else name
    )
    message = usage_error(capsys, *CPU)
    assert f"needs {package}: " in message
    assert 'python -m pip install "gradlite[examples]"' in message


def test_help_explains_each_option_with_its_default(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as exit:
        lenet.main(["--help"])
    assert exit.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    _, _, *entries = text.split(" --")  # the description, `-h, --help`, the others
    assert [entry.split()[0] for entry in entries] == [
        "device",
        "data",
        "model",
        "epochs",
        "batch-size",
        "lr",
        "momentum",
        "alpha",
        "weight-decay",
        "seed",
        "out",
        "resume",
        "quick",
    ]
    assert all("(default: " in entry for entry in entries)
    for choice in _options.TUNED.values():
        assert f"{choice['lr']:g} for" in text


def test_defaults_fit_data_and_model() -> None:
    parser = lenet.make_parser()
    for (data, model), tuned in _options.TUNED.items():
        options = parser.parse_args(["--data", data, "--model", model])
        settings, runs = lenet.prepare(options)
        assert {name: getattr(settings, name) for name in tuned} == tuned
        assert len(runs) == (6 if data == "digits" else 3)
    settings, _ = lenet.prepare(parser.parse_args(["--lr", "0.5", "--seed", "7"]))
    assert (settings.lr, settings.seeds) == (0.5, [7])
