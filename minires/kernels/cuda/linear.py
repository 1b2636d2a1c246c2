"""The fully connected layer on a GPU. In float16, its products are summed in float32.

Results are equal to the reference's within the rounding of their sums.
"""

from __future__ import annotations

import math

from minires.device import Array, xp_of
from minires.kernels.checks import check_linear, check_linear_grads
from minires.kernels.cuda.product import multiply


def linear(x: Array, weight: Array) -> Array:
    """Multiply the last axis of x by a matrix, as `reference.linear.linear`."""
    check_linear(x, weight)
    return _product(_rows(x), weight.T).reshape(*x.shape[:-1], len(weight))


def linear_grads(
    gy: Array, x: Array, weight: Array, wants: tuple[bool, bool] = (True, True)
) -> tuple[Array | None, Array | None]:
    """Return the gradients with respect to input and weights, as `reference.linear.linear_grads`."""
    check_linear_grads(gy, x, weight)
    gx = _product(_rows(gy), weight).reshape(x.shape) if wants[0] else None
    gweight = _product(_rows(gy).T, _rows(x)) if wants[1] else None
    return gx, gweight


def _rows(x: Array) -> Array:
    """Return (…, C) as (N, C)."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def _product(a: Array, b: Array) -> Array:
    out: Array = xp_of(a).empty((1, len(a), b.shape[1]), a.dtype)
    multiply(a[None], b[None], out)
    product: Array = out[0]
    return product
