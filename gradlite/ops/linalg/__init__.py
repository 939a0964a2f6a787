"""The `linalg` extension of the standard: functions of matrices and stacks of them.

Matrices are in the last two axes. Integers become the default floating dtype where a
function divides or takes roots.
"""

from __future__ import annotations

from gradlite.ops.linalg._decompositions import (
    QRResult,
    SVDResult,
    cholesky,
    qr,
    svd,
    svdvals,
)
from gradlite.ops.linalg._determinants import (
    SlogdetResult,
    cofactors,
    det,
    slogdet,
)
from gradlite.ops.linalg._diagonals import diagonal, trace
from gradlite.ops.linalg._eigen import (
    EighResult,
    EigResult,
    eig,
    eigh,
    eigvals,
    eigvalsh,
)
from gradlite.ops.linalg._norms import matrix_norm, vector_norm
from gradlite.ops.linalg._products import cross, matrix_power, outer
from gradlite.ops.linalg._solve import inv, matrix_rank, pinv, solve
from gradlite.ops.linear_algebra import matmul, tensordot, vecdot
from gradlite.ops.manipulation import matrix_transpose

__all__ = [
    "EigResult",
    "EighResult",
    "QRResult",
    "SVDResult",
    "SlogdetResult",
    "cholesky",
    "cofactors",
    "cross",
    "det",
    "diagonal",
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "inv",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "matrix_transpose",
    "outer",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "svd",
    "svdvals",
    "tensordot",
    "trace",
    "vecdot",
    "vector_norm",
]
