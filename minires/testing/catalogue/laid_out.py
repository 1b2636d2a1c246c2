"""Memory orders inside the graph: an operation that lays its input out, so that the kernels after it really see it.

A tensor's own copy is compact, whatever strides it was made from. Between two of these, an operation gets its
inputs in a memory order, and its gradient arrives in that order too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minires.autograd.op import Op
from minires.autograd.tensor import Tensor
from minires.device import Array
from minires.testing.layouts import lay_out


class LaidOut(Op):
    """The same values in another memory order, and so the gradient."""

    def forward(self, x: Array, *, order: str) -> Any:
        """Lay x out."""
        self.save_constant(order)
        return lay_out(x, order)

    def backward(self, gy: Tensor) -> Any:
        """Lay gy out."""
        return LaidOut.apply(gy, order=self.constants[0])


def in_order(function: Callable[..., Any], order: str) -> Callable[..., Any]:
    """``function`` of Tensors, with float inputs and the gradient of its output in a memory order of `lay_out`."""

    def laid_out(*tensors: Tensor) -> Any:
        return LaidOut.apply(function(*(LaidOut.apply(x, order=order) for x in tensors)), order=order)

    return laid_out
