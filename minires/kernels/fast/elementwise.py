"""Run elementwise functions on long arrays, in blocks that the threads share.

An elementwise function does not depend on the order of the elements. So a dense array, in whatever order its axes lie
in memory, is read as one flat vector. Operands in another memory order are first copied to that of the result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from minires.device import Array, is_dense, memory_order
from minires.kernels.fast.layout import blocks
from minires.memory import new_array
from minires.scratch import scratch
from minires.threads import parallel

_BLOCK = 1 << 18  # elements in a job


def elementwise(function: Callable[..., Any], *arrays: Array) -> Array:
    """Call ``function(*vectors, out)`` for all elements and return the result.

    The result has the shape and memory order of the first array and the dtype of the last.
    """
    result = new_like(arrays[0], arrays[-1].dtype)
    order = memory_order(result)
    operands = (np.ascontiguousarray(a.transpose(order)).reshape(result.size) for a in arrays)
    in_threads(function, *operands, flat_view(result, order))
    return result


def in_threads(function: Callable[..., Any], *vectors: Array) -> None:
    """Call ``function`` on blocks of vectors of one length."""
    parallel(lambda part: function(*(v[part] for v in vectors)), blocks(vectors[0].size, _BLOCK))


def flat_views(first: Array, *others: Any) -> list[Array] | None:
    """Return dense arrays as vectors in memory order, or None unless shape, dtype and strides agree."""
    same = all(
        isinstance(a, np.ndarray) and a.shape == first.shape and a.strides == first.strides and a.dtype == first.dtype
        for a in others
    )
    if not same or not is_dense(first):
        return None
    order = memory_order(first)
    return [flat_view(a, order) for a in (first, *others)]


def flat_view(array: Array, order: list[int]) -> Array:
    """Return the elements of a dense array as they lie in memory, a view; ``order`` is its `memory_order`."""
    return array.transpose(order).reshape(array.size)


def new_like(array: Array, dtype: npt.DTypeLike) -> Array:
    """Return an uninitialised dense array with the shape and the order of axes of ``array``."""
    order = memory_order(array)
    return new_array([array.shape[axis] for axis in order], dtype).transpose(np.argsort(order))


def keep_where(mask: Array, values: Array, out: Array | None = None) -> Array:
    """Return the values where the mask is True, else 0, for arrays of one shape; in scratch memory without ``out``.

    The mask multiplies the bits of the values as an integer, 1 or 0. This takes a fraction of the time of `np.where`,
    and an infinity or NaN where the mask is False becomes 0. NumPy widens the mask in its own small buffer.
    """
    integer = np.dtype(f"i{values.itemsize}")
    target = scratch("keep where", values.shape, integer) if out is None else out.view(integer)
    product: Array = np.multiply(values.view(integer), mask, out=target)
    return product.view(values.dtype)
