"""The generator of random numbers, and the default one."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

import numpy as np

from gradlite._arguments import integer

_WORD = 2**64


class _Draws(Protocol):
    """Who stands between a generator and those who draw from it."""

    def stream(self, generator: Generator, /) -> np.random.Generator:
        """Return what to draw from in the place of `generator`."""


_DRAWS: ContextVar[_Draws | None] = ContextVar("gradlite_draws", default=None)


class Generator:
    """A stream of random numbers with a seed and a state that can be saved.

    The numbers come from NumPy's Philox on the host. NumPy locks the stream for each
    draw, so threads that share a generator never get the same numbers.

    Parameters
    ----------
    seed : int, optional
        At least 0 and below 2**64; by default one from the operating system.

    Attributes
    ----------
    numpy : numpy.random.Generator
        The NumPy generator behind it.

    Examples
    --------
    >>> generator = gl.random.Generator(seed=0)
    >>> state = generator.get_state()
    >>> first = generator.numpy.random(3)
    >>> generator.set_state(state)
    >>> bool((generator.numpy.random(3) == first).all())
    True
    """

    def __init__(self, seed: int | None = None) -> None:
        self._seed = _entropy() if seed is None else _checked_seed(seed)
        self._spawn_key: tuple[int, ...] = ()
        self._numpy = np.random.Generator(_philox(self._seed))

    @property
    def numpy(self) -> np.random.Generator:
        """The NumPy generator behind it, one object but in a replay."""
        draws = _DRAWS.get()
        return self._numpy if draws is None else draws.stream(self)

    def __repr__(self) -> str:
        spawned = f".spawn{self._spawn_key}" if self._spawn_key else ""
        return f"Generator(seed={self._seed}){spawned}"

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream of `seed` and return the generator.

        Parameters
        ----------
        seed : int
            At least 0 and below 2**64.

        Raises
        ------
        TypeError
            If `seed` is not an integer.
        ValueError
            If `seed` is out of range.
        """
        self._restart(_checked_seed(seed), ())
        return self

    def seed(self) -> int:
        """Start the stream of a seed from the operating system and return that seed."""
        return self.manual_seed(_entropy()).initial_seed()

    def initial_seed(self) -> int:
        """Return the seed with which the stream was started."""
        return self._seed

    def spawn(self, *key: int) -> Generator:
        """Return an independent generator that depends on the seed and `key` alone.

        However much was drawn before, the same key gives the same generator: a key such
        as `(epoch, index)` gives each sample of a data set its own numbers.

        Parameters
        ----------
        *key : int
            One or more integers that are at least 0.

        Raises
        ------
        TypeError
            If `key` has something else than integers.
        ValueError
            If `key` is empty or has a negative integer.
        """
        key = tuple(integer("key", part, None) for part in key)
        if not key or min(key) < 0:
            raise ValueError(
                f"key must be one or more integers that are at least 0, got {key}; "
                "use for example spawn(epoch, index)"
            )
        child = Generator(self._seed)
        child._restart(self._seed, self._spawn_key + key)
        return child

    def get_state(self) -> dict[str, Any]:
        """Return the exact state, a dict of strings, integers and lists of integers."""
        bits = self.numpy.bit_generator
        with bits.lock:
            state = {**bits.state, "seed": self._seed, "spawn_key": self._spawn_key}
        state |= state.pop("state")  # NumPy nests the counter and the key
        return {name: np.asarray(value).tolist() for name, value in state.items()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue from what `get_state` returned: the next numbers are the same.

        Parameters
        ----------
        state : mapping
            What `get_state` of this or another generator returned.

        Raises
        ------
        TypeError
            If `state` is not a mapping.
        ValueError
            If it is not the state of a generator; this generator is then unchanged.
        """
        if not isinstance(state, Mapping):
            raise TypeError(
                f"state must be a dict that get_state() returned, got {state!r}"
            )
        if state.get("bit_generator") != "Philox":
            raise ValueError(
                "state['bit_generator'] must be 'Philox', got "
                f"{state.get('bit_generator')!r}; pass a dict that get_state() returned"
            )
        (seed,) = _integers(state, "seed", 1, _WORD)
        (buffer_pos,) = _integers(state, "buffer_pos", 1, 5)
        (has_uint32,) = _integers(state, "has_uint32", 1, 2)
        (uinteger,) = _integers(state, "uinteger", 1, 2**32)
        philox = {
            "bit_generator": "Philox",
            "state": {
                "counter": _integers(state, "counter", 4, _WORD),
                "key": _integers(state, "key", 2, _WORD),
            },
            "buffer": _integers(state, "buffer", 4, _WORD),
            "buffer_pos": buffer_pos,
            "has_uint32": has_uint32,
            "uinteger": uinteger,
        }
        spawn_key = _integers(state, "spawn_key", None, math.inf)
        self._restart(seed, tuple(spawn_key), philox)

    def _restart(
        self, seed: int, spawn_key: tuple[int, ...], state: Any = None
    ) -> None:
        bits = self.numpy.bit_generator
        with bits.lock:
            self._seed, self._spawn_key = seed, spawn_key
            bits.state = state or _philox(seed, spawn_key).state


class _Recorded:
    """Notes the state that each generator had before it was first drawn from."""

    def __init__(self) -> None:
        self._outer = _DRAWS.get()
        self.states: dict[Generator, Any] = {}

    def stream(self, generator: Generator) -> np.random.Generator:
        outer = self._outer
        stream = generator._numpy if outer is None else outer.stream(generator)
        if generator not in self.states:
            bits = stream.bit_generator
            with bits.lock:
                self.states[generator] = bits.state
        return stream


class _Replayed:
    """Stands in for generators with others in the states that were noted."""

    def __init__(self, states: Mapping[Generator, Any]) -> None:
        self._streams: dict[Generator, np.random.Generator] = {}
        for generator, state in states.items():
            bits = np.random.Philox(0)
            bits.state = state
            self._streams[generator] = np.random.Generator(bits)

    def stream(self, generator: Generator) -> np.random.Generator:
        return self._streams.get(generator, generator._numpy)


@contextmanager
def _drawn(draws: _Draws | None) -> Iterator[None]:
    token = _DRAWS.set(draws)
    try:
        yield
    finally:
        _DRAWS.reset(token)


@contextmanager
def record_draws() -> Iterator[dict[Generator, Any]]:
    """Note inside which generators are drawn from, and their states before."""
    record = _Recorded()
    with _drawn(record):
        yield record.states


@contextmanager
def replay_draws(states: Mapping[Generator, Any]) -> Iterator[None]:
    """Draw inside what was drawn from `states` on; the generators stay as they are."""
    with _drawn(_Replayed(states)):
        yield


def _philox(seed: int, spawn_key: tuple[int, ...] = ()) -> np.random.Philox:
    return np.random.Philox(np.random.SeedSequence(seed, spawn_key=spawn_key))


def _entropy() -> int:
    return int.from_bytes(os.urandom(8), "little")


def _checked_seed(seed: int) -> int:
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise TypeError(f"seed must be an int such as 0, got {seed!r}")
    if not 0 <= seed < _WORD:
        raise ValueError(
            f"seed must be at least 0 and below 2**64, got {seed}; "
            "use for example seed % 2**64"
        )
    return int(seed)


def _integers(
    state: Mapping[str, Any], name: str, length: int | None, bound: float
) -> list[int]:
    """Return `state[name]` as a list; of any length where `length` is None."""
    value = state.get(name)
    items: list[Any] = list(value) if isinstance(value, list | tuple) else [value]
    if len(items) != (len(items) if length is None else length) or not all(
        type(item) is int and 0 <= item < bound for item in items
    ):
        raise ValueError(
            f"state[{name!r}] must be what get_state() returned, got {value!r}; "
            "pass the whole dict unchanged"
        )
    return items


_default: Generator | None = None
_default_lock = threading.Lock()


def default_generator() -> Generator:
    """Return the generator that draws where no other one is given.

    It is made on first use, from a seed of the operating system.
    """
    global _default
    with _default_lock:
        if _default is None:
            _default = Generator()
        return _default


def manual_seed(seed: int) -> Generator:
    """Seed the default generator and return it.

    Parameters
    ----------
    seed : int
        At least 0 and below 2**64. The same seed gives the same initial weights,
        shuffles and batches on every device.

    Raises
    ------
    TypeError
        If `seed` is not an integer.
    ValueError
        If `seed` is out of range.

    Examples
    --------
    >>> first = gl.manual_seed(7).numpy.random()
    >>> first == gl.manual_seed(7).numpy.random()
    True
    """
    return default_generator().manual_seed(seed)


def require_generator(generator: Generator | None) -> Generator:
    """Return `generator`, the default one for None, or raise a TypeError."""
    if generator is None:
        return default_generator()
    if not isinstance(generator, Generator):
        raise TypeError(
            f"generator must be a gl.random.Generator, got {generator!r}; "
            "use for example gl.random.Generator(seed=0)"
        )
    return generator
