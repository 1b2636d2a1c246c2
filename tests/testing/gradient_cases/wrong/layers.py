"""Gradients of a network's layers with common mistakes."""

import numpy as np

from gradient_cases import operations as ops
from gradient_cases.cases import normal, wrong


def conv_case(rng, spoil, stride=1, padding=1, size=5):
    """Return a convolution whose gradients (gx, gw) are changed by ``spoil``."""

    def vjp(gy, x, w):
        return spoil(*ops.conv_vjp(gy, x, w, stride, padding), gy, x, w)

    x, w = normal(rng, 2, 2, size, size), normal(rng, 3, 2, 3, 3)
    return lambda x, w: ops.conv(x, w, stride, padding), vjp, x, w


def norm_case(rng, spoil=lambda *gradients: gradients, mean=0.5, **terms):
    def vjp(gy, x, gamma, beta):
        return spoil(*ops.batch_norm_vjp(gy, x, gamma, beta, **terms))

    x = normal(rng, 3, 2, 4, 4) + mean
    return ops.batch_norm, vjp, x, normal(rng, 2) + 2, normal(rng, 2)


@wrong
def conv_weight_gradient_scaled_by_a_thousandth(rng):
    return conv_case(rng, lambda gx, gw, *_: (gx, gw * 1.001))


@wrong
def conv_input_gradient_scaled_by_a_thousandth(rng):
    return conv_case(rng, lambda gx, gw, *_: (gx * 0.999, gw))


@wrong
def conv_input_gradient_of_opposite_sign(rng):
    return conv_case(rng, lambda gx, gw, *_: (-gx, gw))


@wrong
def conv_with_mirrored_filter_gradient(rng):
    return conv_case(rng, lambda gx, gw, *_: (gx, gw[:, :, ::-1, ::-1]))


@wrong
def conv_with_rows_and_columns_of_the_filter_swapped(rng):
    return conv_case(rng, lambda gx, gw, *_: (gx, gw.swapaxes(2, 3)))


@wrong
def conv_wrong_only_at_the_border(rng):
    def spoil(gx, gw, *_):
        gx[:, :, 0] *= 1.01
        return gx, gw

    return conv_case(rng, spoil)


@wrong
def conv_wrong_only_in_one_corner(rng):
    def spoil(gx, gw, *_):
        gx[:, :, -1, -1] *= 1.001
        return gx, gw

    return conv_case(rng, spoil)


@wrong
def conv_wrong_only_for_a_stride_above_one(rng):
    def spoil(gx, gw, gy, x, w):
        if gy.shape[2] < x.shape[2]:
            gw[:, :, -1] = 0
        return gx, gw

    return conv_case(rng, spoil, stride=2)


@wrong
def conv_forgetting_the_last_row_that_a_stride_skips(rng):
    def spoil(gx, gw, gy, *_):
        gx[:, :, -1] += 1e-3 * gy.mean()
        return gx, gw

    return conv_case(rng, spoil, stride=2, padding=0, size=6)


