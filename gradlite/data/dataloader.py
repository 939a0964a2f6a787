"""The loader: shuffled batches, fetched ahead by threads, on the device in use."""

from __future__ import annotations

import collections.abc
import operator
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from threading import get_ident
from typing import Any

from gradlite._arguments import boolean, integer
from gradlite._from_data import asarray
from gradlite._generator import Generator, default_generator, require_generator
from gradlite.backends import Device
from gradlite.data.collate import default_collate, map_tensors
from gradlite.data.dataset import Indexable, Subset, TensorDataset, require_indexable
from gradlite.data.sampler import RandomSampler, SequentialSampler
from gradlite.tensor import Tensor

Collate = Callable[[list[Any]], Any]
Generating = collections.abc.Generator[Any, None, None]


@dataclass
class _Epoch:
    """How far one iterator over a loader has come."""

    number: int
    start: dict[str, Any] = field(default_factory=dict)
    """State of the loader's generator before the order was drawn."""
    batches: int = 0
    finished: bool = False


class DataLoader:
    """Batches of a dataset, in a new iterator each time it is iterated over.

    The batches come in the sampler's order and hold the same numbers for any number of
    workers. Leaving the loop early, by `break` or an exception, ends the workers; their
    own exceptions are raised in the loop, with the index of the sample.

    Parameters
    ----------
    dataset : dataset
        Anything with a length and samples to index.
    batch_size : int, default 1
        Samples per batch.
    shuffle : bool, default False
        Whether each epoch visits the samples in a new random order.
    sampler : iterable of int, optional
        The positions to visit, iterated over once per epoch; instead of `shuffle`.
    num_workers : int, default 0
        Threads that fetch batches ahead; with 0 the loop fetches them itself. They help
        where fetching a sample waits for files or the network, or spends its time in
        NumPy, zlib or image decoders, which release Python's global lock. They do not
        help pure-Python transforms, nor a `TensorDataset`, whose batch is one indexing
        operation.
    collate_fn : callable, optional
        Makes a batch of a list of samples; `default_collate` by default.
    drop_last : bool, default False
        Whether to leave out a last batch of fewer than `batch_size` samples.
    generator : Generator, optional
        Draws the orders and seeds the samples (see `sample_generator`); by default the
        default generator, which `gradlite.manual_seed` seeds.
    device : str or Device, optional
        Where the tensors of a batch go. Each batch is uploaded while the one before it
        is in use. By default they stay where the dataset or `collate_fn` made them.
    prefetch_factor : int, default 2
        Batches in flight per worker, a bound on the memory in use.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If a number is out of range, `dataset` is empty and `shuffle` true, or both
        `shuffle` and `sampler` are given.
    DeviceUnavailableError
        If `device` cannot be used.

    Notes
    -----
    Workers run in a copy of the context in which `iter` was called, so that grad mode,
    default device and the like hold in them too.

    Examples
    --------
    >>> import gradlite as gl
    >>> from gradlite.data import DataLoader, TensorDataset
    >>> dataset = TensorDataset(gl.arange(5))
    >>> [batch.tolist() for (batch,) in DataLoader(dataset, batch_size=2)]
    [[0, 1], [2, 3], [4]]
    """

    def __init__(
        self,
        dataset: Indexable[Any],
        batch_size: int = 1,
        shuffle: bool = False,
        *,
        sampler: Iterable[int] | None = None,
        num_workers: int = 0,
        collate_fn: Collate | None = None,
        drop_last: bool = False,
        generator: Generator | None = None,
        device: str | Device | None = None,
        prefetch_factor: int = 2,
    ) -> None:
        require_indexable("dataset", dataset)
        shuffle = boolean("shuffle", shuffle)
        if shuffle and not len(dataset):
            raise ValueError(
                "dataset has no samples to shuffle; check where it was loaded from"
            )
        if sampler is not None and shuffle:
            raise ValueError(
                "shuffle is True and a sampler is given; give one of the two"
            )
        if sampler is not None and (
            isinstance(sampler, Iterator) or not isinstance(sampler, Iterable)
        ):
            raise TypeError(
                f"sampler is {sampler!r}; give something to iterate over once per "
                "epoch, such as a list or gl.data.RandomSampler(dataset)"
            )
        if collate_fn is not None and not callable(collate_fn):
            raise TypeError(f"collate_fn is {collate_fn!r}; give a function of a list")
        if generator is not None:
            require_generator(generator)
        self.dataset = dataset
        self.batch_size = integer("batch_size", batch_size, 1)
        self.num_workers = integer("num_workers", num_workers, 0)
        self.prefetch_factor = integer("prefetch_factor", prefetch_factor, 1)
        self.collate_fn = default_collate if collate_fn is None else collate_fn
        self.drop_last = boolean("drop_last", drop_last)
        self.generator = generator
        self.device = None if device is None else Device(device)
        self.sampler: Iterable[int]
        if sampler is not None:
            self.sampler = sampler
            if generator is None and isinstance(sampler, RandomSampler):
                self.generator = sampler.generator
        elif shuffle:
            self.sampler = RandomSampler(dataset, generator=generator)
        else:
            self.sampler = SequentialSampler(dataset)
        self._epoch = _Epoch(number=-1, finished=True)
        self._resumed: _Epoch | None = None

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        samples = len(self.sampler)  # type: ignore[arg-type]
        spare = 0 if self.drop_last else self.batch_size - 1
        return (samples + spare) // self.batch_size

    def __iter__(self) -> Iterator[Any]:
        generator = self.generator or default_generator()
        now = generator.get_state()
        resumed, self._resumed = self._resumed, None
        self._epoch = epoch = resumed or _Epoch(self._epoch.number + 1, start=now)
        # An interrupted epoch draws its order again, from the state of that moment.
        if resumed:
            generator.set_state(resumed.start)
        samples = generator.spawn(epoch.number)
        positions = iter(self.sampler)
        if resumed:
            generator.set_state(now)
        batches = islice(self._batches(positions), epoch.batches, None)
        fetch = partial(_fetch, self.dataset, self.collate_fn, samples)
        return self._run(epoch, _tasks(copy_context(), fetch, batches))

    def _batches(self, positions: Iterator[int]) -> Iterator[list[int]]:
        while batch := list(islice(positions, self.batch_size)):
            if len(batch) == self.batch_size or not self.drop_last:
                yield batch

    def _run(self, epoch: _Epoch, tasks: Iterator[Callable[[], Any]]) -> Iterator[Any]:
        if self.num_workers:
            window = self.num_workers * self.prefetch_factor
            fetched = _in_threads(tasks, self.num_workers, window)
        else:
            fetched = (task() for task in tasks)
        with closing(fetched):
            batches = fetched if self.device is None else _moved(fetched, self.device)
            for batch in batches:
                epoch.batches += 1
                yield batch
        epoch.finished = True

    def state_dict(self) -> dict[str, Any]:
        """Return where the newest iterator stands, as numbers and dicts of them.

        Called in the body of a loop, it says that the batches up to and with this one
        are done. A loop that was left early is still in its epoch.

        Returns
        -------
        dict
            `epoch`, counted from 0; `position`, the batches of it that are done;
            `batch_size` and `samples`, the dataset's length; `generator`, the state of
            the loader's generator; `epoch_generator`, the one before the order of this
            epoch was drawn, or None between epochs.
        """
        epoch = self._resumed or self._epoch
        generator = self.generator or default_generator()
        return {
            "epoch": epoch.number + 1 if epoch.finished else epoch.number,
            "position": 0 if epoch.finished else epoch.batches,
            "batch_size": self.batch_size,
            "samples": len(self.dataset),
            "generator": generator.get_state(),
            "epoch_generator": None if epoch.finished else epoch.start,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Make the next iterator continue where another loader stood.

        The next batch is exactly the one that the other would have given, if dataset
        and settings are the same and the sampler's order depends on the loader's
        generator alone. The state of that generator (the default one, if none was
        given to the loader) is set too. After an error nothing is changed.

        Parameters
        ----------
        state_dict : mapping
            What `state_dict` of a loader returned.

        Raises
        ------
        TypeError
            If it is no mapping, or its counts are no integers.
        ValueError
            If it is something else, or stands within an epoch of another number of
            samples or another batch size.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(
                f"state_dict is {state_dict!r}; pass what state_dict() of a DataLoader "
                "returned"
            )
        missing = sorted(self.state_dict().keys() - state_dict.keys())
        if missing:
            raise ValueError(
                f"state_dict lacks {', '.join(missing)}; pass what state_dict() of a "
                "DataLoader returned"
            )
        epoch = integer("state_dict['epoch']", state_dict["epoch"], 0)
        position = integer("state_dict['position']", state_dict["position"], 0)
        start = state_dict["epoch_generator"]
        if start is not None:
            for name, own in (
                ("batch_size", self.batch_size),
                ("samples", len(self.dataset)),
            ):
                if state_dict[name] != own:
                    raise ValueError(
                        f"state_dict stands at batch {position} of an epoch with "
                        f"{name} {state_dict[name]}, but this loader's is {own}; use "
                        "the same dataset and batch_size, or a state between epochs"
                    )
            Generator(0).set_state(start)  # raises if it is no state
        (self.generator or default_generator()).set_state(state_dict["generator"])
        self._epoch = _Epoch(epoch - 1, finished=True)
        self._resumed = None if start is None else _Epoch(epoch, start, position)


@dataclass
class _Draw:
    """What seeds the random numbers of the samples being fetched."""

    epoch: Generator
    indices: Sequence[int]
    generator: Generator | None = None


_draw: ContextVar[_Draw | None] = ContextVar("gradlite_sample", default=None)


def sample_generator() -> Generator:
    """Return the generator from which a dataset draws for the sample being fetched.

    In the `__getitem__` of a dataset that a `DataLoader` reads, its numbers depend on
    the seed of the loader's generator, the epoch and the index of the sample, and on
    nothing else: neither the order of the samples nor the number of workers. In
    `__getitems__` and `collate_fn` they depend on the indices of the whole batch.

    Returns
    -------
    Generator
        The sample's own generator; the default generator where no loader is at work.

    Examples
    --------
    >>> from gradlite.data import Dataset, sample_generator
    >>> class Noise(Dataset[float]):
    ...     def __len__(self):
    ...         return 100
    ...
    ...     def __getitem__(self, index):
    ...         return sample_generator().numpy.normal()
    """
    draw = _draw.get()
    if draw is None:
        return default_generator()
    if draw.generator is None:
        key = (operator.index(index) % 2**64 for index in draw.indices)
        draw.generator = draw.epoch.spawn(*key)
    return draw.generator


def _tasks(
    context: Context,
    fetch: Callable[[list[int]], Any],
    batches: Iterator[list[int]],
) -> Iterator[Callable[[], Any]]:
    """Yield the fetching of each batch, in its own copy of `context`."""
    for batch in batches:
        yield partial(context.copy().run, fetch, batch)


def _fetch(
    dataset: Indexable[Any], collate: Collate, epoch: Generator, indices: list[int]
) -> Any:
    """Return one batch, by the shortest way that the dataset offers."""
    with _sampling(epoch, indices):
        source, positions = dataset, indices
        while type(source) is Subset:
            positions = [source.indices[position] for position in positions]
            source = source.dataset
        # A subclass may change what a sample is, so only the class itself will do.
        if type(source) is TensorDataset and collate is default_collate:
            return source.take(positions)
        fetch_all = getattr(source, "__getitems__", None)
        samples = None if fetch_all is None else list(fetch_all(positions))
    if samples is None:
        samples = []
        for index in indices:
            with _sampling(epoch, [index]):
                samples.append(dataset[index])
    with _sampling(epoch, indices):
        return collate(samples)


@contextmanager
def _sampling(epoch: Generator, indices: list[int]) -> Iterator[None]:
    """Seed `sample_generator`, and name the samples in an exception."""
    token = _draw.set(_Draw(epoch, indices))
    try:
        yield
    except Exception as error:
        _name_samples(error, indices)
        raise
    finally:
        _draw.reset(token)


def _name_samples(error: Exception, indices: list[int]) -> None:
    """Add the indices to what `error` says, whose type and traceback stay."""
    names = ", ".join(map(str, indices[:8])) + (", ..." if len(indices) > 8 else "")
    note = f"while fetching sample{'s' * (len(indices) > 1)} {names} of the dataset"
    is_text = len(error.args) == 1 and isinstance(error.args[0], str)
    if is_text and type(error).__str__ is Exception.__str__:
        error.args = (f"{error.args[0]} ({note})",)
    else:  # the arguments mean something else, as KeyError's does
        error.add_note(note)


def _in_threads(
    tasks: Iterator[Callable[[], Any]], workers: int, window: int
) -> Generating:
    """Yield the results of `tasks` in order, with `window` of them in flight."""
    from concurrent.futures import ThreadPoolExecutor  # slow to import

    members: set[int] = set()
    pool = ThreadPoolExecutor(
        workers, "gradlite-loader", initializer=lambda: members.add(get_ident())
    )
    try:
        in_flight = deque(map(pool.submit, islice(tasks, window)))
        while in_flight:
            batch = in_flight.popleft().result()
            in_flight.extend(map(pool.submit, islice(tasks, 1)))
            yield batch
    finally:
        # The garbage collector may run this in a worker, which cannot join itself.
        pool.shutdown(wait=get_ident() not in members, cancel_futures=True)


def _moved(batches: Iterator[Any], device: Device) -> Iterator[Any]:
    """Yield `batches` on `device`, each sent there before the one ahead is yielded."""
    uploader = device.backend.uploader(device.raw)

    def send(batch: Any) -> tuple[Any, list[Any]]:
        tokens: list[Any] = []

        def upload(tensor: Tensor) -> Tensor:
            if tensor.device is device:
                return tensor
            if tensor.device != "cpu" or tensor.requires_grad:
                return tensor.to(device)
            array, token = uploader.upload(tensor.numpy())
            tokens.append(token)
            return asarray(array, device=device)

        return map_tensors(batch, upload), tokens

    sent: deque[tuple[Any, list[Any]]] = deque()
    end: Exception | None = None
    while end is None:
        try:
            sent.append(send(next(batches)))
        except Exception as error:  # StopIteration too; what was sent comes first
            end = error
        ahead = 1 if end is None else 0
        while len(sent) > ahead:
            batch, tokens = sent.popleft()
            for token in tokens:
                uploader.wait(token)
            yield batch
    try:
        if not isinstance(end, StopIteration):
            raise end
    finally:
        del end  # its traceback holds this frame
