"""Draw reports: throughput against size, and peers as bars."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks._report import Report, Row, read

SHOWN = "momentum"
"""The update that is drawn."""

BARS = ("lenet", "200x1000", "10000x64", "resnet50", "gpt2", "64M", "1G")
BEST = ("jit", "fused", "blocked")
"""Ours, of which the first one there is compared with the peers."""

TITLES = {
    "throughput": "throughput of a step on one tensor",
    "peers": "above 1 gradlite is faster",
}

# The colors of M. Okabe and K. Ito, which color-blind people can tell apart.
COLORS = {
    "jit": "#d55e00",
    "fused": "#d55e00",
    "blocked": "#e69f00",
    "fused graph": "#e69f00",
    "in-place": "#0072b2",
    "naive": "#56b4e9",
}
PEER_COLORS = ("#0072b2", "#56b4e9", "#009e73", "#cc79a7", "#e69f00", "#999999")
STYLE = {
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "axes.axisbelow": True,
    "svg.hashsalt": "gradlite",  # the same picture gives the same file
    "legend.frameon": False,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the files and the folder."""
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE.json")
    parser.add_argument(
        "--out",
        type=Path,
        default=None,
        metavar="DIR",
        help="folder for the pictures (that of the first file)",
    )
    parser.add_argument(
        "--format", choices=("svg", "png"), default="svg", help="of the pictures (svg)"
    )


def rows_of(report: Report) -> list[Row]:
    """Return the rows of the update that is drawn, but those that were skipped."""
    return [row for row in report["rows"] if row["update"] == SHOWN and "time" in row]


def draw_throughput(axes: Any, report: Report) -> None:
    """Draw GB/s against the size of a single tensor.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw.
    report : dict
        Of `sgd`.
    """
    from matplotlib.ticker import LogLocator

    lines: dict[str, list[tuple[int, float]]] = {}
    for row in rows_of(report):
        limit = row["implementation"].startswith("limit")
        if row["tensors"] == 1 and (limit or not row["peer"]):
            point = (row["parameters"], row["gb_per_s"])
            lines.setdefault(row["implementation"], []).append(point)
    order = [*COLORS, *(name for name in lines if name.startswith("limit"))]
    for name in sorted(lines, key=order.index):
        style = (
            {"color": COLORS[name], "marker": "o", "ms": 4, "lw": 2}
            if name in COLORS
            else {"color": "#333333", "ls": "--", "lw": 1.5}
        )
        label = name if name in COLORS else "measured limit"
        axes.plot(*zip(*sorted(lines[name]), strict=True), label=label, **style)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set(
        title=title(report),
        xlabel="parameters, in one tensor",
        ylabel="GB/s",
    )
    axes.xaxis.set_major_locator(LogLocator(base=4, numticks=20))
    axes.xaxis.set_major_formatter(lambda value, _: magnitude(value))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.legend(fontsize=10, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=5)


def title(report: Report) -> str:
    """Return the machine of a report, and how many threads computed on a CPU."""
    threads = report["threads"]
    if report["device"] == "cuda":
        return str(report["machine"])
    return f"{report['machine']}, {threads} thread{'s' * (threads > 1)}"


def magnitude(value: float) -> str:
    """Return a number of parameters as on the command line."""
    for unit, size in (("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def draw_peers(axes: Any, report: Report) -> None:
    """Draw each peer's time / our time as bars that start at 1, grouped by model.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw.
    report : dict
        Of `sgd`.
    """
    rows = rows_of(report)
    names = {row["implementation"] for row in rows}
    best = next(name for name in BEST if name in names)
    ratios = {
        row["model"]: {peer: x["median"] for peer, x in row["ratios"].items()}
        for row in rows
        if row["implementation"] == best and row["model"] in BARS
    }
    models = [model for model in BARS if model in ratios]
    peers = list(dict.fromkeys(peer for model in models for peer in ratios[model]))
    width = 0.85 / max(1, len(peers))
    for i, peer in enumerate(peers):
        found = [
            (j, ratios[m][peer]) for j, m in enumerate(models) if peer in ratios[m]
        ]
        bars = axes.bar(
            [j + (i - (len(peers) - 1) / 2) * width for j, _ in found],
            [ratio - 1 for _, ratio in found],
            width,
            bottom=1,
            label=peer,
            color=PEER_COLORS[i % len(PEER_COLORS)],
        )
        labels = [f"{r:.2f}" if r < 2 else f"{r:.1f}" for _, r in found]
        axes.bar_label(bars, labels, fontsize=8, padding=2)
    axes.axhline(1, color="#333333", lw=1)
    axes.set_yscale("log", base=2)
    axes.margins(y=0.12)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xticks(range(len(models)), models)
    axes.grid(visible=False, axis="x")
    axes.set(
        title=title(report),
        ylabel=f"peer's time / gradlite's ({best})",
    )
    axes.legend(fontsize=10, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=5)


PICTURES = {"throughput": draw_throughput, "peers": draw_peers}


def draw(reports: Sequence[Report], folder: Path, suffix: str = "svg") -> list[Path]:
    """Write both pictures, with a part for each report, and return their paths.

    Parameters
    ----------
    reports : sequence of dict
        Of `sgd`.
    folder : Path
        Where to write.
    suffix : {"svg", "png"}
        The format.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    with mpl.rc_context(STYLE):
        for name, draw_on in PICTURES.items():
            figure = Figure(
                figsize=(max(8, 6 * len(reports)), 4.6), layout="constrained"
            )
            figure.suptitle(f"SGD with momentum, float32: {TITLES[name]}")
            parts = figure.subplots(1, len(reports), squeeze=False)[0]
            for axes, report in zip(parts, reports, strict=True):
                draw_on(axes, report)
            paths.append(folder / f"{name}.{suffix}")
            # Without the date, the same picture gives the same file.
            metadata = {"Date": None} if suffix == "svg" else None
            figure.savefig(paths[-1], dpi=160, metadata=metadata)
    return paths


def main(options: argparse.Namespace) -> int:
    """Draw the reports of `sgd` among the files.

    Raises
    ------
    ValueError
        If there is none.
    """
    reports = []
    for path in options.files:
        try:
            found = read(path)
        except ValueError:
            continue  # a result of another kind
        if found["benchmark"] == "sgd":
            reports.append(found)
    if not reports:
        raise ValueError(
            "there is no report of sgd among the files; make one with "
            "`python -m benchmarks sgd --out DIR`"
        )
    folder = options.out or options.files[0].parent
    for path in draw(reports, folder, options.format):
        print(path)
    return 0
