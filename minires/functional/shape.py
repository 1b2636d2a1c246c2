"""Broadcast, reshape, reorder, pad and index tensors.

These operations are linear, so the gradient of each is its adjoint. `BroadcastTo` and `SumTo` are adjoints of each
other, and so are `GetItem` and `PutItem`. The adjoint of a reshape or a permutation is its inverse.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from minires.autograd.tensor import Tensor
from minires.device import Array, copied, same_device
from minires.errors import DtypeError, ShapeError
from minires.functional.kernel_op import KernelOp
from minires.options import integer, number, several


class SumTo(KernelOp):
    """y = the sum over the axes along which ``shape`` would be broadcast."""

    def forward(self, a: Array, *, shape: tuple[int, ...]) -> Any:
        """Compute y."""
        self.save_constant(a.shape)
        return self.kernels.sum_to(a, shape)

    def backward(self, gy: Tensor) -> Any:
        """Broadcast gy back."""
        return broadcast_to(gy, self.constants[0])


class BroadcastTo(KernelOp):
    """y = a, repeated along new axes and axes of length 1."""

    def forward(self, a: Array, *, shape: tuple[int, ...]) -> Any:
        """Compute y."""
        self.save_constant(a.shape)
        return self.kernels.broadcast_to(a, shape)

    def backward(self, gy: Tensor) -> Any:
        """Sum gy back."""
        return sum_to(gy, self.constants[0])


class Reshape(KernelOp):
    """y = the same elements in another shape."""

    def forward(self, a: Array, *, shape: tuple[int, ...]) -> Any:
        """Compute y."""
        self.save_constant(a.shape)
        return self.kernels.reshape(a, shape)

    def backward(self, gy: Tensor) -> Any:
        """Reshape gy back."""
        return gy.reshape(self.constants[0])


class Permute(KernelOp):
    """y = a with its axes in another order."""

    def forward(self, a: Array, *, dims: tuple[int, ...]) -> Any:
        """Compute y."""
        self.save_constant(tuple(int(i) for i in np.argsort([d % len(dims) for d in dims])))
        return self.kernels.transpose(a, dims)

    def backward(self, gy: Tensor) -> Any:
        """Permute the axes of gy back."""
        return gy.permute(self.constants[0])


class GetItem(KernelOp):
    """y = a[index]."""

    def forward(self, a: Array, *, index: Any) -> Any:
        """Compute y."""
        self.save_constant(index, a.shape)
        return self.kernels.getitem(a, index)

    def backward(self, gy: Tensor) -> Any:
        """Add gy to zeros at ``index``."""
        index, shape = self.constants
        return PutItem.apply(gy, index=index, shape=shape)


class PutItem(KernelOp):
    """y = zeros of ``shape`` with gy added at ``index``, the adjoint of `GetItem`."""

    def forward(self, gy: Array, *, index: Any, shape: tuple[int, ...]) -> Any:
        """Compute y; an element that was read several times gets the sum."""
        self.save_constant(index)
        return self.kernels.getitem_grad(gy, index, shape)

    def backward(self, gy: Tensor) -> Any:
        """Read the gradient at ``index``."""
        return GetItem.apply(gy, index=self.constants[0])


class Pad(KernelOp):
    """y = a with a constant around it."""

    def forward(self, a: Array, *, widths: tuple[tuple[int, int], ...], value: float) -> Any:
        """Compute y; ``widths`` are (before, after) for each axis."""
        self.save_constant(tuple(slice(before, before + n) for n, (before, _) in zip(a.shape, widths, strict=True)))
        return self.kernels.pad(a, widths, value)

    def backward(self, gy: Tensor) -> Any:
        """Cut off the border of gy."""
        return gy[self.constants[0]]


def lengths(caller: str, given: tuple[Any, ...]) -> tuple[int, ...]:
    """Return the shape (2, 3) for f(2, 3), f((2, 3)) and f([2, 3]).

    Raises
    ------
    ShapeError : if a length is not an integer.
    """
    items = given if len(given) != 1 or (items_of_one := several(given[0])) is None else items_of_one
    try:
        return tuple(integer(item, caller) for item in items)
    except ShapeError:
        raise ShapeError(f"{caller} needs integers, got {tuple(items)!r}") from None


def sum_to(a: Tensor, shape: Sequence[int]) -> Tensor:
    """Return the sum of ``a`` over the axes along which ``shape`` would be broadcast to the shape of a."""
    if isinstance(shape, tuple) and a.shape == shape:  # the usual case in a backward pass
        return a
    return SumTo.apply(a, shape=lengths("sum_to", (shape,)))


def broadcast_to(a: Tensor, shape: Sequence[int]) -> Tensor:
    """Return ``a`` repeated along new axes and axes of length 1, without a copy."""
    shape = lengths("broadcast_to", (shape,))
    return a if a.shape == shape else BroadcastTo.apply(a, shape=shape)


def reshape(a: Tensor, *shape: Any) -> Tensor:
    """Return the same elements in another shape; one length may be -1.

    Raises
    ------
    ShapeError : if the shape does not hold the same number of elements.
    """
    sizes = lengths("reshape", shape)
    if any(size < -1 for size in sizes):
        raise ShapeError(f"cannot reshape shape {a.shape} to {sizes}: a length must be at least 0, and one may be -1")
    return Reshape.apply(a, shape=sizes)


def permute(a: Tensor, *dims: Any) -> Tensor:
    """Return ``a`` with its axes in the order ``dims``.

    Raises
    ------
    ShapeError : if ``dims`` does not name each axis once.
    """
    return Permute.apply(a, dims=lengths("permute", dims))


def getitem(a: Tensor, index: Any) -> Tensor:
    """Return ``a[index]``. An index holds slices, integers, None, Ellipsis, and integer or boolean arrays and tensors.

    Raises
    ------
    IndexingError : if the index is out of range or does not fit the shape of a.
    DeviceError : if a tensor in the index is on another GPU.
    """
    return GetItem.apply(a, index=independent_index(index, a))


def independent_index(index: Any, a: Tensor) -> tuple[Any, ...]:
    """Return an index into ``a`` as a tuple that contains Ellipsis, with copies of all arrays.

    The backward pass uses the index again, so it must not change when the caller writes into an array.

    Raises
    ------
    DeviceError : if a tensor in the index is on another GPU.
    """
    parts = tuple(_copied_part(part, a) for part in (index if isinstance(index, tuple) else (index,)))
    return parts if any(part is Ellipsis for part in parts) else (*parts, Ellipsis)


def _copied_part(part: Any, a: Tensor) -> Any:
    if isinstance(part, Tensor):
        if part.device != "cpu":
            same_device(a.array, part.array)
        return copied(part.array)
    if isinstance(part, list | tuple | range):
        numbers = np.array(part)
        return numbers if numbers.size else numbers.astype(np.int64)  # NumPy makes [] float64
    return np.array(part) if isinstance(part, np.ndarray) else part


def transpose(a: Tensor, dim0: int, dim1: int) -> Tensor:
    """Return ``a`` with two axes swapped.

    Raises
    ------
    ShapeError : if there is no such axis.
    """
    dims = list(range(a.ndim))
    i, j = _axis("transpose", dim0, a.ndim), _axis("transpose", dim1, a.ndim)
    dims[i], dims[j] = j, i
    return permute(a, dims)


def flatten(a: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Return ``a`` with the axes from ``start_dim`` to ``end_dim``, both included, merged into one.

    Raises
    ------
    ShapeError : if there is no such axis, or ``start_dim`` comes after ``end_dim``.
    """
    if not a.ndim:
        return reshape(a, 1)
    first, last = _axis("flatten", start_dim, a.ndim), _axis("flatten", end_dim, a.ndim)
    if first > last:
        raise ShapeError(
            f"flatten from axis {start_dim} to {end_dim} of shape {a.shape}: the first comes after the last"
        )
    joined = math.prod(a.shape[first : last + 1])
    return reshape(a, *a.shape[:first], joined, *a.shape[last + 1 :])


