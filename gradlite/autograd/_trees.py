"""Nested tuples, lists and dicts, taken apart into leaves and put together again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeAlias

Tree: TypeAlias = Any
"""A leaf, or a tuple, named tuple, list or dict of trees; None is one without leaves.

Subclasses of these types are leaves: nobody knows how to make another one.
"""


class Structure(NamedTuple):
    """A tree without its leaves.

    Attributes
    ----------
    kind : type or None
        Of the container, None for a leaf.
    keys : tuple
        Of a dict, the fields of a named tuple, else positions.
    parts : tuple of Structure
        What the container holds.
    """

    kind: type[Any] | None
    keys: tuple[Any, ...]
    parts: tuple[Structure, ...]


LEAF = Structure(None, (), ())
NOTHING = Structure(type(None), (), ())


def _is_named(kind: type[Any]) -> bool:
    return issubclass(kind, tuple) and hasattr(kind, "_fields")


def _keys(tree: Tree) -> tuple[Any, ...] | None:
    """Return the keys under which a container holds its parts, None for a leaf."""
    kind = type(tree)
    if kind in (dict, OrderedDict):
        return tuple(tree)
    if kind in (tuple, list):
        return tuple(range(len(tree)))
    return kind._fields if _is_named(kind) else None


def flatten(tree: Tree) -> tuple[list[Any], Structure]:
    """Return the leaves of a tree in order, and the tree without them."""
    if tree is None:
        return [], NOTHING
    keys = _keys(tree)
    if keys is None:
        return [tree], LEAF
    leaves: list[Any] = []
    parts: list[Structure] = []
    for value in tree.values() if isinstance(tree, dict) else tree:
        found, part = flatten(value)
        leaves += found
        parts.append(part)
    return leaves, Structure(type(tree), keys, tuple(parts))


def unflatten(structure: Structure, leaves: Iterable[Any]) -> Tree:
    """Return the tree of a structure with other leaves."""
    return _build(structure, iter(leaves))


def _build(structure: Structure, leaves: Iterator[Any]) -> Tree:
    kind = structure.kind
    if kind is None:
        return next(leaves)
    if structure is NOTHING:
        return None
    parts = [_build(part, leaves) for part in structure.parts]
    if issubclass(kind, dict):
        return kind(zip(structure.keys, parts, strict=True))
    return kind(*parts) if _is_named(kind) else kind(parts)


def map_leaves(function: Callable[[Any], Any], tree: Tree) -> Tree:
    """Return a tree of the results of `function`, the tree itself if all are equal."""
    leaves, structure = flatten(tree)
    results = [function(leaf) for leaf in leaves]
    if all(x is y for x, y in zip(results, leaves, strict=True)):
        return tree
    return unflatten(structure, results)


def _path(name: str, structure: Structure, key: Any) -> str:
    assert structure.kind is not None
    return f"{name}.{key}" if _is_named(structure.kind) else f"{name}[{key!r}]"


def paths(structure: Structure, name: str) -> list[str]:
    """Return what each leaf is called in a message: `name` and the way to it."""
    if structure.kind is None:
        return [name]
    return [
        path
        for key, part in zip(structure.keys, structure.parts, strict=True)
        for path in paths(part, _path(name, structure, key))
    ]


def flatten_like(structure: Structure, tree: Tree, name: str, model: str) -> list[Any]:
    """Return the leaves of `tree` in the order of `structure`, which it must have.

    A list serves for a tuple, and the keys of a dict may come in any order. Where the
    structure has a leaf, whatever stands in the tree is one.

    Parameters
    ----------
    structure : Structure
        Which is wanted.
    tree : Tree
        What was given.
    name, model : str
        In messages, what `tree` is called, and what it must be structured like.

    Raises
    ------
    TypeError
        Naming the place where they differ.
    """
    if structure.kind is None:
        return [tree]
    is_dict = issubclass(structure.kind, dict)
    keys = () if tree is None else _keys(tree)
    if (
        keys is None
        or (tree is None) != (structure is NOTHING)
        or isinstance(tree, dict) != is_dict
        or len(keys) != len(structure.keys)
        or (is_dict and set(keys) != set(structure.keys))
    ):
        raise TypeError(
            f"{name} must be {_describe(structure)}, as in {model}, got "
            f"{_describe(flatten(tree)[1], tree)}"
        )
    return [
        leaf
        for i, (key, part) in enumerate(
            zip(structure.keys, structure.parts, strict=True)
        )
        for leaf in flatten_like(
            part, tree[key if is_dict else i], _path(name, structure, key), model
        )
    ]


def _describe(structure: Structure, tree: Tree = None) -> str:
    kind = structure.kind
    if kind is None:
        return f"a {type(tree).__name__}"
    if structure is NOTHING:
        return "None"
    if issubclass(kind, dict):
        return f"a {kind.__name__} with keys {list(structure.keys)}"
    return f"a {kind.__name__} of length {len(structure.keys)}"
