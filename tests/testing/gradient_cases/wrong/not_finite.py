"""Gradients that are NaN or infinite where the function and its slope are finite."""

import numpy as np

from gradient_cases.cases import elementwise, normal, wrong


@wrong
def product_divided_by_a_zero(rng):
    x = normal(rng, 4)
    x[0] = 0
    return np.prod, lambda gy, x: (gy * np.prod(x) / x,), x


@wrong
def multiple_divided_by_a_zero(rng):
    x = normal(rng, 4)
    x[1] = 0
    return *elementwise(lambda x: np.pi * x, lambda x: np.pi * x / x), x


@wrong
def absolute_value_by_a_quotient_at_zero(rng):
    x = normal(rng, 6)
    x[1] = 0
    return *elementwise(np.abs, lambda x: x / np.abs(x)), x


@wrong
def infinite_slope_at_a_kink(rng):
    x = normal(rng, 6)
    x[1] = 0
    return *elementwise(np.abs, lambda x: np.where(x == 0, np.inf, np.sign(x))), x


@wrong
def length_of_a_row_of_zeros_by_a_quotient(rng):
    x = normal(rng, 3, 4)
    x[1] = 0
    return lambda x: np.linalg.norm(x, axis=1), lambda gy, x: (gy[:, None] * x / np.linalg.norm(x, axis=1)[:, None],), x


@wrong
def standard_deviation_of_equal_numbers(rng):
    return np.std, lambda gy, x: (gy * (x - x.mean()) / x.std() / x.size,), np.full(5, rng.integers(1, 9) / 8)
