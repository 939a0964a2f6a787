"""Train LeNet on handwritten digits: `python -m gradlite.examples.lenet`.

The networks, the data and the training loop come first; the program follows, whose
options are in `_options.py`. It runs on the CPU and, with `--device cuda`, on a GPU,
and writes the curves and some predictions as a picture, the results as JSON, and a
checkpoint from which `--resume` continues bit for bit. A trained network is read by

    run = gl.load("runs/lenet/checkpoint.npz")["runs"][0]
    model = LeNet()
    model.load_state_dict(run["state"]["model"])
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from time import perf_counter
from typing import Any

import gradlite as gl
from gradlite import nn
from gradlite.data import DataLoader, TensorDataset, digits, mnist
from gradlite.examples._options import (
    CHECKPOINT,
    Run,
    Settings,
    find_device,
    make_folder,
    make_parser,
    prepare,
)
from gradlite.examples._report import report
from gradlite.nn import functional as F
from gradlite.optim import SGD
from gradlite.optim.lr_scheduler import LinearLR

# The networks ------------------------------------------------------------------------


class LeNet(nn.Module):
    """The classic: two 5x5 convolutions with pooling, three linear layers.

    Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-based learning applied to
    document recognition", 1998; with ReLU and maximum pooling, as is usual today. Takes
    images of shape (N, 1, 32, 32) and returns logits of shape (N, 10).
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, kernel_size=5)
        self.conv2 = nn.Conv2d(6, 16, kernel_size=5)
        self.linear1 = nn.Linear(16 * 5 * 5, 120)
        self.linear2 = nn.Linear(120, 84)
        self.linear3 = nn.Linear(84, 10)

    def forward(self, images: gl.Tensor) -> gl.Tensor:
        """Return the logits of a batch of images."""
        x = F.max_pool2d(F.relu(self.conv1(images)), 2)  # 32x32 -> 28x28 -> 14x14
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)  # -> 10x10 -> 5x5
        x = F.relu(self.linear1(x.flatten(1)))
        logits: gl.Tensor = self.linear3(F.relu(self.linear2(x)))
        return logits


class DilatedLeNet(nn.Module):
    """LeNet with batch norm and 3x3 convolutions of dilation 2.

    Its nine weights span the 5x5 pixels that 25 weights cover in the classic.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, kernel_size=3, dilation=2)
        self.norm1 = nn.BatchNorm2d(6)
        self.conv2 = nn.Conv2d(6, 16, kernel_size=3, dilation=2)
        self.norm2 = nn.BatchNorm2d(16)
        self.linear1 = nn.Linear(16 * 5 * 5, 120)
        self.linear2 = nn.Linear(120, 84)
        self.linear3 = nn.Linear(84, 10)

    def forward(self, images: gl.Tensor) -> gl.Tensor:
        """Return the logits of a batch of images."""
        x = F.max_pool2d(F.relu(self.norm1(self.conv1(images))), 2)
        x = F.max_pool2d(F.relu(self.norm2(self.conv2(x))), 2)
        x = F.relu(self.linear1(x.flatten(1)))
        logits: gl.Tensor = self.linear3(F.relu(self.linear2(x)))
        return logits


MODELS = {"classic": LeNet, "dilated": DilatedLeNet}

# The data ----------------------------------------------------------------------------


def load_data(
    data: str, *, by_writer: bool = False, quick: bool = False
) -> tuple[TensorDataset, TensorDataset]:
    """Return the digits to train on and those to test with, as 32x32 images.

    Parameters
    ----------
    data : str
        "digits", "mnist", or a folder with files in MNIST's format.
    by_writer : bool, default False
        For "digits": whether the test digits are by people who wrote none of the
        others.
    quick : bool, default False
        Whether to keep only the first 2000 and 500.
    """
    if data == "digits":
        train = digits("train", by_writer=by_writer, enlarge=4)
        test = digits("test", by_writer=by_writer, enlarge=4)
    else:
        root = None if data == "mnist" else data
        train = mnist("train", root=root, padding=2)
        test = mnist("test", root=root, padding=2)
    mean, std = train.tensors[0].mean(), train.tensors[0].std()

    def prepared(dataset: TensorDataset, limit: int) -> TensorDataset:
        images, labels = dataset.tensors
        wrong = images.shape[1:] != (1, 32, 32) or labels.size == 0
        if wrong or labels.max().item() > 9:
            raise ValueError(
                f"--data is {data!r}, where the images have shape {images.shape} after "
                f"padding; LeNet takes 28x28 images of ten classes, numbered from 0"
            )
        if quick:
            images, labels = images[:limit], labels[:limit]
        return TensorDataset((images - mean) / std, labels)

    return prepared(train, 2000), prepared(test, 500)


# Training and testing ----------------------------------------------------------------

SMOOTHING = 0.1
"""Part of each label that is spread over all ten: the network shall not be too sure."""

READ_EVERY = 15
"""Steps between two looks at the loss, each of which makes the CPU wait for a GPU."""


def train(
    run: Run,
    datasets: tuple[TensorDataset, TensorDataset],
    settings: Settings,
    device: gl.Device,
    save: Callable[[], None],
) -> None:
    """Train a network from where `run` stands, and call `save` after each epoch."""
    from tqdm import tqdm

    generator = gl.manual_seed(run.seed)
    train_set, test_set = datasets
    model = MODELS[settings.model]().to(device)
    loader = DataLoader(train_set, settings.batch_size, shuffle=True, device=device)
    loss_function = nn.CrossEntropyLoss(label_smoothing=SMOOTHING)
    optimizer = SGD(
        model.parameters(),
        lr=settings.lr,
        momentum=settings.momentum,
        alpha=settings.alpha,
        weight_decay=settings.weight_decay,
    )
    steps = settings.epochs * len(loader)
    scheduler = LinearLR(optimizer, 1.0, 0.0, total_iters=steps)
    # The loader's state includes that of the random generator.
    parts: dict[str, Any] = {
        "model": model,
        "optimizer": optimizer,
        "scheduler": scheduler,
        "loader": loader,
    }
    for name, state in run.state.items():
        parts[name].load_state_dict(state)

    bar = tqdm(
        total=settings.epochs * len(train_set),
        initial=run.epochs * len(train_set),
        desc=run.name,
        unit=" samples",
        disable=None,  # shown in a terminal only
    )
    with bar:
        for epoch in range(run.epochs, settings.epochs):
            start = perf_counter()
            losses, hits, correct = [], [], 0
            model.train()
            for step, (images, labels) in enumerate(loader, start=1):
                logits = model(moved(images, settings.shift, generator))
                loss = loss_function(logits, labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                scheduler.step()

                losses.append(loss.detach())
                hits.append((logits.detach().argmax(axis=1) == labels).sum())
                bar.update(len(labels))
                if step % READ_EVERY == 0 or step == len(loader):
                    mean_loss = gl.stack(losses).mean().item()
                    correct += gl.stack(hits).sum().item()
                    losses, hits = [], []
                    if not math.isfinite(mean_loss):
                        raise FloatingPointError(
                            f"the loss became {mean_loss} in epoch {epoch + 1}: "
                            f"training diverged; lower --lr, now {settings.lr:g}"
                        )
                    run.train_loss.append([epoch + step / len(loader), mean_loss])
                    bar.set_postfix(loss=f"{mean_loss:.4f}", refresh=False)

            test_loss, test_accuracy, run.predictions = evaluate(
                model, loss_function, test_set, device
            )
            run.train_accuracy.append(100 * correct / len(train_set))
            run.test_loss.append(test_loss)
            run.test_accuracy.append(test_accuracy)
            run.seconds += perf_counter() - start
            run.epochs = epoch + 1
            kept = parts if run.epochs < settings.epochs else {"model": model}
            run.state = {name: part.state_dict() for name, part in kept.items()}
            save()
            bar.write(
                f"{run.name}, epoch {run.epochs}/{settings.epochs}: training loss "
                f"{mean_loss:.4f}, test loss {test_loss:.4f}, test accuracy "
                f"{test_accuracy:.2f} %"
            )


def moved(
    images: gl.Tensor, farthest: int, generator: gl.random.Generator
) -> gl.Tensor:
    """Return a batch moved at random, by up to `farthest` pixels along each axis."""
    shift = generator.numpy.integers(-farthest, farthest + 1, size=2).tolist()
    return gl.roll(images, tuple(shift), axis=(2, 3))


@gl.no_grad()
def evaluate(
    model: nn.Module,
    loss_function: nn.Module,
    dataset: TensorDataset,
    device: gl.Device,
) -> tuple[float, float, list[int]]:
    """Return a network's mean loss, its accuracy in percent, and its predictions."""
    model.eval()
    loader = DataLoader(dataset, batch_size=500, device=device)
    logits = gl.concat([model(images) for images, _ in loader])
    labels = dataset.tensors[1].to(device)
    predictions = logits.argmax(axis=1)
    correct = (predictions == labels).sum().item()
    loss = loss_function(logits, labels).item()
    return loss, 100 * correct / len(dataset), predictions.tolist()


