"""The recording mode: whether operations build a graph, and what they note in it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextvars import ContextVar
from types import TracebackType
from typing import Any, NamedTuple, TypeVar, cast

from gradlite._arguments import boolean

F = TypeVar("F", bound=Callable[..., Any])


class Mode(NamedTuple):
    """What the dispatcher asks about the current thread or task."""

    recording: bool = True
    anomaly: bool = False


MODE: ContextVar[Mode] = ContextVar("gradlite_mode", default=Mode())  # noqa: B039 - immutable


class _Setting:
    """A context that changes the mode, also usable as a decorator.

    It holds for the thread or async task that entered it, nests, and restores the mode
    that it found, on exceptions too. A decorated generator runs in it, and its caller's
    mode is back at each yield; a decorated coroutine runs in it too.
    """

    def __init__(self, *misplaced: object) -> None:
        if misplaced:
            name = type(self).__name__
            raise TypeError(
                f"{name}() takes no argument, got {misplaced[0]!r}; decorate with "
                f"@{name}(), parentheses included"
            )
        self._found: list[Mode] = []

    def _change(self, mode: Mode) -> Mode:
        raise NotImplementedError

    def __enter__(self) -> None:
        found = MODE.get()
        self._found.append(found)
        MODE.set(self._change(found))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        MODE.set(self._found.pop())

    def _fresh(self) -> _Setting:
        return type(self)()

    def __call__(self, function: F, /) -> F:
        if isinstance(function, type) or not callable(function):
            raise TypeError(
                f"{type(self).__name__}() decorates functions, got {function!r}; "
                "decorate the methods that are to run in it"
            )
        if inspect.isasyncgenfunction(function):
            raise TypeError(
                f"{type(self).__name__}() cannot decorate an asynchronous generator, "
                f"got {function!r}; use a with block between its yields"
            )
        if inspect.isgeneratorfunction(function):
            return cast(F, self._decorate_generator(function))
        if inspect.iscoroutinefunction(function):
            return cast(F, self._decorate_coroutine(function))

        @functools.wraps(function)
        def decorated(*args: Any, **kwargs: Any) -> Any:
            with self._fresh():
                return function(*args, **kwargs)

        return cast(F, decorated)

    def _decorate_coroutine(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        async def decorated(*args: Any, **kwargs: Any) -> Any:
            with self._fresh():
                return await function(*args, **kwargs)

        return decorated

    def _decorate_generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def decorated(*args: Any, **kwargs: Any) -> Any:
            generator = function(*args, **kwargs)
            step, value = generator.send, None
            try:
                while True:
                    with self._fresh():
                        item = step(value)
                    try:
                        value = yield item
                        step = generator.send
                    except GeneratorExit:
                        raise
                    except BaseException as error:
                        step, value = generator.throw, error
            except StopIteration as stop:
                return stop.value
            finally:
                with self._fresh():
                    generator.close()

        return decorated


class no_grad(_Setting):  # noqa: N801 - PyTorch's name
    """Build no graph inside: results do not require grad.

    A context manager and a decorator.

    Examples
    --------
    >>> x = gl.tensor(2.0, requires_grad=True)
    >>> with gl.no_grad():
    ...     (x * x).requires_grad
    False
    """

    def _change(self, mode: Mode) -> Mode:
        return mode._replace(recording=False)


class enable_grad(_Setting):  # noqa: N801 - PyTorch's name
    """Build the graph inside, also within `no_grad`. A context and a decorator."""

    def _change(self, mode: Mode) -> Mode:
        return mode._replace(recording=True)


class set_grad_enabled(_Setting):  # noqa: N801 - PyTorch's name
    """Build the graph inside or not.

    As a context it restores the previous mode on leaving; as a plain call it changes
    the mode of the current thread or task from here on.

    Parameters
    ----------
    mode : bool
        Whether to build the graph.
    """

    def __init__(self, mode: bool, /) -> None:
        super().__init__()
        self._mode = boolean("mode", mode)
        self._before: Mode | None = MODE.get()
        MODE.set(self._change(self._before))

    def _change(self, mode: Mode) -> Mode:
        return mode._replace(recording=self._mode)

    def __enter__(self) -> None:
        before, self._before = self._before, None
        if before is None:  # entered a second time
            super().__enter__()
        else:
            self._found.append(before)

    def __call__(self, function: F, /) -> F:
        if self._before is not None:  # the call was meant as a decorator only
            MODE.set(self._before)
            self._before = None
        return super().__call__(function)

    def _fresh(self) -> _Setting:
        return enable_grad() if self._mode else no_grad()


class detect_anomaly(_Setting):  # noqa: N801 - PyTorch's name
    """Find the operation whose derivative is NaN.

    Operations recorded inside note the line of the user's code that called them, and
    `backward` inside raises a RuntimeError that names the operation and that line as
    soon as its derivative has a NaN. Slow: each derivative is read back.
    """

    def _change(self, mode: Mode) -> Mode:
        return mode._replace(anomaly=True)


def is_grad_enabled() -> bool:
    """Return whether operations build a graph in the current thread or task."""
    return MODE.get().recording
