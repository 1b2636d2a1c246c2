"""Reshaping, permuting, padding, broadcasting, indexing and joining: linear maps that move elements."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from minires import functional as F
from minires.testing import strategies
from minires.testing.catalogue.entry import Case, Entry


def _reshape(draw: st.DrawFn) -> Case:
    shape = draw(strategies.shapes(min_side=0, max_side=4))
    new = draw(strategies.reshape_targets(shape))
    return Case(lambda x: x.reshape(new), (shape,), f"x0.reshape({new})", exact="integers")


def _permute(draw: st.DrawFn) -> Case:
    shape = draw(strategies.shapes(min_side=0, max_side=4))
    dims = draw(strategies.permutations(len(shape)))
    return Case(lambda x: x.permute(*dims), (shape,), f"x0.permute{dims}", exact="integers")


def _transpose(draw: st.DrawFn) -> Case:
    shape = draw(strategies.shapes(min_dims=1, min_side=0, max_side=4))
    axis = st.integers(-len(shape), len(shape) - 1)
    i, j = draw(axis), draw(axis)
    return Case(lambda x: x.transpose(i, j), (shape,), f"x0.transpose({i}, {j})", exact="integers")


def _flatten(draw: st.DrawFn) -> Case:
    shape = draw(strategies.shapes(min_side=0, max_side=4))
    start = draw(st.integers(0, max(0, len(shape) - 1)))
    end = draw(st.integers(start, max(0, len(shape) - 1)))
    return Case(lambda x: x.flatten(start, end), (shape,), f"x0.flatten({start}, {end})", exact="integers")


def _getitem(draw: st.DrawFn) -> Case:
    shape = draw(strategies.shapes(max_dims=3, min_side=0, max_side=4))
    index = draw(strategies.indices(shape))
    return Case(lambda x: x[index], (shape,), f"x0[{index!r}]", exact="integers")


def _pad(draw: st.DrawFn) -> Case:
    shape = draw(strategies.shapes(min_side=0, max_side=3))
    pairs = draw(strategies.pad_widths(draw(st.integers(0, len(shape)))))
    widths, value = [width for pair in pairs for width in pair], draw(st.sampled_from((0.0, 3.0)))
    return Case(
        lambda x: F.pad(x, widths, value=value), (shape,), f"pad(x0, {widths}, value={value})", exact="integers"
    )


def _broadcast_to(draw: st.DrawFn) -> Case:
    a, b = draw(strategies.broadcast_pairs(max_side=3))
    full = np.broadcast_shapes(a, b)
    return Case(lambda x: F.broadcast_to(x, full), (a,), f"broadcast_to(x0, {full})", exact="integers")


def _sum_to(draw: st.DrawFn) -> Case:
    a, b = draw(strategies.broadcast_pairs(max_side=3))
    return Case(lambda x: F.sum_to(x, a), (np.broadcast_shapes(a, b),), f"sum_to(x0, {a})", exact="integers")


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


ENTRIES = (
    Entry("reshape", _reshape),
    Entry("permute", _permute),
    Entry("transpose", _transpose),
    Entry("flatten", _flatten),
    Entry("getitem", _getitem),
    Entry("pad", _pad),
    Entry("broadcast_to", _broadcast_to),
    Entry("sum_to", _sum_to),
    Entry("concatenate", _concatenate),
    Entry("stack", _stack),
)
