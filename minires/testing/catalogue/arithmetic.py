"""Operations of two tensors, or of a tensor and a scalar."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from minires import functional as F
from minires.functional.creation import tensor
from minires.testing import strategies
from minires.testing.catalogue.entry import Case, Entry, Kinds, Shape


def _binary(
    text: str,
    operation: Callable[[Any, Any], Any],
    *,
    numbers: tuple[float, ...] = (2.0, -0.5, 4.0),
    smooth: Kinds = "smooth",
    exact: tuple[str, ...] = (),
    exact_kinds: tuple[str, str] = ("integers", "integers"),
) -> Callable[[st.DrawFn], Case]:
    """Return the cases of an operation of two tensors, or with a scalar on one side.

    ``exact`` holds "both", "left" or "right" if nothing rounds when both operands, or this one, are tensors.
    """

    def draw_case(draw: st.DrawFn) -> Case:
        tensors = draw(st.sampled_from(("both", "left", "right")))
        a, b = draw(strategies.broadcast_pairs(max_dims=3, max_side=3))
        kinds = exact_kinds if tensors in exact else None
        if tensors == "both":
            return Case(operation, (a, b), text.format("x0", "x1"), smooth, kinds)
        number, kind = draw(st.sampled_from(numbers)), kinds and exact_kinds[1]
        if tensors == "left":
            return Case(lambda x: operation(x, number), (a,), text.format("x0", number), smooth, kind)
        return Case(lambda x: operation(number, x), (a,), text.format(number, "x0"), smooth, kind)

    return draw_case


def _where(draw: st.DrawFn) -> Case:
    a, b = draw(strategies.broadcast_pairs(max_dims=3, max_side=3))
    full: Shape = np.broadcast_shapes(a, b)
    shape = tuple(draw(st.sampled_from((n, 1))) for n in full)
    condition = np.asarray(strategies.mask(shape, draw(strategies.seeds())))

    def where(x: Any, y: Any) -> Any:
        return F.where(tensor(condition, device=x.device), x, y)

    return Case(where, (a, b), f"where({condition.tolist()}, x0, x1)", exact="integers")


_ANY, _UNEQUAL = ("both", "left", "right"), ("integers", "apart")

ENTRIES = (
    Entry("add", _binary("{} + {}", lambda a, b: a + b, exact=_ANY)),
    Entry("subtract", _binary("{} - {}", lambda a, b: a - b, exact=_ANY)),
    Entry("multiply", _binary("{} * {}", lambda a, b: a * b, exact=_ANY)),
    Entry("divide", _binary("{} / {}", lambda a, b: a / b, smooth="positive", exact=("left",))),
    Entry("power", _binary("{} ** {}", lambda a, b: a**b, numbers=(2.0, 0.5, 3.0), smooth="near one")),
    # Values that are "apart" are never equal to integers.
    Entry("maximum", _binary("maximum({}, {})", F.maximum, numbers=(2.0, -1.0), exact=_ANY, exact_kinds=_UNEQUAL)),
    Entry("where", _where),
)
