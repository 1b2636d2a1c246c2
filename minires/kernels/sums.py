"""Sums that may be long: over the taps of a window, and over the inner dimension of a matrix product.

A sum of a few terms keeps its digits in the dtype of the arrays. So terms are added in parts of a fixed length, and
these parts are added in float64. This costs little, and the error does not grow with the number of terms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from minires.device import Array, sum_dtype, xp_of

TAPS = 9  # the most taps that are added in the dtype of the arrays: a 3×3 window
TERMS = 1 << 11  # the most terms of a matrix product that one call of BLAS adds


def sum_of_taps(zeros: Array, taps: Iterable[Any], add: Callable[[Array, Any], None]) -> Array:
    """Return the sum of the contributions of all taps.

    Parameters
    ----------
    zeros : an array of zeros, which is changed
    taps : the taps, in the order of the sum
    add : ``add(total, tap)`` adds a tap's contribution in place to an array like ``zeros``

    Returns
    -------
    y : shape and memory order of zeros; in float64 for more than `TAPS` taps, otherwise in the dtype of zeros
    """
    taps, wide = list(taps), sum_dtype(zeros.dtype)
    if len(taps) <= TAPS or wide == zeros.dtype:
        for tap in taps:
            add(zeros, tap)
        return zeros
    part, total = zeros, zeros.astype(wide)
    for first in range(0, len(taps), TAPS):
        part[...] = 0
        for tap in taps[first : first + TAPS]:
            add(part, tap)
        total += part
    return total


def product(a: Array, b: Array) -> Array:
    """Return ``a @ b``, with the inner dimension cut into parts of `TERMS` terms.

    BLAS adds in the dtype of the arrays: some hundred terms one after another, then the sums of these.

    Parameters
    ----------
    a, b : arrays of one dtype whose shapes fit

    Returns
    -------
    y : array in the dtype of a, also without axes
    """
    xp, terms, wide = xp_of(a), a.shape[-1], sum_dtype(a.dtype)
    if terms <= TERMS or wide == a.dtype:
        y: Array = xp.asanyarray(xp.matmul(a, b))
        return y
    total: Any = 0.0
    for first in range(0, terms, TERMS):
        part = slice(first, first + TERMS)
        total = xp.matmul(a[..., part], b[part] if b.ndim == 1 else b[..., part, :]).astype(wide) + total
    return xp.asanyarray(total, dtype=a.dtype)
