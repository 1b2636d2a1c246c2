"""Kernels that only move elements: reshape, pad, index, join.

Each one is a linear map whose matrix holds zeros and ones, so its gradient is the transposed map. Copies of one element
are summed (`getitem_grad`, and for `broadcast_to` it is `sum_to` in reduction.py), elements that were left out get
zero, and all others go back to where they came from.

Where no element moves, the result is a view of the input. NumPy's views are read-only, so a result cannot be used to
change an input; CuPy has no such flag. Where elements move, `pad`, `concatenate` and `getitem_grad` allocate the result
in the memory order of their first argument.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from minires.device import Array, same_dtype, sum_dtype, xp_of
from minires.errors import IndexingError, ShapeError
from minires.write_guard import frozen

Shape = tuple[int, ...]


@functools.lru_cache
def result_shape(operation: str, *shapes: Shape) -> Shape:
    """Return the shape that ``shapes`` broadcast to, by NumPy's rules.

    Raises
    ------
    ShapeError : naming ``operation`` and all shapes, if they do not broadcast.
    """
    if all(shape == shapes[0] for shape in shapes):
        return shapes[0]
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise ShapeError(
            f"{operation}: shapes {_listed(shapes)} do not broadcast: aligned at the right, each axis "
            "must have the same size everywhere or size 1"
        ) from None


def in_order_of(x: Array, y: Array) -> Array:
    """Return y, a result of the shape of x, in the memory order of x: y itself, or a copy.

    NumPy chooses another order where a formula combines arrays of different orders; CuPy nearly always does.
    """
    ordered: Array = xp_of(x).empty_like(x, dtype=y.dtype)
    if type(y) is type(x) and y.strides == ordered.strides:
        return y
    ordered[...] = y
    return ordered


def normalized_axis(operation: str, axis: int, ndim: int) -> int:
    """Return ``axis`` counted from the front: 0 ≤ axis < ndim.

    Raises
    ------
    ShapeError : if an array of ``ndim`` axes has no such axis.
    """
    if not -ndim <= axis < ndim:
        raise ShapeError(f"{operation}: axis {axis} is out of range for an array with {ndim} axes")
    return operator.index(axis) % ndim


def reshape(a: Array, shape: int | Sequence[int]) -> Array:
    """Return the elements of ``a`` in row-major order, in another shape; one size may be −1, for what is left.

    Returns
    -------
    y : array of that shape, a read-only view where the strides of a allow it

    Raises
    ------
    ShapeError : if the shape holds another number of elements.
    """
    try:
        return frozen(a.reshape(shape))
    except ValueError:
        raise ShapeError(f"cannot reshape an array of shape {a.shape} ({a.size} elements) to {shape}") from None


def transpose(a: Array, axes: Sequence[int] | None = None) -> Array:
    """Return ``a`` with its axes in another order, ``y.shape[i] = a.shape[axes[i]]``; reversed if axes is None.

    Returns
    -------
    y : a read-only view of a

    Raises
    ------
    ShapeError : if axes is not a permutation of a's axes.
    """
    order = tuple(range(a.ndim))[::-1] if axes is None else tuple(axes)
    if sorted(normalized_axis("transpose", axis, a.ndim) for axis in order) != list(range(a.ndim)):
        raise ShapeError(f"transpose: axes {order} are not a permutation of those of shape {a.shape}")
    return frozen(a.transpose(order))


def broadcast_to(a: Array, shape: Sequence[int]) -> Array:
    """Return ``a`` repeated along new leading axes and along axes of size 1, as arithmetic does.

    Returns
    -------
    y : array of that shape, a read-only view of a in which repeated elements share their memory

    Raises
    ------
    ShapeError : if a does not broadcast to the shape.

    Identity that tests it: ⟨gy, broadcast_to(a, shape)⟩ = ⟨sum_to(gy, a.shape), a⟩.
    """
    shape = tuple(shape)
    try:
        return frozen(xp_of(a).broadcast_to(a, shape))
    except ValueError:
        raise ShapeError(f"cannot broadcast an array of shape {a.shape} to {shape}") from None


def pad(a: Array, widths: Sequence[tuple[int, int]], value: float = 0.0) -> Array:
    """Return ``a`` with ``value`` around it.

    Parameters
    ----------
    a : array of any rank
    widths : (before, after) for each axis, each at least 0
    value : a scalar

    Returns
    -------
    y : a new array, each axis longer by before + after, in the memory order of a

    Raises
    ------
    ShapeError : if there is not one pair for each axis, or a width is negative.

    Identity that tests it: its adjoint cuts off the border, ⟨gy, pad(a)⟩ = ⟨gy[inside], a⟩ (value 0).
    """
    widths = [(before, after) for before, after in widths]
    if len(widths) != a.ndim or any(min(pair) < 0 for pair in widths):
        raise ShapeError(
            f"pad: an array of shape {a.shape} needs {a.ndim} pairs (before, after) of widths "
            f"of at least 0, got {widths}"
        )
    sizes = [before + n + after for n, (before, after) in zip(a.shape, widths, strict=True)]
    inside = tuple(slice(before, before + n) for n, (before, _) in zip(a.shape, widths, strict=True))
    y: Array = xp_of(a).empty_like(a, shape=sizes)
    y[...] = value
    y[inside] = a
    return y


def getitem(a: Array, index: Any) -> Array:
    """Return ``a[index]``, by slices, integers, None, Ellipsis, integer arrays and boolean masks, as in NumPy.

    Returns
    -------
    y : a read-only view for slices, None, Ellipsis and integers; a new array with integer arrays or masks

    Raises
    ------
    IndexingError : if the index is out of range or does not fit the shape of a.
    """
    try:
        return frozen(a[_with_ellipsis(index)])
    except IndexError as error:
        raise IndexingError(f"cannot index an array of shape {a.shape}: {error}") from error


def getitem_grad(gy: Array, index: Any, shape: Sequence[int]) -> Array:
    """Return the gradient of the loss with respect to the input of `getitem`.

        ga[i] = Σ gy[j] over every j with y[j] = a[i]                             (1)

    An element that an integer array picks several times gets the sum, rounded once. An element that is not picked gets
    zero.

    Parameters
    ----------
    gy : the gradient with respect to the output
    index : as in the forward pass
    shape : the shape of the input

    Returns
    -------
    ga : a new array of that shape, dtype of gy, in the memory order of gy if it has as many axes

    Raises
    ------
    ShapeError : if gy does not have the shape that getitem gives.
    IndexingError : as getitem does.

    Identity that tests it: the adjoint of getitem, ⟨gy, a[index]⟩ = ⟨getitem_grad(gy, index), a⟩.
    """
    xp, shape, index = xp_of(gy), tuple(shape), _with_ellipsis(index)
    expected = getitem(xp.broadcast_to(xp.zeros((), gy.dtype), shape), index).shape
    if gy.shape != expected:
        raise ShapeError(
            f"getitem: the gradient has shape {gy.shape}, but indexing {shape} gives an output of {expected}"
        )
    repeats = any(_may_repeat(item) for item in index)
    dtype = sum_dtype(gy.dtype) if repeats else gy.dtype
    ga: Array = xp.zeros_like(gy, shape=shape or (1,), dtype=dtype).reshape(shape)  # CuPy takes () for no shape at all
    if repeats:
        xp.add.at(ga, index, gy.astype(dtype, copy=False))  # (1); NumPy adds the converted array 100 times as fast
    else:
        ga[index] = gy  # (1)
    return ga.astype(gy.dtype, copy=False)


def concatenate(arrays: Sequence[Array], axis: int = 0) -> Array:
    """Join arrays one after another along an axis that they have.

    Returns
    -------
    y : a new array in the memory order of the first

    Raises
    ------
    ShapeError : if there are no arrays, or their shapes differ on another axis.
    DtypeError : if the dtypes differ.

    Identity that tests it: `split` undoes it, and split is its adjoint.
    """
    shapes = [array.shape for array in arrays]
    if not shapes or not all(shapes):
        raise ShapeError(f"concatenate needs arrays of one or more axes, got shapes {_listed(shapes)}")
    same_dtype(*arrays)
    first, axis = arrays[0], normalized_axis("concatenate", axis, len(shapes[0]))
    if len({(*shape[:axis], None, *shape[axis + 1 :]) for shape in shapes}) > 1:
        raise ShapeError(f"concatenate: shapes {_listed(shapes)} differ on another axis than {axis}")
    sizes = [shape[axis] for shape in shapes]
    y: Array = xp_of(first).empty_like(first, shape=(*shapes[0][:axis], sum(sizes), *shapes[0][axis + 1 :]))
    for piece, array in zip(_pieces(sizes, axis), arrays, strict=True):
        y[piece] = array
    return y


def split(a: Array, sizes: Sequence[int], axis: int = 0) -> tuple[Array, ...]:
    """Cut ``a`` along an axis into pieces of the given sizes; this is the gradient of `concatenate`.

    Returns
    -------
    pieces : one read-only view of a for each size

    Raises
    ------
    ShapeError : if the sizes are negative or do not add up to the length of the axis.
    """
    axis = normalized_axis("split", axis, a.ndim)
    if any(size < 0 for size in sizes) or sum(sizes) != a.shape[axis]:
        raise ShapeError(f"split: sizes {list(sizes)} do not add up to axis {axis} of shape {a.shape}")
    return tuple(frozen(a[piece]) for piece in _pieces(sizes, axis))


def stack(arrays: Sequence[Array], axis: int = 0) -> Array:
    """Join arrays of one shape along a new axis: ``y[…, i, …] = arrays[i]``.

    Returns
    -------
    y : a new array with one axis more, in row-major order

    Raises
    ------
    ShapeError : if there are no arrays, or their shapes differ.
    DtypeError : if the dtypes differ.
    """
    shapes = [array.shape for array in arrays]
    if not shapes or len(set(shapes)) > 1:
        raise ShapeError(f"stack needs arrays of one shape, got shapes {_listed(shapes)}")
    axis = normalized_axis("stack", axis, len(shapes[0]) + 1)
    sizes = (*shapes[0][:axis], len(shapes), *shapes[0][axis:])
    y: Array = xp_of(arrays[0]).empty_like(arrays[0], shape=sizes, dtype=same_dtype(*arrays), order="C")
    for i, array in enumerate(arrays):
        y[(slice(None),) * axis + (i,)] = array
    return y


def _pieces(sizes: Sequence[int], axis: int) -> list[tuple[slice, ...]]:
    """Return the index of each piece of an array that is cut along ``axis`` into these sizes."""
    ends = np.cumsum(sizes).tolist()
    return [(slice(None),) * axis + (slice(end - n, end),) for n, end in zip(sizes, ends, strict=True)]


def _with_ellipsis(index: Any) -> tuple[Any, ...]:
    """Return ``index`` as a tuple with an Ellipsis, so that a single element is an array without axes."""
    index = index if isinstance(index, tuple) else (index,)
    return index if any(item is Ellipsis for item in index) else (*index, Ellipsis)


def _may_repeat(item: Any) -> bool:
    """Return whether an item of an index can pick an element twice: integer arrays and lists can, masks cannot."""
    if isinstance(item, list | tuple):
        item = np.asarray(item)
    return getattr(item, "ndim", 0) > 0 and item.dtype != np.bool_


def _listed(shapes: Sequence[Shape]) -> str:
    return " and ".join(map(str, shapes)) or "of no array"
