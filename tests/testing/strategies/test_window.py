"""Drawn windows are legal, reach every corner, and shrink to one pixel."""

import numpy as np
import pytest
from hypothesis import Phase, find, given, settings

from minires.geometry import Geometry, adaptive_windows
from minires.kernels import reference
from minires.testing import strategies as ms

SEARCH = settings(max_examples=20_000, database=None, derandomize=True)
REACH = settings(SEARCH, phases=[Phase.generate])  # any example will do, not the smallest


@given(ms.conv_cases(min_batch=0))
def test_every_convolution_is_legal(case):
    N, K, P, Q = case.geometry.check_conv(case.x, case.w)
    assert (case.x[0], case.w[0]) == (N, K)
    assert min(K, P, Q) >= 1


@given(ms.pool_cases(min_batch=0))
def test_every_pooling_is_legal(case):
    N, C, P, Q = case.geometry.check_pool(case.x)
    assert case.x[:2] == (N, C)
    assert min(C, P, Q) >= 1


@given(ms.adaptive_cases(min_batch=0))
def test_every_grid_covers_its_image(case):
    H, W = case.x[2:]
    covered = np.zeros((H, W), bool)
    for window in adaptive_windows(case.grid, (H, W)):
        covered[window.rows, window.cols] = True
    assert covered.all()


CONV_CORNERS = {
    "a 1 × N kernel": lambda c, g: g.kernel == (1, 3),
    "an N × 1 kernel": lambda c, g: g.kernel == (3, 1),
    "another kernel that is not square": lambda c, g: g.kernel == (2, 3),
    "a stride beyond the largest kernel": lambda c, g: g.stride[0] > g.kernel[0] == 3,
    "a stride that differs by axis": lambda c, g: g.stride == (1, 3),
    "a stride beyond a dilated kernel": lambda c, g: g.kernel[1] == 2 and g.stride[1] > g.extent[1] > 2,
    "padding beyond the largest kernel": lambda c, g: g.padding[0] > g.kernel[0] == 3,
    "padding that differs by axis": lambda c, g: g.padding == (0, 4),
    "padding beyond a dilated kernel": lambda c, g: g.padding[0] > g.extent[0] > g.kernel[0],
    "outputs that see nothing but padding": lambda c, g: g.padding[0] >= g.extent[0] and g.padding[1] >= g.extent[1],
    "dilation without padding": lambda c, g: g.padding == (0, 0) and g.kernel[1] > 1 and g.dilation[1] == 3,
    "dilation that differs by axis": lambda c, g: g.dilation == (3, 1) and g.kernel == (3, 3),
    "groups": lambda c, g: g.groups == 3 and c.w[0] > 3 and c.w[1] > 1,
    "depthwise": lambda c, g: g.groups == 3 and c.w[:2] == (3, 1),
    "depthwise with a multiplier": lambda c, g: g.groups == 2 and c.w[:2] == (4, 1),
    "an image smaller than the kernel": lambda c, g: c.x[2] < g.kernel[0] and c.x[3] < g.kernel[1],
    "an image of one pixel under a large kernel": lambda c, g: c.x[2:] == (1, 1) and g.kernel == (3, 3),
    "pixels no window reaches": lambda c, g: (c.x[2] - g.extent[0]) % g.stride[0] > 0 == g.padding[0],
    "an image that fits exactly": lambda c, g: c.x[2:] == g.extent == (3, 3) and g.padding == (0, 0),
    "an image larger by five": lambda c, g: c.x[3] == g.extent[1] + 5 and g.padding[1] == 0,
    "everything at once": lambda c, g: all(
        a != b for a, b in (g.kernel, g.stride, g.padding, g.dilation, c.x[2:])
    ) and g.groups > 1,
}  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("corner", CONV_CORNERS)
def test_every_corner_of_convolution_is_reached(corner):
    find(ms.conv_cases(), lambda case: CONV_CORNERS[corner](case, case.geometry), settings=REACH)


