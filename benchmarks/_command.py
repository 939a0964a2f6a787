"""The command line of the benchmarks.

    python -m benchmarks                          a quick version of all, one table
    python -m benchmarks sgd|ops|train|import     one of them, in full
    python -m benchmarks compare A.json B.json    what became slower
    python -m benchmarks plot *.json              the pictures in the README

Ratios are a peer's time / our time: above 1 gradlite is faster.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import gradlite as gl
from benchmarks import compare, imports, ops, plot, sgd, train
from benchmarks._arguments import listed
from benchmarks._peers import PEERS, absence
from benchmarks._report import Report, note, report, table, write

BENCHMARKS = {"sgd": sgd, "ops": ops, "train": train, "import": imports}
TOOLS = {"compare": compare, "plot": plot}
DEVICES = ("cpu", "cuda")


def add_shared(parser: argparse.ArgumentParser) -> None:
    """Add the options that all benchmarks take."""
    parser.add_argument(
        "--devices",
        "--device",
        type=partial(listed, choices=DEVICES),
        metavar="cpu,cuda",
        help="where to run (cpu)",
    )
    parser.add_argument(
        "--peers",
        type=partial(listed, choices=tuple(PEERS)),
        metavar=",".join(PEERS),
        help="what to compare with, or none (all that are installed)",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the JSON")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    main = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_shared(main)
    main.set_defaults(devices=["cpu"], peers=list(PEERS), quick=False)
    for module in BENCHMARKS.values():
        main.set_defaults(**module.DEFAULTS)
    names = main.add_subparsers(dest="name", metavar="NAME")
    for name, module in {**BENCHMARKS, **TOOLS}.items():
        summary = (module.__doc__ or "").partition("\n")[0]
        # What is not given here must not hide what was given before the name.
        one = names.add_parser(
            name,
            help=summary,
            description=summary,
            argument_default=argparse.SUPPRESS,
        )
        if name in BENCHMARKS:
            add_shared(one)
            one.add_argument("--quick", action="store_true", help="fewer repeats")
        module.add_arguments(one)
    return main


def measure(name: str, device: str, options: argparse.Namespace) -> Report:
    """Run a benchmark on a device and return its report."""
    module = BENCHMARKS[name]
    chosen = [peer for peer in options.peers if peer in module.PEERS]
    absent = {
        peer: why for peer in chosen if (why := absence(peer, device)) is not None
    }
    for peer, why in absent.items():
        note(f"{name} on {device}: {peer} is absent: {why}")
    present = [peer for peer in chosen if peer not in absent]
    return report(
        name,
        device,
        module.run(device, present, options),
        absent=absent,
        quick=options.quick,
        threads=options.threads if name == "sgd" else 1,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line names and return the exit code."""
    usage = parser()
    options = usage.parse_args(arguments)
    if options.name in TOOLS:
        try:
            return int(TOOLS[options.name].main(options))
        except (OSError, ValueError) as error:
            usage.error(str(error))
    for device in options.devices:
        try:
            gl.Device(device)
        except gl.DeviceUnavailableError as error:
            usage.error(str(error))
    options.quick = options.quick or options.name is None
    chosen = BENCHMARKS if options.name is None else [options.name]
    reports = []
    for device in options.devices:
        for name in chosen:
            if device in BENCHMARKS[name].DEVICES:
                reports.append(measure(name, device, options))
                if options.out:
                    note(f"written to {write(options.out, reports[-1])}")
    print(table(row for report in reports for row in report["rows"]))
    return 0
