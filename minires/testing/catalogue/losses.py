"""Softmax, its logarithm, and the cross-entropy with labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from minires import functional as F
from minires.functional.creation import tensor
from minires.testing import strategies
from minires.testing.catalogue.entry import Case, Entry


def _softmax(operation: Callable[..., Any], text: str) -> Callable[[st.DrawFn], Case]:
    def draw_case(draw: st.DrawFn) -> Case:
        shape = draw(strategies.shapes(min_dims=1, max_dims=3, max_side=4))
        dim = draw(st.integers(-len(shape), len(shape) - 1))
        return Case(lambda x: operation(x, dim), (shape,), f"{text}(x0, {dim})")

    return draw_case


def _cross_entropy(draw: st.DrawFn) -> Case:
    N, K = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    ignore_index = draw(st.sampled_from((-100, 0)))
    labels = draw(strategies.labels(N, K, ignore_index))
    reduction = draw(st.sampled_from(("mean", "sum", "none")))
    if (labels == ignore_index).all() and reduction == "mean":  # the mean over zero rows is NaN
        labels[0], ignore_index = 0, -100
    smoothing = draw(st.sampled_from((0.0, 0.25, 1.0)))
    options: dict[str, Any] = {"reduction": reduction, "label_smoothing": smoothing, "ignore_index": ignore_index}

    def cross_entropy(x: Any) -> Any:
        return F.cross_entropy(x, tensor(labels, device=x.device), **options)

    stated = ", ".join(f"{name}={value!r}" for name, value in options.items())
    return Case(cross_entropy, ((N, K),), f"cross_entropy(x0, {labels.tolist()}, {stated})")


ENTRIES = (
    Entry("softmax", _softmax(F.softmax, "softmax")),
    Entry("log_softmax", _softmax(F.log_softmax, "log_softmax")),
    Entry("cross_entropy", _cross_entropy),
)
