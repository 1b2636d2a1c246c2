"""What a tensor is as an array, whatever graph it is in: its values, its operators and its methods.

A tensor is defined below the operations that work on it, but ``a + b`` has to find addition. So the operators
are declared here, with their types, and look their function up in one dictionary, which functional/methods.py fills
when it is imported: the one place in the house where a lower floor calls a higher one.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np

from minires.device import Array, asnumpy, device_of
from minires.errors import ShapeError

T = TypeVar("T", bound="Values")


class _Methods(dict[str, Callable[..., Any]]):
    """Filled by functional/methods.py, which the first look-up imports where nobody else did before."""

    def __missing__(self, name: str) -> Callable[..., Any]:
        importlib.import_module("minires.functional.methods")
        return dict(self)[name]  # not self[name], which would ask here again for a name that nobody knows


METHODS = _Methods()


class Values:
    """A read-only array, and what can be written about it. Shapes broadcast as in NumPy; a number never changes
    the dtype."""

    __slots__ = ("_array",)
    __array_ufunc__ = None  # so that ``ndarray * tensor`` asks Values.__rmul__, which explains itself
    __hash__ = object.__hash__
    _array: Array

    # What it is

    @property
    def array(self) -> Array:
        """A read-only view of the values."""
        return self._array[...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the axes."""
        return self._array.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self._array.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self._array.size

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the elements."""
        return self._array.dtype

    @property
    def device(self) -> str:
        """ "cpu" or "cuda:<index>"."""
        return device_of(self._array)

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("len() of a 0-d tensor")
        return self.shape[0]

    def __iter__(self: T) -> Iterator[T]:
        return (self[i] for i in range(len(self)))

    def history(self) -> str:
        """What made it, for its representation; empty where nothing did."""
        return ""

    def __repr__(self) -> str:
        values = np.array2string(asnumpy(self._array), separator=", ", prefix="tensor(")
        place = "" if self.device == "cpu" else f"device={self.device!r}"
        return f"tensor({', '.join(filter(None, (values, f'dtype={self.dtype}', place, self.history())))})"

    # Its values elsewhere

    def numpy(self) -> Array:
        """The values as a NumPy array: a read-only view on the CPU, a copy from a GPU."""
        return asnumpy(self.array)

    def item(self) -> Any:
        """The only element, as a Python number.

        Raises
        ------
        ShapeError : if there is not exactly one.
        """
        if self.size != 1:
            raise ShapeError(f"item() needs exactly one element, but the shape is {self.shape}")
        return self._array.item()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        return bool(self.item())

    def __array__(self, *_: Any, **__: Any) -> Array:
        raise TypeError("a Tensor is not converted to an array silently: use x.array, x.numpy(), or mr.tensor(a)")

    # Operators and methods

    def __add__(self: T, other: Any) -> T:
        return METHODS["add"](self, other)  # type: ignore[no-any-return]

    def __radd__(self: T, other: Any) -> T:
        return METHODS["add"](other, self)  # type: ignore[no-any-return]

    def __sub__(self: T, other: Any) -> T:
        return METHODS["subtract"](self, other)  # type: ignore[no-any-return]

    def __rsub__(self: T, other: Any) -> T:
        return METHODS["subtract"](other, self)  # type: ignore[no-any-return]

    def __mul__(self: T, other: Any) -> T:
        return METHODS["multiply"](self, other)  # type: ignore[no-any-return]

    def __rmul__(self: T, other: Any) -> T:
        return METHODS["multiply"](other, self)  # type: ignore[no-any-return]

    def __truediv__(self: T, other: Any) -> T:
        return METHODS["divide"](self, other)  # type: ignore[no-any-return]

    def __rtruediv__(self: T, other: Any) -> T:
        return METHODS["divide"](other, self)  # type: ignore[no-any-return]

    def __pow__(self: T, other: Any) -> T:
        return METHODS["power"](self, other)  # type: ignore[no-any-return]

    def __rpow__(self: T, other: Any) -> T:
        return METHODS["power"](other, self)  # type: ignore[no-any-return]

    def __matmul__(self: T, other: Any) -> T:
        return METHODS["matmul"](self, other)  # type: ignore[no-any-return]

    def __rmatmul__(self: T, other: Any) -> T:
        return METHODS["matmul"](other, self)  # type: ignore[no-any-return]

    def __lt__(self: T, other: Any) -> T:
        return METHODS["less"](self, other)  # type: ignore[no-any-return]

    def __le__(self: T, other: Any) -> T:
        return METHODS["less_equal"](self, other)  # type: ignore[no-any-return]

    def __gt__(self: T, other: Any) -> T:
        return METHODS["greater"](self, other)  # type: ignore[no-any-return]

    def __ge__(self: T, other: Any) -> T:
        return METHODS["greater_equal"](self, other)  # type: ignore[no-any-return]

    def __eq__(self: T, other: Any) -> T:  # type: ignore[override]
        return METHODS["equal"](self, other)  # type: ignore[no-any-return]

    def __ne__(self: T, other: Any) -> T:  # type: ignore[override]
        return METHODS["not_equal"](self, other)  # type: ignore[no-any-return]

    def __neg__(self: T) -> T:
        return METHODS["negative"](self)  # type: ignore[no-any-return]

    def __abs__(self: T) -> T:
        return METHODS["abs"](self)  # type: ignore[no-any-return]

    def __getitem__(self: T, index: Any) -> T:
        return METHODS["getitem"](self, index)  # type: ignore[no-any-return]

    def sum(self: T, dim: Any = None, keepdim: bool = False) -> T:
        """The sum over all elements, one axis, or several; see `functional.reduction.sum`."""
        return METHODS["sum"](self, dim, keepdim)  # type: ignore[no-any-return]

    def mean(self: T, dim: Any = None, keepdim: bool = False) -> T:
        """The mean over all elements, one axis, or several; see `functional.reduction.mean`."""
        return METHODS["mean"](self, dim, keepdim)  # type: ignore[no-any-return]

    def var(
        self: T, dim: Any = None, *, correction: float = 1, keepdim: bool = False, unbiased: bool | None = None
    ) -> T:
        """The variance over all elements, one axis, or several; see `functional.reduction.var`."""
        return METHODS["var"](self, dim, correction=correction, keepdim=keepdim, unbiased=unbiased)  # type: ignore[no-any-return]

    def max(self, dim: int | None = None, keepdim: bool = False) -> Any:
        """The largest element, or (values, indices) along one axis; see `functional.reduction.max`."""
        return METHODS["max"](self, dim, keepdim)

    def min(self, dim: int | None = None, keepdim: bool = False) -> Any:
        """The smallest element, or (values, indices) along one axis; see `functional.reduction.min`."""
        return METHODS["min"](self, dim, keepdim)

    def abs(self: T) -> T:
        """The absolute value of each element."""
        return METHODS["abs"](self)  # type: ignore[no-any-return]

    def clip(self: T, min: float | None = None, max: float | None = None) -> T:
        """Each element moved into [min, max]; see `functional.arithmetic.clip`."""
        return METHODS["clip"](self, min, max)  # type: ignore[no-any-return]

    def exp(self: T) -> T:
        """e to the power of each element."""
        return METHODS["exp"](self)  # type: ignore[no-any-return]

    def log(self: T) -> T:
        """The natural logarithm of each element."""
        return METHODS["log"](self)  # type: ignore[no-any-return]

    def sqrt(self: T) -> T:
        """The square root of each element."""
        return METHODS["sqrt"](self)  # type: ignore[no-any-return]

    def tanh(self: T) -> T:
        """The hyperbolic tangent of each element."""
        return METHODS["tanh"](self)  # type: ignore[no-any-return]

    def sigmoid(self: T) -> T:
        """1 / (1 + exp(−x)) of each element."""
        return METHODS["sigmoid"](self)  # type: ignore[no-any-return]

    def reshape(self: T, *shape: Any) -> T:
        """The same elements in another shape; one length may be -1."""
        return METHODS["reshape"](self, *shape)  # type: ignore[no-any-return]

    def flatten(self: T, start_dim: int = 0, end_dim: int = -1) -> T:
        """The axes from ``start_dim`` to ``end_dim``, both included, as one."""
        return METHODS["flatten"](self, start_dim, end_dim)  # type: ignore[no-any-return]

    def permute(self: T, *dims: Any) -> T:
        """The axes in another order."""
        return METHODS["permute"](self, *dims)  # type: ignore[no-any-return]

    def transpose(self: T, dim0: int, dim1: int) -> T:
        """Two axes exchanged."""
        return METHODS["transpose"](self, dim0, dim1)  # type: ignore[no-any-return]

    def clone(self: T, like: Array | None = None) -> T:
        """A copy with memory of its own, in the memory order of ``like`` or this; gradients go through."""
        return METHODS["clone"](self, like)  # type: ignore[no-any-return]

    def _accumulate(self: T, other: T) -> T:
        """``self + other``, in this tensor's memory if nobody else holds it."""
        return METHODS["_accumulate"](self, other)  # type: ignore[no-any-return]

    def _owned(self: T, like: Array) -> T:
        """This tensor, or a clone if others hold its memory or it lies in another order than ``like``."""
        return METHODS["_owned"](self, like)  # type: ignore[no-any-return]

    def to(self: T, *wanted: Any, device: str | None = None, dtype: Any = None) -> T:
        """The same values on another device or with another dtype; see `functional.cast.to`."""
        return METHODS["to"](self, *wanted, device=device, dtype=dtype)  # type: ignore[no-any-return]
