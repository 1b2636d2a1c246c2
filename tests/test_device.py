import sys
import types

import numpy as np
import pytest

from minires import device
from minires.errors import DeviceError, DtypeError

MISSING = r"not available: it needs a driver and CuPy \(pip install 'minires-net\[cuda12\]'\)"


class GpuArray:
    """A double of CuPy's array: values that stay on a numbered GPU."""

    def __init__(self, values, index=0):
        self.values, self.dtype, self.device = values, values.dtype, types.SimpleNamespace(id=index)
        self.ndim, self.strides, self.flags = values.ndim, values.strides, values.flags

    def transpose(self, axes):
        return GpuArray(self.values.transpose(axes), self.device.id)


GpuArray.__module__ = "cupy"


class Gpu:
    """A double of CuPy's device: the current one inside its block."""

    def __init__(self, cupy, index):
        self.cupy, self.index = cupy, index

    def __enter__(self):
        self.before, self.cupy.current = self.cupy.current, self.index

    def __exit__(self, *_):
        self.cupy.current = self.before

    def synchronize(self):
        self.cupy.waited.append(self.index)


class Cupy(types.ModuleType):
    """A double of CuPy with two GPUs, of which one is the current one."""

    def __init__(self):
        super().__init__("cupy")
        self.current, self.waited = 0, []
        runtime = types.SimpleNamespace(getDeviceCount=lambda: 2)
        self.cuda = types.SimpleNamespace(runtime=runtime, Device=lambda index: Gpu(self, index))

    def asarray(self, array):
        return GpuArray(np.asarray(getattr(array, "values", array)), self.current)

    def asnumpy(self, array):
        return array.values.copy("C")


@pytest.fixture
def no_cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)  # as if it were not installed


@pytest.fixture
def cupy(monkeypatch):
    double = Cupy()
    monkeypatch.setitem(sys.modules, "cupy", double)
    return double


# Names


def test_names_of_devices():
    assert device.canonical("cpu") == "cpu"
    assert device.canonical("cuda") == device.canonical("cuda:0") == "cuda:0"
    assert device.canonical("cuda:12") == "cuda:12"


@pytest.mark.parametrize(
    "name", ["", "gpu", "cpu:0", "CPU", "cuda:", "cuda:-1", "cuda:x", "cuda:1:2", " cuda", 0, None]
)
@pytest.mark.parametrize("function", [device.canonical, device.available, device.synchronize])
def test_other_names_are_refused_with_the_possible_ones(function, name):
    with pytest.raises(DeviceError, match=r"is not one of 'cpu', 'cuda', 'cuda:0'") as error:
        function(name)
    assert repr(name) in str(error.value)
    with pytest.raises(DeviceError):
        device.asarray(np.ones(2), name)


# The CPU


def test_on_the_cpu_an_array_is_handed_through_as_it_is():
    for array in (np.ones((2, 3)), np.ones((2, 3), order="F")[::-1], np.array(1.0), np.ones(2, np.int8)):
        assert device.asarray(array) is device.asarray(array, "cpu") is device.asnumpy(array) is array
        assert device.xp_of(array) is np
        assert device.device_of(array) == "cpu"
    assert device.available("cpu")
    device.synchronize("cpu")


def test_numbers_and_lists_become_arrays():
    assert device.asarray([1, 2]).tolist() == [1, 2]
    assert device.asnumpy(np.float32(2)).dtype == np.float32
    assert device.xp_of(np.float32(2)) is np
    assert device.device_of(np.float32(2)) == "cpu"


def test_what_is_an_array():
    assert device.is_array(np.ones(2))
    assert device.is_array(np.array(1.0))
    assert device.is_array(GpuArray(np.ones(2)))
    for other in (np.float64(1), 1.0, [1.0], None, "cupy"):
        assert not device.is_array(other)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (2, 3, 0, 1), (3, 1, 2, 0)])
