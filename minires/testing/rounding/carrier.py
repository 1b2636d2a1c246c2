"""An array that carries the parts of model.py beside its values; a view of it is a view of all parts."""

# NumPy declares the methods of its arrays in overloads; these take what kernels pass.
# mypy: disable-error-code="override,misc"

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minires.device import Array
from minires.testing.rounding.model import Parts, Precision

_LOST = "the bound on this array's rounding was lost: a function without a rule made it"


class Carrier(np.ndarray):
    """Values in float64, or booleans or integers made of them, with their errors beside them.

    The arrays of ``_parts`` have one shape, and strides that let the same axes be joined. ``_parts`` is None in an
    array that NumPy made without a rule.
    """

    _parts: Parts | None

    def __array_finalize__(self, source: Any) -> None:
        self._parts = None  # `viewing` sets it

    @property
    def parts(self) -> Parts:
        """Values, errors of the terms, sizes and numbers of terms; TypeError if the bound was lost."""
        if self._parts is None or self._parts.error.shape != self.shape:
            raise TypeError(_LOST)
        return self._parts

    @property
    def precision(self) -> Precision:
        """The precision whose rounding is bounded; TypeError if the bound was lost."""
        if self._parts is None:
            raise TypeError(_LOST)
        return self._parts.precision

    @property
    def value(self) -> Array:
        """The float64 values alone."""
        return super().view(np.ndarray)

    @property
    def bound(self) -> Array:
        """How far each element of a lower precision may be from the value; infinite where nothing is known."""
        return self.parts.bound

    @classmethod
    def viewing(cls, parts: Parts) -> Any:
        """Return an array whose memory is that of the parts."""
        made = parts.value.view(cls)
        made._parts = parts
        return made

    @classmethod
    def holding(cls, parts: Parts) -> Any:
        """Return an array that owns its parts, all in the values' memory order, so that they can be viewed together."""
        value = np.asarray(parts.value)

        def beside(array: Array) -> Array:
            made = np.empty_like(value, dtype=np.float64)
            made[...] = array
            return made

        return cls.viewing(Parts(value, beside(parts.error), beside(parts.size), beside(parts.terms), parts.precision))

    def written(self, result: Parts) -> Any:
        """Write a result into this array and return the array."""
        if result.value.dtype.kind != "f" and self.dtype.kind == "f":
            result = result.as_floats()
        for into, array in zip(self.parts.arrays, result.arrays, strict=True):
            np.copyto(into, array, casting="same_kind")
        return self

    def _each(self, function: Callable[[Array], Any]) -> Any:
        """Return the same rearrangement of all parts: a view, or a copy."""
        parts = self.parts.each(function)
        if not np.may_share_memory(parts.value, self.value):
            return self.holding(parts.each(lambda array: array.copy("K")))
        shared = map(np.may_share_memory, parts.arrays, self.parts.arrays)
        if not all(shared) and parts.value.size:
            raise TypeError("a view of the values would not be one of their errors")
        return self.viewing(parts)

    def __getitem__(self, index: Any) -> Any:
        items = _plain_index(index)
        items = items if any(item is Ellipsis for item in items) else (*items, ...)  # an array, also of no axes
        return self._each(lambda part: part[items])

    def __setitem__(self, index: Any, item: Any) -> None:
        items, source = _plain_index(index), operand(item, self.precision, self.dtype.kind == "f")
        for target, part in zip(self.parts.arrays, source.arrays, strict=True):
            target[items] = part

    def add_at(self, index: Any, item: Any) -> None:
        """Add in place as ``np.add.at``: an index that comes twice adds twice."""
        for target, part in zip(self.parts.arrays, operand(item, self.precision).arrays, strict=True):
            np.add.at(target, _plain_index(index), part)

    def flatten(self, order: Any = "C") -> Any:
        """Return a flat copy, as NumPy's method does."""
        return self.ravel(order).copy()

    def copy(self, order: Any = "C") -> Any:
        """Return a copy, as NumPy's method does."""
        return self.holding(self.parts.each(lambda array: array.copy(order)))

    def view(self, *arguments: Any, **keywords: Any) -> Any:
        """Return a view of all parts; with arguments, what NumPy's method returns."""
        if arguments or keywords:
            return super().view(*arguments, **keywords)
        return self._each(lambda part: part.view())

    def __copy__(self) -> Any:
        return self.copy("K")

    def __deepcopy__(self, memo: Any) -> Any:
        return self.copy("K")

    @property
    def T(self) -> Any:
        """The array with its axes reversed."""
        return self.transpose()

    @property
    def real(self) -> Any:
        """The array itself."""
        return self

    def fill(self, value: Any) -> None:
        """Set every element to ``value``."""
        self[...] = value


def _rearranging(name: str) -> Any:
    def rearrange(self: Carrier, *arguments: Any, **keywords: Any) -> Any:
        return self._each(lambda array: getattr(array, name)(*arguments, **keywords))

    return rearrange


def _refusing(name: str) -> Any:
    def refuse(self: Carrier, *arguments: Any, **keywords: Any) -> Any:
        raise TypeError(f"no rule says what .{name} makes of the bound on a Rounded array's rounding")

    return refuse


for _name in ("ravel", "reshape", "squeeze", "swapaxes", "transpose"):
    setattr(Carrier, _name, _rearranging(_name))
for _name in ("byteswap", "choose", "compress", "cumprod", "cumsum", "diagonal", "dump", "dumps", "partition", "put"):
    setattr(Carrier, _name, _refusing(_name))
for _name in ("repeat", "resize", "round", "searchsorted", "setfield", "sort", "take", "tobytes", "tofile", "trace"):
    setattr(Carrier, _name, _refusing(_name))
for _name in ("flat", "imag"):
    setattr(Carrier, _name, property(_refusing(_name)))


def operand(x: Any, precision: Precision, floating: bool = True) -> Parts:
    """Return the parts of an operand; plain arrays and numbers are constants.

    Integers become floats if ``floating``.

    Raises
    ------
    TypeError : if a plain array has a value that is no float of this precision: it is a result that lost its bound.
    """
    if isinstance(x, Carrier):
        if x.precision != precision:
            raise TypeError(f"Rounded arrays of {x.precision.dtype} and {precision.dtype} meet")
        return x.parts.as_floats() if floating and x.dtype.kind in "iu" else x.parts
    value = np.asarray(x)
    if isinstance(value.base, Carrier):
        raise TypeError("the bound on this array's rounding was lost: it is a plain view of a Rounded array")
    if value.dtype.kind not in "biuf":
        raise TypeError(f"Rounded arrays know no {value.dtype}")
    parts = precision.constants(value, floating)
    if value.ndim and value.dtype.kind == "f" and parts.error.any():
        raise TypeError(
            f"a plain {value.dtype} array of shape {value.shape} met a Rounded array, and not all its values are "
            f"{precision.dtype}: its bound was lost on the way, or it is made of constants: see rounding.constant"
        )
    return parts


def _plain_index(index: Any) -> tuple[Any, ...]:
    items = index if isinstance(index, tuple) else (index,)
    return tuple(certain(item) if isinstance(item, Carrier) else item for item in items)


def certain(x: Carrier) -> Array:
    """Return the values of an array that rounding cannot change.

    Raises
    ------
    TypeError : if rounding may change one.
    """
    if x.bound.any():
        raise TypeError("a number, or a decision, was made of values that rounding may change")
    return x.value
