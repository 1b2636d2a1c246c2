"""Gradients with a mistake in the formula: a term, a factor, a sum or a transpose."""

import numpy as np

from gradient_cases import operations as ops
from gradient_cases.cases import elementwise, normal, wrong


@wrong
def power_with_the_exponent_forgotten(rng):
    return *elementwise(lambda x: x**3, np.square), normal(rng, 4)


@wrong
def gradient_of_the_function_instead_of_its_logarithm(rng):
    return lambda x: np.log((x**2).sum()), lambda gy, x: (gy * 2 * x,), normal(rng, 5)


@wrong
def root_with_its_epsilon_on_the_other_side(rng):
    def vjp(gy, x):  # right for √Σx² + eps, not for √(Σx² + eps)
        return (gy * x / (np.sqrt((x**2).sum()) + 1e-5),)

    return lambda x: np.sqrt((x**2).sum() + 1e-5), vjp, normal(rng, 6)


@wrong
def epsilon_added_to_the_derivative(rng):
    return *elementwise(np.log, lambda x: 1 / (x + 1e-8)), rng.uniform(0.1, 1, 10)


@wrong
def gradient_summed_over_the_wrong_axis(rng):
    return np.add, lambda gy, x, b: (gy, gy.sum(1)), normal(rng, 3, 3), normal(rng, 3)


@wrong
def broadcast_axis_not_summed(rng):
    return np.multiply, lambda gy, x, b: (gy * b, (gy * x)[:1]), normal(rng, 4, 3), normal(rng, 1, 3)


@wrong
def broadcast_axis_averaged(rng):
    return np.add, lambda gy, x, b: (gy, gy.mean(0)), normal(rng, 4, 3), normal(rng, 3)


@wrong
def path_taken_for_a_constant(rng):
    def vjp(gy, x):
        return (gy / (1 + np.exp(-x)),)

    return lambda x: x / (1 + np.exp(-x)), vjp, normal(rng, 8)


@wrong
def length_taken_for_a_constant(rng):
    return lambda x: x / np.linalg.norm(x), lambda gy, x: (gy / np.linalg.norm(x),), normal(rng, 5)


@wrong
def weight_used_twice_and_counted_once(rng):
    def vjp(gy, x, w):
        h = np.tanh(x @ w)
        gh = gy @ w.T * (1 - h**2)
        return gh @ w.T, h.T @ gy

    return lambda x, w: np.tanh(x @ w) @ w, vjp, normal(rng, 3, 4), normal(rng, 4, 4)


@wrong
def recurrence_cut_off_after_two_steps(rng):
    def vjp(gy, x, w, h):
        gx, gw, gh = ops.recurrence_vjp(gy, x, w, h)
        gx[:-2] = 0
        return gx, gw, gh

    return ops.recurrence, vjp, normal(rng, 5, 3), normal(rng, 3, 3) / 2, normal(rng, 3)


@wrong
def product_without_the_conjugate(rng):
    def vjp(gy, x):
        return ((2 * len(x) * np.fft.ifft(gy * np.fft.fft(x).conj())).real,)

    return lambda x: np.abs(np.fft.fft(x)) ** 2, vjp, normal(rng, 8)


@wrong
def repeated_indices_counted_once(rng):
    def vjp(gy, table, rows):
        g = np.zeros_like(table)
        g[rows] += gy
        return g, None

    return lambda table, rows: table[rows], vjp, normal(rng, 6, 3), np.array([4, 0, 4, 2])


@wrong
def ties_counted_twice(rng):
    x = normal(rng, 6, 5)
    x[0, 1:3] = 7.0

    def vjp(gy, x):
        return (gy[:, None] * (x == x.max(1, keepdims=True)),)

    return lambda x: x.max(1), vjp, x


@wrong
def ties_in_the_maximum_of_all_counted_twice(rng):
    x = normal(rng, 8)
    x[2] = x[5] = 4.0
    return np.max, lambda gy, x: (gy * (x == x.max()),), x


@wrong
def inverse_without_a_transpose(rng):
    def vjp(gy, x):
        inverse = np.linalg.inv(x)
        return (-inverse @ gy @ inverse,)

    return np.linalg.inv, vjp, normal(rng, 4, 4) + 3 * np.eye(4)


@wrong
def determinant_without_the_transpose(rng):
    return np.linalg.det, lambda gy, x: (gy * np.linalg.det(x) * np.linalg.inv(x),), normal(rng, 4, 4)


@wrong
def cumulative_sum_that_is_off_by_one(rng):
    def vjp(gy, x):
        g = np.cumsum(gy[::-1])[::-1]
        return (np.append(g[1:], 0.0),)

    return np.cumsum, vjp, normal(rng, 9)


@wrong
def clip_that_lets_everything_through(rng):
    return lambda x: np.clip(x, -1, 1), lambda gy, x: (gy,), 2 * normal(rng, 20)


@wrong
def smooth_gelu_by_its_approximation(rng):
    from math import erf

    def vjp(gy, x):  # the derivative of the approximation by tanh
        t = np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))
        inner = np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * x**2)
        return (gy * (0.5 * (1 + t) + 0.5 * x * (1 - t**2) * inner),)

    return lambda x: x * 0.5 * (1 + np.vectorize(erf)(x / np.sqrt(2))), vjp, normal(rng, 20)


@wrong
def unbiased_standard_deviation_with_the_biased_gradient(rng):
    def vjp(gy, x):
        return (gy * (x - x.mean()) / (len(x) * x.std()),)

    return lambda x: x.std(ddof=1), vjp, normal(rng, 30)


@wrong
def dropout_without_its_scale(rng):
    kept = rng.random(30) < 0.7
    return lambda x: x * kept / 0.7, lambda gy, x: (gy * kept,), normal(rng, 30)
