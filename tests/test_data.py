"""Datasets, samplers and the loader."""

from __future__ import annotations

import gc
import json
import threading
import time
from collections import namedtuple
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradlite as gl
from gradlite.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    TensorDataset,
    default_collate,
    random_split,
    sample_generator,
)

WORKERS = [0, 1, 3]


class Computed(Dataset[Any]):
    """The samples `function(0)` to `function(size - 1)`."""

    def __init__(self, size: int, function: Callable[[int], Any]) -> None:
        self.size = size
        self.function = function

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Any:
        return self.function(index)


def loader_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("gradlite-loader")]


def values(loader: Any) -> list[Any]:
    """Return the batches of a loader of numbers as lists."""
    return [batch.tolist() for batch in loader]


def until(condition: Callable[[], bool]) -> bool:
    """Wait for `condition` for at most five seconds."""
    end = time.monotonic() + 5
    while not condition() and time.monotonic() < end:
        time.sleep(0.001)
    return condition()


# --- datasets -------------------------------------------------------------------------


def test_dataset_needs_both_methods() -> None:
    class Half(Dataset[int]):
        def __len__(self) -> int:
            return 1

    with pytest.raises(TypeError, match="__getitem__"):
        Half()  # type: ignore[abstract]


def test_tensor_dataset() -> None:
    x, y = np.arange(12.0).reshape(4, 3), np.arange(4)
    dataset = TensorDataset(gl.asarray(x), gl.asarray(y))
    assert len(dataset) == 4
    for index in (0, 3, -1):
        row, label = dataset[index]
        np.testing.assert_array_equal(row.numpy(), x[index])
        assert label.item() == y[index]
    rows, labels = dataset.take([2, 0, -1, 2])
    np.testing.assert_array_equal(rows.numpy(), x[[2, 0, -1, 2]])
    np.testing.assert_array_equal(labels.numpy(), y[[2, 0, -1, 2]])
    assert dataset.take([])[0].shape == (0, 3)


@pytest.mark.parametrize("indices", [[4], [-5], [0, 1, 9]])
def test_tensor_dataset_take_refuses(indices: list[int]) -> None:
    with pytest.raises(IndexError, match="outside a dataset of 4 samples"):
        TensorDataset(gl.zeros(4)).take(indices)


@given(st.lists(st.lists(st.integers()), min_size=1, max_size=5))
def test_concat_is_list_concatenation(parts: list[list[int]]) -> None:
    """SEED: an IndexError from the third part on."""
    together = ConcatDataset(parts)
    want = [value for part in parts for value in part]
    assert len(together) == len(want)
    for index in range(-len(want), len(want)):
        assert together[index] == want[index]
    for index in (len(want), -len(want) - 1):
        with pytest.raises(IndexError, match=f"index is {index}"):
            together[index]


def test_plus_concatenates() -> None:
    square, cube = Computed(3, lambda i: i**2), Computed(2, lambda i: i**3)
    assert [(square + cube)[i] for i in range(5)] == [0, 1, 4, 0, 1]


def test_subset() -> None:
    subset = Subset("abcde", np.array([4, 0, -1]))
    assert len(subset) == 3
    assert [subset[i] for i in range(3)] == ["e", "a", "e"]


@given(
    st.integers(0, 40),
    st.lists(st.integers(1, 10), min_size=1, max_size=6),
    st.integers(0, 9),
)
def test_random_split_parts_are_disjoint_and_complete(
    size: int, weights: list[int], seed: int
) -> None:
    """SEED: it was a generator."""
    fractions = [weight / sum(weights) for weight in weights]
    parts = random_split(range(size), fractions, gl.random.Generator(seed))
    assert isinstance(parts, list)
    assert sorted(sample for part in parts for sample in part) == list(range(size))
    for part, fraction in zip(parts, fractions, strict=True):
        assert abs(len(part) - size * fraction) < 2
    again = random_split(range(size), fractions, gl.random.Generator(seed))
    assert [part.indices for part in again] == [part.indices for part in parts]
    by_count = random_split(
        range(size), [len(part) for part in parts], gl.random.Generator(seed)
    )
    assert [part.indices for part in by_count] == [part.indices for part in parts]


