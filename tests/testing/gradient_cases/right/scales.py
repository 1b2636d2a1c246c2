"""Right gradients of functions that are steep, flat, oscillate or cancel, at huge, tiny and mixed numbers."""

import numpy as np

from gradient_cases import operations as ops
from gradient_cases.cases import elementwise, normal, right


@right
def fast_oscillation(rng):
    return *elementwise(lambda x: np.sin(1e4 * x), lambda x: 1e4 * np.cos(1e4 * x)), normal(rng, 30)


@right
def oscillation_faster_than_any_step(rng):
    return *elementwise(lambda x: np.sin(1e8 * x), lambda x: 1e8 * np.cos(1e8 * x)), normal(rng, 10)


@right
def exponential_minus_one_of_tiny_numbers(rng):
    return *elementwise(lambda x: np.exp(x) - 1, np.exp), normal(rng, 20) * 1e-9


@right
def steep_exponential(rng):
    return *elementwise(lambda x: np.exp(200 * x), lambda x: 200 * np.exp(200 * x)), rng.uniform(-1, 1, 20)


@right
def step_of_a_steep_tanh(rng):
    return *elementwise(lambda x: np.tanh(1e3 * x), lambda x: 1e3 / np.cosh(np.minimum(1e3 * abs(x), 300)) ** 2), (
        normal(rng, 20) * 1e-2
    )


@right
def flat_power(rng):
    return *elementwise(lambda x: (x - 1) ** 10, lambda x: 10 * (x - 1) ** 9), 1 + np.linspace(-1e-3, 1, 20)


@right
def fiftieth_power(rng):
    return *elementwise(lambda x: x**50, lambda x: 50 * x**49), normal(rng, 20)


@right
def saturated_sigmoid(rng):
    f = elementwise(lambda x: 1 / (1 + np.exp(-x)), lambda x: np.exp(-abs(x)) / (1 + np.exp(-abs(x))) ** 2)
    return *f, normal(rng, 30) * 30


@right
def saturated_tanh(rng):
    return *elementwise(np.tanh, lambda x: 1 / np.cosh(x) ** 2), normal(rng, 30) * 20


@right
def tail_of_a_gaussian(rng):
    return *elementwise(lambda x: np.exp(-x * x), lambda x: -2 * x * np.exp(-x * x)), 8 * normal(rng, 30)


@right
def pole_nearby(rng):
    return *elementwise(lambda x: 1 / (x - 1), lambda x: -1 / (x - 1) ** 2), 1 + np.array([1e-6, -1e-3, 1e-4, 0.5, 2])


@right
def cancellation_of_a_large_number(rng):
    return lambda x: (x + 1e8) - 1e8, lambda gy, x: (gy,), normal(rng, 30)


@right
def cancellation_of_a_large_number_with_small_inputs(rng):
    return lambda x: (x + 1e8) - 1e8, lambda gy, x: (gy,), normal(rng, 30) * 1e-3


@right
def wave_on_a_large_constant(rng):
    return *elementwise(lambda x: 1e6 + np.sin(x), np.cos), normal(rng, 30)


@right
def large_phase(rng):
    return *elementwise(np.sin, np.cos), 1e6 + normal(rng, 20)


@right
def square_root_near_zero(rng):
    return *elementwise(np.sqrt, lambda x: 0.5 / np.sqrt(x)), np.array([1e-14, 1e-9, 1e-5, 1e-2, 1.0, 2.0])


@right
def square_root_with_a_zero(rng):
    return *elementwise(np.sqrt, lambda x: 0.5 / np.sqrt(x)), np.array([0.0, 0.5, 1.0, 2.0])


@right
def square_root_of_the_smallest_numbers(rng):
    return *elementwise(np.sqrt, lambda x: 0.5 / np.sqrt(x)), np.array([1e-300, 1e-200, 1e-100, 1.0])


@right
def logarithm_of_mixed_scales(rng):
    return *elementwise(np.log, lambda x: 1 / x), 10.0 ** rng.uniform(-8, 8, 30)


@right
def logarithm_that_refuses_negative_numbers(rng):
    def function(x):
        if (x <= 0).any():
            raise ValueError("the logarithm of a negative number")
        return np.log(x)

    return function, lambda gy, x: (gy / x,), np.append(rng.uniform(0.5, 2, 10), [1e-3, 1e-7])


@right
def arc_cosine_near_one(rng):
    x = np.array([1 - 1e-10, 1 - 1e-5, 0.5, -1 + 1e-7, 0.0])
    return *elementwise(np.arccos, lambda x: -1 / np.sqrt((1 - x) * (1 + x))), x


@right
def arc_sine_that_refuses_to_leave_its_domain(rng):
    def function(x):
        if (np.abs(x) > 1).any():
            raise ValueError("not the sine of anything")
        return np.arcsin(x)

    return function, lambda gy, x: (gy / np.sqrt((1 - x) * (1 + x)),), np.array([1 - 1e-6, 0.5, -0.2, 0.1])


@right
def huge_inputs(rng):
    return *elementwise(np.square, lambda x: 2 * x), normal(rng, 30) * 1e8


@right
def tiny_inputs(rng):
    return *elementwise(np.square, lambda x: 2 * x), normal(rng, 30) * 1e-8


@right
def inputs_close_to_overflow(rng):
    return *elementwise(np.square, lambda x: 2 * x), rng.uniform(0.5, 1, 10) * 1e153


@right
def denormal_outputs(rng):
    return *elementwise(lambda x: 1e-310 * x, lambda x: np.full_like(x, 1e-310)), normal(rng, 10)


@right
def huge_beside_tiny_inputs(rng):
    return *elementwise(np.square, lambda x: 2 * x), np.array([1e8, 2.0, -3e8, 1e-8, 5e7])


@right
def huge_beside_tiny_outputs(rng):
    def vjp(gy, x):
        return (1e12 * np.cos(x) * gy[0] - 1e-12 * np.sin(x) * gy[1],)

    return lambda x: (1e12 * np.sin(x), 1e-12 * np.cos(x)), vjp, normal(rng, 6)


@right
def product_of_huge_and_tiny_matrices(rng):
    return np.matmul, lambda gy, x, w: (gy @ w.T, x.T @ gy), normal(rng, 3, 4) * 1e-9, normal(rng, 4, 2) * 1e9


@right
def all_zeros(rng):
    return *elementwise(np.sinh, np.cosh), np.zeros((2, 3))


@right
def large_array(rng):
    return *elementwise(np.tanh, lambda x: 1 - np.tanh(x) ** 2), normal(rng, 20_000)


@right
def one_number_beside_a_hundred_thousand(rng):
    return np.multiply, lambda gy, a, x: (np.sum(gy * x), gy * a), np.array(1.7), normal(rng, 100_000)


@right
def cumulative_sum_of_ten_thousand(rng):
    return np.cumsum, lambda gy, x: (np.cumsum(gy[::-1])[::-1],), normal(rng, 10_000)


@right
def log_sum_exp_near_a_thousand(rng):
    def function(x):
        return x.max() + np.log(np.exp(x - x.max()).sum())

    return function, lambda gy, x: (gy * ops.softmax(x),), 1000 + normal(rng, 20)


@right
def numbers_whose_sum_overflows(rng):
    return lambda x: x / 2, lambda gy, x: (gy / 2,), np.array([1.7e308, -1.6e308, 1e308]) * rng.choice([-1.0, 1.0], 3)