def pad(a: Tensor, pad: Sequence[int], mode: str = "constant", value: float = 0.0) -> Tensor:
    """Return ``a`` with ``value`` around it, as `torch.nn.functional.pad` does.

    Parameters
    ----------
    pad : (before, after) for the last axis, then for the axis before it, …: (left, right, top, bottom) for images
    mode : "constant", the only one
    value : the value of the new elements

    Returns
    -------
    y : each axis longer by before + after

    Raises
    ------
    ShapeError : if there are more pairs than axes, an incomplete pair, or a negative width.
    DtypeError : if the tensor's dtype cannot hold ``value``.
    ValueError : for another mode.
    """
    if mode != "constant":
        raise ValueError(f"pad mode {mode!r} is not possible: there is 'constant' alone")
    given, value = lengths("pad", (pad,)), number(value, "value")
    if len(given) % 2 or len(given) > 2 * a.ndim:
        raise ShapeError(f"pad needs at most {a.ndim} pairs (before, after) for shape {a.shape}, got {given}")
    if a.dtype.kind in "biu" and value != int(value):
        raise DtypeError(f"a {a.dtype} tensor cannot be padded with {value!r}: convert it with .to(dtype)")
    pairs = list(zip(given[::2], given[1::2], strict=True))
    widths = (*[(0, 0)] * (a.ndim - len(pairs)), *reversed(pairs))
    return Pad.apply(a, widths=widths, value=value)


def _axis(caller: str, dim: int, ndim: int) -> int:
    axis = integer(dim, f"an axis of {caller}")
    if not -ndim <= axis < ndim:
        raise ShapeError(f"{caller}: axis {axis} is out of range for a tensor with {ndim} axes")
    return axis % ndim
