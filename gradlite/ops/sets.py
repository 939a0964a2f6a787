"""Set functions of the standard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from gradlite._typing import Array, Namespace, Scalar
from gradlite.autograd import differentiable
from gradlite.ops.searching import element

if TYPE_CHECKING:
    from gradlite.tensor import Tensor


class UniqueAll(NamedTuple):
    """What `unique_all` returns."""

    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCounts(NamedTuple):
    """What `unique_counts` returns."""

    values: Tensor
    counts: Tensor


class UniqueInverse(NamedTuple):
    """What `unique_inverse` returns."""

    values: Tensor
    inverse_indices: Tensor


@differentiable(several=True)
def _unique(xp: Namespace, x: Array, /) -> Sequence[Array]:
    return tuple(xp.unique_all(x))[1:]


@differentiable
def _distinct(
    xp: Namespace, x: Array, indices: Array, inverse: Array, counts: Array, /
) -> Array:
    return xp.take(xp.reshape(x, (-1,)), indices, axis=0)


@_distinct.vjp_of("x")
def _(xp: Namespace, g: Array, inverse: Array, counts: Array) -> Array:
    shares = g / xp.astype(counts, g.dtype)
    taken = xp.take(shares, xp.reshape(inverse, (-1,)), axis=0)
    return xp.reshape(taken, inverse.shape)


def unique_all(x: Tensor, /) -> UniqueAll:
    """Return the different elements of `x`, and where they are.

    Parameters
    ----------
    x : Tensor
        Of any shape. Each NaN counts as an element of its own.

    Returns
    -------
    UniqueAll
        The sorted `values`, whose derivative equal elements share; the `indices` of
        their first occurrences in the flattened `x`; the `inverse_indices`, of the
        shape of `x`, from which `values` makes it up again; and their `counts`.
    """
    found = _unique(x)
    return UniqueAll(_distinct(x, *found), *found)


def unique_counts(x: Tensor, /) -> UniqueCounts:
    """Return the `values` and the `counts` of `unique_all`."""
    found = unique_all(x)
    return UniqueCounts(found.values, found.counts)


def unique_inverse(x: Tensor, /) -> UniqueInverse:
    """Return the `values` and the `inverse_indices` of `unique_all`."""
    found = unique_all(x)
    return UniqueInverse(found.values, found.inverse_indices)


def unique_values(x: Tensor, /) -> Tensor:
    """Return the `values` of `unique_all`: the different elements of `x`, sorted."""
    return unique_all(x).values


@differentiable
def isin(
    xp: Namespace,
    x1: Array | Scalar,
    x2: Array | Scalar,
    /,
    *,
    invert: bool = False,
) -> Array:
    """Return whether each element of `x1` is in `x2`, with `invert` whether it is not.

    Either may be a Python scalar; the result has the shape of `x1`.
    """
    found = xp.isin(element(xp, x1, x2), element(xp, x2, x1))
    return xp.logical_not(found) if invert else found  # libraries get invert wrong
