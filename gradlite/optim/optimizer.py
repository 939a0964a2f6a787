"""The base class of all optimizers: groups, state, and what surrounds an update."""

from __future__ import annotations

import copy
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from typing import Any, NamedTuple, TypeVar, overload

import numpy as np

from gradlite._arguments import type_name
from gradlite._typing import Array
from gradlite.autograd import enable_grad, no_grad
from gradlite.backends import Device, DeviceMismatchError
from gradlite.backends.dtypes import int64, rank
from gradlite.optim._arguments import POSITIVE, listed, unzip
from gradlite.optim._matching import copied, fit, label
from gradlite.tensor import Tensor

T = TypeVar("T")
Group = dict[str, Any]
Params = Iterable[Tensor] | Iterable[tuple[str, Tensor]] | Iterable[Group]


class Bucket(NamedTuple):
    """The parameters of one group that can be updated by one call of a backend.

    They have a gradient, and share their device and dtype.
    """

    group: Group
    device: Device
    params: list[Tensor]
    grads: list[Array]


class Optimizer:
    """What all optimizers share; a subclass defines `_update`, and checks its options.

    Parameters
    ----------
    params : iterable of Tensor, of (str, Tensor) pairs, or of dict
        The leaf tensors to optimize, such as `model.parameters()` or
        `model.named_parameters()`; or groups, each a dict with such an iterable under
        ``"params"`` and the options in which the group differs.
    defaults : dict
        Options of the groups that do not set them.
    max_norm : float, optional
        Scale all gradients by ``min(1, max_norm / (norm + 1e-6))``, where ``norm`` is
        that of all gradients of all groups together.

    Attributes
    ----------
    param_groups : list of dict
        Each with its tensors under ``"params"``, their names under ``"param_names"`` if
        they were given, and its options. A changed option takes effect in the next
        step.
    state : dict of Tensor to dict
        What is remembered of each parameter, keyed by the parameter itself.
    defaults : dict
        Options of the groups that do not set them.
    max_norm : float or None
        The bound on the gradients' norm.

    Raises
    ------
    TypeError
        If `params` is one tensor, has no order, or holds something else than leaf
        tensors of a real floating-point dtype.
    ValueError
        If there are no parameters, one is no leaf or is in two groups, only some have
        names, or an option is out of range.

    Notes
    -----
    When the data of a parameter moved to another device or dtype since the last step
    (``model.to(...)``), its state follows in the next one.
    """

    def __init__(
        self,
        params: Params,
        defaults: Mapping[str, Any],
        *,
        max_norm: float | None = None,
    ) -> None:
        if max_norm is not None:
            POSITIVE.check("max_norm", max_norm)
        self.defaults = dict(defaults)
        self.max_norm = max_norm
        self.param_groups: list[Group] = []
        # Tensors hash by identity: two live ones never share a hash, so the look-up
        # does not reach their element-wise `==`.
        self.state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        self._skipped_steps: int | Tensor = 0
        self._stepped = False
        groups = listed(params)
        if not groups:
            raise ValueError(
                "params is empty: the optimizer needs at least one parameter; a"
                " generator that was read before has none left"
            )
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    @property
    def skipped_steps(self) -> int:
        """How many steps were skipped because `found_inf` was true."""
        return int(self._skipped_steps)

    def add_param_group(self, param_group: Group) -> None:
        """Optimize more parameters, with options of their own.

        Parameters
        ----------
        param_group : dict
            Parameters under ``"params"``, as in the constructor, and the options in
            which they differ from the defaults. The dict itself is not kept.

        Raises
        ------
        TypeError, ValueError
            As in the constructor; the optimizer is then as it was.
        """
        if not isinstance(param_group, dict):
            raise TypeError(
                "param_group must be a dict with an entry 'params', got"
                f" {type_name(param_group)}"
            )
        if "params" not in param_group:
            raise ValueError(
                "param_group must have an entry 'params', got only"
                f" {sorted(param_group)}"
            )
        if "max_norm" in param_group:
            raise ValueError(
                "max_norm bounds the norm over all groups and is no option of one; pass"
                " it to the optimizer"
            )
        given = param_group["params"]
        params, names = unzip([given] if isinstance(given, Tensor) else given)
        group = {**self.defaults, **param_group, "params": params}
        if names:
            group["param_names"] = names
        self._check_params(group)
        self._check_group(group)
        self.param_groups.append(group)

    def _check_params(self, group: Group) -> None:
        """Raise if the parameters of a new group cannot be optimized."""
        i = len(self.param_groups)
        for j, param in enumerate(group["params"]):
            if not isinstance(param, Tensor):
                raise TypeError(
                    f"params must hold tensors, got {type_name(param)} at position {j}"
                )
            if rank(param.dtype) != 2:
                raise TypeError(
                    f"params must be real and floating-point, got {label(group, i, j)}"
                    f" of dtype {param.dtype.__name__}; keep a complex one as two real"
                    " parameters"
                )
            if not param.is_leaf:
                raise ValueError(
                    f"params must be leaves, got {label(group, i, j)}, the result of"
                    f" {param.grad_fn}; pass x.detach().requires_grad_()"
                )
        known = {id(p) for other in self.param_groups for p in other["params"]}
        for j, param in enumerate(group["params"]):
            if id(param) in known:
                raise ValueError(
                    f"{label(group, i, j)} is in an earlier group too; list it once"
                )
        named = "param_names" in group
        if named and len(group["param_names"]) != len(group["params"]):
            raise ValueError(
                f"param_names has {len(group['param_names'])} names for"
                f" {len(group['params'])} parameters"
            )
        if any(("param_names" in other) != named for other in self.param_groups):
            raise ValueError(
                f"params must have names in all groups or in none, got group {i}"
                f" {'with' if named else 'without'} names after others"
                f" {'without' if named else 'with'}"
            )

    def _check_group(self, group: Group) -> None:
        """Raise if an option of a group is out of range; called before each step too.

        Parameters
        ----------
        group : dict
            A group with all options.
        """

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters.

        Parameters
        ----------
        set_to_none : bool, default True
            Drop the gradients; otherwise their arrays are kept and filled with zeros.
        """
        with no_grad():
            for group in self.param_groups:
                for param in group["params"]:
                    if set_to_none:
                        param.grad = None
                    elif param.grad is not None:
                        if not param.grad.is_leaf:  # left by create_graph=True
                            param.grad = param.grad.detach()
                        param.grad.zero_()

    @overload
    def step(
        self,
        closure: None = None,
        *,
        grad_scale: float | Tensor | None = None,
        found_inf: bool | Tensor | None = None,
    ) -> None: ...
    @overload
    def step(
        self,
        closure: Callable[[], T],
        *,
        grad_scale: float | Tensor | None = None,
        found_inf: bool | Tensor | None = None,
    ) -> T: ...
    def step(
        self,
        closure: Callable[[], T] | None = None,
        *,
        grad_scale: float | Tensor | None = None,
        found_inf: bool | Tensor | None = None,
    ) -> T | None:
        """Update all parameters that have a gradient, in place.

        The gradients are not changed. Nothing is written if an option or a gradient
        does not fit.

        Parameters
        ----------
        closure : callable, optional
            Computes the gradients anew and returns the loss; called once, with
            gradients enabled.
        grad_scale : float or Tensor of size 1, optional
            Factor by which the loss was multiplied; the gradients are divided by it.
        found_inf : bool or Tensor of size 1, optional
            Skip this step, and count it in `skipped_steps`, where it is true or not
            zero. A tensor on a GPU is not read back. By default infinities and NaN in
            the gradients reach the parameters.

        Returns
        -------
        object
            What `closure` returned, None without one.

        Raises
        ------
        ValueError
            If an option is out of range, or a gradient has another shape or dtype than
            its parameter.
        DeviceMismatchError
            If a gradient is on another device than its parameter.
        """
        loss = None
        if closure is not None:
            if not callable(closure):
                raise TypeError(
                    "closure must be a function that computes the loss, got "
                    f"{type_name(closure)}; call step() without it after backward()"
                )
            with enable_grad():
                loss = closure()
        self._stepped = True
        scale, skip = _read("grad_scale", grad_scale), _read("found_inf", found_inf)
        if scale is not None and not isinstance(scale, Tensor):
            scale = POSITIVE.check("grad_scale", scale)
        with no_grad():
            self._update_all(scale, skip)
        return loss

    def _update_all(
        self, grad_scale: float | Tensor | None, found_inf: float | Tensor | None
    ) -> None:
        """Collect, clip and update, unless the step is to be skipped."""
        buckets = self._collect()
        for bucket in buckets:
            self._check_bucket(bucket)
        if isinstance(found_inf, Tensor):
            self._skipped_steps = self._skipped_steps + (found_inf != 0).astype(int64)
        elif found_inf:
            self._skipped_steps = self._skipped_steps + 1
            return
        clip = self._clip(buckets, grad_scale)
        for bucket in buckets:
            with bucket.device.scope():
                self._update(
                    bucket,
                    grad_scale=_raw(grad_scale, bucket.device),
                    clip=clip,
                    found_inf=_raw(found_inf, bucket.device),
                )
            for param in bucket.params:
                param._bump_version()

    def _check_bucket(self, bucket: Bucket) -> None:
        """Raise if the state does not fit; called for all before the first update.

        Parameters
        ----------
        bucket : Bucket
            What `_update` will get.
        """

    def _collect(self) -> list[Bucket]:
        """Return the parameters with a gradient, sorted by what they have in common."""
        buckets: list[Bucket] = []
        for i, group in enumerate(self.param_groups):
            self._check_group(group)
            found: dict[Any, Bucket] = {}
            for j, param in enumerate(group["params"]):
                grad = param.grad
                if grad is None:
                    continue
                array, device = param._array, param._device
                if (
                    grad._device is not device
                    or grad._array.dtype != array.dtype
                    or grad._array.shape != array.shape
                ):
                    raise _misfit(param, grad, label(group, i, j))
                bucket = found.get((device, array.dtype))
                if bucket is None:
                    bucket = Bucket(group, device, [], [])
                    found[device, array.dtype] = bucket
                bucket.params.append(param)
                bucket.grads.append(grad._array)
            buckets += found.values()
        return buckets

    def _clip(
        self, buckets: Sequence[Bucket], grad_scale: float | Tensor | None
    ) -> Array | float | None:
        """Return the factor that keeps the norm of all gradients below `max_norm`."""
        if self.max_norm is None or not buckets:
            return None
        bound = POSITIVE.check("max_norm", self.max_norm)
        by_device: dict[Device, list[Array]] = {}
        for bucket in buckets:
            by_device.setdefault(bucket.device, []).extend(bucket.grads)
        norms = []
        for device, grads in by_device.items():
            with device.scope():
                scale = _raw(grad_scale, device)
                norms.append(device.backend.global_norm(grads, grad_scale=scale))
        if len(norms) == 1:  # the factor stays on its device, nothing is read back
            with device.scope():
                factor = device.xp.asarray(bound / (norms[0] + 1e-6))
                return device.xp.minimum(factor, device.xp.ones_like(factor))
        norm = math.hypot(*map(float, norms))
        return min(bound / (norm + 1e-6), 1.0)  # in this order a NaN stays

    def _update(
        self,
        bucket: Bucket,
        *,
        grad_scale: Array | float | None,
        clip: Array | float | None,
        found_inf: Array | bool | None,
    ) -> None:
        """Update the parameters of a bucket in place.

        Parameters
        ----------
        bucket : Bucket
            Parameters and raw gradients of one group, device and dtype.
        grad_scale, clip : 0-d array or float, optional
            Divisor of the gradients, and then their factor.
        found_inf : 0-d array, optional
            Leave everything as it is where this is not zero.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must define _update(), or a step() of its own"
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the options and the state, with numbers in place of parameters.

        Returns
        -------
        dict
            ``"state"``, keyed by the parameters' positions over all groups;
            ``"param_groups"``, with these positions under ``"params"``; ``"max_norm"``
            and ``"skipped_steps"``. Tensors are not copied.
        """
        position: dict[int, int] = {}
        groups = []
        for group in self.param_groups:
            numbers = [
                position.setdefault(id(p), len(position)) for p in group["params"]
            ]
            groups.append({**group, "params": numbers})
        state = {
            position[id(param)]: dict(entry)
            for param, entry in self.state.items()
            if id(param) in position
        }
        return {
            "state": state,
            "param_groups": groups,
            "max_norm": self.max_norm,
            "skipped_steps": self.skipped_steps,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over the options and the state from a `state_dict`.

        Parameters are matched within their groups: by name if both sides have names,
        else by position. Tensors are copied to the parameters' devices and dtypes.

        Parameters
        ----------
        state_dict : dict
            As `state_dict` returns it, or as PyTorch's optimizer of the same name does.

        Raises
        ------
        TypeError, ValueError
            If groups, names or shapes differ, or an option is out of range; the message
            lists the differences, and the optimizer is as it was.
        """
        slots = fit(self.param_groups, state_dict)
        groups: list[Group] = []
        for group, saved in zip(
            self.param_groups, state_dict["param_groups"], strict=True
        ):
            own: Group = {
                key: group[key] for key in ("params", "param_names") if key in group
            }
            groups.append({**group, **self._options(saved), **own})
            self._check_group(groups[-1])
        max_norm = state_dict.get("max_norm", self.max_norm)
        if max_norm is not None:
            POSITIVE.check("max_norm", max_norm)
        skipped_steps = state_dict.get("skipped_steps", 0)
        if not isinstance(skipped_steps, int) or skipped_steps < 0:
            raise ValueError(
                "state_dict['skipped_steps'] must be an int of at least 0, got"
                f" {skipped_steps!r}; pass what optimizer.state_dict() returned"
            )
        with no_grad():
            state: dict[Tensor, dict[str, Any]] = {
                slots[number].param: self._restored(
                    slots[number].param, entry, groups[slots[number].group]
                )
                for number, entry in state_dict["state"].items()
            }
        # Nothing can fail from here on.
        for group, loaded in zip(self.param_groups, groups, strict=True):
            group.update(loaded)
        self.state = defaultdict(dict, state)
        self.max_norm = max_norm
        self._skipped_steps = skipped_steps

    def _options(self, saved: Group) -> Group:
        """Return the options to take over from a saved group.

        Parameters
        ----------
        saved : dict
            A group of a state dict.
        """
        return copy.deepcopy({k: v for k, v in saved.items() if k != "params"})

    def _restored(
        self, param: Tensor, entry: Mapping[str, Any], group: Group
    ) -> dict[str, Any]:
        """Return a copy of a saved parameter's state, on the device of `param`.

        Parameters
        ----------
        param : Tensor
            The parameter.
        entry : dict
            Its saved state.
        group : dict
            Its group, with the options already taken over.
        """
        return {key: copied(value, param) for key, value in entry.items()}

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {k}: {group[k]}" for k in sorted(group) if k != "params"]
        if self.max_norm is not None:
            lines.append(f"max_norm: {self.max_norm}")
        return "\n".join([*lines, ")"])


