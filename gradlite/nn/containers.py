"""Modules that hold other modules in order or by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from operator import index as as_index
from typing import Any, Self, overload

from gradlite.nn.module import Module


class _Indexed(Module):
    """Children under the names "0", "1", ... that are reached by position."""

    def _rename(self, children: Iterable[tuple[str, Module]]) -> None:
        """Hold exactly `children`; numbered ones are named after their position."""
        renamed = [
            (str(i) if name.isdigit() else name, module)
            for i, (name, module) in enumerate(children)
        ]
        for name, module in renamed:
            if not isinstance(module, Module):
                raise TypeError(
                    f"{type(self).__name__} holds modules, got "
                    f"{type(module).__name__} at position {name}"
                )
        for name, _ in list(self._own_modules()):
            delattr(self, name)
        for name, module in renamed:
            self.register_module(name, module)

    def _position(self, index: int) -> int:
        try:
            position = as_index(index)
        except TypeError:
            raise TypeError(
                f"index must be an integer or a slice, got {index!r}"
            ) from None
        if not -len(self) <= position < len(self):
            raise IndexError(
                f"index {index} is out of range for a {type(self).__name__} of "
                f"{len(self)} modules"
            )
        return position % len(self)

    def __len__(self) -> int:
        return sum(1 for _ in self._own_modules())

    def __iter__(self) -> Iterator[Module]:
        return iter([module for _, module in self._own_modules()])

    def __setitem__(self, index: int, module: Module) -> None:
        children = list(self._own_modules())
        position = self._position(index)
        children[position] = (children[position][0], module)
        self._rename(children)

    def __delitem__(self, index: int | slice) -> None:
        children = list(self._own_modules())
        del children[index if isinstance(index, slice) else self._position(index)]
        self._rename(children)

    def append(self, module: Module) -> Self:
        """Add a module at the end.

        Parameters
        ----------
        module : Module
            The module.

        Returns
        -------
        Module
            This container.
        """
        return self.extend([module])

    def insert(self, index: int, module: Module) -> Self:
        """Put a module before the position `index`; later numbers move up.

        Parameters
        ----------
        index : int
            Position as in `list.insert`.
        module : Module
            The module.

        Returns
        -------
        Module
            This container.
        """
        children = list(self._own_modules())
        children.insert(index, ("0", module))
        self._rename(children)
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add modules at the end.

        Parameters
        ----------
        modules : iterable of Module
            The modules.

        Returns
        -------
        Module
            This container.
        """
        if not isinstance(modules, Iterable):
            raise TypeError(
                f"modules must be an iterable of modules, got {type(modules).__name__};"
                " write [module] for one"
            )
        self._rename([*self._own_modules(), *(("0", module) for module in modules)])
        return self


class Sequential(_Indexed):
    """Call modules one after the other, each on what the one before returned.

    Parameters
    ----------
    *args : Module, or one mapping of str to Module
        The modules; a mapping such as an OrderedDict names them. After an edit by
        position the numbered names follow the positions again.

    Examples
    --------
    >>> import gradlite as gl
    >>> net = gl.nn.Sequential(gl.nn.Linear(4, 8), gl.nn.Tanh(), gl.nn.Linear(8, 2))
    >>> net[1]
    Tanh()
    >>> len(net[:2])
    2
    """

    def __init__(self, *args: Module | Mapping[str, Module]) -> None:
        super().__init__()
        if len(args) == 1 and isinstance(args[0], Mapping):
            named: dict[str, Any] = dict(args[0])
        else:
            named = {str(i): module for i, module in enumerate(args)}
        for name, module in named.items():
            if isinstance(module, list | tuple):
                raise TypeError(
                    "Sequential takes the modules one by one, got a "
                    f"{type(module).__name__}; write Sequential(*modules)"
                )
            self.register_module(name, module)

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    def __getitem__(self, index: int | slice) -> Module:
        children = list(self._own_modules())
        if isinstance(index, slice):
            return Sequential(dict(children[index]))
        return children[self._position(index)][1]

    def forward(self, input: Any) -> Any:
        """Return the last module's output.

        Parameters
        ----------
        input : Any
            Input of the first module.

        Returns
        -------
        Any
            Output of the last one; `input` if there is none.
        """
        for module in self:
            input = module(input)
        return input


class ModuleList(_Indexed):
    """Hold modules in a list whose parameters are found.

    Parameters
    ----------
    modules : iterable of Module, optional
        The modules.
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        self.extend(modules if modules is not None else ())

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> ModuleList: ...
    def __getitem__(self, index: int | slice) -> Module:
        modules = list(self)
        if isinstance(index, slice):
            return ModuleList(modules[index])
        return modules[self._position(index)]

    def _child_lines(self) -> list[str]:
        # As in PyTorch, equal neighbors share a line: (0-2): 3 x Linear(...).
        blocks: list[tuple[int, int, str]] = []
        for i, module in enumerate(self):
            text = repr(module)
            if blocks and blocks[-1][2] == text:
                blocks[-1] = (blocks[-1][0], i, text)
            else:
                blocks.append((i, i, text))
        return [
            f"({first}): {text}"
            if first == last
            else f"({first}-{last}): {last - first + 1} x {text}"
            for first, last, text in blocks
        ]


class ModuleDict(Module):
    """Hold modules in a dictionary whose parameters are found.

    Parameters
    ----------
    modules : mapping or iterable of (str, Module), optional
        The modules by name.
    """

    def __init__(
        self,
        modules: Mapping[str, Module] | Iterable[tuple[str, Module]] | None = None,
    ) -> None:
        super().__init__()
        if modules is not None:
            self.update(modules)

    def __getitem__(self, key: str) -> Module:
        try:
            return self._children()[key]
        except KeyError:
            raise KeyError(
                f"key {key!r} is not in the ModuleDict, whose keys are {list(self)}"
            ) from None

    def __setitem__(self, key: str, module: Module) -> None:
        if key in self:
            if not isinstance(module, Module):
                raise TypeError(
                    f"module {key!r} of ModuleDict must be a Module, "
                    f"got {type(module).__name__}"
                )
            setattr(self, key, module)
        else:
            self.register_module(key, module)

    def __delitem__(self, key: str) -> None:
        self[key]  # raises if there is none
        delattr(self, key)

    def __len__(self) -> int:
        return len(self._children())

    def __iter__(self) -> Iterator[str]:
        return iter(self._children())

    def __contains__(self, key: object) -> bool:
        return key in self._children()

    def _children(self) -> dict[str, Module]:
        return dict(self._own_modules())

    def keys(self) -> Iterable[str]:
        """Return the names."""
        return self._children().keys()

    def values(self) -> Iterable[Module]:
        """Return the modules."""
        return self._children().values()

    def items(self) -> Iterable[tuple[str, Module]]:
        """Return the names and modules."""
        return self._children().items()

    def update(
        self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]
    ) -> None:
        """Add or replace modules.

        Parameters
        ----------
        modules : mapping or iterable of (str, Module)
            The modules by name.
        """
        for key, module in dict(modules).items():
            self[key] = module

    def pop(self, key: str) -> Module:
        """Remove a module.

        Parameters
        ----------
        key : str
            Its name.

        Returns
        -------
        Module
            The module that was removed.
        """
        module = self[key]
        del self[key]
        return module

    def clear(self) -> None:
        """Remove all modules."""
        for key in self:
            del self[key]
