"""Element-wise kernels on a GPU that save launches."""

from __future__ import annotations

import functools
from typing import Any

from minires.device import Array, same_dtype
from minires.errors import ShapeError


def blend_(a: Array, b: Array, keep: float, share: float) -> None:
    """a ← keep · a + share · b: `minires.kernels.reference.blend_`.

    Parameters
    ----------
    a, b, keep, share : as the reference's

    Raises
    ------
    ShapeError, DtypeError : if shapes or dtypes differ.

    Identity that tests it: equal to the reference, within rounding.
    """
    same_dtype(a, b)
    if a.shape != b.shape:
        raise ShapeError(f"blend_ needs two arrays of one shape, got {a.shape} and {b.shape}")
    _blend()(b, a.dtype.type(keep), a.dtype.type(share), a)


@functools.cache
def _blend() -> Any:
    import cupy

    return cupy.ElementwiseKernel("T b, T keep, T share", "T a", "a = keep * a + share * b;", "minires_blend")
