"""A second look finds hidden slopes and slow convergence, and still finds errors."""

import contextlib

import numpy as np
import pytest

from minires import testing
from minires.testing.differences.ladder import differentiate
from minires.testing.differences.second_look import look_again

TINY = np.array([1e-9, 3e-12])
STANDING_STILL = {
    "1 - cos x": (lambda x: 1 - np.cos(x), np.sin),
    "sqrt(x² + 1) - 1": (lambda x: np.sqrt(x * x + 1) - 1, lambda x: x / np.sqrt(x * x + 1)),
    "log(1 + x²)": (lambda x: np.log(1 + x * x), lambda x: 2 * x / (1 + x * x)),
    "log cosh x": (lambda x: np.log(np.cosh(x)), np.tanh),
    "(x² + 1e6) - 1e6": (lambda x: (x * x + 1e6) - 1e6, lambda x: 2 * x),
    "100 - 100 cos x": (lambda x: 100 - 100 * np.cos(x), lambda x: 100 * np.sin(x)),
}


def looked_at(function, x, d):
    """Return the derivatives along d before and after the second look."""
    base = function(x)

    def line(t):
        return function(x + t * d)

    first = differentiate(line, base)
    return first, look_again(line, base, first, np.ones(base.size), d)


@pytest.mark.parametrize("name", STANDING_STILL)
def test_a_plateau_hides_slopes_of_less_than_a_step_over_its_width(name):
    function, derivative = STANDING_STILL[name]
    first, second = looked_at(function, TINY, TINY)
    assert (np.abs(first.value - TINY * derivative(TINY)) > first.bar).all()
    assert (np.abs(second.value - TINY * derivative(TINY)) <= second.bar).all()
    assert (second.bar <= 1e-9).all()


@pytest.mark.parametrize("x", [[1e-9, 0.5], [1e-9], [1e-30], [0.0, 1e-7], [-3e-8, 1e-10, 5.0]])
@pytest.mark.parametrize("name", STANDING_STILL)
def test_a_right_gradient_on_a_plateau_is_not_called_wrong(name, x):
    function, derivative = STANDING_STILL[name]
    with contextlib.suppress(testing.Inconclusive):
        testing.check_vjp(function, lambda gy, x: (gy * derivative(x),), np.array(x))


@pytest.mark.parametrize("reduce", [np.sum, np.mean])
@pytest.mark.parametrize("x", [[1e-9, 2e-9, -1e-9], [1e-7, 3e-12, 1e-9]])
@pytest.mark.parametrize("name", STANDING_STILL)
def test_a_right_gradient_of_a_sum_on_a_plateau_is_not_called_wrong(name, x, reduce):
    function, derivative = STANDING_STILL[name]
    x = np.array(x)
    share = 1 / x.size if reduce is np.mean else 1
    with contextlib.suppress(testing.Inconclusive):
        testing.check_vjp(lambda x: reduce(function(x)), lambda gy, x: (gy * derivative(x) * share,), x)


AMPLIFIED = {  # whose steps are no rounding by their size
    "1e7 (1 - cos x)": (lambda x: 1e7 * (1 - np.cos(x)), lambda x: 1e7 * np.sin(x), 1e-9),
    "(x + 1e8)² - 1e16": (lambda x: (x + 1e8) ** 2 - 1e16, lambda x: 2 * (x + 1e8), 1e-7),
}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", AMPLIFIED)
def test_stairs_of_amplified_rounding_are_not_called_wrong(name, seed):
    function, derivative, size = AMPLIFIED[name]
    x = np.random.default_rng(seed).uniform(0.5, 1.5, (2, 3)) * size
    with contextlib.suppress(testing.Inconclusive):
        testing.check_vjp(function, lambda gy, x: (gy * derivative(x),), x, rng=seed)


@pytest.mark.parametrize("seed", range(5))
def test_a_wrong_gradient_on_stairs_does_not_pass(seed):
    x = np.random.default_rng(seed).uniform(0.5e-8, 1.5e-8, 3)
    with pytest.raises(testing.GradientError):  # Inconclusive, most of the time
        testing.check_vjp(lambda x: (np.exp(x) - 1) / x, lambda gy, x: (gy,), x, rng=seed)


def test_a_plateau_of_the_functions_own_hides_nothing():
    x = np.array([-1.0, -1e-3, -1e-6, 2.0])
    with pytest.raises(testing.GradientError) as caught:
        testing.check_vjp(lambda x: np.maximum(x, 0), lambda gy, x: (gy * np.where(x > 0, 1, 1e-3),), x)
    assert not isinstance(caught.value, testing.Inconclusive)


def test_the_steps_of_a_quantiser_hide_nothing():
    x = np.array([0.2, 1.3, -0.7])
    with pytest.raises(testing.GradientError) as caught:
        testing.check_vjp(lambda x: np.round(16 * x) / 16, lambda gy, x: (gy,), x)
    assert not isinstance(caught.value, testing.Inconclusive)


def many_hubers(x):
    return np.where(np.abs(x) <= 1, x * x / 2, np.abs(x) - 0.5).sum(keepdims=True)


def beside_the_corners(seed):
    rng = np.random.default_rng(seed)
    return rng.choice([-1.0, 1.0], 300) * (1 + rng.choice([-1.0, 1.0], 300) * 10.0 ** rng.uniform(-12, -3, 300))


@pytest.mark.parametrize("seed", range(5))
def test_where_second_derivatives_jump_the_derivative_lies_within_the_second_bar(seed):
    x = beside_the_corners(seed)
    d = np.random.default_rng([seed, 1]).choice([-1.0, 1.0], x.size) * 0.7
    _, second = looked_at(many_hubers, x, d)
    assert abs(second.value[0] - np.clip(x, -1, 1) @ d) <= second.bar[0]
    assert second.bar[0] <= 1e-5


@pytest.mark.parametrize("seed", range(3))
def test_where_second_derivatives_jump_an_error_of_a_thousandth_is_found(seed):
    with pytest.raises(testing.GradientError) as caught:
        testing.check_vjp(
            lambda x: many_hubers(x)[0], lambda gy, x: (1.001 * gy * np.clip(x, -1, 1),), beside_the_corners(seed)
        )
    assert not isinstance(caught.value, testing.Inconclusive)


def test_a_smooth_function_loses_nothing():
    x = np.array([0.3, 1.7, 12.0, 0.01])
    first, second = looked_at(lambda x: np.exp(np.sin(x)), x, x)
    assert np.array_equal(first.bar, second.bar)
    assert np.array_equal(first.value, second.value)
