"""Element-wise kernels on a GPU that save launches."""

from __future__ import annotations

import functools
from typing import Any

from minires.device import Array, xp_of
from minires.kernels.checks import check_alike, check_dropout


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
    check_alike("blend_", a, b)
    _blend()(b, a.dtype.type(keep), a.dtype.type(share), a)


def dropout(x: Array, mask: Array, p: float) -> Array:
    """Keep the elements that ``mask`` marks, enlarged: `minires.kernels.reference.dropout`.

    Parameters
    ----------
    x, mask, p : as the reference's

    Returns
    -------
    y : shape, dtype and memory order of x

    Raises
    ------
    ShapeError, DtypeError, ValueError : as the reference does.

    Identity that tests it: equal to the reference, within rounding.
    """
    check_dropout(x, mask, p)
    xp = xp_of(x)
    y: Array = xp.empty_like(x) if p < 1 else xp.zeros_like(x)
    if p < 1:
        _dropout()(x, mask, x.dtype.type(1 - p), y)
    return y


@functools.cache
def _dropout() -> Any:
    import cupy

    return cupy.ElementwiseKernel("T x, bool mask, T rest", "T y", "y = mask ? x / rest : T(0);", "minires_dropout")


@functools.cache
def _blend() -> Any:
    import cupy

    return cupy.ElementwiseKernel("T b, T keep, T share", "T a", "a = keep * a + share * b;", "minires_blend")
