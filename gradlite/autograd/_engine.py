"""The walk from results back to leaves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from typing import Any, NamedTuple

from gradlite._typing import Array, Namespace, Shape
from gradlite.autograd._dispatch import FACTORY, is_inexact
from gradlite.autograd._graph import NO_OPTIONS, Node, Output, Variable, Version
from gradlite.autograd._mode import MODE, Mode
from gradlite.autograd._rules import Like
from gradlite.backends import DeviceMismatchError, is_array

Cotangents = list[tuple[Node, Any]]


class WalkResult(NamedTuple):
    """What a walk found; nothing has been written yet.

    Attributes
    ----------
    found : list of (Node, cotangent)
        At the leaves, or at the inputs asked for.
    retained : list of (Node, cotangent)
        At nodes whose tensor retains its gradient.
    shown : list of Array
        Arrays that are, or may be, in the user's hands.
    """

    found: Cotangents
    retained: Cotangents
    shown: list[Array]


def sum_to(xp: Namespace, g: Any, like: Any) -> Any:
    """Undo broadcasting: sum `g` over the axes along which `like` was repeated."""
    extra = g.ndim - len(like.shape)
    axes = tuple(range(extra)) + tuple(
        i + extra
        for i, size in enumerate(like.shape)
        if size == 1 and g.shape[i + extra] != 1
    )
    wide = xp.accumulation_dtype(g.dtype)
    g = xp.sum(g, axis=axes, keepdims=True, dtype=wide) if axes else g
    return xp.reshape(g, like.shape)


def _broadcasts(shape: Shape, wider: Shape) -> bool:
    """Return whether an array of `shape` can be repeated to `wider`."""
    return len(shape) <= len(wider) and all(
        n in (1, m) for n, m in zip(reversed(shape), reversed(wider), strict=False)
    )


def conform(xp: Namespace, g: Any, like: Any, name: str) -> Any:
    """Bring a rule's cotangent to the shape and dtype of its operand."""
    if g.shape != like.shape:
        if not _broadcasts(like.shape, g.shape):
            raise RuntimeError(
                f"the derivative of {name} has shape {tuple(g.shape)} for an operand "
                f"of shape {tuple(like.shape)}; its rule must return that shape or one "
                "that the operand broadcasts to"
            )
        g = sum_to(xp, g, like)
    if g.dtype != like.dtype:
        if xp.isdtype(g.dtype, "complex floating") and not xp.isdtype(
            like.dtype, "complex floating"
        ):
            g = xp.real(g)
        g = xp.astype(g, like.dtype)
    return g


