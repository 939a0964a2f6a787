"""Fitting a saved optimizer state to the parameters at hand."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from gradlite._arguments import type_name
from gradlite._from_data import asarray
from gradlite._typing import DType
from gradlite.backends import is_array
from gradlite.backends.dtypes import float16, float32, rank
from gradlite.optim._groups import Group, label
from gradlite.tensor import Tensor


class Destination(NamedTuple):
    """Where the state that is saved for one parameter goes."""

    param: Tensor
    group: int
    name: str


def fit(
    groups: Sequence[Group], state_dict: Mapping[str, Any]
) -> dict[int, Destination]:
    """Match the parameters of a state dict with those of an optimizer.

    Parameters
    ----------
    groups : list of dict
        The optimizer's groups.
    state_dict : dict
        What was saved. Parameters are matched within their groups: by name if both
        sides have names, else by position.

    Returns
    -------
    dict
        For each number that stands for a parameter in `state_dict`, where it goes.

    Raises
    ------
    TypeError, ValueError
        If it is no state dict, or groups, names or shapes differ; all differences are
        listed.
    """
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"state_dict must be a dict, got {type_name(state_dict)}")
    missing = [repr(k) for k in ("state", "param_groups") if k not in state_dict]
    if missing:
        raise ValueError(
            f"state_dict has no entry {' and no '.join(missing)}; pass what"
            " optimizer.state_dict() returned"
        )
    saved_groups = state_dict["param_groups"]
    _check_form(state_dict["state"], saved_groups)
    if len(saved_groups) != len(groups):
        raise ValueError(
            f"state_dict has {len(saved_groups)} parameter groups, the optimizer"
            f" {len(groups)}; build it with the same groups"
        )
    slots: dict[int, Destination] = {}
    problems: list[str] = []
    for i, (group, saved) in enumerate(zip(groups, saved_groups, strict=True)):
        order, differences = _match(group, saved)
        problems += [f"in group {i} {text}" for text in differences]
        for number, j in zip(saved["params"], order, strict=False):
            slots[number] = Destination(group["params"][j], i, label(group, i, j))
    matched = not problems
    for number, entry in state_dict["state"].items():
        if number in slots:
            problems += _shape_problems(slots[number], entry)
        elif matched:
            problems.append(f"there is state for {number!r}, which no group lists")
    if problems:
        raise ValueError(
            f"state_dict does not fit the optimizer: {'; '.join(problems)}"
        )
    return slots


def _check_form(state: Any, groups: Any) -> None:
    """Raise unless the two entries of a state dict are built as they should be."""
    if not isinstance(state, Mapping):
        raise TypeError(
            f"state_dict['state'] must be a dict by parameter, got {type_name(state)}"
        )
    for number, entry in state.items():
        if not isinstance(entry, Mapping):
            raise TypeError(
                f"state_dict['state'][{number!r}] must be a dict, got"
                f" {type_name(entry)}"
            )
    if not isinstance(groups, list | tuple):
        raise TypeError(
            f"state_dict['param_groups'] must be a list, got {type_name(groups)}"
        )
    for i, group in enumerate(groups):
        numbers = group.get("params") if isinstance(group, Mapping) else None
        if not isinstance(numbers, list | tuple) or not all(
            isinstance(number, int) for number in numbers
        ):
            raise TypeError(
                f"state_dict['param_groups'][{i}] must be a dict whose entry 'params'"
                " is a list of ints; pass what optimizer.state_dict() returned"
            )


def _match(group: Group, saved: Mapping[str, Any]) -> tuple[list[int], list[str]]:
    """Return the position in `group` of each saved parameter, and what differs."""
    if "param_names" in group and "param_names" in saved:
        names, saved_names = _keys(group["param_names"]), _keys(saved["param_names"])
        problems = [
            f"{text} {', '.join(repr(name) for name, _ in found)}"
            for text, found in (
                ("nothing is saved for", [k for k in names if k not in saved_names]),
                ("the optimizer lacks", [k for k in saved_names if k not in names]),
            )
            if found
        ]
        return [] if problems else [names.index(key) for key in saved_names], problems
    count, saved_count = len(group["params"]), len(saved["params"])
    if count != saved_count:
        return [], [f"{saved_count} parameters are saved, the optimizer has {count}"]
    return list(range(count)), []


def _keys(names: Sequence[str]) -> list[tuple[str, int]]:
    """Return the names, numbered among their equals."""
    seen: Counter[str] = Counter()
    keys = []
    for name in names:
        keys.append((name, seen[name]))
        seen[name] += 1
    return keys


def _shape_problems(slot: Destination, entry: Mapping[str, Any]) -> Iterator[str]:
    """Yield which saved arrays have not the parameter's shape; a "step" may be 0-D."""
    shape = tuple(slot.param.shape)
    for key, value in entry.items():
        if key == "step" or not (isinstance(value, Tensor) or is_array(value)):
            continue
        if tuple(value.shape) != shape:
            yield f"{slot.name} has shape {shape}, its saved {key} {tuple(value.shape)}"
        elif rank(asarray(value).dtype) != 2:
            yield f"{slot.name} has a saved {key} that is not real and floating-point"


def copied(value: Any, param: Tensor) -> Any:
    """Return a copy of a saved value, an array as a tensor on the device of `param`.

    Parameters
    ----------
    value : object
        A tensor, an array of any library, or anything that can be deep-copied.
    param : Tensor
        Its parameter; arrays of the same shape get its state's dtype too.
    """
    if is_array(value):
        value = asarray(value)
    if not isinstance(value, Tensor):
        return copy.deepcopy(value)
    return placed(value.detach(), param).clone()


def placed(value: Tensor, param: Tensor) -> Tensor:
    """Return a state tensor on the device of its parameter, in the state's dtype."""
    value = value.to(param.device)
    return value.to(state_dtype(param)) if value.shape == param.shape else value


def state_dtype(param: Tensor) -> DType:
    """Return the dtype of a parameter's state: its own, but at least float32."""
    return float32 if param.dtype is float16 else param.dtype
