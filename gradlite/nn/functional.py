"""The layers of `gradlite.nn` as functions.

`linear`, `one_hot`, `relu`, `sigmoid`, `tanh`, `softmax` and `log_softmax` are
gradlite's array functions, with `axis` where PyTorch has `dim`; everything else has
PyTorch's names and meaning.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

from gradlite import ops, random
from gradlite._typing import Shape
from gradlite.autograd import no_grad
from gradlite.backends import dtypes
from gradlite.nn._arguments import choice, integer, number, pair
from gradlite.ops import linear, log_softmax, one_hot, relu, sigmoid, softmax, tanh
from gradlite.random import Generator
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
REDUCTIONS = ("none", "mean", "sum")

# Convolution and pooling -------------------------------------------------------------


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
    stride, dilation = pair("stride", stride), pair("dilation", dilation)
    odd = (0, 0)
    if padding == "same":
        if stride != (1, 1):
            raise ValueError(
                f"padding='same' needs stride=1, got {stride}; give padding as integers"
            )
        total = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
        # With an odd total the end gets one more zero than the start: both sides get
        # that many here, and the first row or column of the result is left out.
        odd = (total[0] % 2, total[1] % 2)
        padding = ((total[0] + 1) // 2, (total[1] + 1) // 2)
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
    kernel, step, border = check_window(kernel_size, stride, padding)
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
    kernel, step, border = check_window(kernel_size, stride, padding)
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


def check_window(
    kernel_size: Size, stride: Size | None, padding: Size
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    kernel = pair("kernel_size", kernel_size)
    step = kernel if stride is None else pair("stride", stride)
    border = pair("padding", padding, minimum=0)
    if border[0] > kernel[0] // 2 or border[1] > kernel[1] // 2:
        raise ValueError(
            f"padding must be at most half of kernel_size {kernel}, got {padding!r}"
        )
    return kernel, step, border


def _images(input: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Return `input` as a batch and what undoes that in the result."""
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


# Normalization, activations and shape ------------------------------------------------


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
        variance; None keeps no statistics.
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
    if input.ndim < 2:
        raise ValueError(
            f"input must have shape (N, C) or (N, C, ...), got shape {input.shape}"
        )
    channels = input.shape[1]
    shape = (channels,) + (1,) * (input.ndim - 2)
    for name, tensor in (
        ("running_mean", running_mean),
        ("running_var", running_var),
        ("weight", weight),
        ("bias", bias),
    ):
        if tensor is not None and tensor.shape != (channels,):
            raise ValueError(
                f"{name} must have shape ({channels},), one number for each channel of "
                f"the input of shape {input.shape}, got shape {tensor.shape}"
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
        if running_mean is not None and running_var is not None:
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
    return ops.where(input > 0, input, input * negative_slope)


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


# Losses ------------------------------------------------------------------------------


def mse_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """Return the squared difference of two tensors.

    Parameters
    ----------
    input, target : Tensor
        Tensors of one shape.
    reduction : {"mean", "sum", "none"}, default "mean"
        What to do with the losses of the elements.

    Returns
    -------
    Tensor
        0-D, or of the shape of `input` for "none".

    Raises
    ------
    ValueError
        If the shapes differ: broadcasting here is nearly always a mistake.
    """
    _require_shape("target", target, input.shape)
    return _reduce(ops.square(input - target), reduction)


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    reduction: str = "mean",
) -> Tensor:
    """Return the cross-entropy of probabilities against targets between 0 and 1.

    ``-(target * log(input) + (1 - target) * log(1 - input))``, where a logarithm is at
    least -100. For inputs that come from a sigmoid,
    `binary_cross_entropy_with_logits` is more accurate.

    Parameters
    ----------
    input : Tensor
        Probabilities.
    target : Tensor
        Probabilities of the shape of `input`.
    weight : Tensor, optional
        Factor for each element; broadcasts to the shape of `input`.
    reduction : {"mean", "sum", "none"}, default "mean"
        What to do with the losses of the elements.

    Returns
    -------
    Tensor
        0-D, or of the shape of `input` for "none".

    Raises
    ------
    ValueError
        If the shapes differ, or an input is not between 0 and 1 (on a GPU, where
        reading the values would stall the device, the loss is NaN instead).
    """
    _require_shape("target", target, input.shape)
    if input.device.is_host and input.size:
        low, high = float(ops.min(input.detach())), float(ops.max(input.detach()))
        if low < 0.0 or high > 1.0:
            raise ValueError(
                f"input must be probabilities between 0 and 1, got values from {low:g} "
                f"to {high:g}; use binary_cross_entropy_with_logits for logits"
            )
    loss = -(target * _clamped_log(input) + (1.0 - target) * _clamped_log(1.0 - input))
    return _reduce(loss if weight is None else loss * weight, reduction)


