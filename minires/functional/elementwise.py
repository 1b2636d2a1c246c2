"""Elementwise operations, each one a row of a table: its value beside the gradients of its operands.

The rows are in elementary.py, activation.py and arithmetic.py. A row looks like this:

    Tanh = rule("tanh", "tanh x", "output", lambda gy, y: gy * (1.0 - y * y))

It names the kernel that computes y, and says how y reads as a formula. Then it says what the gradient needs, the inputs
or the output, and how to compute the gradient from that. A gradient is built of operations, so it has derivatives too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minires.autograd.tensor import Tensor
from minires.device import Array
from minires.functional.kernel_op import KernelOp
from minires.functional.shape import sum_to


class Elementwise(KernelOp):
    """y = f(a, …), element by element; several operands are broadcast to one shape.

    Attributes
    ----------
    kernel : the name of the kernel that computes y from the operands and the options
    saves : what to keep for the gradients, "inputs", "output" or "nothing"
    gradients : for each operand, a function that returns its gradient; it gets gy, what was saved, and the options
    options : the keywords of the kernel
    """

    kernel: str
    saves: str
    gradients: tuple[Callable[..., Tensor], ...]
    options: dict[str, Any]

    def forward(self, *operands: Array, **options: Any) -> Any:
        """Call the kernel."""
        y = getattr(self.kernels, self.kernel)(*operands, **options)
        if self.saves == "inputs":
            self.save(*operands)
        elif self.saves == "output":
            self.save(y)
        self.options = options
        return y

    def backward(self, gy: Tensor) -> Any:
        """Compute the gradients that are needed."""
        saved = self.saved
        return self.summed(
            [
                gradient(gy, *saved, **self.options) if needed else None
                for gradient, needed in zip(self.gradients, self.needs_grad, strict=True)
            ]
        )

    def summed(self, gradients: list[Tensor | None]) -> Any:
        """Sum each gradient over the axes along which its operand was broadcast."""
        nodes = [node for _, node in self.inputs]
        return tuple(
            [
                g if g is None or node is None else sum_to(g, node.shape)
                for g, node in zip(gradients, nodes, strict=True)
            ]
        )


class PiecewiseLinear(Elementwise):
    """An elementwise operation whose slopes are constant on each side of a kink.

    Attributes
    ----------
    slopes : for each operand, a function that returns ∂y/∂operand as an array; it gets the kernels, the inputs, and
        the options
    """

    saves = "inputs"
    slopes: tuple[Callable[..., Array], ...]

    def branches(self) -> tuple[Any, ...]:
        """Return the slopes. If they differ at two points, there is a kink in between."""
        inputs = [x.array for x in self.saved]
        return tuple(slope(self.kernels, *inputs, **self.options) for slope in self.slopes)

    def backward(self, gy: Tensor) -> Any:
        """Multiply gy by the slopes."""
        return self.summed(
            [
                gy * Tensor(slope) if needed else None
                for slope, needed in zip(self.branches(), self.needs_grad, strict=True)
            ]
        )


def rule(kernel: str, formula: str, saves: str, *gradients: Callable[..., Tensor]) -> type[Elementwise]:
    """Make the operation of a row, y = formula; see `Elementwise` for the arguments."""
    return _named(kernel, formula, Elementwise, saves=saves, gradients=gradients)


def piecewise_linear(kernel: str, formula: str, *slopes: Callable[..., Array]) -> type[Elementwise]:
    """Make the operation of a row, y = formula; see `PiecewiseLinear` for the arguments."""
    return _named(kernel, formula, PiecewiseLinear, slopes=slopes)


def _named(kernel: str, formula: str, base: type[Elementwise], **attributes: Any) -> type[Elementwise]:
    """Make a class with the kernel's name, which graphs and messages show."""
    return type(kernel.capitalize(), (base,), {"__doc__": f"y = {formula}.", "kernel": kernel, **attributes})
