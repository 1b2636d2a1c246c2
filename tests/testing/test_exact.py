import numpy as np
import pytest
from gradient_cases import operations as ops
from hypothesis import given
from hypothesis import strategies as st

from minires import testing
from minires.errors import DtypeError
from minires.testing import strategies


def matmul_vjp(gy, x, w):
    return gy @ w.T, x.T @ gy


def relu(x):
    return np.maximum(x, 0)


def relu_vjp(gy, x):
    return (gy * (x > 0),)


@given(strategies.dtypes(), st.integers(1, 9), strategies.seeds())
def test_a_bilinear_map_is_proved_in_either_float(dtype, n, seed):
    x = strategies.array((3, n), seed, "integers", dtype)
    w = strategies.array((n, 4), seed, "integers", dtype, stream=1)
    report = testing.check_exact(np.matmul, matmul_vjp, x, w, rng=seed)
    assert report.resolution == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seed", range(10))
def test_an_error_in_one_element_is_found(dtype, seed):
    def vjp(gy, x, w):
        gx, gw = matmul_vjp(gy, x, w)
        gw[2, 1] += gy[0, 0]
        return gx, gw

    x = strategies.array((5, 4), seed, "integers", dtype)
    w = strategies.array((4, 3), seed, "integers", dtype, stream=1)
    with pytest.raises(testing.GradientError, match="arithmetic is exact") as caught:
        testing.check_exact(np.matmul, vjp, x, w, rng=seed)
    assert caught.value.finding.argument == 1
    assert caught.value.finding.index == (2, 1)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_convolution_is_proved(stride):
    x = strategies.array((2, 2, 5, 6), 0, "integers", np.float32, "HWNC")
    w = strategies.array((3, 2, 3, 3), 1, "integers", np.float32)
    testing.check_exact(
        lambda x, w: ops.conv(x, w, stride, 1), lambda gy, x, w: ops.conv_vjp(gy, x, w, stride, 1), x, w
    )


@pytest.mark.parametrize("error", [lambda g: -g, lambda g: g[..., ::-1], lambda g: g.swapaxes(2, 3), lambda g: 2 * g])
def test_a_wrong_convolution_is_caught(error):
    def vjp(gy, x, w):
        gx, gw = ops.conv_vjp(gy, x, w, 1, 1)
        return gx, error(gw)

    x, w = (strategies.array(shape, 0, "integers") for shape in ((1, 1, 4, 4), (1, 1, 3, 3)))
    with pytest.raises(testing.GradientError, match="`w`"):
        testing.check_exact(lambda x, w: ops.conv(x, w, 1, 1), vjp, x, w)


def test_a_piecewise_linear_map_is_proved_off_its_kinks():
    testing.check_exact(relu, relu_vjp, np.array([-3.0, 0.25, 2.0, -0.5]))


def test_a_wrong_piecewise_linear_gradient_is_caught():
    with pytest.raises(testing.GradientError, match="index"):
        testing.check_exact(relu, lambda gy, x: (gy * (x > 1),), np.array([-3.0, 0.25, 2.0, -0.5]))


def test_a_point_on_a_kink_is_inconclusive():
    with pytest.raises(testing.Inconclusive, match="kink"):
        testing.check_exact(relu, relu_vjp, np.array([-3.0, 0.0, 2.0]))


def test_values_that_would_be_rounded_are_inconclusive():
    x = np.random.default_rng(0).standard_normal(4)
    with pytest.raises(testing.Inconclusive, match="binary digits"):
        testing.check_exact(np.square, lambda gy, x: (2 * x * gy,), x)
    with pytest.raises(testing.Inconclusive, match="use smaller integers"):
        testing.check_exact(np.square, lambda gy, x: (2 * x * gy,), np.array([4001.0, 3.0, 0.125], np.float32))


def test_a_function_of_higher_degree_is_inconclusive():
    with pytest.raises(testing.Inconclusive, match="higher degree"):
        testing.check_exact(lambda x: x**3, lambda gy, x: (3 * x * x * gy,), np.array([1.0, 2.0]))


def test_none_passes_for_a_zero_gradient_only():
    x, y = np.array([1.0, 2.0]), np.array([3.0, -4.0])
    testing.check_exact(lambda x, y: 3 * x, lambda gy, x, y: (3 * gy, None), x, y)
    with pytest.raises(testing.GradientError, match="`y`"):
        testing.check_exact(lambda x, y: x - y, lambda gy, x, y: (gy, None), x, y)


def test_integer_arrays_are_passed_through():
    index = np.array([2, 0, 2])

    def vjp(gy, x, index):
        g = np.zeros_like(x)
        np.add.at(g, index, gy)
        return g, None

    assert len(testing.check_exact(lambda x, i: x[i], vjp, np.arange(4.0), index).inputs) == 1


def test_empty_arrays_pass():
    testing.check_exact(lambda x: 2 * x, lambda gy, x: (2 * gy,), np.zeros((0, 3)))


def test_other_floats_are_refused():
    with pytest.raises(DtypeError, match="float32 or float64"):
        testing.check_exact(relu, relu_vjp, np.ones(3, np.float16))


def test_a_kink_that_only_large_integers_reach_does_not_hide_the_gradient():
    """w·x + ¼ changes its sign when w moves by 1/32, far below the smallest step times 511."""

    def function(x, w):
        return np.maximum(x * w + 0.25, 0)

    def vjp(gy, x, w):
        gy = np.where(x * w + 0.25 > 0, gy, 0)
        return gy * w, gy * x

    arrays = np.array([8.0, -8.0, 3.0]), np.array([0.0, 0.0, -1.0])
    assert testing.check_exact(function, vjp, *arrays).resolution == 0
    with pytest.raises(testing.GradientError, match="`w`"):
        testing.check_exact(function, lambda gy, x, w: (vjp(gy, x, w)[0], gy * x), *arrays)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_wrong_factor_that_makes_the_gradient_round_is_wrong_and_not_inconclusive(dtype):
    w = np.arange(12.0).reshape(3, 4).astype(dtype)

    def vjp(gy, x):
        g = w.T @ gy
        g[2] *= dtype(1.001)
        return (g,)

    with pytest.raises(testing.GradientError, match=r"`x` is wrong at index \(2,\)") as caught:
        testing.check_exact(lambda x: w @ x, vjp, np.array([1.0, -2.0, 3.0, 5.0], dtype))
    assert not isinstance(caught.value, testing.Inconclusive)


def test_a_right_gradient_that_rounds_is_inconclusive_and_not_wrong():
    with pytest.raises(testing.Inconclusive, match="the gradient needs"):
        testing.check_exact(lambda x: x, lambda gy, x: (gy * (1 / 49) * 49,), np.arange(40.0) - 17)


def test_a_gradient_that_is_not_finite_is_wrong_and_not_inconclusive():
    x = np.array([3.0, 0.0, -5.0])
    with pytest.raises(testing.GradientError, match=r"nan at index \(1,\)") as caught:
        testing.check_exact(lambda x: 2 * x, lambda gy, x: (gy * 2 * x / x,), x)
    assert not isinstance(caught.value, testing.Inconclusive)


def test_no_draws_are_refused():
    with pytest.raises(ValueError, match="draws must be at least 1, got 0"):
        testing.check_exact(lambda x: 2 * x, lambda gy, x: (2 * gy,), np.array([1.0, 2.0]), draws=0)