class _Walk:
    """One backward pass over arrays, or over tensors where it is to be recorded."""

    def __init__(self, *, retain_graph: bool, create_graph: bool) -> None:
        self.retain = retain_graph
        self.graph = create_graph
        self.anomaly = MODE.get().anomaly
        self.pending: dict[Node, Any] = {}
        self.owned: set[Node] = set()
        self.heap: list[tuple[int, Node]] = []
        self.retained: Cotangents = []
        self.shown: list[Array] = []

    def start(self, node: Node, seed: Any) -> None:
        """Begin the walk at `node`, which may have been given before."""
        if node in self.pending:
            self.pending[node] = self.add(node, self.pending[node], seed)
        else:
            self.pending[node] = seed
            heappush(self.heap, (-node.number, node))

    def add(self, node: Node, before: Any, g: Any) -> Any:
        """Return the sum of two cotangents of `node`.

        It is written into `before` only if that is a sum made here: a rule can have
        handed the same array to several nodes, or a view of it.
        """
        if self.graph:
            return before + g
        device = node.device
        with device.scope():
            if node in self.owned:
                before += g
                return before
            self.owned.add(node)
            return device.backend.asarray(before + g)

    def add_output(self, output: Output, g: Any) -> None:
        """Hand the cotangent of one of several results to their common node."""
        node = output.edges[0]
        assert node is not None
        gathered = self.pending.get(node)
        if gathered is None:
            gathered = self.pending[node] = [None] * node.shape[0]
            heappush(self.heap, (-node.number, node))
        # A saved result that was wrapped again has an output of its own.
        before = gathered[output.index]
        gathered[output.index] = g if before is None else self.add(output, before, g)

    def run(self, wanted: set[Node] | None, stops: set[Node]) -> Cotangents:
        """Walk until nothing is pending; return what reached leaves and `stops`.

        A node is run when its cotangent is complete: all that depend on it have larger
        numbers.
        """
        found: Cotangents = []
        pending, heap, owned = self.pending, self.heap, self.owned
        graph, retain, anomaly = self.graph, self.retain, self.anomaly
        while heap:
            node = heappop(heap)[1]
            g = pending.pop(node)
            if node.extra is not None:
                g = self._call_hooks(node, g)
            if stops and node in stops:
                found.append((node, g))
                if wanted is not None and node not in wanted:
                    continue
            plan = node.plan
            if plan is None:
                if type(node) is Output:
                    self.add_output(node, g)
                elif wanted is None:
                    found.append((node, g))
                continue
            if node.saved is None:
                raise _freed(node)
            for version, count, slot in node.guards:
                if version.count != count:
                    raise _changed(node, slot)
            edges = node.edges
            device, backward = node.device, plan.backward
            if graph:
                grads = self._derive_graph(node, g)
            elif device.scoped:
                with device.scope():
                    grads = backward(device.xp, g, node.saved, edges, node.options)
            else:
                grads = backward(device.xp, g, node.saved, edges, node.options)
            if len(grads) != len(edges):
                raise _miscounted(plan.name, len(grads), len(edges))
            if anomaly:
                self._check(node, grads)
            if not retain:
                node.saved = None
                node.edges = node.guards = ()
                node.options = NO_OPTIONS
            for edge, d in zip(edges, grads):  # noqa: B905 - strict takes time
                if edge is None or d is None:
                    continue
                if wanted is not None and edge not in wanted and edge not in stops:
                    continue
                if graph:
                    like = _like(edge)
                    if d.shape != like.shape or d.dtype != like.dtype:
                        d = conform(FACTORY.namespace, d, like, plan.name)
                else:
                    device = edge.device
                    if d.shape != edge.shape or d.dtype is not edge.dtype:
                        with device.scope():
                            d = conform(device.xp, d, edge, plan.name)
                    if type(d) is not device.array_type:
                        d = device.backend.asarray(d)
                if edge not in pending:
                    pending[edge] = d
                    heappush(heap, (-edge.number, edge))
                elif edge in owned and not edge.device.scoped:
                    pending[edge] += d  # what add() does, in the innermost loop
                else:
                    pending[edge] = self.add(edge, pending[edge], d)
        return found

    def _call_hooks(self, node: Node, g: Any) -> Any:
        extra = node.extra
        assert extra is not None
        tensor = g if self.graph else _tensor(g, node)
        if extra.hooks:  # they may write into it, and siblings hold the same
            tensor = FACTORY.namespace.clone(tensor)
        self.shown.append(tensor._array)
        for hook in list(extra.hooks.values()):
            result = hook(tensor)
            if result is not None:
                tensor = _hooked(result, node)
                self.shown.append(tensor._array)
        if extra.retained is not None:
            self.retained.append((node, tensor if self.graph else tensor._array))
        return tensor if self.graph else tensor._array

    def _derive_graph(self, node: Node, g: Any) -> tuple[Any, ...]:
        """Run the rules of a node on tensors, so that they are recorded themselves."""
        plan = node.plan
        assert plan is not None
        if plan.once:
            raise RuntimeError(
                f"{plan.name} can be differentiated once only, and create_graph=True "
                "asks for a derivative of its derivative; compute without create_graph"
            )
        likes = [None if edge is None else _like(edge) for edge in node.edges]
        return plan.backward(FACTORY.namespace, g, _tensors(node), likes, node.options)

    def _check(self, node: Node, grads: Iterable[Any]) -> None:
        for i, (edge, d) in enumerate(zip(node.edges, grads, strict=True)):
            if edge is None or d is None:
                continue
            array, xp = d._array if self.graph else d, edge.device.xp
            with edge.device.scope():
                has_nan = bool(xp.any(xp.isnan(array)))
            if has_nan:
                trace = node.extra.trace if node.extra else ""
                raise RuntimeError(
                    f"the derivative of {node.name} has NaN for operand {i}; it was "
                    f"computed at {trace or 'a line outside detect_anomaly()'}"
                )


