"""Fitting saved values to the tensors of a module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from gradlite._from_data import asarray
from gradlite.backends import dtypes
from gradlite.tensor import Tensor


class IncompatibleKeys(NamedTuple):
    """What `Module.load_state_dict` found on one side only."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def fit(
    module: str,
    own: Mapping[str, Tensor],
    state_dict: Mapping[str, Any],
    *,
    strict: bool,
    assign: bool,
) -> tuple[IncompatibleKeys, list[tuple[Tensor, Tensor]]]:
    """Return the names on one side only, and the tensors with their new values.

    Parameters
    ----------
    module : str
        What messages call the module.
    own : dict of str to Tensor
        Its parameters and persistent buffers.
    state_dict, strict, assign
        See `Module.load_state_dict`.

    Raises
    ------
    RuntimeError, TypeError
        As there.
    """
    if not isinstance(state_dict, Mapping):
        raise TypeError(
            f"state_dict must be a mapping from names to arrays, "
            f"got {type(state_dict).__name__}"
        )
    found = IncompatibleKeys(
        missing_keys=[name for name in own if name not in state_dict],
        unexpected_keys=[name for name in state_dict if name not in own],
    )
    faults: list[str] = []
    if strict and found.missing_keys:
        names = ", ".join(found.missing_keys)
        faults.append(f"missing from state_dict: {names}")
    if strict and found.unexpected_keys:
        names = ", ".join(map(str, found.unexpected_keys))
        faults.append(f"not in the module: {names}")
    values: list[tuple[Tensor, Tensor]] = []
    for name, tensor in own.items():
        if name in state_dict:
            try:
                value = _loadable(state_dict[name], tensor)
                if assign and tensor.requires_grad and dtypes.rank(value.dtype) < 2:
                    raise TypeError(
                        f"{np.dtype(value.dtype)} values cannot take the place of "
                        "a parameter; leave out assign=True to convert them"
                    )
                values.append((tensor, value))
            except (TypeError, ValueError) as error:
                faults.append(f"{name}: {error}")
    if faults:
        hint = "; pass strict=False to load only the names on both sides"
        one_sided = strict and (found.missing_keys or found.unexpected_keys)
        raise RuntimeError(
            f"state_dict does not fit {module} and nothing was "
            f"loaded{hint if one_sided else ''}:\n  " + "\n  ".join(faults)
        )
    return found, values


def _loadable(value: Any, target: Tensor) -> Tensor:
    """Return `value` as a detached tensor that can be copied into `target`."""
    if callable(getattr(value, "detach", None)):  # a PyTorch parameter, or our own
        value = value.detach()
    tensor = value if isinstance(value, Tensor) else asarray(value)
    if tensor.shape != target.shape:
        raise ValueError(
            f"the shape is {target.shape} in the module and {tensor.shape} in "
            "state_dict"
        )
    if dtypes.rank(tensor.dtype) > max(dtypes.rank(target.dtype), 2):
        raise TypeError(
            f"{np.dtype(tensor.dtype)} values cannot become {np.dtype(target.dtype)}"
        )
    return tensor
