"""What NumPy forgives and CuPy does not, one function each, for NumPy, CuPy and the double of CuPy.

Numbers are small integers, so that results are the same in whatever order they are computed.
"""

import operator

import numpy as np

REFUSED = []
"""CuPy raises."""
CHANGED = []
"""CuPy gives something else than NumPy."""
WAITING = []
"""CuPy gives what NumPy gives, and has waited for the device."""
LET_PASS = []
"""CuPy says nothing, and what it gives is wrong or undefined; the double raises."""
AGREED = []
"""CuPy gives what NumPy gives, without waiting."""


def of(kind):
    """Enter a function in one of these lists."""

    def enter(function):
        kind.append(function)
        return function

    return enter


def values(*shape):
    """Small integers in float32, on the host."""
    return np.random.default_rng(3).integers(-4, 5, shape).astype("f4")


def x_on(xp):
    """A 3 × 4 array of them."""
    return xp.asarray(values(3, 4))


# Host arrays


@of(REFUSED)
def an_array_left_on_the_host(xp):
    return x_on(xp) * np.ones((1, 4), "f4")


@of(REFUSED)
def a_host_array_of_no_axes(xp):
    return x_on(xp) * np.array(2, "f4")


@of(REFUSED)
def a_host_array_on_the_left(xp):
    return np.ones((1, 4), "f4") * x_on(xp)


@of(REFUSED)
def a_host_array_in_a_ufunc(xp):
    return xp.maximum(x_on(xp), values(3, 4))


@of(REFUSED)
def a_host_array_as_the_result(xp):
    return xp.add(x_on(xp), 1, out=values(3, 4))


@of(REFUSED)
def a_host_array_among_joined_ones(xp):
    return xp.concatenate([x_on(xp), values(3, 4)])


@of(REFUSED)
def a_host_array_as_a_condition(xp):
    return xp.where(values(3, 4) > 0, x_on(xp), 0)


@of(REFUSED)
def a_host_array_assigned(xp):
    y = xp.zeros((3, 4), "f4")
    y[...] = values(3, 4)
    return y


@of(REFUSED)
def a_host_array_copied(xp):
    y = xp.zeros((3, 4), "f4")
    xp.copyto(y, values(3, 4))
    return y


@of(REFUSED)
def a_host_array_in_a_product(xp):
    return x_on(xp) @ values(4, 2)


@of(REFUSED)
def a_device_array_taken_for_a_host_array(xp):
    return np.asarray(x_on(xp))


@of(REFUSED)
def a_host_array_written_from_the_device(xp):
    y = np.zeros((3, 4), "f4")
    y += x_on(xp)
    return y


# Lists


@of(REFUSED)
def a_list_in_a_ufunc(xp):
    return xp.add(xp.asarray(values(3)), [1, 2, 3])


@of(REFUSED)
def a_list_as_an_operand(xp):
    return operator.add(x_on(xp), [1, 2, 3, 4])


@of(REFUSED)
def a_list_compared(xp):
    return x_on(xp) == [1, 2, 3, 4]


@of(REFUSED)
def a_list_summed(xp):
    return xp.sum([1, 2, 3])


@of(REFUSED)
def a_list_chosen_from(xp):
    return xp.where(x_on(xp) > 0, x_on(xp), [1, 2, 3, 4])


@of(REFUSED)
def a_list_assigned(xp):
    y = xp.zeros((3, 4), "f4")
    y[0] = [1, 2, 3, 4]
    return y


# Reductions and single elements are arrays of no axes


def count(xp):
    return (x_on(xp) > 0).sum()


@of(REFUSED)
def a_count_as_a_range(xp):
    return xp.asarray(list(range(count(xp))))


@of(REFUSED)
def a_count_as_a_size(xp):
    return xp.zeros(count(xp))


@of(REFUSED)
def a_count_in_a_shape(xp):
    return xp.zeros((count(xp), 2))


@of(REFUSED)
def a_count_to_reshape_to(xp):
    return xp.zeros(12).reshape(count(xp) * 0 - 1)


@of(REFUSED)
def an_element_as_a_range(xp):
    return xp.asarray(list(range(xp.asarray([3, 4])[0])))


@of(REFUSED)
def an_element_as_an_index_of_a_list(xp):
    return xp.asarray([5, 6, 7][xp.asarray([1, 2])[0]])


@of(REFUSED)
def an_element_as_an_axis(xp):
    return x_on(xp).sum(xp.asarray([1, 0])[0])


# Keywords of reductions and ufuncs


@of(REFUSED)
def a_sum_with_a_mask(xp):
    return xp.sum(x_on(xp), axis=0, where=x_on(xp) > 0)


@of(REFUSED)
def a_sum_of_its_own_with_a_mask(xp):
    return x_on(xp).sum(0, where=x_on(xp) > 0)


