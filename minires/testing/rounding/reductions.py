"""What sums, maxima and matrix products make of their elements' errors.

Sums are only collected, see model.py. Of n products that are added up, each is rounded once, and the sum is
carried as n terms: γ_n Σ |a|·|b| in all, and fused multiply-adds round less.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minires.device import Array
from minires.testing.rounding.model import Parts, Precision, bound, single, slack

Axes = int | tuple[int, ...] | None


def add_up(x: Parts, axis: Axes, keepdims: bool, precision: Precision) -> Parts:
    """Σ over axes; of integers and booleans exactly."""
    where: dict[str, Any] = {"axis": axis, "keepdims": keepdims}
    value, more = np.asarray(x.value.sum(**where)), slack(x.value.size)
    if value.dtype.kind != "f":
        return single(value, bound(x, precision).sum(**where) * more)
    error, size, terms = (np.asarray(part.sum(**where)) for part in x[1:])
    return Parts(value, error * more, size * more, terms)


def extreme(x: Parts, axis: Axes, keepdims: bool, precision: Precision, largest: bool) -> Parts:
    """The maximum or minimum: as wrong as the worst element that may be it."""
    where: dict[str, Any] = {"axis": axis, "keepdims": keepdims}
    value = np.asarray(x.value.max(**where) if largest else x.value.min(**where))
    errors, candidates = bound(x, precision), _candidates(x, axis, precision, largest)
    return single(value, np.where(candidates, errors, 0.0).max(**where, initial=0.0))


def place_of_extreme(x: Parts, axis: int | None, keepdims: bool, precision: Precision, largest: bool) -> Parts:
    """Its index: as wrong as the farthest other element that may be it."""
    choose = np.argmax if largest else np.argmin
    place = np.asarray(choose(x.value, axis=axis, keepdims=True))
    size, along = (x.value.size, None) if axis is None else (x.value.shape[axis], axis % x.value.ndim)
    places = np.arange(size)
    places = places.reshape(x.value.shape if along is None else [-1 if i == along else 1 for i in range(x.value.ndim)])
    exact = bound(x, precision) == 0
    at_place = places == place
    certain = (
        np.where(at_place, exact, True).all(axis=along, keepdims=True) & exact
    )  # ties of exact numbers are decided
    others = _candidates(x, axis, precision, largest) & ~at_place & ~certain
    distance = np.where(others, np.abs(places - place), 0).max(axis=along, keepdims=True, initial=0)
    if not keepdims:
        place, distance = (np.squeeze(a, axis=along) if along is not None else a.reshape(()) for a in (place, distance))
    return single(place, distance)


def product(multiply: Callable[[Array, Array], Array], a: Parts, b: Parts, length: int, precision: Precision) -> Parts:
    """A bilinear map whose results are sums of ``length`` products at most: `np.matmul`, or an einsum."""
    with np.errstate(all="ignore"):
        ea, eb, more = bound(a, precision), bound(b, precision), slack(length)
        size_a, size_b = np.abs(a.value) + ea, np.abs(b.value) + eb
        value = np.asarray(multiply(a.value, b.value))
        size = np.asarray(multiply(size_a, size_b)) * more
        inherited = multiply(ea, size_b) + multiply(np.abs(a.value).astype(np.float64), eb)
        terms = multiply((size_a != 0).astype(np.float64), (size_b != 0).astype(np.float64))
        error = (inherited + precision.unit * size + terms * precision.smallest) * more  # the last for underflow
        error = np.where(np.isnan(error) | (size > precision.largest), np.inf, error)
        return Parts(value, error, size, np.asarray(terms))


def contracted_length(operands: Sequence[Array], subscripts: str) -> int:
    """How many products an einsum adds up for one result, at most."""
    inputs, _, output = subscripts.partition("->")
    sizes = {
        letter: n
        for letters, operand in zip(inputs.split(","), operands, strict=True)
        for letter, n in zip(letters, operand.shape, strict=True)
    }
    return math.prod(n for letter, n in sizes.items() if letter not in output)


def _candidates(x: Parts, axis: Axes, precision: Precision, largest: bool) -> Array:
    """The elements that may be the extreme one, for some values within the errors."""
    errors, value = bound(x, precision), x.value.astype(np.float64)
    value = value if largest else -value
    with np.errstate(all="ignore"):
        floor = np.where(np.isnan(errors), -np.inf, value - errors).max(axis=axis, keepdims=True)
        certain: Array = value + errors < floor
    return ~certain
