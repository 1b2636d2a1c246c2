"""Right gradients at or near kinks, ties, steps and plateaus, or where there is no second derivative."""

import numpy as np

from gradient_cases import operations as ops
from gradient_cases.cases import elementwise, normal, right


@right
def relu(rng):
    return ops.relu, ops.relu_vjp, normal(rng, 5000)


@right
def relu_of_twenty_thousand(rng):
    return ops.relu, ops.relu_vjp, normal(rng, 20_000)


@right
def sum_of_twenty_thousand_relus(rng):
    return lambda x: ops.relu(x).sum(), lambda gy, x: (gy * (x > 0),), normal(rng, 20_000)


@right
def relu_with_elements_at_and_near_the_kink(rng):
    x = normal(rng, 40)
    x[::4] = [0.0, 1e-13, -1e-11, 1e-9, -1e-8, 1e-7, -1e-6, 1e-5, -1e-4, 1e-3]
    return ops.relu, ops.relu_vjp, x


@right
def sum_of_relus_with_one_on_the_kink(rng):
    x = normal(rng, 500)
    x[123] = 0
    return lambda x: ops.relu(x).sum(), lambda gy, x: (gy * (x > 0),), x


@right
def sparse_inputs_of_which_every_output_sees_a_kink(rng):
    x, w = normal(rng, 5, 6), normal(rng, 6, 4)
    x[rng.random(x.shape) < 0.5] = 0
    return lambda x: ops.relu(x) @ w, lambda gy, x: (gy @ w.T * (x > 0),), x


@right
def relu_shifted_close_to_its_kink(rng):
    x = 1 + np.concatenate([normal(rng, 20), [1e-9, -1e-12, 1e-6]])
    return lambda x: ops.relu(x - 1), lambda gy, x: (gy * (x > 1),), x


@right
def relu_times_a_number_that_is_zero_on_the_kink(rng):
    x = np.append(normal(rng, 8), 0.0)
    return *elementwise(lambda x: x * np.abs(x), lambda x: 2 * np.abs(x)), x


@right
def cube_at_zero(rng):
    return *elementwise(lambda x: x**3, lambda x: 3 * x**2), np.zeros(4)


@right
def maximum_of_an_axis_with_ties(rng):
    x = normal(rng, 6, 5)
    x[0, :2] = 7.0

    def vjp(gy, x):
        g = np.zeros_like(x)
        g[np.arange(6), x.argmax(1)] = gy
        return (g,)

    return lambda x: x.max(1), vjp, x


@right
def maximum_of_an_axis_with_ties_that_share(rng):
    x = normal(rng, 6, 5)
    x[0, :2] = 7.0

    def vjp(gy, x):
        first = x == x.max(1, keepdims=True)
        return (gy[:, None] * first / first.sum(1, keepdims=True),)

    return lambda x: x.max(1), vjp, x


@right
def maximum_of_two_arrays_that_agree_in_places(rng):
    x, y = normal(rng, 12), normal(rng, 12)
    y[:3] = x[:3]
    return np.maximum, lambda gy, x, y: (gy * (x >= y), gy * (x < y)), x, y


@right
def maximum_of_many(rng):
    def vjp(gy, x):
        return (gy * (np.arange(x.size) == x.argmax()),)

    return np.max, vjp, normal(rng, 10_000)


@right
def max_pool_of_a_relu(rng):
    def vjp(gy, x):
        return (ops.max_pool_vjp(gy, ops.relu(x))[0] * (x > 0),)

    return lambda x: ops.max_pool(ops.relu(x)), vjp, normal(rng, 2, 2, 6, 4)


@right
def max_pool_of_mostly_zeros(rng):
    x = normal(rng, 2, 2, 6, 4)
    x[rng.random(x.shape) < 0.5] = 0
    return ops.max_pool, ops.max_pool_vjp, x


@right
def sorted_numbers(rng):
    def vjp(gy, x):
        g = np.zeros_like(x)
        g[np.argsort(x)] = gy
        return (g,)

    return np.sort, vjp, normal(rng, 300)


@right
def sorted_numbers_with_ties(rng):
    def vjp(gy, x):
        g = np.zeros_like(x)
        g[np.argsort(x, kind="stable")] = gy
        return (g,)

    return lambda x: np.sort(x, kind="stable"), vjp, np.round(normal(rng, 60), 1)


@right
def lengths_of_rows_of_which_one_is_zero(rng):
    x = normal(rng, 5, 3)
    x[2] = 0

    def vjp(gy, x):  # chooses zero among the subgradients at zero
        length = np.linalg.norm(x, axis=1, keepdims=True)
        return (gy[:, None] * x / np.where(length, length, 1),)

    return lambda x: np.linalg.norm(x, axis=1), vjp, x


@right
def hinge_loss_with_a_margin_of_exactly_one(rng):
    x = np.append(normal(rng, 10), 1.0)
    return lambda x: ops.relu(1 - x).mean(), lambda gy, x: (-gy * (x < 1) / x.size,), x


@right
def clip(rng):
    x = np.concatenate([2 * normal(rng, 20), [1.0, -1.0]])
    return *elementwise(lambda x: np.clip(x, -1, 1), lambda x: np.abs(x) < 1), x


@right
def constant_function(rng):
    return lambda x: np.ones(3) * 7, lambda gy, x: (None,), normal(rng, 4)


@right
def rounding_to_tenths(rng):
    return lambda x: np.round(x, 1), lambda gy, x: (np.zeros_like(x),), normal(rng, 40)


@right
def fraction_of_a_number(rng):
    return *elementwise(lambda x: x - np.floor(x), np.ones_like), 5 * normal(rng, 40)


@right
def sign_times_a_smooth_function(rng):
    return *elementwise(lambda x: np.sign(x) * np.exp(x), lambda x: np.sign(x) * np.exp(x)), normal(rng, 40)


@right
def few_of_many_outputs_move(rng):
    def vjp(gy, x):
        return (gy[7:10] * np.cos(x),)

    def function(x):
        y = np.ones(2000)
        y[7:10] = np.sin(x)
        return y

    return function, vjp, normal(rng, 3)


@right
def quantised_to_seven_bits(rng):
    return lambda x: np.round(x * 128) / 128, lambda gy, x: (np.zeros_like(x),), normal(rng, 40)


@right
def root_of_zero(rng):
    x = np.append(rng.uniform(0.5, 2, 6), 0.0)
    return *elementwise(np.sqrt, lambda x: 0.5 / np.sqrt(x)), x


@right
def x_log_x_at_zero(rng):
    x = np.append(rng.uniform(0.1, 2, 6), 0.0)
    return *elementwise(lambda x: x * np.log(np.where(x == 0, 1, x)), lambda x: np.log(x) + 1), x
