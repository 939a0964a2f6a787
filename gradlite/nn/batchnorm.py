"""Batch normalization."""

from __future__ import annotations

from typing import ClassVar

from gradlite import ops
from gradlite._arguments import boolean, integer
from gradlite._typing import DType
from gradlite.autograd import no_grad
from gradlite.autograd.checkpoint import is_recomputing
from gradlite.backends import Device, dtypes
from gradlite.nn import functional as F
from gradlite.nn import init
from gradlite.nn._arguments import floating, number, tensor
from gradlite.nn.module import Module
from gradlite.nn.parameter import Parameter, owned
from gradlite.tensor import Tensor


class _BatchNorm(Module):
    """What `BatchNorm1d` and `BatchNorm2d` share."""

    _shapes: ClassVar[dict[int, str]]
    """Accepted numbers of axes and how to name them."""

    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        device: Device | str | None = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        self.num_features = integer("num_features", num_features)
        self.eps = number("eps", eps, 0.0)
        self.momentum = (
            None if momentum is None else number("momentum", momentum, 0.0, 1.0)
        )
        self.affine = boolean("affine", affine)
        self.track_running_stats = boolean("track_running_stats", track_running_stats)
        shape, dtype = (self.num_features,), floating(dtype)
        self.weight = self.bias = None
        if affine:
            self.weight = owned(ops.ones(shape, dtype=dtype, device=device))
            self.bias = owned(ops.zeros(shape, dtype=dtype, device=device))
        mean = var = batches = None
        if track_running_stats:
            mean = ops.zeros(shape, dtype=dtype, device=device)
            var = ops.ones(shape, dtype=dtype, device=device)
            batches = ops.zeros((), dtype=dtypes.int64, device=device)
        self.register_buffer("running_mean", mean)
        self.register_buffer("running_var", var)
        self.register_buffer("num_batches_tracked", batches)

    def reset_running_stats(self) -> None:
        """Forget the batches seen so far."""
        with no_grad():
            if self.running_mean is not None:
                self.running_mean.zero_()
            if self.running_var is not None:
                self.running_var.fill_(1.0)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Forget the batches seen so far and set the scale to 1 and the shift to 0."""
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalized input.

        Parameters
        ----------
        input : Tensor
            Shape (N, num_features), or with axes behind as the class allows.

        Returns
        -------
        Tensor
            The shape of `input`.
        """
        input = tensor("input", input)
        if input.ndim not in self._shapes or input.shape[1] != self.num_features:
            shapes = " or ".join(self._shapes.values())
            raise ValueError(
                f"{type(self).__name__} takes an input of shape {shapes} with "
                f"C = num_features = {self.num_features}, got shape {input.shape}"
            )
        tracks = self.training and self.track_running_stats and not is_recomputing()
        batches = self.num_batches_tracked if tracks else None
        momentum = self.momentum
        if momentum is None:  # all batches count alike
            momentum = 0.0 if batches is None else 1.0 / (int(batches) + 1)
        uses_running = tracks or not self.training
        output = F.batch_norm(
            input,
            self.running_mean if uses_running else None,
            self.running_var if uses_running else None,
            self.weight,
            self.bias,
            self.training or self.running_mean is None,
            momentum,
            self.eps,
        )
        if batches is not None:
            with no_grad():
                batches.add_(1)
        return output

    def extra_repr(self) -> str:
        """Return the options."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(_BatchNorm):
    """Normalize each channel of (N, C) or (N, C, L) over the batch.

    In training with the batch's mean and biased variance, while running estimates
    (of the unbiased variance) are kept for evaluation; Ioffe and Szegedy 2015,
    https://arxiv.org/abs/1502.03167.

    Parameters
    ----------
    num_features : int
        Number of channels C.
    eps : float, default 1e-5
        Added to the variance.
    momentum : float or None, default 0.1
        Weight of the newest batch in the running estimates; None gives each batch the
        same weight.
    affine : bool, default True
        Whether to scale and shift each channel by trained parameters.
    track_running_stats : bool, default True
        Whether to keep running estimates; without them evaluation uses the batch too.
    device : Device or str, optional
        Where the parameters live; the default device if not given.
    dtype : dtype, optional
        Of the parameters; the default dtype if not given.

    Attributes
    ----------
    weight, bias : Parameter or None
        Scale and shift, shape (C,).
    running_mean, running_var, num_batches_tracked : Tensor or None
        Running estimates, shape (C,), and the number of batches in them.
    """

    _shapes: ClassVar[dict[int, str]] = {2: "(N, C)", 3: "(N, C, L)"}


class BatchNorm2d(_BatchNorm):
    """Normalize each channel of images (N, C, H, W) over the batch and the positions.

    In training with the batch's mean and biased variance, while running estimates
    (of the unbiased variance) are kept for evaluation; Ioffe and Szegedy 2015,
    https://arxiv.org/abs/1502.03167.

    Parameters
    ----------
    num_features : int
        Number of channels C.
    eps : float, default 1e-5
        Added to the variance.
    momentum : float or None, default 0.1
        Weight of the newest batch in the running estimates; None gives each batch the
        same weight.
    affine : bool, default True
        Whether to scale and shift each channel by trained parameters.
    track_running_stats : bool, default True
        Whether to keep running estimates; without them evaluation uses the batch too.
    device : Device or str, optional
        Where the parameters live; the default device if not given.
    dtype : dtype, optional
        Of the parameters; the default dtype if not given.

    Attributes
    ----------
    weight, bias : Parameter or None
        Scale and shift, shape (C,).
    running_mean, running_var, num_batches_tracked : Tensor or None
        Running estimates, shape (C,), and the number of batches in them.
    """

    _shapes: ClassVar[dict[int, str]] = {4: "(N, C, H, W)"}
