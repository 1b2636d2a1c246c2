"""Dropout on a GPU, in one launch."""

from __future__ import annotations

import functools
from typing import Any

from minires.device import Array, xp_of
from minires.kernels.checks import check_dropout
from minires.kernels.cuda.raw import element_kernel


def dropout(x: Array, mask: Array, p: float) -> Array:
    """Return x / (1 − p) where the mask is True, else 0, as `reference.dropout.dropout`; equal within rounding."""
    check_dropout(x, mask)
    xp = xp_of(x)
    y: Array = xp.empty_like(x) if p < 1 else xp.zeros_like(x)
    if p < 1:
        _dropout()(x, mask, 1 - p, y)
    return y


@functools.cache
def _dropout() -> Any:
    return element_kernel(
        "T x, bool mask, float64 rest", "T y", "y = mask ? x / Wide(rest) : Wide(0);", "minires_dropout"
    )
