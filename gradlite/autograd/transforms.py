"""Functions of functions: derivatives of a function, as functions.

A transform calls its function with tensors that nobody else has, records the call
whatever the caller's mode is, and walks back through it. What it returns can itself be
differentiated, by another transform or by `backward`, where it depends on something
outside that requires grad and the caller records; else the graph is gone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, overload

from gradlite._arguments import boolean, integer
from gradlite.autograd import _api
from gradlite.autograd._call import Call, as_seed
from gradlite.autograd._dispatch import FACTORY, is_inexact
from gradlite.autograd._graph import Variable
from gradlite.autograd._trees import Tree, flatten, flatten_like, paths, unflatten
from gradlite.backends import dtypes

if TYPE_CHECKING:
    from gradlite.tensor import Tensor

Positions: TypeAlias = int | Sequence[int]


# Arguments


def _check_function(fun: Callable[..., Any]) -> None:
    if not callable(fun):
        raise TypeError(f"fun must be a function, got {type(fun).__name__}")


def _check_argnums(argnums: Positions) -> None:
    for n in argnums if isinstance(argnums, list | tuple) else (argnums,):
        integer("argnums", n, None)


def _positions(argnums: Positions, count: int) -> tuple[int, ...]:
    """Return `argnums` as positions among `count` arguments."""
    given = tuple(argnums) if isinstance(argnums, list | tuple) else (argnums,)
    found = tuple(n + count if n < 0 else n for n in given)
    if not all(0 <= n < count for n in found) or len(set(found)) != len(found):
        raise ValueError(
            f"argnums must be different positions among the {count} arguments that "
            f"were given by position, got {argnums}"
        )
    return found


def _chosen(argnums: Positions, tree: Tree) -> Tree:
    """Return a tuple with one tree per position, or the only one for an integer."""
    return tree if isinstance(argnums, list | tuple) else tree[0]


# Gradients


@overload
def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    *,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]: ...


@overload
def grad(outputs: Callable[..., Any], inputs: Positions = 0) -> Callable[..., Any]: ...


@overload
def grad(outputs: Callable[..., Any], *, argnums: Positions) -> Callable[..., Any]: ...


def grad(
    outputs: Any,
    inputs: Any = None,
    grad_outputs: Any = None,
    *,
    argnums: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> Any:
    """Return the gradient of tensors, or of a function as a function.

    ``grad(outputs, inputs)`` is PyTorch's: the gradient of `outputs` with respect to
    `inputs`; no `.grad` changes. ``grad(fun, argnums=0)`` is the function that takes
    the arguments of `fun` and returns its gradient, as in HIPS autograd and JAX.

    Parameters
    ----------
    outputs : Tensor, sequence of Tensor, or callable
        What to differentiate: results, or a function with a real scalar result.
    inputs : Tensor or sequence of Tensor
        With respect to what: leaves or results on the way. Behind a function, its
        `argnums`.
    grad_outputs : Tensor or sequence of (Tensor or None), optional
        Cotangents, each of its output's shape; 1 by default, for scalars only.
    argnums : int or sequence of int, default 0
        Of a function, the positional arguments to differentiate by; see
        `value_and_grad`.
    retain_graph : bool, optional
        As in `backward`.
    create_graph : bool, default False
        Record the walk itself, so that the gradients can be differentiated.
    allow_unused : bool, default False
        Return None for an input on which no output depends; otherwise that raises.

    Returns
    -------
    tuple of (Tensor or None), or callable
        One gradient per input; or the function that returns gradients.

    Raises
    ------
    RuntimeError
        As `backward`, and for unused inputs.

    Examples
    --------
    >>> x = gl.tensor(3.0, requires_grad=True)
    >>> (dx,) = gl.autograd.grad(x * x * x, x, create_graph=True)
    >>> dx.item(), gl.autograd.grad(dx, x)[0].item()
    (27.0, 18.0)

    >>> def cube(x):
    ...     return x * x * x
    >>> gl.autograd.grad(gl.autograd.grad(cube))(np.asarray(3.0))
    array(18.)
    """
    if not callable(outputs):
        if argnums is not None:
            raise TypeError(
                "argnums goes with a function, and outputs is a "
                f"{type(outputs).__name__}; pass inputs"
            )
        return _api.grad(
            outputs,
            inputs,
            grad_outputs,
            retain_graph=retain_graph,
            create_graph=create_graph,
            allow_unused=allow_unused,
        )
    others = (grad_outputs, retain_graph, create_graph or None, allow_unused or None)
    if any(x is not None for x in others) or None not in (inputs, argnums):
        raise TypeError(
            "grad of a function takes argnums only; the gradient's own function takes "
            "the arguments, and its results can be differentiated as they are"
        )
    if argnums is None:
        argnums = 0 if inputs is None else inputs
    function = value_and_grad(outputs, argnums)
    return lambda *args, **kwargs: function(*args, **kwargs)[1]


def value_and_grad(
    fun: Callable[..., Any], argnums: Positions = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """Return a function that returns the value of `fun` and its gradient.

    Parameters
    ----------
    fun : callable
        Takes tensors, in nested tuples, lists and dicts, and anything else; returns a
        real tensor of one element.
    argnums : int or sequence of int, default 0
        The positional arguments to differentiate by, which must hold floating-point
        tensors, arrays or floats, and nothing else.
    has_aux : bool, default False
        Whether `fun` returns a pair of the value and of anything else.

    Returns
    -------
    callable
        Takes the arguments of `fun`. It returns ``(value, gradient)``, or
        ``((value, aux), gradient)``: the gradient has the structure of the argument,
        and is a tuple of these where `argnums` is a sequence. It is zero where the
        value does not depend on a part.

    Notes
    -----
    The arguments may be arrays of any library and floats. `fun` then gets tensors,
    copies of those that are differentiated by, and the results are arrays of that
    library again, 0-D for scalars. Given any tensor the results are tensors. They
    belong to the graph of the caller if they depend on a tensor outside that requires
    grad, and are tensors then in any case; inside `no_grad` they belong to none, which
    costs less.

    The gradient of a complex argument z is dL/dRe(z) + i dL/dIm(z), as everywhere.

    Examples
    --------
    >>> def loss(weights, x):
    ...     return gl.sum((weights["a"] * x + weights["b"]) ** 2)
    >>> weights = {"a": np.asarray(2.0), "b": np.asarray(1.0)}
    >>> gl.autograd.value_and_grad(loss)(weights, np.asarray([1.0, 2.0]))
    (array(34.), {'a': array(26.), 'b': array(16.)})
    """
    _check_function(fun)
    _check_argnums(argnums)
    has_aux = boolean("has_aux", has_aux)

    def value_and_gradient(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        positions = _positions(argnums, len(args))
        call = Call(fun, args, kwargs, positions, has_aux=has_aux)
        instead = "use jacobian for all derivatives, elementwise_grad for their sum"
        y = call.only("grad", instead)
        if math.prod(y.shape) != 1:
            raise ValueError(
                f"grad needs a function with a scalar result, got shape {y.shape}; "
                f"{instead}"
            )
        gradient = call.pull([FACTORY.namespace.ones_like(y)])
        value = (y, call.aux) if has_aux else y
        value, gradient = call.finish((value, gradient))
        return value, _chosen(argnums, gradient)

    return value_and_gradient


def elementwise_grad(
    fun: Callable[..., Any], argnums: Positions = 0
) -> Callable[..., Any]:
    """Return a function that returns the gradient of the sum of what `fun` returns.

    Where `fun` acts on each element by itself, these are the derivatives of all
    elements.

    Parameters
    ----------
    fun : callable
        Returns a real tensor of any shape.
    argnums : int or sequence of int, default 0
        As in `value_and_grad`.

    Returns
    -------
    callable
        Takes the arguments of `fun`, returns what `grad` of the sum would.

    Examples
    --------
    >>> slope = gl.autograd.elementwise_grad(gl.square)
    >>> slope(np.asarray([1.0, 2.0, 3.0]))
    array([2., 4., 6.])
    """
    _check_function(fun)
    _check_argnums(argnums)

    def gradient(*args: Any, **kwargs: Any) -> Tree:
        call = Call(fun, args, kwargs, _positions(argnums, len(args)))
        y = call.only("elementwise_grad", "use jacobian")
        tree = call.pull([FACTORY.namespace.ones_like(y)])
        return _chosen(argnums, call.finish(tree))

    return gradient


# Products


def vjp(fun: Callable[..., Any], *primals: Tree) -> tuple[Any, Callable[..., Any]]:
    """Return the value of `fun` and a function from its cotangents to the arguments'.

    Parameters
    ----------
    fun : callable
        Returns tensors in nested tuples, lists and dicts.
    *primals : Tree
        Its arguments: floating-point tensors, arrays or floats, nested likewise.

    Returns
    -------
    tuple
        What `fun` returned, and the pullback: it takes cotangents in the structure of
        the result, None for zero, and returns a tuple with those of the arguments. It
        can be called again and again.

    Notes
    -----
    The cotangents of the arguments are those of Re(sum(conj(cotangent) * result)).
    Arrays and tensors are treated as in `value_and_grad`.

    Examples
    --------
    >>> y, pullback = gl.autograd.vjp(gl.sin, np.asarray([0.0, 1.0]))
    >>> pullback(np.asarray([1.0, 0.0]))
    (array([1., 0.]),)
    """
    _check_function(fun)
    call = Call(fun, primals, {}, range(len(primals)), "primals")
    result = call.finish(unflatten(call.out_structure, call.outputs))

    def pullback(cotangents: Tree) -> Tree:
        return _pull(call, cotangents, "cotangents", "the result")

    return result, pullback


def _pull(call: Call, tree: Tree, name: str, model: str) -> Tree:
    given = flatten_like(call.out_structure, tree, name, model)
    names = paths(call.out_structure, name)
    seeds = [
        as_seed(g, y, path) if is_inexact(y._device, y._array.dtype) else None
        for g, y, path in zip(given, call.outputs, names, strict=True)
    ]
    plain = not any(isinstance(g, Variable) for g in given)
    return call.finish(call.pull(seeds, retain_graph=True), seeds=seeds, plain=plain)


def jvp(
    fun: Callable[..., Any], primals: Sequence[Tree], tangents: Sequence[Tree]
) -> tuple[Any, Any]:
    """Return the value of `fun` and its derivative along a direction.

    Forward mode by double VJP: the pullback is linear in the cotangents, and its own
    pullback is what is sought. That takes the derivative of a derivative, and raises
    for operations that can be differentiated once only.

    Parameters
    ----------
    fun : callable
        Returns tensors in nested tuples, lists and dicts.
    primals : tuple
        Its arguments: floating-point tensors, arrays or floats, nested likewise.
    tangents : tuple
        The direction, in the structure of `primals`; None is zero.

    Returns
    -------
    tuple
        What `fun` returned and its derivative, of the same structure. Arrays and
        tensors are treated as in `value_and_grad`.

    Examples
    --------
    >>> x, direction = np.asarray([1.0, 2.0]), np.asarray([1.0, 10.0])
    >>> gl.autograd.jvp(gl.square, (x,), (direction,))
    (array([1., 4.]), array([ 2., 40.]))
    """
    _check_function(fun)
    primals = _as_tuple("primals", primals)
    call = Call(fun, primals, {}, range(len(primals)), "primals")
    given = flatten_like(call.structure, tangents, "tangents", "primals")
    names = paths(call.structure, "tangents")
    seeds = list(map(as_seed, given, call.sources, names))
    plain = not any(isinstance(t, Variable) for t in given)
    result = (unflatten(call.out_structure, call.outputs), call.push(seeds))
    return call.finish(result, seeds=seeds, plain=plain)  # type: ignore[no-any-return]


def hvp(
    fun: Callable[..., Any], primals: Sequence[Tree], tangents: Sequence[Tree]
) -> Tree:
    """Return the product of the Hessian of `fun` with a direction.

    It takes two walks, however many elements there are; the Hessian is never formed.

    Parameters
    ----------
    fun : callable
        Returns a real tensor of one element.
    primals : tuple
        Its arguments: floating-point tensors, arrays or floats, in nested tuples,
        lists and dicts.
    tangents : tuple
        The direction, in the structure of `primals`; None is zero.

    Returns
    -------
    tuple
        The product, in the structure of `primals`; of complex arguments, the
        derivative of the gradient along the direction. Arrays and tensors are treated
        as in `value_and_grad`.

    Examples
    --------
    >>> def fun(x):
    ...     return gl.sum(x**3)
    >>> gl.autograd.hvp(fun, (np.asarray([1.0, 2.0]),), (np.asarray([1.0, 1.0]),))
    (array([ 6., 12.]),)
    """
    _check_function(fun)
    primals = _as_tuple("primals", primals)
    positions = tuple(range(len(primals)))
    call = Call(grad(fun, positions), primals, {}, positions, "primals")
    return _pull(call, tangents, "tangents", "primals")  # the Hessian is symmetric


def _as_tuple(name: str, value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise TypeError(
            f"{name} must be a tuple with one entry for each argument, got "
            f"{type(value).__name__}; write ({name},)"
        )
    return tuple(value)


# Matrices


def jacobian(
    fun: Callable[..., Any], argnums: Positions = 0, *, holomorphic: bool = False
) -> Callable[..., Any]:
    """Return a function that returns all first derivatives of `fun`.

    One walk for each element of the result; for few arguments and many results `jvp`
    along each axis is cheaper.

    Parameters
    ----------
    fun : callable
        Returns floating-point tensors in nested tuples, lists and dicts.
    argnums : int or sequence of int, default 0
        As in `value_and_grad`.
    holomorphic : bool, default False
        Whether `fun` is complex differentiable, so that a complex result has one
        derivative by a complex argument.

    Returns
    -------
    callable
        Takes the arguments of `fun`. It returns the structure of the result with that
        of the arguments in the place of each tensor, and in it derivatives of shape
        ``y.shape + x.shape``.

    Notes
    -----
    The derivative of a real result by a complex argument is its gradient, dy/dRe(x) +
    i dy/dIm(x), as in `grad`; that of a complex result by a real argument is complex.
    Arrays and tensors are treated as in `value_and_grad`.

    Examples
    --------
    >>> gl.autograd.jacobian(gl.square)(np.asarray([1.0, 2.0]))
    array([[2., 0.],
           [0., 4.]])
    """
    _check_function(fun)
    _check_argnums(argnums)
    holomorphic = boolean("holomorphic", holomorphic)

    def derivatives(*args: Any, **kwargs: Any) -> Tree:
        call = Call(fun, args, kwargs, _positions(argnums, len(args)))
        names = paths(call.out_structure, "result")
        blocks = [
            _chosen(argnums, _jacobian_of(call, k, name, holomorphic=holomorphic))
            for k, name in enumerate(names)
        ]
        return call.finish(unflatten(call.out_structure, blocks))

    return derivatives


def _is_complex(x: Any) -> bool:
    return dtypes.rank(x.dtype) == 3


def _jacobian_of(call: Call, k: int, name: str, *, holomorphic: bool) -> Tree:
    """Return the derivatives of one output, as a tuple tree."""
    y = call.outputs[k]
    if not is_inexact(y._device, y._array.dtype):
        raise TypeError(
            f"the function's {name} has dtype {y.dtype.__name__}, and derivatives need "
            "floating point; leave it out"
        )
    if _is_complex(y) and any(map(_is_complex, call.sources)) and not holomorphic:
        raise TypeError(
            f"the function's {name} and an argument are complex: pass holomorphic=True "
            "if the function is complex differentiable, else write it as one of the "
            "real and the imaginary part"
        )
    namespace = FACTORY.namespace
    count = math.prod(y.shape)

    def pulled(i: int, unit: complex) -> list[Any]:
        seed = namespace.zeros(count, dtype=y.dtype, device=y.device)
        seed[i] = unit
        seeds = [None] * len(call.outputs)
        seeds[k] = namespace.reshape(seed, y.shape)
        return flatten(call.pull(seeds, retain_graph=True))[0]

    def row(i: int) -> list[Any]:
        real = pulled(i, 1.0)
        if not _is_complex(y):
            return real
        if all(map(_is_complex, call.sources)):
            return [namespace.conj(a) for a in real]
        return [
            namespace.conj(a) if _is_complex(x) else a + 1j * b
            for x, a, b in zip(call.sources, real, pulled(i, 1j), strict=True)
        ]

    rows = [row(i) for i in range(count)]
    blocks = []
    for i, x in enumerate(call.sources):
        shape = (*y.shape, *x.shape)
        blocks.append(
            namespace.reshape(namespace.stack([parts[i] for parts in rows]), shape)
            if rows
            else namespace.zeros(shape, dtype=x.dtype, device=x.device)
        )
    return unflatten(call.structure, blocks)


def hessian(fun: Callable[..., Any], argnums: Positions = 0) -> Callable[..., Any]:
    """Return a function that returns all second derivatives of `fun`.

    One walk for each element of the arguments; `hvp` multiplies by the Hessian without
    forming it.

    Parameters
    ----------
    fun : callable
        Returns a real tensor of one element.
    argnums : int or sequence of int, default 0
        As in `value_and_grad`; the arguments must be real.

    Returns
    -------
    callable
        Takes the arguments of `fun`. It returns the structure of the gradient with
        that structure again in the place of each tensor, and in it derivatives of
        shape ``x1.shape + x2.shape``. Arrays and tensors are treated as in
        `value_and_grad`.

    Examples
    --------
    >>> def fun(x):
    ...     return x[0] * x[1]
    >>> gl.autograd.hessian(fun)(np.asarray([1.0, 2.0]))
    array([[0., 1.],
           [1., 0.]])
    """
    return jacobian(grad(fun, argnums), argnums)
