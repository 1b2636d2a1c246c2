"""Shapes: broadcasting, reordering, padding, and reading parts of tensors.

Operations come in pairs of adjoints: what one spreads, the gradient of it gathers. Broadcasting and summing are
such a pair, reading and putting another; reshaping and permuting are undone by themselves.
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
    """Sum over the axes along which ``shape`` would be broadcast."""

    def forward(self, a: Array, *, shape: tuple[int, ...]) -> Any:
        """Sum to ``shape``."""
        self.save_constant(a.shape)
        return self.kernels.sum_to(a, shape)

    def backward(self, gy: Tensor) -> Any:
        """Broadcast gy back."""
        return broadcast_to(gy, self.constants[0])


class BroadcastTo(KernelOp):
    """Repeat along new axes and axes of length one."""

    def forward(self, a: Array, *, shape: tuple[int, ...]) -> Any:
        """Broadcast to ``shape``."""
        self.save_constant(a.shape)
        return self.kernels.broadcast_to(a, shape)

    def backward(self, gy: Tensor) -> Any:
        """Sum gy back."""
        return sum_to(gy, self.constants[0])


class Reshape(KernelOp):
    """The same elements in another shape."""

    def forward(self, a: Array, *, shape: tuple[int, ...]) -> Any:
        """Reshape."""
        self.save_constant(a.shape)
        return self.kernels.reshape(a, shape)

    def backward(self, gy: Tensor) -> Any:
        """Reshape back."""
        return gy.reshape(self.constants[0])


class Permute(KernelOp):
    """The axes in another order."""

    def forward(self, a: Array, *, dims: tuple[int, ...]) -> Any:
        """Transpose."""
        self.save_constant(tuple(int(i) for i in np.argsort([d % len(dims) for d in dims])))
        return self.kernels.transpose(a, dims)

    def backward(self, gy: Tensor) -> Any:
        """Transpose back."""
        return gy.permute(self.constants[0])


class GetItem(KernelOp):
    """a[index]."""

    def forward(self, a: Array, *, index: Any) -> Any:
        """Read."""
        self.save_constant(index, a.shape)
        return self.kernels.getitem(a, index)

    def backward(self, gy: Tensor) -> Any:
        """Put gy where it was read from."""
        index, shape = self.constants
        return PutItem.apply(gy, index=index, shape=shape)


class PutItem(KernelOp):
    """The adjoint of `GetItem`: zeros of ``shape`` with gy added at ``index``."""

    def forward(self, gy: Array, *, index: Any, shape: tuple[int, ...]) -> Any:
        """Add up what was read several times."""
        self.save_constant(index)
        return self.kernels.getitem_grad(gy, index, shape)

    def backward(self, gy: Tensor) -> Any:
        """Read."""
        return GetItem.apply(gy, index=self.constants[0])


class Pad(KernelOp):
    """a with a constant around it."""

    def forward(self, a: Array, *, widths: tuple[tuple[int, int], ...], value: float) -> Any:
        """Pad each axis by (before, after)."""
        self.save_constant(tuple(slice(before, before + n) for n, (before, _) in zip(a.shape, widths, strict=True)))
        return self.kernels.pad(a, widths, value)

    def backward(self, gy: Tensor) -> Any:
        """Cut the border off."""
        return gy[self.constants[0]]


def lengths(caller: str, given: tuple[Any, ...]) -> tuple[int, ...]:
    """The shape in f(2, 3), f((2, 3)) and f([2, 3]) alike.

    Raises
    ------
    ShapeError : if it is not of integers.
    """
    items = given if len(given) != 1 or (items_of_one := several(given[0])) is None else items_of_one
    try:
        return tuple(integer(item, caller) for item in items)
    except ShapeError:
        raise ShapeError(f"{caller} needs integers, got {tuple(items)!r}") from None


def sum_to(a: Tensor, shape: Sequence[int]) -> Tensor:
    """Sum ``a`` over the axes along which ``shape`` would be broadcast to it."""
    if isinstance(shape, tuple) and a.shape == shape:  # as in most backward passes
        return a
    return SumTo.apply(a, shape=lengths("sum_to", (shape,)))


def broadcast_to(a: Tensor, shape: Sequence[int]) -> Tensor:
    """Repeat ``a`` along new axes and axes of length one, without copying."""
    shape = lengths("broadcast_to", (shape,))
    return a if a.shape == shape else BroadcastTo.apply(a, shape=shape)


def reshape(a: Tensor, *shape: Any) -> Tensor:
    """The same elements in another shape; one length may be -1.

    Raises
    ------
    ShapeError : if the shape does not hold as many elements.
    """
    sizes = lengths("reshape", shape)
    if any(size < -1 for size in sizes):
        raise ShapeError(f"cannot reshape shape {a.shape} to {sizes}: a length must be at least 0, and one may be -1")
    return Reshape.apply(a, shape=sizes)


def permute(a: Tensor, *dims: Any) -> Tensor:
    """The axes in another order.

    Raises
    ------
    ShapeError : if ``dims`` does not name each axis once.
    """
    return Permute.apply(a, dims=lengths("permute", dims))


def getitem(a: Tensor, index: Any) -> Tensor:
    """Read a part of ``a``: by slices, integers, None, Ellipsis, integer arrays and masks, tensors among them.

    Raises
    ------
    IndexingError : if the index is out of range or does not fit the shape of a.
    DeviceError : if a tensor among the index is on another GPU.
    """
    return GetItem.apply(a, index=index_of_its_own(index, a))


def index_of_its_own(index: Any, a: Tensor) -> tuple[Any, ...]:
    """An index into ``a`` as a tuple with an Ellipsis in it, of which nobody else can change a part later.

    Raises
    ------
    DeviceError : if a tensor in it is on another GPU.
    """
    parts = tuple(_own_part(part, a) for part in (index if isinstance(index, tuple) else (index,)))
    return parts if any(part is Ellipsis for part in parts) else (*parts, Ellipsis)


def _own_part(part: Any, a: Tensor) -> Any:
    if isinstance(part, Tensor):
        if part.device != "cpu":
            same_device(a.array, part.array)
        return copied(part.array)
    if isinstance(part, list | tuple | range):
        numbers = np.array(part)
        return numbers if numbers.size else numbers.astype(np.int64)  # which NumPy takes for floats
    return np.array(part) if isinstance(part, np.ndarray) else part


def transpose(a: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two axes exchanged.

    Raises
    ------
    ShapeError : if there is no such axis.
    """
    dims = list(range(a.ndim))
    i, j = _axis("transpose", dim0, a.ndim), _axis("transpose", dim1, a.ndim)
    dims[i], dims[j] = j, i
    return permute(a, dims)


def flatten(a: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The axes from ``start_dim`` to ``end_dim``, both included, as one.

    Raises
    ------
    ShapeError : if there is no such axis, or the first comes after the last.
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
    """``a`` with ``value`` around it, as `torch.nn.functional.pad` does.

    Parameters
    ----------
    pad : (before, after) of the last axis, then of the last but one, …: (left, right, top, bottom) for images
    mode : "constant", the only one
    value : what to put there

    Returns
    -------
    y : each axis longer by before + after

    Raises
    ------
    ShapeError : if there are more pairs than axes, half a pair, or a negative width.
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
