"""Functions of neural networks that the standard lacks."""

from __future__ import annotations

import math
from typing import Any

from gradlite._typing import Array, Axis, Namespace, Pair, Shape
from gradlite.autograd import differentiable
from gradlite.ops.statistical import in_wide, reduced_axes, spread, total

# Activations


@differentiable
def relu(xp: Namespace, x: Array, /) -> Array:
    """Return `max(x, 0)`; its derivative at 0 is 0."""
    return xp.maximum(x, xp.zeros_like(x))


relu.vjp(x=lambda xp, g, out: xp.where(out > 0, g, xp.zeros_like(g)))


@differentiable(floating=True)
def sigmoid(xp: Namespace, x: Array, /) -> Array:
    """Return `1 / (1 + exp(-x))`, computed as `(1 + tanh(x/2)) / 2`: no overflow."""
    return 0.5 + 0.5 * xp.tanh(0.5 * x)


sigmoid.vjp(x=lambda xp, g, out: g * xp.bar(out * (1.0 - out)))


def _top(xp: Namespace, x: Array, axis: Axis) -> Array | float:
    """Return what is subtracted so that exp does not overflow: the largest element."""
    if not math.prod(x.shape):
        return 0.0
    top = xp.max(x, axis=axis, keepdims=True)
    return xp.where(xp.isfinite(top), top, xp.zeros_like(top))


@differentiable(floating=True)
def softmax(xp: Namespace, x: Array, /, *, axis: int = -1) -> Array:
    """Return `exp(x) / sum(exp(x))` along `axis`."""

    def compute(x: Array) -> Array:
        y = xp.exp(x - _top(xp, x, axis))
        return y / xp.sum(y, axis=axis, keepdims=True)

    return in_wide(xp, compute, x)


softmax.vjp(
    x=lambda xp, g, out, axis: out * (g - total(xp, g * out, axis, keepdims=True))
)


@differentiable(floating=True)
def log_softmax(xp: Namespace, x: Array, /, *, axis: int = -1) -> Array:
    """Return `x - log(sum(exp(x)))` along `axis`."""

    def compute(x: Array) -> Array:
        y = x - _top(xp, x, axis)
        return y - xp.log(xp.sum(xp.exp(y), axis=axis, keepdims=True))

    return in_wide(xp, compute, x)


log_softmax.vjp(
    x=lambda xp, g, out, axis: g - xp.exp(out) * total(xp, g, axis, keepdims=True)
)


@differentiable(floating=True)
def logsumexp(
    xp: Namespace, x: Array, /, *, axis: Axis = None, keepdims: bool = False
) -> Array:
    """Return `log(sum(exp(x)))` over `axis`, without overflow."""

    def compute(x: Array) -> Array:
        top = _top(xp, x, axis)
        return xp.log(xp.sum(xp.exp(x - top), axis=axis, keepdims=True)) + top

    y = in_wide(xp, compute, x)
    return y if keepdims else xp.squeeze(y, reduced_axes(x.ndim, axis))


@logsumexp.vjp_of("x")
def _(xp: Namespace, g: Array, x: Array, out: Array, axis: Axis) -> Array:
    out = spread(xp, out, x.shape, axis)
    out = xp.where(out == -math.inf, xp.zeros_like(out), out)
    return spread(xp, g, x.shape, axis) * xp.exp(x - out)


# Convolution: three bilinear functions, each the adjoint of the others


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


# Windows and pooling


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
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    count_include_pad: bool,
) -> Array | float:
    """Return how many elements each mean is over."""
    if count_include_pad or padding == (0, 0):
        return float(math.prod(kernel_size))
    inside = xp.ones_like(x[:1, :1, ...])
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
    area = _areas(xp, x, kernel_size, stride, padding, count_include_pad)
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
    inside = xp.new_zeros(g, like.shape)
    g = g / _areas(xp, inside, kernel_size, stride, padding, count_include_pad)
    shape = (*g.shape[:2], math.prod(kernel_size), *g.shape[2:])
    windows = xp.broadcast_to(xp.expand_dims(g, axis=2), shape)
    return xp.fold2d(
        windows, size=tuple(like.shape[2:]), kernel_size=kernel_size, stride=stride,
        padding=padding, dilation=(1, 1),
    )  # fmt: skip


# Others


@differentiable
def pad(
    xp: Namespace,
    x: Array,
    /,
    widths: tuple[tuple[int, int], ...],
    *,
    value: float = 0.0,
) -> Array:
    """Return `x` with `widths[i]` elements of `value` before and after along axis i."""
    if len(widths) != x.ndim or any(min(pair) < 0 for pair in widths):
        raise ValueError(
            f"widths must have a (before, after) pair of at least 0 for each of the "
            f"{x.ndim} axes of x, got {widths}"
        )
    shape = tuple(n + a + b for n, (a, b) in zip(x.shape, widths, strict=True))
    out = xp.full(shape, value, dtype=x.dtype, device=xp.device(x))
    out[_inner(x.shape, widths)] = x
    return out


def _inner(shape: Shape, widths: tuple[tuple[int, int], ...]) -> tuple[slice, ...]:
    return tuple(slice(a, a + n) for n, (a, _) in zip(shape, widths, strict=True))


pad.vjp(x=lambda xp, g, like, widths: g[_inner(like.shape, widths)])


@differentiable
def one_hot(xp: Namespace, x: Array, /, num_classes: int) -> Array:
    """Return integer classes as rows of zeros with a one, of type int64.

    Parameters
    ----------
    x : Tensor
        Integers of any shape; one outside 0 ... `num_classes - 1` is a row of zeros.
    num_classes : int
        Size of the new last axis.
    """
    if not xp.isdtype(x.dtype, "integral"):
        raise TypeError(f"x must hold integers, got {x.dtype}; use x.astype(gl.int64)")
    classes = xp.arange(num_classes, dtype=x.dtype, device=xp.device(x))
    return xp.astype(xp.expand_dims(x, axis=-1) == classes, xp.int64)
