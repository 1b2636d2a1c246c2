"""What the fake device records of a program, and what it refuses."""

import gc
import threading
from unittest import mock

import cupy
import numpy as np
import pytest
from cupy_backends.cuda.libs import cublas

from minires.cupy_on_cpu import DeviceFault, carried, to_device
from minires.cupy_on_cpu.memory import Memory
from minires.testing.layouts import MEMORY_ORDERS, lay_out


def kernel(body, name="k", parameters="const float *x, float *y, int n"):
    return cupy.RawKernel(f'extern "C" __global__ void {name}({parameters}) {{ {body} }}', name)


def run(body, n=64, block=32, out=64, **how):
    """Run ``body`` on x = 0 … n − 1 and ``out`` zeros."""
    x, y = cupy.arange(n, dtype="f4"), cupy.zeros(out, "f4")
    kernel(body)((-(-n // block),), (block,), (x, y, np.int32(n)), **how)
    return y.get()


def test_launches_copies_and_waits_are_written_down(device):
    x = cupy.arange(1000, dtype="f4")
    with device.recording() as outer, device.recording() as record:
        total = (x * 2).sum()
    assert [launch.kernel for launch in record.launches] == ["cupy_multiply__float32_float_float32", "cupy_sum"]
    assert record.launches[0].grid == (8, 1, 1)
    assert record.launches[0].block == (128, 1, 1)
    assert record.launches[0].blocks == 8
    assert record.synchronisations == 0
    assert record.copies == {}
    assert record.allocations == 2
    assert record.allocated_bytes == 4004
    assert outer == record
    with device.recording() as record:
        assert float(total) == 999000
    assert record.synchronisations == 1
    assert record.copies == {"device to host": 1}
    assert record.copied_bytes == 4
    assert not record.launches


def test_fresh_memory_is_full_of_nan(device):
    assert np.isnan(cupy.empty(5, "f4").get()).all()
    assert np.isnan(cupy.empty(5, "f2").get()).all()
    assert (cupy.empty(5, "i4").get() == -1).all()


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2"])
def test_products_are_cublass_and_equal_numpys(device, dtype):
    rng = np.random.default_rng(0)
    a, b = rng.integers(-4, 5, (3, 5, 7)).astype(dtype), rng.integers(-4, 5, (3, 7, 2)).astype(dtype)
    with device.recording() as record:
        assert np.array_equal((cupy.asarray(a) @ cupy.asarray(b)).get(), a @ b)
        assert np.array_equal((cupy.asarray(a[0]).T @ cupy.asarray(a[1])).get(), a[0].T @ a[1])
    assert [name for name, *_ in record.launches if name.startswith("cublas")] == [
        "cublasGemmStridedBatchedEx",
        "cublasGemmEx",
    ]


def test_a_product_of_no_terms_is_zero(device):
    a = cupy.empty((5, 0), "f4")
    assert np.array_equal((a @ a.T).get(), np.zeros((5, 5)))


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("beta", [0.0, 1.0, 2.0])
def test_a_product_of_no_terms_is_beta_times_c_whatever_the_leading_dimensions(device, transposed, beta):
    m, n, leading = 3, 2, 8
    c = cupy.full((n, m), np.nan if beta == 0 else 5, "f4")  # column-major (m, n)
    empty = cupy.empty(0, "f4")
    one, factor = np.ones(1, "f4"), np.full(1, beta, "f4")
    f4 = 0  # the cudaDataType
    cublas.gemmEx(
        cublas.create(), transposed, transposed, m, n, 0, one.ctypes.data, empty.data.ptr, f4, leading,
        empty.data.ptr, f4, leading, factor.ctypes.data, c.data.ptr, f4, m, cublas.CUBLAS_COMPUTE_32F, -1,
    )  # fmt: skip
    assert np.array_equal(c.get(), np.full((n, m), 5 * beta, "f4"))


def test_memory_without_an_allocation_belongs_to_no_device():
    memory = Memory(mock.MagicMock())  # for the library of C functions
    assert memory.devices_of(np.array([1, 2], np.uintp)) == set()


def test_threads_meet_at_barriers():
    body = """
        __shared__ float s[32];
        int t = threadIdx.x, i = blockIdx.x * 32 + t;
        s[t] = x[i];
        __syncthreads();
        y[i] = s[31 - t];
    """
    expected = np.arange(64).reshape(2, 32)[:, ::-1].ravel()
    assert np.array_equal(run(body), expected)
    dynamic = body.replace("__shared__ float s[32]", "extern __shared__ float s[]")
    assert np.array_equal(run(dynamic, shared_mem=128), expected)


def test_warps_exchange_values_and_wait_for_their_own_alone():
    total = "float v = x[threadIdx.x]; for (int d = 16; d; d /= 2) v += __shfl_xor_sync(~0u, v, d); y[threadIdx.x] = v;"
    assert np.array_equal(run(total, n=64, block=64), np.repeat([496.0, 1520.0], 32))
    apart = """
        __shared__ float s[2]; int warp = threadIdx.x / 32;
        float v = x[threadIdx.x];
        if (warp == 0) { for (int d = 16; d; d /= 2) v += __shfl_down_sync(~0u, v, d); }
        if (threadIdx.x % 32 == 0) s[warp] = v;
        __syncthreads();
        y[threadIdx.x] = s[0] + s[1];
    """
    assert np.array_equal(run(apart, n=64, block=64), np.full(64, 496 + 32))


def test_selection_by_a_mask_scans_across_blocks():
    x = np.arange(10_000, dtype="f4")
    assert np.array_equal(cupy.asarray(x)[cupy.asarray(x % 3 > 0)].get(), x[x % 3 > 0])


def test_atomics_add_up():
    assert run("atomicAdd(y, x[blockIdx.x * blockDim.x + threadIdx.x]);", out=1) == [2016]


def test_subnormal_numbers_are_flushed_to_zero_in_float32_alone():
    for dtype, tiny, kept in (("f4", 1e-39, False), ("f8", 1e-310, True), ("f2", 1e-7, True)):
        x = np.full(3, tiny, dtype)
        assert (x > 0).all()
        assert ((cupy.asarray(x) * cupy.ones(3, dtype)).get() == (x if kept else 0)).all()


def test_templates_are_instantiated():
    code = "template <class T> __global__ void twice(const T *x, T *y) { y[threadIdx.x] = 2 * x[threadIdx.x]; }"
    module = cupy.RawModule(code=code, name_expressions=["twice<float>", "twice<double>"], options=("-std=c++17",))
    for dtype, name in (("f4", "twice<float>"), ("f8", "twice<double>")):
        y = cupy.zeros(5, dtype)
        module.get_function(name)((1,), (5,), (cupy.arange(5, dtype=dtype), y))
        assert np.array_equal(y.get(), np.arange(0, 10, 2))


@pytest.mark.parametrize(
    ("grid", "block", "shared"),
    [((1, 70_000), (1,), 0), ((1,), (2048,), 0), ((1,), (1, 1, 65), 0), ((1,), (1,), 1 << 20)],
)
def test_a_launch_that_no_device_can_do_is_refused(device, grid, block, shared):
    with pytest.raises(DeviceFault, match="no device can launch"):
        kernel("")(grid, block, (cupy.zeros(1, "f4"), cupy.zeros(1, "f4"), np.int32(0)), shared_mem=shared)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("y[threadIdx.x] = i;", "60 bytes are written by several threads"),  # of 128: others are 0 in all numbers
        ("if (i) y[i] = i; else y[1] = 7;", "bytes are written by several threads"),
        ("y[i] = i; x[i] = y[i ^ 1];", "bytes are otherwise if the threads take turns otherwise"),
        ("__syncthreads(); if (threadIdx.x == 0) y[0] = blockIdx.x + 1;", "bytes are written by several blocks"),
        ("y[i] = i + 1; __syncthreads(); x[i] = y[63 - i];", "otherwise"),
        ("__shared__ float s[32]; s[threadIdx.x] = i; y[i] = s[threadIdx.x ^ 1]; __syncthreads();", "otherwise"),
        # the last step of a sum, no barrier behind it: right as long as thread 0 comes first
        ("__shared__ float s; __syncthreads(); if (threadIdx.x == 0) s = 1 + blockIdx.x; y[i] = s;", "otherwise"),
    ],
)
def test_races_are_found_where_they_are_looked_for(device, body, says):
    code = "int i = blockIdx.x * 32 + threadIdx.x; float *x = (float *)x_;" + body
    k = kernel(code, parameters="const float *x_, float *y, int n")

    def launch():
        k((2,), (32,), (cupy.arange(64, dtype="f4"), cupy.zeros(64, "f4"), np.int32(64)))

    launch()
    with device.watching_races(), pytest.raises(DeviceFault, match=says):
        launch()
    launch()


@pytest.mark.parametrize(
    "body",
    [
        "y[i] = 2 * x[i];",
        "y[i] += 1;",
        "atomicAdd(y, x[i]);",
        "__shared__ float s[32]; s[t] = x[i]; __syncthreads(); y[i] = s[31 - t];",
        "y[i] = x[i]; __syncthreads(); float v = y[i ^ 1]; __syncthreads(); y[i] = v;",
        "float v = x[i]; for (int d = 16; d; d /= 2) v += __shfl_xor_sync(~0u, v, d); y[i] = v;",
    ],
)
def test_kernels_without_races_pass_and_compute_the_same(device, body):
    body = "int t = threadIdx.x, i = blockIdx.x * 32 + t;" + body
    expected = run(body)
    with device.watching_races():
        assert np.array_equal(run(body), expected)


@pytest.mark.parametrize(("place", "side"), [("n", "behind"), ("-1", "before")])
def test_a_write_out_of_bounds_is_told_and_mended(device, place, side):
    with pytest.raises(DeviceFault, match=f"k wrote {side} an allocation of 256 bytes"):
        run(f"y[{place}] = 1;")
    assert run("y[threadIdx.x] = 1;", n=32)[0] == 1


def test_a_barrier_that_not_all_threads_reach_is_told(device):
    with pytest.raises(DeviceFault, match="wait at a barrier"):
        run("if (threadIdx.x < 16) __syncthreads(); else __syncwarp();")


def test_an_error_lets_go_of_the_arrays_that_it_was_about(device):
    gc.collect()
    before = len(device.memory.live)
    with pytest.raises(DeviceFault):
        run("y[-1] = 1;")
    gc.collect()
    assert len(device.memory.live) == before


def test_an_integer_divided_by_zero_is_told_and_the_process_lives(device):
    body = "int i = blockIdx.x * 32 + threadIdx.x; y[i] = 64 / (i - 40);"
    with pytest.raises(DeviceFault, match="k: an integer is divided by zero"):
        run(body)
    with device.watching_races(), pytest.raises(DeviceFault, match="k: an integer is divided by zero"):
        run(body)
    with pytest.raises(DeviceFault, match="divided by zero"):
        run("__syncthreads();" + body)
    assert run("y[threadIdx.x] = 1 / (n - 63);", n=64)[0] == 1


ADDED = "s[threadIdx.x] += v; return s[threadIdx.x]; }"
SHARED = {  # functions that add to uninitialised shared memory
    "inline": f"inline __device__ float sum(float v) {{ __shared__ float s[32]; {ADDED}",
    "template": f"template <class T> __device__ T sum(T v) {{ __shared__ T s[32]; {ADDED}",
    "method": f"""
        struct S {{ __device__ float sum(float v) {{ __shared__ float s[32]; {ADDED} }};
        __device__ float sum(float v) {{ S s; return s.sum(v); }}""",
    "dynamic": f"__device__ float sum(float v) {{ extern volatile __shared__ __align__(8) float s[]; {ADDED}",
}


@pytest.mark.parametrize("how", SHARED)
def test_shared_memory_of_functions_is_full_of_nan_too(how):
    code = (
        SHARED[how]
        + """
        // not __global__ void another(
        extern "C" __global__ __launch_bounds__(32) void k(float *y) { y[threadIdx.x] = sum(1.f); }"""
    )
    for _ in range(2):
        y = cupy.zeros(32, "f4")
        cupy.RawKernel(code, "k")((1,), (32,), (y,), shared_mem=128)
        assert np.isnan(y.get()).all()


def test_shared_memory_is_full_of_nan_in_every_block():
    body = "__shared__ float s[32]; int t = threadIdx.x; y[blockIdx.x * 32 + t] = s[t]; s[t] = 1;"
    assert np.isnan(run(body)).all()
    assert np.isnan(run(body.replace("__shared__ float s[32]", "extern __shared__ float s[]"), shared_mem=128)).all()


# Two devices


def test_each_device_has_memory_of_its_own(device):
    assert cupy.cuda.runtime.getDeviceCount() == device.devices == 2
    with cupy.cuda.Device(1):
        there = cupy.arange(64, dtype="f4")
        twice = there * 2
        assert (there.device.id, twice.device.id) == (1, 1)
    here = cupy.asarray(there)
    assert here.device.id == 0
    assert np.array_equal(here.get() * 2, twice.get())
    k = kernel("y[threadIdx.x] = x[threadIdx.x];")
    with pytest.raises(DeviceFault, match="k was given memory of device 1 on device 0"):
        k((1,), (32,), (there, cupy.zeros(64, "f4"), np.int32(64)))
    with cupy.cuda.Device(1), pytest.raises(DeviceFault, match="k was given memory of device 0 on device 1"):
        k((1,), (32,), (there, here, np.int32(64)))
    with cupy.cuda.Device(1):
        k((1,), (32,), (there, twice, np.int32(64)))
    assert twice.get()[31] == 31


def test_products_are_made_where_their_factors_are(device):
    with cupy.cuda.Device(1):
        a = cupy.eye(3, dtype="f4")
        assert np.array_equal((a @ a).get(), np.eye(3))
    with pytest.raises((DeviceFault, ValueError), match="device"):
        a @ cupy.eye(3, dtype="f4")


def test_a_thread_begins_with_the_first_device(device):
    found = []
    with cupy.cuda.Device(1):
        thread = threading.Thread(target=lambda: found.append(cupy.cuda.runtime.getDevice()))
        thread.start()
        thread.join()
        assert (found, device.current) == ([0], 1)


def test_code_that_does_not_compile_is_told(device):
    with pytest.raises(DeviceFault, match="g\\+\\+ does not compile"):
        run("y[0] = x[0] +* 2;")


@pytest.mark.parametrize("order", MEMORY_ORDERS)
def test_carried_arrays_keep_their_strides_and_values(order):
    x = lay_out(np.arange(24.0).reshape(2, 3, 4), order)
    there = to_device(x)
    assert there.strides == x.strides
    assert np.array_equal(there.get(), x)


def test_a_carried_function_takes_and_gives_numpys_arrays_and_writes_into_them():
    @carried
    def swap_(pair, scale):
        assert all(isinstance(a, cupy.ndarray) for a in pair)
        pair[0][...], kept = pair[1] * scale, pair[0].copy()
        return {"kept": kept, "first": pair[0], "n": 3}

    a, b = np.arange(3.0), np.ones(3)
    result = swap_((a, b), scale=2.0)
    assert np.array_equal(a, [2, 2, 2])
    assert result["first"] is a
    assert np.array_equal(result["kept"], [0, 1, 2])
    assert result["n"] == 3
