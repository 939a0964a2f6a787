"""`Module`, the base class of everything that holds parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Self, TypeVar

from gradlite._arguments import boolean
from gradlite._typing import DType
from gradlite.autograd import no_grad
from gradlite.backends import Device, dtypes
from gradlite.nn._hooks import Hooked
from gradlite.nn._matching import IncompatibleKeys, fit
from gradlite.nn.parameter import Parameter
from gradlite.tensor import Tensor

T = TypeVar("T", bound=Tensor)


class Module(Hooked):
    """Base class of layers and networks.

    Parameters, buffers and other modules that are assigned as attributes are found by
    `parameters`, `state_dict`, `to` and the rest; they are plain attributes, so that
    reading them costs nothing. Subclasses define `forward` and call the module itself.

    Attributes
    ----------
    training : bool
        Whether the module is in training mode; see `train` and `eval`.

    Examples
    --------
    >>> import gradlite as gl
    >>> class Net(gl.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.hidden = gl.nn.Linear(4, 8)
    ...         self.out = gl.nn.Linear(8, 2)
    ...
    ...     def forward(self, x):
    ...         return self.out(gl.tanh(self.hidden(x)))
    >>> Net()(gl.zeros((3, 4))).shape
    (3, 2)
    """

    training: bool = True
    _buffer_names: dict[str, bool]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Make an empty module.

        The registers are made here and not in `__init__`, so that a subclass that
        assigns a layer before `super().__init__()`, or forgets it, loses nothing.
        """
        self = super().__new__(cls)
        self.__dict__.update(training=True, _buffer_names={}, _hooks={})
        return self

    def __init__(self) -> None:
        """Do nothing; subclasses call it out of courtesy to other base classes."""

    # Registration

    def __setattr__(self, name: str, value: object) -> None:
        if isinstance(value, (Parameter, Module)):
            self._check_name(name)
            self._buffer_names.pop(name, None)
        elif value is not None:
            old = self.__dict__.get(name)
            if isinstance(old, (Parameter, Module)):
                kind = "parameter" if isinstance(old, Parameter) else "module"
                raise TypeError(
                    f"{type(self).__name__}.{name} is a {kind} and cannot become "
                    f"a {type(value).__name__}; assign "
                    f"a {'Parameter' if kind == 'parameter' else 'Module'} or None, "
                    "or delete the attribute first"
                )
            if name in self._buffer_names and not isinstance(value, Tensor):
                raise TypeError(
                    f"{type(self).__name__}.{name} is a buffer and cannot become "
                    f"a {type(value).__name__}; assign a tensor or None"
                )
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        self._buffer_names.pop(name, None)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter under `name`; None keeps the name for one that is absent.

        Parameters
        ----------
        name : str
            Attribute name: not empty, without a dot, not yet taken.
        param : Parameter or None
            The parameter.

        Raises
        ------
        TypeError
            If `param` is something else.
        KeyError
            If the name cannot be used.
        """
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(
                f"param must be a Parameter or None, got {type(param).__name__}; "
                "wrap a tensor in nn.Parameter"
            )
        self._check_new_name(name)
        setattr(self, name, param)

    def register_buffer(
        self, name: str, tensor: Tensor | None, persistent: bool = True
    ) -> None:
        """Add a tensor that belongs to the state but is not trained.

        Parameters
        ----------
        name : str
            Attribute name: not empty, without a dot, not yet taken.
        tensor : Tensor or None
            The buffer. `to` moves it with the parameters.
        persistent : bool, default True
            Whether it is part of `state_dict`.

        Raises
        ------
        TypeError
            If `tensor` is something else.
        KeyError
            If the name cannot be used.
        """
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"tensor must be a Tensor or None, got {type(tensor).__name__}; "
                "make one with gl.tensor"
            )
        self._check_new_name(name)
        self._buffer_names[name] = persistent
        super().__setattr__(name, tensor)

    def register_module(self, name: str, module: Module | None) -> None:
        """Add a child module under `name`, which need not be an identifier.

        Parameters
        ----------
        name : str
            Attribute name: not empty, without a dot, not yet taken.
        module : Module or None
            The child.

        Raises
        ------
        TypeError
            If `module` is something else.
        KeyError
            If the name cannot be used.
        """
        if module is not None and not isinstance(module, Module):
            raise TypeError(
                f"module {name!r} of {type(self).__name__} must be a Module, "
                f"got {type(module).__name__}"
            )
        self._check_new_name(name)
        setattr(self, name, module)

    add_module = register_module

    def _check_name(self, name: str) -> None:
        if not isinstance(name, str):
            raise TypeError(f"name must be a string, got {name!r}")
        if not name or "." in name:
            raise KeyError(f"name must be non-empty and without a dot, got {name!r}")
        if hasattr(Module, name):
            raise KeyError(
                f"name {name!r} is taken by Module itself; choose another one"
            )

    def _check_new_name(self, name: str) -> None:
        self._check_name(name)
        if hasattr(self, name):
            raise KeyError(
                f"{type(self).__name__} already has an attribute {name!r}; delete it "
                "first or choose another name"
            )

    # Finding

    def _own_parameters(self) -> Iterator[tuple[str, Parameter]]:
        for name, value in self.__dict__.items():
            if isinstance(value, Parameter):
                yield name, value

    def _own_buffers(self) -> Iterator[tuple[str, Tensor]]:
        for name in self._buffer_names:
            value = self.__dict__.get(name)  # a shallow copy shares the names
            if value is not None:
                yield name, value

    def _own_modules(self) -> Iterator[tuple[str, Module]]:
        for name, value in self.__dict__.items():
            if isinstance(value, Module):
                yield name, value

    def named_modules(
        self, *, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """Yield this module and all below it with their dotted names.

        Parameters
        ----------
        prefix : str, default ""
            Name of this module.
        remove_duplicate : bool, default True
            Whether a module that is held twice is yielded once.

        Yields
        ------
        tuple of str and Module
            A module before its children, children in the order of assignment.
        """
        seen: set[int] = set()
        stack: list[tuple[str, Module]] = [(prefix, self)]
        while stack:
            path, module = stack.pop()
            if remove_duplicate:
                if id(module) in seen:
                    continue
                seen.add(id(module))
            yield path, module
            children = [(_join(path, n), child) for n, child in module._own_modules()]
            stack.extend(reversed(children))

    def modules(self) -> Iterator[Module]:
        """Yield this module and all below it, each once."""
        for _, module in self.named_modules():
            yield module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield the modules directly below with their names, each once."""
        seen: set[int] = set()
        for name, module in self._own_modules():
            if id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self) -> Iterator[Module]:
        """Yield the modules directly below, each once."""
        for _, module in self.named_children():
            yield module

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Yield the parameters with their dotted names.

        Parameters
        ----------
        prefix : str, default ""
            Put before every name.
        recurse : bool, default True
            Whether to include the modules below this one.
        remove_duplicate : bool, default True
            Whether a tied parameter is yielded once, under its first name.

        Yields
        ------
        tuple of str and Parameter
            In the order of assignment, a module's own before those of its children.
        """
        return self._named(Module._own_parameters, prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Yield the parameters, each once.

        Parameters
        ----------
        recurse : bool, default True
            Whether to include the modules below this one.

        Yields
        ------
        Parameter
            In the order of `named_parameters`.
        """
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Yield the buffers with their dotted names.

        Parameters
        ----------
        prefix : str, default ""
            Put before every name.
        recurse : bool, default True
            Whether to include the modules below this one.
        remove_duplicate : bool, default True
            Whether a buffer that is held twice is yielded once.

        Yields
        ------
        tuple of str and Tensor
            In the order of registration.
        """
        return self._named(Module._own_buffers, prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Yield the buffers, each once.

        Parameters
        ----------
        recurse : bool, default True
            Whether to include the modules below this one.

        Yields
        ------
        Tensor
            In the order of `named_buffers`.
        """
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def _named(
        self,
        own: Callable[[Module], Iterator[tuple[str, T]]],
        prefix: str,
        recurse: bool,
        remove_duplicate: bool,
    ) -> Iterator[tuple[str, T]]:
        modules: Iterable[tuple[str, Module]] = [(prefix, self)]
        if recurse:
            modules = self.named_modules(
                prefix=prefix, remove_duplicate=remove_duplicate
            )
        seen: set[int] = set()
        for path, module in modules:
            for name, tensor in own(module):
                if remove_duplicate:
                    if id(tensor) in seen:
                        continue
                    seen.add(id(tensor))
                yield _join(path, name), tensor

    def get_submodule(self, target: str) -> Module:
        """Return the module with the dotted name `target`; "" is this module.

        Parameters
        ----------
        target : str
            A name as `named_modules` yields it.

        Returns
        -------
        Module
            The module.

        Raises
        ------
        AttributeError
            If there is none.
        """
        module: Module = self
        for name in target.split(".") if target else ():
            child = module.__dict__.get(name)
            if not isinstance(child, Module):
                raise AttributeError(
                    f"{type(self).__name__} has no module {target!r}: "
                    f"{type(module).__name__} has no child {name!r}, only "
                    f"{[name for name, _ in module._own_modules()]}"
                )
            module = child
        return module

    def get_parameter(self, target: str) -> Parameter:
        """Return the parameter with the dotted name `target`.

        Parameters
        ----------
        target : str
            A name as `named_parameters` yields it.

        Returns
        -------
        Parameter
            The parameter.

        Raises
        ------
        AttributeError
            If there is none.
        """
        path, _, name = target.rpartition(".")
        found = self.get_submodule(path).__dict__.get(name)
        if not isinstance(found, Parameter):
            raise AttributeError(f"{type(self).__name__} has no parameter {target!r}")
        return found

    def get_buffer(self, target: str) -> Tensor:
        """Return the buffer with the dotted name `target`.

        Parameters
        ----------
        target : str
            A name as `named_buffers` yields it.

        Returns
        -------
        Tensor
            The buffer.

        Raises
        ------
        AttributeError
            If there is none.
        """
        path, _, name = target.rpartition(".")
        found = dict(self.get_submodule(path)._own_buffers()).get(name)
        if found is None:
            raise AttributeError(f"{type(self).__name__} has no buffer {target!r}")
        return found

    # State

    def _named_state(self) -> Iterator[tuple[str, Tensor]]:
        for path, module in self.named_modules(remove_duplicate=False):
            for name, parameter in module._own_parameters():
                yield _join(path, name), parameter
            for name, buffer in module._own_buffers():
                if module._buffer_names[name]:
                    yield _join(path, name), buffer

    def state_dict(self, *, prefix: str = "") -> dict[str, Tensor]:
        """Return all parameters and persistent buffers by name.

        Parameters
        ----------
        prefix : str, default ""
            Put before every name, dot included: `prefix="encoder."`.

        Returns
        -------
        dict of str to Tensor
            PyTorch's names. The tensors are detached and share the model's storage:
            clone them to keep the present values. A tied parameter is under every name
            that it has.
        """
        return {f"{prefix}{name}": t.detach() for name, t in self._named_state()}

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Copy the values of `state_dict` into this module's tensors.

        Everything is checked first, and nothing is loaded when anything is wrong. The
        tensors stay the same objects, so that an optimizer made before keeps working.

        Parameters
        ----------
        state_dict : mapping of str to array
            Tensors on any device, NumPy arrays or PyTorch tensors on the CPU, under the
            names of `state_dict()`.
        strict : bool, default True
            Whether a name on one side only is an error.
        assign : bool, default False
            Take over the dtype, the device and (where it can be shared) the memory of
            the values instead of copying them into the existing storage.

        Returns
        -------
        IncompatibleKeys
            The pair (missing_keys, unexpected_keys); both empty if `strict`.

        Raises
        ------
        RuntimeError
            If names or shapes do not match; the message lists them all.
        TypeError
            If `state_dict` is not a mapping.
        """
        own = dict(self._named_state())
        found, values = fit(
            type(self).__name__, own, state_dict, strict=strict, assign=assign
        )
        with no_grad():
            for tensor, value in values:
                if assign:
                    tensor.data = value
                else:
                    tensor.copy_(value)
        return found

    # Modes, places and gradients

    def train(self, mode: bool = True) -> Self:
        """Put this module and all below it into training mode.

        Parameters
        ----------
        mode : bool, default True
            Training mode if True, evaluation mode if False.

        Returns
        -------
        Module
            This module.

        Raises
        ------
        TypeError
            If `mode` is not a bool.
        """
        mode = boolean("mode", mode)
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Put this module and all below it into evaluation mode and return it."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set whether the parameters are trained.

        Parameters
        ----------
        requires_grad : bool, default True
            The value for every parameter.

        Returns
        -------
        Module
            This module.
        """
        boolean("requires_grad", requires_grad)
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Reset the gradients of all parameters.

        Parameters
        ----------
        set_to_none : bool, default True
            Drop the gradients; otherwise their arrays are kept and filled with zeros.
        """
        boolean("set_to_none", set_to_none)
        with no_grad():
            for parameter in self.parameters():
                if set_to_none:
                    parameter.grad = None
                elif parameter._grad is not None:
                    if not parameter._grad.is_leaf:  # left by create_graph=True
                        parameter.grad = parameter._grad.detach()
                    parameter._grad.zero_()

    def apply(self, fn: Callable[[Module], object]) -> Self:
        """Call `fn` on every module, children before their parents.

        Parameters
        ----------
        fn : callable
            Called with each module, for example to initialize its weights.

        Returns
        -------
        Module
            This module.
        """
        if not callable(fn):
            raise TypeError(f"fn must be a function of a module, got {fn!r}")
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def to(
        self,
        *args: Device | DType | Tensor,
        device: Device | str | None = None,
        dtype: DType | None = None,
    ) -> Self:
        """Move the parameters and buffers to a device or cast the floating ones.

        Parameters
        ----------
        *args : Device, str, dtype or Tensor
            `to("cuda")`, `to(gl.float64)`, both, or a tensor that has both.
        device : Device or str, optional
            Where to.
        dtype : dtype, optional
            Floating-point dtype for the floating-point tensors; others keep theirs.

        Returns
        -------
        Module
            This module. Its parameters and their gradients stay the same objects with
            new data, so that an optimizer made before keeps working.

        Raises
        ------
        TypeError
            If `dtype` is not a floating-point dtype.
        DeviceUnavailableError
            If the device cannot be used; nothing was moved then.
        """
        for arg in args:
            if isinstance(arg, Tensor):
                device, dtype = arg.device, arg.dtype
            elif isinstance(arg, (Device, str)):
                device = arg
            else:
                dtype = arg
        if dtype is not None and not _is_floating(dtypes.canonical(dtype)):
            raise TypeError(
                f"dtype must be a floating-point dtype such as gl.float32, "
                f"got {dtype!r}"
            )

        def convert(tensor: Tensor) -> Tensor:
            moved = tensor._alias()
            if device is not None:
                moved = moved.to(device)
            if dtype is not None and _is_floating(tensor.dtype):
                moved = moved.to(dtype)
            return moved

        # All are converted before the first is replaced: running out of memory, or
        # a device without the dtype, leaves the module as it was.
        tensors: list[Tensor] = [*self.parameters(), *self.buffers()]
        moved = [
            (t, convert(t), None if t._grad is None else convert(t._grad))
            for t in tensors
        ]
        for target, data, grad in moved:
            target.grad = None
            target._replace(data)
            target.grad = grad
        return self

    def cpu(self) -> Self:
        """Move the parameters and buffers to the host and return the module."""
        return self.to("cpu")

    def cuda(self, index: int | None = None) -> Self:
        """Move the parameters and buffers to a GPU.

        Parameters
        ----------
        index : int, optional
            Which GPU; the current one by default.

        Returns
        -------
        Module
            This module.
        """
        return self.to("cuda" if index is None else f"cuda:{index}")

    def float(self) -> Self:
        """Cast the floating-point tensors to float32 and return the module."""
        return self.to(dtypes.float32)

    def double(self) -> Self:
        """Cast the floating-point tensors to float64 and return the module."""
        return self.to(dtypes.float64)

    # Printing

    def extra_repr(self) -> str:
        """Return what stands between the parentheses of this module's own line."""
        return ""

    def _child_lines(self) -> list[str]:
        return [f"({name}): {child!r}" for name, child in self._own_modules()]

    def __repr__(self) -> str:
        name, extra = type(self).__name__, self.extra_repr()
        children = self._child_lines()
        if not children and "\n" not in extra:
            return f"{name}({extra})"
        lines = "\n".join([*extra.splitlines(), *children]).replace("\n", "\n  ")
        return f"{name}(\n  {lines}\n)"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _is_floating(dtype: DType) -> bool:
    return dtypes.rank(dtype) == 2
