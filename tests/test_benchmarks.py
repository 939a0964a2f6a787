"""The benchmarks compute what they claim to time, and say what they measured."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import gradlite as gl

pytest.importorskip("benchmarks", reason="the benchmarks are not in the wheel")

from benchmarks import _command, _machine, _peers, _sides, imports, ops, plot, sgd
from benchmarks._measure import alternate, paired_ratio, summary
from benchmarks._models import BLOCK, Model, find, sampled
from benchmarks._remote import Remote
from benchmarks._report import duration, read, table, write
from benchmarks._training import weights
from benchmarks._updates import LIMIT, UPDATES, Update, reference
from gradlite.autograd import REGISTRY

ROOT = Path(__file__).parent.parent


# Models and updates


@pytest.mark.parametrize(
    ("name", "tensors", "parameters"),
    [
        ("lenet", 10, 61_706),
        ("resnet50", 161, 25_557_032),
        ("gpt2", 148, 124_439_808),
        ("200x1000", 200, 200_000),
        ("3x2K", 3, 3 * 2048),
        ("64M", 1, 1 << 26),
        ("1G", 1, 1 << 30),
    ],
)
def test_models(name: str, tensors: int, parameters: int) -> None:
    model = find(name)
    assert (len(model.shapes), model.parameters) == (tensors, parameters)


@pytest.mark.parametrize("name", ["", "resnet", "0x3", "3x", "64T", "-1", "1.5M"])
def test_unknown_models(name: str) -> None:
    with pytest.raises(ValueError, match="give lenet, resnet50, gpt2"):
        find(name)


@pytest.mark.parametrize("size", [1, 5, 200, BLOCK, BLOCK + 1, 2 * BLOCK + 77])
def test_samples_are_those_of_the_arrays(size: int) -> None:
    model = Model("some", ((7,), (size,), (3, 5)))
    arrays = list(model.arrays(0))
    for array, sample in zip(arrays, model.samples(0), strict=True):
        places = sampled(array.size)
        assert {0, array.size - 1} <= set(places) <= set(range(array.size))
        np.testing.assert_array_equal(array.reshape(-1)[places], sample)
    assert [array.shape for array in arrays] == [(7,), (size,), (3, 5)]
    assert all(np.all(array != 0) for array in arrays)
    assert arrays[0][0] != arrays[2][0, 0]
    assert arrays[0][0] != next(model.arrays(1))[0]


@pytest.mark.parametrize("update", UPDATES.values(), ids=lambda update: update.name)
def test_reference_is_that_of_torch(update: Update) -> None:
    torch = pytest.importorskip("torch")
    draw = np.random.default_rng(0)
    start, grad = draw.standard_normal((2, 50))
    p = torch.tensor(start, requires_grad=True)
    make = torch.optim.Adam if update.name == "adam" else torch.optim.SGD
    options = {} if update.name == "adam" else {"momentum": update.momentum}
    optimizer = make([p], lr=0.01, weight_decay=update.weight_decay, **options)
    for _ in range(5):
        p.grad = torch.tensor(grad) + update.alpha * torch.sign(p.detach())
        optimizer.step()
    np.testing.assert_allclose(
        reference(update, start, grad, 5), p.detach().numpy(), rtol=1e-12
    )


# Implementations


def numba_loops(*arguments: Any) -> _sides.Side:
    pytest.importorskip("numba", exc_type=ImportError)
    return _peers.Numba(*arguments)


def jit(*arguments: Any) -> _sides.Side:
    if not gl.backends.cpu.has_jit():
        pytest.skip("numba is not installed")
    return _sides.Gradlite(*arguments, jit=True)


def torch_side(kind: str, model: Model, update: Update, device: str) -> _sides.Side:
    pytest.importorskip("torch")
    return _peers.Torch(model, update, device, kind)


def torch_graph(kind: str, model: Model, update: Update, device: str) -> _sides.Side:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch finds no CUDA device")
    return _peers.TorchGraph(model, update, device, kind)


CPU: dict[str, Callable[..., _sides.Side]] = {
    "naive": _sides.Naive,
    "in-place": _sides.InPlace,
    "blocked": _sides.Gradlite,
    "jit": jit,
    "torch foreach": partial(torch_side, "foreach"),
    "torch fused": partial(torch_side, "fused"),
    "numba": numba_loops,
}
CUDA: dict[str, Callable[..., _sides.Side]] = {
    "naive": _sides.Naive,
    "in-place": _sides.InPlace,
    "fused": _sides.Gradlite,
    "fused graph": _sides.Captured,
    "torch foreach graph": partial(torch_graph, "foreach"),
    "torch fused graph": partial(torch_graph, "fused"),
}


@pytest.mark.parametrize("update", UPDATES.values(), ids=lambda update: update.name)
@pytest.mark.parametrize("name", CPU)
@pytest.mark.parametrize("size", ["lenet", "3x70"])
def test_sides_compute_the_update(name: str, update: Update, size: str) -> None:
    model = find(size)
    side = CPU[name](model, update, "cpu")
    sgd.check(name, side, model, update)
    assert side.seconds("wall", 2) > 0
    side.close()


@pytest.mark.cuda
@pytest.mark.parametrize("update", UPDATES.values(), ids=lambda update: update.name)
@pytest.mark.parametrize("name", CUDA)
def test_sides_compute_the_update_on_cuda(name: str, update: Update) -> None:
    try:
        gl.Device("cuda")
    except gl.DeviceUnavailableError as error:
        pytest.skip(str(error))
    model = find("3x70")
    side = CUDA[name](model, update, "cuda")
    sgd.check(name, side, model, update)
    for clock in ("host", "device"):
        assert side.seconds(clock, 2) > 0


@pytest.mark.slow
@pytest.mark.parametrize("update", UPDATES.values(), ids=lambda update: update.name)
def test_jax_computes_the_update(update: Update) -> None:
    for package in _peers.PEERS["jax"]:
        pytest.importorskip(package)
    model = find("3x70")
    with Remote("benchmarks._jax:Steps", "cpu") as remote:
        side = _peers.Jax(remote, model, update, "cpu")
        sgd.check("jax", side, model, update)
        assert side.seconds("wall", 2) > 0
        assert side.seconds("host", 2) > 0


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("loop", ["numpy", "numba"])
def test_limit_moves_what_it_says(
    loop: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_sides, "SHARED", 1)
    pytest.importorskip("numba" if loop == "numba" else "numpy", exc_type=ImportError)
    model = find("40004")
    side = _sides.Limit(model, LIMIT, "cpu", loop, threads)
    (p,), (g,) = side.params, side.grads
    before = p.copy()
    side.step()
    np.testing.assert_array_equal(side.states[0][0], g)
    np.testing.assert_array_equal(p, g - before)
    side.step()
    np.testing.assert_array_equal(side.states[0][0], 0)


def test_a_wrong_side_is_found() -> None:
    class Wrong(_sides.Naive):
        def apply(self) -> None:
            super().apply()
            self.params[1] = self.params[1] + 1e-4

    model, update = find("3x70"), UPDATES["full"]
    with pytest.raises(ArithmeticError, match="wrong does not compute full on 3x70"):
        sgd.check("wrong", Wrong(model, update, "cpu"), model, update)


def test_blocked_and_jit_are_two_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[bool] = []
    monkeypatch.setattr(gl.backends.cpu, "set_jit", chosen.append)
    for flag in (False, True):
        side = _sides.Gradlite(find("3x4"), UPDATES["plain"], "cpu", jit=flag)
        side.advance(1)
        side.seconds("wall", 1)
    assert chosen == [False, True, False, True, True, True, True, True]


# Operations

# Networks are timed as a whole; PyTorch's unique has no derivative.
UNTIMED = {"convolution", "pooling", "sets"}


@pytest.mark.parametrize("name", ops.operations())
def test_operations_are_those_of_torch(name: str) -> None:
    pytest.importorskip("torch")
    operation = ops.operations()[name]
    if operation.chapter == "special":
        pytest.importorskip("scipy")
    # Which raises where gradients differ.
    assert list(ops.sides(operation, "cpu", ["torch"])) == ["gradlite", "torch"]


def test_an_operation_that_differs_from_torchs_is_noticed() -> None:
    pytest.importorskip("torch")
    other = ops.operations()["sin/x1"]._replace(torch=lambda torch, x: torch.cos(x))
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        ops.sides(other, "cpu", ["torch"])


def test_every_chapter_has_an_operation() -> None:
    differentiable = [f.op for f in REGISTRY.values() if f.op.rules.by_target]
    modules = [op.forward.__module__.split(".") for op in differentiable]
    chapters = {path[2] for path in modules if path[:2] == ["gradlite", "ops"]}
    timed = {operation.chapter for operation in ops.operations().values()}
    assert chapters - UNTIMED <= timed


# A case


def rows_of_case(size: str = "3x70", **options: Any) -> dict[str, dict[str, Any]]:
    makers = {"naive": _sides.Naive, "numba": _sides.InPlace}
    options = {"quick": True, "threads": 1} | options
    rows = sgd.measure(find(size), UPDATES["adam"], "cpu", makers, **options)
    return {row["key"]: row for row in rows}


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let measurements be few and short."""
    monkeypatch.setattr(sgd, "alternate", partial(quickly, alternate))
    monkeypatch.setattr(sgd, "find_spec", lambda name: None)


