"""Joining tensors."""

from __future__ import annotations

from hypothesis import strategies as st

from minires import functional as F
from minires.testing import strategies
from minires.testing.catalogue.entry import Case, Entry


def _concatenate(draw: st.DrawFn) -> Case:
    shape = draw(strategies.shapes(min_dims=1, max_dims=3, min_side=0, max_side=3))
    dim = draw(st.integers(-len(shape), len(shape) - 1))
    axis = dim % len(shape)
    lengths = draw(st.lists(st.integers(0, 3), min_size=1, max_size=3))
    shapes = tuple((*shape[:axis], n, *shape[axis + 1 :]) for n in lengths)
    again = draw(st.integers(0, 1))  # a tensor that is joined twice gets the sum of two gradients
    text = f"concatenate([x0, …{', x0' * again}], {dim})"
    return Case(lambda *xs: F.concatenate([*xs, *xs[:again]], dim), shapes, text, exact="integers")


def _stack(draw: st.DrawFn) -> Case:
    shape = draw(strategies.shapes(max_dims=3, min_side=0, max_side=3))
    dim = draw(st.integers(-len(shape) - 1, len(shape)))
    shapes = (shape,) * draw(st.integers(1, 3))
    return Case(lambda *xs: F.stack(xs, dim), shapes, f"stack([x0, …], {dim})", exact="integers")


ENTRIES = (Entry("concatenate", _concatenate), Entry("stack", _stack))
