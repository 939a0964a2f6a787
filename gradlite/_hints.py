"""What other libraries call the things that are here under the standard's names."""

from __future__ import annotations

FUNCTIONS = {
    "amax": "max", "amin": "min", "arccos": "acos", "arcsin": "asin", "arctan": "atan",
    "arctan2": "atan2", "as_tensor": "asarray", "array": "tensor", "bmm": "matmul",
    "cat": "concat", "clamp": "clip", "concatenate": "concat",
    "cumsum": "cumulative_sum", "div": "divide", "from_numpy": "asarray",
    "mm": "matmul", "mul": "multiply", "neg": "negative", "permute": "permute_dims",
    "power": "pow", "sub": "subtract", "transpose": "permute_dims",
    "unbind": "unstack", "unsqueeze": "expand_dims", "view": "reshape",
}  # fmt: skip

METHODS = {
    "add": "+", "clamp": ".clip()", "cumsum": "gl.cumulative_sum()", "dim": ".ndim",
    "div": "/", "double": ".astype(gl.float64)", "eq": "==",
    "expand": ".broadcast_to()",
    "float": ".astype(gl.float32)", "half": ".astype(gl.float16)",
    "long": ".astype(gl.int64)", "mul": "*", "numel": ".size",
    "permute": ".permute_dims()", "pow": "**", "repeat": "gl.tile()", "sub": "-",
    "t": ".T", "transpose": ".mT or .permute_dims()", "type": ".astype()",
    "unsqueeze": ".expand_dims()", "view": ".reshape()",
}  # fmt: skip


def missing_function(name: str) -> AttributeError:
    """Return the error for `gl.name`."""
    hint = f"; it is called gl.{FUNCTIONS[name]} here" if name in FUNCTIONS else ""
    return AttributeError(f"module 'gradlite' has no attribute {name!r}{hint}")


def missing_method(name: str) -> AttributeError:
    """Return the error for `tensor.name`."""
    hint = f"; write {METHODS[name]} instead" if name in METHODS else ""
    return AttributeError(f"'Tensor' object has no attribute {name!r}{hint}")
