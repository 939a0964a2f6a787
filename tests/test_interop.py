"""Other people's array API code is differentiable, in a process for each library.

SciPy reads SCIPY_ARRAY_API when it is imported, which other tests may have done. The
tables are in tests/interop/, and `python -m pytest tests/interop/scipy_calls.py` runs
one of them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import gradlite as gl

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "interop.md"
if not PAGE.is_file():
    pytest.skip("needs the source checkout", allow_module_level=True)

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
OLDEST = dict(
    requirement.split(">=")
    for requirement in PROJECT["optional-dependencies"]["test-interop"]
)

pytestmark = pytest.mark.slow


def need(*libraries: str) -> None:
    """Skip the test where a library is missing or older than its table."""
    for library in libraries:
        oldest = OLDEST[library]
        try:
            version = metadata.version(library)
        except metadata.PackageNotFoundError:
            pytest.skip(f"{library} is not installed; the extra test-interop has it")
        if numbers(version) < numbers(oldest):
            pytest.skip(f"{library} {version} is older than its table, for {oldest}")


def numbers(version: str) -> list[int]:
    """Return the first two numbers of a version."""
    return [int(number) for number in version.split(".")[:2]]


def run(*arguments: str | Path) -> str:
    """Run Python in a process of its own and return what it printed."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("calls", "libraries"),
    [
        ("array_api_extra", ["array-api-extra"]),
        ("einops", ["einops"]),
        ("scipy", ["scipy"]),
        ("sklearn", ["scipy", "scikit-learn"]),
    ],
)
def test_library(calls: str, libraries: list[str]) -> None:
    need(*libraries)
    file = ROOT / "tests" / "interop" / f"{calls}_calls.py"
    run("-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider", file)


@pytest.mark.parametrize(
    "name",
    ["cpu", "array_api_strict:device1", pytest.param("cuda", marks=pytest.mark.cuda)],
)
def test_page_prints_what_it_says(name: str) -> None:
    need("scipy", "scikit-learn")
    try:
        gl.Device(name)
    except gl.DeviceUnavailableError as error:
        pytest.skip(str(error))
    page = PAGE.read_text("utf-8")
    pairs = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", page, re.DOTALL)
    assert len(pairs) == page.count("```python")
    code = "".join(block for block, _ in pairs).replace('"cpu"', repr(name))
    assert run("-W", "error", "-c", code) == "".join(text for _, text in pairs)
