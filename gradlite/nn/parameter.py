"""`Parameter`, a tensor that a module trains."""

from __future__ import annotations

from typing import Any

from gradlite.tensor import Tensor, asarray


class Parameter(Tensor):
    """A tensor that belongs to the parameters of the module to which it is assigned.

    Parameters
    ----------
    data : Tensor or array, optional
        Values, whose memory is shared; no elements by default.
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
        self._array = source._array
        self._device = source._device
        self._version = source._version
        self._node = None
        self._grad = None
        self.requires_grad_(requires_grad)

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"
