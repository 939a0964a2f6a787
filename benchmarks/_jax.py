"""Optax steps for `benchmarks._peers.Jax`; runs in a process of its own."""

from __future__ import annotations

import os
import time
from typing import Any

THREADS = os.environ.get("OMP_NUM_THREADS", "1")

# Before JAX is imported: its pool has as many threads as the process may use cores.
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-int(THREADS) :])
os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import optax  # noqa: E402

from benchmarks._models import find, sampled  # noqa: E402
from benchmarks._updates import BETA1, BETA2, EPS, LR, UPDATES, Update  # noqa: E402


def _optimizer(update: Update) -> Any:
    if update.name == "adam":
        return optax.adam(LR, b1=BETA1, b2=BETA2, eps=EPS)
    sgd = optax.sgd(LR, momentum=update.momentum or None)
    if not update.weight_decay:
        return sgd
    return optax.chain(optax.add_decayed_weights(update.weight_decay), sgd)


class Steps:
    """The steps of one update on one model at a time.

    Parameters
    ----------
    device : {"cpu", "cuda"}
        Where the parameters live.
    """

    _params: Any = None
    _grads: Any = None
    _state: Any = None
    _step: Any = None

    def __init__(self, device: str) -> None:
        self._device = jax.devices(device)[0]

    def make(self, model: str, update: str) -> None:
        """Make new parameters, their gradients, and a compiled step."""
        self.free()
        chosen, found = UPDATES[update], find(model)
        optimizer = _optimizer(chosen)

        def step(params: Any, state: Any, grads: Any) -> tuple[Any, Any]:
            if chosen.alpha:  # Optax has no L1 regularization
                grads = jax.tree.map(
                    lambda p, g: g + chosen.alpha * jnp.sign(p), params, grads
                )
            updates, state = optimizer.update(grads, state, params)
            return optax.apply_updates(params, updates), state

        self._params, self._grads = (
            [jax.device_put(x, self._device) for x in found.arrays(seed)]
            for seed in (0, 1)
        )
        self._state = optimizer.init(self._params)
        self._step = jax.jit(step, donate_argnums=(0, 1))

    def free(self) -> None:
        """Drop the parameters."""
        self._params = self._grads = self._state = None

    def advance(self, steps: int) -> None:
        """Start some steps and wait for their end."""
        self._start(steps)
        jax.block_until_ready(self._params)

    def _start(self, steps: int) -> None:
        for _ in range(steps):
            self._params, self._state = self._step(
                self._params, self._state, self._grads
            )

    def values(self) -> list[list[float]]:
        """Return the `sampled` numbers of each parameter."""
        return [p.reshape(-1)[sampled(p.size)].tolist() for p in self._params]

    def seconds(self, clock: str, calls: int) -> float:
        """Return the mean time of a step, with `host` until it is queued.

        By the other clocks many steps are queued before the wait for the last.
        """
        if clock == "host":
            total = 0.0
            for _ in range(calls):
                start = time.perf_counter()
                self._start(1)
                total += time.perf_counter() - start
                jax.block_until_ready(self._params)
            return total / calls
        steps = calls if clock == "wall" else 20 * calls
        start = time.perf_counter()
        self.advance(steps)
        return (time.perf_counter() - start) / steps
