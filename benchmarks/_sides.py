"""Our implementations of an update, from the naive formula to the fused kernels."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import numpy as np

import gradlite as gl
from benchmarks import _cuda
from benchmarks._measure import seconds
from benchmarks._models import Float32, Model, sampled
from benchmarks._updates import BETA1, BETA2, EPS, LR, Array, Update, formula
from gradlite.backends import cpu

Clock = Callable[[Callable[[], object], int], float]

CLOCKS: dict[str, Clock] = {
    "wall": seconds,
    "host": _cuda.host_seconds,
    "device": _cuda.device_seconds,
}


def namespace(device: str) -> Any:
    """Return NumPy or CuPy."""
    if device == "cpu":
        return np
    import cupy

    return cupy


class Side(ABC):
    """An implementation of an update, with parameters of its own.

    Attributes
    ----------
    params : list
        The parameters, in whatever holds them.
    """

    params: list[Any]

    @abstractmethod
    def step(self) -> None:
        """Do one step with the gradients that are there; this is what is timed."""

    def advance(self, steps: int) -> None:
        """Do the first steps, as a training would."""
        for _ in range(steps):
            self.step()

    def values(self) -> list[Float32]:
        """Return the `sampled` numbers of each parameter."""
        picked = [x.reshape(-1)[sampled(x.size)] for x in self.arrays()]
        return [x if isinstance(x, np.ndarray) else x.get() for x in picked]

    def arrays(self) -> list[Array]:
        """Return the parameters as arrays of NumPy or CuPy."""
        return self.params

    def seconds(self, clock: str, calls: int) -> float:
        """Return the mean time of a step by one of `CLOCKS`."""
        return CLOCKS[clock](self.step, calls)

    def close(self) -> None:
        """Drop the parameters."""
        self.params = []


class Arrays(Side):
    """An implementation on plain arrays.

    Parameters
    ----------
    model : Model
        The parameters.
    update : Update
        What a step computes.
    device : {"cpu", "cuda"}
        Where they live.
    """

    def __init__(self, model: Model, update: Update, device: str) -> None:
        self.update = update
        self.xp = namespace(device)
        self.params = list(model.arrays(0, self.xp))
        self.grads = list(model.arrays(1, self.xp))
        self.states: list[list[Array]] = [
            [self.xp.zeros_like(p) for _ in range(update.states)] for p in self.params
        ]
        self.steps = 0

    def step(self) -> None:
        """Do the next step."""
        self.steps += 1
        self.apply()

    @abstractmethod
    def apply(self) -> None:
        """Do the step of number `self.steps`."""


class Naive(Arrays):
    """The formula as it is first written down: each result is a new array."""

    def apply(self) -> None:
        """Replace the parameters and their states."""
        for i, (p, g, states) in enumerate(
            zip(self.params, self.grads, self.states, strict=True)
        ):
            self.params[i], *self.states[i] = formula(
                self.xp, self.update, p, g, states, self.steps
            )


class InPlace(Arrays):
    """One whole-array function after the other, with `out=` and two scratch arrays."""

    def __init__(self, model: Model, update: Update, device: str) -> None:
        super().__init__(model, update, device)
        largest = max(p.size for p in self.params)
        one, two = (self.xp.empty(largest, np.float32) for _ in range(2))
        self._scratch = [
            (one[: p.size].reshape(p.shape), two[: p.size].reshape(p.shape))
            for p in self.params
        ]
        self._write = self._adam if update.name == "adam" else self._sgd

    def apply(self) -> None:
        """Write into the parameters and their states."""
        for p, g, states, scratch in zip(
            self.params, self.grads, self.states, self._scratch, strict=True
        ):
            self._write(p, g, states, *scratch)

    def _sgd(
        self, p: Array, g: Array, states: Sequence[Array], t: Array, u: Array
    ) -> None:
        xp, update = self.xp, self.update
        if update.alpha:
            xp.sign(p, out=t)
            xp.multiply(t, update.alpha, out=t)
            xp.add(t, g, out=t)
            xp.multiply(p, update.weight_decay, out=u)
            g = xp.add(t, u, out=t)
        xp.multiply(g, LR, out=t)
        if not states:
            xp.subtract(p, t, out=p)
            return
        (v,) = states
        xp.multiply(v, update.momentum, out=v)
        xp.subtract(v, t, out=v)
        xp.add(p, v, out=p)

    def _adam(
        self, p: Array, g: Array, states: Sequence[Array], t: Array, u: Array
    ) -> None:
        xp = self.xp
        mean, square = states
        xp.multiply(mean, BETA1, out=mean)
        xp.multiply(g, 1 - BETA1, out=t)
        xp.add(mean, t, out=mean)
        xp.multiply(square, BETA2, out=square)
        xp.multiply(g, g, out=t)
        xp.multiply(t, 1 - BETA2, out=t)
        xp.add(square, t, out=square)
        xp.sqrt(square, out=t)
        xp.multiply(t, 1 / math.sqrt(1 - BETA2**self.steps), out=t)
        xp.add(t, EPS, out=t)
        xp.divide(mean, t, out=u)
        xp.multiply(u, LR / (1 - BETA1**self.steps), out=u)
        xp.subtract(p, u, out=p)


@contextmanager
def kernels(*, jit: bool) -> Iterator[None]:
    """Choose the kernels on the CPU for a while; else those of Numba are on."""
    cpu.set_jit(jit)
    try:
        yield
    finally:
        cpu.set_jit(True)


class Gradlite(Side):
    """`gl.optim`, with gradients where a real `backward()` leaves them.

    Parameters
    ----------
    model, update, device
        As of `Arrays`.
    jit : bool, optional
        On the CPU, whether the kernels are those of Numba or of NumPy.
    """

    def __init__(
        self, model: Model, update: Update, device: str, *, jit: bool = False
    ) -> None:
        self._model, self._xp, self._jit = model, namespace(device), jit
        self.params = [
            # A copy, whose memory nobody else knows, as that of the layers of `nn`.
            gl.tensor(x, requires_grad=True)
            for x in model.arrays(0, self._xp)
        ]
        if update.name == "adam":
            self.optimizer: Any = gl.optim.Adam(
                self.params, lr=LR, betas=(BETA1, BETA2), eps=EPS
            )
        else:
            self.optimizer = gl.optim.SGD(
                self.params,
                lr=LR,
                momentum=update.momentum,
                alpha=update.alpha,
                weight_decay=update.weight_decay,
            )

    def step(self) -> None:
        """Do one step with the gradients that are there."""
        self.optimizer.step()

    def advance(self, steps: int) -> None:
        """Do whole training steps; the loss is the product with constants, summed."""
        with kernels(jit=self._jit):
            for _ in range(steps):
                self.optimizer.zero_grad()
                constants = self._model.arrays(1, self._xp)
                for p, c in zip(self.params, constants, strict=True):
                    gl.sum(p * gl.asarray(c)).backward()
                self.optimizer.step()

    def arrays(self) -> list[Array]:
        """Return arrays of NumPy or CuPy that share the parameters' memory."""
        return [self._xp.from_dlpack(p.detach()) for p in self.params]

    def seconds(self, clock: str, calls: int) -> float:
        """Return the mean time of a step, with the kernels of this side."""
        with kernels(jit=self._jit):
            return super().seconds(clock, calls)


