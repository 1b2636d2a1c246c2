"""Where arrays live: NumPy's on the CPU, CuPy's on a GPU.

This file and ``kernels/cuda/`` are the only places that compute with CuPy, and they import it when a CUDA array is
first asked for, never at import. (``cupy_on_cpu/`` puts a device beneath it.)
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from minires.errors import DeviceError, DtypeError, install_command

if np.lib.NumpyVersion(np.__version__) < "2.0.0":
    raise ImportError(f"minires needs NumPy 2.0 or later, and {np.__version__} is installed: pip install 'numpy>=2'")

# A NumPy or a CuPy array. CuPy has no type stubs; its arrays answer to the same names.
Array: TypeAlias = npt.NDArray[Any]
Size: TypeAlias = tuple[int, int]


_MISSING = f"CUDA not available: it needs a driver and CuPy ({install_command('cuda12')})"
_OF_NUMPY = np.ndarray | np.generic  # made once: an operation asks many times
_ANYWHERE: contextlib.AbstractContextManager[None] = contextlib.nullcontext()


def _cupy() -> ModuleType:
    try:
        return importlib.import_module("cupy")
    except ImportError as error:
        raise DeviceError(_MISSING) from error


def available(device: str = "cuda") -> bool:
    """Whether arrays can be put on ``device`` ("cpu", "cuda", "cuda:1")."""
    kind, index = _parse(device)
    return kind == "cpu" or index < _count()


def _count() -> int:
    """How many CUDA devices there are."""
    try:
        return int(_cupy().cuda.runtime.getDeviceCount())
    except Exception:  # CuPy raises its own driver errors; all of them mean "no device"
        return 0


def _parse(device: str) -> tuple[str, int]:
    kind, _, index = device.partition(":") if isinstance(device, str) else ("", "", "")
    if kind == "cpu" and not index:
        return "cpu", 0
    if kind == "cuda" and (index.isdecimal() or device == "cuda"):
        return "cuda", int(index or 0)
    raise DeviceError(f"`device` {device!r} is not one of 'cpu', 'cuda', 'cuda:0', 'cuda:1', …")


def canonical(device: str) -> str:
    """The full name of a device: "cuda" becomes "cuda:0".

    Raises
    ------
    DeviceError : if ``device`` is not the name of a device.
    """
    kind, index = _parse(device)
    return kind if kind == "cpu" else f"{kind}:{index}"


def xp_of(array: Any) -> Any:
    """The array module, NumPy or CuPy, that ``array`` belongs to."""
    return np if isinstance(array, _OF_NUMPY) else _cupy()


def device_of(array: Any) -> str:
    """The device that holds ``array``: "cpu" or "cuda:<index>"."""
    return "cpu" if isinstance(array, _OF_NUMPY) else f"cuda:{array.device.id}"


def is_array(value: Any) -> bool:
    """Whether ``value`` is an array of NumPy or CuPy (a NumPy scalar is not)."""
    return isinstance(value, np.ndarray) or type(value).__module__.partition(".")[0] == "cupy"


def asarray(array: Any, device: str = "cpu") -> Array:
    """``array`` on ``device``, in its memory order; the array itself where it is there already.

    Raises
    ------
    DeviceError : if there is no such device, or CuPy or its driver is missing.
    """
    if _parse(device)[0] == "cpu":
        return asnumpy(array)
    cupy, place = cuda_device(device)
    with place:
        if not is_array(array) or device_of(array) == canonical(device):
            return cupy.asarray(array)
        # From GPU to GPU CuPy copies stretches of memory alone.
        return _in_its_order(cupy.asarray, array if is_dense(array) else copied(array))


def cuda_device(device: str) -> tuple[Any, Any]:
    """CuPy, and a device of its that ``with`` makes the current one.

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
    """``array`` as a NumPy array; waits for a GPU that is still computing it."""
    if isinstance(array, np.ndarray):
        return array
    if type(array).__module__.partition(".")[0] == "cupy":
        return _in_its_order(_cupy().asnumpy, array)
    return np.asarray(array)


def _in_its_order(move: Callable[[Any], Any], array: Any) -> Array:
    """``move(array)`` with its axes in memory as those of the array, which CuPy keeps for C and Fortran order alone."""
    order = memory_order(array)
    moved: Array = move(array.transpose(order)).transpose([order.index(axis) for axis in range(array.ndim)])
    return moved


def memory_order(array: Array) -> list[int]:
    """The axes in the order in which they lie in memory, the one with the longest strides first."""
    if array.flags.f_contiguous and not array.flags.c_contiguous:
        return list(range(array.ndim))[::-1]
    return sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))


def is_dense(array: Array) -> bool:
    """Whether the elements fill a stretch of memory, in whatever order of axes."""
    expected = array.itemsize
    for stride, n in sorted(zip(array.strides, array.shape, strict=True)):
        if n > 1:
            if stride != expected:
                return False
            expected *= n
    return True


def number_dtype(dtype: Any) -> np.dtype[Any]:
    """``dtype`` as NumPy's, if it is one of numbers.

    Raises
    ------
    DtypeError : if it is none.
    """
    try:
        named: np.dtype[Any] = np.dtype(dtype)
    except TypeError as error:
        raise DtypeError(f"{dtype!r} is not a dtype such as 'float32' or np.float64") from error
    if named.kind not in "biufc":
        raise DtypeError(f"a tensor holds numbers, not {named}")
    return named


