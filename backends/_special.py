"""Where the special functions come from: SciPy, or CuPy's module like it.

The library is imported with the first function that is asked for. `xp.special` of a
backend has the functions under SciPy's names, for arrays of that backend.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
from array_api_compat import device

from gradlite._typing import Array, Namespace

INSTALL = 'python -m pip install "gradlite[scipy]"'


class SpecialFunctions:
    """The functions of `scipy.special`, or of a module with its names.

    Parameters
    ----------
    module : str, default "scipy.special"
        Name of the module, which is imported on first use.
    """

    def __init__(self, module: str = "scipy.special") -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"special functions have no attribute {name!r}")
        value = self._adapt(getattr(self._import(name), name))
        setattr(self, name, value)
        return value

    def _import(self, name: str) -> Any:
        try:
            return import_module(self._module)
        except ModuleNotFoundError as error:
            if str(error.name).partition(".")[0] != "scipy":
                raise
            raise ModuleNotFoundError(
                f"gradlite.special.{name} needs SciPy, which is not installed; run "
                f"`{INSTALL}`",
                name="scipy",
            ) from error

    def _adapt(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return function

    def polygamma(self, n: int, x: Array) -> Array:
        """Return the derivative of order `n` of `psi`."""
        if n == 0:
            return self.psi(x)
        # What the libraries do, in the precision of `x`.
        return (-1.0) ** (n + 1) * math.gamma(n + 1) * self.zeta(n + 1.0, x)


class CuPyFunctions(SpecialFunctions):
    """The functions of `cupyx.scipy.special`, and what it lacks."""

    def __init__(self, module: str = "cupyx.scipy.special") -> None:
        super().__init__(module)

    def stdtr(self, df: Array, t: Array) -> Array:
        """Return Student's t distribution by the incomplete beta function."""
        tail = 0.5 * self.betainc(0.5 * df, 0.5, df / (df + t * t))
        return tail + (t > 0) * (1.0 - 2.0 * tail)


class HostFunctions(SpecialFunctions):
    """SciPy's functions for arrays of any library, computed in the host's memory.

    Parameters
    ----------
    library : Namespace
        The standard's functions for those arrays.
    to_host : callable
        Returns an array as a NumPy array, which shares its memory where it can.
    """

    def __init__(
        self, library: Namespace, to_host: Callable[[Array], np.ndarray[Any, Any]]
    ) -> None:
        super().__init__()
        self._library = library
        self._to_host = to_host

    def _adapt(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*operands: Any) -> Array:
            arrays = [x for x in operands if hasattr(x, "dtype")]
            hosts = [self._to_host(x) if hasattr(x, "dtype") else x for x in operands]
            dtype = self._to_host(arrays[0]).dtype
            y = np.asarray(function(*hosts), dtype=dtype)
            return self._library.asarray(y, device=device(arrays[0]))

        return call
