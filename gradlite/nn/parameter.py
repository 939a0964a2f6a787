"""`Parameter`, a tensor that a module trains."""

from __future__ import annotations

from typing import Any

from gradlite._from_data import asarray
from gradlite.autograd._graph import Version
from gradlite.tensor import Tensor


class Parameter(Tensor):
    """A tensor that belongs to the parameters of the module to which it is assigned.

    Parameters
    ----------
    data : Tensor or array, optional
        Values, whose memory is shared; no elements by default. Optimizers leave shared
        memory where it is, which makes their steps slower if there are many small
        parameters; those of the layers are not shared.
    requires_grad : bool, default True
        Whether `backward` collects its gradient.

    Raises
    ------
    TypeError
        If `data` is not floating point but is to have a gradient.

    Examples
    --------
    >>> import gradlite as gl
    >>> gl.nn.Parameter(gl.ones(2))
    Parameter containing:
    tensor([1., 1.], requires_grad=True)
    """

    __slots__ = ()

    def __init__(self, data: Any = None, requires_grad: bool = True) -> None:
        source = asarray([] if data is None else data)
        if isinstance(data, Tensor):
            source._version.shared = True  # who made it may still have it
        self._array = source._array
        self._device = source._device
        self._version = source._version
        self._node = None
        self._grad = None
        self.requires_grad_(requires_grad)

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"


def owned(tensor: Tensor) -> Parameter:
    """Return a parameter with the memory of a tensor that nobody else has.

    An optimizer may move its data, as it may not where others share them.
    """
    parameter = Parameter(tensor)
    parameter._version = Version()
    return parameter
