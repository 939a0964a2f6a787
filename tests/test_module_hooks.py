"""Backward hooks of modules: PyTorch's, compared with PyTorch where it is installed."""

from __future__ import annotations

import copy
import functools
import pickle
import warnings
import weakref
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradlite as gl
from gradlite import nn
from gradlite.autograd import checkpoint, grad

Pair = namedtuple("Pair", "left right")
Log = list[Any]


@pytest.fixture(scope="module")
def torch() -> Any:
    return pytest.importorskip("torch")


class Calling(nn.Module):
    """A module whose forward is a function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


def leaf(*values: float) -> gl.Tensor:
    return gl.tensor(values or (1.0, 2.0), dtype=gl.float64, requires_grad=True)


def plain(value: Any) -> Any:
    """Return a hook's gradients, and everything else that a test compares, as lists."""
    if isinstance(value, tuple | list):
        return [plain(part) for part in value]
    if value is None or isinstance(value, str):
        return value
    return np.asarray(value.detach().tolist()).round(12).tolist()


def watch(module: Any, log: Log, name: str = "") -> None:
    """Note what both kinds of hooks are called with."""
    module.register_full_backward_pre_hook(
        lambda module, out: log.append((f"{name}before", plain(out)))
    )
    module.register_full_backward_hook(
        lambda module, into, out: log.append((f"{name}after", plain(into), plain(out)))
    )


# Each function computes with operators only, of the leaves x and y and the constant c,
# and gives what goes to `backward`.
BEHIND: dict[str, tuple[Callable[..., Any], tuple[str, ...], Callable[[Any], Any]]] = {
    "tensor": (lambda x: x * x, ("x",), lambda out: out),
    "two inputs": (lambda x, y: x * y + x, ("x", "y"), lambda out: out),
    "one tensor twice": (lambda x, y: x * y, ("x", "x"), lambda out: out),
    "no tensors": (lambda x, k, s, n: x * k, ("x", 3.0, "s", None), lambda out: out),
    "a tuple": (lambda x: (x * 2, x * 3), ("x",), lambda out: out[0] + out[1] * 5),
    "half of a tuple": (lambda x: (x * 2, x * 3), ("x",), lambda out: out[1]),
    "twice the same": (lambda x: (x * 2,) * 2, ("x",), lambda out: out[0] + out[1] * 5),
    "members": (lambda x: (7, x * 2, None, "s"), ("x",), lambda out: out[1]),
    "named": (lambda x: Pair(x * 2, x * 3), ("x",), lambda out: out.left * out.right),
    "deeper": (lambda x: (x * 2, (x * 3,)), ("x",), lambda out: out[0] + out[1][0]),
    "the input": (lambda x: x, ("x",), lambda out: out),
    "used twice": (lambda x: x * x, ("x",), lambda out: out * 2 + out * out),
    "a list of inputs": (lambda xs: xs[0] * 2, (["x"],), lambda out: out),
}


def leaves(torch: Any) -> dict[str, Any]:
    return {
        "x": torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True),
        "y": torch.tensor([3.0, 4.0], dtype=torch.float64, requires_grad=True),
    }


def trace(
    make: Callable[[Callable[..., Any]], Any],
    named: dict[str, Any],
    case: str,
    register: Callable[[Any, Log], None],
) -> list[Any]:
    """Return what hooks saw and what the leaves got."""
    function, args, result = BEHIND[case]
    module, log = make(function), []
    register(module, log)

    def fill(arg: Any) -> Any:
        if isinstance(arg, list):
            return [fill(part) for part in arg]
        return named.get(arg, arg)

    result(module(*map(fill, args))).sum().backward()
    return [log, [plain(x.grad) for x in named.values()]]


def double(module: Any, log: Log) -> None:
    module.register_full_backward_hook(
        lambda module, into, out: tuple(g if g is None else 2 * g for g in into)
    )
    watch(module, log)


def scale_before(module: Any, log: Log) -> None:
    watch(module, log)
    module.register_full_backward_pre_hook(
        lambda module, out: tuple(g if g is None else 10 * g for g in out)
    )
    module.register_full_backward_pre_hook(
        lambda module, out: [g if g is None else g + 1 for g in out]
    )


