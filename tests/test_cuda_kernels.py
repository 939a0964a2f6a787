"""The kernels of the fused updates, run on the CPU and compared with the formulas.

`updates.cu` is compiled by g++ behind a small header. What holds here: the same source
does the same arithmetic as the formulas on NumPy, to the bit.
"""

from __future__ import annotations

import math
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuda_shim import HostModule, cases, host, kernel_folder, mutants, require_compiler

from gradlite.backends import _cuda_kernels, _updates
from gradlite.backends._cuda_kernels import Kernels
from gradlite.backends._cuda_updates import CUDABatch, clip_factor, global_norm
from gradlite.backends._updates import Flag

SOURCE = Path(_cuda_kernels.__file__).with_name("updates.cu").read_text("utf-8")
LAYOUTS = cases.by_layout(cases.variants())
MOMENTUM = _updates.sgd(lr=0.1, momentum=0.9, weight_decay=0.01, alpha=0.01)
ADAM = _updates.adam(lr=0.01, weight_decay=0.01)

STORAGE = [
    pytest.param(name, masters, id=f"{name}{'+masters' * masters}")
    for name in ("float32", "float64", "float16", "bfloat16")
    for masters in ((False, True) if name.endswith("float16") else (False,))
]


def dtype_of(name: str) -> Any:
    """Return the dtype; bfloat16 needs a package."""
    if name not in cases.DTYPES:
        pytest.skip("ml_dtypes is not installed")
    return cases.DTYPES[name]


def make_device(folder: Path, driver: int) -> cases.Device:
    """Return the CPU as a GPU."""
    cupy = host.HostCuPy(folder, driver=driver)
    kernels = Kernels(cupy, lambda array, _: array)
    return cases.Device(kernels, host.as_host_array, host.to_numpy)


@pytest.fixture(scope="module")
def folder() -> Path:
    """Return where compiled kernels are kept."""
    require_compiler()
    return kernel_folder()


@pytest.fixture(scope="module")
def built(folder: Path) -> cases.Device:
    """Return the CPU with an old driver: a kernel has 4 KiB for its parameters."""
    device = make_device(folder, 12000)
    device.kernels.get("total")
    return device


@pytest.fixture
def device(built: cases.Device) -> cases.Device:
    """Return the same with threads and blocks in order and no launch written down."""
    built.kernels.cupy.order = 0
    built.kernels.cupy.launches.clear()
    return built


# Updates ------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "masters"), STORAGE)
@pytest.mark.parametrize(
    "updates", LAYOUTS, ids=[f"{u[0].family}-{len(u[0].states)}" for u in LAYOUTS]
)
def test_every_variant_gives_the_bits_of_the_formulas(
    device: cases.Device, updates: list[Any], name: str, masters: bool
) -> None:
    cases.check(device, updates, dtype_of(name), masters=masters)


def test_every_flag_is_among_the_variants() -> None:
    seen = reduce(or_, (update.flags for update in cases.variants()))
    assert seen == sum(bit for bit in vars(Flag).values() if isinstance(bit, int))
    assert {update.family for update in cases.variants()} == set(_updates._FORMULAS)


@pytest.mark.parametrize(("name", "masters"), STORAGE)
@pytest.mark.parametrize("update", [MOMENTUM, ADAM], ids=["sgd", "adam"])
def test_scales_come_first(
    device: cases.Device, update: Any, name: str, masters: bool
) -> None:
    for scale, clip in ((3.0, None), (None, 0.3), (7.0, 0.3), (1e-3, 1.0)):
        cases.check(
            device, [update], dtype_of(name), masters=masters, tensors=9,
            grad_scale=scale, clip=clip,
        )  # fmt: skip


@pytest.mark.parametrize("order", [0, 1, 5], ids=["forward", "backward", "mixed"])
@pytest.mark.parametrize("offset", [0, 1, 2], ids=["aligned", "by one", "by two"])
@pytest.mark.parametrize("update", [MOMENTUM, ADAM], ids=["sgd", "adam"])
def test_alignment_and_order_do_not_matter(
    device: cases.Device, update: Any, offset: int, order: int
) -> None:
    device.kernels.cupy.order = order
    for name in ("float32", "float16"):
        cases.check(
            device, [update], dtype_of(name), tensors=9, offset=offset,
            masters=name == "float16", missing=0,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("tensors", "launches"), [(80, 1), (89, 1), (90, 2), (1000, 12)]
)
def test_many_tensors(device: cases.Device, tensors: int, launches: int) -> None:
    cases.check(device, [MOMENTUM], np.float32, tensors=tensors, steps=1, missing=0)
    assert device.kernels.cupy.launches == ["set_hyper", *["sgd_float32"] * launches]