def quickly(measured: Callable[..., Any], sides: Any, **options: Any) -> Any:
    return measured(sides, repeats=3, least=0.0)


@pytest.mark.usefixtures("short")
def test_rows_of_a_case() -> None:
    rows = rows_of_case()
    prefix = "sgd/cpu/3x70/adam"
    assert list(rows) == [
        f"{prefix}/{name}" for name in ("limit (numpy)", "naive", "numba")
    ]
    limit, naive, numba = rows.values()
    assert [row["peer"] for row in rows.values()] == [True, False, True]
    assert [row["traffic"] for row in rows.values()] == [20 * 212, 28 * 210, 28 * 210]
    assert limit["of_limit"] == 1.0
    assert list(naive["ratios"]) == ["numba"]
    seconds = naive["time"]["median"]
    assert naive["gb_per_s"] == pytest.approx(28e-9 * 210 / seconds)
    assert "ratios" not in numba


def test_what_follows_from_the_times() -> None:
    rows: dict[str, dict[str, Any]] = {
        "limit": {"peer": True, "traffic": 20},
        "jit": {"peer": False, "traffic": 28},
        "jax": {"peer": True, "traffic": 28},
    }
    times = {"limit": [1.0, 3.0, 2.0], "jit": [2.0, 6.0, 4.0], "jax": [6.0, 6.0, 8.0]}
    sgd.fill(rows, "limit", "device", times)
    sgd.fill(rows, "limit", "host", {**times, "jit": [0.1, 0.2, 0.3]})
    ours = rows["jit"]
    assert ours["time"]["median"] == 4.0
    assert ours["host_time"]["median"] == 0.2
    assert ours["gb_per_s"] == pytest.approx(7e-9)
    assert ours["of_limit"] == pytest.approx(0.5 * 28 / 20)
    assert ours["ratios"]["jax"]["median"] == 2.0
    assert ours["host_ratios"]["jax"]["median"] == 30.0


