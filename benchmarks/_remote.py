"""Objects in fresh processes, whose thread pools and memory are their own.

The parent calls methods by lines of JSON: a list of the method's name and its arguments
goes out, and `{"result": ...}` or `{"error": ...}` comes back.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[1]


class Remote:
    """An object in a process of its own.

    Parameters
    ----------
    target : str
        Its class, as in `benchmarks._jax:Jax`.
    *arguments : object
        For the class; like all arguments and results they pass through JSON.
    environment : dict of str, optional
        Variables to set for the process.
    folder : Path, optional
        Where the process looks for packages first.
    """

    def __init__(
        self,
        target: str,
        *arguments: Any,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self._target = target
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                __name__,
                target,
                *([str(folder)] if folder else []),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
        )
        try:
            self.call("__init__", *arguments)
        except BaseException:
            self.close()
            raise

    def call(self, method: str, *arguments: Any) -> Any:
        """Return what a method returns.

        Raises
        ------
        RuntimeError
            If it raises, with its traceback, or if the process has ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(
                json.dumps([method, *arguments]), file=self._process.stdin, flush=True
            )
        except BrokenPipeError:
            answer = ""
        else:
            answer = self._process.stdout.readline()
        if not answer:
            code = self._process.wait()
            raise RuntimeError(f"the process of {self._target} ended with code {code}")
        found = json.loads(answer)
        if "error" in found:
            raise RuntimeError(f"in the process of {self._target}:\n{found['error']}")
        return found["result"]

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _serve(target: str, folder: str = "") -> None:
    """Answer the parent until it closes the pipe."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no answer
    if folder:
        sys.path.insert(0, folder)
    module, _, name = target.partition(":")
    served: Any = None
    for line in sys.stdin:
        method, *arguments = json.loads(line)
        try:
            if method == "__init__":
                served = getattr(import_module(module), name)(*arguments)
                result = None
            else:
                result = getattr(served, method)(*arguments)
            answer = {"result": result}
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    _serve(*sys.argv[1:])
