"""The optimizers' updates of plain arrays, in place, without a tensor of gradlite.

All functions take lists with one array for each parameter: of NumPy, CuPy or any other
registered library, or whatever exports its memory through DLPack, such as PyTorch's
tensors, which NumPy or CuPy then update where they are. A tensor of gradlite stands for
its array; a graph that saved it notices the write. Arrays of 16 bits are updated in
float32 and rounded once, and their state is in float32.

A parameter whose gradient is None is left alone. Nothing is written if an argument does
not fit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from gradlite._arguments import boolean, integer
from gradlite._typing import Array
from gradlite.backends import Device
from gradlite.backends._updates import Update
from gradlite.optim._arguments import POSITIVE, raw
from gradlite.optim._clipping import clip_factor
from gradlite.optim._foreign import listed_arrays, number_or_tensor, rows_of
from gradlite.optim.adagrad import adagrad_update
from gradlite.optim.adam import adam_update
from gradlite.optim.rmsprop import rmsprop_update
from gradlite.optim.sgd import sgd_update
from gradlite.tensor import Tensor

__all__ = ["adagrad_", "adam_", "rmsprop_", "sgd_"]

Arrays: TypeAlias = Sequence[Array]
States: TypeAlias = dict[str, Arrays | None]


def sgd_(
    params: Arrays,
    grads: Sequence[Array | None],
    velocities: Arrays | None = None,
    *,
    lr: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    maximize: bool = False,
    alpha: float = 0.0,
    decoupled_weight_decay: bool = False,
    proximal: bool = False,
    momentum_form: str = "classic",
    first: bool | Sequence[bool] = False,
    grad_scale: Array | float | None = None,
    max_norm: float | None = None,
    found_inf: Array | bool | None = None,
) -> None:
    """Take one step of `gradlite.optim.SGD`, which describes the options.

    Parameters
    ----------
    params : list of array
        Parameters, written in place.
    grads : list of (array or None)
        Their gradients, like them; only read.
    velocities : list of array, optional
        Momentum buffers like the parameters, zeros at first; written in place. Needed
        if there is a momentum, else left alone.
    lr : float
        Learning rate, at least 0.
    momentum, dampening, weight_decay : float, default 0.0
        As for `SGD`.
    nesterov, maximize : bool, default False
        As for `SGD`.
    alpha : float, default 0.0
        As for `SGD`.
    decoupled_weight_decay, proximal : bool, default False
        As for `SGD`.
    momentum_form : {"classic", "torch"}, default "classic"
        Whether the buffers hold velocities or PyTorch's sums of gradients.
    first : bool or list of bool, default False
        Whether this is a parameter's first update, in which PyTorch's form starts its
        sum with the undampened gradient.
    grad_scale : float or array of size 1, optional
        Divisor of the gradients.
    max_norm : float, optional
        Bound on the norm of all gradients together; longer ones are scaled down.
    found_inf : bool or array of size 1, optional
        Nothing is written where it is not zero; an array on a GPU is not read back.

    Raises
    ------
    TypeError, ValueError
        If an option is out of range, or an array is read-only or has another shape or
        dtype than its parameter.
    DeviceMismatchError
        If an array is on another device than its parameter.

    Examples
    --------
    >>> import numpy as np
    >>> import gradlite as gl
    >>> p, g, v = np.ones(2), np.array([2.0, -2.0]), np.zeros(2)
    >>> gl.optim.functional.sgd_([p], [g], [v], lr=0.25, momentum=0.5)
    >>> p.tolist()
    [0.5, 1.5]
    """
    update = sgd_update(
        {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "alpha": alpha,
            "decoupled_weight_decay": decoupled_weight_decay,
            "proximal": proximal,
            "momentum_form": momentum_form,
        }
    )
    states: States = {"velocities": velocities} if momentum else {}
    arrays = {"params": params, "grads": grads, **states}
    steps = [int(not f) for f in _for_each("first", first, boolean, params)]
    _step_(update, arrays, steps, grad_scale, max_norm, found_inf)


def adam_(
    params: Arrays,
    grads: Sequence[Array | None],
    exp_avgs: Arrays,
    exp_avg_sqs: Arrays,
    max_exp_avg_sqs: Arrays | None = None,
    *,
    lr: float,
    step: int | Sequence[int],
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    amsgrad: bool = False,
    maximize: bool = False,
    decoupled_weight_decay: bool = False,
    grad_scale: Array | float | None = None,
    max_norm: float | None = None,
    found_inf: Array | bool | None = None,
) -> None:
    """Take one step of `gradlite.optim.Adam`, which describes the options.

    Parameters
    ----------
    params : list of array
        Parameters, written in place.
    grads : list of (array or None)
        Their gradients, like them; only read.
    exp_avgs, exp_avg_sqs : list of array
        Running means of the gradients and of their squares, zeros at first; written in
        place.
    max_exp_avg_sqs : list of array, optional
        The largest of the latter so far, zeros at first; written in place. Needed if
        `amsgrad`, else left alone.
    lr : float
        Learning rate, at least 0.
    step : int or list of int
        The number of this update of a parameter, 1 for its first.
    betas : tuple of float, default (0.9, 0.999)
        As for `Adam`.
    eps : float, default 1e-8
        As for `Adam`.
    weight_decay : float, default 0.0
        As for `Adam`.
    amsgrad, maximize, decoupled_weight_decay : bool, default False
        As for `Adam`.
    grad_scale : float or array of size 1, optional
        Divisor of the gradients.
    max_norm : float, optional
        Bound on the norm of all gradients together; longer ones are scaled down.
    found_inf : bool or array of size 1, optional
        Nothing is written where it is not zero; an array on a GPU is not read back.

    Raises
    ------
    TypeError, ValueError, DeviceMismatchError
        As for `sgd_`.

    Examples
    --------
    >>> import numpy as np
    >>> import gradlite as gl
    >>> p, g, m, v = np.ones(2), np.array([2.0, -2.0]), np.zeros(2), np.zeros(2)
    >>> gl.optim.functional.adam_([p], [g], [m], [v], lr=0.25, step=1)
    >>> print(*(f"{x:.3f}" for x in p))
    0.750 1.250
    """
    update = adam_update(
        {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
    )
    states: States = {"exp_avgs": exp_avgs, "exp_avg_sqs": exp_avg_sqs}
    if amsgrad:
        states["max_exp_avg_sqs"] = max_exp_avg_sqs
    arrays = {"params": params, "grads": grads, **states}
    steps = [n - 1 for n in _for_each("step", step, integer, params)]
    _step_(update, arrays, steps, grad_scale, max_norm, found_inf)


def rmsprop_(
    params: Arrays,
    grads: Sequence[Array | None],
    square_avgs: Arrays,
    momentum_buffers: Arrays | None = None,
    grad_avgs: Arrays | None = None,
    *,
    lr: float,
    alpha: float = 0.99,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
    centered: bool = False,
    maximize: bool = False,
    grad_scale: Array | float | None = None,
    max_norm: float | None = None,
    found_inf: Array | bool | None = None,
) -> None:
    """Take one step of `gradlite.optim.RMSprop`, which describes the options.

    Parameters
    ----------
    params : list of array
        Parameters, written in place.
    grads : list of (array or None)
        Their gradients, like them; only read.
    square_avgs : list of array
        Running means of the gradients' squares, zeros at first; written in place.
    momentum_buffers : list of array, optional
        Zeros at first, written in place. Needed if there is a momentum, else left
        alone.
    grad_avgs : list of array, optional
        Running means of the gradients, zeros at first; written in place. Needed if
        `centered`, else left alone.
    lr : float
        Learning rate, at least 0.
    alpha, eps, weight_decay, momentum : float
        As for `RMSprop`.
    centered, maximize : bool, default False
        As for `RMSprop`.
    grad_scale : float or array of size 1, optional
        Divisor of the gradients.
    max_norm : float, optional
        Bound on the norm of all gradients together; longer ones are scaled down.
    found_inf : bool or array of size 1, optional
        Nothing is written where it is not zero; an array on a GPU is not read back.

    Raises
    ------
    TypeError, ValueError, DeviceMismatchError
        As for `sgd_`.

    Examples
    --------
    >>> import numpy as np
    >>> import gradlite as gl
    >>> p, g, v = np.ones(2), np.array([2.0, -2.0]), np.zeros(2)
    >>> gl.optim.functional.rmsprop_([p], [g], [v], lr=0.125, alpha=0.75)
    >>> print(*(f"{x:.3f}" for x in p))
    0.750 1.250
    """
    update = rmsprop_update(
        {
            "lr": lr,
            "alpha": alpha,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "centered": centered,
            "maximize": maximize,
        }
    )
    states: States = {"square_avgs": square_avgs}
    if momentum:
        states["momentum_buffers"] = momentum_buffers
    if centered:
        states["grad_avgs"] = grad_avgs
    arrays = {"params": params, "grads": grads, **states}
    steps = [0] * len(listed_arrays("params", params))
    _step_(update, arrays, steps, grad_scale, max_norm, found_inf)


def adagrad_(
    params: Arrays,
    grads: Sequence[Array | None],
    sums: Arrays,
    *,
    lr: float,
    step: int | Sequence[int] = 1,
    lr_decay: float = 0.0,
    weight_decay: float = 0.0,
    eps: float = 1e-10,
    maximize: bool = False,
    grad_scale: Array | float | None = None,
    max_norm: float | None = None,
    found_inf: Array | bool | None = None,
) -> None:
    """Take one step of `gradlite.optim.Adagrad`, which describes the options.

    Parameters
    ----------
    params : list of array
        Parameters, written in place.
    grads : list of (array or None)
        Their gradients, like them; only read.
    sums : list of array
        Sums of the gradients' squares; written in place.
    lr : float
        Learning rate, at least 0.
    step : int or list of int, default 1
        The number of this update of a parameter, 1 for its first; of importance with
        `lr_decay` only.
    lr_decay, weight_decay, eps : float
        As for `Adagrad`.
    maximize : bool, default False
        As for `Adagrad`.
    grad_scale : float or array of size 1, optional
        Divisor of the gradients.
    max_norm : float, optional
        Bound on the norm of all gradients together; longer ones are scaled down.
    found_inf : bool or array of size 1, optional
        Nothing is written where it is not zero; an array on a GPU is not read back.

    Raises
    ------
    TypeError, ValueError, DeviceMismatchError
        As for `sgd_`.

    Examples
    --------
    >>> import numpy as np
    >>> import gradlite as gl
    >>> p, g, s = np.ones(2), np.array([2.0, -2.0]), np.zeros(2)
    >>> gl.optim.functional.adagrad_([p], [g], [s], lr=0.25)
    >>> print(*(f"{x:.3f}" for x in p))
    0.750 1.250
    """
    update = adagrad_update(
        {
            "lr": lr,
            "lr_decay": lr_decay,
            "weight_decay": weight_decay,
            "eps": eps,
            "maximize": maximize,
        }
    )
    arrays = {"params": params, "grads": grads, "sums": sums}
    steps = [n - 1 for n in _for_each("step", step, integer, params)]
    _step_(update, arrays, steps, grad_scale, max_norm, found_inf)


# What they share


def _step_(
    update: Update,
    arrays: Mapping[str, Any],
    steps: Sequence[int],
    grad_scale: Any,
    max_norm: float | None,
    found_inf: Any,
) -> None:
    """Update arrays in place, those of one device and dtype together.

    Parameters
    ----------
    update : Update
        What to do.
    arrays : dict of str to list
        By the arguments' names the parameters, their gradients and, in the order of
        `update.states`, their state.
    steps : sequence of int
        How many updates each parameter has had.
    grad_scale, max_norm, found_inf
        As for `sgd_`.
    """
    rows = rows_of(arrays)
    grad_scale = number_or_tensor("grad_scale", grad_scale)
    found_inf = number_or_tensor("found_inf", found_inf)
    if grad_scale is not None and not isinstance(grad_scale, Tensor):
        POSITIVE.check("grad_scale", grad_scale)
    if max_norm is not None:
        POSITIVE.check("max_norm", max_norm)
    if not isinstance(found_inf, Tensor):
        if found_inf:
            return
        found_inf = None
    alike: dict[Any, list[int]] = {}
    for i, (p, *_) in rows.items():
        alike.setdefault((p.device, p.array.dtype), []).append(i)
    batches = []
    sums: dict[Device, list[Array | float]] = {}
    for (device, _), members in alike.items():
        columns = zip(*(rows[i] for i in members), strict=True)
        params, grads, *states = ([place.array for place in c] for c in columns)
        with device.scope():
            batch = device.backend.batch(
                params,
                list(zip(*states, strict=True)) if states else [()] * len(members),
                [0] * len(members),
                [steps[i] for i in members],
                [None] * len(members),
            )
            if max_norm is not None:
                sums.setdefault(device, []).append(batch.square_sum(grads))
        batches.append((device, batch, grads))
    clip = None if max_norm is None else clip_factor(sums, max_norm, grad_scale)
    for device, batch, grads in batches:
        with device.scope():
            batch.step(
                grads,
                [update],
                grad_scale=raw(grad_scale, device),
                clip=clip,
                found_inf=raw(found_inf, device),
            )
    for i in rows:
        for name, values in arrays.items():
            if name != "grads" and isinstance(values[i], Tensor):
                values[i]._version.bump()


def _for_each(
    name: str, value: Any, check: Callable[[str, object], int], params: Any
) -> list[int]:
    """Return the numbers of an argument that is one for all parameters or a list."""
    count = len(listed_arrays("params", params))
    if not isinstance(value, list | tuple):
        return [check(name, value)] * count
    if len(value) != count:
        raise ValueError(
            f"{name} has {len(value)} entries, params {count}; pass one for each"
            " parameter, or one for all"
        )
    return [check(f"{name}[{i}]", number) for i, number in enumerate(value)]