@pytest.mark.usefixtures("short")
def test_what_does_not_fit_is_skipped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # The limit needs five arrays, Adam six, and as much must be left over.
    free = 4 * 70_000 * 5.5 * 2
    monkeypatch.setattr(sgd, "free_memory", lambda device: free)
    rows = rows_of_case("70000")
    skipped = {key for key, row in rows.items() if "skipped" in row}
    assert skipped == {"sgd/cpu/70000/adam/naive", "sgd/cpu/70000/adam/numba"}
    assert "adam/naive: skipped: needs 0.0 GB" in capsys.readouterr().err
    assert "needs" in table(rows.values())


# Times


def test_summary() -> None:
    assert summary([1.0, 2.0, 3.0, 4.0, 9.0]) == {"median": 3.0, "q1": 2.0, "q3": 4.0}
    assert paired_ratio([2.0, 9.0, 8.0], [1.0, 3.0, 2.0])["median"] == 3.0


def test_alternate_takes_turns() -> None:
    order: list[tuple[str, int]] = []

    def timer(name: str, each: float) -> Callable[[int], float]:
        def measured(calls: int) -> float:
            order.append((name, calls))
            return each

        return measured

    sides = {"a": timer("a", 0.5), "b": timer("b", 0.001)}
    times = alternate(sides, repeats=3, least=0.01)
    assert {name: len(values) for name, values in times.items()} == {"a": 3, "b": 3}
    warm_up = [("a", 1), ("b", 1), ("b", 3)]
    assert order == [
        *warm_up, ("a", 1), ("b", 10), ("b", 10), ("a", 1), ("a", 1), ("b", 10)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("each", "repeats"), [(0.01, 20), (0.125, 8), (0.5, 5), (9.0, 5)]
)
def test_twenty_repeats_or_a_second(each: float, repeats: int) -> None:
    times = alternate({"a": lambda calls: each})["a"]
    assert len(times) == repeats


