"""The documentation is complete, in numpydoc's form, and what it shows runs."""

from __future__ import annotations

import ast
import doctest
import os
import re
import subprocess
import sys
import textwrap
import tomllib
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradlite as gl

ROOT = Path(__file__).parent.parent
if not (ROOT / "gradlite").is_dir():
    pytest.skip("needs the source checkout", allow_module_level=True)

validate = pytest.importorskip("numpydoc.validate").validate

PUBLIC = (
    "gradlite",
    "gradlite.autograd",
    "gradlite.backends",
    "gradlite.linalg",
    "gradlite.data",
    "gradlite.nn",
    "gradlite.nn.functional",
    "gradlite.nn.init",
    "gradlite.nn.utils",
    "gradlite.optim",
    "gradlite.optim.functional",
    "gradlite.optim.lr_scheduler",
    "gradlite.random",
)

# What the house style leaves to the author: one line may say it all, so sections are
# not demanded; where they stand they are complete and in numpydoc's form.
NOT_DEMANDED = {
    "GL01",  # the summary starts behind the opening quotes
    "GL02",  # and a one-liner ends with the closing ones
    "ES01",  # an extended summary
    "EX01",  # examples
    "RT01",  # a Returns section
    "SA01",  # a See Also section
    "YD01",  # a Yields section
    "PR08",  # a description may start with code or in lower case
    "RT04",
}


def public_names() -> list[str]:
    """Return the dotted names of all public objects and of their methods, once each."""
    found: dict[int, str] = {}
    for module in map(import_module, PUBLIC):
        for name in module.__all__:
            value = getattr(module, name)
            if not is_ours(value):
                continue
            full = f"{module.__name__}.{name}"
            found.setdefault(id(value), full)
            for base in value.__mro__ if isinstance(value, type) else ():
                for member, attribute in vars(base).items() if is_ours(base) else ():
                    described = callable(attribute) or isinstance(attribute, property)
                    if described and not member.startswith("_"):
                        found.setdefault(id(attribute), f"{full}.{member}")
    return list(found.values())


def is_ours(value: Any) -> bool:
    """Whether a public object has a docstring that this project writes."""
    module = getattr(value, "__module__", None) or ""
    return callable(value) and module.partition(".")[0] == "gradlite"


@pytest.mark.parametrize("module", PUBLIC)
def test_all_names_exist_once(module: str) -> None:
    names = import_module(module).__all__
    assert len(names) == len(set(names))
    assert [name for name in names if not hasattr(import_module(module), name)] == []


@pytest.mark.parametrize("name", public_names())
def test_docstring(name: str) -> None:
    report = validate(name)
    has_parameters = "Parameters\n---" in report["docstring"]
    errors = [
        f"{code}: {message}"
        for code, message in report["errors"]
        if code not in NOT_DEMANDED and (code != "PR01" or has_parameters)
    ]
    assert not errors, "\n".join(errors)


def docstrings(path: Path) -> list[tuple[str, str, int]]:
    """Return (name, docstring, line) of everything in a file that has examples."""
    # Read from the source, because doctest's own finder skips decorated objects.
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [
        (getattr(node, "name", path.stem), text, getattr(node, "lineno", 1))
        for node in ast.walk(tree)
        if isinstance(
            node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        )
        if (text := ast.get_docstring(node)) and ">>>" in text
    ]


EXAMPLES = [
    pytest.param(path, *found, id=f"{path.relative_to(ROOT).as_posix()}:{found[0]}")
    for path in sorted([*ROOT.glob("gradlite/**/*.py"), *ROOT.glob("backends/*.py")])
    if "gradlite/backends" not in path.as_posix()
    for found in docstrings(path)
]


@pytest.mark.parametrize(("path", "name", "text", "line"), EXAMPLES)
def test_examples_in_docstrings(
    path: Path,
    name: str,
    text: str,
    line: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    test = doctest.DocTestParser().get_doctest(
        text, {"gl": gl, "np": np}, name, str(path), line
    )
    printed: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    failures, _ = runner.run(test, out=printed.append)
    assert failures == 0, "".join(printed)


PAGES = [
    path
    for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
    if path.is_file()
]
FENCE = re.compile(r"^ *```python\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
BLOCKS = [
    pytest.param(block, id=f"{path.relative_to(ROOT).as_posix()}-{number}")
    for path in PAGES
    if path.parent == ROOT  # the pages in docs/ show excerpts
    for number, block in enumerate(FENCE.findall(path.read_text("utf-8")))
]


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS)
def test_code_blocks_run(block: str, tmp_path: Path) -> None:
    # Readers have a GPU in mind; the machine of the tests may have none.
    code = re.sub(r"([\"'])cuda(:\d+)?\1", '"cpu"', textwrap.dedent(block))
    # In a process of its own: a block may register an op.
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#|mailto:)([^)#]+)", page.read_text("utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize(
    "command",
    [
        'python -m pip install -e ".[examples]" && python -m gradlite.examples.lenet',
        'python -m pip install -e ".[test]" && python -m pytest',
    ],
)
def test_readme_has_the_commands(command: str) -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    for part in command.split(" && "):
        assert part in readme


def test_versions_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert gl.__version__ == project["version"]


def test_installed_version_agrees() -> None:
    try:
        installed = metadata.version("gradlite")
    except metadata.PackageNotFoundError:
        pytest.skip("gradlite is not installed here")
    assert installed == gl.__version__


def test_changelog_has_the_version_or_unreleased() -> None:
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    first = re.search(r"^## \[(.+?)\]", text, re.MULTILINE)
    assert first is not None
    assert first[1] in {"Unreleased", gl.__version__}
