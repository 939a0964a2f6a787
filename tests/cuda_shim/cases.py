"""Batches of tensors for the fused updates, and what the formulas make of them.

The formulas in `gradlite.backends._updates` run on NumPy, one tensor at a time; the
batches run in any module that has CuPy's names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from gradlite.backends import _updates
from gradlite.backends._cuda_kernels import Kernels
from gradlite.backends._cuda_updates import CUDABatch
from gradlite.backends._generic_updates import arithmetic
from gradlite.backends._updates import Scales, Step, Update, follow_

Host = np.ndarray[Any, Any]

DTYPES: dict[str, Any] = {
    "float32": np.dtype(np.float32),
    "float64": np.dtype(np.float64),
    "float16": np.dtype(np.float16),
}
if find_spec("ml_dtypes"):
    DTYPES["bfloat16"] = np.dtype(import_module("ml_dtypes").bfloat16)

GUARD = 32
"""Elements before and after each array that must stay as they are."""

# Every variant ------------------------------------------------------------------------


def combinations(**values: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """Yield dicts with one of the values for each name."""
    for chosen in product(*values.values()):
        yield dict(zip(values, chosen, strict=True))


DECAYS: list[dict[str, Any]] = [
    {},
    {"weight_decay": 0.03},
    {"weight_decay": 0.04, "decoupled_weight_decay": True},
]
FORMS: list[dict[str, Any]] = [
    {},
    {"momentum": 0.9},
    {"momentum": 0.8, "dampening": 0.3},
    {"momentum": 0.9, "nesterov": True},
    {"momentum": 0.9, "momentum_form": "torch"},
    {"momentum": 0.7, "momentum_form": "torch", "dampening": 0.2},
    {"momentum": 0.9, "momentum_form": "torch", "nesterov": True},
]


def variants() -> list[Update]:
    """Return an update for every combination of options that the optimizers allow."""
    both = (False, True)
    updates = [
        _updates.sgd(lr=0.1, **form, **decay, alpha=alpha, maximize=maximize)
        for form, decay, alpha, maximize in product(FORMS, DECAYS, (0.0, 0.02), both)
    ]
    updates += [
        _updates.sgd(
            lr=0.2, **form, **decay, alpha=alpha, maximize=maximize, proximal=True
        )
        for form, decay, alpha, maximize in product(FORMS[:2], DECAYS, (0.0, 0.3), both)
    ]
    updates += [
        _updates.adam(lr=0.01, **decay, amsgrad=amsgrad, maximize=maximize)
        for decay, amsgrad, maximize in product(DECAYS, both, both)
    ]
    updates += [
        _updates.rmsprop(lr=0.01, **options)
        for options in combinations(
            weight_decay=(0.0, 0.02), momentum=(0.0, 0.9), centered=both, maximize=both
        )
    ]
    updates += [
        _updates.adagrad(lr=0.1, **options)
        for options in combinations(
            weight_decay=(0.0, 0.02), lr_decay=(0.0, 0.1), maximize=both
        )
    ]
    return updates


def by_layout(updates: Sequence[Update]) -> list[list[Update]]:
    """Return lists of updates that can share a batch."""
    found: dict[Any, list[Update]] = {}
    for update in updates:
        found.setdefault((update.family, len(update.states)), []).append(update)
    return list(found.values())


# Arrays -------------------------------------------------------------------------------


class Device(NamedTuple):
    """Where a batch runs.

    Attributes
    ----------
    kernels : Kernels
        The compiled kernels.
    upload, download : callable
        From and to arrays of NumPy.
    """

    kernels: Kernels
    upload: Callable[[Host], Any]
    download: Callable[[Any], Host]


class Tensors(NamedTuple):
    """What belongs to one parameter."""

    param: Any
    grad: Any
    states: list[Any]
    master: Any


class Arrays:
    """Arrays for a batch, on the device.

    Each lies in the middle of a larger one, aligned or not, so that what is written
    around it is seen.

    Parameters
    ----------
    device : Device
        Where they are.
    rng : Generator
        For the elements.
    """

    def __init__(self, device: Device, rng: np.random.Generator) -> None:
        self._device, self._rng = device, rng
        self._blocks: list[Any] = []

    def values(self, size: int, dtype: Any) -> Host:
        """Return numbers with zeros of both signs among them."""
        x = self._rng.standard_normal(size)
        x[self._rng.random(size) < 0.1] = 0.0
        x[self._rng.random(size) < 0.1] *= -0.0
        return x.astype(dtype)

    def states(self, names: Sequence[str], size: int, dtype: Any) -> list[Host]:
        """Return state arrays as they could be; the mean of squares is positive."""
        found: dict[str, Host] = {}
        for name in names:
            x = self.values(size, dtype)
            if name == "grad_avg":
                x = x.clip(-0.9, 0.9) * np.sqrt(found["square_avg"])
            elif name not in ("momentum_buffer", "exp_avg"):
                x = np.abs(x)
            found[name] = x
        return list(found.values())

    def place(self, values: Host, offset: int) -> Any:
        """Return a device array with these values, `offset` elements from alignment."""
        block = np.full(values.size + 2 * GUARD, 7, values.dtype)
        start = GUARD + offset
        block[start : start + values.size] = values
        array = self._device.upload(block)
        self._blocks.append((array, start, start + values.size))
        return array[start : start + values.size]

    def guards_hold(self) -> bool:
        """Whether nothing was written around the arrays."""
        return all(
            np.all(part == part.dtype.type(7))
            for array, start, stop in self._blocks
            for block in [self._device.download(array)]
            for part in (block[:start], block[stop:])
        )


def reference(
    update: Update, host: Tensors, count: int, grad_scale: Any, clip: Any
) -> None:
    """Do one step with the formulas, in place, on arrays of NumPy."""
    wide = np.dtype(np.float64 if host.param.dtype == np.float64 else np.float32)
    p = host.param.astype(wide) if host.master is None else host.master
    step = Step(
        arithmetic(np),
        update.flags,
        update.coefficients,
        update.rates(count),
        Scales(grad_scale, clip),
    )
    with np.errstate(all="ignore"):
        follow_(update, step, p, host.grad.astype(wide), host.states)
        host.param[...] = p.astype(host.param.dtype)


def same_bits(found: Host, expected: Host) -> bool:
    """Whether two arrays are equal to the bit, but for the payload of NaNs."""
    integer = np.dtype(f"u{expected.itemsize}")
    equal = found.view(integer) == expected.view(integer)
    return bool(np.all(equal | (np.isnan(found) & np.isnan(expected))))


def size(i: int, tile: int) -> int:
    """Return the number of elements of the i-th tensor: tiny ones, and whole tiles."""
    sizes = (0, 1, 3, 4, 5, tile - 1, tile, tile + 1, 2 * tile + 17)
    return sizes[i % len(sizes)]


class Trial:
    """A batch and its tensors on the device, beside the same on the host.

    Parameters
    ----------
    device : Device
        Where the batch runs.
    updates : sequence of Update
        One group for each.
    dtype : dtype
        Of the parameters.
    masters : bool
        Whether parameters of 16 bits have masters.
    tensors : int
        For each group.
    offset : int, optional
        Elements by which all arrays miss their alignment; by default some do.
    seed : int
        For the numbers.
    """

    def __init__(
        self,
        device: Device,
        updates: Sequence[Update],
        dtype: Any,
        *,
        masters: bool = False,
        tensors: int = 1,
        offset: int | None = None,
        seed: int = 0,
    ) -> None:
        self.device, self.updates, self.offset = device, updates, offset
        self.rng = rng = np.random.default_rng(seed)
        self.arrays = arrays = Arrays(device, rng)
        self.dtype = np.dtype(dtype)
        wide = np.dtype(np.float64 if self.dtype == np.float64 else np.float32)
        self.groups = [i for i in range(len(updates)) for _ in range(tensors)]
        self.hosts: list[Tensors] = []
        self.devices: list[Tensors] = []
        for i, group in enumerate(self.groups):
            n = size(i, 8192 // wide.itemsize)
            p = arrays.values(n, self.dtype)
            states = arrays.states(updates[group].states, n, wide)
            master = p.astype(wide) + arrays.values(n, wide) / 4096 if masters else None
            self.hosts.append(Tensors(p, None, states, master))
            self.devices.append(
                Tensors(
                    self.place(p),
                    None,
                    [self.place(state) for state in states],
                    None if master is None else self.place(master),
                )
            )
        self.counts = [i % 3 for i in range(len(self.groups))]
        self.batch = CUDABatch(
            device.kernels,
            [own.param for own in self.devices],
            [own.states for own in self.devices],
            self.groups,
            self.counts,
            [None] * len(self.groups),
            [own.master for own in self.devices] if masters else None,
        )

    def place(self, values: Host) -> Any:
        """Return a device array with these values."""
        offset = self.offset
        if offset is None:
            offset = int(self.rng.random() < 0.2)
        return self.arrays.place(values, offset)

    def gradients(self, missing: float = 0.2) -> list[Host | None]:
        """Return gradients, some of which are not there."""
        return [
            None
            if self.rng.random() < missing
            else self.arrays.values(own.param.size, self.dtype)
            for own in self.hosts
        ]

    def follow(
        self, grads: Sequence[Host | None], grad_scale: Any = None, clip: Any = None
    ) -> None:
        """Do one step with the formulas."""
        for i, (g, own) in enumerate(zip(grads, self.hosts, strict=True)):
            if g is not None:
                self.counts[i] += 1
                update = self.updates[self.groups[i]]
                tensors = own._replace(grad=g)
                reference(update, tensors, self.counts[i], grad_scale, clip)

    def compare(self) -> None:
        """Assert that device and host hold the same bits."""
        download = self.device.download
        assert download(self.batch.steps).tolist() == self.counts
        for i, (mine, own) in enumerate(zip(self.devices, self.hosts, strict=True)):
            update = self.updates[self.groups[i]]
            assert same_bits(download(mine.param), own.param), (i, update)
            for found, expected in zip(mine.states, own.states, strict=True):
                assert same_bits(download(found), expected), (i, update)
            if own.master is not None:
                assert same_bits(download(mine.master), own.master), (i, update)
        assert self.arrays.guards_hold()


def check(
    device: Device,
    updates: Sequence[Update],
    dtype: Any,
    *,
    steps: int = 3,
    missing: float = 0.2,
    grad_scale: float | None = None,
    clip: float | None = None,
    **options: Any,
) -> None:
    """Compare some steps of a batch with the formulas, bit for bit.

    Parameters
    ----------
    device, updates, dtype, **options
        Of the `Trial`.
    steps : int
        How many.
    missing : float
        The part of the gradients that is not there in each step.
    grad_scale, clip : float, optional
        For the gradients.
    """
    trial = Trial(device, updates, dtype, **options)
    for _ in range(steps):
        hosts = trial.gradients(missing)
        grads = [None if g is None else trial.place(g) for g in hosts]
        trial.batch.step(grads, updates, grad_scale=grad_scale, clip=clip)
        trial.follow(hosts, grad_scale, clip)
        trial.compare()
        for g, host in zip(grads, hosts, strict=True):
            assert g is None or same_bits(device.download(g), host)
    values = np.concatenate([own.param.astype(float) for own in trial.hosts])
    assert np.mean(np.isfinite(values)) > 0.9
