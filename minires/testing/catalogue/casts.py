"""Copies, and casts to another dtype."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from minires.testing import strategies
from minires.testing.catalogue.elementary import unary
from minires.testing.catalogue.entry import Case, Entry


def _to(draw: st.DrawFn) -> Case:
    """Draw a cast to the other float dtype, which changes integers not at all and rounds other values."""
    shape = draw(strategies.shapes(min_side=0, max_side=3))

    def to(x: Any) -> Any:
        return x.to("float32" if x.dtype == np.float64 else "float64")

    return Case(to, (shape,), "x0.to(the other float dtype)", smooth=None, exact="integers", analytic=False)


ENTRIES = (Entry("clone", unary("x0.clone()", lambda x: x.clone(), exact="integers")), Entry("to", _to))
