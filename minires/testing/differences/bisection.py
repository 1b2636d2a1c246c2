"""Parts of a direction, and the search for the one element that shows an error."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from minires.device import Array


def part_of(d: Array, where: Array) -> Array:
    """``d`` at the flat places ``where``, zero elsewhere."""
    part = np.zeros_like(d)
    part.flat[where] = d.flat[where]  # whatever the memory order
    return part


def index_of(place: int, d: Array) -> tuple[int, ...]:
    """The index of a flat place in ``d``."""
    return tuple(int(i) for i in np.unravel_index(place, d.shape))


def most_wrong(d: Array, error: Callable[[Array], float]) -> int:
    """The flat place of the element that is left when d is halved again and again, towards the larger |error|.

    An error that is not a number is larger than all others.
    """

    def size(where: Array) -> float:
        found = abs(error(part_of(d, where)))
        return math.inf if math.isnan(found) else found

    where = np.flatnonzero(d)
    while where.size > 1:
        first, second = np.array_split(where, 2)
        where = first if size(first) >= size(second) else second
    return int(where[0])


def elements_that(show: Callable[[Array], bool], d: Array, patience: int) -> Array | None:
    """The flat places of the elements of ``d`` that show something by themselves; None if that takes too long.

    Parts of the direction that show it are halved on, at most ``patience`` of them.
    """
    found: list[int] = []
    pending = [np.flatnonzero(d)]
    for _ in range(patience):
        if not pending:
            break
        where = pending.pop()
        if not where.size or not show(part_of(d, where)):
            continue
        if where.size == 1:
            found.append(int(where[0]))
        else:
            pending += np.array_split(where, 2)
    return None if pending else np.array(found, int)
