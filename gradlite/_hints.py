"""What other libraries call the things that are here under the standard's names."""

from __future__ import annotations

from typing import NoReturn

FUNCTIONS = {
    "amax": "max", "amin": "min", "arccos": "acos", "arcsin": "asin", "arctan": "atan",
    "arctan2": "atan2", "as_tensor": "asarray", "array": "asarray", "bmm": "matmul",
    "cat": "concat", "clamp": "clip", "concatenate": "concat",
    "cumsum": "cumulative_sum", "div": "divide", "from_numpy": "asarray",
    "mm": "matmul", "mul": "multiply", "neg": "negative", "permute": "permute_dims",
    "power": "pow", "sub": "subtract", "transpose": "permute_dims",
    "unbind": "unstack", "unsqueeze": "expand_dims", "view": "reshape",
}  # fmt: skip

METHODS = {
    "add": "+", "clamp": ".clip()", "conj": "gl.conj()", "copy": ".clone()",
    "cos": "gl.cos()", "cumsum": "gl.cumulative_sum()", "dim": ".ndim",
    "div": "/", "dot": "@", "double": ".astype(gl.float64)", "eq": "==",
    "expand": ".broadcast_to()",
    "float": ".astype(gl.float32)", "half": ".astype(gl.float16)",
    "imag": "gl.imag()", "int": ".astype(gl.int32)", "isnan": "gl.isnan()",
    "long": ".astype(gl.int64)", "mul": "*", "numel": ".size",
    "norm": "gl.linalg.vector_norm()", "permute": ".permute_dims()", "pow": "**",
    "ravel": ".reshape(-1)", "real": "gl.real()", "repeat": "gl.tile()",
    "sin": "gl.sin()", "softmax": "gl.nn.functional.softmax()",
    "square": "gl.square()", "sub": "-",
    "t": ".T", "transpose": ".mT or .permute_dims()", "type": ".astype()",
    "unsqueeze": ".expand_dims()", "view": ".reshape()",
}  # fmt: skip


def missing_function(name: str) -> AttributeError:
    """Return the error for `gl.name`."""
    hint = f"; it is called gl.{FUNCTIONS[name]} here" if name in FUNCTIONS else ""
    return AttributeError(f"module 'gradlite' has no attribute {name!r}{hint}")


class MissingMethod:
    """A method that is not there: to ask for it raises an error that names the fix.

    Parameters
    ----------
    name : str
        One of `METHODS`.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type) -> NoReturn:
        raise AttributeError(
            f"'Tensor' object has no attribute {self._name!r}; write"
            f" {METHODS[self._name]} instead"
        )


class MissingMethods:
    """Has all `METHODS`, as things that are not there.

    A `__getattr__` could say the same, but with one Python looks up every attribute of
    a tensor slowly, which costs the graph and the optimizers a tenth of their time.
    """

    __slots__ = ()

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if name not in METHODS]


for _name in METHODS:
    setattr(MissingMethods, _name, MissingMethod(_name))
