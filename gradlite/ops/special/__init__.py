"""Special functions, with SciPy's names and meaning, and derivatives.

The values come from SciPy (extra `scipy`), on CUDA from CuPy; for other array libraries
SciPy computes them in the host's memory. Operands are real tensors whose shapes
broadcast together, or Python numbers; float16 is computed in float32 or float64.
`expit`, `logsumexp`, `softmax` and `log_softmax` need no SciPy.

Formulas are from the Digital Library of Mathematical Functions, https://dlmf.nist.gov,
in the forms that keep their digits far from 0.
"""

from __future__ import annotations

from gradlite.ops.activation import sigmoid as expit
from gradlite.ops.special.bessel import i0, i0e, i1, i1e
from gradlite.ops.special.distributions import betainc, chdtrc, fdtrc, stdtr
from gradlite.ops.special.entropy import (
    entr,
    kl_div,
    log_expit,
    logit,
    rel_entr,
    xlog1py,
    xlogy,
)
from gradlite.ops.special.error import erf, erfc, erfcx, erfinv, log_ndtr, ndtr, ndtri
from gradlite.ops.special.exponentials import log_softmax, logsumexp, softmax
from gradlite.ops.special.gamma import betaln, digamma, gammaln, polygamma, psi

__all__ = [
    "betainc",
    "betaln",
    "chdtrc",
    "digamma",
    "entr",
    "erf",
    "erfc",
    "erfcx",
    "erfinv",
    "expit",
    "fdtrc",
    "gammaln",
    "i0",
    "i0e",
    "i1",
    "i1e",
    "kl_div",
    "log_expit",
    "log_ndtr",
    "log_softmax",
    "logit",
    "logsumexp",
    "ndtr",
    "ndtri",
    "polygamma",
    "psi",
    "rel_entr",
    "softmax",
    "stdtr",
    "xlog1py",
    "xlogy",
]
