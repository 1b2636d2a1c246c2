"""Lay out the same values in different memory orders.

NumPy code can be right for C order and wrong for all others. So gradients are checked on sliced, transposed and
reversed arrays too, and the checker keeps the memory order of the arrays that it gets.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minires.device import Array, is_array, xp_of

MEMORY_ORDERS = ("C", "F", "HWNC", "sliced", "reversed")


def lay_out(array: Any, order: str) -> Array:
    """Return a copy of ``array`` with the same shape, dtype and values, in another memory order.

    Parameters
    ----------
    array : an array of any shape and dtype, NumPy's or CuPy's
    order :
        "C" : last axis innermost
        "F" : first axis innermost
        "HWNC" : the last two axes outermost, the first two innermost, as the fast kernels keep activations; in an array
            with n axes, the first n // 2 innermost
        "sliced" : every second element of a larger array along every axis; in float arrays, NaN between them
        "reversed" : negative strides

    Raises
    ------
    ValueError : for any other order.
    """
    array = array if is_array(array) else np.asarray(array)
    xp, axes = xp_of(array), tuple(range(array.ndim))
    laid: Array
    if order == "C":
        laid = xp.empty(array.shape, array.dtype)
    elif order == "F":
        laid = xp.empty(array.shape, array.dtype, order="F")
    elif order == "HWNC":
        turned = axes[array.ndim // 2 :] + axes[: array.ndim // 2]
        laid = xp.empty([array.shape[axis] for axis in turned], array.dtype).transpose(*map(int, np.argsort(turned)))
    elif order == "sliced":
        gap = np.nan if array.dtype.kind in "fc" else 0
        wide = xp.full([2 * n for n in array.shape], gap, array.dtype)
        laid = wide[(..., *(slice(None, None, 2),) * array.ndim)]
    elif order == "reversed":
        laid = xp.empty(array.shape, array.dtype)[(..., *(slice(None, None, -1),) * array.ndim)]
    else:
        raise ValueError(f"memory order {order!r} is not one of {', '.join(MEMORY_ORDERS)}")
    laid[...] = array
    return laid


def copy_in_order(array: Array, like: Array | None = None) -> Array:
    """Return a writeable copy with the strides of ``like``, an array of the same shape and dtype (default: ``array``).

    The copy is in C order if elements of ``like`` share their memory.
    """
    like = array if like is None else like
    if like.flags.forc:  # the usual case: this is called in each evaluation
        copied: Array = np.array(array, order="C" if like.flags.c_contiguous else "F")
        if copied.strides == like.strides:  # an axis of length 1 may have any stride
            return copied
    if not array.size or _overlaps(like):
        return np.array(array, order="C")
    spans = [(n - 1) * stride for n, stride in zip(like.shape, like.strides, strict=True)]
    offset = -sum(span for span in spans if span < 0)
    room = offset + sum(span for span in spans if span > 0) + array.itemsize
    buffer = np.zeros(room, np.uint8)
    copied = np.ndarray(array.shape, array.dtype, buffer.data, offset, like.strides)
    copied[...] = array
    return copied


def _overlaps(array: Array) -> bool:
    reach = array.itemsize
    for stride, n in sorted((abs(stride), n) for stride, n in zip(array.strides, array.shape, strict=True) if n > 1):
        if stride < reach:
            return True
        reach += stride * (n - 1)
    return False
