"""Imports go down the house, optional libraries stay out, and importing is quick."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
if not (ROOT / "gradlite").is_dir():
    pytest.skip("needs the source checkout", allow_module_level=True)

# From the ground up. A module imports from its own part and from the floors below;
# parts on one floor do not know each other.
FLOORS = (
    {"_typing", "_arguments", "_hints"},
    {"_generator"},
    {"backends"},
    {"autograd", "_info"},
    {"ops"},
    {"_host_data", "_methods", "fft", "linalg", "special"},
    {"_elements"},
    {"tensor"},
    {"_from_data"},
    {"_encoding", "random"},
    {"nn", "optim", "data", "serialization"},
    {"examples", "doctor", "__main__", "__init__"},
)
FLOOR_OF = {part: floor for floor, parts in enumerate(FLOORS) for part in parts}

# The standard wants a method that returns the namespace.
ALLOWED = {("gradlite.tensor", "gradlite")}

OPTIONAL = {
    "cupy",
    "cupyx",
    "matplotlib",
    "ml_dtypes",
    "numba",
    "safetensors",
    "scipy",
    "torch",
    "tqdm",
}


def module_name(path: Path) -> str:
    """Return the dotted name of a file of the package."""
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    if name.partition(".")[0] == "backends":
        name = f"gradlite.{name}"
    return name.removesuffix(".__init__")


SOURCES = {
    module_name(path): path
    for folder in ("gradlite", "backends")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if "backends" not in path.relative_to(ROOT).parts[1:]  # the symbolic link
}


def imports(tree: ast.AST, *, in_functions: bool = True) -> Iterator[str]:
    """Yield what a module imports when it runs: not what only type checkers see."""
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom():
                assert node.level == 0, "imports are absolute"
                for alias in node.names:
                    full = f"{node.module}.{alias.name}"
                    yield full if full in SOURCES else str(node.module)
            case ast.Call(
                func=ast.Name("import_module") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(str(name)), *_],
            ):
                yield name
            case ast.If() if "TYPE_CHECKING" in ast.unparse(node.test):
                branch = ast.Module(node.orelse, [])
                yield from imports(branch, in_functions=in_functions)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                if in_functions:
                    yield from imports(node)
            case _:
                yield from imports(node, in_functions=in_functions)


def part_of(module: str) -> str:
    """Return the part of the house to which a module of the package belongs."""
    return module.split(".")[1] if "." in module else "__init__"


def arrows_up(module: str, source: str) -> list[str]:
    """Return the imports of a module that lead up, or to another part of its floor."""
    here = part_of(module)
    return [
        f"{module} imports {target}"
        for target in imports(ast.parse(source))
        if target.partition(".")[0] == "gradlite"
        if part_of(target) != here and FLOOR_OF[part_of(target)] >= FLOOR_OF[here]
        # The top floor is where everything comes together.
        if FLOOR_OF[here] < len(FLOORS) - 1 and (module, target) not in ALLOWED
    ]


def test_each_part_has_a_floor() -> None:
    assert {part_of(module) for module in SOURCES} == set(FLOOR_OF)


@pytest.mark.parametrize("module", SOURCES)
def test_imports_go_down(module: str) -> None:
    source = SOURCES[module].read_text(encoding="utf-8")
    assert arrows_up(module, source) == []


@pytest.mark.parametrize(
    ("module", "source", "count"),
    [
        ("gradlite.ops.sorting", "from gradlite.tensor import Tensor", 1),
        ("gradlite.ops.sorting", "from gradlite import tensor", 1),
        ("gradlite.ops.sorting", "import gradlite as gl", 1),
        ("gradlite.ops.sorting", "def f():\n    import gradlite.nn.functional", 1),
        ("gradlite.ops.sorting", "import_module('gradlite.tensor')", 1),
        ("gradlite.optim.sgd", "from gradlite.nn import Parameter", 1),
        ("gradlite.ops.sorting", "from gradlite.ops import creation", 0),
        ("gradlite.ops.sorting", "from gradlite import _typing, autograd", 0),
        ("gradlite.ops.sorting", "from gradlite_other import tensor", 0),
        (
            "gradlite.ops.sorting",
            (
                "if TYPE_CHECKING:\n    from gradlite import tensor\n"
                "else:\n    from gradlite import nn"
            ),
            1,
        ),
    ],
)
def test_arrows_up(module: str, source: str, count: int) -> None:
    assert len(arrows_up(module, source)) == count


@pytest.mark.parametrize("module", SOURCES)
def test_cupy_is_imported_late_and_only_in_backends(module: str) -> None:
    tree = ast.parse(SOURCES[module].read_text(encoding="utf-8"))
    in_functions = part_of(module) != "backends"
    found = [
        name
        for name in imports(tree, in_functions=in_functions)
        if {"cupy", "cupyx"} & set(name.split("."))
    ]
    assert found == []


@pytest.mark.parametrize(
    "path",
    [
        path
        for folder in ("gradlite", "backends", "tests", "benchmarks")
        for path in sorted((ROOT / folder).rglob("*.py"))
    ],
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_backends_have_one_name(path: Path) -> None:
    found = imports(ast.parse(path.read_text(encoding="utf-8")))
    assert [name for name in found if name.partition(".")[0] == "backends"] == []


def run(
    code: str, *, folder: Path = ROOT, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter that finds the package in `folder`."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )


def test_import_loads_no_optional_library() -> None:
    done = run("import gradlite, json, sys; print(json.dumps(list(sys.modules)))")
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stdout))
    assert "gradlite.backends" in loaded
    assert loaded & (OPTIONAL | {"backends"}) == set()


@pytest.mark.slow
def test_import_is_quick(tmp_path: Path) -> None:
    # CPU time, and the best of several runs: a busy machine is not a slow import. The
    # first run compiles, into a cache of its own where the checkout may have none.
    code = (
        "import time, numpy; start = time.process_time(); import gradlite;"
        "print(time.process_time() - start)"
    )
    cached = {"PYTHONPYCACHEPREFIX": str(tmp_path), "PYTHONDONTWRITEBYTECODE": ""}
    seconds = [float(run(code, environment=cached).stdout) for _ in range(6)]
    assert min(seconds) <= 0.15


def test_a_checkout_without_symbolic_links_says_so(tmp_path: Path) -> None:
    shutil.copytree(
        ROOT / "gradlite",
        tmp_path / "gradlite",
        ignore=shutil.ignore_patterns("backends", "__pycache__"),
    )
    (tmp_path / "gradlite" / "backends").write_text("../backends", encoding="utf-8")
    # Without an editable installation's finder, which would find the backends.
    done = run(
        "import sys; sys.meta_path = [f for f in sys.meta_path"
        " if 'editable' not in getattr(f, '__module__', '')]; import gradlite",
        folder=tmp_path,
    )
    assert done.returncode != 0
    assert "core.symlinks" in done.stderr
