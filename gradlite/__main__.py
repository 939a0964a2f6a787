"""The command line: ``python -m gradlite doctor``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import gradlite
from gradlite import doctor


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        The command and its options; those of the process by default.

    Returns
    -------
    int
        0 when the command succeeded. A usage error exits with 2.
    """
    parser = argparse.ArgumentParser(
        prog="python -m gradlite",
        description="Tools that come with gradlite.",
    )
    parser.add_argument(
        "--version", action="version", version=f"gradlite {gradlite.__version__}"
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    commands.add_parser(
        "doctor",
        help="check this installation and name the fix for each problem",
        description="Check this installation: Python, NumPy, CuPy, devices, extras. "
        "The exit code is 0 when gradlite works on the CPU, and 1 when it does not.",
    ).set_defaults(run=doctor.main)
    return int(parser.parse_args(arguments).run())


if __name__ == "__main__":
    sys.exit(main())
