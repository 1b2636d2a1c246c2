"""Right gradients of a network's layers and blocks, at points where their arithmetic loses digits."""

import numpy as np

from gradient_cases import operations as ops
from gradient_cases.cases import normal, right
from minires import testing


def convolution(stride=2, padding=1):
    return lambda x, w: ops.conv(x, w, stride, padding), lambda gy, x, w: ops.conv_vjp(gy, x, w, stride, padding)


def batch_norm_of(rng, x):
    return ops.batch_norm, ops.batch_norm_vjp, x, normal(rng, 2), normal(rng, 2)


@right
def conv_with_stride_and_padding(rng):
    return *convolution(), normal(rng, 2, 2, 6, 5), normal(rng, 3, 2, 3, 3)


@right
def conv_of_strided_and_reversed_arrays(rng):
    x, w = normal(rng, 2, 2, 6, 5), normal(rng, 3, 2, 3, 3)
    return *convolution(), testing.lay_out(x, "reversed"), testing.lay_out(w, "HWNC")


@right
def conv_of_a_relu_of_mostly_zeros(rng):
    def vjp(gy, x, w):
        gx, gw = ops.conv_vjp(gy, ops.relu(x), w, 1, 1)
        return gx * (x > 0), gw

    return lambda x, w: ops.conv(ops.relu(x), w, 1, 1), vjp, ops.relu(normal(rng, 2, 3, 6, 6)), normal(rng, 4, 3, 3, 3)


@right
def grouped_conv(rng):
    return ops.grouped_conv, ops.grouped_conv_vjp, normal(rng, 2, 4, 5, 5), normal(rng, 4, 2, 3, 3)


@right
def average_pool_that_leaves_its_padding_out(rng):
    return ops.average_pool, ops.average_pool_vjp, normal(rng, 2, 2, 5, 5)


@right
def batch_norm(rng):
    return batch_norm_of(rng, normal(rng, 3, 2, 4, 4))


@right
def batch_norm_at_a_mean_of_a_thousand(rng):
    return batch_norm_of(rng, normal(rng, 3, 2, 4, 4) + 1e3)


@right
def batch_norm_at_a_mean_of_a_million(rng):
    return batch_norm_of(rng, normal(rng, 3, 2, 4, 4) + 1e6)


@right
def batch_norm_of_tiny_inputs(rng):
    return batch_norm_of(rng, normal(rng, 3, 2, 4, 4) * 1e-3)


@right
def batch_norm_with_a_constant_channel(rng):
    x = normal(rng, 3, 2, 4, 4)
    x[:, 1] = 0.25
    return batch_norm_of(rng, x)


@right
def bias_that_batch_norm_takes_away_again(rng):
    def function(x, b):
        return ops.batch_norm(x + b[:, None, None], np.ones(2), np.zeros(2))

    def vjp(gy, x, b):
        g = ops.batch_norm_vjp(gy, x + b[:, None, None], np.ones(2), np.zeros(2))[0]
        return g, g.sum((0, 2, 3))

    return function, vjp, normal(rng, 3, 2, 4, 4), normal(rng, 2)


@right
def layer_norm_of_nearly_constant_rows(rng):
    return ops.layer_norm, ops.layer_norm_vjp, normal(rng, 4, 1) + 1e-5 * normal(rng, 4, 8)


@right
def softmax_that_is_saturated(rng):
    return ops.softmax, ops.softmax_vjp, 100 * normal(rng, 4, 6)


@right
def softmax_whose_sum_is_one(rng):
    def vjp(gy, x):
        return ops.softmax_vjp(np.repeat(gy[:, None], 6, 1), x)

    return lambda x: ops.softmax(x).sum(-1) - 1, vjp, normal(rng, 4, 6)


@right
def log_softmax(rng):
    return ops.log_softmax, ops.log_softmax_vjp, normal(rng, 4, 6)


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
def attention_that_looks_at_one_place(rng):
    return ops.attention, ops.attention_vjp, 10 * normal(rng, 4, 3), 10 * normal(rng, 4, 3), normal(rng, 4, 3)


@right
def recurrence(rng):
    return ops.recurrence, ops.recurrence_vjp, normal(rng, 12, 3), normal(rng, 3, 3), normal(rng, 3)


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


@right(has_cache=True)
def dropout_whose_mask_is_its_cache(rng):
    kept = rng.random(60) < 0.7
    return lambda x: (x * kept / 0.7, kept), lambda gy, kept: (gy * kept / 0.7,), normal(rng, 60)


@right(has_cache=True)
def conv_batch_norm_relu_with_a_cache(rng):
    def function(x, w, gamma, beta):
        y = ops.conv(x, w, 1, 1)
        z = ops.batch_norm(y, gamma, beta)
        return ops.relu(z), (x, w, gamma, beta, y, z > 0)

    def vjp(gy, cache):
        x, w, gamma, beta, y, mask = cache
        gz, ggamma, gbeta = ops.batch_norm_vjp(gy * mask, y, gamma, beta)
        return *ops.conv_vjp(gz, x, w, 1, 1), ggamma, gbeta

    return function, vjp, normal(rng, 2, 2, 5, 5), normal(rng, 3, 2, 3, 3), normal(rng, 3), normal(rng, 3)
