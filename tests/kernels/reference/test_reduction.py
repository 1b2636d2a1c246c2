import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minires.errors import DtypeError, ShapeError
from minires.kernels.reference import reduction as red
from minires.kernels.reference import shape as sh
from minires.testing import MEMORY_ORDERS, lay_out

dtypes = st.sampled_from([np.float32, np.float64])


def integers(seed, shape, dtype=np.float64, layout="C"):
    """Return small integers, which add up without rounding and often tie."""
    x = np.random.default_rng(seed).integers(-4, 5, shape).astype(dtype)
    return lay_out(x, layout)


@st.composite
def arrays(draw, min_side=1, min_dims=0):
    shape = draw(hnp.array_shapes(min_dims=min_dims, max_dims=4, min_side=min_side, max_side=5))
    return integers(draw(st.integers(0, 2**32 - 1)), shape, draw(dtypes), draw(st.sampled_from(MEMORY_ORDERS)))


@st.composite
def reductions(draw, min_side=1):
    """Draw an array, and None, an axis or several axes to reduce it over."""
    x = draw(arrays(min_side))
    axes = [st.none()]
    if x.ndim:
        axes += [st.integers(-x.ndim, x.ndim - 1), hnp.valid_tuple_axes(x.ndim)]
    return x, draw(st.one_of(axes)), draw(st.booleans())


def same(actual, expected):
    assert isinstance(actual, np.ndarray)
    assert actual.shape == np.shape(expected)
    assert actual.dtype == np.asarray(expected).dtype
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("least", [0, 1])
@given(data=st.data())
def test_sum_of_whole_numbers_is_exact(least, data):
    x, axis, keepdims = data.draw(reductions(least))
    same(red.sum(x, axis, keepdims), np.sum(x, axis, keepdims=keepdims))


@given(case=reductions())
def test_largest_and_smallest_are_numpys(case):
    x, axis, keepdims = case
    same(red.amax(x, axis, keepdims), np.max(x, axis, keepdims=keepdims))
    same(red.amin(x, axis, keepdims), np.min(x, axis, keepdims=keepdims))


@given(case=reductions())
def test_mean_is_the_rounded_exact_mean(case):
    # The sum is exact; the quotient rounds once in float64 and once more in the result's dtype.
    x, axis, keepdims = case
    count = x.size // max(red.sum(x, axis).size, 1)
    total = np.sum(x.astype(np.float64), axis, keepdims=keepdims)
    same(red.mean(x, axis, keepdims), np.asarray(total / count, x.dtype))


@pytest.mark.parametrize("axis", [0, 1, None])
@given(seed=st.integers(0, 2**32 - 1))
def test_float32_sums_are_as_good_as_one_rounding_in_every_memory_order(axis, seed):
    # Against exact rational sums: the last rounding costs u32·|s|, the float64 additions n·u64·Σ|a| at most.
    base = np.random.default_rng(seed).standard_normal((300, 7)).astype(np.float32)
    for x in (base, np.asfortranarray(base), base[::-1, ::-1]):
        sums = np.atleast_1d(red.sum(x, axis)).tolist()
        rows = {0: x.T, 1: x, None: x.reshape(1, -1)}[axis].tolist()
        for s, row in zip(sums, rows, strict=True):
            exact = sum(map(Fraction, row))
            bound = 2.0**-24 * abs(exact) * (1 + 2.0**-20) + len(row) * 2.0**-53 * math.fsum(map(abs, row))
            assert abs(Fraction(s) - exact) <= bound


def test_float32_sum_does_not_stagnate():
    # One after another in float32 this stops at 2²⁴: 16777216 + 1 = 16777216.
    ones = np.broadcast_to(np.float32(1), (2**24 + 64, 2))
    assert red.sum(ones, 0).tolist() == [2**24 + 64] * 2
    assert red.mean(ones, 0).tolist() == [1, 1]


def test_integers_and_booleans_are_summed_as_int64():
    same(red.sum(np.array([True, False, True])), np.int64(2))
    same(red.sum(np.arange(5, dtype=np.int32)), np.int64(10))
    same(red.sum(np.full(300, 100, np.uint8)), np.int64(30000))


