"""Module, Parameter and the containers."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradlite as gl
from gradlite import nn

OTHER_DEVICES = ("array_api_strict", "array_api_strict:device1", "torch:cpu")


@pytest.fixture(scope="module")
def torch() -> Any:
    return pytest.importorskip("torch")


@pytest.fixture(scope="module", params=OTHER_DEVICES)
def device(request: pytest.FixtureRequest) -> gl.Device:
    """Return a device of another array library, where that is installed."""
    pytest.importorskip(request.param.partition(":")[0])
    return gl.Device(request.param)


class Tied(nn.Module):
    """An autoencoder whose two matrices are one, with a batch norm between."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Linear(4, 3)
        self.norm = nn.BatchNorm1d(3)
        self.decode = nn.Linear(4, 3, bias=False)
        self.decode.weight = self.encode.weight

    def forward(self, x: gl.Tensor) -> gl.Tensor:
        return self.norm(self.encode(x)) @ self.decode.weight


class Tree(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(gl.ones(2))
        self.body = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
        self.register_buffer("mask", gl.ones(2), persistent=False)
        self.register_buffer("steps", gl.zeros((), dtype=gl.int64))
        self.register_buffer("absent", None)
        self.plain = gl.ones(2)


PARAMETERS = ["scale", "body.0.weight", "body.0.bias", "body.1.weight", "body.1.bias"]
STATE = [
    "scale",
    "steps",
    "body.0.weight",
    "body.0.bias",
    "body.1.weight",
    "body.1.bias",
    "body.1.running_mean",
    "body.1.running_var",
    "body.1.num_batches_tracked",
]


def values(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: np.array(t.cpu().numpy()) for name, t in module.state_dict().items()}


def assert_equal_states(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    assert list(a) == list(b)
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


# Parameter


def test_parameter_shares_the_memory_of_its_data() -> None:
    data = gl.zeros(3)
    parameter = nn.Parameter(data)
    with gl.no_grad():
        parameter.fill_(2.0)
    assert data.tolist() == [2.0, 2.0, 2.0]
    assert parameter.requires_grad
    assert not data.requires_grad
    assert isinstance(parameter, gl.Tensor)
    assert parameter.is_leaf


def test_parameter_of_a_computed_tensor_is_a_leaf() -> None:
    x = gl.ones(2, dtype=gl.float64)
    x.requires_grad_()
    parameter = nn.Parameter(x * 3)
    parameter.sum().backward()
    assert parameter.is_leaf
    assert parameter.grad is not None
    assert x.grad is None


def test_parameter_defaults_and_repr() -> None:
    assert nn.Parameter().shape == (0,)
    assert not nn.Parameter(gl.ones(1), requires_grad=False).requires_grad
    text = repr(nn.Parameter(gl.ones(2)))
    assert text == f"Parameter containing:\n{gl.tensor([1.0, 1.0], requires_grad=True)}"


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))]
)
@pytest.mark.parametrize("requires_grad", [True, False])
def test_parameter_copies_keep_class_and_flag(
    duplicate: Callable[[Any], Any], requires_grad: bool
) -> None:
    original = nn.Parameter(gl.tensor([1.0, 2.0]), requires_grad)
    twin = duplicate(original)
    assert type(twin) is nn.Parameter
    assert twin.requires_grad is requires_grad
    with gl.no_grad():
        twin.zero_()
    assert original.tolist() == [1.0, 2.0]


def test_results_of_a_parameter_are_plain_tensors() -> None:
    parameter = nn.Parameter(gl.ones(2))
    for result in (parameter * 2, parameter.detach(), parameter[0], parameter.clone()):
        assert type(result) is gl.Tensor


def test_integer_parameter_is_refused_unless_it_needs_no_gradient() -> None:
    with pytest.raises((TypeError, ValueError, RuntimeError), match="float"):
        nn.Parameter(gl.tensor([1, 2]))
    assert nn.Parameter(gl.tensor([1, 2]), requires_grad=False).dtype is gl.int64


# Finding


def test_names() -> None:
    tree = Tree()
    assert [name for name, _ in tree.named_parameters()] == PARAMETERS
    assert [name for name, _ in tree.named_parameters(recurse=False)] == ["scale"]
    assert [n for n, _ in tree.named_parameters(prefix="net", recurse=False)] == [
        "net.scale"
    ]
    assert [name for name, _ in tree.named_modules()] == [
        "",
        "body",
        "body.0",
        "body.1",
    ]
    assert [name for name, _ in tree.named_children()] == ["body"]
    assert [name for name, _ in tree.named_buffers()] == [
        "mask",
        "steps",
        "body.1.running_mean",
        "body.1.running_var",
        "body.1.num_batches_tracked",
    ]
    assert list(tree.state_dict()) == STATE
    assert next(iter(tree.state_dict(prefix="net."))) == "net.scale"


