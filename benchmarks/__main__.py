"""Run the benchmarks: `python -m benchmarks --help`."""

from __future__ import annotations

import os
import sys

# Before NumPy or torch is imported, here and in processes started from here: the sides
# compute with one thread each, but where a benchmark takes `--threads`.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

from benchmarks._command import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