def copied(array: Array, dtype: Any = None, like: Array | None = None) -> Array:
    """A copy in the memory order of ``like`` (by default its own, which ``array.copy()`` loses), or of ``dtype``."""
    with on_device_of(array):
        copy: Array = xp_of(array).empty_like(
            array if like is None else like, dtype=array.dtype if dtype is None else dtype
        )
        copy[...] = array
    return copy


def full_like(array: Array, value: float) -> Array:
    """An array of one number beside another: its shape, dtype, device and memory order."""
    with on_device_of(array):
        full: Array = xp_of(array).empty_like(array)
        full[...] = value
    return full


def new_zeros(shape: tuple[int, ...], dtype: Any, device: str) -> Array:
    """Zeros on a device."""
    return asarray(np.zeros(shape, dtype), device)


def frozen(array: Any) -> Array:
    """The array itself, marked as read-only if it is NumPy's, which has such a mark; a scalar of NumPy's as an array.

    Raises
    ------
    TypeError : if it is neither.
    """
    if isinstance(array, np.generic):
        array = np.asarray(array)
    if isinstance(array, np.ndarray):
        array.setflags(write=False)
    elif not is_array(array):
        raise TypeError(f"a tensor holds an array, not a {type(array).__name__}")
    return array


def thawed(array: Array) -> Array:
    """The array itself, marked as writable.

    Raises
    ------
    ValueError : for a view of memory that is read-only.
    """
    if isinstance(array, np.ndarray):
        array.setflags(write=True)
    return array


def repeats(array: Array) -> bool:
    """Whether several elements are one number in memory, as broadcasting makes them."""
    axes = zip(array.shape, array.strides, strict=True)
    return array.size > 0 and any(n > 1 and not stride for n, stride in axes)


@contextlib.contextmanager
def writing(array: Array, owner: Array | None = None) -> Iterator[Array]:
    """``with writing(array):`` marked as writable inside, on its device, and as read-only from then on.

    Parameters
    ----------
    array : what is to be written
    owner : the array that it is a view of, to be marked with it

    Raises
    ------
    ValueError : as `thawed` does.
    """
    memory = array if owner is None else owner
    try:
        with on_device_of(array):
            thawed(memory)
            yield thawed(array)
    finally:
        frozen(array)
        frozen(memory)


def writable_into(array: Array, value: Any) -> Array:
    """``value``, an array or a number, as an array that can be written into ``array``: apart from it, on its device.

    Raises
    ------
    DtypeError : if ``value`` cannot be cast to the dtype of ``array`` within its kind.
    """
    source = value if is_array(value) else np.asarray(value)
    if not np.can_cast(source.dtype, array.dtype, "same_kind"):
        raise DtypeError(f"cannot assign {source.dtype} values to a {array.dtype} tensor; convert them first")
    source = asarray(source, device_of(array))
    with on_device_of(array):
        # CuPy, unlike NumPy, would read what it has just written.
        return copied(source) if xp_of(array).may_share_memory(source, array) else source


def from_dlpack(array: Any) -> Array:
    """The memory of an array of another library, as NumPy's or CuPy's, wherever it is.

    Raises
    ------
    TypeError : if the array does not speak DLPack.
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
    """``with on_device_of(x, w):`` the device of the first, if CuPy's, is the current one, on which CuPy computes.

    None among the arrays is passed over.
    """
    for array in arrays:
        if array is not None:
            return _ANYWHERE if isinstance(array, np.ndarray) else array.device
    return _ANYWHERE


def same_device(*arrays: Any) -> str:
    """The one device that holds all ``arrays``.

    Raises
    ------
    DeviceError : if they are on different devices.
    """
    devices = dict.fromkeys(map(device_of, arrays))
    if len(devices) > 1:
        raise DeviceError(f"operands are on different devices: {', '.join(devices)}; move one with .to(device)")
    return next(iter(devices))


def wide_dtype(dtype: Any) -> np.dtype[Any]:
    """The dtype of arithmetic with floats of a dtype: float32 for float16, otherwise the same."""
    return np.promote_types(dtype, np.float32)


def sum_dtype(dtype: Any) -> np.dtype[Any]:
    """Return the dtype that long sums of a dtype end in: float64 for float16 and float32, otherwise the same."""
    found = np.dtype(dtype)
    return np.promote_types(found, np.float64) if found.kind in "fc" else found


def same_dtype(*arrays: Any) -> np.dtype[Any]:
    """The one dtype of all ``arrays``.

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
    """``with together(x, w):`` on the device of arrays that an operation combines; None among them is passed over.

    Raises
    ------
    DeviceError : if they are on different devices.
    DtypeError : if dtypes of floating-point numbers among them differ.
    """
    given = [array for array in arrays if array is not None]
    if len(given) > 1:
        same_device(*given)
        floats = [array for array in given if array.dtype.kind in "fc"]
        if floats:
            same_dtype(*floats)
    return on_device_of(*given)
