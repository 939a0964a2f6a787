"""The dispatcher: the way of every call of an operation, from tensors to tensors."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from gradlite._typing import Array, Namespace
from gradlite.autograd._explain import explain
from gradlite.autograd._graph import (
    NO_OPTIONS,
    Node,
    Output,
    Variable,
    Version,
    next_number,
)
from gradlite.autograd._mode import MODE
from gradlite.backends import Device, DeviceMismatchError, dtypes, is_array

if TYPE_CHECKING:
    from gradlite.autograd._op import Op

_SCALARS = (bool, int, float, complex)
_REAL = (float, int)
_new = object.__new__


class Factory:
    """What `tensor.py` installs: how tensors are made, and the functions on them.

    Attributes
    ----------
    namespace : object
        The differentiable namespace: every name that a rule uses, on tensors.
    asarray : callable
        `(array or scalar, device)` to a tensor that shares memory where it can.
    """

    namespace: Namespace
    asarray: Callable[..., Any]


FACTORY = Factory()


def install(
    *,
    tensor_type: type[Any],
    namespace: Namespace,
    asarray: Callable[..., Any],
) -> None:
    """Tell autograd what a tensor is; called once, when `tensor.py` is imported."""
    Variable._result_type = tensor_type
    FACTORY.namespace = namespace
    FACTORY.asarray = asarray


def is_inexact(device: Device, dtype: Any) -> bool:
    """Return whether a library's dtype is real or complex floating point."""
    found = device.inexact.get(dtype)
    if found is None:
        found = dtypes.rank(device.backend.of_dtype(dtype)) >= 2
        device.inexact[dtype] = found
    return found


def mismatch(name: str, x1: Variable, x2: Variable) -> NoReturn:
    """Raise the error for operands on two devices."""
    raise DeviceMismatchError(
        f"{name} got tensors on {x1._device} and {x2._device}; move one of them, for "
        f"example with .to({x1._device.name!r})"
    )


def _prepare(op: Op, operands: Sequence[Any]) -> tuple[list[Any], list[Array], Device]:
    """Bring operands of any kind to tensors and weak scalars of one kind of dtype."""
    found = list(operands)
    # Writes to an array by its owner are noticed by nobody: what is saved is a copy.
    copy = MODE.get().recording and any(
        isinstance(x, Variable) and x._node is not None for x in found
    )
    for i, x in enumerate(found):
        if isinstance(x, Variable) or (x is None and not op.is_list):
            continue
        if isinstance(x, np.generic):
            found[i] = x.item()
        elif type(x) in _SCALARS:
            continue
        elif is_array(x):
            found[i] = FACTORY.asarray(x, copy=copy or None)
        else:
            name = op.operands[0] if op.is_list else op.operands[i]
            raise TypeError(
                f"{op.title}() argument {name!r} must be a tensor or an array, got "
                f"{type(x).__name__}; make a tensor with gl.tensor(...)"
            )
    first = next((x for x in found if isinstance(x, Variable)), None)
    for i, x in enumerate(found):
        if type(x) in _SCALARS and (first is None or not op.promoted >> i & 1):
            device = None if first is None else first._device
            found[i] = FACTORY.asarray(x, device=device)
            if first is None:
                first = found[i]
    if first is None:
        raise TypeError(
            f"{op.title}() argument {op.operands[0]!r} must be a tensor or an array, "
            "got None"
        )
    device = first._device
    promoted = [i for i in range(len(found)) if op.promoted >> i & 1]
    if promoted and not any(isinstance(found[i], Variable) for i in promoted):
        for i in promoted:
            if found[i] is not None:
                found[i] = FACTORY.asarray(found[i], device=device)
    for x in found:
        if isinstance(x, Variable) and x._device is not device:
            mismatch(op.title, first, x)

    arrays = [x._array if isinstance(x, Variable) else x for x in found]
    tensors = [i for i in promoted if isinstance(found[i], Variable)]
    if tensors:
        backend = device.backend
        kinds = [backend.of_dtype(arrays[i].dtype) for i in tensors]
        scalars = [found[i] for i in promoted if type(found[i]) in _SCALARS]
        common = dtypes.common(kinds, scalars, op.floating)
        target = backend.to_dtype(common)
        for i in tensors:
            if arrays[i].dtype != target:
                with device.scope():
                    arrays[i] = device.xp.astype(arrays[i], target)
        if op.is_list:  # libraries join arrays only
            for i in promoted:
                if type(found[i]) in _SCALARS:
                    found[i] = FACTORY.asarray(found[i], dtype=common, device=device)
                    arrays[i] = found[i]._array
        elif not device.xp.isdtype(target, "bool"):
            for i in promoted:
                if type(found[i]) is bool:
                    found[i] = arrays[i] = int(found[i])
    return found, arrays, device


