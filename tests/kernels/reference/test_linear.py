import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minires.errors import DtypeError, ShapeError
from minires.geometry import Geometry
from minires.kernels.reference.conv import conv2d
from minires.kernels.reference.linear import linear, linear_grads
from minires.testing import strategies as ms

rows = ms.shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
sides = st.integers(1, 5)


@given(rows=rows, C=sides, K=sides, seed=ms.seeds(), dtype=ms.dtypes(), order=ms.memory_orders())
def test_linear_is_its_definition_and_its_gradients_are_its_adjoints_exactly(frozen, rows, C, K, seed, dtype, order):
    x = frozen((*rows, C), seed, "integers", dtype, order)
    weight = frozen((K, C), seed, "integers", dtype, order, stream=1)
    gy = frozen((*rows, K), seed, "integers", dtype, order, stream=2)
    y = linear(x, weight)
    gx, gweight = linear_grads(gy, x, weight)
    assert (y.shape, gx.shape, gweight.shape) == (gy.shape, x.shape, weight.shape)
    assert {y.dtype, gx.dtype, gweight.dtype} == {dtype}
    for *row, k in np.ndindex(y.shape):
        assert y[(*row, k)] == sum(int(weight[k, c]) * int(x[(*row, c)]) for c in range(C))
    assert np.sum(gy * y) == np.sum(gx * x) == np.sum(gweight * weight)


@given(C=sides, K=sides, seed=ms.seeds())
def test_linear_is_a_convolution_of_a_single_pixel(frozen, C, K, seed):
    x, weight = frozen((3, C), seed, "integers"), frozen((K, C), seed, "integers", stream=1)
    y = conv2d(x[..., None, None], weight[..., None, None], Geometry(1))
    assert np.array_equal(linear(x, weight), y[..., 0, 0])


def test_a_gradient_that_is_not_wanted_is_not_computed():
    x, weight, gy = np.ones((2, 3)), np.ones((4, 3)), np.ones((2, 4))
    assert linear_grads(gy, x, weight, wants=(False, True))[0] is None
    assert linear_grads(gy, x, weight, wants=(True, False))[1] is None


def test_shapes_and_dtypes_that_do_not_fit_are_named():
    x, weight = np.ones((2, 3)), np.ones((4, 3))
    with pytest.raises(ShapeError, match=r"x \(…, C\) and weight \(K, C\), got \(2, 3\) and \(4, 2\)"):
        linear(x, weight[:, :2])
    with pytest.raises(ShapeError, match=r"got \(\) and \(4, 3\)"):
        linear(np.ones(()), weight)
    with pytest.raises(ShapeError, match=r"has shape \(2, 3\), but the output has \(2, 4\)"):
        linear_grads(x, x, weight)
    with pytest.raises(ShapeError, match=r"x \(…, C\) and weight \(K, C\), got \(2, 3\) and \(4, 2\)"):
        linear_grads(np.ones((2, 4)), x, weight[:, :2])
    with pytest.raises(DtypeError, match="different dtypes: float64, float32"):
        linear(x, weight.astype(np.float32))
    with pytest.raises(DtypeError, match="different dtypes: float32, float64, float64"):
        linear_grads(np.ones((2, 4), np.float32), x, weight)
