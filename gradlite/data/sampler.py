"""Samplers: the order in which a loader visits a dataset."""

from __future__ import annotations

from collections.abc import Iterator, Sized

from gradlite._generator import Generator, default_generator, require_generator


def require_sized(name: str, value: Sized) -> Sized:
    """Return `value`, or raise a TypeError if it has no length."""
    if not isinstance(value, Sized):
        raise TypeError(
            f"{name} must be a dataset with a length, got {type(value).__name__}"
        )
    return value


class SequentialSampler:
    """The positions of a dataset from the first to the last.

    Parameters
    ----------
    data_source : sized
        The dataset.
    """

    def __init__(self, data_source: Sized) -> None:
        self.data_source = require_sized("data_source", data_source)

    def __len__(self) -> int:
        return len(self.data_source)

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))


class RandomSampler:
    """The positions of a dataset in a new random order at each iteration.

    Parameters
    ----------
    data_source : sized
        The dataset.
    generator : Generator, optional
        Draws the permutation; by default the default generator, so that
        `gradlite.manual_seed` gives the same orders on every device.

    Raises
    ------
    ValueError
        If the dataset is empty.
    """

    def __init__(
        self, data_source: Sized, *, generator: Generator | None = None
    ) -> None:
        if generator is not None:
            require_generator(generator)
        if len(require_sized("data_source", data_source)) == 0:
            raise ValueError(
                "data_source has no samples to shuffle; check where it was loaded from"
            )
        self.data_source = data_source
        self.generator = generator

    def __len__(self) -> int:
        return len(self.data_source)

    def __iter__(self) -> Iterator[int]:
        # The permutation is drawn here and not at the first `next`: a loader that
        # resumes sets the generator's state around this call.
        generator = self.generator or default_generator()
        return iter(generator.numpy.permutation(len(self)).tolist())