def test_parameters_is_a_generator() -> None:
    """SEED: optimizers are given `list(model.parameters())`."""
    parameters = Tree().parameters()
    assert next(parameters).shape == (2,)
    assert len(list(parameters)) == len(PARAMETERS) - 1


def test_tied_parameters_and_shared_modules_are_found_once() -> None:
    model = Tied()
    assert [name for name, _ in model.named_parameters()] == [
        "encode.weight",
        "encode.bias",
        "norm.weight",
        "norm.bias",
    ]
    both = [n for n, _ in model.named_parameters(remove_duplicate=False)]
    assert "decode.weight" in both
    assert "decode.weight" in model.state_dict()
    relu = nn.ReLU()
    twice = nn.Sequential(relu, relu)
    assert len(list(twice.modules())) == 2
    assert len(list(twice.children())) == 1
    assert len(list(twice.named_modules(remove_duplicate=False))) == 3


def test_get_by_name() -> None:
    tree = Tree()
    assert tree.get_submodule("") is tree
    assert tree.get_submodule("body.0") is tree.body[0]
    assert tree.get_parameter("body.0.weight") is tree.body[0].weight
    assert tree.get_buffer("body.1.running_mean") is tree.body[1].running_mean


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("get_submodule", "body.7"),
        ("get_submodule", "scale"),
        ("get_parameter", "body.0.nothing"),
        ("get_parameter", "mask"),
        ("get_buffer", "scale"),
        ("get_buffer", "absent"),
    ],
)
def test_get_by_a_wrong_name(method: str, target: str) -> None:
    with pytest.raises(AttributeError, match=target):
        getattr(Tree(), method)(target)


def test_missing_attribute_reads_as_in_python() -> None:
    with pytest.raises(
        AttributeError, match="'Tree' object has no attribute 'nothing'"
    ):
        Tree().nothing  # noqa: B018


# Registration


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("scale", gl.ones(2), "scale is a parameter"),
        ("body", gl.tanh, "body is a module"),
        ("steps", 3, "steps is a buffer"),
    ],
)
def test_registered_names_keep_their_kind(name: str, value: Any, words: str) -> None:
    tree = Tree()
    with pytest.raises(TypeError, match=words):
        setattr(tree, name, value)
    setattr(tree, name, None)
    assert not [n for n, _ in tree.named_parameters() if n == name]
    assert name not in tree.state_dict()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda m: m.register_parameter("a.b", None), KeyError, "a.b"),
        (lambda m: m.register_parameter("", None), KeyError, "non-empty"),
        (lambda m: m.register_parameter("scale", None), KeyError, "already has"),
        (lambda m: m.register_parameter("w", gl.ones(1)), TypeError, "nn.Parameter"),
        (lambda m: m.register_buffer("b", [1.0]), TypeError, "gl.tensor"),
        (lambda m: m.register_buffer("forward", None), KeyError, "forward"),
        (lambda m: m.add_module("child", gl.tanh), TypeError, "child"),
        (lambda m: setattr(m, "train", nn.ReLU()), KeyError, "train"),
        (lambda m: m.train(1), TypeError, "mode"),
        (lambda m: m.register_forward_hook(None), TypeError, "hook"),
        (lambda m: m.load_state_dict([1]), TypeError, "mapping"),
        (lambda m: m.to(gl.int64), TypeError, "floating"),
        (lambda m: m(1), NotImplementedError, "Tree has no forward"),
    ],
)
def test_misuse(call: Callable[[nn.Module], Any], error: type, words: str) -> None:
    tree = Tree()
    before = list(tree.state_dict())
    with pytest.raises(error, match=words):
        call(tree)
    assert list(tree.state_dict()) == before


def test_a_deleted_or_replaced_buffer_is_forgotten() -> None:
    tree = Tree()
    del tree.steps
    tree.steps = gl.ones(1)
    assert "steps" not in tree.state_dict()
    tree.mask = nn.Parameter(gl.ones(2))
    assert "mask" not in dict(tree.named_buffers())
    assert "mask" in dict(tree.named_parameters())


