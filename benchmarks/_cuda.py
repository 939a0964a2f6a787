"""Clocks for work on a GPU: the host's time and the device's own, apart."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import Any

SOURCE = r"""
extern "C" __global__ void benchmark_limit(float4* p, const float4* g, float4* v,
                                           long long n) {
  long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
  if (i >= n) return;
  float4 a = p[i], b = g[i], c = v[i];
  c = make_float4(b.x - c.x, b.y - c.y, b.z - c.z, b.w - c.w);
  v[i] = c;
  p[i] = make_float4(c.x - a.x, c.y - a.y, c.z - a.z, c.w - a.w);
}

extern "C" __global__ void benchmark_spin(long long nanoseconds) {
  long long start, now;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(start));
  do {
    asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
  } while (now - start < nanoseconds);
}
"""

FLUSHED = 1 << 28
"""Bytes that are written before each measurement: more than a cache holds."""

THREADS = 256


@cache
def _kernels() -> Any:
    import cupy

    return cupy.RawModule(code=SOURCE)


def limit(p: Any, g: Any, v: Any) -> None:
    """Write ``v = g - v`` and ``p = v - p``; the arrays hold a multiple of four."""
    import numpy as np

    n = p.size // 4
    kernel = _kernels().get_function("benchmark_limit")
    kernel((-(-n // THREADS),), (THREADS,), (p, g, v, np.int64(n)))


@cache
def _scratch() -> Any:
    import cupy

    return cupy.empty(FLUSHED, dtype=cupy.uint8)


def host_seconds(function: Callable[[], object], calls: int) -> float:
    """Return the mean time until `function` returns, each time with an empty queue."""
    import cupy

    total = 0.0
    for _ in range(calls):
        cupy.cuda.runtime.deviceSynchronize()
        start = time.perf_counter()
        function()
        total += time.perf_counter() - start
    cupy.cuda.runtime.deviceSynchronize()
    return total / calls


def device_seconds(function: Callable[[], object], calls: int) -> float:
    """Return the mean time that a GPU works on what `function` launches.

    The cache is emptied before each call, and the GPU kept busy until all of it is
    queued, so that it never waits for the host in between.
    """
    import cupy
    import numpy as np

    spin = _kernels().get_function("benchmark_spin")
    start, end = cupy.cuda.Event(), cupy.cuda.Event()
    queueing = host_seconds(function, 1)
    total = 0.0
    for _ in range(calls):
        _scratch().fill(0)
        spin((1,), (1,), (np.int64(2e9 * queueing + 1e5),))
        start.record()
        function()
        end.record()
        end.synchronize()
        total += cupy.cuda.get_elapsed_time(start, end) / 1e3
    return total / calls
