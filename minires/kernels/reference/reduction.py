"""Reductions over axes, and the share of the gradient that each element gets through a maximum.

``axis`` is None (all axes), an integer or, where its type says so, a tuple of integers. Every result is an array, also
without axes.

Sums of float16 and float32 are accumulated in float64. NumPy adds in pairs only along the axis that is contiguous in
memory, and one element after another along the others. A float32 sum over 100,000 pixels would have five right digits
in one memory order and two in another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from minires.device import Array, sum_dtype, xp_of
from minires.errors import ShapeError
from minires.kernels.checks import check_float
from minires.kernels.float16 import in_float32
from minires.kernels.reference.shape import Shape, broadcast_to, in_order_of, normalized_axis, reshape

Axis = int | tuple[int, ...] | None


def sum(a: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """Sum over axes.

    Parameters
    ----------
    a : array of any shape
    axis : None for all axes, an integer or a tuple
    keepdims : whether reduced axes stay, with size 1

    Returns
    -------
    y : array in the dtype of a; int64 for integers, and for booleans, which it counts

    Raises
    ------
    ShapeError : if a has no such axis, or an axis is named twice.

    Identity that tests it: ⟨gy, sum(a)⟩ = ⟨broadcast_to(gy, a.shape), a⟩.
    """
    dtype = np.dtype(np.int64) if a.dtype.kind in "biu" else a.dtype
    return _as_array(_wide_sum(a, _axes("sum", a, axis), keepdims), a, dtype)


def mean(a: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """Return the mean over axes: `sum` divided by the number of elements; NaN without elements.

    Parameters, Returns, Raises
    ---------------------------
    as `sum`, in the dtype of a; and DtypeError for integers and booleans
    """
    axes = _axes("mean", a, axis)
    check_float("mean", a)
    return _as_array(_wide_sum(a, axes, keepdims) / (_count(a, axes) or math.nan), a, a.dtype)


@in_float32()
def var(a: Array, axis: Axis = None, keepdims: bool = False, correction: float = 1) -> Array:
    """Return the variance over axes: the sum of the squared distances from the mean, divided by M − correction.

        y = Σ (a − mean)² / max(M − correction, 0),    M elements                 (1)

    Complex distances are squared as they are, while ``numpy.var`` squares their absolute values.

    Parameters, Returns, Raises
    ---------------------------
    as `mean`; correction : 1 for a sample of a larger population (PyTorch's default), 0 for the population;
    the result is NaN or infinite where M ≤ correction

    Identities that test it: var(a + c) = var(a), var(c · a) = c² · var(a), and with correction 0
    var(a) = mean(a²) − mean(a)².
    """
    axes = _axes("var", a, axis)
    check_float("var", a)
    distances = distances_from_mean(a, axes)
    degrees = max(_count(a, axes) - correction, 0)
    return _as_array(_wide_sum(distances * distances, axes, keepdims) / degrees, a, a.dtype)  # (1)


def distances_from_mean(a: Array, axes: tuple[int, ...]) -> Array:
    """Return a − mean over axes, in the memory order of a, with a mean of zero.

    The rounded mean shifts all distances, so their own mean is subtracted, too. In float32 a mean of 30,000 is rounded
    by up to 0.001. Beside a deviation of 0.1, that alone would change the sum of squares by a ten-thousandth.
    """
    distances = a - mean(a, axes, keepdims=True)
    return in_order_of(a, distances - mean(distances, axes, keepdims=True))


def amax(a: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """Return the largest element over axes, NaN if one of them is NaN.

    Parameters, Returns
    -------------------
    as `sum`, in the dtype of a

    Raises
    ------
    ShapeError : if a has no such axis, or there are no elements.
    """
    axes = _nonempty_axes("amax", a, axis)
    return _as_array(a.max(axis=axes, keepdims=keepdims), a, a.dtype)


def amin(a: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """Return the smallest element over axes, NaN if one of them is NaN; see `amax`."""
    axes = _nonempty_axes("amin", a, axis)
    return _as_array(a.min(axis=axes, keepdims=keepdims), a, a.dtype)


def argmax(a: Array, axis: int | None = None, keepdims: bool = False) -> Array:
    """Return the index of the first largest element along an axis; the first NaN counts as largest.

    Returns
    -------
    index : int64 array; for axis None, the index in row-major order

    Raises
    ------
    ShapeError : if a has no such axis, or there are no elements.
    """
    _nonempty_axes("argmax", a, axis)
    return _as_array(xp_of(a).argmax(a, axis=axis, keepdims=keepdims), a, np.int64)


def argmin(a: Array, axis: int | None = None, keepdims: bool = False) -> Array:
    """Return the index of the first smallest element along an axis; the first NaN counts as smallest. See `argmax`."""
    _nonempty_axes("argmin", a, axis)
    return _as_array(xp_of(a).argmin(a, axis=axis, keepdims=keepdims), a, np.int64)


def amax_share(a: Array, axis: int | None = None) -> Array:
    """Return the derivative of `amax` with respect to each element: its share of the gradient.

    Over one axis, the first largest element gets the whole gradient. Over the whole array, all largest elements share
    it evenly. NaN counts as the largest value, and all NaNs as equal. These are PyTorch's conventions for ``max(dim)``
    and ``max()``.

    Returns
    -------
    share : array like a; its sum over the axis is 1

    Raises
    ------
    ShapeError : if a has no such axis, or there are no elements.
    DtypeError : for integers and booleans.
    """
    check_float("amax_share", a)
    return _share(a, amax(a) if axis is None else argmax(a, axis, keepdims=True), axis)


def amin_share(a: Array, axis: int | None = None) -> Array:
    """Return the derivative of `amin` with respect to each element; see `amax_share`."""
    check_float("amin_share", a)
    return _share(a, amin(a) if axis is None else argmin(a, axis, keepdims=True), axis)


def sum_to(a: Array, shape: Sequence[int]) -> Array:
    """Sum over the axes along which broadcasting repeats ``shape`` to the shape of a: the adjoint of broadcasting.

    Returns
    -------
    y : array of that shape, dtype of a; a read-only view of a if it has the shape already

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
        hits = (a == best) | (a != a)  # NaN equals nothing, itself included
        share[...] = hits / hits.sum()
    else:
        indices = xp.arange(a.shape[axis]).reshape([-1 if i == axis % a.ndim else 1 for i in range(a.ndim)])
        share[...] = indices == best
    return share


def _wide_sum(a: Array, axes: Shape, keepdims: bool) -> Any:
    wide = sum_dtype(a.dtype) if a.dtype.kind in "fc" else None
    return a.sum(axis=axes, dtype=wide, keepdims=keepdims)


def _as_array(result: Any, a: Array, dtype: Any) -> Array:
    """Return the result of a reduction of ``a`` as an array of ``dtype``; without axes, NumPy gives a scalar."""
    y: Array = xp_of(a).asanyarray(result, dtype=dtype)
    return y


def _axes(operation: str, a: Array, axis: Axis) -> Shape:
    if axis is None:
        return tuple(range(a.ndim))
    axes = axis if isinstance(axis, tuple) else (axis,)
    normalized = tuple(normalized_axis(operation, item, a.ndim) for item in axes)
    if len(set(normalized)) < len(normalized):
        raise ShapeError(f"{operation}: an axis is named twice in {axes} for an array of shape {a.shape}")
    return normalized


def _nonempty_axes(operation: str, a: Array, axis: Axis) -> Shape:
    axes = _axes(operation, a, axis)
    if any(a.shape[i] == 0 for i in axes):
        raise ShapeError(f"{operation} over axis {axis} of an array of shape {a.shape}: there is no element")
    return axes


def _count(a: Array, axes: Shape) -> int:
    return math.prod(a.shape[i] for i in axes)
