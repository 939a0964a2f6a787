"""What only a GPU can show. Other files run their tests on it too, where they take
the fixture `device`; this one has what is different there: float32 kernels, transfers
beside computation, memory, and devices that are not the host's.
"""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_ops import CASES, Case

import gradlite as gl
from gradlite import autograd, backends, doctor, nn

pytestmark = pytest.mark.cuda

NAME = "cuda"
OTHER = "cuda:1"

Host = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def cuda() -> gl.Device:
    """Return the GPU; without one the reason is printed."""
    try:
        return gl.Device(NAME)
    except gl.DeviceUnavailableError as error:
        pytest.skip(str(error))


def host(t: gl.Tensor) -> Host:
    """Return a tensor's elements, wherever they are."""
    return t.detach().cpu().numpy()


def close(t: gl.Tensor, u: gl.Tensor, tolerance: float) -> None:
    """Compare tensors of two devices, relative to the largest element."""
    assert t.shape == u.shape
    assert t.dtype is u.dtype
    expected = host(u)
    scale = max(1.0, np.max(np.abs(expected), initial=0.0))
    np.testing.assert_allclose(host(t), expected, rtol=0, atol=tolerance * scale)


# Operations --------------------------------------------------------------------------


def evaluated(case: Case, dtype: Any, device: Any) -> tuple[list[Any], list[Any]]:
    """Return the results of an operation, and gradients for fixed cotangents."""
    operands: list[Any] = []
    for x in case.arrays():
        if isinstance(x, np.ndarray):
            floating = x.dtype.kind == "f"
            x = gl.tensor(x.astype(dtype) if floating else x, device=device)
            x.requires_grad_(floating)
        operands.append(x)
    results = case(*operands)
    results = list(results) if isinstance(results, tuple) else [results]
    recorded = [y for y in results if y.requires_grad]
    leaves = [x for x in operands if isinstance(x, gl.Tensor) and x.requires_grad]
    if not recorded:
        return results, []
    rng = np.random.default_rng(0)
    cotangents = [
        gl.tensor(rng.standard_normal(y.shape).astype(y.dtype), device=device)
        for y in recorded
    ]
    gradients = autograd.grad(recorded, leaves, cotangents, allow_unused=True)
    return results, [g for g in gradients if g is not None]


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("case", [c for c in CASES if "f" in c.kinds], ids=str)
def test_operations_are_those_of_the_cpu(
    case: Case, dtype: Any, cuda: gl.Device
) -> None:
    found, expected = evaluated(case, dtype, cuda), evaluated(case, dtype, "cpu")
    for ours, theirs in zip(found, expected, strict=True):
        assert len(ours) == len(theirs)
        for t, u in zip(ours, theirs, strict=True):
            assert t.device is cuda
            close(t, u, 1e-12 if u.dtype is gl.float64 else 1e-5)


def test_derivatives_of_derivatives(cuda: gl.Device) -> None:
    rng = np.random.default_rng(0)
    images = rng.standard_normal((2, 3, 6, 6))
    filters = rng.standard_normal((4, 3, 3, 3))
    found = []
    for device in (cuda, "cpu"):
        x = gl.tensor(images, device=device, requires_grad=True)
        w = gl.tensor(filters, device=device, requires_grad=True)
        y = gl.sum(gl.tanh(nn.functional.conv2d(x, w)) ** 2)
        first = autograd.grad(y, (x, w), create_graph=True)
        found.append(autograd.grad(gl.sum(first[0] ** 2) + gl.sum(first[1]), (x, w)))
    for t, u in zip(*found, strict=True):
        close(t, u, 1e-12)


def test_repeated_indices_are_added_up(cuda: gl.Device) -> None:
    rng = np.random.default_rng(0)
    indices = rng.integers(0, 7, 10_000)
    counts = np.bincount(indices, minlength=7)
    for dtype in (gl.float32, gl.float64, gl.complex64, gl.int64):
        start = gl.zeros((7, 2), dtype=dtype, device=cuda)
        ones = gl.ones((10_000, 2), dtype=dtype, device=cuda)
        t = gl.index_add(start, gl.tensor(indices, device=cuda), ones, axis=0)
        np.testing.assert_array_equal(host(t), np.stack([counts, counts], axis=1))


