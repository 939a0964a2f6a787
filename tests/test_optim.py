"""Optimizers: groups, state, checkpoints, skipped steps, and what goes wrong."""

from __future__ import annotations

import copy
import math
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradlite as gl
from gradlite.optim import SGD, Optimizer


def parameter(values: Any = (1.0, -2.0), **options: Any) -> gl.Tensor:
    return gl.tensor(values, requires_grad=True, **options)


def host(tensor: gl.Tensor) -> Any:
    return tensor.detach().cpu().numpy()


def descend(optimizer: Optimizer, params: list[gl.Tensor], steps: int) -> None:
    """Minimise a quadratic function of all parameters for some steps."""
    for _ in range(steps):
        optimizer.zero_grad()
        for param in params:
            (param * param * 0.5).sum().backward()
        optimizer.step()


# Construction


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda p, q: [p, q], None),
        (lambda p, q: (p, q), None),
        (lambda p, q: (x for x in (p, q)), None),
        (lambda p, q: {"a": p, "b": q}.items(), ["a", "b"]),
        (lambda p, q: iter([("a", p), ("b", q)]), ["a", "b"]),
        (lambda p, q: [{"params": [p, q]}], None),
        (lambda p, q: [{"params": (x for x in (p, q))}], None),
        (lambda p, q: [{"params": [("a", p), ("b", q)]}], ["a", "b"]),
    ],
)
def test_params_come_in_many_forms(
    make: Callable[..., Any], names: list[str] | None
) -> None:
    p, q = parameter(), parameter()
    (group,) = SGD(make(p, q)).param_groups
    assert [id(x) for x in group["params"]] == [id(p), id(q)]
    assert group.get("param_names") == names


def test_a_group_has_its_own_options_and_the_defaults() -> None:
    p, q = parameter(), parameter()
    given = {"params": p, "lr": 0.5, "label": "head"}
    optimizer = SGD([given, {"params": [q]}], lr=0.1, momentum=0.9)
    first, second = optimizer.param_groups
    assert (first["lr"], first["momentum"], first["label"]) == (0.5, 0.9, "head")
    assert (second["lr"], second["momentum"]) == (0.1, 0.9)
    assert sorted(given) == ["label", "lr", "params"]  # the caller's dict is untouched