def test_init_of_the_base_class_may_come_late_or_never() -> None:
    class Late(nn.Module):
        def __init__(self) -> None:
            self.layer = nn.Linear(2, 2)
            super().__init__()

    @dataclasses.dataclass(eq=False)
    class Never(nn.Module):
        layer: nn.Module

    for module in (Late(), Never(nn.Linear(2, 2))):
        assert list(module.state_dict()) == ["layer.weight", "layer.bias"]
        assert module.eval().layer.training is False


# State


def test_state_dict_shares_storage_and_is_detached() -> None:
    layer = nn.Linear(2, 2)
    state = layer.state_dict()
    assert not state["weight"].requires_grad
    state["weight"].fill_(5.0)
    assert layer.weight.tolist() == [[5.0, 5.0], [5.0, 5.0]]


def test_load_state_dict_copies_into_storage() -> None:
    """SEED: it rebound the tensors, and the optimizer kept the old ones."""
    source, target = Tree(), Tree()
    source.steps.add_(7)
    held = dict(target.named_parameters())
    arrays = {name: p.detach() for name, p in held.items()}
    report = target.load_state_dict(source.state_dict())
    assert report == ([], [])
    assert report.missing_keys == []
    assert_equal_states(values(source), values(target))
    for name, parameter in target.named_parameters():
        assert parameter is held[name]
        np.testing.assert_array_equal(arrays[name].numpy(), parameter.detach().numpy())
    with gl.no_grad():
        source.scale.fill_(9.0)
    assert target.scale.tolist() == [1.0, 1.0]


def test_load_state_dict_reports_everything_and_loads_nothing() -> None:
    """SEED: shapes were not checked."""
    tree = Tree()
    before = values(tree)
    state: dict[str, Any] = {name: v + 1 for name, v in before.items()}
    del state["scale"], state["body.1.bias"]
    state["extra"] = np.ones(1)
    state["body.0.weight"] = np.ones((2, 3))
    state["body.0.bias"] = np.ones(3, complex)
    with pytest.raises(RuntimeError) as caught:
        tree.load_state_dict(state)
    message = str(caught.value)
    for part in ("scale", "body.1.bias", "extra", "strict=False", "complex128"):
        assert part in message
    assert "body.0.weight: the shape is (3, 2) in the module and (2, 3)" in message
    assert_equal_states(before, values(tree))
    with pytest.raises(RuntimeError, match=r"body\.0\.weight"):
        tree.load_state_dict(state, strict=False)
    assert_equal_states(before, values(tree))


def test_load_state_dict_of_a_part() -> None:
    tree = Tree()
    report = tree.load_state_dict({"scale": [3.0, 4.0], "extra": 1.0}, strict=False)
    assert report.unexpected_keys == ["extra"]
    assert report.missing_keys == STATE[1:]
    assert tree.scale.tolist() == [3.0, 4.0]


@pytest.mark.parametrize("library", ["numpy", "torch", "gradlite"])
@pytest.mark.parametrize("grad", [False, True])
def test_load_state_dict_takes_arrays_of_other_libraries(
    library: str, grad: bool
) -> None:
    layer = nn.Linear(2, 1, dtype=gl.float64)
    array = np.array([[1.0, 2.0]], np.float32)
    value: Any = array
    if library == "torch":
        value = pytest.importorskip("torch").from_numpy(array).requires_grad_(grad)
    elif library == "gradlite":
        pytest.importorskip("array_api_strict")
        value = gl.tensor(array, requires_grad=grad, device="array_api_strict")
    layer.load_state_dict({"weight": value, "bias": np.zeros(1)})
    assert layer.weight.tolist() == [[1.0, 2.0]]
    assert layer.weight.dtype is gl.float64
    assert layer.weight.device == "cpu"
    assert layer.weight.requires_grad


def test_load_state_dict_by_assignment_takes_over_dtype_and_memory() -> None:
    layer = nn.Linear(2, 1)
    weight = layer.weight
    array = np.zeros((1, 2))
    layer.load_state_dict({"weight": array, "bias": np.ones(1)}, assign=True)
    assert layer.weight is weight
    assert weight.dtype is gl.float64
    assert weight.requires_grad
    array += 3
    assert weight.tolist() == [[3.0, 3.0]]


# Modes, places and gradients


def test_train_eval_and_requires_grad() -> None:
    tree = Tree()
    assert all(module.training for module in tree.modules())
    assert tree.eval() is tree
    assert not any(module.training for module in tree.modules())
    assert all(module.training for module in tree.train().modules())
    assert tree.requires_grad_(False) is tree
    assert not any(p.requires_grad for p in tree.parameters())