def _misfit(param: Tensor, grad: Tensor, name: str) -> Exception:
    """Return the error for a gradient that is not like its parameter."""
    fix = "; call zero_grad() and backward() again after changing a parameter"
    if grad.device != param.device:
        return DeviceMismatchError(
            f"{name} is on {param.device}, its gradient on {grad.device}{fix}"
        )
    return ValueError(
        f"{name} has shape {tuple(param.shape)} and dtype {param.dtype.__name__}, its"
        f" gradient {tuple(grad.shape)} and {grad.dtype.__name__}{fix}"
    )


def _read(name: str, value: Any) -> Any:
    """Return a tensor of one element as a number where that is free, else as 0-D."""
    if value is None or isinstance(value, (Real, np.bool_)):
        return value
    if not isinstance(value, Tensor):
        raise TypeError(
            f"{name} must be a number or a tensor, got {value!r} of type"
            f" {type_name(value)}"
        )
    if value.size != 1:
        raise ValueError(
            f"{name} must have one element, got shape {tuple(value.shape)}"
        )
    if value.device.is_host:
        return value.item()
    return value.detach().reshape(())


def _raw(value: float | Tensor | None, device: Device) -> Any:
    """Return a number, or the raw array of a tensor, for work on `device`."""
    return value.to(device)._array if isinstance(value, Tensor) else value