@of(REFUSED)
def a_reduction_with_an_initial_value(xp):
    return xp.max(x_on(xp), initial=0)


@of(REFUSED)
def a_mean_with_a_mask(xp):
    return x_on(xp).mean(where=x_on(xp) > 0)


@of(REFUSED)
def a_ufunc_with_a_mask(xp):
    return xp.add(x_on(xp), x_on(xp), where=x_on(xp) > 0, out=xp.zeros((3, 4), "f4"))


@of(REFUSED)
def a_ufunc_with_an_order(xp):
    return xp.add(x_on(xp), x_on(xp), order="F")


@of(REFUSED)
def a_reduction_by_maximum(xp):
    return xp.maximum.reduce(x_on(xp))


@of(REFUSED)
def a_reduction_by_and(xp):
    return xp.logical_and.reduce(x_on(xp) > 0)


@of(REFUSED)
def a_scattered_product(xp):
    y = xp.ones(3, "f4")
    xp.multiply.at(y, xp.asarray([0, 0]), 2)
    return y


# Views


@of(REFUSED)
def a_view_that_is_marked_as_read_only(xp):
    return xp.lib.stride_tricks.as_strided(x_on(xp), (2,), (4,), writeable=False)


@of(REFUSED)
def an_array_that_is_marked_as_read_only(xp):
    y = x_on(xp)
    y.setflags(write=False)
    return y


@of(REFUSED)
def an_array_that_is_asked_whether_it_can_be_written(xp):
    return xp.asarray(x_on(xp).flags.writeable)


# Einsum


@of(REFUSED)
def an_einsum_into_an_array(xp):
    return xp.einsum("ij->i", x_on(xp), out=xp.zeros(3, "f4"))


# What is missing


@of(REFUSED)
def a_dot_product_of_vectors(xp):
    return xp.vecdot(x_on(xp), x_on(xp))


@of(REFUSED)
def a_product_with_vectors(xp):
    return xp.matvec(x_on(xp), xp.asarray(values(4)))


@of(REFUSED)
def an_array_unstacked(xp):
    return xp.unstack(x_on(xp))[0]


@of(REFUSED)
def a_silenced_division(xp):
    with xp.errstate(divide="ignore"):
        return x_on(xp) / 0


@of(REFUSED)
def an_iterator(xp):
    return xp.asarray([float(item) for item in xp.nditer(x_on(xp))])


@of(REFUSED)
def a_clip_by_keyword(xp):
    return xp.clip(x_on(xp), min=0)


@of(REFUSED)
def a_generator_of_normal_numbers(xp):
    return xp.asarray(xp.random.Generator.normal is None)


# What comes out otherwise


@of(CHANGED)
def a_ufunc_that_keeps_the_order(xp):
    return xp.lib.stride_tricks.as_strided(x_on(xp).T * 2, (4, 3), (4, 16))


@of(CHANGED)
def a_where_that_keeps_the_order(xp):
    x = x_on(xp).T
    return xp.lib.stride_tricks.as_strided(xp.where(x > 0, x, 0), (4, 3), (4, 16))


@of(CHANGED)
def a_sum_that_keeps_the_order(xp):
    y = xp.asarray(values(2, 3, 4)).transpose(2, 1, 0).sum(2)
    return xp.lib.stride_tricks.as_strided(y, (4, 3), (4, 16))


def memory_that_was_never_written(xp):
    y = xp.empty((3, 5), "f4")
    y[:, :4] = x_on(xp)
    return xp.isnan(y[:, 4])


@of(CHANGED)
def an_empty_shape_taken_for_none(xp):
    return xp.zeros_like(xp.asarray(values(3)), shape=())


@of(CHANGED)
def a_number_too_small_to_be_normal(xp):
    return xp.asarray(np.array([1e-30, 1], "f4")) * np.float32(1e-10)


@of(CHANGED)
def a_factor_too_small_to_be_normal(xp):
    return xp.asarray(np.array([1e-39, 1], "f4")) * np.float32(1e9)


@of(CHANGED)
def an_element_that_is_a_view(xp):
    y = x_on(xp)
    y[1, 2][...] = 9
    return y


# Waits for the device


@of(WAITING)
def a_maximum_as_a_number(xp):
    return x_on(xp) * float(x_on(xp).max())


@of(WAITING)
def a_count_as_a_number(xp):
    return xp.zeros(int(count(xp)))


@of(WAITING)
def a_branch(xp):
    return xp.zeros(3) if (x_on(xp) > 0).any() else xp.ones(3)


@of(WAITING)
def a_sum_in_a_text(xp):
    return xp.zeros(len(f"{x_on(xp).sum():.1f}"))


@of(WAITING)
def a_sum_as_text(xp):
    return xp.zeros(len(f"{x_on(xp).sum()}"))