def _clamped_log(p: Tensor) -> Tensor:
    # The logarithm never sees the zeros: its infinite derivative there would turn
    # into NaN when the clamp multiplies it by zero.
    zero = p == 0.0
    log = ops.log(ops.where(zero, 1.0, p))
    return ops.where(zero, -100.0, ops.maximum(log, -100.0))


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    pos_weight: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return the cross-entropy of ``sigmoid(input)`` against targets between 0 and 1.

    Computed as ``(1 - target) * input + (1 + (pos_weight - 1) * target) *
    log(1 + exp(-input))``, which neither overflows nor loses digits.

    Parameters
    ----------
    input : Tensor
        Logits.
    target : Tensor
        Probabilities of the shape of `input`.
    weight : Tensor, optional
        Factor for each element; broadcasts to the shape of `input`.
    pos_weight : Tensor, optional
        Factor for the positive part of each element; broadcasts likewise.
    reduction : {"mean", "sum", "none"}, default "mean"
        What to do with the losses of the elements.

    Returns
    -------
    Tensor
        0-D, or of the shape of `input` for "none".

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    _require_shape("target", target, input.shape)
    # log(1 + exp(-x)) in two branches that agree in all their derivatives at 0.
    positive = input >= 0
    soft = ops.log1p(ops.exp(ops.where(positive, -input, input)))
    soft = soft + ops.where(positive, 0.0, -input)
    if pos_weight is not None:
        soft = soft * (1.0 + (pos_weight - 1.0) * target)
    loss = (1.0 - target) * input + soft
    return _reduce(loss if weight is None else loss * weight, reduction)


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Return the negative log-likelihood of the target classes.

    Parameters
    ----------
    input : Tensor
        Log-probabilities of shape (N, C), (N, C, d1, ...) or (C,).
    target : Tensor
        Class numbers, integers of the shape of `input` without its class axis.
    weight : Tensor, optional
        Factor for each class, shape (C,).
    ignore_index : int, default -100
        Targets that do not count.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides the sum by the sum of the weights of the targets that count.

    Returns
    -------
    Tensor
        0-D, or of the shape of `target` for "none".

    Raises
    ------
    IndexError
        If a target is not a class (on a GPU, where reading the values would stall the
        device, its loss is NaN instead).
    TypeError
        If `target` is not of an integer dtype.
    ValueError
        If the shapes do not fit together.
    """
    return _class_loss(input, target, weight, ignore_index, reduction, 0.0)


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Return the cross-entropy of ``softmax(input)`` against target classes.

    Parameters
    ----------
    input : Tensor
        Logits of shape (N, C), (N, C, d1, ...) or (C,).
    target : Tensor
        Class numbers, integers of the shape of `input` without its class axis; or
        class probabilities, floating-point numbers of the shape of `input`.
    weight : Tensor, optional
        Factor for each class, shape (C,).
    ignore_index : int, default -100
        Targets that do not count; class numbers only.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides the sum by the sum of the weights of the targets that count, or
        by the number of samples if the targets are probabilities.
    label_smoothing : float, default 0
        How much of each target is spread evenly over all classes, between 0 and 1
        (Szegedy et al. 2016, https://arxiv.org/abs/1512.00567).

    Returns
    -------
    Tensor
        0-D, or of the shape of `input` without its class axis for "none".

    Raises
    ------
    IndexError
        If a target is not a class (on a GPU, where reading the values would stall the
        device, its loss is NaN instead).
    ValueError
        If the shapes do not fit together.

    Examples
    --------
    >>> import gradlite as gl
    >>> logits = gl.tensor([[2.0, 0.0], [0.0, 2.0]])
    >>> loss = gl.nn.functional.cross_entropy(logits, gl.tensor([0, 1]))
    >>> round(loss.item(), 4)
    0.1269
    """
    smoothing = number("label_smoothing", label_smoothing, 0.0, 1.0)
    _require_tensor("target", target)
    axis = _class_axis(input)
    log_p = log_softmax(input, axis=axis)
    if dtypes.rank(target.dtype) < 2:
        return _class_loss(log_p, target, weight, ignore_index, reduction, smoothing)
    _require_shape("target", target, input.shape)
    if ignore_index >= 0:
        raise ValueError(
            f"ignore_index must be left out when the targets are probabilities, "
            f"got {ignore_index}; give those samples a target of zeros"
        )
    if smoothing:
        target = target * (1.0 - smoothing) + smoothing / input.shape[axis]
    if weight is not None:
        target = target * _per_class(weight, input)
    return _reduce(-ops.sum(log_p * target, axis=axis), reduction)


