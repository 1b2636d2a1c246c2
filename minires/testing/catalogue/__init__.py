"""The catalogue of every differentiable operation of minires, with a way to draw cases of each.

The table of `minires check`, the property tests and the thorough run check these cases. Needs Hypothesis.

Read in this order: `entry`; `elementary` and the other files of entries; `laid_out`, `rounding` and `check` (one check
of one case); `complete`, `table` and `command` (`minires check`); and for a user's operation `own_module`,
`own_layer`, `own` and `own_check`.
"""

from __future__ import annotations

from minires.testing.catalogue import (
    activations,
    arithmetic,
    bilinear,
    casts,
    dropout,
    elementary,
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
    *bilinear.ENTRIES,
    *norm.ENTRIES,
    *pooling.ENTRIES,
    *activations.ENTRIES,
    *losses.ENTRIES,
    *dropout.ENTRIES,
    *casts.ENTRIES,
)

__all__ = ["ENTRIES", "Case", "Entry"]