def test_a_copy_keeps_the_memory_order(order):
    array = np.arange(120.0).reshape(4, 5, 2, 3).transpose(order)
    copy = device.copied(array)
    assert copy.strides == array.strides
    assert not np.shares_memory(copy, array)
    assert np.array_equal(copy, array)
    assert device.copied(array, np.float32).dtype == np.float32


# Agreement


def test_arrays_on_one_device_and_of_one_dtype_agree():
    a, b = np.ones(2), np.zeros(3)
    assert device.same_device(a, b) == "cpu"
    assert device.same_dtype(a, b) == np.float64
    device.together(a, None, b, np.ones(2, np.int64), np.ones(2, bool))  # labels and masks may have other dtypes
    device.together()


def test_mixed_devices_and_dtypes_are_named_with_the_way_out():
    a, gpu = np.ones(2), GpuArray(np.ones(2), 1)
    with pytest.raises(DeviceError, match=r"different devices: cpu, cuda:1; move one with \.to\(device\)"):
        device.same_device(a, gpu)
    with pytest.raises(DeviceError, match="different devices: cuda:1, cuda:0"):
        device.together(gpu, GpuArray(np.ones(2), 0))
    with pytest.raises(DtypeError, match=r"different dtypes: float64, float32; convert one with \.to\(dtype\)"):
        device.same_dtype(a, np.ones(2, np.float32))
    with pytest.raises(DtypeError, match="float64, complex128"):
        device.together(a, np.ones(2, np.int64), np.ones(2, complex))


# Without CuPy, and with a double of it


def test_without_cupy_a_cuda_device_is_refused_with_what_to_install(no_cupy):
    assert not device.available()
    for name in ("cuda", "cuda:1"):
        with pytest.raises(DeviceError, match=f"CUDA {MISSING}"):
            device.asarray(np.ones(2), name)
    for call in (lambda: device.xp_of(GpuArray(np.ones(2))), lambda: device.synchronize("cuda")):
        with pytest.raises(DeviceError, match=f"CUDA {MISSING}"):
            call()


def test_a_cupy_without_a_driver_is_no_device_either(cupy):
    def broken():
        raise RuntimeError("cudaErrorInsufficientDriver")

    cupy.cuda.runtime.getDeviceCount = broken
    assert not device.available("cuda")
    with pytest.raises(DeviceError, match=f"CUDA {MISSING}"):
        device.asarray(np.ones(2), "cuda")


def test_arrays_go_to_the_gpu_that_was_asked_for_and_back(cupy):
    array = np.arange(3.0)
    assert device.available("cuda:1")
    assert not device.available("cuda:2")
    with pytest.raises(DeviceError, match="cuda:2 not available: the last CUDA device here is cuda:1"):
        device.asarray(array, "cuda:2")
    moved = device.asarray(array, "cuda:1")
    assert device.device_of(moved) == "cuda:1"
    assert device.xp_of(moved) is cupy
    assert device.device_of(device.asarray(array, "cuda")) == "cuda:0"
    assert cupy.current == 0  # the current device is the user's business
    assert device.asnumpy(moved).tolist() == device.asarray(moved, "cpu").tolist() == [0.0, 1.0, 2.0]
    device.synchronize("cuda:1")
    assert cupy.waited == [1]


# Other libraries' arrays


def test_memory_of_another_library_is_taken_where_it_is(cupy):
    cupy.from_dlpack = lambda array: ("cupy's", array)
    array = np.arange(3.0)
    assert np.shares_memory(device.from_dlpack(array), array)
    foreign = types.SimpleNamespace(__dlpack__=None, __dlpack_device__=lambda: (2, 0))
    assert device.from_dlpack(foreign) == ("cupy's", foreign)
    foreign.__dlpack_device__ = lambda: (8, 0)
    with pytest.raises(DeviceError, match="not on DLPack device 8"):
        device.from_dlpack(foreign)
    with pytest.raises(TypeError, match="__dlpack__, got a list"):
        device.from_dlpack([1.0])
