"""The rectifier and the two smooth switches."""

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

    def branches(self) -> tuple[Any, ...]:
        """Who passed."""
        return (self.saved[0].array > 0,)

    def backward(self, gy: Tensor) -> Any:
        """0 where y ≤ 0, else gy."""
        return ReluGrad.apply(gy, self.saved[0].detach())


class ReluGrad(KernelOp):
    """0 where y ≤ 0, else gy: linear in gy, and flat in y wherever it has a derivative."""

    def forward(self, gy: Array, y: Array) -> Any:
        """Mask gy."""
        self.save(y)
        return self.kernels.relu_grad(gy, y)

    def branches(self) -> tuple[Any, ...]:
        """Who passed."""
        return (self.saved[0].array > 0,)

    def backward(self, ggx: Tensor) -> Any:
        """The same mask again."""
        return ReluGrad.apply(ggx, self.saved[0]), None


class Rectified(KernelOp):
    """An operation that may end in a rectifier, and then keeps its output as the last of what it saves.

    Attributes
    ----------
    rectified : whether it does; ``forward`` says so
    """

    rectified = False

    def branches(self) -> tuple[Any, ...]:
        """Who passed the rectifier."""
        return (self.saved[-1].array > 0,) if self.rectified else ()

    def before_rectifier(self, gy: Tensor) -> Tensor:
        """The gradient of what the rectifier got."""
        z: Tensor = ReluGrad.apply(gy, self.saved[-1].detach()) if self.rectified else gy
        return z


class Sigmoid(KernelOp):
    """1 / (1 + exp(−x))."""

    def forward(self, x: Array) -> Any:
        """Keep the output, of which the derivative is made."""
        y = self.kernels.sigmoid(x)
        self.save(y)
        return y

    def backward(self, gy: Tensor) -> Any:
        """gy · y · (1 − y)."""
        (y,) = self.saved
        return gy * y * (1.0 - y)


class Tanh(KernelOp):
    """The hyperbolic tangent."""

    def forward(self, x: Array) -> Any:
        """Keep the output, of which the derivative is made."""
        y = self.kernels.tanh(x)
        self.save(y)
        return y

    def backward(self, gy: Tensor) -> Any:
        """gy · (1 − y²)."""
        (y,) = self.saved
        return gy * (1.0 - y * y)


def relu(x: Tensor) -> Tensor:
    """max(x, 0). The gradient at 0 is 0."""
    return Relu.apply(x)


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + exp(−x)), safe for large inputs."""
    return Sigmoid.apply(x)


def tanh(x: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    return Tanh.apply(x)
