"""Reductions: sum, mean, variance, largest and smallest.

Without a ``dim`` they go over all elements; ``dim`` may be one axis or, for sums, several. A gradient has the
output's shape, so it is first reshaped to the one with the reduced axes kept, at length one, and then broadcasts.
"""

from __future__ import annotations

import builtins
import math
from typing import Any, NamedTuple

from minires.autograd.tensor import Tensor
from minires.device import Array, wide_dtype
from minires.errors import ShapeError
from minires.functional.kernel_op import KernelOp
from minires.functional.shape import broadcast_to
from minires.options import integer, real, several


class _Reduction(KernelOp):
    """An operation over some axes; remembers their size, and the output's shape with these axes kept, at length one."""

    def remember(self, a: Array, dim: Any) -> None:
        """Keep what the backward pass has to reshape to."""
        axes = range(a.ndim) if dim is None else (dim,) if isinstance(dim, int) else dim
        reduced = {axis % a.ndim for axis in axes}
        self.kept = tuple(1 if axis in reduced else n for axis, n in enumerate(a.shape))
        self.shape, self.count = a.shape, math.prod(a.shape[axis] for axis in reduced)


class Sum(_Reduction):
    """The sum over some axes."""

    def forward(self, a: Array, *, dim: Any, keepdim: bool) -> Any:
        """Sum."""
        y = self.kernels.sum(a, dim, keepdim)
        self.remember(a, dim)
        return y

    def backward(self, gy: Tensor) -> Any:
        """Every summand gets gy."""
        return broadcast_to(gy.reshape(self.kept), self.shape)


class Mean(_Reduction):
    """The mean over some axes."""

    def forward(self, a: Array, *, dim: Any, keepdim: bool) -> Any:
        """Average."""
        y = self.kernels.mean(a, dim, keepdim)
        self.remember(a, dim)
        return y

    def backward(self, gy: Tensor) -> Any:
        """Every element gets its share of gy; halves may hold that, but not the number of elements."""
        share = gy.to(wide_dtype(gy.dtype)) / (self.count or math.nan)
        return broadcast_to(share.to(gy.dtype).reshape(self.kept), self.shape)


class Var(_Reduction):
    """The variance over some axes."""

    def forward(self, a: Array, *, dim: Any, correction: float, keepdim: bool) -> Any:
        """Mean squared distance from the mean."""
        y = self.kernels.var(a, dim, keepdim, correction)
        self.remember(a, dim)
        self.save(a)
        self.save_constant(dim, builtins.max(self.count - correction, 0))
        return y

    def backward(self, gy: Tensor) -> Any:
        """gy · 2 (a − mean) / (M − correction). What the mean owes to a cancels: distances from it sum to 0."""
        (a,), (dim, degrees) = self.saved, self.constants
        scale = 2.0 / degrees if degrees else float("nan")
        x, g = (t.to(wide_dtype(a.dtype)) for t in (a, gy))
        centred = x - mean(x, dim, keepdim=True)
        centred = centred - mean(centred, dim, keepdim=True)  # what rounding the mean shifts them by
        return (centred * (g.reshape(self.kept) * scale)).to(a.dtype)


class Extremum(_Reduction):
    """The largest or smallest element over all axes or one, with its index along that one."""

    def forward(self, a: Array, *, kernel: str, dim: int | None, keepdim: bool) -> Any:
        """(value, index), or the value alone if ``dim`` is None."""
        y = getattr(self.kernels, f"a{kernel}")(a, dim, keepdim)
        self.remember(a, dim)
        self.save(a)
        self.save_constant(kernel, dim)
        return y if dim is None else (y, getattr(self.kernels, f"arg{kernel}")(a, dim, keepdim))

    def branches(self) -> tuple[Any, ...]:
        """Each element's share."""
        kernel, dim = self.constants
        return (getattr(self.kernels, f"a{kernel}_share")(self.saved[0].array, dim),)

    def backward(self, gy: Tensor, _: Any = None) -> Any:
        """gy to whom is first along the axis; shared evenly by all that are equal over the whole tensor."""
        return Tensor(self.branches()[0]) * gy.reshape(self.kept)


class ValuesAndIndices(NamedTuple):
    """What `max` and `min` along an axis give."""

    values: Tensor
    indices: Tensor


def sum(a: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """The sum over all elements, one axis, or several.

    Raises
    ------
    ShapeError : if there is no such axis.
    """
    return Sum.apply(a, dim=_dims(dim), keepdim=bool(keepdim))


def mean(a: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """The mean over all elements, one axis, or several; NaN if there are none.

    Raises
    ------
    ShapeError : if there is no such axis.
    DtypeError : for integers.
    """
    return Mean.apply(a, dim=_dims(dim), keepdim=bool(keepdim))


def var(
    a: Tensor, dim: Any = None, *, correction: float = 1, keepdim: bool = False, unbiased: bool | None = None
) -> Tensor:
    """The variance over all elements, one axis, or several: Σ (a − mean)² / (M − correction).

    Parameters
    ----------
    correction : 1 for a sample of a larger population, 0 for the population
    unbiased : True for correction 1, False for correction 0

    Raises
    ------
    ShapeError : if there is no such axis.
    DtypeError : for integers.
    """
    correction = real(correction, "correction") if unbiased is None else int(unbiased)
    return Var.apply(a, dim=_dims(dim), correction=correction, keepdim=bool(keepdim))


def max(a: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The largest element, NaN if there is one.

    Returns
    -------
    y : a tensor without axes if ``dim`` is None, whose gradient all that are largest share evenly; otherwise
        ``(values, indices)`` along that axis, as in PyTorch, and the first largest element gets the gradient

    Raises
    ------
    ShapeError : if there is no such axis or no element.
    """
    return _extremum(a, "max", dim, keepdim)


def min(a: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The smallest element, NaN if there is one; otherwise as `max`."""
    return _extremum(a, "min", dim, keepdim)


def _extremum(a: Tensor, kernel: str, dim: int | None, keepdim: bool) -> Any:
    dim = None if dim is None else integer(dim, "dim")
    y = Extremum.apply(a, kernel=kernel, dim=dim, keepdim=bool(keepdim))
    return y if dim is None else ValuesAndIndices(*y)


def _dims(dim: Any) -> Any:
    """One axis as an int, several as a tuple of ints, None as it is."""
    if dim is None:
        return None
    try:
        axes = several(dim)
        if axes is None:
            return integer(dim, "dim")
        return tuple(integer(axis, "dim") for axis in axes) or None  # no axes stand for all, as in PyTorch
    except ShapeError:
        raise ShapeError(f"dim must be an integer, several, or None, got {dim!r}") from None
