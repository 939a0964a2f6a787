"""What an optimizer remembers of its parameters, in dicts that notice changes."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Mapping
from typing import Any

from gradlite.tensor import Tensor


class Changes:
    """Whether anything has changed since the optimizer looked last.

    Entries share it with the dict that they are in: to know that one would be a cycle.
    """

    __slots__ = ("seen",)

    def __init__(self) -> None:
        self.seen = True


class State(UserDict[Tensor, "Entry"]):
    """The state of all parameters: an `Entry` for each, made when it is asked for."""

    # Tensors hash by identity: two live ones never share a hash, so the look-up does
    # not reach their element-wise `==`.

    def __init__(self) -> None:
        super().__init__()
        self._changes = Changes()

    @property
    def changed(self) -> bool:
        """Whether an entry, or anything in one, was put in or taken out."""
        return self._changes.seen

    @changed.setter
    def changed(self, value: bool) -> None:
        self._changes.seen = value

    def __missing__(self, param: Tensor) -> Entry:
        entry = self.data[param] = Entry(self._changes)
        return entry

    def __setitem__(self, param: Tensor, values: Mapping[str, Any]) -> None:
        self.changed = True
        entry = self.data[param] = Entry(self._changes)
        entry.data.update(values)

    def __delitem__(self, param: Tensor) -> None:
        self.changed = True
        del self.data[param]

    def __contains__(self, param: object) -> bool:
        return param in self.data

    def get(self, param: Tensor, default: Any = None) -> Any:
        """Return the state of a parameter without making one."""
        return self.data.get(param, default)


class Entry(UserDict[str, Any]):
    """The state of one parameter, by name.

    Parameters
    ----------
    changes : Changes
        Where a change is noted.
    """

    def __init__(self, changes: Changes) -> None:
        super().__init__()
        self._changes = changes

    def __setitem__(self, name: str, value: Any) -> None:
        self._changes.seen = True
        self.data[name] = value

    def __delitem__(self, name: str) -> None:
        self._changes.seen = True
        del self.data[name]
