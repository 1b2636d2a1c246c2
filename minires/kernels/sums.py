"""Sums that may be long: over the taps of a window, and over the inner dimension of a matrix product.

A sum of a few terms keeps its digits in the arrays' own precision. So terms are added up in parts of a fixed length,
and the parts in float64. This costs next to nothing, and the error does not grow with the number of terms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from minires.device import Array, sum_dtype, xp_of

TAPS = 9  # added up in the arrays' own precision: a 3×3 window
TERMS = 1 << 11  # of a matrix product that one call of BLAS adds up


def sum_of_taps(zeros: Array, taps: Iterable[Any], add: Callable[[Array, Any], None]) -> Array:
    """Return the sum of what each tap contributes.

    Parameters
    ----------
    zeros : an array of zeros, which is changed
    taps : the taps, in the order in which they are added up
    add : ``add(total, tap)`` adds a tap's contribution, in place, to an array like ``zeros``

    Returns
    -------
    y : shape and memory order of zeros; in float64 if there are more than `TAPS` taps, otherwise the dtype of zeros
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
    """Return ``a @ b``, the inner dimension cut into parts of `TERMS` terms.

    BLAS adds up in the arrays' own precision, a few hundred terms one after another and then the sums of these.

    Parameters
    ----------
    a, b : arrays of one dtype whose shapes fit

    Returns
    -------
    y : array in the dtype of a, also if it has no axes
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
