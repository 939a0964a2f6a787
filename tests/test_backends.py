"""Which backend serves an array, what a device is, and how tensors cross devices."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
import sys
import threading
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import gradlite as gl
from gradlite import backends, nn
from gradlite.backends import Backend, cpu, cuda, dtypes, registry
from gradlite.backends.generic import GenericBackend

HOSTS = ("cpu", "array_api_strict", "array_api_strict:device1", "torch:cpu")


def device_or_skip(name: str) -> gl.Device:
    """Return a device; skip where its library is not installed."""
    try:
        return gl.Device(name)
    except gl.DeviceUnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test register backends and make devices that no other test sees."""
    for name in ("_loaders", "_loaded", "_names", "_by_type"):
        monkeypatch.setattr(registry, name, dict(getattr(registry, name)))
    monkeypatch.setattr(registry, "_entry_points_read", True)
    monkeypatch.setattr(gl.Device, "_interned", dict(gl.Device._interned))


# A library that somebody else registers -----------------------------------------------


class Counted(GenericBackend):
    """A library under the name "counted" that remembers what was waited for."""

    def __init__(self) -> None:
        super().__init__("counted", pytest.importorskip("array_api_strict"))
        self.waits: list[str] = []

    def synchronize(self, raw: Any, /) -> None:
        self.waits.append(self._suffix(raw))


@pytest.fixture
def unknown_library(own_registry: None) -> Any:
    """Return array_api_strict, of which gradlite knows nothing here."""
    library = pytest.importorskip("array_api_strict")
    tables: list[dict[str, Any]] = [
        registry._loaders, registry._loaded, registry._names, gl.Device._interned
    ]  # fmt: skip
    for table in tables:
        for name in [name for name in table if name.startswith("array_api_strict")]:
            del table[name]
    registry._by_type.clear()
    return library


@pytest.fixture
def counted(unknown_library: Any) -> Counted:
    """Register the library and return its backend."""
    served = Counted()
    backends.register("counted", lambda: served, module="array_api_strict")
    return served


def test_an_unknown_library_is_not_served(unknown_library: Any) -> None:
    said = r"array_api_strict\..* is not an array of .*; .*backends.register"
    with pytest.raises(TypeError, match=said):
        backends.backend_of(unknown_library.ones(2))
    with pytest.raises(ValueError, match="'array_api_strict' is not known"):
        gl.Device("array_api_strict")


def test_a_registered_library_is_served(unknown_library: Any, counted: Counted) -> None:
    raw = unknown_library.ones(2)
    t = gl.asarray(raw)
    assert t.array is raw
    assert t.device is gl.Device("counted")
    assert t.device.backend is counted
    assert type((t + 1).array) is type(raw)
    assert gl.zeros(2, device="counted:device1").device == "counted:device1"
    assert t.to("counted:device1").device == "counted:device1"


def test_a_registered_library_trains(counted: Counted) -> None:
    gl.manual_seed(0)
    layer = nn.Linear(3, 1, device="counted")
    optimizer = gl.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
    x = gl.randn(20, 3, device="counted")
    y = x @ gl.tensor([[1.0], [-2.0], [0.5]], device="counted")
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = gl.mean((layer(x) - y) ** 2)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert layer.weight.grad is not None
    assert layer.weight.grad.device == "counted"
    assert losses[-1] < 1e-3 * losses[0]


def test_synchronize_reaches_the_backend(counted: Counted) -> None:
    gl.synchronize("counted:device1")
    with gl.device("counted"):
        gl.synchronize()
    assert counted.waits == ["device1", "CPU_DEVICE"]


def test_a_backend_is_loaded_once_and_on_first_use(unknown_library: Any) -> None:
    loads: list[Counted] = []

    def load() -> Any:
        loads.append(Counted())
        return loads[-1]

    backends.register("counted", load)
    assert not loads
    assert backends.backend("counted") is backends.backend("counted") is loads[0]
    assert len(loads) == 1


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        (("no name", Counted), ValueError, "'no name'"),
        (("counted", "a string"), TypeError, "'a string'"),
        (("cpu", Counted), ValueError, "'cpu' is of a backend in use"),
    ],
)
def test_bad_registrations(
    own_registry: None, arguments: Any, error: type[Exception], said: str
) -> None:
    assert gl.zeros(1).device == "cpu"
    with pytest.raises(error, match=said):
        backends.register(*arguments)
    assert backends.backend("cpu") is cpu
    assert "counted" not in registry._loaders