def test_sums_of_float16_are_accumulated_in_float32(cuda: gl.Device) -> None:
    x = gl.ones(4097, dtype=gl.float16, device=cuda, requires_grad=True)
    assert gl.sum(x).item() == 4096.0  # 4097 rounded; 2048 if added up in float16
    y = gl.ones((4096, 1), dtype=gl.float16, device=cuda)
    scale = gl.ones((), dtype=gl.float16, device=cuda, requires_grad=True)
    gl.sum(scale * y).backward()
    assert scale.grad is not None
    assert scale.grad.item() == 4096.0


def test_zeros_keep_their_sign(cuda: gl.Device) -> None:
    for t in (
        gl.tensor(-0.0, device=cuda),
        gl.tensor([-0.0], device=cuda),
        gl.full(3, -0.0, device=cuda),
        gl.full_like(gl.ones(3, device=cuda), -0.0),
        gl.tensor(np.float32(-0.0), device=cuda) * 1,
    ):
        assert np.all(np.signbit(host(t)))
    assert not np.any(np.signbit(host(gl.full(3, 0.0, device=cuda))))


def test_keys_of_every_kind(cuda: gl.Device) -> None:
    array = np.arange(24.0).reshape(4, 3, 2)
    mask = array[:, 0, 0] > 5
    rows = np.asarray([3, 0, 3])
    for key in (0, -1, slice(None, None, -2), (..., 1), (None, 2), mask, rows, [1, 1]):
        x = gl.tensor(array, device=cuda, requires_grad=True)
        u = gl.tensor(array, requires_grad=True)
        close(x[key], u[key], 0)
        gl.sum(x[key] ** 2).backward()
        gl.sum(u[key] ** 2).backward()
        assert x.grad is not None
        assert u.grad is not None
        close(x.grad, u.grad, 0)
        with gl.no_grad():
            x[key] = -1.0
            u[key] = -1.0
        close(x, u, 0)


# Where things are --------------------------------------------------------------------


def test_names_of_the_device(cuda: gl.Device) -> None:
    t = gl.zeros(2, device=cuda)
    assert t.device is cuda
    assert t.device == "cuda"
    assert t.device == f"cuda:{cuda.index}"
    assert str(cuda) in gl.devices()
    assert type(t.array).__module__ == "cupy"
    assert gl.asarray(t.array).device is cuda
    assert gl.asarray(t.array).array is t.array


def test_creation_lands_on_the_device(cuda: gl.Device) -> None:
    def made(device: Any = None) -> list[gl.Tensor]:
        return [
            gl.zeros(2, device=device), gl.ones((2, 2), device=device),
            gl.empty(2, device=device), gl.full(2, 1.5, device=device),
            gl.arange(5, device=device), gl.linspace(0, 1, 3, device=device),
            gl.eye(3, device=device), gl.tensor([1, 2], device=device),
            gl.asarray(2.5, device=device), gl.randn(3, device=device),
            gl.randint(0, 9, (3,), device=device), gl.randperm(4, device=device),
            nn.Linear(2, 3, device=device).weight,
            nn.Conv2d(1, 2, 3, device=device).weight,
        ]  # fmt: skip

    gl.manual_seed(0)
    expected = made("cpu")
    for scoped in (False, True):
        gl.manual_seed(0)
        if scoped:
            with gl.device(cuda):
                found = made()
        else:
            found = made(cuda)
        for i, (t, u) in enumerate(zip(found, expected, strict=True)):
            assert t.device is cuda
            if i != 2:  # what `empty` holds is anybody's guess
                close(t, u, 1e-7)


def test_nothing_becomes_an_array_by_itself(cuda: gl.Device) -> None:
    t = gl.ones(3, device=cuda)
    for convert in (gl.Tensor.numpy, np.asarray, np.linalg.norm):
        with pytest.raises(TypeError, match=rf"on {cuda} .*\.cpu\(\)\.numpy\(\)"):
            convert(t)
    with pytest.raises(gl.DeviceMismatchError, match=f"{cuda} and cpu"):
        t + gl.ones(3)
    assert (t.tolist(), t.sum().item(), bool(t.any())) == ([1.0] * 3, 3.0, True)
    assert repr(t) == f"tensor([1., 1., 1.], device='{cuda}')"


