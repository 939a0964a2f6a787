"""Threads of the CPU updates: a flat range in a few parts, one on the calling thread.

Array code and numba's `nogil` kernels run beside each other; nothing here is
parallel inside a kernel.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING

from gradlite._arguments import integer

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

GRAIN = 1 << 17
"""Parts begin at multiples of this many elements."""

THRESHOLD = 1 << 21
"""Elements from which on a range is divided: threads then gain more than they cost."""

MOST = 4
"""Threads without a setting: a few saturate the memory."""

_count: int | None = None
_pool: ThreadPoolExecutor | None = None
_pool_size = 0
_lock = Lock()


def get_num_threads() -> int:
    """Return how many threads a large update on the CPU uses.

    Until `set_num_threads` is called this is the environment's `OMP_NUM_THREADS`, or
    the number of usable cores, but at most 4: memory is the limit, not arithmetic.
    """
    global _count
    if _count is None:
        _count = _default()
    return _count


def set_num_threads(n: int) -> None:
    """Set how many threads a large update on the CPU uses; results do not depend on it.

    Parameters
    ----------
    n : int
        At least 1, which keeps everything on the calling thread.

    Raises
    ------
    TypeError, ValueError
        If `n` is no integer of at least 1.
    """
    global _count
    _count = integer("n", n)


def _default() -> int:
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if wanted.isdecimal() and int(wanted) > 0:
        return int(wanted)
    if sys.version_info >= (3, 13):
        usable = os.process_cpu_count() or 1
    elif sys.platform == "linux":
        usable = len(os.sched_getaffinity(0))
    else:
        usable = os.cpu_count() or 1
    return min(MOST, usable)


def run(function: Callable[[int, int], object], n: int) -> None:
    """Call `function` with the bounds of the parts that make up ``range(n)``.

    Parameters
    ----------
    function : callable
        Takes the start and the stop of a part; called once, or at the same time from
        several threads when `n` is large.
    n : int
        The length of the range.
    """
    grains = -(-n // GRAIN)
    count = min(get_num_threads(), grains) if n >= THRESHOLD else 1
    if count <= 1:
        function(0, n)
        return
    bounds = [grains * i // count * GRAIN for i in range(count)] + [n]
    from concurrent.futures import wait  # here, since it takes 10 ms to import

    pool = _workers(count - 1)
    others = [pool.submit(function, *bounds[i : i + 2]) for i in range(1, count)]
    try:
        function(*bounds[:2])
    finally:
        wait(others)  # they use the caller's arrays
    for other in others:
        other.result()


def _workers(count: int) -> ThreadPoolExecutor:
    """Return a pool of at least `count` threads, which idle until they are needed."""
    from concurrent.futures import ThreadPoolExecutor

    global _pool, _pool_size
    with _lock:
        if _pool is None or _pool_size < count:
            # Whoever still uses a smaller pool keeps it alive.
            _pool = ThreadPoolExecutor(count, thread_name_prefix="gradlite")
            _pool_size = count
        return _pool


def _forget() -> None:
    """Start anew in a child process, which has inherited no threads."""
    global _pool, _lock
    _pool, _lock = None, Lock()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_forget)
