"""Layers that multiply by a matrix, or only rearrange."""

from __future__ import annotations

import math
from typing import Any

from gradlite import ops
from gradlite._arguments import boolean, integer
from gradlite._typing import DType
from gradlite.backends import Device
from gradlite.nn import functional as F
from gradlite.nn import init
from gradlite.nn._arguments import floating
from gradlite.nn.module import Module
from gradlite.nn.parameter import Parameter, owned
from gradlite.tensor import Tensor


class Linear(Module):
    """Multiply by a matrix and add a bias: ``input @ weight.T + bias``.

    Weights start uniform within ``1 / sqrt(in_features)``, as does the bias.

    Parameters
    ----------
    in_features, out_features : int
        Size of the last axis of the input and of the output.
    bias : bool, default True
        Whether to add a bias.
    device : Device or str, optional
        Where the parameters live; the default device if not given.
    dtype : dtype, optional
        Of the parameters; the default dtype if not given.

    Attributes
    ----------
    weight : Parameter
        Shape (out_features, in_features).
    bias : Parameter or None
        Shape (out_features,).

    Examples
    --------
    >>> import gradlite as gl
    >>> layer = gl.nn.Linear(3, 2)
    >>> layer(gl.ones((5, 3))).shape
    (5, 2)
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        device: Device | str | None = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        self.in_features = integer("in_features", in_features)
        self.out_features = integer("out_features", out_features)
        shape, dtype = (self.out_features, self.in_features), floating(dtype)
        self.weight = owned(ops.empty(shape, dtype=dtype, device=device))
        self.bias = None
        if boolean("bias", bias):
            self.bias = owned(ops.empty(shape[:1], dtype=dtype, device=device))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights and a new bias."""
        reset_weight_and_bias(self.weight, self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """Return ``input @ weight.T + bias``.

        Parameters
        ----------
        input : Tensor
            Shape (..., in_features).

        Returns
        -------
        Tensor
            Shape (..., out_features).
        """
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Return the sizes."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )


def reset_weight_and_bias(weight: Tensor, bias: Tensor | None) -> None:
    """Draw PyTorch's default weights, uniform within ``1 / sqrt(fan_in)``, and bias."""
    init.kaiming_uniform_(weight, a=math.sqrt(5))
    if bias is not None:
        bound = 1 / math.sqrt(math.prod(weight.shape[1:]))
        init.uniform_(bias, -bound, bound)


class Identity(Module):
    """Return the input; any constructor arguments are ignored.

    Parameters
    ----------
    *args, **kwargs : Any
        Ignored, so that it can stand in for another layer.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        """Return `input`."""
        return input


class Flatten(Module):
    """Merge axes into one.

    Parameters
    ----------
    start_dim, end_dim : int, default 1 and -1
        First and last axis to merge; the default keeps the batch axis.

    Examples
    --------
    >>> import gradlite as gl
    >>> gl.nn.Flatten()(gl.ones((5, 16, 2, 2))).shape
    (5, 64)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = integer("start_dim", start_dim, None)
        self.end_dim = integer("end_dim", end_dim, None)

    def forward(self, input: Tensor) -> Tensor:
        """Return `input` with the axes merged."""
        return F.flatten(input, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        """Return the axes."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"
