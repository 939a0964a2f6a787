"""Checkpoints: exact round trips, errors, damage, and kills in the middle of a save."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import signal
import stat
import subprocess
import sys
import tempfile
import zipfile
from collections import OrderedDict, defaultdict, namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradlite as gl
from gradlite import nn, optim, serialization
from gradlite.serialization import CheckpointError

ROOT = Path(__file__).parent.parent
FIXTURES = Path(__file__).parent / "fixtures"
SUFFIXES = [".npz", ".safetensors"]
DTYPES = [np.dtype(dtype) for dtype in gl.backends.dtypes.ALL.values()]


@pytest.fixture(params=SUFFIXES)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a path in a folder of its own, for each format."""
    if request.param == ".safetensors":
        pytest.importorskip("safetensors")
    return tmp_path / f"checkpoint{request.param}"


def again(obj: object, path: Path) -> Any:
    gl.save(obj, path)
    return gl.load(path)


def form(obj: Any) -> Any:
    """Return a description of `obj` that is equal where types, order and bits are."""
    if isinstance(obj, gl.Tensor):
        return "tensor", obj.requires_grad, form(obj.detach().cpu().numpy())
    if isinstance(obj, np.ndarray | np.generic):
        return type(obj), np.dtype(obj.dtype).name, obj.shape, obj.tobytes()
    if isinstance(obj, dict):
        return "dict", [(form(key), form(value)) for key, value in obj.items()]
    if type(obj) in (list, tuple):
        return type(obj), [form(item) for item in obj]
    if isinstance(obj, float):
        return type(obj), obj.hex()
    if isinstance(obj, complex):
        return type(obj), obj.real.hex(), obj.imag.hex()
    return type(obj), obj


LEAVES = [
    None, True, False, 0, -1, 2**53, 2**53 + 1, -(2**64), 10**5000,
    0.1, -0.0, 5e-324, math.inf, -math.inf, math.nan, 1 / 3,
    0.1 - 0.0j, complex(-0.0, math.nan),
    "", "naïve \u2713 \ud800 \x00 \"{}", b"", b"\x00\xff",
    [], (), {}, [[], ((),), {}], (1, (2.0, [None])),
    {1: "int", "1": "str", 2.5: "float", None: "None", ("a", (1, True)): 0, b"b": 1},
    np.float32(0.1), np.int64(-5), np.bool_(True), np.complex128(1 - 2j),
    gl.float32, gl.bool, [gl.int8],
]  # fmt: skip


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: type(leaf).__name__)
def test_leaves(leaf: object, path: Path) -> None:
    assert form(again(leaf, path)) == form(leaf)
    assert form(again({"x": [leaf]}, path)) == form({"x": [leaf]})


