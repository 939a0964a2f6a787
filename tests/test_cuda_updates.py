"""The host's side of the fused updates on CUDA, run whole on the CPU.

Arrays are over host memory: CuPy's own where CuPy is installed, and NumPy's with the
same attributes. The kernels are those of `test_cuda_kernels.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cuda_shim import cases, host, kernel_folder, require_compiler

from gradlite.backends import _updates, cuda
from gradlite.backends._cuda_kernels import Kernels
from gradlite.backends._cuda_updates import CUDABatch
from gradlite.backends._updates import Update

Host = np.ndarray[Any, Any]

MOMENTUM = _updates.sgd(lr=0.1, momentum=0.9)
PLAIN = _updates.sgd(lr=0.1)
ADAM = _updates.adam(lr=0.01)


def over(cupy: Any, array: Host) -> Any:
    """Return a CuPy array that is the memory of a NumPy array."""
    memory = cupy.cuda.UnownedMemory(array.ctypes.data, array.nbytes, array, 0)
    pointer = cupy.cuda.MemoryPointer(memory, 0)
    return cupy.ndarray(array.shape, array.dtype, pointer)


@pytest.fixture(scope="module")
def folder() -> Path:
    """Return where compiled kernels are kept, with those of an old driver."""
    require_compiler()
    Machine(host.HostCuPy(kernel_folder())).kernels.get("total")
    return kernel_folder()


class Machine:
    """A backend whose device is the CPU.

    Parameters
    ----------
    cupy : HostCuPy
        In CuPy's place.
    """

    def __init__(self, cupy: host.HostCuPy) -> None:
        self.cupy = cupy
        self.kernels = Kernels(cupy, lambda array, _: array)
        self.device = cases.Device(self.kernels, self.upload, host.to_numpy)

    def upload(self, array: Any) -> Any:
        """Return a copy on the device."""
        return self.cupy.array(np.array(array, order="C"))

    def batch(
        self,
        *params: Any,
        states: int = 1,
        groups: list[int] | None = None,
        slots: list[Any] | None = None,
        masters: list[Any] | None = None,
    ) -> CUDABatch:
        """Return a batch with states that are zero."""
        wide = np.float32 if params[0].dtype.itemsize < 4 else params[0].dtype
        self.states = [
            [self.upload(np.zeros(p.shape, wide)) for _ in range(states)]
            for p in params
        ]
        batch = CUDABatch(
            self.kernels,
            params,
            self.states,
            groups or [0] * len(params),
            [0] * len(params),
            slots or [None] * len(params),
            masters,
        )
        self.cupy.launches.clear()
        return batch


@pytest.fixture(params=["cupy", "numpy"])
def machine(request: pytest.FixtureRequest, folder: Path) -> Machine:
    """Return the CPU in a GPU's place, with either type of arrays."""
    if request.param == "numpy":
        return Machine(host.HostCuPy(folder))
    cupy = pytest.importorskip("cupy", exc_type=ImportError)
    return Machine(host.HostCuPy(folder, lambda x: over(cupy, x), cupy.ndarray))


def ones(machine: Machine, *shapes: Any) -> list[Any]:
    """Return arrays of ones."""
    return [machine.upload(np.ones(shape, np.float32)) for shape in shapes]


def values(*arrays: Any) -> list[Any]:
    """Return the elements of arrays as lists."""
    return [host.to_numpy(array).tolist() for array in arrays]


# Steps --------------------------------------------------------------------------------


def test_all_dtypes_with_arrays_of_either_type(machine: Machine) -> None:
    for name, dtype in cases.DTYPES.items():
        for update in (MOMENTUM, ADAM):
            cases.check(
                machine.device, [update], dtype, tensors=9, offset=0,
                masters=name.endswith("float16"), missing=0.3,
            )  # fmt: skip


def test_a_step_is_one_launch_or_two(machine: Machine) -> None:
    p, q, g, h = ones(machine, 3, 3, 3, 3)
    batch = machine.batch(p, q)
    batch.step([g, h], [MOMENTUM])
    assert machine.cupy.launches == ["set_hyper", "sgd_float32"]
    batch = machine.batch(p, q, states=2)
    batch.step([g, h], [ADAM])
    batch.step([g, h], [ADAM])
    assert machine.cupy.launches == [
        "set_hyper", "advance_adam", "adam_float32", "advance_adam", "adam_float32"
    ]  # fmt: skip


