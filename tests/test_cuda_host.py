"""What the CUDA backend does on the host, on machines without a GPU.

States of an installation are simulated by a module in CuPy's place. Arrays are CuPy's
own over host memory, on which everything works that runs no kernel.
"""

from __future__ import annotations

import ast
import copy
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import gradlite as gl
from gradlite import backends, nn
from gradlite.backends import _diagnosis, cuda, registry

ROOT = Path(__file__).parent.parent
INSTALL = 'python -m pip install "gradlite[cuda12]"'
ANY = np.arange(6.0).reshape(2, 3)

# What is missing ---------------------------------------------------------------------


class FakeError(RuntimeError):
    """An error of the CUDA runtime."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def fake_cupy(
    *,
    status: int = 0,
    devices: int = 1,
    driver: int = 12090,
    matmul: Callable[..., Any] = np.matmul,
) -> Any:
    """Return a CuPy whose runtime is in some state and whose arrays are NumPy's."""

    def count() -> int:
        if status:
            raise FakeError(status, f"cudaErrorNumber{status}: some text")
        return devices

    properties = {"name": b"NVIDIA H200", "major": 9, "minor": 0}
    runtime = SimpleNamespace(
        CUDARuntimeError=FakeError,
        getDeviceCount=count,
        driverGetVersion=lambda: driver,
        runtimeGetVersion=lambda: 12090,
        getDeviceProperties=lambda index: properties,
    )
    return SimpleNamespace(
        __version__="14.2.0",
        cuda=SimpleNamespace(runtime=runtime),
        asarray=np.asarray,
        matmul=matmul,
    )


