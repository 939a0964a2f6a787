"""gradlite's side of `benchmarks.train`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import gradlite as gl
from benchmarks._training import LR, MOMENTUM, Array, Training, weights
from gradlite import nn
from gradlite.examples.lenet import LeNet

MODELS: dict[str, Callable[[], nn.Module]] = {
    "lenet": LeNet,
    "mlp": lambda: nn.Sequential(
        nn.Linear(784, 256),
        nn.ReLU(),
        nn.Linear(256, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    ),
}


class Gradlite(Training):
    """Training with gradlite."""

    def prepare(self, images: Array, labels: Array) -> None:
        """Make the batches, the model and the optimizer."""
        dataset = gl.data.TensorDataset(gl.asarray(images), gl.asarray(labels))
        self._loader = gl.data.DataLoader(
            dataset, self.batch_size, shuffle=True, device=self.device
        )
        self.first = [x[: self.batch_size].to(self.device) for x in dataset.tensors]
        self.model = MODELS[self.network]()
        state = self.model.state_dict()
        new = weights(x.shape for x in state.values())
        self.model.load_state_dict(
            {name: gl.asarray(x) for name, x in zip(state, new, strict=True)}
        )
        self.model.to(self.device)
        self.optimizer = gl.optim.SGD(self.model.parameters(), lr=LR, momentum=MOMENTUM)

    def epoch(self) -> Iterable[Any]:
        """Return shuffled batches."""
        return self._loader

    def forward(self, images: Any, labels: Any) -> Any:
        """Return the loss."""
        return nn.functional.cross_entropy(self.model(images), labels)

    def backward(self, loss: Any) -> None:
        """Compute the gradients."""
        loss.backward()

    def update(self) -> None:
        """Do the step and drop the gradients."""
        self.optimizer.step()
        self.optimizer.zero_grad()

    def synchronize(self) -> None:
        """Wait for the device."""
        gl.synchronize(self.device)

    def device_memory(self) -> int | None:
        """Return what CuPy's pool holds."""
        if self.device == "cpu":
            return None
        import cupy

        return int(cupy.get_default_memory_pool().total_bytes())