@pytest.mark.parametrize("update", [PLAIN, MOMENTUM, ADAM])
def test_counts_are_those_of_parameters_with_gradients(
    machine: Machine, update: Update
) -> None:
    params = ones(machine, 3, 0, 5000, 1)
    grads = ones(machine, 3, 0, 5000, 1)
    batch = machine.batch(*params, states=len(update.states))
    batch.step(grads, [update])
    batch.step([grads[0], None, grads[2], None], [update])
    batch.step([None] * 4, [update])
    assert values(batch.steps) == [[2, 1, 2, 1]]


def test_a_parameter_without_gradient_is_left_alone(machine: Machine) -> None:
    p, q, g = ones(machine, 2, 2, 2)
    batch = machine.batch(p, q)
    batch.step([None, g], [MOMENTUM])
    assert values(p) == [[1.0, 1.0]]
    assert values(machine.states[0][0]) == [[0.0, 0.0]]
    assert values(q)[0][0] < 1


@pytest.mark.parametrize("update", [MOMENTUM, ADAM])
def test_found_inf_skips_everything(machine: Machine, update: Update) -> None:
    p, g = ones(machine, 2, 2)
    batch = machine.batch(p, states=len(update.states))
    trues: list[Any] = [True, np.True_, 1.0]
    falses: list[Any] = [None, False]
    for dtype in (np.bool_, np.float32, np.float64):
        trues += [machine.upload(np.ones(shape, dtype)) for shape in ((), (1,))]
        falses.append(machine.upload(np.zeros((), dtype)))
    trues.append(machine.upload(np.float32(np.nan)))
    for found_inf in trues:
        batch.step([g], [update], found_inf=found_inf)
        assert values(p, batch.steps) == [[1.0, 1.0], [0]]
    for i, found_inf in enumerate(falses):
        batch.step([g], [update], found_inf=found_inf)
        assert values(batch.steps) == [[i + 1]]


def test_scales_may_be_on_the_device(machine: Machine) -> None:
    for dtype in (np.float32, np.float64):
        results = []
        for wrap in (float, lambda x, d=dtype: machine.upload(np.asarray(x, d))):
            p, g = ones(machine, 3, 3)
            batch = machine.batch(p)
            for scale, clip in ((4.0, 0.5), (8.0, 0.25)):
                batch.step([g], [MOMENTUM], grad_scale=wrap(scale), clip=wrap(clip))
            results.append(values(p))
        assert results[0] == results[1]
        assert results[0][0][0] < 1


def test_groups_have_their_own_coefficients(machine: Machine) -> None:
    params = ones(machine, 2, 2, 2)
    grads = ones(machine, 2, 2, 2)
    batch = machine.batch(*params, states=0, groups=[5, 2, 5])
    updates = [_updates.sgd(lr=lr) for lr in (9.0, 9.0, 0.25, 9.0, 9.0, 0.5)]
    batch.step(grads, updates)
    assert values(*params) == [[0.5] * 2, [0.75] * 2, [0.5] * 2]
    assert machine.cupy.launches.count("set_hyper") == 2
    updates[0] = _updates.sgd(lr=8.0)  # of no concern
    updates[2] = _updates.sgd(lr=0.0)
    batch.step(grads, updates)
    assert machine.cupy.launches.count("set_hyper") == 3
    assert values(*params) == [[0.0] * 2, [0.75] * 2, [0.0] * 2]


def test_groups_may_have_different_states_of_one_number(machine: Machine) -> None:
    updates = [
        _updates.rmsprop(lr=0.01, momentum=0.9),
        _updates.rmsprop(lr=0.01, centered=True),
    ]
    cases.check(machine.device, updates, np.float32, tensors=3, offset=0)


# Where gradients are ------------------------------------------------------------------


