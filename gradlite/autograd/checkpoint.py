"""Checkpoints: compute a part of the graph again instead of keeping what it saved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import ContextVar, copy_context
from typing import Any

from gradlite._arguments import boolean
from gradlite._generator import record_draws, replay_draws
from gradlite.autograd._dispatch import FACTORY, is_fixed
from gradlite.autograd._graph import Leaf, Node, Variable, Version, next_number
from gradlite.autograd._mode import MODE
from gradlite.autograd._reach import reach
from gradlite.autograd._trees import flatten, paths, unflatten
from gradlite.backends import is_array

_RECOMPUTING: ContextVar[bool] = ContextVar("gradlite_recomputing", default=False)


def is_recomputing() -> bool:
    """Return whether a checkpointed function is being called for its derivative.

    That is a call of which the first has had all effects: nothing is to be counted,
    averaged or logged again.
    """
    return _RECOMPUTING.get()


def checkpoint(
    fun: Callable[..., Any],
    /,
    *args: Any,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """Return ``fun(*args, **kwargs)`` without keeping what its derivative needs.

    When the derivative is asked for, `fun` is called a second time, and what its
    operations saved is kept for that walk only: memory for time. Gradients of the
    arguments, of what `fun` closes over, of any order, are what they are without.

    Parameters
    ----------
    fun : callable
        Returns tensors, in nested tuples, lists and dicts. Whatever else it does, it
        does twice, unless it asks `is_recomputing()` first, as batch norms do.
    *args, **kwargs : Any
        Its arguments. NumPy's and other arrays are copied, since writes to them would
        go unnoticed. Constants that `fun` closes over are read again by the second
        call: pass as arguments what may change before.
    preserve_rng_state : bool, default True
        Whether the second call gets the random numbers of the first, from whatever
        generator; the generators do not notice.

    Returns
    -------
    Any
        What `fun` returned.

    Raises
    ------
    RuntimeError
        In the walk, if an argument or a parameter was changed in place since, or if
        the second call did something else than the first.

    Examples
    --------
    >>> x = gl.tensor([1.0, 2.0], requires_grad=True)
    >>> y = gl.autograd.checkpoint(lambda x: gl.exp(gl.sin(x)), x)
    >>> y.sum().backward()
    """
    if not callable(fun):
        raise TypeError(f"fun must be a function, got {type(fun).__name__}")
    keeps_numbers = boolean("preserve_rng_state", preserve_rng_state)
    if not MODE.get().recording:
        return fun(*args, **kwargs)
    segment = _Segment(fun, args, kwargs)
    since = next_number()
    with record_draws() as states:
        result = fun(*args, **kwargs)
    segment.states = states if keeps_numbers else {}
    reached = reach(flatten(result)[0], since)
    nodes = _younger(reached, since)
    segment.watch(nodes, reached.difference(nodes))
    for i, node in enumerate(nodes):
        if node.saved:
            node.saved = _Saved(segment, i)  # type: ignore[assignment]
    return result


def _younger(reached: set[Node], since: int) -> list[Node]:
    """Return the nodes of one call in its order."""
    nodes = (node for node in reached if node.number > since)
    return sorted(nodes, key=lambda node: node.number)


def _operations(nodes: list[Node]) -> list[tuple[Any, ...]]:
    """Return what must be the same in a second call: operations and what they saved.

    Arrays are not compared; numbers are, such as a loop's that `fun` closes over.
    """
    return [
        (
            node.name,
            tuple(node.shape),
            node.plan.slots if node.plan else (),
            {name: x for name, x in node.options.items() if is_fixed(x)},
            _numbers(node.saved),
        )
        for node in nodes
    ]


def _numbers(saved: Any) -> tuple[Any, ...]:
    # Of a checkpoint inside the function, that one takes care.
    return tuple(filter(is_fixed, saved)) if type(saved) is tuple else ()


class _Saved:
    """What one node saved, as the engine reads it: computed when it is asked for."""

    __slots__ = ("_index", "_segment", "_values")

    def __init__(self, segment: _Segment, index: int) -> None:
        self._segment = segment
        self._index = index
        self._values: Any = None

    def _found(self) -> Any:
        if self._values is None:
            self._values = self._segment.take(self._index)
        return self._values

    def __getitem__(self, slot: int) -> Any:
        return self._found()[slot]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._found())


class _Segment:
    """One checkpointed call, with all that a second one needs.

    It holds no nodes of the call, whose nodes hold it.

    Parameters
    ----------
    function : callable
        What is called.
    args, kwargs : tuple and dict
        With what; tensors among them are kept as they are now.

    Attributes
    ----------
    states : dict
        From which generators the second call draws what the first did, and how.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self._function = function
        leaves, self._structure = flatten((args, kwargs))
        self._leaves = [_kept(leaf) for leaf in leaves]
        self._counts = [
            x._version.count if isinstance(x, Variable) else 0 for x in self._leaves
        ]
        self._context = copy_context()  # the mode and the default device
        self.states: dict[Any, Any] = {}
        self._parameters: list[tuple[Leaf, Version, int]] = []
        self._operations: list[tuple[Any, ...]] = []
        self._older: set[Node] = set()
        self._saved: dict[int, Any] = {}

    def watch(self, nodes: list[Node], older: set[Node]) -> None:
        """Remember what the first call recorded, and on which leaves it depends."""
        self._operations = _operations(nodes)
        self._older = older
        for node in older:
            tensor = node.tensor() if isinstance(node, Leaf) else None
            if tensor is not None:
                version = tensor._version
                self._parameters.append((node, version, version.count))  # type: ignore[arg-type]

    def take(self, index: int) -> Any:
        """Return what a node saved, computing all that is saved again if need be."""
        if index not in self._saved:
            self._check_inputs()
            nodes, older = self._context.copy().run(self._call)
            if _operations(nodes) != self._operations:
                raise RuntimeError(
                    "a checkpointed function did something else when it was called "
                    f"again: {len(nodes)} operations, {len(self._operations)} before, "
                    "or others; it must do and record the same every time"
                )
            if older != self._older:
                raise RuntimeError(
                    "a checkpointed function closes over other tensors than when it "
                    "was called, or over one that was changed in place since; pass "
                    "tensors as arguments, or do without the checkpoint"
                )
            self._saved = {i: n.saved for i, n in enumerate(nodes) if n.saved}
        return self._saved.pop(index)

    def _call(self) -> tuple[list[Node], set[Node]]:
        leaves = [_kept(leaf, copy=None) for leaf in self._leaves]
        args, kwargs = unflatten(self._structure, leaves)
        since = next_number()
        _RECOMPUTING.set(True)  # in the copy of the context that this runs in
        with replay_draws(self.states):
            result = self._function(*args, **kwargs)
        reached = reach(flatten(result)[0], since)
        nodes = _younger(reached, since)
        return nodes, reached.difference(nodes)

    def _check_inputs(self) -> None:
        names = paths(self._structure, "")
        for x, count, name in zip(self._leaves, self._counts, names, strict=True):
            if isinstance(x, Variable) and x._version.count != count:
                raise _changed(f"its argument {name}")
        for leaf, version, count in self._parameters:
            tensor = leaf.tensor()
            if tensor is not None and (
                tensor._version is not version or version.count != count
            ):
                raise _changed(f"a leaf of shape {tuple(leaf.shape)} that it uses")


def _changed(what: str) -> RuntimeError:
    return RuntimeError(
        f"a checkpointed function is to be computed again, and {what} was changed in "
        "place since; change it after backward, or do without the checkpoint"
    )


def _kept(leaf: Any, *, copy: bool | None = True) -> Any:
    """Return an argument in a form that stays as it is; of a tensor, another one."""
    if isinstance(leaf, Variable):
        return Variable._wrap(leaf._array, leaf._device, leaf._node, leaf._version)
    if is_array(leaf) and copy:
        return FACTORY.asarray(leaf, copy=True)._array
    return leaf
