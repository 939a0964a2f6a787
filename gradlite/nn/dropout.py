"""Dropout."""

from __future__ import annotations

from gradlite._generator import Generator, require_generator
from gradlite.nn import functional as F
from gradlite.nn._arguments import number
from gradlite.nn.module import Module
from gradlite.tensor import Tensor


class Dropout(Module):
    """In training, zero elements at random and scale the others by ``1 / (1 - p)``.

    Parameters
    ----------
    p : float, default 0.5
        Probability of a zero.
    generator : Generator, optional
        Source of the masks; the default generator if not given. The same seed gives the
        same masks on every device.
    """

    def __init__(self, p: float = 0.5, *, generator: Generator | None = None) -> None:
        super().__init__()
        self.p = number("p", p, 0.0, 1.0)
        if generator is not None:
            require_generator(generator)
        self.generator = generator

    def forward(self, input: Tensor) -> Tensor:
        """Return `input` with some elements zeroed, or as it is in evaluation."""
        return F.dropout(input, self.p, self.training, generator=self.generator)

    def extra_repr(self) -> str:
        """Return the probability."""
        return f"p={self.p}"
