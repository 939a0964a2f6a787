"""The table's part on special functions, against SciPy's; it needs SciPy."""

from __future__ import annotations

from typing import Any

from op_cases import Case, inside, ints, normal, positive, uniform
from scipy import special


def _weighted(a: Any, b: Any, axis: Any) -> Any:
    options: dict[str, Any] = {"axis": axis, "keepdims": True, "return_sign": True}
    return special.logsumexp(a, b=b, **options)


UNARY = {
    "entr": positive, "erf": normal, "erfc": normal, "erfcx": normal, "erfinv": inside,
    "gammaln": positive, "i0": normal, "i0e": normal, "i1": normal, "i1e": normal,
    "log_expit": normal, "log_ndtr": normal, "logit": lambda *s: uniform(0.1, 0.9, *s),
    "ndtr": normal, "ndtri": lambda *s: uniform(0.1, 0.9, *s), "psi": positive,
}  # fmt: skip

SPECIAL = [
    *(
        Case(name, getattr(special, name), (make(*shape),))
        for name, make in UNARY.items()
        for shape in ((2, 3), (), (0, 3))
    ),
    *(
        Case(name, getattr(special, name), operands)
        for name in ("betaln", "kl_div", "rel_entr", "xlog1py", "xlogy")
        for operands in [
            (positive(2, 3), positive(3)), (positive(2, 1), 1.5), (2.5, positive(3)),
            (positive(), positive(0, 3)),
        ]
    ),
    *(
        Case("_polygamma", lambda x, n: special.polygamma(n, x), (positive(2, 3),),
             {"n": n})
        for n in range(3)
    ),
    Case("stdtr", special.stdtr, (ints(1, 9, 2, 3), normal(3))),
    Case("stdtr", special.stdtr, (2.5, normal(2, 3))),
    Case("chdtrc", special.chdtrc, (ints(1, 9, 2, 3), positive(3))),
    Case("chdtrc", special.chdtrc, (2.5, positive(2, 3))),
    Case("fdtrc", special.fdtrc, (ints(1, 9, 2, 3), 3.5, positive(3))),
    Case("fdtrc", special.fdtrc, (2.0, ints(1, 9, 3), positive(2, 3))),
    Case("betainc", special.betainc, (1.5, ints(1, 4, 3), uniform(0.1, 0.9, 2, 3))),
    Case("betainc", special.betainc, (ints(1, 4, 2, 3), 2.0, uniform(0.1, 0.9, 3))),
    # With one floating operand: more are for test_special.py, results being several.
    Case("_weighted_logsumexp", _weighted, (normal(2, 3), ints(-3, 4, 3)), {"axis": 1}),
    Case("_weighted_logsumexp", _weighted, (ints(-1, 2, 3), normal(2, 3)),
         {"axis": None}),
    Case("_weighted_logsumexp", _weighted, (normal(4), -2.0), {"axis": 0}),
]  # fmt: skip