def complex_parameter() -> gl.Tensor:
    return gl.tensor(np.ones(2, dtype=np.complex64), requires_grad=True)


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        (list, ValueError, "params is empty"),
        (lambda: iter(()), ValueError, "params is empty"),
        (parameter, TypeError, r"an iterable of tensors, got one; pass \[tensor\]"),
        (lambda: {parameter()}, TypeError, "order, got a set"),
        (lambda: [{"params": {parameter()}}], TypeError, "order, got a set"),
        (lambda: {"params": [parameter()]}, TypeError, r"got a dict; pass \[group\]"),
        (lambda: SGD, TypeError, r"got type; pass model.parameters\(\)"),
        (lambda: 3, TypeError, "got int"),
        (lambda: [np.ones(2)], TypeError, "got numpy.ndarray at position 0"),
        (lambda: [parameter(), {"params": []}], TypeError, "got dict at position 1"),
        (
            lambda: [{"params": []}, parameter()],
            TypeError,
            "param_group must be a dict",
        ),
        (lambda: [{"lr": 1.0}], ValueError, r"entry 'params', got only \['lr'\]"),
        (lambda: [{"params": [], "max_norm": 1.0}], ValueError, "max_norm bounds"),
        (lambda: [parameter() * 2], ValueError, "leaves, got parameter 0 of group 0"),
        (
            lambda: [gl.arange(3)],
            TypeError,
            "got parameter 0 of group 0 of dtype int64",
        ),
        (lambda: [complex_parameter()], TypeError, "complex64"),
        (lambda: [("a", parameter()), parameter()], ValueError, "1 names for 2"),
        (lambda: [(1, parameter())], TypeError, "names in params must be str, got 1"),
    ],
)
def test_bad_params_are_named(
    params: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        SGD(params())


def test_a_parameter_belongs_to_one_group() -> None:
    p, q = parameter(), parameter()
    with pytest.raises(
        ValueError, match="parameter 1 of group 1 is in an earlier group"
    ):
        SGD([{"params": [p]}, {"params": [q, p]}])


def test_a_parameter_listed_twice_is_updated_once() -> None:
    p, q = parameter([1.0]), parameter([1.0])
    with pytest.warns(UserWarning, match="more than once"):
        optimizer = SGD([("a", p), ("b", q), ("c", p)], lr=0.25)
    assert optimizer.param_groups[0]["param_names"] == ["a", "b"]
    p.grad = gl.ones(1)
    optimizer.step()
    assert p.item() == 0.75


def test_names_are_given_in_all_groups_or_in_none() -> None:
    optimizer = SGD([("a", parameter())])
    with pytest.raises(ValueError, match="got group 1 without names after others with"):
        optimizer.add_param_group({"params": [parameter()]})
    assert len(optimizer.param_groups) == 1
    optimizer.add_param_group({"params": [("b", parameter())]})
    assert len(optimizer.param_groups) == 2


NUMBERS = {
    "lr": ([0, 0.0, 1e3, np.float32(0.1), np.int64(1)], [-1e-9, math.nan, math.inf]),
    "momentum": ([0, 0.999], [1.0, -0.1, math.nan, 2]),
    "dampening": ([0, 1], [-0.1, 1.5, math.nan]),
    "weight_decay": ([0, 10.0], [-1, math.inf]),
    "alpha": ([0, 10.0], [-1, math.nan]),
    "max_norm": ([None, 1e-3, 5], [0, -1.0, math.inf, math.nan]),
}


@pytest.mark.parametrize(
    ("name", "value"), [(n, v) for n, (good, _) in NUMBERS.items() for v in good]
)
def test_numbers_in_range_are_accepted(name: str, value: Any) -> None:
    SGD([parameter()], **{name: value})


@pytest.mark.parametrize(
    ("name", "value"), [(n, v) for n, (_, bad) in NUMBERS.items() for v in bad]
)
def test_numbers_out_of_range_are_named(name: str, value: float) -> None:
    """SEED: `assert lr >= 0` is gone under `python -O`, and `lr=inf` passed."""
    message = (
        rf"{name} must be a finite number in .*, got {re.escape(str(float(value)))}"
    )
    with pytest.raises(ValueError, match=message):
        SGD([parameter()], **{name: value})
    if name != "max_norm":
        with pytest.raises(ValueError, match=message):
            SGD([{"params": [parameter()], name: value}])


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [True, "0.1", [0.1], 1j, np.ones(2)], ids=repr)
def test_numbers_of_another_type_are_named(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"{name} must be a number"):
        SGD([parameter()], **{name: value})


