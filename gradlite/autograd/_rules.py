"""VJP rules: what they are called with, and the plans compiled from them.

A rule is a function `(xp, g, ...)` that gives the cotangent of one operand. Its further
parameters say what it needs, and so what the graph keeps:

==========  =======================================================================
operand     the value of that operand
`out`       the result
`aux`       the by-products of the forward, which are integer or boolean
`like`      shape, dtype and device of the operand that the rule is for, no data
`needs`     joint rules: for each of its operands, whether a gradient is asked for
option      the value of that keyword of the forward
==========  =======================================================================

For each set of operands that need a gradient a `Plan` says what to keep, and compiles
one call that runs the rules, so that nothing is looked up when the graph is walked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, cast

from gradlite._typing import DType, Shape
from gradlite.autograd._graph import NO_OPTIONS, Node, next_number
from gradlite.backends import Device


class Rule(NamedTuple):
    """One rule: its function, its operands' positions and its parameters after g."""

    function: Callable[..., Any]
    targets: tuple[int, ...]
    parameters: tuple[str, ...]


class Like(NamedTuple):
    """Shape, dtype and device of a tensor, without its data."""

    shape: Shape
    dtype: DType
    device: Device


class Plan:
    """What one operation keeps, and how it turns a cotangent into its operands'.

    Attributes
    ----------
    name : str
        The operation's name.
    once : bool
        Whether its derivative cannot be differentiated again.
    operands : tuple of int
        Positions of the operands that are kept.
    slots : tuple of str
        Names of all that is kept: operands, likes (of the members of a list only: a
        single operand's node is its like), the result, by-products.
    keeps_options : bool
        Whether the options are kept.
    record : callable
        `(operands, arrays, options, out, aux, version)` to a node, whose shape, dtype
        and device are still to be set.
    backward : callable
        `(xp, g, saved, likes, options)` to one cotangent per operand, None for those
        that need none.
    """

    __slots__ = (
        "backward", "keeps_options", "name", "once", "operands", "record", "slots"
    )  # fmt: skip

    name: str
    once: bool
    operands: tuple[int, ...]
    slots: tuple[str, ...]
    keeps_options: bool
    record: Callable[..., Node]
    backward: Callable[..., tuple[Any, ...]]


