"""Run a benchmark: `python -m benchmarks ops [options]`."""

from __future__ import annotations

import os
import sys

# Set before NumPy or torch is imported: one thread each.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

from benchmarks import ops  # noqa: E402

BENCHMARKS = {"ops": ops.main}

if __name__ == "__main__":
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in BENCHMARKS:
        sys.exit(f"usage: python -m benchmarks {'|'.join(BENCHMARKS)} [--help]")
    BENCHMARKS[name](sys.argv[2:])
