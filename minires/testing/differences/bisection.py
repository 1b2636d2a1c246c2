"""Search a direction for the elements that show an error."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minires.device import Array

_LOOKED_AT = 64  # elements, one by one
_PATIENCE = 128  # parts of a direction that are tried, to find the wrong elements of a larger input
_SHOWN = 4  # indices in a text

# A part of a direction -> the claimed derivative, the measured one, and by how much they may differ.
Look = Callable[[Array], tuple[float, float, float]]


def part_of(d: Array, where: Array) -> Array:
    """Return ``d`` at the flat indices ``where``, zero elsewhere."""
    part = np.zeros_like(d)
    part.flat[where] = d.flat[where]  # whatever the memory order
    return part


def index_of(flat: int, d: Array) -> tuple[int, ...]:
    """Return the index that belongs to a flat index of ``d``."""
    return tuple(int(i) for i in np.unravel_index(flat, d.shape))


def most_wrong(d: Array, error: Callable[[Array], float]) -> int:
    """Return the flat index that is left if d is halved repeatedly, towards the larger |error|; NaN is the largest."""

    def size(where: Array) -> float:
        found = abs(error(part_of(d, where)))
        return math.inf if math.isnan(found) else found

    where = np.flatnonzero(d)
    while where.size > 1:
        first, second = np.array_split(where, 2)
        where = first if size(first) >= size(second) else second
    return int(where[0])


def elements_that(show: Callable[[Array], bool], d: Array, patience: int) -> Array | None:
    """Return the flat indices of the elements of ``d`` that show something alone; None if that takes too long.

    Parts of the direction that show it are halved again, at most ``patience`` parts in all.
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


class Elements(NamedTuple):
    """The derivatives along single elements of a direction.

    Attributes
    ----------
    d : the direction
    indices : the flat indices of the elements that were looked at
    claimed, numerical, allowed : of each of them: both derivatives, and by how much they may differ
    are_all : they are all elements that the direction moves
    are_all_wrong_ones : they are the elements that are wrong; if neither is true, they are a random choice
    """

    d: Array
    indices: Array
    claimed: Array
    numerical: Array
    allowed: Array
    are_all: bool
    are_all_wrong_ones: bool

    @property
    def complete(self) -> bool:
        """Whether no wrong element was left out."""
        return self.are_all or self.are_all_wrong_ones

    @property
    def wrong(self) -> Array:
        """The mask of elements that are wrong; one that could not be measured is not."""
        return np.asarray(np.abs(self.claimed - self.numerical) > self.allowed)

    @property
    def most_wrong(self) -> int | None:
        """The flat index of the largest error, if there is one."""
        error = np.where(self.wrong, np.abs(self.claimed - self.numerical), -1.0)
        return int(self.indices[np.argmax(error)]) if self.wrong.any() else None

    def described(self, label: str) -> str:
        """Return a text such as "3 of 20 elements of `w`: (0,), (3,), (7,)"; "" if no element is wrong alone."""
        found = self.indices[self.wrong]
        if not found.size:
            return ""
        moved = int(np.count_nonzero(self.d))
        if self.complete:
            text = f"{found.size} of {moved} elements of {label}"
            if moved < self.d.size:
                text += f" that were moved (it has {self.d.size})"
        else:
            text = f"{found.size} of {self.indices.size} elements of {label} that were looked at (it has {self.d.size})"
        if found.size < moved:
            shown = ", ".join(str(index_of(int(flat), self.d)) for flat in found[:_SHOWN])
            text += f": {shown}" + (", …" if found.size > _SHOWN else "")
        return text


def look_at(look: Look, d: Array, rng: np.random.Generator) -> Elements:
    """Return the derivatives along single elements of ``d``.

    All elements are looked at if they are few; else those to which halving the direction leads; else a random choice.
    """

    def differs(part: Array) -> bool:
        claimed, numerical, allowed = look(part)
        return abs(claimed - numerical) > allowed

    indices = np.flatnonzero(d)
    few, narrowed = indices.size <= _LOOKED_AT, False
    if not few:
        found = elements_that(differs, d, _PATIENCE)
        narrowed = found is not None and found.size > 0
        chosen = found if narrowed else rng.choice(indices, _LOOKED_AT, replace=False)
        indices = np.sort(np.asarray(chosen))
    seen = [look(part_of(d, np.array([flat]))) for flat in indices]
    claimed, numerical, allowed = (np.array(part) for part in zip(*seen, strict=True))
    return Elements(d, indices, claimed, numerical, allowed, few, narrowed)
