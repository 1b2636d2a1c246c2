import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minires.errors import ShapeError
from minires.kernels.reference.activation import relu, relu_grad


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(seed=st.integers(0, 2**32 - 1))
def test_the_rectifier_and_its_gradient_are_their_definitions(dtype, seed):
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
