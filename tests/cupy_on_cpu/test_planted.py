"""Plant mistakes in GPU code that a suite on NumPy cannot see, and check that each is found.

First in our own kernels, where the suite's checks of every kernel must find them, then in kernels written for the
purpose. Code that relies on functions that only NumPy has is in tests/strict_cupy/differences.py.
"""

import sys

import cupy
import numpy as np
import pytest

from minires.cupy_on_cpu import DeviceFault
from minires.geometry import Geometry
from minires.kernels import cuda, reference
from minires.testing import RoundingError
from minires.testing.layouts import lay_out
from minires.testing.rounding.cases import KernelCase, check_kernel

CUDA = {name.rpartition(".")[2]: module for name, module in sys.modules.items() if name.startswith(cuda.__name__ + ".")}


def values(*shape):
    return np.random.default_rng(3).standard_normal(shape).astype("f4")


# --- In our own kernels ---


def arguments(kernel):
    """Return arguments with several parts of a channel, borders, strides, ties, and many classes."""
    x, gy = values(2, 3, 24, 24), lay_out(values(2, 3, 24, 24)[::-1], "HWNC")
    gamma, beta = values(2, 3)
    mean, _, inv_std = reference.batch_norm(x, gamma, beta, 1e-5)[1:]
    image, filters, window = values(2, 4, 5, 6), values(3, 4, 3, 2), Geometry((3, 2), (2, 1), (0, 1))
    outputs, logits = values(*window.check_conv(image.shape, filters.shape)), values(5, 200)
    pool = Geometry((3, 3), (2, 2), (1, 1))
    return {
        "batch_norm": (x, gamma, beta, 1e-5),
        "batch_norm_grads": (gy, x, gamma, mean, inv_std),
        "conv2d": (image, filters, window),
        "conv2d_input_grad": (outputs, filters, window, (5, 6)),
        "conv2d_weight_grad": (outputs, image, window),
        "cross_entropy": (logits, np.arange(5), 0.1, -100, "mean"),
        "cross_entropy_grad": (np.ones((), "f4"), logits, np.arange(5), 0.1, -100, "mean"),
        "max_pool2d_winners": (np.round(values(2, 3, 7, 7)), pool),
    }[kernel]


def check(kernel):
    check_kernel("cuda", kernel, KernelCase(arguments(kernel)), "cuda")


@pytest.fixture
def plant(monkeypatch):
    """Return plant(text, instead), which replaces text in the source of our kernels; the text must exist."""
    found = {}

    def forget_kernels():
        for module in CUDA.values():
            for value in vars(module).values():
                getattr(value, "cache_clear", int)()

    def replace(text, instead):
        found[text] = False

        def changed(make):
            def maker(*texts, **options):
                found[text] |= any(text in source for source in texts)
                return make(*(source.replace(text, instead) for source in texts), **options)

            return maker

        for name in ("RawKernel", "ElementwiseKernel"):
            monkeypatch.setattr(cupy, name, changed(getattr(cupy, name)))
        forget_kernels()

    yield replace
    forget_kernels()
    assert all(found.values())


BARRIER, SUM = "__syncthreads();\n", "    sums[threadIdx.x] = value;"
END, LAST, DONE = "    }\n    ", "    return sums[0];", "if (c >= C) return;"
WRONG, NAN = (RoundingError, "is not what rounding makes"), (RoundingError, "value +: nan")
SOURCES = [  # mistake, kernel; text of the kernel's source, text instead; what is said of it
    ("no barrier between steps", "batch_norm", f"        {BARRIER}        if (", "        if (", *WRONG),
    ("no barrier before memory is used again", "batch_norm", f"    {BARRIER}{SUM}", SUM, *WRONG),
    ("half of the threads forgotten", "cross_entropy", "half = THREADS / 2;", "half = THREADS / 4;", *WRONG),
    ("a part's end forgotten", "batch_norm_grads", "i < channel + stop", "i < channel + stop - 1", *WRONG),
    ("one window too many", "conv2d_input_grad", "p >= P)", "p > P)", *WRONG),
    ("a pixel beside the image", "conv2d", "w < W", "w <= W", *WRONG),
    ("R and S confused", "conv2d_weight_grad", "s = rest % S; rest /= S;", "s = rest % R; rest /= R;", *WRONG),
    ("a term forgotten", "batch_norm_grads", " - Wide(of_beta)", "", *WRONG),
    ("the last of equal maxima", "max_pool2d_winners", "value > y", "value >= y", *WRONG),
    ("pixels never written", "conv2d_input_grad", "        gx[((", "        if (w) gx[((", *NAN),
    ("a channel never written", "batch_norm", DONE, "if (c >= C - 1) return;", *NAN),
    ("a write past the end", "batch_norm", DONE, "if (c > C) return;", DeviceFault, "behind an allocation of 12"),
    ("a write before the start", "cross_entropy", "loss[blockIdx.x] =", "loss[-1] =", DeviceFault, "before an"),
]
RACES = [  # the same; found where races are looked for
    ("no barrier behind a sum", "batch_norm", f"{END}{BARRIER}{LAST}", f"{END}{LAST}", "otherwise"),
    ("pixels of a column in one place", "conv2d_input_grad", "+ h * W + w] = sum", "+ w] = sum", "several threads"),
    ("parts of a channel in one place", "batch_norm", "* gridDim.y + blockIdx.y)", "* gridDim.y)", "several blocks"),
    ("rows of a loss in one place", "cross_entropy", "loss[blockIdx.x] =", "loss[0] =", "several blocks"),
]


