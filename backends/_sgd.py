"""The in-place SGD update, written once and shared by every backend.

The arithmetic is a fixed sequence of IEEE operations, each rounded on its own, so
every array library gives the same bits. Hyperparameters, and the products of
hyperparameters that the formula needs (such as ``lr * (1 - dampening)``), are formed
as Python floats and rounded once to the precision in which the arrays are updated:
float64 for float64 parameters, float32 for all others. float16 parameters and their
buffers stay float16 in memory, are updated in float32, and are rounded once when
they are stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gradlite._typing import Array, DType, Namespace


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """One SGD update of equally shaped arrays, element by element.

    Nothing in it depends on an element's position, so it may be applied to any piece
    of a parameter together with the same pieces of its gradient and its buffer.

    Parameters
    ----------
    xp : Namespace
        The backend's namespace.
    lr, momentum, dampening, weight_decay, alpha : float
        Learning rate, momentum, dampening of the gradient's part in the momentum, and
        the coefficients of the L2 and the L1 regularisation.
    decoupled_weight_decay, nesterov, maximize, proximal : bool
        Variants of the update, see `gradlite.optim.SGD`.
    momentum_form : {"classic", "torch"}
        What the buffer holds: the velocity, or PyTorch's sum of gradients.
    grad_scale, clip : 0-d array or float, optional
        Divisor and factor of the gradient, in this order.
    """

    xp: Namespace
    lr: float
    momentum: float
    dampening: float
    weight_decay: float
    decoupled_weight_decay: bool
    alpha: float
    nesterov: bool
    maximize: bool
    momentum_form: str
    proximal: bool
    grad_scale: Array | float | None
    clip: Array | float | None

    def apply_(self, p: Array, g: Array, v: Array | None, first: bool) -> None:
        """Update the parameter `p` and its buffer `v` in place from the gradient `g`.

        Parameters
        ----------
        p, g : Array
            Parameter and gradient of one shape and dtype; `g` is only read.
        v : Array or None
            Buffer of the same shape and dtype; None without momentum.
        first : bool
            Whether PyTorch's form starts its sum here, with the undampened gradient.
        """
        g = self._direction_(p, g)
        if self.proximal:
            self._proximal_(p, g, v)
        elif v is None:
            p -= self.lr * g
        elif self.momentum_form == "classic":
            v *= self.momentum
            v -= (self.lr * (1.0 - self.dampening)) * g
            p += self.momentum * v - self.lr * g if self.nesterov else v
        else:
            if first:
                v[...] = g
            else:
                v *= self.momentum
                v += (1.0 - self.dampening) * g
            p -= self.lr * (g + self.momentum * v if self.nesterov else v)

    def apply_half_(self, p: Array, g: Array, v: Array | None, first: bool) -> None:
        """Do the same in float32 for arrays of a narrower dtype, rounding at the end.

        Parameters
        ----------
        p, g, v, first
            As for `apply_`.
        """
        astype, single = self.xp.astype, self.xp.float32
        wide_p = astype(p, single)
        wide_v = None if v is None else astype(v, single)
        self.apply_(wide_p, astype(g, single), wide_v, first)
        p[...] = astype(wide_p, p.dtype)
        if v is not None:
            v[...] = astype(wide_v, v.dtype)

    def _direction_(self, p: Array, g: Array) -> Array:
        """Return the regularised gradient; decoupled weight decay shrinks `p` here."""
        if self.grad_scale is not None:
            g = g / self.grad_scale
        if self.clip is not None:
            g = g * self.clip
        if self.maximize:
            g = -g
        if self.alpha and not self.proximal:
            g = g + self.alpha * self.xp.sign(p)
        if self.weight_decay and self.decoupled_weight_decay:
            p *= 1.0 - self.lr * self.weight_decay
        elif self.weight_decay:
            g = g + self.weight_decay * p
        return g

    def _proximal_(self, p: Array, g: Array, v: Array | None) -> None:
        """Take the heavy-ball step to `p` + `v`, then soften it by ``lr * alpha``."""
        if v is None:
            q = p - self.lr * g
        else:
            v *= self.momentum
            v -= self.lr * g
            q = p + v
        threshold = self.lr * self.alpha
        # sign(q) * max(|q| - t, 0), with the same rounding and without negative zeros.
        q = q - self.xp.clip(q, -threshold, threshold)
        if v is not None:
            v[...] = q - p
        p[...] = q


def sgd_(
    xp: Namespace,
    params: Sequence[Array],
    grads: Sequence[Array],
    buffers: Sequence[Array] | None,
    *,
    lr: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    decoupled_weight_decay: bool = False,
    alpha: float = 0.0,
    nesterov: bool = False,
    maximize: bool = False,
    momentum_form: str = "classic",
    proximal: bool = False,
    first: Sequence[bool] = (),
    grad_scale: Array | float | None = None,
    clip: Array | float | None = None,
    found_inf: Array | bool | None = None,
    block: int | None = None,
) -> None:
    """Update lists of raw arrays of one dtype in place by one step of SGD.

    Parameters
    ----------
    xp : Namespace
        The backend's namespace.
    params, grads : sequence of Array
        Parameters, written in place, and their gradients, only read. All arrays of a
        call have one dtype and live on one device.
    buffers : sequence of Array or None
        Momentum buffers, written in place; None without momentum.
    lr, momentum, dampening, weight_decay, alpha : float, optional
        Hyperparameters, see `gradlite.optim.SGD`.
    decoupled_weight_decay, nesterov, maximize, proximal : bool, optional
        Variants of the update, see `gradlite.optim.SGD`.
    momentum_form : {"classic", "torch"}, optional
        What the buffers hold: velocities, or PyTorch's sums of gradients.
    first : sequence of bool, optional
        For each parameter, whether PyTorch's form starts its sum in this step; empty
        if none does. The classic form starts from a buffer of zeros.
    grad_scale, clip : Array of size 1 or float, optional
        Divisor of the gradients, and then their factor.
    found_inf : Array of size 1 or bool, optional
        Nothing is written when it is true. It is read on the host.
    block : int, optional
        Elements per block, for arrays with NumPy's ``flags``: temporary arrays are
        then no larger than this. By default each array is updated in one piece.

    Raises
    ------
    ValueError
        If `momentum` is not zero and `buffers` is None, or the lists' lengths differ.

    Notes
    -----
    For each parameter, in this order::

        g = grad / grad_scale * clip;  g = -g if maximize
        g += alpha * sign(p)                    (not if proximal)
        g += weight_decay * p                   (decoupled: p *= 1 - lr * weight_decay)
        classic:    v = momentum * v - lr * (1 - dampening) * g
                    p += momentum * v - lr * g if nesterov else v
        torch:      v = g if first else momentum * v + (1 - dampening) * g
                    p -= lr * (g + momentum * v if nesterov else v)
        proximal:   q = soft(p + momentum * v - lr * g, lr * alpha);  v = q - p;  p = q

    Without buffers the last part is ``p -= lr * g`` in either form.
    """
    if momentum and buffers is None:
        raise ValueError(
            f"momentum={momentum} needs buffers, one array like each parameter, got"
            " None"
        )
    if not params or (found_inf is not None and bool(found_inf)):
        return
    wide = xp.accumulation_dtype(params[0].dtype)
    dtype = params[0].dtype if wide is None else wide
    update = Update(
        xp=xp,
        lr=float(lr),
        momentum=float(momentum),
        dampening=float(dampening),
        weight_decay=float(weight_decay),
        decoupled_weight_decay=decoupled_weight_decay,
        alpha=float(alpha),
        nesterov=nesterov,
        maximize=maximize,
        momentum_form=momentum_form,
        proximal=proximal,
        grad_scale=_scalar(xp, grad_scale, dtype),
        clip=_scalar(xp, clip, dtype),
    )
    apply_ = update.apply_ if wide is None else update.apply_half_
    velocities: Sequence[Array] = buffers or [None] * len(params)
    starts = first or [False] * len(params)
    for p, g, v, start in zip(params, grads, velocities, starts, strict=True):
        for q, h, w in _pieces((p, g, v), block):
            apply_(q, h, w, start)


def global_norm(
    xp: Namespace,
    arrays: Sequence[Array],
    *,
    grad_scale: Array | float | None = None,
    block: int | None = None,
) -> Array:
    """Return the Euclidean norm of all arrays together, divided by `grad_scale`.

    Parameters
    ----------
    xp : Namespace
        The backend's namespace.
    arrays : sequence of Array
        At least one array; real floating-point, on one device, of any shapes.
    grad_scale : Array of size 1 or float, optional
        Divisor of the arrays' elements.
    block : int, optional
        Elements per block, as for `sgd_`.

    Returns
    -------
    Array
        0-d array of the widest dtype among float32 and the arrays' own, in which the
        squares were accumulated.

    Raises
    ------
    ValueError
        If `arrays` is empty.
    """
    if not arrays:
        raise ValueError("arrays must hold at least one array, got an empty sequence")
    dtype = xp.result_type(xp.float32, *(array.dtype for array in arrays))
    sums = []
    for array in arrays:
        for (piece,) in _pieces((array,), block):
            wide = piece if piece.dtype == dtype else xp.astype(piece, dtype)
            sums.append(xp.asarray(xp.sum(wide * wide)))
    norm = xp.sqrt(xp.sum(xp.stack(sums)))
    scale = _scalar(xp, grad_scale, dtype)
    return xp.asarray(norm if scale is None else norm / scale)


def _scalar(
    xp: Namespace, value: Array | float | None, dtype: DType
) -> Array | float | None:
    """Return `value` so that arithmetic with it keeps `dtype`."""
    if value is None or isinstance(value, (int, float)):
        return None if value is None else float(value)
    return xp.astype(xp.reshape(value, ()), dtype)


def _pieces(
    arrays: tuple[Array, ...], block: int | None
) -> Iterator[tuple[Array, ...]]:
    """Yield equal pieces of equally shaped arrays, views of about `block` elements.

    None stands for an array that is not there, and for its pieces.
    """
    if block is None or arrays[0].size <= block:
        yield arrays
        return
    if all(a is None or a.flags.c_contiguous for a in arrays):
        arrays = tuple(None if a is None else a.reshape(-1) for a in arrays)
    length = arrays[0].shape[0]
    rows = max(1, block * length // arrays[0].size)
    for start in range(0, length, rows):
        part = slice(start, start + rows)
        yield tuple(None if a is None else a[part] for a in arrays)
