"""RMSprop: steps in relation to the recent size of the gradient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gradlite.backends import _updates
from gradlite.backends._updates import Update
from gradlite.optim._arguments import FRACTION, NON_NEGATIVE, checked
from gradlite.optim._groups import Group, Params
from gradlite.optim.optimizer import Optimizer

_NUMBERS = {
    "lr": NON_NEGATIVE,
    "alpha": FRACTION,
    "eps": NON_NEGATIVE,
    "weight_decay": NON_NEGATIVE,
    "momentum": FRACTION,
}


def rmsprop_update(options: Mapping[str, Any]) -> Update:
    """Return the update that options of `RMSprop` describe, or raise naming a bad one.

    Parameters
    ----------
    options : dict
        All options, perhaps with others.
    """
    return _updates.rmsprop(**checked(options, _NUMBERS, "centered", "maximize"))


class RMSprop(Optimizer):
    """RMSprop: the gradient over the root of a running mean of its square.

    Parameters
    ----------
    params : iterable of Tensor, of (str, Tensor) pairs, or of dict
        The parameters, such as `model.parameters()`, or groups of them.
    lr : float, default 1e-2
        Learning rate, at least 0.
    alpha : float, default 0.99
        Part of the running means that is kept in a step, in [0, 1).
    eps : float, default 1e-8
        Added to the root, at least 0.
    weight_decay : float, default 0.0
        L2 coefficient, at least 0.
    momentum : float, default 0.0
        Part of the last direction that is kept, in [0, 1). While it is 0 no buffers are
        made, and existing ones rest.
    centered : bool, default False
        Whether to divide by the root of the variance: the square of the mean gradient
        is subtracted from the mean square.
    maximize : bool, default False
        Whether to climb instead; the weight decay shrinks as before.
    max_norm : float, optional
        Bound on the norm of all gradients together; longer ones are scaled down.
    grads : {"auto", "flat"}, default "auto"
        Where `backward` writes the gradients, see `Optimizer`.

    Raises
    ------
    TypeError, ValueError
        If an option has another type or is out of range, or `params` does not fit; see
        `Optimizer`.

    Notes
    -----
    For each parameter p with a gradient, in this order and in place, from zeros::

        g = grad / grad_scale
        g = g * min(1, max_norm / (norm + 1e-6))
        g = -g                                           if maximize
        g = g + weight_decay * p
        v = alpha * v + (1 - alpha) * g * g
        a = alpha * a + (1 - alpha) * g                  if centered
        d = g / (sqrt(v) + eps)                          centered: sqrt(v - a * a)
        b = momentum * b + d                             if momentum, and then d = b
        p = p - lr * d

    ``state[p]`` holds the number of updates as ``"step"``, v as ``"square_avg"``, b as
    ``"momentum_buffer"`` and a as ``"grad_avg"``.

    References
    ----------
    Hinton, "Neural networks for machine learning", lecture 6e, 2012; Graves,
    "Generating sequences with recurrent neural networks", 2013, section 4.2, for the
    centered form.

    Examples
    --------
    >>> import gradlite as gl
    >>> w = gl.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = gl.optim.RMSprop([w], lr=0.125, alpha=0.75)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w.tolist()
    [0.75, -1.75]
    """

    _counted = True

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        *,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        maximize: bool = False,
        max_norm: float | None = None,
        grads: str = "auto",
    ) -> None:
        defaults = {
            "lr": lr,
            "alpha": alpha,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "centered": centered,
            "maximize": maximize,
        }
        self._check_group(defaults)
        super().__init__(params, defaults, max_norm=max_norm, grads=grads)

    def _check_group(self, group: Group) -> None:
        """Raise if an option is out of range."""
        rmsprop_update(group)

    def _update(self, group: Group) -> Update:
        """Return what a step does to the parameters of a group."""
        return rmsprop_update(group)
