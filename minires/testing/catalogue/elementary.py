"""Elementwise functions of one tensor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from minires import functional as F
from minires.testing import strategies
from minires.testing.catalogue.entry import Case, Entry


def unary(text: str, operation: Callable[[Any], Any], **truths: Any) -> Callable[[st.DrawFn], Case]:
    """Return the cases of a function of one tensor of any shape, also empty ones."""

    def draw_case(draw: st.DrawFn) -> Case:
        shape = draw(strategies.shapes(max_dims=4, min_side=0, max_side=3))
        return Case(operation, (shape,), text, **truths)

    return draw_case


def _clip(draw: st.DrawFn) -> Case:
    low, high = draw(st.sampled_from(((-0.5, 1.5), (None, 0.5), (-1.5, None), (0.5, 0.5))))  # never an integer
    shape = draw(strategies.shapes(min_side=0, max_side=3))
    return Case(lambda x: x.clip(low, high), (shape,), f"x0.clip({low}, {high})", exact="integers")


ENTRIES = (
    Entry("negative", unary("-x0", lambda x: -x, exact="integers")),
    Entry("exp", unary("x0.exp()", lambda x: x.exp())),
    Entry("log", unary("x0.log()", lambda x: x.log(), smooth="positive")),
    Entry("sqrt", unary("x0.sqrt()", lambda x: x.sqrt(), smooth="positive")),
    # No complex step: NumPy's absolute value of a complex number is its length.
    Entry("absolute", unary("x0.abs()", F.absolute, exact="apart", analytic=False)),
    Entry("clip", _clip),
)
