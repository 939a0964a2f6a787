"""Discrete Fourier transforms: the `fft` extension of the standard.

`n`, or `s` for several axes, is the length to which the input is cut or padded with
zeros at its end. `norm` says where the factor 1/n is: `"backward"` in the inverse
transforms, `"forward"` in the others, `"ortho"` as its square root in both. Results
have the precision of the input, float16 that of float32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from gradlite._arguments import check_axis, integer
from gradlite._typing import Array, DType, Namespace, Shape
from gradlite.autograd import differentiable
from gradlite.autograd._dispatch import FACTORY
from gradlite.backends import Device, get_default_device
from gradlite.backends.dtypes import get_default_dtype
from gradlite.ops._operands import check_operand
from gradlite.ops.elementwise import conj
from gradlite.ops.manipulation import roll

if TYPE_CHECKING:
    from gradlite.tensor import Tensor

Norm: TypeAlias = Literal["backward", "ortho", "forward"]

# The adjoint of a transform is the inverse one without its factor, or with it.
_ADJOINT: dict[Norm, Norm] = {
    "backward": "forward",
    "ortho": "ortho",
    "forward": "backward",
}


def _swapped(norm: Norm) -> Norm:
    if norm not in _ADJOINT:
        raise ValueError(f"norm must be 'backward', 'ortho' or 'forward', got {norm!r}")
    return _ADJOINT[norm]


def _complex(xp: Namespace, x: Array) -> Array:
    if xp.isdtype(x.dtype, "complex floating"):
        return x
    return xp.astype(x, xp.complex128 if x.dtype == xp.float64 else xp.complex64)


def _fit(xp: Namespace, y: Array, shape: Shape) -> Array:
    """Cut each axis or pad it with zeros at its end: the adjoint of the reverse."""
    y = y[tuple(slice(0, min(pair)) for pair in zip(y.shape, shape, strict=True))]
    for axis, size in enumerate(shape):
        if size > y.shape[axis]:
            missing = (*y.shape[:axis], size - y.shape[axis], *y.shape[axis + 1 :])
            y = xp.concat([y, xp.new_zeros(y, missing)], axis=axis)
    return y


def _transform(xp: Namespace, name: str, x: Array, **options: Any) -> Array:
    """Call a transform of the library, but do not trust it with no elements.

    PyTorch's and CuPy's refuse an empty batch, NumPy's irfft pads nothing with junk.
    """
    transform = getattr(xp.fft, name)
    if math.prod(x.shape):
        return transform(x, **options)
    along = {a % x.ndim for a in options.get("axes", (options.get("axis"),))}
    batch = [k not in along for k in range(x.ndim)]
    padded = bool(options.get("n", options.get("s")))
    shape = tuple(n or int(padded or b) for n, b in zip(x.shape, batch, strict=True))
    y = transform(_fit(xp, x, shape), **options)
    sizes = zip(x.shape, batch, strict=True)
    return y[tuple(slice(0 if b and not n else None) for n, b in sizes)]


def _adjoint(
    xp: Namespace, name: str, g: Array, like: Array, norm: Norm, **options: Any
) -> Array:
    y = _transform(xp, name, g, norm=_swapped(norm), **options)
    return _fit(xp, y, like.shape)


def _weighted(xp: Namespace, y: Array, weight: float, n: int, axis: int) -> Array:
    """Multiply the bins that stand for two of n, k and n - k, by a weight."""
    before = (slice(None),) * (axis % y.ndim)
    first = y[(*before, slice(0, 1), ...)]
    pairs = y[(*before, slice(1, (n + 1) // 2), ...)]
    last = y[(*before, slice((n + 1) // 2, None), ...)]
    return xp.concat([first, weight * pairs, last], axis=axis)


@differentiable(floating=True)
def fft(
    xp: Namespace,
    x: Array,
    /,
    *,
    n: int | None = None,
    axis: int = -1,
    norm: Norm = "backward",
) -> Array:
    """Return the Fourier transform along `axis`: sums of x[j] exp(-2 pi i j k / n).

    Parameters
    ----------
    x : Tensor
        Real or complex.
    n : int, optional
        Length of the transform; that of the axis by default.
    axis : int, default -1
        The axis.
    norm : {"backward", "ortho", "forward"}
        Where the factor 1/n is.

    Returns
    -------
    Tensor
        Complex, of length n along `axis`.
    """
    return _transform(xp, "fft", _complex(xp, x), n=n, axis=axis, norm=norm)


@fft.vjp_of("x")
def _(xp: Namespace, g: Array, like: Array, axis: int, norm: Norm) -> Array:
    return _adjoint(xp, "ifft", g, like, norm, axis=axis)


@differentiable(floating=True)
def ifft(
    xp: Namespace,
    x: Array,
    /,
    *,
    n: int | None = None,
    axis: int = -1,
    norm: Norm = "backward",
) -> Array:
    """Return the inverse of `fft` along `axis`; parameters as there."""
    return _transform(xp, "ifft", _complex(xp, x), n=n, axis=axis, norm=norm)


@ifft.vjp_of("x")
def _(xp: Namespace, g: Array, like: Array, axis: int, norm: Norm) -> Array:
    return _adjoint(xp, "fft", g, like, norm, axis=axis)


@differentiable(floating=True)
def rfft(
    xp: Namespace,
    x: Array,
    /,
    *,
    n: int | None = None,
    axis: int = -1,
    norm: Norm = "backward",
) -> Array:
    """Return the first n // 2 + 1 bins of the `fft` of real `x`: the rest mirrors them.

    Parameters as those of `fft`.
    """
    if xp.isdtype(x.dtype, "complex floating"):
        raise TypeError(f"x must be real for rfft, got {x.dtype}; use fft")
    wide = xp.accumulation_dtype(x.dtype)
    x = x if wide is None else xp.astype(x, wide)
    return _transform(xp, "rfft", x, n=n, axis=axis, norm=norm)


@rfft.vjp_of("x")
def _(
    xp: Namespace, g: Array, like: Array, n: int | None, axis: int, norm: Norm
) -> Array:
    n = like.shape[axis] if n is None else n
    # irfft counts the pairs twice, the sum over the bins of g once.
    g = _weighted(xp, g, 0.5, n, axis)
    return _adjoint(xp, "irfft", g, like, norm, n=n, axis=axis)


@differentiable(floating=True)
def irfft(
    xp: Namespace,
    x: Array,
    /,
    *,
    n: int | None = None,
    axis: int = -1,
    norm: Norm = "backward",
) -> Array:
    """Return the inverse of `rfft` along `axis`: real, of length `n`.

    Parameters as those of `fft`, but `n` is the length of the result, by default the
    even one, 2 (m - 1) for m bins. The imaginary part of the first bin, and of the last
    if n is even, does not matter.
    """
    return _transform(xp, "irfft", _complex(xp, x), n=n, axis=axis, norm=norm)


@irfft.vjp_of("x")
def _(xp: Namespace, g: Array, like: Array, axis: int, norm: Norm) -> Array:
    y = _transform(xp, "rfft", g, axis=axis, norm=_swapped(norm))
    return _fit(xp, _weighted(xp, y, 2.0, g.shape[axis], axis), like.shape)


def _axes(
    ndim: int, s: Sequence[int] | None, axes: Sequence[int] | None
) -> tuple[int, ...]:
    """Return the axes of a transform: all by default, the last ones if `s` is given."""
    if axes is None:
        return tuple(range(ndim) if s is None else range(-len(s), 0))
    if s is not None and len(s) != len(axes):
        raise ValueError(
            f"s and axes must have the same length, got {tuple(s)} and {tuple(axes)}"
        )
    if len({a + ndim * (a < 0) for a in axes}) < len(axes):
        raise ValueError(f"axes must be different, got {tuple(axes)}")
    return tuple(axes)


@differentiable(floating=True)
def fftn(
    xp: Namespace,
    x: Array,
    /,
    *,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    norm: Norm = "backward",
) -> Array:
    """Return the Fourier transform over several axes.

    Parameters
    ----------
    x : Tensor
        Real or complex.
    s : sequence of int, optional
        Lengths of the transforms; those of the axes by default.
    axes : sequence of int, optional
        The axes; all of them by default, the last `len(s)` where `s` is given.
    norm : {"backward", "ortho", "forward"}
        Where the factor 1/n is, with n the product of the lengths.
    """
    axes = _axes(x.ndim, s, axes)
    x = _complex(xp, x)
    if not axes:
        return xp.asarray(x, copy=True)
    return _transform(xp, "fftn", x, s=s, axes=axes, norm=norm)


@fftn.vjp_of("x")
def _(
    xp: Namespace,
    g: Array,
    like: Array,
    s: Sequence[int] | None,
    axes: Sequence[int] | None,
    norm: Norm,
) -> Array:
    axes = _axes(g.ndim, s, axes)
    return _adjoint(xp, "ifftn", g, like, norm, axes=axes)


@differentiable(floating=True)
def ifftn(
    xp: Namespace,
    x: Array,
    /,
    *,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    norm: Norm = "backward",
) -> Array:
    """Return the inverse of `fftn`; parameters as there."""
    axes = _axes(x.ndim, s, axes)
    x = _complex(xp, x)
    if not axes:
        return xp.asarray(x, copy=True)
    return _transform(xp, "ifftn", x, s=s, axes=axes, norm=norm)


@ifftn.vjp_of("x")
def _(
    xp: Namespace,
    g: Array,
    like: Array,
    s: Sequence[int] | None,
    axes: Sequence[int] | None,
    norm: Norm,
) -> Array:
    axes = _axes(g.ndim, s, axes)
    return _adjoint(xp, "fftn", g, like, norm, axes=axes)


def rfftn(
    x: Tensor,
    /,
    *,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    norm: Norm = "backward",
) -> Tensor:
    """Return `rfft` along the last of `axes`, then `fft` along the others.

    Parameters as those of `fftn`; `x` is real and there is at least one axis.
    """
    axes = _some_axes("rfftn", x, s, axes)
    y = rfft(x, n=None if s is None else s[-1], axis=axes[-1], norm=norm)
    if len(axes) == 1:
        return y
    return fftn(y, s=None if s is None else s[:-1], axes=axes[:-1], norm=norm)


def irfftn(
    x: Tensor,
    /,
    *,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    norm: Norm = "backward",
) -> Tensor:
    """Return the inverse of `rfftn`: `irfft` along the last of `axes` comes last.

    Parameters as those of `fftn`; `s` has the lengths of the result, the last one even
    by default, and there is at least one axis.
    """
    axes = _some_axes("irfftn", x, s, axes)
    if len(axes) > 1:
        x = ifftn(x, s=None if s is None else s[:-1], axes=axes[:-1], norm=norm)
    return irfft(x, n=None if s is None else s[-1], axis=axes[-1], norm=norm)


def _some_axes(
    name: str, x: Tensor, s: Sequence[int] | None, axes: Sequence[int] | None
) -> tuple[int, ...]:
    check_operand(name, "x", x)
    found = _axes(x.ndim, s, axes)
    if not found:
        raise ValueError("axes must have at least one axis of x, got none")
    return found


def hfft(
    x: Tensor, /, *, n: int | None = None, axis: int = -1, norm: Norm = "backward"
) -> Tensor:
    """Return the `fft` of a signal of which `x` is the first half: a real spectrum.

    The other half mirrors it, conjugated. Parameters as those of `irfft`.
    """
    return irfft(conj(x), n=n, axis=axis, norm=_swapped(norm))


def ihfft(
    x: Tensor, /, *, n: int | None = None, axis: int = -1, norm: Norm = "backward"
) -> Tensor:
    """Return the inverse of `hfft`: half of a signal, from its real spectrum.

    Parameters as those of `rfft`.
    """
    return conj(rfft(x, n=n, axis=axis, norm=_swapped(norm)))


def fftfreq(
    n: int,
    /,
    *,
    d: float = 1.0,
    dtype: DType = None,
    device: str | Device | None = None,
) -> Tensor:
    """Return the frequencies of the bins of `fft`, in cycles per unit of `d`.

    Parameters
    ----------
    n : int
        Length of the transform.
    d : float, default 1.0
        Distance between samples.
    dtype : dtype, optional
        The default floating dtype unless given.
    device : str or Device, optional
        Where the tensor is made; the default device unless given.
    """
    return _frequencies(np.fft.fftfreq(integer("n", n), d), dtype, device)


def rfftfreq(
    n: int,
    /,
    *,
    d: float = 1.0,
    dtype: DType = None,
    device: str | Device | None = None,
) -> Tensor:
    """Return the frequencies of the bins of `rfft`; parameters as for `fftfreq`."""
    return _frequencies(np.fft.rfftfreq(integer("n", n), d), dtype, device)


def _frequencies(host: Array, dtype: DType, device: str | Device | None) -> Tensor:
    return FACTORY.asarray(  # type: ignore[no-any-return]
        host,
        dtype=get_default_dtype() if dtype is None else dtype,
        device=get_default_device() if device is None else device,
    )


def fftshift(x: Tensor, /, *, axes: int | Sequence[int] | None = None) -> Tensor:
    """Return `x` with frequency 0 in the middle of `axes`, of all axes by default."""
    return _shifted("fftshift", x, axes, 1)


def ifftshift(x: Tensor, /, *, axes: int | Sequence[int] | None = None) -> Tensor:
    """Return the inverse of `fftshift`."""
    return _shifted("ifftshift", x, axes, -1)


def _shifted(
    name: str, x: Tensor, axes: int | Sequence[int] | None, sign: int
) -> Tensor:
    check_operand(name, "x", x)
    if axes is None:
        axes = range(x.ndim)
    axes = (axes,) if isinstance(axes, int) else tuple(axes)
    for axis in axes:
        check_axis(axis, x.ndim, "axes")
    return roll(x, tuple(sign * (x.shape[a] // 2) for a in axes), axis=axes)
