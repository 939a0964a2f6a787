"""The rule grammar, users' own operations, and the derivative checker."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

import gradlite as gl
from gradlite.autograd import (
    REGISTRY,
    Function,
    check_vjp,
    differentiable,
    grad,
    gradcheck,
    gradgradcheck,
    once_differentiable,
)


@pytest.fixture(autouse=True)
def clean_registry() -> Iterator[None]:
    before = dict(REGISTRY)
    yield
    REGISTRY.clear()
    REGISTRY.update(before)


def double(*shape: int, seed: int = 0) -> gl.Tensor:
    values = np.random.default_rng(seed).standard_normal(shape)
    return gl.tensor(values, requires_grad=True)


# Registration


def make_scale() -> Any:
    @differentiable
    def scale(xp: Any, x: Array, /, *, factor: float = 2.0) -> Array:  # noqa: F821
        return x * factor

    return scale


def test_parameter_names_are_the_save_list() -> None:
    product = REGISTRY["multiply"].op.rules
    assert product.plan(0b01, 0b11).slots == ("x2",)
    assert product.plan(0b11, 0b11).slots == ("x1", "x2")
    assert REGISTRY["exp"].op.rules.plan(1, 1).slots == ("out",)
    assert REGISTRY["add"].op.rules.plan(0b11, 0b11).slots == ()


def test_options_reach_the_rule_with_their_defaults() -> None:
    scale = make_scale()
    scale.vjp(x=lambda xp, g, factor: g * factor)
    x = double(3)
    check_vjp(scale, [x], order=2)
    check_vjp(lambda x: scale(x, factor=5.0), [x], order=2)


BAD_RULES: dict[str, tuple[Callable[..., Any], str]] = {
    "unknown name": (lambda xp, g, y: g, "asks for y"),
    "needs outside of a joint rule": (lambda xp, g, needs: g, "asks for needs"),
    "no xp": (lambda g: g, "starts with the parameters xp, g"),
}


@pytest.mark.parametrize("name", BAD_RULES)
def test_bad_rules_are_refused_at_registration(name: str) -> None:
    rule, message = BAD_RULES[name]
    with pytest.raises(TypeError, match=message):
        make_scale().vjp(x=rule)


def test_a_rule_for_no_operand_is_refused() -> None:
    with pytest.raises(TypeError, match="no operand 'y'"):
        make_scale().vjp(y=lambda xp, g: g)


def test_a_second_operation_of_a_name_is_refused() -> None:
    make_scale()
    with pytest.raises(TypeError, match="'scale' is registered already"):
        make_scale()


def test_a_missing_rule_says_so() -> None:
    scale = make_scale()
    scale.op.rules.by_target.clear()

    @differentiable
    def pair(xp: Any, x1: Array, x2: Array, /) -> Array:  # noqa: F821
        return x1 + x2

    pair.vjp(x1=lambda xp, g: g)
    with pytest.raises(NotImplementedError, match="no derivative with respect to x2"):
        pair(double(2), double(2))


def test_joint_rules_know_what_is_needed() -> None:
    asked: list[tuple[bool, ...]] = []

    @differentiable(promote=("x1", "x2"))
    def inner(xp: Any, x1: Array, x2: Array, /) -> Array:  # noqa: F821
        return x1 * x2

    @inner.vjp_joint("x1", "x2")
    def _(xp: Any, g: Any, needs: tuple[bool, ...], x1: Any, x2: Any) -> Any:
        asked.append(needs)
        return (g * x2 if needs[0] else None, g * x1 if needs[1] else None)

    a, b = double(3), double(3, seed=1)
    check_vjp(inner, [a, b], order=2)
    asked.clear()
    grad(inner(a, b.detach()).sum(), a)
    assert asked == [(True, False)]


def test_by_products_and_lists() -> None:
    @differentiable(aux=True)
    def largest(xp: Any, x: Array, /) -> tuple[Array, Array]:  # noqa: F821
        i = xp.argmax(x)
        return xp.max(x), i

    @largest.vjp_of("x")
    def _(xp: Any, g: Any, aux: Any, like: Any) -> Any:
        return xp.additem(xp.new_zeros(g, like.shape), g, key=aux)

    @differentiable(promote=("arrays",))
    def total(xp: Any, arrays: Sequence[Array], /) -> Array:  # noqa: F821
        result = arrays[0] * arrays[0]
        for x in arrays[1:]:
            result = result + x * x
        return result

    total.vjp(arrays=lambda xp, g, arrays: [g * 2.0 * x for x in arrays])
    gradcheck(largest, [double(4)])
    check_vjp(lambda *xs: total(xs), [double(3), double(3, seed=1)], order=2)


def test_a_rule_of_a_list_with_too_few_cotangents_is_named() -> None:
    @differentiable
    def total(xp: Any, arrays: Sequence[Array], /) -> Array:  # noqa: F821
        return xp.sum(xp.stack(arrays))

    total.vjp(arrays=lambda xp, g: [g])
    with pytest.raises(RuntimeError, match="total has 1 cotangents for 2 operands"):
        total([double(2), double(2)]).backward()


def test_a_fused_operation_can_declare_itself_once_differentiable() -> None:
    @differentiable(once=True)
    def fused(xp: Any, x: Array, /) -> Array:  # noqa: F821
        return xp.sin(x)

    fused.vjp(x=lambda xp, g, x: g * xp.cos(x))
    x = double(3)
    gradcheck(fused, [x])
    with pytest.raises(RuntimeError, match="fused can be differentiated once only"):
        grad(fused(x).sum(), x, create_graph=True)


@pytest.mark.parametrize(
    ("rule", "shape"),
    [
        (lambda xp, g: xp.stack([g, g, g], axis=-1), "2, 3"),
        (lambda xp, g: xp.reshape(g, (2, 1)), "2, 1"),
        (lambda xp, g: xp.sum(g), ""),
    ],
)
def test_a_rule_of_the_wrong_shape_is_named(rule: Any, shape: str) -> None:
    scale = make_scale()
    scale.vjp(x=rule)
    message = rf"derivative of scale has shape \({shape}\) for an operand"
    with pytest.raises(RuntimeError, match=message):
        scale(double(2)).sum().backward()


# Users' own operations


class Product(Function):
    @staticmethod
    def forward(ctx: Any, x: gl.Tensor, y: gl.Tensor, power: int) -> gl.Tensor:
        ctx.save_for_backward(x, y)
        ctx.power = power
        return (x * y) ** power

    @staticmethod
    def backward(ctx: Any, g: gl.Tensor) -> Any:
        x, y = ctx.saved_tensors
        inner = g * ctx.power * (x * y) ** (ctx.power - 1)
        return inner * y, inner * x, None


class SineAndCosine(Function):
    @staticmethod
    def forward(ctx: Any, x: gl.Tensor) -> Any:
        sine, cosine = gl.sin(x), gl.cos(x)
        ctx.save_for_backward(sine, cosine)
        return sine, cosine

    @staticmethod
    def backward(ctx: Any, g1: Any, g2: Any) -> Any:
        sine, cosine = ctx.saved_tensors
        zero = gl.zeros_like(sine)
        return (zero if g1 is None else g1 * cosine) - (
            zero if g2 is None else g2 * sine
        )


def test_function_of_any_order() -> None:
    x, y = double(3), double(3, seed=1)
    check_vjp(lambda x, y: Product.apply(x, y, 3), [x, y], order=3)


def test_function_with_several_results() -> None:
    x = double(3)
    check_vjp(SineAndCosine.apply, [x], order=3)
    check_vjp(lambda x: SineAndCosine.apply(x)[1], [x], order=2)


def test_function_once_differentiable() -> None:
    class Once(Product):
        @staticmethod
        @once_differentiable
        def backward(ctx: Any, g: gl.Tensor) -> Any:
            return Product.backward(ctx, g)

    x, y = double(3), double(3, seed=1)
    gradcheck(lambda x, y: Once.apply(x, y, 2), [x, y])
    with pytest.raises(RuntimeError, match="Once can be differentiated once only"):
        grad(Once.apply(x, y, 2).sum(), x, create_graph=True)


def test_function_saves_are_guarded() -> None:
    x, y = double(3), double(3, seed=1).detach()
    z = Product.apply(x, y, 2).sum()
    y.zero_()
    with pytest.raises(RuntimeError, match=r"Product saved argument 1 .* in place"):
        z.backward()


def test_function_mistakes_are_named() -> None:
    class Short(Product):
        @staticmethod
        def backward(ctx: Any, g: gl.Tensor) -> Any:
            return g

    class Raw(Product):
        @staticmethod
        def backward(ctx: Any, g: gl.Tensor) -> Any:
            return np.ones(3), None, None

    x, y = double(3), double(3, seed=1)
    with pytest.raises(RuntimeError, match="returned 1 cotangents for 3 arguments"):
        Short.apply(x, y, 2).sum().backward()
    with pytest.raises(TypeError, match="must return tensors or None, got ndarray"):
        Raw.apply(x, y, 2).sum().backward()


def test_function_returning_its_argument_leaves_the_argument_alone() -> None:
    class Identity(Function):
        @staticmethod
        def forward(ctx: Any, x: gl.Tensor) -> gl.Tensor:
            return x

        @staticmethod
        def backward(ctx: Any, g: gl.Tensor) -> gl.Tensor:
            return g * 2.0

    x = double(3)
    y = Identity.apply(x)
    assert y is not x
    assert x.is_leaf
    assert grad(y.sum(), x)[0].tolist() == [2.0] * 3  # type: ignore[union-attr]


# The checker itself must be able to fail


def wrong_everywhere(x: gl.Tensor) -> gl.Tensor:
    class Wrong(Function):
        @staticmethod
        def forward(ctx: Any, x: gl.Tensor) -> gl.Tensor:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx: Any, g: gl.Tensor) -> gl.Tensor:
            return g * 2.01 * ctx.saved_tensors[0]

    return Wrong.apply(x)


def wrong_when_differentiated_again(x: gl.Tensor) -> gl.Tensor:
    class Wrong(Function):
        @staticmethod
        def forward(ctx: Any, x: gl.Tensor) -> gl.Tensor:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx: Any, g: gl.Tensor) -> gl.Tensor:
            return g * 2.0 * ctx.saved_tensors[0].detach()

    return Wrong.apply(x)


def test_checks_fail_where_they_must() -> None:
    x = double(3)
    with pytest.raises(AssertionError, match="finite differences give"):
        gradcheck(wrong_everywhere, [x])
    assert not gradcheck(wrong_everywhere, [x], raise_exception=False)
    assert gradcheck(wrong_when_differentiated_again, [x])
    with pytest.raises(AssertionError):
        gradgradcheck(wrong_when_differentiated_again, [x])


def test_the_checker_names_the_element() -> None:
    class Wrong(Function):
        @staticmethod
        def forward(ctx: Any, x: gl.Tensor) -> gl.Tensor:
            return x * 2.0

        @staticmethod
        def backward(ctx: Any, g: gl.Tensor) -> gl.Tensor:
            # Wrong in a way that cancels along the all-ones direction.
            return g * 2.0 + gl.tensor([1.0, -1.0, 0.0], dtype=gl.float64) * g

    with pytest.raises(AssertionError):
        gradcheck(Wrong.apply, [double(3)])


def test_the_checker_wants_double_precision_and_something_to_check() -> None:
    with pytest.raises(ValueError, match="float32"):
        gradcheck(gl.exp, [gl.tensor([1.0], requires_grad=True)])
    with pytest.raises(ValueError, match="requires_grad"):
        gradcheck(gl.exp, [gl.tensor([1.0], dtype=gl.float64)])
