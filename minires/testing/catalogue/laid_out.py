"""Bring memory orders into the graph, by an operation that lays out its input.

A tensor copies its array into compact memory, whatever the strides were. An operation between two `LaidOut` gets its
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
    """Return the same values in another memory order, and lay out the gradient as well."""

    def forward(self, x: Array, *, order: str) -> Any:
        """Return x in another memory order."""
        self.save_constant(order)
        return lay_out(x, order)

    def backward(self, gy: Tensor) -> Any:
        """Return gy in the same memory order."""
        return LaidOut.apply(gy, order=self.constants[0])


def laid_out(function: Callable[..., Any], order: str, kernel_set: str, *tensors: Tensor) -> Any:
    """Apply a function to tensors in a memory order, by a kernel set; its gradient arrives in that order, too."""
    with kernels.using(kernel_set):
        return LaidOut.apply(function(*(LaidOut.apply(x, order=order) for x in tensors)), order=order)


def in_order(function: Callable[..., Any], order: str, kernel_set: str) -> Callable[..., Any]:
    """Return `laid_out` as a function of the Tensors only."""
    made = functools.partial(laid_out, function, order, kernel_set)
    made.input_labels = functools.partial(labels_of, function)  # type: ignore[attr-defined]
    return made
