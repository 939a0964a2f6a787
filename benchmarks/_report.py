"""What a run leaves: a report as JSON, and a table of reports."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks._machine import environment, slug

Row = dict[str, Any]
"""One measurement: its `key`, and `time` or why it was `skipped`; what else there is
depends on the benchmark. Those of other libraries, and of the limit, say `peer`."""

Report = dict[str, Any]


def note(text: str) -> None:
    """Say how far a run has come."""
    print(text, file=sys.stderr, flush=True)


def report(
    benchmark: str,
    device: str,
    rows: list[Row],
    *,
    absent: Mapping[str, str],
    quick: bool,
    threads: int,
) -> Report:
    """Return a report: the rows, and all that they depend on.

    Parameters
    ----------
    benchmark : str
        Its name on the command line.
    device : {"cpu", "cuda"}
        Where it ran.
    rows : list of dict
        What it measured.
    absent : dict of str
        The peers that did not take part, and why.
    quick : bool
        Whether there were few repeats.
    threads : int
        How many each side computed with.
    """
    about = environment(device, threads=threads)
    return {
        "benchmark": benchmark,
        **about,
        "quick": quick,
        "absent": dict(absent),
        "rows": rows,
    }


def write(folder: Path, report: Report) -> Path:
    """Write a report into a folder, named after the benchmark and the machine.

    Each row is a line, with five digits of each number.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{report['benchmark']}-{slug(report['machine'])}.json"
    rows = ",\n".join(f"  {json.dumps(_rounded(row))}" for row in report["rows"])
    frame = json.dumps({**report, "rows": []}, indent=1)
    text = frame.replace('"rows": []', f'"rows": [\n{rows}\n ]')
    path.write_text(f"{text}\n", encoding="utf-8")
    return path


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    return float(f"{value:.5g}") if isinstance(value, float) else value


def read(path: Path) -> Report:
    """Return a report that `write` wrote.

    Raises
    ------
    ValueError
        If the file holds something else.
    """
    found = json.loads(path.read_text(encoding="utf-8"))
    rows = found.get("rows") if isinstance(found, dict) else None
    if not isinstance(rows, list) or not all("key" in row for row in rows):
        raise ValueError(
            f"'{path}' is no report of a benchmark; give a file that --out wrote"
        )
    return found  # type: ignore[no-any-return]


def duration(seconds: float) -> str:
    """Return a time with three digits and its unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= 0.9995 * size:
            return f"{_three_digits(seconds / size)} {unit}"
    return f"{_three_digits(seconds * 1e9)} ns"


def _three_digits(value: float) -> str:
    decimals = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{decimals}f}"


def _cells(row: Row) -> dict[str, str]:
    """Return what a table shows of a row, by column."""
    if "time" not in row:
        return {}
    time = row["time"]
    cells = {
        "time": duration(time["median"]),
        "IQR": f"{100 * (time['q3'] - time['q1']) / time['median']:.0f} %",
    }
    if "host_time" in row:
        cells["host"] = duration(row["host_time"]["median"])
    if "gb_per_s" in row:
        cells["GB/s"] = _three_digits(row["gb_per_s"])
    if "of_limit" in row:
        cells["limit"] = f"{100 * row['of_limit']:.0f} %"
    for peer, ratio in row.get("ratios", {}).items():
        cells[f"/{peer}"] = f"{ratio['median']:.2f}"
    for peer, ratio in row.get("host_ratios", {}).items():
        cells[f"host/{peer}"] = f"{ratio['median']:.2f}"
    return cells


def _details(row: Row) -> str:
    """Return what has no column, as text."""
    parts = row.get("phases", {})
    texts = [f"{name} {duration(part['median'])}" for name, part in parts.items()]
    without = row.get("ratios_without_data", {})
    texts += [f"/{name} {x['median']:.2f} without data" for name, x in without.items()]
    sizes = row.get("bytes", {})
    texts += [f"{name} {_three_digits(n / 1e6)} MB" for name, n in sizes.items()]
    return ", ".join(texts)


def table(rows: Iterable[Row]) -> str:
    """Return rows as lines of text; columns that none of them fills are left out.

    Parameters
    ----------
    rows : iterable of dict
        Of one report or of several.
    """
    shown = [(row, _cells(row)) for row in rows]
    columns = list(dict.fromkeys(name for _, cells in shown for name in cells))
    widths = {
        name: max(len(name), *(len(cells.get(name, "")) for _, cells in shown))
        for name in columns
    }
    first = max((len(row["key"]) for row, _ in shown), default=0)
    lines = [" " * first + "".join(f"  {name:>{widths[name]}}" for name in columns)]
    for row, cells in shown:
        line = f"{row['key']:<{first}}"
        if cells:
            line += "".join(f"  {cells.get(x, ''):>{widths[x]}}" for x in columns)
            line += f"  {_details(row)}"
        else:
            line += f"  {row['skipped']}"
        lines.append(line.rstrip())
    return "\n".join(lines)
