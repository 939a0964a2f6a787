"""A training step in parts, alike for all libraries; runs in a process of its own."""

from __future__ import annotations

import math
import platform
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

PHASES = ("data", "forward", "backward", "step")
BATCH = {"mlp": 128, "lenet": 64}
INPUT = {"mlp": (784,), "lenet": (1, 32, 32)}
BATCHES = 20
LR, MOMENTUM = 0.01, 0.9

Array = np.ndarray[Any, Any]


class Training(ABC):
    """The training of a network on random images, by SGD with momentum.

    Parameters
    ----------
    network : {"mlp", "lenet"}
        A perceptron of 784, 256, 128 and 10 units with batches of 128, or LeNet with
        batches of 64.
    device : {"cpu", "cuda"}
        Where it runs.

    Attributes
    ----------
    first : sequence
        The first batch of those that are not shuffled, on the device.
    """

    first: Any

    def __init__(self, network: str, device: str) -> None:
        self.network, self.device = network, device
        self.batch_size = BATCH[network]
        self._imported = peak_memory()
        draw = np.random.default_rng(0)
        count = BATCHES * self.batch_size
        images = draw.standard_normal((count, *INPUT[network]), dtype=np.float32)
        labels = draw.integers(0, 10, count)
        self.prepare(images, labels)
        self._batches = self._endless()

    @abstractmethod
    def prepare(self, images: Array, labels: Array) -> None:
        """Make the batches, the model with `weights`, and the optimizer."""

    @abstractmethod
    def epoch(self) -> Iterable[Any]:
        """Return shuffled batches of images and labels, on the device."""

    @abstractmethod
    def forward(self, images: Any, labels: Any) -> Any:
        """Return the loss of a batch."""

    @abstractmethod
    def backward(self, loss: Any) -> None:
        """Compute the gradients."""

    @abstractmethod
    def update(self) -> None:
        """Do the optimizer's step and drop the gradients."""

    @abstractmethod
    def synchronize(self) -> None:
        """Wait for the device."""

    @abstractmethod
    def device_memory(self) -> int | None:
        """Return the most bytes that the library held on a GPU, None without one."""

    def _endless(self) -> Iterator[Any]:
        while True:
            yield from self.epoch()

    def _step(self, batch: Any) -> Any:
        loss = self.forward(*batch)
        self.backward(loss)
        self.update()
        return loss

    def losses(self, steps: int) -> list[float]:
        """Return the losses of some steps on one batch, not a shuffled one."""
        return [self._step(self.first).item() for _ in range(steps)]

    def seconds(self, steps: int) -> float:
        """Return the mean time of a step, with its data."""
        start = perf_counter()
        for _ in range(steps):
            self._step(next(self._batches))
        self.synchronize()
        return (perf_counter() - start) / steps

    def phases(self, steps: int) -> dict[str, float]:
        """Return the mean time of each part of a step, with a wait after each."""
        self._spent = dict.fromkeys(PHASES, 0.0)
        for _ in range(steps):
            batch = self._timed("data", next, self._batches)
            loss = self._timed("forward", self.forward, *batch)
            self._timed("backward", self.backward, loss)
            self._timed("step", self.update)
        return {phase: total / steps for phase, total in self._spent.items()}

    def _timed(self, phase: str, function: Callable[..., Any], *arguments: Any) -> Any:
        start = perf_counter()
        result = function(*arguments)
        self.synchronize()
        self._spent[phase] += perf_counter() - start
        return result

    def memory(self) -> dict[str, int]:
        """Return the most bytes in use, of them those at the end of the imports."""
        found = {
            "imports": self._imported,
            "peak": peak_memory(),
            "device": self.device_memory(),
        }
        return {name: count for name, count in found.items() if count is not None}


def weights(shapes: Iterable[tuple[int, ...]]) -> Iterator[Array]:
    """Yield the first weights of parameters, in float32, the same for all libraries."""
    draw = np.random.default_rng(1)
    for shape in shapes:
        bound = 1 / math.sqrt(math.prod(shape[1:]) if len(shape) > 1 else 100)
        yield draw.uniform(-bound, bound, shape).astype(np.float32)


def peak_memory() -> int | None:
    """Return the most bytes that this process had in memory, None where unknown.

    Linux counts in `ru_maxrss` what the parent held when it started the process, so
    its other figure is read there.
    """
    try:
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM"):
                return 1024 * int(line.split()[1])
    except OSError:
        pass
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return None
    unit = 1 if platform.system() == "Darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
