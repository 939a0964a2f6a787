"""The factor that bounds the norm of gradients, wherever they live."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from gradlite._typing import Array
from gradlite.backends import Device
from gradlite.optim._arguments import raw
from gradlite.tensor import Tensor


def clip_factor(
    sums: Mapping[Device, Sequence[Array | float]],
    max_norm: float,
    grad_scale: float | Tensor | None,
) -> Array | float | None:
    """Return ``min(1, max_norm / (norm + 1e-6))``, None where there is no gradient.

    Parameters
    ----------
    sums : dict of Device to sequence
        What `Batch.square_sum` returned for parts of the gradients, where they live.
    max_norm : float
        Bound on the norm of all of them together.
    grad_scale : float or 0-D Tensor, optional
        Divisor of the gradients.
    """
    if len(sums) > 1:  # only the host can bring them together
        total = sum(float(part) for parts in sums.values() for part in parts)
        scale = 1.0 if grad_scale is None else float(grad_scale)
        # In this order a NaN stays.
        return min(max_norm / (math.sqrt(total) / scale + 1e-6), 1.0)
    for device, parts in sums.items():
        with device.scope():
            return device.backend.clip_factor(parts, max_norm, raw(grad_scale, device))
    return None
