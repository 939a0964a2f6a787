"""`backward` and `grad`: what a walk's cotangents are made into."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from gradlite._typing import Array
from gradlite.autograd._dispatch import FACTORY
from gradlite.autograd._engine import WalkResult, walk
from gradlite.autograd._graph import Leaf, Node, Slot, Variable, Version
from gradlite.autograd._mode import enable_grad
from gradlite.backends import Device

if TYPE_CHECKING:
    from gradlite.tensor import Tensor


def _as_sequence(value: Any, name: str) -> Sequence[Any]:
    if isinstance(value, Variable):
        return (value,)
    if not isinstance(value, list | tuple):
        raise TypeError(
            f"{name} must be a tensor or a list of tensors, got {type(value).__name__}"
        )
    for item in value:
        if not isinstance(item, Variable):
            raise TypeError(f"{name} must hold tensors only, got {type(item).__name__}")
    return value


def _gradients(value: Any, count: int, name: str) -> Sequence[Any]:
    if value is None:
        return (None,) * count
    if not isinstance(value, list | tuple):
        value = (value,)
    if len(value) != count:
        raise ValueError(f"{name} has {len(value)} entries for {count} outputs")
    return value  # type: ignore[no-any-return]


def _copy(array: Array, device: Device) -> Array:
    with device.scope():
        out = device.xp.empty(array.shape, dtype=array.dtype, device=device.raw)
        out[...] = array
    return out


class _Results:
    """Makes tensors from cotangents, each with an array of its own.

    An array is taken over only if it is no view, was not taken before, and was never
    in the user's hands (as a seed or in a hook); else it is copied.
    """

    def __init__(self, result: WalkResult, *, create_graph: bool) -> None:
        self._create_graph = create_graph
        self._foreign = {id(array) for array in result.shown}

    def tensor(self, node: Node, g: Any) -> Any:
        """Return a tensor that shares nothing with any other."""
        if self._create_graph:
            with enable_grad():  # as the walk was, whatever the caller's mode
                return FACTORY.namespace.clone(g)
        device = node.device
        if device.backend.owns(g) and id(g) not in self._foreign:
            self._foreign.add(id(g))
        else:
            g = _copy(g, device)
        return Variable._wrap(g, device, None, Version())


def _targets(result: WalkResult) -> Iterator[tuple[Variable, Node, Any]]:
    """Yield each tensor that is to have a gradient, its node and the cotangent.

    A tensor can be gone by now, or have left the node: it requires grad no longer.
    """
    for node, g in result.found:
        assert isinstance(node, Leaf)
        tensor = node.tensor()
        if tensor is not None and tensor._node is node:
            yield tensor, node, g
    for node, g in result.retained:
        assert node.extra is not None
        assert node.extra.retained is not None
        tensor = node.extra.retained()
        if tensor is not None and tensor._node is node:
            yield tensor, node, g


def _write_slot(slot: Slot, g: Array) -> Any:
    """Return the tensor of a gradient that is written where an optimizer wants it."""
    tensor = slot.tensor
    with tensor._device.scope():
        tensor._array[...] = g
    tensor._version.bump()
    return tensor


def _commit(result: WalkResult, *, create_graph: bool) -> None:
    """Write all gradients, after all memory for them was found."""
    results = _Results(result, create_graph=create_graph)
    fresh: list[tuple[Variable, Any]] = []
    additions: list[tuple[Variable, Array]] = []
    for tensor, node, g in _targets(result):
        grad = tensor._grad
        slot = node.slot if isinstance(node, Leaf) else None
        if grad is None and slot is not None and slot.is_free() and not create_graph:
            fresh.append((tensor, _write_slot(slot, g)))
        elif grad is None:
            fresh.append((tensor, results.tensor(node, g)))
        elif create_graph or grad._node is not None:
            g = g if create_graph else results.tensor(node, g)
            with enable_grad():
                fresh.append((tensor, FACTORY.namespace.add(grad, g)))
        else:
            additions.append((grad, g))
    try:
        for grad, g in additions:
            array = grad._array
            with grad._device.scope():
                array += g
            grad._version.bump()
        for tensor, grad in fresh:
            tensor._grad = grad
    except BaseException as error:
        error.add_note(
            "backward was interrupted while it wrote gradients, and some of them may "
            "have changed; call zero_grad(), or set them to None, before you go on"
        )
        raise


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Any = None,
    *,
    retain_graph: bool | None = None,
    create_graph: bool = False,
) -> None:
    """Add the gradient of `tensors` to the `.grad` of every leaf they depend on.

    Parameters
    ----------
    tensors : Tensor or sequence of Tensor
        The results to differentiate.
    grad_tensors : Tensor or sequence of (Tensor or None), optional
        Cotangents, each of its tensor's shape; 1 by default, for scalars only.
    retain_graph : bool, optional
        Keep what the graph saved, so that it can be walked again. By default the
        graph is freed unless `create_graph` is set.
    create_graph : bool, default False
        Record the walk itself, so that the gradients can be differentiated.

    Raises
    ------
    RuntimeError
        If a tensor requires no grad, the graph was freed, or a saved value was
        changed in place. No `.grad` has changed then. An interrupt in the last moment,
        when all are written, says so in a note.
    """
    outputs = _as_sequence(tensors, "tensors")
    result = walk(
        outputs,
        _gradients(grad_tensors, len(outputs), "grad_tensors"),
        None,
        retain_graph=create_graph if retain_graph is None else retain_graph,
        create_graph=create_graph,
        name="the tensor",
    )
    _commit(result, create_graph=create_graph)


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    *,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """Return the gradient of tensors: what `gl.autograd.grad` does with them."""
    results = _as_sequence(outputs, "outputs")
    sources = _as_sequence(inputs, "inputs")
    nodes: list[Node] = []
    for i, source in enumerate(sources):
        if source._node is None:
            raise RuntimeError(
                f"inputs[{i}] does not require grad; create it with requires_grad=True"
            )
        nodes.append(source._node)
    result = walk(
        results,
        _gradients(grad_outputs, len(results), "grad_outputs"),
        nodes,
        retain_graph=create_graph if retain_graph is None else retain_graph,
        create_graph=create_graph,
        name="the output",
    )
    maker = _Results(result, create_graph=create_graph)
    by_node = {node: maker.tensor(node, g) for node, g in result.found}
    if not allow_unused:
        for i, node in enumerate(nodes):
            if node not in by_node:
                raise RuntimeError(
                    f"inputs[{i}] was not used in computing the outputs; pass "
                    "allow_unused=True to get None for it"
                )
    return tuple(by_node.get(node) for node in nodes)
