"""The weighted sum of two arrays in place, on a GPU, in one launch."""

from __future__ import annotations

import functools
from typing import Any

from minires.device import Array
from minires.kernels.checks import check_alike
from minires.kernels.cuda.raw import element_kernel


def blend_(a: Array, b: Array, keep: float, share: float) -> None:
    """Set a ← keep · a + share · b, as `reference.arithmetic.blend_`; equal to it within rounding."""
    check_alike("blend_", a, b)
    _blend()(b, keep, share, a)


@functools.cache
def _blend() -> Any:
    return element_kernel(
        "T b, float64 keep, float64 share", "T a", "a = Wide(keep) * a + Wide(share) * b;", "minires_blend"
    )