def test_a_library_is_not_taken_from_its_backend(own_registry: None) -> None:
    with pytest.raises(ValueError, match="'numpy' has arrays that the backend 'cpu'"):
        backends.register("mine", Counted, module="numpy")


def test_entry_points(unknown_library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = ModuleType("counted_plugin")
    plugin.load = Counted  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "counted_plugin", plugin)
    group = "gradlite.backends"
    point = metadata.EntryPoint("counted", "counted_plugin:load", group)
    asked: list[str] = []

    def entry_points(*, group: str) -> list[metadata.EntryPoint]:
        asked.append(group)
        return [point]

    monkeypatch.setattr(metadata, "entry_points", entry_points)
    monkeypatch.setattr(registry, "_entry_points_read", False)
    assert gl.Device("cpu").backend is cpu
    assert not asked  # known names need no search through all installed packages
    t = gl.ones(2, device="counted:device1")
    assert t.device.type == "counted"
    assert t.tolist() == [1.0, 1.0]
    with pytest.raises(ValueError, match="'nothing' is not known"):
        gl.Device("nothing")
    assert asked == [group]


# Look-up by type ---------------------------------------------------------------------


class Temperatures(np.ndarray):
    """A subclass somewhere else."""


def memmap(folder: Path) -> Any:
    return np.memmap(folder / "file", dtype=np.float32, mode="w+", shape=(3,))


def test_numpy_and_its_subclasses_are_the_cpu(tmp_path: Path) -> None:
    for array in (np.ones(3), memmap(tmp_path), np.ones(3).view(Temperatures)):
        assert backends.backend_of(array) is cpu
        assert backends.is_array(array)
        assert gl.asarray(array).device == "cpu"


def test_a_memmap_shares_its_file(tmp_path: Path) -> None:
    array = memmap(tmp_path)
    t = gl.asarray(array)
    t[1] = 5.0
    assert array[1] == 5.0
    assert (t * 2).tolist() == [0.0, 10.0, 0.0]


class Masked(np.ma.MaskedArray):
    """A subclass of a refused type."""


@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize(
    ("make", "fix"),
    [
        (lambda: np.matrix([[1.0]]), "pass numpy.asarray(x)"),
        (lambda: np.ma.array([1.0]), "pass x.filled(0)"),
        (lambda: Masked(1.0), "pass x.filled(0)"),
    ],
)
def test_arrays_with_other_operators_are_refused(make: Any, fix: str) -> None:
    array = make()
    said = (
        f"{type(array).__name__} are refused because their operators .*{re.escape(fix)}"
    )
    assert not backends.is_array(array)
    for use in (backends.backend_of, gl.tensor, gl.asarray):
        with pytest.raises(TypeError, match=said):
            use(array)
    with pytest.raises(TypeError, match=f"got {type(array).__name__}"):
        gl.exp(array)


@pytest.mark.parametrize("value", [None, 1.0, "text", [1.0], object(), gl])
def test_other_values_are_no_arrays(value: Any) -> None:
    assert not backends.is_array(value)
    with pytest.raises(TypeError, match=f"{type(value).__name__} is not an array of"):
        backends.backend_of(value)


@pytest.mark.parametrize("name", ["cpu", "array_api_strict", "torch:cpu"])
def test_each_library_is_found_by_its_arrays(name: str) -> None:
    device = device_or_skip(name)
    t = gl.asarray(gl.ones(2, device=device).array)
    assert t.device is device
    assert backends.device_of(t.array) is device
    assert backends.backend_of(t.array) is device.backend


PROTOCOL = {
    name: member
    for name, member in vars(Backend).items()
    if inspect.isfunction(member) and not name.startswith("_")
}


