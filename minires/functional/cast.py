"""Copy a tensor, convert it to another dtype, or move it to another device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minires.autograd.op import Op
from minires.autograd.tensor import Tensor
from minires.device import Array, asarray, canonical, copied, device_of, number_dtype, wide_dtype
from minires.errors import DtypeError


class To(Op):
    """Convert to another dtype or device; the gradient is converted back."""

    def forward(self, x: Array, *, device: str, dtype: np.dtype[Any]) -> Any:
        """Copy to the device, in the memory order of x."""
        self.save_constant(device_of(x), x.dtype)
        return copied(asarray(x, device), dtype)

    def backward(self, gy: Tensor) -> Any:
        """Convert gy back."""
        device, dtype = self.constants
        return To.apply(gy, device=device, dtype=dtype)


class Clone(Op):
    """Copy into new memory."""

    def forward(self, x: Array, *, like: Array | None) -> Any:
        """Copy, in the memory order of ``like``."""
        return copied(x, like=like)

    def backward(self, gy: Tensor) -> Any:
        """Return gy."""
        return gy


def clone(x: Tensor, like: Array | None = None) -> Tensor:
    """Return a copy of x in new memory, in the memory order of the array ``like`` (by default that of x)."""
    return Clone.apply(x, like=like)


def widened(*tensors: Tensor) -> list[Tensor]:
    """Return the tensors in the dtype of arithmetic with them: float32 for float16, otherwise unchanged."""
    return [t.to(wide_dtype(t.dtype)) for t in tensors]


def destination(wanted: Sequence[Any], device: str | None, dtype: Any) -> tuple[str | None, np.dtype[Any] | None]:
    """Return the full names of the device and the dtype that `to` converts to; None for what stays the same.

    Raises
    ------
    DeviceError : if there is no device of that name.
    DtypeError : if the dtype is not numeric.
    """
    for given in wanted:
        if isinstance(given, str) and given.partition(":")[0] in ("cpu", "cuda"):
            device = given
        else:
            dtype = given
    kind = None if dtype is None else number_dtype(dtype)
    return None if device is None else canonical(device), kind


def to(x: Tensor, *wanted: Any, device: str | None = None, dtype: Any = None) -> Tensor:
    """Convert a tensor to another device or dtype; gradients are converted back.

    ``x.to("cuda")``, ``x.to("float64")``, ``x.to("cuda", np.float64)`` and ``x.to(dtype=np.float64)`` all work.

    Parameters
    ----------
    x : a tensor
    wanted : a device ("cpu", "cuda", "cuda:1"), a dtype, or both in any order
    device, dtype : the same as keywords

    Returns
    -------
    y : x itself if nothing changes

    Raises
    ------
    DeviceError : if the device does not exist or is not available.
    DtypeError : if the dtype is not numeric, or complex values would lose their imaginary part.
    """
    target, kind = destination(wanted, device, dtype)
    target, kind = target or x.device, x.dtype if kind is None else kind
    if x.dtype.kind == "c" and kind.kind != "c":
        raise DtypeError(f"cannot convert a {x.dtype} tensor to {kind}")
    if (target, kind) == (x.device, x.dtype):
        return x
    return To.apply(x, device=target, dtype=kind)
