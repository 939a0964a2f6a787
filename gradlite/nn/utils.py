"""What PyTorch has in `nn.utils`: functions of all gradients together."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Real

from gradlite import ops
from gradlite.autograd import no_grad
from gradlite.nn.module import Module
from gradlite.tensor import Tensor, asarray

__all__ = ["clip_grad_norm_"]


def clip_grad_norm_(parameters: Tensor | Iterable[Tensor], max_norm: float) -> Tensor:
    """Scale all gradients by one factor that keeps their common norm below `max_norm`.

    The factor is ``min(1, max_norm / (norm + 1e-6))``. An optimizer's own option
    `max_norm` does the same without a second pass over memory.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
        Those without a gradient are skipped.
    max_norm : float
        At least 0; infinity only measures.

    Returns
    -------
    Tensor
        The Euclidean norm of all gradients together before scaling, 0-D, accumulated
        in float32 or wider; on the device of the first gradient, without waiting
        for it.

    Raises
    ------
    ValueError
        If `max_norm` is negative or NaN.
    """
    if isinstance(max_norm, bool) or not isinstance(max_norm, Real):
        raise TypeError(f"max_norm must be a number of at least 0, got {max_norm!r}")
    if not max_norm >= 0:
        raise ValueError(f"max_norm must be a number of at least 0, got {max_norm!r}")
    if isinstance(parameters, Tensor):
        parameters = [parameters]
    if isinstance(parameters, Module) or not isinstance(parameters, Iterable):
        raise TypeError(
            f"parameters must be tensors, got {type(parameters).__name__}; pass "
            "model.parameters()"
        )
    parameters = list(parameters)
    for i, parameter in enumerate(parameters):
        if not isinstance(parameter, Tensor):
            raise TypeError(
                f"parameters must hold tensors, got {type(parameter).__name__} at "
                f"position {i}"
            )
    unique = {id(p): p for p in parameters}  # a tied parameter counts once
    grads = [p.grad for p in unique.values() if p.grad is not None]
    if not grads:
        return ops.zeros(())
    with no_grad():
        place = grads[0].device
        norms = []
        for device in dict.fromkeys(grad.device for grad in grads):
            arrays = [grad.array for grad in grads if grad.device is device]
            norm = device.backend.asarray(device.backend.global_norm(arrays))
            norms.append(asarray(norm).to(place))
        total = ops.sqrt(ops.sum(ops.square(ops.stack(norms))))
        factor = ops.minimum(max_norm / (total + 1e-6), 1.0)
        for grad in grads:
            grad.mul_(ops.astype(factor, grad.dtype).to(grad.device))
    return total
