"""The same training through the same code on every array library."""

from __future__ import annotations

import numpy as np
import pytest

import gradlite as gl
from gradlite import nn

STEPS = 30
RTOL = 2e-4
"""Float32 losses after 30 steps: libraries sum in different orders, and training
amplifies the last bits."""


def model() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 3, dilation=2, padding=2, groups=2),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * 2 * 2, 10),
    )


def losses(device: str) -> list[float]:
    gl.manual_seed(0)
    net = model().to(device)
    digits = gl.data.Subset(gl.data.digits("train"), range(128))
    loader = gl.data.DataLoader(digits, batch_size=16, shuffle=True, device=device)
    optimizer = gl.optim.SGD(
        net.parameters(), lr=0.3, momentum=0.9, weight_decay=1e-4, alpha=1e-5
    )
    schedule = gl.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, total_iters=STEPS)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.05)
    result: list[float] = []
    while len(result) < STEPS:
        for images, labels in loader:
            optimizer.zero_grad()
            loss = criterion(net(images), labels)
            loss.backward()
            optimizer.step()
            schedule.step()
            result.append(loss.item())
    return result[:STEPS]


@pytest.fixture(scope="module")
def reference() -> list[float]:
    return losses("cpu")


def test_the_reference_learns(reference: list[float]) -> None:
    assert reference[-1] < 0.85 * reference[0]


@pytest.mark.slow
def test_thirty_steps_agree(device: str, reference: list[float]) -> None:
    np.testing.assert_allclose(losses(device), reference, rtol=RTOL)


def test_the_same_seed_gives_the_same_run(reference: list[float]) -> None:
    assert losses("cpu") == reference