class Captured(Gradlite):
    """`gl.optim` on CUDA, its step captured as a graph."""

    def advance(self, steps: int) -> None:
        """Do the last of the steps by the graph."""
        import cupy

        super().advance(steps - 1)
        with cupy.cuda.Stream(non_blocking=True) as stream:
            stream.begin_capture()
            self.optimizer.step()
            self._graph = stream.end_capture()
        self.step()

    def step(self) -> None:
        """Launch the graph."""
        self._graph.launch()


class Limit(Arrays):
    """Three reads and two writes over flat arrays: what the memory itself can do.

    Parameters
    ----------
    model : Model
        One parameter.
    update, device
        As of `Arrays`.
    loop : {"numba", "numpy", "cuda"}
        What runs over it.
    threads : int, default 1
        On the CPU.
    """

    def __init__(
        self, model: Model, update: Update, device: str, loop: str, threads: int = 1
    ) -> None:
        super().__init__(model, update, device)
        arrays = (*self.params, *self.grads, *self.states[0])
        self._run: Callable[[], object] = partial(_LOOPS[loop](), *arrays)
        if threads > 1 and arrays[0].size >= SHARED:
            parts = [np.array_split(x, threads) for x in arrays]
            pool = ThreadPoolExecutor(threads)
            self._run = lambda: list(pool.map(_LOOPS[loop](), *parts))

    def apply(self) -> None:
        """Run the loop once."""
        self._run()


SHARED = 1 << 20
"""Elements from which on threads gain more than they cost."""


@cache
def _numba_loop() -> Any:
    import numba

    @numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
    def limit(p: Array, g: Array, v: Array) -> None:
        for i in range(p.size):
            v[i] = g[i] - v[i]
            p[i] = v[i] - p[i]

    return limit


def _numpy_blocks(p: Array, g: Array, v: Array, block: int = 1 << 14) -> None:
    for i in range(0, p.size, block):
        part = slice(i, i + block)
        np.subtract(g[part], v[part], out=v[part])
        np.subtract(v[part], p[part], out=p[part])


_LOOPS: dict[str, Callable[[], Callable[..., None]]] = {
    "numba": _numba_loop,
    "numpy": lambda: _numpy_blocks,
    "cuda": lambda: _cuda.limit,
}