def test_values_and_gradients_cross(cuda: gl.Device) -> None:
    data = np.random.default_rng(0).standard_normal((3, 4))
    for here, there in (("cpu", cuda), (cuda, "cpu")):
        x = gl.tensor(data, device=here, requires_grad=True)
        y = x.to(there)
        assert y.device == str(there)
        gl.sum(y**3).backward()
        assert x.grad is not None
        assert x.grad.device == str(here)
        np.testing.assert_allclose(host(x.grad), 3 * data**2, rtol=1e-14)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3).T,
        np.arange(6)[::-2],
        np.broadcast_to(np.float32(2.0), (2, 2)),
        np.arange(3.0).astype(">f8"),
        np.float64(3.5),
        np.empty((0, 3)),
        np.asarray([True, False]),
        np.asarray([1 + 2j]),
    ],
    ids=["transposed", "backwards", "broadcast", "big-endian", "0-d", "empty", "bool",
         "complex"],
)  # fmt: skip
def test_any_layout_crosses(array: Any, cuda: gl.Device) -> None:
    t = gl.tensor(array, device=cuda)
    np.testing.assert_array_equal(host(t), array)
    assert t.array.flags.c_contiguous
    for copied in (copy.deepcopy(t), pickle.loads(pickle.dumps(t)), t.clone()):
        assert copied.device is cuda
        np.testing.assert_array_equal(host(copied), array)


def test_an_uploaded_array_may_be_written_to_at_once(cuda: gl.Device) -> None:
    array = np.ones(4_000_000, np.float32)
    tensors = []
    for i in range(10):
        array[:] = i
        tensors.append(gl.tensor(array, device=cuda))
    assert [float(gl.min(t)) for t in tensors] == list(range(10))
    assert [float(gl.max(t)) for t in tensors] == list(range(10))


def test_views_share_their_version(cuda: gl.Device) -> None:
    x = gl.ones((2, 3), device=cuda, requires_grad=True)
    y = x * 2
    loss = gl.sum(y * y)
    with gl.no_grad():
        y.reshape(-1)[0] = 5.0
    assert host(y)[0, 0] == 5.0
    with pytest.raises(RuntimeError, match="changed in place before backward"):
        loss.backward()


def test_gradients_own_their_memory(cuda: gl.Device) -> None:
    x, y = (gl.ones((2, 3), device=cuda, requires_grad=True) for _ in range(2))
    gl.sum(x + y).backward()
    assert x.grad is not None
    assert y.grad is not None
    assert x.grad.array.flags.c_contiguous
    x.grad.fill_(7.0)
    np.testing.assert_array_equal(host(y.grad), np.ones((2, 3)))
    gl.sum(x + y).backward()  # adds in place
    np.testing.assert_array_equal(host(x.grad), np.full((2, 3), 8.0))


def test_memory_figures(cuda: gl.Device) -> None:
    before = backends.memory(cuda)
    kept = gl.zeros(1 << 26, dtype=gl.float32, device=cuda)  # 256 MiB
    gl.synchronize(cuda)
    after = backends.memory(cuda)
    assert before is not None
    assert after is not None
    assert after.used + after.free == after.total == before.total
    assert 0 < after.free < after.total
    assert kept.size == 1 << 26


def test_files_cross_devices(cuda: gl.Device, tmp_path: Path) -> None:
    gl.manual_seed(0)
    model = nn.Linear(3, 2, device=cuda)
    gl.save(model.state_dict(), tmp_path / "model.npz")
    other = nn.Linear(3, 2)
    other.load_state_dict(gl.load(tmp_path / "model.npz"))
    close(model.weight, other.weight, 0)


def test_the_doctor_reports_the_device(
    cuda: gl.Device, capsys: pytest.CaptureFixture[str]
) -> None:
    assert doctor.main() == 0
    text = capsys.readouterr().out
    assert "compute capability" in text
    assert f"\ngradlite works on: cpu, {gl.devices()[1]}" in text


# Training ----------------------------------------------------------------------------


def lenet(device: Any) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, device=device), nn.BatchNorm2d(6, device=device), nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Conv2d(6, 8, 3, dilation=2, device=device), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(8 * 5 * 5, 32, device=device), nn.Dropout(0.25), nn.ReLU(),
        nn.Linear(32, 10, device=device),
    )  # fmt: skip


