"""The rules for sums, maxima and matrix products: the error of a result from the errors of its elements.

A sum is only collected, see model.py. In a sum of n products each product is rounded once, and the sum is carried as
n terms: γ_n Σ |a|·|b| in all. Fused multiply-adds round less.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minires.device import Array
from minires.testing.rounding.model import Parts, slack

Axes = int | tuple[int, ...] | None


def add_up(x: Parts, axis: Axes, keepdims: bool) -> Parts:
    """Return the sum over axes; that of integers and booleans is exact."""
    where: dict[str, Any] = {"axis": axis, "keepdims": keepdims}
    value, more = np.asarray(x.value.sum(**where)), slack(x.value.size)
    if value.dtype.kind != "f":
        return x.numbers(value, x.bound.sum(**where) * more)
    added = x.each(lambda array: array.sum(**where))
    return added._replace(error=added.error * more, size=added.size * more)


def extreme(x: Parts, axis: Axes, keepdims: bool, largest: bool) -> Parts:
    """Return the maximum or minimum, as wrong as the worst element that may be it."""
    where: dict[str, Any] = {"axis": axis, "keepdims": keepdims}
    value = np.asarray(x.value.max(**where) if largest else x.value.min(**where))
    errors, candidates = x.bound, _candidates(x, axis, largest)
    return x.numbers(value, np.where(candidates, errors, 0.0).max(**where, initial=0.0))


def index_of_extreme(x: Parts, axis: int | None, keepdims: bool, largest: bool) -> Parts:
    """Return the index of the maximum or minimum, as wrong as the farthest other element that may be it."""
    choose = np.argmax if largest else np.argmin
    index = np.asarray(choose(x.value, axis=axis, keepdims=True))
    indices = np.arange(x.value.size).reshape(x.value.shape)
    if axis is not None:
        indices = np.indices(x.value.shape, sparse=True)[axis]
    exact, chosen = x.bound == 0, indices == index
    certain = np.where(chosen, exact, True).all(axis=axis, keepdims=True) & exact  # ties of exact numbers are decided
    others = _candidates(x, axis, largest) & ~chosen & ~certain
    distance = np.where(others, np.abs(indices - index), 0).max(axis=axis, keepdims=True, initial=0)
    if not keepdims:
        index, distance = index.squeeze(axis), distance.squeeze(axis)
    return x.numbers(index, distance)


def product(multiply: Callable[[Array, Array], Array], a: Parts, b: Parts, length: int) -> Parts:
    """Return a bilinear map (`np.matmul`, an einsum) whose results are sums of at most ``length`` products."""
    with np.errstate(all="ignore"):
        ea, eb, more = a.bound, b.bound, slack(length)
        size_a, size_b = np.abs(a.value) + ea, np.abs(b.value) + eb
        value = np.asarray(multiply(a.value, b.value))
        size = np.asarray(multiply(size_a, size_b)) * more
        inherited = multiply(ea, size_b) + multiply(np.abs(a.value).astype(np.float64), eb)
        terms = multiply((size_a != 0).astype(np.float64), (size_b != 0).astype(np.float64))
        error = (inherited + a.precision.unit * size + terms * a.precision.smallest) * more  # the last for underflow
        error = np.where(np.isnan(error) | (size > a.precision.largest), np.inf, error)
        return Parts(value, error, size, np.asarray(terms), a.precision)


def contracted_length(operands: Sequence[Array], subscripts: str) -> int:
    """Return how many products an einsum adds up for one result, at most."""
    inputs, _, output = subscripts.partition("->")
    sizes = {
        letter: n
        for letters, operand in zip(inputs.split(","), operands, strict=True)
        for letter, n in zip(letters, operand.shape, strict=True)
    }
    return math.prod(n for letter, n in sizes.items() if letter not in output)


def _candidates(x: Parts, axis: Axes, largest: bool) -> Array:
    """Return the mask of the elements that are the extreme one for some values within the errors."""
    errors, value = x.bound, x.value.astype(np.float64)
    value = value if largest else -value
    with np.errstate(all="ignore"):
        floor = np.where(np.isnan(errors), -np.inf, value - errors).max(axis=axis, keepdims=True)
        certain: Array = value + errors < floor
    return ~certain
