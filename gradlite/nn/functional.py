"""The layers of `gradlite.nn` as functions.

`linear`, `one_hot`, `relu`, `sigmoid`, `tanh`, `softmax` and `log_softmax` are
gradlite's array functions, with `axis` where PyTorch has `dim`; everything else has
PyTorch's names and meaning.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from gradlite import ops, random
from gradlite._arguments import integer
from gradlite._generator import Generator
from gradlite.autograd import is_recomputing, no_grad
from gradlite.backends import DeviceMismatchError
from gradlite.nn._arguments import (
    choice,
    number,
    optional,
    pair,
    tensor,
    window,
)
from gradlite.nn._losses import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    mse_loss,
    nll_loss,
)
from gradlite.ops import linear, log_softmax, one_hot, relu, sigmoid, softmax, tanh
from gradlite.tensor import Tensor

__all__ = [
    "avg_pool2d",
    "batch_norm",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "conv2d",
    "cross_entropy",
    "dropout",
    "flatten",
    "leaky_relu",
    "linear",
    "log_softmax",
    "max_pool2d",
    "mse_loss",
    "nll_loss",
    "one_hot",
    "relu",
    "sigmoid",
    "softmax",
    "tanh",
]

Size: TypeAlias = int | tuple[int, int]

PADDINGS = ("valid", "same")

# Convolution and pooling


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlate images with a bank of kernels.

    Parameters
    ----------
    input : Tensor
        Images of shape (N, C, H, W), or one image (C, H, W).
    weight : Tensor
        Kernels of shape (O, C / groups, height, width).
    bias : Tensor, optional
        One number per output channel, shape (O,).
    stride : int or pair of int, default 1
        Step between two positions of a kernel.
    padding : int, pair of int, "same" or "valid", default 0
        Zeros on each side; "same" keeps the image size (`stride` 1 only), "valid" is 0.
    dilation : int or pair of int, default 1
        Distance between two neighbors within a kernel.
    groups : int, default 1
        Number of channel groups that do not see each other.

    Returns
    -------
    Tensor
        Shape (N, O, H', W') with
        ``H' = (H + 2 * padding - dilation * (height - 1) - 1) // stride + 1``.

    Raises
    ------
    ValueError
        If shapes or options do not fit together.
    """
    weight = tensor("weight", weight)
    stride, dilation = pair("stride", stride), pair("dilation", dilation)
    odd = (0, 0)
    if padding == "same":
        if stride != (1, 1):
            raise ValueError(
                f"padding='same' needs stride=1, got {stride}; give padding as integers"
            )
        kernel = weight.shape[2:] if weight.ndim == 4 else (1, 1)
        rows, columns = dilation[0] * (kernel[0] - 1), dilation[1] * (kernel[1] - 1)
        # With an odd total the end gets one more zero than the start: both sides get
        # that many here, and the first row or column of the result is left out.
        odd = (rows % 2, columns % 2)
        padding = ((rows + 1) // 2, (columns + 1) // 2)
    elif isinstance(padding, str):
        choice("padding", padding, PADDINGS)
        padding = (0, 0)
    else:
        padding = pair("padding", padding, minimum=0)
    images, unbatch = _images(input)
    out = ops.conv2d(
        images,
        weight,
        bias,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=integer("groups", groups),
    )
    if odd != (0, 0):
        out = out[:, :, odd[0] :, odd[1] :]
    return unbatch(out)


def max_pool2d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
) -> Tensor:
    """Return the largest value in each window of images.

    Parameters
    ----------
    input : Tensor
        Images of shape (N, C, H, W), or one image (C, H, W).
    kernel_size : int or pair of int
        Height and width of the window.
    stride : int or pair of int, optional
        Step between two windows; `kernel_size` by default.
    padding : int or pair of int, default 0
        Width of the border of minus infinities; at most half of `kernel_size`.
    dilation : int or pair of int, default 1
        Distance between two neighbors within a window.

    Returns
    -------
    Tensor
        Shape (N, C, H', W') as for `conv2d`.

    Raises
    ------
    ValueError
        If shapes or options do not fit together.
    """
    kernel, step, border = window(kernel_size, stride, padding)
    images, unbatch = _images(input)
    return unbatch(
        ops.max_pool2d(
            images,
            kernel_size=kernel,
            stride=step,
            padding=border,
            dilation=pair("dilation", dilation),
        )
    )