def test_a_step_of_lenet_is_that_of_the_cpu(cuda: gl.Device) -> None:
    rng = np.random.default_rng(0)
    images = rng.standard_normal((16, 1, 32, 32)).astype(np.float32)
    labels = rng.integers(0, 10, 16)
    results: list[dict[str, gl.Tensor]] = []
    for device in (cuda, "cpu"):
        gl.manual_seed(0)  # weights and dropout masks
        model = lenet(device)
        optimizer = gl.optim.SGD(
            model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3, max_norm=1.0
        )
        x, y = gl.tensor(images, device=device), gl.tensor(labels, device=device)
        found: dict[str, gl.Tensor] = {}
        for step in range(2):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            found[f"loss {step}"] = loss.detach()
        for name, p in model.named_parameters():
            assert p.grad is not None
            assert p.grad.device is p.device is gl.Device(device)
            found[f"{name}.grad"] = p.grad
        found.update(model.state_dict())
        results.append(found)
    ours, theirs = results
    assert ours.keys() == theirs.keys()
    for name, t in ours.items():
        close(t.detach(), theirs[name].detach(), 1e-4)


def test_the_same_seed_gives_the_same_weights_and_batches(cuda: gl.Device) -> None:
    def drawn(device: Any) -> list[Host]:
        gl.manual_seed(3)
        model = lenet(device)
        dataset = gl.data.TensorDataset(gl.arange(100), gl.rand(100, 2))
        loader = gl.data.DataLoader(dataset, 7, shuffle=True, device=device)
        mask = nn.functional.dropout(gl.ones(50, device=device), 0.5)
        batches = [t for batch in loader for t in batch]
        assert all(t.device is gl.Device(device) for t in batches)
        return [host(t) for t in (*model.state_dict().values(), mask, *batches)]

    for x, y in zip(drawn(cuda), drawn("cpu"), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("workers", [0, 2])
def test_uploads_beside_computation_keep_order_and_values(
    workers: int, cuda: gl.Device
) -> None:
    samples, width = 40, 200_000
    values = np.random.default_rng(0).integers(0, 1000, (samples, width))
    dataset = gl.data.TensorDataset(
        gl.asarray(values.astype(np.float64)), gl.arange(samples)
    )
    busy = gl.ones((1500, 1500), device=cuda)
    for _ in range(3):  # memory of the batches before is used again
        loader = gl.data.DataLoader(dataset, 4, num_workers=workers, device=cuda)
        sums, order = [], []
        for images, numbers in loader:
            for _ in range(4):
                busy = (busy @ busy) / 1500  # the GPU is behind the host
            sums.append(gl.sum(images * images, axis=1))
            order.append(numbers)
        found = host(gl.concat(sums))
        np.testing.assert_array_equal(found, np.sum(values * values, axis=1))
        assert host(gl.concat(order)).tolist() == list(range(samples))


def test_leaving_a_loader_early_leaves_memory_alone(cuda: gl.Device) -> None:
    dataset = gl.data.TensorDataset(gl.full((64, 100_000), 7.0))
    for _ in range(20):
        for (batch,) in gl.data.DataLoader(dataset, 16, device=cuda):
            kept = batch
            break
        zeros = [gl.zeros((16, 100_000), device=cuda) for _ in range(4)]
        assert all(float(gl.max(t)) == 0.0 for t in zeros)
        assert float(gl.min(kept)) == float(gl.max(kept)) == 7.0


# Several GPUs ------------------------------------------------------------------------


@pytest.fixture
def second(cuda: gl.Device) -> gl.Device:
    """Return a second GPU."""
    if len(gl.devices()) < 3:
        pytest.skip("needs two GPUs")
    return gl.Device(OTHER)


def test_two_gpus(cuda: gl.Device, second: gl.Device) -> None:
    data = np.random.default_rng(0).standard_normal((300, 300))
    x = gl.tensor(data, device=cuda, requires_grad=True)
    w = gl.tensor(data, device=second, requires_grad=True)
    y = x.to(second) @ w
    assert y.device is (y * 2 + 1).device is second
    gl.sum(y**2).backward()
    assert x.grad is not None
    assert w.grad is not None
    assert (x.grad.device, w.grad.device) == (cuda, second)
    np.testing.assert_allclose(host(x.grad), 2 * data @ data @ data.T, rtol=1e-9)
    with pytest.raises(gl.DeviceMismatchError, match=f"{cuda} and {second}"):
        x + w
    optimizer = gl.optim.SGD([x, w], lr=0.1, momentum=0.9, max_norm=1.0)
    optimizer.step()
    assert (x.device, w.device) == (cuda, second)
