"""Arrays and their devices: NumPy arrays on the CPU, CuPy arrays on a GPU.

Only this file and ``kernels/cuda/`` compute with CuPy. They import it when a CUDA array is first needed, not at the
import of minires. (``cupy_on_cpu/`` runs CuPy without a GPU.)
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from minires.errors import DeviceError, DtypeError, install_command

if np.lib.NumpyVersion(np.__version__) < "2.0.0":
    raise ImportError(f"minires needs NumPy 2.0 or later, and {np.__version__} is installed: pip install 'numpy>=2'")

# A NumPy or a CuPy array. CuPy has no type stubs; its arrays have the same methods.
Array: TypeAlias = npt.NDArray[Any]
Size: TypeAlias = tuple[int, int]

_MISSING = f"CUDA not available: it needs a driver and CuPy ({install_command('cuda12')})"
_OF_NUMPY = np.ndarray | np.generic  # created once, as every operation needs it
_ANYWHERE: contextlib.AbstractContextManager[None] = contextlib.nullcontext()


def _cupy() -> ModuleType:
    """Return the cupy module, or raise DeviceError."""
    try:
        return importlib.import_module("cupy")
    except ImportError as error:
        raise DeviceError(_MISSING) from error


def available(device: str = "cuda") -> bool:
    """Return whether arrays can be put on ``device`` ("cpu", "cuda", "cuda:1")."""
    kind, index = _parse(device)
    return kind == "cpu" or index < _count()


def _count() -> int:
    """Return the number of CUDA devices."""
    try:
        return int(_cupy().cuda.runtime.getDeviceCount())
    except Exception:  # CuPy raises its own driver errors; all of them mean "no device"
        return 0


def _parse(device: str) -> tuple[str, int]:
    """Return the kind of a device, "cpu" or "cuda", and its index."""
    kind, _, index = device.partition(":") if isinstance(device, str) else ("", "", "")
    if kind == "cpu" and not index:
        return "cpu", 0
    if kind == "cuda" and (index.isdecimal() or device == "cuda"):
        return "cuda", int(index or 0)
    raise DeviceError(f"`device` {device!r} is not one of 'cpu', 'cuda', 'cuda:0', 'cuda:1', …")


def canonical(device: str) -> str:
    """Return the full name of a device: "cuda" becomes "cuda:0".

    Raises
    ------
    DeviceError : if ``device`` is not the name of a device.
    """
    kind, index = _parse(device)
    return kind if kind == "cpu" else f"{kind}:{index}"


def xp_of(array: Any) -> Any:
    """Return the module of ``array``, NumPy or CuPy."""
    return np if isinstance(array, _OF_NUMPY) else _cupy()


def device_of(array: Any) -> str:
    """Return the device that holds ``array``: "cpu" or "cuda:<index>"."""
    return "cpu" if isinstance(array, _OF_NUMPY) else f"cuda:{array.device.id}"


def is_array(value: Any) -> bool:
    """Return whether ``value`` is an array of NumPy or CuPy (a NumPy scalar is not)."""
    return isinstance(value, np.ndarray) or type(value).__module__.partition(".")[0] == "cupy"


def asarray(array: Any, device: str = "cpu") -> Array:
    """Return ``array`` on ``device``, in the same memory order; the array itself if it is there already.

    Raises
    ------
    DeviceError : if there is no such device, or CuPy or its driver is missing.
    """
    if _parse(device)[0] == "cpu":
        return asnumpy(array)
    cupy, target = cuda_device(device)
    with target:
        if not is_array(array) or device_of(array) == canonical(device):
            return cupy.asarray(array)
        # From GPU to GPU, CuPy copies only arrays without gaps.
        return _moved(cupy.asarray, array if is_dense(array) else copied(array))


def cuda_device(device: str) -> tuple[Any, Any]:
    """Return the cupy module and a Device to use as a context manager.

    Raises
    ------
    DeviceError : if there is no such device, or CuPy or its driver is missing.
    """
    index, count = _parse(device)[1], _count()
    if not count:
        raise DeviceError(_MISSING)
    if index >= count:
        raise DeviceError(f"{device} not available: the last CUDA device here is cuda:{count - 1}")
    cupy = _cupy()
    return cupy, cupy.cuda.Device(index)


def asnumpy(array: Any) -> Array:
    """Return ``array`` as a NumPy array. This waits for a GPU that is still computing it."""
    if isinstance(array, np.ndarray):
        return array
    if type(array).__module__.partition(".")[0] == "cupy":
        return _moved(_cupy().asnumpy, array)
    return np.asarray(array)


def _moved(move: Callable[[Any], Any], array: Any) -> Array:
    """Return ``move(array)`` in the memory order of ``array``. CuPy by itself keeps only C and Fortran order."""
    order = memory_order(array)
    moved: Array = move(array.transpose(order)).transpose([order.index(axis) for axis in range(array.ndim)])
    return moved


def memory_order(array: Array) -> list[int]:
    """Return the axes in memory order, the axis with the largest stride first."""
    if array.flags.f_contiguous and not array.flags.c_contiguous:
        return list(range(array.ndim))[::-1]
    return sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))


def is_dense(array: Array) -> bool:
    """Return whether the elements lie in memory without gaps, in any order of the axes."""
    expected = array.itemsize
    for stride, n in sorted(zip(array.strides, array.shape, strict=True)):
        if n > 1:
            if stride != expected:
                return False
            expected *= n
    return True


def number_dtype(dtype: Any) -> np.dtype[Any]:
    """Return ``dtype`` as a NumPy dtype.

    Raises
    ------
    DtypeError : if ``dtype`` is not a dtype of numbers.
    """
    try:
        named: np.dtype[Any] = np.dtype(dtype)
    except TypeError as error:
        raise DtypeError(f"{dtype!r} is not a dtype such as 'float32' or np.float64") from error
    if named.kind not in "biufc":
        raise DtypeError(f"a tensor holds numbers, not {named}")
    return named


def copied(array: Array, dtype: Any = None, like: Array | None = None) -> Array:
    """Return a copy of ``array`` in the same memory order; ``array.copy()`` would be in C order.

    Parameters
    ----------
    array : any array
    dtype : the dtype of the copy, by default that of ``array``
    like : an array of the same shape; the copy has its memory order, by default that of ``array``
    """
    with on_device_of(array):
        copy: Array = xp_of(array).empty_like(
            array if like is None else like, dtype=array.dtype if dtype is None else dtype
        )
        copy[...] = array
    return copy


def full_like(array: Array, value: float) -> Array:
    """Return an array filled with ``value``, with the shape, dtype, device and memory order of ``array``."""
    with on_device_of(array):
        full: Array = xp_of(array).empty_like(array)
        full[...] = value
    return full


def new_zeros(shape: tuple[int, ...], dtype: Any, device: str) -> Array:
    """Return an array of zeros on a device."""
    return asarray(np.zeros(shape, dtype), device)


def from_dlpack(array: Any) -> Array:
    """Return a NumPy or CuPy array that shares the memory of another library's array, on the same device.

    Raises
    ------
    TypeError : if the array does not support DLPack.
    DeviceError : if it is neither on a CPU nor on a CUDA device.
    """
    if not hasattr(array, "__dlpack__"):
        raise TypeError(f"from_dlpack needs an array with the method __dlpack__, got a {type(array).__name__}")
    kind, _ = array.__dlpack_device__()
    if kind not in (1, 2):  # kDLCPU, kDLCUDA
        raise DeviceError(f"from_dlpack takes arrays on a CPU (1) or a CUDA device (2), not on DLPack device {kind}")
    shared: Array = (np if kind == 1 else _cupy()).from_dlpack(array)
    return shared


def synchronize(device: str = "cpu") -> None:
    """Wait until all work submitted to ``device`` is done.

    Raises
    ------
    DeviceError : if there is no such device, or CuPy or its driver is missing.
    """
    if _parse(device)[0] == "cuda":
        cuda_device(device)[1].synchronize()


def on_device_of(*arrays: Any) -> contextlib.AbstractContextManager[Any]:
    """Return a context manager in which CuPy computes on the device of the first array; None is skipped.

    For NumPy arrays it does nothing.
    """
    for array in arrays:
        if array is not None:
            return _ANYWHERE if isinstance(array, np.ndarray) else array.device
    return _ANYWHERE


def same_device(*arrays: Any) -> str:
    """Return the device that holds all ``arrays``.

    Raises
    ------
    DeviceError : if they are on different devices.
    """
    devices = dict.fromkeys(map(device_of, arrays))
    if len(devices) > 1:
        raise DeviceError(f"operands are on different devices: {', '.join(devices)}; move one with .to(device)")
    return next(iter(devices))


def wide_dtype(dtype: Any) -> np.dtype[Any]:
    """Return the dtype for arithmetic with floats of ``dtype``: float32 for float16, otherwise ``dtype``."""
    return np.promote_types(dtype, np.float32)


def sum_dtype(dtype: Any) -> np.dtype[Any]:
    """Return the dtype for the last part of long sums: floats become float64, complex numbers complex128."""
    found = np.dtype(dtype)
    return np.promote_types(found, np.float64) if found.kind in "fc" else found


def same_dtype(*arrays: Any) -> np.dtype[Any]:
    """Return the dtype of all ``arrays``.

    Raises
    ------
    DtypeError : if they differ.
    """
    dtype: np.dtype[Any] = arrays[0].dtype
    for array in arrays:
        if array.dtype != dtype:
            dtypes = ", ".join(str(other.dtype) for other in arrays)
            raise DtypeError(f"operands have different dtypes: {dtypes}; convert one with .to(dtype)")
    return dtype


def together(*arrays: Any) -> contextlib.AbstractContextManager[Any]:
    """Return `on_device_of` for the arrays that an operation combines; None is skipped.

    Raises
    ------
    DeviceError : if they are on different devices.
    DtypeError : if their float dtypes differ. Integers and booleans (labels, masks) may have any dtype.
    """
    given = [array for array in arrays if array is not None]
    if len(given) > 1:
        same_device(*given)
        floats = [array for array in given if array.dtype.kind in "fc"]
        if floats:
            same_dtype(*floats)
    return on_device_of(*given)
