"""Sliding windows over images: unfolding, convolution and pooling by strided slices.

Every function loops over the taps of the window and handles all positions of a tap at
once, with slices of the array API standard: no gather, no scatter, no atomics, the same
code for every library. Images are (N, C, H, W); a size is (H, W).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from gradlite._typing import Array, Key, Namespace, Pair, Shape

WORKSPACE = 1 << 21  # bytes of unfolded input at a time, so that they stay in a cache


class Window(NamedTuple):
    """The geometry of a sliding window; each entry is (height, width)."""

    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair

    def padded(self, size: Shape) -> Pair:
        """Return the size of an image with its padding."""
        return size[0] + 2 * self.padding[0], size[1] + 2 * self.padding[1]

    def positions(self, size: Shape) -> Pair:
        """Return how many positions the window has, per axis.

        Raises
        ------
        ValueError
            If the window is larger than the padded image.
        """
        extent = [
            d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True)
        ]
        room = [p - e for p, e in zip(self.padded(size), extent, strict=True)]
        if min(room) < 0:
            raise ValueError(
                f"x has images of {size[0]}x{size[1]}, which with padding "
                f"{self.padding} are smaller than the window of {extent[0]}x"
                f"{extent[1]} (kernel {self.kernel}, dilation {self.dilation}); use a "
                "smaller kernel_size or more padding"
            )
        return room[0] // self.stride[0] + 1, room[1] // self.stride[1] + 1

    def taps(self, size: Shape) -> Iterator[tuple[int, Key]]:
        """Yield each tap's number and its key into the last axes of padded images."""
        rows, columns = self.positions(size)
        for i in range(self.kernel[0]):
            top = i * self.dilation[0]
            down = slice(top, top + self.stride[0] * (rows - 1) + 1, self.stride[0])
            for j in range(self.kernel[1]):
                left = j * self.dilation[1]
                across = slice(
                    left, left + self.stride[1] * (columns - 1) + 1, self.stride[1]
                )
                yield i * self.kernel[1] + j, (..., down, across)

    @property
    def is_identity(self) -> bool:
        """Whether the windows are the pixels themselves."""
        return self == Window((1, 1), (1, 1), (0, 0), self.dilation)


def _pad(xp: Namespace, x: Array, window: Window, fill: float = 0.0) -> Array:
    top, left = window.padding
    if top == left == 0:
        return x
    height, width = x.shape[-2:]
    shape = (*x.shape[:-2], *window.padded((height, width)))
    out = xp.full(shape, fill, dtype=x.dtype, device=xp.device(x))
    out[..., top : top + height, left : left + width] = x
    return out


def _crop(x: Array, size: Shape, window: Window) -> Array:
    top, left = window.padding
    if top == left == 0:
        return x
    return x[..., top : top + size[0], left : left + size[1]]


def _unfold(xp: Namespace, x: Array, window: Window) -> Array:
    size = x.shape[-2:]
    rows, columns = window.positions(size)
    padded = _pad(xp, x, window)
    taps = window.kernel[0] * window.kernel[1]
    out = xp.empty(
        (*x.shape[:2], taps, rows, columns), dtype=x.dtype, device=xp.device(x)
    )
    for tap, key in window.taps(size):
        out[:, :, tap, :, :] = padded[key]
    return out


def unfold2d(
    xp: Namespace,
    x: Array,
    /,
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
) -> Array:
    """Return the windows of images: (N, C, H, W) to (N, C, taps, rows, columns)."""
    return _unfold(xp, x, Window(kernel_size, stride, padding, dilation))


def _fold(xp: Namespace, y: Array, size: Shape, window: Window) -> Array:
    out = xp.zeros(
        (*y.shape[:2], *window.padded(size)), dtype=y.dtype, device=xp.device(y)
    )
    for tap, key in window.taps(size):
        out[key] += y[:, :, tap, :, :]
    return _crop(out, size, window)


def fold2d(
    xp: Namespace,
    y: Array,
    /,
    *,
    size: Shape,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
) -> Array:
    """Return images in which windows are added up: the adjoint of unfolding."""
    return _fold(xp, y, size, Window(kernel_size, stride, padding, dilation))


