"""Memory orders inside the graph: an operation that lays its input out, so that the kernels after it really see it.

A tensor's own copy is compact, whatever strides it was made from. Between two of these, an operation gets its
inputs in a memory order, and its gradient arrives in that order too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from minires import kernels
from minires.autograd.op import Op
from minires.autograd.tensor import Tensor
from minires.device import Array
from minires.testing.calling.names import labels_of
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


def laid_out(function: Callable[..., Any], order: str, kernel_set: str, *tensors: Tensor) -> Any:
    """``function`` of the tensors laid out, computed by a kernel set; the gradient of its result is laid out, too."""
    with kernels.using(kernel_set):
        return LaidOut.apply(function(*(LaidOut.apply(x, order=order) for x in tensors)), order=order)


def in_order(function: Callable[..., Any], order: str, kernel_set: str) -> Callable[..., Any]:
    """`laid_out` as a function of Tensors alone."""
    made = functools.partial(laid_out, function, order, kernel_set)
    made.input_labels = functools.partial(labels_of, function)  # type: ignore[attr-defined]
    return made