def stop(module: Any, log: Log) -> None:
    watch(module, log)
    module.register_full_backward_hook(lambda module, into, out: (None,) * len(into))
    watch(module, log)


@pytest.mark.parametrize("register", [watch, double, scale_before, stop])
@pytest.mark.parametrize("case", BEHIND)
@pytest.mark.filterwarnings("ignore:Full backward hook is firing:UserWarning")
def test_hooks_are_called_as_in_torch(
    torch: Any, case: str, register: Callable[[Any, Log], None]
) -> None:
    def torchs(function: Callable[..., Any]) -> Any:
        class Same(torch.nn.Module):  # type: ignore[misc, name-defined]
            def forward(self, *args: Any) -> Any:
                return function(*args)

        return Same()

    expected = trace(torchs, leaves(torch), case, register)
    own = {"x": leaf(1.0, 2.0), "y": leaf(3.0, 4.0)}
    assert trace(Calling, own, case, register) == expected


LAYERS: dict[str, tuple[Callable[[Any], Any], tuple[int, ...]]] = {
    "linear": (lambda nn: nn.Linear(3, 2), (4, 3)),
    "convolution": (lambda nn: nn.Conv2d(2, 3, 2), (2, 2, 4, 4)),
    "batch norm": (lambda nn: nn.BatchNorm1d(3), (4, 3)),
    "sequential": (
        lambda nn: nn.Sequential(
            nn.Linear(3, 4), nn.Tanh(), nn.Sequential(nn.Linear(4, 2), nn.Sigmoid())
        ),
        (5, 3),
    ),
}


@pytest.mark.parametrize("needs_input", [True, False])
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.filterwarnings("ignore:Full backward hook is firing:UserWarning")
def test_hooks_of_layers_see_what_torch_s_see(
    torch: Any, layer: str, needs_input: bool
) -> None:
    make, shape = LAYERS[layer]
    theirs = make(torch.nn).double()
    ours = make(nn).double()
    ours.load_state_dict(theirs.state_dict())
    values = np.random.default_rng(3).normal(size=shape)
    found = []
    for library, model in ((torch, theirs), (gl, ours)):
        log: Log = []
        for name, module in model.named_modules():
            watch(module, log, name)
        x = library.tensor(values, requires_grad=needs_input)
        (model(x) ** 2).sum().backward()
        found.append((log, [p.grad for p in model.parameters()]))
    (expected, their_grads), (log, grads) = found
    assert len(log) == 2 * len(list(ours.modules()))
    for (name, *seen), (their_name, *their_seen) in zip(log, expected, strict=True):
        assert name == their_name
        for ours_, theirs_ in zip(seen, their_seen, strict=True):
            for g, h in zip(ours_, theirs_, strict=True):
                assert (g is None) == (h is None)
                if g is not None:
                    np.testing.assert_allclose(g, h, rtol=1e-9, atol=1e-12)
    for g, h in zip(grads, their_grads, strict=True):
        np.testing.assert_allclose(g.numpy(), h.numpy(), rtol=1e-9, atol=1e-12)


# Which arguments and results are seen


def test_what_needs_no_gradient_has_none() -> None:
    log: Log = []
    module = Calling(lambda c, x, i, unused: c * x[i])
    watch(module, log)
    x, unused = leaf(), leaf()
    module(gl.ones(2), x, gl.tensor([1, 0]), unused).sum().backward()
    assert log == [
        ("before", [[1.0, 1.0]]),
        ("after", [None, [1.0, 1.0], None, None], [[1.0, 1.0]]),
    ]
    assert unused.grad is None  # hooks that only look change nothing


@pytest.mark.parametrize("make", [list, OrderedDict, dict, tuple])
def test_members_of_lists_and_dicts_are_seen(make: Any) -> None:
    def forward(x: gl.Tensor) -> Any:
        parts = [("a", x * 2.0), ("b", None), ("c", x * 3.0)]
        return make(parts if issubclass(make, dict) else (p for _, p in parts))

    log: Log = []
    module = Calling(forward)
    watch(module, log)
    out = module(leaf())
    assert type(out) is make
    last = out["c"] if issubclass(make, dict) else out[2]
    last.sum().backward()
    assert log == [
        ("before", [None, None, [1.0, 1.0]]),
        ("after", [[3.0, 3.0]], [None, None, [1.0, 1.0]]),
    ]


