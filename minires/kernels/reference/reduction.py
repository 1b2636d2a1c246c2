"""Reductions over axes, and the weights that carry a gradient back through a maximum.

``axis`` is None (all axes), an integer or, where it says so, a tuple of integers. Results are arrays, also
when they have no axes: arrays of no axes, never scalars.

Sums of float32 are accumulated in float64. NumPy adds in pairs only along the axis that is contiguous in
memory and one after another along the others, so a float32 sum over 100,000 pixels would be good to five
digits in one memory order and to two in another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from minires.device import Array, sum_dtype, xp_of
from minires.errors import DtypeError, ShapeError
from minires.kernels.halves import in_float32
from minires.kernels.reference.arithmetic import equal, not_equal, subtract
from minires.kernels.reference.shape import Shape, broadcast_to, normalized_axis, reshape

Axis = int | tuple[int, ...] | None


def sum(a: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """Sum over axes.

    Parameters
    ----------
    a : array; axis : None, an integer or a tuple; keepdims : whether reduced axes stay, with size 1

    Returns
    -------
    y : array in the dtype of a; int64 for integers and for booleans, which are counted

    Raises
    ------
    ShapeError : if a has no such axis, or an axis is named twice.

    Identity that tests it: ⟨gy, sum(a)⟩ = ⟨broadcast_to(gy, a.shape), a⟩.
    """
    dtype = np.dtype(np.int64) if a.dtype.kind in "biu" else a.dtype
    return _as_array(_wide_sum(a, _axes("sum", a, axis), keepdims), a, dtype)


def mean(a: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """Mean over axes: `sum` divided by the number of elements; NaN if there are none.

    Parameters, Returns
    -------------------
    as `sum`, in the dtype of a

    Raises
    ------
    ShapeError : if a has no such axis, or an axis is named twice.
    DtypeError : for integers and booleans.
    """
    axes = _axes("mean", a, axis)
    _need_float("mean", a)
    return _as_array(_wide_sum(a, axes, keepdims) / (_count(a, axes) or math.nan), a, a.dtype)


@in_float32()
def var(a: Array, axis: Axis = None, keepdims: bool = False, correction: float = 1) -> Array:
    """Variance over axes: the squared distances from the mean, summed and divided by M − correction.

        y = Σ (a − mean)² / max(M − correction, 0),    M elements

    Written with the square itself rather than ``numpy.var``, which would take the modulus of complex numbers.

    Parameters, Returns
    -------------------
    as `mean`; correction : 1 for a sample of a larger population (PyTorch's default), 0 for the population;
    the result is NaN or infinite where M ≤ correction

    Raises
    ------
    ShapeError : if a has no such axis, or an axis is named twice.
    DtypeError : for integers and booleans.

    Identities that test it: var(a + c) = var(a), var(c · a) = c² · var(a), and with correction 0
    var(a) = mean(a²) − mean(a)².
    """
    axes = _axes("var", a, axis)
    _need_float("var", a)
    squares = distances_from_mean(a, axes)
    squares *= squares
    degrees = max(_count(a, axes) - correction, 0)
    return _as_array(_wide_sum(squares, axes, keepdims) / degrees, a, a.dtype)


def distances_from_mean(a: Array, axes: tuple[int, ...]) -> Array:
    """Return a − mean over axes, exactly centred: what rounding the mean shifts all distances by is subtracted, too.

    In float32 a mean of 30,000 is rounded by up to 0.001. Where the deviation is 0.1, that alone would change the
    sum of squares by a ten-thousandth.
    """
    distances = subtract(a, mean(a, axes, keepdims=True))
    distances -= mean(distances, axes, keepdims=True)
    return distances


def amax(a: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """Largest element over axes, NaN if one of them is NaN.

    Parameters, Returns
    -------------------
    as `sum`, in the dtype of a

    Raises
    ------
    ShapeError : if a has no such axis, or there is nothing to choose from.
    """
    axes = _nonempty_axes("amax", a, axis)
    return _as_array(a.max(axis=axes, keepdims=keepdims), a, a.dtype)


def amin(a: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """Smallest element over axes, NaN if one of them is NaN.

    Parameters, Returns
    -------------------
    as `sum`, in the dtype of a

    Raises
    ------
    ShapeError : if a has no such axis, or there is nothing to choose from.
    """
    axes = _nonempty_axes("amin", a, axis)
    return _as_array(a.min(axis=axes, keepdims=keepdims), a, a.dtype)


def argmax(a: Array, axis: int | None = None, keepdims: bool = False) -> Array:
    """Index of the first largest element along an axis; the first NaN counts as largest.

    Returns
    -------
    index : int64 array; for axis None, the place in row-major order

    Raises
    ------
    ShapeError : if a has no such axis, or there is nothing to choose from.
    """
    _nonempty_axes("argmax", a, axis)
    return _as_array(xp_of(a).argmax(a, axis=axis, keepdims=keepdims), a, np.int64)


def argmin(a: Array, axis: int | None = None, keepdims: bool = False) -> Array:
    """Index of the first smallest element along an axis; the first NaN counts as smallest.

    Returns
    -------
    index : int64 array; for axis None, the place in row-major order

    Raises
    ------
    ShapeError : if a has no such axis, or there is nothing to choose from.
    """
    _nonempty_axes("argmin", a, axis)
    return _as_array(xp_of(a).argmin(a, axis=axis, keepdims=keepdims), a, np.int64)


@in_float32()
def amax_share(a: Array, axis: int | None = None) -> Array:
    """The derivative of `amax` with respect to each element: who gets how much of the gradient.

    Over one axis the first largest element gets it all. Over the whole array all that are largest share it
    evenly. A NaN is larger than anything, and all NaNs are equal. These are PyTorch's conventions for
    ``max(dim)`` and ``max()``.

    Returns
    -------
    share : array like a; its sum over the axis is 1

    Raises
    ------
    ShapeError : if a has no such axis, or there is nothing to choose from.
    DtypeError : for integers and booleans.
    """
    _need_float("amax_share", a)
    return _share(a, amax(a) if axis is None else argmax(a, axis, keepdims=True), axis)


@in_float32()
def amin_share(a: Array, axis: int | None = None) -> Array:
    """The derivative of `amin` with respect to each element; see `amax_share`.

    Returns
    -------
    share : array like a; its sum over the axis is 1

    Raises
    ------
    ShapeError : if a has no such axis, or there is nothing to choose from.
    DtypeError : for integers and booleans.
    """
    _need_float("amin_share", a)
    return _share(a, amin(a) if axis is None else argmin(a, axis, keepdims=True), axis)


def sum_to(a: Array, shape: Sequence[int]) -> Array:
    """The adjoint of broadcasting: sums over the axes along which ``shape`` was repeated to give a's shape.

    Returns
    -------
    y : array of the shape, dtype of a; a read-only view of a if it has the shape already

    Raises
    ------
    ShapeError : if the shape does not broadcast to a's.

    Identity that tests it: ⟨a, broadcast_to(b, a.shape)⟩ = ⟨sum_to(a, b.shape), b⟩.
    """
    shape = tuple(shape)
    new = a.ndim - len(shape)
    if new < 0 or any(n not in (1, m) for n, m in zip(shape, a.shape[max(new, 0) :], strict=False)):
        raise ShapeError(f"sum_to: {shape} does not broadcast to {a.shape}, so the sum back does not exist")
    if shape == a.shape:
        return broadcast_to(a, shape)
    repeated = tuple(i for i, m in enumerate(a.shape) if i < new or shape[i - new] != m)
    return reshape(_as_array(_wide_sum(a, repeated, False), a, a.dtype), shape)


def _share(a: Array, best: Array, axis: int | None) -> Array:
    xp = xp_of(a)
    share: Array = xp.empty_like(a)
    if axis is None:
        hits = equal(a, best)
        hits |= not_equal(a, a)  # if there is a NaN, best is NaN and equals nothing
        xp.divide(hits, hits.sum(), out=share)
        return share
    places = xp.arange(a.shape[axis]).reshape([-1 if i == axis % a.ndim else 1 for i in range(a.ndim)])
    xp.equal(places, best, out=share)
    return share


def _wide_sum(a: Array, axes: Shape, keepdims: bool) -> Any:
    wide = sum_dtype(a.dtype) if a.dtype.kind in "fc" else None
    return a.sum(axis=axes, dtype=wide, keepdims=keepdims)


def _as_array(result: Any, a: Array, dtype: Any) -> Array:
    """What a reduction of ``a`` gave, as an array of ``dtype``: NumPy gives a scalar if no axis is left."""
    y: Array = xp_of(a).asanyarray(result, dtype=dtype)
    return y


def _axes(operation: str, a: Array, axis: Axis) -> Shape:
    if axis is None:
        return tuple(range(a.ndim))
    axes = axis if isinstance(axis, tuple) else (axis,)
    numbers = tuple(normalized_axis(operation, item, a.ndim) for item in axes)
    if len(set(numbers)) < len(numbers):
        raise ShapeError(f"{operation}: an axis is named twice in {axes} for an array of shape {a.shape}")
    return numbers


def _nonempty_axes(operation: str, a: Array, axis: Axis) -> Shape:
    axes = _axes(operation, a, axis)
    if any(a.shape[i] == 0 for i in axes):
        raise ShapeError(f"{operation} over axis {axis} of an array of shape {a.shape}: there is no element")
    return axes


def _count(a: Array, axes: Shape) -> int:
    count = 1
    for i in axes:
        count *= a.shape[i]
    return count


def _need_float(operation: str, a: Array) -> None:
    if a.dtype.kind not in "fc":
        raise DtypeError(f"{operation} needs a float array, got {a.dtype}: convert with .to(dtype)")
