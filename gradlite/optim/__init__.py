"""Optimizers that update parameters in place, and learning-rate schedules."""

from __future__ import annotations

from gradlite.optim import functional, lr_scheduler
from gradlite.optim.adagrad import Adagrad
from gradlite.optim.adam import Adam, AdamW
from gradlite.optim.optimizer import Optimizer
from gradlite.optim.rmsprop import RMSprop
from gradlite.optim.sgd import SGD

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Optimizer",
    "RMSprop",
    "functional",
    "lr_scheduler",
]