@pytest.mark.parametrize(
    ("size", "fractions", "want"),
    [  # what torch.utils.data.random_split gives
        (10, [0.5, 0.25, 0.25], [6, 2, 2]),
        (0, [0.5, 0.5], [0, 0]),
        (1, [0.8, 0.2], [1, 0]),
        (7, [1.0], [7]),
        (1797, [0.8, 0.2], [1438, 359]),
        (13, [0.1] * 10, [2, 2, 2, 1, 1, 1, 1, 1, 1, 1]),
        (10, [0.3, 0.7], [3, 7]),
        (11, [0.5, 0.3, 0.2], [6, 3, 2]),
    ],
)
def test_random_split_sizes_are_those_of_torch(
    size: int, fractions: list[float], want: list[int]
) -> None:
    assert [len(part) for part in random_split(range(size), fractions)] == want


def test_random_split_depends_on_the_seed() -> None:
    first, second = (
        random_split(range(50), [50], gl.random.Generator(seed))[0].indices
        for seed in (0, 1)
    )
    assert first != second
    gl.manual_seed(0)
    assert random_split(range(50), [50])[0].indices == first


REFUSED_DATASETS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: TensorDataset(), ValueError, "no tensors"),
    (lambda: TensorDataset([1, 2]), TypeError, r"tensors\[0\] is a list"),
    (lambda: TensorDataset(gl.zeros(2), gl.tensor(1.0)), ValueError, r"tensors\[1\]"),
    (lambda: TensorDataset(gl.zeros(2), gl.zeros(3)), ValueError, r"\[2, 3\]"),
    (lambda: Subset("abc", [0, 3]), IndexError, r"indices\[1\] is 3"),
    (lambda: Subset("abc", [0.5]), TypeError, "float"),
    (lambda: ConcatDataset([]), ValueError, "datasets is empty"),
    (lambda: random_split("abc", [1, 1]), ValueError, "add up to 2"),
    (lambda: random_split("abc", [4, -1]), ValueError, "at least 0"),
    (lambda: random_split("abc", [0.5, 0.4]), ValueError, "make fractions add up to 1"),
    (lambda: random_split("abc", [float("nan"), 1.0]), ValueError, "finite"),
    (lambda: random_split("abc", [2, 0.5]), TypeError, "not both"),
    (lambda: random_split("abc", [True, True]), TypeError, "not both"),
    (lambda: RandomSampler([]), ValueError, "no samples to shuffle"),
]


@pytest.mark.parametrize(("make", "error", "message"), REFUSED_DATASETS)
def test_datasets_refuse(
    make: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make()


# --- samplers -------------------------------------------------------------------------


def test_samplers() -> None:
    assert list(SequentialSampler("abc")) == [0, 1, 2]
    sampler = RandomSampler(range(100), generator=gl.random.Generator(0))
    first, second = list(sampler), list(sampler)
    assert sorted(first) == sorted(second) == list(range(100))
    assert first != second
    assert list(RandomSampler(range(100), generator=gl.random.Generator(0))) == first
    gl.manual_seed(0)
    assert list(RandomSampler(range(100))) == first
    assert len(sampler) == 100


# --- batches --------------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(
    st.integers(0, 20),
    st.integers(1, 7),
    st.booleans(),
    st.sampled_from(WORKERS),
    st.integers(1, 3),
)
def test_batches_are_slices(
    size: int, batch_size: int, drop_last: bool, workers: int, prefetch: int
) -> None:
    loader = DataLoader(
        Computed(size, lambda index: 10 * index),
        batch_size,
        drop_last=drop_last,
        num_workers=workers,
        prefetch_factor=prefetch,
    )
    stop = size - size % batch_size if drop_last else size
    want = [
        list(range(10 * start, 10 * min(start + batch_size, stop), 10))
        for start in range(0, stop, batch_size)
    ]
    assert values(loader) == want
    assert len(loader) == len(want)


