"""The graph: nodes, leaves, version counters, and the part of a tensor they need."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar

from gradlite._typing import Array, DType, Shape
from gradlite.backends import Device

if TYPE_CHECKING:
    from gradlite.autograd._op import Op
    from gradlite.autograd._rules import Plan

Hook = Callable[[Any], Any]

next_number = count(1).__next__

NO_OPTIONS: dict[str, Any] = {}
"""The options of nodes that keep none; nobody writes into it."""

_FORGETTING = threading.Lock()


class Version:
    """Counts the writes to a storage; views of the storage share it.

    Attributes
    ----------
    count : int
        How often it was written to.
    shared : bool
        Whether others than the tensor itself may reach the storage: a detached tensor,
        a NumPy array. Its data must then stay where it is.
    views : list of weak references, or None
        To the tensors that operations made as views of the storage, in their order.
    """

    count = 0  # all become attributes of an instance when they change
    shared = False
    views: list[weakref.ref[Variable]] | None = None
    _room = 16

    def add_view(self, view: Variable) -> None:
        """Note a tensor that is a view of this storage."""
        views = self.views
        if views is None:  # in one step, for other threads
            views = self.__dict__.setdefault("views", [])
        elif len(views) >= self._room:
            self._forget_views(views)
        views.append(weakref.ref(view))

    def _forget_views(self, views: list[weakref.ref[Variable]]) -> None:
        """Leave out the views that are gone."""
        if _FORGETTING.acquire(blocking=False):
            try:
                n = len(views)  # other threads may add more at the end meanwhile
                views[:n] = [ref for ref in views[:n] if ref() is not None]
                self._room = max(16, 2 * len(views))
            finally:
                _FORGETTING.release()

    def bump(self) -> None:
        """Note a write."""
        self.count += 1


class SliceVersion(Version):
    """The version of a slice of an arena, which changes with either.

    One write to the whole arena bumps one epoch; a write to one slice leaves its
    neighbours as they are.

    Parameters
    ----------
    epoch : Version
        The version of the arena.
    """

    def __init__(self, epoch: Version) -> None:
        self._epoch = epoch
        self._writes = 0

    @property
    def count(self) -> int:  # type: ignore[override]
        """Writes to the slice and to the arena; both only grow."""
        return self._writes + self._epoch.count

    def bump(self) -> None:
        """Note a write to this slice."""
        self._writes += 1


class Variable:
    """What the graph knows of a tensor; `Tensor` adds the functions.

    Attributes
    ----------
    _array : Array
        The raw array.
    _device : Device
        Where it lives.
    _node : Node or None
        What computed it, a `Leaf` where gradients are collected, None if constant.
    _version : Version
        Of its storage.
    _grad : Variable or None
        The collected gradient.
    _source : tuple of (Variable, Op, dict, int or None)
        Of a view only, how it was made: the tensor, the operation, its options, and
        which of several results it is.
    """

    __slots__ = (
        "__dict__",
        "__weakref__",
        "_array",
        "_device",
        "_grad",
        "_node",
        "_source",
        "_version",
    )

    _array: Array
    _device: Device
    _node: Node | None
    _version: Version
    _grad: Any
    _source: tuple[Variable, Op, dict[str, Any], int | None]

    _result_type: ClassVar[type[Any]]

    @classmethod
    def _wrap(
        cls, array: Array, device: Device, node: Node | None, version: Version
    ) -> Any:
        """Return a tensor around a raw array: the one way in which results are made."""
        self = object.__new__(cls._result_type)
        self._array = array
        self._device = device
        self._node = node
        self._version = version
        self._grad = None
        return self


class Extra:
    """What few nodes have: hooks, a tensor that retains its gradient, a trace."""

    __slots__ = ("hooks", "retained", "trace")

    def __init__(self) -> None:
        self.hooks: dict[int, Hook] = {}
        self.retained: weakref.ref[Variable] | None = None
        self.trace: str = ""


class Node:
    """One recorded operation: where the cotangent of its result is turned into others.

    A node holds raw arrays and no tensors, so that nothing it belongs to refers back
    to it. It is also the `like` of its result: shape, dtype and device without data.

    Attributes
    ----------
    number : int
        Creation number; a node's operands have smaller ones.
    plan : Plan or None
        What to do with the cotangent; None for leaves and outputs.
    edges : tuple of (Node or None)
        The nodes of the operands, None where no gradient is needed.
    saved : tuple or None
        What the rules named; None once they have run.
    guards : tuple of (Version, int, int)
        For each saved tensor its version, the count it had, and its place in `saved`.
    options : dict
        The operation's options.
    """

    __slots__ = (
        "device", "dtype", "edges", "extra", "guards", "number", "options", "plan",
        "saved", "shape",
    )  # fmt: skip

    number: int
    plan: Plan | None
    edges: tuple[Node | None, ...]
    saved: tuple[Any, ...] | None
    guards: tuple[Any, ...]
    options: dict[str, Any]
    shape: Shape
    dtype: DType
    device: Device
    extra: Extra | None

    @property
    def name(self) -> str:
        """The name of the operation."""
        return self.plan.name if self.plan else type(self).__name__.lower()

    def __repr__(self) -> str:
        return f"<{self.name} node {self.number}>"

    def add_hook(self, hook: Hook) -> RemovableHandle:
        """Call `hook` with the complete cotangent of this node's result."""
        if not callable(hook):
            raise TypeError(f"hook must be a function of the gradient, got {hook!r}")
        if self.extra is None:
            self.extra = Extra()
        handle = RemovableHandle(self.extra.hooks)
        self.extra.hooks[handle.key] = hook
        return handle

    def note(self, trace: str) -> None:
        """Remember the line of code that recorded this node."""
        if self.extra is None:
            self.extra = Extra()
        self.extra.trace = trace

    def retain(self, tensor: Variable) -> None:
        """Leave the cotangent in `tensor.grad`, as long as the tensor is the result."""
        if self.extra is None:
            self.extra = Extra()
        self.extra.retained = weakref.ref(tensor)

    def retains(self, tensor: Variable) -> bool:
        """Whether `retain` was called for `tensor`."""
        retained = self.extra.retained if self.extra is not None else None
        return retained is not None and retained() is tensor