# Reports


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (2.0, "2.00 s"),
        (0.0123, "12.3 ms"),
        (9.996e-4, "1.00 ms"),
        (9.99e-4, "999 us"),
        (4.5e-8, "45.0 ns"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("machine", "name"),
    [
        ("AMD EPYC", "amd-epyc"),
        ("Intel(R) Xeon(R) CPU @ 2.20GHz", "intel-xeon"),
        ("NVIDIA H200", "nvidia-h200"),
        ("", "unknown"),
    ],
)
def test_machines_in_file_names(machine: str, name: str) -> None:
    assert _machine.slug(machine) == name


def test_environment_says_what_ran() -> None:
    found = _machine.environment("cpu", threads=2)
    assert found["versions"]["gradlite"] == gl.__version__
    assert found["versions"]["numpy"] == np.__version__
    assert found["machine"] == found["processor"] == _machine.processor()
    assert found["threads"] == 2


def row(key: str, median: float, **fields: Any) -> dict[str, Any]:
    times = {"median": median, "q1": 0.9 * median, "q3": 1.2 * median}
    return {"key": key, "peer": False, "time": times, **fields}


def test_table_has_the_columns_that_are_filled() -> None:
    text = table(
        [
            row("a", 2e-3, gb_per_s=12.345, of_limit=0.91),
            row("long/b", 1e-6, ratios={"torch": {"median": 8.456}}),
            row("d", 1.0, phases={"step": {"median": 2e-6}}, bytes={"peak": 5_120_000}),
            {"key": "c", "skipped": "needs more"},
        ]
    )
    assert text.splitlines() == [
        "           time   IQR  GB/s  limit  /torch",
        "a       2.00 ms  30 %  12.3   91 %",
        "long/b  1.00 us  30 %                 8.46",
        "d        1.00 s  30 %                       step 2.00 us, peak 5.12 MB",
        "c       needs more",
    ]


def save(folder: Path, *rows: dict[str, Any], **fields: Any) -> Path:
    about = {"benchmark": "sgd", "device": "cpu", "machine": "A", "threads": 1}
    return write(folder, {**about, **fields, "rows": list(rows)})


def test_reports_are_written_and_read(tmp_path: Path) -> None:
    path = save(tmp_path, row("x", 1 / 3), {"key": "y", "skipped": "why"}, machine="My")
    assert path == tmp_path / "sgd-my.json"
    found = read(path)
    assert found["rows"][0]["time"] == {"median": 0.33333, "q1": 0.3, "q3": 0.4}
    assert found["rows"][1] == {"key": "y", "skipped": "why"}
    assert list(found) == ["benchmark", "device", "machine", "threads", "rows"]


@pytest.mark.parametrize(
    ("median", "bound", "code"),
    [
        (1.04, ["--fail-above", "1.05"], 0),
        (1.06, ["--fail-above", "1.05"], 1),
        (0.5, ["--fail-above", "1.05"], 0),
        (1.06, ["--fail-above", "1.1"], 0),
        (9.0, [], 0),
    ],
)
def test_compare_fails_where_ours_is_slower(
    tmp_path: Path, median: float, bound: list[str], code: int
) -> None:
    # That a peer became slower is not our fault.
    a = save(tmp_path / "a", row("x", 1.0), row("y", 1.0, peer=True))
    b = save(tmp_path / "b", row("x", median), row("y", 9.0, peer=True))
    assert _command.main(["compare", str(a), str(b), *bound]) == code


