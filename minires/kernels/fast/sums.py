"""Sums of matrix products, which the gradients by filters are made of, and what counts as a long sum."""

from __future__ import annotations

import numpy as np

from minires.device import Array
from minires.scratch import scratch

# Multiplications of a product up to which BLAS copies no operands: it is up to twice as fast, where none is transposed.
SMALL_PRODUCT = 10**6

# Terms that are added one after another in the arrays' own precision, at most; what has more is summed in float64.
LONG = 512


def add_product(total: Array, a: Array, b: Array, first: bool) -> None:
    """total += a @ b; the first product of a sum overwrites what was there."""
    if first:
        np.matmul(a, b, out=total)
    else:
        more = scratch("product", total.shape, total.dtype)
        np.add(total, np.matmul(a, b, out=more), out=total)