@pytest.fixture
def examine(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], cuda.Diagnosis]:
    """Return a function that examines a machine with a module in CuPy's place."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("CUPY_TF32", raising=False)
    monkeypatch.setattr(_diagnosis, "_driver_is_installed", lambda: True)

    def examine(cupy: Any) -> cuda.Diagnosis:
        monkeypatch.setattr(_diagnosis, "_sound", None)
        monkeypatch.setitem(sys.modules, "cupy", cupy)
        return cuda.diagnose()

    return examine


Examine = Callable[[Any], cuda.Diagnosis]


def lacks_a_library(*_: Any) -> Any:
    raise RuntimeError("\n====\nlibcublas.so.12: cannot open shared object file\nmore")


@pytest.mark.parametrize(
    ("cupy", "problem", "fix"),
    [
        (None, "CuPy is not installed", INSTALL),
        (fake_cupy(status=35, driver=0), "there is no NVIDIA driver", "--gpus all"),
        (
            fake_cupy(status=35, driver=11040),
            "driver is for CUDA 11.4, too old for this CuPy, which is for CUDA 12.9",
            "install a newer driver from https://www.nvidia.com/drivers",
        ),
        (fake_cupy(status=100), "there is no CUDA GPU", "`nvidia-smi`"),
        (fake_cupy(devices=0), "there is no CUDA GPU", "`nvidia-smi`"),
        (fake_cupy(status=999), "cudaErrorNumber999: some text", "`nvidia-smi`"),
        (
            fake_cupy(matmul=lacks_a_library),
            "a GPU and cannot compute on it: RuntimeError: libcublas.so.12: cannot",
            'python -m pip install --upgrade "gradlite[cuda12]"',
        ),
        (
            fake_cupy(matmul=np.add),
            "ArithmeticError: a matrix product is wrong",
            'python -m pip install --upgrade "gradlite[cuda12]"',
        ),
    ],
    ids=[
        "no CuPy", "no driver", "old driver", "no device", "zero devices", "other",
        "no toolkit", "wrong result",
    ],
)  # fmt: skip
def test_what_is_missing_is_named_with_its_fix(
    examine: Examine, cupy: Any, problem: str, fix: str
) -> None:
    found = examine(cupy)
    assert not found.ok
    assert problem in found.problem
    assert fix in found.fix
    assert "\n" not in found.problem + found.fix
    with pytest.raises(gl.DeviceUnavailableError) as error:
        cuda.require()
    assert str(error.value) == (
        f"device 'cuda' cannot be used: {found.problem}; to mend it: {found.fix}"
    )


def test_neither_driver_nor_cupy(
    examine: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_driver = examine(None)
    assert with_driver.problem == "CuPy is not installed"
    assert with_driver.fix.startswith(INSTALL)
    monkeypatch.setattr(_diagnosis, "_driver_is_installed", lambda: False)
    found = examine(None)
    assert found.problem == "there is no NVIDIA driver, and CuPy is not installed"
    driver, pip = found.fix.split("; then ")
    assert driver.startswith("first install the one for your GPU from https://")
    assert pip == with_driver.fix


@pytest.mark.parametrize(
    ("platform", "library"), [("linux", "libcuda.so.1"), ("win32", "nvcuda.dll")]
)
def test_looking_for_the_driver(
    platform: str, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> Any:
        raise OSError(f"{name}: cannot open shared object file")

    loaded: list[str] = []
    monkeypatch.setattr(_diagnosis, "sys", SimpleNamespace(platform=platform))
    monkeypatch.setattr(_diagnosis, "ctypes", SimpleNamespace(CDLL=loaded.append))
    assert _diagnosis._driver_is_installed()
    assert loaded == [library]
    monkeypatch.setattr(_diagnosis, "ctypes", SimpleNamespace(CDLL=missing))
    assert not _diagnosis._driver_is_installed()


def test_hidden_devices(examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    found = examine(fake_cupy(status=100))
    assert found.problem == "CUDA_VISIBLE_DEVICES='-1' shows none of the GPUs"
    assert found.fix == "unset CUDA_VISIBLE_DEVICES"


BANNER = "=" * 64 + "\nFailed to import CuPy.\n\nOriginal error: ...\n" + "=" * 64


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (
            "raise ImportError('libnvrtc.so.12: not found')",
            "ImportError: libnvrtc.so.12",
        ),
        (
            f"raise ImportError({BANNER!r}) from OSError('no glibc')",
            "OSError: no glibc",
        ),
        (f"raise ImportError({BANNER!r})", "ImportError: Failed to import CuPy."),
        ("import a_part_of_cupy_that_is_lost", "No module named 'a_part_of_cupy"),
    ],
    ids=["library", "cause", "banner", "part"],
)
def test_a_broken_wheel(
    examine: Examine,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    source: str,
    said: str,
) -> None:
    examine(None)  # puts CuPy back after the test
    (tmp_path / "cupy.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cupy")
    found = cuda.diagnose()
    assert found.problem.startswith("CuPy is installed and does not load: ")
    assert said in found.problem
    assert "uninstall" in found.fix
    assert INSTALL in found.fix


def test_a_sound_machine(examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {
        "cupy": "14.2.0",
        "cuda": "12.9",
        "driver": "for CUDA 13.0",
        "gpu 0": "NVIDIA H200, compute capability 9.0",
        "gpu 1": "NVIDIA H200, compute capability 9.0",
    }
    exact = {"float32 matmul": "exact"}
    found = examine(fake_cupy(devices=2, driver=13000))
    assert found == cuda.Diagnosis(True, versions=versions | exact)
    monkeypatch.setenv("CUPY_TF32", "1")
    found = examine(fake_cupy(devices=2, driver=13000))
    assert "TF32" in found.versions["float32 matmul"]


def test_a_good_answer_is_kept_and_a_bad_one_is_not(examine: Examine) -> None:
    products: list[Any] = []

    def matmul(x: Any, y: Any) -> Any:
        products.append(x)
        return x @ y

    assert not examine(None).ok
    assert examine(fake_cupy(matmul=matmul)).ok
    assert cuda.diagnose() is cuda.diagnose()
    assert len(products) == 1


@pytest.mark.parametrize(
    "use",
    [
        lambda: gl.tensor([[1.0, 2.0]], device="cuda", requires_grad=True),
        lambda: gl.zeros(2, device="cuda:0"),
        lambda: gl.randn(2, device="cuda"),
        lambda: gl.ones(2).to("cuda"),
        lambda: gl.ones(2).cuda(),
        lambda: nn.Linear(2, 2, device="cuda"),
        lambda: nn.Linear(2, 2).to("cuda"),
        lambda: gl.data.DataLoader([1], device="cuda"),
        lambda: gl.set_default_device("cuda"),
        lambda: gl.device("cuda").__enter__(),
        lambda: gl.synchronize("cuda"),
        lambda: gl.Device("cuda:7"),
    ],
)
def test_every_use_says_what_is_missing_here(use: Callable[[], Any]) -> None:
    if cuda.diagnose().ok:
        pytest.skip("CUDA works here")
    with pytest.raises(gl.DeviceUnavailableError) as error:
        use()
    said = str(error.value)
    assert said.startswith("device 'cuda' cannot be used: ")
    if find_spec("cupy") is None:
        assert "CuPy is not installed" in said
        assert INSTALL in said
    else:
        assert "CuPy is not installed" not in said
    assert gl.get_default_device() == "cpu"
    assert gl.devices() == ("cpu",)


# CuPy's arrays over host memory -------------------------------------------------------


@pytest.fixture
def cupy() -> Any:
    """Return CuPy, with the backend on it and no look at the machine."""
    library = pytest.importorskip("cupy", exc_type=ImportError)
    cuda._load()
    return library


@pytest.fixture
def two_gpus(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the registry believe in two GPUs."""
    monkeypatch.setattr(cuda, "_count", lambda: 2)
    monkeypatch.setattr(registry, "_loaded", registry._loaded | {"cuda": cuda})
    monkeypatch.setattr(registry, "_by_type", dict(registry._by_type))
    monkeypatch.setattr(gl.Device, "_interned", dict(gl.Device._interned))


