"""Pooling layers."""

from __future__ import annotations

from gradlite._arguments import boolean
from gradlite.nn import functional as F
from gradlite.nn._arguments import pair, window
from gradlite.nn.module import Module
from gradlite.tensor import Tensor


class MaxPool2d(Module):
    """Take the largest value in each window of images.

    Parameters
    ----------
    kernel_size : int or pair of int
        Height and width of the window.
    stride : int or pair of int, optional
        Step between two windows; `kernel_size` by default.
    padding : int or pair of int, default 0
        Width of the border of minus infinities; at most half of `kernel_size`.
    dilation : int or pair of int, default 1
        Distance between two neighbors within a window.

    Examples
    --------
    >>> import gradlite as gl
    >>> gl.nn.MaxPool2d(2)(gl.ones((8, 6, 28, 28))).shape
    (8, 6, 14, 14)
    """

    def __init__(
        self,
        kernel_size: F.Size,
        stride: F.Size | None = None,
        padding: F.Size = 0,
        dilation: F.Size = 1,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        window(kernel_size, stride, padding)
        pair("dilation", dilation)

    def forward(self, input: Tensor) -> Tensor:
        """Return the maxima.

        Parameters
        ----------
        input : Tensor
            Shape (N, C, H, W) or (C, H, W).

        Returns
        -------
        Tensor
            Shape (N, C, H', W'); see `functional.conv2d`.
        """
        return F.max_pool2d(
            input, self.kernel_size, self.stride, self.padding, self.dilation
        )

    def extra_repr(self) -> str:
        """Return the options."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, dilation={self.dilation}"
        )


class AvgPool2d(Module):
    """Take the mean of each window of images.

    Parameters
    ----------
    kernel_size : int or pair of int
        Height and width of the window.
    stride : int or pair of int, optional
        Step between two windows; `kernel_size` by default.
    padding : int or pair of int, default 0
        Width of the border of zeros; at most half of `kernel_size`.
    count_include_pad : bool, default True
        Whether the zeros of the border count as values.

    Examples
    --------
    >>> import gradlite as gl
    >>> gl.nn.AvgPool2d(2)(gl.ones((8, 6, 28, 28))).shape
    (8, 6, 14, 14)
    """

    def __init__(
        self,
        kernel_size: F.Size,
        stride: F.Size | None = None,
        padding: F.Size = 0,
        *,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.count_include_pad = boolean("count_include_pad", count_include_pad)
        window(kernel_size, stride, padding)

    def forward(self, input: Tensor) -> Tensor:
        """Return the means.

        Parameters
        ----------
        input : Tensor
            Shape (N, C, H, W) or (C, H, W).

        Returns
        -------
        Tensor
            Shape (N, C, H', W'); see `functional.conv2d`.
        """
        return F.avg_pool2d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            count_include_pad=self.count_include_pad,
        )

    def extra_repr(self) -> str:
        """Return the options."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}"
        )
