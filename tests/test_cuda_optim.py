"""Optimizer steps on a GPU: what the CPU that stands in for one cannot show."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from cuda_shim import cases

import gradlite as gl
from gradlite import nn
from gradlite.backends import _updates, cuda
from gradlite.backends._cuda_kernels import SMALL_SPACE, capacity
from gradlite.backends._cuda_updates import CUDABatch

pytestmark = pytest.mark.cuda

LAYOUTS = cases.by_layout(cases.variants())
MOMENTUM = _updates.sgd(lr=0.1, momentum=0.9, weight_decay=0.01, alpha=0.01)
ADAM = _updates.adam(lr=0.01, weight_decay=0.01)

SPIN = """
extern "C" __global__ void spin(long long cycles) {
  const long long start = clock64();
  while (clock64() - start < cycles) {}
}
"""


@pytest.fixture(scope="module")
def gpu() -> cases.Device:
    """Return the GPU; without one the reason is printed."""
    try:
        gl.Device("cuda")
    except gl.DeviceUnavailableError as error:
        pytest.skip(str(error))
    cupy = cuda.cupy
    return cases.Device(cuda._kernels(), cupy.asarray, cupy.asnumpy)


@pytest.fixture
def cupy(gpu: cases.Device) -> Any:
    """Return CuPy."""
    return cuda.cupy


@pytest.fixture
def stream(cupy: Any) -> Iterator[Any]:
    """Return a stream that can be captured, as the current one."""
    cupy.cuda.Device().synchronize()
    with cupy.cuda.Stream(non_blocking=True) as current:
        yield current
    current.synchronize()


# Values -------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "masters"),
    [
        ("float32", False),
        ("float64", False),
        ("float16", False),
        ("float16", True),
        ("bfloat16", False),
        ("bfloat16", True),
    ],
)
@pytest.mark.parametrize(
    "updates", LAYOUTS, ids=[f"{u[0].family}-{len(u[0].states)}" for u in LAYOUTS]
)
def test_every_variant_gives_the_bits_of_the_formulas(
    gpu: cases.Device, updates: list[Any], name: str, masters: bool
) -> None:
    if name not in cases.DTYPES:
        pytest.skip("ml_dtypes is not installed")
    dtype = cases.DTYPES[name]
    cases.check(gpu, updates, dtype, masters=masters, grad_scale=3.0, clip=0.4)
    for offset in (0, 1):
        cases.check(gpu, updates, dtype, masters=masters, offset=offset, missing=0)


@pytest.mark.parametrize("tensors", [57, 58, 148, 816, 1000])
@pytest.mark.parametrize("update", [MOMENTUM, ADAM], ids=["sgd", "adam"])
def test_many_tensors(gpu: cases.Device, update: Any, tensors: int) -> None:
    cases.check(gpu, [update], np.float32, tensors=tensors, steps=2, missing=0.1)


@pytest.mark.parametrize("update", [MOMENTUM, ADAM], ids=["sgd", "adam"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_a_large_tensor(gpu: cases.Device, update: Any, dtype: Any) -> None:
    arrays = cases.Arrays(gpu, np.random.default_rng(0))
    wide = np.float64 if dtype == np.float64 else np.float32
    size = 4_000_001  # more tiles than there are blocks
    p, g = arrays.values(size, dtype), arrays.values(size, dtype)
    states = arrays.states(update.states, size, wide)
    on_device = [arrays.place(x, 0) for x in (p, g, *states)]
    batch = cuda.batch([on_device[0]], [on_device[2:]], [0], [0], [None])
    for count in (1, 2):
        batch.step([on_device[1]], [update])
        cases.reference(update, cases.Tensors(p, g, states, None), count, None, None)
    for found, expected in zip(on_device, (p, g, *states), strict=True):
        assert cases.same_bits(gpu.download(found), expected)


def test_one_launch_serves_148_tensors(
    gpu: cases.Device, cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if gpu.kernels.space(148) == SMALL_SPACE:
        pytest.skip("the driver is older than CUDA 12.1")
    trial = cases.Trial(gpu, [MOMENTUM], np.float32, tensors=148)
    grads = [trial.place(g) for g in trial.gradients(missing=0)]
    trial.batch.step(grads, [MOMENTUM])
    launches: list[Any] = []
    kernel = trial.batch._update_kernel
    monkeypatch.setattr(
        trial.batch, "_update_kernel", lambda *a: (launches.append(a), kernel(*a))
    )
    trial.batch.step(grads, [MOMENTUM])
    assert len(launches) == 1
    assert capacity(SMALL_SPACE, 3) < 148


def test_norms(gpu: cases.Device, cupy: Any) -> None:
    rng = np.random.default_rng(0)
    arrays = [
        cases.Arrays(gpu, rng).values(n, dtype)
        for n in (0, 1, 5000, 3_000_001)
        for dtype in cases.DTYPES.values()
    ]
    exact = np.sqrt(sum(np.sum(x.astype(np.longdouble) ** 2) for x in arrays))
    on_device = [cupy.asarray(x) for x in arrays]
    found = [float(cuda.global_norm(on_device, grad_scale=4.0)) for _ in range(3)]
    assert len(set(found)) == 1  # not only close: always the same
    np.testing.assert_allclose(found[0], float(exact) / 4, rtol=1e-13)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_clipping_and_found_inf_on_the_device(
    gpu: cases.Device, cupy: Any, bad: float
) -> None:
    trial = cases.Trial(gpu, [ADAM], np.float32, tensors=9)
    hosts = trial.gradients(missing=0)
    grads = [trial.place(g) for g in hosts]
    square_sum = trial.batch.square_sum(grads)
    factor = cuda.clip_factor([square_sum], 2.0, cupy.float32(4.0))
    norm = (
        np.sqrt(sum(np.sum(g.astype(float) ** 2) for g in hosts if g is not None)) / 4
    )
    np.testing.assert_allclose(float(factor), 2 / (norm + 1e-6), rtol=1e-13)
    scale = cupy.asarray(np.float32(4.0))
    trial.batch.step(grads, [ADAM], grad_scale=scale, clip=factor)
    trial.follow(hosts, 4.0, float(factor))
    trial.compare()
    wrong = [cupy.full_like(g, bad) for g in grads]
    sums = trial.batch.square_sum(wrong)
    trial.batch.step(
        wrong,
        [ADAM],
        clip=cuda.clip_factor([sums], 2.0),
        found_inf=~cupy.isfinite(sums),
    )
    trial.compare()


OPTIMIZERS: dict[str, Callable[..., Any]] = {
    "SGD": lambda p, **o: gl.optim.SGD(p, lr=0.1, momentum=0.9, **o),
    "SGD torch": lambda p, **o: gl.optim.SGD(
        p, lr=0.1, momentum=0.9, nesterov=True, momentum_form="torch", **o
    ),
    "Adam": lambda p, **o: gl.optim.Adam(p, lr=0.01, **o),
    "AdamW": lambda p, **o: gl.optim.AdamW(p, lr=0.01, **o),
    "RMSprop": lambda p, **o: gl.optim.RMSprop(p, lr=0.01, momentum=0.9, **o),
    "Adagrad": lambda p, **o: gl.optim.Adagrad(p, lr=0.1, **o),
}


@pytest.mark.parametrize("grads", ["auto", "flat"])
@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_optimizers_give_the_bits_of_the_cpu(
    gpu: cases.Device, make: Callable[..., Any], grads: str
) -> None:
    shapes = ((3,), (40, 50), (), (70_000,), (1, 1))
    results = []
    for device in ("cpu", "cuda"):
        rng = np.random.default_rng(0)

        def draw(
            shape: Any, device: str = device, rng: np.random.Generator = rng
        ) -> gl.Tensor:
            x = rng.standard_normal(shape).astype(np.float32)
            return gl.tensor(x, device=device)

        params = [draw(shape).requires_grad_() for shape in shapes]
        optimizer = make(params, grads=grads)
        for _ in range(5):
            optimizer.zero_grad()
            gl.sum(gl.stack([gl.sum(p * draw(p.shape)) for p in params])).backward()
            optimizer.step()
        results.append([p.detach().cpu().numpy() for p in params])
    for ours, expected in zip(*results, strict=True):
        assert cases.same_bits(ours, expected)


# The queue ----------------------------------------------------------------------------


def test_a_step_does_not_wait_for_the_device(gpu: cases.Device, cupy: Any) -> None:
    spin = cupy.RawKernel(SPIN, "spin")
    for update in (MOMENTUM, ADAM):
        trial = cases.Trial(gpu, [update], np.float32, tensors=148)
        grads = [trial.place(g) for g in trial.gradients(missing=0)]
        scale, found_inf = cupy.ones((), np.float32), cupy.zeros((), np.bool_)
        better = update._replace(coefficients=update.coefficients._replace(lr=0.2))

        def step(
            update: Any,
            batch: Any = trial.batch,
            grads: Any = grads,
            scale: Any = scale,
            found_inf: Any = found_inf,
        ) -> None:
            factor = cuda.clip_factor([batch.square_sum(grads)], 1.0, scale)
            batch.step(
                grads, [update], grad_scale=scale, clip=factor, found_inf=found_inf
            )

        step(update)  # compiles
        spin((1,), (1,), (np.int64(1),))
        cupy.cuda.Device().synchronize()
        spin((1,), (1,), (np.int64(2_000_000_000),))  # about a second
        spun = cupy.cuda.get_current_stream().record()
        start = time.perf_counter()
        step(better)  # also with a new learning rate
        took = time.perf_counter() - start
        assert not spun.done, "the step waited for the device"
        assert took < 0.1
        spun.synchronize()


def test_a_steady_step_allocates_nothing(gpu: cases.Device, cupy: Any) -> None:
    trial = cases.Trial(gpu, [ADAM], np.float32, tensors=148)
    grads = [trial.place(g) for g in trial.gradients(missing=0)]
    allocated: list[int] = []

    class Hook(cupy.cuda.MemoryHook):  # type: ignore[misc, name-defined]
        name = "count"

        def malloc_preprocess(self, *, size: int, **_: Any) -> None:
            allocated.append(size)

    for _ in range(2):
        with Hook():
            allocated.clear()
            factor = cuda.clip_factor([trial.batch.square_sum(grads)], 1.0)
            trial.batch.step(grads, [ADAM], clip=factor)
    assert not allocated


def test_tables_are_rarely_built_in_training(
    gpu: cases.Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = nn.Sequential(
        nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)
    ).to("cuda")
    optimizer = gl.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    x = gl.randn(32, 64, device="cuda")
    built: list[bool] = []
    find = CUDABatch._find

    def counting(self: CUDABatch, *arguments: Any) -> None:
        built.append(True)
        find(self, *arguments)

    monkeypatch.setattr(CUDABatch, "_find", counting)
    for _ in range(30):
        optimizer.zero_grad()
        gl.mean(model(x) ** 2).backward()
        optimizer.step()
    assert len(built) <= 10


# Graphs -------------------------------------------------------------------------------


@pytest.mark.parametrize("update", [MOMENTUM, ADAM], ids=["sgd", "adam"])
def test_a_captured_step_sees_a_new_learning_rate(
    gpu: cases.Device, stream: Any, update: Any
) -> None:
    trial = cases.Trial(gpu, [update], np.float32, tensors=148)
    hosts = trial.gradients(missing=0)
    grads = [trial.place(g) for g in hosts]

    def step(update: Any) -> Any:
        factor = cuda.clip_factor([trial.batch.square_sum(grads)], 3.0)
        trial.batch.step(grads, [update], clip=factor)
        return factor

    factor = float(step(update))
    trial.follow(hosts, clip=factor)
    trial.compare()
    stream.begin_capture()
    step(update)
    graph = stream.end_capture()
    trial.compare()  # nothing has run
    for lr in (0.1, 0.05, 0.2):
        coefficients = update.coefficients._replace(lr=lr, gain=lr)
        trial.updates = [update._replace(coefficients=coefficients)]
        trial.batch.upload(trial.updates)
        graph.launch()
        trial.follow(hosts, clip=factor)
        trial.compare()


def test_what_changes_in_a_captured_graph_is_refused(
    gpu: cases.Device, stream: Any
) -> None:
    trial = cases.Trial(gpu, [ADAM], np.float32, tensors=3)
    grads = [trial.place(g) for g in trial.gradients(missing=0)]
    others = [trial.place(g) for g in trial.gradients(missing=0)]
    trial.batch.step(grads, [ADAM])
    stream.begin_capture()
    try:
        with pytest.raises(RuntimeError, match="gradients changed"):
            trial.batch.step(others, [ADAM])
        with pytest.raises(RuntimeError, match="hyperparameters changed"):
            trial.batch.step(grads, [_updates.adam(lr=0.5)])
    finally:
        stream.end_capture()


# Two GPUs -----------------------------------------------------------------------------


def test_a_batch_on_another_gpu(gpu: cases.Device, cupy: Any) -> None:
    if "cuda:1" not in gl.devices():
        pytest.skip("there is one GPU")

    def upload(array: Any) -> Any:
        with cupy.cuda.Device(1):
            return cupy.asarray(array)

    second = cases.Device(gpu.kernels, upload, gpu.download)
    cases.check(second, [MOMENTUM], np.float32, tensors=9)
    cases.check(second, [ADAM], np.float32, tensors=9, clip=0.5)
    # A factor that was computed on the first one.
    trial = cases.Trial(second, [MOMENTUM], np.float32, tensors=9)
    hosts = trial.gradients(missing=0)
    grads = [trial.place(g) for g in hosts]
    sums = [trial.batch.square_sum(grads), cupy.zeros((), np.float64)]
    factor = cuda.clip_factor(sums[::-1], 1.0)
    assert factor.device.id == 0
    trial.batch.step(grads, [MOMENTUM], clip=factor)
    trial.follow(hosts, clip=float(factor))
    trial.compare()