class GradientArena:
    """What the slots in one piece of memory have in common.

    Parameters
    ----------
    fixed : bool
        Whether gradients are always written here. Otherwise they are only until the
        user has asked for one: who keeps a gradient is to find it unchanged.

    Attributes
    ----------
    shown : bool
        Whether the user has asked for a gradient that lies here.
    """

    __slots__ = ("fixed", "shown")

    def __init__(self, *, fixed: bool) -> None:
        self.fixed = fixed
        self.shown = False


class Slot:
    """A place for the gradient of one leaf.

    Parameters
    ----------
    tensor : Variable
        A constant of the leaf's shape, dtype and device, which becomes its gradient.
    arena : GradientArena
        What it is a part of.
    """

    __slots__ = ("arena", "array", "tensor")

    def __init__(self, tensor: Variable, arena: GradientArena) -> None:
        self.tensor = tensor
        self.array = tensor._array
        self.arena = arena

    def is_free(self) -> bool:
        """Whether a new gradient may be written over the last one."""
        if self.tensor._array is not self.array:  # the user has replaced its data
            return False
        return self.arena.fixed or not self.arena.shown


class Leaf(Node):
    """The end of the graph at a tensor that collects its gradient.

    Attributes
    ----------
    tensor : weak reference
        The tensor, which may be gone by the time of `backward`.
    slot : Slot or None
        Where the gradient is to be written, if an optimizer keeps gradients together.
    """

    __slots__ = ("slot", "tensor")

    tensor: weakref.ref[Variable]
    slot: Slot | None

    def __init__(self, tensor: Variable) -> None:
        self.number = next_number()
        self.plan = None
        self.edges = ()
        self.saved = ()
        self.guards = ()
        self.options = NO_OPTIONS
        self.extra = None
        self.tensor = weakref.ref(tensor)
        self.follow(tensor)

    def follow(self, tensor: Variable) -> None:
        """Take the shape, dtype and device of `tensor`, whose data was replaced.

        A slot does not belong to the new data.
        """
        self.slot = None
        self.shape = tensor._array.shape
        self.dtype = tensor._array.dtype
        self.device = tensor._device


class Output(Node):
    """One of several results of an operation, whose node gathers their cotangents.

    Attributes
    ----------
    index : int
        Which of the results.
    """

    __slots__ = ("index",)

    index: int

    def __init__(self, node: Node, index: int, array: Array) -> None:
        self.number = next_number()
        self.plan = None
        self.edges = (node,)
        self.saved = ()
        self.guards = ()
        self.options = NO_OPTIONS
        self.extra = None
        self.index = index
        self.shape = array.shape
        self.dtype = array.dtype
        self.device = node.device

    @property
    def name(self) -> str:
        """The name of the operation."""
        node = self.edges[0]
        return node.name if node is not None else "output"


class RemovableHandle:
    """Takes a hook away again, by `remove()` or at the end of a `with` block."""

    _next_key = count().__next__

    def __init__(self, hooks: dict[int, Any]) -> None:
        self.key = self._next_key()
        self._hooks = hooks

    def remove(self) -> None:
        """Take the hook away; a second time does nothing."""
        self._hooks.pop(self.key, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()