keys = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.tuples(inner, inner),
    max_leaves=3,
)
arrays = st.builds(
    lambda shape, dtype, seed: (
        np.random.default_rng(seed).integers(0, 2, shape).astype(dtype)
    ),
    st.lists(st.integers(0, 3), max_size=3),
    st.sampled_from(DTYPES),
    st.integers(0, 9),
)
leaves = st.none() | st.integers() | st.floats() | st.complex_numbers() | st.text()
trees = st.recursive(
    leaves | st.binary() | arrays | arrays.map(gl.asarray),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(keys, inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(tree=trees, suffix=st.sampled_from(SUFFIXES))
def test_trees(tree: object, suffix: str) -> None:
    if suffix == ".safetensors":
        pytest.importorskip("safetensors")
    with tempfile.TemporaryDirectory() as folder:
        assert form(again(tree, Path(folder, f"x{suffix}"))) == form(tree)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_arrays_and_tensors_of_each_dtype(dtype: np.dtype[Any], path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 200, (3, 4, 2)).astype(dtype)
    values[0, 0] = 1j if dtype.kind == "c" else 1
    layouts = {
        "c": values,
        "fortran": np.asfortranarray(values),
        "reversed": values[::-1, :, ::-1],
        "strided": values[:, ::2],
        "broadcast": np.broadcast_to(values[:1], (2, 4, 2)),
        "0-d": values[0, 0, 0, ...],
        "empty": values[:0],
        "empty inside": values[:, :0],
    }
    loaded = again({name: [x, gl.asarray(x)] for name, x in layouts.items()}, path)
    for name, expected in layouts.items():
        array, tensor = loaded[name]
        assert type(array) is np.ndarray
        assert form(array) == form(tensor.numpy()) == form(expected)
        assert array.flags.writeable
        assert array.flags.c_contiguous


def test_foreign_byte_order_and_memory_maps(path: Path) -> None:
    swapped = np.array([1.5, -2.0], ">f8")
    mapped = np.memmap(path.with_suffix(".raw"), np.int16, "w+", shape=(2,))
    mapped[:] = 1, 258
    loaded = again([swapped, np.array(1 - 2j, ">c16"), mapped], path)
    assert form(loaded[0]) == form(np.array([1.5, -2.0]))
    assert form(loaded[1]) == form(np.array(1 - 2j))
    assert form(loaded[2]) == form(np.array([1, 258], np.int16))
    del mapped


def test_bfloat16(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    values = [np.array([[1.5, -0.0]], bfloat16), np.array(3, bfloat16)]
    assert form(again(values, path)) == form(values)
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(ImportError, match="pip install ml_dtypes"):
        gl.load(path)


def test_dict_subclasses_become_dicts_in_order(path: Path) -> None:
    state: defaultdict[int, Any] = defaultdict(dict, {5: OrderedDict(b=1, a=2), 1: {}})
    loaded = again(state, path)
    assert form(loaded) == form({5: {"b": 1, "a": 2}, 1: {}})
    assert type(loaded) is type(loaded[5]) is dict


def test_references_to_one_tensor_stay_one(path: Path) -> None:
    tied, other = gl.ones(1000), gl.ones(1000)
    plain = np.ones(3)
    state = {
        "a": tied,
        "b": [tied],
        "c": tied.detach(),
        "d": other,
        "e": (plain, plain),
    }
    loaded = again(state, path)
    assert loaded["a"] is loaded["b"][0] is loaded["c"]
    assert loaded["a"] is not loaded["d"]
    assert loaded["e"][0] is loaded["e"][1]
    assert path.stat().st_size < 3 * 4000


def test_requires_grad_is_kept(path: Path) -> None:
    leaf = gl.tensor([1.0, 2.0], requires_grad=True)
    result = leaf * 3
    parameter = nn.Parameter(gl.ones(2))
    loaded = again([leaf, result, leaf.detach(), parameter], path)
    assert [t.requires_grad for t in loaded] == [True, True, False, True]
    assert all(t.is_leaf and type(t) is gl.Tensor for t in loaded)
    loaded[1].backward(gl.ones(2))
    assert loaded[1].grad.tolist() == [1.0, 1.0]


def test_devices(device: gl.Device, path: Path) -> None:
    gl.save({"t": gl.tensor([1.0, 2.0], device=device), "n": np.ones(2)}, path)
    assert gl.load(path)["t"].device == "cpu"
    there = gl.load(path, device=device)
    assert there["t"].device is device
    assert there["t"].tolist() == [1.0, 2.0]
    assert type(there["n"]) is np.ndarray
    with gl.device(device):
        assert gl.load(path)["t"].device is device
    with pytest.raises(ValueError, match="'nowhere'"):
        gl.load(path, device="nowhere")


def test_training_resumes_bit_for_bit(path: Path) -> None:
    def build(seed: int) -> tuple[nn.Module, optim.SGD, gl.random.Generator]:
        generator = gl.random.Generator(seed)
        model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1))
        return model, optim.SGD(model.parameters(), 0.1, momentum=0.9), generator

    def train(model: Any, optimizer: Any, generator: Any, steps: int) -> list[str]:
        losses = []
        for _ in range(steps):
            x = gl.random.randn(8, 4, generator=generator)
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x), gl.sum(x, axis=1, keepdims=True))
            loss.backward()
            optimizer.step()
            losses.append(loss.item().hex())
        return losses

    model, optimizer, generator = build(0)
    train(model, optimizer, generator, 3)
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "generator": generator.get_state(),
    }
    gl.save(state, path)
    expected = train(model, optimizer, generator, 3)

    model, optimizer, generator = build(1)
    loaded = gl.load(path)
    model.load_state_dict(loaded["model"])
    optimizer.load_state_dict(loaded["optimizer"])
    generator.set_state(loaded["generator"])
    assert train(model, optimizer, generator, 3) == expected


