"""The package as users get it: what the metadata lists, and the wheel at work.

The tests with the marker `packaging` build and install in fresh environments, for which
they need a package index: GRADLITE_TEST_PACKAGING=1 turns them on, as `.ci/run` does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
if not (ROOT / "gradlite").is_dir():
    pytest.skip("needs the source checkout", allow_module_level=True)

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS = PROJECT["tool"]["setuptools"]
EXTRAS = PROJECT["project"]["optional-dependencies"]


def run(*command: str | Path, folder: Path = ROOT) -> str:
    """Run a command to its end and return what it printed."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def folder_of(package: str) -> Path:
    """Return the folder that the metadata gives to a package."""
    mapped = SETUPTOOLS["package-dir"].get(package)
    return ROOT / (mapped or package.replace(".", "/"))


def test_packages_are_the_folders() -> None:
    folders = {
        ".".join(folder.relative_to(ROOT).parts)
        for folder in (ROOT / "gradlite", *(ROOT / "gradlite").rglob("*/"))
        if any(folder.glob("*.py")) and "backends" not in folder.parts
    }
    folders |= {
        ".".join(("gradlite", *folder.relative_to(ROOT).parts))
        for folder in (ROOT / "backends", *(ROOT / "backends").rglob("*/"))
        if any(folder.glob("*.py"))
    }
    assert set(SETUPTOOLS["packages"]) == folders


def test_backends_are_mapped() -> None:
    assert SETUPTOOLS["package-dir"]["gradlite.backends"] == "backends"


@pytest.mark.parametrize(
    ("package", "name"),
    [
        (package, name)
        for package, names in SETUPTOOLS["package-data"].items()
        for name in names
        if "*" not in name
    ],
)
def test_package_data_exist(package: str, name: str) -> None:
    assert (folder_of(package) / name).is_file()


def test_other_files_of_the_package_are_listed() -> None:
    listed = {
        path
        for package, names in SETUPTOOLS["package-data"].items()
        for name in names
        for path in folder_of(package).glob(name)
    }
    present = {
        path
        for package in SETUPTOOLS["packages"]
        for path in folder_of(package).iterdir()
        if path.is_file() and path.suffix not in {".py", ".pyc"}
    }
    assert present - {ROOT / "gradlite" / "backends"} == listed


def test_backends_link_is_tracked() -> None:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("needs a Git checkout")
    tracked = run("git", "ls-files", "--stage", "gradlite/backends").split()
    assert tracked, "git add gradlite/backends"
    mode, blob = tracked[:2]
    assert mode == "120000", "gradlite/backends is a symbolic link"
    assert run("git", "cat-file", "blob", blob).strip() == "../backends"


def test_two_required_dependencies() -> None:
    names = {name.split(">")[0] for name in PROJECT["project"]["dependencies"]}
    assert names == {"numpy", "array-api-compat"}


def test_extras() -> None:
    assert set(EXTRAS) == {
        "bench",
        "cuda12",
        "cuda13",
        "dev",
        "examples",
        "io",
        "jit",
        "plot",
        "scipy",
        "test",
        "test-interop",
    }


def python_of(environment: Path) -> Path:
    """Return the interpreter of a virtual environment."""
    windows = sys.platform == "win32"
    return environment / ("Scripts/python.exe" if windows else "bin/python")


packaging = [
    pytest.mark.packaging,
    pytest.mark.slow,
    pytest.mark.skipif(
        os.environ.get("GRADLITE_TEST_PACKAGING") != "1",
        reason="builds in fresh environments: set GRADLITE_TEST_PACKAGING=1",
    ),
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel, built from the source distribution as releases are."""
    # A copy, so that building leaves nothing in the checkout.
    source = tmp_path_factory.mktemp("source") / "gradlite"
    shutil.copytree(
        ROOT,
        source,
        symlinks=True,
        ignore=shutil.ignore_patterns(".*", "*.egg-info", "build", "dist", "runs"),
    )
    target = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", target, source)
    (built,) = target.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the interpreter of a fresh environment with the wheel in it."""
    environment = tmp_path_factory.mktemp("environment")
    venv.create(environment, with_pip=True)
    python = python_of(environment)
    run(python, "-m", "pip", "install", "--quiet", wheel)
    return python


class TestWheel:
    pytestmark = packaging

    def test_contents(self, wheel: Path) -> None:
        expected = {
            f"{package.replace('.', '/')}/{path.name}"
            for package in SETUPTOOLS["packages"]
            for path in folder_of(package).iterdir()
            if path.is_file() and path.suffix != ".pyc" and not path.is_symlink()
        }
        names = {
            name
            for name in zipfile.ZipFile(wheel).namelist()
            if ".dist-info/" not in name
        }
        assert names == expected
        assert {"gradlite/backends/cpu.py", "gradlite/data/digits.npz"} <= names

    def test_size(self, wheel: Path) -> None:
        assert wheel.stat().st_size < 1_000_000

    def test_works_from_another_folder(self, installed: Path, tmp_path: Path) -> None:
        code = (
            "import gradlite as gl, gradlite.backends as backends;"
            "x = gl.tensor([3.0], requires_grad=True);"
            "gl.sum(x * x).backward();"
            "assert x.grad.tolist() == [6.0];"
            "assert 'site-packages' in backends.__file__, backends.__file__;"
            "assert len(gl.data.digits()) == 1437"
        )
        run(installed, "-c", code, folder=tmp_path)

    def test_doctor(self, installed: Path, tmp_path: Path) -> None:
        text = run(installed, "-m", "gradlite", "doctor", folder=tmp_path)
        assert "gradlite works on: cpu" in text

    def test_requires_two_packages(self, installed: Path) -> None:
        found = run(installed, "-m", "pip", "list", "--format=freeze").split()
        names = {line.partition("==")[0] for line in found}
        assert names - {"pip", "setuptools", "wheel"} == {
            "array-api-compat",
            "gradlite",
            "numpy",
        }