POOL_CORNERS = {
    "a window that is not square": lambda c, g: g.kernel == (2, 3),
    "a 1 × N window": lambda c, g: g.kernel == (1, 3),
    "padding in one axis": lambda c, g: g.padding == (2, 0),
    "the largest padding": lambda c, g: g.padding == (2, 2),
    "windows that overlap": lambda c, g: g.stride[0] < g.kernel[0] and g.stride[1] < g.kernel[1],
    "windows that meet": lambda c, g: g.stride == g.kernel == (3, 3),
    "windows with gaps": lambda c, g: g.stride[0] > g.kernel[0] == 3,
    "an image smaller than the window": lambda c, g: c.x[2] < g.kernel[0],
    "pixels no window reaches": lambda c, g: (c.x[2] - g.kernel[0]) % g.stride[0] > 0 == g.padding[0],
}  # fmt: skip


@pytest.mark.parametrize("corner", POOL_CORNERS)
def test_every_corner_of_pooling_is_reached(corner):
    find(ms.pool_cases(), lambda case: POOL_CORNERS[corner](case, case.geometry), settings=REACH)


ADAPTIVE_CORNERS = {
    "windows that meet": lambda c: c.grid == (2, 3) and c.x[2:] == (4, 6),
    "neighbours that share a row": lambda c: 1 < c.grid[0] < c.x[2] and c.x[2] % c.grid[0] != 0,
    "more windows than pixels": lambda c: c.grid[0] > c.x[2] and c.grid[1] > c.x[3],
    "one window": lambda c: c.grid == (1, 1) and c.x[2:] == (6, 5),
    "a window for each pixel": lambda c: c.grid == c.x[2:] == (3, 4),
}


@pytest.mark.long
@pytest.mark.parametrize("corner", ADAPTIVE_CORNERS)
def test_every_corner_of_adaptive_pooling_is_reached(corner):
    find(ms.adaptive_cases(), ADAPTIVE_CORNERS[corner], settings=REACH)


@pytest.mark.parametrize("cases", [ms.conv_cases, ms.pool_cases, ms.adaptive_cases])
def test_batches_are_empty_only_where_they_are_asked_to_be(cases):
    assert find(cases(min_batch=0), lambda case: case.x[1] > 1, settings=SEARCH).x[0] == 0
    assert find(cases(), lambda case: case.x[1] > 1, settings=SEARCH).x[0] == 1
    assert find(cases(max_batch=5), lambda case: case.x[0] > 4, settings=SEARCH).x[0] == 5


def test_the_smallest_cases_are_of_one_pixel():
    one, pixel = (1, 1, 1, 1), Geometry((1, 1))
    assert find(ms.conv_cases(), lambda case: True, settings=SEARCH) == ms.ConvCase(one, one, pixel)
    assert find(ms.pool_cases(), lambda case: True, settings=SEARCH) == ms.PoolCase(one, pixel)
    assert find(ms.adaptive_cases(), lambda case: True, settings=SEARCH) == ms.AdaptiveCase(one, (1, 1))


def test_a_wrong_padding_is_shown_with_the_smallest_window_that_shows_it():
    def forgets_the_horizontal_padding(case):
        wrong = Geometry(case.geometry.kernel, case.geometry.stride, (case.geometry.padding[0], 0))
        return case.x[3] >= case.geometry.kernel[1] and wrong.check_pool(case.x) != case.geometry.check_pool(case.x)

    smallest = find(ms.pool_cases(), forgets_the_horizontal_padding, settings=SEARCH)
    assert smallest == ms.PoolCase((1, 1, 1, 2), Geometry((1, 2), padding=(0, 1)))


@given(ms.conv_cases(min_batch=0), ms.pool_cases(min_batch=0), ms.adaptive_cases(min_batch=0), ms.seeds())
def test_the_kernels_take_every_case(conv, pool, adaptive, seed):
    y = reference.conv2d(ms.array(conv.x, seed), ms.array(conv.w, seed), conv.geometry)
    assert y.shape == conv.geometry.check_conv(conv.x, conv.w)
    assert reference.max_pool2d(ms.array(pool.x, seed), pool.geometry).shape == pool.geometry.check_pool(pool.x)
    y = reference.adaptive_avg_pool2d(ms.array(adaptive.x, seed), adaptive.grid)
    assert y.shape == (*adaptive.x[:2], *adaptive.grid)
