"""Right gradients that are awkward to check; `check_vjp` must pass them all. Each is a function of a generator."""

import numpy as np

from gradient_cases import operations as ops
from minires import testing

RIGHT = {}


def right(case):
    RIGHT[case.__name__] = case
    return case


def normal(rng, *shape):
    return rng.standard_normal(shape)


def elementwise(function, derivative):
    return function, lambda gy, *x: (gy * derivative(*x),)


def convolution(stride=2, padding=1):
    return lambda x, w: ops.conv(x, w, stride, padding), lambda gy, x, w: ops.conv_vjp(gy, x, w, stride, padding)


@right
def conv_with_stride_and_padding(rng):
    return *convolution(), normal(rng, 2, 2, 6, 5), normal(rng, 3, 2, 3, 3)


@right
def conv_of_strided_and_reversed_arrays(rng):
    x, w = normal(rng, 2, 2, 6, 5), normal(rng, 3, 2, 3, 3)
    return *convolution(), testing.lay_out(x, "reversed"), testing.lay_out(w, "HWNC")


@right
def batch_norm(rng):
    return ops.batch_norm, ops.batch_norm_vjp, normal(rng, 3, 2, 4, 4), normal(rng, 2), normal(rng, 2)


@right
def batch_norm_at_a_mean_of_a_thousand(rng):
    return ops.batch_norm, ops.batch_norm_vjp, normal(rng, 3, 2, 4, 4) + 1e3, normal(rng, 2), normal(rng, 2)


@right
def batch_norm_at_a_mean_of_a_million(rng):
    return ops.batch_norm, ops.batch_norm_vjp, normal(rng, 3, 2, 4, 4) + 1e6, normal(rng, 2), normal(rng, 2)


@right
def batch_norm_of_tiny_inputs(rng):
    return ops.batch_norm, ops.batch_norm_vjp, normal(rng, 3, 2, 4, 4) * 1e-3, normal(rng, 2), normal(rng, 2)


@right
def bias_that_batch_norm_takes_away_again(rng):
    def function(x, b):
        return ops.batch_norm(x + b[:, None, None], np.ones(2), np.zeros(2))

    def vjp(gy, x, b):
        g = ops.batch_norm_vjp(gy, x + b[:, None, None], np.ones(2), np.zeros(2))[0]
        return g, g.sum((0, 2, 3))

    return function, vjp, normal(rng, 3, 2, 4, 4), normal(rng, 2)


@right
def relu(rng):
    return ops.relu, ops.relu_vjp, normal(rng, 5000)


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
def maximum_of_an_axis_with_ties(rng):
    x = normal(rng, 6, 5)
    x[0, :2] = 7.0

    def vjp(gy, x):
        g = np.zeros_like(x)
        g[np.arange(6), x.argmax(1)] = gy
        return (g,)

    return lambda x: x.max(1), vjp, x


@right
def fast_oscillation(rng):
    return *elementwise(lambda x: np.sin(1e4 * x), lambda x: 1e4 * np.cos(1e4 * x)), normal(rng, 30)


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
def saturated_sigmoid(rng):
    f = elementwise(lambda x: 1 / (1 + np.exp(-x)), lambda x: np.exp(-abs(x)) / (1 + np.exp(-abs(x))) ** 2)
    return *f, normal(rng, 30) * 30


@right
def constant_function(rng):
    return lambda x: np.ones(3) * 7, lambda gy, x: (None,), normal(rng, 4)


@right
def cancellation_of_a_large_number(rng):
    return lambda x: (x + 1e8) - 1e8, lambda gy, x: (gy,), normal(rng, 30)


@right
def square_root_near_zero(rng):
    return *elementwise(np.sqrt, lambda x: 0.5 / np.sqrt(x)), np.array([1e-14, 1e-9, 1e-5, 1e-2, 1.0, 2.0])


@right
def square_root_with_a_zero(rng):
    return *elementwise(np.sqrt, lambda x: 0.5 / np.sqrt(x)), np.array([0.0, 0.5, 1.0, 2.0])


@right
def logarithm_of_mixed_scales(rng):
    return *elementwise(np.log, lambda x: 1 / x), 10.0 ** rng.uniform(-8, 8, 30)


@right
def huge_inputs(rng):
    return *elementwise(np.square, lambda x: 2 * x), normal(rng, 30) * 1e8


@right
def tiny_inputs(rng):
    return *elementwise(np.square, lambda x: 2 * x), normal(rng, 30) * 1e-8


@right
def huge_beside_tiny_inputs(rng):
    return *elementwise(np.square, lambda x: 2 * x), np.array([1e8, 2.0, -3e8, 1e-8, 5e7])


@right
def all_zeros(rng):
    return *elementwise(np.sinh, np.cosh), np.zeros((2, 3))


@right
def empty(rng):
    return *elementwise(np.exp, np.exp), np.zeros((0, 3))


@right
def empty_output(rng):
    return lambda x: x[:0], lambda gy, x: (np.zeros_like(x),), normal(rng, 3)


@right
def zero_dimensional(rng):
    return *elementwise(np.exp, np.exp), np.array(0.3)


@right
def python_number(rng):
    return *elementwise(np.cos, lambda x: -np.sin(x)), 0.7


@right
def broadcast_input(rng):
    return *elementwise(np.exp, np.exp), np.broadcast_to(normal(rng, 3), (4, 3))


@right
def view_of_the_input_as_output(rng):
    return lambda x: x.T, lambda gy, x: (gy.T,), normal(rng, 3, 4)


@right
def several_outputs_some_of_integers(rng):
    def vjp(gy, x):
        assert gy[1] is None
        return (gy[0] * np.cos(x) + gy[2],)

    return lambda x: (np.sin(x), np.argsort(x), x.sum()), vjp, normal(rng, 5)


@right
def cross_entropy(rng):
    return ops.cross_entropy, ops.cross_entropy_vjp, normal(rng, 8, 5), rng.integers(0, 5, 8)


@right
def cross_entropy_of_logits_near_a_thousand(rng):
    return ops.cross_entropy, ops.cross_entropy_vjp, 1000 + normal(rng, 8, 5), rng.integers(0, 5, 8)


@right
def cross_entropy_of_logits_a_thousand_apart(rng):
    return ops.cross_entropy, ops.cross_entropy_vjp, 1000 * normal(rng, 8, 5), rng.integers(0, 5, 8)


@right
def residual_block(rng):
    def function(x, w):
        return ops.relu(ops.batch_norm(ops.conv(x, w, 1, 1), np.ones(2), np.zeros(2)) + x)

    def vjp(gy, x, w):
        y = ops.conv(x, w, 1, 1)
        gy = gy * (ops.batch_norm(y, np.ones(2), np.zeros(2)) + x > 0)
        gx, gw = ops.conv_vjp(ops.batch_norm_vjp(gy, y, np.ones(2), np.zeros(2))[0], x, w, 1, 1)
        return gx + gy, gw

    return function, vjp, normal(rng, 3, 2, 5, 5), normal(rng, 2, 2, 3, 3)


@right
def large_array(rng):
    return *elementwise(np.tanh, lambda x: 1 - np.tanh(x) ** 2), normal(rng, 20_000)
