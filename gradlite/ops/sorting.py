"""Sorting functions of the standard."""

from __future__ import annotations

from gradlite._typing import Array, Namespace
from gradlite.autograd import differentiable


@differentiable
def argsort(
    xp: Namespace,
    x: Array,
    /,
    *,
    axis: int = -1,
    descending: bool = False,
    stable: bool = True,
) -> Array:
    """Return the indices that sort `x` along `axis`."""
    return xp.argsort(x, axis=axis, descending=descending, stable=stable)


@differentiable(aux=True)
def sort(
    xp: Namespace,
    x: Array,
    /,
    *,
    axis: int = -1,
    descending: bool = False,
    stable: bool = True,
) -> tuple[Array, Array]:
    """Return `x` sorted along `axis`."""
    order = xp.argsort(x, axis=axis, descending=descending, stable=stable)
    return xp.take_along_axis(x, order, axis=axis), order


@sort.vjp_of("x")
def _(xp: Namespace, g: Array, aux: Array, axis: int) -> Array:
    return xp.add_along_axis(xp.zeros_like(g), aux, g, axis=axis)
