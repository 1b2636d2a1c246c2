"""The matrix product."""

from __future__ import annotations

from typing import Any

from minires.autograd.tensor import Tensor
from minires.device import Array
from minires.functional.kernel_op import KernelOp
from minires.functional.shape import sum_to


class Matmul(KernelOp):
    """y = a @ b, with NumPy's rules for one, two and more axes."""

    def forward(self, a: Array, b: Array) -> Any:
        """Compute y."""
        self.save(a, b)
        return self.kernels.matmul(a, b)

    def backward(self, gy: Tensor) -> Any:
        """Compute gy @ bᵀ and aᵀ @ gy; a vector counts as a matrix with one row or column."""
        a, b = self.saved
        rows = a.reshape(1, -1) if a.ndim == 1 else a
        cols = b.reshape(-1, 1) if b.ndim == 1 else b
        batch = gy.shape[: len(gy.shape) - (a.ndim > 1) - (b.ndim > 1)]
        gy = gy.reshape(*batch, rows.shape[-2], cols.shape[-1])
        ga = sum_to(matmul(gy, _swap(cols)), rows.shape).reshape(a.shape) if self.needs_grad[0] else None
        gb = sum_to(matmul(_swap(rows), gy), cols.shape).reshape(b.shape) if self.needs_grad[1] else None
        return ga, gb


def _swap(a: Tensor) -> Tensor:
    """Return a with its last two axes swapped."""
    return a.permute(*range(a.ndim - 2), a.ndim - 1, a.ndim - 2)


def matmul(a: Any, b: Any) -> Tensor:
    """Return the matrix product a @ b.

    Raises
    ------
    ShapeError : if the shapes do not fit.
    """
    return Matmul.apply(a, b)
