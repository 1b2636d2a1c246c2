"""The catalogue: every differentiable operation of minires, how to draw cases of it, and what is true of each.

From it are run: the table of `minires check`, the property tests, and the thorough run. Needs Hypothesis.
"""

from __future__ import annotations

from minires.testing.catalogue import (
    activations,
    arithmetic,
    bilinear,
    casts,
    dropout,
    elementary,
    joining,
    losses,
    norm,
    pooling,
    reductions,
    shapes,
)
from minires.testing.catalogue.entry import Case, Entry

ENTRIES: tuple[Entry, ...] = (
    *arithmetic.ENTRIES,
    *elementary.ENTRIES,
    *reductions.ENTRIES,
    *shapes.ENTRIES,
    *joining.ENTRIES,
    *bilinear.ENTRIES,
    *norm.ENTRIES,
    *pooling.ENTRIES,
    *activations.ENTRIES,
    *losses.ENTRIES,
    *dropout.ENTRIES,
    *casts.ENTRIES,
)

__all__ = ["ENTRIES", "Case", "Entry"]