def _class_loss(
    log_p: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    reduction: str,
    smoothing: float,
) -> Tensor:
    choice("reduction", reduction, REDUCTIONS)
    axis = _class_axis(log_p)
    _require_shape("target", target, (*log_p.shape[:axis], *log_p.shape[axis + 1 :]))
    index, counts, known = _class_numbers(target, log_p.shape[axis], ignore_index)

    picked = ops.take_along_axis(log_p, ops.expand_dims(index, axis=axis), axis=axis)
    loss = -ops.squeeze(picked, axis=axis)
    factor = None if counts is None else ops.astype(counts, log_p.dtype)
    shares = log_p
    if weight is not None:
        shares = log_p * _per_class(weight, log_p)
        factor = ops.take(weight, ops.reshape(index, (-1,)), axis=0)
        factor = ops.reshape(factor, index.shape)
        loss = loss * factor
    if smoothing:
        even = -ops.mean(shares, axis=axis)
        loss = loss * (1.0 - smoothing) + even * smoothing
    if known is not None:
        loss = ops.where(known, loss, math.nan)
    if counts is not None:
        loss = ops.where(counts, loss, 0.0)
        factor = ops.where(counts, factor, 0.0)
    if reduction == "mean" and factor is not None:
        return ops.mean(loss) / ops.mean(factor)
    return _reduce(loss, reduction)


def _class_numbers(
    target: Tensor, classes: int, ignore_index: int
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Return what to look up, which targets count, and which are classes.

    In host memory the targets are read: one that is no class is an error, and None
    stands for "all". Elsewhere reading would stall the device.
    """
    if dtypes.rank(target.dtype) != 1:
        raise TypeError(
            "target must be class numbers of an integer dtype, got "
            f"{target.dtype.__name__}; convert it with target.astype(gl.int64)"
        )
    target = ops.astype(target, dtypes.int64, copy=False)
    counts = target != ignore_index
    if not target.device.is_host:
        known = ops.logical_and(target >= 0, target < classes)
        return ops.where(known, target, 0), counts, known
    ignores = not ops.all(counts)
    index = ops.where(counts, target, 0) if ignores else target
    if index.size:
        low, high = int(ops.min(index)), int(ops.max(index))
        if low < 0 or high >= classes:
            raise IndexError(
                f"target must hold classes from 0 to {classes - 1} (or ignore_index "
                f"{ignore_index}), got {low if low < 0 else high}; give the model one "
                "output per class or correct the labels"
            )
    return index, counts if ignores else None, None


def _class_axis(input: Tensor) -> int:
    if input.ndim == 0:
        raise ValueError(
            "input must have shape (N, C), (N, C, ...) or (C,), got a 0-D tensor"
        )
    return 1 if input.ndim > 1 else 0


def _per_class(weight: Tensor, input: Tensor) -> Tensor:
    classes = input.shape[_class_axis(input)]
    _require_shape("weight", weight, (classes,))
    return ops.reshape(weight, (classes,) + (1,) * max(input.ndim - 2, 0))


def _require_tensor(name: str, value: object) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(
            f"{name} must be a tensor, got {type(value).__name__}; make one with "
            "gl.tensor"
        )


def _require_shape(name: str, tensor: Tensor, shape: Shape) -> None:
    _require_tensor(name, tensor)
    if tensor.shape != shape:
        raise ValueError(
            f"{name} must have shape {shape} here, got {tensor.shape}; reshape it"
        )


def _reduce(loss: Tensor, reduction: str) -> Tensor:
    choice("reduction", reduction, REDUCTIONS)
    if reduction == "none":
        return loss
    return ops.mean(loss) if reduction == "mean" else ops.sum(loss)