def test_defaults_are_those_of_torch() -> None:
    """SEED: it shuffled by default."""
    assert values(DataLoader(range(3))) == [[0], [1], [2]]


@pytest.mark.parametrize("workers", WORKERS)
def test_order_is_the_sampler_s(workers: int) -> None:
    def slow(index: int) -> int:
        time.sleep(0.002 * (index % 3 == 0))  # the later batches are ready first
        return index

    order = [0, 1, 2, 5, 4, 3, -1, 7, 7, 9, 6, 8]
    loader = DataLoader(Computed(10, slow), 2, sampler=order, num_workers=workers)
    assert values(loader) == np.reshape(order, (6, 2)).tolist()


@pytest.mark.parametrize("workers", WORKERS)
def test_shuffles_follow_the_seed(workers: int) -> None:
    def epochs(device: str | None) -> list[Any]:
        gl.manual_seed(3)
        loader = DataLoader(
            TensorDataset(gl.arange(20)),
            8,
            shuffle=True,
            num_workers=workers,
            device=device,
        )
        return [[x.cpu().tolist() for (x,) in loader] for _ in range(2)]

    first, second = want = epochs(None)
    assert first != second
    for epoch in want:
        assert sorted(index for batch in epoch for index in batch) == list(range(20))
    assert epochs("cpu") == want
    assert epochs("array_api_strict") == want


def test_iterators_are_fresh_and_independent() -> None:
    """SEED: a loader had one iterator, which all loops shared."""
    loader = DataLoader(range(4), 2)
    assert values(loader) == values(loader) == [[0, 1], [2, 3]]
    pairs = [(a.tolist(), b.tolist()) for a, b in zip(loader, loader, strict=True)]
    assert pairs == [([0, 1], [0, 1]), ([2, 3], [2, 3])]
    assert iter(loader) is not iter(loader)


def test_a_tensor_dataset_is_fetched_by_whole_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = np.arange(12.0).reshape(6, 2)
    dataset = Subset(Subset(TensorDataset(gl.asarray(x)), [5, 4, 3, 2, 1]), [0, 2, 4])
    monkeypatch.setattr(TensorDataset, "__getitem__", None)
    (batch,) = DataLoader(dataset, 3)
    assert isinstance(batch, tuple)
    np.testing.assert_array_equal(batch[0].numpy(), x[[5, 3, 1]])


def test_a_subclass_of_tensor_dataset_keeps_its_samples() -> None:
    class Negated(TensorDataset):
        def __getitem__(self, index: int) -> tuple[gl.Tensor, ...]:
            return tuple(-x for x in super().__getitem__(index))

    ((x,),) = DataLoader(Negated(gl.arange(3)), 3)
    assert x.tolist() == [0, -1, -2]


def test_getitems_fetches_whole_batches() -> None:
    class Bulk:
        def __len__(self) -> int:
            return 5

        def __getitem__(self, index: int) -> int:
            raise NotImplementedError

        def __getitems__(self, indices: list[int]) -> list[int]:
            return [10 * index for index in indices]

    assert values(DataLoader(Bulk(), 2)) == [[0, 10], [20, 30], [40]]
    assert values(DataLoader(Subset(Bulk(), [4, 3, 1]), 2)) == [[40, 30], [10]]


@pytest.mark.parametrize("workers", WORKERS)
def test_collate_fn_gets_the_samples(workers: int) -> None:
    dataset = TensorDataset(gl.arange(3))
    loader = DataLoader(dataset, 2, collate_fn=list, num_workers=workers)
    assert [[x.item() for (x,) in batch] for batch in loader] == [[0, 1], [2]]


# --- collation ------------------------------------------------------------------------

Point = namedtuple("Point", "x y")

