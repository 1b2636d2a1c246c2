import contextlib
import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minires.errors import DtypeError, ShapeError
from minires.geometry import Geometry
from minires.kernels import reference
from minires.kernels.fast import conv, conv_depthwise, conv_general, conv_pointwise, conv_strips, conv_winograd
from minires.kernels.fast.cook_toom import F43
from minires.kernels.fast.plan import plan
from minires.testing import strategies as ms


def arrays(frozen, case, seed, kind, dtype, order):
    """Return x, w and gy, read-only."""
    shapes = case.x, case.w, case.geometry.check_conv(case.x, case.w)
    return [frozen(shape, seed, kind, dtype, order, stream) for stream, shape in enumerate(shapes)]


@pytest.fixture(autouse=True)
def plans_are_made_anew():
    plan.cache_clear()


@st.composite
def pointwise_cases(draw):
    """Draw 1×1 filters with any stride, and few or many pixels."""
    C, K, H, W = (draw(st.integers(1, 6)) for _ in range(4))
    geometry = Geometry((1, 1), stride=draw(st.sampled_from([(1, 1), (2, 2), (1, 2), (2, 1), (1, 3), (7, 2)])))
    return ms.ConvCase((draw(st.sampled_from([1, 2, 700])), C, H, W), (K, C, 1, 1), geometry)


@st.composite
def dense_cases(draw):
    """Draw windows without dilation or groups, with any stride, over several columns of outputs."""
    kernel = draw(st.sampled_from([(3, 3), (2, 2), (1, 2), (3, 1), (2, 4), (5, 3)]))
    stride, padding = (tuple(draw(st.integers(least, most)) for _ in range(2)) for least, most in ((1, 3), (0, 4)))
    N, C, K = draw(st.integers(1, 5)), draw(st.integers(1, 5)), draw(st.integers(1, 5))
    size = [max(1, n - 2 * pad) + draw(st.integers(0, 9)) for n, pad in zip(kernel, padding, strict=True)]
    return ms.ConvCase((N, C, *size), (K, C, *kernel), Geometry(kernel, stride, padding))


@st.composite
def depthwise_cases(draw):
    """Draw a filter for each channel, with any window."""
    case = draw(ms.conv_cases())
    C = draw(st.integers(2, 9))
    geometry = dataclasses.replace(case.geometry, groups=C)
    return ms.ConvCase((case.x[0], C, *case.x[2:]), (C, 1, *case.w[2:]), geometry)