@pytest.mark.parametrize("set_to_none", [True, False])
def test_zero_grad(set_to_none: bool) -> None:
    layer = nn.Linear(2, 1)
    layer.zero_grad(set_to_none)  # before the first backward
    layer(gl.ones((3, 2))).sum().backward()
    before = layer.weight.grad
    layer.zero_grad(set_to_none)
    if set_to_none:
        assert layer.weight.grad is None
    else:
        assert layer.weight.grad is before
        assert before.tolist() == [[0.0, 0.0]]


def test_apply_visits_children_first() -> None:
    seen: list[str] = []
    net = nn.Sequential(nn.ReLU(), nn.Sequential(nn.Tanh()))
    assert net.apply(lambda m: seen.append(type(m).__name__)) is net
    assert seen == ["ReLU", "Tanh", "Sequential", "Sequential"]


def test_to_another_device_keeps_the_parameters(device: gl.Device) -> None:
    model = Tied()
    model(gl.ones((2, 4))).sum().backward()
    held = list(model.parameters())
    grads = [np.array(p.grad.numpy()) for p in held]
    before = values(model)
    assert model.to(device) is model
    assert all(p is q for p, q in zip(model.parameters(), held, strict=True))
    for tensor in (*model.parameters(), *model.buffers()):
        assert tensor.device == device
    for parameter, grad in zip(held, grads, strict=True):
        assert parameter.grad.device == device
        np.testing.assert_array_equal(parameter.grad.cpu().numpy(), grad)
    assert model.decode.weight is model.encode.weight
    assert_equal_states(before, values(model))
    assert model(gl.ones((2, 4), device=device)).device == device
    assert model.cpu().encode.weight.device == "cpu"


def test_an_optimizer_outlives_loading_and_moving(device: gl.Device) -> None:
    gl.manual_seed(0)
    model, twin = nn.Linear(3, 1), nn.Linear(3, 1)
    optimizer = gl.optim.SGD(model.parameters(), lr=0.5)
    model.load_state_dict(twin.state_dict())
    model.to(device)
    model(gl.ones((1, 3), device=device)).sum().backward()
    optimizer.step()
    expected = [[w - 0.5 for w in twin.weight.tolist()[0]]]
    np.testing.assert_allclose(model.weight.tolist(), expected, rtol=1e-6)


def test_to_a_dtype_casts_floating_tensors_only() -> None:
    tree = Tree()
    weight = tree.body[0].weight
    assert tree.double() is tree
    assert weight is tree.body[0].weight
    assert weight.dtype is gl.float64
    assert weight.requires_grad
    assert tree.mask.dtype is gl.float64
    assert tree.steps.dtype is gl.int64
    tree.body(gl.ones((2, 2), dtype=gl.float64)).sum().backward()
    assert weight.grad.dtype is gl.float64
    assert tree.float().scale.dtype is gl.float32
    assert weight.grad.dtype is gl.float32
    assert tree.to("cpu", gl.float64).scale.dtype is gl.float64
    assert tree.to(gl.ones(1)).scale.dtype is gl.float32
    assert tree.to(dtype=gl.float64, device="cpu").scale.dtype is gl.float64


def test_to_an_unavailable_device_moves_nothing() -> None:
    tree = Tree()
    with pytest.raises(ValueError, match="nowhere"):
        tree.to("nowhere")
    assert all(t.device == "cpu" for t in tree.state_dict().values())


# Gradients together


@pytest.mark.parametrize("max_norm", [0.0, 0.5, 100.0, float("inf")])
def test_clip_grad_norm_returns_the_total_norm(max_norm: float) -> None:
    """SEED: it returned None."""
    rng = np.random.default_rng(0)
    arrays = rng.normal(size=(3, 4)), rng.normal(size=5)
    parameters = [nn.Parameter(gl.zeros_like(gl.asarray(a))) for a in arrays]
    for parameter, array in zip(parameters, arrays, strict=True):
        parameter.grad = gl.tensor(array)
    unused = nn.Parameter(gl.ones(2))
    tied = parameters[0]
    total = nn.utils.clip_grad_norm_([*parameters, unused, tied], max_norm)
    norm = np.sqrt(sum((a**2).sum() for a in arrays))
    assert total.item() == pytest.approx(norm)
    factor = min(1.0, max_norm / (norm + 1e-6))
    for parameter, array in zip(parameters, arrays, strict=True):
        np.testing.assert_allclose(parameter.grad.numpy(), array * factor, rtol=1e-12)
    assert unused.grad is None


