"""The strategies generate what they say, reach every corner, and draw nothing illegal."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

from minires import testing
from minires.testing import strategies

SEARCH = settings(max_examples=5000, database=None)  # for `find`, which searches for one example


@given(strategies.conv_cases())
def test_every_convolution_is_legal(case):
    assert min(case.geometry.check_conv(case.x, case.w)) >= 1


@given(strategies.pool_cases())
def test_every_pooling_is_legal(case):
    assert min(case.geometry.check_pool(case.x)) >= 1


@pytest.mark.parametrize(
    "corner",
    [
        lambda g: g.kernel[0] != g.kernel[1],
        lambda g: g.stride[0] > g.kernel[0],
        lambda g: g.stride[0] != g.stride[1] and g.dilation[0] != g.dilation[1],
        lambda g: g.padding[0] > g.kernel[0],
        lambda g: g.padding == (0, 0) and g.dilation[1] == 3,
        lambda g: g.groups == 3 and g.kernel == (3, 3),
    ],
)
def test_every_corner_of_convolution_geometry_is_reached(corner):
    find(strategies.conv_cases(), lambda case: corner(case.geometry), settings=SEARCH)


@pytest.mark.parametrize(
    "corner",
    [
        lambda c: c.geometry.kernel == (2, 3),
        lambda c: c.geometry.padding == (2, 0),
        lambda c: c.geometry.stride[0] > c.geometry.kernel[0],
        lambda c: (c.x[2] + 2 * c.geometry.padding[0] - c.geometry.kernel[0]) % c.geometry.stride[0] != 0,
    ],
)
def test_every_corner_of_pooling_geometry_is_reached(corner):
    find(strategies.pool_cases(), corner, settings=SEARCH)


def test_the_simplest_convolution_is_one_pixel():
    simplest = find(strategies.conv_cases(), lambda case: True, settings=SEARCH)
    assert (simplest.x, simplest.w) == ((1, 1, 1, 1), (1, 1, 1, 1))


@given(strategies.broadcast_pairs())
def test_every_pair_broadcasts(pair):
    np.broadcast_shapes(*pair)


@pytest.mark.parametrize(
    "corner",
    [
        lambda a, b: len(a) > len(b) > 0,
        lambda a, b: 0 < len(a) < len(b),
        lambda a, b: np.broadcast_shapes(a, b) not in (a, b),
        lambda a, b: a == b != (),
    ],
)
def test_pairs_broadcast_in_every_way(corner):
    find(strategies.broadcast_pairs(), lambda pair: corner(*pair), settings=SEARCH)


@given(st.integers(1, 6), st.integers(1, 5), st.data())
def test_labels_are_class_numbers_or_ignored(batch, classes, data):
    labels = data.draw(strategies.labels(batch, classes, ignore_index=-100))
    assert labels.dtype == np.int64
    assert all(label == -100 or 0 <= label < classes for label in labels)


@given(strategies.shapes(), strategies.kinds(), strategies.dtypes(), strategies.memory_orders(), strategies.seeds())
def test_arrays_are_functions_of_their_seed(shape, kind, dtype, order, seed):
    x = strategies.array(shape, seed, kind, dtype, order)
    assert (x.shape, x.dtype) == (shape, dtype)
    np.testing.assert_array_equal(x, strategies.array(shape, seed, kind, dtype))
    if kind in ("integers", "tied"):
        np.testing.assert_array_equal(x, np.round(x))


def test_kinds_of_values_are_what_they_are_called():
    tied, near = (strategies.array((100,), 0, kind) for kind in ("tied", "near_kinks"))
    assert set(tied) == {-1.0, 0.0, 1.0}
    assert (near == 0).any()
    assert (np.abs(near[near != 0]) < 1e-6).any()
    assert not np.array_equal(strategies.array((9,), 0), strategies.array((9,), 0, stream=1))
    with pytest.raises(ValueError, match="'rough' is not one of"):
        strategies.array((3,), 0, "rough")


def test_the_checkers_do_not_import_hypothesis():
    code = "import sys, minires.testing; sys.exit('hypothesis' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_strategies_are_imported_when_asked_for():
    assert testing.strategies is strategies
    with pytest.raises(AttributeError, match="'strategy'"):
        testing.strategy  # noqa: B018
