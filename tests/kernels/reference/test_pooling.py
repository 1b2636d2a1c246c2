from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minires.errors import DtypeError, ShapeError
from minires.geometry import Geometry
from minires.kernels.reference.pooling import (
    adaptive_avg_pool2d,
    adaptive_avg_pool2d_grad,
    avg_pool2d,
    avg_pool2d_grad,
    max_pool2d,
    max_pool2d_gather,
    max_pool2d_grad,
    max_pool2d_winners,
)
from minires.testing import lay_out
from minires.testing import strategies as ms


def grad(gy, x, geometry):
    """Return gx, from the winners of x."""
    return max_pool2d_grad(gy, max_pool2d_winners(x, geometry)[1], geometry, x.shape[2:])


def gather(v, x, geometry):
    """Return v at the winners of x."""
    return max_pool2d_gather(v, max_pool2d_winners(x, geometry)[1], geometry)


sides = st.tuples(st.integers(1, 6), st.integers(1, 6))


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
    """Yield for each output the indices of its window inside the image, in row-major order."""
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
    y, gx, expected = max_pool2d(x, geometry), grad(gy, x, geometry), np.zeros(x.shape)
    same, winners = max_pool2d_winners(x, geometry)
    assert np.array_equal(same, y)
    for index, places in windows(geometry, x):
        best = max(places, key=lambda place: x[place])  # Python's max keeps the first
        assert y[index] == x[best]
        r, s = divmod(int(winners[index]), geometry.kernel[1])
        top, left = (i * step - pad for i, step, pad in zip(index[2:], geometry.stride, geometry.padding, strict=True))
        assert best[2:] == (top + r, left + s)
        expected[best] += gy[index]
    assert (y.dtype, gx.dtype) == (x.dtype, x.dtype)
    assert np.array_equal(gx, expected)


@given(problem=problems())
def test_gathering_is_the_exact_adjoint_of_the_gradient_of_max_pooling(problem):
    geometry, x, gy = problem
    v = x[::-1] * 2 + 1
    assert np.sum(gy * gather(v, x, geometry)) == np.sum(v * grad(gy, x, geometry))
    assert np.array_equal(gather(x, x, geometry), max_pool2d(x, geometry))


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
    assert grad(np.ones((1, 1, 1, 1)), x, Geometry(2)).ravel().tolist() == [1.0, 0.0, 0.0, 0.0]


def test_windows_and_gradients_that_do_not_fit_are_named():
    x = np.ones((1, 1, 4, 4))
    with pytest.raises(ShapeError, match=r"expects an input of shape \(N, C, H, W\), got \(1, 4, 4\)"):
        max_pool2d(x[0], Geometry(2))
    with pytest.raises(ShapeError, match=r"padding \(2, 2\) must be smaller than the window \(2, 2\)"):
        max_pool2d(x, Geometry(2, padding=2))
    with pytest.raises(ShapeError, match=r"no dilation, got \(2, 2\)"):
        max_pool2d(x, Geometry(2, dilation=2))
    with pytest.raises(ShapeError, match=r"shape \(1, 1, 1, 1\) was given where pooling needs \(1, 1, 2, 2\)"):
        grad(np.ones((1, 1, 1, 1)), x, Geometry(2, 2))
    with pytest.raises(ShapeError, match=r"shape \(1, 1, 1, 1\) was given where pooling needs \(1, 1, 2, 2\)"):
        max_pool2d_grad(np.ones((1, 1, 2, 2)), np.zeros((1, 1, 1, 1), np.uint8), Geometry(2, 2), (4, 4))
    with pytest.raises(ShapeError, match=r"shape \(1, 1, 2, 2\) was given where pooling needs \(1, 1, 1, 2\)"):
        gather(np.ones((1, 1, 3, 5)), x, Geometry(2, 2))
    with pytest.raises(ShapeError, match=r"shape \(1, 1, 3, 3\) was given where pooling needs \(1, 1, 2, 2\)"):
        avg_pool2d_grad(np.ones((1, 1, 3, 3)), Geometry(2, 2), (4, 4))


def cells(grid, size):
    """Yield for each window of an adaptive pooling its pixels, by the definition in real numbers."""
    for p, q in np.ndindex(*grid):
        axes = []
        for i, count, n in zip((p, q), grid, size, strict=True):
            axes.append([h for h in range(n) if Fraction(i * n, count) - 1 < h < Fraction((i + 1) * n, count)])
        yield (p, q), [(h, w) for h in axes[0] for w in axes[1]]


@given(size=sides, grid=sides, seed=ms.seeds(), dtype=ms.dtypes(), order=ms.memory_orders())
def test_adaptive_pooling_is_the_mean_of_each_window_to_the_last_bit(frozen, size, grid, seed, dtype, order):
    x = frozen((2, 3, *size), seed, "integers", dtype, order)
    y = adaptive_avg_pool2d(x, grid)
    assert (y.shape, y.dtype) == ((2, 3, *grid), dtype)
    for (p, q), pixels in cells(grid, size):
        for n, c in np.ndindex(2, 3):
            total = sum(int(x[n, c, h, w]) for h, w in pixels)
            assert y[n, c, p, q] == dtype.type(total / len(pixels))


