import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minires.errors import DtypeError, ShapeError
from minires.kernels.reference import arithmetic as ar
from minires.testing import MEMORY_ORDERS, lay_out
from minires.testing.rounding import rounded

SIDES = st.sampled_from([1, 1, 1, 0])  # the least length of an axis: empty arrays now and then
UNARY = ("negative", "exp", "log", "sqrt", "absolute")
POWER = pytest.param("power", marks=pytest.mark.numpy_only)  # whose last bits are the library's
BINARY = ("add", "subtract", "multiply", "divide", "maximum", "minimum", "power")
COMPARISONS = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
dtypes = st.sampled_from([np.float32, np.float64])
seeds = st.integers(0, 2**32 - 1)


def halves(seed, shape, dtype, layout="C", low=0.5):
    """Return random numbers among low, low + ½, … low + 3½, so that ties occur, in a memory order."""
    steps = np.asarray(np.random.default_rng(seed).integers(0, 8, shape))
    return lay_out(np.asarray(low + steps / 2, dtype), layout)


@st.composite
def operands(draw):
    """Draw two arrays of one dtype whose shapes broadcast, each in some memory order."""
    least = draw(SIDES)
    shapes = draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, min_side=least, max_side=4))
    dtype, seed = draw(dtypes), draw(seeds)
    layouts = draw(st.tuples(st.sampled_from(MEMORY_ORDERS), st.sampled_from(MEMORY_ORDERS)))
    return [halves(seed + i, shapes.input_shapes[i], dtype, layouts[i]) for i in range(2)]


@st.composite
def one_array(draw, low=-1.5):
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=draw(SIDES), max_side=4))
    return halves(draw(seeds), shape, draw(dtypes), draw(st.sampled_from(MEMORY_ORDERS)), low)


def same(actual, expected):
    """Check that values, shape and dtype are equal bit for bit, and that the result is a new writeable array."""
    assert isinstance(actual, np.ndarray)
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    assert actual.flags.writeable
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("name", [*BINARY[:-1], POWER])
@given(pair=operands())
def test_binary_kernels_are_numpys_functions_bit_for_bit(name, pair):
    a, b = pair
    copies = a.copy(), b.copy()
    same(getattr(ar, name)(a, b), np.asarray(getattr(np, name)(a, b)))
    np.testing.assert_array_equal(a, copies[0])
    np.testing.assert_array_equal(b, copies[1])


@pytest.mark.parametrize("name", UNARY)
@given(x=one_array(low=0.5))
def test_unary_kernels_are_numpys_functions(name, x):
    # The same ufunc; another stride may take another vector loop, which may differ by a few ulp.
    actual, expected = getattr(ar, name)(x), np.asarray(getattr(np, name)(x))
    assert actual.dtype == x.dtype
    assert actual.shape == x.shape
    np.testing.assert_array_max_ulp(actual, expected, maxulp=4)


@pytest.mark.parametrize("name", COMPARISONS)
@given(pair=operands())
def test_comparisons_give_booleans(name, pair):
    a, b = pair
    same(getattr(ar, name)(a, b), np.asarray(getattr(np, name)(a, b)))


@pytest.mark.parametrize("scalar", [3, 0.1, np.float64(0.1), np.float32(0.1), np.int64(3), True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "divide", POWER])
def test_a_scalar_never_changes_the_dtype(name, dtype, scalar):
    x = halves(0, (2, 3), dtype)
    number = dtype(scalar.item() if isinstance(scalar, np.generic) else scalar)
    function, oracle = getattr(ar, name), getattr(np, name)
    same(function(x, scalar), oracle(x, np.full_like(x, number)))
    same(function(scalar, x), oracle(np.full_like(x, number), x))


@pytest.mark.parametrize("name", [*BINARY, *COMPARISONS])
def test_results_of_no_axes_are_arrays(name):
    a, b = np.array(2.0), np.array(0.5)
    y = getattr(ar, name)(a, b)
    assert isinstance(y, np.ndarray)
    assert y.shape == ()


def order(x):
    return sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis]))


@pytest.mark.numpy_only
@pytest.mark.parametrize("name", [*BINARY, *COMPARISONS, "maximum_mask"])
def test_the_first_operand_of_the_results_shape_decides_the_memory_order(name):
    shape, function = (2, 3, 4, 5), getattr(ar, name)
    hwnc, c = halves(0, shape, np.float32, "HWNC"), halves(1, shape, np.float32)
    channels = halves(2, (1, 3, 1, 1), np.float32)
    for first, second in [(hwnc, c), (hwnc, channels), (channels, hwnc), (hwnc, 2), (2, hwnc)]:
        assert order(function(first, second)) == order(hwnc) == [2, 3, 0, 1]
    for first, second in [(c, hwnc), (c, channels), (channels, c), (c, 2)]:
        assert order(function(first, second)) == [0, 1, 2, 3]
    repeated = np.broadcast_to(channels, shape)  # one that repeats its elements does not
    assert order(function(repeated, hwnc)) == [2, 3, 0, 1]