def over(cupy: Any, host: np.ndarray[Any, Any], device: int = 0) -> Any:
    """Return a CuPy array that is the memory of a NumPy array."""
    memory = cupy.cuda.UnownedMemory(host.ctypes.data, host.nbytes, host, device)
    pointer = cupy.cuda.MemoryPointer(memory, 0)
    return cupy.ndarray(host.shape, host.dtype, pointer)


def test_owns(cupy: Any) -> None:
    x = over(cupy, ANY)
    assert cuda.owns(x)
    for view in (x[1:], x.T, x.reshape(-1), x[:, ::2], cupy.broadcast_to(x, (2, 2, 3))):
        assert not cuda.owns(view)


def test_shares_memory(cupy: Any) -> None:
    x = over(cupy, ANY)
    for view in (x, x.T, x[1:], x.reshape(-1)):
        assert cuda.shares_memory(x, view)
    assert not cuda.shares_memory(x[:1], x[1:])
    assert not cuda.shares_memory(x, over(cupy, ANY.copy()))
    assert not cuda.shares_memory(x, over(cupy, ANY, device=1))


def test_the_dtypes_are_numpys(cupy: Any) -> None:
    for dtype in backends.dtypes.ALL.values():
        x = over(cupy, np.zeros(2, dtype))
        assert cuda.of_dtype(x.dtype) is dtype
        assert cuda.to_dtype(dtype) is dtype
    assert cuda.of_dtype(over(cupy, np.zeros(2, np.longlong)).dtype) is gl.int64


@pytest.mark.usefixtures("two_gpus")
def test_devices(cupy: Any) -> None:
    second = gl.Device("cuda:1")
    assert second.index == second.raw.id == 1
    assert second.scoped
    assert not second.is_host
    assert second == "cuda:1"
    assert gl.Device("cuda:01") is second
    assert copy.deepcopy(second) is second
    assert gl.devices() == ("cpu", "cuda:0", "cuda:1")
    said = "'cuda:2' is not there: .* 2 CUDA devices; use one of cuda:0, cuda:1"
    with pytest.raises(gl.DeviceUnavailableError, match=said):
        gl.Device("cuda:2")
    for bad in ("cuda:x", "cuda:-1", "cuda:0:1"):
        with pytest.raises(ValueError, match=f"'{bad}' does not exist; use 'cuda' or"):
            gl.Device(bad)