@pytest.mark.parametrize(
    "name", ["nesterov", "maximize", "decoupled_weight_decay", "proximal"]
)
@pytest.mark.parametrize("value", [1, None, "yes"])
def test_flags_are_booleans(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"{name} must be True or False, got {value!r}"):
        SGD([parameter()], **{name: value})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nesterov": True}, "nesterov=True needs a momentum"),
        ({"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "no dampening"),
        ({"proximal": True}, r"got alpha=0.0 in all groups"),
        ({"proximal": True, "alpha": 0.1, "dampening": 0.1}, "dampening=0.1"),
        (
            {"proximal": True, "alpha": 0.1, "nesterov": True, "momentum": 0.5},
            "nesterov=True",
        ),
        (
            {"proximal": True, "alpha": 0.1, "momentum_form": "torch"},
            "momentum_form='torch'",
        ),
        ({"momentum_form": "keras"}, "'classic' or 'torch', got 'keras'"),
    ],
)
def test_options_that_exclude_each_other_are_named(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        SGD([parameter()], **options)


def test_proximal_needs_alpha_in_one_group_only() -> None:
    groups = [{"params": [parameter()], "alpha": 0.1}, {"params": [parameter()]}]
    SGD(groups, proximal=True)


def test_options_after_momentum_are_keyword_only() -> None:
    with pytest.raises(TypeError, match="positional"):
        SGD([parameter()], 0.1, 0.9, 0.0)  # type: ignore[misc]


def test_repr_is_like_pytorchs() -> None:
    optimizer = SGD({"w": parameter()}.items(), lr=0.1, max_norm=2.0)
    assert repr(optimizer) == (
        "SGD (\nParameter Group 0\n    alpha: 0.0\n    dampening: 0.0\n"
        "    decoupled_weight_decay: False\n    lr: 0.1\n    maximize: False\n"
        "    momentum: 0.0\n    momentum_form: classic\n    nesterov: False\n"
        "    param_names: ['w']\n    proximal: False\n    weight_decay: 0.0\n"
        "max_norm: 2.0\n)"
    )


# Steps


def test_step_and_zero_grad_before_the_first_backward() -> None:
    """SEED: both crashed where a gradient is None."""
    p = parameter()
    optimizer = SGD([p], momentum=0.9, weight_decay=0.1, alpha=0.1, max_norm=1.0)
    optimizer.step()
    optimizer.zero_grad()
    optimizer.zero_grad(set_to_none=False)
    assert p.tolist() == [1.0, -2.0]
    assert p.grad is None
    assert not optimizer.state


def test_parameters_without_a_gradient_are_skipped() -> None:
    """SEED: `step()` crashed where a gradient is None."""
    p, q = parameter(), parameter()
    optimizer = SGD([p, q], lr=0.5, weight_decay=0.1)
    p.grad = gl.ones(2)
    optimizer.step()
    assert p.tolist() != [1.0, -2.0]
    assert q.tolist() == [1.0, -2.0]


def test_a_second_step_does_not_count_the_regularisation_twice() -> None:
    """SEED: any `alpha` or `weight_decay` crashed; the gradient is not touched."""
    p = parameter([2.0])
    optimizer = SGD([p], lr=0.5, alpha=1.0, weight_decay=0.5)
    p.grad = gl.zeros(1)
    optimizer.step()  # 2 - 0.5 * (1 + 1)
    assert p.item() == 1.0
    optimizer.step()  # 1 - 0.5 * (1 + 0.5)
    assert p.item() == 0.25
    assert p.grad.tolist() == [0.0]


def test_the_velocity_is_made_late_and_updated_in_place(device: gl.Device) -> None:
    """SEED: it began as a list of floats, and each step made a new array."""
    p = parameter(device=device, dtype=gl.float32)
    optimizer = SGD([p], lr=0.1, momentum=0.9)
    assert not optimizer.state
    descend(optimizer, [p], 1)
    velocity = optimizer.state[p]["momentum_buffer"]
    assert type(velocity) is gl.Tensor
    assert not velocity.requires_grad
    assert (velocity.device, velocity.dtype) == (p.device, p.dtype)
    array, before = velocity._array, host(velocity).copy()
    descend(optimizer, [p], 1)
    assert optimizer.state[p]["momentum_buffer"]._array is array
    assert not np.array_equal(host(velocity), before)


def test_parameters_are_written_in_place(device: gl.Device) -> None:
    p = parameter(device=device)
    array, view = p._array, p.detach()
    descend(SGD([p], lr=0.5), [p], 1)
    assert p._array is array
    np.testing.assert_array_equal(host(view), [0.5, -1.0])


def test_options_changed_after_construction_take_effect() -> None:
    """SEED: a momentum set later was an AttributeError."""
    p = parameter([1.0])
    optimizer = SGD([p], lr=0.0)
    group = optimizer.param_groups[0]
    p.grad = gl.ones(1)
    optimizer.step()
    assert p.item() == 1.0
    group.update(lr=0.25, momentum=0.5)
    optimizer.step()  # v = -0.25
    optimizer.step()  # v = -0.375
    assert p.item() == 0.375
    group["momentum"] = 0.0
    optimizer.step()
    assert p.item() == 0.125
    optimizer.max_norm = 0.5
    optimizer.step()
    assert p.item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("lr", math.nan, ValueError),
        ("lr", "0.1", TypeError),
        ("momentum", 1.0, ValueError),
        ("nesterov", 1, TypeError),
        ("momentum_form", "keras", ValueError),
    ],
)
def test_a_bad_option_set_later_writes_nothing(
    name: str, value: Any, error: type[Exception]
) -> None:
    p, q = parameter(), parameter()
    optimizer = SGD([{"params": [p]}, {"params": [q]}], lr=0.1)
    optimizer.param_groups[1][name] = value
    p.grad = q.grad = gl.ones(2)
    with pytest.raises(error, match=name):
        optimizer.step()
    assert p.tolist() == [1.0, -2.0]


