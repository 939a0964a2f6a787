"""Errors are raised at the call: their type, and what their text names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradlite as gl
from gradlite import ops

X = gl.tensor([[1.0, 2.0], [3.0, 4.0]])
V = gl.tensor([1.0, 2.0, 3.0])
N = gl.tensor([1, 2, 3])
IMAGE, KERNEL = gl.ones((1, 2, 4, 4)), gl.ones((4, 2, 3, 3))
POOL = {"kernel_size": (2, 2), "stride": (2, 2)}

CALLS: list[tuple[str, Callable[[], Any], type[Exception], str]] = [
    # What is no tensor
    ("list", lambda: gl.sin([1.0]), TypeError, r"sin.*'x'.*list.*gl\.tensor"),
    ("list, second", lambda: gl.add(X, [1.0]), TypeError, r"add.*'x2'.*list"),
    ("list by operator", lambda: X - [1.0], TypeError, r"subtract.*'x2'.*list"),
    ("text", lambda: gl.exp("1"), TypeError, r"exp.*'x'.*str"),
    ("None", lambda: gl.exp(None), TypeError, r"exp.*'x'.*None"),
    ("tensor for a list", lambda: gl.concat(X), TypeError, r"arrays.*list.*Tensor"),
    ("list in a list", lambda: gl.stack([X, [1.0]]), TypeError, r"'arrays'.*list"),
    ("nothing to join", lambda: gl.concat([]), ValueError, r"arrays.*at least one"),
    # Arguments that are not there, or too many
    ("PyTorch's dim", lambda: gl.sum(X, dim=0), TypeError, r"sum.*'dim'.*axis"),
    ("unknown", lambda: gl.exp(X, out=X), TypeError, r"exp.*'out'"),
    ("missing", lambda: gl.reshape(X), TypeError, r"reshape.*missing.*'shape'"),
    ("missing operand", lambda: gl.add(X), TypeError, r"add.*missing.*'x2'"),
    ("too many", lambda: gl.exp(X, X), TypeError, r"exp.*at most 1.*got 2"),
    ("by position", lambda: gl.sum(X, 0), TypeError, r"sum.*at most 1.*got 2"),
    ("twice", lambda: gl.reshape(X, 4, shape=4), TypeError, r"two values.*'shape'"),
    # Gradients of integers
    ("integer leaf", lambda: gl.tensor([1], requires_grad=True), TypeError,
     r"requires_grad.*floating.*int64.*astype"),
    ("integer zeros", lambda: gl.zeros(2, dtype=gl.int32, requires_grad=True),
     TypeError, r"requires_grad.*int32"),
    ("bool leaf", lambda: gl.tensor([True]).requires_grad_(), TypeError,
     r"requires_grad.*bool"),
    # Shapes
    *(
        (f"{f.__name__} of other shapes", lambda f=f: f(X, V), ValueError, r"\(2, ?2\)")
        for f in (gl.add, gl.subtract, gl.multiply, gl.divide, gl.maximum, gl.hypot)
    ),
    ("operator", lambda: X * V, ValueError, r"\(2, ?2\).*\(3,\)"),
    ("comparison", lambda: X < V, ValueError, r"\(2, ?2\).*\(3,\)"),
    ("where", lambda: gl.where(X > 0, V, 0.0), ValueError, r"\(2, ?2\).*\(3,\)"),
    ("matmul", lambda: X @ V, ValueError, r"3 is different from 2"),
    ("reshape", lambda: gl.reshape(X, (3, 2)), ValueError, r"size 4.*\(3, ?2\)"),
    ("broadcast_to", lambda: gl.broadcast_to(X, (3, 2)), ValueError, r"\(3, ?2\)"),
    ("squeeze", lambda: gl.squeeze(X, 0), ValueError, r"axis"),
    ("permute_dims", lambda: gl.permute_dims(X, (0,)), ValueError, r"axes"),
    ("tensordot", lambda: gl.tensordot(X, V, axes=2), ValueError, r"axes.*0 to 1.* 2"),
    ("take", lambda: gl.take(X, N), ValueError, r"axis.*\(2, 2\)"),
    ("max of nothing", lambda: gl.max(gl.zeros(0)), ValueError, r"zero-size"),
    ("cumulative_sum", lambda: gl.cumulative_sum(X), ValueError, r"axis"),
    ("repeat", lambda: gl.repeat(X, -1), ValueError, r"repeats.*-1"),
    ("pad, too few", lambda: gl.pad(X, ((1, 1),)), ValueError, r"widths.*2 axes"),
    ("pad, negative", lambda: gl.pad(V, ((-1, 1),)), ValueError, r"widths.*-1"),
    ("item", lambda: X.item(), ValueError, r"\(2, 2\).*tolist"),
    ("tril of a vector", lambda: gl.tril(V), ValueError, r"two axes.*\(3,\)"),
    ("triu of a number", lambda: gl.triu(V[0]), ValueError, r"two axes.*\(\)"),
    ("nonzero of a number", lambda: gl.nonzero(V[0]), ValueError, r"one axis.*\(\)"),
    ("searchsorted in a matrix", lambda: gl.searchsorted(X, V), ValueError,
     r"x1 must have one axis.*\(2, 2\)"),
    ("broadcast_shapes", lambda: gl.broadcast_shapes((2, 3), (4,)), ValueError,
     r"\(2, ?3\).*\(4,\)"),
    ("broadcast_arrays", lambda: gl.broadcast_arrays(X, V), ValueError,
     r"\(2, ?2\).*\(3,\)"),
    ("meshgrid of a matrix", lambda: gl.meshgrid(V, X), ValueError, r"1-D.*\(2, 2\)"),
    ("cumulative_prod", lambda: gl.cumulative_prod(X), ValueError, r"axis"),
    ("repeats of another size", lambda: gl.repeat(V, N[:2]), ValueError,
     r"repeats.*\(3,\).*\(2,\)"),
    ("negative repeats", lambda: gl.repeat(V, -N), ValueError, r"repeats.*negative"),
    ("axes twice", lambda: gl.expand_dims(X, (0, -4)), ValueError, r"twice.*\(0, -4\)"),
    # Choices
    ("side", lambda: gl.searchsorted(V, V, side="middle"), ValueError,
     r"side.*'left'.*'middle'"),
    ("indexing", lambda: gl.meshgrid(V, indexing="yx"), ValueError, r"'ij'.*'yx'"),
    ("n of diff", lambda: gl.diff(V, n=-1), ValueError, r"n must be.*-1"),
    # Axes
    *(
        (f"{f.__name__} over axis 2", lambda f=f: f(X, axis=2), IndexError, r"axis 2")
        for f in (
            gl.sum, gl.mean, gl.prod, gl.max, gl.min, gl.var, gl.std, gl.all, gl.any,
            gl.argmax, gl.argmin, gl.sort, gl.argsort, gl.softmax, gl.log_softmax,
            gl.logsumexp, gl.cumulative_sum, gl.cumulative_prod, gl.diff, gl.flip,
            gl.unstack,
        )
    ),
    ("negative axis", lambda: gl.sum(X, axis=-3), IndexError, r"axis -3.*2"),
    ("axis of concat", lambda: gl.concat([X, X], axis=2), IndexError, r"axis 2"),
    ("axis of stack", lambda: gl.stack([X, X], axis=3), IndexError, r"axis 3"),
    ("axis of take", lambda: gl.take(X, N, axis=2), IndexError, r"axis 2"),
    ("axis of moveaxis", lambda: gl.moveaxis(X, 0, 2), IndexError, r"axis 2"),
    ("axis of expand_dims", lambda: gl.expand_dims(X, (0, 4)), IndexError,
     r"\(0, 4\).*4 axes"),
    ("axis of repeat", lambda: gl.repeat(X, 2, axis=2), IndexError, r"axis 2"),
    ("index", lambda: X[2], IndexError, r"2.*axis 0.*size 2"),
    ("indices", lambda: X[0, 0, 0], IndexError, r"too many"),
    ("float index", lambda: X[0.5], IndexError, r"integers"),
    ("axes of tensordot", lambda: gl.tensordot(X, X, axes=([5], [0])), IndexError,
     r"range|axis"),
    # Dtypes
    ("no dtype", lambda: gl.astype(X, None), TypeError, r"dtype.*None"),
    ("complex to real", lambda: gl.astype(X * 1j, gl.float32), TypeError,
     r"float32.*gl\.real"),
    ("imag of real", lambda: gl.imag(X), TypeError, r"complex.*float32"),
    ("one_hot of floats", lambda: gl.one_hot(X, 3), TypeError, r"integers.*float32"),
    ("dtype", lambda: gl.zeros(2, dtype="float33"), TypeError, r"dtype.*float33"),
    ("finfo", lambda: gl.finfo(gl.int8), TypeError, r"floating.*int8.*iinfo"),
    ("iinfo", lambda: gl.iinfo(X), TypeError, r"integer.*float32"),
    ("result_type", lambda: gl.result_type(1, 2.0), ValueError, r"tensor or a dtype"),
    ("can_cast", lambda: gl.can_cast("real", gl.int8), TypeError, r"dtype.*'real'"),
    ("repeats of floats", lambda: gl.repeat(V, V), TypeError, r"integers.*float32"),
    ("kind", lambda: gl.isdtype(gl.float32, "float"), ValueError, r"kind.*'float'"),
    # Creation
    ("shape", lambda: gl.zeros(-1), ValueError, r"shape.*-1"),
    ("shape of floats", lambda: gl.ones((2, 1.5)), ValueError, r"shape.*1\.5"),
    ("fill_value", lambda: gl.full(2, X), TypeError, r"fill_value.*without axes"),
    ("step", lambda: gl.arange(0, 3, 0), ValueError, r"step.*0"),
    ("num", lambda: gl.linspace(0, 1, -1), ValueError, r"num.*-1"),
    ("device", lambda: gl.zeros(2, device="gpu"), ValueError, r"'gpu'.*cpu.*cuda"),
    ("ragged", lambda: gl.tensor([[1.0], [1.0, 2.0]]), ValueError, r"lists of equal"),
    ("object", lambda: gl.tensor({"a": 1}), TypeError, r"dict"),
    # Windows
    ("no batch", lambda: ops.conv2d(IMAGE[0], KERNEL), ValueError, r"\(2, 4, 4\)"),
    ("channels", lambda: ops.conv2d(IMAGE, KERNEL, groups=2), ValueError,
     r"2 channels.*groups=2.*4"),
    ("small image", lambda: ops.conv2d(IMAGE, KERNEL, dilation=(2, 2)), ValueError,
     r"4x4.*5x5.*dilation \(2, 2\)"),
    ("pool of 3 axes", lambda: ops.max_pool2d(IMAGE[0], **POOL), ValueError,
     r"max_pool2d.*\(2, 4, 4\)"),
    ("pool of 2 axes", lambda: ops.avg_pool2d(X, **POOL), ValueError, r"avg_pool2d"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("call", "error", "pattern"), [c[1:] for c in CALLS], ids=[c[0] for c in CALLS]
)
def test_error(call: Callable[[], Any], error: type[Exception], pattern: str) -> None:
    with pytest.raises(error, match=f"(?s){pattern}"):
        call()


# Two devices

OTHER = "array_api_strict"
MIXED: dict[str, Callable[[gl.Tensor, gl.Tensor], Any]] = {
    "add": gl.add,
    "operator": lambda x, y: x * y,
    "in place": lambda x, y: x.__iadd__(y),
    "matmul": gl.matmul,
    "concat": lambda x, y: gl.concat([x, y]),
    "where": lambda x, y: gl.where(x > 0, x, y),
    "take": lambda x, y: gl.take(x, y.astype(gl.int64), axis=0),
    "index": lambda x, y: x[y > 0],
    "write": lambda x, y: x.__setitem__(0, y),
    "copysign": gl.copysign,
    "searchsorted": gl.searchsorted,
    "isin": gl.isin,
    "meshgrid": gl.meshgrid,
    "broadcast_arrays": gl.broadcast_arrays,
    "diff": lambda x, y: gl.diff(x, append=y),
    "repeat": lambda x, y: gl.repeat(x, y.astype(gl.int64)),
}


@pytest.mark.parametrize("call", MIXED.values(), ids=MIXED.keys())
def test_mixed_devices(call: Callable[[gl.Tensor, gl.Tensor], Any]) -> None:
    x, y = gl.ones(2), gl.ones(2, device=OTHER)
    with pytest.raises(gl.DeviceMismatchError, match=r"cpu") as caught:
        call(x, y)
    assert OTHER in str(caught.value)
    assert ".to('cpu')" in str(caught.value)


def test_two_devices_of_one_library() -> None:
    x, y = (gl.ones(2, device=f"{OTHER}:{name}") for name in ("CPU_DEVICE", "device1"))
    with pytest.raises(gl.DeviceMismatchError, match=r"device1.*\.to\("):
        x + y


# NumPy's arrays and scalars are welcome where a tensor is


def test_arrays_are_operands() -> None:
    x = np.ones(2, dtype=np.float32)
    y = gl.tensor([1.0, 2.0])
    for z in (y + x, x + y, gl.add(y, x), gl.add(x, y)):
        assert isinstance(z, gl.Tensor)
        assert z.tolist() == [2.0, 3.0]


@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize("kind", [np.matrix, np.ma.masked_array])
def test_refused_arrays(kind: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match=r"matrix|Masked"):
        gl.add(gl.ones((1, 1)), kind([[1.0]]))