@pytest.mark.parametrize(
    ("kernel", "text", "instead", "error", "says"), [row[1:] for row in SOURCES], ids=[row[0] for row in SOURCES]
)
def test_a_mistake_in_a_kernels_source_is_found_by_its_checks(device, plant, kernel, text, instead, error, says):
    check(kernel)
    plant(text, instead)
    with pytest.raises(error, match=says):
        check(kernel)


@pytest.mark.parametrize(
    ("kernel", "text", "instead", "says"), [row[1:] for row in RACES], ids=[row[0] for row in RACES]
)
def test_a_race_in_a_kernel_is_found_where_races_are_looked_for(device, plant, kernel, text, instead, says):
    with device.watching_races():
        check(kernel)
        plant(text, instead)
        with pytest.raises(DeviceFault, match=says):
            check(kernel)


AROUND = [  # mistake, kernel; what is replaced of which module, by what; what is said of it
    ("an array of the host", "cross_entropy", "softmax.xp_of", lambda array: np, TypeError, "NumPy array"),
    ("a promotion", "conv2d", "conv.same_dtype", lambda *_: np.dtype("f8"), RoundingError, "should be float32"),
    ("strides taken for granted", "batch_norm_grads", "batch_norm.cnhw", lambda x: x.transpose(1, 0, 2, 3), *WRONG),
    ("a function that is missing", "conv2d", "conv.nchw_view", lambda x: cupy.unstack(x), AttributeError, "unstack"),
    ("too large a grid", "batch_norm", "batch_norm._parts", lambda C, M: 70_000, DeviceFault, "no device can launch"),
]


@pytest.mark.parametrize(
    ("kernel", "place", "instead", "error", "says"), [row[1:] for row in AROUND], ids=[row[0] for row in AROUND]
)
def test_a_mistake_around_a_kernel_is_found_by_its_checks(device, monkeypatch, kernel, place, instead, error, says):
    module, name = place.split(".")
    monkeypatch.setattr(CUDA[module], name, instead)
    with pytest.raises(error, match=says):
        check(kernel)


# --- In kernels of any kind ---


def launched(body, out=64):
    """Run a kernel with 64 threads in two blocks, on x and ``out`` zeros."""
    k = cupy.RawKernel(f'extern "C" __global__ void k(const float *x, float *y, int n) {{ {body} }}', "k")
    y = cupy.zeros(out, "f4")
    k((2,), (32,), (cupy.asarray(values(64)), y, np.int32(64)))
    return y.get()


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


def test_a_kernel_that_does_not_wait_for_all_is_seen(device):
    with pytest.raises(DeviceFault, match="barrier"):
        launched("if (threadIdx.x < 31) __syncthreads(); else __syncwarp(); y[0] = 0;")


def test_a_sum_without_atomics_is_a_race_and_one_with_them_is_none(device):
    with device.watching_races():
        assert np.allclose(launched("atomicAdd(y, x[blockIdx.x * 32 + threadIdx.x]);")[0], values(64).sum())
        with pytest.raises(DeviceFault, match="a race"):
            launched("y[0] += x[blockIdx.x * 32 + threadIdx.x];")


def test_strides_that_a_raw_kernel_does_not_know_are_seen():
    k = cupy.RawKernel(
        'extern "C" __global__ void k(const float *x, float *y) { y[threadIdx.x] = x[threadIdx.x]; }', "k"
    )
    x, y = cupy.asarray(values(8))[::2], cupy.zeros(4, "f4")
    k((1,), (4,), (x, y))
    assert not np.array_equal(y.get(), x.get())


def test_memory_that_was_never_written_is_seen(device):
    y = cupy.empty((3, 5), "f4")
    y[:, :4] = cupy.asarray(values(3, 4))
    assert np.isnan(y.get()[:, 4]).all()