@pytest.mark.numpy_only
def test_one_operand_kernels_and_where_keep_the_memory_order():
    x = halves(0, (2, 3, 4, 5), np.float32, "HWNC")
    c_order = np.ascontiguousarray(x)
    results = [getattr(ar, name)(x) for name in UNARY]
    results += [ar.sign(x), ar.clip(x, 1, 2), ar.clip(x, None, None), ar.clip_mask(x, 1, 2)]
    results += [ar.where(c_order > 1, x, c_order), ar.where(c_order > 1, 0.0, x), ar.where(x > 1, x[:1], 0.0)]
    assert [order(y) for y in results] == [[2, 3, 0, 1]] * len(results)
    assert order(ar.where(x > 1, c_order, x)) == [0, 1, 2, 3]


@given(x=one_array())
def test_sign_is_the_derivative_of_absolute(x):
    same(ar.sign(x), np.sign(x))
    np.testing.assert_array_equal(ar.multiply(ar.sign(x), x), ar.absolute(x))


def test_sign_of_nan_is_zero_as_in_pytorch():
    assert ar.sign(np.array([np.nan, -np.inf, -0.0, np.inf])).tolist() == [0, -1, 0, 1]


@pytest.mark.parametrize("low", [None, -1, 0, 0.5])
@pytest.mark.parametrize("high", [None, -0.5, 0.5, 1])
@given(x=one_array())
def test_clip_and_its_derivative_agree_with_a_scalar_loop(high, low, x):
    at_least = -np.inf if low is None else low
    at_most = np.inf if high is None else high
    clipped = [min(max(v, at_least), at_most) for v in x.ravel().tolist()]
    mask = [float(at_least <= v <= at_most) for v in x.ravel().tolist()]
    same(ar.clip(x, low, high), np.array(clipped, x.dtype).reshape(x.shape))
    same(ar.clip_mask(x, low, high), np.array(mask, x.dtype).reshape(x.shape))
    assert not np.shares_memory(ar.clip(x, low, high), x)


def test_nan_goes_through_clip_and_maximum_and_gets_no_gradient_from_clip():
    nan = np.array([np.nan, 1.0])
    assert np.isnan(ar.clip(nan, 0, 2)).tolist() == [True, False]
    assert ar.clip_mask(nan, 0, 2).tolist() == [0, 1]
    assert np.isnan(ar.maximum(nan, 0.0)).tolist() == [True, False]
    assert np.isnan(ar.minimum(0.0, nan)).tolist() == [True, False]


@given(pair=operands())
def test_the_shares_of_a_maximum_add_up_to_one(pair):
    a, b = pair
    shares = ar.maximum_mask(a, b), ar.maximum_mask(b, a)
    np.testing.assert_array_equal(ar.add(*shares), 1)
    pairs = zip(*(x.ravel().tolist() for x in np.broadcast_arrays(a, b)), strict=True)
    expected = [1 if p > q else 0.5 if p == q else 0 for p, q in pairs]
    same(shares[0], np.array(expected, a.dtype).reshape(shares[0].shape))


def test_where_there_is_nan_both_operands_of_a_maximum_get_the_gradient():
    a, b = np.array([np.nan, 1.0, np.nan]), np.array([1.0, np.nan, np.nan])
    assert ar.maximum_mask(a, b).tolist() == ar.maximum_mask(b, a).tolist() == [1, 1, 1]


@given(
    shapes=hnp.mutually_broadcastable_shapes(num_shapes=3, max_dims=4, min_side=0, max_side=3),
    dtype=dtypes,
    seed=seeds,
)
def test_where_is_numpys_where(shapes, dtype, seed):
    condition, a, b = (halves(seed + i, shapes.input_shapes[i], dtype) for i in range(3))
    condition = np.asarray(condition > 2)
    same(ar.where(condition, a, b), np.asarray(np.where(condition, a, b)))
    same(ar.where(condition, a, 0.1), np.asarray(np.where(condition, a, dtype(0.1))))
    same(ar.where(condition, np.float64(0.1), b), np.asarray(np.where(condition, dtype(0.1), b)))


@pytest.mark.numpy_only
def test_a_result_has_the_class_of_the_operands_and_not_of_the_condition():
    a, b = (rounded(np.ones(shape), np.float32) for shape in ((1, 3), (2, 1)))
    for condition in (np.ones((2, 1), bool), np.ones((2, 3), bool)):
        assert type(ar.where(condition, a, b)) is type(a)


