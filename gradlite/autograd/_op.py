"""Operations: one registration each."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Literal,
    ParamSpec,
    Protocol,
    TypeVar,
    cast,
    overload,
)

from gradlite._typing import Array, Namespace
from gradlite.autograd._dispatch import apply
from gradlite.autograd._graph import Variable
from gradlite.autograd._rules import Rules

if TYPE_CHECKING:
    from gradlite.tensor import Tensor

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)
Rule = TypeVar("Rule", bound=Callable[..., Any])
Results = TypeVar("Results", bound=tuple[Any, ...])

View = bool | Literal["read-only"]

REGISTRY: dict[str, Callable[..., Any]] = {}
"""Every operation by name."""


class Differentiable(Protocol[P, R_co]):
    """An operation: the forward without `xp`, and where its rules are registered."""

    __name__: str
    op: Op

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Compute the operation on tensors."""

    def vjp(self, **rules: Callable[..., Any]) -> None:
        """Register the rule of each operand that is named."""

    def vjp_of(self, target: str, /) -> Callable[[Rule], Rule]:
        """Register the decorated function as the rule of one operand."""

    def vjp_joint(self, *targets: str) -> Callable[[Rule], Rule]:
        """Register the decorated function as the joint rule of adjacent operands."""

    def as_view(
        self, *, put: Callable[..., Any], get: Callable[..., Any] | None = None
    ) -> None:
        """Register how what is written into a view reaches its base."""


class Op:
    """What is decided about an operation at registration.

    Attributes
    ----------
    forward : callable
        `(xp, operands, /, *, options)` on raw arrays.
    name, title : str
        The forward's name, and how messages call it.
    signature : inspect.Signature
        Of the forward without `xp`.
    operands : tuple of str
        Parameters annotated as arrays, which come first.
    required : int
        How many of them have no default.
    options : tuple of str
        The other parameters; those before the `*` also by position.
    defaults : dict
        Defaults of the options.
    promoted : int
        Bits of the operands that are brought to one kind of dtype and may be scalars.
    pack : callable
        Makes what is returned from several results.
    get, put : callable, optional
        How a view is made again, and how what it is of looks with another value in it.
    """

    pack: Callable[[Iterable[Any]], tuple[Any, ...]]
    get: Callable[..., Any] | None = None
    put: Callable[..., Any] | None = None

    def __init__(
        self,
        forward: Callable[..., Any],
        *,
        floating: bool,
        promote: tuple[str, ...] | None,
        view: View,
        once: bool,
        several: bool | type[tuple[Any, ...]],
        aux: bool,
    ) -> None:
        self.forward = forward
        self.name = forward.__name__
        self.title = self.name.strip("_")
        self.floating = floating
        self.view = view
        self.several = bool(several)
        self.pack = cast(Any, several)._make if isinstance(several, type) else tuple
        self.aux = aux
        signature = inspect.signature(forward)
        parameters = list(signature.parameters.values())[1:]
        self.signature = signature.replace(parameters=parameters)
        arrays = [p for p in parameters if "Array" in str(p.annotation)]
        if not arrays or parameters[: len(arrays)] != arrays:
            raise TypeError(
                f"{self.name}: the first parameters after xp must be annotated Array, "
                "in a module with `from __future__ import annotations`"
            )
        self.operands = tuple(p.name for p in arrays)
        self.required = sum(p.default is p.empty for p in arrays)
        self.is_list = "Sequence[Array]" in str(arrays[0].annotation)
        others = parameters[len(arrays) :]
        self.options = tuple(p.name for p in others)
        self.positional = tuple(p.name for p in others if p.kind < p.KEYWORD_ONLY)
        self.defaults = {p.name: p.default for p in others if p.default is not p.empty}
        if promote is None:
            promote = tuple(p.name for p in arrays if "Scalar" in str(p.annotation))
        self.promoted = sum(1 << self.operands.index(n) for n in promote)
        if floating and not promote:
            self.promoted = -1  # all of them
        if self.is_list and promote:
            self.promoted = -1
        self.rules = Rules(
            self.name,
            self.operands,
            self.options,
            self.defaults,
            is_list=self.is_list,
            several=self.several,
            once=once,
        )

    def bind(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Sequence[Any], dict[str, Any]]:
        """Return the operands and the options of a call as Python would bind them."""
        options = dict(kwargs)
        operands = list(args[: len(self.operands)])
        for name in self.operands[len(operands) :]:
            if name in options:
                operands.append(options.pop(name))
            elif len(operands) >= self.required:
                operands.append(None)
            else:
                raise TypeError(f"{self.title}() is missing its argument {name!r}")
        extra = args[len(self.operands) :]
        if len(extra) > len(self.positional):
            raise TypeError(
                f"{self.title}() takes at most "
                f"{len(self.operands) + len(self.positional)} positional arguments, "
                f"got {len(args)}; pass the others by name, of "
                f"{', '.join(self.options) or 'which there are none'}"
            )
        for name, value in zip(self.positional, extra, strict=False):
            if name in options:
                raise TypeError(f"{self.title}() got two values for argument {name!r}")
            options[name] = value
        for name in options:
            if name not in self.options:
                raise TypeError(
                    f"{self.title}() has no argument {name!r}; its arguments are "
                    f"{', '.join(self.operands + self.options)}"
                )
        for name in self.options:
            if name not in options and name not in self.defaults:
                raise TypeError(f"{self.title}() is missing its argument {name!r}")
        if self.is_list:
            if isinstance(operands[0], Variable) or not isinstance(
                operands[0], list | tuple
            ):
                raise TypeError(
                    f"{self.operands[0]} must be a list or tuple of tensors, got "
                    f"{type(operands[0]).__name__}"
                )
            if not operands[0]:
                raise ValueError(
                    f"{self.operands[0]} must have at least one tensor, got none"
                )
            operands = list(operands[0])
        return operands, options


