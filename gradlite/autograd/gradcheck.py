"""Derivatives against finite differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradlite.autograd._api import grad
from gradlite.autograd._dispatch import FACTORY
from gradlite.autograd._graph import Variable
from gradlite.autograd._mode import enable_grad, no_grad

Host = np.ndarray[Any, Any]


def _host(x: Variable) -> Host:
    return np.array(x._device.backend.to_host(x._array))


def _leaves(inputs: Sequence[Any]) -> list[Any]:
    return [
        x.detach().clone().requires_grad_() if _is_checked(x) else x for x in inputs
    ]


def _is_checked(x: Any) -> bool:
    return isinstance(x, Variable) and x._node is not None


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _random(rng: np.random.Generator, like: Host) -> Host:
    values: Any = rng.standard_normal(like.shape)
    if np.iscomplexobj(like):
        values = values + 1j * rng.standard_normal(like.shape)
    return np.asarray(values, dtype=like.dtype)


def _pairing(x1: Sequence[Host], x2: Sequence[Host]) -> float:
    """Return the real inner product Re sum(conj(x1) x2) over all arrays."""
    return float(sum(np.sum(np.conj(a) * b).real for a, b in zip(x1, x2, strict=True)))


def check_vjp(
    function: Callable[..., Any],
    inputs: Sequence[Any],
    *,
    order: int = 1,
    eps: float = 1e-6,
    atol: float = 1e-6,
    rtol: float = 1e-5,
    seed: int = 0,
) -> None:
    """Check derivatives along random directions.

    For a random direction v and cotangent u it compares u'(Jv), from central
    differences of `function`, with (J'u)'v, from its derivative: one pair of function
    values instead of one per element. With `order=2` the gradient is checked the same
    way, as a function of the inputs and of u.

    Parameters
    ----------
    function : callable
        Takes the inputs, returns a tensor or a tuple of tensors; no randomness.
    inputs : sequence
        Tensors; those that require grad are checked. float64 or complex128.
    order : int, default 1
        Highest order of derivative to check.
    eps : float, default 1e-6
        Step of the differences.
    atol, rtol : float
        Tolerances on the difference of the two numbers.
    seed : int, default 0
        Of the directions.

    Raises
    ------
    AssertionError
        With both numbers, if they differ.
    ValueError
        If no input requires grad, or one has less than double precision.
    """
    checked = [i for i, x in enumerate(inputs) if _is_checked(x)]
    if not checked:
        raise ValueError("inputs must have a tensor with requires_grad=True, got none")
    for i in checked:
        if _host(inputs[i]).dtype.itemsize < 8 * (
            1 + np.iscomplexobj(_host(inputs[i]))
        ):
            raise ValueError(
                f"inputs[{i}] has dtype {inputs[i].dtype.__name__}; finite differences "
                "need float64 or complex128"
            )
    rng = np.random.default_rng(seed)
    hosts = [_host(inputs[i]) for i in checked]
    directions = [_random(rng, x) for x in hosts]

    def evaluate(step: float) -> list[Host]:
        moved = list(inputs)
        for i, x, v in zip(checked, hosts, directions, strict=True):
            moved[i] = FACTORY.asarray(x + step * v, device=inputs[i]._device)
        with no_grad():
            return [_host(y) for y in _as_tuple(function(*moved))]

    plus, minus = evaluate(eps), evaluate(-eps)
    slopes = [(a - b) / (2 * eps) for a, b in zip(plus, minus, strict=True)]
    leaves = _leaves(inputs)
    with enable_grad():
        outputs = list(_as_tuple(function(*leaves)))
    kept = [k for k, y in enumerate(outputs) if y._node is not None]
    weights = [_random(rng, _host(outputs[k])) for k in kept]
    numeric = _pairing(weights, [slopes[k] for k in kept])
    cotangents = [
        FACTORY.asarray(w, device=outputs[k]._device)
        for k, w in zip(kept, weights, strict=True)
    ]
    grads = (
        grad(
            [outputs[k] for k in kept],
            [leaves[i] for i in checked],
            cotangents,
            allow_unused=True,
        )
        if kept
        else (None,) * len(checked)
    )
    analytic = _pairing(
        [
            np.zeros_like(x) if d is None else _host(d)
            for x, d in zip(hosts, grads, strict=True)
        ],
        directions,
    )
    if not abs(numeric - analytic) <= atol + rtol * abs(numeric):
        raise AssertionError(
            f"the derivative along a random direction is {analytic:.9g}, finite "
            f"differences give {numeric:.9g}"
        )
    if order > 1 and kept:
        _check_next(function, inputs, checked, cotangents, order, eps, atol, rtol, seed)


def _check_next(
    function: Callable[..., Any],
    inputs: Sequence[Any],
    checked: list[int],
    cotangents: list[Any],
    order: int,
    eps: float,
    atol: float,
    rtol: float,
    seed: int,
) -> None:
    count = len(cotangents)

    def gradient(*args: Any) -> tuple[Any, ...]:
        us, xs = args[:count], list(args[count:])
        leaves = list(xs)
        for i in checked:
            if xs[i]._node is None:
                leaves[i] = xs[i].detach().requires_grad_()
        with enable_grad():
            outputs = [y for y in _as_tuple(function(*leaves)) if y._node is not None]
            grads = grad(
                outputs,
                [leaves[i] for i in checked],
                list(us),
                create_graph=True,
                allow_unused=True,
            )
        return tuple(d for d in grads if d is not None)

    us = [u.detach().requires_grad_() for u in cotangents]
    check_vjp(
        gradient, [*us, *inputs], order=order - 1, eps=eps, atol=atol, rtol=rtol,
        seed=seed + 1,
    )  # fmt: skip


def gradcheck(
    function: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """Check every element of the Jacobian against central differences.

    Parameters
    ----------
    function : callable
        Takes the inputs, returns a tensor or a tuple of tensors.
    inputs : Tensor or sequence
        Tensors; those that require grad are checked. float64 or complex128.
    eps : float, default 1e-6
        Step of the differences.
    atol, rtol : float
        Tolerances.
    raise_exception : bool, default True
        Whether to raise, or to return False.

    Returns
    -------
    bool
        Whether all elements agree.

    Raises
    ------
    AssertionError
        Naming the element with the largest difference.
    """
    arguments = _as_tuple(inputs)
    try:
        check_vjp(function, arguments, eps=eps, atol=atol, rtol=rtol)
        for i, x in enumerate(arguments):
            if _is_checked(x):
                _check_jacobian(function, arguments, i, eps, atol, rtol)
    except AssertionError:
        if raise_exception:
            raise
        return False
    return True


def _check_jacobian(
    function: Callable[..., Any],
    inputs: tuple[Any, ...],
    i: int,
    eps: float,
    atol: float,
    rtol: float,
) -> None:
    x = _host(inputs[i])
    parts = [1.0, 1j] if np.iscomplexobj(x) else [1.0]
    for flat in range(x.size):
        for part in parts:
            values = []
            for sign in (1, -1):
                moved = x.copy()
                moved.reshape(-1)[flat] += sign * eps * part
                arguments = list(inputs)
                arguments[i] = FACTORY.asarray(moved, device=inputs[i]._device)
                with no_grad():
                    values.append([_host(y) for y in _as_tuple(function(*arguments))])
            slopes = [(a - b) / (2 * eps) for a, b in zip(*values, strict=True)]
            leaves = _leaves(inputs)
            with enable_grad():
                outputs = _as_tuple(function(*leaves))
            for k, (y, slope) in enumerate(zip(outputs, slopes, strict=True)):
                if y._node is None:
                    continue
                _check_column(leaves, i, flat, part, k, y, slope, atol, rtol)


def _check_column(
    leaves: list[Any],
    i: int,
    flat: int,
    part: complex,
    k: int,
    y: Any,
    slope: Host,
    atol: float,
    rtol: float,
) -> None:
    """Compare one column of the Jacobian, element by element."""
    for row in range(slope.size):
        for unit in [1.0, 1j] if np.iscomplexobj(slope) else [1.0]:
            u = np.zeros_like(slope)
            u.reshape(-1)[row] = unit
            (d,) = grad(
                y,
                leaves[i],
                FACTORY.asarray(u, device=y._device),
                retain_graph=True,
                allow_unused=True,
            )
            found = (
                0.0 if d is None else (np.conj(_host(d).reshape(-1)[flat]) * part).real
            )
            expected = (np.conj(unit) * slope.reshape(-1)[row]).real
            if not abs(found - expected) <= atol + rtol * abs(expected):
                raise AssertionError(
                    f"the derivative of element {row} of output {k} in element {flat} "
                    f"of inputs[{i}] is {found:.9g}, finite differences give "
                    f"{expected:.9g}"
                )


def gradgradcheck(
    function: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """Check second derivatives along random directions; as `gradcheck` otherwise."""
    try:
        check_vjp(function, _as_tuple(inputs), order=2, eps=eps, atol=atol, rtol=rtol)
    except AssertionError:
        if raise_exception:
            raise
        return False
    return True
