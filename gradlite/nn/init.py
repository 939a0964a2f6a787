"""Initialization of parameters, in place, under PyTorch's names.

All numbers are drawn on the host from `generator`, or the default generator, so that
the same seed gives the same weights on every device.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gradlite import random
from gradlite._arguments import integer
from gradlite._from_data import asarray
from gradlite._generator import Generator
from gradlite._typing import ShapeLike
from gradlite.autograd import no_grad
from gradlite.backends import dtypes
from gradlite.nn._arguments import choice, number
from gradlite.tensor import Tensor

__all__ = [
    "calculate_gain",
    "constant_",
    "dirac_",
    "eye_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "ones_",
    "orthogonal_",
    "trunc_normal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]

_GAINS = {
    "linear": 1.0,
    "conv2d": 1.0,
    "sigmoid": 1.0,
    "tanh": 5.0 / 3.0,
    "relu": math.sqrt(2.0),
    "selu": 0.75,
}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Return the standard deviation that keeps the signal's size through a layer.

    Parameters
    ----------
    nonlinearity : str
        "linear", "conv2d", "sigmoid", "tanh", "relu", "leaky_relu" or "selu".
    param : float, optional
        Negative slope of "leaky_relu", 0.01 by default.

    Returns
    -------
    float
        The gain.

    Raises
    ------
    ValueError
        If `nonlinearity` is another one.
    """
    choice("nonlinearity", nonlinearity, (*_GAINS, "leaky_relu"))
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else number("param", param)
        return math.sqrt(2.0 / (1.0 + slope * slope))
    return _GAINS[nonlinearity]


