"""Convolution of images: three bilinear functions, each the adjoint of the others."""

from __future__ import annotations

from typing import Any

from gradlite._typing import Array, Namespace, Pair, Shape
from gradlite.autograd import differentiable
from gradlite.ops.statistical import total


def _check_images(x: Array, weight: Array, bias: Array | None, groups: int) -> None:
    if x.ndim != 4 or weight.ndim != 4:
        raise ValueError(
            f"conv2d takes x of shape (N, C, H, W) and weight of shape (O, C/groups, "
            f"kH, kW), got {tuple(x.shape)} and {tuple(weight.shape)}; add the missing "
            "axes with reshape"
        )
    if x.shape[1] != weight.shape[1] * groups or weight.shape[0] % groups:
        raise ValueError(
            f"x has {x.shape[1]} channels, weight of shape {tuple(weight.shape)} with "
            f"groups={groups} takes {weight.shape[1] * groups} and needs outputs that "
            "groups divides; make them agree"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(
            f"bias must have shape ({weight.shape[0]},) like the first axis of weight, "
            f"got {tuple(bias.shape)}"
        )


@differentiable(promote=("x", "weight", "bias"))
def conv2d(
    xp: Namespace,
    x: Array,
    weight: Array,
    bias: Array | None = None,
    /,
    *,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Array:
    """Return the cross-correlation of images with filters, plus a bias.

    Parameters
    ----------
    x : Tensor
        Images, shape (N, C, H, W).
    weight : Tensor
        Filters, shape (O, C/groups, kH, kW).
    bias : Tensor, optional
        Shape (O,).
    stride, padding, dilation : tuple of int
        Height and width of each: step of the window, zeros added on both sides, and
        distance of the filter's taps.
    groups : int, default 1
        Blocks of channels that see each other only.

    Returns
    -------
    Tensor
        Shape (N, O, rows, columns) with
        `rows = (H + 2*padding - dilation*(kH - 1) - 1) // stride + 1`.
    """
    _check_images(x, weight, bias, groups)
    y = xp.conv2d(
        x, weight, stride=stride, padding=padding, dilation=dilation, groups=groups
    )
    if bias is not None:
        y += xp.reshape(bias, (1, -1, 1, 1))
    return y


@conv2d.vjp_joint("x", "weight")
def _(
    xp: Namespace,
    g: Array,
    needs: tuple[bool, bool],
    x: Array,
    weight: Array,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
) -> tuple[Array | None, Array | None]:
    options = _geometry(stride, padding, dilation, groups)
    size, kernel = tuple(x.shape[2:]), tuple(weight.shape[2:])
    dx = dweight = None
    if needs[0]:
        dx = xp.conv2d_input(g, xp.bar(weight), size=size, **options)
    if needs[1]:
        dweight = xp.conv2d_weight(xp.bar(x), g, kernel_size=kernel, **options)
    return dx, dweight


conv2d.vjp(bias=lambda xp, g: total(xp, g, (0, 2, 3)))


def _geometry(
    stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> dict[str, Any]:
    return {
        "stride": stride, "padding": padding, "dilation": dilation, "groups": groups
    }  # fmt: skip


@differentiable(promote=("y", "weight"))
def conv2d_input(
    xp: Namespace,
    y: Array,
    weight: Array,
    /,
    *,
    size: Shape,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
) -> Array:
    """Return the adjoint of `conv2d` in its images, of size `size`, applied to `y`."""
    options = _geometry(stride, padding, dilation, groups)
    return xp.conv2d_input(y, weight, size=size, **options)


@conv2d_input.vjp_joint("y", "weight")
def _(
    xp: Namespace,
    g: Array,
    needs: tuple[bool, bool],
    y: Array,
    weight: Array,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
) -> tuple[Array | None, Array | None]:
    options = _geometry(stride, padding, dilation, groups)
    kernel = tuple(weight.shape[2:])
    dy = dweight = None
    if needs[0]:
        dy = xp.conv2d(g, xp.bar(weight), **options)
    if needs[1]:
        dweight = xp.conv2d_weight(g, xp.bar(y), kernel_size=kernel, **options)
    return dy, dweight


@differentiable(promote=("x", "y"))
def conv2d_weight(
    xp: Namespace,
    x: Array,
    y: Array,
    /,
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
) -> Array:
    """Return the adjoint of `conv2d` in its filters, of size `kernel_size`, at `y`."""
    options = _geometry(stride, padding, dilation, groups)
    return xp.conv2d_weight(x, y, kernel_size=kernel_size, **options)


@conv2d_weight.vjp_joint("x", "y")
def _(
    xp: Namespace,
    g: Array,
    needs: tuple[bool, bool],
    x: Array,
    y: Array,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
) -> tuple[Array | None, Array | None]:
    options = _geometry(stride, padding, dilation, groups)
    size = tuple(x.shape[2:])
    dx = xp.conv2d_input(xp.bar(y), g, size=size, **options) if needs[0] else None
    dy = xp.conv2d(xp.bar(x), g, **options) if needs[1] else None
    return dx, dy
