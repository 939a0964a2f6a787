"""The `linalg` extension of a library, with what libraries lack or do differently."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradlite._typing import Array, Namespace


class LinearAlgebra:
    """The functions of `xp.linalg`: a library's own, some of them mended.

    Attributes are looked up in the library once and kept.

    Parameters
    ----------
    xp : Namespace
        The raw namespace that this is a part of.
    library : object
        The library's extension.
    """

    def __init__(self, xp: Namespace, library: Any) -> None:
        self._xp = xp
        self._library = library

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._library, name)
        setattr(self, name, value)
        return value

    def solve(self, x1: Array, x2: Array, /) -> Array:
        """Return the solution of `x1 @ y == x2`; `x2` is a vector only if it is 1-D.

        Stacks are broadcast here: CuPy does not, and has another rule for vectors.
        """
        xp = self._xp
        if x2.ndim == 1:
            return xp.squeeze(self.solve(x1, xp.expand_dims(x2, axis=1)), -1)
        if x1.shape[:-2] != x2.shape[:-2]:
            batch = np.broadcast_shapes(x1.shape[:-2], x2.shape[:-2])
            x1 = xp.broadcast_to(x1, (*batch, *x1.shape[-2:]))
            x2 = xp.broadcast_to(x2, (*batch, *x2.shape[-2:]))
        return self._library.solve(x1, x2)

    def eig(self, x: Array, /) -> tuple[Array, Array]:
        """Return eigenvalues and eigenvectors, complex also where none needs to be."""
        w, v = self._library.eig(x)
        return self._complex(w), self._complex(v)

    def eigvals(self, x: Array, /) -> Array:
        """Return the eigenvalues, complex also where none needs to be."""
        return self._complex(self._library.eigvals(x))

    def _complex(self, x: Array) -> Array:
        return x if self._xp.isdtype(x.dtype, "complex floating") else x + 0j

    def cofactors(self, x: Array, /) -> Array:
        """Return the derivatives of the determinant, `det(x) * inv(x).T`, at any rank.

        With the singular value decomposition they are those of a diagonal matrix: each
        the product of all other singular values.
        """
        xp = self._xp
        u, s, vh = self.svd(x, full_matrices=False)
        phase = self.det(u) * self.det(vh)
        rows = s[..., None, :]
        own = xp.eye(s.shape[-1], dtype=xp.bool, device=xp.device(s))
        others = xp.prod(xp.where(own, xp.ones_like(rows), rows), axis=-1)
        y = xp.matmul(u * others[..., None, :], vh)
        return phase[..., None, None] * xp.bar(y)
