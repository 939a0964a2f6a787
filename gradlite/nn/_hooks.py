"""Calling a module, with the hooks that see its values and its gradients."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from gradlite import ops
from gradlite.autograd import Function, RemovableHandle, is_grad_enabled
from gradlite.autograd._call import as_seed
from gradlite.autograd._dispatch import note_view
from gradlite.autograd._graph import Version
from gradlite.autograd._trees import LEAF, flatten, unflatten
from gradlite.tensor import Tensor

Hook: TypeAlias = Callable[..., Any]
Gradients: TypeAlias = tuple[Tensor | None, ...]


class _Entry(NamedTuple):
    """A hook, when it is called, and whether with the keyword arguments."""

    kind: str
    hook: Hook
    with_kwargs: bool


class Hooked:
    """What is called through hooks: `forward`, and its derivative in `backward`."""

    _hooks: dict[int, _Entry]  # of all kinds, so that a call without any asks once

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return what `forward` does, after its hooks."""
        if self._hooks:
            return self._call_with_hooks(args, kwargs)
        return self.forward(*args, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the module's output; every subclass that is called defines it."""
        raise NotImplementedError(
            f"{type(self).__name__} has no forward method; define forward(self, ...)"
        )

    def _call_with_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        for _, hook, with_kwargs in self._hooks_of("forward pre"):
            changed = hook(self, args, kwargs) if with_kwargs else hook(self, args)
            if changed is None:
                continue
            if with_kwargs:
                args, kwargs = changed
            else:
                args = changed if isinstance(changed, tuple) else (changed,)
        backward = _BackwardHooks(
            self, self._hooks_of("backward pre"), self._hooks_of("backward")
        )
        args = backward.enter(args)
        output = self.forward(*args, **kwargs)
        for _, hook, with_kwargs in self._hooks_of("forward"):
            given = (args, kwargs) if with_kwargs else (args,)
            changed = hook(self, *given, output)
            if changed is not None:
                output = changed
        return backward.leave(output)

    def _hooks_of(self, kind: str) -> list[_Entry]:
        return [entry for entry in self._hooks.values() if entry.kind == kind]

    def _register(
        self, kind: str, hook: Hook, with_kwargs: bool = False
    ) -> RemovableHandle:
        if not callable(hook):
            raise TypeError(f"hook must be callable, got {hook!r}")
        handle = RemovableHandle(self._hooks)
        while handle.key in self._hooks:  # unpickled hooks have keys of other processes
            handle = RemovableHandle(self._hooks)
        self._hooks[handle.key] = _Entry(kind, hook, with_kwargs)
        return handle

    def register_forward_pre_hook(
        self, hook: Hook, *, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, args)` before every `forward`.

        Parameters
        ----------
        hook : callable
            Returns None, or the arguments to use instead (a tuple, or one value). With
            `with_kwargs` it is called as `hook(module, args, kwargs)` and returns None
            or the pair (args, kwargs).
        with_kwargs : bool, default False
            Whether the hook sees the keyword arguments.

        Returns
        -------
        RemovableHandle
            Its `remove()` takes the hook away again.
        """
        return self._register("forward pre", hook, with_kwargs)

    def register_forward_hook(
        self, hook: Hook, *, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, args, output)` after every `forward`.

        Parameters
        ----------
        hook : callable
            Returns None, or the output to use instead. With `with_kwargs` it is called
            as `hook(module, args, kwargs, output)`.
        with_kwargs : bool, default False
            Whether the hook sees the keyword arguments.

        Returns
        -------
        RemovableHandle
            Its `remove()` takes the hook away again.
        """
        return self._register("forward", hook, with_kwargs)

    def register_full_backward_pre_hook(self, hook: Hook) -> RemovableHandle:
        """Call `hook(module, grad_output)` before the derivative of every call.

        Parameters
        ----------
        hook : callable
            Gets the gradients of the output, once they are complete, as a tuple: one
            for a tensor, else one for each member of the tuple, list or dict that
            `forward` returned, None where a member is no tensor, needs no gradient or
            has none. Returns None, or the gradients to use instead (a tuple, or a
            tensor for a tuple of one).

        Returns
        -------
        RemovableHandle
            Its `remove()` takes the hook away from later calls of the module; in the
            derivative of earlier ones it has its place.

        Warns
        -----
        UserWarning
            In a call whose output is anything else, which the hook does not see.
        """
        return self._register("backward pre", hook)

    def register_full_backward_hook(self, hook: Hook) -> RemovableHandle:
        """Call `hook(module, grad_input, grad_output)` after the derivative of a call.

        Parameters
        ----------
        hook : callable
            Gets the gradients of the positional arguments as a tuple, None for one that
            is no tensor, needs no gradient or has none, and those of the output as
            `register_full_backward_pre_hook` says. Returns None, or the gradients of
            the arguments to use instead. Where no argument needs a gradient, it is
            called when those of the output are there.

        Returns
        -------
        RemovableHandle
            Its `remove()` takes the hook away from later calls of the module; in the
            derivative of earlier ones it has its place.

        Raises
        ------
        DeviceMismatchError
            In a call whose arguments, or members of its output, need gradients on
            several devices.

        Warns
        -----
        UserWarning
            In a call whose output is neither a tensor nor a tuple, list or dict.

        Notes
        -----
        As in PyTorch, the hook is called once in each walk that computes the gradient
        of an argument; keyword arguments and what lies deeper in a tuple are not seen.
        The tensors are the hook's own: it may keep them or write into them. Under
        ``create_graph=True`` what it computes is recorded. Unlike in PyTorch, `forward`
        may change its arguments in place, and the caller the output.

        Examples
        --------
        >>> layer = gl.nn.Linear(2, 1)
        >>> handle = layer.register_full_backward_hook(
        ...     lambda module, grad_input, grad_output: print(grad_output[0].shape)
        ... )
        >>> layer(gl.ones((3, 2))).sum().backward()
        (3, 1)
        """
        return self._register("backward", hook)


class _BackwardHooks:
    """The backward hooks of one call of a module, which the graph keeps."""

    def __init__(
        self, module: Hooked, before: list[_Entry], after: list[_Entry]
    ) -> None:
        self._module = module
        self._before = before
        self._after = after
        self._has_inputs = False
        self._grad_output: Gradients | None = None
        self._no_gradients: Gradients = ()

    def enter(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the arguments for `forward`."""
        if not self._after:
            return args
        self._no_gradients = (None,) * len(args)
        passed = _pass(args, self._at_inputs)
        self._has_inputs = passed is not args
        return passed

    def leave(self, output: Any) -> Any:
        """Return the output for the caller."""
        if not (self._before or self._after):
            return output
        if isinstance(output, Tensor):
            return _pass((output,), self._at_outputs)[0]
        structure = flatten(output)[1]
        if not structure.keys:
            warnings.warn(
                f"the backward hooks of {type(self._module).__name__} do not see its "
                f"output, which is a {type(output).__name__} and no tensor; return "
                "a tensor, or a tuple, list or dict of tensors",
                stacklevel=4,
            )
            return output
        members = tuple(output.values() if isinstance(output, dict) else output)
        passed = _pass(members, self._at_outputs)
        if passed is members:
            return output
        return unflatten(structure._replace(parts=(LEAF,) * len(members)), passed)

    def _at_outputs(self, grad_output: Gradients) -> Gradients:
        for _, hook, _ in self._before:
            result = hook(self._module, grad_output)
            grad_output = self._replaced(grad_output, result, "grad_output")
        if self._after:
            self._grad_output = grad_output
            if not self._has_inputs:
                self._at_inputs(self._no_gradients)
        return grad_output

    def _at_inputs(self, grad_input: Gradients) -> Gradients:
        grad_output, self._grad_output = self._grad_output, None
        if grad_output is None:  # a derivative of the derivative, past the output
            return grad_input
        for _, hook, _ in self._after:
            result = hook(self._module, grad_input, grad_output)
            grad_input = self._replaced(grad_input, result, "grad_input")
        return grad_input

    def _replaced(self, given: Gradients, result: Any, name: str) -> Gradients:
        """Return what a hook put in the place of the gradients that it was given."""
        if result is None:
            return given
        found = result if isinstance(result, tuple | list) else (result,)
        where = f"a backward hook of {type(self._module).__name__}"
        if len(found) != len(given):
            raise ValueError(
                f"{where} returned {len(found)} gradients for {name}, which has "
                f"{len(given)}; return one for each, or None to leave them"
            )
        for i, (new, old) in enumerate(zip(found, given, strict=True)):
            if old is None and new is not None:
                raise ValueError(
                    f"{where} returned a gradient for {name}[{i}], which has none; "
                    "return None there"
                )
        return tuple(
            old if old is None else as_seed(new, old, f"{name}[{i}] from {where}")
            for i, (new, old) in enumerate(zip(found, given, strict=True))
        )


class ModuleHooks(Function):
    """Let tensors pass; their cotangents go through a function, all at once."""

    @staticmethod
    def forward(ctx: Any, change: Any, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.change = change
        # Under a version of its own each keeps the memory; `_pass` gives back the true.
        return tuple(
            Tensor._wrap(x._array, x._device, None, Version()) for x in tensors
        )

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        return None, *ctx.change(grads)


def _pass(
    values: tuple[Any, ...], change: Callable[[Gradients], Gradients]
) -> tuple[Any, ...]:
    """Return the values; the gradients of the tensors among them go through `change`.

    They are the same tuple if none needs a gradient. In it the tensors are views of
    those given, so that writing in place means what it does without hooks.
    """
    places = [
        i for i, x in enumerate(values) if isinstance(x, Tensor) and x.requires_grad
    ]
    if not (places and is_grad_enabled()):
        return values

    count = len(values)  # the graph is not to keep the values

    def change_at_places(grads: Gradients) -> list[Tensor | None]:
        spread: list[Tensor | None] = [None] * count
        for i, g in zip(places, grads, strict=True):
            spread[i] = None if g is None else g.clone()  # others hold the same
        changed = change(tuple(spread))
        return [changed[i] for i in places]

    passed = list(values)
    views = ModuleHooks.apply(change_at_places, *(values[i] for i in places))
    for i, view in zip(places, views, strict=True):
        x = values[i]
        view._version = x._version
        note_view(view, x, ops.reshape.op, {"shape": x.shape})
        passed[i] = view
    return tuple(passed)