# What other programs see.


def test_names_are_the_keys(path: Path) -> None:
    state = {
        "fc.weight": gl.ones((2, 2)),
        "optimizer": {"state": {0: {"buffer": np.zeros(3)}}},
        "fc": {"weight": np.ones(1), "bad\\\n": np.ones(1)},
        "gradlite.json": np.ones(1),
        "__metadata__": np.ones(1),
        "": np.float32(1),
        "x" * 1000: np.ones(1),
    }
    loaded = again(state, path)
    assert form(loaded) == form(state)
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
        document = json.loads(found.pop("gradlite.json").tobytes())
    else:
        found = pytest.importorskip("safetensors.numpy").load_file(path)
        with pytest.importorskip("safetensors").safe_open(path, "np") as file:
            document = json.loads(file.metadata()["gradlite"])
    assert set(found) == {
        "fc.weight", "optimizer.state.0.buffer", "fc.weight~2", "fc.bad__",
        "gradlite.json~2", "__metadata__~2", "array", "x" * 200,
    }  # fmt: skip
    np.testing.assert_array_equal(found["fc.weight"], np.ones((2, 2), np.float32))
    assert (document["format"], document["version"]) == ("gradlite", 1)


def test_equal_objects_give_equal_npz_files(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    gl.save({"a": np.arange(3), "b": 0.5}, path)
    first = path.read_bytes()
    gl.save({"a": np.arange(3), "b": 0.5}, path)
    assert path.read_bytes() == first


def test_weights_from_pytorch(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    save_file = pytest.importorskip("safetensors.torch").save_file
    weights = torch.nn.Linear(3, 2).state_dict()
    save_file({**weights, "steps": torch.tensor(3)}, tmp_path / "w.safetensors")
    loaded = gl.load(tmp_path / "w.safetensors")
    assert type(loaded) is dict
    assert loaded.pop("steps").item() == 3
    assert form(loaded["weight"]) == form(gl.asarray(weights["weight"].numpy()))
    model = nn.Linear(3, 2)
    model.load_state_dict(loaded)
    assert form(model.bias.detach()) == form(gl.asarray(weights["bias"].numpy()))


def test_weights_to_pytorch(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    load_file = pytest.importorskip("safetensors.torch").load_file
    model, theirs = nn.Linear(3, 2), torch.nn.Linear(3, 2)
    gl.save(model.state_dict(), tmp_path / "w.safetensors")
    theirs.load_state_dict(load_file(tmp_path / "w.safetensors"))
    ours = model.weight.detach().numpy()
    np.testing.assert_array_equal(theirs.weight.detach().numpy(), ours)


def test_plain_npz(tmp_path: Path) -> None:
    expected = {"a": np.arange(3), "b/c": np.asfortranarray(np.ones((2, 3), ">f4"))}
    for write in (np.savez, np.savez_compressed):
        write(tmp_path / "plain.npz", **expected)  # type: ignore[operator]
        loaded = gl.load(tmp_path / "plain.npz")
        assert list(loaded) == ["a", "b/c"]
        assert form(loaded["a"]) == form(gl.asarray(expected["a"]))
        assert loaded["b/c"].dtype == gl.float32
        np.testing.assert_array_equal(loaded["b/c"].numpy(), expected["b/c"])


def test_contents_decide_the_format_on_reading(path: Path) -> None:
    gl.save([1, np.ones(2)], path)
    renamed = path.rename(path.with_suffix(".checkpoint"))
    assert form(gl.load(renamed)) == form([1, np.ones(2)])
    assert form(gl.load(str(renamed))) == form([1, np.ones(2)])


# Errors of the caller.


def cycle() -> list[Any]:
    ring: list[Any] = [{}]
    ring[0]["back"] = (ring,)
    return ring


def nested(depth: int) -> list[Any]:
    tree: list[Any] = []
    for _ in range(depth):
        tree = [tree]
    return tree


UNSUPPORTED: dict[str, tuple[Callable[[], Any], str]] = {
    "object": (lambda: {"optimizer": [object()]}, r"obj\['optimizer'\]\[0\].*object"),
    "function": (lambda: [len], r"obj\[0\].*builtin_function"),
    "module": (lambda: {"m": nn.Linear(1, 1)}, r"obj\['m'\].*Linear"),
    "generator": (lambda: (gl.random.Generator(0),), r"obj\[0\].*Generator"),
    "set": (lambda: {0: {1, 2}}, r"obj\[0\].*set"),
    "namedtuple": (lambda: [namedtuple("P", "x")(1)], r"obj\[0\].*P"),
    "objects": (lambda: np.array([None]), r"obj has dtype object"),
    "structured": (lambda: [np.zeros(1, "i4,f4")], r"obj\[0\] has dtype.*f4"),
    "text array": (lambda: {"n": np.array(["a"])}, r"obj\['n'\] has dtype <U1"),
    "text scalar": (lambda: {"n": np.str_("a")}, r"obj\['n'\] has dtype <U1"),
    "time": (lambda: [np.datetime64("2020-01-01")], r"obj\[0\] has dtype datetime64"),
    "masked": (lambda: [np.ma.array([1.0])], r"obj\[0\].*MaskedArray"),
    "key": (lambda: {"a": {np.int64(1): 2}}, r"obj\['a'\] has the key np.int64\(1\)"),
    "key in a tuple": (lambda: {("a", frozenset()): 2}, r"obj has the key .*frozenset"),
    "cycle": (cycle, r"obj\[0\]\['back'\]\[0\].*cycle"),
    "depth": (lambda: nested(5000), r"obj has too many containers"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "words"), UNSUPPORTED.values(), ids=UNSUPPORTED)
def test_what_cannot_be_saved(make: Callable[[], Any], words: str, path: Path) -> None:
    gl.save("old", path)
    with pytest.raises(TypeError, match=words):
        gl.save(make(), path)
    assert gl.load(path) == "old"
    assert os.listdir(path.parent) == [path.name]


def test_one_list_twice_is_no_cycle(path: Path) -> None:
    item = [1]
    assert again({"a": item, "b": [item, item]}, path) == {"a": [1], "b": [[1], [1]]}


@pytest.mark.parametrize("name", ["x", "x.pt", "x.npz.gz", "npz", ".npz"])
def test_other_suffixes(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"\.safetensors or \.npz.*{name}"):
        gl.save(1, tmp_path / name)
    assert not any(tmp_path.iterdir())


def test_missing_files_and_folders(path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=path.name):
        gl.load(path)
    with pytest.raises(FileNotFoundError, match=r"folder.*nowhere"):
        gl.save(1, path.parent / "nowhere" / path.name)
    path.mkdir()
    with pytest.raises(OSError, match=path.name):
        gl.load(path)
    with pytest.raises(OSError, match=path.name):
        gl.save(1, path)
    assert os.listdir(path.parent) == [path.name]


def test_without_safetensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("safetensors")
    target = tmp_path / "x.safetensors"
    gl.save(1, target)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ImportError, match=r'pip install "gradlite\[io\]".*npz'):
        gl.load(target)
    with pytest.raises(ImportError, match=r'pip install "gradlite\[io\]".*npz'):
        gl.save(2, target)
    assert again([1, gl.ones(1)], tmp_path / "x.npz")[0] == 1


def test_too_many_numbers_for_safetensors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("safetensors")
    monkeypatch.setattr(serialization, "_LARGEST_METADATA", 1000)
    with pytest.raises(ValueError, match="NumPy arrays, or save it as"):
        gl.save(list(range(1000)), tmp_path / "x.safetensors")
    assert not any(tmp_path.iterdir())
    assert len(again(list(range(1000)), tmp_path / "x.npz")) == 1000


# Whole or not at all.


@pytest.mark.parametrize("step", ["open", "fsync", "replace", "chmod"])
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file(
    step: str, error: type[BaseException], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gl.save("old", path)

    def fail(*_: object) -> None:
        raise error("no space left")

    with monkeypatch.context() as patch:
        if step == "open":
            patch.setitem(serialization._WRITERS, path.suffix, fail)
        else:
            patch.setattr(os, step, fail)
        with pytest.raises(error, match="no space left"):
            gl.save({"new": np.ones(1000)}, path)
    assert gl.load(path) == "old"
    assert os.listdir(path.parent) == [path.name]


needs_kill = pytest.mark.skipif(
    not hasattr(signal, "SIGKILL"), reason="needs POSIX signals"
)


def run(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )


# Each child forks itself: one start of Python serves all moments.
KILLED_AT_EACH_STEP = """
import os, signal, sys
import numpy as np
import gradlite as gl
path = sys.argv[1]
gl.save({"w": np.zeros(50_000), "epoch": 0}, path)
def killed_at(moment):
    calls = 0
    def count(*_):
        nonlocal calls
        calls += 1
        if calls == moment:
            os.kill(os.getpid(), signal.SIGKILL)
    for module, name in ((os, "fsync"), (os, "replace"), (os, "chmod"), (os, "close")):
        real = getattr(module, name)
        def hooked(*arguments, real=real):
            count()
            result = real(*arguments)
            count()
            return result
        setattr(module, name, hooked)
    gl.save({"w": np.full(50_000, moment), "epoch": moment}, path)
for moment in range(1, 13):
    child = os.fork()
    if not child:
        killed_at(moment)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    state = gl.load(path)
    assert (state["w"] == state["epoch"]).all()
    print(moment, state["epoch"], os.WIFSIGNALED(status), flush=True)
"""


@needs_kill
@pytest.mark.slow
def test_a_kill_at_each_step_leaves_a_whole_file(path: Path) -> None:
    with run(KILLED_AT_EACH_STEP, path) as child:
        output, _ = child.communicate(timeout=60)
    assert child.returncode == 0
    rows = [line.split() for line in output.splitlines()]
    killed = [int(moment) for moment, _, dead in rows if dead == "True"]
    replaced = [int(moment) for moment, epoch, _ in rows if epoch == moment]
    assert len(rows) == 12
    assert killed == list(range(1, len(killed) + 1))
    assert len(killed) >= 8  # before and after each of four steps
    assert 1 not in replaced
    assert set(replaced) & set(killed)  # one died after the rename


SAVES_FOR_EVER = """
import sys
import numpy as np
import gradlite as gl
path, epoch = sys.argv[1], 0
while True:
    gl.save({"w": np.full(300_000, epoch), "epoch": epoch}, path)
    epoch += 1
    print(epoch, flush=True)
"""


@needs_kill
@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.0, 0.001, 0.002, 0.004, 0.008, 0.016])
def test_a_kill_at_any_time_leaves_a_whole_file(delay: float, path: Path) -> None:
    with run(SAVES_FOR_EVER, path) as child:
        assert child.stdout is not None
        for _ in range(3):
            saved = int(child.stdout.readline())
        try:
            child.wait(delay)
        except subprocess.TimeoutExpired:
            child.kill()
    state = gl.load(path)
    assert state["epoch"] >= saved - 1
    assert (state["w"] == state["epoch"]).all()


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX file modes")
def test_file_mode(path: Path) -> None:
    mask = os.umask(0o027)
    try:
        gl.save(1, path)
    finally:
        os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o604)
    gl.save(2, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


@pytest.mark.skipif(os.name != "posix", reason="needs symbolic links")
def test_a_link_stays_a_link(path: Path) -> None:
    link = path.with_stem("latest")
    gl.save(1, path)
    link.symlink_to(path.name)
    gl.save(2, link)
    assert link.is_symlink()
    assert gl.load(path) == gl.load(link) == 2


# Damage.

SMALL = {
    "w": np.arange(3, dtype=np.float32),
    "lr": 0.1,
    "rest": [1, None, (2, "é"), {3: True}],
}


@pytest.mark.slow
def test_each_truncation_is_an_error(path: Path) -> None:
    gl.save(SMALL, path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=path.name):
            gl.load(path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_each_damaged_byte_is_an_error_or_harmless(seed: int, path: Path) -> None:
    gl.save(SMALL, path)
    whole, errors = path.read_bytes(), 0
    flips = np.random.default_rng(seed).integers(1, 256, len(whole))
    for position, flip in enumerate(flips.tolist()):
        damaged = bytearray(whole)
        damaged[position] ^= flip
        path.write_bytes(damaged)
        try:
            loaded = gl.load(path)
        except CheckpointError:
            errors += 1
        else:
            assert form(loaded) == form(SMALL), position
    # The rest are times, attributes and the like of zip entries.
    assert errors > 0.75 * len(whole)


@pytest.mark.parametrize(
    "content",
    [b"", b"\x80\x04]q", b"hello, world, hello", b"\xff" * 100, b"PK", b"PK\x03\x04"],
)
def test_other_files(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"{path.name}.*backup"):
        gl.load(path)


def test_pickles_are_refused(tmp_path: Path) -> None:
    """SEED: saved files were pickles."""
    path = tmp_path / "x.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", b"\x80\x02.")
    with pytest.raises(CheckpointError, match=r"data\.pkl.*safetensors\.torch"):
        gl.load(path)
    np.savez(tmp_path / "x.npz", a=np.array([None]))
    with pytest.raises(CheckpointError, match=r"x\.npz.*'a\.npy'.*object"):
        gl.load(tmp_path / "x.npz")


def test_a_shape_beyond_the_data_asks_for_no_memory(tmp_path: Path) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": (2**50,)}
    entry = io.BytesIO()
    np.lib.format.write_array_header_1_0(entry, header)
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("a.npy", entry.getvalue() + bytes(8))
    with pytest.raises(CheckpointError, match=r"x\.npz.*'a\.npy'.*size"):
        gl.load(tmp_path / "x.npz")


def test_unknown_dtypes_in_plain_files(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", names=np.array(["a"]))
    with pytest.raises(CheckpointError, match=r"'names\.npy'.*<U1"):
        gl.load(tmp_path / "x.npz")
    torch = pytest.importorskip("torch")
    save_file = pytest.importorskip("safetensors.torch").save_file
    narrow = torch.ones(2).to(torch.float8_e4m3fn)
    save_file({"w": narrow}, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match=r"'w'.*F8_E4M3"):
        gl.load(tmp_path / "x.safetensors")


def forge(path: Path, **changes: Any) -> None:
    """Write a file whose document says something else, with a right checksum."""
    document = {"format": "gradlite", "version": 1, "arrays": {}, "tree": None}
    document |= changes
    text = serialization._dump(document)
    document["crc32"] = serialization._crc32(text)
    serialization._WRITERS[path.suffix](str(path), {}, serialization._dump(document))


def test_newer_versions(path: Path) -> None:
    forge(path, version=7)
    with pytest.raises(
        CheckpointError,
        match=rf"{path.name}.*version 7.*up to 1.*pip install -U gradlite",
    ):
        gl.load(path)


ENTRY = {"kind": "tensor", "requires_grad": False, "dtype": "float32", "shape": [2]}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "other"}, "'other'"),
        ({"tree": {"array": "w"}}, "'w'"),
        ({"tree": {"newer": 1}}, "newer"),
        ({"tree": [1.5]}, "1.5"),
        ({"tree": {"float": 1}}, "float"),
        ({"tree": {"float": "x"}}, "damaged"),
        ({"tree": {"int": "z"}}, "damaged"),
        ({"tree": {"complex": ["0x1p0"]}}, "complex"),
        ({"tree": {"dict": [[1, 2, 3]]}}, "damaged"),
        ({"tree": {"dict": [[[], 2]]}}, "damaged"),
        ({"tree": {"bytes": "?"}}, "damaged"),
        ({"tree": {"dtype": "float8"}}, "float8"),
        ({"tree": {}}, "unknown form"),
        ({"arrays": {"w": {**ENTRY, "crc32": 0}}}, "'w' is missing"),
        ({"arrays": [1]}, "damaged"),
        ({"version": None}, "damaged"),
    ],
)
def test_forged_documents(changes: dict[str, Any], words: str, path: Path) -> None:
    forge(path, **changes)
    with pytest.raises(CheckpointError, match=rf"{path.name}.*{words}"):
        gl.load(path)


