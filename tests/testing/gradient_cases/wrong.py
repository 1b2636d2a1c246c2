"""Wrong gradients, every one of which `check_vjp` must catch. Each case is a function of a generator."""

import numpy as np

from gradient_cases import operations as ops

WRONG = {}


def wrong(case):
    WRONG[case.__name__] = case
    return case


def normal(rng, *shape):
    return rng.standard_normal(shape)


def conv_case(rng, spoil, stride=1, padding=1, size=5):
    """A convolution whose gradients (gx, gw) go through ``spoil``."""

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
def conv_off_by_one_part_in_a_hundred_thousand(rng):
    return conv_case(rng, lambda gx, gw, *_: (gx, gw * (1 + 1e-5)))


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
def batch_norm_shift_gradient_of_none(rng):
    return norm_case(rng, lambda gx, ggamma, gbeta: (gx, ggamma, None))


@wrong
def relu_that_passes_everything(rng):
    return ops.relu, lambda gy, x: (gy,), normal(rng, 20)


@wrong
def relu_with_a_small_leak(rng):
    return ops.relu, lambda gy, x: (np.where(x > 0, gy, 1e-5 * gy),), normal(rng, 50)


@wrong
def one_element_of_a_hundred_thousand(rng):
    def vjp(gy, x):
        g = 2 * x * gy
        g[31_337] *= 1.01
        return (g,)

    return np.square, vjp, rng.uniform(0.5, 2, 100_000)


@wrong
def one_element_among_huge_ones(rng):
    x = np.array([1e8, 2.0, -3e8, 1e-8, 5e7])
    return np.square, lambda gy, x: (2 * x * gy * np.where(np.abs(x) < 1e-3, 1.01, 1),), x


@wrong
def wrong_only_off_the_diagonal(rng):
    def vjp(gy, x):
        g = gy @ x.T + x.T @ gy
        return (g * np.where(np.eye(5), 1, 1.002),)

    return lambda x: x @ x, vjp, normal(rng, 5, 5)


@wrong
def not_linear_in_gy(rng):
    return np.sin, lambda gy, x: (np.cos(x) * gy * (1 + 1e-3 * gy),), normal(rng, 7)


@wrong
def clipped_gradient(rng):
    return np.sin, lambda gy, x: (np.cos(x) * np.clip(gy, -10, 10),), normal(rng, 7)


@wrong
def constant_added_to_the_gradient(rng):
    return np.sin, lambda gy, x: (np.cos(x) * gy + 1e-13,), normal(rng, 7)


@wrong
def function_that_modifies_its_input(rng):
    def function(x):
        x *= 2
        return x

    return function, lambda gy, x: (2 * gy,), normal(rng, 4)


@wrong
def vjp_that_modifies_its_input(rng):
    def vjp(gy, x):
        np.cos(x, out=x)
        return (x * gy,)

    return np.sin, vjp, normal(rng, 4)


@wrong
def vjp_that_modifies_gy(rng):
    def vjp(gy, x):
        gy *= np.cos(x)
        return (gy,)

    return np.sin, vjp, normal(rng, 4)


@wrong
def gradient_of_another_shape(rng):
    return np.exp, lambda gy, x: ((gy * np.exp(x))[None],), normal(rng, 3)


@wrong
def gradient_summed_over_the_wrong_axis(rng):
    return np.add, lambda gy, x, b: (gy, gy.sum(1)), normal(rng, 3, 3), normal(rng, 3)


@wrong
def gradient_of_another_dtype(rng):
    return np.exp, lambda gy, x: ((gy * np.exp(x)).astype(np.float32),), normal(rng, 3)


@wrong
def gradient_that_went_through_float32(rng):
    return np.exp, lambda gy, x: ((gy * np.exp(x)).astype(np.float32).astype(float),), normal(rng, 300)


@wrong
def none_where_the_gradient_is_not_zero(rng):
    return np.multiply, lambda gy, x, y: (gy * y, None), normal(rng, 4), normal(rng, 4)


@wrong
def too_few_gradients(rng):
    return np.multiply, lambda gy, x, y: (gy * y,), normal(rng, 4), normal(rng, 4)


@wrong
def not_a_number_in_one_element(rng):
    return np.exp, lambda gy, x: (np.where(x == x[2], np.nan, gy * np.exp(x)),), normal(rng, 5)


@wrong
def cross_entropy_without_the_mean(rng):
    def vjp(gy, x, labels):
        return gy * ops.cross_entropy_vjp(1.0, x, labels)[0] * len(labels), None

    return ops.cross_entropy, vjp, normal(rng, 6, 4), rng.integers(0, 4, 6)


@wrong
def gradient_for_integer_labels(rng):
    def vjp(gy, x, labels):
        return ops.cross_entropy_vjp(gy, x, labels)[0], np.zeros(6)

    return ops.cross_entropy, vjp, normal(rng, 6, 4), rng.integers(0, 4, 6)


@wrong
def gradient_that_depends_on_the_strides_of_gy(rng):
    def vjp(gy, x):
        flat = np.lib.stride_tricks.as_strided(gy, (gy.size,), (gy.itemsize,))
        return (np.nan_to_num(flat.reshape(x.shape)) * np.cos(x),)

    return np.sin, vjp, normal(rng, 3, 4)


@wrong
def gradient_that_changes_from_call_to_call(rng):
    noise = np.random.default_rng(0)
    return np.sin, lambda gy, x: (np.cos(x) * gy * (1 + 1e-4 * noise.random()),), normal(rng, 4)


@wrong
def steep_function_off_by_a_thousandth(rng):
    return lambda x: np.sin(1e4 * x), lambda gy, x: (1.001e4 * np.cos(1e4 * x) * gy,), normal(rng, 30)


@wrong
def power_with_the_exponent_forgotten(rng):
    return lambda x: x**3, lambda gy, x: (x**2 * gy,), normal(rng, 4)
