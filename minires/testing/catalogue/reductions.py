"""Sums, means, variances, maxima and minima."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from minires.testing import strategies
from minires.testing.catalogue.entry import Case, Entry, Shape, is_power_of_two


def _count(shape: Shape, dim: Any) -> int:
    """Return how many elements are reduced to one."""
    axes = range(len(shape)) if dim is None else (dim,) if isinstance(dim, int) else dim
    return int(np.prod([shape[axis] for axis in axes]))


def _sum(draw: st.DrawFn) -> Case:
    shape = draw(strategies.shapes(min_side=0, max_side=3))
    dim, keepdim = draw(strategies.axes(len(shape))), draw(st.booleans())
    return Case(lambda x: x.sum(dim, keepdim), (shape,), f"x0.sum({dim}, {keepdim})", exact="integers")


def _mean(draw: st.DrawFn) -> Case:
    shape = draw(strategies.shapes(max_side=4))
    dim, keepdim = draw(strategies.axes(len(shape))), draw(st.booleans())
    exact = "integers" if is_power_of_two(_count(shape, dim)) else None
    return Case(lambda x: x.mean(dim, keepdim), (shape,), f"x0.mean({dim}, {keepdim})", exact=exact)


def _var(draw: st.DrawFn) -> Case:
    shape = draw(strategies.shapes(max_side=4))
    dim, keepdim = draw(strategies.axes(len(shape))), draw(st.booleans())
    count = _count(shape, dim)
    correction = draw(st.sampled_from((0, 1) if count > 1 else (0,)))
    exact = "integers" if is_power_of_two(count) and is_power_of_two(count - correction) else None
    return Case(
        lambda x: x.var(dim, correction=correction, keepdim=keepdim),
        (shape,),
        f"x0.var({dim}, correction={correction}, keepdim={keepdim})",
        exact=exact,
    )


def _extremum(name: str) -> Callable[[st.DrawFn], Case]:
    def draw_case(draw: st.DrawFn) -> Case:
        shape = draw(strategies.shapes(max_side=4))
        dim = draw(st.one_of(st.none(), st.integers(-len(shape), len(shape) - 1))) if shape else None
        keepdim = draw(st.booleans())

        def extremum(x: Any) -> Any:
            found = getattr(x, name)(dim, keepdim)
            return found if dim is None else found.values

        return Case(extremum, (shape,), f"x0.{name}({dim}, {keepdim})", exact="apart")

    return draw_case


ENTRIES = (
    Entry("sum", _sum),
    Entry("mean", _mean),
    Entry("var", _var),
    Entry("max", _extremum("max")),
    Entry("min", _extremum("min")),
)
