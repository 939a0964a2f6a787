"""The base class of all optimizers: groups, state, and what surrounds an update."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from operator import is_, itemgetter
from typing import Any, TypeVar, overload

from gradlite._arguments import type_name
from gradlite.autograd import enable_grad, no_grad
from gradlite.backends import Device
from gradlite.backends._updates import Update
from gradlite.backends.dtypes import int64
from gradlite.optim._arguments import POSITIVE, check_counted, scalar
from gradlite.optim._groups import Group, Params, check_params, listed, unzip
from gradlite.optim._layout import Layout
from gradlite.optim._matching import copied, fit, placed
from gradlite.optim._section import MASTER
from gradlite.optim._state import State
from gradlite.tensor import Tensor

T = TypeVar("T")


class Optimizer:
    """What all optimizers share.

    A subclass defines `_update`, which says what a step does to each element, or a
    `step` of its own; and it checks its options in `_check_group`.

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
    grads : {"auto", "flat"}, default "auto"
        Where `backward` writes the gradients. "flat" puts all of them into one arena
        for each device and dtype, see `flat_grads`; a gradient that you keep is then
        written over by the next one. "auto" does so only for small ones, as long as it
        cannot be noticed.

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
    grads : str
        Where gradients are written.

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

    The first step moves small parameters side by side into one arena, and the
    parameters become views of it: what was detached or exported from them before keeps
    them where they are, but a view made under `no_grad` before the first step
    (``p[0]``) does not follow them.

    Parameters of 16 bits are updated through a copy in float32, which is in the state
    as ``"master_param"``; all their state is in float32. What is written to such a
    parameter by way of a tensor is taken over, by way of a NumPy array it is not.
    """

    _counted = False  # whether the state has the number of the step

    def __init__(
        self,
        params: Params,
        defaults: Mapping[str, Any],
        *,
        max_norm: float | None = None,
        grads: str = "auto",
    ) -> None:
        if max_norm is not None:
            POSITIVE.check("max_norm", max_norm)
        if grads not in ("auto", "flat"):
            raise ValueError(f"grads must be 'auto' or 'flat', got {grads!r}")
        self.defaults = dict(defaults)
        self.max_norm = max_norm
        self.grads = grads
        self.param_groups: list[Group] = []
        self.state = State()
        self._skipped_steps = 0
        self._skipped_on: dict[Device, Tensor] = {}  # counted where the flag was
        self._stepped = False
        self._layout: Layout | None = None
        self._updates: list[Update] = []
        self._options: list[tuple[Any, ...]] = []  # from which the updates were made
        # Two names at least, so that a tuple comes out.
        self._read_options = itemgetter("params", "params", *self.defaults)
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
        return self._skipped_steps + sum(map(int, self._skipped_on.values()))

    @property
    def flat_grads(self) -> list[Tensor]:
        """All gradients as one 1-D tensor for each device and dtype.

        Made for reducing them over processes. Each gradient is a view of it, and there
        may be gaps between them. Gradients that lie elsewhere, such as those before the
        first step, are moved here; the place of a missing one holds zeros.

        Raises
        ------
        ValueError
            If the optimizer was not told ``grads="flat"``.
        """
        if self.grads != "flat":
            raise ValueError(
                f"flat_grads needs an optimizer with grads='flat', got {self.grads!r}"
            )
        with no_grad():
            sections = self._arranged()[0].sections
            for section in sections:
                section.fill_slots()
        return [s.flat_grads for s in sections if s.flat_grads is not None]

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
        check_params(group, self.param_groups)
        self._check_group(group)
        self.param_groups.append(group)
        self._forget_layout()

    def _check_group(self, group: Group) -> None:
        """Raise if an option of a group is out of range; called after changes too.

        Parameters
        ----------
        group : dict
            A group with all options.
        """

    def _update(self, group: Group) -> Update:
        """Return what a step does to the parameters of a group.

        Parameters
        ----------
        group : dict
            A group whose options were checked.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must define _update(), or a step() of its own"
        )

    def _fill(self, group: Group, name: str) -> float:
        """Return the first value of the state array `name`."""
        return 0.0

    def _marks(self, group: Group) -> dict[str, Any]:
        """Return what is to be seen in the state beside arrays."""
        return {}

    def _adapt(self, entry: dict[str, Any], group: Group) -> None:
        """Make the state of a parameter fit the options of its group."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters.

        Parameters
        ----------
        set_to_none : bool, default True
            Drop the gradients; otherwise their arrays are kept and filled with zeros.
        """
        if set_to_none:
            for group in self.param_groups:
                for param in group["params"]:
                    param._grad = None
            if self._layout is not None:
                self._layout.renew_slots()
            return
        with no_grad():
            for group in self.param_groups:
                for param in group["params"]:
                    if param._grad is not None:
                        if not param._grad.is_leaf:  # left by create_graph=True
                            param._grad = param._grad.detach()
                        param._grad.zero_()

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
        if grad_scale is not None:
            grad_scale = scalar("grad_scale", grad_scale)
            if not isinstance(grad_scale, Tensor):
                grad_scale = POSITIVE.check("grad_scale", grad_scale)
        if found_inf is not None:
            found_inf = scalar("found_inf", found_inf)
        layout, complete = self._arranged()
        if isinstance(found_inf, Tensor):
            self._count_skipped(found_inf)
        elif found_inf:
            self._skipped_steps += 1
            return loss
        else:
            found_inf = None
        clip = None
        if self.max_norm is not None:
            bound = POSITIVE.check("max_norm", self.max_norm)
            clip = layout.clip_factor(bound, complete, grad_scale)
        layout.step(
            self._updates,
            complete=complete,
            grad_scale=grad_scale,
            clip=clip,
            found_inf=found_inf,
        )
        return loss

    def _arranged(self) -> tuple[Layout, bool]:
        """Return how everything lies, and whether all gradients are where expected.

        Whatever does not fit raises here; nothing was written then.
        """
        self._refresh_updates()
        layout = self._layout
        if layout is not None and layout.groups is not self.param_groups:
            layout = None
        complete = None if layout is None or self.state.changed else layout.read()
        if layout is None or complete is None:
            with no_grad():
                layout = self._arrange()
            complete = layout.read()
        if not complete:
            layout.gather()
        return layout, bool(complete)

    def _refresh_updates(self) -> None:
        """Make the updates anew of groups whose options have changed."""
        options = list(map(self._read_options, self.param_groups))
        if len(options) == len(self._options):
            for new, old in zip(options, self._options, strict=True):
                if not all(map(is_, new, old)):
                    break
            else:
                return
        for group in self.param_groups:
            self._check_group(group)
        updates = [self._update(group) for group in self.param_groups]
        variants = [(update.states, update.flags) for update in updates]
        if variants != [(update.states, update.flags) for update in self._updates]:
            self.state.changed = True
        self._updates = updates
        # An option may have been replaced by the check: betas, by a tuple.
        self._options = list(map(self._read_options, self.param_groups))

    def _arrange(self) -> Layout:
        """Lay out parameters, state and gradients anew."""
        found = [
            (self.state[param], self._placed(param, group, update))
            for group, update in zip(self.param_groups, self._updates, strict=True)
            for param in group["params"]
            if self.state.get(param)
        ]
        counts = self._counts()
        for entry, values in found:
            entry.data.update(values)
        self._forget_layout()
        self._layout = Layout(self, counts)
        return self._layout

    def _placed(self, param: Tensor, group: Group, update: Update) -> dict[str, Any]:
        """Return the state of a parameter as its device and its group want it."""
        values = dict(self.state[param])
        for name in (*update.states, MASTER):
            value = values.get(name)
            if value is None:
                continue
            if value.shape != param.shape:
                raise ValueError(
                    f"a parameter has shape {param.shape}, its {name} {value.shape};"
                    " after replacing its data by another shape, use"
                    " del optimizer.state[parameter]"
                )
            values[name] = placed(value, param)
        self._adapt(values, group)
        return values

    def _counts(self) -> dict[int, int]:
        """Return by `id` how many updates each parameter with a state has had."""
        known = {} if self._layout is None else self._layout.counts()
        return {
            id(param): int(entry.get("step", known.get(id(param), not self._counted)))
            for param, entry in self.state.items()
            if entry.keys() - {MASTER}
        }

    def _forget_layout(self) -> None:
        """Let the next step lay out everything anew."""
        if self._layout is not None:
            self._layout.release()
        self._layout = None
        self.state.changed = True

    def _count_skipped(self, found_inf: Tensor) -> None:
        """Count a step that is skipped where a device says so, without asking it."""
        with no_grad():
            skipped = (found_inf != 0).astype(int64)
            known = self._skipped_on.get(found_inf.device)
            if known is None:
                self._skipped_on[found_inf.device] = skipped
            else:
                known.add_(skipped)

    def upload_options(self) -> None:
        """Make changed options known to a step that was captured in a CUDA graph.

        Call it before a replay when a learning rate has changed, for example by a
        scheduler; `step` does it by itself. On other devices it changes nothing.

        Raises
        ------
        TypeError, ValueError
            If an option is out of range.
        RuntimeError
            If an option changed that the captured step cannot follow.
        """
        self._refresh_updates()
        if self._layout is None:
            return
        if self.state.changed:
            raise RuntimeError(
                "upload_options cannot follow a changed variant of the update; call"
                " step() and capture it again"
            )
        self._layout.upload(self._updates)

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
        counts = self._counts()
        state = {
            position[id(param)]: dict(entry)
            for param, entry in self.state.items()
            if id(param) in position and counts.get(id(param), 1)
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
            groups.append({**group, **self._saved_options(saved), **own})
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
        self._forget_layout()
        for group, loaded in zip(self.param_groups, groups, strict=True):
            group.update(loaded)
        self.state.clear()
        for param, entry in state.items():
            self.state[param] = entry
        self.max_norm = max_norm
        self._skipped_steps, self._skipped_on = skipped_steps, {}

    def _saved_options(self, saved: Group) -> Group:
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
        state = {key: copied(value, param) for key, value in entry.items()}
        if self._counted and state:
            check_counted(state, self._update(group).states)
        return state

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what the next step makes anew."""
        return {**vars(self), "_layout": None, "_options": [], "_updates": []}

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {k}: {group[k]}" for k in sorted(group) if k != "params"]
        if self.max_norm is not None:
            lines.append(f"max_norm: {self.max_norm}")
        return "\n".join([*lines, ")"])
