"""One recorded call of a function: what goes in, what comes out, and the walks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from gradlite.autograd import _api
from gradlite.autograd._dispatch import FACTORY, is_inexact, mismatch
from gradlite.autograd._graph import Variable, next_number
from gradlite.autograd._mode import MODE, enable_grad
from gradlite.autograd._reach import reach
from gradlite.autograd._trees import Tree, flatten, map_leaves, paths, unflatten
from gradlite.backends import dtypes, is_array

_NUMBERS = (float, complex, np.inexact)


def _tensor(leaf: Any) -> Any:
    """Return an array as a tensor, anything else as it is."""
    if isinstance(leaf, Variable) or not is_array(leaf):
        return leaf
    return FACTORY.asarray(leaf)


def _number(value: Any, beside: Sequence[Any]) -> Any:
    """Return a number as a tensor of the device and precision of those beside it."""
    device = beside[0].device if beside else None
    if isinstance(value, np.generic) or not beside:
        return FACTORY.asarray(value, device=device)
    dtype = dtypes.common([x.dtype for x in beside], [value], False)
    if isinstance(value, float) and dtypes.rank(dtype) == 3:
        dtype = np.finfo(dtype).dtype.type
    return FACTORY.asarray(value, dtype=dtype, device=device)


def _source(x: Any, name: str) -> Any:
    """Return a copy of an argument, with a node of its own to differentiate by."""
    if not isinstance(x, Variable):
        raise TypeError(
            f"{name} must be a tensor, an array or a float to be differentiated by, "
            f"got {x!r} of type {type(x).__name__}; choose other arguments by argnums, "
            "or let the function close over it"
        )
    if not is_inexact(x._device, x._array.dtype):
        dtype = x._device.backend.of_dtype(x._array.dtype)
        raise TypeError(
            f"{name} has dtype {dtype.__name__}, and derivatives need floating point; "
            "convert it, choose other arguments by argnums, or let the function close "
            "over it"
        )
    tensor: Any = x
    with enable_grad():
        if tensor._node is None:
            tensor = tensor.detach().requires_grad_()
        return FACTORY.namespace.clone(tensor)


def _alias(x: Variable) -> Any:
    """Return a tensor of the same value, so that what is written leaves `x` alone."""
    return Variable._wrap(x._array, x._device, x._node, x._version)


def as_seed(value: Any, like: Variable, name: str) -> Any:
    """Return a tangent or cotangent of `like` as a tensor, None for zero."""
    if value is None:
        return None
    if isinstance(value, bool | int | np.generic | float | complex):
        value = FACTORY.asarray(value, device=like._device)
    value = _tensor(value)
    if not isinstance(value, Variable):
        raise TypeError(
            f"{name} must be a tensor, an array or None for zero, got "
            f"{type(value).__name__}"
        )
    if value._device is not like._device:
        mismatch(name, value, like)
    if tuple(value._array.shape) != tuple(like._array.shape):
        raise ValueError(
            f"{name} has shape {tuple(value._array.shape)} where "
            f"{tuple(like._array.shape)} is needed"
        )
    given, wanted = (x._device.backend.of_dtype(x._array.dtype) for x in (value, like))
    if dtypes.rank(given) > dtypes.rank(wanted):
        raise TypeError(
            f"{name} has dtype {given.__name__}, which does not fit into "
            f"{wanted.__name__}; pass its real part"
        )
    return FACTORY.namespace.astype(value, wanted, copy=False)


class Call:
    """One recorded call of a function.

    Parameters
    ----------
    function : callable
        What to call.
    args, kwargs : sequence and mapping
        With what: arrays in them become tensors.
    positions : sequence of int
        Of the arguments to differentiate by.
    name : str
        Of the arguments, in messages.
    has_aux : bool
        Whether the function returns a pair, of a result and of anything else.

    Attributes
    ----------
    sources : list of Tensor
        What to differentiate by, and `structure` is their tree, a tuple.
    outputs : list of Tensor
        What to differentiate, and `out_structure` is their tree.
    aux : Tree
        The second of the pair.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        positions: Sequence[int],
        name: str = "args",
        *,
        has_aux: bool = False,
    ) -> None:
        since = next_number()
        given, _ = flatten((tuple(args), dict(kwargs)))
        self._plain = not any(isinstance(x, Variable) for x in given)
        args = [map_leaves(_tensor, arg) for arg in args]
        kwargs = {key: map_leaves(_tensor, arg) for key, arg in kwargs.items()}
        tensors = [x for x in flatten(args)[0] if isinstance(x, Variable)]
        found, self.structure = flatten(tuple(args[i] for i in positions))
        self.structure = self.structure._replace(keys=tuple(positions))
        self.sources = [
            _source(_number(x, tensors) if isinstance(x, _NUMBERS) else x, path)
            for x, path in zip(found, paths(self.structure, name), strict=True)
        ]
        copies = unflatten(self.structure, map(_alias, self.sources))
        for i, copy in zip(positions, copies, strict=True):
            args[i] = copy

        with enable_grad():
            result = function(*args, **kwargs)
        self.aux = None
        if has_aux:
            if not (isinstance(result, tuple) and len(result) == 2):
                raise TypeError(
                    "with has_aux=True the function must return a pair (result, aux), "
                    f"got {type(result).__name__}"
                )
            result, self.aux = result
        found, self.out_structure = flatten(result)
        names = paths(self.out_structure, "result")
        self.outputs = list(map(_output, found, names))
        reached = reach([*self.outputs, *flatten(self.aux)[0]], since)
        self._nodes = [node for node in reached if node.number > since]
        self._outside = len(self._nodes) < len(reached)

    def is_connected(self, seeds: Iterable[Any] = ()) -> bool:
        """Whether results belong to a graph of the caller's."""
        return MODE.get().recording and (
            self._outside or any(x is not None and x._node is not None for x in seeds)
        )

    def finish(
        self, tree: Tree, *, seeds: Iterable[Any] = (), plain: bool = True
    ) -> Tree:
        """Return a tree of tensors as the caller is to have it.

        Parameters
        ----------
        tree : Tree
            Of tensors and, in aux, of anything.
        seeds : iterable of (Tensor or None)
            Tangents or cotangents from the caller.
        plain : bool, default True
            Whether those were plain arrays.
        """
        connected = self.is_connected(seeds)

        def leave(x: Any) -> Any:
            if connected or not isinstance(x, Variable):
                return x
            tensor: Any = x
            return x._array if plain and self._plain else tensor.detach()

        return map_leaves(leave, tree)

    def pull(self, cotangents: Sequence[Any], *, retain_graph: bool = False) -> Any:
        """Return what cotangents of the outputs make of the sources, as a tuple tree.

        None is a cotangent of zero, and so is what comes out where nothing depends.
        """
        if any(node.saved is None for node in self._nodes):
            raise RuntimeError(  # what lies behind such a node is out of sight
                "the graph was freed when a backward went through a part of it; call "
                "that one with retain_graph=True"
            )
        kept = [
            (y, g)
            for y, g in zip(self.outputs, cotangents, strict=True)
            if y._node is not None and g is not None
        ]
        create_graph = self.is_connected(cotangents)
        found = _api.grad(
            [y for y, _ in kept],
            self.sources,
            [g for _, g in kept],
            retain_graph=retain_graph or create_graph,
            create_graph=create_graph,
            allow_unused=True,
        )
        return unflatten(self.structure, map(_or_zeros, found, self.sources))

    def push(self, tangents: Sequence[Any]) -> Any:
        """Return what tangents of the sources make of the outputs, as their tree.

        The pullback is linear, and the pullback of a linear function is its transpose,
        wherever it is taken: at zero.
        """
        kept = [y for y in self.outputs if y._node is not None]
        zeros = [FACTORY.namespace.zeros_like(y).requires_grad_() for y in kept]
        pulled = _api.grad(
            kept, self.sources, zeros, create_graph=True, allow_unused=True
        )
        pairs = [
            (d, t)
            for d, t in zip(pulled, tangents, strict=True)
            if d is not None and d._node is not None and t is not None
        ]
        create_graph = self.is_connected(tangents)
        found = iter(
            _api.grad(
                [d for d, _ in pairs],
                zeros,
                [t for _, t in pairs],
                create_graph=create_graph,
                allow_unused=True,
            )
        )
        return unflatten(
            self.out_structure,
            (
                _or_zeros(None if y._node is None else next(found), y)
                for y in self.outputs
            ),
        )

    def only(self, transform: str, instead: str) -> Any:
        """Return the only output, which must be real, or raise what to do instead."""
        if len(self.outputs) != 1:
            raise TypeError(
                f"{transform} needs a function that returns one tensor, got "
                f"{len(self.outputs)}; {instead}"
            )
        (y,) = self.outputs
        if dtypes.rank(y.dtype) != 2:
            raise TypeError(
                f"{transform} needs a function with a real floating-point result, got "
                f"dtype {y.dtype.__name__}; convert it, or take gl.real(y) or gl.abs(y)"
            )
        return y


def _or_zeros(x: Any, like: Any) -> Any:
    return FACTORY.namespace.zeros_like(like) if x is None else x


def _output(y: Any, name: str) -> Any:
    """Return one of a function's results, refusing what lost its place in the graph."""
    if isinstance(y, Variable):
        return _alias(y)
    raise TypeError(
        f"the function must return tensors, and its {name} is a {type(y).__name__}: "
        "float(), item(), np.asarray() and the like lose the gradient; compute it with "
        "gl's functions and return what they return"
    )