def test_the_closure_is_evaluated_with_gradients_enabled() -> None:
    p = parameter([1.0])
    optimizer = SGD([p], lr=0.5)

    def closure() -> gl.Tensor:
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with gl.no_grad():
        loss = optimizer.step(closure)
        assert not gl.is_grad_enabled()
    assert loss.item() == 1.0
    assert p.item() == 0.0
    assert optimizer.step() is None


def test_a_parameter_in_two_optimizers_has_two_states() -> None:
    p = parameter([1.0])
    first, second = SGD([p], 0.5, 0.5), SGD([p], 0.25, 0.5)
    p.grad = gl.ones(1)
    first.step()
    second.step()
    assert p.item() == 0.25
    assert first.state[p]["momentum_buffer"].item() == -0.5
    assert second.state[p]["momentum_buffer"].item() == -0.25


def test_state_is_keyed_by_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal values are different parameters, and `==` on tensors is never asked."""
    params = [parameter([1.0]) for _ in range(500)]
    optimizer = SGD(params, lr=0.1, momentum=0.9)

    def refuse(self: Any, other: Any) -> Any:
        raise AssertionError("compared tensors")

    for param in params:
        param.grad = gl.ones(1)
    monkeypatch.setattr(gl.Tensor, "__eq__", refuse)
    optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
    assert len(optimizer.state) == 500
    assert len({id(entry) for entry in optimizer.state.values()}) == 500


def test_a_step_invalidates_what_a_graph_saved(device: gl.Device) -> None:
    p = parameter(device=device)
    optimizer = SGD([p], lr=0.1)
    loss = (p * p).sum()
    p.grad = gl.ones_like(p.detach())
    optimizer.step()
    with pytest.raises(RuntimeError, match="multiply"):
        loss.backward()


def test_a_step_is_not_recorded() -> None:
    p = parameter()
    descend(SGD([p], momentum=0.9, max_norm=1.0), [p], 2)
    assert p.is_leaf
    assert p.requires_grad
    assert p.grad_fn is None


@pytest.mark.parametrize("set_to_none", [True, False])
@pytest.mark.parametrize("create_graph", [True, False])
def test_zero_grad(set_to_none: bool, create_graph: bool) -> None:
    p = parameter()
    (p * p * p).sum().backward(create_graph=create_graph)
    before = p.grad
    SGD([p]).zero_grad(set_to_none)
    if set_to_none:
        assert p.grad is None
        return
    assert p.grad.tolist() == [0.0, 0.0]
    assert p.grad.grad_fn is None
    if not create_graph:
        assert p.grad is before


def test_gradients_from_create_graph_are_used() -> None:
    p = parameter([1.0])
    (p * p).sum().backward(create_graph=True)
    SGD([p], lr=0.25).step()
    assert p.item() == 0.5


def test_parameters_of_several_dtypes_and_devices_share_an_optimizer() -> None:
    placed = [
        parameter([3.0], dtype=gl.float32),
        parameter([3.0], dtype=gl.float64),
        parameter([3.0], dtype=gl.float16),
        parameter([3.0], device="array_api_strict:device1"),
    ]
    optimizer = SGD(placed, lr=1.0, momentum=0.5, max_norm=4.0)
    for param in placed:
        param.grad = gl.full_like(param.detach(), 4.0)
    optimizer.step()  # the norm is 8
    for param in placed:
        assert host(param).item() == pytest.approx(1.0, abs=1e-3)
        buffer, wide = optimizer.state[param]["momentum_buffer"], param.dtype
        assert buffer.dtype is (gl.float32 if wide is gl.float16 else wide)


@pytest.mark.parametrize(
    ("grad", "error", "message"),
    [
        (lambda: gl.ones(3), ValueError, r"shape \(2,\) .* gradient \(3,\)"),
        (
            lambda: gl.ones(2, dtype=gl.float64),
            ValueError,
            "float32, its gradient .* float64",
        ),
        (
            lambda: gl.ones(2, device="array_api_strict"),
            gl.DeviceMismatchError,
            "is on cpu, its gradient on array_api_strict",
        ),
    ],
)
def test_a_gradient_unlike_its_parameter_writes_nothing(
    grad: Callable[[], gl.Tensor], error: type[Exception], message: str
) -> None:
    p, q = parameter(), parameter()
    optimizer = SGD([("p", p), ("q", q)], lr=0.1)
    p.grad = gl.ones(2)
    q._grad = grad()  # as it stays behind when the data of a parameter is replaced
    with pytest.raises(error, match=rf"parameter 1 \('q'\) of group 0 .*{message}"):
        optimizer.step()
    assert p.tolist() == [1.0, -2.0]


# Parameters that move


def test_state_follows_a_parameter_to_another_dtype_and_device(
    device: gl.Device,
) -> None:
    p = parameter(dtype=gl.float64)
    optimizer = SGD([p], lr=0.1, momentum=0.9)
    descend(optimizer, [p], 2)
    expected = host(optimizer.state[p]["momentum_buffer"]) * 0.9 - 0.1 * host(p)
    p.data = p.data.to(device).to(gl.float32)
    descend(optimizer, [p], 1)
    velocity = optimizer.state[p]["momentum_buffer"]
    assert (velocity.device, velocity.dtype) == (device, gl.float32)
    np.testing.assert_allclose(host(velocity), expected, rtol=1e-6)


def test_state_of_a_parameter_of_another_shape_is_refused() -> None:
    p = parameter()
    optimizer = SGD([p], momentum=0.9)
    descend(optimizer, [p], 1)
    optimizer.zero_grad()
    p.data = gl.ones(3)
    with pytest.raises(ValueError, match=r"\(3,\), its .* \(2,\); .* del optimizer"):
        descend(optimizer, [p], 1)
    assert p.tolist() == [1.0, 1.0, 1.0]
    del optimizer.state[p]
    descend(optimizer, [p], 1)
    assert p.tolist() != [1.0, 1.0, 1.0]


# Skipped steps


FLAGS: list[Callable[[bool, gl.Device], Any]] = [
    lambda flag, device: flag,
    lambda flag, device: np.bool_(flag),
    lambda flag, device: gl.tensor(float(flag), device=device),
    lambda flag, device: gl.tensor([flag], device=device),
]


@pytest.mark.parametrize("make", FLAGS, ids=["bool", "numpy", "float-tensor", "tensor"])
@pytest.mark.parametrize("form", ["classic", "torch"])
def test_found_inf_skips_and_counts(make: Any, form: str, device: gl.Device) -> None:
    """Also on the step that would have been the first one of torch's form."""
    p, q = parameter(device=device), parameter(device=device)
    options = {"lr": 0.1, "momentum": 0.9, "dampening": 0.5, "momentum_form": form}
    optimizer, plain = SGD([p], **options), SGD([q], **options)
    for k, skip in enumerate([True, True, False, True, False]):
        grad = gl.full_like(p.detach(), math.inf if skip else float(k))
        p.grad = grad
        before = host(p).copy()
        optimizer.step(found_inf=make(skip, device))
        if skip:
            np.testing.assert_array_equal(host(p), before)
        else:
            q.grad = grad
            plain.step()
            np.testing.assert_array_equal(host(p), host(q))
    assert optimizer.skipped_steps == 3
    assert plain.skipped_steps == 0


