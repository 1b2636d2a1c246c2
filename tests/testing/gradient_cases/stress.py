"""Right gradients at points where differences mislead: the checker must call none of them wrong, at any values.

Half of the functions are constant over many neighbouring floats (near 0, all values of 1 − cos x are 0). The second
derivative of the other half jumps, so that differences converge more slowly than extrapolation assumes. An entry is a
function of ``values``, where ``values(*shape)`` draws an array; it returns (function, vjp, *arrays).
"""

import math

import numpy as np

from gradient_cases.cases import elementwise
from minires.testing.strategies.value import array

STRESS = {}

erf = np.vectorize(math.erf, otypes=[float])


def stress(case):
    """Decorator: add an entry to the table."""
    STRESS[case.__name__] = case
    return case


def drawn(name, kind, seed):
    """Return (function, vjp, *arrays) of an entry, with values of one of `strategies.value.KINDS`."""
    streams = iter(range(8))
    return STRESS[name](lambda *shape: array(shape, seed, kind, stream=next(streams)))


def loss(of, slope, reduce=np.mean):
    """Return a loss of the differences p − t, reduced to one number, and its vjp."""

    def function(p, t):
        return reduce(of(p - t))

    def vjp(gy, p, t):
        g = gy * slope(p - t) / (p.size if reduce is np.mean else 1)
        return g, -g

    return function, vjp


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


# Functions that are constant over many neighbouring floats.


@stress
def one_minus_cosine(values):
    return *elementwise(lambda x: 1 - np.cos(x), np.sin), values(4, 3)


@stress
def pseudo_huber(values):
    return *elementwise(lambda x: np.sqrt(x * x + 1) - 1, lambda x: x / np.sqrt(x * x + 1)), values(4, 3)


@stress
def mean_pseudo_huber_loss(values):
    return *loss(lambda d: np.sqrt(1 + d * d) - 1, lambda d: d / np.sqrt(1 + d * d)), values(4, 3), values(4, 3)


@stress
def log_of_one_plus_square(values):
    return *elementwise(lambda x: np.log(1 + x * x), lambda x: 2 * x / (1 + x * x)), values(4, 3)


@stress
def sum_of_cauchy_losses(values):
    of = loss(lambda d: np.log(1 + d * d), lambda d: 2 * d / (1 + d * d), np.sum)
    return *of, values(3, 2), values(3, 2)


@stress
def log_cosh(values):
    return *elementwise(lambda x: np.log(np.cosh(x)), np.tanh), values(4, 3)


@stress
def cosh_minus_one(values):
    return *elementwise(lambda x: np.cosh(x) - 1, np.sinh), values(4, 3)


@stress
def welsch_loss(values):
    return *elementwise(lambda x: 1 - np.exp(-x * x / 2), lambda x: x * np.exp(-x * x / 2)), values(4, 3)


@stress
def geman_mcclure_loss(values):
    return *elementwise(lambda x: 1 - 1 / (1 + x * x), lambda x: 2 * x / (1 + x * x) ** 2), values(4, 3)


@stress
def gru_near_saturation(values):
    """Return a step of a gated recurrent unit, h ← (1 − z) n + z h, with gates far from zero."""

    def parts(x, h):
        return sigmoid(4 * x), sigmoid(3 * x + h)

    def function(x, h):
        z, r = parts(x, h)
        return (1 - z) * np.tanh(x + r * h) + z * h

    def vjp(gy, x, h):
        z, r = parts(x, h)
        n = np.tanh(x + r * h)
        gn = gy * (1 - z) * (1 - n * n)
        gr = gn * h * r * (1 - r)
        gz = gy * (h - n) * z * (1 - z)
        return gn + 3 * gr + 4 * gz, gn * r + gr + gy * z

    return function, vjp, values(3, 2), values(3, 2)


@stress
def highway_gate(values):
    def function(x, g):
        z = sigmoid(5 * g)
        return z * np.sin(x) + (1 - z) * x

    def vjp(gy, x, g):
        z = sigmoid(5 * g)
        return gy * (z * np.cos(x) + 1 - z), gy * 5 * z * (1 - z) * (np.sin(x) - x)

    return function, vjp, values(3, 2), values(3, 2)


