import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minires.geometry import Geometry
from minires.kernels import reference
from minires.kernels.fast import pooling
from minires.testing import strategies as ms


@st.composite
def images(draw):
    """Return a read-only image with many ties and some NaNs or infinities, for a drawn pooling."""
    case, seed = draw(ms.pool_cases()), draw(ms.seeds())
    x = ms.array(case.x, seed, "tied", draw(ms.dtypes()), draw(ms.memory_orders()))
    rng = np.random.default_rng(seed)
    x[rng.random(x.shape) < 0.2] = draw(st.sampled_from([0.0, np.nan, np.inf, -np.inf]))
    x.setflags(write=False)
    return x, case.geometry, seed


@given(image=images(), block=st.sampled_from([1, 1 << 20]))
def test_maxima_and_winners_are_the_references_exactly(on_any_threads, in_kernel_order, image, block):
    x, geometry, _ = image
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pooling, "_BLOCK", block)
        patch.setattr(pooling, "_WINDOWS", 1)
        results = on_any_threads(pooling.max_pool2d_winners, x, geometry)
        np.testing.assert_array_equal(pooling.max_pool2d(x, geometry), results[0])
    for result, expected in zip(results, reference.max_pool2d_winners(x, geometry), strict=True):
        assert result.dtype == expected.dtype
        assert in_kernel_order(result)
        np.testing.assert_array_equal(result, expected)


@given(image=images(), order=ms.memory_orders(), block=st.sampled_from([1, 2, 16]))
def test_the_gradient_goes_where_the_references_goes(frozen, on_any_threads, in_kernel_order, image, order, block):
    x, geometry, seed = image
    # Integers: the sums are exact in any order.
    gy = frozen(geometry.check_pool(x.shape), seed, "integers", x.dtype, order, stream=1)
    arguments = gy, reference.max_pool2d_winners(x, geometry)[1], geometry, x.shape[2:]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pooling, "_BLOCK", block)
        patch.setattr(pooling, "_WINDOWS", 2)
        patch.setattr(pooling, "new_array", lambda shape, dtype: np.full(shape, 7, dtype))
        gx = on_any_threads(pooling.max_pool2d_grad, *arguments)
    assert gx.dtype == x.dtype
    assert in_kernel_order(gx)
    np.testing.assert_array_equal(gx, reference.max_pool2d_grad(*arguments))


@pytest.mark.parametrize(
    "window",
    [
        *[((3, 3), (2, 2), (1, 1)), ((1, 2), (3, 4), (0, 0)), ((2, 2), (1, 1), (0, 1)), ((17, 16), (2, 3), (8, 0))],
        ((3, 2), (6, 3), (0, 0)),  # the last rows, and a column, are in no window
    ],
)
@pytest.mark.parametrize("special", [0.0, np.nan])
def test_cut_small_every_pixel_is_written_once_and_not_a_number_wins(monkeypatch, window, special):
    geometry, x = Geometry(*window), ms.array((2, 3, 20, 17), 0, "tied")
    x[np.random.default_rng(0).random(x.shape) < 0.1] = special
    gy = ms.array(geometry.check_pool(x.shape), 1, "integers")
    monkeypatch.setattr(pooling, "_BLOCK", 1)
    monkeypatch.setattr(pooling, "_WINDOWS", 1)
    monkeypatch.setattr(pooling, "new_array", lambda shape, dtype: np.full(shape, 7, dtype))
    results, (y, winners) = pooling.max_pool2d_winners(x, geometry), reference.max_pool2d_winners(x, geometry)
    np.testing.assert_array_equal(results[0], y)
    np.testing.assert_array_equal(results[1], winners)
    assert results[1].dtype == winners.dtype == (np.uint8 if window[0] != (17, 16) else np.uint16)
    arguments = gy, winners, geometry, x.shape[2:]
    np.testing.assert_array_equal(pooling.max_pool2d_grad(*arguments), reference.max_pool2d_grad(*arguments))