@pytest.mark.parametrize("scale", [4.0, 4, np.float32(4), "tensor"], ids=repr)
def test_grad_scale_divides(scale: Any, device: gl.Device) -> None:
    p = parameter([1.0], device=device)
    p.grad = gl.full_like(p.detach(), 2.0)
    if scale == "tensor":
        scale = gl.tensor([4.0], device=device)
    SGD([p], lr=1.0).step(grad_scale=scale)
    assert host(p).tolist() == [0.5]
    assert host(p.grad).tolist() == [2.0]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"grad_scale": 0.0}, ValueError, "grad_scale must be a finite number"),
        ({"grad_scale": math.inf}, ValueError, "grad_scale"),
        ({"grad_scale": gl.tensor(math.nan)}, ValueError, "grad_scale"),
        ({"grad_scale": gl.ones(2)}, ValueError, r"one element, got shape \(2,\)"),
        ({"grad_scale": "4"}, TypeError, "grad_scale must be a number or a tensor"),
        ({"found_inf": "no"}, TypeError, "found_inf must be a number or a tensor"),
        ({"found_inf": gl.zeros(3)}, ValueError, r"found_inf .* got shape \(3,\)"),
    ],
)
def test_bad_step_arguments_are_named(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    p = parameter()
    p.grad = gl.ones(2)
    with pytest.raises(error, match=message):
        SGD([p]).step(**arguments)
    assert p.tolist() == [1.0, -2.0]


# Checkpoints


def network(seed: int, names: str = "") -> list[tuple[str, gl.Tensor]]:
    rng = np.random.default_rng(seed)
    shapes = {"w": (3, 2), "b": (2,), "s": ()}
    tensors = {n: parameter(rng.standard_normal(s)) for n, s in shapes.items()}
    return [(n, tensors[n]) for n in names or shapes]


def values(pairs: list[tuple[str, gl.Tensor]]) -> dict[str, bytes]:
    return {name: host(param).tobytes() for name, param in pairs}


OPTIONS = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "max_norm": 3.0}


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("form", ["classic", "torch"])
def test_a_resumed_run_equals_an_uninterrupted_one(form: str, named: bool) -> None:
    def build() -> tuple[SGD, list[tuple[str, gl.Tensor]]]:
        pairs = network(1)
        params: Any = pairs if named else [param for _, param in pairs]
        return SGD(params, momentum_form=form, dampening=0.25, **OPTIONS), pairs

    whole, pairs = build()
    descend(whole, [param for _, param in pairs], 10)
    first, start = build()
    descend(first, [param for _, param in start], 4)
    saved = copy.deepcopy(first.state_dict())
    second, rest = build()
    for (_, new), (_, old) in zip(rest, start, strict=True):
        new.data = old.data.clone()
    second.load_state_dict(saved)
    descend(second, [param for _, param in rest], 6)
    assert values(rest) == values(pairs)
    assert second.state_dict()["max_norm"] == 3.0


