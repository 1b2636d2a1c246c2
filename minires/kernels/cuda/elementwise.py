"""Element-wise kernels on a GPU that save launches."""

from __future__ import annotations

import functools
from typing import Any

from minires.device import Array, xp_of
from minires.kernels.checks import check_alike, check_dropout
from minires.kernels.cuda.raw import element_kernel


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
    _blend()(b, keep, share, a)


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
    ShapeError, DtypeError : as the reference does.

    Identity that tests it: equal to the reference, within rounding.
    """
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


@functools.cache
def _blend() -> Any:
    return element_kernel(
        "T b, float64 keep, float64 share", "T a", "a = Wide(keep) * a + Wide(share) * b;", "minires_blend"
    )
