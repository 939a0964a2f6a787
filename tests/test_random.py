"""Random numbers: seeds, states, distributions, devices and threads."""

from __future__ import annotations

import copy
import json
import math
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import gradlite as gl
from gradlite.random import Generator, bernoulli, normal, randint, randperm, uniform

# One call of each function that draws, with sizes that leave words in the buffers.
DRAWS: dict[str, Callable[..., gl.Tensor]] = {
    "rand": lambda **k: gl.random.rand(3, 5, **k),
    "randn": lambda **k: gl.random.randn(7, **k),
    "uniform": lambda **k: uniform((2, 3), low=-1.0, high=4.0, **k),
    "uniform, float64": lambda **k: uniform(5, dtype=gl.float64, **k),
    "normal": lambda **k: normal((3, 1), mean=2.0, std=0.5, **k),
    "normal, float16": lambda **k: normal(5, dtype=gl.float16, **k),
    "randint": lambda **k: randint(-3, 9, (5,), **k),
    "randint, int8": lambda **k: randint(0, 100, 3, dtype=gl.int8, **k),
    "randperm": lambda **k: randperm(9, **k),
    "bernoulli": lambda **k: bernoulli((3, 3), 0.3, **k),
}
each_draw = pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS.keys())
# array_api_strict has no float16.
PORTABLE = {name: draw for name, draw in DRAWS.items() if "float16" not in name}
each_portable_draw = pytest.mark.parametrize(
    "draw", PORTABLE.values(), ids=PORTABLE.keys()
)


def host(tensor: gl.Tensor) -> np.ndarray[Any, Any]:
    return tensor.detach().cpu().numpy()


@each_draw
def test_a_seed_gives_the_same_numbers(draw: Callable[..., gl.Tensor]) -> None:
    first, again = (host(draw(generator=Generator(5))) for _ in range(2))
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != host(draw(generator=Generator(6))).tobytes()


@each_draw
def test_a_state_continues_exactly(draw: Callable[..., gl.Tensor]) -> None:
    generator = Generator(1)
    draw(generator=generator)  # from the middle of a block
    state = json.loads(json.dumps(generator.get_state()))
    expected = [host(draw(generator=generator)).tobytes() for _ in range(3)]
    resumed = Generator()
    resumed.set_state(state)
    assert [host(draw(generator=resumed)).tobytes() for _ in range(3)] == expected
    assert resumed.initial_seed() == 1


@each_portable_draw
def test_devices_get_the_same_numbers(
    draw: Callable[..., gl.Tensor], device: gl.Device
) -> None:
    there = draw(generator=Generator(2), device=device)
    here = draw(generator=Generator(2), device="cpu")
    assert there.device is device
    assert there.dtype == here.dtype
    np.testing.assert_array_equal(host(there), host(here))
    with gl.device(device):
        assert draw().device is device


@each_draw
def test_the_default_generator_is_the_default(draw: Callable[..., gl.Tensor]) -> None:
    assert gl.manual_seed(11) is gl.random.default_generator()
    expected = host(draw(generator=Generator(11))).tobytes()
    assert host(draw()).tobytes() == expected


def test_the_stream_of_a_seed_never_changes() -> None:
    # A seed in somebody's paper must mean the same in the next version.
    assert Generator(0).numpy.bit_generator.random_raw(3).tolist() == [
        259491006799949737,
        4754966410622352325,
        8698845897610382596,
    ]


@pytest.mark.parametrize(
    "duplicate",
    [copy.deepcopy, lambda generator: pickle.loads(pickle.dumps(generator))],
    ids=["deepcopy", "pickle"],
)
def test_copies_continue_on_their_own(
    duplicate: Callable[[Generator], Generator],
) -> None:
    generator = Generator(3).spawn(4)
    generator.numpy.random(3)
    twin = duplicate(generator)
    assert twin.get_state() == generator.get_state()
    assert repr(twin) == repr(generator)
    expected = generator.numpy.random(5).tolist()
    assert twin.numpy.random(5).tolist() == expected


def test_spawn_depends_on_seed_and_key_alone() -> None:
    parent = Generator(9)
    first = parent.spawn(0, 1).numpy.random(4).tolist()
    state = parent.get_state()
    parent.numpy.random(100)
    assert parent.spawn(0, 1).numpy.random(4).tolist() == first
    assert parent.spawn(0).spawn(1).numpy.random(4).tolist() == first
    keys = [(0,), (1,), (0, 1), (1, 0), (0, 0), (2**40,)]
    streams = {parent.spawn(*key).numpy.random() for key in keys}
    streams |= {Generator(9).numpy.random(), Generator(10).spawn(0).numpy.random()}
    assert len(streams) == len(keys) + 2
    parent.set_state(state)
    parent.spawn(5)
    assert parent.get_state() == state


def test_manual_seed_starts_again_and_keeps_the_numpy_generator() -> None:
    generator = Generator(4)
    stream = generator.numpy
    first = stream.random(3).tolist()
    assert generator.manual_seed(4) is generator
    assert stream.random(3).tolist() == first
    assert generator.manual_seed(np.int64(8)).initial_seed() == 8
    generator.set_state(Generator(4).get_state())
    assert stream is generator.numpy
    assert stream.random(3).tolist() == first


