"""ReLU and its gradient, in threads."""

from __future__ import annotations

import numpy as np

from minires.device import Array
from minires.kernels.checks import check_gradient
from minires.kernels.fast.elementwise import elementwise, keep_where
from minires.scratch import scratch


def relu(x: Array) -> Array:
    """Return max(x, 0) for each element, as `reference.activation.relu`; equal to it in every bit."""
    zero = x.dtype.type(0)
    return elementwise(lambda a, out: np.maximum(a, zero, out=out), x)


def relu_grad(gy: Array, y: Array) -> Array:
    """Return 0 where y ≤ 0, else gy, as `reference.activation.relu_grad`; equal to it in every bit."""
    check_gradient(gy, y, "output")
    return elementwise(lambda b, a, out: relu_grad_into(a, b, out), y, gy)


def relu_grad_into(gy: Array, y: Array, out: Array) -> None:
    """Set ``out`` to `relu_grad` of arrays of one shape; all three lie in one memory order."""
    mask = scratch("relu mask", y.shape, np.bool_)
    np.less_equal(y, y.dtype.type(0), out=mask)
    np.logical_not(mask, out=mask)
    keep_where(mask, gy, out)