def test_keyword_arguments_are_not_seen() -> None:
    log: Log = []
    module = Calling(lambda x=None: x * 2.0)
    watch(module, log)
    x = leaf()
    module(x=x).sum().backward()
    assert log[-1] == ("after", [], [[1.0, 1.0]])
    assert x.grad.tolist() == [2.0, 2.0]


@pytest.mark.parametrize("output", [3, "text", None, {1.0}])
def test_other_outputs_are_not_seen_and_that_is_said(output: Any) -> None:
    module = Calling(lambda x: output)
    watch(module, [])
    with pytest.warns(UserWarning, match="hooks of Calling do not see") as caught:
        assert module(leaf()) is output
    assert caught[0].filename == __file__


def test_nothing_is_called_where_nothing_is_recorded() -> None:
    log: Log = []
    module = Calling(lambda x, c: c * 2.0)
    watch(module, log)
    x, c = leaf(), gl.ones(2)
    assert module(x, c).requires_grad is False
    with gl.no_grad():
        inside = []
        module.function = lambda x, c: inside.append(x) or x * 2.0
        assert module(x, c).requires_grad is False
    assert inside[0] is x
    assert log == []


def test_a_gradient_by_parameters_only_calls_what_comes_before() -> None:
    log: Log = []
    model = nn.Linear(2, 1).double()
    watch(model, log)
    x = leaf()
    gl.autograd._api.grad(model(x).sum(), [model.weight])
    assert [kind for kind, *_ in log] == ["before"]


def test_tensors_on_two_devices_are_refused() -> None:
    module = Calling(lambda x, y: x * 2.0)
    watch(module, [])
    other = gl.ones(2, device="array_api_strict", requires_grad=True)
    with pytest.raises(gl.DeviceMismatchError, match=r"array_api_strict.*move one"):
        module(leaf(), other)
    assert module(leaf(), other.detach()).requires_grad


# What hooks return


BAD: list[tuple[str, Any, str]] = [
    ("hook", lambda *_: (1.0, 2.0), r"hook of Calling returned 2 .* grad_input.* 1"),
    ("hook", lambda *_: (), r"returned 0 gradients for grad_input, which has 1"),
    ("hook", lambda *_: (gl.ones(3),), r"grad_input\[0\].*Calling has shape \(3,\)"),
    ("hook", lambda *_: "text", r"returned 4 gradients for grad_input|grad_input\[0\]"),
    ("pre_hook", lambda *_: gl.ones(3), r"grad_output\[0\].*shape \(3,\).*\(2,\)"),
    ("pre_hook", lambda *_: (None,) * 2, r"returned 2 gradients for grad_output"),
]


@pytest.mark.parametrize(("kind", "hook", "message"), BAD)
def test_what_cannot_be_a_gradient_is_refused(
    kind: str, hook: Callable[..., Any], message: str
) -> None:
    module = Calling(lambda x: x * 2.0)
    getattr(module, f"register_full_backward_{kind}")(hook)
    x = leaf()
    with pytest.raises((ValueError, TypeError), match=message):
        module(x).sum().backward()
    assert x.grad is None


def test_a_gradient_where_none_is_needed_is_refused(torch: Any) -> None:
    module = Calling(lambda c: c * w)
    module.register_full_backward_hook(lambda *_: gl.ones(2))
    w = leaf()
    with pytest.raises(ValueError, match=r"grad_input\[0\], which has none"):
        module(gl.ones(2)).sum().backward()


@pytest.mark.parametrize("result", [np.ones(2), gl.ones(2), [gl.ones(2)]])
def test_arrays_and_single_tensors_are_gradients_too(result: Any) -> None:
    module = Calling(lambda x: x * 2.0)
    module.register_full_backward_hook(lambda *_: result)
    x = leaf()
    module(x).sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]
    assert x.grad.dtype is gl.float64


