"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gradlite._arguments import type_name
from gradlite.backends import _updates
from gradlite.backends._updates import Update
from gradlite.optim._arguments import FRACTION, NON_NEGATIVE, Interval, checked
from gradlite.optim._groups import Group, Params
from gradlite.optim.optimizer import Optimizer
from gradlite.tensor import Tensor

_NUMBERS = {
    "lr": NON_NEGATIVE,
    "momentum": FRACTION,
    "dampening": Interval(0.0, 1.0, "[]"),
    "weight_decay": NON_NEGATIVE,
    "alpha": NON_NEGATIVE,
}
_FLAGS = ("nesterov", "maximize", "decoupled_weight_decay", "proximal")
_FORMS = ("classic", "torch")


def sgd_update(options: Mapping[str, Any]) -> Update:
    """Return the update that options of `SGD` describe, or raise naming a bad one.

    Parameters
    ----------
    options : dict
        All options, perhaps with others.
    """
    o = checked(options, _NUMBERS, *_FLAGS)
    form = o["momentum_form"] = options["momentum_form"]
    if form not in _FORMS:
        raise ValueError(f"momentum_form must be 'classic' or 'torch', got {form!r}")
    if o["nesterov"] and o["dampening"]:
        raise ValueError(
            f"nesterov=True allows no dampening, got dampening={o['dampening']!r};"
            " leave one out"
        )
    if o["proximal"]:
        clashes = [f"{k}={o[k]!r}" for k in ("nesterov", "dampening") if o[k]]
        if form != "classic":
            clashes.append(f"momentum_form={form!r}")
        if clashes:
            raise ValueError(
                f"proximal=True cannot be combined with {', '.join(clashes)}; leave one"
                " out"
            )
    return _updates.sgd(**o)


