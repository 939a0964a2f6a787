"""The doctor tells the truth in each state an installation can be in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import gradlite as gl
from gradlite import __main__, backends, doctor
from gradlite.backends import cuda
from gradlite.doctor import Row

ROOT = Path(__file__).parent.parent


@pytest.fixture
def healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the states that a test does not set those of a sound CPU-only machine."""
    monkeypatch.setattr(doctor, "cupy_wheels", list)
    monkeypatch.setattr(doctor, "extra_rows", list)
    monkeypatch.setattr(cuda, "diagnose", diagnosis)


def diagnosis(**fields: Any) -> cuda.Diagnosis:
    """Return a state of CUDA, by default of a machine without CuPy."""
    missing = {
        "ok": False,
        "problem": "CuPy is not installed",
        "fix": "install CuPy",
        "versions": {},
    }
    return cuda.Diagnosis(**{**missing, **fields})


@pytest.mark.usefixtures("healthy")
def test_cpu_only_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.main() == 0
    text = capsys.readouterr().out
    assert text.startswith(f"gradlite {gl.__version__}\n")
    assert "not available: CuPy is not installed" in text
    assert "fix: install CuPy" in text
    assert text.endswith("gradlite works on: cpu\n")


@pytest.mark.usefixtures("healthy")
def test_machine_with_a_gpu(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("array_api_strict")
    state = diagnosis(ok=True, problem="", fix="", versions={"driver": "12.9"})
    monkeypatch.setattr(cuda, "diagnose", lambda: state)
    # A device that is not the host's, on a machine that may have no other.
    stand_in = SimpleNamespace(device_names=lambda: ("array_api_strict:device1",))
    monkeypatch.setattr(backends, "backend", lambda _: stand_in)
    assert doctor.main() == 0
    text = capsys.readouterr().out
    assert "driver            12.9" in text
    assert "not available" not in text
    assert text.endswith("gradlite works on: cpu, array_api_strict:device1\n")


def test_installed_cupy_without_a_gpu() -> None:
    state = diagnosis(
        problem="no GPU", fix="use device='cpu'", versions={"cupy": "14.2.0"}
    )
    assert list(doctor.cuda_rows(state, ["cupy-cuda12x"])) == [
        Row("cupy", "14.2.0"),
        Row("status", "not available: no GPU", "use device='cpu'"),
    ]


def test_several_cupy_wheels() -> None:
    wheels = ["cupy-cuda12x", "cupy-cuda13x"]
    row = next(doctor.cuda_rows(diagnosis(), wheels))
    assert "several" in row.text
    assert "uninstall -y cupy-cuda12x cupy-cuda13x" in row.fix


@pytest.mark.usefixtures("healthy")
@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (lambda device: 0.5, "a gradient is wrong by 5.0e-01"),
        (lambda device: float("nan"), "a gradient is wrong by nan"),
        (lambda device: 1 / 0, "ZeroDivisionError: division by zero"),
    ],
    ids=["wrong", "nan", "raises"],
)
def test_broken_cpu(
    outcome: Any,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(doctor, "check_gradient", outcome)
    assert doctor.main() == 1
    text = capsys.readouterr().out
    assert said in text
    assert "fix: python -m pip install" in text
    assert "gradlite does not work here" in text


def test_check_gradient_sees_a_wrong_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.check_gradient("cpu") < 1e-14
    monkeypatch.setattr(gl, "tanh", lambda x: x)
    assert doctor.check_gradient("cpu") > 0.1


def test_check_gradient_on_another_device() -> None:
    pytest.importorskip("array_api_strict")
    assert doctor.check_gradient("array_api_strict:device1") < 1e-14


@pytest.mark.parametrize(
    ("config", "said", "fixed"),
    [
        (
            {"Build Dependencies": {"blas": {"found": True, "name": "openblas"}}},
            "openblas",
            False,
        ),
        ({"Build Dependencies": {"blas": {"found": False}}}, "none", True),
        ({}, "none", True),
    ],
)
def test_blas(config: dict[str, Any], said: str, fixed: bool) -> None:
    row = doctor.blas_row(config)
    assert said in row.text
    assert bool(row.fix) == fixed


def test_cache_folder_that_can_be_written(tmp_path: Path) -> None:
    assert doctor.cache_row(tmp_path) == Row("cache folder", str(tmp_path))
    later = doctor.cache_row(tmp_path / "a" / "b")
    assert later == Row("cache folder", f"{tmp_path / 'a' / 'b'} (made on first use)")


def test_cache_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    row = doctor.cache_row(tmp_path / "file" / "cache")
    assert "cannot be written" in row.text
    assert "GRADLITE_CACHE" in row.fix


def test_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        doctor,
        "EXTRAS",
        {"numpy": "arrays", "array-api-compat": "names", "no-such-thing": "nothing"},
    )

    def import_module(name: str) -> None:
        if name == "array_api_compat":
            raise ImportError("no symbol")

    monkeypatch.setattr(doctor, "import_module", import_module)
    sound, broken, missing = doctor.extra_rows()
    assert not sound.fix
    assert "is broken: ImportError: no symbol" in broken.text
    assert "array-api-compat --upgrade --force-reinstall" in broken.fix
    assert (
        "not installed (nothing): python -m pip install no-such-thing" in missing.text
    )
    assert not missing.fix  # nothing is wrong without it


def test_render_aligns() -> None:
    text = doctor.render([Row("cpu", "ok"), Row("cuda", "missing", "do this")])
    first, second, third = text.splitlines()
    assert first.index("ok") == second.index("missing") == third.index("fix: do this")


@pytest.mark.usefixtures("healthy")
def test_command_runs_the_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.main(["doctor"]) == 0
    assert "Devices" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--help"], 0, "doctor"),
        (["doctor", "--help"], 0, "The exit code"),
        (["--version"], 0, gl.__version__),
        ([], 2, "COMMAND"),
        (["docter"], 2, "docter"),
        (["doctor", "--fast"], 2, "--fast"),
    ],
)
def test_command_line(
    arguments: list[str],
    code: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as exit_:
        __main__.main(arguments)
    assert exit_.value.code == code
    printed = capsys.readouterr()
    assert said in (printed.err if code else printed.out)


@pytest.mark.slow
def test_as_a_process(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "gradlite", "doctor"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "GRADLITE_CACHE": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert f"cache folder      {tmp_path}" in done.stdout
    assert "\ngradlite works on: cpu" in done.stdout
