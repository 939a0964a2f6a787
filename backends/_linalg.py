"""The `linalg` extension of a library, with what libraries lack or do differently."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, permutations
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

    def cofactors(self, matrices: Sequence[Array], /) -> Array:
        """Return the cofactors of a matrix, or their derivative along the others.

        Cofactors are the derivative of the determinant, `det(x) * inv(x).T`. With the
        singular value decomposition the determinant is that of a diagonal matrix, whose
        derivatives of any order, at any rank, are sums of products of singular values.
        """
        x, *directions = matrices
        xp = self._xp
        u, s, vh = self.svd(x, full_matrices=False)
        left, right = xp.bar(u), xp.bar(vh)
        if directions:
            to, back = xp.matrix_transpose(left), xp.matrix_transpose(right)
            left = left @ _diagonal_cofactors(
                xp, s, [to @ h @ back for h in directions]
            )
        else:
            own = xp.eye(s.shape[-1], dtype=xp.bool, device=xp.device(s))
            rows = s[..., None, :]
            others = xp.prod(xp.where(own, xp.ones_like(rows), rows), axis=-1)
            left = left * others[..., None, :]
        phase = self.det(u @ vh)
        return phase[..., None, None] * (left @ right)


def _diagonal_cofactors(xp: Namespace, s: Array, directions: Sequence[Array]) -> Array:
    """Return the derivative of the cofactors of `diag(s)` along some matrices.

    That is the part of `det(diag(s) + h1 + ... + hm)` with each of m matrices once, the
    last of which is left open. It has, for m different rows, the determinants in which
    each row is that of another matrix, times all singular values of other rows.
    """
    m, n = len(directions) + 1, s.shape[-1]
    identity = xp.eye(n, dtype=xp.bool, device=xp.device(s))

    def expand(h: Array, i: int, j: int) -> Array:
        """Return matrices whose rows and columns are counted by two of m indices."""
        if i == j:
            h = xp.linalg.diagonal(h)
        elif i > j:
            h = xp.matrix_transpose(h)
        batch = h.shape[: h.ndim - (1 if i == j else 2)]
        return xp.reshape(h, (*batch, *(n if k in (i, j) else 1 for k in range(m))))

    last = m - 1
    rows = xp.reshape(s, (*s.shape[:-1], *(1,) * last, n))
    for i in range(last):
        rows = xp.where(expand(identity, i, last), xp.ones_like(rows), rows)
    before = xp.cumulative_prod(rows, axis=-1, include_initial=True)[..., :-1]
    rows = xp.flip(rows, axis=-1)
    after = xp.cumulative_prod(rows, axis=-1, include_initial=True)[..., :-1]
    others = before * xp.flip(after, axis=-1)
    for i, j in combinations(range(m), 2):
        same = expand(identity, i, j)
        others = xp.where(same, xp.zeros_like(others), others)

    diagonal, matrix = xp.zeros_like(s), xp.zeros_like(directions[0])
    for columns in permutations(range(m)):
        inversions = sum(a > b for a, b in combinations(columns, 2))
        term = (-1.0) ** inversions * others
        for i, h in enumerate(directions):
            term = term * expand(h, i, columns[i])
        axes = tuple(k - m for k in range(last) if k != columns[last])
        term = xp.sum(term, axis=axes) if axes else term
        if columns[last] == last:
            diagonal = diagonal + term
        else:
            matrix = matrix + xp.matrix_transpose(term)
    diagonal = diagonal[..., None, :]
    return matrix + xp.where(identity, diagonal, xp.zeros_like(diagonal))
