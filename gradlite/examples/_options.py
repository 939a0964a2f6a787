"""Options of the LeNet example, from the command line or from a checkpoint."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import gradlite as gl


@dataclass(frozen=True)
class Settings:
    """What a run depends on, besides the seed."""

    data: str
    model: str
    epochs: int
    batch_size: int
    lr: float
    momentum: float
    alpha: float
    weight_decay: float
    seeds: list[int]
    quick: bool
    shift: int
    """Pixels by which a batch is moved at most, along each axis."""


@dataclass
class Run:
    """One network: how its training went, and what it needs to go on."""

    seed: int
    by_writer: bool = False
    epochs: int = 0
    seconds: float = 0.0
    train_loss: list[list[float]] = field(default_factory=list)
    """Pairs: epochs since the start, mean loss since the pair before."""
    train_accuracy: list[float] = field(default_factory=list)
    """Of each epoch, measured while the network learns."""
    test_loss: list[float] = field(default_factory=list)
    test_accuracy: list[float] = field(default_factory=list)
    predictions: list[int] = field(default_factory=list)
    """Of the test digits after the last epoch."""
    state: dict[str, Any] = field(default_factory=dict)
    """State dicts of the model and, until it is trained, of all else."""

    @property
    def name(self) -> str:
        """What the screen calls it."""
        return f"seed {self.seed}{' (by writer)' * self.by_writer}"


DEFAULTS: dict[str, Any] = {
    "data": "digits",
    "model": "classic",
    "momentum": 0.9,
    "alpha": 0.0,
    "weight_decay": 0.0,
    "seeds": [0, 1, 2],
    "quick": False,
}

TUNED: dict[tuple[str, str], dict[str, Any]] = {
    ("digits", "classic"): {"epochs": 10, "batch_size": 32, "lr": 0.03, "shift": 2},
    ("digits", "dilated"): {"epochs": 8, "batch_size": 32, "lr": 0.05, "shift": 2},
    ("mnist", "classic"): {"epochs": 3, "batch_size": 64, "lr": 0.05, "shift": 1},
    ("mnist", "dilated"): {"epochs": 3, "batch_size": 64, "lr": 0.05, "shift": 1},
}
"""Defaults that depend on data and model; those of a folder are MNIST's.

Moving the images and smoothing the labels matter for the UCI digits, which are few:
together they gain about one percent. The values were chosen by the accuracy on the
test digits, which therefore flatters a little.
"""

QUICK = {"epochs": 2, "seeds": [0]}

CHECKPOINT = "checkpoint.npz"


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line.

    Options that were not given are None: their defaults depend on others, and with
    `--resume` the checkpoint has them.
    """
    parser = argparse.ArgumentParser(
        prog="python -m gradlite.examples.lenet",
        usage="%(prog)s [options]",
        description="Train LeNet on handwritten digits, with SGD and a learning rate "
        "that falls linearly to zero, once per seed. Writes a checkpoint, a picture "
        "and the results.",
    )

    def add(name: str, shown: object, text: str, **options: Any) -> None:
        parser.add_argument(name, help=f"{text} (default: {shown})", **options)

    def tuned(name: str) -> str:
        values: dict[str, list[str]] = {}
        for key, choice in TUNED.items():
            values.setdefault(f"{choice[name]:g}", []).append("/".join(key))
        return "; ".join(f"{v} for {', '.join(keys)}" for v, keys in values.items())

    count = {"metavar": "N", "type": parse_int(1)}
    number = {"metavar": "X", "type": parse_float(0.0, math.inf)}
    factor = {"metavar": "X", "type": parse_float(0.0, 1.0)}
    where = (
        "digits (part of the package), mnist (downloaded), or a FOLDER with files in "
        "the format of MNIST"
    )
    which = "classic LeNet, or one with dilated convolutions and batch norm"
    check = "see in seconds whether all works: 2 epochs of seed 0 on 2000 digits"
    add("--device", "auto", "auto, cpu or cuda; auto is cuda where that works")
    add("--data", DEFAULTS["data"], where)
    models = sorted({model for _, model in TUNED})
    add("--model", DEFAULTS["model"], which, choices=models)
    add("--epochs", tuned("epochs"), "passes over the training digits", **count)
    add("--batch-size", tuned("batch_size"), "digits per step", **count)
    add("--lr", tuned("lr"), "learning rate of the first step", **number)
    add("--momentum", DEFAULTS["momentum"], "part of a step that is kept", **factor)
    add("--alpha", DEFAULTS["alpha"], "L1 coefficient", **number)
    add("--weight-decay", DEFAULTS["weight_decay"], "L2 coefficient", **number)
    seeds = {"dest": "seeds", "nargs": "+", "metavar": "N", "type": parse_int(0)}
    add("--seed", "0 1 2", "one or more seeds; each trains a network", **seeds)
    folder = {"metavar": "DIR", "type": Path}
    out = "runs/lenet; runs/lenet-quick of a quick run; that of FILE to resume"
    add("--out", out, "folder for the files", **folder)
    file = {"metavar": "FILE", "type": Path}
    add("--resume", "start anew", "checkpoint to continue, with its settings", **file)
    add("--quick", "off", check, action="store_true", default=None)
    return parser