def test_a_hook_may_write_into_its_gradients_and_keep_them() -> None:
    x, w = leaf(), leaf()
    module = Calling(lambda x: x + w)  # both operands have one gradient
    kept: Log = []

    def clear(module: Any, into: Any, out: Any = (None,)) -> None:
        into[0][0] *= 0.0
        kept.extend((into[0], out[0]))

    with module.register_full_backward_hook(clear):
        out = module(x)
    ((out + x) * 3.0).sum().backward()
    assert x.grad.tolist() == [3.0, 6.0]
    assert w.grad.tolist() == [3.0, 3.0]
    assert [g.tolist() for g in kept] == [[0.0, 3.0], [3.0, 3.0]]
    x.grad = w.grad = None
    with module.register_full_backward_pre_hook(clear):
        out = module(x)
    ((out + x) * 3.0).sum().backward()
    assert x.grad.tolist() == [3.0, 6.0]
    assert w.grad.tolist() == [0.0, 3.0]
    assert kept[0].tolist() == [0.0, 3.0]
    owners = [g.array for g in (x.grad, w.grad, *kept) if g is not None]
    for i, array in enumerate(owners):
        assert not any(np.shares_memory(array, other) for other in owners[:i])


# Handles and copies


def test_hooks_run_in_order_and_can_be_removed() -> None:
    module, log = Calling(lambda x: x * 2.0), []
    handles = [
        module.register_full_backward_hook(functools.partial(note, log, i))
        for i in range(3)
    ]
    module(leaf()).sum().backward()
    handles[1].remove()
    module(leaf()).sum().backward()
    with module.register_full_backward_pre_hook(functools.partial(note, log, 3)):
        out = module(leaf())
    out.sum().backward()  # the call was made while the hook was there
    module(leaf()).sum().backward()
    assert log == [0, 1, 2, 0, 2, 3, 0, 2, 0, 2]
    with pytest.raises(TypeError, match="hook must be callable, got 3"):
        module.register_full_backward_hook(3)  # type: ignore[arg-type]


def note(log: Log, name: Any, *_: Any) -> None:
    log.append(name)


SEEN: Log = []