@pytest.mark.slow  # the kernels are compiled again
def test_a_newer_driver_takes_more_tensors_at_once(folder: Path) -> None:
    device = make_device(folder, 12010)
    launches = device.kernels.cupy.launches
    for tensors, expected in ((148, 1), (741, 1), (742, 2)):
        launches.clear()
        cases.check(device, [MOMENTUM], np.float32, tensors=tensors, steps=1, missing=0)
        assert launches == ["set_hyper", *["sgd_float32"] * expected]
    launches.clear()
    cases.check(device, [ADAM], np.float32, tensors=148, steps=1, missing=0)
    assert launches == ["set_hyper", "advance_adam", "adam_float32"]


def test_a_large_tensor_is_shared_by_blocks(device: cases.Device) -> None:
    rng = np.random.default_rng(0)
    arrays = cases.Arrays(device, rng)
    p, g, v = (arrays.values(50_001, np.float32) for _ in range(3))
    on_device = [arrays.place(x, 0) for x in (p, g, v)]
    batch = CUDABatch(device.kernels, on_device[:1], [on_device[2:]], [0], [0], [None])
    batch.step(on_device[1:2], [MOMENTUM])
    cases.reference(MOMENTUM, cases.Tensors(p, g, [v], None), 1, None, None)
    for found, expected in zip(on_device, (p, g, v), strict=True):
        assert cases.same_bits(device.download(found), expected)


@pytest.mark.parametrize("clip", [None, math.nan, 0.0])
def test_infinities_and_nans_reach_the_parameters(
    device: cases.Device, clip: float | None
) -> None:
    for name, dtype in cases.DTYPES.items():
        for update in (MOMENTUM, ADAM):
            trial = cases.Trial(device, [update], dtype, tensors=9)
            hosts = trial.gradients(missing=0)
            for g in hosts:
                assert g is not None
                g[::7], g[1::7], g[2::7] = np.nan, np.inf, -np.inf
            trial.batch.step([trial.place(g) for g in hosts], [update], clip=clip)
            with np.errstate(invalid="ignore"):
                trial.follow(hosts, clip=clip)
            trial.compare()
            assert np.isnan(trial.hosts[-1].param.astype(float)).any(), name


# Conversions --------------------------------------------------------------------------

CONVERSIONS = """
KERNEL gradlite_widen_{name}(const {name}* x, float* y, i64 n) {{
  for (i64 i = threadIdx.x; i < n; i += THREADS) y[i] = widen(x[i]);
}}
KERNEL gradlite_narrow_{name}(const float* x, {name}* y, i64 n) {{
  for (i64 i = threadIdx.x; i < n; i += THREADS) narrow(x[i], y[i]);
}}
"""


@pytest.mark.parametrize(("name", "struct"), [("float16", "half"), ("bfloat16",) * 2])
def test_conversions_round_as_numpy_does(folder: Path, name: str, struct: str) -> None:
    dtype = dtype_of(name)
    names = [f"gradlite_{verb}_{struct}" for verb in ("widen", "narrow")]
    module = HostModule(SOURCE + CONVERSIONS.format(name=struct), (), folder, names)
    widen, narrow = map(module.get_function, names)
    with np.errstate(over="ignore", invalid="ignore"):
        every = np.arange(1 << 16).astype(np.uint16).view(dtype)
        wide = np.empty(every.size, np.float32)
        numbers = host.as_host_array
        widen((1,), (256,), (numbers(every), numbers(wide), np.int64(every.size)))
        assert cases.same_bits(wide, every.astype(np.float32))
        # All numbers of 16 bits, what is halfway between two, and its neighbours.
        exact = wide[np.isfinite(wide)].astype(np.float64)
        halfway = np.sort(exact)[:-1] / 2 + np.sort(exact)[1:] / 2
        x = np.concatenate([exact, halfway, wide]).astype(np.float32)
        random = np.random.default_rng(0).integers(0, 1 << 32, 100_000, np.uint32)
        x = np.concatenate(
            [x, np.nextafter(x, np.inf), np.nextafter(x, -np.inf), random.view("f4")],
            dtype=np.float32,
        )
        y = np.empty(x.size, dtype)
        narrow((1,), (256,), (numbers(x), numbers(y), np.int64(x.size)))
        assert cases.same_bits(y, x.astype(dtype))