def test_clip_grad_norm_over_devices_and_dtypes(device: gl.Device) -> None:
    here, there = nn.Parameter(gl.ones(9)), nn.Parameter(gl.ones(16, device=device))
    here.grad = gl.ones(9)
    there.grad = gl.ones(16, device=device)
    assert nn.utils.clip_grad_norm_([here, there], 1.0).item() == 5.0
    assert there.grad.device == device
    for parameter in (here, there):
        np.testing.assert_allclose(parameter.grad.cpu().numpy(), 0.2, rtol=1e-6)


@pytest.mark.parametrize("max_norm", [-1.0, float("nan")])
def test_clip_grad_norm_refuses(max_norm: float) -> None:
    with pytest.raises(ValueError, match=f"max_norm .* {max_norm}"):
        nn.utils.clip_grad_norm_([], max_norm)
    assert nn.utils.clip_grad_norm_(nn.Parameter(gl.ones(1)), 1.0).item() == 0.0


# Hooks


def test_hooks_see_and_change_arguments_and_output() -> None:
    net = nn.Identity()
    seen: list[Any] = []
    first = net.register_forward_pre_hook(lambda module, args: args[0] + 1)
    second = net.register_forward_pre_hook(lambda module, args: seen.append(args))
    third = net.register_forward_hook(lambda module, args, output: output * 10)
    assert net(2) == 30
    assert seen == [(3,)]
    first.remove()
    first.remove()
    assert net(2) == 20
    with third:
        pass
    second.remove()
    assert net(2) == 2
    assert seen == [(3,), (2,)]


def test_hooks_with_keyword_arguments() -> None:
    class Scale(nn.Module):
        def forward(self, x: int, *, by: int) -> int:
            return x * by

    net = Scale()
    net.register_forward_pre_hook(
        lambda module, args, kwargs: (args, {"by": kwargs["by"] + 1}), with_kwargs=True
    )
    net.register_forward_hook(
        lambda module, args, kwargs, output: (output, kwargs["by"]), with_kwargs=True
    )
    assert net(2, by=3) == (8, 4)


def test_a_hook_may_remove_itself() -> None:
    net, calls = nn.Identity(), []

    def once(module: nn.Module, args: Any, output: Any) -> None:
        calls.append(output)
        handle.remove()

    handle = net.register_forward_hook(once)
    net.register_forward_hook(lambda module, args, output: calls.append(-output))
    net(1)
    net(2)
    assert calls == [1, -1, -2]


# Copies


@pytest.mark.parametrize(
    "duplicate",
    [copy.deepcopy, *(
        lambda m, p=protocol: pickle.loads(pickle.dumps(m, p)) for protocol in (2, 5)
    )],
)  # fmt: skip
def test_copies_are_independent_and_stay_tied(duplicate: Callable[[Any], Any]) -> None:
    rng = np.random.default_rng(0)
    x = gl.tensor(rng.normal(size=(5, 4)), dtype=gl.float32)
    model = Tied()
    model(x).sum().backward()
    twin = duplicate(model)
    assert type(twin) is Tied
    assert twin.decode.weight is twin.encode.weight
    assert_equal_states(values(model), values(twin))
    np.testing.assert_array_equal(model(x).detach().numpy(), twin(x).detach().numpy())
    before = values(model)
    with gl.no_grad():
        for tensor in (*twin.parameters(), *twin.buffers()):
            tensor.zero_()
    assert_equal_states(before, values(model))


def test_a_moved_copied_tied_normalized_model_trains_alike(device: gl.Device) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(8, 4))
    model = Tied().double()
    moved = pickle.loads(pickle.dumps(copy.deepcopy(model))).to(device)
    for place, net in (("cpu", model), (device, moved)):
        data = gl.tensor(x, device=place)
        for _ in range(3):
            net.zero_grad()
            ((net(data) - data) ** 2).mean().backward()
            with gl.no_grad():
                for parameter in net.parameters():
                    parameter.add_(parameter.grad * -0.1)
    for key, value in values(model).items():
        np.testing.assert_allclose(values(moved)[key], value, rtol=1e-12, atol=1e-14)


# Printing


