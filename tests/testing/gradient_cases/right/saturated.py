"""Right gradients of the form 1 − s with s near 1: small numbers with the rounding error of s."""

import math

import numpy as np

from gradient_cases import operations as ops
from gradient_cases.cases import elementwise, normal, right

erf = np.vectorize(math.erf, otypes=[float])
erfc = np.vectorize(math.erfc, otypes=[float])


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softplus(x):
    return np.logaddexp(0, x)


@right
def softplus_of_negative_numbers_by_one_minus(rng):
    return *elementwise(lambda x: np.log1p(np.exp(-x)), lambda x: sigmoid(x) - 1), rng.uniform(10, 20, 5)


@right
def logistic_loss_of_sure_scores(rng):
    label = (rng.random(20) < 0.5).astype(float)

    def loss(x):
        return np.maximum(x, 0) - x * label + np.log1p(np.exp(-np.abs(x)))

    return *elementwise(loss, lambda x: sigmoid(x) - label), 10 * normal(rng, 20)


@right
def mean_logistic_loss_of_sure_scores(rng):
    label = (rng.random(20) < 0.5).astype(float)

    def loss(x):
        return np.mean(np.maximum(x, 0) - x * label + np.log1p(np.exp(-np.abs(x))))

    return loss, lambda gy, x: (gy * (sigmoid(x) - label) / x.size,), 10 * normal(rng, 20)


@right
def log_sigmoid_of_large_numbers(rng):
    return *elementwise(lambda x: -np.log1p(np.exp(-x)), lambda x: 1 - sigmoid(x)), rng.uniform(5, 25, 8)


@right
def softplus_from_its_own_output(rng):
    return *elementwise(softplus, lambda x: 1 - np.exp(-softplus(x))), rng.uniform(-25, -5, 8)


@right
def nll_of_sure_scores(rng):
    label = rng.integers(0, 2, 6)
    rows = np.arange(6)

    def loss(x):
        top = x.max(1)
        return np.log(np.exp(x - top[:, None]).sum(1)) + top - x[rows, label]

    def vjp(gy, x):
        p = ops.softmax(x)
        p[rows, label] -= 1
        return (p * gy[:, None],)

    return loss, vjp, 12 * normal(rng, 6, 2)


@right
def swish_by_tanh(rng):
    def slope(x):
        s = (1 + np.tanh(x)) / 2
        return s + 2 * x * s * (1 - s)

    return *elementwise(lambda x: x * sigmoid(2 * x), slope), -rng.uniform(5, 15, 8)


@right
def sigmoid_by_one_minus_tanh_squared(rng):
    def slope(x):
        return (1 - np.tanh(x / 2) ** 2) / 4

    return *elementwise(lambda x: np.exp(x) / (1 + np.exp(x)), slope), rng.uniform(-25, -10, 8)


@right
def gelu_by_one_plus_erf(rng):
    def slope(x):
        return (1 + erf(x / np.sqrt(2))) / 2 + x * np.exp(-x * x / 2) / np.sqrt(2 * np.pi)

    return *elementwise(lambda x: x * erfc(-x / np.sqrt(2)) / 2, slope), np.append(rng.uniform(-9, -4, 8), 1.0)


@right
def reciprocal_that_does_not_cancel(rng):
    return *elementwise(lambda x: 1 / (np.sqrt(1 + x * x) + x), lambda x: x / np.sqrt(1 + x * x) - 1), rng.uniform(
        1e3, 1e5, 8
    )


@right
def constant_whose_gradient_is_what_is_left_of_gy(rng):
    return lambda x: 0 * x, lambda gy, x: (gy + 0.3 * gy - 1.3 * gy,), normal(rng, 1)