# Norms --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(cases.DTYPES))
def test_square_sums(device: cases.Device, name: str) -> None:
    mutants.check_norm(device, "sgd", name)


def test_square_sums_do_not_overflow(device: cases.Device) -> None:
    x = host.as_host_array(np.full(1000, 1e30, np.float32))
    norm = global_norm(device.kernels, [x, x])
    assert norm.dtype == np.float32
    np.testing.assert_allclose(float(norm), 1e30 * math.sqrt(2000), rtol=1e-6)


def test_the_norm_of_arrays_of_all_dtypes(device: cases.Device) -> None:
    rng = np.random.default_rng(0)
    arrays = [
        cases.Arrays(device, rng).values(n, dtype)
        for n in (0, 1, 5000)
        for dtype in cases.DTYPES.values()
    ]
    exact = math.sqrt(math.fsum((x.astype(float) ** 2).sum() for x in arrays))
    on_device = [host.as_host_array(x) for x in arrays]
    norm = global_norm(device.kernels, on_device, grad_scale=4.0)
    assert (norm.dtype, norm.shape) == (np.float64, ())
    np.testing.assert_allclose(float(norm), exact / 4, rtol=1e-14)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_in_the_norm(device: cases.Device, bad: float) -> None:
    x = np.ones(3000, np.float32)
    x[2900] = bad
    batch = CUDABatch(device.kernels, [host.as_host_array(x)], [()], [0], [0], [None])
    square_sum = batch.square_sum([host.as_host_array(x)])
    np.testing.assert_equal(float(square_sum), bad)
    factor = float(clip_factor(device.kernels, [square_sum], 1.0))
    np.testing.assert_equal(factor, 0.0 if bad == np.inf else bad)


# Structs ------------------------------------------------------------------------------

STRUCTS = {
    "Scalar": _cuda_kernels.SCALAR,
    "Step": _cuda_kernels.STEP,
    "Update": _cuda_kernels.UPDATE,
    "Sums": _cuda_kernels.SUMS,
    "Hyper": _cuda_kernels.HYPER,
    **{
        f"Table<{n}>": _cuda_kernels.table_dtype(_cuda_kernels.SMALL_SPACE, n)
        for n in range(1, 7)
    },
}


def test_structs_are_laid_out_alike(folder: Path) -> None:
    expected, places = [], []
    for struct, dtype in STRUCTS.items():
        assert dtype.names is not None
        assert dtype.fields is not None
        expected += [dtype.itemsize, *(dtype.fields[name][1] for name in dtype.names)]
        places.append(f"sizeof({struct})")
        # A comma would end the macro's first argument, there is none in the names.
        places += [f"__builtin_offsetof({struct}, {name})" for name in dtype.names]
    code = "\n".join(f"out[{i}] = {place};" for i, place in enumerate(places))
    source = f"{SOURCE}\nKERNEL layout(i64* out) {{\n{code}\n}}\n"
    kernel = HostModule(source, (), folder, ["layout"]).get_function("layout")
    found = np.zeros(len(expected), np.int64)
    kernel((1,), (1,), (host.as_host_array(found),))
    assert found.tolist() == expected


def test_parameters_fit() -> None:
    step = _cuda_kernels.STEP.itemsize
    for space in (_cuda_kernels.SMALL_SPACE, _cuda_kernels.LARGE_SPACE):
        for pointers in range(1, _cuda_kernels.MAX_POINTERS + 1):
            size = _cuda_kernels.table_dtype(space, pointers).itemsize + step
            assert space - 200 < size <= space


# What the comparisons see -------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("same", mutants.UNCHANGED)
def test_the_kernels_are_accepted(folder: Path, same: mutants.Mutant) -> None:
    assert same.passes(folder)


@pytest.mark.slow
@pytest.mark.parametrize("mutant", mutants.MUTANTS, ids=lambda m: m.old.strip()[:40])
def test_a_mutant_is_found_out(folder: Path, mutant: mutants.Mutant) -> None:
    assert not mutant.passes(folder)
