import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minires.errors import DtypeError, ShapeError
from minires.kernels.reference.activation import relu, relu_grad, sigmoid, tanh
from minires.testing import strategies as ms


@pytest.mark.numpy_only
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(seed=st.integers(0, 2**32 - 1))
def test_relu_and_its_gradient_are_their_definitions(dtype, seed):
    rng = np.random.default_rng(seed)
    x, gy = rng.integers(-2, 3, (2, 2, 3, 4)).astype(dtype), rng.standard_normal((2, 2, 3, 4)).astype(dtype)
    x = np.asfortranarray(x)
    y = relu(x)
    gx = relu_grad(gy, y)
    assert (y.dtype, gx.dtype, y.strides, gx.strides) == (dtype, dtype, x.strides, x.strides)
    for index in np.ndindex(x.shape):
        assert y[index] == (x[index] if x[index] > 0 else 0)
        assert gx[index] == (gy[index] if x[index] > 0 else 0)  # 0 at 0


def test_relu_of_x_less_relu_of_minus_x_is_x():
    x = np.random.default_rng(0).standard_normal(1000)
    assert np.array_equal(relu(x) - relu(-x), x)


def test_nan_stays_nan():
    assert np.isnan(relu(np.array([np.nan, 1.0]))).tolist() == [True, False]


def test_shapes_that_differ_are_named():
    with pytest.raises(ShapeError, match=r"gradient of shape \(3,\) does not fit an output of shape \(2,\)"):
        relu_grad(np.ones(3), np.ones(2))


def test_integers_have_no_smooth_switch():
    for kernel in (sigmoid, tanh):
        with pytest.raises(DtypeError, match=f"{kernel.__name__} needs a float array, got int64"):
            kernel(np.arange(3))


@pytest.mark.numpy_only
@given(shape=ms.shapes(min_side=0), seed=ms.seeds(), dtype=ms.dtypes(), order=ms.memory_orders())
def test_the_smooth_switches_agree_with_scalar_mathematics(frozen, shape, seed, dtype, order):
    x = frozen(shape, seed, dtype=dtype, order=order)
    # Both sides: an exponential good to about 3 units in the last place, an addition and a division.
    tolerance = 8 * np.finfo(dtype).eps
    for kernel, scalar in ((sigmoid, lambda v: 1 / (1 + math.exp(-v))), (tanh, math.tanh)):
        y = kernel(x)
        assert (y.shape, y.dtype, y.strides) == (x.shape, x.dtype, np.empty_like(x).strides)
        for index in np.ndindex(x.shape):
            expected = scalar(float(x[index]))
            assert abs(float(y[index]) - expected) <= tolerance * abs(expected)


@pytest.mark.numpy_only
@given(shape=ms.shapes(), seed=ms.seeds(), dtype=ms.dtypes())
def test_a_sigmoid_and_its_mirror_image_add_up_to_one(frozen, shape, seed, dtype):
    x = frozen(shape, seed, dtype=dtype)
    # 1 / w and z / w of the same z and w: half a unit for each of w, the quotients and their sum.
    assert np.abs(sigmoid(x) + sigmoid(-x) - 1).max() <= 2 * np.finfo(dtype).eps
    assert np.array_equal(tanh(-x), -tanh(x))


@given(shape=ms.shapes(), seed=ms.seeds())
def test_the_derivatives_of_the_smooth_switches_are_those_of_the_docstrings(frozen, complex_step, shape, seed):
    x = frozen(shape, seed)
    ones = np.ones(shape)
    for kernel, slope in ((sigmoid, lambda y: y * (1 - y)), (tanh, lambda y: 1 - y * y)):
        # y is at most 1 and carries a few roundings; 1 − y and 1 − y² carry them as absolute errors.
        assert np.abs(complex_step(kernel, [x], 0, ones) - slope(kernel(x))).max() <= 16 * 2.0**-52


def test_the_sigmoid_of_huge_values_does_not_overflow_and_of_very_negative_ones_keeps_its_digits():
    y = sigmoid(np.array([-np.inf, -1e4, -700.0, 1e4, np.inf, np.nan]))
    assert y[:2].tolist() == [0, 0]
    assert y[2] == pytest.approx(math.exp(-700), rel=1e-15, abs=0)
    assert y[3:5].tolist() == [1, 1]
    assert np.isnan(y[5])
