"""The README's figures are those of the committed result files."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RESULTS = sorted((ROOT / "benchmarks" / "results").glob("lenet-*.json"))


def test_there_are_results() -> None:
    assert [path.stem for path in RESULTS] == [
        "lenet-digits",
        "lenet-mnist-classic",
        "lenet-mnist-dilated",
    ]


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_readme_has_the_figures(path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    report = json.loads(path.read_text(encoding="utf-8"))
    tests = [
        part for part in report.values() if isinstance(part, dict) and "runs" in part
    ]
    assert tests
    for part in tests:
        runs = part["runs"]
        each = ", ".join(f"{run['accuracy_percent']:.2f}" for run in runs)
        seconds = ", ".join(f"{run['seconds']:.0f}" for run in runs)
        row = f"| **{part['accuracy_percent']:.2f} %** | {each} | {seconds} |"
        assert row in readme
        assert [run["seed"] for run in runs] == [0, 1, 2]


def test_readme_has_the_cost_per_operation() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (path,) = (ROOT / "benchmarks" / "results").glob("ops-*.json")
    report = json.loads(path.read_text(encoding="utf-8"))
    ratios = [row["ratios"]["torch"]["median"] for row in report["rows"]]
    least, mean = min(ratios), statistics.geometric_mean(ratios)
    assert f"PyTorch eager {mean:.2f} times as long" in readme
    assert f"the least favorable case is {least:.2f}" in readme
    assert least >= 1 / 1.3