# The format of version 1 never changes: these files must load for ever, and are never
# written again.
VERSION_1 = {
    ".npz": "e067ebc83157ae75a893a2722eb06a34482efda86827d932ae4043233fffde15",
    ".safetensors": "58e79641d331876200d40985391c00397a044d60e78327944519223e2fa00892",
}


def version_1() -> dict[str, Any]:
    weight = gl.tensor([[0.1, -0.0], [math.inf, 1e-45]], requires_grad=True)
    return {
        "model": {"fc.weight": weight, "fc.bias": gl.tensor([1.5, -2]), "tied": weight},
        "optimizer": {
            "state": {0: {"momentum_buffer": gl.ones((2, 2), dtype=gl.float64)}, 1: {}},
            "param_groups": [{"lr": 0.1, "nesterov": False, "params": [0, 1]}],
        },
        "scheduler": {"last_epoch": 3, "factors": (1.0, 1 / 3), "end": None},
        "generator": {
            "bit_generator": "Philox",
            "counter": [3, 0, 0, 0],
            "key": [2**64 - 1, 2**63],
        },
        "leaves": [
            -math.inf, math.nan, -0.0, 5e-324, True, 2**53, -(2**53) - 1, 1 - 2j,
            "é \u2713 \ud800", b"\x00\xff", gl.float16, (), [], {},
        ],
        "keys": {None: 0, True: 1, 2: 2, 0.5: 3, "4": 4, (5, ("6", None)): 5, b"b": 6},
        "arrays": [
            np.array(7, np.uint64), np.zeros((0, 3), np.int8), np.array([True, False]),
            np.array([[1 + 2j], [-0.0j]], np.complex64), np.array(1j),
            np.array([1.5, 65504], np.float16), np.float32(0.1), np.bool_(True),
        ],
    }  # fmt: skip


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_version_1_loads_for_ever(suffix: str) -> None:
    if suffix == ".safetensors":
        pytest.importorskip("safetensors")
    path = FIXTURES / f"version-1{suffix}"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == VERSION_1[suffix]
    loaded = gl.load(path)
    assert form(loaded) == form(version_1())
    assert loaded["model"]["tied"] is loaded["model"]["fc.weight"]