@wrong
def conv_wrong_only_for_odd_sizes(rng):
    def spoil(gx, gw, gy, x, w):
        if x.shape[3] % 2:
            gx[..., x.shape[3] // 2] = 0
        return gx, gw

    return conv_case(rng, spoil, size=7)


@wrong
def conv_wrong_only_in_the_last_channel(rng):
    def spoil(gx, gw, *_):
        gx[:, -1] *= 1.0001
        return gx, gw

    return conv_case(rng, spoil)


@wrong
def conv_off_by_one_part_in_a_hundred_thousand(rng):
    return conv_case(rng, lambda gx, gw, *_: (gx, gw * (1 + 1e-5)))


@wrong
def grouped_conv_that_takes_the_first_group_for_the_last(rng):
    def vjp(gy, x, w):
        gx, gw = ops.grouped_conv_vjp(gy, x, w)
        gw[-2:] = ops.conv_vjp(gy[:, -2:], x[:, :2], w[-2:])[1]
        return gx, gw

    return ops.grouped_conv, vjp, normal(rng, 2, 4, 5, 5), normal(rng, 4, 2, 3, 3)


@wrong
def average_pool_that_counts_its_padding(rng):
    def vjp(gy, x):
        ones, flat = np.ones((1, 1, 3, 3)), x.reshape(-1, 1, 5, 5)
        g = ops.conv_vjp(gy.reshape(-1, 1, 3, 3) / 9, flat, ones, 2, 1)[0]
        return (g.reshape(x.shape),)

    return ops.average_pool, vjp, normal(rng, 2, 2, 5, 5)


@wrong
def max_pool_that_gives_to_the_last_of_a_window(rng):
    return ops.max_pool, lambda gy, x: (ops.max_pool_vjp(gy, x[..., ::-1])[0],), normal(rng, 2, 2, 4, 6)


@wrong
def batch_norm_without_the_mean_term(rng):
    return norm_case(rng, mean_term=0.0)


@wrong
def batch_norm_without_the_variance_term(rng):
    return norm_case(rng, var_term=0.0)


@wrong
def batch_norm_with_the_unbiased_variance_term(rng):
    return norm_case(rng, var_term=48 / 47)


@wrong
def batch_norm_variance_term_off_by_a_thousandth(rng):
    return norm_case(rng, var_term=1.001)


@wrong
def batch_norm_wrong_only_for_a_mean_other_than_zero(rng):
    f, vjp, x, gamma, beta = norm_case(rng)
    return f, lambda gy, x, *p: (vjp(gy, x, *p)[0], (gy * x).sum((0, 2, 3)), gy.sum((0, 2, 3))), x, gamma, beta


@wrong
def batch_norm_with_the_epsilon_of_another_library(rng):
    return norm_case(rng, eps=1e-3)


@wrong
def batch_norm_variance_term_forgotten_far_from_zero(rng):
    return norm_case(rng, mean=1e5, var_term=0.99)


@wrong
def batch_norm_shift_gradient_of_none(rng):
    return norm_case(rng, lambda gx, ggamma, gbeta: (gx, ggamma, None))


@wrong
def layer_norm_without_the_mean_of_gy(rng):
    def vjp(gy, x):
        return (ops.layer_norm_vjp(gy, x)[0] + gy.mean(-1, keepdims=True) / x.std(-1, keepdims=True),)

    return ops.layer_norm, vjp, normal(rng, 4, 8)


@wrong
def softmax_without_its_off_diagonal(rng):
    def vjp(gy, x):
        y = ops.softmax(x)
        return (gy * y * (1 - y),)

    return ops.softmax, vjp, normal(rng, 3, 5)


@wrong
def log_softmax_that_takes_gy_to_sum_to_one(rng):
    return ops.log_softmax, lambda gy, x: (gy - ops.softmax(x),), normal(rng, 3, 5)


@wrong
def cross_entropy_without_the_mean(rng):
    def vjp(gy, x, labels):
        return gy * ops.cross_entropy_vjp(1.0, x, labels)[0] * len(labels), None

    return ops.cross_entropy, vjp, normal(rng, 6, 4), rng.integers(0, 4, 6)


@wrong
def cross_entropy_that_skips_the_last_row(rng):
    def vjp(gy, x, labels):
        g = ops.cross_entropy_vjp(gy, x, labels)[0]
        g[-1] = 0
        return g, None

    return ops.cross_entropy, vjp, normal(rng, 6, 4), rng.integers(0, 4, 6)


@wrong
def attention_with_the_keys_unscaled(rng):
    def vjp(gy, q, k, v):
        gq, gk, gv = ops.attention_vjp(gy, q, k, v)
        return gq, gk * np.sqrt(q.shape[1]), gv

    return ops.attention, vjp, normal(rng, 4, 3), normal(rng, 4, 3), normal(rng, 4, 3)


@wrong
def residual_whose_shortcut_is_counted_before_the_relu(rng):
    def vjp(gy, x, w):
        inner = gy * (ops.conv(x, w, 1, 1) + x > 0)
        gx, gw = ops.conv_vjp(inner, x, w, 1, 1)
        return gx + gy, gw

    return lambda x, w: ops.relu(ops.conv(x, w, 1, 1) + x), vjp, normal(rng, 2, 2, 5, 5), normal(rng, 2, 2, 3, 3)
