"""What results depend on, back to a moment in the past."""

from __future__ import annotations

from collections.abc import Iterable

from gradlite.autograd._graph import Node, Variable


def reach(results: Iterable[object], since: int) -> set[Node]:
    """Return the nodes that `results` depend on.

    Those with a number below `since` are older: they are among them, and what lies
    behind them is not.
    """
    seen = {x._node for x in results if isinstance(x, Variable) and x._node is not None}
    stack = list(seen)
    while stack:
        node = stack.pop()
        if node.number < since:
            continue
        for edge in node.edges:
            if edge is not None and edge not in seen:
                seen.add(edge)
                stack.append(edge)
    return seen
