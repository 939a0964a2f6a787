"""Adagrad: steps in relation to the size of all past gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gradlite.backends import _updates
from gradlite.backends._updates import Update
from gradlite.optim._arguments import NON_NEGATIVE, checked
from gradlite.optim._groups import Group, Params
from gradlite.optim.optimizer import Optimizer

_NUMBERS = dict.fromkeys(("lr", "lr_decay", "weight_decay", "eps"), NON_NEGATIVE)


def adagrad_update(options: Mapping[str, Any]) -> Update:
    """Return the update that options of `Adagrad` describe, or raise naming a bad one.

    Parameters
    ----------
    options : dict
        All options, perhaps with others.
    """
    return _updates.adagrad(**checked(options, _NUMBERS, "maximize"))


class Adagrad(Optimizer):
    """Adagrad: the gradient over the root of the sum of the squares of all so far.

    Parameters
    ----------
    params : iterable of Tensor, of (str, Tensor) pairs, or of dict
        The parameters, such as `model.parameters()`, or groups of them.
    lr : float, default 1e-2
        Learning rate, at least 0.
    lr_decay : float, default 0.0
        How fast the learning rate falls with the number of updates, at least 0.
    weight_decay : float, default 0.0
        L2 coefficient, at least 0.
    initial_accumulator_value : float, default 0.0
        First value of the sums, at least 0.
    eps : float, default 1e-10
        Added to the root, at least 0.
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
    In the t-th update of each parameter p with a gradient, in this order and in place::

        g = grad / grad_scale
        g = g * min(1, max_norm / (norm + 1e-6))
        g = -g                                           if maximize
        g = g + weight_decay * p
        s = s + g * g
        p = p - lr / (1 + (t - 1) * lr_decay) * g / (sqrt(s) + eps)

    ``state[p]`` holds t as ``"step"`` and s as ``"sum"``.

    References
    ----------
    Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and
    stochastic optimization", 2011.

    Examples
    --------
    >>> import gradlite as gl
    >>> w = gl.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = gl.optim.Adagrad([w], lr=0.25)
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
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        maximize: bool = False,
        max_norm: float | None = None,
        grads: str = "auto",
    ) -> None:
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "eps": eps,
            "maximize": maximize,
        }
        self._check_group(defaults)
        super().__init__(params, defaults, max_norm=max_norm, grads=grads)

    def _check_group(self, group: Group) -> None:
        """Raise if an option is out of range."""
        adagrad_update(group)
        self._fill(group, "sum")

    def _update(self, group: Group) -> Update:
        """Return what a step does to the parameters of a group."""
        return adagrad_update(group)

    def _fill(self, group: Group, name: str) -> float:
        """Return the first value of the sum."""
        key = "initial_accumulator_value"
        return NON_NEGATIVE.check(key, group[key])
