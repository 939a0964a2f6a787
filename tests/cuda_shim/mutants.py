"""Wrong versions of the kernels, each of which a comparison must reject."""

from __future__ import annotations

import faulthandler
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cuda_shim import cases, host
from gradlite.backends._cuda_kernels import Kernels
from gradlite.backends._cuda_updates import clip_factor

TRAPS = ("-fsanitize=alignment", "-fsanitize-undefined-trap-on-error")
"""For g++: misaligned loads end the process."""


def check_family(found: cases.Device, family: str, dtype: str) -> None:
    """Compare all variants of one family with the formulas."""
    names = [f"{family}_{dtype}", "set_hyper"]
    names += [f"advance_{family}"] * (family != "rmsprop")
    found.kernels.cupy.only = names
    for updates in cases.by_layout(cases.variants()):
        if updates[0].family == family:
            for tensors, offset in ((1, 0), (2, None)):
                cases.check(
                    found,
                    updates,
                    cases.DTYPES[dtype],
                    masters=dtype.endswith("float16"),
                    tensors=tensors,
                    offset=offset,
                    grad_scale=3.0,
                    clip=0.4,
                )


def check_norm(found: cases.Device, family: str, dtype: str) -> None:
    """Compare norms with NumPy's, in several orders of threads and blocks."""
    found.kernels.cupy.only = [f"square_sum_{dtype}", "total", "clip_factor"]
    updates = cases.by_layout(cases.variants())[0]
    trial = cases.Trial(found, updates, cases.DTYPES[dtype])
    hosts = trial.gradients()
    grads = [None if g is None else trial.place(g) for g in hosts]
    expected = sum(float(np.sum(g.astype(float) ** 2)) for g in hosts if g is not None)
    sums = set()
    for order in (0, 1, 5):
        found.kernels.cupy.order = order
        square_sum = trial.batch.square_sum(grads)
        sums.add(float(square_sum))
        np.testing.assert_allclose(float(square_sum), expected, rtol=1e-13)
        factor = clip_factor(found.kernels, [square_sum], 2.0, 4.0)
        norm = expected**0.5 / 4.0
        np.testing.assert_allclose(float(factor), 2.0 / (norm + 1e-6), rtol=1e-13)
    assert len(sums) == 1, "the order of threads and blocks must not matter"
    assert float(clip_factor(found.kernels, [square_sum], 1e9)) == 1.0


class Mutant(NamedTuple):
    """One change of the source, and the comparison that must see it."""

    old: str
    new: str
    family: str = "sgd"
    dtype: str = "float32"
    check: Callable[[cases.Device, str, str], None] = check_family

    def edit(self, code: str) -> str:
        """Return the changed source."""
        assert code.count(self.old) == 1, f"{self.old!r} must be there once"
        return code.replace(self.old, self.new)

    def passes(self, folder: Path) -> bool:
        """Whether the comparison sees nothing, in a process that may crash."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # threads of others
            child = os.fork()
        if child == 0:
            try:
                faulthandler.disable()
                os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
                cupy = host.HostCuPy(folder, edit=self.edit, flags=TRAPS)
                kernels = Kernels(cupy, lambda array, _: array)
                device = cases.Device(kernels, host.as_host_array, host.to_numpy)
                self.check(device, self.family, self.dtype)
            except BaseException:
                os._exit(1)
            os._exit(0)
        return os.waitpid(child, 0)[1] == 0


UNCHANGED = [
    Mutant("int k = 0;  //", "int k = 0;  //"),
    Mutant("int k = 0;  //", "int k = 0;  //", "adam", "float16"),
    Mutant("int k = 0;  //", "int k = 0;  //", check=check_norm),
]
"""No mutants: what the comparisons accept."""

MUTANTS = [
    Mutant("g = g + p * c.weight_decay", "g = g - p * c.weight_decay"),
    Mutant("p = p * c.decay", "p = p - c.decay * c.lr", "adam"),
    Mutant("g = g / now.scale", "g = g * (1 / now.scale)"),
    Mutant("if (now.clip != 1) g = g * now.clip", ""),
    Mutant("a.x[i] < 0 ? T(-1)", "a.x[i] <= 0 ? T(-1)"),
    Mutant("a.x[i] < -bound ? -bound", "a.x[i] < -bound ? bound"),
    Mutant("if (flags & MAXIMIZE) g = -g;", ""),
    Mutant("? g : v * c.momentum + g * c.gain", "? g * c.gain : v * c.momentum + g"),
    Mutant("v = v * c.momentum - g * c.gain", "v = v * c.momentum - g * c.lr"),
    Mutant("(flags & NESTEROV ? g + v", "(flags & NESTEROV ? v + v"),
    Mutant("step == 1 ? 1.0 : 0.0", "step == 2 ? 1.0 : 0.0"),
    Mutant("if (flags & AMSGRAD) s[2] = larger(s[2], s[1])", "", "adam"),
    Mutant("(double)(step - 1)", "(double)step", "adagrad"),
    Mutant("square = square - s[2] * s[2]", "square = square - s[2]", "rmsprop"),
    Mutant("tile = table.tile[++k]", "tile = table.tile[k + 1], k += 2"),
    Mutant("end < table.size[k] ? end : table.size[k]", "end"),
    Mutant("(tile - table.tile[k]) * TILE", "(tile - table.tile[k]) * (TILE - 4)"),
    Mutant("(unsigned long long)master) & 15", "0) & 15", "sgd", "float16"),
    Mutant("places |= (unsigned long long)states[i]", ""),
    Mutant(
        "<= end; i += THREADS * N)\n        update",
        "< end + 9; i += THREADS * N)\n        update",
    ),
    Mutant(
        "i < end; i += THREADS)\n      update", "i <= end; i += THREADS)\n      update"
    ),
    Mutant("begin == 0 && threadIdx.x == 0) ++", "threadIdx.x == 0) ++"),
    Mutant("if (!step.advanced && ", "if ("),
    Mutant("+ (bits >> 16 & 1u)) >> 16", ") >> 16", "sgd", "bfloat16"),
    Mutant("+ (magnitude >> 13 & 1u)) >> 13", ") >> 13", "sgd", "float16"),
    Mutant("  __syncthreads();\n", "", check=check_norm),
    Mutant("sums[blockIdx.x] = sum", "sums[0] = sum", check=check_norm),
    Mutant("factor > 1.0 ? 1.0 : factor", "factor", check=check_norm),
]
