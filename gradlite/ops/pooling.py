"""Windows of images, and pooling over them."""

from __future__ import annotations

import math

from gradlite._typing import Array, Namespace, Pair, Shape
from gradlite.autograd import differentiable
from gradlite.ops.statistical import total


@differentiable
def unfold2d(
    xp: Namespace,
    x: Array,
    /,
    *,
    kernel_size: Pair,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
) -> Array:
    """Return all windows of images: (N, C, H, W) to (N, C, taps, rows, columns)."""
    return xp.unfold2d(
        x, kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation
    )


@unfold2d.vjp_of("x")
def _(
    xp: Namespace,
    g: Array,
    like: Array,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
) -> Array:
    return xp.fold2d(
        g, size=tuple(like.shape[2:]), kernel_size=kernel_size, stride=stride,
        padding=padding, dilation=dilation,
    )  # fmt: skip


@differentiable
def fold2d(
    xp: Namespace,
    y: Array,
    /,
    *,
    size: Shape,
    kernel_size: Pair,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
) -> Array:
    """Return images of size `size` in which overlapping windows are added up."""
    return xp.fold2d(
        y, size=size, kernel_size=kernel_size, stride=stride, padding=padding,
        dilation=dilation,
    )  # fmt: skip


@fold2d.vjp_of("y")
def _(
    xp: Namespace,
    g: Array,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
) -> Array:
    return xp.unfold2d(
        g, kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation
    )


def _check_pool(x: Array, name: str) -> None:
    if x.ndim != 4:
        raise ValueError(
            f"{name} takes x of shape (N, C, H, W), got {tuple(x.shape)}; add the "
            "missing axes with reshape"
        )


@differentiable(aux=True, floating=True)
def max_pool2d(
    xp: Namespace,
    x: Array,
    /,
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
) -> tuple[Array, Array]:
    """Return the largest element of each window; the first of equal ones is it.

    Parameters
    ----------
    x : Tensor
        Images, shape (N, C, H, W).
    kernel_size, stride, padding, dilation : tuple of int
        Height and width of each; padding never wins.
    """
    _check_pool(x, "max_pool2d")
    return xp.max_pool2d(  # type: ignore[no-any-return]
        x, kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation
    )


@max_pool2d.vjp_of("x")
def _(
    xp: Namespace,
    g: Array,
    like: Array,
    aux: Array,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
) -> Array:
    return xp.scatter_windows(
        g, aux, size=tuple(like.shape[2:]), kernel_size=kernel_size, stride=stride,
        padding=padding, dilation=dilation,
    )  # fmt: skip


@differentiable
def scatter_windows(
    xp: Namespace,
    y: Array,
    taps: Array,
    /,
    *,
    size: Shape,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
) -> Array:
    """Return images of size `size` in which each window's value is added at its tap."""
    return xp.scatter_windows(
        y, taps, size=size, kernel_size=kernel_size, stride=stride, padding=padding,
        dilation=dilation,
    )  # fmt: skip


@scatter_windows.vjp_of("y")
def _(
    xp: Namespace,
    g: Array,
    taps: Array,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
) -> Array:
    return xp.gather_windows(
        g, taps, kernel_size=kernel_size, stride=stride, padding=padding,
        dilation=dilation,
    )  # fmt: skip


@differentiable
def gather_windows(
    xp: Namespace,
    x: Array,
    taps: Array,
    /,
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
) -> Array:
    """Return the element of each window at its tap."""
    return xp.gather_windows(
        x, taps, kernel_size=kernel_size, stride=stride, padding=padding,
        dilation=dilation,
    )  # fmt: skip


@gather_windows.vjp_of("x")
def _(
    xp: Namespace,
    g: Array,
    like: Array,
    taps: Array,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
) -> Array:
    return xp.scatter_windows(
        g, taps, size=tuple(like.shape[2:]), kernel_size=kernel_size, stride=stride,
        padding=padding, dilation=dilation,
    )  # fmt: skip


def _areas(
    xp: Namespace,
    x: Array,
    size: Shape,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    count_include_pad: bool,
) -> Array | float:
    """Return how many elements of an image of size `size` each mean is over."""
    if count_include_pad or padding == (0, 0):
        return float(math.prod(kernel_size))
    inside = xp.new_zeros(x, (1, 1, *size)) + 1.0
    windows = xp.unfold2d(
        inside, kernel_size=kernel_size, stride=stride, padding=padding, dilation=(1, 1)
    )
    return xp.sum(windows, axis=2)


@differentiable(floating=True)
def avg_pool2d(
    xp: Namespace,
    x: Array,
    /,
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair = (0, 0),
    count_include_pad: bool = True,
) -> Array:
    """Return the mean of each window.

    Parameters
    ----------
    x : Tensor
        Images, shape (N, C, H, W).
    kernel_size, stride, padding : tuple of int
        Height and width of each.
    count_include_pad : bool, default True
        Whether padding counts as zeros, or is left out of the means.
    """
    _check_pool(x, "avg_pool2d")
    windows = xp.unfold2d(
        x, kernel_size=kernel_size, stride=stride, padding=padding, dilation=(1, 1)
    )
    size = tuple(x.shape[2:])
    area = _areas(xp, x, size, kernel_size, stride, padding, count_include_pad)
    return total(xp, windows, 2) / area


@avg_pool2d.vjp_of("x")
def _(
    xp: Namespace,
    g: Array,
    like: Array,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    count_include_pad: bool,
) -> Array:
    size = tuple(like.shape[2:])
    g = g / _areas(xp, g, size, kernel_size, stride, padding, count_include_pad)
    shape = (*g.shape[:2], math.prod(kernel_size), *g.shape[2:])
    windows = xp.broadcast_to(xp.expand_dims(g, axis=2), shape)
    return xp.fold2d(
        windows, size=size, kernel_size=kernel_size, stride=stride, padding=padding,
        dilation=(1, 1),
    )  # fmt: skip
