"""Reductions: sum, mean, variance, maximum and minimum.

Without ``dim`` they reduce all axes; ``dim`` may be one axis or, except for maximum and minimum, several. A backward
pass reshapes gy to the shape of the output with the reduced axes kept, of length 1, and broadcasts it.
"""

from __future__ import annotations

import builtins
import math
from typing import Any, NamedTuple

from minires.autograd.tensor import Tensor
from minires.device import Array
from minires.errors import ShapeError
from minires.functional.cast import widened
from minires.functional.kernel_op import KernelOp
from minires.functional.shape import broadcast_to
from minires.options import integer, real, several


class _Reduction(KernelOp):
    """The base of reductions.

    Attributes
    ----------
    shape, kept : the shape of the input, and the same with the reduced axes of length 1
    count : the number of elements that are reduced to one
    """

    def remember(self, a: Array, dim: Any) -> None:
        """Set the attributes that the backward pass needs."""
        axes = range(a.ndim) if dim is None else (dim,) if isinstance(dim, int) else dim
        reduced = {axis % a.ndim for axis in axes}
        self.kept = tuple(1 if axis in reduced else n for axis, n in enumerate(a.shape))
        self.shape, self.count = a.shape, math.prod(a.shape[axis] for axis in reduced)


class Sum(_Reduction):
    """y = the sum over some axes."""

    def forward(self, a: Array, *, dim: Any, keepdim: bool) -> Any:
        """Compute y."""
        y = self.kernels.sum(a, dim, keepdim)
        self.remember(a, dim)
        return y

    def backward(self, gy: Tensor) -> Any:
        """Give gy to every summand."""
        return broadcast_to(gy.reshape(self.kept), self.shape)


class Mean(_Reduction):
    """y = the mean over some axes."""

    def forward(self, a: Array, *, dim: Any, keepdim: bool) -> Any:
        """Compute y."""
        y = self.kernels.mean(a, dim, keepdim)
        self.remember(a, dim)
        return y

    def backward(self, gy: Tensor) -> Any:
        """Give each element gy / count, in float32 for float16, which may not hold the count."""
        share = widened(gy)[0] / (self.count or math.nan)
        return broadcast_to(share.to(gy.dtype).reshape(self.kept), self.shape)


class Var(_Reduction):
    """y = the variance over some axes."""

    def forward(self, a: Array, *, dim: Any, correction: float, keepdim: bool) -> Any:
        """Compute y."""
        y = self.kernels.var(a, dim, keepdim, correction)
        self.remember(a, dim)
        self.save(a)
        self.save_constant(dim, builtins.max(self.count - correction, 0))
        return y

    def backward(self, gy: Tensor) -> Any:
        """Return gy · 2 (a − mean) / (M − correction). The mean depends on a, but Σ (a − mean) = 0, so that cancels."""
        (a,), (dim, degrees) = self.saved, self.constants
        scale = 2.0 / degrees if degrees else float("nan")
        x, g = widened(a, gy)
        centred = x - mean(x, dim, keepdim=True)
        centred = centred - mean(centred, dim, keepdim=True)  # rounding of the mean shifts them all
        return (centred * (g.reshape(self.kept) * scale)).to(a.dtype)


class Extremum(_Reduction):
    """y = the largest or smallest element: over all axes, or along one axis, then with its index."""

    def forward(self, a: Array, *, kernel: str, dim: int | None, keepdim: bool) -> Any:
        """Compute (value, index), or only the value if ``dim`` is None."""
        y = getattr(self.kernels, f"a{kernel}")(a, dim, keepdim)
        self.remember(a, dim)
        self.save(a)
        self.save_constant(kernel, dim)
        return y if dim is None else (y, getattr(self.kernels, f"arg{kernel}")(a, dim, keepdim))

    def branches(self) -> tuple[Any, ...]:
        """Return each element's share of gy."""
        kernel, dim = self.constants
        return (getattr(self.kernels, f"a{kernel}_share")(self.saved[0].array, dim),)

    def backward(self, gy: Tensor, _: Any = None) -> Any:
        """Give gy to the first extremum along the axis; over the whole tensor, all extrema share it evenly."""
        return Tensor(self.branches()[0]) * gy.reshape(self.kept)


class ValuesAndIndices(NamedTuple):
    """The result of `max` and `min` along an axis."""

    values: Tensor
    indices: Tensor


def sum(a: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Return the sum over all elements, one axis, or several.

    Raises
    ------
    ShapeError : if there is no such axis.
    """
    return Sum.apply(a, dim=_dims(dim), keepdim=bool(keepdim))


def mean(a: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Return the mean over all elements, one axis, or several; NaN if there are no elements.

    Raises
    ------
    ShapeError : if there is no such axis.
    DtypeError : for integers.
    """
    return Mean.apply(a, dim=_dims(dim), keepdim=bool(keepdim))


def var(
    a: Tensor, dim: Any = None, *, correction: float = 1, keepdim: bool = False, unbiased: bool | None = None
) -> Tensor:
    """Return the variance over all elements, one axis, or several: Σ (a − mean)² / (M − correction).

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
    """Return the largest element, NaN if any element is NaN.

    Returns
    -------
    y : a scalar tensor if ``dim`` is None, and all largest elements share the gradient evenly; otherwise
        ``(values, indices)`` along that axis, as in PyTorch, and the first largest element gets the gradient

    Raises
    ------
    ShapeError : if there is no such axis or no element.
    """
    return _extremum(a, "max", dim, keepdim)


def min(a: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """Return the smallest element, NaN if any element is NaN; see `max`."""
    return _extremum(a, "min", dim, keepdim)


def _extremum(a: Tensor, kernel: str, dim: int | None, keepdim: bool) -> Any:
    dim = None if dim is None else integer(dim, "dim")
    y = Extremum.apply(a, kernel=kernel, dim=dim, keepdim=bool(keepdim))
    return y if dim is None else ValuesAndIndices(*y)


def _dims(dim: Any) -> Any:
    """Return one axis as an int, several axes as a tuple of ints, None as None."""
    if dim is None:
        return None
    try:
        axes = several(dim)
        if axes is None:
            return integer(dim, "dim")
        return tuple(integer(axis, "dim") for axis in axes) or None  # () means all axes, as in PyTorch
    except ShapeError:
        raise ShapeError(f"dim must be an integer, several, or None, got {dim!r}") from None
