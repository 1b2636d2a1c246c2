"""Error bars hold the true derivative, and are narrow."""

import math

import numpy as np
import pytest

from minires.testing.differences.ladder import count_causes, differentiate

POINTS = np.array([0.3, 1.7, 12.0, 0.01])
SMOOTH = {
    "sine": (np.sin, np.cos),
    "fast sine": (lambda x: np.sin(1e4 * x), lambda x: 1e4 * np.cos(1e4 * x)),
    "exponential": (np.exp, np.exp),
    "steep exponential": (lambda x: np.exp(30 * x), lambda x: 30 * np.exp(30 * x)),
    "logarithm": (np.log, lambda x: 1 / x),
    "square": (np.square, lambda x: 2 * x),
    "tanh": (np.tanh, lambda x: 1 / np.cosh(x) ** 2),
    "large offset": (lambda x: (np.sin(x) + 1e6) - 1e6, np.cos),
    "kink beside the point": (lambda x: np.abs(x - 0.3001), lambda x: np.sign(x - 0.3001)),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_the_derivative_lies_within_its_bar(name):
    function, derivative = SMOOTH[name]
    slopes = differentiate(lambda t: function(POINTS + t * POINTS), function(POINTS))
    # The right side is rounded, too: by a few units in the last place of the argument and of the result.
    rounding = 8 * np.finfo(float).eps * np.abs(POINTS * derivative(POINTS)) * (1 + 1e4 * POINTS * ("fast" in name))
    assert slopes.sharp.all()
    assert (np.abs(slopes.value - POINTS * derivative(POINTS)) <= slopes.bar + rounding).all()


def test_bars_are_a_small_multiple_of_the_rounding_noise():
    slopes = differentiate(lambda t: np.sin(POINTS + t * POINTS), np.sin(POINTS))
    assert (slopes.bar <= 1e-10 * np.max(np.abs(slopes.value))).all()


def test_a_kink_at_the_point_is_not_sharp_and_is_named():
    slopes = differentiate(lambda t: np.array([abs(t), np.sin(1 + t), max(t, 0.0)]), np.array([0.0, np.sin(1), 0.0]))
    assert slopes.sharp.tolist() == [False, True, False]
    assert count_causes(slopes.cause[~slopes.sharp]) == {"kink": 2}


def test_values_that_are_not_finite_are_not_sharp_and_are_named():
    slopes = differentiate(lambda t: np.array([np.sqrt(t), np.exp(t)]), np.array([0.0, 1.0]))
    assert slopes.sharp.tolist() == [False, True]
    assert count_causes(slopes.cause[~slopes.sharp]) == {"not finite": 1}


def test_an_overflow_at_coarse_steps_spoils_nothing():
    slopes = differentiate(lambda t: np.exp(700 + 100 * np.array([t])), np.exp([700.0]))
    assert slopes.sharp.all()
    np.testing.assert_allclose(slopes.value, 100 * np.exp([700.0]), rtol=1e-9)


def test_an_output_that_does_not_move_is_sharp_at_zero():
    slopes = differentiate(lambda t: np.array([3.0, 0.0]), np.array([3.0, 0.0]))
    assert slopes.sharp.all()
    assert not slopes.value.any()


@pytest.mark.parametrize("scale", [1.0, 1e-2, 1e-4])
def test_a_staircase_of_rounding_is_not_taken_for_a_plateau(scale):
    x = scale * np.linspace(0.5, 2, 200)
    slopes = differentiate(lambda t: (x + t * x + 1e8) - 1e8, (x + 1e8) - 1e8)
    wrong = np.abs(slopes.value - x) > slopes.bar
    assert not (slopes.sharp & wrong).any()


def test_the_budget_of_evaluations_is_kept():
    calls = []
    differentiate(lambda t: np.array([calls.append(t) or np.sin(t)]), np.zeros(1))
    assert 60 <= len(calls) <= 130


@pytest.mark.parametrize("frequency", [1e8, 1e10])
def test_an_oscillation_that_no_step_can_follow_is_not_taken_for_noise(frequency):
    slopes = differentiate(lambda t: np.sin(frequency * (POINTS + t)), np.sin(frequency * POINTS))
    wrong = np.abs(slopes.value - frequency * np.cos(frequency * POINTS)) > slopes.bar
    assert not (slopes.sharp & wrong).any()


def test_a_spike_at_the_point_is_not_sharp():
    slopes = differentiate(lambda t: np.array([1 / (1e-20 + t)]), np.array([1e20]))
    assert not slopes.sharp.any()


def test_the_slope_between_two_roundings_is_not_taken_for_all_of_it():
    # 1 + erf(x / sqrt 2) is a multiple of 2^-53, so that x Phi(x) has a slope of Phi(x) alone between two roundings.
    x = np.array([-7.5, -7.0, 1.0])
    cumulative = np.vectorize(lambda x: 0.5 * (1 + math.erf(x / math.sqrt(2))))
    slopes = differentiate(lambda t: (x + t * x) * cumulative(x + t * x), x * cumulative(x))
    true = x * (
        np.vectorize(lambda x: 0.5 * math.erfc(-x / math.sqrt(2)))(x) + x * np.exp(-x * x / 2) / math.sqrt(math.tau)
    )
    assert (np.abs(slopes.value - true) <= slopes.bar).all()
    assert slopes.sharp.all()


def test_values_that_underflow_are_noise():
    slopes = differentiate(lambda t: 1e-310 * (POINTS + t), 1e-310 * POINTS)
    assert (np.abs(slopes.value - 1e-310) <= slopes.bar).all()
