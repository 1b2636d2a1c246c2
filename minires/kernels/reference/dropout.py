"""Dropout, by a mask that somebody else has drawn."""

from __future__ import annotations

from minires.device import Array, xp_of
from minires.kernels.checks import check_dropout
from minires.kernels.halves import in_float32


@in_float32()
def dropout(x: Array, mask: Array, p: float) -> Array:
    """Keep the elements that ``mask`` marks, enlarged so that the expected value stays; the rest become 0.

        y = x / (1 − p) where mask, else 0

    It is linear in x and its own transpose, so the gradient with respect to x is dropout(gy, mask, p).

    Parameters
    ----------
    x : float or complex array of any shape
    mask : bool array of the same shape, True with probability 1 − p
    p : the probability of being dropped, 0 … 1; at 1 everything is 0

    Returns
    -------
    y : shape, dtype and memory order of x

    Raises
    ------
    ShapeError : if the shapes differ.
    DtypeError : if the mask is not of booleans.
    ValueError : if p is not between 0 and 1.

    Identity that tests it: ⟨gy, dropout(x)⟩ = ⟨dropout(gy), x⟩.
    Source: Srivastava et al. 2014, in the inverted form that leaves inference alone.
    """
    check_dropout(x, mask, p)
    xp = xp_of(x)
    y: Array = xp.empty_like(x)
    y[...] = xp.where(mask, x, x.dtype.type(0))
    if p < 1:
        y /= 1 - p
    else:
        y[...] = 0
    return y