def test_compare_names_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    skipped = {"key": "s", "peer": False, "skipped": "too large"}
    a = save(tmp_path / "a", row("x", 1.0), row("only/a", 1.0), row("s", 1.0))
    b = save(tmp_path / "b", row("x", 1.0), row("only/b", 1.0), skipped, machine="B")
    assert _command.main(["compare", str(a), str(b), "--fail-above", "1.05"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "note: machine differs: A and B" in lines
    assert f"only/a: missing in {b}" in lines
    assert f"s: missing in {b}" in lines
    assert f"only/b: missing in {a}" in lines


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"benchmark": "sgd", "rows": [{"operation": "sin"}]}, "is no report"),
        ([], "is no report"),
        ({"benchmark": "sgd", "rows": []}, "have no row in common"),
        (None, "No such file"),
    ],
)
def test_compare_refuses_other_files(
    tmp_path: Path,
    content: Any,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    a, b = save(tmp_path, row("x", 1.0)), tmp_path / "b.json"
    if content is not None:
        b.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        _command.main(["compare", str(a), str(b)])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def sgd_row(model: str, parameters: int, implementation: str) -> dict[str, Any]:
    peer = implementation.startswith(("limit", "torch"))
    return row(
        f"sgd/cpu/{model}/momentum/{implementation}",
        1e-3,
        model=model,
        tensors=10 if model == "lenet" else 1,
        parameters=parameters,
        update="momentum",
        implementation=implementation,
        peer=peer,
        gb_per_s=12.0,
        ratios={} if peer else {"torch fused": {"median": 3.0}},
    )


SGD_ROWS = [
    sgd_row(model, parameters, implementation)
    for model, parameters in (("lenet", 61706), ("1K", 1024), ("64M", 1 << 26))
    for implementation in ("limit (numba)", "jit", "naive", "torch fused")
]


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_plot_writes_pictures(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("matplotlib")
    path = save(tmp_path, *SGD_ROWS, {"key": "s", "update": "momentum", "skipped": ""})
    other = save(tmp_path, row("x", 1.0), benchmark="ops")
    for folder in ("one", "two"):
        out = tmp_path / folder
        options = ["--format", suffix, "--out", str(out)]
        assert _command.main(["plot", str(other), str(path), *options]) == 0
    for name in plot.PICTURES:
        one, two = (tmp_path / folder / f"{name}.{suffix}" for folder in ("one", "two"))
        assert len(one.read_bytes()) > 5000
        assert one.read_bytes() == two.read_bytes()


def test_plot_draws_what_was_measured() -> None:
    figure = pytest.importorskip("matplotlib.figure")
    report = {"device": "cpu", "machine": "A", "threads": 1, "rows": SGD_ROWS}
    axes, bars = figure.Figure().subplots(1, 2)
    plot.draw_throughput(axes, report)
    plot.draw_peers(bars, report)
    lines = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert list(lines) == ["jit", "naive", "measured limit"]
    assert all(xy == [[1024, 12.0], [1 << 26, 12.0]] for xy in lines.values())
    tops = [patch.get_y() + patch.get_height() for patch in bars.patches]
    assert tops == [3.0, 3.0]


def test_plot_needs_a_report_of_sgd(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save(tmp_path, row("x", 1.0), benchmark="ops")
    with pytest.raises(SystemExit):
        _command.main(["plot", str(path)])
    assert "no report of sgd" in capsys.readouterr().err


# Processes and the command line


def test_remote_objects() -> None:
    with Remote("builtins:str", "a,b") as remote:
        assert remote.call("split", ",") == ["a", "b"]
        with pytest.raises(RuntimeError, match="AttributeError"):
            remote.call("nothing")
        assert remote.call("upper") == "A,B"


def test_a_remote_that_cannot_start_leaves_no_process() -> None:
    # Warnings are errors: a process or a pipe left open would be one.
    with pytest.raises(RuntimeError, match="AttributeError"):
        Remote("builtins:nothing")
    gc.collect()


def test_what_a_remote_prints_is_no_answer(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "noisy.py").write_text(
        "import os\n"
        "class Noisy:\n"
        "    def talk(self):\n"
        "        print('hello')\n"
        "        os.system('echo hello')\n"
        "        return os.environ['NOISE']\n"
        "    def end(self):\n"
        "        os._exit(3)\n",
        encoding="utf-8",
    )
    environment = {"NOISE": "loud"}
    with Remote("noisy:Noisy", folder=tmp_path, environment=environment) as remote:
        assert remote.call("talk") == "loud"
        with pytest.raises(RuntimeError, match="ended with code 3"):
            remote.call("end")
    assert capfd.readouterr().err.count("hello") == 2


def test_first_weights_are_small_and_the_same_for_all() -> None:
    one, two = (list(weights([(3, 4, 5), (6,)])) for _ in range(2))
    np.testing.assert_array_equal(one[0], two[0])
    assert [x.dtype for x in one] == [np.float32] * 2
    assert 60**-0.5 < np.abs(one[0]).max() <= 20**-0.5
    assert 0 < np.abs(one[1]).max() <= 0.1


def test_sizes_on_disk() -> None:
    names = [path.name for path in imports.own_files()]
    assert {"tensor.py", "cpu.py", "py.typed", "digits.npz"} <= set(names)
    assert not [name for name in names if name.endswith(".pyc")]
    found = imports.sizes("gradlite")
    assert found["wheel"] < 1_000_000
    assert found["wheel"] < found["installed"] < found["with required"]
    assert set(imports.requirements("array-api-compat")) >= {"array-api-compat"}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], {"name": None, "devices": ["cpu"], "peers": ["torch", "jax", "numba"]}),
        (["--devices", "cpu,cuda"], {"name": None, "devices": ["cpu", "cuda"]}),
        (["sgd", "--device", "cuda"], {"name": "sgd", "devices": ["cuda"]}),
        (["--device", "cuda", "sgd"], {"devices": ["cuda"], "threads": 1}),
        (["ops", "--peers", "none", "--quick"], {"peers": [], "quick": True}),
        (["train", "--out", "x"], {"out": Path("x"), "quick": False, "before": None}),
        (["sgd", "--sizes", "lenet,4M"], {"sizes": [find("lenet"), find("4M")]}),
        (["sgd", "--updates", "adam"], {"updates": ["adam"]}),
    ],
)
def test_command_line(arguments: list[str], expected: dict[str, Any]) -> None:
    found = vars(_command.parser().parse_args(arguments))
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--peers", "tinygrad"], "'tinygrad' is none of torch, jax, numba"),
        (["sgd", "--devices", "gpu"], "'gpu' is none of cpu, cuda"),
        (["sgd", "--sizes", "lenet,big"], "'big' is no size"),
        (["sgd", "--updates", "lamb"], "'lamb' is none of plain"),
        (["sgd", "--threads", "0"], "'0' is no number"),
        (["train", "--before", "nowhere"], "'nowhere' has no package gradlite"),
        (["run"], "invalid choice: 'run'"),
    ],
)
def test_wrong_command_lines(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        _command.main(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_absent_peers_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = _command.parser().parse_args(["ops", "--peers", "torch,jax,numba"])
    present: list[list[str]] = []
    module = SimpleNamespace(
        PEERS=("torch", "jax"), run=lambda device, peers, options: present.append(peers)
    )
    monkeypatch.setitem(_command.BENCHMARKS, "ops", module)
    monkeypatch.setattr(_peers, "find_spec", lambda name: name != "jax" or None)
    found = _command.measure("ops", "cpu", options)
    assert present == [["torch"]]
    assert found["absent"] == {"jax": "jax is not installed"}
    assert "ops on cpu: jax is absent: jax is not installed" in capsys.readouterr().err


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the benchmarks in a fresh process."""
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (["sgd", "--sizes", "3x40,1K"], "sgd/cpu/3x40/momentum/blocked"),
        (["ops"], "ops/cpu/sin/x50"),
        (["train"], "train/cpu/lenet/gradlite"),
        (["import"], "import/gradlite"),
    ],
    ids=["sgd", "ops", "train", "import"],
)
def test_end_to_end(tmp_path: Path, arguments: list[str], key: str) -> None:
    done = run(*arguments, "--quick", "--peers", "none", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.iterdir()
    assert path.name == (f"{arguments[0]}-{_machine.slug(_machine.processor())}.json")
    found = read(path)
    assert key in {x["key"] for x in found["rows"]}
    assert key in done.stdout
    assert found["quick"] is True
    assert found["threads"] == 1
    compared = run("compare", path, path, "--fail-above", "1.05")
    assert compared.returncode == 0, compared.stderr
    assert "1.00" in compared.stdout
