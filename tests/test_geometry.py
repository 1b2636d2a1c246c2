import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from minires.errors import ShapeError
from minires.geometry import Geometry, adaptive_windows

pairs = st.tuples(st.integers(1, 4), st.integers(1, 4))
geometries = st.builds(
    Geometry,
    kernel=pairs,
    stride=pairs,
    padding=st.tuples(st.integers(0, 4), st.integers(0, 4)),
    dilation=pairs,
)
sizes = st.tuples(st.integers(1, 9), st.integers(1, 9))


def legal(geometry, size):
    padded = [n + 2 * pad for n, pad in zip(size, geometry.padding, strict=True)]
    return all(n >= (k - 1) * d + 1 for n, k, d in zip(padded, geometry.kernel, geometry.dilation, strict=True))


@given(geometry=geometries, size=sizes)
def test_output_size_counts_the_places_where_the_window_fits(geometry, size):
    assume(legal(geometry, size))
    counts = []
    for axis in (0, 1):
        last_tap = (geometry.kernel[axis] - 1) * geometry.dilation[axis]
        end = size[axis] + 2 * geometry.padding[axis]
        counts.append(sum(start + last_tap < end for start in range(0, end, geometry.stride[axis])))
    assert geometry.output_size(size) == tuple(counts)


@given(geometry=geometries, size=sizes)
def test_taps_are_exactly_the_pairs_that_equation_1_joins(geometry, size):
    assume(legal(geometry, size))
    P, Q = geometry.output_size(size)
    expected = set()
    for r in range(geometry.kernel[0]):
        for s in range(geometry.kernel[1]):
            for p in range(P):
                for q in range(Q):
                    h = p * geometry.stride[0] + r * geometry.dilation[0] - geometry.padding[0]
                    w = q * geometry.stride[1] + s * geometry.dilation[1] - geometry.padding[1]
                    if 0 <= h < size[0] and 0 <= w < size[1]:
                        expected.add((r, s, p, q, h, w))
    found = {
        (tap.r, tap.s, p, q, h, w)
        for tap in geometry.taps(size)
        for p, h in zip(range(P)[tap.rows_out], range(size[0])[tap.rows_in], strict=True)
        for q, w in zip(range(Q)[tap.cols_out], range(size[1])[tap.cols_in], strict=True)
    }
    assert found == expected


def test_an_integer_stands_for_both_directions():
    assert Geometry(3, 2, 1, 1) == Geometry((3, 3), (2, 2), (1, 1), (1, 1))


def test_numpys_integers_become_pythons():
    geometry = Geometry(np.array([3, 3]), [np.int8(2), 2], np.array(1), (np.uint8(1), np.int64(1)), np.int32(2))
    assert geometry == Geometry(3, 2, 1, 1, 2)
    assert hash(geometry) == hash(Geometry(3, 2, 1, 1, 2))
    assert {type(n) for n in (*geometry.kernel, *geometry.stride, *geometry.padding, geometry.groups)} == {int}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"kernel": 0}, "kernel must be at least 1, got (0, 0)"),
        ({"kernel": 3, "stride": 0}, "stride must be at least 1, got (0, 0)"),
        ({"kernel": 3, "stride": (1, -2)}, "stride must be at least 1, got (1, -2)"),
        ({"kernel": 3, "padding": -1}, "padding must be at least 0, got (-1, -1)"),
        ({"kernel": 3, "dilation": 0}, "dilation must be at least 1, got (0, 0)"),
        ({"kernel": 3, "groups": 0}, "groups must be a positive integer, got 0"),
        ({"kernel": (1, 2, 3)}, "kernel must be an integer or a pair of integers, got (1, 2, 3)"),
        ({"kernel": 3, "groups": 1.5}, "groups must be a positive integer, got 1.5"),
        ({"kernel": 3, "groups": True}, "groups must be a positive integer, got True"),
        ({"kernel": (1, 1.5)}, "kernel must be an integer or a pair of integers, got (1, 1.5)"),
        ({"kernel": 1.5}, "kernel must be an integer or a pair of integers, got 1.5"),
        ({"kernel": np.array(1.5)}, "kernel must be an integer or a pair of integers, got array(1.5)"),
        ({"kernel": "3"}, "kernel must be an integer or a pair of integers, got '3'"),
        ({"kernel": 3, "groups": "1"}, "groups must be a positive integer, got '1'"),
    ],
)
def test_impossible_windows_are_refused_by_name_and_value(arguments, text):
    with pytest.raises(ShapeError) as caught:
        Geometry(**arguments)
    assert text in str(caught.value)


def test_a_window_larger_than_the_padded_input_is_refused():
    with pytest.raises(ShapeError, match=r"does not fit an input of \(4, 9\) with padding \(0, 0\)"):
        Geometry(3, dilation=2).output_size((4, 9))


def test_pooling_refuses_padding_as_large_as_its_window():
    with pytest.raises(ShapeError, match=r"padding \(2, 2\) must be smaller than the window \(2, 2\)"):
        Geometry(2, padding=2).check_pool((1, 1, 8, 8))


@pytest.mark.parametrize("shape", [(2, 3, 0, 5), (2, 3, 5, 0)])
def test_pooling_refuses_images_without_pixels(shape):
    with pytest.raises(ShapeError, match="pooling needs images with pixels"):
        Geometry(2, padding=1).check_pool(shape)
    assert Geometry(2, padding=1).check_pool((0, 0, 4, 6)) == (0, 0, 5, 7)  # there may be no images, and no channels


@given(size=st.tuples(st.integers(1, 12), st.integers(1, 12)), grid=st.tuples(st.integers(1, 6), st.integers(1, 6)))
def test_the_windows_of_a_grid_cover_the_image_and_are_as_in_the_definition(size, grid):
    seen = set()
    for window in adaptive_windows(grid, size):
        rows, cols = range(size[0])[window.rows], range(size[1])[window.cols]
        assert window.pixels == len(rows) * len(cols) > 0
        assert rows[0] == math.floor(window.p * size[0] / grid[0])
        assert rows[-1] + 1 == math.ceil((window.p + 1) * size[0] / grid[0])
        seen |= {(h, w) for h in rows for w in cols}
    assert seen == {(h, w) for h in range(size[0]) for w in range(size[1])}