@of(WAITING)
def an_item(xp):
    return xp.zeros(3) + x_on(xp).sum().item()


@of(WAITING)
def a_list_of_elements(xp):
    return xp.zeros(len(x_on(xp).tolist()))


@of(WAITING)
def the_larger_of_two_elements(xp):
    return max(x_on(xp)[0, 0], x_on(xp)[1, 1])


@of(WAITING)
def a_mask_as_an_index(xp):
    return x_on(xp)[x_on(xp) > 0]


@of(WAITING)
def a_mask_to_assign_by(xp):
    y = x_on(xp)
    y[y > 0] = 0
    return y


@of(WAITING)
def a_bound_of_a_slice(xp):
    return x_on(xp).ravel()[: count(xp)]


@of(WAITING)
def the_places_of_nonzeros(xp):
    return x_on(xp).nonzero()[0] + 0


@of(WAITING)
def the_places_where(xp):
    return xp.where(x_on(xp) > 0)[1] + 0


@of(WAITING)
def closeness(xp):
    return xp.zeros(3) + bool(xp.allclose(x_on(xp), x_on(xp)))


# What CuPy says nothing about


@of(LET_PASS)
def an_index_out_of_range(xp):
    return x_on(xp)[xp.arange(2), xp.asarray(np.array([0, 4]))]


@of(LET_PASS)
def a_taken_index_out_of_range(xp):
    return x_on(xp).take(xp.asarray(np.array([0, 4])), axis=1)


@of(LET_PASS)
def a_scattered_index_out_of_range(xp):
    y = x_on(xp)
    xp.add.at(y, xp.asarray(np.array([0, 3])), 1)
    return y


@of(LET_PASS)
def two_values_for_one_place(xp):
    y = xp.zeros(3, "f4")
    y[xp.asarray(np.array([1, 1]))] = xp.asarray(values(2))
    return y


@of(LET_PASS)
def a_histogram_by_assignment(xp):
    y = xp.zeros(3, "f4")
    y[xp.asarray(np.array([1, 1, 2]))] += 1
    return y


@of(LET_PASS)
def a_repeated_element_written(xp):
    y = xp.broadcast_to(xp.asarray(values(4)), (3, 4))
    y += 1
    return y


@of(LET_PASS)
def a_negative_power_of_integers(xp):
    return xp.asarray(np.array([2, 3])) ** -1


# What is as in NumPy


@of(AGREED)
def an_index_array_on_the_host(xp):
    return x_on(xp)[np.array([2, 0])]


@of(AGREED)
def a_list_as_an_index(xp):
    return x_on(xp)[[2, 0], [1, 1]]


@of(AGREED)
def a_number_of_numpys_as_an_operand(xp):
    return x_on(xp) + np.float64(0.5)


@of(AGREED)
def a_number_of_pythons_as_an_operand(xp):
    return x_on(xp) + 0.5


@of(AGREED)
def a_sum_as_an_operand(xp):
    return x_on(xp) / x_on(xp).sum(dtype="f8")


@of(AGREED)
def a_ufunc_into_an_array_of_its_own_order(xp):
    x = x_on(xp).T
    return xp.multiply(x, 2, out=xp.empty_like(x))


@of(AGREED)
def a_copy_in_its_own_order(xp):
    return x_on(xp).T.copy("K")


@of(AGREED)
def another_dtype_in_its_own_order(xp):
    return x_on(xp).T.astype("f8")


@of(AGREED)
def a_place_that_is_added_to_twice(xp):
    y = xp.zeros(3, "f4")
    xp.add.at(y, xp.asarray(np.array([1, 1, 2])), xp.asarray(values(3)))
    return y


@of(AGREED)
def one_number_for_a_place_that_comes_twice(xp):
    y = xp.zeros(3, "f4")
    y[xp.asarray(np.array([1, 1]))] = 5
    return y


@of(AGREED)
def numpys_functions_of_an_array(xp):
    return np.sum(np.exp(x_on(xp) * 0), axis=0) + np.where(x_on(xp)[0] > 0, 1, 2)


@of(AGREED)
def a_row_for_each_turn_of_a_loop(xp):
    return xp.stack([row * 2 for row in x_on(xp)])


@of(AGREED)
def a_mask_to_choose_by(xp):
    return xp.where(x_on(xp) > 0, x_on(xp), 0)


def name_of(function):
    """The name of a test of it."""
    return function.__name__


def outcome(function, xp, host):
    """Shape, dtype, strides and values of what it gives, which ``host`` moves to NumPy; or that it raises."""
    try:
        y = function(xp)
    except Exception:
        return "raises"
    strides = tuple(stride for stride, n in zip(y.strides, y.shape, strict=True) if n > 1)  # of the others, any will do
    return y.shape, y.dtype, strides, host(y).tolist()
