"""The rectifier."""

from __future__ import annotations

from typing import Any

from minires.autograd.tensor import Tensor
from minires.device import Array
from minires.functional.kernel_op import KernelOp


class Relu(KernelOp):
    """max(x, 0)."""

    def forward(self, x: Array) -> Any:
        """Keep the output: it shows where the input was positive."""
        y = self.kernels.relu(x)
        self.save(y)
        return y

    def backward(self, gy: Tensor) -> Any:
        """Let gy through where y > 0."""
        return ReluGrad.apply(gy, self.saved[0].detach())


class ReluGrad(KernelOp):
    """gy where y > 0: linear in gy, and flat in y wherever it has a derivative."""

    def forward(self, gy: Array, y: Array) -> Any:
        """Mask gy."""
        self.save(y)
        return self.kernels.relu_grad(gy, y)

    def backward(self, ggx: Tensor) -> Any:
        """The same mask again."""
        return ReluGrad.apply(ggx, self.saved[0]), None


def relu(x: Tensor) -> Tensor:
    """max(x, 0). The gradient at 0 is 0."""
    return Relu.apply(x)  # type: ignore[no-any-return]
