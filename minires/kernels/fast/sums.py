"""Sums of matrix products, which form the gradients with respect to filters, and the limit of a plain sum."""

from __future__ import annotations

import numpy as np

from minires.device import Array
from minires.scratch import scratch

# Multiplications up to which BLAS does not copy the operands of a product. It is then up to twice as fast, unless an
# operand is transposed.
SMALL_PRODUCT = 10**6

# The most terms that are added one after another in the dtype of the arrays; longer sums are in float64.
LONG = 512


def add_product(total: Array, a: Array, b: Array, first: bool) -> None:
    """Set total += a @ b, or total = a @ b for the first product of a sum."""
    if first:
        np.matmul(a, b, out=total)
    else:
        more = scratch("product", total.shape, total.dtype)
        np.add(total, np.matmul(a, b, out=more), out=total)
