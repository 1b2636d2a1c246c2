"""A tensor without its graph: the values, the operators and the methods.

This file is below the operations, but ``a + b`` has to call addition. So the operators and methods are declared here,
with their types, and look up their function in one dictionary. functional/methods.py fills it. This is the only
place where a lower floor calls a higher one.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np

from minires.device import Array, asnumpy, device_of
from minires.errors import ShapeError
from minires.numpy_calls import refusal
from minires.options import integer

T = TypeVar("T", bound="Values")


class _Methods(dict[str, Callable[..., Any]]):
    """The functions of operators and methods. The first look-up imports functional/methods.py, which adds them."""

    def __missing__(self, name: str) -> Callable[..., Any]:
        importlib.import_module("minires.functional.methods")
        return dict(self)[name]  # self[name] would call __missing__ again for an unknown name


METHODS = _Methods()


def _operator(name: str) -> Callable[[T, Any], T]:
    """Return the method of an operator: ``x + other``, ``x < other``, ``x[index]``."""
    return lambda x, other: METHODS[name](x, other)


def _reflected(name: str) -> Callable[[T, Any], T]:
    """Return the method of an operator with the tensor on the right: ``other + x``."""
    return lambda x, other: METHODS[name](other, x)


def _updating(name: str) -> Callable[[T, Any], T]:
    """Return the method of an operator that writes into the tensor: ``x += other``."""
    return lambda x, other: METHODS["updated"](x, name, other)


class Values:
    """A read-only array with operators and methods.

    Shapes broadcast as in NumPy. A Python or NumPy scalar never changes the dtype.
    """

    __slots__ = ("_array",)
    __hash__ = object.__hash__
    _array: Array

    # Properties

    @property
    def array(self) -> Array:
        """A read-only view of the values."""
        return self._array[...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the axes as a tuple."""
        return self._array.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self._array.ndim

    def size(self, dim: int | None = None) -> Any:
        """Return the shape, or the length of one axis, as PyTorch's method does. `numel` counts the elements.

        Raises
        ------
        ShapeError : if there is no such axis.
        """
        if dim is None:
            return self.shape
        axis = integer(dim, "dim")
        if not -self.ndim <= axis < self.ndim:
            raise ShapeError(f"size: axis {axis} is out of range for a tensor with {self.ndim} axes")
        return self.shape[axis]

    def numel(self) -> int:
        """Return the number of elements."""
        return int(self._array.size)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the elements."""
        return self._array.dtype

    @property
    def device(self) -> str:
        """The device of the values: "cpu" or "cuda:<index>"."""
        return device_of(self._array)

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("len() of a 0-d tensor")
        return self.shape[0]

    def __iter__(self: T) -> Iterator[T]:
        return (self[i] for i in range(len(self)))

    # Values as NumPy and Python objects

    def numpy(self) -> Array:
        """Return the values as a NumPy array: a read-only view on the CPU, a copy from a GPU."""
        return asnumpy(self.array)

    def item(self) -> Any:
        """Return the only element as a Python number.

        Raises
        ------
        ShapeError : if there is not exactly one element.
        """
        if self._array.size != 1:
            raise ShapeError(f"item() needs exactly one element, but the shape is {self.shape}")
        return self._array.item()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        return bool(self.item())

    def __index__(self) -> int:
        if self.dtype.kind not in "iu" or self._array.size != 1:
            raise TypeError(f"only one integer is an index, not a {self.dtype} tensor of shape {self.shape}")
        return int(self._array.item())

    # NumPy's functions and operators

    def __array__(self, *_: Any, **__: Any) -> Array:
        raise TypeError("a Tensor is not converted to an array silently: use x.array, x.numpy(), or mr.tensor(a)")

    def __array_function__(self, function: Any, types: Any, given: Any, options: Any) -> Any:
        if function in (np.shape, np.ndim, np.size) and len(given) == 1 and not options:
            return getattr(self._array, function.__name__)
        raise refusal(function, Values)

    def __array_ufunc__(self, ufunc: Any, method: str, *given: Any, **options: Any) -> Any:
        """Accept a NumPy scalar on the left of an operator; raise TypeError for all else."""
        if method == "__call__" and not options and len(given) == 2 and not np.ndim(given[0]):
            with contextlib.suppress(KeyError):
                return METHODS[ufunc.__name__](*given)
        raise refusal(ufunc, Values, *given)

    # Operators

    __add__ = _operator("add")
    __radd__ = _reflected("add")
    __sub__ = _operator("subtract")
    __rsub__ = _reflected("subtract")
    __mul__ = _operator("multiply")
    __rmul__ = _reflected("multiply")
    __truediv__ = _operator("divide")
    __rtruediv__ = _reflected("divide")
    __pow__ = _operator("power")
    __rpow__ = _reflected("power")
    __matmul__ = _operator("matmul")
    __rmatmul__ = _reflected("matmul")
    __lt__ = _operator("less")
    __le__ = _operator("less_equal")
    __gt__ = _operator("greater")
    __ge__ = _operator("greater_equal")
    __eq__ = _operator("equal")  # type: ignore[assignment]
    __ne__ = _operator("not_equal")  # type: ignore[assignment]
    __getitem__ = _operator("getitem")

    def __neg__(self: T) -> T:
        return METHODS["negative"](self)

    def __abs__(self: T) -> T:
        return METHODS["abs"](self)

    # Operators and methods that write into a leaf; see functional/in_place.py

    __iadd__ = _updating("add")
    __isub__ = _updating("subtract")
    __imul__ = _updating("multiply")
    __itruediv__ = _updating("divide")
    __ipow__ = _updating("power")
    __imatmul__ = _updating("matmul")

    def __setitem__(self, index: Any, value: Any) -> None:
        METHODS["setitem"](self, index, value)

    def add_(self: T, other: Any, *, alpha: float = 1) -> T:
        """Add ``alpha · other`` to this leaf in place, and return the tensor."""
        return METHODS["update"](self, "add", other, alpha)

    def sub_(self: T, other: Any, *, alpha: float = 1) -> T:
        """Subtract ``alpha · other`` from this leaf in place, and return the tensor."""
        return METHODS["update"](self, "subtract", other, alpha)

    def mul_(self: T, other: Any) -> T:
        """Multiply this leaf by ``other`` in place, and return the tensor."""
        return METHODS["update"](self, "multiply", other)

    def div_(self: T, other: Any) -> T:
        """Divide this leaf by ``other`` in place, and return the tensor."""
        return METHODS["update"](self, "divide", other)

    def copy_(self: T, source: Any) -> T:
        """Overwrite this leaf with ``source``, broadcast to its shape, from any device; return the tensor."""
        return METHODS["copy_"](self, source)

    def fill_(self: T, value: Any) -> T:
        """Set every element of this leaf to a number, and return the tensor."""
        return METHODS["fill_"](self, value)

    def zero_(self: T) -> T:
        """Set every element of this leaf to 0, and return the tensor."""
        return METHODS["fill_"](self, 0)

    # Methods

    def sum(self: T, dim: Any = None, keepdim: bool = False) -> T:
        """Return the sum over all elements, one axis, or several; see `functional.reduction.sum`."""
        return METHODS["sum"](self, dim, keepdim)

    def mean(self: T, dim: Any = None, keepdim: bool = False) -> T:
        """Return the mean over all elements, one axis, or several; see `functional.reduction.mean`."""
        return METHODS["mean"](self, dim, keepdim)

    def var(
        self: T, dim: Any = None, *, correction: float = 1, keepdim: bool = False, unbiased: bool | None = None
    ) -> T:
        """Return the variance over all elements, one axis, or several; see `functional.reduction.var`."""
        return METHODS["var"](self, dim, correction=correction, keepdim=keepdim, unbiased=unbiased)

    def max(self, dim: int | None = None, keepdim: bool = False) -> Any:
        """Return the largest element, or (values, indices) along one axis; see `functional.reduction.max`."""
        return METHODS["max"](self, dim, keepdim)

    def min(self, dim: int | None = None, keepdim: bool = False) -> Any:
        """Return the smallest element, or (values, indices) along one axis; see `functional.reduction.min`."""
        return METHODS["min"](self, dim, keepdim)

    def abs(self: T) -> T:
        """Return the absolute value of each element."""
        return METHODS["abs"](self)

    def clip(self: T, min: float | None = None, max: float | None = None) -> T:
        """Return each element limited to [min, max]; see `functional.elementary.clip`."""
        return METHODS["clip"](self, min, max)

    def exp(self: T) -> T:
        """Return e to the power of each element."""
        return METHODS["exp"](self)

    def log(self: T) -> T:
        """Return the natural logarithm of each element."""
        return METHODS["log"](self)

    def sqrt(self: T) -> T:
        """Return the square root of each element."""
        return METHODS["sqrt"](self)

    def tanh(self: T) -> T:
        """Return the hyperbolic tangent of each element."""
        return METHODS["tanh"](self)

    def sigmoid(self: T) -> T:
        """Return 1 / (1 + exp(−x)) of each element."""
        return METHODS["sigmoid"](self)

    def reshape(self: T, *shape: Any) -> T:
        """Return the same elements in another shape; one length may be -1."""
        return METHODS["reshape"](self, *shape)

    def view(self: T, *shape: Any) -> T:
        """Return what `reshape` returns. Unlike in PyTorch, this copies if the memory order makes that necessary."""
        return METHODS["reshape"](self, *shape)

    def flatten(self: T, start_dim: int = 0, end_dim: int = -1) -> T:
        """Return the tensor with the axes from ``start_dim`` to ``end_dim`` (included) joined into one."""
        return METHODS["flatten"](self, start_dim, end_dim)

    def permute(self: T, *dims: Any) -> T:
        """Return the tensor with its axes in another order."""
        return METHODS["permute"](self, *dims)

    def transpose(self: T, dim0: int, dim1: int) -> T:
        """Return the tensor with two axes exchanged."""
        return METHODS["transpose"](self, dim0, dim1)

    def clone(self: T, like: Array | None = None) -> T:
        """Return a copy in the memory order of ``like``, by default of this tensor. Gradients pass through it."""
        return METHODS["clone"](self, like)

    def to(self: T, *wanted: Any, device: str | None = None, dtype: Any = None) -> T:
        """Return the same values on another device or with another dtype; see `functional.cast.to`."""
        return METHODS["to"](self, *wanted, device=device, dtype=dtype)