def test_where_does_not_touch_what_it_does_not_choose():
    y = ar.where(np.array([True, False]), np.array([1.0, np.nan]), np.array([np.inf, 2.0]))
    assert y.tolist() == [1, 2]


def test_the_square_is_one_multiplication():
    x = np.float32([0.1, -3.3, 1e20])
    with np.errstate(over="ignore"):
        same(ar.power(x, 2), x * x)
        same(ar.power(x, np.float64(2)), x * x)


@pytest.mark.parametrize("name", ["exp", "log", "sqrt", "negative"])
def test_smooth_kernels_take_a_complex_step(name):
    # d/dx f(x) = Im f(x + ih) / h without cancellation: h² is far below the last digit.
    x, h = np.array([0.3, 1.0, 2.5]), 1e-20
    derivative = {"exp": np.exp(x), "log": 1 / x, "sqrt": 0.5 / np.sqrt(x), "negative": -np.ones(3)}[name]
    np.testing.assert_array_max_ulp(getattr(ar, name)(x + 1j * h).imag / h, derivative, maxulp=8)


def test_shapes_that_do_not_broadcast_raise_and_name_both():
    a, b = np.ones((2, 3)), np.ones((4, 3))
    for name in [*BINARY, *COMPARISONS, "maximum_mask"]:
        with pytest.raises(ShapeError, match=r"\(2, 3\) and \(4, 3\)"):
            getattr(ar, name)(a, b)
    with pytest.raises(ShapeError, match=r"\(2, 3\) and \(4, 3\) and \(2, 3\)"):
        ar.where(a > 0, a, b)


def test_mixed_dtypes_raise_and_name_both():
    a, b = np.ones(3, np.float32), np.ones(3, np.float64)
    for name in [*BINARY, *COMPARISONS, "maximum_mask"]:
        with pytest.raises(DtypeError, match="float32, float64"):
            getattr(ar, name)(a, b)
    with pytest.raises(DtypeError, match="float32, float64"):
        ar.where(a > 0, a, b)


@pytest.mark.parametrize(
    "call",
    [
        lambda i: ar.divide(i, i),
        lambda i: ar.exp(i),
        lambda i: ar.multiply(i, 2.5),
        lambda i: ar.clip(i, 0.5, None),
        lambda i: ar.power(i, -1),
        lambda i: ar.subtract(i > 0, i > 0),
        lambda i: ar.where(i, i, i),
        lambda i: ar.where(i > 0, 1.0, 2.0),
        lambda i: ar.add(1.0, np.float32(2)),
    ],
)
def test_results_that_the_dtype_cannot_hold_raise(call):
    with pytest.raises(DtypeError, match=r"int64|bool|scalars"):
        call(np.arange(1, 4))


def test_integers_have_powers_and_floats_negative_ones_too():
    i, x = np.arange(1, 4), np.array([0.5, 4.0])
    for n in (0, 1, 3):
        same(ar.power(i, n), i**n)
    same(ar.power(x, -1), 1 / x)
    with pytest.raises(DtypeError, match="power of int64 and -1 is not int64"):
        ar.power(i, -1)


def test_integers_add_and_compare():
    i = np.arange(4)
    same(ar.add(i, 1), i + 1)
    same(ar.multiply(i, i), i * i)
    same(ar.equal(i, 2), i == 2)
    same(ar.less(i, 0.5), i < 0.5)


@given(x=one_array())
def test_kernels_agree_with_pythons_operators_on_every_layout(x):
    for name, function in [("add", operator.add), ("multiply", operator.mul), ("subtract", operator.sub)]:
        same(getattr(ar, name)(x, x), np.asarray(function(x, x)))


def test_a_running_mean_moves_by_its_share_in_place():
    a, b = np.array([4.0, 8.0]), np.array([8.0, -8.0])
    ar.blend_(a, b, 0.75, 0.5)
    assert a.tolist() == [7, 2]
    with pytest.raises(ShapeError, match=r"\(2,\) and \(1,\)"):
        ar.blend_(a, b[:1], 0.5, 0.5)
    with pytest.raises(DtypeError):
        ar.blend_(a, b.astype(np.float32), 0.5, 0.5)
    assert a.tolist() == [7, 2]


def test_a_sum_in_place_needs_one_shape_and_one_dtype():
    a = np.ones((2, 3))
    ar.add_(a, np.full((2, 3), 2.0))
    assert (a == 3).all()
    for b, error in ((np.ones(3), ShapeError), (np.ones((2, 3), np.float32), DtypeError)):
        with pytest.raises(error):
            ar.add_(a, b)
    assert (a == 3).all()
