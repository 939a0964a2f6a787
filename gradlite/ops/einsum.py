"""Sums of products in Einstein's notation, composed of other operations."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, TypeAlias

from gradlite._arguments import type_name
from gradlite._typing import Shape
from gradlite.autograd._graph import Variable
from gradlite.backends import dtypes, is_array
from gradlite.ops.data_types import astype, isdtype, result_type
from gradlite.ops.elementwise import multiply
from gradlite.ops.linalg._diagonals import diagonal
from gradlite.ops.linear_algebra import matmul
from gradlite.ops.manipulation import permute_dims, reshape, squeeze, tensors_of
from gradlite.ops.statistical import sum

if TYPE_CHECKING:
    from gradlite.tensor import Tensor

Labels: TypeAlias = list[str]
Steps: TypeAlias = "list[Callable[[Tensor], Tensor]]"
Product: TypeAlias = "Callable[[Tensor, Tensor], Tensor]"
Plan: TypeAlias = "tuple[Steps, list[tuple[Steps, Product, Steps]]]"
Sizes: TypeAlias = dict[str, int]

_TERM = re.compile(r"[A-Za-z]*(\.\.\.)?[A-Za-z]*")


def einsum(subscripts: str, /, *operands: Tensor) -> Tensor:
    """Return sums of products of the elements of tensors, in Einstein's notation.

    Operands are multiplied in pairs from left to right, by `matmul` where a pair shares
    an index that is summed over: begin with those whose product is small.

    Parameters
    ----------
    subscripts : str
        A letter for each axis of each operand, with commas between operands, and after
        `->` those of the result. Letters that are not in the result are summed over,
        and one that an operand has twice takes its diagonal. `...` stands for all other
        axes, counted from the last. Axes of size 1 broadcast. Without `->` the result
        has the axes of `...` and the letters that occur once, in alphabetical order.
    *operands : Tensor
        Of numeric dtypes, one for each term of `subscripts`.

    Returns
    -------
    Tensor
        Of the common dtype of the operands, of integers too; a view of a single operand
        where nothing is summed.

    Raises
    ------
    ValueError
        If `subscripts` cannot be read, or does not fit the shapes of the operands.

    Examples
    --------
    >>> import gradlite as gl
    >>> x = gl.asarray([[1, 2], [3, 4]])
    >>> gl.einsum("ij,kj->ik", x, x)
    tensor([[ 5, 11],
            [11, 25]])
    >>> gl.einsum("ii", x).item()
    5
    """
    if not isinstance(subscripts, str):
        raise TypeError(
            "subscripts must be text such as 'ij,jk->ik', got "
            f"{type_name(subscripts)}; operands come after it"
        )
    tensors = _tensors(operands)
    first, products = _plan(subscripts, tuple([x.shape for x in tensors]))
    x = _run(first, tensors[0])
    for y, (before, product, after) in zip(tensors[1:], products, strict=True):
        x = _run(after, product(x, _run(before, y)))
    return x


def _run(steps: Steps, x: Tensor) -> Tensor:
    for step in steps:
        x = step(x)
    return x


def _tensors(operands: Sequence[Any]) -> list[Tensor]:
    """Return operands as tensors of one numeric dtype on one device."""
    if not operands:
        raise ValueError("operands must have at least one tensor, got none")
    for i, x in enumerate(operands):
        if not isinstance(x, Variable) and not is_array(x):
            raise TypeError(
                f"operand {i} of einsum must be a tensor or an array, got "
                f"{type_name(x)}; make a tensor with gl.tensor(...)"
            )
    tensors = tensors_of("einsum", operands)
    found = {x.dtype for x in tensors}
    dtype = found.pop() if len(found) == 1 else result_type(*found)
    if dtype is dtypes.bool:
        raise TypeError(
            "operands of einsum must be numbers, got bool; use .astype(gl.int64)"
        )
    return [x if x.dtype is dtype else astype(x, dtype) for x in tensors]


# Reading: each axis gets a label, its letter or "...[-1]", "...[-2]" ------------------


def _expanded(term: str, extra: int) -> Labels:
    head, dots, tail = term.partition("...")
    return [*head, *(f"{dots}[{k}]" for k in range(-extra, 0)), *tail]


def _read(subscripts: str, shapes: Sequence[Shape]) -> tuple[list[Labels], Labels]:
    """Return the labels of the axes of each operand, and those of the result."""
    left, arrow, result = subscripts.replace(" ", "").partition("->")
    terms = left.split(",")
    for term in (*terms, result):
        if not _TERM.fullmatch(term):
            raise ValueError(
                "subscripts must have terms of letters and at most one '...', got "
                f"{term!r} in {subscripts!r}"
            )
    if len(terms) != len(shapes):
        raise ValueError(
            f"subscripts must have one term for each of {len(shapes)} operands, got "
            f"{len(terms)} in {subscripts!r}"
        )
    extras = [
        len(shape) - len(term.replace("...", ""))
        for term, shape in zip(terms, shapes, strict=True)
    ]
    for i, (term, extra) in enumerate(zip(terms, extras, strict=True)):
        if extra < 0 or (extra and "..." not in term):
            raise ValueError(
                f"subscripts must have a letter for each axis of operand {i}, of shape "
                f"{shapes[i]}, or '...' for some, got {term!r} in {subscripts!r}"
            )
    letters = Counter(left)
    if not arrow:
        once = (x for x in sorted(letters) if letters[x] == 1 and x.isalpha())
        result = "".join(("...", *once))
    for x in result.replace("...", ""):
        if result.count(x) > 1 or x not in letters:
            raise ValueError(
                f"the result of subscripts {subscripts!r} must have letters of the "
                f"operands, each once, got {x!r} in {result!r}"
            )
    if max(extras) > 0 and "..." not in result:
        raise ValueError(
            f"the result of subscripts {subscripts!r} must have the '...' of the "
            f"operands, got {result!r}; sum() over its axes if they are to go"
        )
    operands = [_expanded(*pair) for pair in zip(terms, extras, strict=True)]
    return operands, _expanded(result, max(extras))


def _sizes(subscripts: str, operands: list[Labels], shapes: Sequence[Shape]) -> Sizes:
    """Return the size of each label: that of all its axes which are not 1."""
    sizes: Sizes = {}
    for i, (labels, shape) in enumerate(zip(operands, shapes, strict=True)):
        for label, size in zip(labels, shape, strict=True):
            known = sizes.setdefault(label, size)
            own = shape[labels.index(label)]
            if size != own or (size != known and 1 not in (size, known)):
                raise ValueError(
                    f"operand {i} of einsum {subscripts!r} must have size {known} for "
                    f"{label!r}, got shape {shape}"
                )
            if known == 1:
                sizes[label] = size
    return sizes


# Planning: what is done depends on subscripts and shapes alone ------------------------


class _Term:
    """A tensor to be: the labels of its axes, and the steps that lead to it."""

    def __init__(self, labels: Labels, sizes: Sizes) -> None:
        self.labels = labels
        self.sizes = sizes
        self.steps: Steps = []

    def enter(self, shape: Shape) -> None:
        """Take diagonals, and leave out axes of size 1 that broadcast."""
        own = dict(zip(self.labels, shape, strict=True))
        for label in own:
            while self.labels.count(label) > 1:
                i = self.labels.index(label)
                j = self.labels.index(label, i + 1)
                others = [k for k in range(len(self.labels)) if k not in (i, j)]
                self.steps += [partial(permute_dims, axes=(*others, i, j)), diagonal]
                self.labels = [*(self.labels[k] for k in others), label]
        spread = [x for x, size in own.items() if size != self.sizes[x]]
        if spread:
            axis = tuple(map(self.labels.index, spread))
            self.steps.append(partial(squeeze, axis=axis))
            self.labels = [x for x in self.labels if x not in spread]

    def reduce(self, labels: set[str]) -> None:
        """Sum over those axes that are in `labels`."""
        axis = tuple(i for i, x in enumerate(self.labels) if x in labels)
        if axis:
            self.steps.append(partial(_sum, axis=axis))
            self.labels = [x for x in self.labels if x not in labels]

    def permute(self, labels: Labels) -> None:
        """Bring the axes into the order of `labels`."""
        if labels != self.labels:
            axes = tuple(map(self.labels.index, labels))
            self.steps.append(partial(permute_dims, axes=axes))
            self.labels = labels

    def fold(self, groups: list[Labels]) -> None:
        """Make one axis of each group of axes, of size 1 of an empty one."""
        self.permute([x for group in groups for x in group])
        if any(len(group) != 1 for group in groups):
            shape = tuple(math.prod(self.sizes[x] for x in group) for group in groups)
            self.steps.append(partial(reshape, shape=shape))

    def unfold(self, folded: list[Labels]) -> None:
        """Undo `fold`: the axes that come in groups become single ones."""
        if any(len(group) != 1 for group in folded):
            shape = tuple(self.sizes[x] for x in self.labels)
            self.steps.append(partial(reshape, shape=shape))


def _sum(x: Tensor, axis: tuple[int, ...]) -> Tensor:
    exact = isdtype(x.dtype, "integral")  # which `sum` would widen
    return sum(x, axis=axis, dtype=x.dtype if exact else None)


def _multiply(x: _Term, y: _Term, wanted: set[str]) -> tuple[Product, _Term]:
    """Return how to multiply two terms, with a sum over axes that are not wanted."""
    shared = set(x.labels) & set(y.labels)
    x.reduce(set(x.labels) - shared - wanted)
    y.reduce(set(y.labels) - shared - wanted)
    stack = [z for z in x.labels if z in shared & wanted]
    met = [z for z in x.labels if z in shared - wanted]
    rows = [z for z in x.labels if z not in shared]
    columns = [z for z in y.labels if z not in shared]
    out = _Term(stack + rows + columns, x.sizes)
    single = [[z] for z in stack]
    if met:
        x.fold([*single, rows, met])
        y.fold([*single, met, columns])
        out.unfold([rows, columns])
        return matmul, out
    x.fold([*single, *([z] for z in rows), *([] for _ in columns)])
    y.fold([*single, *([] for _ in rows), *([z] for z in columns)])
    return multiply, out


@lru_cache(maxsize=1024)
def _plan(subscripts: str, shapes: tuple[Shape, ...]) -> Plan:
    """Return the steps of the first operand; of each other one, the product, and after.

    Operands come in one by one, so that steps after a product may lead to the next.
    """
    operands, result = _read(subscripts, shapes)
    sizes = _sizes(subscripts, operands, shapes)
    terms = [_Term(labels, sizes) for labels in operands]
    for term, shape in zip(terms, shapes, strict=True):
        term.enter(shape)
    x = terms[0]
    products = []
    for k, y in enumerate(terms[1:], start=2):
        wanted = set(result).union(*(z.labels for z in terms[k:]))
        product, out = _multiply(x, y, wanted)
        products.append((y.steps, product, out.steps))
        x = out
    x.reduce(set(x.labels) - set(result))
    x.permute(result)
    first = terms[0].steps
    if not first and not products:  # a new tensor, though nothing is done
        first.append(partial(permute_dims, axes=tuple(range(len(result)))))
    return first, products
