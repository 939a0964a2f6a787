"""The table's part on linear algebra.

Decompositions are determined up to signs, phases and order, which differ between
libraries; their cases compare what does not depend on these. What reads one triangle of
a Hermitian matrix gets one made from an operand without structure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
from op_cases import Case, Host, Maker, ints, normal

import gradlite as gl
from gradlite.ops import linalg

Function = Callable[..., Any]


@dataclass(frozen=True)
class Matrices(Case):
    """One call of a function of the chapter.

    Attributes
    ----------
    function : str
        Its name where that is not the operation's.
    before, after : callable
        Done, to tensors as to arrays, with the first operand and with the result.
    """

    function: str = ""
    before: Function = lambda x: x
    after: Function = lambda y: y

    def _run(self, function: Function, x: Any, *others: Any) -> Any:
        return self.after(function(self.before(x), *others, **self.options))

    def __call__(self, *operands: Any) -> Any:
        return self._run(getattr(linalg, self.function or self.op), *operands)

    def expected(self, *arrays: Any) -> Any:
        return self._run(self.reference, *arrays)


def regular(*shape: int) -> Maker:
    """Make matrices whose singular values and eigenvalues are apart, and not 0."""
    numbers = np.arange(2.0, 2.0 + 2 * shape[-1], 2.0)
    diagonal = np.eye(*shape[-2:]) * numbers
    return lambda rng: diagonal + 0.5 * rng.standard_normal(shape)


# Before and after ---------------------------------------------------------------------


def _conj(x: Any) -> Any:
    if "complex" not in str(x.dtype):
        return x
    return gl.conj(x) if isinstance(x, gl.Tensor) else np.conj(x)


def _real(x: Any) -> Any:
    if "complex" not in str(x.dtype):
        return x
    return gl.real(x) if isinstance(x, gl.Tensor) else np.real(x)


def _squared(x: Any) -> Any:
    return _real(x * _conj(x))


def hermitian(x: Any) -> Any:
    return 0.5 * (x + _conj(x.mT))


def positive(x: Any) -> Any:
    """Return a positive definite matrix."""
    return x @ _conj(x.mT)


def of_svd(result: Any) -> Any:
    """Return what does not depend on signs and phases of singular vectors."""
    u, s, vh = result
    k = s.shape[-1]
    u, vh = u[..., :k], vh[..., :k, :]
    return s, _squared(u), _squared(vh), (u * (s * s)[..., None, :]) @ vh


def of_eigh(result: Any) -> Any:
    """Return what does not depend on signs and phases of eigenvectors."""
    w, v = result
    return w, _squared(v), (v * (w * w)[..., None, :]) @ _conj(v.mT)


def of_eig(result: Any) -> Any:
    """Return what does not depend on the order of eigenvalues either."""
    w, v = result
    weights = (w * w)[..., None, :]
    return _real((w * w).sum(axis=-1)), _real((_squared(v) * weights).sum(axis=-1))


def of_eigvals(w: Any) -> Any:
    return _real((w * w * w).sum(axis=-1))


def of_qr(result: Any) -> Any:
    """Return what does not depend on the signs of the rows of R."""
    q, r = result
    k = min(r.shape[-2:])
    q, r = q[..., :k], r[..., :k, :]
    weights = _squared(r).sum(axis=-1)[..., None, :]
    return _squared(q), _squared(r), (q * weights) @ r


# References ---------------------------------------------------------------------------


def _cofactors(matrices: list[Host]) -> Host:
    """Return cofactors, or central differences, which are exact for 3 x 3 matrices."""
    if len(matrices) > 1:
        x, *others, h = matrices
        return 0.5 * (_cofactors([x + h, *others]) - _cofactors([x - h, *others]))
    (x,) = matrices
    return np.linalg.det(x)[..., None, None] * np.linalg.inv(x).swapaxes(-1, -2)


def _power(x: Host, n: int) -> Host:
    return np.linalg.matrix_power(x, n)


def _upper(x: Host, upper: bool) -> Host:
    return _conj(np.linalg.cholesky(x).mT)


def _solve(x1: Host, x2: Host) -> Host:
    return np.linalg.inv(x1) @ x2


# The table ----------------------------------------------------------------------------

MATRIX = "matrix_norm"


def _of_square() -> Iterator[Case]:
    la = np.linalg
    for shape in ((3, 3), (2, 2, 2), (1, 1), (0, 2, 2), (2, 0, 0)):
        x = (regular(*shape),)
        yield Matrices("det", la.det, x, kinds="fc")
        yield Matrices("slogdet", la.slogdet, x, kinds="fc")
        yield Matrices("inv", la.inv, x, kinds="fc")
        yield Matrices("eig", la.eig, x, kinds="fc", after=of_eig)
        yield Matrices("eigvals", la.eigvals, x, kinds="fc", after=of_eigvals)
        yield Matrices("eigvalsh", la.eigvalsh, x, kinds="fc", before=hermitian)
        yield Matrices("eigh", la.eigh, x, kinds="fc", before=hermitian, after=of_eigh)
        yield Matrices("cholesky", la.cholesky, x, kinds="fc", before=positive)
        yield Matrices("matrix_power", _power, x, {"n": 3}, "fc")
    for n in (1, 0, -1, -2):
        yield Matrices("matrix_power", _power, (regular(2, 3, 3),), {"n": n}, "fc")
    for along in (0, 1, 2, 3):
        matrices = (regular(2, 3, 3), *(normal(2, 3, 3),) * along)
        yield Case("cofactors", _cofactors, matrices, kinds="fc")
    options = {"upper": True}
    yield Matrices("cholesky", _upper, (regular(3, 3),), options, "fc", before=positive)


def _of_any() -> Iterator[Case]:
    la = np.linalg
    for shape in ((4, 3), (2, 3, 4), (2, 2), (0, 3, 2), (2, 0, 3)):
        x = (regular(*shape),)
        thin = {"full_matrices": False}
        yield Matrices("svd", la.svd, x, thin, "fc", after=of_svd)
        yield Matrices("svd", la.svd, x, kinds="fc", after=lambda r: r[1])
        yield Matrices("svdvals", la.svdvals, x, kinds="fc")
        yield Matrices("qr", la.qr, x, kinds="fc", after=of_qr)
        yield Matrices("_pinv", la.pinv, x, kinds="fc", function="pinv")
        yield Matrices("diagonal", la.diagonal, x, kinds="fc")
    # What is unique of complete results has a derivative, of the first order only if
    # the rule uses the rest.
    square, wide, tall = (regular(3, 3),), (regular(2, 3, 4),), (regular(4, 3),)
    complete = {"mode": "complete"}
    yield Matrices("svd", la.svd, square, {"full_matrices": True}, "fc", after=of_svd)
    yield Matrices("svd", la.svd, wide, {}, "fc", 1, after=lambda r: _squared(r[0]))
    yield Matrices("svd", la.svd, tall, {}, "fc", 1, after=lambda r: _squared(r[2]))
    yield Matrices("qr", la.qr, square, complete, "fc", after=of_qr)
    yield Matrices("qr", la.qr, wide, complete, "fc", after=of_qr)
    yield Matrices("qr", la.qr, tall, complete, "fc", after=lambda r: _squared(r[1]))
    for offset in (1, -1, -5):
        x, options = (regular(2, 3, 4),), {"offset": offset}
        yield Matrices("diagonal", la.diagonal, x, options)
        yield Matrices("diagonal", la.trace, x, options, "fc", function="trace")
    for x in ((regular(3, 2),), (ints(0, 2, 5, 3, 3),)):
        yield Matrices("diagonal", la.diagonal, x)
        yield Matrices("diagonal", la.trace, x, function="trace")
        yield Matrices("_matrix_rank", la.matrix_rank, x, function="matrix_rank")


def _norms() -> Iterator[Case]:
    vector, matrix = np.linalg.vector_norm, np.linalg.matrix_norm
    options: dict[str, Any]
    for ord in (2, 1, 0, 3, 4, 2.5, 0.5, -1, -2.5, inf, -inf):
        options = {"ord": ord, "axis": -1}
        yield Matrices("vector_norm", vector, (normal(2, 3),), options, "fc")
    for axis in ((0, -1), (), None):
        options = {"axis": axis, "keepdims": True, "ord": 3}
        yield Matrices("vector_norm", vector, (normal(2, 3, 2),), options)
    for shape in ((), (0,), (0, 3), (3, 0)):
        options = {"axis": -1} if shape else {}
        yield Matrices("vector_norm", vector, (normal(*shape),), options)
    for ord in ("fro", "nuc", 1, -1, 2, -2, inf, -inf):
        x = (regular(2, 3, 4),)
        for options in ({"ord": ord}, {"ord": ord, "keepdims": True}):
            yield Matrices("vector_norm", matrix, x, options, "fc", function=MATRIX)
    for ord in ("fro", "nuc"):
        x, options = (normal(2, 0, 3),), {"ord": ord}
        yield Matrices("vector_norm", matrix, x, options, function=MATRIX)


LINALG = [
    *_of_square(),
    *_of_any(),
    *_norms(),
    *(
        Matrices("solve", _solve, (regular(*shape1), normal(*shape2)), kinds="fc")
        for shape1, shape2 in [
            ((3, 3), (3,)), ((3, 3), (3, 2)), ((2, 3, 3), (3,)), ((2, 2, 2), (2, 2)),
            ((3, 3), (2, 3, 1)), ((4, 1, 2, 2), (3, 2, 2)), ((1, 1), (1,)),
            ((0, 2, 2), (2,)), ((0, 0), (0, 2)), ((2, 2), (2, 0)),
        ]
    ),
    *(
        Matrices("cross", np.linalg.cross, (normal(*shape1), normal(*shape2)),
                 {"axis": axis}, "fc")
        for shape1, shape2, axis in [
            ((3,), (3,), -1), ((2, 3), (3,), -1), ((4, 1, 3), (2, 3), -1),
            ((3, 2), (3, 1), -2), ((3, 2), (3, 2), 0), ((0, 3), (3,), -1),
        ]
    ),
    Matrices("cross", np.linalg.cross, (ints(0, 9, 2, 3), ints(0, 9, 3))),
    Matrices("cross", np.linalg.cross, (normal(2, 3), normal(3)), kinds="mn"),
    Matrices("solve", _solve, (regular(2, 3, 3), normal(3, 2)), kinds="mn"),
    Matrices("multiply", np.linalg.outer, (normal(2), normal(3)), kinds="mn",
             function="outer"),
    *(
        Matrices("multiply", np.linalg.outer, (normal(m), normal(n)), kinds="fc",
                 function="outer")
        for m, n in [(2, 3), (1, 1), (0, 3)]
    ),
]  # fmt: skip