def test_state_dict_has_pytorchs_layout() -> None:
    pairs = network(1)
    optimizer = SGD(
        [{"params": pairs[:1]}, {"params": pairs[1:], "lr": 0.5}], **OPTIONS
    )
    descend(optimizer, [param for _, param in pairs[1:]], 1)
    saved = optimizer.state_dict()
    assert [g["params"] for g in saved["param_groups"]] == [[0], [1, 2]]
    assert [g["param_names"] for g in saved["param_groups"]] == [["w"], ["b", "s"]]
    assert [g["lr"] for g in saved["param_groups"]] == [0.1, 0.5]
    assert sorted(saved["state"]) == [1, 2]  # the first one had no gradient yet
    assert saved["state"][1]["momentum_buffer"].shape == (2,)
    assert saved["state"][1]["momentum_form"] == "classic"


def test_loading_matches_names_before_positions() -> None:
    pairs = network(1)
    source = SGD(pairs, **OPTIONS)
    descend(source, [param for _, param in pairs], 1)
    other = network(1, names="sbw")
    target = SGD(other, **OPTIONS)
    target.load_state_dict(source.state_dict())
    for name, param in other:
        expected = source.state[dict(pairs)[name]]["momentum_buffer"]
        np.testing.assert_array_equal(
            host(target.state[param]["momentum_buffer"]), host(expected)
        )


def test_equal_names_are_matched_in_their_order() -> None:
    def build() -> SGD:
        return SGD([("w", parameter([1.0])), ("w", parameter([2.0]))], momentum=0.5)

    source, target = build(), build()
    descend(source, source.param_groups[0]["params"], 1)
    target.load_state_dict(source.state_dict())
    loaded = [
        target.state[p]["momentum_buffer"] for p in target.param_groups[0]["params"]
    ]
    assert [v.item() for v in loaded] == pytest.approx([-0.001, -0.002])