@stress
def cosine_distance(values):
    def parts(p, t):
        lengths = [np.sqrt((a * a).sum(1, keepdims=True) + 1e-8) for a in (p, t)]
        return p / lengths[0], t / lengths[1], *lengths

    def function(p, t):
        u, v, _, _ = parts(p, t)
        return 1 - (u * v).sum(1)

    def vjp(gy, p, t):
        u, v, a, b = parts(p, t)
        cosine = (u * v).sum(1, keepdims=True)
        return -gy[:, None] * (v - cosine * u) / a, -gy[:, None] * (u - cosine * v) / b

    return function, vjp, values(3, 4), values(3, 4)


# Functions whose second derivative jumps.


def huber(d):
    return np.where(np.abs(d) <= 1, d * d / 2, np.abs(d) - 0.5)


def huber_slope(d):
    return np.clip(d, -1, 1)


@stress
def huber_of_each(values):
    return *elementwise(huber, huber_slope), values(4, 3)


@stress
def mean_huber_loss(values):
    return *loss(huber, huber_slope), values(4, 3), values(4, 3)


@stress
def sum_of_many_huber_losses(values):
    return *loss(huber, huber_slope, np.sum), values(20, 15), values(20, 15)


@stress
def mean_smooth_l1_loss_of_small_beta(values):
    beta = 1 / 64
    return *loss(lambda d: beta * huber(d / beta), lambda d: np.clip(d / beta, -1, 1)), values(4, 3), values(4, 3)


@stress
def mean_squared_hinge_loss(values):
    def margin(p, t):
        return np.maximum(0, 1 - p * t)

    def vjp(gy, p, t):
        return -2 * gy * margin(p, t) * t / p.size, -2 * gy * margin(p, t) * p / p.size

    return lambda p, t: np.mean(margin(p, t) ** 2), vjp, values(4, 3), values(4, 3)


@stress
def sum_of_many_squared_rectifiers(values):
    def vjp(gy, x):
        return (2 * gy * np.maximum(x, 0),)

    return lambda x: np.sum(np.maximum(x, 0) ** 2), vjp, values(20, 15)


@stress
def elu(values):
    def slope(x):
        return np.where(x > 0, 1, np.exp(np.minimum(x, 0)))

    return *elementwise(lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))), slope), values(4, 3)


@stress
def elu_behind_a_linear_layer(values):
    def function(x, w):
        a = x @ w
        return np.where(a > 0, a, np.exp(np.minimum(a, 0)) - 1)

    def vjp(gy, x, w):
        a = x @ w
        ga = gy * np.where(a > 0, 1, np.exp(np.minimum(a, 0)))
        return ga @ w.T, x.T @ ga

    return function, vjp, values(3, 4), values(4, 2)


@stress
def quadratic_spline(values):
    def bump(x):
        x = np.abs(x)
        return np.where(x < 0.5, 0.75 - x * x, np.where(x < 1.5, (1.5 - x) ** 2 / 2, 0))

    def slope(x):
        return np.where(np.abs(x) < 0.5, -2 * x, np.where(np.abs(x) < 1.5, x - 1.5 * np.sign(x), 0))

    return *elementwise(bump, slope), values(4, 3)


@stress
def modified_huber_margin(values):
    def function(x):
        return np.where(x >= -1, np.maximum(0, 1 - x) ** 2, -4 * x).mean()

    def vjp(gy, x):
        return (gy * np.where(x >= -1, -2 * np.maximum(0, 1 - x), -4.0) / x.size,)

    return function, vjp, values(4, 3)


@stress
def tukey_biweight_loss(values):
    def of(d):
        return (1 - np.maximum(0, 1 - d * d / 4) ** 3) / 6

    def slope(d):
        return d * np.maximum(0, 1 - d * d / 4) ** 2 / 4

    return *loss(of, slope), values(4, 3), values(4, 3)


@stress
def squared_distance_to_an_interval(values):
    def distance(x):
        return x - np.clip(x, -1, 1)

    def vjp(gy, x):
        return (2 * gy * distance(x).T,)

    return lambda x: (distance(x) ** 2).T.sum(0), lambda gy, x: (2 * gy[:, None] * distance(x),), values(4, 3)