def test_seeds_from_the_system_differ() -> None:
    generator = Generator()
    seeds = {generator.initial_seed(), generator.seed(), Generator().initial_seed()}
    assert len(seeds) == 3
    assert generator.initial_seed() in seeds
    again = Generator(generator.initial_seed())
    assert again.numpy.random() == generator.numpy.random()


def test_threads_share_one_stream() -> None:
    blocks, size = 64, 256
    generator = Generator(12)

    def draw(_: int) -> tuple[float, ...]:
        return tuple(gl.random.rand(size, generator=generator).tolist())

    with ThreadPoolExecutor(4) as pool:
        drawn = set(pool.map(draw, range(blocks)))
    alone = Generator(12)
    expected = gl.random.rand(blocks, size, generator=alone).tolist()
    assert drawn == {tuple(row) for row in expected}


@pytest.mark.parametrize(
    "call",
    [
        lambda generator: generator.get_state(),
        lambda generator: generator.manual_seed(1),
        lambda generator: generator.set_state(Generator(1).get_state()),
    ],
    ids=["get_state", "manual_seed", "set_state"],
)
def test_states_wait_for_the_draw_of_another_thread(
    call: Callable[[Generator], object],
) -> None:
    generator = Generator(0)
    with ThreadPoolExecutor(1) as pool:
        with generator.numpy.bit_generator.lock:  # NumPy holds it while it draws
            future = pool.submit(call, generator)
            with pytest.raises(TimeoutError):
                future.result(timeout=0.05)
        future.result()


@pytest.mark.parametrize("dtype", [gl.float16, gl.float32, gl.float64])
@pytest.mark.parametrize(
    ("low", "high"),
    [(0.0, 1.0), (-3.0, 2.5), (1.0, 1.0), (1000.0, 1001.0), (0.0, 6e-8), (-1.0, 0.0)],
)
def test_uniform_stays_below_high(dtype: Any, low: float, high: float) -> None:
    drawn = host(
        uniform(50_000, low=low, high=high, dtype=dtype, generator=Generator(0))
    )
    assert drawn.dtype == dtype
    assert drawn.min() >= dtype(low)
    assert drawn.max() < dtype(high) or low == high == drawn.max()


def test_uniform_between_neighbors_is_the_lower_one() -> None:
    low, high = 1.0, float(np.nextafter(np.float32(1), np.float32(2)))
    drawn = host(uniform(1000, low=low, high=high, generator=Generator(0)))
    assert set(drawn.tolist()) == {low}  # half of the sums round to `high`


@pytest.mark.parametrize("dtype", [gl.float16, gl.float32, gl.float64])
def test_moments(dtype: Any) -> None:
    n, generator = 100_000, Generator(7)
    cases = [
        (gl.random.rand(n, dtype=dtype, generator=generator), 0.5, 12**-0.5),
        (gl.random.randn(n, dtype=dtype, generator=generator), 0.0, 1.0),
        (normal(n, mean=3.0, std=0.25, dtype=dtype, generator=generator), 3.0, 0.25),
        (
            uniform(n, low=-2.0, high=4.0, dtype=dtype, generator=generator),
            1.0,
            6 / 12**0.5,
        ),
        (bernoulli(n, 0.2, dtype=dtype, generator=generator), 0.2, 0.4),
    ]
    for tensor, mean, std in cases:
        drawn = host(tensor).astype(np.float64)
        assert abs(drawn.mean() - mean) < 5 * std / math.sqrt(n) + 1e-4
        assert drawn.std() == pytest.approx(std, rel=0.02)


def test_normal_with_std_0_is_the_mean() -> None:
    assert normal((2, 2), mean=1.5, std=0.0).tolist() == [[1.5, 1.5], [1.5, 1.5]]


@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [
        (0, 3, None),
        (-4, 1, gl.int16),
        (2**64 - 3, 2**64, gl.uint64),
        (-(2**63), 2 - 2**63, gl.int64),
        (125, 128, gl.int8),
        (5, 6, gl.uint8),
    ],
)
def test_randint_gives_each_integer(low: int, high: int, dtype: Any) -> None:
    tensor = randint(low, high, (200,), dtype=dtype, generator=Generator(1))
    assert tensor.dtype == (dtype or gl.int64)
    assert set(tensor.tolist()) == set(range(low, high))


@pytest.mark.parametrize("n", [0, 1, 2, 257])
def test_randperm_is_a_permutation(n: int) -> None:
    tensor = randperm(n, generator=Generator(1))
    assert tensor.dtype == gl.int64
    assert sorted(tensor.tolist()) == list(range(n))


