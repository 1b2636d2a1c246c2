"""Gradients that are wrong in a few elements, or by little, or with errors that cancel in a sum."""

import numpy as np

from gradient_cases import operations as ops
from gradient_cases.cases import elementwise, normal, wrong


def scaled_where(function, derivative, condition, factor):
    """Return an elementwise function whose derivative is off by a factor where ``condition(x)`` holds."""
    return elementwise(function, lambda x: derivative(x) * np.where(condition(x), factor, 1))


def sum_of_sines(scales, factors):
    """Return Σ s sin x, and a vjp whose derivatives s cos x are off by ``factors``."""
    return lambda x: np.dot(scales, np.sin(x)), lambda gy, x: (gy * np.multiply(scales, factors) * np.cos(x),)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def sigmoid_slope(x):
    return np.exp(-abs(x)) / (1 + np.exp(-abs(x))) ** 2


@wrong
def one_element_of_a_hundred_thousand(rng):
    def vjp(gy, x):
        g = 2 * x * gy
        g[31_337] *= 1.01
        return (g,)

    return np.square, vjp, rng.uniform(0.5, 2, 100_000)


@wrong
def one_element_of_a_hundred_thousand_a_thousandth_of_the_others(rng):
    x = rng.uniform(0.5, 2, 100_000)
    x[31_337] = 1e-3
    return *scaled_where(np.square, lambda x: 2 * x, lambda x: x < 0.01, 1.01), x


@wrong
def one_element_of_a_sum_over_ten_thousand(rng):
    def vjp(gy, x):
        g = gy * np.cos(x)
        g[-1] *= 1.001
        return (g,)

    return lambda x: np.sin(x).sum(), vjp, normal(rng, 10_000)


@wrong
def one_element_among_huge_ones(rng):
    x = np.array([1e8, 2.0, -3e8, 1e-8, 5e7])
    return *scaled_where(np.square, lambda x: 2 * x, lambda x: np.abs(x) < 1e-3, 1.01), x


@wrong
def tiny_element_in_a_scalar_function(rng):
    scales = np.array([1.0, 1e-3, 1e-6, 1e-9])
    factors = np.array([1.0, 1.0, 1.0, 1.01])
    return (
        lambda x: (scales * np.sin(x)).sum(),
        lambda gy, x: (gy * scales * np.cos(x) * factors,),
        rng.uniform(0, 1, 4),
    )


@wrong
def one_gentle_slope_beside_steep_ones(rng):
    scales, factors = np.array([1.0, 1.0, 1e-7]), np.array([1.0, 1.0, 1 + 1e-5])
    return (
        lambda x: (scales * np.sin(x)).sum(),
        lambda gy, x: (gy * scales * np.cos(x) * factors,),
        rng.uniform(0, 1, 3),
    )


@wrong
def wrong_only_off_the_diagonal(rng):
    def vjp(gy, x):
        g = gy @ x.T + x.T @ gy
        return (g * np.where(np.eye(5), 1, 1.002),)

    return lambda x: x @ x, vjp, normal(rng, 5, 5)


@wrong
def square_matrix_transposed(rng):
    return lambda x: x @ x, lambda gy, x: ((gy @ x.T + x.T @ gy).T,), normal(rng, 5, 5)


@wrong
def matrix_of_four_numbers_transposed(rng):
    a = normal(rng, 2, 2)
    return lambda x: (x * a).sum(), lambda gy, x: (gy * a.T,), normal(rng, 2, 2)


@wrong
def gradients_of_two_inputs_swapped(rng):
    return np.multiply, lambda gy, x, y: (gy * x, gy * y), normal(rng, 4), normal(rng, 4)


@wrong
def two_elements_swapped(rng):
    def vjp(gy, x):
        g = gy * np.exp(x)
        g[[3, 7]] = g[[7, 3]]
        return (g,)

    return np.exp, vjp, normal(rng, 20)


@wrong
def two_numbers_in_reverse_order(rng):
    return np.sin, lambda gy, x: ((gy * np.cos(x))[::-1],), normal(rng, 2)


@wrong
def errors_that_cancel_in_the_sum(rng):
    error = 1e-4 * np.where(np.arange(200) % 2, 1, -1)
    return lambda x: np.sin(x).sum(), lambda gy, x: (gy * (np.cos(x) + error),), normal(rng, 200)


@wrong
def errors_that_cancel_along_every_axis(rng):
    error = 1e-4 * np.outer([1, -1, 1, -1], [1, -1, 1, -1])
    return (
        lambda x: np.sin(x) @ np.ones(4),
        lambda gy, x: (gy[:, None] * np.cos(x) + error * gy[:, None],),
        (normal(rng, 4, 4)),
    )


@wrong
def errors_along_the_input_alone_are_missing(rng):
    def vjp(gy, x):  # the error is orthogonal to x
        g = gy * 2 * x
        other = np.roll(x, 1)
        return (g + 1e-3 * gy * (other - x * (x @ other) / (x @ x)),)

    return lambda x: (x**2).sum(), vjp, normal(rng, 12)


@wrong
def wrong_only_for_negative_inputs(rng):
    return *scaled_where(np.tanh, lambda x: 1 - np.tanh(x) ** 2, lambda x: x < 0, 1 + 1e-5), normal(rng, 20)


@wrong
def wrong_only_for_inputs_above_a_thousand(rng):
    x = np.concatenate([normal(rng, 30), [2e3]])
    return *scaled_where(
        lambda x: x / (1 + x * x), lambda x: (1 - x * x) / (1 + x * x) ** 2, lambda x: x > 1e3, 1.01
    ), x