@given(size=sides, grid=sides, seed=ms.seeds(), dtype=ms.dtypes(), order=ms.memory_orders())
def test_the_gradient_of_adaptive_pooling_is_its_exact_adjoint(frozen, size, grid, seed, dtype, order):
    # 3600 is a multiple of every window's area, up to 6 · 6, so that all shares and means are whole numbers.
    x = 3600 * frozen((2, 3, *size), seed, "integers", dtype, order)
    gy = 3600 * frozen((2, 3, *grid), seed, "integers", dtype, order, stream=1)
    gx = adaptive_avg_pool2d_grad(gy, size)
    assert (gx.shape, gx.dtype) == (x.shape, dtype)
    wide = [a.astype(np.float64) for a in (gy, adaptive_avg_pool2d(x, grid), gx, x)]
    assert np.sum(wide[0] * wide[1]) == np.sum(wide[2] * wide[3])
    assert np.sum(wide[2]) == np.sum(wide[0])


@given(size=sides, times=sides, seed=ms.seeds(), dtype=ms.dtypes())
def test_adaptive_pooling_on_a_grid_that_divides_the_image_is_average_pooling(frozen, size, times, seed, dtype):
    x = frozen((2, 3, size[0] * times[0], size[1] * times[1]), seed, "integers", dtype)
    assert np.array_equal(adaptive_avg_pool2d(x, size), avg_pool2d(x, Geometry(times, times)))
    assert np.array_equal(adaptive_avg_pool2d(x, x.shape[2:]), x)


@pytest.mark.numpy_only
@pytest.mark.parametrize("order", ["C", "HWNC"])
def test_every_result_keeps_the_memory_order(order):
    def axes(a):
        return np.argsort(a.strides).tolist()

    x, gy = lay_out(np.ones((2, 3, 8, 10)), order), lay_out(np.ones((2, 3, 4, 5)), order)
    geometry = Geometry(2, 2)
    results = [
        max_pool2d(x, geometry),
        grad(gy, np.ascontiguousarray(x), geometry),
        gather(x, np.ascontiguousarray(x), geometry),
        avg_pool2d(x, geometry),
        avg_pool2d_grad(gy, geometry, (8, 10)),
        adaptive_avg_pool2d(x, (4, 5)),
        adaptive_avg_pool2d_grad(gy, (8, 10)),
    ]
    assert [axes(result) for result in results] == [axes(x)] * len(results)


@given(case=ms.pool_cases(), seed=ms.seeds(), order=ms.memory_orders())
def test_no_input_is_modified(frozen, case, seed, order):
    x = frozen(case.x, seed, "tied", order=order)
    y = max_pool2d(x, case.geometry)
    gy = frozen(y.shape, seed, order=order)
    results = [
        grad(gy, x, case.geometry),
        gather(x, x, case.geometry),
        avg_pool2d(x, case.geometry),
        avg_pool2d_grad(gy, case.geometry, x.shape[2:]),
        adaptive_avg_pool2d(x, (1, 2)),
        adaptive_avg_pool2d_grad(gy, x.shape[2:]),
    ]
    assert not any(np.shares_memory(result, given) for result in results for given in (x, gy))


@given(case=ms.pool_cases(), seed=ms.seeds())
def test_average_pooling_is_the_exact_adjoint_of_its_gradient(frozen, case, seed):
    # Multiples of 36 divide by every window's area, up to 3 · 3.
    x = 36 * frozen(case.x, seed, "integers")
    y = avg_pool2d(x, case.geometry)
    gy = 36 * frozen(y.shape, seed, "integers", stream=1)
    assert np.sum(gy * y) == np.sum(avg_pool2d_grad(gy, case.geometry, x.shape[2:]) * x)


def test_of_several_nans_the_last_takes_the_gradient():
    x = np.array([[np.nan, 1.0], [np.nan, 2.0]]).reshape(1, 1, 2, 2)
    assert grad(np.ones((1, 1, 1, 1)), x, Geometry(2)).ravel().tolist() == [0.0, 0.0, 1.0, 0.0]


def test_impossible_grids_and_integers_are_refused_by_name():
    x = np.ones((1, 1, 4, 4))
    with pytest.raises(ShapeError, match=r"a grid of \(0, 2\) windows over an image of \(4, 4\)"):
        adaptive_avg_pool2d(x, (0, 2))
    with pytest.raises(ShapeError, match=r"a grid of \(1, 1\) windows over an image of \(0, 4\)"):
        adaptive_avg_pool2d(x[:, :, :0], (1, 1))
    with pytest.raises(ShapeError, match=r"the grid must be an integer or a pair of integers, got 1\.5"):
        adaptive_avg_pool2d(x, 1.5)
    with pytest.raises(ShapeError, match=r"input of shape \(N, C, H, W\), got \(4, 4\)"):
        adaptive_avg_pool2d(x[0, 0], (1, 1))
    with pytest.raises(ShapeError, match=r"gradient of shape \(N, C, P, Q\), got \(4, 4\)"):
        adaptive_avg_pool2d_grad(x[0, 0], (1, 1))
    for refused in (
        lambda a: adaptive_avg_pool2d(a, (1, 1)),
        lambda a: adaptive_avg_pool2d_grad(a, (8, 8)),
        lambda a: avg_pool2d(a, Geometry(2)),
        lambda a: avg_pool2d_grad(a, Geometry(2), (5, 5)),
    ):
        with pytest.raises(DtypeError, match="average pooling needs a float array, got int64"):
            refused(x.astype(np.int64))
