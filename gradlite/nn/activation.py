"""Activations."""

from __future__ import annotations

from gradlite.nn import functional as F
from gradlite.nn._arguments import number
from gradlite.nn.module import Module
from gradlite.tensor import Tensor


class ReLU(Module):
    """Return the positive part: ``max(input, 0)``."""

    def forward(self, input: Tensor) -> Tensor:
        """Return ``max(input, 0)``."""
        return F.relu(input)


class LeakyReLU(Module):
    """Return the input where it is positive and a small multiple of it elsewhere.

    Parameters
    ----------
    negative_slope : float, default 0.01
        The multiple.
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__()
        self.negative_slope = number("negative_slope", negative_slope)

    def forward(self, input: Tensor) -> Tensor:
        """Return `input` with its negative values scaled."""
        return F.leaky_relu(input, self.negative_slope)

    def extra_repr(self) -> str:
        """Return the slope."""
        return f"negative_slope={self.negative_slope}"


class Tanh(Module):
    """Return the hyperbolic tangent."""

    def forward(self, input: Tensor) -> Tensor:
        """Return ``tanh(input)``."""
        return F.tanh(input)


class Sigmoid(Module):
    """Return ``1 / (1 + exp(-input))``."""

    def forward(self, input: Tensor) -> Tensor:
        """Return ``1 / (1 + exp(-input))``."""
        return F.sigmoid(input)


class Softmax(Module):
    """Turn logits into probabilities that sum to one.

    Parameters
    ----------
    dim : int
        The axis of the classes.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        """Return the probabilities."""
        return F.softmax(input, axis=self.dim)

    def extra_repr(self) -> str:
        """Return the axis."""
        return f"dim={self.dim}"


class LogSoftmax(Module):
    """Turn logits into the logarithms of probabilities.

    Parameters
    ----------
    dim : int
        The axis of the classes.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        """Return the log-probabilities."""
        return F.log_softmax(input, axis=self.dim)

    def extra_repr(self) -> str:
        """Return the axis."""
        return f"dim={self.dim}"
