"""Gradients that break the contract of a vjp: to be linear in gy and repeatable, and to modify nothing."""

import numpy as np

from gradient_cases import operations as ops
from gradient_cases.cases import normal, wrong


@wrong
def not_linear_in_gy(rng):
    return np.sin, lambda gy, x: (np.cos(x) * gy * (1 + 1e-3 * gy),), normal(rng, 7)


@wrong
def clipped_gradient(rng):
    return np.sin, lambda gy, x: (np.cos(x) * np.clip(gy, -10, 10),), normal(rng, 7)


@wrong
def absolute_value_of_gy(rng):
    return lambda x: np.sin(x).sum(), lambda gy, x: (np.cos(x) * abs(gy),), normal(rng, 7)


@wrong
def right_only_for_a_gy_of_one(rng):
    def vjp(gy, x, labels):
        return ops.cross_entropy_vjp(1.0, x, labels)

    return ops.cross_entropy, vjp, normal(rng, 6, 4), rng.integers(0, 4, 6)


@wrong
def gradient_divided_by_its_size(rng):
    return np.sin, lambda gy, x: (np.cos(x) * gy / (1 + 1e-6 * np.abs(gy).max()),), normal(rng, 7)


@wrong
def small_gradients_rounded_to_zero(rng):
    def vjp(gy, x):
        g = np.cos(x) * gy
        return (np.where(np.abs(g) < 1e-8, 0, g),)

    return np.sin, vjp, normal(rng, 7)


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


@wrong(has_cache=True)
def vjp_that_modifies_its_cache(rng):
    def vjp(gy, y):
        y *= gy
        return (y,)

    return lambda x: (np.exp(x), np.exp(x)), vjp, normal(rng, 4)


@wrong(has_cache=True)
def cache_that_the_next_forward_pass_overwrites(rng):
    room = np.zeros(6)

    def function(x):
        np.cos(x, out=room)
        return np.sin(x), room

    return function, lambda gy, cos: (gy * cos,), normal(rng, 6)


@wrong
def gradient_that_the_next_backward_pass_overwrites(rng):
    room = np.zeros(6)
    return np.sin, lambda gy, x: (np.multiply(gy, np.cos(x), out=room),), normal(rng, 6)


@wrong
def a_little_of_the_previous_gy(rng):
    memory = [np.zeros(5)]

    def vjp(gy, x):
        smooth = gy + 1e-4 * (memory[0] - gy)
        memory[0] = gy.copy()
        return (np.cos(x) * smooth,)

    return np.sin, vjp, normal(rng, 5)


@wrong
def mask_of_the_first_call(rng):
    memory = []

    def function(x):
        memory.append(x > 0)
        return ops.relu(x)

    function(normal(rng, 20))
    return function, lambda gy, x: (gy * memory[0],), normal(rng, 20)


@wrong
def gradient_of_another_shape(rng):
    return np.exp, lambda gy, x: ((gy * np.exp(x))[None],), normal(rng, 3)


@wrong
def gradient_without_an_axis_of_length_one(rng):
    return np.exp, lambda gy, x: ((gy * np.exp(x))[:, 0],), normal(rng, 3, 1)


@wrong
def gradient_of_another_dtype(rng):
    return np.exp, lambda gy, x: ((gy * np.exp(x)).astype(np.float32),), normal(rng, 3)


@wrong
def complex_gradient_of_a_real_input(rng):
    def vjp(gy, x):
        return (2 * len(x) * np.fft.ifft(gy * np.fft.fft(x)),)

    return lambda x: np.abs(np.fft.fft(x)) ** 2, vjp, normal(rng, 8)


@wrong
def too_few_gradients(rng):
    return np.multiply, lambda gy, x, y: (gy * y,), normal(rng, 4), normal(rng, 4)


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
def gy_read_as_if_it_were_contiguous(rng):
    def vjp(gy, x):
        return (np.lib.stride_tricks.as_strided(gy, (gy.size,), (gy.itemsize,)) * np.cos(x),)

    return np.sin, vjp, normal(rng, 12)


@wrong
def input_read_as_if_it_were_contiguous(rng):
    def vjp(gy, x):
        return (gy * np.cos(np.ndarray(x.shape, x.dtype, np.lib.stride_tricks.as_strided(x, (x.size,), (8,)))),)

    return np.sin, vjp, normal(rng, 12)