def avg_pool2d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    *,
    count_include_pad: bool = True,
) -> Tensor:
    """Return the mean of each window of images.

    Parameters
    ----------
    input : Tensor
        Images of shape (N, C, H, W), or one image (C, H, W).
    kernel_size : int or pair of int
        Height and width of the window.
    stride : int or pair of int, optional
        Step between two windows; `kernel_size` by default.
    padding : int or pair of int, default 0
        Width of the border of zeros; at most half of `kernel_size`.
    count_include_pad : bool, default True
        Whether the zeros of the border count as values.

    Returns
    -------
    Tensor
        Shape (N, C, H', W') as for `conv2d`.

    Raises
    ------
    ValueError
        If shapes or options do not fit together.
    """
    kernel, step, border = window(kernel_size, stride, padding)
    images, unbatch = _images(input)
    return unbatch(
        ops.avg_pool2d(
            images,
            kernel_size=kernel,
            stride=step,
            padding=border,
            count_include_pad=count_include_pad,
        )
    )


def _images(input: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Return `input` as a batch and what undoes that in the result."""
    input = tensor("input", input)
    if input.ndim == 4:
        return input, _same
    if input.ndim == 3:
        return ops.expand_dims(input, axis=0), _first
    raise ValueError(
        "input must have shape (N, C, H, W) or (C, H, W), got shape "
        f"{input.shape}; reshape it"
    )


def _same(x: Tensor) -> Tensor:
    return x


def _first(x: Tensor) -> Tensor:
    return ops.squeeze(x, axis=0)


# Normalization, activations and shape


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalize each channel over the batch and the positions.

    ``(x - mean) / sqrt(var + eps) * weight + bias`` with the biased variance of the
    batch in training and the running statistics otherwise (Ioffe and Szegedy 2015,
    https://arxiv.org/abs/1502.03167).

    Parameters
    ----------
    input : Tensor
        Shape (N, C) or (N, C, ...).
    running_mean, running_var : Tensor or None
        Shape (C,). In training they move in place towards the batch's mean and unbiased
        variance, once also within a checkpoint; None keeps no statistics.
    weight, bias : Tensor, optional
        Scale and shift per channel, shape (C,).
    training : bool, default False
        Whether to use the statistics of the batch.
    momentum : float, default 0.1
        Weight of the batch in the running statistics.
    eps : float, default 1e-5
        Added to the variance.

    Returns
    -------
    Tensor
        The shape of `input`.

    Raises
    ------
    ValueError
        If shapes do not fit, or in training with a single value per channel.
    """
    input = tensor("input", input)
    if input.ndim < 2:
        raise ValueError(
            f"input must have shape (N, C) or (N, C, ...), got shape {input.shape}"
        )
    channels = input.shape[1]
    shape = (channels,) + (1,) * (input.ndim - 2)
    running_mean = optional("running_mean", running_mean)
    running_var = optional("running_var", running_var)
    weight, bias = optional("weight", weight), optional("bias", bias)
    for name, vector in (
        ("running_mean", running_mean),
        ("running_var", running_var),
        ("weight", weight),
        ("bias", bias),
    ):
        if vector is None:
            continue
        if vector.shape != (channels,):
            raise ValueError(
                f"{name} must have shape ({channels},), one number for each channel of "
                f"the input of shape {input.shape}, got shape {vector.shape}"
            )
        if vector.device is not input.device:
            raise DeviceMismatchError(
                f"{name} is on {vector.device}, input on {input.device}; move one of "
                "them with .to(...), or the whole module"
            )
    momentum, eps = number("momentum", momentum, 0.0, 1.0), number("eps", eps, 0.0)
    if (running_mean is None) is not (running_var is None):
        raise ValueError(
            "running_mean and running_var must both be tensors or both be None, got "
            "None for one; give the other too, or leave both out"
        )
    if training:
        axes = (0, *range(2, input.ndim))
        count = input.size // max(channels, 1)
        if count < 2:
            raise ValueError(
                "training needs more than one value per channel, got input of shape "
                f"{input.shape}; use a larger batch or call eval()"
            )
        mean = ops.mean(input, axis=axes, keepdims=True)
        centered = input - mean
        var = ops.mean(ops.square(centered), axis=axes, keepdims=True)
        moves = not is_recomputing()
        if moves and running_mean is not None and running_var is not None:
            _move(running_mean, mean, momentum)
            _move(running_var, var * (count / (count - 1)), momentum)
    elif running_mean is None or running_var is None:
        raise ValueError(
            "running_mean and running_var must be tensors unless training=True, "
            "got None"
        )
    else:
        centered = input - ops.reshape(running_mean, shape)
        var = ops.reshape(running_var, shape)
    scale = 1.0 / ops.sqrt(var + eps)
    if weight is not None:
        scale = scale * ops.reshape(weight, shape)
    out = centered * scale
    return out if bias is None else out + ops.reshape(bias, shape)


def _move(running: Tensor, batch: Tensor, momentum: float) -> None:
    with no_grad():
        batch = ops.reshape(batch.detach(), running.shape)
        running.copy_(running * (1.0 - momentum) + batch * momentum)


def dropout(
    input: Tensor,
    p: float = 0.5,
    training: bool = True,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Zero each element with probability `p` and scale the others by ``1 / (1 - p)``.

    Parameters
    ----------
    input : Tensor
        Floating-point tensor of any shape.
    p : float, default 0.5
        Probability between 0 and 1.
    training : bool, default True
        Whether to do anything.
    generator : Generator, optional
        Source of the mask; the default generator if not given. The same seed gives the
        same mask on every device.

    Returns
    -------
    Tensor
        The shape of `input`.

    Raises
    ------
    ValueError
        If `p` is not a probability.
    """
    p = number("p", p, 0.0, 1.0)
    input = tensor("input", input)
    if not training or p == 0.0:
        return input
    kept = random.bernoulli(
        input.shape,
        1.0 - p,
        dtype=input.dtype,
        device=input.device,
        generator=generator,
    )
    return input * (kept * (1.0 / (1.0 - p) if p < 1.0 else 0.0))


def leaky_relu(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """Return `input` where it is positive and `negative_slope` times it elsewhere.

    Parameters
    ----------
    input : Tensor
        Floating-point tensor of any shape.
    negative_slope : float, default 0.01
        Slope below zero.

    Returns
    -------
    Tensor
        The shape of `input`.
    """
    input, slope = tensor("input", input), number("negative_slope", negative_slope)
    return ops.where(input > 0, input, input * slope)


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Merge the axes from `start_dim` to `end_dim`, both included, into one.

    Parameters
    ----------
    input : Tensor
        Tensor of any shape.
    start_dim, end_dim : int, default 0 and -1
        First and last axis to merge; negative ones count from the end.

    Returns
    -------
    Tensor
        The same values; shape (N, C, H, W) with `start_dim` 1 gives (N, C * H * W).

    Raises
    ------
    IndexError
        If there is no such axis.
    ValueError
        If `start_dim` comes after `end_dim`.
    """
    input = tensor("input", input)
    start_dim = integer("start_dim", start_dim, None)
    end_dim = integer("end_dim", end_dim, None)
    ndim = max(input.ndim, 1)
    for name, axis in (("start_dim", start_dim), ("end_dim", end_dim)):
        if not -ndim <= axis < ndim:
            raise IndexError(
                f"{name} must be between {-ndim} and {ndim - 1} for an input of shape "
                f"{input.shape}, got {axis}"
            )
    if start_dim % ndim > end_dim % ndim:
        raise ValueError(
            f"start_dim must not come after end_dim, got {start_dim} and {end_dim} for "
            f"an input of shape {input.shape}"
        )
    return input.flatten(start_dim, end_dim)
