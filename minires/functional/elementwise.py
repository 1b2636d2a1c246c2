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
    """

    kernel: str
    saves: str
    gradients: tuple[Callable[..., Tensor], ...]

    def forward(self, *operands: Array, **options: Any) -> Any:
        """Call the kernel."""
        y = getattr(self.kernels, self.kernel)(*operands, **options)
        if self.saves == "inputs":
            self.save(*operands)
        elif self.saves == "output":
            self.save(y)
        self.save_constant([operand.shape for operand in operands], options)
        return y

    def backward(self, gy: Tensor) -> Any:
        """Compute each gradient that is needed, and sum it over the axes along which its operand was broadcast."""
        saved, (shapes, options) = self.saved, self.constants
        return tuple(
            sum_to(gradient(gy, *saved, **options), shape) if needed else None
            for gradient, shape, needed in zip(self.gradients, shapes, self.needs_grad, strict=True)
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
        """Return the slopes: a point lies on another side of a kink if they differ there."""
        inputs, (_, options) = [x.array for x in self.saved], self.constants
        return tuple(slope(self.kernels, *inputs, **options) for slope in self.slopes)

    def backward(self, gy: Tensor) -> Any:
        """Multiply gy by each slope, and sum it over the axes along which the operand was broadcast."""
        shapes, _ = self.constants
        return tuple(
            sum_to(gy * Tensor(slope), shape) if needed else None
            for slope, shape, needed in zip(self.branches(), shapes, self.needs_grad, strict=True)
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
