import numpy as np
import pytest

from minires.testing.differences.cancellation import cancelled
from minires.testing.differences.noise import EPS

GY = np.ones(3)


def believed(gradient, x, missing=0.0):
    """Return the rounding that is accepted for a gradient along a direction as large as ``x``."""
    return cancelled(lambda move: gradient(x + move), x, np.abs(x), GY, np.ones(3), missing)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("x", [10.0, 15.0, 20.0, 30.0])
def test_one_minus_s_near_one_carries_the_rounding_of_s(x):
    x = np.array([x, x + 1.1, x + 2.3])
    error = np.abs((1 - sigmoid(x)) - sigmoid(-x)) @ x
    assert error <= believed(lambda x: 1 - sigmoid(x), x) <= 2.0**8 * EPS * x.sum()


def test_a_smooth_gradient_has_little_rounding():
    x = np.array([1.0, 2.5, -0.7])
    assert believed(np.cos, x) <= 16 * EPS * np.abs(x).sum()


def test_a_gradient_in_single_precision_is_not_excused():
    x = np.array([1.0, 2.5, -0.7])
    assert believed(lambda x: np.cos(x).astype(np.float32).astype(float), x) <= 2.0**8 * EPS * np.abs(x).sum()


def test_small_elements_are_allowed_little_rounding():
    x = np.array([1.0, 1e-12, 1e-12])
    alone = cancelled(lambda move: 2 * (x + move), x, np.array([0, 0, 1e-12]), GY, np.ones(3))
    assert 0 < alone <= 16 * EPS * 1e-24


def test_a_gradient_of_zeros_has_no_rounding():
    assert believed(np.zeros_like, np.array([1.0, 2.0, 3.0])) == 0


def test_nothing_is_computed_where_it_cannot_help():
    def gradient(x):
        raise AssertionError("called")

    assert believed(gradient, np.ones(3), missing=1.0) == 0