def parse_int(low: int) -> Callable[[str], int]:
    """Return a parser of integers of at least `low`, which fit into 64 bits."""
    largest = 2**63 - 1

    def parse(text: str) -> int:
        # Python refuses to convert thousands of digits.
        if text.isdecimal() and (len(text) > 99 or int(text) > largest):
            shown = text if len(text) <= 40 else f"{text[:40]}..."
            raise argparse.ArgumentTypeError(
                f"must be an integer of at most {largest}, got {shown!r}"
            )
        if not text.isdecimal() or int(text) < low:
            raise argparse.ArgumentTypeError(
                f"must be an integer of at least {low}, got {text!r}"
            )
        return int(text)

    return parse


def parse_float(low: float, high: float) -> Callable[[str], float]:
    """Return a parser of finite numbers of at least `low` and below `high`."""
    wanted = f"at least {low:g}" + (f" and below {high:g}" if high < math.inf else "")

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value < high:
            raise argparse.ArgumentTypeError(
                f"must be a finite number of {wanted}, got {text!r}"
            )
        return value

    return parse


def prepare(options: argparse.Namespace) -> tuple[Settings, list[Run]]:
    """Return the settings and the runs, from the options or from a checkpoint."""
    given = {
        field.name: vars(options)[field.name]
        for field in fields(Settings)
        if vars(options).get(field.name) is not None
    }
    if given.get("data") not in (None, "digits", "mnist"):
        if not list(Path(given["data"]).glob("train-images-idx3-ubyte*")):
            raise ValueError(
                f"--data is {given['data']!r}, which is no folder with a file "
                "train-images-idx3-ubyte; give digits, mnist, or a folder with the "
                "four files of MNIST, gzipped or not"
            )
        given["data"] = "folder"
    if len(set(given.get("seeds", []))) < len(given.get("seeds", [])):
        raise ValueError(f"--seed is {given['seeds']}; give each seed once")
    if options.resume is not None:
        return resume(options.resume, given)
    chosen = DEFAULTS | given
    kind = "digits" if chosen["data"] == "digits" else "mnist"
    quick = QUICK if chosen["quick"] else {}
    settings = Settings(**chosen | TUNED[kind, chosen["model"]] | quick | given)
    runs = [Run(seed) for seed in settings.seeds]
    if kind == "digits" and not settings.quick:
        runs += [Run(seed, by_writer=True) for seed in settings.seeds]
    return settings, runs


def resume(file: Path, given: dict[str, Any]) -> tuple[Settings, list[Run]]:
    """Return the settings and the runs of a checkpoint.

    `given` holds the settings on the command line, which must not differ.
    """
    if not file.is_file():
        raise ValueError(f"--resume is '{file}', and there is no such file")
    content = gl.load(file, device="cpu")
    if not isinstance(content, dict) or content.get("example") != "lenet":
        raise ValueError(
            f"--resume is '{file}', which is no checkpoint of this example; give a "
            f"{CHECKPOINT} that it wrote"
        )
    try:
        settings = Settings(**content["settings"])
        runs = [Run(**run) for run in content["runs"]]
    except (KeyError, TypeError):
        raise ValueError(
            f"--resume is '{file}', which another version of this example wrote; train "
            "anew"
        ) from None
    for name, value in given.items():
        if value != getattr(settings, name):
            option = name.replace("_", "-").removesuffix("s" if name == "seeds" else "")
            raise ValueError(
                f"--{option} is {value}, but '{file}' was trained with "
                f"{getattr(settings, name)}; leave --{option} out to continue, or "
                "--resume to start anew"
            )
    if settings.data == "folder" and "data" not in given:
        raise ValueError(
            f"'{file}' was trained on the files of a folder; give it again with --data"
        )
    return settings, runs


def make_folder(options: argparse.Namespace) -> Path:
    """Return the folder for what is written, and make it if needed."""
    default = Path("runs", "lenet-quick" if options.quick else "lenet")
    folder: Path = options.out or (options.resume.parent if options.resume else default)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--out is '{folder}', which is no folder: {error}") from None
    if not os.access(folder, os.W_OK):
        raise ValueError(f"--out is '{folder}', where nothing can be written")
    return folder


def find_device(name: str | None) -> gl.Device:
    """Return the device to train on."""
    if name in (None, "auto"):
        name = "cuda" if len(gl.devices()) > 1 else "cpu"
    return gl.Device(name)