def test_gradients_in_slots(machine: Machine) -> None:
    params, slots, other = ones(machine, 2, 3), ones(machine, 2, 3), ones(machine, 3)
    slots = [slots[0], None]
    batch = machine.batch(*params, states=0, slots=slots)
    nonsense = machine.upload(np.zeros(0, np.float64))
    batch.step([nonsense, other[0]], [PLAIN], complete=True)
    batch.step([None, other[0]], [PLAIN], complete=True)
    expected = np.float32(1) - np.float32(0.1) - np.float32(0.1)
    assert values(*params) == [[expected] * 2, [expected] * 3]
    batch.step([None, other[0]], [PLAIN])  # the slot does not count now
    assert values(batch.steps) == [[2, 3]]
    with pytest.raises(ValueError, match=r"grads\[1\] must be an array if complete"):
        batch.step([None, None], [PLAIN], complete=True)


def test_nothing_is_built_while_nothing_changes(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    params, grads = ones(machine, 2, 3), ones(machine, 2, 3)
    slots = [grads[0], None]
    batch = machine.batch(*params, states=2, slots=slots)

    def step() -> None:
        factor = cuda._cuda_updates.clip_factor(
            machine.kernels, [batch.square_sum(grads, complete=True)], 1.0
        )
        batch.step(grads, [_updates.adam(lr=0.01)], complete=True, clip=factor)

    step()
    machine.cupy.launches.clear()

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("built or allocated again")

    for name in ("empty", "zeros", "asarray", "copyto", "ascontiguousarray"):
        monkeypatch.setattr(machine.cupy, name, refuse)
    monkeypatch.setattr(CUDABatch, "_find", refuse)
    monkeypatch.setattr(CUDABatch, "_tabulate", refuse)
    step()
    assert machine.cupy.launches == [
        "square_sum_float32", "total", "clip_factor", "advance_adam", "adam_float32"
    ]  # fmt: skip


def test_gradients_may_move_and_come_and_go(machine: Machine) -> None:
    params = ones(machine, 2, 3)
    batch = machine.batch(*params, states=0)
    total = [1.0, 1.0]
    for here in ((1, 1), (1, 1), (0, 1), (1, 0), (1, 1), (0, 0)):
        grads = [
            g if x else None for g, x in zip(ones(machine, 2, 3), here, strict=True)
        ]
        batch.square_sum(grads)
        batch.step(grads, [_updates.sgd(lr=0.25)])
        total = [t - 0.25 * x for t, x in zip(total, here, strict=True)]
        assert [row[0] for row in values(*params)] == total


@pytest.mark.parametrize("which", ["grad", "param", "state", "master"])
def test_what_is_not_contiguous_is_copied(machine: Machine, which: str) -> None:
    rng = np.random.default_rng(0)
    dtype = np.float16 if which == "master" else np.float32
    arrays = {
        name: rng.standard_normal((3, 5)).astype(np.float32)
        for name in ("param", "grad", "state", "master")
    }
    arrays["param"] = arrays["param"].astype(dtype)
    arrays["grad"] = arrays["grad"].astype(dtype)
    results = []
    for strided in (False, True):
        placed = {}
        for name, array in arrays.items():
            if strided and name == which:
                placed[name] = machine.upload(array.T).T
                assert not placed[name].flags.c_contiguous
            else:
                placed[name] = machine.upload(array)
        batch = CUDABatch(
            machine.kernels, [placed["param"]], [[placed["state"]]], [0], [0], [None],
            [placed["master"]] if which == "master" else None,
        )  # fmt: skip
        for _ in range(2):
            batch.step([placed["grad"]], [MOMENTUM])
        # The same memory, now in another order.
        if which == "grad":
            grad = machine.upload(np.arange(15, dtype=np.float32).reshape(3, 5))
            batch.step([grad], [MOMENTUM])
            batch.step([grad.reshape(5, 3).T], [MOMENTUM])
        results.append(values(*placed.values()))
    assert results[0] == results[1]


# Graphs -------------------------------------------------------------------------------


def test_what_changes_in_a_captured_graph_is_refused(machine: Machine) -> None:
    p, g, h = ones(machine, 2, 2, 2)
    batch = machine.batch(p, states=0)
    batch.step([g], [PLAIN])
    machine.cupy.capturing = True
    batch.step([g], [PLAIN])
    with pytest.raises(RuntimeError, match=r"gradients changed .* call step\(\) once"):
        batch.step([h], [PLAIN])
    with pytest.raises(RuntimeError, match="hyperparameters changed since the last"):
        batch.step([g], [_updates.sgd(lr=0.5)])
    machine.cupy.capturing = False
    batch.step([h], [_updates.sgd(lr=0.5)])
    assert values(batch.steps) == [[3]]


def test_a_replayed_graph_sees_what_was_uploaded(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph keeps the launches and their arguments, as they were passed by value."""
    trial = cases.Trial(machine.device, [ADAM], np.float32, tensors=9, offset=0)
    hosts = trial.gradients(missing=0)
    grads = [trial.place(g) for g in hosts]
    graph: list[tuple[Any, tuple[Any, ...]]] = []
    get = machine.kernels.get

    def recording(name: str, space: int | None = None) -> Any:
        kernel = get(name, space)

        def launch(grid: Any, block: Any, args: Any) -> None:
            frozen = tuple(
                x.copy() if isinstance(x, np.ndarray) and x.dtype.kind == "V" else x
                for x in args
            )
            graph.append((kernel, (grid, block, frozen)))

        launch.num_regs = kernel.num_regs  # type: ignore[attr-defined]
        return launch

    def clipped() -> Any:
        square_sum = trial.batch.square_sum(grads)
        return cuda._cuda_updates.clip_factor(machine.kernels, [square_sum], 3.0)

    def step(lr: float) -> None:
        trial.batch.step(grads, [_updates.adam(lr=lr)], clip=clipped())

    step(0.01)
    factor = float(host.to_numpy(clipped()))
    assert factor < 1
    trial.follow(hosts, clip=factor)
    monkeypatch.setattr(machine.kernels, "get", recording)
    monkeypatch.setattr(trial.batch, "_update_kernel", recording("adam_float32"))
    monkeypatch.setattr(trial.batch, "_square_sum", None)
    machine.cupy.capturing = True
    step(0.01)
    machine.cupy.capturing = False
    monkeypatch.undo()
    trial.compare()  # nothing has run
    for lr in (0.01, 0.5):
        trial.batch.upload([_updates.adam(lr=lr)])
        for kernel, arguments in graph:
            kernel(*arguments)
        trial.updates = [_updates.adam(lr=lr)]
        trial.follow(hosts, clip=factor)
        trial.compare()


# What is refused ----------------------------------------------------------------------

CHANGES: dict[str, tuple[Callable[[Machine], Any], type, str]] = {
    "dtype of params": (
        lambda m: m.batch(m.upload([1, 2])),
        TypeError,
        "params must be of dtype float32, float64, .* got int64; convert them",
    ),
    "dtype of grads": (
        lambda m: m.batch(*ones(m, 2)).step([m.upload([1.0, 2.0])], [MOMENTUM]),
        TypeError,
        r"grads\[0\] must be of dtype float32, got float64; convert it",
    ),
    "size of grads": (
        lambda m: m.batch(*ones(m, 2)).step(ones(m, 3), [MOMENTUM]),
        ValueError,
        r"grads\[0\] must have 2 elements like params\[0\], got shape \(3,\)",
    ),
    "number of states": (
        lambda m: m.batch(*ones(m, 2), states=0).step(ones(m, 2), [MOMENTUM]),
        ValueError,
        r"states\[0\] must hold 1 arrays \(momentum_buffer\) for this sgd, got 0",
    ),
    "families": (
        lambda m: m.batch(*ones(m, 2, 2), groups=[0, 1]).step(
            ones(m, 2, 2), [MOMENTUM, _updates.adagrad(lr=0.1)]
        ),
        ValueError,
        "updates must be of one family, got sgd and others",
    ),
    "masters": (
        lambda m: m.batch(
            m.upload(np.ones(2, np.float16)), masters=[m.upload(np.ones(2))]
        ),
        TypeError,
        r"masters\[0\] must be of dtype float32, got float64",
    ),
    "lengths": (
        lambda m: m.batch(*ones(m, 2), groups=[0, 0]),
        ValueError,
        r"one item for each .* got \[1, 1, 2, 1, 1\] items",
    ),
    "scale": (
        lambda m: m.batch(*ones(m, 2)).step(
            ones(m, 2), [MOMENTUM], clip=m.upload(np.ones(2))
        ),
        ValueError,
        r"must be numbers, got an array of shape \(2,\); reduce it",
    ),
    "no arrays": (
        lambda m: cuda._cuda_updates.global_norm(m.kernels, []),
        ValueError,
        "arrays must hold at least one array",
    ),
    "integers": (
        lambda m: cuda._cuda_updates.global_norm(m.kernels, [m.upload([1, 2])]),
        TypeError,
        "arrays must be of dtype float32",
    ),
    "sums": (
        lambda m: cuda._cuda_updates.clip_factor(
            m.kernels, [m.upload(1.0) for _ in range(65)], 1.0
        ),
        ValueError,
        "square_sums must hold at most 64 arrays, got 65",
    ),
}


@pytest.mark.parametrize(("call", "error", "said"), CHANGES.values(), ids=CHANGES)
def test_what_does_not_fit_is_refused(
    machine: Machine, call: Callable[[Machine], Any], error: type, said: str
) -> None:
    with pytest.raises(error, match=said):
        call(machine)


def test_a_gradient_on_another_device_is_refused(machine: Machine) -> None:
    batch = machine.batch(*ones(machine, 2))
    elsewhere = SimpleNamespace(
        dtype=np.dtype(np.float32), size=2, shape=(2,), _c_contiguous=True,
        data=SimpleNamespace(ptr=1, device_id=3),
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"grads\[0\] must be on cuda:0 .* got cuda:3"):
        batch.step([elsewhere], [MOMENTUM])


# The backend --------------------------------------------------------------------------


def test_the_backend_serves_them(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda, "_kernels", lambda: machine.kernels)
    p, g, v = ones(machine, 4, 4, 4)
    batch = cuda.batch([p], [[v]], [0], [7], [None])
    square_sum = batch.square_sum([g])
    factor = cuda.clip_factor([square_sum, square_sum], 1.0, 2.0)
    norm = np.sqrt(8) / 2
    np.testing.assert_allclose(values(factor), 1 / (norm + 1e-6), rtol=1e-15)
    np.testing.assert_allclose(values(cuda.global_norm([g, g])), [np.sqrt(8)])
    np.testing.assert_allclose(values(cuda.global_norm([p, g], grad_scale=2.0)), [norm])
    batch.step([g], [MOMENTUM], clip=factor)
    assert values(batch.steps) == [[8]]


def test_kernels_are_compiled_for_the_drivers_limit(folder: Path) -> None:
    for driver, compiler, expected in (
        (12000, (13, 0), 4096),
        (12010, (12, 0), 4096),
        (12010, (12, 1), 32764),
    ):
        cupy = host.HostCuPy(folder, driver=driver)
        cupy.cuda.nvrtc.getVersion = lambda found=compiler: found
        kernels = Kernels(cupy, lambda array, _: array)
        assert kernels.space(58) == expected
        assert kernels.space(57) == 4096


def test_work_is_done_on_the_gpu_of_the_arrays(folder: Path) -> None:
    entered: list[str] = []

    class Second:
        id = 1

        def __enter__(self) -> None:
            entered.append("in")

        def __exit__(self, *_: object) -> None:
            entered.append("out")

    class Elsewhere(host.HostArray):
        @property
        def data(self) -> Any:
            return SimpleNamespace(ptr=self.ctypes.data, device_id=1)

        @property
        def device(self) -> Any:
            return Second()

    cupy = host.HostCuPy(folder, lambda x: x.view(Elsewhere), Elsewhere)
    cupy.cuda.runtime.getDeviceCount = lambda: 2
    moved: list[Any] = []

    def transfer(array: Any, _: Any) -> Any:
        moved.append(array)
        return array.view(Elsewhere)

    machine = Machine(cupy)
    machine.kernels = Kernels(cupy, transfer)
    p, g = ones(machine, 2, 2)
    batch = machine.batch(p)
    assert entered == ["in", "out"]
    batch.step([g], [MOMENTUM], clip=0.5)
    assert entered[2:] == ["in", "in", "out", "out"]
    assert not moved
