"""The table's part on windows of images; references go place by place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from op_cases import Case, Host, ints, normal

Pair = tuple[int, int]


def _places(
    size: Pair, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair
) -> Iterator[tuple[Pair, list[Pair]]]:
    """Yield each position of a window and the pixels, perhaps outside, that it sees."""
    axes = zip(size, kernel_size, stride, padding, dilation, strict=True)
    counts = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in axes]
    for row, column in np.ndindex(*counts):
        yield (row, column), [
            (row * stride[0] - padding[0] + i * dilation[0],
             column * stride[1] - padding[1] + j * dilation[1])
            for i, j in np.ndindex(*kernel_size)
        ]  # fmt: skip


def _see(
    x: Host, fill: float, kernel_size: Pair, stride: Pair,
    padding: Pair = (0, 0), dilation: Pair = (1, 1),
) -> Host:  # fmt: skip
    """Return all windows: (N, C, taps, rows, columns)."""
    found = list(_places(x.shape[2:], kernel_size, stride, padding, dilation))
    shape = np.max([place for place, _ in found], axis=0) + 1
    out = np.full((*x.shape[:2], len(found[0][1]), *shape), fill, dtype=x.dtype)
    for (row, column), pixels in found:
        for tap, (i, j) in enumerate(pixels):
            if 0 <= i < x.shape[2] and 0 <= j < x.shape[3]:
                out[:, :, tap, row, column] = x[:, :, i, j]
    return out


def _put(
    y: Host, size: Pair, kernel_size: Pair, stride: Pair,
    padding: Pair = (0, 0), dilation: Pair = (1, 1),
) -> Host:  # fmt: skip
    """Add all windows to images."""
    out = np.zeros((*y.shape[:2], *size), dtype=y.dtype)
    for (row, column), pixels in _places(size, kernel_size, stride, padding, dilation):
        for tap, (i, j) in enumerate(pixels):
            if 0 <= i < size[0] and 0 <= j < size[1]:
                out[:, :, i, j] += y[:, :, tap, row, column]
    return out


def _conv(x: Host, weight: Host, bias: Host | None = None, *, groups: int, **o: Any):
    n, outputs = x.shape[0], weight.shape[0]
    seen = _see(x, 0.0, weight.shape[2:], **o)
    seen = seen.reshape(n, groups, weight.shape[1], *seen.shape[2:])
    filters = weight.reshape(groups, outputs // groups, seen.shape[2], -1)
    y = np.einsum("ngctij,goct->ngoij", seen, filters).reshape(
        n, outputs, *seen.shape[4:]
    )
    return y if bias is None else y + bias[:, None, None]


def _conv_input(y: Host, weight: Host, *, size: Pair, groups: int, **o: Any) -> Host:
    filters = weight.reshape(groups, -1, weight.shape[1], np.prod(weight.shape[2:]))
    parts = y.reshape(y.shape[0], *filters.shape[:2], *y.shape[2:])
    seen = np.einsum("ngoij,goct->ngctij", parts, filters)
    seen = seen.reshape(y.shape[0], groups * weight.shape[1], *seen.shape[3:])
    return _put(seen, size, weight.shape[2:], **o)


def _conv_weight(x: Host, y: Host, *, kernel_size: Pair, groups: int, **o: Any) -> Host:
    seen = _see(x, 0.0, kernel_size, **o)
    n, channels, outputs = x.shape[0], x.shape[1] // groups, y.shape[1] // groups
    seen = seen.reshape(n, groups, channels, *seen.shape[2:])
    parts = y.reshape(n, groups, outputs, *y.shape[2:])
    filters = np.einsum("ngoij,ngctij->goct", parts, seen)
    return filters.reshape(y.shape[1], channels, *kernel_size)


def _avg_pool(x: Host, count_include_pad: bool = True, **o: Any) -> Host:
    return np.nanmean(_see(x, 0.0 if count_include_pad else np.nan, **o), axis=2)


def _gather(x: Host, taps: Host, **o: Any) -> Host:
    return np.take_along_axis(_see(x, 0.0, **o), taps[:, :, None], axis=2)[:, :, 0]


def _scatter(y: Host, taps: Host, size: Pair, kernel_size: Pair, **o: Any) -> Host:
    seen = np.zeros((*y.shape[:2], int(np.prod(kernel_size)), *y.shape[2:]))
    np.put_along_axis(seen, taps[:, :, None], y[:, :, None], axis=2)
    return _put(seen, size, kernel_size, **o)


WINDOW = {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2)}  # 5x6 to 3x4 by 2x2
PLAIN = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1)}
SMALL = {"kernel_size": (2, 2), **WINDOW}

WINDOWS = [
    Case("conv2d", _conv, (normal(2, 2, 5, 6), normal(3, 2, 2, 2), normal(3)),
         {**WINDOW, "groups": 1}, "fc"),
    Case("conv2d", _conv, (normal(2, 4, 5, 6), normal(6, 2, 2, 2), normal(6)),
         {**WINDOW, "groups": 2}),
    Case("conv2d", _conv, (normal(1, 2, 3, 3), normal(2, 2, 1, 1)),
         {**PLAIN, "groups": 1}),
    Case("conv2d", _conv, (normal(1, 2, 3, 3), normal(4, 1, 3, 2)),
         {**PLAIN, "groups": 2}),
    Case("conv2d", _conv, (normal(2, 2, 3, 3), normal(4, 1, 2, 2), normal(4)),
         {**PLAIN, "groups": 2}, "mn"),
    Case("conv2d", _conv, (normal(0, 4, 5, 6), normal(6, 2, 2, 2), normal(6)),
         {**WINDOW, "groups": 2}, "fc"),
    Case("conv2d_input", _conv_input, (normal(0, 6, 3, 4), normal(6, 2, 2, 2)),
         {**WINDOW, "groups": 2, "size": (5, 6)}, "fc"),
    Case("conv2d_weight", _conv_weight, (normal(0, 4, 5, 6), normal(0, 6, 3, 4)),
         {**WINDOW, "groups": 2, "kernel_size": (2, 2)}, "fc"),
    Case("conv2d_input", _conv_input, (normal(2, 6, 3, 4), normal(6, 2, 2, 2)),
         {**WINDOW, "groups": 2, "size": (5, 6)}, "fc"),
    Case("conv2d_weight", _conv_weight, (normal(2, 4, 5, 6), normal(2, 6, 3, 4)),
         {**WINDOW, "groups": 2, "kernel_size": (2, 2)}, "fc"),
    Case("unfold2d", lambda x, **o: _see(x, 0.0, **o), (normal(2, 2, 5, 6),), SMALL),
    Case("fold2d", _put, (normal(2, 2, 4, 3, 4),), {**SMALL, "size": (5, 6)}),
    Case("max_pool2d", lambda x, **o: _see(x, -np.inf, **o).max(axis=2),
         (normal(2, 2, 5, 6),), SMALL),
    Case("max_pool2d", lambda x, **o: _see(x, -np.inf, **o).max(axis=2),
         (normal(1, 2, 4, 4),), {"kernel_size": (2, 2), "stride": (2, 2)}),
    Case("max_pool2d", lambda x, **o: _see(x, -np.inf, **o).max(axis=2),
         (normal(0, 2, 5, 6),), SMALL),
    Case("gather_windows", _gather,
         (normal(2, 2, 5, 6), ints(0, 4, 2, 2, 3, 4)), SMALL),
    Case("scatter_windows", _scatter, (normal(2, 2, 3, 4), ints(0, 4, 2, 2, 3, 4)),
         {**SMALL, "size": (5, 6)}),
    Case("avg_pool2d", _avg_pool, (normal(1, 2, 4, 4),),
         {"kernel_size": (2, 2), "stride": (2, 2)}, "fc"),
    *(
        Case("avg_pool2d", _avg_pool, (normal(n, 2, 4, 5),),
             {"kernel_size": (3, 2), "stride": (1, 2), "padding": (1, 1),
              "count_include_pad": include}, "fc")
        for n in (1, 0)
        for include in (True, False)
    ),
]  # fmt: skip