def _hooked(result: Any, node: Node) -> Any:
    """Return what a hook put in the place of the gradient at `node`, in its dtype."""
    where = f"a hook on the result of {node.name}"
    if is_array(result):
        result = FACTORY.asarray(result)
    if not isinstance(result, Variable):
        raise TypeError(
            f"{where} must return a tensor or None, got {type(result).__name__}"
        )
    if result._device is not node.device:
        raise DeviceMismatchError(
            f"{where} returned a tensor on {result._device}, the gradient is on "
            f"{node.device}; move it with .to({node.device.name!r})"
        )
    shape = tuple(result._array.shape)
    if shape != tuple(node.shape):
        raise ValueError(
            f"{where} returned shape {shape}, the gradient has {tuple(node.shape)}"
        )
    return conform(FACTORY.namespace, result, _like(node), node.name)


def _freed(node: Node) -> RuntimeError:
    return RuntimeError(
        f"the graph was freed when backward went through {node.name} before; call the "
        "first backward with retain_graph=True"
    )


def _miscounted(name: str, given: int, asked: int) -> RuntimeError:
    return RuntimeError(
        f"the derivative of {name} has {given} cotangents for {asked} operands; its "
        "rule must return one for each"
    )


def _changed(node: Node, slot: int) -> RuntimeError:
    assert node.plan is not None
    return RuntimeError(
        f"{node.name} saved {node.plan.slots[slot]} for its derivative, and it was "
        "changed in place before backward; change a clone() instead, or change it "
        "after backward"
    )


def _like(node: Node) -> Like:
    return Like(
        tuple(node.shape), node.device.backend.of_dtype(node.dtype), node.device
    )


def _tensor(array: Array, node: Node) -> Any:
    return Variable._wrap(array, node.device, None, Version())


def _tensors(node: Node) -> tuple[Any, ...]:
    """Return what a node saved as tensors that belong to the graph."""
    plan, device = node.plan, node.device
    assert plan is not None
    assert node.saved is not None
    backend = device.backend
    versions: dict[int, list[Version]] = {}
    for version, _, slot in node.guards:
        versions.setdefault(slot, []).append(version)

    def wrap(slot: int, i: int, value: Any, source: Node | None) -> Any:
        if not isinstance(value, device.array_type):
            return value  # a scalar, or None
        version = versions[slot][i] if slot in versions else Version()
        return Variable._wrap(value, device, source, version)

    def source(i: int, result: Array) -> Node | None:
        return Output(node, i, result) if is_inexact(device, result.dtype) else None

    def unpack(slot: int, name: str, value: Any) -> Any:
        if name == "like":
            return [v._replace(dtype=backend.of_dtype(v.dtype)) for v in value]
        if name == "out" and isinstance(value, tuple):
            return tuple(wrap(slot, i, v, source(i, v)) for i, v in enumerate(value))
        if isinstance(value, tuple):
            return [wrap(slot, i, v, node.edges[i]) for i, v in enumerate(value)]
        if slot < len(plan.operands):
            return wrap(slot, 0, value, node.edges[plan.operands[slot]])
        return wrap(slot, 0, value, node if name == "out" else None)

    return tuple(
        unpack(slot, name, value)
        for slot, (name, value) in enumerate(zip(plan.slots, node.saved, strict=True))
    )


