"""Drawn shapes, axes and indices are legal for NumPy and tensors, reach every corner, and come small first."""

import math

import numpy as np
import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

import minires as mr
from minires.testing import strategies as ms

SEARCH = settings(max_examples=20_000, database=None, derandomize=True)
REACH = settings(SEARCH, phases=[Phase.generate])  # any example will do, not the smallest
SHAPES = ms.shapes(min_side=0)


def smallest(strategy, corner=lambda drawn: True):
    return find(strategy, corner, settings=SEARCH)


def reach(strategy, corner):
    return find(strategy, corner, settings=REACH)


@pytest.mark.parametrize("shape", [(), (1,), (5,), (3, 1), (2, 2, 2), (5, 5, 5, 5)])
def test_every_shape_is_reached(shape):
    assert reach(ms.shapes(), lambda drawn: drawn == shape) == shape


def test_shapes_are_small_first_and_empty_only_where_they_are_asked_to_be():
    assert smallest(ms.shapes()) == ()
    assert smallest(ms.shapes(min_dims=2)) == (1, 1)
    assert smallest(ms.shapes(), lambda shape: math.prod(shape) >= 4) == (4,)
    assert smallest(SHAPES, lambda shape: len(shape) == 2) == (0, 0)


@given(ms.shapes(1, 3, 2, 6))
def test_shapes_keep_their_bounds(shape):
    assert 1 <= len(shape) <= 3
    assert all(2 <= side <= 6 for side in shape)


@given(ms.broadcast_pairs(min_side=0))
def test_every_pair_broadcasts(pair):
    np.broadcast_shapes(*pair)


@pytest.mark.long
@pytest.mark.parametrize(
    "corner",
    [
        lambda a, b: len(a) > len(b) > 0,
        lambda a, b: 0 < len(a) < len(b),
        lambda a, b: np.broadcast_shapes(a, b) not in (a, b),
        lambda a, b: a == b != (),
        lambda a, b: a == () != b,
        lambda a, b: b == () != a,
        lambda a, b: a == (1,) and len(b) == 3,
        lambda a, b: len(a) == len(b) == 4 and a[0] == b[1] == 1 and a[1] > 1 and b[0] > 1,
    ],
)
def test_pairs_broadcast_in_every_way(corner):
    reach(ms.broadcast_pairs(), lambda pair: corner(*pair))


def test_the_smallest_pair_is_of_numbers():
    assert smallest(ms.broadcast_pairs()) == ((), ())


@given(SHAPES, st.data())
def test_axes_can_be_summed_over(shape, data):
    axis = data.draw(ms.axes(len(shape)))
    expected = np.ones(shape).sum(axis)
    assert mr.tensor(np.ones(shape)).sum(axis).shape == expected.shape


@pytest.mark.parametrize("axis", [None, 0, 2, -1, -3, (1,), (0, 2), (2, 0), (-1, 1), (0, 1, 2)])
def test_all_axes_are_reached(axis):
    assert reach(ms.axes(3), lambda drawn: drawn == axis) == axis
    assert smallest(ms.axes(3)) is smallest(ms.axes(0)) is None


@given(SHAPES, st.data())
def test_permutations_are_orders_of_axes(shape, data):
    order = data.draw(ms.permutations(len(shape)))
    expected = np.ones(shape).transpose(order)
    assert mr.tensor(np.ones(shape)).permute(order).shape == expected.shape


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (-1, 0, 1), (-3, -1, -2)])
def test_all_orders_of_axes_are_reached(order):
    assert reach(ms.permutations(3), lambda drawn: drawn == order) == order
    assert smallest(ms.permutations(3)) == (0, 1, 2)


@given(SHAPES, st.data())
def test_reshape_targets_hold_as_many_elements(shape, data):
    target = data.draw(ms.reshape_targets(shape))
    assert len(target) <= 4
    expected = np.ones(shape).reshape(target)
    assert mr.tensor(np.ones(shape)).reshape(target).shape == expected.shape


@pytest.mark.parametrize(
    ("shape", "target"),
    [
        ((2, 6), (12,)),
        ((2, 6), (3, 4)),
        ((2, 6), (3, -1)),
        ((2, 6), (-1,)),
        ((2, 6), (1, 2, 1, 6)),
        ((1, 1), ()),
        ((), (1, 1)),
        ((), (-1,)),
        ((0, 3), (0,)),
        ((0, 3), (5, 0)),
        ((0, 3), (-1, 4)),
        ((0, 3), (0, 0)),
    ],
)
def test_all_reshape_targets_are_reached(shape, target):
    assert reach(ms.reshape_targets(shape), lambda drawn: drawn == target) == target


def test_the_smallest_reshape_target_is_flat():
    assert smallest(ms.reshape_targets((2, 3))) == (6,)
    assert smallest(ms.reshape_targets((1,))) == ()
    assert smallest(ms.reshape_targets((3, 0))) == (0,)


@given(SHAPES, st.data())
def test_pad_widths_are_what_numpy_takes(shape, data):
    widths = data.draw(ms.pad_widths(len(shape), max_width=3))
    padded = np.pad(np.ones(shape), widths) if shape else np.ones(shape)
    assert padded.shape == tuple(n + before + after for n, (before, after) in zip(shape, widths, strict=True))
    assert all(0 <= width <= 3 for pair in widths for width in pair)


def test_pad_widths_reach_both_sides_of_every_axis():
    assert smallest(ms.pad_widths(2)) == ((0, 0), (0, 0))
    for wanted in [((2, 0), (0, 0)), ((0, 2), (0, 0)), ((0, 0), (2, 1)), ((1, 1), (1, 2))]:
        reach(ms.pad_widths(2), lambda drawn, wanted=wanted: drawn == wanted)


@given(SHAPES, st.data())
def test_indices_read_from_tensors_what_they_read_from_arrays(shape, data):
    x, index = ms.array(shape, 0), data.draw(ms.indices(shape))
    np.testing.assert_array_equal(mr.tensor(x)[index].numpy(), x[index])


def has(kind):
    return lambda index: any(isinstance(part, kind) for part in (index if isinstance(index, tuple) else (index,)))


@pytest.mark.parametrize(
    "corner",
    [
        has(int),
        has(slice),
        has(type(None)),
        has(type(...)),
        lambda index: isinstance(index, np.ndarray) and index.dtype == bool,
        lambda index: has(np.ndarray)(index) and np.unique(index[0]).size < index[0].size,
        lambda index: has(slice)(index) and "-2)" in repr(index),
    ],
)  # fmt: skip
def test_every_way_of_indexing_is_reached(corner):
    reach(ms.indices((3, 4)), corner)
