"""Shapes: sums, broadcasting, reordering and reading parts of tensors.

Operations come in pairs of adjoints: what one spreads, the gradient of it gathers. Broadcasting and summing are
such a pair, reading and putting another; reshaping and permuting are undone by themselves.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minires.autograd.tensor import Tensor
from minires.device import Array
from minires.functional.kernel_op import KernelOp


class SumTo(KernelOp):
    """Sum over the axes along which ``shape`` would be broadcast."""

    def forward(self, a: Array, *, shape: tuple[int, ...]) -> Any:
        """Sum to ``shape``."""
        self.save_constant(a.shape)
        return self.kernels.sum_to(a, shape)

    def backward(self, gy: Tensor) -> Any:
        """Broadcast gy back."""
        return broadcast_to(gy, self.constants[0])


class BroadcastTo(KernelOp):
    """Repeat along new axes and axes of length one."""

    def forward(self, a: Array, *, shape: tuple[int, ...]) -> Any:
        """Broadcast to ``shape``."""
        self.save_constant(a.shape)
        return self.kernels.broadcast_to(a, shape)

    def backward(self, gy: Tensor) -> Any:
        """Sum gy back."""
        return sum_to(gy, self.constants[0])


class Sum(KernelOp):
    """The sum over some axes."""

    def forward(self, a: Array, *, dim: Any, keepdim: bool) -> Any:
        """Sum, and remember the shape in which the summed axes have length one."""
        axes = range(a.ndim) if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)
        summed = {axis % a.ndim for axis in axes}
        kept = tuple(1 if axis in summed else n for axis, n in enumerate(a.shape))
        self.save_constant(kept, a.shape)
        return self.kernels.sum(a, dim, keepdim)

    def backward(self, gy: Tensor) -> Any:
        """Every summand gets gy."""
        kept, shape = self.constants
        return broadcast_to(gy.reshape(kept), shape)


class Reshape(KernelOp):
    """The same elements in another shape."""

    def forward(self, a: Array, *, shape: tuple[int, ...]) -> Any:
        """Reshape."""
        self.save_constant(a.shape)
        return self.kernels.reshape(a, shape)

    def backward(self, gy: Tensor) -> Any:
        """Reshape back."""
        return gy.reshape(self.constants[0])


class Permute(KernelOp):
    """The axes in another order."""

    def forward(self, a: Array, *, dims: tuple[int, ...]) -> Any:
        """Transpose."""
        self.save_constant(tuple(int(i) for i in np.argsort([d % len(dims) for d in dims])))
        return self.kernels.transpose(a, dims)

    def backward(self, gy: Tensor) -> Any:
        """Transpose back."""
        return gy.permute(self.constants[0])


class GetItem(KernelOp):
    """a[index]."""

    def forward(self, a: Array, *, index: Any) -> Any:
        """Read."""
        self.save_constant(index, a.shape)
        return self.kernels.getitem(a, index)

    def backward(self, gy: Tensor) -> Any:
        """Put gy where it was read from."""
        index, shape = self.constants
        return PutItem.apply(gy, index=index, shape=shape)


class PutItem(KernelOp):
    """The adjoint of `GetItem`: zeros of ``shape`` with gy added at ``index``."""

    def forward(self, gy: Array, *, index: Any, shape: tuple[int, ...]) -> Any:
        """Add up what was read several times."""
        self.save_constant(index)
        return self.kernels.getitem_grad(gy, index, shape)

    def backward(self, gy: Tensor) -> Any:
        """Read."""
        return GetItem.apply(gy, index=self.constants[0])


def _axes(given: tuple[Any, ...]) -> tuple[int, ...]:
    """Accept reshape(2, 3) and reshape((2, 3)) alike."""
    items = given[0] if len(given) == 1 and isinstance(given[0], tuple | list) else given
    return tuple(int(item) for item in items)


def sum_to(a: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Sum ``a`` over the axes along which ``shape`` would be broadcast to it."""
    return a if a.shape == shape else SumTo.apply(a, shape=shape)


def broadcast_to(a: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Repeat ``a`` along new axes and axes of length one, without copying."""
    return a if a.shape == shape else BroadcastTo.apply(a, shape=shape)


def sum(a: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """The sum over all elements, one axis, or several."""
    return Sum.apply(a, dim=dim, keepdim=keepdim)  # type: ignore[no-any-return]


def mean(a: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """The mean over all elements, one axis, or several."""
    total = sum(a, dim, keepdim)
    return total / (a.size / total.size if total.size else float("nan"))


def reshape(a: Tensor, *shape: Any) -> Tensor:
    """The same elements in another shape; one length may be -1."""
    return Reshape.apply(a, shape=_axes(shape))  # type: ignore[no-any-return]


def permute(a: Tensor, *dims: Any) -> Tensor:
    """The axes in another order."""
    return Permute.apply(a, dims=_axes(dims))  # type: ignore[no-any-return]


def getitem(a: Tensor, index: Any) -> Tensor:
    """Read a part of ``a``."""
    return GetItem.apply(a, index=index)  # type: ignore[no-any-return]
