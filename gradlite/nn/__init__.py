"""Layers, losses and their building blocks, with PyTorch's names and meaning."""

from __future__ import annotations

from gradlite.nn import functional, init, utils
from gradlite.nn.activation import (
    LeakyReLU,
    LogSoftmax,
    ReLU,
    Sigmoid,
    Softmax,
    Tanh,
)
from gradlite.nn.batchnorm import BatchNorm1d, BatchNorm2d
from gradlite.nn.containers import ModuleDict, ModuleList, Sequential
from gradlite.nn.conv import Conv2d
from gradlite.nn.dropout import Dropout
from gradlite.nn.linear import Flatten, Identity, Linear
from gradlite.nn.loss import (
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    MSELoss,
    NLLLoss,
)
from gradlite.nn.module import Module
from gradlite.nn.parameter import Parameter
from gradlite.nn.pooling import AvgPool2d, MaxPool2d

__all__ = [
    "AvgPool2d",
    "BCELoss",
    "BCEWithLogitsLoss",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv2d",
    "CrossEntropyLoss",
    "Dropout",
    "Flatten",
    "Identity",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "MSELoss",
    "MaxPool2d",
    "Module",
    "ModuleDict",
    "ModuleList",
    "NLLLoss",
    "Parameter",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "functional",
    "init",
    "utils",
]