@pytest.mark.parametrize("name", ["cpu", "cuda", "array_api_strict"])
def test_backends_have_the_functions_of_the_protocol(name: str) -> None:
    backend = cuda if name == "cuda" else device_or_skip(name).backend
    assert backend.name == name
    for function, member in PROTOCOL.items():
        _, *parameters = inspect.signature(member).parameters.values()  # without self
        given = [None for p in parameters if p.kind is p.POSITIONAL_ONLY]
        options = {p.name: None for p in parameters if p.kind is p.KEYWORD_ONLY}
        assert inspect.signature(getattr(backend, function)).bind(*given, **options)


# Devices -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "index"),
    [
        (("cpu", "cpu:0"), 0),
        (("array_api_strict", "array_api_strict:CPU_DEVICE"), 0),
        (("array_api_strict:device1",), 0),
        (("torch", "torch:cpu"), 0),
    ],
    ids=lambda value: value[-1] if isinstance(value, tuple) else None,
)
def test_one_object_per_device(names: tuple[str, ...], index: int) -> None:
    device = device_or_skip(names[-1])
    for name in names:
        assert gl.Device(name) is device
        assert device == name
        assert name == device
        assert (device != name) is False
    assert gl.Device(device) is device
    assert device.index == index
    assert device.type == names[0].partition(":")[0]
    assert gl.Device(str(device)) is device
    assert repr(device) == f"Device({device.name!r})"
    assert hash(device) == hash(device.name)
    assert {str(device): 1}[device] == 1
    assert pickle.loads(pickle.dumps(device)) is device
    assert copy.copy(device) is copy.deepcopy(device) is device


def test_devices_differ() -> None:
    cpu_device = gl.Device("cpu")
    for other in ("cuda", "torch:cpu", "cpu:1", "nothing", "", 0, None, object()):
        assert cpu_device != other
    strict = device_or_skip("array_api_strict")
    assert strict != cpu_device
    assert strict != gl.Device("array_api_strict:device1")
    assert strict != "array_api_strict:device1"
    assert strict != "array_api_strict:nothing"