def zoo(nn: Any) -> Any:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding="same", bias=False),
        nn.Conv2d(2, 6, (5, 3), stride=2, padding=2, dilation=2, groups=2),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Sequential(nn.ReLU(), nn.Tanh(), nn.Sigmoid()),
        nn.LeakyReLU(0.1),
        nn.Softmax(1),
        nn.LogSoftmax(1),
        nn.Linear(3, 4),
        nn.Identity(),
        nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2), nn.ReLU()]),
        nn.ModuleDict({"a": nn.ReLU(), "b": nn.Sequential()}),
        nn.CrossEntropyLoss(),
        nn.MSELoss(),
    )


def test_repr_is_pytorchs(torch: Any) -> None:
    assert repr(zoo(nn)) == repr(zoo(torch.nn))


def test_repr_of_an_own_module() -> None:
    class Own(nn.Module):
        def extra_repr(self) -> str:
            return "first\nsecond"

    own = Own()
    own.child = nn.ReLU()
    assert repr(own) == "Own(\n  first\n  second\n  (child): ReLU()\n)"


# Containers


def kinds(modules: Any) -> str:
    return "".join(type(module).__name__[0] for module in modules)


def test_sequential_runs_in_order() -> None:
    net = nn.Sequential(*(nn.Identity() for _ in range(3)))
    for i, layer in enumerate(net):
        layer.register_forward_hook(lambda m, args, output, i=i: output * 10 + i)
    assert net(1) == 1012
    assert nn.Sequential()(5) == 5


@pytest.mark.parametrize("container", [nn.Sequential, lambda *m: nn.ModuleList(m)])
def test_edits_by_position(container: Callable[..., Any]) -> None:
    net = container(nn.ReLU(), nn.Tanh(), nn.Sigmoid())
    assert len(net) == 3
    assert kinds(net) == "RTS"
    assert type(net[-1]) is nn.Sigmoid
    assert kinds(net[1:]) == "TS"
    assert kinds(net.append(nn.Dropout())) == "RTSD"
    assert kinds(net.insert(1, nn.Flatten())) == "RFTSD"
    assert kinds(net.extend([nn.Identity()])) == "RFTSDI"
    del net[0]
    del net[-2:]
    assert kinds(net) == "FTS"
    net[0] = nn.LeakyReLU()
    assert kinds(net) == "LTS"
    assert [name for name, _ in net.named_children()] == ["0", "1", "2"]
    for index in (3, -4):
        with pytest.raises(IndexError, match=str(index)):
            net[index]
    with pytest.raises(TypeError, match="holds modules, got function"):
        net.append(lambda x: x)
    assert kinds(net) == "LTS"


def test_named_sequential() -> None:
    net = nn.Sequential(OrderedDict(a=nn.Linear(2, 2), b=nn.ReLU()))
    assert net.a is net[0]
    assert list(net[:1].state_dict()) == ["a.weight", "a.bias"]
    net.append(nn.Linear(2, 1))
    assert [name for name, _ in net.named_children()] == ["a", "b", "2"]


def test_slices_keep_the_names_and_share_the_modules() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    tail = net[1:]
    assert list(tail.state_dict()) == ["1.weight", "1.bias"]
    assert tail[0] is net[1]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: nn.Sequential([nn.ReLU()]), r"Sequential\(\*modules\)"),
        (lambda: nn.Sequential(nn.ReLU), "'0' of Sequential"),
        (lambda: nn.ModuleList([gl.tanh]), "ModuleList holds modules"),
        (lambda: nn.ModuleDict({"a": 1}), "'a' of ModuleDict"),
        (lambda: nn.ModuleDict(a=1), "unexpected keyword"),
        (lambda: nn.ReLU(3, 4), "positional argument"),
    ],
)
def test_containers_hold_modules_only(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        make()


def test_module_dict() -> None:
    modules = nn.ModuleDict({"a": nn.ReLU()})
    modules["b"] = nn.Linear(2, 2)
    modules.update([("c", nn.Tanh())])
    modules["a"] = nn.Sigmoid()
    assert list(modules) == list(modules.keys()) == ["a", "b", "c"]
    assert kinds(modules.values()) == "SLT"
    assert [key for key, _ in modules.items()] == ["a", "b", "c"]
    assert list(modules.state_dict()) == ["b.weight", "b.bias"]
    assert "b" in modules
    assert kinds([modules.pop("b")]) == "L"
    assert len(modules) == 2
    with pytest.raises(KeyError):
        modules["b"]
    with pytest.raises(KeyError, match="keys"):
        modules["keys"] = nn.ReLU()
    with pytest.raises(TypeError, match="'a' of ModuleDict"):
        modules["a"] = None
    modules.clear()
    assert len(modules) == 0
