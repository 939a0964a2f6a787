"""Convolutions."""

from __future__ import annotations

from gradlite import ops
from gradlite._arguments import boolean, integer
from gradlite._typing import DType
from gradlite.backends import Device
from gradlite.nn import functional as F
from gradlite.nn._arguments import choice, floating, pair
from gradlite.nn.linear import reset_weight_and_bias
from gradlite.nn.module import Module
from gradlite.nn.parameter import Parameter, owned
from gradlite.tensor import Tensor


class Conv2d(Module):
    """Cross-correlate images with a bank of kernels.

    Weights start uniform within ``1 / sqrt(fan_in)``, as does the bias, with
    ``fan_in = in_channels / groups * height * width``.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and of the output.
    kernel_size : int or pair of int
        Height and width of the kernels.
    stride : int or pair of int, default 1
        Step between two positions of a kernel.
    padding : int, pair of int, "same" or "valid", default 0
        Zeros on each side; "same" keeps the image size (`stride` 1 only), "valid" is 0.
    dilation : int or pair of int, default 1
        Distance between two neighbors within a kernel.
    groups : int, default 1
        Number of channel groups that do not see each other.
    bias : bool, default True
        Whether to add a number per output channel.
    padding_mode : {"zeros"}, default "zeros"
        What the padding holds.
    device : Device or str, optional
        Where the parameters live; the default device if not given.
    dtype : dtype, optional
        Of the parameters; the default dtype if not given.

    Attributes
    ----------
    weight : Parameter
        Shape (out_channels, in_channels / groups, height, width).
    bias : Parameter or None
        Shape (out_channels,).

    Examples
    --------
    >>> import gradlite as gl
    >>> layer = gl.nn.Conv2d(1, 6, kernel_size=5, padding=2)
    >>> layer(gl.ones((8, 1, 28, 28))).shape
    (8, 6, 28, 28)
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: F.Size,
        stride: F.Size = 1,
        padding: F.Size | str = 0,
        dilation: F.Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        *,
        device: Device | str | None = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        self.in_channels = integer("in_channels", in_channels)
        self.out_channels = integer("out_channels", out_channels)
        self.kernel_size = pair("kernel_size", kernel_size)
        self.stride = pair("stride", stride)
        self.padding: tuple[int, int] | str
        if isinstance(padding, str):
            self.padding = choice("padding", padding, F.PADDINGS)
            if padding == "same" and self.stride != (1, 1):
                raise ValueError(
                    f"padding='same' needs stride=1, got {stride!r}; give padding as "
                    "integers"
                )
        else:
            self.padding = pair("padding", padding, minimum=0)
        self.dilation = pair("dilation", dilation)
        self.groups = integer("groups", groups)
        for name, channels in (
            ("in_channels", self.in_channels),
            ("out_channels", self.out_channels),
        ):
            if channels % self.groups:
                raise ValueError(
                    f"{name} must be a multiple of groups={self.groups}, got {channels}"
                )
        if padding_mode != "zeros":
            raise ValueError(
                f"padding_mode must be 'zeros', got {padding_mode!r}; for another one "
                "pad the images first and use padding=0"
            )
        self.padding_mode = padding_mode
        shape = (
            self.out_channels,
            self.in_channels // self.groups,
            *self.kernel_size,
        )
        dtype = floating(dtype)
        self.weight = owned(ops.empty(shape, dtype=dtype, device=device))
        self.bias = None
        if boolean("bias", bias):
            self.bias = owned(ops.empty(shape[:1], dtype=dtype, device=device))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights and a new bias."""
        reset_weight_and_bias(self.weight, self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """Return the cross-correlation of `input` with the kernels.

        Parameters
        ----------
        input : Tensor
            Shape (N, in_channels, H, W) or (in_channels, H, W).

        Returns
        -------
        Tensor
            Shape (N, out_channels, H', W'); see `functional.conv2d`.
        """
        return F.conv2d(
            input,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
        )

    def extra_repr(self) -> str:
        """Return the channels and every option that is not the default."""
        text = (
            f"{self.in_channels}, {self.out_channels}, "
            f"kernel_size={self.kernel_size}, stride={self.stride}"
        )
        if self.padding != (0, 0):
            text += f", padding={self.padding}"
        if self.dilation != (1, 1):
            text += f", dilation={self.dilation}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        return text if self.bias is not None else f"{text}, bias=False"
