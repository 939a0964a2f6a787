"""The dispatcher: the way of every call of an operation, from tensors to tensors."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from gradlite._typing import Array, Namespace
from gradlite.autograd._explain import explain
from gradlite.autograd._graph import Output, Variable, Version
from gradlite.autograd._mode import MODE
from gradlite.backends import Device, DeviceMismatchError, dtypes, is_array

if TYPE_CHECKING:
    from gradlite.autograd._op import Op

_SCALARS = (bool, int, float, complex)
_REAL = (float, int)
_FIXED = frozenset(
    {bool, int, float, complex, str, type, slice, type(None), type(Ellipsis)}
)
_new = object.__new__


class Factory:
    """What `_from_data.py` installs: how tensors are made, and the functions on them.

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
    """Tell autograd what a tensor is; called once, by `_from_data.py`."""
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


def copies_arrays(operands: Sequence[Any]) -> bool | None:
    """Return what `asarray` is told of arrays among operands: True to copy, or None.

    Writes to an array by its owner are noticed by nobody: what is saved is a copy.
    """
    copy = MODE.get().recording and any(
        isinstance(x, Variable) and x._node is not None for x in operands
    )
    return copy or None


def _prepare(op: Op, operands: Sequence[Any]) -> tuple[list[Any], list[Array], Device]:
    """Bring operands of any kind to tensors and weak scalars of one kind of dtype."""
    found = list(operands)
    copy = copies_arrays(found)
    for i, x in enumerate(found):
        if isinstance(x, Variable) or (
            x is None and i >= op.required and not op.is_list
        ):
            continue
        if isinstance(x, np.generic) and not isinstance(x, np.timedelta64):
            found[i] = x.item()  # of NumPy's wider numbers: themselves
        if type(found[i]) in _SCALARS:
            continue
        if not is_array(x):
            name = op.operands[0] if op.is_list else op.operands[i]
            raise TypeError(
                f"{op.title}() argument {name!r} must be a tensor or an array, got "
                f"{'None' if x is None else type(x).__name__}; make a tensor with "
                "gl.tensor(...) or pass a Python number"
            )
        found[i] = FACTORY.asarray(x, copy=copy)
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
    dtype = arrays[tensors[0]].dtype if tensors else None
    alike = len(tensors) == len(promoted) and all(
        arrays[i].dtype == dtype for i in tensors
    )
    if tensors and not (alike and is_inexact(device, dtype)):
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


def is_fixed(value: Any) -> bool:
    """Whether an option is a number, a name and the like, or a tuple of these."""
    kind = type(value)
    return kind in _FIXED or (kind is tuple and _FIXED.issuperset(map(type, value)))


def _fixed(value: Any) -> Any:
    """Return an option as nobody can change it, with Python's numbers for NumPy's."""
    if isinstance(value, list | tuple):
        return tuple(map(_fixed, value))
    if isinstance(value, np.generic):
        return value.item()
    return value.copy() if isinstance(value, np.ndarray) else value


def _read_options(
    op: Op, device: Device, options: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options for the rules, and those with the library's dtype.

    What could change before backward is kept as it is now: lists as tuples, at any
    depth, and arrays as copies.
    """
    for name, value in options.items():
        if not is_fixed(value):
            if isinstance(value, Variable) and value._node is not None:
                raise TypeError(
                    f"{name} must be a plain number, got a tensor that requires grad, "
                    f"to which no derivative would flow in {op.title}(); pass "
                    "float(x.detach())"
                )
            options = {**options, name: _fixed(value)}
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


def note_view(
    result: Variable,
    x: Variable,
    op: Op,
    options: dict[str, Any],
    place: int | None = None,
) -> None:
    """Let a view of `x` follow what the graph writes into `x`.

    One that was made inside `no_grad` goes its own way.
    """
    if MODE.get().recording:
        result._source = (x, op, options, place)
        x._version.add_view(result)


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
    x = operands[0]
    outs = tuple(device.backend.asarray(out) for out in outs)
    shared = [op.view and device.backend.shares_memory(out, x._array) for out in outs]
    versions = [Version() if overlap is False else x._version for overlap in shared]
    mode = MODE.get()
    node = None
    if needs and mode.recording and op.rules.by_target:
        plan = op.rules.plan(needs, tensors)
        node = plan.record(operands, arrays, options, outs, None, versions)
        node.shape, node.dtype, node.device = (len(outs),), None, device
        if mode.anomaly:
            node.note(caller())
    results = [
        Variable._wrap(
            out,
            device,
            Output(node, i, out) if node and is_inexact(device, out.dtype) else None,
            version,
        )
        for i, (out, version) in enumerate(zip(outs, versions, strict=True))
    ]
    for i, result in enumerate(results):
        if shared[i]:
            note_view(result, x, op, options, i)
    return op.pack(results)


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
            elif x is not None or op.is_list or len(arrays) <= op.required:
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
    shared = op.view and device.backend.shares_memory(out, operands[0]._array)
    version = Version() if shared is False else operands[0]._version
    node = None
    if needs and op.rules.by_target:
        mode = MODE.get()
        if mode.recording and (out.dtype is dtype or is_inexact(device, out.dtype)):
            plan = op.rules.plan(needs, tensors)
            node = plan.record(operands, arrays, options, out, aux, version)
            node.shape = out.shape
            node.dtype = out.dtype
            node.device = device
            if mode.anomaly:
                node.note(caller())
    result = _new(Variable._result_type)  # what _wrap does, in the way of every call
    result._array = out
    result._device = device
    result._node = node
    result._version = version
    result._grad = None
    if shared:
        note_view(result, operands[0], op, options)
    return result
