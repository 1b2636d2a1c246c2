"""An array that carries the parts of model.py beside its values, and whose views are views of all of them."""

# NumPy declares the methods of its arrays in overloads; these take what kernels pass.
# mypy: disable-error-code="override,misc"

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minires.device import Array
from minires.testing.rounding.model import Parts, Precision, bound, constants, single

_LOST = "the bound on this array's rounding was lost: a function without a rule made it"


class Carrier(np.ndarray):
    """Values in float64, or booleans or integers made of them, with their errors beside them.

    ``_companions`` are error, size and terms, in arrays of the same shape and, where axes can be joined, strides
    that can be joined too. They and ``_precision`` are None in an array that NumPy made by itself.
    """

    _precision: Precision | None
    _companions: tuple[Array, Array, Array] | None

    def __array_finalize__(self, source: Any) -> None:
        self._precision = self._companions = None  # whoever makes one knows its bound, or nobody does

    @property
    def precision(self) -> Precision:
        """The precision whose rounding is bounded; TypeError if the bound was lost."""
        if self._precision is None:
            raise TypeError(_LOST)
        return self._precision

    @property
    def value(self) -> Array:
        """The float64 values alone."""
        return super().view(np.ndarray)

    @property
    def parts(self) -> Parts:
        """Values, errors of the terms, sizes and numbers of terms; TypeError if the bound was lost."""
        if self._companions is None or self._companions[0].shape != self.shape:
            raise TypeError(_LOST)
        return Parts(self.value, *self._companions)

    @property
    def bound(self) -> Array:
        """How far each element of a lower precision may be from the value; infinite where nothing is known."""
        return bound(self.parts, self.precision)

    @classmethod
    def viewing(cls, parts: Parts, precision: Precision) -> Any:
        """One whose memory is that of the parts."""
        made = parts.value.view(cls)
        made._precision, made._companions = precision, (parts.error, parts.size, parts.terms)
        return made

    @classmethod
    def holding(cls, parts: Parts, precision: Precision) -> Any:
        """One that owns the parts: all in the values' memory order, so that what is a view of one is one of all."""
        value = np.asarray(parts.value)
        companions = []
        for part in parts[1:]:
            companions.append(np.empty_like(value, dtype=np.float64))
            companions[-1][...] = part
        return cls.viewing(Parts(value, *companions), precision)

    def written(self, result: Parts) -> Any:
        """Itself, with a result written into it."""
        if result.value.dtype.kind != "f" and self.dtype.kind == "f":
            result = as_floats(result, self.precision)
        for into, part in zip(self.parts, result, strict=True):
            np.copyto(into, part, casting="same_kind")
        return self

    def _each(self, function: Callable[[Array], Any]) -> Any:
        """The same rearrangement of all parts: a view, or a copy."""
        parts = Parts(*(np.asarray(function(part)) for part in self.parts))
        if not np.may_share_memory(parts.value, self.value):
            return self.holding(Parts(*(part.copy("K") for part in parts)), self.precision)
        if not all(np.may_share_memory(*pair) for pair in zip(parts, self.parts, strict=True)) and parts.value.size:
            raise TypeError("a view of the values would not be one of their errors")
        return self.viewing(parts, self.precision)

    def __getitem__(self, index: Any) -> Any:
        items = _plain_index(index)
        items = items if any(item is Ellipsis for item in items) else (*items, ...)  # an array, also of no axes
        return self._each(lambda part: part[items])

    def __setitem__(self, index: Any, item: Any) -> None:
        items, source = _plain_index(index), operand(item, self.precision, self.dtype.kind == "f")
        for target, part in zip(self.parts, source, strict=True):
            target[items] = part

    def add_at(self, index: Any, item: Any) -> None:
        """``np.add.at``: every element is added, also where an index comes twice."""
        for target, part in zip(self.parts, operand(item, self.precision), strict=True):
            np.add.at(target, _plain_index(index), part)

    def reshape(self, *shape: Any, **keywords: Any) -> Any:
        """As NumPy's."""
        return self._each(lambda part: part.reshape(*shape, **keywords))

    def transpose(self, *axes: Any) -> Any:
        """As NumPy's."""
        return self._each(lambda part: part.transpose(*axes))

    def swapaxes(self, first: Any, second: Any) -> Any:
        """As NumPy's."""
        return self._each(lambda part: part.swapaxes(first, second))

    def squeeze(self, axis: Any = None) -> Any:
        """As NumPy's."""
        return self._each(lambda part: part.squeeze(axis))

    def ravel(self, order: Any = "C") -> Any:
        """As NumPy's."""
        return self._each(lambda part: part.ravel(order))

    def flatten(self, order: Any = "C") -> Any:
        """As NumPy's."""
        return self.ravel(order).copy()

    def copy(self, order: Any = "C") -> Any:
        """As NumPy's."""
        return self.holding(Parts(*(part.copy(order) for part in self.parts)), self.precision)

    def view(self, *arguments: Any, **keywords: Any) -> Any:
        """As NumPy's; without arguments, of all parts."""
        if arguments or keywords:
            return super().view(*arguments, **keywords)
        return self._each(lambda part: part.view())

    def __copy__(self) -> Any:
        return self.copy("K")

    def __deepcopy__(self, memo: Any) -> Any:
        return self.copy("K")

    @property
    def T(self) -> Any:
        """As NumPy's."""
        return self.transpose()

    @property
    def real(self) -> Any:
        """Itself."""
        return self

    def fill(self, value: Any) -> None:
        """As NumPy's."""
        self[...] = value


def _refusing(name: str) -> Any:
    def refuse(self: Carrier, *arguments: Any, **keywords: Any) -> Any:
        raise TypeError(f"no rule says what .{name} makes of the bound on a Rounded array's rounding")

    return refuse


for _name in ("byteswap", "choose", "compress", "cumprod", "cumsum", "diagonal", "dump", "dumps", "partition", "put"):
    setattr(Carrier, _name, _refusing(_name))
for _name in ("repeat", "resize", "round", "searchsorted", "setfield", "sort", "take", "tobytes", "tofile", "trace"):
    setattr(Carrier, _name, _refusing(_name))
for _name in ("flat", "imag"):
    setattr(Carrier, _name, property(_refusing(_name)))


def as_floats(x: Parts, precision: Precision) -> Parts:
    """Integers and booleans as floats of a precision, which rounds the large ones."""
    return single(x.value.astype(np.float64), constants(x.value, precision).error + bound(x, precision))


def operand(x: Any, precision: Precision, floating: bool = True) -> Parts:
    """The parts of an operand; plain arrays and numbers are constants. ``floating``: where integers become floats.

    Raises
    ------
    TypeError : if a plain array has values that no constant of this precision has: a result that lost its bound.
    """
    if isinstance(x, Carrier):
        if x.precision != precision:
            raise TypeError(f"Rounded arrays of {x.precision.dtype} and {precision.dtype} meet")
        return as_floats(x.parts, precision) if floating and x.dtype.kind in "iu" else x.parts
    value = np.asarray(x)
    if isinstance(value.base, Carrier):
        raise TypeError("the bound on this array's rounding was lost: it is a plain view of a Rounded array")
    if value.dtype.kind not in "biuf":
        raise TypeError(f"Rounded arrays know no {value.dtype}")
    parts = constants(value, precision, floating)
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
    """The values, where there is no doubt about them.

    Raises
    ------
    TypeError : if rounding may change one.
    """
    if x.bound.any():
        raise TypeError("a number, or a decision, was made of values that rounding may change")
    return x.value