class Rules:
    """The rules of one operation, and the plans made from them.

    Parameters
    ----------
    name : str
        Name of the operation, for messages.
    operands : tuple of str
        Names of its operands.
    options : tuple of str
        Names of its options.
    defaults : dict
        Defaults of the options.
    is_list : bool
        Whether its only operand is a list.
    several : bool
        Whether it has several results.
    once : bool
        Whether its derivative cannot be differentiated again.
    """

    def __init__(
        self,
        name: str,
        operands: tuple[str, ...],
        options: tuple[str, ...],
        defaults: dict[str, Any],
        *,
        is_list: bool,
        several: bool,
        once: bool,
    ) -> None:
        self.name = name
        self.operands = operands
        self.options = options
        self.defaults = defaults
        self.is_list = is_list
        self.several = several
        self.once = once
        self.by_target: dict[int, Rule] = {}
        self._plans: dict[tuple[int, int], Plan] = {}

    def add(self, targets: tuple[str, ...], function: Callable[..., Any]) -> None:
        """Register the rule of one operand, or the joint rule of several."""
        for target in targets:
            if target not in self.operands:
                raise TypeError(
                    f"{self.name} has no operand {target!r} to write a rule for; its "
                    f"operands are {', '.join(self.operands)}"
                )
        positions = tuple(self.operands.index(target) for target in targets)
        if positions != tuple(range(positions[0], positions[0] + len(positions))):
            raise TypeError(
                f"{self.name}: a joint rule takes adjacent operands in order"
            )
        # inspect.signature would be slow, and this is import time.
        code = cast(Any, function).__code__
        parameters = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        if parameters[:2] != ("xp", "g"):
            raise TypeError(
                f"{self.name}: a rule starts with the parameters xp, g, got "
                f"{parameters}"
            )
        known = (*self.operands, *self.options, "out", "aux", "like")
        known += ("needs",) if len(positions) > 1 else ()
        unknown = [name for name in parameters[2:] if name not in known]
        if unknown:
            raise TypeError(
                f"{self.name}: the rule for {', '.join(targets)} asks for "
                f"{', '.join(unknown)}, which is no operand, no option and none of "
                "out, aux, like (needs, in joint rules)"
            )
        rule = Rule(function, positions, parameters[2:])
        for position in positions:
            self.by_target[position] = rule
        self._plans.clear()

    def plan(self, needs: int, tensors: int) -> Plan:
        """Return the plan for a call.

        Parameters
        ----------
        needs, tensors : int
            As bits, the operands that need a gradient, and those that are tensors and
            not Python scalars.
        """
        if self.is_list:
            needs = tensors = 1
        found = self._plans.get((needs, tensors))
        if found is None:
            found = self._plans[needs, tensors] = self._compile(needs, tensors)
        return found

    def _compile(self, needs: int, tensors: int) -> Plan:
        wanted = [i for i in range(len(self.operands)) if needs >> i & 1]
        missing = [self.operands[i] for i in wanted if i not in self.by_target]
        if missing:
            raise NotImplementedError(
                f"{self.name} has no derivative with respect to {', '.join(missing)}; "
                "detach() it if none is meant"
            )
        rules = list(dict.fromkeys(self.by_target[i] for i in wanted))
        named = {name for rule in rules for name in rule.parameters}

        plan = Plan()
        plan.name, plan.once = self.name, self.once
        plan.operands = tuple(i for i, n in enumerate(self.operands) if n in named)
        plan.keeps_options = any(name in named for name in self.options)
        plan.slots = (
            *(self.operands[i] for i in plan.operands),
            *(["like"] if self.is_list and "like" in named else []),
            *(name for name in ("out", "aux") if name in named),
        )
        plan.record = self._compile_record(plan, tensors)
        plan.backward = self._compile_backward(plan, rules, needs)
        return plan

    def _compile_record(self, plan: Plan, tensors: int) -> Callable[..., Any]:
        """Return a function that makes a node of what it keeps, without a loop.

        In its source t are the operands, a their arrays, o the options, v the version
        of the result, or the versions of several.
        """
        saved, guards = [], []
        for slot, name in enumerate(plan.slots):
            if name == "like":
                saved.append("[Like(x.shape, x.dtype, t[0]._device) for x in a]")
            elif name == "aux":
                saved.append("aux")
            elif name == "out":
                saved.append("out")
                one = f"(v, v.count, {slot})"
                each = f"*[(x, x.count, {slot}) for x in v]"
                guards.append(each if self.several else one)
            elif self.is_list:
                saved.append("tuple(a)")
                guards.append(f"*[(x._version, x._version.count, {slot}) for x in t]")
            else:
                i = plan.operands[slot]
                saved.append(f"a[{i}]")
                if tensors >> i & 1:
                    guards.append(f"(t[{i}]._version, t[{i}]._version.count, {slot})")
        if self.is_list:
            edges = ["*[x._node for x in t]"]
        else:
            edges = [
                f"t[{i}]._node" if tensors >> i & 1 else "None"
                for i in range(len(self.operands))
            ]
        lines = ["def record(t, a, o, out, aux, v):", "n = new(Node)"]
        kept = {"edges": edges, "saved": saved, "guards": guards}
        for name, parts in kept.items():
            lines.append(f"n.{name} = ({''.join(f'{part}, ' for part in parts)})")
        options = "{**defaults, **o}" if plan.keeps_options else "NO_OPTIONS"
        lines.append(f"n.number, n.plan, n.options = next_number(), plan, {options}")
        lines += ["n.extra = None", "return n"]
        scope = {
            "Like": Like, "NO_OPTIONS": NO_OPTIONS, "Node": Node, "new": object.__new__,
            "defaults": self.defaults, "next_number": next_number, "plan": plan,
        }  # fmt: skip
        return self._compiled("record", lines, scope)

    def _compile_backward(
        self, plan: Plan, rules: list[Rule], needs: int
    ) -> Callable[..., Any]:
        """Return a function that calls the rules with what they named.

        In its source s is what was saved, e the operands' nodes, o the options.
        """

        def value(name: str, rule: Rule) -> str:
            if name in plan.slots:
                return f"s[{plan.slots.index(name)}]"
            if name == "like":
                return f"e[{rule.targets[0]}]"
            if name == "needs":
                return repr(tuple(bool(needs >> i & 1) for i in rule.targets))
            return f"o[{name!r}]"

        terms = []
        i = 0
        while i < len(self.operands):
            rule = self.by_target.get(i)
            if rule not in rules:
                terms.append("None")
                i += 1
                continue
            assert rule is not None
            arguments = ", ".join(
                ["xp", "g", *(value(n, rule) for n in rule.parameters)]
            )
            unpack = "*" if len(rule.targets) > 1 or self.is_list else ""
            terms.append(f"{unpack}r{rules.index(rule)}({arguments})")
            i += len(rule.targets)
        scope: dict[str, Any] = {f"r{k}": r.function for k, r in enumerate(rules)}
        lines = ["def backward(xp, g, s, e, o):", f"return {', '.join(terms)},"]
        return self._compiled("backward", lines, scope)

    def _compiled(
        self, name: str, lines: list[str], scope: dict[str, Any]
    ) -> Callable[..., Any]:
        """Return the function that some lines of source define."""
        exec(compile("\n ".join(lines), f"<plan of {self.name}>", "exec"), scope)
        return scope[name]  # type: ignore[no-any-return]