def uniform_(
    tensor: Tensor,
    a: float = 0.0,
    b: float = 1.0,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Fill with numbers drawn evenly from [a, b).

    Parameters
    ----------
    tensor : Tensor
        Floating-point tensor to fill.
    a, b : float, default 0 and 1
        The bounds.
    generator : Generator, optional
        Source of the numbers; the default generator if not given.

    Returns
    -------
    Tensor
        `tensor`.

    Raises
    ------
    ValueError
        If `a` is greater than `b`.
    """
    _require_tensor(tensor)
    a, b = number("a", a), number("b", b)
    if a > b:
        raise ValueError(f"a must not be above b, got a={a} and b={b}; exchange them")
    return _fill(
        tensor,
        random.uniform(
            tensor.shape,
            low=a,
            high=b,
            dtype=tensor.dtype,
            device="cpu",
            generator=generator,
        ),
    )


def normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Fill with numbers drawn from a normal distribution.

    Parameters
    ----------
    tensor : Tensor
        Floating-point tensor to fill.
    mean, std : float, default 0 and 1
        Mean and standard deviation.
    generator : Generator, optional
        Source of the numbers; the default generator if not given.

    Returns
    -------
    Tensor
        `tensor`.

    Raises
    ------
    ValueError
        If `std` is negative.
    """
    _require_tensor(tensor)
    return _fill(
        tensor,
        random.normal(
            tensor.shape,
            mean=mean,
            std=std,
            dtype=tensor.dtype,
            device="cpu",
            generator=generator,
        ),
    )


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Fill with numbers drawn from a normal distribution cut off outside [a, b].

    Parameters
    ----------
    tensor : Tensor
        Floating-point tensor to fill.
    mean, std : float, default 0 and 1
        Mean and standard deviation before the cut.
    a, b : float, default -2 and 2
        The bounds: values, not multiples of `std`.
    generator : Generator, optional
        Source of the numbers; the default generator if not given.

    Returns
    -------
    Tensor
        `tensor`.

    Raises
    ------
    ValueError
        If less than a thousandth of the distribution lies between `a` and `b`.
    """
    _require_tensor(tensor)
    mean, std = number("mean", mean), number("std", std, 0.0)
    a, b = number("a", a), number("b", b)
    inside = 0.0
    if std > 0.0:
        ends = [math.erf((end - mean) / (std * math.sqrt(2.0))) for end in (a, b)]
        inside = (ends[1] - ends[0]) / 2.0
    if inside < 1e-3:
        raise ValueError(
            "a and b must enclose at least a thousandth of the normal distribution "
            f"with mean={mean:g} and std={std:g}, got a={a:g} and b={b:g}"
        )

    def draw(shape: ShapeLike) -> np.ndarray[Any, Any]:
        return random.normal(
            shape,
            mean=mean,
            std=std,
            dtype=dtypes.float64,
            device="cpu",
            generator=generator,
        ).numpy()

    values = draw(tensor.shape)
    while (outside := (values < a) | (values > b)).any():
        values[outside] = draw(int(outside.sum()))
    return _fill(tensor, asarray(values, device="cpu"))


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with one value.

    Parameters
    ----------
    tensor : Tensor
        Tensor to fill.
    val : float
        The value.

    Returns
    -------
    Tensor
        `tensor`.
    """
    _require_tensor(tensor)
    value = number("val", val)
    with no_grad():
        tensor.fill_(value)
    return tensor


def ones_(tensor: Tensor) -> Tensor:
    """Fill `tensor` with ones and return it."""
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill `tensor` with zeros and return it."""
    return constant_(tensor, 0.0)


def eye_(tensor: Tensor) -> Tensor:
    """Fill a matrix with ones on the diagonal and zeros elsewhere.

    Parameters
    ----------
    tensor : Tensor
        Tensor with 2 axes.

    Returns
    -------
    Tensor
        `tensor`.

    Raises
    ------
    ValueError
        If `tensor` is not a matrix.
    """
    _require_tensor(tensor)
    if tensor.ndim != 2:
        raise ValueError(f"tensor must have 2 axes, got shape {tensor.shape}")
    return _fill(
        tensor, asarray(np.eye(tensor.shape[0], tensor.shape[1]), device="cpu")
    )


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Fill convolution kernels so that each channel passes unchanged.

    Parameters
    ----------
    tensor : Tensor
        Kernels of shape (out, in / groups, height, width); any number of spatial axes.
    groups : int, default 1
        Number of groups of the convolution.

    Returns
    -------
    Tensor
        `tensor`.

    Raises
    ------
    ValueError
        If `tensor` has fewer than 3 axes, or `groups` does not divide the first.
    """
    _require_tensor(tensor)
    if tensor.ndim < 3:
        raise ValueError(f"tensor must have 3 axes or more, got shape {tensor.shape}")
    if tensor.shape[0] % integer("groups", groups):
        raise ValueError(f"groups must divide {tensor.shape[0]}, got {groups}")
    out = tensor.shape[0] // groups
    values = np.zeros(tensor.shape)
    center = tuple(size // 2 for size in tensor.shape[2:])
    for group in range(groups):
        for channel in range(min(out, tensor.shape[1])):
            values[(group * out + channel, channel, *center)] = 1.0
    return _fill(tensor, asarray(values, device="cpu"))


def xavier_uniform_(
    tensor: Tensor, gain: float = 1.0, *, generator: Generator | None = None
) -> Tensor:
    """Fill evenly within ``gain * sqrt(6 / (fan_in + fan_out))``.

    Glorot and Bengio 2010, https://proceedings.mlr.press/v9/glorot10a.html.

    Parameters
    ----------
    tensor : Tensor
        Weights of shape (out, in, ...).
    gain : float, default 1
        See `calculate_gain`.
    generator : Generator, optional
        Source of the numbers; the default generator if not given.

    Returns
    -------
    Tensor
        `tensor`.
    """
    fan_in, fan_out = _fans(tensor)
    bound = number("gain", gain, 0.0) * math.sqrt(6.0 / (fan_in + fan_out))
    return uniform_(tensor, -bound, bound, generator=generator)


def xavier_normal_(
    tensor: Tensor, gain: float = 1.0, *, generator: Generator | None = None
) -> Tensor:
    """Fill normally with the deviation ``gain * sqrt(2 / (fan_in + fan_out))``.

    Glorot and Bengio 2010, https://proceedings.mlr.press/v9/glorot10a.html.

    Parameters
    ----------
    tensor : Tensor
        Weights of shape (out, in, ...).
    gain : float, default 1
        See `calculate_gain`.
    generator : Generator, optional
        Source of the numbers; the default generator if not given.

    Returns
    -------
    Tensor
        `tensor`.
    """
    fan_in, fan_out = _fans(tensor)
    std = number("gain", gain, 0.0) * math.sqrt(2.0 / (fan_in + fan_out))
    return normal_(tensor, 0.0, std, generator=generator)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Fill evenly within ``gain * sqrt(3 / fan)``.

    He et al. 2015, https://arxiv.org/abs/1502.01852.

    Parameters
    ----------
    tensor : Tensor
        Weights of shape (out, in, ...).
    a : float, default 0
        Negative slope of the "leaky_relu" that follows.
    mode : {"fan_in", "fan_out"}, default "fan_in"
        Whether to keep the signal's size forward or backward.
    nonlinearity : str, default "leaky_relu"
        See `calculate_gain`.
    generator : Generator, optional
        Source of the numbers; the default generator if not given.

    Returns
    -------
    Tensor
        `tensor`.
    """
    bound = math.sqrt(3.0) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator=generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Fill normally with the deviation ``gain / sqrt(fan)``.

    He et al. 2015, https://arxiv.org/abs/1502.01852.

    Parameters
    ----------
    tensor : Tensor
        Weights of shape (out, in, ...).
    a : float, default 0
        Negative slope of the "leaky_relu" that follows.
    mode : {"fan_in", "fan_out"}, default "fan_in"
        Whether to keep the signal's size forward or backward.
    nonlinearity : str, default "leaky_relu"
        See `calculate_gain`.
    generator : Generator, optional
        Source of the numbers; the default generator if not given.

    Returns
    -------
    Tensor
        `tensor`.
    """
    std = _kaiming_std(tensor, a, mode, nonlinearity)
    return normal_(tensor, 0.0, std, generator=generator)


def orthogonal_(
    tensor: Tensor, gain: float = 1.0, *, generator: Generator | None = None
) -> Tensor:
    """Fill with an orthogonal matrix, evenly distributed over all of them.

    Saxe et al. 2013, https://arxiv.org/abs/1312.6120.

    Parameters
    ----------
    tensor : Tensor
        Weights of shape (out, in, ...), seen as a matrix of `out` rows.
    gain : float, default 1
        Factor of the matrix.
    generator : Generator, optional
        Source of the numbers; the default generator if not given.

    Returns
    -------
    Tensor
        `tensor`, with orthonormal rows or columns, whichever are fewer, times `gain`.

    Raises
    ------
    ValueError
        If `tensor` has fewer than 2 axes.
    """
    gain = number("gain", gain)
    _fans(tensor)
    rows = tensor.shape[0]
    columns = tensor.size // rows
    normal = random.normal(
        (max(rows, columns), min(rows, columns)),
        dtype=dtypes.float64,
        device="cpu",
        generator=generator,
    )
    q, r = np.linalg.qr(normal.numpy())
    q *= np.sign(np.diagonal(r))  # without it the distribution is not even
    values = gain * (q if rows >= columns else q.T)
    return _fill(tensor, asarray(values.reshape(tensor.shape), device="cpu"))


def _fans(tensor: Tensor) -> tuple[int, int]:
    """Return how many inputs an output has, and how many outputs an input has."""
    _require_tensor(tensor)
    if tensor.ndim < 2 or tensor.size == 0:
        raise ValueError(
            "tensor must have at least the axes (out, in) and no empty one, "
            f"got shape {tensor.shape}"
        )
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    modes = ("fan_in", "fan_out")
    fan = _fans(tensor)[modes.index(choice("mode", mode, modes))]
    return calculate_gain(nonlinearity, number("a", a)) / math.sqrt(fan)


def _require_tensor(tensor: object) -> None:
    if not isinstance(tensor, Tensor):
        raise TypeError(
            f"tensor must be a tensor, got {type(tensor).__name__}; fill an array "
            "through gl.asarray(array), which shares its memory"
        )


def _fill(tensor: Tensor, values: Tensor) -> Tensor:
    if dtypes.rank(tensor.dtype) != 2:
        raise TypeError(
            f"tensor must be of a floating-point dtype, got {tensor.dtype.__name__}"
        )
    with no_grad():
        tensor.copy_(values)
    return tensor