COLLATED: list[tuple[str, list[Any], Any]] = [
    ("int", [1, 2], np.array([1, 2])),
    ("float", [1.0, 2.0], np.array([1.0, 2.0], np.float32)),
    ("bool", [True, False], np.array([True, False])),
    ("numpy_scalar", [np.float64(1), np.float64(2)], np.array([1.0, 2.0])),
    ("numpy", [np.zeros(2, np.int8), np.ones(2, np.int8)], np.int8([[0, 0], [1, 1]])),
    ("tensor", [gl.zeros(2), gl.ones(2)], np.float32([[0, 0], [1, 1]])),
    ("str", ["a", "b"], ["a", "b"]),
    ("tuple", [(1, "a"), (2, "b")], (np.array([1, 2]), ["a", "b"])),
    ("list", [[1, True], [2, False]], [np.array([1, 2]), np.array([True, False])]),
    ("dict", [{"k": 1}, {"k": 2}], {"k": np.array([1, 2])}),
    ("namedtuple", [Point(1, "a"), Point(2, "b")], Point(np.array([1, 2]), ["a", "b"])),
    ("nested", [({"k": (1,)},), ({"k": (2,)},)], ({"k": (np.array([1, 2]),)},)),
]


def plain(batch: Any) -> Any:
    """Return a batch with each array or tensor as (type, dtype, values)."""
    if isinstance(batch, gl.Tensor):
        batch = batch.numpy()
    if isinstance(batch, np.ndarray):
        return batch.dtype, batch.tolist()
    if isinstance(batch, dict):
        return {key: plain(value) for key, value in batch.items()}
    if isinstance(batch, (list, tuple)):
        return type(batch), [plain(value) for value in batch]
    return batch


@pytest.mark.parametrize(
    ("samples", "want"), [pytest.param(*case[1:], id=case[0]) for case in COLLATED]
)
def test_default_collate(samples: list[Any], want: Any) -> None:
    assert plain(default_collate(samples)) == plain(want)


def test_default_collate_makes_host_tensors() -> None:
    with gl.device("array_api_strict"):
        assert default_collate([1, 2]).device == "cpu"
        assert default_collate([np.ones(1)]).device == "cpu"