def _read_options(
    op: Op, device: Device, options: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options for the rules, and those with the library's dtype.

    NumPy's integers become Python's, so that rules meet one kind, and lists become
    tuples, which nobody can change before backward.
    """
    for name, value in options.items():
        if isinstance(value, np.integer):
            options = {**options, name: int(value)}
        elif type(value) is list:
            options = {**options, name: tuple(value)}
    dtype = options.get("dtype")
    if dtype is None and ("dtype" not in options or "dtype" in op.defaults):
        return options, options
    raw = device.backend.to_dtype(dtypes.canonical(dtype))
    return options, {**options, "dtype": raw}


def caller() -> str:
    """Return the line outside the package that called the current operation."""
    frame = sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").startswith("gradlite."):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"


def _tensor_bits(operands: Sequence[Any]) -> int:
    return sum(1 << i for i, x in enumerate(operands) if isinstance(x, Variable))


def _shared_version(op: Op, device: Device, x: Variable, out: Array) -> Version:
    """Return the version of a result: that of the operand if it is a view of it."""
    if op.view and device.backend.shares_memory(out, x._array):
        return x._version
    return Version()


def _record(
    op: Op,
    operands: Sequence[Any],
    arrays: list[Array],
    options: dict[str, Any],
    needs: int,
    tensors: int,
    out: Any,
    aux: Any,
    version: Any,
) -> Node:
    """Make the node of an operation, with what its rules asked for."""
    plan = op.rules.plan(needs, tensors)
    node = _new(Node)
    node.edges, node.saved, node.guards = plan.record(
        operands, arrays, out, aux, version
    )
    node.number = next_number()
    node.plan = plan
    node.options = {**op.defaults, **options} if plan.keeps_options else NO_OPTIONS
    node.extra = None
    return node


def _finish_several(
    op: Op,
    operands: Sequence[Any],
    arrays: list[Array],
    options: dict[str, Any],
    needs: int,
    tensors: int,
    device: Device,
    outs: Sequence[Array],
) -> tuple[Any, ...]:
    """Wrap the results of an operation that has several, behind one node."""
    outs = tuple(device.backend.asarray(out) for out in outs)
    versions = [_shared_version(op, device, operands[0], out) for out in outs]
    mode = MODE.get()
    node = None
    if needs and mode.recording and op.rules.by_target:
        node = _record(
            op, operands, arrays, options, needs, tensors, outs, None, versions
        )
        node.shape, node.dtype, node.device = (len(outs),), None, device
        if mode.anomaly:
            node.note(caller())
    return op.pack(
        Variable._wrap(
            out,
            device,
            Output(node, i, out) if node and is_inexact(device, out.dtype) else None,
            version,
        )
        for i, (out, version) in enumerate(zip(outs, versions, strict=True))
    )


def apply(op: Op, operands: Sequence[Any], options: dict[str, Any]) -> Any:
    """Compute an operation and record it: the way of every call.

    Devices and dtypes are compared once; only operands that are not tensors of one
    device and dtype go through `_prepare`. (Automatic mixed precision has its place
    there too: a cast of the operands by the operation's name.)
    """
    arrays: list[Array] = []
    device: Any = None
    dtype = None
    needs = tensors = 0
    bit = 1
    plain = True
    weak = False
    for x in operands:
        if isinstance(x, Variable):
            a = x._array
            if device is None:
                device = x._device
                dtype = a.dtype
            elif x._device is not device or a.dtype is not dtype:
                plain = False
            if x._node is not None:
                needs |= bit
            tensors |= bit
            arrays.append(a)
        else:
            arrays.append(x)
            if type(x) in _REAL and op.promoted & bit:
                weak = True
            elif x is not None:
                plain = False
        bit <<= 1
    # A number among floating-point operands is weak by itself.
    if (
        not plain
        or device is None
        or (weak and op.is_list)
        or ((weak or (op.floating and not needs)) and not is_inexact(device, dtype))
    ):
        operands, arrays, device = _prepare(op, operands)
        tensors = _tensor_bits(operands)

    raw = options
    if options:
        options, raw = _read_options(op, device, options)
    inputs = (arrays,) if op.is_list else arrays
    try:
        if device.scoped:
            with device.scope():
                out = op.forward(device.xp, *inputs, **raw)
        else:
            out = op.forward(device.xp, *inputs, **raw)
    except Exception as error:
        explain(op, operands, options, error)
        raise
    if op.several:
        return _finish_several(
            op, operands, arrays, options, needs, tensors, device, out
        )
    aux = None
    if op.aux:
        out, aux = out
    if type(out) is not device.array_type:
        out = device.backend.asarray(out)
    version = _shared_version(op, device, operands[0], out) if op.view else Version()
    node = None
    if needs and op.rules.by_target:
        mode = MODE.get()
        if mode.recording and (out.dtype is dtype or is_inexact(device, out.dtype)):
            node = _record(
                op, operands, arrays, options, needs, tensors, out, aux, version
            )
            node.shape = out.shape
            node.dtype = out.dtype
            node.device = device
            if mode.anomaly:
                node.note(caller())
    return Variable._wrap(out, device, node, version)