@pytest.mark.parametrize(
    ("spec", "error", "said"),
    [
        (
            "gpu",
            ValueError,
            r"'gpu' is not known: .*cpu, cuda, .*'cuda:0'",
        ),
        ("CPU", ValueError, "'CPU' is not known"),
        ("", ValueError, "'' is not known"),
        ("cpu:1", ValueError, "'cpu:1' does not exist; use 'cpu'"),
        (0, TypeError, r"such as 'cpu' or 'cuda:0', or a gl.Device, got 0"),
        (None, TypeError, "got None"),
        (np.float32, TypeError, "float32"),
    ],
)
def test_unknown_devices(spec: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        gl.Device(spec)


@pytest.mark.parametrize("library", ["array_api_strict", "torch"])
def test_unknown_devices_of_a_library(library: str) -> None:
    known = str(device_or_skip(library))
    with pytest.raises(ValueError, match=f"'{library}:moon' does not .*'{known}'"):
        gl.Device(f"{library}:moon")


def test_a_library_that_is_not_installed(
    own_registry: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry._loaded.pop("array_api_strict", None)
    monkeypatch.setattr(gl.Device, "_interned", {})
    monkeypatch.setitem(sys.modules, "array_api_strict", None)
    said = "'array_api_strict' needs .* python -m pip install array-api-strict"
    with pytest.raises(gl.DeviceUnavailableError, match=said):
        gl.Device("array_api_strict")


def test_devices_lists_the_cpu_first() -> None:
    assert gl.devices()[0] == "cpu"
    assert all(name.startswith("cuda:") for name in gl.devices()[1:])


# The default device ------------------------------------------------------------------

OTHER = "array_api_strict:device1"


def test_default_device() -> None:
    other = device_or_skip(OTHER)
    assert gl.get_default_device() is gl.Device("cpu")
    gl.set_default_device(OTHER)
    assert gl.get_default_device() is other
    made = (
        gl.zeros(2), gl.full(2, 1.5), gl.arange(3), gl.eye(2), gl.linspace(0, 1, 3),
        gl.tensor([1.0]), gl.tensor(np.ones(2)), gl.asarray(1.0), gl.randn(2),
        nn.Linear(2, 2).weight,
    )  # fmt: skip
    assert {str(t.device) for t in made} == {OTHER}
    assert gl.asarray(np.ones(2)).device == "cpu"  # it shares the array's memory
    assert gl.tensor(np.ones(2), device="cpu").device == "cpu"


def test_device_blocks_nest_and_end_with_exceptions() -> None:
    strict, other = device_or_skip("array_api_strict"), device_or_skip(OTHER)
    with gl.device(strict) as entered:
        assert entered is strict
        with gl.device(OTHER):
            assert gl.zeros(1).device is other
        assert gl.zeros(1).device is strict
        with pytest.raises(ValueError, match="shape"), gl.device(OTHER):
            gl.zeros(-1)
        assert gl.zeros(1).device is strict
    assert gl.zeros(1).device == "cpu"


def test_device_decorates() -> None:
    device_or_skip(OTHER)

    @gl.device(OTHER)
    def make() -> gl.Tensor:
        return gl.zeros(1)

    assert [str(make().device), str(make().device)] == [OTHER, OTHER]
    assert gl.zeros(1).device == "cpu"


def in_thread(function: Any) -> Any:
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join()
    return results[0]


def test_device_blocks_hold_in_their_thread_only() -> None:
    other = device_or_skip(OTHER)
    with gl.device(OTHER):
        assert in_thread(gl.get_default_device) == "cpu"
    gl.set_default_device(OTHER)
    assert in_thread(gl.get_default_device) is other


def test_a_bad_default_device_changes_nothing() -> None:
    with pytest.raises(ValueError, match="gpu"):
        gl.set_default_device("gpu")
    with pytest.raises(ValueError, match="gpu"), gl.device("gpu"):
        pytest.fail("the block was entered")
    assert gl.get_default_device() == "cpu"


# dtypes ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "dtype"),
    [
        *((dtype, dtype) for dtype in dtypes.ALL.values()),
        *dtypes.ALL.items(),
        *((np.dtype(dtype), dtype) for dtype in dtypes.ALL.values()),
        (bool, np.bool_),
        (int, np.int64),
        (float, np.float32),
        (complex, np.complex64),
        (np.dtype(">f4"), np.float32),
        (np.longlong, np.int64),
        (np.ulonglong, np.uint64),
        (np.intc, np.int32),
    ],
    ids=str,
)
def test_canonical_dtypes(given: Any, dtype: Any) -> None:
    assert dtypes.canonical(given) is dtype
    assert gl.zeros(2, dtype=given).dtype is dtype


@pytest.mark.parametrize(
    "given",
    [
        None,
        "nothing",
        object(),
        [1],
        {"a": 1},
        "m8[s]",
        "S3",
        "f4,i4",
        np.longdouble,
        str,
    ],
    ids=repr,
)
def test_other_dtypes_are_refused(given: Any) -> None:
    said = r"dtype must be one of gl.bool, .* got .*; use for example dtype=gl.float32"
    with pytest.raises(TypeError, match=said):
        dtypes.canonical(given)


def test_integers_of_the_same_size_are_one_dtype() -> None:
    t = gl.asarray(np.arange(3, dtype=np.longlong))
    assert t.dtype is gl.int64
    assert (t + gl.arange(3)).dtype is gl.int64


def test_python_floats_follow_the_default_dtype() -> None:
    gl.set_default_dtype(gl.float64)
    assert dtypes.canonical(float) is gl.tensor([1.0]).dtype is gl.float64
    assert dtypes.canonical(complex) is gl.tensor([1j]).dtype is gl.complex128
    for bad in (gl.int64, gl.complex64, bool):
        with pytest.raises(TypeError, match="a floating-point dtype"):
            gl.set_default_dtype(bad)
    assert gl.get_default_dtype() is gl.float64


@pytest.mark.parametrize("name", HOSTS)
@pytest.mark.parametrize("dtype", dtypes.ALL.values(), ids=lambda d: d.__name__)
def test_dtypes_survive_a_round_trip(name: str, dtype: Any) -> None:
    device = device_or_skip(name)
    array = np.asarray([[0, 1], [2, 3]]).astype(dtype)
    if device.type == "array_api_strict" and dtype is gl.float16:
        with pytest.raises(TypeError, match=r"float16 does not exist in .*; use one"):
            gl.tensor(array, device=device)
        return
    t = gl.tensor(array, device=device)
    assert t.dtype is dtype
    back = t.cpu().numpy()
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


# Crossing devices --------------------------------------------------------------------

PAIRS = [(source, target) for source in HOSTS for target in HOSTS if source != target]
each_pair = pytest.mark.parametrize(("source", "target"), PAIRS)
DATA = np.random.default_rng(0).standard_normal((2, 3))


@each_pair
def test_values_cross_and_gradients_come_back(source: str, target: str) -> None:
    here, there = device_or_skip(source), device_or_skip(target)
    x = gl.tensor(DATA, device=here, requires_grad=True)
    y = x.to(there)
    assert y.device is there
    assert y.dtype is gl.float64
    assert backends.device_of(y.array) is there
    np.testing.assert_array_equal(y.detach().cpu().numpy(), DATA)
    gl.sum(y * y * y).backward()
    assert x.grad is not None
    assert x.grad.device is here
    np.testing.assert_allclose(x.grad.cpu().numpy(), 3 * DATA**2, rtol=1e-14)


@each_pair
def test_second_derivatives_cross_too(source: str, target: str) -> None:
    here, there = device_or_skip(source), device_or_skip(target)
    x = gl.tensor(DATA, device=here, requires_grad=True)
    (g,) = gl.autograd.grad(gl.sum(x.to(there) ** 3), x, create_graph=True)
    gl.sum(g).backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.cpu().numpy(), 6 * DATA, rtol=1e-14)


