"""Adam and AdamW: running means of the gradient and of its square."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gradlite._arguments import type_name
from gradlite.backends import _updates
from gradlite.backends._updates import Update
from gradlite.optim._arguments import FRACTION, NON_NEGATIVE, checked
from gradlite.optim._groups import Group, Params
from gradlite.optim.optimizer import Optimizer

_NUMBERS = dict.fromkeys(("lr", "eps", "weight_decay"), NON_NEGATIVE)
_FLAGS = ("amsgrad", "maximize", "decoupled_weight_decay")


def adam_update(options: Mapping[str, Any]) -> Update:
    """Return the update that options of `Adam` describe, or raise naming a bad one.

    Parameters
    ----------
    options : dict
        All options, perhaps with others.
    """
    betas = options["betas"]
    if not isinstance(betas, tuple | list) or len(betas) != 2:
        raise TypeError(
            "betas must be a pair of numbers such as (0.9, 0.999), got"
            f" {betas!r} of type {type_name(betas)}"
        )
    first, second = (FRACTION.check(f"betas[{i}]", b) for i, b in enumerate(betas))
    return _updates.adam(betas=(first, second), **checked(options, _NUMBERS, *_FLAGS))


class Adam(Optimizer):
    """Adam: the running mean of the gradient over the root of that of its square.

    Parameters
    ----------
    params : iterable of Tensor, of (str, Tensor) pairs, or of dict
        The parameters, such as `model.parameters()`, or groups of them.
    lr : float, default 1e-3
        Learning rate, at least 0.
    betas : tuple of float, default (0.9, 0.999)
        Parts of the running means of the gradient and of its square that are kept in a
        step, in [0, 1).
    eps : float, default 1e-8
        Added to the root, at least 0.
    weight_decay : float, default 0.0
        L2 coefficient, at least 0.
    amsgrad : bool, default False
        Whether to divide by the largest mean square so far.
    maximize : bool, default False
        Whether to climb instead; the weight decay shrinks as before.
    decoupled_weight_decay : bool, default False
        Whether to shrink the parameters by ``1 - lr * weight_decay`` instead of adding
        ``weight_decay * p`` to the gradient, as `AdamW` does.
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
    In the t-th update of each parameter p with a gradient, in this order and in place,
    from zeros::

        g = grad / grad_scale
        g = g * min(1, max_norm / (norm + 1e-6))
        g = -g                                           if maximize
        g = g + weight_decay * p                         or p *= 1 - lr * weight_decay
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        s = max(s, v)                                    amsgrad: s in place of v below
        p = p - lr / (1 - beta1**t) * m / (sqrt(v) / sqrt(1 - beta2**t) + eps)

    A parameter's t does not count steps in which it has no gradient. ``state[p]`` holds
    t as ``"step"``, m as ``"exp_avg"``, v as ``"exp_avg_sq"`` and s as
    ``"max_exp_avg_sq"``.

    References
    ----------
    Kingma and Ba, "Adam: a method for stochastic optimization", 2015, algorithm 1;
    Reddi, Kale and Kumar, "On the convergence of Adam and beyond", 2018, for `amsgrad`,
    which here as in PyTorch keeps the maximum before the bias is corrected.

    Examples
    --------
    >>> import gradlite as gl
    >>> w = gl.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = gl.optim.Adam([w], lr=0.25)
    >>> (w * w).sum().backward()
    >>> optimizer.step()  # the first step is lr * sign(gradient)
    >>> print(*(f"{x:.3f}" for x in w.tolist()))
    0.750 -1.750
    """

    _counted = True

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
        max_norm: float | None = None,
        grads: str = "auto",
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        self._check_group(defaults)
        super().__init__(params, defaults, max_norm=max_norm, grads=grads)

    def _check_group(self, group: Group) -> None:
        """Raise if an option is out of range."""
        adam_update(group)
        group["betas"] = tuple(group["betas"])  # a list could change unnoticed

    def _update(self, group: Group) -> Update:
        """Return what a step does to the parameters of a group."""
        return adam_update(group)


class AdamW(Adam):
    """Adam with decoupled weight decay: `Adam` but for two defaults.

    Parameters
    ----------
    params : iterable of Tensor, of (str, Tensor) pairs, or of dict
        The parameters, such as `model.parameters()`, or groups of them.
    lr : float, default 1e-3
        Learning rate, at least 0.
    betas : tuple of float, default (0.9, 0.999)
        As for `Adam`.
    eps : float, default 1e-8
        Added to the root, at least 0.
    weight_decay : float, default 1e-2
        At least 0; each step shrinks the parameters by ``1 - lr * weight_decay``.
    amsgrad : bool, default False
        Whether to divide by the largest mean square so far.
    maximize : bool, default False
        Whether to climb instead; the weight decay shrinks as before.
    max_norm : float, optional
        Bound on the norm of all gradients together; longer ones are scaled down.
    grads : {"auto", "flat"}, default "auto"
        Where `backward` writes the gradients, see `Optimizer`.

    Raises
    ------
    TypeError, ValueError
        As for `Adam`.

    References
    ----------
    Loshchilov and Hutter, "Decoupled weight decay regularization", 2019, algorithm 2,
    whose schedule multiplier is part of `lr` here as in PyTorch.

    Examples
    --------
    >>> import gradlite as gl
    >>> w = gl.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = gl.optim.AdamW([w], lr=0.25, weight_decay=0.5)
    >>> w.sum().backward()
    >>> optimizer.step()
    >>> print(*(f"{x:.3f}" for x in w.tolist()))
    0.625 -2.000
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        maximize: bool = False,
        max_norm: float | None = None,
        grads: str = "auto",
    ) -> None:
        super().__init__(
            params,
            lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            amsgrad=amsgrad,
            maximize=maximize,
            decoupled_weight_decay=True,
            max_norm=max_norm,
            grads=grads,
        )

    def _saved_options(self, saved: Group) -> Group:
        """Take over all options but the one that makes it AdamW."""
        options = super()._saved_options(saved)
        options.pop("decoupled_weight_decay", None)
        return options