def test_loaded_state_is_a_copy() -> None:
    pairs = network(1)
    source, target = SGD(pairs, **OPTIONS), SGD(network(1), **OPTIONS)
    descend(source, [param for _, param in pairs], 1)
    target.load_state_dict(source.state_dict())
    buffer = target.state[target.param_groups[0]["params"][0]]["momentum_buffer"]
    before = host(buffer).copy()
    descend(source, [param for _, param in pairs], 1)
    np.testing.assert_array_equal(host(buffer), before)


def test_loading_keeps_the_groups_themselves() -> None:
    pairs = network(1)
    optimizer = SGD(pairs, **OPTIONS)
    (group,) = optimizer.param_groups
    saved = SGD(network(1), lr=0.7).state_dict()
    optimizer.load_state_dict(saved)
    assert optimizer.param_groups[0] is group
    assert group["lr"] == 0.7
    assert group["params"][0] is pairs[0][1]


def test_loading_moves_state_to_the_parameters(device: gl.Device) -> None:
    p, q = parameter(dtype=gl.float64), parameter(dtype=gl.float32, device=device)
    source, target = SGD([p], momentum=0.9), SGD([q])
    descend(source, [p], 1)
    target.load_state_dict(source.state_dict())
    buffer = target.state[q]["momentum_buffer"]
    assert (buffer.device, buffer.dtype) == (q.device, q.dtype)
    np.testing.assert_allclose(host(buffer), [-1e-3, 2e-3], rtol=1e-6)


def saved_network(**changes: Any) -> dict[str, Any]:
    pairs = network(1)
    optimizer = SGD(pairs, **OPTIONS)
    descend(optimizer, [param for _, param in pairs], 1)
    saved = optimizer.state_dict()
    saved["param_groups"][0].update(changes)
    return saved


def without_names() -> dict[str, Any]:
    saved = saved_network(params=[0, 1])
    del saved["param_groups"][0]["param_names"], saved["state"][2]
    return saved