@wrong
def gradient_that_changes_from_call_to_call(rng):
    noise = np.random.default_rng(0)
    return np.sin, lambda gy, x: (np.cos(x) * gy * (1 + 1e-4 * noise.random()),), normal(rng, 4)


@wrong
def dropout_that_draws_another_mask_in_its_vjp(rng):
    kept, draws = rng.random(50) < 0.7, np.random.default_rng(0)
    return lambda x: x * kept / 0.7, lambda gy, x: (gy * (draws.random(50) < 0.7) / 0.7,), normal(rng, 50)


@wrong
def none_where_the_gradient_is_not_zero(rng):
    return np.multiply, lambda gy, x, y: (gy * y, None), normal(rng, 4), normal(rng, 4)


@wrong
def none_where_the_gradient_is_small(rng):
    return lambda x, y: x + 1e-8 * np.sin(y), lambda gy, x, y: (gy, None), normal(rng, 4), normal(rng, 4)


@wrong
def not_a_number_in_one_element(rng):
    return np.exp, lambda gy, x: (np.where(x == x[2], np.nan, gy * np.exp(x)),), normal(rng, 5)


@wrong
def infinite_where_the_function_is_flat(rng):
    def vjp(gy, x):
        return (gy * x * np.abs(x) ** np.where(x == 0, -2.0, 0.0) * 2,)

    return np.square, vjp, np.array([1.0, 0.0, -2.0])


@wrong
def not_a_number_where_the_function_is_constant(rng):
    return lambda x: x**0, lambda gy, x: (gy * 0 * x**-1.0,), np.array([0.0, 1.0, *normal(rng, 2)])


@wrong
def every_other_gradient_is_larger(rng):
    calls = []

    def vjp(gy, x):
        calls.append(x)
        return (gy * np.cos(x) * (1 + 1e-3 * (len(calls) % 2)),)

    return np.sin, vjp, normal(rng, 5)


@wrong
def short_cut_for_one_output(rng):
    return np.sin, lambda gy, x: (gy * np.cos(x) * (1.5 if np.count_nonzero(gy) == 1 else 1),), normal(rng, 5)


@wrong
def short_cut_for_ones(rng):
    return np.square, lambda gy, x: (gy * x * (1 if (gy == 1).all() else 2),), normal(rng, 5)


@wrong
def short_cut_for_a_gy_of_equal_elements(rng):
    return np.square, lambda gy, x: (gy * x * (1 if np.ptp(gy) == 0 else 2),), normal(rng, 2, 3)


@wrong
def gradient_of_the_output_rounded_to_float32(rng):
    return np.cumsum, lambda gy, x: (np.cumsum(gy.astype(np.float32)[::-1].astype(float))[::-1],), normal(rng, 7)


@wrong
def tiny_gradients_of_the_output_dropped(rng):
    return np.square, lambda gy, x: (2 * x * np.where(np.abs(gy) < 1e-12, 0, gy),), normal(rng, 5)


@wrong
def huge_gradients_clipped(rng):
    return np.square, lambda gy, x: (np.clip(2 * x * gy, -1e10, 1e10),), normal(rng, 5)


@wrong
def values_of_the_first_call_kept_for_ever(rng):
    kept = []

    def vjp(gy, x):
        if not kept:
            kept.append(np.cos(x))
        return (gy * kept[0],)

    return np.sin, vjp, normal(rng, 5)


@wrong
def values_kept_by_shape(rng):
    kept = {}

    def function(x):
        kept.setdefault(x.shape, np.cos(x))
        return np.sin(x)

    return function, lambda gy, x: (gy * kept[x.shape],), normal(rng, 5)


@wrong
def input_raveled_in_the_order_of_memory(rng):
    return np.square, lambda gy, x: ((2 * x.ravel("K") * gy.ravel()).reshape(x.shape),), normal(rng, 3, 4)


@wrong
def fortran_input_raveled_in_the_order_of_memory(rng):
    function, vjp, x = input_raveled_in_the_order_of_memory(rng)
    return function, vjp, np.asfortranarray(x)


@wrong
def gy_raveled_in_the_order_of_memory(rng):
    return np.square, lambda gy, x: ((2 * x.ravel() * gy.ravel("A")).reshape(x.shape),), normal(rng, 3, 4)