def test_all_small_images_are_pooled_as_by_the_reference(monkeypatch):
    monkeypatch.setattr(pooling, "new_array", lambda shape, dtype: np.full(shape, 7, dtype))
    for H, W, side, stride, padding in itertools.product(range(2, 7), range(2, 7), (2, 3), (1, 2, 3), (0, 1)):
        if min(H, W) + 2 * padding >= side:
            geometry, x = (
                Geometry((side, side), (stride, stride), (padding, padding)),
                ms.array((1, 2, H, W), 0, "tied"),
            )
            _, winners = reference.max_pool2d_winners(x, geometry)
            arguments = ms.array(winners.shape, 1, "integers"), winners, geometry, (H, W)
            np.testing.assert_array_equal(pooling.max_pool2d_grad(*arguments), reference.max_pool2d_grad(*arguments))


def test_an_infinite_gradient_stays_with_its_window():
    x = np.arange(16.0).reshape(1, 1, 4, 4)
    gy = np.array([[[[1.0, np.inf], [-np.inf, 2.0]]]])
    winners = pooling.max_pool2d_winners(x, Geometry((2, 2), (2, 2)))[1]
    gx = pooling.max_pool2d_grad(gy, winners, Geometry((2, 2), (2, 2)), (4, 4))
    np.testing.assert_array_equal(gx[0, 0, 1::2, 1::2], gy[0, 0])
    assert np.count_nonzero(gx) == 4


@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)), grid=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    seed=ms.seeds(), dtype=ms.dtypes(), order=ms.memory_orders(),
)  # fmt: skip
def test_adaptive_means_are_the_references(frozen, in_kernel_order, gamma_n, size, grid, seed, dtype, order):
    x = frozen((2, 3, *size), seed, "smooth", dtype, order)
    y, expected = pooling.adaptive_avg_pool2d(x, grid), reference.adaptive_avg_pool2d(x.astype(np.float64), grid)
    assert y.dtype == x.dtype
    assert in_kernel_order(y)
    # h + w − 2 additions in each path of a sum, 1/pixels and the product: h + w roundings, of terms up to max |x|.
    assert np.abs(y - expected).max() <= gamma_n(sum(size), dtype) * np.abs(x).max()
    gy = frozen((2, 3, *grid), seed, "smooth", dtype, order, stream=1)
    gx, expected = (
        pooling.adaptive_avg_pool2d_grad(gy, size),
        reference.adaptive_avg_pool2d_grad(gy.astype(np.float64), size),
    )
    assert gx.dtype == gy.dtype
    assert in_kernel_order(gx)
    # Each share has two roundings, and up to grid[0] · grid[1] of them meet in a pixel.
    shares = reference.adaptive_avg_pool2d_grad(np.abs(gy).astype(np.float64), size)
    assert (np.abs(gx - expected) <= gamma_n(2 + grid[0] * grid[1], dtype) * shares).all()


def test_what_is_wrong_raises_as_in_the_reference(raises_the_same):
    x, geometry = np.ones((1, 2, 4, 4)), Geometry((2, 2), (2, 2))
    gy = np.ones((1, 2, 2, 2))
    raises_the_same(pooling.max_pool2d, reference.max_pool2d, x[0], geometry)
    raises_the_same(pooling.max_pool2d, reference.max_pool2d, x, Geometry((5, 5)))
    raises_the_same(pooling.max_pool2d, reference.max_pool2d, x, Geometry((2, 2), padding=(2, 0)))
    winners = np.zeros((1, 2, 2, 2), np.uint8)
    raises_the_same(pooling.max_pool2d_grad, reference.max_pool2d_grad, gy[..., :1], winners, geometry, (4, 4))
    raises_the_same(pooling.max_pool2d_grad, reference.max_pool2d_grad, gy, winners[:, :, :1], geometry, (4, 4))
    raises_the_same(pooling.adaptive_avg_pool2d, reference.adaptive_avg_pool2d, x[0], (1, 1))
    raises_the_same(pooling.adaptive_avg_pool2d, reference.adaptive_avg_pool2d, x, (0, 1))
    raises_the_same(pooling.adaptive_avg_pool2d_grad, reference.adaptive_avg_pool2d_grad, gy[0], (4, 4))
    raises_the_same(pooling.adaptive_avg_pool2d_grad, reference.adaptive_avg_pool2d_grad, gy, (0, 4))


def test_windows_may_be_wider_than_a_byte_counts():
    x = np.random.default_rng(0).standard_normal((1, 2, 3, 400)).astype(np.float32)
    geometry = Geometry((1, 300))
    for actual, expected in zip(
        pooling.max_pool2d_winners(x, geometry), reference.max_pool2d_winners(x, geometry), strict=True
    ):
        assert np.array_equal(actual, expected)
