"""PyTorch's side of `benchmarks.train`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks._training import LR, MOMENTUM, Array, Training, weights

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))

MODELS = {
    "lenet": lambda: nn.Sequential(
        nn.Conv2d(1, 6, kernel_size=5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, kernel_size=5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * 5 * 5, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    ),
    "mlp": lambda: nn.Sequential(
        nn.Linear(784, 256),
        nn.ReLU(),
        nn.Linear(256, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    ),
}


class Torch(Training):
    """Training with PyTorch, eager, with its fused optimizer."""

    def prepare(self, images: Array, labels: Array) -> None:
        """Make the batches, the model and the optimizer."""
        dataset = TensorDataset(torch.from_numpy(images), torch.from_numpy(labels))
        self._loader = DataLoader(dataset, self.batch_size, shuffle=True)
        self.first = [x[: self.batch_size].to(self.device) for x in dataset.tensors]
        self.model = MODELS[self.network]()
        state = self.model.state_dict()
        new = weights(x.shape for x in state.values())
        self.model.load_state_dict(
            {name: torch.from_numpy(x) for name, x in zip(state, new, strict=True)}
        )
        self.model.to(self.device)
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), lr=LR, momentum=MOMENTUM, fused=True
        )

    def epoch(self) -> Iterable[Any]:
        """Return shuffled batches."""
        return ([x.to(self.device) for x in batch] for batch in self._loader)

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
        if self.device == "cuda":
            torch.cuda.synchronize()

    def device_memory(self) -> int | None:
        """Return the most that PyTorch held."""
        if self.device == "cpu":
            return None
        return int(torch.cuda.max_memory_reserved())