def _needed(roots: Iterable[Node], inputs: set[Node]) -> set[Node]:
    """Return the nodes on the way from `roots` to any of `inputs`.

    An input is among them only if another input lies behind it. Behind a freed node
    that is younger than an input, that input may have been: the walk is to raise there.
    """
    seen = set(roots)
    stack = list(seen)
    while stack:
        for edge in stack.pop().edges:
            if edge is not None and edge not in seen:
                seen.add(edge)
                stack.append(edge)
    needed: set[Node] = set()
    oldest = min((n.number for n in inputs), default=math.inf)
    for node in sorted(seen, key=lambda n: n.number):
        if (node.saved is None and node.number > oldest) or any(
            e is not None and (e in needed or e in inputs) for e in node.edges
        ):
            needed.add(node)
    return needed


def _seed(output: Variable, gradient: Any, name: str) -> Any:
    """Return the raw cotangent with which the walk starts at `output`."""
    device = output._device
    if output._node is None:
        raise RuntimeError(
            f"{name} does not require grad: it was computed from no tensor with "
            "requires_grad=True, or inside no_grad()"
        )
    array = output._array
    if gradient is None:
        if math.prod(array.shape) != 1:
            raise RuntimeError(
                f"{name} has shape {tuple(array.shape)}; a gradient can be left out "
                "for a scalar only: sum it, or pass gradient= of that shape"
            )
        if device.xp.isdtype(array.dtype, "complex floating"):
            raise RuntimeError(
                f"{name} is complex; a gradient can be left out for a real scalar "
                "only: take gl.real(...) or gl.abs(...), or pass gradient="
            )
        with device.scope():
            return device.xp.ones_like(array)
    if not isinstance(gradient, Variable):
        gradient = FACTORY.asarray(gradient, device=device)
    if gradient._device is not device:
        raise DeviceMismatchError(
            f"gradient is on {gradient._device}, {name} on {device}; move it with "
            f".to({device.name!r})"
        )
    isdtype = device.xp.isdtype
    if isdtype(gradient._array.dtype, "complex floating") and not isdtype(
        array.dtype, "complex floating"
    ):
        raise TypeError(
            f"gradient is complex and {name} is real; pass gl.real(gradient)"
        )
    if tuple(gradient._array.shape) != tuple(array.shape):
        raise ValueError(
            f"gradient has shape {tuple(gradient._array.shape)}, {name} has "
            f"{tuple(array.shape)}; they must be equal"
        )
    return gradient


def _start(
    walker: _Walk, output: Variable, gradient: Any, name: str
) -> tuple[Node, Any]:
    """Return a node to start at and its cotangent, in the kind that the walk takes."""
    seed = _seed(output, gradient, name)
    node = output._node
    assert node is not None
    if walker.graph:
        if not isinstance(seed, Variable):
            seed = _tensor(seed, node)
        if seed._array.dtype != node.dtype:
            seed = conform(FACTORY.namespace, seed, _like(node), name)
    else:
        if isinstance(seed, Variable):
            seed = seed._array
            walker.shown.append(seed)
        if seed.dtype != node.dtype:
            with node.device.scope():
                seed = conform(node.device.xp, seed, node, name)
    return node, seed


def walk(
    outputs: Sequence[Variable],
    gradients: Sequence[Any],
    inputs: Sequence[Node] | None,
    *,
    retain_graph: bool,
    create_graph: bool,
    name: str,
) -> WalkResult:
    """Return the cotangents of leaves, or of `inputs`; the caller commits them."""
    walker = _Walk(retain_graph=retain_graph, create_graph=create_graph)
    stops = set(inputs) if inputs is not None else set()
    mode = MODE.set(Mode(create_graph, walker.anomaly))
    try:
        seeds = [
            _start(walker, output, gradient, name)
            for output, gradient in zip(outputs, gradients, strict=True)
        ]
        wanted = None if inputs is None else _needed([n for n, _ in seeds], stops)
        for node, seed in seeds:
            if wanted is None or node in wanted or node in stops:
                walker.start(node, seed)
        found = walker.run(wanted, stops)
    finally:
        MODE.reset(mode)
    return WalkResult(found, walker.retained, walker.shown)
