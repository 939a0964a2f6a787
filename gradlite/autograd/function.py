"""Users' own operations with their own derivatives."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from gradlite.autograd._dispatch import FACTORY, caller, is_inexact, mismatch
from gradlite.autograd._graph import (
    NO_OPTIONS,
    Node,
    Output,
    Variable,
    Version,
    next_number,
)
from gradlite.autograd._mode import MODE, no_grad
from gradlite.autograd._rules import Plan
from gradlite.backends import Device, DeviceMismatchError


class Context:
    """What `forward` hands to `backward`.

    Attributes
    ----------
    saved_tensors : tuple of Tensor
        What `forward` saved, for `backward`.
    needs_input_grad : tuple of bool
        For each argument of `forward`, whether its gradient is asked for.
    """

    saved_tensors: tuple[Any, ...] = ()
    needs_input_grad: tuple[bool, ...] = ()

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep tensors for `backward`; a change in place is noticed there.

        Anything else can be set as an attribute.

        Parameters
        ----------
        *tensors : Tensor
            Arguments of `forward`, its results, or tensors made on the way.
        """
        for tensor in tensors:
            if not isinstance(tensor, Variable):
                raise TypeError(
                    f"save_for_backward takes tensors, got {type(tensor).__name__}; "
                    "set other values as attributes of ctx"
                )
        self.saved_tensors = tensors


class Function:
    """An operation with a derivative of its own.

    Subclass it with two static methods and call `apply`:

    - `forward(ctx, *args)` computes the result, a tensor or a tuple of tensors; nothing
      in it is recorded.
    - `backward(ctx, *grads)` gets one cotangent per result (None where it does not
      matter) and returns one per argument of `forward`, None for those that are no
      tensors. Written with tensor operations it can be differentiated again; otherwise
      decorate it with `once_differentiable`.

    Examples
    --------
    >>> class Cube(gl.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x * x
    ...
    ...     @staticmethod
    ...     def backward(ctx, g):
    ...         (x,) = ctx.saved_tensors
    ...         return g * 3.0 * x * x
    >>> x = gl.tensor(2.0, requires_grad=True)
    >>> Cube.apply(x).backward()
    >>> x.grad.item()
    12.0
    """

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Any:
        """Compute the result; to be overridden."""
        raise NotImplementedError(
            "a Function needs a static method forward(ctx, *args)"
        )

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Return one cotangent per argument; to be overridden."""
        raise NotImplementedError(
            "a Function needs a static method backward(ctx, *grads)"
        )

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Call `forward` and record the operation.

        Parameters
        ----------
        *args : Any
            Arguments of `forward`: tensors and anything else.

        Returns
        -------
        Tensor or tuple of Tensor
            What `forward` returned.
        """
        tensors = [x for x in args if isinstance(x, Variable)]
        for x in tensors:
            if x._device is not tensors[0]._device:
                mismatch(cls.__name__, tensors[0], x)
        ctx = Context()
        tracked = MODE.get().recording and any(x._node is not None for x in tensors)
        ctx.needs_input_grad = tuple(
            tracked and isinstance(x, Variable) and x._node is not None for x in args
        )
        with no_grad():
            result = cls.forward(ctx, *args)
        several = isinstance(result, tuple)
        outs = result if several else (result,)
        for out in outs:
            if not isinstance(out, Variable):
                raise TypeError(
                    f"{cls.__name__}.forward must return a tensor or a tuple of "
                    f"tensors, got {type(out).__name__}"
                )
        if not tracked:
            return result
        results = _record(cls, ctx, args, outs, several=several)
        return results if several else results[0]


def _index(tensors: tuple[Any, ...], wanted: Any) -> int | None:
    return next((i for i, x in enumerate(tensors) if x is wanted), None)