# The program -------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Train as the command line says and return the exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        The options; those of the process by default.

    Returns
    -------
    int
        0 when all went well, 1 when training diverged, 130 when it was interrupted; a
        usage error exits with 2.
    """
    parser = make_parser()
    options = parser.parse_args(arguments)
    try:
        require("tqdm", "matplotlib")
        device = find_device(options.device)
        settings, runs = prepare(options)
        data = options.data or settings.data
        splits = {
            by_writer: load_data(data, by_writer=by_writer, quick=settings.quick)
            for by_writer in dict.fromkeys(run.by_writer for run in runs)
        }
        for run in runs:
            count = len(splits[run.by_writer][1])
            if run.predictions and len(run.predictions) != count:
                raise ValueError(
                    f"--data is {data!r} with {count} test images, but "
                    f"'{options.resume}' was tested on {len(run.predictions)}; give "
                    "the data that it was trained on"
                )
        folder = make_folder(options)
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        parser.error(str(error))
    train_set, test_set = splits[False]
    print(
        f"LeNet ({settings.model}) on {device}, data {settings.data}: {len(train_set)} "
        f"images to train, {len(test_set)} to test, {settings.epochs} "
        f"epoch{'s' * (settings.epochs != 1)}"
    )

    def save() -> None:
        saved = [vars(run) for run in runs]
        content = {"example": "lenet", "settings": asdict(settings), "runs": saved}
        gl.save(content, folder / CHECKPOINT)

    try:
        for run in runs:
            if run.epochs < settings.epochs:
                train(run, splits[run.by_writer], settings, device, save)
    except KeyboardInterrupt:
        where = f"continue with --resume {folder / CHECKPOINT}"
        lost = "nothing was saved, as no epoch had ended"
        print(f"\nInterrupted; {where if any(r.epochs for r in runs) else lost}.")
        return 130
    except FloatingPointError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    described = asdict(settings) | {"label_smoothing": SMOOTHING}
    report(folder, described, device, runs, splits)
    return 0


def require(*packages: str) -> None:
    """Raise an ImportError with the command that installs what is missing."""
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise ImportError(
            f"this example needs {' and '.join(missing)}: "
            'python -m pip install "gradlite[examples]"'
        )


if __name__ == "__main__":
    sys.exit(main())
