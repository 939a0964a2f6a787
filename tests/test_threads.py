"""The threads of CPU updates: how many, which parts, and what may go wrong."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from gradlite.backends import _threads

ROOT = Path(__file__).parent.parent
N = 1000


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Divide small ranges too, and put the setting back."""
    monkeypatch.setattr(_threads, "GRAIN", 16)
    monkeypatch.setattr(_threads, "THRESHOLD", 100)
    monkeypatch.setattr(_threads, "_count", 1)


def parts(n: int) -> list[tuple[int, int, str]]:
    """Return the parts into which a range is divided, and who does them."""
    found = []

    def note(start: int, stop: int) -> None:
        found.append((start, stop, threading.current_thread().name))

    _threads.run(note, n)
    return sorted(found)


@pytest.mark.parametrize("n", [0, 1, 99, 100, 101, 112, 113, N, 4096])
@pytest.mark.parametrize("threads", [1, 2, 3, 50])
def test_parts_cover_the_range(n: int, threads: int) -> None:
    _threads.set_num_threads(threads)
    found = parts(n)
    assert found[0][0] == 0
    assert [part[1] for part in found] == [*(part[0] for part in found[1:]), n]
    assert all(start % 16 == 0 for start, _, _ in found)
    assert len(found) == (1 if n < 100 else min(threads, -(-n // 16)))


def test_the_caller_does_one_part() -> None:
    _threads.set_num_threads(3)
    (_, _, first), *others = parts(N)
    assert first == threading.current_thread().name
    assert all(name.startswith("gradlite") for _, _, name in others)


def test_parts_run_at_the_same_time() -> None:
    _threads.set_num_threads(3)
    barrier = threading.Barrier(3, timeout=10)  # raises if they do not meet
    _threads.run(lambda start, stop: barrier.wait(), N)


@pytest.mark.parametrize("where", [0, N - 1])
def test_errors_reach_the_caller_after_all_parts_have_ended(where: int) -> None:
    _threads.set_num_threads(2)
    ended = []

    def fail(start: int, stop: int) -> None:
        if start <= where < stop:
            raise ZeroDivisionError(str(start))
        time.sleep(0.05)
        ended.append(start)

    with pytest.raises(ZeroDivisionError):
        _threads.run(fail, N)
    assert len(ended) == 1
    assert len(parts(N)) == 2  # and the pool still works


def test_users_of_several_threads_and_sizes() -> None:
    """Each call ends when its own parts have, while the pool grows."""
    wrong = []

    def use(count: int) -> None:
        for _ in range(50):
            _threads.set_num_threads(count)
            seen = [0] * N

            def mark(start: int, stop: int, seen: list[int] = seen) -> None:
                for i in range(start, stop):
                    seen[i] += 1

            _threads.run(mark, N)
            wrong.extend(i for i, times in enumerate(seen) if times != 1)

    users = [threading.Thread(target=use, args=(i,)) for i in (2, 3, 5)]
    for user in users:
        user.start()
    for user in users:
        user.join(timeout=30)
    assert not any(user.is_alive() for user in users)
    assert wrong == []


FORK = """
import os, sys
from gradlite.backends import _threads
_threads.THRESHOLD = 10
_threads.GRAIN = 1
_threads.set_num_threads(2)
_threads.run(lambda a, b: None, 100)
_threads._lock.acquire()  # as another thread might at the moment of the fork
child = os.fork()
if child == 0:
    found = []
    _threads.run(lambda a, b: found.append(b - a), 100)
    os._exit(0 if sorted(found) == [50, 50] else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def fresh(code: str, **environment: str) -> str:
    """Run code in a fresh interpreter and return what it printed."""
    variables = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**variables, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_forked_child_has_a_pool_of_its_own() -> None:
    assert fresh(FORK) == "0"


# The setting


@pytest.mark.parametrize("wanted", ["", "0", "-2", "2,1", "many"])
def test_the_default_is_the_cores_but_four_at_most(
    wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", wanted)
    monkeypatch.setattr(_threads, "_count", None)
    cores = (
        len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count() or 1
    )
    assert _threads.get_num_threads() == min(4, cores)


@pytest.mark.parametrize("wanted", [1, 3, 12])
def test_the_environment_sets_the_default(
    wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", str(wanted))
    monkeypatch.setattr(_threads, "_count", None)
    assert _threads.get_num_threads() == wanted


def test_a_setting_counts_more_than_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    _threads.set_num_threads(2)
    assert _threads.get_num_threads() == 2


@pytest.mark.parametrize(
    ("bad", "error"),
    [(0, ValueError), (-1, ValueError), (1.0, TypeError), (True, TypeError)],
)
def test_a_bad_number_is_refused(bad: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="n must be an integer of at least 1, got"):
        _threads.set_num_threads(bad)
    assert _threads.get_num_threads() == 1


def test_the_pool_is_imported_when_it_is_needed() -> None:
    code = "import gradlite, sys; print('concurrent.futures' in sys.modules)"
    assert fresh(code) == "False"
