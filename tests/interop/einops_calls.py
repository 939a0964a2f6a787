"""einops: its array API functions, and the ones for the libraries that it knows."""

from __future__ import annotations

from typing import Any

import einops
from einops import array_api

from tests.interop.calls import (
    Call,
    Reason,
    check,
    check_page,
    normal,
    refuses,
    rows,
    works,
)

X = normal(2, 3, 4)
UNKNOWN: Reason = (RuntimeError, "Tensor type unknown to einops")


def pack(x: Any, y: Any) -> Any:
    packed, _ = array_api.pack([x, y], "a *")
    return packed


def unpack(x: Any) -> Any:
    return array_api.unpack(x, [(3,), (1, 3)], "a *")


TABLE = [
    works(
        "einops.array_api.rearrange",
        lambda x: array_api.rearrange(x, "a b c -> c (b a)"),
        X,
    ),
    works(
        "einops.array_api.rearrange, list",
        lambda x, y: array_api.rearrange([x, y], "n a b -> a n b"),
        X[0],
        X[1],
    ),
    works(
        "einops.array_api.reduce",
        lambda x: array_api.reduce(x, "a (b n) c -> a c", "mean", b=3),
        X,
    ),
    works(
        "einops.array_api.reduce, max",
        lambda x: array_api.reduce(x, "a b c -> b", "max"),
        X,
    ),
    works(
        "einops.array_api.reduce, prod",
        lambda x: array_api.reduce(x, "a b c -> c", "prod"),
        X,
    ),
    works(
        "einops.array_api.repeat",
        lambda x: array_api.repeat(x, "a b c -> (a n) b c", n=2),
        X,
    ),
    works("einops.array_api.pack", pack, X, normal(2, 2)),
    works("einops.array_api.unpack", unpack, normal(2, 6)),
    refuses(
        "einops.rearrange",
        UNKNOWN,
        lambda x: einops.rearrange(x, "a b c -> c (b a)"),
        X,
    ),
    refuses(
        "einops.reduce", UNKNOWN, lambda x: einops.reduce(x, "a b c -> b", "sum"), X
    ),
]


@rows(TABLE)
def test_call(call: Call) -> None:
    check(call)


def test_page() -> None:
    check_page("einops", TABLE)