@each_pair
def test_no_memory_is_shared_across_devices(source: str, target: str) -> None:
    here, there = device_or_skip(source), device_or_skip(target)
    for first, second in ((here, there), (there, here)):
        x = gl.tensor(DATA, device=first)
        y = x.to(second)
        y.fill_(7.0)
        np.testing.assert_array_equal(x.cpu().numpy(), DATA)


@pytest.mark.parametrize("name", HOSTS)
def test_moving_to_the_same_device_is_no_copy(name: str) -> None:
    t = gl.ones(2, device=device_or_skip(name))
    assert t.to(name) is t
    assert t.to(t) is t
    assert t.to(t.device) is t


@pytest.mark.parametrize("name", HOSTS)
@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3).T,
        np.arange(6.0)[::-2],
        np.broadcast_to(np.float64(2.0), (2, 2)),
        np.arange(3.0).astype(">f8"),
        np.float64(-0.0),
        np.empty((0, 3)),
    ],
    ids=["transposed", "backwards", "read-only", "big-endian", "minus zero", "empty"],
)
def test_any_layout_crosses(name: str, array: Any) -> None:
    t = gl.tensor(array, device=device_or_skip(name))
    back = t.cpu().numpy()
    np.testing.assert_array_equal(back, array)
    np.testing.assert_array_equal(np.signbit(back), np.signbit(array))
    t.zero_()  # whatever it came from, it can be written to


@pytest.mark.parametrize(
    "mix",
    [
        lambda x, y: x + y,
        gl.matmul,
        lambda x, y: gl.concat([x, y]),
        lambda x, y: gl.where(x > 0, x, y),
        lambda x, y: gl.add(x, y.array),  # a raw array has a device too
    ],
    ids=["operator", "matmul", "list", "where", "raw"],
)
def test_devices_do_not_mix(mix: Any) -> None:
    x, y = gl.ones((2, 2)), gl.ones((2, 2), device=device_or_skip("array_api_strict"))
    said = "cpu and array_api_strict:CPU_DEVICE; move one of them, .*'cpu'"
    with pytest.raises(gl.DeviceMismatchError, match=said):
        mix(x, y)
    assert mix(x, y.to("cpu")).device == "cpu"  # the fix that it names


