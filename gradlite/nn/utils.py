"""What PyTorch has in `nn.utils`: functions of all gradients together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from numbers import Real

from gradlite import ops
from gradlite._arguments import boolean, type_name
from gradlite._from_data import asarray
from gradlite._typing import Array, Namespace
from gradlite.autograd import no_grad
from gradlite.nn.module import Module
from gradlite.tensor import Tensor

__all__ = ["clip_grad_norm_", "clip_grad_value_"]


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scale all gradients by one factor that keeps their common norm below `max_norm`.

    The factor is ``min(1, max_norm / (norm + 1e-6))``. An optimizer's own option
    `max_norm` does the same without a second pass over memory.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
        Those without a gradient are skipped.
    max_norm : float
        At least 0; infinity only measures.
    norm_type : float, default 2.0
        The p of the p-norm, above 0; infinity is the largest absolute value.
    error_if_nonfinite : bool, default False
        Whether to raise if the norm is infinite or NaN, for which it is waited for;
        otherwise the gradients become 0 or NaN.

    Returns
    -------
    Tensor
        The norm of all gradients together before scaling, 0-D, accumulated in float32
        or wider; on the device of the first gradient, without waiting for it.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or is out of range.
    RuntimeError
        If `error_if_nonfinite` is true and the norm is infinite or NaN; the gradients
        are then as they were.

    Examples
    --------
    >>> import gradlite as gl
    >>> w = gl.tensor([3.0, 4.0], requires_grad=True)
    >>> (w * w).sum().backward()
    >>> gl.nn.utils.clip_grad_norm_(w, max_norm=5.0).item()
    10.0
    >>> print(*(f"{g:.3f}" for g in w.grad.tolist()))
    3.000 4.000
    """
    max_norm = _bound("max_norm", max_norm)
    norm_type = _bound("norm_type", norm_type)
    if not norm_type:
        raise ValueError(f"norm_type must be above 0, got {norm_type!r}")
    must_be_finite = boolean("error_if_nonfinite", error_if_nonfinite)
    grads = _gradients(parameters)
    if not grads:
        return ops.zeros(())
    with no_grad():
        norm = _norm(grads, norm_type)
        if must_be_finite and not math.isfinite(norm.item()):
            raise RuntimeError(
                f"the norm of the gradients is {norm.item()}, so that they cannot be"
                " scaled; leave error_if_nonfinite out to do it nevertheless"
            )
        if max_norm < math.inf:
            factor = ops.minimum(max_norm / (norm + 1e-6), 1.0)
            for grad in grads:
                grad.mul_(ops.astype(factor, grad.dtype).to(grad.device))
    return norm


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Limit each element of all gradients to [-`clip_value`, `clip_value`].

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
        Those without a gradient are skipped.
    clip_value : float
        At least 0. NaN in the gradients stays NaN.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or is out of range.

    Examples
    --------
    >>> import gradlite as gl
    >>> w = gl.tensor([0.25, -4.0], requires_grad=True)
    >>> (w * w).sum().backward()
    >>> gl.nn.utils.clip_grad_value_(w, 1.0)
    >>> w.grad.tolist()
    [0.5, -1.0]
    """
    bound = _bound("clip_value", clip_value)
    with no_grad():
        for grad in _gradients(parameters):
            grad.clip_(-bound, bound)


def _bound(name: str, value: object) -> float:
    """Return a number of at least 0, which may be infinite."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number of at least 0, got {value!r}")
    number = float(value)
    if not number >= 0:
        raise ValueError(f"{name} must be a number of at least 0, got {value!r}")
    return number


def _gradients(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    """Return the gradients that have elements, that of a tied parameter once."""
    if isinstance(parameters, Tensor):
        parameters = [parameters]
    if isinstance(parameters, Module) or not isinstance(parameters, Iterable):
        raise TypeError(
            f"parameters must be tensors, got {type_name(parameters)}; pass"
            " model.parameters()"
        )
    unique: dict[int, Tensor] = {}
    for i, parameter in enumerate(parameters):
        if not isinstance(parameter, Tensor):
            raise TypeError(
                f"parameters must hold tensors, got {type_name(parameter)} at position"
                f" {i}"
            )
        unique[id(parameter)] = parameter
    # Read past the property, which notes that the user has seen the gradient.
    grads = [parameter._grad for parameter in unique.values()]
    return [grad for grad in grads if grad is not None and grad.size]


def _norm(grads: Sequence[Tensor], p: float) -> Tensor:
    """Return the p-norm of all gradients together, on the device of the first."""
    norms = []
    for device in dict.fromkeys(grad.device for grad in grads):
        arrays = [grad._array for grad in grads if grad.device is device]
        with device.scope():
            if p == 2:
                norm = device.backend.global_norm(arrays)
            else:
                norm = _p_norm(device.xp, arrays, p)
        norms.append(asarray(norm).to(grads[0].device))
    if len(norms) == 1:
        return norms[0]
    return _norm([ops.stack(norms)], p)


def _p_norm(xp: Namespace, arrays: Sequence[Array], p: float) -> Array:
    """Return the p-norm of all arrays together, as the norm of their norms."""
    dtype = xp.result_type(xp.float32, *(array.dtype for array in arrays))
    norms = [_norm_of(xp, xp.abs(xp.astype(array, dtype)), p) for array in arrays]
    return _norm_of(xp, xp.stack(norms), p)


def _norm_of(xp: Namespace, sizes: Array, p: float) -> Array:
    """Return the p-norm of numbers that are not negative."""
    largest = xp.asarray(xp.max(sizes))
    if p == math.inf:
        return largest
    # In relation to the largest, no power overflows and not all of them vanish.
    top = xp.full_like(largest, float(xp.finfo(sizes.dtype).max))
    unit = xp.where(largest == 0, xp.ones_like(largest), xp.minimum(largest, top))
    return xp.asarray(unit * xp.sum((sizes / unit) ** p) ** (1 / p))
