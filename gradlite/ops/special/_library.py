"""What all special functions share: the way to the library's function."""

from __future__ import annotations

from gradlite._typing import Array, DType, Namespace, Scalar


def call(xp: Namespace, name: str, *operands: Array | Scalar) -> Array:
    """Return the library's function of the operands, in the dtype of the arrays."""
    dtype = next(x.dtype for x in operands if hasattr(x, "dtype"))
    refuse_complex(xp, name, dtype)
    return xp.astype(getattr(xp.special, name)(*operands), dtype, copy=False)


def refuse_complex(xp: Namespace, name: str, dtype: DType) -> None:
    """Raise where a function of real numbers is given complex ones."""
    if xp.isdtype(dtype, "complex floating"):
        raise TypeError(f"{name}() takes real tensors, got {dtype}; take gl.real(x)")


def polynomial(x: Array, coefficients: tuple[float, ...]) -> Array:
    """Return c0 + x (c1 + x (c2 + ...))."""
    *others, y = coefficients
    for c in reversed(others):
        y = c + x * y
    return y


def alike(xp: Namespace, g: Array, *values: Array | Scalar) -> list[Array]:
    """Return values, of which some may be scalars, in the shape of `g`."""
    return [v * xp.ones_like(g) for v in values]
