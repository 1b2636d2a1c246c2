"""What a tensor is as an array, whatever graph it is in: its values, its operators and its methods.

A tensor is defined below the operations that work on it, but ``a + b`` has to find addition. So the operators
are declared here, with their types, and look their function up in one dictionary, which functional/methods.py fills
when it is imported: the one place in the house where a lower floor calls a higher one.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np

from minires.device import Array, asnumpy, device_of, is_array
from minires.errors import ShapeError
from minires.options import integer

T = TypeVar("T", bound="Values")


class _Methods(dict[str, Callable[..., Any]]):
    """Filled by functional/methods.py, which the first look-up imports where nobody else did before."""

    def __missing__(self, name: str) -> Callable[..., Any]:
        importlib.import_module("minires.functional.methods")
        return dict(self)[name]  # not self[name], which would ask here again for a name that nobody knows


METHODS = _Methods()


_SPELLINGS = {  # where the name in NumPy is another
    **{"add": "x + y", "subtract": "x - y", "multiply": "x * y", "divide": "x / y", "power": "x ** y"},
    **{"matmul": "x @ y", "dot": "x @ y", "negative": "-x", "absolute": "x.abs()", "amax": "x.max()"},
    **{"amin": "x.min()", "ravel": "x.flatten()", "copy": "x.clone()", "array_equal": "(x == y).min()"},
    **{name: f"mr.{name}(…)" for name in ("concatenate", "stack", "where", "maximum")},
    **{"vstack": "mr.stack(…)", "hstack": "mr.concatenate(…)", "pad": "F.pad(…)"},
}


def _refusal(function: Any, *given: Any) -> TypeError:
    """What to write in place of a function of NumPy that was called with a tensor."""
    name = function.__name__
    module = (getattr(function, "__module__", None) or "numpy").replace("numpy", "np")
    if any(is_array(value) for value in given):
        return TypeError(f"np.{name} cannot combine an array with a Tensor: wrap the array with mr.tensor(…)")
    own = _SPELLINGS.get(name, f"x.{name}(…)" if hasattr(Values, name) else "")
    instead = f"use {own}, or" if own else "use"
    return TypeError(f"{module}.{name} does not take a Tensor: {instead} x.numpy(), an array without a history")


class Values:
    """A read-only array, and what can be written about it. Shapes broadcast as in NumPy; a number never changes
    the dtype."""

    __slots__ = ("_array",)
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

    # What NumPy asks of it

    def __array__(self, *_: Any, **__: Any) -> Array:
        raise TypeError("a Tensor is not converted to an array silently: use x.array, x.numpy(), or mr.tensor(a)")

    def __array_function__(self, function: Any, types: Any, given: Any, options: Any) -> Any:
        if function in (np.shape, np.ndim, np.size) and len(given) == 1 and not options:
            return getattr(self._array, function.__name__)
        raise _refusal(function)

    def __array_ufunc__(self, ufunc: Any, method: str, *given: Any, **options: Any) -> Any:
        """Take a NumPy scalar on the left of an operator; refuse all else in words."""
        if method == "__call__" and not options and len(given) == 2 and not np.ndim(given[0]):
            with contextlib.suppress(KeyError):
                return METHODS[ufunc.__name__](*given)
        raise _refusal(ufunc, *given)

    # Operators

    def __add__(self: T, other: Any) -> T:
        return METHODS["add"](self, other)

    def __radd__(self: T, other: Any) -> T:
        return METHODS["add"](other, self)

    def __sub__(self: T, other: Any) -> T:
        return METHODS["subtract"](self, other)

    def __rsub__(self: T, other: Any) -> T:
        return METHODS["subtract"](other, self)

    def __mul__(self: T, other: Any) -> T:
        return METHODS["multiply"](self, other)

    def __rmul__(self: T, other: Any) -> T:
        return METHODS["multiply"](other, self)

    def __truediv__(self: T, other: Any) -> T:
        return METHODS["divide"](self, other)

    def __rtruediv__(self: T, other: Any) -> T:
        return METHODS["divide"](other, self)

    def __pow__(self: T, other: Any) -> T:
        return METHODS["power"](self, other)

    def __rpow__(self: T, other: Any) -> T:
        return METHODS["power"](other, self)

    def __matmul__(self: T, other: Any) -> T:
        return METHODS["matmul"](self, other)

    def __rmatmul__(self: T, other: Any) -> T:
        return METHODS["matmul"](other, self)

    def __lt__(self: T, other: Any) -> T:
        return METHODS["less"](self, other)

    def __le__(self: T, other: Any) -> T:
        return METHODS["less_equal"](self, other)

    def __gt__(self: T, other: Any) -> T:
        return METHODS["greater"](self, other)

    def __ge__(self: T, other: Any) -> T:
        return METHODS["greater_equal"](self, other)

    def __eq__(self: T, other: Any) -> T:  # type: ignore[override]
        return METHODS["equal"](self, other)

    def __ne__(self: T, other: Any) -> T:  # type: ignore[override]
        return METHODS["not_equal"](self, other)

    def __neg__(self: T) -> T:
        return METHODS["negative"](self)

    def __abs__(self: T) -> T:
        return METHODS["abs"](self)

    def __getitem__(self: T, index: Any) -> T:
        return METHODS["getitem"](self, index)

    # In place, where this is a leaf; see functional/in_place.py

    def __setitem__(self, index: Any, value: Any) -> None:
        METHODS["setitem"](self, index, value)

    def __iadd__(self: T, other: Any) -> T:
        return METHODS["updated"](self, "add", other)

    def __isub__(self: T, other: Any) -> T:
        return METHODS["updated"](self, "subtract", other)

    def __imul__(self: T, other: Any) -> T:
        return METHODS["updated"](self, "multiply", other)

    def __itruediv__(self: T, other: Any) -> T:
        return METHODS["updated"](self, "divide", other)

    def __ipow__(self: T, other: Any) -> T:
        return METHODS["updated"](self, "power", other)

    def __imatmul__(self: T, other: Any) -> T:
        return METHODS["updated"](self, "matmul", other)

    def add_(self: T, other: Any, *, alpha: float = 1) -> T:
        """Add ``alpha · other`` to this leaf in place; gives the tensor back."""
        return METHODS["update"](self, "add", other, alpha)

    def sub_(self: T, other: Any, *, alpha: float = 1) -> T:
        """Subtract ``alpha · other`` from this leaf in place; gives the tensor back."""
        return METHODS["update"](self, "subtract", other, alpha)

    def mul_(self: T, other: Any) -> T:
        """Multiply this leaf by ``other`` in place; gives the tensor back."""
        return METHODS["update"](self, "multiply", other)

    def div_(self: T, other: Any) -> T:
        """Divide this leaf by ``other`` in place; gives the tensor back."""
        return METHODS["update"](self, "divide", other)

    def copy_(self: T, source: Any) -> T:
        """Overwrite this leaf with ``source``, broadcast to its shape, from any device; gives the tensor back."""
        return METHODS["copy_"](self, source)

    def fill_(self: T, value: Any) -> T:
        """Set every element of this leaf to a number; gives the tensor back."""
        return METHODS["fill_"](self, value)

    def zero_(self: T) -> T:
        """Set every element of this leaf to 0; gives the tensor back."""
        return METHODS["fill_"](self, 0)

    # Methods

    def sum(self: T, dim: Any = None, keepdim: bool = False) -> T:
        """The sum over all elements, one axis, or several; see `functional.reduction.sum`."""
        return METHODS["sum"](self, dim, keepdim)

    def mean(self: T, dim: Any = None, keepdim: bool = False) -> T:
        """The mean over all elements, one axis, or several; see `functional.reduction.mean`."""
        return METHODS["mean"](self, dim, keepdim)

    def var(
        self: T, dim: Any = None, *, correction: float = 1, keepdim: bool = False, unbiased: bool | None = None
    ) -> T:
        """The variance over all elements, one axis, or several; see `functional.reduction.var`."""
        return METHODS["var"](self, dim, correction=correction, keepdim=keepdim, unbiased=unbiased)

    def max(self, dim: int | None = None, keepdim: bool = False) -> Any:
        """The largest element, or (values, indices) along one axis; see `functional.reduction.max`."""
        return METHODS["max"](self, dim, keepdim)

    def min(self, dim: int | None = None, keepdim: bool = False) -> Any:
        """The smallest element, or (values, indices) along one axis; see `functional.reduction.min`."""
        return METHODS["min"](self, dim, keepdim)

    def abs(self: T) -> T:
        """The absolute value of each element."""
        return METHODS["abs"](self)

    def clip(self: T, min: float | None = None, max: float | None = None) -> T:
        """Each element moved into [min, max]; see `functional.arithmetic.clip`."""
        return METHODS["clip"](self, min, max)

    def exp(self: T) -> T:
        """e to the power of each element."""
        return METHODS["exp"](self)

    def log(self: T) -> T:
        """The natural logarithm of each element."""
        return METHODS["log"](self)

    def sqrt(self: T) -> T:
        """The square root of each element."""
        return METHODS["sqrt"](self)

    def tanh(self: T) -> T:
        """The hyperbolic tangent of each element."""
        return METHODS["tanh"](self)

    def sigmoid(self: T) -> T:
        """1 / (1 + exp(−x)) of each element."""
        return METHODS["sigmoid"](self)

    def reshape(self: T, *shape: Any) -> T:
        """The same elements in another shape; one length may be -1."""
        return METHODS["reshape"](self, *shape)

    def view(self: T, *shape: Any) -> T:
        """The same as `reshape`, under PyTorch's other name: it copies where the memory order asks for it."""
        return METHODS["reshape"](self, *shape)

    def flatten(self: T, start_dim: int = 0, end_dim: int = -1) -> T:
        """The axes from ``start_dim`` to ``end_dim``, both included, as one."""
        return METHODS["flatten"](self, start_dim, end_dim)

    def permute(self: T, *dims: Any) -> T:
        """The axes in another order."""
        return METHODS["permute"](self, *dims)

    def transpose(self: T, dim0: int, dim1: int) -> T:
        """Two axes exchanged."""
        return METHODS["transpose"](self, dim0, dim1)

    def clone(self: T, like: Array | None = None) -> T:
        """A copy with memory of its own, in the memory order of ``like`` or this; gradients go through."""
        return METHODS["clone"](self, like)

    def _accumulate(self: T, other: T) -> T:
        """``self + other``, in this tensor's memory if nobody else holds it."""
        return METHODS["_accumulate"](self, other)

    def _owned(self: T, like: Array) -> T:
        """This tensor, or a clone if others hold its memory or it lies in another order than ``like``."""
        return METHODS["_owned"](self, like)

    def to(self: T, *wanted: Any, device: str | None = None, dtype: Any = None) -> T:
        """The same values on another device or with another dtype; see `functional.cast.to`."""
        return METHODS["to"](self, *wanted, device=device, dtype=dtype)