@overload
def differentiable(
    forward: Callable[Concatenate[Namespace, P], Array], /
) -> Differentiable[P, Tensor]: ...


@overload
def differentiable(
    *,
    floating: bool = False,
    promote: tuple[str, ...] | None = None,
    view: View = False,
    once: bool = False,
    aux: bool = False,
    several: Literal[False] = False,
) -> Callable[
    [Callable[Concatenate[Namespace, P], Array]], Differentiable[P, Tensor]
]: ...


@overload
def differentiable(
    *,
    floating: bool = False,
    promote: tuple[str, ...] | None = None,
    view: View = False,
    once: bool = False,
    several: Literal[True],
) -> Callable[
    [Callable[Concatenate[Namespace, P], Sequence[Array]]],
    Differentiable[P, tuple[Tensor, ...]],
]: ...


@overload
def differentiable(
    *,
    floating: bool = False,
    promote: tuple[str, ...] | None = None,
    view: View = False,
    once: bool = False,
    several: type[Results],
) -> Callable[
    [Callable[Concatenate[Namespace, P], Sequence[Array]]],
    Differentiable[P, Results],
]: ...


def differentiable(
    forward: Callable[..., Any] | None = None,
    /,
    *,
    floating: bool = False,
    promote: tuple[str, ...] | None = None,
    view: View = False,
    once: bool = False,
    aux: bool = False,
    several: bool | type[tuple[Any, ...]] = False,
) -> Any:
    """Register an operation.

    Parameters
    ----------
    forward : callable
        `(xp, operands, /, *, options)` on raw arrays. Operands are annotated as
        `Array`, as `Array | Scalar` where a Python scalar may stand, as `Array | None`
        where they may be left out, or there is one `Sequence[Array]`.
    floating : bool, default False
        Whether integer and boolean operands become the default floating dtype.
    promote : tuple of str, optional
        Operands that are brought to one kind of dtype; by default those annotated
        with `Scalar`.
    view : bool or "read-only", default False
        Whether the result may share the memory of the first operand. What is written
        into it, where a gradient is recorded, reaches the operand by the rule, which
        is the inverse where the result has all elements; otherwise by what `as_view`
        registers: `put(x, value, **options)` returns `x` with another value in the
        view. Of several results there are `put(x, value, i, **options)` and
        `get(x, i, **options)`, for the one at position i.
    once : bool, default False
        Whether the derivative cannot be differentiated: `create_graph` then raises.
    aux : bool, default False
        Whether the forward returns `(result, by-products)`; the latter are integer or
        boolean arrays that rules can ask for.
    several : bool or type of NamedTuple, default False
        Whether the forward returns several results, and the type in which the
        operation does, a plain tuple for True; rules get their cotangents in a list,
        None for those that do not matter.

    Returns
    -------
    Differentiable
        The function on tensors, with `vjp`, `vjp_of` and `vjp_joint` for its rules,
        and `as_view`.
    """
    if forward is None:
        return functools.partial(
            differentiable,
            floating=floating,
            promote=promote,
            view=view,
            once=once,
            aux=aux,
            several=several,
        )
    op = Op(
        forward,
        floating=floating,
        promote=promote,
        view=view,
        once=once,
        aux=aux,
        several=several,
    )
    arity = -1 if op.is_list else len(op.operands)
    allowed = frozenset(op.options)
    required = allowed - op.defaults.keys()

    @functools.wraps(forward)
    def call(*args: Any, **options: Any) -> Any:
        if len(args) != arity or (
            (options or required) and not required <= options.keys() <= allowed
        ):
            args, options = op.bind(args, options)  # type: ignore[assignment]
        return apply(op, args, options)

    def vjp(**rules: Callable[..., Any]) -> None:
        for target, rule in rules.items():
            op.rules.add((target,), rule)

    def vjp_of(target: str, /) -> Callable[[Rule], Rule]:
        return vjp_joint(target)

    def vjp_joint(*targets: str) -> Callable[[Rule], Rule]:
        def decorate(rule: Rule) -> Rule:
            op.rules.add(targets, rule)
            return rule

        return decorate

    def as_view(
        *, put: Callable[..., Any], get: Callable[..., Any] | None = None
    ) -> None:
        op.put, op.get = put, get

    function = cast(Any, call)
    function.__signature__ = op.signature
    del function.__wrapped__
    function.op = op
    function.vjp, function.vjp_of, function.vjp_joint = vjp, vjp_of, vjp_joint
    function.as_view = as_view
    if op.name in REGISTRY:
        raise TypeError(f"an operation named {op.name!r} is registered already")
    REGISTRY[op.name] = function
    return function
