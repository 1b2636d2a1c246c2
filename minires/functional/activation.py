"""ReLU, and the smooth activations."""

from __future__ import annotations

from typing import Any

from minires.autograd.tensor import Tensor
from minires.device import Array
from minires.functional.elementwise import rule
from minires.functional.kernel_op import KernelOp

Sigmoid = rule("sigmoid", "1 / (1 + e^−x)", "output", lambda gy, y: gy * y * (1.0 - y))
Tanh = rule("tanh", "tanh x", "output", lambda gy, y: gy * (1.0 - y * y))


class Relu(KernelOp):
    """y = max(x, 0)."""

    def forward(self, x: Array) -> Any:
        """Compute y and keep it: it shows where x was positive."""
        y = self.kernels.relu(x)
        self.save(y)
        return y

    def branches(self) -> tuple[Any, ...]:
        """Return the mask of the elements that ReLU let through."""
        return (self.saved[0].array > 0,)

    def backward(self, gy: Tensor) -> Any:
        """Set gy to 0 where y ≤ 0."""
        return ReluGrad.apply(gy, self.saved[0].detach())


class ReluGrad(KernelOp):
    """gx = 0 where y ≤ 0, else gy. It is linear in gy, and constant in y on each side of 0."""

    def forward(self, gy: Array, y: Array) -> Any:
        """Compute gx."""
        self.save(y)
        return self.kernels.relu_grad(gy, y)

    def branches(self) -> tuple[Any, ...]:
        """Return the mask of the elements that ReLU let through."""
        return (self.saved[0].array > 0,)

    def backward(self, ggx: Tensor) -> Any:
        """Apply the same mask to ggx."""
        return ReluGrad.apply(ggx, self.saved[0]), None


class WithRelu(KernelOp):
    """The base of operations that may end in ReLU. With ReLU, the output is the last tensor that they save.

    Attributes
    ----------
    has_relu : whether the operation ends in ReLU; set by ``forward``
    """

    has_relu = False

    def branches(self) -> tuple[Any, ...]:
        """Return the mask of the elements that ReLU let through, if there is ReLU."""
        return (self.saved[-1].array > 0,) if self.has_relu else ()

    def through_relu(self, gy: Tensor) -> Tensor:
        """Return the gradient with respect to the input of ReLU; gy itself without ReLU."""
        return ReluGrad.apply(gy, self.saved[-1].detach()) if self.has_relu else gy


def relu(x: Tensor) -> Tensor:
    """Return max(x, 0). The gradient at 0 is 0."""
    return Relu.apply(x)


def sigmoid(x: Tensor) -> Tensor:
    """Return 1 / (1 + exp(−x)); large inputs do not overflow."""
    return Sigmoid.apply(x)


def tanh(x: Tensor) -> Tensor:
    """Return the hyperbolic tangent of x."""
    return Tanh.apply(x)
