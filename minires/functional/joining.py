"""Join tensors along an axis; their gradients are parts of the joint gradient."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from minires.autograd.tensor import Tensor
from minires.device import Array
from minires.errors import ShapeError
from minires.functional.kernel_op import KernelOp
from minires.options import integer


class Concatenate(KernelOp):
    """Join tensors along an existing axis."""

    def forward(self, *arrays: Array, dim: int) -> Any:
        """Join."""
        y = self.kernels.concatenate(arrays, dim)
        before, ends = (slice(None),) * (dim % y.ndim), np.cumsum([a.shape[dim] for a in arrays])
        self.save_constant(*((*before, slice(end - a.shape[dim], end)) for a, end in zip(arrays, ends, strict=True)))
        return y

    def backward(self, gy: Tensor) -> Any:
        """Read the part of gy that belongs to each tensor."""
        return tuple(
            gy[piece] if needed else None for piece, needed in zip(self.constants, self.needs_grad, strict=True)
        )


class Stack(KernelOp):
    """Join tensors of one shape along a new axis."""

    def forward(self, *arrays: Array, dim: int) -> Any:
        """Join."""
        y = self.kernels.stack(arrays, dim)
        self.save_constant((slice(None),) * (dim % y.ndim))
        return y

    def backward(self, gy: Tensor) -> Any:
        """Read the part of gy that belongs to each tensor."""
        (before,) = self.constants
        return tuple(gy[(*before, i)] if needed else None for i, needed in enumerate(self.needs_grad))


def concatenate(tensors: Iterable[Tensor], dim: int = 0) -> Tensor:
    """Join tensors along an existing axis.

    Raises
    ------
    ShapeError : if no tensor is given, or their shapes differ on another axis.
    DtypeError, DeviceError : if dtypes or devices differ.
    """
    return Concatenate.apply(*_some("concatenate", tensors), dim=integer(dim, "dim"))


def stack(tensors: Iterable[Tensor], dim: int = 0) -> Tensor:
    """Join tensors of one shape along a new axis.

    Raises
    ------
    ShapeError : if no tensor is given, or their shapes differ.
    DtypeError, DeviceError : if dtypes or devices differ.
    """
    return Stack.apply(*_some("stack", tensors), dim=integer(dim, "dim"))


def _some(caller: str, tensors: Iterable[Tensor]) -> list[Tensor]:
    given = list(tensors)
    if not given:
        raise ShapeError(f"{caller} needs at least one tensor")
    return given