def test_bernoulli() -> None:
    masks = [
        host(bernoulli((50, 2), 0.4, dtype=dtype, generator=Generator(3)))
        for dtype in (None, gl.bool, gl.float64, gl.int8)
    ]
    assert [mask.dtype for mask in masks] == [np.float32, np.bool_, np.float64, np.int8]
    assert all((mask == masks[0]).all() for mask in masks)
    assert set(bernoulli(1000, 0.0).tolist()) == {0.0}
    assert set(bernoulli(1000, 1.0).tolist()) == {1.0}


@pytest.mark.parametrize(
    ("sizes", "shape"),
    [((), ()), ((4,), (4,)), ((2, 0), (2, 0)), (((3, 1),), (3, 1)), (([2],), (2,))],
)
def test_shapes(sizes: Any, shape: tuple[int, ...]) -> None:
    assert gl.random.rand(*sizes).shape == gl.random.randn(*sizes).shape == shape
    assert uniform(shape).shape == bernoulli(shape).shape == shape
    assert randint(0, 2, shape).shape == normal(shape).shape == shape


def test_default_dtype_and_requires_grad() -> None:
    assert gl.random.rand(1).dtype == bernoulli(1).dtype == gl.float32
    gl.set_default_dtype(gl.float64)
    for draw in (gl.random.rand, gl.random.randn, uniform, normal):
        tensor = draw(2, requires_grad=True)
        assert tensor.dtype == gl.float64
        assert tensor.requires_grad
        assert tensor.is_leaf
        assert not draw(2).requires_grad


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: gl.manual_seed(-1), ValueError, "seed.*-1.*2\\*\\*64"),
        (lambda: gl.manual_seed(2**64), ValueError, "seed.*18446744073709551616"),
        (lambda: gl.manual_seed(True), TypeError, "seed.*True"),  # type: ignore[arg-type]
        (lambda: gl.manual_seed(1.0), TypeError, "seed.*1.0"),  # type: ignore[arg-type]
        (lambda: Generator("a"), TypeError, "seed.*'a'"),  # type: ignore[arg-type]
        (lambda: Generator(0).spawn(), ValueError, "key"),
        (lambda: Generator(0).spawn(1, -2), ValueError, "key.*-2"),
        (lambda: gl.random.rand(2, -1), ValueError, "shape.*-1"),
        (lambda: gl.random.rand(2.5), TypeError, "shape.*2.5"),
        (lambda: gl.random.rand(2, dtype=gl.int32), TypeError, "dtype.*int32"),
        (lambda: gl.random.randn(2, dtype=gl.complex64), TypeError, "dtype.*complex64"),
        (lambda: gl.random.rand(2, generator=5), TypeError, "generator.*5"),
        (lambda: gl.random.rand(2, generator=0), TypeError, "generator.*0"),
        (lambda: uniform(2, low=1.0, high=0.5), ValueError, "low=1.0.*high=0.5"),
        (lambda: uniform(2, high=math.inf), ValueError, "high.*inf"),
        (lambda: uniform(2, low="x"), TypeError, "low.*'x'"),  # type: ignore[arg-type]
        (lambda: uniform(2, high=7e4, dtype=gl.float16), ValueError, "float16"),
        (lambda: uniform(2, low=-3e38, high=3e38), ValueError, "float32"),
        (lambda: normal(2, std=-1.0), ValueError, "std.*-1.0"),
        (lambda: normal(2, mean=math.nan), ValueError, "mean.*nan"),
        (lambda: normal(0, 1), TypeError, "positional"),  # type: ignore[misc]
        (lambda: randint(3, 3, 2), ValueError, "low=3.*high=3"),
        (lambda: randint(0, 300, 2, dtype=gl.uint8), ValueError, "300|299.*uint8"),
        (lambda: randint(0, 2, 2, dtype=gl.float32), TypeError, "dtype.*float32"),
        (lambda: randint(0, 2.5, 2), TypeError, "high.*2.5"),  # type: ignore[arg-type]
        (lambda: randperm(-1), ValueError, "n must.*-1"),
        (lambda: randperm(300, dtype=gl.int8), ValueError, "int8.*300"),
        (lambda: bernoulli(2, 1.5), ValueError, "p must.*1.5"),
        (lambda: bernoulli(2, math.nan), ValueError, "p must.*nan"),
        (lambda: Generator(0).set_state([]), TypeError, "state"),  # type: ignore[arg-type]
        (lambda: Generator(0).set_state({}), ValueError, "bit_generator"),
    ],
)
def test_errors(call: Callable[[], object], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bit_generator", "PCG64"),
        ("seed", -1),
        ("spawn_key", [1.5]),
        ("buffer_pos", 5),
        ("buffer_pos", True),
        ("counter", [0, 0, 0]),
        ("counter", [0, 0, 0, 2**64]),
        ("key", None),
        ("buffer", "abcd"),
        ("has_uint32", 2),
        ("uinteger", 2**32),
    ],
)
def test_a_bad_state_changes_nothing(name: str, value: object) -> None:
    generator = Generator(1)
    before = generator.get_state()
    with pytest.raises(ValueError, match=name):
        generator.set_state({**Generator(2).get_state(), name: value})
    assert generator.get_state() == before
