"""The table's part on Fourier transforms; test_fft.py has every length and norm."""

from __future__ import annotations

import numpy as np
from op_cases import Case, normal

TRANSFORMS = [
    *(
        Case(name, getattr(np.fft, name), (normal(2, 5),), options, kinds)
        for name, kinds in [("fft", "c"), ("ifft", "c"), ("rfft", "f"), ("irfft", "c")]
        for options in [
            {}, {"n": 4}, {"n": 7, "norm": "forward"}, {"axis": -2, "norm": "ortho"},
        ]
    ),
    *(
        Case(name, getattr(np.fft, name), (normal(0, 4),), {}, kinds)
        for name, kinds in [
            ("fft", "fc"), ("ifft", "fc"), ("rfft", "f"), ("irfft", "fc")
        ]
    ),
    *(
        Case(name, getattr(np.fft, name), (normal(2, 3, 4),), options, "c")
        for name in ("fftn", "ifftn")
        for options in [
            {}, {"axes": (2, 0), "norm": "ortho"}, {"axes": (0, -1), "s": (3, 2)},
        ]
    ),
    *(
        case
        for name in ("fftn", "ifftn")
        for case in (
            Case(name, lambda x: x, (normal(),), kinds="c"),
            Case(name, getattr(np.fft, name), (normal(0, 4),), {"axes": (1,)}, "fc"),
            Case(name, getattr(np.fft, name), (normal(2, 3),), kinds="f"),
        )
    ),
]  # fmt: skip
