"""The same values in other memory, with another dtype, or on another device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minires.autograd.op import Op
from minires.autograd.tensor import Tensor
from minires.device import Array, asarray, canonical, copied, device_of, number_dtype
from minires.errors import DtypeError


class To(Op):
    """A conversion; the gradient is converted back."""

    def forward(self, x: Array, *, device: str, dtype: np.dtype[Any]) -> Any:
        """Copy to the device, in the memory order of x."""
        self.save_constant(device_of(x), x.dtype)
        return copied(asarray(x, device), dtype)

    def backward(self, gy: Tensor) -> Any:
        """Convert back."""
        device, dtype = self.constants
        return To.apply(gy, device=device, dtype=dtype)


class Clone(Op):
    """The same values in memory of their own."""

    def forward(self, x: Array, *, like: Array | None) -> Any:
        """Copy, in the memory order of ``like``."""
        return copied(x, like=like)

    def backward(self, gy: Tensor) -> Any:
        """gy."""
        return gy


def clone(x: Tensor, like: Array | None = None) -> Tensor:
    """A copy of x with memory of its own, in the memory order of the array ``like`` (by default that of x)."""
    return Clone.apply(x, like=like)


def destination(wanted: Sequence[Any], device: str | None, dtype: Any) -> tuple[str | None, np.dtype[Any] | None]:
    """The device and the dtype that `to` is asked for by the same arguments, by their full names; None for what stays.

    Raises
    ------
    DeviceError : if the device is not the name of one.
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
    """``x.to("cuda")``, ``x.to("float64")``, ``x.to("cuda", np.float64)``, ``x.to(dtype=…)``; gradients come back.

    Parameters
    ----------
    x : a tensor
    wanted : devices ("cpu", "cuda", "cuda:1") and dtypes, told apart by what they are
    device, dtype : the same by name

    Returns
    -------
    y : x itself if it is there and so already

    Raises
    ------
    DeviceError : if the device does not exist or is not available.
    DtypeError : if the dtype is not numeric, or complex values would lose their imaginary part.
    """
    place, kind = destination(wanted, device, dtype)
    place, kind = place or x.device, x.dtype if kind is None else kind
    if x.dtype.kind == "c" and kind.kind != "c":
        raise DtypeError(f"cannot convert a {x.dtype} tensor to {kind}")
    if (place, kind) == (x.device, x.dtype):
        return x
    return To.apply(x, device=place, dtype=kind)
