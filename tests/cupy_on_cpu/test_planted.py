"""Mistakes that NumPy forgives and a GPU does not: each is planted, and seen."""

import cupy
import numpy as np
import pytest

from minires.testing.cupy_on_cpu import DeviceFault


def values(*shape):
    return np.random.default_rng(3).standard_normal(shape).astype("f4")


def launched(body, out=64):
    """A kernel over 64 threads in two blocks, on x and ``out`` zeros."""
    k = cupy.RawKernel(f'extern "C" __global__ void k(const float *x, float *y, int n) {{ {body} }}', "k")
    y = cupy.zeros(out, "f4")
    k((2,), (32,), (cupy.asarray(values(64)), y, np.int32(64)))
    return y.get()


# Each function is a mistake: it raises on CuPy, or gives something else than on NumPy.


def an_array_left_on_the_host(xp):
    return xp.asarray(values(3, 4)) * np.ones((1, 4), "f4")


def a_host_array_assigned(xp):
    x = xp.zeros((3, 4), "f4")
    x[...] = values(3, 4)
    return x


def a_function_that_is_missing(xp):
    x = xp.asarray(values(3, 4))
    return xp.vecdot(x, x)


def a_sum_with_a_mask(xp):
    x = xp.asarray(values(3, 4))
    return xp.sum(x, axis=0, where=x > 0)


def a_reduction_with_an_initial_value(xp):
    return xp.max(xp.asarray(values(3, 4)), initial=0)


def a_ufunc_with_a_mask(xp):
    x = xp.asarray(values(3, 4))
    return xp.add(x, x, where=x > 0, out=xp.zeros_like(x))


def a_list_for_an_array(xp):
    return xp.add(xp.asarray(values(3)), [1, 2, 3])


def memory_order_taken_for_granted(xp):
    y = xp.asarray(values(3, 4)).T * 2
    return xp.lib.stride_tricks.as_strided(y, (4, 3), (4, 16))


def memory_that_was_never_written(xp):
    y = xp.empty((3, 5), "f4")
    y[:, :4] = xp.asarray(values(3, 4))
    return xp.isnan(y[:, 4]).any()


def a_scalar_that_widens(xp):
    total = xp.asarray(values(3, 4)).astype("f8").sum()
    return xp.asarray(values(3, 4)) * total  # NumPy: a float64 scalar; CuPy: an array of no axes, either gives float64


def a_read_only_view_written(xp):
    y = xp.broadcast_to(xp.asarray(values(4)), (3, 4))
    y += 1
    return y


def a_negative_power_of_an_integer(xp):
    return xp.asarray(np.array([2, 3])) ** -1


def an_index_out_of_range(xp):
    return xp.asarray(values(2, 3))[xp.arange(2), xp.asarray(np.array([0, 3]))]


def an_empty_shape_taken_for_none(xp):
    return xp.zeros_like(xp.asarray(values(3)), shape=())


SEEN = [
    an_array_left_on_the_host,
    a_host_array_assigned,
    a_function_that_is_missing,
    a_sum_with_a_mask,
    a_reduction_with_an_initial_value,
    a_ufunc_with_a_mask,
    a_list_for_an_array,
    memory_order_taken_for_granted,
    a_read_only_view_written,
    a_negative_power_of_an_integer,
    an_index_out_of_range,
    an_empty_shape_taken_for_none,
]


def outcome(mistake, xp):
    """What comes of it: the class of an error, or shape, dtype and values."""
    try:
        y = mistake(xp)
    except Exception as error:
        return type(error).__name__
    y = y.get() if isinstance(y, cupy.ndarray) else np.asarray(y)
    return y.shape, y.dtype, y.tolist()


@pytest.mark.parametrize("mistake", SEEN, ids=lambda mistake: mistake.__name__)
def test_what_numpy_does_otherwise_is_seen(mistake):
    assert outcome(mistake, cupy) != outcome(mistake, np)


def test_uninitialised_memory_is_seen(device):
    assert bool(memory_that_was_never_written(cupy))


def test_a_hidden_wait_is_counted(device):
    x = cupy.asarray(values(3, 4))
    for hidden in (lambda: x / float(x.max()), lambda: bool(x.any()), lambda: f"{x.sum()}", lambda: x[x > 0]):
        with device.recording() as record:
            hidden()
        assert record.synchronisations >= 1
    with device.recording() as record:
        cupy.where(x > 0, x, 0) / x.max()
    assert record.synchronisations == 0


@pytest.mark.parametrize(
    "body",
    [
        "int i = blockIdx.x * 32 + threadIdx.x; if (i < n - 1) y[i] = x[i] * 2;",  # the last one forgotten
        # no barrier between writing and reading what another thread writes
        "__shared__ float s[32]; int t = threadIdx.x, i = blockIdx.x * 32 + t; s[31 - t] = x[i]; y[i] = s[t] * 2;",
        "int i = threadIdx.x; y[i] = x[i] * 2;",  # the second block forgotten
    ],
)
def test_a_kernel_that_computes_something_else_is_seen(body):
    assert not np.array_equal(launched(body), values(64) * 2)
    right = launched("int i = blockIdx.x * 32 + threadIdx.x; if (i < n) y[i] = x[i] * 2;")
    assert np.array_equal(right, values(64) * 2)


def test_a_kernel_that_writes_too_far_is_seen(device):
    with pytest.raises(DeviceFault, match="behind an allocation"):
        launched("int i = blockIdx.x * 32 + threadIdx.x; if (i <= n) y[i] = 0;", out=63)


def test_a_kernel_that_does_not_wait_for_all_is_seen(device):
    with pytest.raises(DeviceFault, match="barrier"):
        launched("if (threadIdx.x < 31) __syncthreads(); else __syncwarp(); y[0] = 0;")
