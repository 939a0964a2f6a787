"""Run a benchmark: `python -m benchmarks ops [options]`."""

from __future__ import annotations

import os
import sys

# Set before NumPy or torch is imported: one thread each.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

from benchmarks import ops  # noqa: E402

BENCHMARKS = {"ops": ops}


def usage() -> str:
    """Return how to call this, with one line for each benchmark."""
    lines = ["usage: python -m benchmarks NAME [--help | options]", "", "benchmarks:"]
    for name, module in BENCHMARKS.items():
        lines.append(f"  {name:<10}{(module.__doc__ or '').partition(chr(10))[0]}")
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Run the benchmark that is named first and return the exit code."""
    name = arguments[0] if arguments else ""
    if name in ("-h", "--help"):
        print(usage())
        return 0
    if name not in BENCHMARKS:
        said = f"NAME is {name!r}; give" if arguments else "NAME is missing; give"
        print(
            f"{usage()}\n\npython -m benchmarks: error: {said} one of: "
            f"{', '.join(BENCHMARKS)}",
            file=sys.stderr,
        )
        return 2
    BENCHMARKS[name].main(arguments[1:])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
