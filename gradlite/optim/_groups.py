"""Parameters and their groups: what a user may pass, and how messages name them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

from gradlite._arguments import type_name
from gradlite.backends.dtypes import rank
from gradlite.tensor import Tensor

Group = dict[str, Any]
Params = Iterable[Tensor] | Iterable[tuple[str, Tensor]] | Iterable[Group]


def label(group: Group, i: int, j: int) -> str:
    """Return how messages call parameter `j` of group `i`."""
    name = f" ({group['param_names'][j]!r})" if "param_names" in group else ""
    return f"parameter {j}{name} of group {i}"


def listed(params: Any) -> list[Any]:
    """Return an ordered iterable of parameters as a list, or raise a TypeError."""
    if isinstance(params, Tensor):
        raise TypeError("params must be an iterable of tensors, got one; pass [tensor]")
    if isinstance(params, (set, frozenset)):
        raise TypeError(
            f"params must have an order, got a {type_name(params)}; pass a list"
        )
    if isinstance(params, dict):
        raise TypeError(
            "params must be an iterable of tensors, pairs or groups, got a dict; pass"
            " [group], or dict.items() for names and tensors"
        )
    if not isinstance(params, Iterable):
        raise TypeError(
            f"params must be an iterable of tensors, got {type_name(params)}; pass"
            " model.parameters()"
        )
    return list(params)


def unzip(params: Any) -> tuple[list[Any], list[str]]:
    """Return a group's parameters, repeated ones once, and their names if given.

    Parameters
    ----------
    params : iterable
        Of parameters or of (name, parameter) pairs.

    Raises
    ------
    TypeError
        If it is no ordered iterable, or holds another kind of tuple.
    ValueError
        If only some have names.
    """
    pairs: dict[int, tuple[str | None, Any]] = {}
    repeated = False
    for item in listed(params):
        name, param = (
            item if isinstance(item, tuple) and len(item) == 2 else (None, item)
        )
        if name is not None and not isinstance(name, str):
            raise TypeError(f"names in params must be str, got {name!r}")
        repeated |= id(param) in pairs
        pairs.setdefault(id(param), (name, param))
    if repeated:
        warnings.warn(
            "params holds a parameter more than once; it is updated once", stacklevel=5
        )
    names = [name for name, _ in pairs.values() if name is not None]
    if names and len(names) < len(pairs):
        raise ValueError(
            f"params must have names for all parameters or for none, got {len(names)}"
            f" names for {len(pairs)} parameters"
        )
    return [param for _, param in pairs.values()], names


def check_params(group: Group, earlier: Sequence[Group]) -> None:
    """Raise if the parameters of a new group cannot be optimized.

    Parameters
    ----------
    group : dict
        With ``"params"``, a list, and perhaps ``"param_names"``.
    earlier : list of dict
        The groups before it.
    """
    i = len(earlier)
    for j, param in enumerate(group["params"]):
        if not isinstance(param, Tensor):
            raise TypeError(
                f"params must hold tensors, got {type_name(param)} at position {j}"
            )
        if rank(param.dtype) != 2:
            raise TypeError(
                f"params must be real and floating-point, got {label(group, i, j)}"
                f" of dtype {param.dtype.__name__}; keep a complex one as two real"
                " parameters"
            )
        if not param.is_leaf:
            raise ValueError(
                f"params must be leaves, got {label(group, i, j)}, the result of"
                f" {param.grad_fn}; pass x.detach().requires_grad_()"
            )
    known = {id(p) for other in earlier for p in other["params"]}
    for j, param in enumerate(group["params"]):
        if id(param) in known:
            raise ValueError(
                f"{label(group, i, j)} is in an earlier group too; list it once"
            )
    named = "param_names" in group
    if named and len(group["param_names"]) != len(group["params"]):
        raise ValueError(
            f"param_names has {len(group['param_names'])} names for"
            f" {len(group['params'])} parameters"
        )
    if any(("param_names" in other) != named for other in earlier):
        raise ValueError(
            f"params must have names in all groups or in none, got group {i}"
            f" {'with' if named else 'without'} names after others"
            f" {'without' if named else 'with'}"
        )