def _record(
    cls: type[Function],
    ctx: Context,
    args: tuple[Any, ...],
    outs: tuple[Any, ...],
    *,
    several: bool,
) -> tuple[Any, ...]:
    """Make the node, which keeps saved arguments first, then results, then others."""
    device = outs[0]._device
    # A result that is an argument, or a view of one, gets memory of its own.
    given = {x._version for x in args if isinstance(x, Variable)}
    fresh = [x.clone() if x._version in given else x for x in outs]
    results = [Variable._wrap(x._array, x._device, None, x._version) for x in fresh]
    found = [(t, _index(args, t), _index(outs, t)) for t in ctx.saved_tensors]
    inputs = list(dict.fromkeys(i for _, i, _ in found if i is not None))
    keeps_out = any(i is None and j is not None for _, i, j in found)
    others = [t for t, i, j in found if i is None and j is None]

    plan = Plan()
    plan.name, plan.once = cls.__name__, _is_once(cls.backward)
    plan.operands = tuple(inputs)
    plan.slots = (
        *(f"argument {i}" for i in inputs),
        *(["out"] if keeps_out else []),
        *("a tensor" for _ in others),
    )
    saved: list[Any] = [args[i]._array for i in inputs]
    guarded: list[tuple[Any, int]] = [(args[i], k) for k, i in enumerate(inputs)]
    if keeps_out:
        guarded += [(x, len(saved)) for x in results]
        arrays = tuple(x._array for x in results)
        saved.append(arrays if several else arrays[0])
    for t in others:
        guarded.append((t, len(saved)))
        saved.append(t._array)

    places: list[tuple[int, int | None]] = []  # of each saved tensor in `saved`
    beside = len(inputs) + keeps_out
    for _, i, j in found:
        if i is not None:
            places.append((inputs.index(i), None))
        elif j is not None:
            places.append((len(inputs), j if several else None))
        else:
            places.append((beside, None))
            beside += 1
    ctx.saved_tensors = ()
    plan.backward = functools.partial(
        _run_backward, cls, ctx, places, len(args), device, several
    )

    node = object.__new__(Node)
    node.number = next_number()
    node.plan = plan
    node.edges = tuple(x._node if isinstance(x, Variable) else None for x in args)
    node.saved = tuple(saved)
    node.guards = tuple((x._version, x._version.count, k) for x, k in guarded)
    node.options = NO_OPTIONS
    node.device = device
    node.extra = None
    node.shape = (len(outs),) if several else results[0]._array.shape
    node.dtype = None if several else results[0]._array.dtype
    if MODE.get().anomaly:
        node.note(caller())
    for i, x in enumerate(results):
        if is_inexact(device, x._array.dtype):
            x._node = Output(node, i, x._array) if several else node
    return tuple(results)


def _run_backward(
    cls: type[Function],
    ctx: Context,
    places: list[tuple[int, int | None]],
    count: int,
    device: Device,
    several: bool,
    xp: Any,
    g: Any,
    saved: tuple[Any, ...],
    likes: Any,
    options: Any,
) -> tuple[Any, ...]:
    """Call a user's backward on tensors, in either mode of the engine."""
    recorded = xp is FACTORY.namespace

    def tensor(value: Any) -> Any:
        if value is None or isinstance(value, Variable):
            return value
        return Variable._wrap(value, device, None, Version())

    values = [saved[k] if j is None else saved[k][j] for k, j in places]
    ctx.saved_tensors = tuple(tensor(value) for value in values)
    try:
        result = cls.backward(ctx, *map(tensor, g if several else [g]))
    finally:
        ctx.saved_tensors = ()
    grads = result if isinstance(result, tuple) else (result,)
    if len(grads) != count:
        raise RuntimeError(
            f"{cls.__name__}.backward returned {len(grads)} cotangents for {count} "
            "arguments of forward; return None for those that need none"
        )
    for i, d in enumerate(grads):
        if d is not None and not isinstance(d, Variable):
            raise TypeError(
                f"{cls.__name__}.backward must return tensors or None, got "
                f"{type(d).__name__} for argument {i}"
            )
        if d is not None and likes[i] is not None and d._device is not likes[i].device:
            raise DeviceMismatchError(
                f"{cls.__name__}.backward returned a tensor on {d._device} for "
                f"argument {i}, which is on {likes[i].device}; move it with "
                f".to({likes[i].device.name!r})"
            )
    if recorded:
        return grads
    return tuple(d if d is None else d.clone()._array for d in grads)


def once_differentiable(backward: Callable[..., Any], /) -> Callable[..., Any]:
    """Declare that a `Function.backward` cannot itself be differentiated.

    `create_graph=True` then raises instead of giving a wrong second derivative. It
    stands under `@staticmethod`, or above it.
    """
    function: Any = getattr(backward, "__func__", backward)
    function._once = True
    return backward


def _is_once(backward: Callable[..., Any]) -> bool:
    return getattr(backward, "_once", False)
