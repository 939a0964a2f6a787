"""Updates on any namespace, one parameter after the other: right, not fast."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from gradlite._typing import Array, DType, Namespace
from gradlite.backends._updates import Scales, Step, Update, follow_


def arithmetic(xp: Namespace) -> Any:
    """Return NumPy's names for a namespace whose functions always make new arrays."""

    def making(function: Any) -> Any:
        return lambda *arguments: function(*arguments[:-1])

    def maximum(x: Array, y: Array, *, out: Array) -> Array:
        return xp.maximum(x, y)

    return SimpleNamespace(
        add=making(operator.add),
        subtract=making(operator.sub),
        multiply=making(operator.mul),
        divide=making(operator.truediv),
        negative=making(operator.neg),
        sign=making(xp.sign),
        sqrt=making(xp.sqrt),
        maximum=maximum,
        clip=making(xp.clip),
    )


# Batches


class PortableBatch:
    """Parameters of one device and dtype that are updated one after the other.

    Right on any namespace; NumPy and CuPy have faster classes with the same methods
    (`gradlite.backends.protocol.Batch` describes them).

    Parameters
    ----------
    xp : Namespace
        The backend's namespace.
    params, states, groups, steps, slots, masters
        See `gradlite.backends.protocol.Backend.batch`.
    """

    def __init__(
        self,
        xp: Namespace,
        params: Sequence[Array],
        states: Sequence[Sequence[Array]],
        groups: Sequence[int],
        steps: Sequence[int],
        slots: Sequence[Array | None],
        masters: Sequence[Array] | None = None,
    ) -> None:
        self._xp = xp
        self._arithmetic = arithmetic(xp)
        self._params = params
        self._states = states
        self._groups = groups
        self._slots = slots
        self._masters = masters or [None] * len(params)
        self.steps = np.array(steps, dtype=np.int64)

    def _gathered(
        self, grads: Sequence[Array | None], complete: bool
    ) -> Sequence[Array | None]:
        if not complete:
            return grads
        return [g if s is None else s for g, s in zip(grads, self._slots, strict=True)]

    def step(
        self,
        grads: Sequence[Array | None],
        updates: Sequence[Update],
        *,
        complete: bool = False,
        grad_scale: Array | float | None = None,
        clip: Array | float | None = None,
        found_inf: Array | bool | None = None,
    ) -> None:
        """Update all parameters that have a gradient; `found_inf` is read here."""
        if found_inf is not None and bool(found_inf):
            return
        for i, g in enumerate(self._gathered(grads, complete)):
            if g is not None:
                self.steps[i] += 1
                self._update_(i, g, updates[self._groups[i]], grad_scale, clip)

    def _update_(
        self,
        i: int,
        g: Array,
        update: Update,
        grad_scale: Array | float | None,
        clip: Array | float | None,
    ) -> None:
        """Update one parameter, in float32 where its own dtype is narrower."""
        xp, p, master = self._xp, self._params[i], self._masters[i]
        dtype = xp.accumulation_dtype(p.dtype) or p.dtype
        targets = [p if master is None else master, *self._states[i]]
        wide = [x if x.dtype == dtype else xp.astype(x, dtype) for x in targets]
        step = Step(
            self._arithmetic,
            update.flags,
            update.coefficients,
            update.rates(int(self.steps[i])),
            Scales(scalar(xp, grad_scale, dtype), scalar(xp, clip, dtype)),
        )
        g = g if g.dtype == dtype else xp.astype(g, dtype)
        follow_(update, step, wide[0], g, wide[1:])
        for target, value in zip(targets, wide, strict=True):
            if value is not target:
                target[...] = xp.astype(value, target.dtype)
        if master is not None:
            p[...] = xp.astype(master, p.dtype)

    def upload(self, updates: Sequence[Update]) -> None:
        """Do nothing: each step reads the updates itself."""

    def square_sum(
        self, grads: Sequence[Array | None], *, complete: bool = False
    ) -> Array:
        """Return the sum of the squares of all gradients, 0-D on their device."""
        gathered = self._gathered(grads, complete)
        return square_sum(self._xp, [g for g in gathered if g is not None])


# Norms


def square_sum(xp: Namespace, arrays: Sequence[Array]) -> Array:
    """Return the sum of the squares of all elements of all arrays, 0-D.

    Parameters
    ----------
    xp : Namespace
        The backend's namespace.
    arrays : sequence of Array
        At least one array; real floating-point, on one device, of any shapes.

    Returns
    -------
    Array
        Of the widest dtype among float32 and the arrays' own, in which it was
        accumulated.
    """
    dtype = xp.result_type(xp.float32, *(array.dtype for array in arrays))
    sums = []
    for array in arrays:
        wide = array if array.dtype == dtype else xp.astype(array, dtype)
        sums.append(xp.asarray(xp.sum(wide * wide)))
    return xp.asarray(xp.sum(xp.stack(sums)))


def clip_factor(
    xp: Namespace,
    square_sums: Sequence[Array],
    max_norm: float,
    grad_scale: Array | float | None = None,
) -> Array:
    """Return ``min(1, max_norm / (norm + 1e-6))`` as a 0-D array.

    Parameters
    ----------
    xp : Namespace
        The backend's namespace.
    square_sums : sequence of Array
        What `square_sum` returned for parts of the gradients, on one device.
    max_norm : float
        Bound on the norm.
    grad_scale : 0-D array or float, optional
        Divisor of the norm.
    """
    norm = _norm(xp, square_sums, grad_scale)
    factor = xp.asarray(max_norm / (norm + 1e-6))
    return xp.minimum(factor, xp.ones_like(factor))


def global_norm(
    xp: Namespace, arrays: Sequence[Array], *, grad_scale: Array | float | None = None
) -> Array:
    """Return the Euclidean norm of all arrays together, divided by `grad_scale`.

    Parameters
    ----------
    xp : Namespace
        The backend's namespace.
    arrays : sequence of Array
        As for `square_sum`.
    grad_scale : 0-D array or float, optional
        Divisor of the arrays' elements.

    Returns
    -------
    Array
        0-D, of the widest dtype among float32 and the arrays' own.

    Raises
    ------
    ValueError
        If `arrays` is empty.
    """
    if not arrays:
        raise ValueError("arrays must hold at least one array, got an empty sequence")
    return _norm(xp, [square_sum(xp, arrays)], grad_scale)


def _norm(
    xp: Namespace, square_sums: Sequence[Array], grad_scale: Array | float | None
) -> Array:
    dtype = xp.result_type(*square_sums)
    total = xp.sum(xp.stack([xp.astype(part, dtype) for part in square_sums]))
    norm = xp.sqrt(xp.asarray(total))
    scale = scalar(xp, grad_scale, dtype)
    return xp.asarray(norm if scale is None else norm / scale)


def scalar(
    xp: Namespace, value: Array | float | None, dtype: DType
) -> Array | float | None:
    """Return `value` so that arithmetic with it keeps `dtype`."""
    if value is None or isinstance(value, (int, float)):
        return None if value is None else float(value)
    return xp.astype(xp.reshape(value, ()), dtype)
