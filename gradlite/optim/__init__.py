"""Optimizers that update parameters in place, and learning-rate schedules."""

from __future__ import annotations

from gradlite.optim import lr_scheduler
from gradlite.optim.optimizer import Optimizer
from gradlite.optim.sgd import SGD

__all__ = ["SGD", "Optimizer", "lr_scheduler"]
