"""array-api-extra: functions that the standard lacks, for any array library."""

from __future__ import annotations

from typing import Any

import array_api_extra as xpx
import numpy as np

from tests.interop.calls import (
    TO_NUMPY,
    Call,
    check,
    check_page,
    normal,
    refuses,
    rows,
    works,
)

X = normal(3, 4)
Y = normal(3, 4, seed=1)
HOLES = np.where(np.eye(3, 4) > 0.0, np.nan, X)
MASK = np.asarray([True, False, True])


def apply_where(x: Any, y: Any) -> Any:
    return xpx.apply_where(x > 0, (x, y), lambda x, y: x**0.5 * y, lambda x, y: x - y)


def apply_where_or_fill(x: Any) -> Any:
    return xpx.apply_where(x > 0, x, lambda x: x**1.5, fill_value=0.0)


TABLE = [
    works("array_api_extra.angle", xpx.angle, normal(5) + 1j * normal(5, seed=1)),
    works("array_api_extra.apply_where", apply_where, X, Y),
    works("array_api_extra.apply_where, fill_value", apply_where_or_fill, X),
    works(
        "array_api_extra.at", lambda x, y: xpx.at(x)[:, 1].set(y, copy=True), X, Y[:, 0]
    ),
    works(
        "array_api_extra.at, in place", lambda x, y: xpx.at(x * 2.0, 1).set(y), X, Y[0]
    ),
    works(
        "array_api_extra.at, mask",
        lambda x, mask: xpx.at(x)[mask].set(0.0, copy=True),
        X,
        MASK,
    ),
    works(
        "array_api_extra.at, add", lambda x, y: xpx.at(x * 2.0)[1, ...].add(y), X, Y[0]
    ),
    works(
        "array_api_extra.at, multiply",
        lambda x, y: xpx.at(x)[..., 2].multiply(y, copy=True),
        X,
        Y[:, 0],
    ),
    works("array_api_extra.at, power", lambda x: xpx.at(x)[::2].power(3, copy=True), X),
    works(
        "array_api_extra.at, max", lambda x, y: xpx.at(x)[:2].max(y, copy=True), X, Y[0]
    ),
    works("array_api_extra.atleast_nd", lambda x: xpx.atleast_nd(x, ndim=3), X),
    works("array_api_extra.cov", xpx.cov, X),
    works(
        "array_api_extra.create_diagonal", lambda x: xpx.create_diagonal(x, offset=1), X
    ),
    works("array_api_extra.deg2rad", xpx.deg2rad, 90.0 * X),
    works("array_api_extra.kron", xpx.kron, X, normal(2, 2)),
    works("array_api_extra.nan_to_num", xpx.nan_to_num, HOLES),
    works("array_api_extra.nanmax", lambda x: xpx.nanmax(x, axis=1), HOLES),
    works("array_api_extra.nanmean", lambda x: xpx.nanmean(x, axis=1), HOLES),
    works("array_api_extra.nanmin", lambda x: xpx.nanmin(x, axis=1), HOLES),
    works("array_api_extra.nansum", lambda x: xpx.nansum(x, axis=1), HOLES),
    works(
        "array_api_extra.pad",
        lambda x: xpx.pad(x, ((1, 0), (2, 1)), constant_values=1.0),
        X,
    ),
    works("array_api_extra.partition", lambda x: xpx.partition(x, 2, axis=1), X),
    works("array_api_extra.rad2deg", xpx.rad2deg, X),
    works(
        "array_api_extra.setdiff1d",
        lambda x: xpx.setdiff1d(x, x[:2]),
        X[0],
    ),
    works("array_api_extra.sinc", xpx.sinc, X),
    works("array_api_extra.union1d", xpx.union1d, X[0], Y[0]),
    refuses(
        "array_api_extra.lazy_apply",
        TO_NUMPY,
        lambda x: xpx.lazy_apply(np.cbrt, x, as_numpy=True),
        X,
    ),
]


@rows(TABLE)
def test_call(call: Call) -> None:
    check(call)


def test_page() -> None:
    check_page("array_api_extra", TABLE)
