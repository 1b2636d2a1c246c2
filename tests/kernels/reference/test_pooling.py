import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minires.errors import ShapeError
from minires.geometry import Geometry
from minires.kernels.reference.pooling import (
    avg_pool2d,
    avg_pool2d_grad,
    max_pool2d,
    max_pool2d_gather,
    max_pool2d_grad,
)


@st.composite
def problems(draw):
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    padding = tuple(draw(st.integers(0, n - 1)) for n in kernel)
    geometry = Geometry(kernel, draw(st.tuples(st.integers(1, 3), st.integers(1, 3))), padding)
    size = tuple(draw(st.integers(max(1, n - 2 * pad), n + 4)) for n, pad in zip(kernel, padding, strict=True))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x = rng.integers(-3, 4, (2, 2, *size)).astype(draw(st.sampled_from([np.float32, np.float64])))  # many ties
    gy = rng.integers(-9, 10, geometry.check_pool(x.shape)).astype(x.dtype)
    if draw(st.booleans()):
        x = np.ascontiguousarray(x.transpose(2, 3, 0, 1)).transpose(2, 3, 0, 1)
    return geometry, x, gy


def windows(geometry, x):
    """For each output, the places of its window inside the image, in row-major order."""
    for n, c, p, q in np.ndindex(geometry.check_pool(x.shape)):
        places = []
        for r in range(geometry.kernel[0]):
            for s in range(geometry.kernel[1]):
                h = p * geometry.stride[0] + r - geometry.padding[0]
                w = q * geometry.stride[1] + s - geometry.padding[1]
                if 0 <= h < x.shape[2] and 0 <= w < x.shape[3]:
                    places.append((n, c, h, w))
        yield (n, c, p, q), places


@given(problem=problems())
def test_the_first_largest_value_wins_and_takes_the_gradient(problem):
    geometry, x, gy = problem
    y, gx, expected = max_pool2d(x, geometry), max_pool2d_grad(gy, x, geometry), np.zeros(x.shape)
    for index, places in windows(geometry, x):
        best = max(places, key=lambda place: x[place])  # Python's max keeps the first
        assert y[index] == x[best]
        expected[best] += gy[index]
    assert (y.dtype, gx.dtype) == (x.dtype, x.dtype)
    assert np.array_equal(gx, expected)


@given(problem=problems())
def test_gathering_is_the_exact_adjoint_of_the_gradient_of_max_pooling(problem):
    geometry, x, gy = problem
    v = x[::-1] * 2 + 1
    assert np.sum(gy * max_pool2d_gather(v, x, geometry)) == np.sum(v * max_pool2d_grad(gy, x, geometry))
    assert np.array_equal(max_pool2d_gather(x, x, geometry), max_pool2d(x, geometry))


@given(problem=problems())
def test_average_pooling_and_its_gradient_are_sums_over_the_window(problem):
    geometry, x, gy = problem
    area = geometry.kernel[0] * geometry.kernel[1]
    y, gx, sums = avg_pool2d(x, geometry), avg_pool2d_grad(gy, geometry, x.shape[2:]), np.zeros(x.shape, x.dtype)
    for index, places in windows(geometry, x):
        assert y[index] == sum(x[place] for place in places) / x.dtype.type(area)
        for place in places:
            sums[place] += gy[index]
    assert np.array_equal(gx, sums / x.dtype.type(area))


def test_nan_wins_every_window_that_holds_it():
    x = np.zeros((1, 1, 4, 4))
    x[0, 0, 1, 1] = np.nan
    assert np.isnan(max_pool2d(x, Geometry(2, 2)))[0, 0].tolist() == [[True, False], [False, False]]


def test_minus_infinity_can_win():
    x = np.full((1, 1, 2, 2), -np.inf)
    assert max_pool2d(x, Geometry(2)).item() == -np.inf
    assert max_pool2d_grad(np.ones((1, 1, 1, 1)), x, Geometry(2)).ravel().tolist() == [1.0, 0.0, 0.0, 0.0]


def test_windows_and_gradients_that_do_not_fit_are_named():
    x = np.ones((1, 1, 4, 4))
    with pytest.raises(ShapeError, match=r"padding \(2, 2\) must be smaller than the window \(2, 2\)"):
        max_pool2d(x, Geometry(2, padding=2))
    with pytest.raises(ShapeError, match=r"no dilation, got \(2, 2\)"):
        max_pool2d(x, Geometry(2, dilation=2))
    with pytest.raises(ShapeError, match=r"shape \(1, 1, 1, 1\) was given where pooling needs \(1, 1, 2, 2\)"):
        max_pool2d_grad(np.ones((1, 1, 1, 1)), x, Geometry(2, 2))
    with pytest.raises(ShapeError, match=r"shape \(1, 1, 3, 3\) was given where pooling needs \(1, 1, 2, 2\)"):
        avg_pool2d_grad(np.ones((1, 1, 3, 3)), Geometry(2, 2), (4, 4))
