"""Random tensors, drawn on the host: a seed means the same numbers on every device."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradlite._arguments import integer, real
from gradlite._from_data import asarray
from gradlite._generator import (
    Generator,
    default_generator,
    manual_seed,
    require_generator,
)
from gradlite._typing import DType, Shape, ShapeLike
from gradlite.backends.dtypes import canonical, get_default_dtype
from gradlite.backends.registry import Device, get_default_device
from gradlite.tensor import Tensor

__all__ = [
    "Generator",
    "default_generator",
    "manual_seed",
    "rand",
    "randn",
    "uniform",
    "normal",
    "randint",
    "randperm",
    "bernoulli",
]


def rand(
    *shape: ShapeLike,
    dtype: DType = None,
    device: str | Device | None = None,
    generator: Generator | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return numbers drawn uniformly from [0, 1).

    Parameters
    ----------
    *shape : int, or one tuple of int
        Sizes of the axes; none gives a 0-D tensor.
    dtype : dtype, optional
        `float16`, `float32` or `float64`; the default dtype by default. A seed gives
        one sequence in float64 and another one in the two narrower dtypes.
    device : str or Device, optional
        Where the tensor is to be; the default device by default. The numbers do not
        depend on it.
    generator : Generator, optional
        Where the numbers come from; the default generator by default.
    requires_grad : bool, default False
        Whether the tensor is to get a gradient.

    Raises
    ------
    TypeError
        If `dtype` is not a real floating-point dtype or a size is not an integer.
    ValueError
        If a size is negative.
    """
    return uniform(
        _sizes(shape),
        dtype=dtype,
        device=device,
        generator=generator,
        requires_grad=requires_grad,
    )