class SGD(Optimizer):
    """Stochastic gradient descent with momentum and L1 and L2 regularisation.

    Parameters
    ----------
    params : iterable of Tensor, of (str, Tensor) pairs, or of dict
        The parameters, such as `model.parameters()`, or groups of them.
    lr : float, default 1e-3
        Learning rate, at least 0.
    momentum : float, default 0.0
        Part of the last update that is kept, in [0, 1). While it is 0 no buffers are
        made, existing ones rest, and `dampening` means nothing.
    dampening : float, default 0.0
        Part of the gradient that is withheld from the momentum, in [0, 1].
    weight_decay : float, default 0.0
        L2 coefficient, at least 0.
    nesterov : bool, default False
        Whether to look ahead along the momentum.
    maximize : bool, default False
        Whether to climb instead; the regularisation shrinks as before.
    alpha : float, default 0.0
        L1 coefficient, at least 0.
    decoupled_weight_decay : bool, default False
        Whether to shrink the parameters by ``1 - lr * weight_decay`` instead of adding
        ``weight_decay * p`` to the gradient.
    proximal : bool, default False
        Whether to apply `alpha` by soft thresholding after the update, which makes true
        zeros and has the minimizer of the lasso as its fixed point, whatever the
        momentum; for the classic form without `nesterov` and `dampening`.
    max_norm : float, optional
        Bound on the norm of all gradients together; longer ones are scaled down.
    momentum_form : {"classic", "torch"}, default "classic"
        Whether the momentum buffer holds the velocity, in which each gradient keeps the
        learning rate of its own step, or PyTorch's sum of gradients, to which the
        current learning rate applies. While `lr` and `momentum` are constant and
        `dampening` is 0, both give the same parameters up to rounding; under a schedule
        they differ.
    grads : {"auto", "flat"}, default "auto"
        Where `backward` writes the gradients, see `Optimizer`.

    Raises
    ------
    TypeError, ValueError
        If an option has another type or is out of range, the options exclude each
        other, or `params` does not fit; see `Optimizer`.

    Notes
    -----
    For each parameter p with a gradient, in this order and in place::

        g = grad / grad_scale
        g = g * min(1, max_norm / (norm + 1e-6))
        g = -g                                           if maximize
        g = g + alpha * sign(p)                          with sign(0) = 0
        g = g + weight_decay * p                         or p *= 1 - lr * weight_decay
        v = momentum * v - lr * (1 - dampening) * g      "classic", v = 0 at first
        p = p + v                                        nesterov: momentum * v - lr * g
        b = momentum * b + (1 - dampening) * g           "torch", b = g at first
        p = p - lr * b                                   nesterov: g + momentum * b

    and, with `proximal`, ``q = soft(p + momentum * v - lr * g, lr * alpha)``,
    ``v = q - p``, ``p = q``, without the line with the sign.

    The buffer is ``state[p]["momentum_buffer"]``, in the dtype of `p` but at least
    float32, to be seen after the first step in which `p` has a gradient; its form
    stands beside it, and a buffer of the other form is converted (``v = -lr * b``) when
    it is loaded or used.

    References
    ----------
    Polyak, "Some methods of speeding up the convergence of iteration methods", 1964;
    Sutskever et al., "On the importance of initialization and momentum in deep
    learning", 2013; Parikh and Boyd, "Proximal algorithms", 2014, section 4.2.

    Examples
    --------
    >>> import gradlite as gl
    >>> w = gl.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = gl.optim.SGD([w], lr=0.25, momentum=0.25)
    >>> for _ in range(2):
    ...     optimizer.zero_grad()
    ...     (w * w).sum().backward()
    ...     optimizer.step()
    >>> w.tolist()
    [0.125, -0.25]
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        momentum: float = 0.0,
        *,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        maximize: bool = False,
        alpha: float = 0.0,
        decoupled_weight_decay: bool = False,
        proximal: bool = False,
        max_norm: float | None = None,
        momentum_form: str = "classic",
        grads: str = "auto",
    ) -> None:
        defaults = {
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
        self._check_group(defaults)
        if nesterov and momentum == 0:
            raise ValueError(
                "nesterov=True needs a momentum, got momentum=0.0; pass for example"
                " momentum=0.9"
            )
        super().__init__(params, defaults, max_norm=max_norm, grads=grads)
        if proximal and not any(group["alpha"] for group in self.param_groups):
            raise ValueError(
                "proximal=True needs an L1 coefficient, got alpha=0.0 in all groups"
            )

    def _check_group(self, group: Group) -> None:
        """Raise if an option is out of range or excludes another one."""
        sgd_update(group)

    def _update(self, group: Group) -> Update:
        """Return what a step does to the parameters of a group."""
        return sgd_update(group)

    def _marks(self, group: Group) -> dict[str, Any]:
        """Return the form of the buffer, which is to be seen beside it."""
        return {"momentum_form": group["momentum_form"]} if group["momentum"] else {}

    def _adapt(self, entry: dict[str, Any], group: Group) -> None:
        """Convert the buffer to the group's form; PyTorch names none."""
        if "momentum_buffer" in entry:
            entry.setdefault("momentum_form", "torch")
            if entry["momentum_form"] != group["momentum_form"]:
                _convert(entry, group)

    def _saved_options(self, saved: Group) -> Group:
        """Take over all options but the form, to which the buffers are converted."""
        options = super()._saved_options(saved)
        options.pop("momentum_form", None)
        return options

    def _restored(
        self, param: Tensor, entry: Mapping[str, Any], group: Group
    ) -> dict[str, Any]:
        """Copy the state, a momentum buffer in the group's form."""
        state = super()._restored(param, entry, group)
        if state.get("momentum_buffer") is None:  # as PyTorch has it without momentum
            return {k: v for k, v in state.items() if not k.startswith("momentum_")}
        if not isinstance(state["momentum_buffer"], Tensor):
            raise TypeError(
                "momentum_buffer must be a tensor, got"
                f" {type_name(state['momentum_buffer'])}; pass what"
                " optimizer.state_dict() returned"
            )
        if state.get("momentum_form", "torch") not in _FORMS:
            raise ValueError(
                "momentum_form must be 'classic' or 'torch', got"
                f" {state['momentum_form']!r}"
            )
        self._adapt(state, group)
        return state


def _convert(state: dict[str, Any], group: Group) -> None:
    """Turn a buffer into the group's form: a velocity v is -lr times a sum b."""
    lr = float(group["lr"])
    if group["momentum_form"] == "classic":
        buffer = state["momentum_buffer"] * -lr
    elif lr:
        buffer = state["momentum_buffer"] / -lr
    else:
        raise ValueError(
            "lr=0.0 leaves PyTorch's momentum undetermined (the velocity is -lr times"
            " it); set lr > 0, or keep momentum_form='classic'"
        )
    state.update(momentum_buffer=buffer, momentum_form=group["momentum_form"])
