"""Views where a gradient is recorded: a write to one reaches all that share its memory.

There a write makes a new value, so that what the graph has saved stays as it was. The
tensor that was written to, the one that it is a view of, and all other views of that
one go on as parts of the new value, as if they had been made from it.
"""

from __future__ import annotations

from typing import Any

from gradlite.autograd._dispatch import FACTORY, apply
from gradlite.autograd._graph import Leaf, Variable, Version
from gradlite.autograd._mode import enable_grad


def base_of(x: Variable) -> Variable | None:
    """Return the tensor of which `x` is a view; None if of none, or no longer."""
    source = getattr(x, "_source", None)
    if source is None or type(x._node) is Leaf or source[0]._version is not x._version:
        return None
    return source[0]  # type: ignore[no-any-return]


def leads_to_leaf(x: Variable) -> bool:
    """Whether `x` is a leaf that requires grad, or a view of one."""
    base: Variable | None = x
    while base is not None:
        if type(base._node) is Leaf:
            return True
        base = base_of(base)
    return False


def _read(view: Variable, base: Any) -> Any:
    """Return the view anew, of another value of its base."""
    _, op, options, place = view._source
    if op.get is not None:
        return op.get(base, place, **options)
    return apply(op, (base,), options)


def _put(view: Variable, value: Any) -> Any:
    """Return the base of a view as it is with another value in the view."""
    base, op, options, place = view._source
    if op.view == "read-only":
        raise ValueError(
            f"the result of {op.title} is a read-only view of its operand; take its "
            "clone() to write to"
        )
    if op.put is not None:
        return op.put(base, value, *(() if place is None else (place,)), **options)
    # The view has all elements of its base: the adjoint of that is its inverse.
    rule = op.rules.by_target[0]
    known = {**op.defaults, **options, "like": base}
    return rule.function(FACTORY.namespace, value, *(known[n] for n in rule.parameters))


def _follow(root: Variable, value: Any) -> list[tuple[Variable, Any]]:
    """Return `root` and its views, each with what it is once `root` has `value`."""
    pairs = [(root, value)]
    views = root._version.views
    if views is None:
        return pairs
    changed = {id(root): value}
    for ref in tuple(views):  # made after what they are views of
        view = ref()
        base = None if view is None else base_of(view)
        if view is not None and id(base) in changed:
            fresh = changed[id(view)] = _read(view, changed[id(base)])
            pairs.append((view, fresh))
    return pairs


def unlink(x: Variable) -> None:
    """Let a tensor whose data is replaced be no view any more, and have none."""
    for ref in tuple(x._version.views or ()):
        view = ref()
        if view is not None and base_of(view) is x:
            del view._source
    if hasattr(x, "_source"):
        del x._source


def _laid_out_like(value: Variable, x: Variable) -> Any:
    """Return `value` in the memory order of `x`, on which it depends what is a view."""
    array = x._device.backend.laid_out_like(value._array, x._array)
    if array is value._array:
        return value
    return Variable._wrap(array, x._device, value._node, Version())


def write(tensor: Any, value: Any) -> None:
    """Let a tensor go on as another value, with all that shares its memory.

    Parameters
    ----------
    tensor : Variable
        What is written to.
    value : Variable
        Of its shape and dtype.

    Raises
    ------
    ValueError
        If the tensor is a read-only view. Nothing has then changed.
    """
    while (base := base_of(tensor)) is not None:
        tensor, value = base, _put(tensor, value)
    value = _laid_out_like(value, tensor)
    for view, fresh in _follow(tensor, value):
        node = fresh._node
        if node is not None and view._node is not None and view._node.retains(view):
            node.retain(view)
        view._array, view._node, view._version = fresh._array, node, value._version
        if view is not tensor:
            value._version.add_view(view)


def rebase_views(leaf: Variable) -> None:
    """Let the views of a tensor that has become a leaf be computed from it."""
    with enable_grad():
        for view, fresh in _follow(leaf, leaf)[1:]:
            view._node = fresh._node
