"""The README's figures are those of the committed result files."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
if not (ROOT / "benchmarks").is_dir():
    pytest.skip("needs the source checkout", allow_module_level=True)

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


MODELS = {
    "lenet": "LeNet's ten tensors, 62 K",
    "200x1000": "200 tensors of 1 000",
    "resnet50": "ResNet-50, 25.6 M in 161",
    "gpt2": "GPT-2 small, 124 M in 148",
    "64M": "one tensor of 64 M",
}


def rows_of(benchmark: str) -> dict[str, dict[str, Any]]:
    """Return the rows of a benchmark on a CPU by their keys."""
    (path,) = (ROOT / "benchmarks" / "results").glob(f"{benchmark}-amd-*.json")
    report = json.loads(path.read_text(encoding="utf-8"))
    assert report["threads"] == 1
    return {row["key"]: row for row in report["rows"]}


def throughput_lines() -> list[str]:
    """Return the README's table of steps with momentum."""
    rows = rows_of("sgd")
    lines = []
    for model, label in MODELS.items():
        jit, blocked = (
            rows[f"sgd/cpu/{model}/momentum/{name}"] for name in ("jit", "blocked")
        )
        seconds = jit["time"]["median"]
        time = (
            f"{seconds * 1e6:.0f} us" if seconds < 1e-3 else f"{seconds * 1e3:.0f} ms"
        )
        ratios = [jit["ratios"][f"torch {kind}"] for kind in ("fused", "foreach")]
        ratios.append(blocked["ratios"]["torch fused"])
        cells = [f"{ratio['median']:.2f}" for ratio in ratios]
        lines.append(
            f"| {label} | {time} | {jit['of_limit']:.0%} | {' | '.join(cells)} |"
        )
    return lines


def summary_text() -> str:
    """Return the README's paragraph on steps, operations and import."""
    train, ops, imports = rows_of("train"), rows_of("ops"), rows_of("import")
    steps = [
        train[f"train/cpu/{network}/gradlite"]["ratios_without_data"]["torch"]["median"]
        for network in ("mlp", "lenet")
    ]
    ratios = [row["ratios"]["torch"]["median"] for row in ops.values()]
    gradlite = imports["import/gradlite"]
    return (
        "A training step as a whole is bound by matrix products and temporaries: an MLP"
        f" takes PyTorch {steps[0]:.2f} times as\nlong as gradlite, LeNet"
        f" {steps[1]:.2f} times. A small operation, forward and backward,"
        f" takes PyTorch eager\n{statistics.geometric_mean(ratios):.2f} times as long"
        f" (geometric mean; the least favorable case is {min(ratios):.2f}). `import"
        f" gradlite` takes {gradlite['time']['median'] * 1e3:.0f} ms beyond\nNumPy, and"
        f" the wheel has {gradlite['bytes']['wheel'] / 1e6:.2f} MB."
    )


@pytest.mark.parametrize("model", MODELS)
def test_readme_has_the_throughput(model: str) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert throughput_lines()[list(MODELS).index(model)] in readme


def test_readme_has_the_other_figures() -> None:
    assert summary_text() in (ROOT / "README.md").read_text(encoding="utf-8")


def test_an_operation_costs_no_more_than_pytorchs() -> None:
    ratios = [row["ratios"]["torch"]["median"] for row in rows_of("ops").values()]
    assert min(ratios) >= 1