@pytest.mark.parametrize("correction", [0, 1, 0.5])
@given(case=reductions())
def test_variance_agrees_with_exact_rational_arithmetic(correction, case):
    # Error: mean and differences round by u·max|a| (≤ 4u) each, squares of numbers below 9 and their sum in
    # float64 follow; all together under 100 u absolute, for at most 625 elements divided by their number.
    x, axis, keepdims = case
    y = red.sum(x, axis, keepdims)
    axes = red._axes("var", x, axis)
    groups = np.moveaxis(x, axes, range(-len(axes), 0)).reshape(y.size, -1).tolist()
    if len(groups[0]) <= correction:
        return
    expected = []
    for group in groups:
        exact = [Fraction(v) for v in group]
        centre = sum(exact) / len(exact)
        expected.append(float(sum((v - centre) ** 2 for v in exact) / (len(exact) - Fraction(correction))))
    actual = red.var(x, axis, keepdims, correction)
    assert actual.shape == y.shape
    assert actual.dtype == x.dtype
    np.testing.assert_allclose(actual.ravel().tolist(), expected, rtol=0, atol=100 * np.finfo(x.dtype).eps * 2)


@given(x=arrays(), shift=st.integers(-8, 8))
def test_variance_ignores_a_shift_and_squares_a_factor(x, shift):
    # Powers of two and whole numbers whose count is a power of two: nothing rounds.
    x = np.resize(x, (4, 8))
    np.testing.assert_array_equal(red.var(x + x.dtype.type(shift), 1, correction=0), red.var(x, 1, correction=0))
    np.testing.assert_array_equal(red.var(4 * x, 1, correction=0), 16 * red.var(x, 1, correction=0))


def test_variance_and_mean_take_a_complex_step():
    # d var / dx_i = 2 (x_i − mean) / (M − 1), d mean / dx_i = 1 / M.
    x, h = np.array([1.0, 2.0, 4.0, 9.0]), 1e-20
    for i in range(4):
        z = x.astype(complex)
        z[i] += 1j * h
        assert red.var(z).imag / h == pytest.approx(2 * (x[i] - 4) / 3, rel=1e-14)
        assert red.mean(z).imag / h == pytest.approx(0.25, rel=1e-14)


def test_variance_of_too_few_is_not_finite():
    with np.errstate(invalid="ignore", divide="ignore"):
        assert np.isnan(red.var(np.array([3.0])))
        assert np.isinf(red.var(np.array([3.0, 4.0]), correction=2))
        assert np.isnan(red.var(np.array([3.0]), correction=2))
        assert np.isnan(red.mean(np.zeros((0,))))


@given(x=arrays(min_dims=1), keepdims=st.booleans(), data=st.data())
def test_argmax_is_the_first_largest_and_argmin_the_first_smallest(x, keepdims, data):
    axis = data.draw(st.one_of(st.none(), st.integers(-x.ndim, x.ndim - 1)))
    rows = x.reshape(1, -1) if axis is None else np.moveaxis(x, axis, -1).reshape(-1, x.shape[axis])
    for function, best in [(red.argmax, max), (red.argmin, min)]:
        y = function(x, axis, keepdims)
        assert y.dtype == np.int64
        assert y.shape == red.amax(x, axis, keepdims).shape
        assert y.ravel().tolist() == [row.index(best(row)) for row in rows.tolist()]


def test_nan_wins_every_maximum_and_minimum():
    x = np.array([[1, np.nan, 9, np.nan], [4, 2, 2, 4]])
    np.testing.assert_array_equal(red.amax(x, 1), [np.nan, 4])
    np.testing.assert_array_equal(red.amin(x, 1), [np.nan, 2])
    assert red.argmax(x, 1).tolist() == [1, 0]
    assert red.argmin(x, 1).tolist() == [1, 1]
    assert red.amax_share(x, 1).tolist() == [[0, 1, 0, 0], [1, 0, 0, 0]]
    assert red.amin_share(x, 1).tolist() == [[0, 1, 0, 0], [0, 1, 0, 0]]
    assert red.amax_share(x).tolist() == red.amin_share(x).tolist() == [[0, 0.5, 0, 0.5], [0] * 4]


@given(x=arrays(min_dims=1), data=st.data())
def test_over_an_axis_the_first_best_gets_the_whole_gradient(x, data):
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    for share, best, index in [
        (red.amax_share(x, axis), red.amax(x, axis), red.argmax(x, axis, keepdims=True)),
        (red.amin_share(x, axis), red.amin(x, axis), red.argmin(x, axis, keepdims=True)),
    ]:
        one_hot = np.zeros_like(x)
        np.put_along_axis(one_hot, index, 1, axis)
        same(share, one_hot)
        np.testing.assert_array_equal((share * x).sum(axis), best)


@given(x=arrays())
def test_over_the_whole_array_ties_share_the_gradient_evenly(x):
    for share, best in [(red.amax_share(x), x.max()), (red.amin_share(x), x.min())]:
        values = x.ravel().tolist()
        expected = [1 / values.count(best) if v == best else 0.0 for v in values]
        same(share, np.array(expected, x.dtype).reshape(x.shape))


