"""The fully connected layer on a GPU, whose products of halves are in float32."""

from __future__ import annotations

import math

from minires.device import Array, xp_of
from minires.kernels.checks import check_linear, check_linear_grads
from minires.kernels.cuda.product import multiply


def linear(x: Array, weight: Array) -> Array:
    """Multiply the last axis of x by a matrix: `minires.kernels.reference.linear`.

    Parameters
    ----------
    x : (…, C) array
    weight : (K, C) array of the same dtype

    Returns
    -------
    y : (…, K), dtype of x

    Raises
    ------
    ShapeError, DtypeError : as the reference does.

    Identity that tests it: equal to the reference, within the rounding of its sums.
    """
    check_linear(x, weight)
    return _product(_rows(x), weight.T).reshape(*x.shape[:-1], len(weight))


def linear_grads(
    gy: Array, x: Array, weight: Array, wants: tuple[bool, bool] = (True, True)
) -> tuple[Array | None, Array | None]:
    """Gradients by the input and the weights of `linear`: `minires.kernels.reference.linear_grads`.

    Parameters
    ----------
    gy : (…, K); x : (…, C); weight : (K, C), all of one dtype
    wants : whether gx and gweight are wanted; what is not wanted is not computed

    Returns
    -------
    gx : (…, C) or None; gweight : (K, C) or None; dtype of gy

    Raises
    ------
    ShapeError, DtypeError : as the reference does.

    Identity that tests it: equal to the reference, within the rounding of its sums.
    """
    check_linear_grads(gy, x, weight)
    gx = _product(_rows(gy), weight).reshape(x.shape) if wants[0] else None
    gweight = _product(_rows(gy).T, _rows(x)) if wants[1] else None
    return gx, gweight


def _rows(x: Array) -> Array:
    """(…, C) -> (N, C)."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def _product(a: Array, b: Array) -> Array:
    out: Array = xp_of(a).empty((1, len(a), b.shape[1]), a.dtype)
    multiply(a[None], b[None], out)
    product: Array = out[0]
    return product
