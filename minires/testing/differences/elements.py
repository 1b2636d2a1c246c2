"""Which elements of an input have a wrong derivative: looked at one by one, as far as that is affordable."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minires.device import Array
from minires.testing.differences.bisection import elements_that, index_of, part_of

_LOOKED_AT = 64  # elements, one by one
_PATIENCE = 128  # parts of a direction that are tried for the wrong elements of a larger input
_SHOWN = 4  # indices in a text

# An element's move alone -> what is claimed, what was measured, by how much they may differ.
Look = Callable[[Array], tuple[float, float, float]]


class Elements(NamedTuple):
    """Derivatives along single elements of a direction.

    ``places`` are the flat places looked at. They are all that the direction moves where ``all_of_them``, and all that
    are wrong where ``all_wrong_ones``; else a random choice.
    """

    d: Array
    places: Array
    claimed: Array
    numerical: Array
    allowed: Array
    all_of_them: bool
    all_wrong_ones: bool

    @property
    def wrong(self) -> Array:
        """Which of those looked at are wrong (what could not be measured is not)."""
        return np.asarray(np.abs(self.claimed - self.numerical) > self.allowed)

    @property
    def most_wrong(self) -> int | None:
        """The flat place of the largest error, if there is any."""
        error = np.where(self.wrong, np.abs(self.claimed - self.numerical), -1.0)
        return int(self.places[np.argmax(error)]) if self.wrong.any() else None

    def described(self, label: str) -> str:
        """ "3 of 20 elements of `w`: (0,), (3,), (7,)"; nothing if none shows the error by itself."""
        found = self.places[self.wrong]
        if not found.size:
            return ""
        moved = int(np.count_nonzero(self.d))
        if self.all_of_them or self.all_wrong_ones:
            text = f"{found.size} of {moved} elements of {label}"
            if moved < self.d.size:
                text += f" that were moved (it has {self.d.size})"
        else:
            text = f"{found.size} of {self.places.size} elements of {label} that were looked at (it has {self.d.size})"
        if found.size < moved:
            shown = ", ".join(str(index_of(int(place), self.d)) for place in found[:_SHOWN])
            text += f": {shown}" + (", …" if found.size > _SHOWN else "")
        return text


def look_at(look: Look, d: Array, rng: np.random.Generator) -> Elements:
    """Compare the derivatives along single elements of ``d``.

    All of them where they are few; else those that halving the direction leads to; else a random choice.
    """
    places, complete, narrowed = np.flatnonzero(d), True, False
    if places.size > _LOOKED_AT:
        complete = False
        found = elements_that(lambda part: _differs(*look(part)), d, _PATIENCE)
        narrowed = found is not None and found.size > 0
        chosen = found if narrowed else rng.choice(places, _LOOKED_AT, replace=False)
        places = np.sort(np.asarray(chosen))
    seen = [look(part_of(d, np.array([place]))) for place in places]
    claimed, numerical, allowed = (np.array(part) for part in zip(*seen, strict=True))
    return Elements(d, places, claimed, numerical, allowed, complete, narrowed)


def _differs(claimed: float, numerical: float, allowed: float) -> bool:
    return abs(claimed - numerical) > allowed
