"""The same updates by other libraries, on parameters of their own."""

from __future__ import annotations

import math
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np

from benchmarks._models import Float32, Model, sampled
from benchmarks._remote import Remote
from benchmarks._sides import Arrays, Side, namespace
from benchmarks._updates import BETA1, BETA2, EPS, LR, Array, Update

PEERS = {"torch": ("torch",), "jax": ("jax", "optax"), "numba": ("numba",)}
"""The packages that each peer needs."""


def absence(peer: str, device: str) -> str | None:
    """Return why a peer cannot take part on a device, None if it can."""
    for package in PEERS[peer]:
        if find_spec(package) is None:
            return f"{package} is not installed"
    if device == "cuda":
        if peer == "numba":
            return "its loops run on the CPU"
        if peer == "torch":
            import torch

            if not torch.cuda.is_available():
                return f"torch {torch.__version__} finds no CUDA device"
    return None


class Torch(Side):
    """`torch.optim`.

    Its SGD has no L1 regularization: where the update has one, the step begins by
    adding it to the gradients with foreach functions.

    Parameters
    ----------
    model, update, device
        As of `Arrays`.
    kind : {"foreach", "fused"}
        Which of PyTorch's implementations.
    **options : bool
        More options of the optimizer.
    """

    def __init__(
        self, model: Model, update: Update, device: str, kind: str, **options: bool
    ) -> None:
        import torch

        xp = namespace(device)
        self._torch, self._alpha = torch, update.alpha
        values, self._grads = (
            [torch.as_tensor(x, device=device) for x in model.arrays(seed, xp)]
            for seed in (0, 1)
        )
        self.params = [value.requires_grad_() for value in values]
        for p, g in zip(self.params, self._grads, strict=True):
            p.grad = g
        options = {kind: True, **options}
        if update.name == "adam":
            self._optimizer: Any = torch.optim.Adam(
                self.params, lr=LR, betas=(BETA1, BETA2), eps=EPS, **options
            )
        else:
            self._optimizer = torch.optim.SGD(
                self.params,
                lr=LR,
                momentum=update.momentum,
                weight_decay=update.weight_decay,
                **options,
            )

    def step(self) -> None:
        """Do one step, after adding the L1 regularization to the gradients."""
        if self._alpha:
            torch = self._torch
            with torch.no_grad():
                signs = torch._foreach_sign(self.params)
                grads = torch._foreach_add(self._grads, signs, alpha=self._alpha)
            for p, g in zip(self.params, grads, strict=True):
                p.grad = g
        self._optimizer.step()

    def values(self) -> list[Float32]:
        """Return the `sampled` numbers of each parameter."""
        return [
            p.detach()
            .view(-1)[self._torch.from_numpy(sampled(p.numel()))]
            .cpu()
            .numpy()
            for p in self.params
        ]


class TorchGraph(Torch):
    """`torch.optim` on CUDA, its step captured as a graph."""

    def __init__(self, model: Model, update: Update, device: str, kind: str) -> None:
        # SGD needs no option to be captured.
        options = {"capturable": True} if update.name == "adam" else {}
        super().__init__(model, update, device, kind, **options)
        self._graph = self._torch.cuda.CUDAGraph()

    def advance(self, steps: int) -> None:
        """Do the last of the first steps by the graph."""
        for _ in range(steps - 1):
            super().step()
        with self._torch.cuda.graph(self._graph):
            super().step()
        self.step()

    def step(self) -> None:
        """Launch the graph."""
        self._graph.replay()


class Jax(Side):
    """Optax under `jax.jit` with donated buffers, in a process of its own.

    Parameters
    ----------
    remote : Remote
        With a `benchmarks._jax:Steps` on the device.
    model, update, device
        As of `Arrays`.
    """

    def __init__(
        self, remote: Remote, model: Model, update: Update, device: str
    ) -> None:
        self._remote = remote
        remote.call("make", model.name, update.name)

    def step(self) -> None:
        """Do one step and wait for its end."""
        self.advance(1)

    def advance(self, steps: int) -> None:
        """Do the first steps."""
        self._remote.call("advance", steps)

    def values(self) -> list[Float32]:
        """Return the `sampled` numbers of each parameter."""
        return [np.array(x, np.float32) for x in self._remote.call("values")]

    def seconds(self, clock: str, calls: int) -> float:
        """Return the mean time of a step, measured where it runs."""
        return float(self._remote.call("seconds", clock, calls))

    def close(self) -> None:
        """Drop the parameters."""
        self._remote.call("free")


class Numba(Arrays):
    """A loop as one writes it by hand, compiled by Numba and called per tensor."""

    def __init__(self, model: Model, update: Update, device: str) -> None:
        super().__init__(model, update, device)
        self._loop = _compiled(update)
        self._flat = [
            [x.reshape(-1) for x in (p, g, *states)]
            for p, g, states in zip(self.params, self.grads, self.states, strict=True)
        ]

    def apply(self) -> None:
        """Call the loop for each parameter."""
        for arrays in self._flat:
            self._loop(self.steps, *arrays)


@cache
def _compiled(update: Update) -> Any:
    import numba

    lr, eps, beta1, beta2 = map(np.float32, (LR, EPS, BETA1, BETA2))
    rest1, rest2 = np.float32(1 - BETA1), np.float32(1 - BETA2)
    factor, alpha = np.float32(update.momentum), np.float32(update.alpha)
    weight_decay = np.float32(update.weight_decay)

    def plain(step: int, p: Array, g: Array) -> None:
        for i in range(p.size):
            p[i] -= lr * g[i]

    def momentum(step: int, p: Array, g: Array, v: Array) -> None:
        for i in range(p.size):
            v[i] = factor * v[i] - lr * g[i]
            p[i] += v[i]

    def full(step: int, p: Array, g: Array, v: Array) -> None:
        for i in range(p.size):
            d = g[i] + alpha * np.sign(p[i]) + weight_decay * p[i]
            v[i] = factor * v[i] - lr * d
            p[i] += v[i]

    def adam(step: int, p: Array, g: Array, mean: Array, square: Array) -> None:
        size = np.float32(LR / (1 - BETA1**step))
        root = np.float32(1 / math.sqrt(1 - BETA2**step))
        for i in range(p.size):
            mean[i] = beta1 * mean[i] + rest1 * g[i]
            square[i] = beta2 * square[i] + rest2 * g[i] * g[i]
            p[i] -= size * mean[i] / (np.sqrt(square[i]) * root + eps)

    loops = {"plain": plain, "momentum": momentum, "full": full, "adam": adam}
    # With the error model of Python a division keeps the loop from being vectorized.
    return numba.njit(nogil=True, error_model="numpy")(loops[update.name])