def test_other_places_where_devices_do_not_mix() -> None:
    x, y = gl.ones(2), gl.ones(2, device=device_or_skip(OTHER))
    index = gl.asarray(np.asarray([1])).to(OTHER)
    with pytest.raises(gl.DeviceMismatchError, match=r"index is on .*device1.*cpu"):
        x[index]
    with pytest.raises(gl.DeviceMismatchError, match=r"value is on .*device1.*cpu"):
        x[0] = y[0]
    with pytest.raises(gl.DeviceMismatchError, match="device1"):
        x += y
    x.requires_grad_()
    with pytest.raises(ValueError, match="device"):
        x.grad = y
    assert issubclass(gl.DeviceMismatchError, ValueError)
    assert x.tolist() == [1.0, 1.0]


def test_scalars_go_with_any_device() -> None:
    x = gl.ones(2, device=device_or_skip(OTHER))
    for y in (2 * x, x * np.float32(2), x + 1):
        assert y.device == OTHER
        assert y.tolist() == [2.0, 2.0]


# To NumPy ----------------------------------------------------------------------------


def test_libraries_tell_views_from_copies(device: gl.Device) -> None:
    backend = device.backend
    x = gl.ones((3, 4), device=device).array
    for view in (x[1:, :], x[:, 0], device.xp.matrix_transpose(x)):
        assert backend.shares_memory(view, x)
    assert backend.shares_memory(x + 1.0, x) is False
    assert backend.is_writable(x)
    assert backend.is_writable(x[:1, :])
    assert backend.is_writable(x[:, :0])
    assert not backend.is_writable(device.xp.broadcast_to(x[0, :], (3, 4)))


def test_arrays_are_laid_out_like_others(device: gl.Device) -> None:
    backend, xp = device.backend, device.xp
    values = np.arange(12.0, dtype=np.float32).reshape(3, 4)
    x = gl.tensor(values, device=device).array
    columns = xp.matrix_transpose(gl.ones((4, 3), device=device).array)
    y = backend.laid_out_like(x, columns)
    flat = xp.reshape(xp.matrix_transpose(y), (-1,))
    assert backend.shares_memory(flat, y)  # so it is in the order of columns
    np.testing.assert_array_equal(backend.to_host(y), values)


def test_a_library_that_hides_its_memory_leaves_views_open() -> None:
    torch = pytest.importorskip("torch")
    z = gl.asarray(torch.ones(2, dtype=torch.complex64))
    assert z.device.backend.shares_memory(torch.conj(z.array), z.array) is None


def test_numpy_shares_memory_on_the_cpu() -> None:
    t = gl.zeros(2)
    t.numpy()[0] = 3.0
    np.asarray(t)[1] = 4.0
    assert t.tolist() == [3.0, 4.0]


conversions = pytest.mark.parametrize(
    "convert",
    [lambda t: t.numpy(), np.asarray, np.array, np.linalg.norm],
    ids=["numpy", "asarray", "array", "function"],
)


@conversions
def test_a_tracked_tensor_does_not_become_an_array(convert: Any) -> None:
    x = gl.ones(2, requires_grad=True)
    for t in (x, x * 2):
        with pytest.raises(TypeError, match=r"requires grad .*\.detach\(\)\.numpy\(\)"):
            convert(t)
    assert x.detach().numpy().tolist() == [1.0, 1.0]


@conversions
def test_a_tensor_elsewhere_does_not_become_an_array(convert: Any) -> None:
    t = gl.ones(2, device=device_or_skip(OTHER))
    with pytest.raises(TypeError, match=r"on array_api_strict:device1 .*\.cpu\(\)"):
        convert(t)
    assert t.cpu().numpy().tolist() == [1.0, 1.0]


def test_asking_for_numbers_works_everywhere() -> None:
    t = gl.full((), 2.5, device=device_or_skip(OTHER))
    assert (t.item(), float(t), t.tolist(), bool(t)) == (2.5, 2.5, 2.5, True)
    assert repr(t) == "tensor(2.5, device='array_api_strict:device1')"


# Figures and waiting -----------------------------------------------------------------


@pytest.mark.parametrize("name", HOSTS)
def test_synchronize_and_memory(name: str) -> None:
    device = device_or_skip(name)
    gl.synchronize(device)
    figures = backends.memory(device)
    if name != "cpu" or figures is None:  # Windows does not tell
        assert figures is None
        return
    assert figures.used + figures.free == figures.total
    assert min(figures) > 0
