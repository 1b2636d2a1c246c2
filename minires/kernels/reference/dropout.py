"""Dropout by a given mask."""

from __future__ import annotations

from minires.device import Array, xp_of
from minires.kernels.checks import check_dropout
from minires.kernels.float16 import in_float32
from minires.kernels.reference.shape import in_order_of


@in_float32()
def dropout(x: Array, mask: Array, p: float) -> Array:
    """Keep the elements where ``mask`` is True, divided by 1 − p so that the expected value stays; set others to 0.

        y = x / (1 − p) where mask, else 0                                        (1)

    It is linear in x and its own transpose, so the gradient with respect to x is dropout(gy, mask, p).

    Parameters
    ----------
    x : float or complex array of any shape
    mask : bool array of the same shape, True with probability 1 − p
    p : the probability of dropping an element, 0 … 1; at 1 everything is 0

    Returns
    -------
    y : shape, dtype and memory order of x

    Raises
    ------
    ShapeError : if the shapes differ.
    DtypeError : if the mask is not boolean, or x holds integers.

    Identity that tests it: ⟨gy, dropout(x)⟩ = ⟨dropout(gy), x⟩.
    Source: Srivastava et al. 2014, in the inverted form, which changes nothing at inference.
    """
    check_dropout(x, mask)
    xp = xp_of(x)
    if p == 1:
        nothing: Array = xp.zeros_like(x)
        return nothing
    return in_order_of(x, xp.where(mask, x, x.dtype.type(0)) / (1 - p))  # (1)
