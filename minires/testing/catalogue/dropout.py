"""Dropout, which draws the same mask in every call."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from minires import functional as F
from minires.testing import strategies
from minires.testing.catalogue.entry import Case, Entry, is_power_of_two


def _dropout(draw: st.DrawFn) -> Case:
    shape = draw(strategies.shapes(min_side=0, max_side=3))
    p, seed = draw(st.sampled_from((0.5, 0.75, 0.3, 0.0, 1.0))), draw(strategies.seeds())

    def dropout(x: Any) -> Any:
        return F.dropout(x, p, rng=np.random.default_rng(seed))

    exact = "integers" if p == 1 or is_power_of_two(1 - p) else None
    return Case(dropout, (shape,), f"dropout(x0, {p}, rng=np.random.default_rng({seed}))", exact=exact)


ENTRIES = (Entry("dropout", _dropout),)