def test_one_gpu_needs_no_scope(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = cupy.cuda.Device(0)
    monkeypatch.setattr(cuda, "_count", lambda: 1)
    assert cuda.scope(raw) is None
    monkeypatch.setattr(cuda, "_count", lambda: 2)
    assert cuda.scope(raw) is raw
    with pytest.raises(gl.DeviceUnavailableError, match="has 2 CUDA devices"):
        cuda.find_device("2")


@pytest.mark.usefixtures("two_gpus")
def test_an_array_is_served_where_it_is(cupy: Any) -> None:
    for index in (0, 1):
        x = over(cupy, ANY, index)
        t = gl.asarray(x)
        assert t.array is x
        assert t.device is gl.Device(f"cuda:{index}")
        assert (t.shape, t.dtype) == ((2, 3), gl.float64)
        for convert in (gl.Tensor.numpy, np.asarray):
            with pytest.raises(TypeError, match=rf"on cuda:{index} .*\.cpu\(\)\.numpy"):
                convert(t)
    with pytest.raises(gl.DeviceMismatchError, match="cuda:1 and cpu"):
        t + gl.ones((2, 3))


def test_the_namespace_is_complete(cupy: Any) -> None:
    used = {
        node.attr
        for folder in ("gradlite/autograd", "gradlite/ops", "backends")
        for path in (ROOT / folder).glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and ast.unparse(node.value).split(".")[-1] == "xp"
    }
    assert {"exp", "conv2d", "index_add", "accumulation_dtype"} <= used
    assert not [name for name in used if not hasattr(cuda.xp, name)]


def test_convolutions_have_a_larger_workspace(cupy: Any) -> None:
    for name in ("conv2d", "conv2d_input", "conv2d_weight"):
        assert getattr(cuda.xp, name).keywords == {"workspace": 2**28}


# Uploads: the order of what is asked of the streams -----------------------------------


class FakeStream:
    """A stream that writes down what it is told; its events are done when told so."""

    def __init__(self, log: list[str], name: str = "upload") -> None:
        self.log, self.name, self.events = log, name, 0

    def record(self) -> Any:
        self.events += 1
        event = SimpleNamespace(name=f"{self.name}{self.events}", done=False)
        event.synchronize = lambda: self.log.append(f"host awaits {event.name}")
        self.log.append(f"record {event.name}")
        return event

    def wait_event(self, event: Any) -> None:
        self.log.append(f"{self.name} awaits {event.name}")

    def synchronize(self) -> None:
        self.log.append(f"host awaits all of {self.name}")


class FakeArray:
    """Device memory that is filled by a stream."""

    def __init__(self, shape: Any, dtype: Any) -> None:
        self.content = np.empty(shape, dtype)

    def set(self, array: Any, stream: FakeStream) -> None:
        assert (array.shape, array.dtype) == (self.content.shape, self.content.dtype)
        self.source = array
        stream.log.append(f"{stream.name} copies")


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Put a device that writes down its work in CuPy's place; return what it wrote."""
    written: list[str] = []
    consumer = FakeStream(written, "consumer")
    streams = SimpleNamespace(
        Stream=lambda non_blocking: FakeStream(written),
        get_current_stream=lambda: consumer,
    )
    cupy = SimpleNamespace(cuda=streams, empty=FakeArray)
    monkeypatch.setattr(cuda, "cupy", cupy, raising=False)
    cupyx = SimpleNamespace(empty_pinned=np.empty)
    monkeypatch.setattr(cuda, "cupyx", cupyx, raising=False)
    return written


class FakeDevice:
    """A device that can be entered."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


def test_an_upload_waits_for_the_memory_and_the_consumer_for_the_upload(
    log: list[str],
) -> None:
    uploader = cuda.uploader(FakeDevice())
    array = ANY.copy()
    target, token = uploader.upload(array.T)
    array[:] = 0  # the loader may use its buffer again
    np.testing.assert_array_equal(target.source, ANY.T)
    uploader.wait(token)
    assert log == [
        "record consumer1",
        "upload awaits consumer1",
        "upload copies",
        "record upload1",
        "consumer awaits upload1",
    ]


def test_uploads_under_way_are_bounded(log: list[str]) -> None:
    uploader = cuda.uploader(FakeDevice())
    tokens = [uploader.upload(ANY)[1] for _ in range(cuda.STAGING + 1)]
    assert [line for line in log if "host" in line] == ["host awaits upload1"]
    for token in tokens:
        token.done = True
    uploader.upload(ANY)  # lets go of all that are done, without waiting for others
    under_way = uploader._under_way  # type: ignore[attr-defined]
    assert [event.name for event, *_ in under_way] == [f"upload{cuda.STAGING + 2}"]


def test_an_uploader_left_behind_waits_before_it_lets_go(log: list[str]) -> None:
    uploader = cuda.uploader(FakeDevice())
    uploader.upload(ANY)
    del uploader
    assert log[-1] == "host awaits all of upload"