@wrong
def saturated_elements_off_by_a_ten_thousandth(rng):
    x = np.concatenate([normal(rng, 20), [-25.0, -30.0]])
    return *scaled_where(sigmoid, sigmoid_slope, lambda x: x < -20, 1 + 1e-4), x


@wrong
def tiny_slopes_cut_off_at_zero(rng):
    x = np.concatenate([normal(rng, 20), [-28.0, -35.0]])
    return *elementwise(sigmoid, lambda x: np.where(sigmoid_slope(x) < 1e-12, 0, sigmoid_slope(x))), x


@wrong
def wrong_for_one_output_of_several(rng):
    def function(x):
        return np.sin(x), np.array(x.sum()), x[:2] ** 3

    def vjp(gy, x):
        g = np.cos(x) * gy[0] + gy[1]
        g[:2] += 3 * x[:2] ** 2 * gy[2] * [1, 1.001]
        return (g,)

    return function, vjp, normal(rng, 6)


@wrong
def one_small_output_of_several_forgotten(rng):
    return lambda x: (1e3 * np.sin(x), 1e-6 * x[0]), lambda gy, x: (1e3 * np.cos(x) * gy[0],), normal(rng, 6)


@wrong
def relu_that_passes_everything(rng):
    return ops.relu, lambda gy, x: (gy,), normal(rng, 20)


@wrong
def relu_with_a_small_leak(rng):
    return ops.relu, lambda gy, x: (np.where(x > 0, gy, 1e-5 * gy),), normal(rng, 50)


@wrong
def relu_of_a_shifted_threshold(rng):
    x = np.concatenate([normal(rng, 20), [5e-7]])
    return ops.relu, lambda gy, x: (gy * (x > 1e-6),), x


@wrong
def relu_that_opens_before_its_kink(rng):
    x = np.concatenate([normal(rng, 20), [-1e-7]])
    return ops.relu, lambda gy, x: (gy * (x > -1e-6),), x


@wrong
def wrong_at_the_end_of_the_domain_alone(rng):
    f = scaled_where(np.arccos, lambda x: -1 / np.sqrt((1 - x) * (1 + x)), lambda x: x > 0.99, 1.01)
    return *f, np.array([1 - 1e-10, 0.5, 0.0, -0.3])


@wrong
def gradient_that_went_through_float32(rng):
    return np.exp, lambda gy, x: ((gy * np.exp(x)).astype(np.float32).astype(float),), normal(rng, 300)


@wrong
def gradient_computed_in_float32_throughout(rng):
    def vjp(gy, x, w):
        return (gy.astype(np.float32) @ w.T.astype(np.float32)).astype(float), x.T @ gy

    return np.matmul, vjp, normal(rng, 4, 5), normal(rng, 5, 3)


@wrong
def scalar_function_off_by_three_millionths(rng):
    return lambda x: np.sin(x).sum(), lambda gy, x: (gy * np.cos(x) * (1 + 3e-6),), normal(rng, 20)


@wrong
def forward_difference_instead_of_a_derivative(rng):
    return *elementwise(np.sin, lambda x: (np.sin(x + 1e-6) - np.sin(x)) / 1e-6), normal(rng, 10)


@wrong
def derivative_at_a_point_beside(rng):
    return *elementwise(np.exp, lambda x: np.exp(x + 1e-7)), normal(rng, 10)


@wrong
def steep_function_off_by_a_thousandth(rng):
    return *elementwise(lambda x: np.sin(1e4 * x), lambda x: 1.001e4 * np.cos(1e4 * x)), normal(rng, 30)


@wrong
def straight_through_seven_bits(rng):
    return lambda x: np.round(x * 128) / 128, lambda gy, x: (gy,), normal(rng, 6)


@wrong
def straight_through_three_bits(rng):
    return lambda x: np.round(x * 8) / 8, lambda gy, x: (gy,), normal(rng, 6)


@wrong
def tail_of_the_logistic_loss_off_by_a_hundred_thousandth(rng):
    f = elementwise(lambda x: np.log1p(np.exp(-x)), lambda x: (1 / (1 + np.exp(-x)) - 1) * (1 + 1e-5))
    return *f, rng.uniform(5, 12, 8)


@wrong
def tail_of_the_logistic_loss_cut_off(rng):
    f = elementwise(lambda x: np.log1p(np.exp(-x)), lambda x: np.where(x > 10, 0, -1 / (1 + np.exp(x))))
    return *f, rng.uniform(8, 20, 8)


@wrong
def slope_of_an_output_that_is_tiny_beside_the_others(rng):
    return lambda x: x * [1, 1e-20], lambda gy, x: (gy * [1, 1.5e-20],), normal(rng, 2)


@wrong
def a_zero_at_an_exact_value_that_two_ulps_away_is_none(rng):
    x = np.round(4 * normal(rng, 6)) + 0.5
    x[2] = 1.0
    return *scaled_where(lambda x: 2 * x, lambda x: np.full_like(x, 2.0), lambda x: x == 1, 0), x


@wrong
def an_error_beside_a_jump_of_the_gradient(rng):
    x = np.array([1.0, 2.0, 3.0])
    return *scaled_where(lambda x: 2 * x, lambda x: np.where(x == 3, 10.0, 2.0), lambda x: x == 1, 0), x


@wrong
def a_mask_with_another_threshold_met_exactly(rng):
    x = np.array([-1.0, *np.abs(normal(rng, 3))])
    return lambda x: np.maximum(x, 0), lambda gy, x: (gy * (x >= -1),), x
