"""The loss functions of `gradlite.nn.functional`."""

from __future__ import annotations

import math

import numpy as np

from gradlite import ops
from gradlite._typing import Shape
from gradlite.backends import dtypes
from gradlite.nn._arguments import choice, number, tensor
from gradlite.tensor import Tensor

REDUCTIONS = ("none", "mean", "sum")


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
    input = tensor("input", input)
    target = _shaped("target", target, input.shape)
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
    input = tensor("input", input)
    target = _shaped("target", target, input.shape)
    if input.device.is_host and input.size:
        low, high = float(ops.min(input.detach())), float(ops.max(input.detach()))
        if low < 0.0 or high > 1.0:
            raise ValueError(
                f"input must be probabilities between 0 and 1, got values from {low:g} "
                f"to {high:g}; use binary_cross_entropy_with_logits for logits"
            )
    loss = -(target * _clamped_log(input) + (1.0 - target) * _clamped_log(1.0 - input))
    return _reduce(_weighted(loss, weight), reduction)


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
    input = tensor("input", input)
    target = _shaped("target", target, input.shape)
    # log(1 + exp(-x)) in two branches that agree in all their derivatives at 0.
    positive = input >= 0
    soft = ops.log1p(ops.exp(ops.where(positive, -input, input)))
    soft = soft + ops.where(positive, 0.0, -input)
    if pos_weight is not None:
        pos_weight = _spreading("pos_weight", pos_weight, input.shape)
        soft = soft * (1.0 + (pos_weight - 1.0) * target)
    loss = (1.0 - target) * input + soft
    return _reduce(_weighted(loss, weight), reduction)


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
    input, target = tensor("input", input), tensor("target", target)
    axis = _class_axis(input)
    log_p = ops.log_softmax(input, axis=axis)
    if dtypes.rank(target.dtype) < 2:
        return _class_loss(log_p, target, weight, ignore_index, reduction, smoothing)
    if target.shape != input.shape:
        raise ValueError(
            "target of a floating-point dtype holds probabilities and must have the "
            f"shape {input.shape} of input, got {target.shape}; convert class numbers "
            "with target.astype(gl.int64)"
        )
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
    log_p = tensor("input", log_p)
    axis = _class_axis(log_p)
    target = _shaped("target", target, (*log_p.shape[:axis], *log_p.shape[axis + 1 :]))
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
    weight = _shaped("weight", weight, (classes,))
    return ops.reshape(weight, (classes,) + (1,) * max(input.ndim - 2, 0))


def _shaped(name: str, value: Tensor, shape: Shape) -> Tensor:
    value = tensor(name, value)
    if value.shape != shape:
        raise ValueError(
            f"{name} must have shape {shape} here, got {value.shape}; reshape it"
        )
    return value


def _spreading(name: str, value: Tensor, shape: Shape) -> Tensor:
    """Return `value`, which must broadcast to `shape` and not beyond it."""
    value = tensor(name, value)
    try:
        fits = np.broadcast_shapes(value.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"{name} must have shape {shape} or one that broadcasts to it, got "
            f"{value.shape}; reshape it"
        )
    return value


def _weighted(loss: Tensor, weight: Tensor | None) -> Tensor:
    return loss if weight is None else loss * _spreading("weight", weight, loss.shape)


def _reduce(loss: Tensor, reduction: str) -> Tensor:
    choice("reduction", reduction, REDUCTIONS)
    if reduction == "none":
        return loss
    return ops.mean(loss) if reduction == "mean" else ops.sum(loss)
