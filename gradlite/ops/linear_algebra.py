"""Linear algebra functions of the standard's main namespace, and `linear`."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gradlite._typing import Array, Namespace
from gradlite.autograd import differentiable
from gradlite.ops.statistical import total


def _adjoint(xp: Namespace, x: Array) -> Array:
    return xp.bar(xp.matrix_transpose(x))


@differentiable(promote=("x1", "x2"))
def matmul(xp: Namespace, x1: Array, x2: Array, /) -> Array:
    """Return the matrix product over the last two axes; stacks broadcast.

    Parameters
    ----------
    x1, x2 : Tensor
        Shapes (..., M, K) and (..., K, N); a 1-D operand is a row or a column whose
        axis of size 1 does not show in the result.
    """
    return xp.matmul(x1, x2)


def _as_matrices(
    xp: Namespace, g: Array, x1: Array, x2: Array
) -> tuple[Array, Array, Array]:
    """Give 1-D operands of a product, and the cotangent, their axis of size 1."""
    if x1.ndim == 1:
        x1, g = xp.expand_dims(x1, axis=0), xp.expand_dims(g, axis=-1 - (x2.ndim > 1))
    if x2.ndim == 1:
        x2, g = xp.expand_dims(x2, axis=1), xp.expand_dims(g, axis=-1)
    return g, x1, x2


@matmul.vjp_of("x1")
def _(xp: Namespace, g: Array, x1: Array, x2: Array) -> Array:
    vector = x1.ndim == 1
    g, _, x2 = _as_matrices(xp, g, x1, x2)
    d = xp.matmul(g, _adjoint(xp, x2))
    return xp.squeeze(d, -2) if vector else d


@matmul.vjp_of("x2")
def _(xp: Namespace, g: Array, x1: Array, x2: Array) -> Array:
    vector = x2.ndim == 1
    g, x1, _ = _as_matrices(xp, g, x1, x2)
    d = xp.matmul(_adjoint(xp, x1), g)
    return xp.squeeze(d, -1) if vector else d


@differentiable(promote=("x", "weight", "bias"))
def linear(
    xp: Namespace, x: Array, weight: Array, bias: Array | None = None, /
) -> Array:
    """Return `x @ weight.T + bias`.

    Parameters
    ----------
    x : Tensor
        Shape (..., K).
    weight : Tensor
        Shape (N, K).
    bias : Tensor, optional
        Shape (N,).
    """
    if weight.ndim != 2 or x.ndim == 0 or x.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"linear takes x of shape (..., K) and weight of shape (N, K), got "
            f"{tuple(x.shape)} and {tuple(weight.shape)}; make the last axes equal"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(
            f"bias must have shape ({weight.shape[0]},) like the first axis of weight, "
            f"got {tuple(bias.shape)}"
        )
    y = xp.matmul(x, xp.matrix_transpose(weight))
    return y if bias is None else y + bias


def _flat(xp: Namespace, x: Array) -> Array:
    return xp.reshape(x, (math.prod(x.shape[:-1]), x.shape[-1]))


linear.vjp(
    x=lambda xp, g, weight: xp.matmul(g, xp.bar(weight)),
    bias=lambda xp, g: total(xp, _flat(xp, g), 0),
)


@linear.vjp_of("weight")
def _(xp: Namespace, g: Array, x: Array) -> Array:
    return xp.matmul(xp.matrix_transpose(_flat(xp, g)), xp.bar(_flat(xp, x)))


def common_axis(x1: Array, x2: Array, axis: int) -> int:
    """Return an axis of two operands that broadcast, counted from the end."""
    if axis < 0:
        return axis
    if x1.ndim != x2.ndim:
        raise ValueError(
            f"axis must be negative for x1 and x2 with {x1.ndim} and {x2.ndim} axes, "
            f"got {axis}"
        )
    return axis - int(x1.ndim)


@differentiable(promote=("x1", "x2"))
def vecdot(xp: Namespace, x1: Array, x2: Array, /, *, axis: int = -1) -> Array:
    """Return the sum of `conj(x1) * x2` along `axis`.

    Parameters
    ----------
    x1, x2 : Tensor
        Of equal sizes along `axis`; the other axes broadcast.
    axis : int, default -1
        Negative where the operands have different numbers of axes.
    """
    return xp.vecdot(x1, x2, axis=common_axis(x1, x2, axis))


vecdot.vjp(
    x1=lambda xp, g, x2, axis: xp.bar(xp.expand_dims(g, axis=axis)) * x2,
    x2=lambda xp, g, x1, axis: xp.expand_dims(g, axis=axis) * x1,
)


def _contracted(
    ndim1: int, ndim2: int, axes: int | tuple[Sequence[int], Sequence[int]]
) -> tuple[list[int], list[int]]:
    if isinstance(axes, int):
        return list(range(ndim1 - axes, ndim1)), list(range(axes))
    return [a % ndim1 for a in axes[0]], [a % ndim2 for a in axes[1]]


def _are_pairs(axes: object) -> bool:
    return (
        isinstance(axes, Sequence)
        and len(axes) == 2
        and all(isinstance(part, Sequence) for part in axes)
        and len(axes[0]) == len(axes[1])
    )


@differentiable(promote=("x1", "x2"))
def tensordot(
    xp: Namespace,
    x1: Array,
    x2: Array,
    /,
    *,
    axes: int | tuple[Sequence[int], Sequence[int]] = 2,
) -> Array:
    """Return the product of two tensors summed over pairs of axes.

    Parameters
    ----------
    x1, x2 : Tensor
        Of equal sizes along the axes that meet.
    axes : int or tuple of two sequences of int, default 2
        How many last axes of `x1` meet the first ones of `x2`, or the axes of each that
        meet one by one.
    """
    most = min(x1.ndim, x2.ndim)
    if not isinstance(axes, int):
        if not _are_pairs(axes):
            raise ValueError(
                "axes must be an int or two sequences of as many ints, such as "
                f"((0, 1), (1, 2)), got {axes!r}"
            )
    elif not 0 <= axes <= most:
        raise ValueError(
            f"axes must be from 0 to {most} for x1 and x2 with {x1.ndim} and {x2.ndim} "
            f"axes, got {axes}"
        )
    return xp.tensordot(x1, x2, axes=axes)


def _other_factor(
    xp: Namespace,
    g: Array,
    x: Array,
    met: list[int],
    own_met: list[int],
    *,
    first: bool,
) -> Array:
    """Return the cotangent of a factor, `x` being the other one.

    The product of `g` and `x` is summed over the free axes of `x`; then the factor's
    own axes are put back in order.
    """
    free = [i for i in range(x.ndim) if i not in met]
    own_free = g.ndim - len(free)
    if first:
        d = xp.tensordot(g, xp.bar(x), axes=(list(range(own_free, g.ndim)), free))
    else:
        d = xp.tensordot(g, xp.bar(x), axes=(list(range(len(free))), free))
    # d has the factor's free axes in order, then its met axes in the order of x's axes.
    ndim = own_free + len(met)
    met_in_order = [own for _, own in sorted(zip(met, own_met, strict=True))]
    current = [i for i in range(ndim) if i not in own_met] + met_in_order
    return xp.permute_dims(d, tuple(current.index(i) for i in range(ndim)))


@tensordot.vjp_of("x1")
def _(xp: Namespace, g: Array, x2: Array, like: Array, axes: object) -> Array:
    axes1, axes2 = _contracted(len(like.shape), x2.ndim, axes)  # type: ignore[arg-type]
    return _other_factor(xp, g, x2, axes2, axes1, first=True)


@tensordot.vjp_of("x2")
def _(xp: Namespace, g: Array, x1: Array, like: Array, axes: object) -> Array:
    axes1, axes2 = _contracted(x1.ndim, len(like.shape), axes)  # type: ignore[arg-type]
    return _other_factor(xp, g, x1, axes1, axes2, first=False)
