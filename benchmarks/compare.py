"""Compare two reports of a benchmark: B against A, row by row."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from benchmarks._report import Report, Row, duration, read

SAME = ("benchmark", "device", "machine", "threads", "quick")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the files and the bound."""
    parser.add_argument("a", type=Path, metavar="A.json", help="before")
    parser.add_argument("b", type=Path, metavar="B.json", help="after")
    parser.add_argument(
        "--fail-above",
        type=float,
        default=float("inf"),
        metavar="1.05",
        help="exit with 1 if a time of ours grew by more than this factor",
    )


def timed(report: Report) -> dict[str, Row]:
    """Return the rows that have a time, by key."""
    return {row["key"]: row for row in report["rows"] if "time" in row}


def growth(before: Row, after: Row) -> float:
    """Return by which factor a median time grew."""
    return float(after["time"]["median"] / before["time"]["median"])


def missing(rows: Mapping[str, Row], other: Mapping[str, Row], file: Path) -> list[str]:
    """Return a line for each row that only the other report has."""
    return [f"{key}: missing in {file}" for key in other if key not in rows]


def main(options: argparse.Namespace) -> int:
    """Print the comparison; return 1 if a row became slower than it may.

    Raises
    ------
    ValueError
        If a file is no report, or the two have no rows in common.
    """
    reports = read(options.a), read(options.b)
    for name in SAME:
        values = [report.get(name) for report in reports]
        if values[0] != values[1]:
            print(f"note: {name} differs: {values[0]} and {values[1]}")
    before, after = map(timed, reports)
    both = [key for key in before if key in after]
    if not both:
        raise ValueError(
            f"'{options.a}' and '{options.b}' have no row in common; give two reports "
            "of the same benchmark and device"
        )
    slower = 0
    width = max(map(len, both))
    control = []
    for key in both:
        factor = growth(before[key], after[key])
        if before[key].get("peer"):
            control.append(factor)
            continue
        worse = factor > options.fail_above
        slower += worse
        times = [duration(rows[key]["time"]["median"]) for rows in (before, after)]
        print(
            f"{key:<{width}}  {times[0]:>8}  {times[1]:>8}  {factor:5.2f}"
            f"{'  slower' * worse}"
        )
    for line in (
        *missing(after, before, options.b),
        *missing(before, after, options.a),
    ):
        print(line)
    if control:
        print(
            f"peers and limits, which this project does not change: "
            f"{median(control):.2f} (median)"
        )
    if slower:
        print(f"{slower} of ours grew by more than {options.fail_above}")
    return int(slower > 0)
