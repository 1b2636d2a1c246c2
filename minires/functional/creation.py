"""Make new tensors from arrays, numbers and shapes."""

from __future__ import annotations

from typing import Any

import numpy as np

from minires import device as devices
from minires.autograd.tensor import Tensor
from minires.device import asarray, canonical, copied, device_of, is_array, number_dtype
from minires.errors import ShapeError
from minires.functional.shape import lengths


def tensor(data: Any, requires_grad: bool = False, device: str | None = None, dtype: Any = None) -> Tensor:
    """Return a tensor with a copy of ``data``, in the same memory order.

    Parameters
    ----------
    data : an array, a number, or nested lists of numbers
    requires_grad : whether backward passes compute its gradient
    device : "cpu", "cuda" or "cuda:<index>"; by default that of ``data``
    dtype : by default that of an array; float32, int64 or bool for Python numbers

    Raises
    ------
    DtypeError : if the data are not numeric, or ``requires_grad`` is True for integers.
    DeviceError : if the device does not exist.
    """
    if isinstance(data, Tensor):
        data = data._array
    if not is_array(data):
        plain = not isinstance(data, np.generic)
        data = np.asarray(data)
        if plain and data.dtype == np.float64:
            data = data.astype(np.float32)
    number_dtype(data.dtype)
    dtype = number_dtype(data.dtype if dtype is None else dtype)
    there = asarray(data, device_of(data) if device is None else canonical(device))
    made = Tensor(copied(there, dtype) if there is data or there.dtype != dtype else there)
    return made.requires_grad_() if requires_grad else made


def zeros(*shape: Any, requires_grad: bool = False, device: str = "cpu", dtype: Any = np.float32) -> Tensor:
    """Return a tensor of zeros: ``zeros(2, 3)`` or ``zeros((2, 3))``.

    Raises
    ------
    ShapeError : if a length is negative or not an integer.
    DeviceError, DtypeError : as `minires.tensor`.
    """
    return tensor(np.zeros(_shape("zeros", shape), number_dtype(dtype)), requires_grad, device)


def ones(*shape: Any, requires_grad: bool = False, device: str = "cpu", dtype: Any = np.float32) -> Tensor:
    """Return a tensor of ones: ``ones(2, 3)`` or ``ones((2, 3))``; see `zeros` for errors."""
    return tensor(np.ones(_shape("ones", shape), number_dtype(dtype)), requires_grad, device)


def from_dlpack(array: Any, requires_grad: bool = False) -> Tensor:
    """Return a tensor with a copy of an array from any library that supports DLPack, on the same device.

    PyTorch shares the memory. Here it is copied, since a write to shared memory would change the tensor unnoticed.

    Raises
    ------
    TypeError : if the array does not support DLPack.
    DeviceError : if the array is neither on a CPU nor on a CUDA device.
    DtypeError : if the array does not hold numbers, or ``requires_grad`` is True for integers.
    """
    return tensor(devices.from_dlpack(array), requires_grad)


def _shape(caller: str, given: tuple[Any, ...]) -> tuple[int, ...]:
    shape = lengths(caller, given)
    if any(n < 0 for n in shape):
        raise ShapeError(f"{caller} cannot have negative lengths, got {shape}")
    return shape