@st.composite
def winograd_cases(draw):
    """Draw 3×3 filters with stride 1 and enough channels and pixels for Winograd's algorithm."""
    geometry = Geometry((3, 3), padding=(draw(st.integers(0, 2)), draw(st.integers(0, 2))))
    N, H, W = draw(st.integers(1, 4)), draw(st.integers(3, 14)), draw(st.integers(3, 14))
    C, K = draw(st.sampled_from([(9, 16), (10, 7), (16, 5), (24, 2), (128, 130)]))
    return ms.ConvCase((max(N, -(-64 // (H * W))), C, H, W), (K, C, 3, 3), geometry)


# Sizes from which work is cut and other ways are taken, so small that drawn problems are on both sides of each.
SMALL = {
    conv_depthwise: {"_BLOCK": 16},
    conv_general: {"_BLOCK": 64, "_LANES": 2, "_FEW_CHANNELS": 2},
    conv_pointwise: {"_COPY_BLOCK": 9, "_ROWS": 7, "_FEW_ROWS": 3, "_WORTH": 9, "_LANES": 2, "_LARGE": 12},
    conv_strips: {
        **{"_FEW": 2, "_LANES": 2, "_COPY_BLOCK": 9, "_BLOCK": 60, "_JOBS": 3, "_WORTH": 30, "_LARGE": 150},
        **{"_ROWS": 5, "_FEW_ROWS": 2, "SMALL_PRODUCT": 200},
    },
    conv_winograd: {
        "_BLOCK": 36 * 64,
        "SMALL_PRODUCT": 500,
        "_WORTH": 36 * 9999,
        "_LANES": 5,
        "_LARGE": 63,
        "_FILTER_BLOCK": 5,
    },
}


@contextlib.contextmanager
def cut(small):
    """Divide work into small parts, or as usual, inside the ``with`` block."""
    with pytest.MonkeyPatch.context() as patch:
        for module, sizes in SMALL.items() if small else ():
            for name, size in sizes.items():
                patch.setattr(module, name, size)
        plan.cache_clear()
        yield
    plan.cache_clear()


def both(module, x, w, gy, geometry):
    """Return all results of a kernel set: y, gx, gw."""
    return module.conv2d(x, w, geometry), *module.conv2d_grads(gy, x, w, geometry)


@given(
    case=st.one_of(ms.conv_cases(), dense_cases(), pointwise_cases(), depthwise_cases()),
    seed=ms.seeds(),
    dtype=ms.dtypes(),
    order=ms.memory_orders(),
    small=st.booleans(),
)
def test_direct_paths_are_the_reference_exactly_on_integers(
    frozen, on_any_threads, in_kernel_order, case, seed, dtype, order, small
):
    x, w, gy = arrays(frozen, case, seed, "integers", dtype, order)
    with cut(small):
        results = on_any_threads(both, conv, x, w, gy, case.geometry)
    for result, expected in zip(results, both(reference, x, w, gy, case.geometry), strict=True):
        assert result.dtype == dtype
        assert np.array_equal(result, expected)
    assert [in_kernel_order(result, filters=i == 2) for i, result in enumerate(results)] == [True] * 3
    assert not any(np.shares_memory(result, array) for result in results for array in (x, w, gy))


@given(
    case=st.one_of(ms.conv_cases(), dense_cases(), pointwise_cases(), depthwise_cases()),
    seed=ms.seeds(),
    dtype=ms.dtypes(),
    order=ms.memory_orders(),
)
def test_direct_paths_are_within_rounding_of_the_reference(frozen, gamma_n, case, seed, dtype, order):
    x, w, gy = arrays(frozen, case, seed, "smooth", dtype, order)
    double, absolute = ([f(a.astype(np.float64)) for a in (x, w, gy)] for f in (np.positive, np.abs))
    # A sum of n products, in whatever order, errs by at most γ_n times the sum of their absolute values; so
    # may the reference. n: R·S·C for y, R·S·K for gx, N·P·Q for gw.
    taps = w.shape[2] * w.shape[3]
    lengths = taps * w.shape[1], taps * w.shape[0], gy.size // gy.shape[1]
    results, expected, sizes = (
        both(module, *operands, case.geometry)
        for module, operands in ((conv, (x, w, gy)), (reference, double), (reference, absolute))
    )
    for result, exact, size, n in zip(results, expected, sizes, lengths, strict=True):
        assert np.all(np.abs(result - exact) <= 2 * gamma_n(n, dtype) * size)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("small", [False, True])
def test_every_window_along_an_axis_is_the_references(monkeypatch, small, axis):
    """All images of up to 6 pixels in a row or column, windows of up to 4, strides of up to 3, paddings of up to 5."""
    for module in (conv_strips, conv_general):
        monkeypatch.setattr(module, "scratch", lambda key, shape, dtype: np.full(shape, 7, dtype))
        monkeypatch.setattr(module, "new_array", lambda shape, dtype: np.full(shape, 7, dtype))
    with cut(small):
        for n, taps, stride, padding, dilation in itertools.product(
            range(1, 7), range(2, 5), range(1, 4), range(6), (1, 2)
        ):
            if n + 2 * padding < (taps - 1) * dilation + 1:
                continue
            numbers = (taps, 1), (stride, 1), (padding, 0), (dilation, 1), (n, 2)
            kernel, *window, size = (pair if axis == 0 else pair[::-1] for pair in numbers)
            geometry = Geometry(kernel, *window)
            shapes = (2, 2, *size), (3, 2, *kernel), (2, 3, *geometry.output_size(size))
            x, w, gy = (ms.array(shape, seed, "integers") for seed, shape in enumerate(shapes))
            for result, expected in zip(
                both(conv, x, w, gy, geometry), both(reference, x, w, gy, geometry), strict=True
            ):
                np.testing.assert_array_equal(result, expected, err_msg=f"{geometry} of {size}")


@pytest.fixture(params=[np.float32, np.float64])
def winograds_dtype(request, monkeypatch):
    """Return float32, which the kernel uses, and float64, whose narrow bound shows a wrong digit in a matrix."""
    if request.param != conv_winograd._DTYPE:
        monkeypatch.setattr(conv_winograd, "_DTYPE", request.param)
        monkeypatch.setattr(conv_winograd, "_FORWARD", F43.astype(request.param))
        monkeypatch.setattr(conv_winograd, "_BACKWARD", F43.flipped().astype(request.param))
    return request.param


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=winograd_cases(), seed=ms.seeds(), order=ms.memory_orders(), small=st.booleans())
def test_winograds_way_is_within_its_bound(
    frozen, on_any_threads, in_kernel_order, gamma_n, winograds_dtype, case, seed, order, small
):
    x, w, gy = arrays(frozen, case, seed, "smooth", winograds_dtype, order)
    assert conv_winograd.suits(x.shape, w.shape, case.geometry, x.dtype)
    with cut(small):
        results = on_any_threads(both, conv, x, w, gy, case.geometry)
    double = [a.astype(np.float64) for a in (x, w, gy)]
    # Equation (4) of cook_toom.py, along both axes: with g the growth along one, each product |w|·|d| of a
    # tile enters the error at most g² times. On its way from inputs to output a number passes two products
    # with B (6 terms each), two with G (3 terms, and G itself is rounded), two with A (6 terms), and the sum
    # over channels, or tiles and images: 32 roundings and one for each term. A tile sees at most the largest
    # pixel of its image, so that stands for |d|.
    growth = F43.growth() ** 2
    taps = np.abs(double[1]).sum((2, 3))  # (K, C)
    largest_x, largest_gy = np.abs(double[0]).max((2, 3)), np.abs(double[2]).max((2, 3))  # (N, C), (N, K)
    pixels_x = np.abs(double[0]).sum((2, 3))  # (N, C)
    bounds = (
        gamma_n(w.shape[1] + 32, winograds_dtype) * growth * (largest_x @ taps.T)[:, :, None, None],
        gamma_n(w.shape[0] + 32, winograds_dtype) * growth * (largest_gy @ taps)[:, :, None, None],
        gamma_n(x.size // x.shape[1] + 32, winograds_dtype) * growth * (largest_gy.T @ pixels_x)[:, :, None, None],
    )
    # In float64 the reference's own rounding is as large as one of the terms: 1 in 200 of the bound.
    for i, (result, exact) in enumerate(zip(results, both(reference, *double, case.geometry), strict=True)):
        assert result.dtype == winograds_dtype
        assert in_kernel_order(result, filters=i == 2)
        assert np.all(np.abs(result - exact) <= 1.01 * bounds[i])


@pytest.mark.parametrize("channels", [(2, 5), (5, 2), (3, 4), (4, 3), (3, 5), (5, 3)])
@pytest.mark.parametrize("pixels", [1, 2, 3, 7, 8, 60])
def test_every_way_of_cutting_a_pointwise_convolution_is_exact(frozen, on_any_threads, channels, pixels):
    C, K = channels  # fewer numbers in a filter than `cut` calls large, as many, and more
    case = ms.ConvCase((1, C, 1, pixels), (K, C, 1, 1), Geometry((1, 1)))
    x, w, gy = arrays(frozen, case, 0, "integers", np.float64, "C")
    with cut(True):
        results = on_any_threads(both, conv, x, w, gy, case.geometry)
        alone = conv.conv2d_input_grad(gy, w, case.geometry, (1, pixels)), conv.conv2d_weight_grad(gy, x, case.geometry)
    expected = both(reference, x, w, gy, case.geometry)
    for result, exact in zip((*results, *alone), (*expected, *expected[1:]), strict=True):
        assert np.array_equal(result, exact)


@pytest.mark.parametrize(
    "window",
    [
        {"kernel": (3, 2), "stride": (2, 1), "padding": (1, 2)},
        {"kernel": (3, 3), "padding": (1, 1)},  # an outer tap misses a row or column of pixels
        {"kernel": (2, 3), "stride": (1, 2), "padding": (0, 1), "dilation": (2, 1)},
    ],
)
@pytest.mark.parametrize("channels", [(2, 2), (2, 3), (3, 2)])
@pytest.mark.parametrize("groups", [1, 2])
def test_channels_are_gathered_as_they_lie_where_there_are_enough(frozen, on_any_threads, window, channels, groups):
    C, K = channels  # in a group
    geometry = Geometry(**window, groups=groups)
    case = ms.ConvCase((3, C * groups, 7, 5), (K * groups, C, *geometry.kernel), geometry)
    x, w, gy = arrays(frozen, case, 0, "integers", np.float64, "C")
    with cut(True):
        results = on_any_threads(both, conv, x, w, gy, geometry)
    for result, exact in zip(results, both(reference, x, w, gy, geometry), strict=True):
        assert np.array_equal(result, exact)


def test_winograds_way_is_taken_where_it_is_right_and_gains():
    x, w, single = (2, 9, 4, 8), (6, 9, 3, 3), np.dtype(np.float32)
    assert conv_winograd.suits(x, w, Geometry((3, 3)), single)
    assert conv_winograd.suits(x, (48, 9, 3, 3), Geometry((3, 3)), single)
    assert not conv_winograd.suits((2, 8, 4, 8), (48, 8, 3, 3), Geometry((3, 3)), single)
    assert conv_winograd.suits(x, w, Geometry((3, 3), padding=(2, 2)), single)
    for other in (
        Geometry((3, 2)), Geometry((2, 3)), Geometry((3, 3), (2, 1)), Geometry((3, 3), (1, 2)),
        Geometry((3, 3), dilation=(2, 1)), Geometry((3, 3), dilation=(1, 2)), Geometry((3, 3), groups=2),
        Geometry((3, 3), padding=(3, 0)), Geometry((3, 3), padding=(0, 3)),
    ):  # fmt: skip
        assert not conv_winograd.suits(x, w, other, single)
    assert not conv_winograd.suits(x, w, Geometry((3, 3)), np.dtype(np.float64))
    for few_x, few_w in (((1, 63, 3, 21), (6, 63, 3, 3)), ((2, 47, 4, 8), (1, 47, 3, 3))):  # 63 pixels, 47 products
        assert not conv_winograd.suits(few_x, few_w, Geometry((3, 3)), single)


@given(
    case=st.one_of(ms.conv_cases(), dense_cases(), pointwise_cases(), depthwise_cases(), winograd_cases()),
    seed=ms.seeds(),
    small=st.booleans(),
)
def test_single_gradients_are_those_of_the_joint_form(frozen, gamma_n, case, seed, small):
    x, w, gy = arrays(frozen, case, seed, "integers", np.float32, "C")
    gx, gw = conv.conv2d_grads(gy, x, w, case.geometry)
    # Not to the last bit: alone, the filters' gradient may take another path, Winograd's or an exact one. Each is
    # within the bound of the test above, here with integers of up to 8 in the place of the largest numbers:
    # |gx| ≤ K taps · 8 · 8 and |gw| ≤ pixels · 8 · 8, times γ of their number and 32, times the growth squared.
    (K, C, R, S), pixels = w.shape, max(gy.size // gy.shape[1], x.size // x.shape[1])
    n = max(K * R * S, C, pixels)
    close = {"rtol": 0, "atol": 2 * gamma_n(n + 32, np.float32) * F43.growth() ** 2 * n * 64}
    with cut(small):
        np.testing.assert_allclose(conv.conv2d_input_grad(gy, w, case.geometry, x.shape[2:]), gx, **close)
        np.testing.assert_allclose(conv.conv2d_weight_grad(gy, x, case.geometry), gw, **close)
        alone, nothing = conv.conv2d_grads(gy, x, w, case.geometry, (True, False))
    np.testing.assert_allclose(alone, gx, **close)
    assert nothing is None
    assert conv.conv2d_grads(gy, x, w, case.geometry, (False, True))[0] is None
    assert conv.conv2d_grads(gy, x, w, case.geometry, (False, False)) == (None, None)


@pytest.mark.parametrize("rows", [300, 3000])
def test_a_large_pointwise_filter_is_not_summed_in_parts_and_still_exact(frozen, on_any_threads, rows):
    case = ms.ConvCase((rows, 600, 1, 1), (500, 600, 1, 1), Geometry((1, 1)))
    assert plan(case.geometry, case.x, case.w, np.float32).module is conv_pointwise
    # 3000 products of at most 64 stay below 2²⁴.
    x, w, gy = arrays(frozen, case, 0, "integers", np.float32, "C")
    results = on_any_threads(both, conv, x, w, gy, case.geometry)
    for result, expected in zip(results, both(reference, x, w, gy, case.geometry), strict=True):
        assert np.array_equal(result, expected)


def test_a_filter_that_sees_padding_alone_gives_zeros(on_any_threads):
    x, w = np.ones((1, 1, 1, 1)), np.ones((1, 1, 1, 1))
    geometry = Geometry((1, 1), stride=(1, 2), padding=(0, 1))
    y, gx, gw = on_any_threads(both, conv, x, w, np.ones((1, 1, 1, 2)), geometry)
    assert not y.any()
    assert not gx.any()
    assert not gw.any()


def test_an_empty_batch_gives_what_the_reference_gives():
    x, w, gy, geometry = np.ones((0, 2, 4, 4)), np.ones((3, 2, 3, 2)), np.ones((0, 3, 2, 3)), Geometry((3, 2))
    for result, expected in zip(both(conv, x, w, gy, geometry), both(reference, x, w, gy, geometry), strict=True):
        assert result.shape == expected.shape
        assert np.array_equal(result, expected)
    assert conv.conv2d_grads(gy, x, w, geometry, (False, True))[0] is None
    assert conv.conv2d_grads(gy, x, w, geometry, (True, False))[1] is None


def test_the_dtype_of_what_is_not_needed_does_not_matter():
    x, w, gy, geometry = np.ones((1, 2, 4, 4)), np.ones((3, 2, 3, 3)), np.ones((1, 3, 2, 2)), Geometry((3, 3))
    for pair, wants in (((x, w.astype(np.float32)), (False, True)), ((x.astype(np.float32), w), (True, False))):
        results, expected = (module.conv2d_grads(gy, *pair, geometry, wants) for module in (conv, reference))
        assert [np.array_equal(a, b) for a, b in zip(results, expected, strict=True) if b is not None] == [True]


@pytest.mark.parametrize("channels", [(0, 3), (3, 0)])
@pytest.mark.parametrize("size", [1, 3])
def test_without_channels_all_sums_are_empty(channels, size):
    C, K = channels
    P = 5 - size
    x, w, gy = np.ones((2, C, 4, 4)), np.ones((K, C, size, size)), np.ones((2, K, P, P))
    y, gx, gw = both(conv, x, w, gy, Geometry((size, size)))
    assert (y.shape, gx.shape, gw.shape) == (gy.shape, x.shape, w.shape)
    assert not any(result.any() for result in (y, gx, gw))


def test_what_is_wrong_raises_as_in_the_reference(raises_the_same):
    x, w, gy, geometry = np.ones((2, 4, 5, 5)), np.ones((6, 4, 3, 3)), np.ones((2, 6, 3, 3)), Geometry((3, 3))
    single = np.float32
    for wrong_x, wrong_w in ((x[0], w), (x, w[:, :3]), (x, w[..., :2]), (x[..., :2], w), (x, w.astype(single))):
        raises_the_same(conv.conv2d, reference.conv2d, wrong_x, wrong_w, geometry)
    for wrong in (gy[:1], gy[..., :2], gy.astype(single)):
        raises_the_same(conv.conv2d_grads, reference.conv2d_grads, wrong, x, w, geometry)
        raises_the_same(conv.conv2d_weight_grad, reference.conv2d_weight_grad, wrong, x, geometry)
    raises_the_same(conv.conv2d_grads, reference.conv2d_grads, gy, x, w[:, :3], geometry, (False, False))
    raises_the_same(conv.conv2d_weight_grad, reference.conv2d_weight_grad, gy[0], x, geometry)
    for wrong in (gy[..., :2], gy[:, :5], gy.astype(single)):
        raises_the_same(conv.conv2d_input_grad, reference.conv2d_input_grad, wrong, w, geometry, (5, 5))


@given(
    case=st.one_of(ms.conv_cases(), dense_cases(), pointwise_cases(), depthwise_cases(), winograd_cases()),
    seed=ms.seeds(),
    order=ms.memory_orders(),
    small=st.booleans(),
    has=st.tuples(st.booleans(), st.booleans(), st.booleans(), st.booleans()),
)
def test_what_follows_a_convolution_is_done_to_all_of_its_output(
    frozen, on_any_threads, in_kernel_order, case, seed, order, small, has
):
    x, w, shortcut = arrays(frozen, case, seed, "smooth", np.float32, order)
    bias = frozen(case.w[:1], seed, "smooth", np.float32, stream=3)
    scale = frozen(case.w[:1], seed, "smooth", np.float32, stream=4) if has[3] else None
    bias, shortcut, relu = bias if has[0] else None, shortcut if has[1] else None, has[2]
    with cut(small):
        y = on_any_threads(conv.conv2d_act, x, w, scale, bias, shortcut, relu, case.geometry)
        parts = conv.conv2d(x, w, case.geometry)
    if scale is not None:
        parts = parts * scale.reshape(-1, 1, 1)
    if bias is not None:
        parts = parts + bias.reshape(-1, 1, 1)
    if shortcut is not None:
        parts = parts + shortcut
    assert np.array_equal(y, np.maximum(parts, 0) if relu else parts)
    assert in_kernel_order(y)


@pytest.mark.parametrize("module", [conv, reference])
def test_what_follows_must_fit_the_output(module):
    x, w, geometry = np.ones((1, 2, 4, 4)), np.ones((3, 2, 3, 3)), Geometry((3, 3))
    for *others, error, text in (
        (np.ones(2), None, None, ShapeError, r"a scale of shape \(2,\) does not fit 3 output channels"),
        (None, np.ones(2), None, ShapeError, r"a bias of shape \(2,\) does not fit 3 output channels"),
        (None, np.ones(3, np.float32), None, DtypeError, "float32"),
        (None, None, np.ones((1, 3, 4, 4)), ShapeError, r"a shortcut of shape \(1, 3, 4, 4\) cannot be added"),
    ):
        with pytest.raises(error, match=text):
            module.conv2d_act(x, w, *others, True, geometry)
    nothing = np.ones((1, 0, 4, 4)), np.ones((3, 0, 3, 3))
    empty = module.conv2d_act(*nothing, None, np.arange(3.0) - 1, None, True, geometry)
    assert empty[0, :, 0, 0].tolist() == [0, 0, 1]


@pytest.mark.parametrize("C", [2, 9])
@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (1, 3)])
@pytest.mark.parametrize("dilation", [(1, 1), (1, 2)])
def test_taps_that_see_only_padding_have_no_gradient(dilation, stride, C):
    geometry, x = Geometry((3, 3), stride, dilation, dilation), ms.array((2, C, 1, 1), 0)
    w, gy = ms.array((4, C, 3, 3), 2), ms.array((2, 4, 1, 1), 1)
    gx, gw = conv.conv2d_grads(gy, x, w, geometry)
    np.testing.assert_array_equal(conv.conv2d_weight_grad(gy, x, geometry), gw)
    np.testing.assert_allclose(gx[:, :, 0, 0], np.einsum("nkpq,kc->nc", gy, w[:, :, 1, 1]), rtol=1e-12)
    np.testing.assert_allclose(gw[:, :, 1, 1], np.einsum("nkpq,ncpq->kc", gy, x), rtol=1e-12)
    assert np.count_nonzero(gw) == gw[:, :, 1, 1].size


@pytest.mark.parametrize(
    ("wants", "C"), [((True, False), 130), ((False, True), 130), ((True, False), 24), ((False, True), 24)]
)
def test_one_gradient_alone_is_the_one_of_both(wants, C):
    geometry = Geometry((3, 3), padding=(1, 1))
    x, w, gy = (ms.array(s, n, dtype="float32") for n, s in enumerate([(2, C, 8, 8), (C, C, 3, 3), (2, C, 8, 8)]))
    together = conv.conv2d_grads(gy, x, w, geometry)
    alone = conv.conv2d_grads(gy, x, w, geometry, wants)
    for wanted, one, other in zip(wants, alone, together, strict=True):
        assert (one is not None) == wanted
        if wanted:
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("name", "x", "w", "window"),
    [
        ("strips", (2, 3, 9, 8), (5, 3, 3, 3), {"stride": (2, 1), "padding": (1, 1)}),
        ("pointwise", (40, 9, 5, 4), (6, 9, 1, 1), {"stride": (1, 2)}),
        ("winograd", (2, 12, 9, 8), (6, 12, 3, 3), {"padding": (1, 1)}),
        ("winograd", (2, 130, 9, 8), (130, 130, 3, 3), {"padding": (1, 1)}),
        ("depthwise", (2, 9, 9, 8), (9, 1, 3, 3), {"padding": (1, 1), "groups": 9}),
        ("strips", (2, 12, 9, 8), (6, 12, 3, 3), {"padding": (1, 1), "stride": (2, 2)}),
        ("general", (2, 12, 9, 8), (6, 4, 3, 3), {"padding": (1, 1), "groups": 3}),
    ],
)
@pytest.mark.parametrize("small", [False, True])
def test_every_way_finishes_its_output(name, x, w, window, small):
    geometry = Geometry(w[2:], **window)
    shape, found = geometry.check_conv(x, w), []
    images, filters, shortcut = (ms.array(s, n, dtype="float32") for n, s in enumerate((x, w, shape)))
    scale, bias = (ms.array((w[0],), n, "positive", "float32") for n in (3, 4))
    with cut(small):
        found.append(plan(geometry, x, w, np.dtype(np.float32)).name)
        y = conv.conv2d_act(images, filters, scale, bias, shortcut, True, geometry)
        parts = conv.conv2d(images, filters, geometry)
    assert small or found == [name]
    expected = parts * scale[:, None, None] + bias[:, None, None] + shortcut
    np.testing.assert_array_equal(y, np.maximum(expected, 0))


@pytest.mark.parametrize("stride", [(1, 1), (1, 2), (2, 1), (3, 2)])
def test_a_pixel_that_no_output_meets_has_no_gradient(stride):
    geometry = Geometry((1, 1), stride=stride)
    w, gy = ms.array((4, 9, 1, 1), 0), ms.array((2, 4, *geometry.output_size((11, 7))), 1)
    with cut(small=True):
        gx = conv.conv2d_input_grad(gy, w, geometry, (11, 7))
    expected = np.zeros((2, 9, 11, 7))
    expected[:, :, :: stride[0], :: stride[1]] = np.einsum("nkpq,kc->ncpq", gy, w[:, :, 0, 0])
    np.testing.assert_allclose(gx, expected, rtol=1e-12)


@pytest.mark.parametrize("rows", [2, 3, 4])
def test_blocks_of_several_rows_reach_over_the_edges(monkeypatch, rows):
    geometry = Geometry((3, 3), padding=(1, 1), groups=9)
    x, w, gy = (ms.array(s, n) for n, s in enumerate([(2, 9, 8, 5), (9, 1, 3, 3), (2, 9, 8, 5)]))
    monkeypatch.setattr(conv_depthwise, "_BLOCK", rows * 5 * 18)
    for mine, expected in zip(both(conv, x, w, gy, geometry), both(reference, x, w, gy, geometry), strict=True):
        np.testing.assert_allclose(mine, expected, rtol=1e-12, atol=1e-13)