def randn(
    *shape: ShapeLike,
    dtype: DType = None,
    device: str | Device | None = None,
    generator: Generator | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return numbers drawn from the normal distribution of mean 0 and variance 1.

    Parameters
    ----------
    *shape : int, or one tuple of int
        Sizes of the axes; none gives a 0-D tensor.
    dtype, device, generator, requires_grad : optional
        As in `rand`.

    Raises
    ------
    TypeError
        If `dtype` is not a real floating-point dtype or a size is not an integer.
    ValueError
        If a size is negative.
    """
    return normal(
        _sizes(shape),
        dtype=dtype,
        device=device,
        generator=generator,
        requires_grad=requires_grad,
    )


def uniform(
    shape: ShapeLike,
    *,
    low: float = 0.0,
    high: float = 1.0,
    dtype: DType = None,
    device: str | Device | None = None,
    generator: Generator | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return numbers drawn uniformly from [low, high).

    Parameters
    ----------
    shape : int or tuple of int
        Sizes of the axes.
    low, high : float, default 0 and 1
        The bounds, rounded to `dtype`; where they are equal, so are all the numbers.
    dtype, device, generator, requires_grad : optional
        As in `rand`.

    Raises
    ------
    TypeError
        If `dtype` is not a real floating-point dtype or a size is not an integer.
    ValueError
        If a size is negative, `low` is above `high`, or a bound or their distance does
        not fit into `dtype`.
    """
    kind, draws = _floating(dtype)
    low, high = _number("low", low), _number("high", high)
    if low > high:
        raise ValueError(f"low must not be above high, got low={low} and high={high}")
    if max(abs(low), abs(high), high - low) > float(np.finfo(kind).max):
        raise ValueError(
            f"low={low}, high={high} and their distance must fit into "
            f"{kind.__name__}; use a wider dtype or closer bounds"
        )
    stream = _stream(generator)
    host = np.asarray(stream.random(_sizes((shape,)), dtype=draws))
    host *= high - low
    host += low
    host = host.astype(kind, copy=False)
    # The sum and the cast round to nearest, which can be `high` itself.
    np.minimum(host, np.nextafter(kind(high), kind(low)), out=host)
    return _upload(host, device, requires_grad)


def normal(
    shape: ShapeLike,
    *,
    mean: float = 0.0,
    std: float = 1.0,
    dtype: DType = None,
    device: str | Device | None = None,
    generator: Generator | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return numbers drawn from a normal distribution.

    Parameters
    ----------
    shape : int or tuple of int
        Sizes of the axes.
    mean : float, default 0
        Mean of the distribution.
    std : float, default 1
        Its standard deviation, at least 0.
    dtype, device, generator, requires_grad : optional
        As in `rand`.

    Raises
    ------
    TypeError
        If `dtype` is not a real floating-point dtype or a size is not an integer.
    ValueError
        If a size or `std` is negative, or `mean` or `std` is not finite.
    """
    kind, draws = _floating(dtype)
    mean, std = _number("mean", mean), _number("std", std)
    if std < 0:
        raise ValueError(f"std must be at least 0, got {std}")
    stream = _stream(generator)
    host = np.asarray(stream.standard_normal(_sizes((shape,)), dtype=draws))
    with np.errstate(over="ignore"):
        host *= std
        host += mean
        host = host.astype(kind, copy=False)
    return _upload(host, device, requires_grad)


def randint(
    low: int,
    high: int,
    shape: ShapeLike,
    *,
    dtype: DType = None,
    device: str | Device | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Return integers drawn uniformly from low, low + 1, ..., high - 1.

    Parameters
    ----------
    low, high : int
        The least integer, and the one after the greatest.
    shape : int or tuple of int
        Sizes of the axes.
    dtype : dtype, optional
        An integer dtype, `int64` by default.
    device, generator : optional
        As in `rand`.

    Raises
    ------
    TypeError
        If `dtype` is not an integer dtype, or a bound or size is not an integer.
    ValueError
        If a size is negative, `low` is not below `high`, or they do not fit into
        `dtype`.
    """
    kind, fits = _integral(dtype)
    low, high = integer("low", low, None), integer("high", high, None)
    if low >= high:
        raise ValueError(f"low must be below high, got low={low} and high={high}")
    if not (low in fits and high - 1 in fits):
        raise ValueError(
            f"low={low} to high - 1={high - 1} must fit into {kind.__name__}; "
            "use a wider dtype"
        )
    stream = _stream(generator)
    host = stream.integers(low, high, _sizes((shape,)), dtype=kind)
    return _upload(np.asarray(host), device)


def randperm(
    n: int,
    *,
    dtype: DType = None,
    device: str | Device | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Return the integers 0, 1, ..., n - 1 in random order.

    Parameters
    ----------
    n : int
        How many; 0 gives an empty tensor.
    dtype, device, generator : optional
        As in `randint`.

    Raises
    ------
    TypeError
        If `dtype` is not an integer dtype or `n` is not an integer.
    ValueError
        If `n` is negative or n - 1 does not fit into `dtype`.
    """
    kind, fits = _integral(dtype)
    n = integer("n", n, None)
    if n < 0 or (n > 0 and n - 1 not in fits):
        raise ValueError(
            f"n must be at least 0 and n - 1 must fit into {kind.__name__}, got {n}"
        )
    stream = _stream(generator)
    return _upload(stream.permutation(n).astype(kind, copy=False), device)


def bernoulli(
    shape: ShapeLike,
    p: float = 0.5,
    *,
    dtype: DType = None,
    device: str | Device | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Return ones with probability `p`, and zeros.

    Parameters
    ----------
    shape : int or tuple of int
        Sizes of the axes.
    p : float, default 0.5
        Probability of a one, from 0 to 1.
    dtype : dtype, optional
        Any dtype, such as `gl.bool`; the default dtype by default. Which elements are
        one does not depend on it.
    device, generator : optional
        As in `rand`.

    Raises
    ------
    TypeError
        If a size is not an integer.
    ValueError
        If a size is negative or `p` is not from 0 to 1.
    """
    kind = get_default_dtype() if dtype is None else canonical(dtype)
    p = _number("p", p)
    if not 0 <= p <= 1:
        raise ValueError(f"p must be a probability from 0 to 1, got {p}")
    stream = _stream(generator)
    host = np.asarray(stream.random(_sizes((shape,))) < p)
    return _upload(host.astype(kind, copy=False), device)


def _upload(
    host: np.ndarray[Any, Any], device: str | Device | None, requires_grad: bool = False
) -> Tensor:
    place = get_default_device() if device is None else device
    tensor = asarray(host, device=place)
    return tensor.requires_grad_(requires_grad)


def _floating(dtype: DType) -> tuple[DType, DType]:
    """Return the dtype to give and the one to draw in."""
    kind = get_default_dtype() if dtype is None else canonical(dtype)
    if kind not in (np.float16, np.float32, np.float64):
        raise TypeError(
            "dtype must be float16, float32 or float64 to draw real numbers, got "
            f"{kind.__name__}; draw float32 and convert with astype"
        )
    return kind, np.float64 if kind is np.float64 else np.float32


def _integral(dtype: DType) -> tuple[DType, range]:
    """Return the dtype to give and the integers that it can hold."""
    kind = np.int64 if dtype is None else canonical(dtype)
    if np.dtype(kind).kind not in "iu":
        raise TypeError(
            f"dtype must be an integer dtype to draw integers, got {kind.__name__}; "
            "use for example gl.int64"
        )
    return kind, range(np.iinfo(kind).min, np.iinfo(kind).max + 1)


def _stream(generator: Generator | None) -> np.random.Generator:
    return require_generator(generator).numpy


def _number(name: str, value: float) -> float:
    number = real(name, value)
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {value}")
    return number


def _sizes(shape: Sequence[ShapeLike]) -> Shape:
    """Return the shape given as sizes `(2, 3)` or as one tuple `((2, 3),)`."""
    first = shape[0] if len(shape) == 1 else shape
    sizes = first if isinstance(first, Sequence) else (first,)
    try:
        found = tuple(operator.index(size) for size in sizes)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"shape must be integers, got {sizes}") from None
    if any(size < 0 for size in found):
        raise ValueError(f"shape must have no negative size, got {found}")
    return found
