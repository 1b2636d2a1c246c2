"""The rectifier and addition for long arrays, cut into pieces for the threads; and arrays as vectors (`stretches`).

Element-wise functions do not care which element is which, so an array whose elements fill a stretch of memory,
in whatever order of axes, is taken as that stretch. Operands in different memory orders are first brought to
that of the result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from minires.device import Array, is_dense, memory_order
from minires.kernels import reference
from minires.kernels.checks import check_gradient
from minires.kernels.fast.layout import blocks
from minires.kernels.reference.arithmetic import Operand
from minires.memory import new_array
from minires.scratch import scratch
from minires.threads import parallel

_BLOCK = 1 << 18  # numbers in a job
_LONG = 1 << 15  # numbers from which cutting is worth its while


def relu(x: Array) -> Array:
    """max(x, 0), element by element: `minires.kernels.reference.relu`.

    Parameters
    ----------
    x : float array of any shape

    Returns
    -------
    y : shape, dtype and memory order of x; NaN stays NaN

    Identity that tests it: equal to the reference, exactly.
    """
    zero = x.dtype.type(0)
    return _elementwise(lambda a, out: np.maximum(a, zero, out=out), x)


def relu_grad(gy: Array, y: Array) -> Array:
    """0 where y ≤ 0, else gy: `minires.kernels.reference.relu_grad`.

    Parameters
    ----------
    gy, y : float arrays of one shape

    Returns
    -------
    gx : shape and dtype of gy, memory order of y

    Raises
    ------
    ShapeError : if the shapes differ.

    Identity that tests it: equal to the reference, exactly.
    """
    check_gradient(gy, y, "output")
    return _elementwise(lambda b, a, out: rectifier_mask(a, b, out), y, gy)


def rectifier_mask(gy: Array, y: Array, out: Array) -> None:
    """out = 0 where y ≤ 0, else gy, for arrays of one shape, all in one memory order."""
    mask = scratch("rectifier mask", y.shape, np.bool_)
    np.less_equal(y, y.dtype.type(0), out=mask)
    np.logical_not(mask, out=mask)
    where(mask, gy, out)


def where(mask: Array, values: Array, out: Array | None = None) -> Array:
    """The values where the mask is, else 0, for arrays of one shape; in scratch if there is no ``out``.

    The mask multiplies the values' bits as an integer, 1 or 0: several times as fast as `np.where`, and no infinity
    or NaN beside the mask gets through. NumPy widens the mask piece by piece, in its own small buffer.
    """
    integer = np.dtype(f"i{values.itemsize}")
    target = scratch("where", values.shape, integer) if out is None else out.view(integer)
    product: Array = np.multiply(values.view(integer), mask, out=target)
    return product.view(values.dtype)


def add(a: Operand, b: Operand) -> Array:
    """a + b: `minires.kernels.reference.add`, in threads where both are long arrays in one memory order.

    Parameters
    ----------
    a, b : arrays of one dtype that broadcast, or scalars, at least one of them an array

    Returns
    -------
    y : their sum

    Raises
    ------
    ShapeError, DtypeError : as the reference does.

    Identity that tests it: equal to the reference, exactly.
    """
    vectors = _long_stretches(a, b)
    if vectors is None:
        return reference.add(a, b)
    assert isinstance(a, np.ndarray)
    y = _new_like(a, a.dtype)
    _in_threads(np.add, *vectors, _stretch(y, memory_order(y)))
    return y


def add_(a: Array, b: Array) -> None:
    """a ← a + b: `minires.kernels.reference.add_`, in threads where both are long arrays in one memory order.

    Parameters
    ----------
    a : the array that is changed
    b : an array of its shape and dtype

    Raises
    ------
    ShapeError, DtypeError : as the reference does.

    Identity that tests it: equal to the reference, exactly.
    """
    vectors = _long_stretches(a, b)
    if vectors is None:
        reference.add_(a, b)
    else:
        _in_threads(lambda x, y: np.add(x, y, out=x), *vectors)


def _long_stretches(a: Operand, b: Operand) -> list[Array] | None:
    """`stretches` of operands that are long enough for threads."""
    return stretches(a, b) if isinstance(a, np.ndarray) and a.size >= _LONG else None


def stretches(first: Array, *others: Any) -> list[Array] | None:
    """Arrays of one shape, dtype and memory order as vectors of what lies in memory; None if they are not alike."""
    same = all(
        isinstance(a, np.ndarray) and a.shape == first.shape and a.strides == first.strides and a.dtype == first.dtype
        for a in others
    )
    if not same or not is_dense(first):
        return None
    order = memory_order(first)
    return [_stretch(a, order) for a in (first, *others)]


def _stretch(array: Array, order: list[int]) -> Array:
    """The elements of a dense array as they lie in memory, by the order of its axes there; a view."""
    return array.transpose(order).reshape(array.size)


def _new_like(array: Array, dtype: npt.DTypeLike) -> Array:
    """An uninitialised dense array with its axes in the order of ``array``."""
    order = memory_order(array)
    return new_array([array.shape[axis] for axis in order], dtype).transpose(np.argsort(order))


def _in_threads(function: Callable[..., Any], *vectors: Array) -> None:
    parallel(lambda part: function(*(v[part] for v in vectors)), blocks(vectors[0].size, _BLOCK))


def _elementwise(function: Callable[..., Any], *arrays: Array) -> Array:
    """``function(*pieces, out)`` over all elements; the result is like the first array."""
    result = _new_like(arrays[0], arrays[-1].dtype)
    order = memory_order(result)
    operands = (np.ascontiguousarray(a.transpose(order)).reshape(result.size) for a in arrays)
    _in_threads(function, *operands, _stretch(result, order))
    return result
