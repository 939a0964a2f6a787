"""Schedules of the learning rate, with PyTorch's names, values and state."""

from __future__ import annotations

from gradlite.optim.lr_scheduler._base import LRScheduler
from gradlite.optim.lr_scheduler._cosine import (
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
)
from gradlite.optim.lr_scheduler._factors import (
    ExponentialLR,
    LinearLR,
    MultiStepLR,
    StepLR,
)
from gradlite.optim.lr_scheduler._lambda import LambdaLR
from gradlite.optim.lr_scheduler._onecycle import OneCycleLR
from gradlite.optim.lr_scheduler._plateau import ReduceLROnPlateau
from gradlite.optim.lr_scheduler._sequential import SequentialLR

__all__ = [
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "OneCycleLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]
