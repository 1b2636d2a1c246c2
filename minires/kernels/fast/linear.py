"""The fully connected layer's product and its gradients, cut by columns of the result.

A batch has few rows and a layer has many weights, so reading and writing the weights takes the time. Each thread does
it for a share of the outputs or inputs. Results are equal to the reference's within rounding.
"""

from __future__ import annotations

import math

import numpy as np

from minires.blas import single_threaded_blas
from minires.device import Array
from minires.kernels.checks import check_linear, check_linear_grads
from minires.kernels.fast.layout import pieces
from minires.kernels.sums import TERMS, product
from minires.memory import new_array
from minires.threads import parallel

_LARGE = 1 << 17  # weights from which threads are faster
_SHARES = 8


@single_threaded_blas()
def linear(x: Array, weight: Array) -> Array:
    """Multiply the last axis of x by a matrix, as `reference.linear.linear`."""
    check_linear(x, weight)
    rows = _rows(x)
    y = new_array((len(rows), len(weight)), x.dtype)
    parallel(lambda part: _multiply(rows, weight[part].T, y[:, part]), _shares(len(weight), weight))
    return y.reshape(*x.shape[:-1], len(weight))


@single_threaded_blas()
def linear_grads(
    gy: Array, x: Array, weight: Array, wants: tuple[bool, bool] = (True, True)
) -> tuple[Array | None, Array | None]:
    """Return the gradients with respect to input and weights, as `reference.linear.linear_grads`."""
    check_linear_grads(gy, x, weight)
    gx = gweight = None
    gy_rows, x_rows = _rows(gy), _rows(x)
    if wants[0]:
        gx = new_array(x_rows.shape, x.dtype)
        into = gx
        parallel(lambda part: _multiply(gy_rows, weight[:, part], into[:, part]), _shares(x.shape[-1], weight))
        gx = gx.reshape(x.shape)
    if wants[1]:
        gweight = new_array(weight.shape, weight.dtype)
        filters = gweight
        parallel(lambda part: _multiply(gy_rows[:, part].T, x_rows, filters[part]), _shares(len(weight), weight))
    return gx, gweight


def _multiply(a: Array, b: Array, out: Array) -> None:
    """Set out = a · b; long sums are computed in parts."""
    if a.shape[1] <= TERMS:
        np.matmul(a, b, out=out)
    else:
        out[...] = product(a, b)


def _rows(x: Array) -> Array:
    """Return (…, C) as (rows, C)."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def _shares(n: int, weight: Array) -> list[slice]:
    return pieces(n, _SHARES if weight.size >= _LARGE else 1)