def with_state(number: int, **entry: Any) -> dict[str, Any]:
    saved = saved_network()
    saved["state"][number] = entry
    return saved


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (list, TypeError, "state_dict must be a dict, got list"),
        (dict, ValueError, "no entry 'state' and no 'param_groups'"),
        (lambda: {**saved_network(), "param_groups": []}, ValueError, "0 parameter gr"),
        (
            without_names,
            ValueError,
            "group 0 2 parameters are saved, the optimizer has 3",
        ),
        (
            lambda: saved_network(param_names=["w", "c", "s"]),
            ValueError,
            "nothing is saved for 'b'; in group 0 the optimizer lacks 'c'",
        ),
        (
            lambda: with_state(1, momentum_buffer=gl.ones(3)),
            ValueError,
            r"parameter 1 \('b'\) of .* \(2,\), its saved momentum_buffer \(3,\)",
        ),
        (
            lambda: with_state(9),
            ValueError,
            "there is state for 9, which no group lists",
        ),
        (lambda: saved_network(lr=math.nan), ValueError, "lr must be"),
        (lambda: {**saved_network(), "max_norm": -1.0}, ValueError, "max_norm"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(
    make: Callable[[], Any], error: type[Exception], message: str
) -> None:
    pairs = network(2)
    optimizer = SGD(pairs, lr=0.3, momentum=0.5)
    descend(optimizer, [param for _, param in pairs], 1)

    def everything() -> Any:
        saved = optimizer.state_dict()
        buffers = [
            host(e["momentum_buffer"]).tobytes() for e in saved["state"].values()
        ]
        return repr(optimizer), buffers, saved["max_norm"]

    before = everything()
    with pytest.raises(error, match=message):
        optimizer.load_state_dict(make())
    assert everything() == before


def test_all_differences_are_listed() -> None:
    saved = with_state(0, momentum_buffer=gl.ones(3))
    saved["state"][1] = {"momentum_buffer": gl.ones(4)}
    with pytest.raises(ValueError, match=r"\('w'\).*\(3,\); .*\('b'\).*\(4,\)"):
        SGD(network(2)).load_state_dict(saved)


@pytest.mark.parametrize(
    ("source", "target"), [("classic", "torch"), ("torch", "classic")]
)
@pytest.mark.parametrize("how", ["load", "change"])
def test_the_momentum_form_is_converted(source: str, target: str, how: str) -> None:
    """At constant lr, changing horses leaves the trajectory as it is."""
    p, q = parameter([1.0, -2.0, 0.5]), parameter([1.0, -2.0, 0.5])
    plain = SGD([p], lr=0.1, momentum=0.9, momentum_form=source)
    descend(plain, [p], 3)
    other = SGD([q], lr=0.1, momentum=0.9, momentum_form=source)
    descend(other, [q], 3)
    if how == "load":
        saved, other = other.state_dict(), SGD([q], momentum_form=target)
        other.load_state_dict(saved)
        factor = -0.1 if target == "classic" else -1 / 0.1
        np.testing.assert_allclose(
            host(other.state[q]["momentum_buffer"]),
            host(saved["state"][0]["momentum_buffer"]) * factor,
            rtol=1e-6,
        )
    other.param_groups[0]["momentum_form"] = target
    descend(plain, [p], 3)
    descend(other, [q], 3)
    assert other.state[q]["momentum_form"] == target
    assert plain.state[p]["momentum_form"] == source
    np.testing.assert_allclose(host(q), host(p), rtol=1e-5)


def test_a_velocity_at_lr_zero_cannot_become_torchs() -> None:
    p = parameter()
    source = SGD([p], lr=0.1, momentum=0.9)
    descend(source, [p], 1)
    source.param_groups[0]["lr"] = 0.0
    target = SGD([p], momentum_form="torch")
    with pytest.raises(ValueError, match=r"lr=0\.0"):
        target.load_state_dict(source.state_dict())
    assert not target.state


@pytest.mark.parametrize("form", ["classic", "torch"])
def test_a_state_of_pytorchs_optimizer_loads(form: str) -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.tensor([1.0, -2.0], requires_grad=True)
    peer = torch.optim.SGD([theirs], lr=0.1, momentum=0.9)

    def train() -> None:
        peer.zero_grad()
        (theirs * theirs * 0.5).sum().backward()
        peer.step()

    train()
    train()
    ours = parameter(theirs.detach().numpy().copy())
    optimizer = SGD([ours], momentum_form=form)
    optimizer.load_state_dict(peer.state_dict())
    train()
    descend(optimizer, [ours], 1)
    np.testing.assert_allclose(host(ours), theirs.detach().numpy(), rtol=1e-6)


def test_skipped_steps_are_saved() -> None:
    optimizer = SGD([parameter()])
    optimizer.step(found_inf=True)
    other = SGD([parameter()])
    other.load_state_dict(optimizer.state_dict())
    assert other.skipped_steps == 1


@pytest.mark.parametrize(
    "copier", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))]
)
def test_copies_are_independent_and_go_on_alike(copier: Callable[[Any], Any]) -> None:
    params = [param for _, param in network(1)]
    optimizer = SGD(params, **OPTIONS)
    descend(optimizer, params, 2)
    twins, twin = copier((params, optimizer))
    assert twin.param_groups[0]["params"][0] is twins[0]
    before = [host(param).tobytes() for param in params]
    descend(twin, twins, 2)
    assert [host(param).tobytes() for param in params] == before
    descend(optimizer, params, 2)
    assert [host(p).tobytes() for p in twins] == [host(p).tobytes() for p in params]


# Optimizers of one's own


def test_a_subclass_can_have_a_step_of_its_own() -> None:
    class Sign(Optimizer):
        def step(self, closure: Any = None, **_: Any) -> Any:
            with gl.no_grad():
                for group in self.param_groups:
                    for param in group["params"]:
                        self.state[param]["last"] = gl.sign(param.grad)
                        param.sub_(group["lr"] * self.state[param]["last"])

    p = parameter([1.0, -1.0])
    p.grad = gl.tensor([3.0, -5.0])
    optimizer = Sign([p], {"lr": 0.25})
    optimizer.step()
    assert p.tolist() == [0.75, -0.75]
    assert optimizer.state_dict()["state"][0]["last"].tolist() == [1.0, -1.0]


def test_a_subclass_without_an_update_says_so() -> None:
    p = parameter()
    p.grad = gl.ones(2)
    with pytest.raises(NotImplementedError, match=r"must define _update\(\)"):
        Optimizer([p], {}).step()
