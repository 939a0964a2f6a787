"""Products of vectors, and powers of matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradlite._arguments import integer
from gradlite._typing import Array, Namespace
from gradlite.autograd import differentiable
from gradlite.ops._operands import check_operand
from gradlite.ops.elementwise import multiply
from gradlite.ops.linalg._matrices import adjoint, check_square
from gradlite.ops.linear_algebra import common_axis
from gradlite.ops.manipulation import expand_dims

if TYPE_CHECKING:
    from gradlite.tensor import Tensor


def outer(x1: Tensor, x2: Tensor, /) -> Tensor:
    """Return the products of all elements of one vector with all of another.

    Parameters
    ----------
    x1, x2 : Tensor
        Shapes (M,) and (N,), of any numeric dtype; the result has (M, N).
    """
    check_operand("outer", "x1", x1)
    check_operand("outer", "x2", x2)
    if x1.ndim != 1 or x2.ndim != 1:
        raise ValueError(
            f"x1 and x2 must be 1-D, got shapes {tuple(x1.shape)} and "
            f"{tuple(x2.shape)}; flatten() them first"
        )
    return multiply(expand_dims(x1, axis=1), x2)


@differentiable(promote=("x1", "x2"))
def cross(xp: Namespace, x1: Array, x2: Array, /, *, axis: int = -1) -> Array:
    """Return the cross product of vectors of three elements along `axis`.

    Parameters
    ----------
    x1, x2 : Tensor
        Of a numeric dtype, size 3 along `axis`; the other axes broadcast.
    axis : int, default -1
        Negative where the operands have different numbers of axes.
    """
    axis = common_axis(x1, x2, axis)
    for name, x in (("x1", x1), ("x2", x2)):
        if -axis > x.ndim or x.shape[axis] != 3:
            raise ValueError(
                f"{name} must have size 3 along axis {axis}, got shape {tuple(x.shape)}"
            )
    return xp.linalg.cross(x1, x2, axis=axis)


@cross.vjp_of("x1")
def _(xp: Namespace, g: Array, x2: Array, axis: int) -> Array:
    axis = common_axis(g, g, axis)
    return xp.linalg.cross(xp.bar(x2), g, axis=axis)


@cross.vjp_of("x2")
def _(xp: Namespace, g: Array, x1: Array, axis: int) -> Array:
    axis = common_axis(g, g, axis)
    return xp.linalg.cross(g, xp.bar(x1), axis=axis)


@differentiable
def matrix_power(xp: Namespace, x: Array, /, n: int) -> Array:
    """Return the product of `n` equal matrices, of inverses where `n` is negative.

    Parameters
    ----------
    x : Tensor
        Shape (..., M, M).
    n : int
        0 makes identity matrices.
    """
    check_square(x)
    n = integer("n", n, None)
    return xp.asarray(x, copy=True) if n == 1 else xp.linalg.matrix_power(x, n)


@matrix_power.vjp_of("x")
def _(xp: Namespace, g: Array, x: Array, n: int) -> Array:
    # The sum of A^i G A^(n-1-i) stands in the upper right block of [[A, G], [0, A]]^n:
    # N. J. Higham, "Functions of Matrices", SIAM 2008, theorem 3.6.
    a = adjoint(xp, x)
    upper = xp.concat([a, g], axis=-1)
    lower = xp.concat([xp.zeros_like(a), a], axis=-1)
    power = xp.linalg.matrix_power(xp.concat([upper, lower], axis=-2), n)
    size = x.shape[-1]
    return power[..., :size, size:]