@pytest.mark.parametrize(
    ("samples", "error", "message"),
    [
        ([], ValueError, "samples is empty"),
        ([None, None], TypeError, "of type NoneType"),
        ([np.ones(2), np.ones(3)], ValueError, r"shapes, \(2,\) at 0 and \(3,\) at 1"),
        ([gl.ones(2), gl.ones(1)], ValueError, "different shapes"),
        ([(1, 2), (1,)], ValueError, "different lengths, 2 at 0 and 1 at 1"),
        ([{"a": 1}, {"b": 1}], ValueError, "different keys"),
    ],
)
def test_default_collate_refuses(
    samples: list[Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        default_collate(samples)


# --- randomness of samples ------------------------------------------------------------


def draw(index: int) -> np.ndarray:
    first = sample_generator().numpy.random(2)
    return np.append(first, sample_generator().numpy.random())


def drawn(seed: int, epochs: int = 1, **options: Any) -> np.ndarray:
    """Return the numbers that sample `i` draws, of shape (epochs, samples, 3)."""
    loader = DataLoader(
        Computed(6, lambda index: (index, draw(index))),
        4,
        generator=gl.random.Generator(seed),
        **options,
    )
    out = np.empty((epochs, 6, 3))
    for epoch in range(epochs):
        for indices, numbers in loader:
            out[epoch, indices.numpy()] = numbers.numpy()
    return out


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("shuffle", [False, True])
def test_samples_draw_by_seed_epoch_and_index(workers: int, shuffle: bool) -> None:
    numbers = drawn(7, epochs=2, num_workers=workers, shuffle=shuffle)
    assert len(np.unique(numbers)) == numbers.size
    np.testing.assert_array_equal(numbers, drawn(7, epochs=2))
    assert not np.any(numbers == drawn(8, epochs=2))


def test_samples_do_not_draw_from_the_loader_s_generator() -> None:
    generator = gl.random.Generator(0)
    before = generator.get_state()
    list(DataLoader(Computed(3, draw), generator=generator))
    assert generator.get_state() == before


def test_outside_a_loader_the_default_generator_is_drawn_from() -> None:
    assert sample_generator() is gl.random.default_generator()
    list(DataLoader(Computed(3, draw)))
    assert sample_generator() is gl.random.default_generator()


@pytest.mark.parametrize("workers", WORKERS)
def test_batches_draw_by_their_indices(workers: int) -> None:
    class Bulk(Computed):
        def __getitems__(self, indices: list[int]) -> list[Any]:
            return list(sample_generator().numpy.random(len(indices)))

    def numbers(**options: Any) -> list[Any]:
        generator = gl.random.Generator(1)
        return values(DataLoader(Bulk(4, draw), 2, generator=generator, **options))

    def jitter(samples: list[Any]) -> Any:
        return gl.asarray(sample_generator().numpy.random(len(samples)))

    assert numbers(num_workers=workers) == numbers()
    assert numbers()[0] != numbers()[1]
    assert numbers(collate_fn=jitter, num_workers=workers) == numbers(collate_fn=jitter)


# --- workers --------------------------------------------------------------------------


class OddError(Exception):
    """An exception that cannot be made of one string."""

    def __init__(self, code: int, *, reason: str) -> None:
        super().__init__(code, reason)
        self.reason = reason


FAILURES: list[Exception] = [
    ValueError("bad pixel"),
    ValueError(),
    KeyError("label"),
    FileNotFoundError(2, "No such file", "x.png"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"),
    OddError(3, reason="odd"),
]


@pytest.mark.parametrize("device", [None, "cpu", "array_api_strict"])
@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("failure", FAILURES, ids=repr)
def test_exceptions_name_the_sample(
    failure: Exception, workers: int, device: str | None
) -> None:
    arguments, text = failure.args, str(failure)

    def fail(index: int) -> int:
        if index == 13:
            raise failure
        return index

    loader = DataLoader(Computed(40, fail), 5, num_workers=workers, device=device)
    got: list[list[int]] = []
    with pytest.raises(type(failure)) as caught:
        got.extend(batch.cpu().tolist() for batch in loader)
    assert got == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    assert caught.value is failure
    said = "\n".join([str(failure), *getattr(failure, "__notes__", ())])
    assert text in said
    assert said.count("sample 13 of the dataset") == 1
    assert loader_threads() == []
    # For the next parameters.
    failure.args, failure.__notes__ = arguments, []
    failure.__traceback__ = None


def test_a_message_of_text_names_the_sample_itself() -> None:
    def fail(index: int) -> int:
        raise ValueError("bad pixel")

    with pytest.raises(ValueError, match="bad pixel") as caught:
        list(DataLoader(Computed(3, fail), sampler=[2], num_workers=1))
    assert str(caught.value) == "bad pixel (while fetching sample 2 of the dataset)"


@pytest.mark.parametrize("workers", WORKERS)
def test_collate_exceptions_name_the_batch(workers: int) -> None:
    dataset = Computed(6, lambda index: np.zeros(1 + index // 5))
    with pytest.raises(ValueError, match="samples 4, 5 of the dataset"):
        list(DataLoader(dataset, 2, num_workers=workers))


@pytest.mark.parametrize("workers", WORKERS)
def test_positions_outside_the_dataset_are_named(workers: int) -> None:
    with pytest.raises(IndexError, match="sample 9 of the dataset"):
        list(DataLoader([1, 2], sampler=[0, 9], num_workers=workers))
    with pytest.raises(IndexError, match="9"):
        list(DataLoader(TensorDataset(gl.zeros(2)), sampler=[9], num_workers=workers))


def leave_by_break(loader: DataLoader) -> None:
    for _ in loader:
        assert loader_threads() != []
        break


def leave_by_exception(loader: DataLoader) -> None:
    def interrupted() -> None:
        for _ in loader:
            assert loader_threads() != []
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()


def leave_by_deletion(loader: DataLoader) -> None:
    batches = iter(loader)
    next(batches)
    assert loader_threads() != []
    del batches


def leave_in_a_cycle(loader: DataLoader) -> None:
    holder: list[Any] = [iter(loader)]
    holder.append(holder)
    next(holder[0])
    assert loader_threads() != []
    del holder
    gc.collect()


@pytest.mark.parametrize("device", [None, "array_api_strict"])
@pytest.mark.parametrize(
    "leave", [leave_by_break, leave_by_exception, leave_by_deletion, leave_in_a_cycle]
)
def test_leaving_early_joins_the_threads(
    leave: Callable[[DataLoader], None], device: str | None
) -> None:
    leave(DataLoader(range(100), num_workers=2, device=device))
    assert loader_threads() == []


def test_leaving_early_does_not_fetch_the_rest() -> None:
    fetched: list[int] = []

    def slow(index: int) -> int:
        fetched.append(index)
        time.sleep(0.005)
        return index

    loader = DataLoader(Computed(100, slow), num_workers=1, prefetch_factor=50)
    next(iter(loader))
    assert len(fetched) < 10


def test_threads_start_with_the_first_batch_and_end_with_the_last() -> None:
    batches = iter(DataLoader(range(10), num_workers=2))
    assert loader_threads() == []
    assert len(list(batches)) == 10
    assert loader_threads() == []


def test_a_worker_can_end_the_iterator() -> None:
    # As the garbage collector does when it happens to run there.
    go = threading.Event()
    failures: list[BaseException] = []

    def close(index: int) -> int:
        if index == 1:
            go.wait(5)
            try:
                batches.close()
            except BaseException as error:
                failures.append(error)
        return index

    batches: Any = iter(DataLoader(Computed(5, close), num_workers=1))
    next(batches)
    go.set()
    assert until(lambda: loader_threads() == [])
    assert failures == []


@pytest.mark.parametrize(("workers", "prefetch"), [(1, 1), (2, 2), (3, 1)])
def test_the_number_of_batches_in_flight_is_bounded(
    workers: int, prefetch: int
) -> None:
    fetched: list[int] = []
    loader = DataLoader(
        Computed(100, lambda index: fetched.append(index) or index),
        num_workers=workers,
        prefetch_factor=prefetch,
    )
    for taken, _ in enumerate(loader, start=1):
        ahead = taken + workers * prefetch
        assert until(lambda ahead=ahead: len(fetched) == ahead)
        time.sleep(0.005)
        assert len(fetched) == ahead
        if taken == 3:
            break


def test_workers_work_at_the_same_time() -> None:
    meeting = threading.Barrier(3)
    dataset = Computed(6, lambda index: meeting.wait(5) * 0 + index)
    assert values(DataLoader(dataset, num_workers=3)) == [[i] for i in range(6)]


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("enabled", [False, True])
def test_workers_have_their_creator_s_context(workers: int, enabled: bool) -> None:
    dataset = Computed(4, lambda index: (gl.is_grad_enabled(), gl.get_default_device()))
    loader = DataLoader(dataset, num_workers=workers, collate_fn=list)
    with gl.set_grad_enabled(enabled), gl.device("array_api_strict"):
        batches = iter(loader)
    assert list(batches) == [[(enabled, gl.Device("array_api_strict"))]] * 4


# --- devices --------------------------------------------------------------------------


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize(
    "device", ["cpu", "array_api_strict", "array_api_strict:device1"]
)
def test_batches_are_on_the_device(device: str, workers: int) -> None:
    dataset = Computed(3, lambda i: {"x": np.full(2, i), "y": (i, str(i)), "z": None})
    loader = DataLoader(
        dataset,
        2,
        num_workers=workers,
        device=device,
        collate_fn=lambda samples: default_collate(
            [{"x": s["x"], "y": s["y"]} for s in samples]
        ),
    )
    for batch, indices in zip(loader, ([0, 1], [2]), strict=True):
        assert batch["x"].device is batch["y"][0].device is gl.Device(device)
        assert batch["x"].cpu().tolist() == [[i, i] for i in indices]
        assert batch["y"][0].cpu().tolist() == indices
        assert batch["y"][1] == [str(i) for i in indices]


def test_each_batch_is_sent_before_the_one_ahead_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events: list[tuple[str, int]] = []
    device = gl.Device("array_api_strict")
    inner = device.backend.uploader(device.raw)

    class Recorder:
        def upload(self, array: Any) -> Any:
            events.append(("upload", int(array[0])))
            return inner.upload(array)[0], int(array[0])

        def wait(self, token: int) -> None:
            events.append(("wait", token))

    monkeypatch.setattr(device.backend, "uploader", lambda raw: Recorder())
    loader = DataLoader(range(3), device=device)
    events.extend(("use", int(batch.cpu()[0])) for batch in loader)
    assert events == [
        ("upload", 0), ("upload", 1), ("wait", 0), ("use", 0),
        ("upload", 2), ("wait", 1), ("use", 1),
        ("wait", 2), ("use", 2),
    ]  # fmt: skip


def test_a_dataset_on_the_device_stays_there(monkeypatch: pytest.MonkeyPatch) -> None:
    device = gl.Device("array_api_strict")
    monkeypatch.setattr(device.backend, "uploader", lambda raw: None)
    dataset = TensorDataset(gl.arange(4, device=device))
    for (batch,) in DataLoader(dataset, 2, device=device):
        assert batch.device is device


# --- resuming -------------------------------------------------------------------------


def training(
    loader: DataLoader, epochs: int, stop: tuple[int, int] | None = None
) -> tuple[list[Any], Any]:
    """Run `epochs` of `loader` as a training does, which itself draws numbers.

    Returns the batches, and the state when batch `stop[1]` of epoch `stop[0]` was done.
    """
    seen, state = [], None
    for epoch in range(epochs):
        if stop == (epoch, 0):
            state = json.dumps(loader.state_dict())
        for done, (indices, numbers) in enumerate(loader, start=1):
            noise = gl.random.default_generator().numpy.random()  # a dropout
            seen.append((epoch, indices.tolist(), numbers.tolist(), noise))
            if stop == (epoch, done):
                state = json.dumps(loader.state_dict())
    return seen, state


def make_loader(workers: int, own_generator: bool, device: str | None) -> DataLoader:
    return DataLoader(
        Computed(7, lambda index: (index, sample_generator().numpy.random())),
        3,
        shuffle=True,
        num_workers=workers,
        generator=gl.random.Generator(5) if own_generator else None,
        device=device,
    )


@pytest.mark.parametrize("device", [None, "cpu"])
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("own_generator", [False, True])
@pytest.mark.parametrize("stop", [(e, b) for e in range(3) for b in range(4)])
def test_resuming_continues_with_exactly_the_next_batch(
    stop: tuple[int, int], own_generator: bool, workers: int, device: str | None
) -> None:
    gl.manual_seed(11)
    want, state = training(make_loader(workers, own_generator, device), 3, stop)
    default = gl.random.default_generator().get_state()

    # The default generator's own state is the checkpoint's business; redo it here.
    gl.manual_seed(11)
    training(make_loader(workers, own_generator, device), 3)
    assert gl.random.default_generator().get_state() == default

    gl.manual_seed(999)
    loader = make_loader(workers, own_generator, device)
    saved = json.loads(state)
    loader.load_state_dict(saved)
    assert json.loads(json.dumps(loader.state_dict())) == saved
    assert saved["epoch"] == stop[0]
    done = 3 * stop[0] + stop[1]
    rest, _ = training(loader, 3 - stop[0])
    keep = slice(0, 3) if own_generator else slice(0, 4)
    got = [((epoch + stop[0], *others))[keep] for epoch, *others in rest]
    assert got == [batch[keep] for batch in want[done:]]


def test_state_between_epochs_and_of_an_unused_loader() -> None:
    loader = DataLoader(range(4), 2)
    assert loader.state_dict()["epoch"] == 0
    for epoch in range(2):
        for batch, _ in enumerate(loader, start=1):
            state = loader.state_dict()
            assert (state["epoch"], state["position"]) == (epoch, batch)
        state = loader.state_dict()
        assert (state["epoch"], state["position"]) == (epoch + 1, 0)
        assert state["epoch_generator"] is None


def test_a_loop_left_early_can_be_resumed() -> None:
    def make() -> DataLoader:
        generator = gl.random.Generator(0)
        return DataLoader(range(10), 2, shuffle=True, generator=generator)

    want = values(make())
    loader = make()
    batches = iter(loader)
    got = [next(batches).tolist(), next(batches).tolist()]
    other = make()
    other.load_state_dict(loader.state_dict())
    assert got + values(other) == want


def test_a_sampler_s_generator_is_the_loader_s() -> None:
    generator = gl.random.Generator(0)
    sampler = RandomSampler(range(9), generator=generator)
    loader = DataLoader(range(9), sampler=sampler)
    assert loader.state_dict()["generator"] == generator.get_state()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"epoch": None}, TypeError, r"state_dict\['epoch'\] must be an int.*got None"),
        ({"position": -1}, ValueError, r"state_dict\['position'\] must be .*got -1"),
        ({"batch_size": 5}, ValueError, "batch_size 5, but this loader's is 2"),
        ({"samples": 9}, ValueError, "samples 9, but this loader's is 10"),
        ({"generator": {}}, ValueError, "bit_generator"),
        ({"epoch_generator": {}}, ValueError, "bit_generator"),
    ],
)
def test_load_state_dict_refuses_and_changes_nothing(
    change: dict[str, Any], error: type[Exception], message: str
) -> None:
    loader = DataLoader(range(10), 2, shuffle=True, generator=gl.random.Generator(0))
    batches = iter(loader)
    next(batches)
    state = loader.state_dict()
    other = DataLoader(range(10), 2, shuffle=True, generator=gl.random.Generator(1))
    before = other.state_dict()
    with pytest.raises(error, match=message):
        other.load_state_dict(state | change)
    assert other.state_dict() == before
    with pytest.raises(ValueError, match="state_dict lacks batch_size, epoch"):
        other.load_state_dict({})
    with pytest.raises(TypeError, match="state_dict is None"):
        other.load_state_dict(None)  # type: ignore[arg-type]
    other.load_state_dict(state)
    assert other.state_dict() == state


def test_between_epochs_the_batch_size_may_change() -> None:
    loader = DataLoader(range(4), 2)
    list(loader)
    other = DataLoader(range(4), 4)
    other.load_state_dict(loader.state_dict())
    assert other.state_dict()["epoch"] == 1


# --- arguments ------------------------------------------------------------------------


def one_shot() -> Iterator[int]:
    yield 0


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"dataset": 3}, TypeError, "dataset is a int"),
        ({"dataset": iter([1])}, TypeError, "lacks __len__"),
        ({"dataset": [], "shuffle": True}, ValueError, "no samples to shuffle"),
        ({"batch_size": 0}, ValueError, "batch_size must be .*got 0"),
        ({"batch_size": -2}, ValueError, "batch_size must be .*got -2"),
        ({"batch_size": 2.0}, TypeError, "batch_size must be .*got 2.0"),
        (
            {"batch_size": True},
            TypeError,
            "batch_size must be .*got True",
        ),
        (
            {"batch_size": None},
            TypeError,
            "batch_size must be .*got None",
        ),
        (
            {"num_workers": -1},
            ValueError,
            "num_workers must be .*got -1",
        ),
        (
            {"num_workers": "2"},
            TypeError,
            "num_workers must be .*got '2'",
        ),
        (
            {"prefetch_factor": 0},
            ValueError,
            "prefetch_factor must be .*got 0",
        ),
        ({"sampler": [0], "shuffle": True}, ValueError, "give one of the two"),
        ({"sampler": 3}, TypeError, "sampler is 3"),
        ({"sampler": one_shot()}, TypeError, "iterate over once per epoch"),
        ({"collate_fn": 3}, TypeError, "collate_fn is 3"),
        ({"generator": 3}, TypeError, "generator must be .*got 3"),
        ({"generator": np.random.default_rng(0)}, TypeError, "generator must be"),
        ({"device": "tpu"}, ValueError, "tpu"),
        ({"device": 3}, TypeError, "device must be"),
    ],
)
def test_loader_refuses(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        DataLoader(**({"dataset": [1, 2]} | arguments))


def test_an_empty_dataset_has_no_batches() -> None:
    assert list(DataLoader([])) == []
