"""Mistakes that NumPy forgives and a GPU does not: each is planted, and seen."""

import cupy
import numpy as np
import pytest
from planted import CHANGED, REFUSED, memory_that_was_never_written, name_of, outcome, values

from minires.testing.cupy_on_cpu import DeviceFault


def launched(body, out=64):
    """A kernel over 64 threads in two blocks, on x and ``out`` zeros."""
    k = cupy.RawKernel(f'extern "C" __global__ void k(const float *x, float *y, int n) {{ {body} }}', "k")
    y = cupy.zeros(out, "f4")
    k((2,), (32,), (cupy.asarray(values(64)), y, np.int32(64)))
    return y.get()


@pytest.mark.parametrize("mistake", [*REFUSED, *CHANGED], ids=name_of)
def test_what_numpy_does_otherwise_is_seen(mistake):
    assert outcome(mistake, cupy, cupy.asnumpy) != outcome(mistake, np, np.asarray)


def test_uninitialised_memory_is_seen(device):
    assert memory_that_was_never_written(cupy).all()


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
