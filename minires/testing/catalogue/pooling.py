"""Max, average and adaptive average pooling, with every legal window."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from minires import functional as F
from minires.testing import strategies
from minires.testing.catalogue.entry import Case, Entry, is_power_of_two


def _window(name: str, exact: Callable[[int], str | None]) -> Callable[[st.DrawFn], Case]:
    def draw_case(draw: st.DrawFn) -> Case:
        case = draw(strategies.pool_cases(max_channels=2))
        window = case.geometry.kernel, case.geometry.stride, case.geometry.padding
        operation = getattr(F, name)
        text = "{}(x0, {}, stride={}, padding={})".format(name, *window)
        kind = exact(case.geometry.kernel[0] * case.geometry.kernel[1])
        return Case(lambda x: operation(x, *window), (case.x,), text, exact=kind)

    return draw_case


def _adaptive(draw: st.DrawFn) -> Case:
    x, grid = draw(strategies.adaptive_cases(max_channels=2))
    lengths = {*_lengths(x[2], grid[0]), *_lengths(x[3], grid[1])}
    exact = "integers" if all(map(is_power_of_two, lengths)) else None
    size: Any = draw(st.sampled_from((grid, (None, grid[1])))) if grid[0] == x[2] else grid
    return Case(lambda x: F.adaptive_avg_pool2d(x, size), (x,), f"adaptive_avg_pool2d(x0, {size})", exact=exact)


def _lengths(n: int, parts: int) -> set[int]:
    """Return the lengths of the windows into which ``n`` pixels are divided."""
    return {math.ceil((p + 1) * n / parts) - p * n // parts for p in range(parts)}


ENTRIES = (
    Entry("max_pool2d", _window("max_pool2d", lambda taps: "apart")),
    Entry("avg_pool2d", _window("avg_pool2d", lambda taps: "integers" if is_power_of_two(taps) else None)),
    Entry("adaptive_avg_pool2d", _adaptive),
)