@pytest.mark.parametrize(
    "again", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_copies_have_the_hooks_of_their_own(again: Callable[[Any], Any]) -> None:
    SEEN.clear()
    model = nn.Linear(2, 1)
    model.register_full_backward_hook(print_shapes)
    model.register_full_backward_pre_hook(print_shapes)
    twin = again(model)
    twin.register_full_backward_hook(print_shapes)
    twin(gl.ones((3, 2), requires_grad=True)).sum().backward()
    assert SEEN == [(3, 1), (3, 2), (3, 2)]
    assert model.weight.grad is None
    model(gl.ones((3, 2), requires_grad=True)).sum().backward()
    assert len(SEEN) == 5


def print_shapes(module: nn.Module, *gradients: Any) -> None:
    SEEN.append(gradients[0][0].shape)


def test_an_unpickled_hook_is_not_replaced_by_a_new_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = nn.Identity()
    first = model.register_forward_hook(lambda module, args, out: out + 1)
    keys = iter([first.key, first.key + 1])  # as another process counts them
    monkeypatch.setattr(gl.autograd.RemovableHandle, "_next_key", keys.__next__)
    model.register_forward_hook(lambda module, args, out: out * 10)
    assert model(1) == 20


# Together with the rest


def test_writing_in_place_means_what_it_means_without_hooks() -> None:
    def run(hooked: bool) -> list[Any]:
        def forward(x: gl.Tensor) -> gl.Tensor:
            x *= 3.0
            x[0] = x[1] * x[1]
            return x

        module, log = Calling(forward), []
        if hooked:
            watch(module, log)
        x = leaf(2.0, 5.0)
        y = x * x
        view = y[:1]
        out = module(y)
        out += 1.0
        (out * out).sum().backward()
        assert len(log) == 2 * hooked
        return [plain(v) for v in (y, view, out, x.grad)]

    assert run(hooked=True) == run(hooked=False)


def test_leaves_are_protected_from_writing_in_place() -> None:
    module = Calling(lambda x: x.__iadd__(1.0))
    watch(module, [])
    with pytest.raises(RuntimeError, match="a leaf that requires grad"):
        module(leaf())


def test_a_write_outside_of_the_graph_is_noticed() -> None:
    module = Calling(lambda x: x * x)
    watch(module, [])
    x = leaf()
    out = module(x)
    with gl.no_grad():
        x += 1.0
    with pytest.raises(RuntimeError, match="changed in place"):
        out.sum().backward()


def test_derivatives_of_derivatives() -> None:
    module, log = Calling(lambda x: x * x * x), []
    watch(module, log)
    third = grad(grad(grad(lambda x: gl.sum(module(x)))))
    assert float(third(np.array(2.0))) == 6.0
    x = leaf(2.0)
    (slope,) = gl.autograd._api.grad(module(x).sum(), [x], create_graph=True)
    log.clear()
    slope.sum().backward()
    assert x.grad.tolist() == [12.0]
    assert log == []  # past the output: as in torch


def test_what_a_hook_computes_is_recorded(torch: Any) -> None:
    def squared(module: Any, into: Any, out: Any) -> Any:
        return (into[0] * into[0],)

    def cubed(module: Any, out: Any) -> Any:
        return (out[0] * out[0] * out[0],)

    class Square(torch.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, x: Any) -> Any:
            return x * x

    found = []
    for library, module, derive in (
        (torch, Square(), torch.autograd.grad),
        (gl, Calling(lambda x: x * x), gl.autograd._api.grad),
    ):
        module.register_full_backward_hook(squared)
        module.register_full_backward_pre_hook(cubed)
        x = library.tensor([1.0, 2.0], dtype=library.float64, requires_grad=True)
        y = module(x)
        (first,) = derive((y * y).sum(), [x], create_graph=True)
        (second,) = derive(first.sum(), [x])
        found.append((plain(first), plain(second)))
    assert found[0] == found[1]


def test_hooks_in_a_checkpoint_are_called_once() -> None:
    found = []
    for run in (lambda f, x: f(x), checkpoint):
        model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)).double()
        for p in model.parameters():
            with gl.no_grad():
                p.fill_(0.3)
        log: Log = []
        for name, module in model.named_modules():
            watch(module, log, name)
        x = leaf(1.0, -2.0)
        run(model, x).sum().backward()
        found.append((log, plain(x.grad), [plain(p.grad) for p in model.parameters()]))
    assert found[0] == found[1]
    assert len(found[0][0]) == 8


@pytest.mark.parametrize("walks", [1, 3])
def test_each_walk_calls_hooks_once(walks: int) -> None:
    module, log = Calling(lambda x: (x * 2.0, x * 3.0)), []
    watch(module, log)
    first, second = module(leaf())
    for _ in range(walks):
        (first * second).sum().backward(retain_graph=True)
    assert [kind for kind, *_ in log] == ["before", "after"] * walks


def test_a_hook_that_raises_leaves_no_gradient() -> None:
    def fail(*_: Any) -> None:
        raise KeyError("no")

    module = Calling(lambda x: x * 2.0)
    with module.register_full_backward_hook(fail):
        x = leaf()
        out = module(x).sum()
    with pytest.raises(KeyError):
        out.backward(retain_graph=True)
    assert x.grad is None


@pytest.mark.usefixtures("no_collector")
def test_hooks_keep_nothing_alive() -> None:
    module, refs = Calling(lambda x: gl.exp(x) * 2.0), []

    def remember(module: Any, into: Any, out: Any) -> None:
        refs.extend(map(weakref.ref, into + out))

    module.register_full_backward_hook(remember)
    x = leaf()
    y = x * 1.0
    refs.append(weakref.ref(y))
    out = module(y)
    del y
    assert refs[0]() is None
    out.sum().backward()
    del out
    assert [ref() for ref in refs] == [None] * 3


def test_modules_without_hooks_get_their_arguments_themselves() -> None:
    module = Calling(lambda x: x)
    x = leaf()
    assert module(x) is x
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert module("text") == "text"