@pytest.mark.numpy_only
def test_shares_keep_the_memory_order():
    x = integers(0, (4, 5, 2, 3), np.float32).transpose(2, 3, 0, 1)
    for share in (red.amax_share(x), red.amax_share(x, 1), red.amin_share(x, 2)):
        assert share.strides == x.strides


@given(
    shapes=hnp.mutually_broadcastable_shapes(num_shapes=1, base_shape=(3, 1, 4), max_dims=4, max_side=4),
    dtype=dtypes,
    seed=st.integers(0, 2**32 - 1),
)
def test_sum_to_is_the_adjoint_of_broadcasting(shapes, dtype, seed):
    # Whole numbers: both inner products are exact.
    b = integers(seed, shapes.input_shapes[0], dtype)
    gy = integers(seed + 1, shapes.result_shape, dtype)
    gb = red.sum_to(gy, b.shape)
    assert gb.shape == b.shape
    assert gb.dtype == dtype
    assert np.vdot(gb, b) == np.vdot(gy, sh.broadcast_to(b, gy.shape))


@pytest.mark.parametrize("least", [0, 1])
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_sum_to_agrees_with_a_scalar_loop(least, data, seed):
    shapes = data.draw(hnp.mutually_broadcastable_shapes(num_shapes=2, min_side=least, max_dims=3, max_side=3))
    gy, shape = integers(seed, shapes.result_shape), shapes.input_shapes[0]
    expected = np.zeros(shape)
    for where in np.ndindex(gy.shape):
        tail = where[len(where) - len(shape) :]
        expected[tuple(0 if n == 1 else i for i, n in zip(tail, shape, strict=True))] += gy[where]
    same(red.sum_to(gy, shape), expected)


@pytest.mark.numpy_only
def test_sum_to_the_same_shape_is_a_read_only_view():
    x = np.ones((2, 3))
    y = red.sum_to(x, (2, 3))
    assert np.shares_memory(x, y)
    assert not y.flags.writeable


@pytest.mark.parametrize("shape", [(3,), (2, 2), (1, 2, 4), (1, 1, 2, 4)])
def test_sum_to_a_shape_that_does_not_broadcast_raises_and_names_both(shape):
    with pytest.raises(ShapeError, match=r"does not broadcast to \(2, 4\)"):
        red.sum_to(np.ones((2, 4)), shape)


def test_sum_to_does_not_add_axes():
    with pytest.raises(ShapeError, match=r"\(1, 4, 4\) does not broadcast to \(4, 4\)"):
        red.sum_to(np.ones((4, 4)), (1, 4, 4))


@pytest.mark.parametrize("name", ["sum", "mean", "var", "amax", "amin", "argmax", "argmin", "amax_share"])
def test_an_axis_that_does_not_exist_raises(name):
    for axis in (2, -3):
        with pytest.raises(ShapeError, match=f"axis {axis} is out of range for an array with 2 axes"):
            getattr(red, name)(np.ones((2, 3)), axis)


def test_an_axis_named_twice_raises():
    with pytest.raises(ShapeError, match="twice"):
        red.sum(np.ones((2, 3)), (0, -2))


@pytest.mark.parametrize("name", ["amax", "amin", "argmax", "argmin", "amax_share", "amin_share"])
def test_nothing_to_choose_from_raises(name):
    for axis in (None, 1):
        with pytest.raises(ShapeError, match=r"\(2, 0\)"):
            getattr(red, name)(np.ones((2, 0)), axis)


@pytest.mark.parametrize("name", ["mean", "var", "amax_share", "amin_share"])
def test_integers_have_no_mean_and_no_derivative(name):
    with pytest.raises(DtypeError, match=f"^{name} needs a float array, got int64"):
        getattr(red, name)(np.arange(3))


@pytest.mark.parametrize("name", ["sum", "mean", "var", "amax", "amin", "argmax", "argmin"])
def test_reduced_axes_are_dropped_unless_they_are_to_stay(name):
    assert getattr(red, name)(np.ones((2, 3)), 1).shape == (2,)


@given(case=reductions())
def test_inputs_stay_as_they_are(case):
    x, axis, keepdims = case
    before = x.copy()
    for function in (red.sum, red.mean, red.amax, red.amin):
        function(x, axis, keepdims)
    red.var(x, axis, keepdims, 0)
    red.amax_share(x)
    np.testing.assert_array_equal(x, before)
