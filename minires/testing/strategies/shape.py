"""Strategies of shapes, and of what fits a given shape: axes, permutations, reshape targets, padding, indices."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minires.device import Array

Shape: TypeAlias = tuple[int, ...]


def seeds() -> st.SearchStrategy[int]:
    """Return a strategy of seeds for `array` and other generators."""
    return st.integers(0, 2**32 - 1)


def shapes(min_dims: int = 0, max_dims: int = 4, min_side: int = 1, max_side: int = 5) -> st.SearchStrategy[Shape]:
    """Return a strategy of shapes, small ones first; ``min_side=0`` includes empty arrays."""
    return st.lists(st.integers(min_side, max_side), min_size=min_dims, max_size=max_dims).map(tuple)


def broadcast_pairs(max_dims: int = 4, min_side: int = 1, max_side: int = 4) -> st.SearchStrategy[tuple[Shape, Shape]]:
    """Return a strategy of two shapes that broadcast with each other; either one may be longer."""
    return _broadcast_pair(max_dims, min_side, max_side)


def _draw_broadcast_pair(draw: st.DrawFn, max_dims: int, min_side: int, max_side: int) -> tuple[Shape, Shape]:
    full = draw(shapes(max_dims=max_dims, min_side=min_side, max_side=max_side))
    masks = [draw(st.lists(st.booleans(), min_size=len(full), max_size=len(full))) for _ in range(2)]
    pair = [
        tuple(1 if one and not other else n for n, one, other in zip(full, *order, strict=True))
        for order in (masks, masks[::-1])
    ]
    shortened = draw(st.integers(0, 1))
    pair[shortened] = pair[shortened][draw(st.integers(0, len(full))) :]
    return pair[0], pair[1]


def axes(ndim: int) -> st.SearchStrategy[int | tuple[int, ...] | None]:
    """Return a strategy of the ``axis`` of a reduction: None, one of ``ndim`` axes, or several different ones.

    Axes may be negative, and several may stand in any order.
    """
    if not ndim:
        return st.none()
    return st.none() | st.integers(-ndim, ndim - 1) | hnp.valid_tuple_axes(ndim, min_size=1)


def permutations(ndim: int) -> st.SearchStrategy[tuple[int, ...]]:
    """Return a strategy of permutations of ``ndim`` axes, the identity first; some axes may be negative."""
    return _permutation(ndim)


def _draw_permutation(draw: st.DrawFn, ndim: int) -> tuple[int, ...]:
    return tuple(axis - ndim * draw(st.booleans()) for axis in draw(st.permutations(range(ndim))))


def reshape_targets(shape: Shape, max_dims: int = 4) -> st.SearchStrategy[Shape]:
    """Return a strategy of shapes of equal size, with few axes first; in some, one length is −1."""
    return _reshape_target(shape, max_dims)


def _draw_reshape_target(draw: st.DrawFn, shape: Shape, max_dims: int) -> Shape:
    size = math.prod(shape)
    if size:
        sides = [1] * draw(st.integers(min(size - 1, 1), max_dims))
        for factor in _prime_factors(size):
            sides[draw(st.integers(0, len(sides) - 1))] *= factor
    else:
        sides = list(draw(shapes(max_dims=max_dims - 1, min_side=0)))
        sides.insert(draw(st.integers(0, len(sides))), 0)
    for axis in range(len(sides)):
        others = math.prod(sides[:axis] + sides[axis + 1 :])
        if others and draw(st.booleans()):  # beside an empty axis, −1 could be any length
            sides[axis] = -1
            break
    return tuple(sides)


def _prime_factors(n: int) -> list[int]:
    factors, factor = [], 2
    while n > 1:
        while n % factor == 0:
            factors.append(factor)
            n //= factor
        factor += 1
    return factors


def pad_widths(ndim: int, max_width: int = 2) -> st.SearchStrategy[tuple[tuple[int, int], ...]]:
    """Return a strategy of pad widths, (before, after) for each of ``ndim`` axes; no padding first."""
    width = st.integers(0, max_width)
    return st.tuples(*[st.tuples(width, width)] * ndim)


def indices(shape: Shape) -> st.SearchStrategy[Any]:
    """Return a strategy of indices of an array of this shape; the result is an array.

    Indices are integers, slices (steps of any sign), None and Ellipsis; integer arrays that broadcast and may read an
    element several times; a mask.
    """
    basic = hnp.basic_indices(shape, allow_newaxis=True)
    if not shape:
        return basic
    masks = st.builds(mask, shape=st.just(shape), seed=seeds())
    if not math.prod(shape):
        return basic | masks
    return basic | hnp.integer_array_indices(shape, result_shape=shapes(max_dims=2, max_side=3)) | masks


def mask(shape: Shape, seed: int) -> Array:
    """Return a boolean array; about half of its elements are true."""
    return np.random.default_rng(seed).random(shape) < 0.5


# Made once: Hypothesis reads the source of a function that it makes a strategy of, which takes a millisecond.
_broadcast_pair = st.composite(_draw_broadcast_pair)
_permutation = st.composite(_draw_permutation)
_reshape_target = st.composite(_draw_reshape_target)