def _columns(xp: Namespace, x: Array, window: Window, groups: int) -> Array:
    """Return (N, groups, C/groups * taps, rows * columns), for a matrix product."""
    y = x if window.is_identity else _unfold(xp, x, window)
    n = x.shape[0]
    rows, columns = window.positions(x.shape[-2:])
    taps = window.kernel[0] * window.kernel[1]
    return xp.reshape(y, (n, groups, x.shape[1] // groups * taps, rows * columns))


def _chunks(n: int, bytes_each: int, workspace: int) -> Iterator[slice]:
    step = max(1, workspace // max(1, bytes_each))
    return (slice(start, min(n, start + step)) for start in range(0, n, step))


def _bytes_each(xp: Namespace, channels: int, size: Shape, window: Window) -> int:
    rows, columns = window.positions(size)
    return 4 * channels * window.kernel[0] * window.kernel[1] * rows * columns


def conv2d(
    xp: Namespace,
    x: Array,
    weight: Array,
    /,
    *,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
    workspace: int = WORKSPACE,
) -> Array:
    """Return the cross-correlation of (N, C, H, W) with (O, C/groups, *kernel)."""
    n, channels, *size = x.shape
    outputs = weight.shape[0]
    window = Window(tuple(weight.shape[2:]), stride, padding, dilation)
    rows, columns = window.positions(size)
    matrix = xp.reshape(weight, (groups, outputs // groups, -1))
    out = xp.empty(
        (n, groups, outputs // groups, rows * columns),
        dtype=x.dtype,
        device=xp.device(x),
    )
    each = _bytes_each(xp, channels, size, window)
    for part in _chunks(n, each, workspace):
        out[part, ...] = xp.matmul(matrix, _columns(xp, x[part, ...], window, groups))
    return xp.reshape(out, (n, outputs, rows, columns))


def conv2d_input(
    xp: Namespace,
    g: Array,
    weight: Array,
    /,
    *,
    size: Shape,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
    workspace: int = WORKSPACE,
) -> Array:
    """Return the adjoint of `conv2d` in its input: a transposed convolution."""
    n, outputs, rows, columns = g.shape
    channels = weight.shape[1] * groups
    window = Window(tuple(weight.shape[2:]), stride, padding, dilation)
    taps = window.kernel[0] * window.kernel[1]
    matrix = xp.matrix_transpose(xp.reshape(weight, (groups, outputs // groups, -1)))
    flat = xp.reshape(g, (n, groups, outputs // groups, rows * columns))
    out = xp.empty((n, channels, *size), dtype=g.dtype, device=xp.device(g))
    each = _bytes_each(xp, channels, size, window)
    for part in _chunks(n, each, workspace):
        y = xp.matmul(matrix, flat[part, ...])
        y = xp.reshape(y, (y.shape[0], channels, taps, rows, columns))
        out[part, ...] = _fold(xp, y, size, window)
    return out


def conv2d_weight(
    xp: Namespace,
    x: Array,
    g: Array,
    /,
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
    workspace: int = WORKSPACE,
) -> Array:
    """Return the adjoint of `conv2d` in its weight."""
    n, channels, *size = x.shape
    outputs, rows, columns = g.shape[1:]
    window = Window(kernel_size, stride, padding, dilation)
    taps = window.kernel[0] * window.kernel[1]
    flat = xp.reshape(g, (n, groups, outputs // groups, rows * columns))
    shape = (groups, outputs // groups, channels // groups * taps)
    # A sum over all images and positions: of float16 it would stop at 2048.
    wide = xp.accumulation_dtype(g.dtype) or g.dtype
    out = xp.zeros(shape, dtype=wide, device=xp.device(g))
    each = _bytes_each(xp, channels, size, window)
    for part in _chunks(n, each, workspace):
        y = _columns(xp, x[part, ...], window, groups)
        products = xp.matmul(flat[part, ...], xp.matrix_transpose(y))
        out += xp.sum(products, axis=0, dtype=wide)
    out = xp.astype(out, g.dtype, copy=False)
    return xp.reshape(out, (outputs, channels // groups, *window.kernel))


def max_pool2d(
    xp: Namespace,
    x: Array,
    /,
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
) -> tuple[Array, Array]:
    """Return the maximum of each window and the number of the first tap that has it.

    NaN wins over numbers, as in NumPy's `max`. Padding never wins.
    """
    size = x.shape[-2:]
    window = Window(kernel_size, stride, padding, dilation)
    padded = _pad(xp, x, window, -float("inf"))
    out = taps = None
    for tap, key in window.taps(size):
        y = padded[key]
        if out is None:
            out = xp.asarray(y, copy=True)
            taps = xp.zeros(y.shape, dtype=xp.int16, device=xp.device(x))
        else:
            better = xp.logical_or(y > out, xp.isnan(y))
            out = xp.maximum(out, y)
            taps = xp.where(better, xp.full_like(taps, tap), taps)
    return out, taps


def scatter_windows(
    xp: Namespace,
    y: Array,
    taps: Array,
    /,
    *,
    size: Shape,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
) -> Array:
    """Return images in which each window's value is added at its tap."""
    window = Window(kernel_size, stride, padding, dilation)
    out = xp.zeros(
        (*y.shape[:2], *window.padded(size)), dtype=y.dtype, device=xp.device(y)
    )
    zero = xp.zeros_like(y)
    for tap, key in window.taps(size):
        out[key] += xp.where(taps == tap, y, zero)
    return _crop(out, size, window)


def gather_windows(
    xp: Namespace,
    x: Array,
    taps: Array,
    /,
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
) -> Array:
    """Return the pixel of each window at its tap: the adjoint of scattering."""
    window = Window(kernel_size, stride, padding, dilation)
    size = x.shape[-2:]
    padded = _pad(xp, x, window)
    out = xp.zeros(taps.shape, dtype=x.dtype, device=xp.device(x))
    for tap, key in window.taps(size):
        out = xp.where(taps == tap, padded[key], out)
    return out
