"""`Rounded`: an array double that knows how wrong a lower precision may be.

It is a NumPy array in float64, so kernels and the engine accept it, and it carries the numbers of model.py beside
each element. A kernel that runs on it computes the float64 result, and a bound on how far *any* evaluation of the
same formula in float32 may be from it: each operation rounded, sums in any order. Views are views of all parts, so
``y[..., rows, cols] += products`` works as it does in kernels.

An operation without a rule raises; a bound is never dropped. Some of NumPy's C code (``np.asarray``, say) returns an
array without a bound. Such an array raises where it meets a `Rounded` again, unless all its values are floats of the
lower precision, as constants are, and `check_rounding` does not accept it as a result.
"""

# NumPy declares the methods of its arrays in overloads; these take what kernels pass.
# mypy: disable-error-code="override"

from __future__ import annotations

from typing import Any

import numpy as np

from minires.testing.rounding import elementwise, functions, reductions
from minires.testing.rounding.carrier import Carrier, certain, operand
from minires.testing.rounding.model import Parts, Precision

_REDUCTIONS = {np.add: "sum", np.maximum: "max", np.minimum: "min", np.logical_or: "any", np.logical_and: "all"}


class Rounded(Carrier):
    """Values in float64, or booleans or integers made of them, and how wrong they may be in a lower precision.

    `rounded` makes one. Look at ``value``, ``bound`` and ``precision``.
    """

    def astype(self, dtype: Any, order: Any = "K", casting: Any = "unsafe", subok: Any = True, copy: Any = True) -> Any:
        """Cast between booleans, integers without an error, and float64, as NumPy's method does.

        Raises
        ------
        TypeError : for another dtype: no rule bounds the rounding of such a cast.
        """
        wanted: np.dtype[Any] = np.dtype(dtype)
        if wanted == self.dtype:
            return self.copy(order) if copy else self
        if wanted == np.float64:
            return self.holding(self.parts.as_floats())
        if wanted.kind in "bi" and (self.dtype.kind in "bi" or not self.bound.any()):
            return self.holding(self.parts.numbers(self.value.astype(wanted), self.bound))
        raise TypeError(f"the rounding of a cast from {self.dtype} to {wanted} is not modelled")

    def _reduced(self, result: Parts, out: Any) -> Any:
        return self.holding(result) if out is None else _target(out).written(result)

    def sum(self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False) -> Any:
        """Return the sum over axes, in float64."""
        if dtype is not None and np.dtype(dtype) != np.float64:
            raise TypeError(f"a sum in {np.dtype(dtype)} is not modelled: the double's sums are in float64")
        return self._reduced(reductions.add_up(self.parts, axis, keepdims), out)

    def mean(self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False) -> Any:
        """Return the mean over axes, in float64."""
        total = self.sum(axis, dtype, None, keepdims)
        return np.divide(total, self.size // max(total.size, 1), out=out)

    def max(self, axis: Any = None, out: Any = None, keepdims: Any = False) -> Any:
        """Return the largest element over axes."""
        return self._reduced(reductions.extreme(self.parts, axis, keepdims, True), out)

    def min(self, axis: Any = None, out: Any = None, keepdims: Any = False) -> Any:
        """Return the smallest element over axes."""
        return self._reduced(reductions.extreme(self.parts, axis, keepdims, False), out)

    def argmax(self, axis: Any = None, out: Any = None, *, keepdims: Any = False) -> Any:
        """Return the index of the largest element."""
        return self._reduced(reductions.index_of_extreme(self.parts, axis, keepdims, True), out)

    def argmin(self, axis: Any = None, out: Any = None, *, keepdims: Any = False) -> Any:
        """Return the index of the smallest element."""
        return self._reduced(reductions.index_of_extreme(self.parts, axis, keepdims, False), out)

    def any(self, axis: Any = None, out: Any = None, keepdims: Any = False) -> Any:
        """Return whether any element over axes is true."""
        return self._truth().max(axis, out, keepdims)

    def all(self, axis: Any = None, out: Any = None, keepdims: Any = False) -> Any:
        """Return whether all elements over axes are true."""
        return self._truth().min(axis, out, keepdims)

    def _truth(self) -> Any:
        return self if self.dtype.kind == "b" else self != 0

    def clip(self, min: Any = None, max: Any = None, out: Any = None) -> Any:
        """Return each element limited to [min, max]."""
        low = self if min is None else np.maximum(self, min)
        return np.minimum(low, np.inf if max is None else max, out=out)

    def dot(self, other: Any, out: Any = None) -> Any:
        """Return the product of arrays with up to two axes, as NumPy's method does."""
        return functions.dot(self, other, out)

    def item(self, *arguments: Any) -> Any:
        """Return an element as a Python number; raise TypeError if rounding may change it."""
        return certain(self).item(*arguments)

    def tolist(self) -> Any:
        """Return the elements as nested lists; raise TypeError if rounding may change one."""
        return certain(self).tolist()

    def __bool__(self) -> bool:
        return bool(certain(self))

    def __int__(self) -> int:
        return int(certain(self))

    def __index__(self) -> int:
        return certain(self).__index__()

    def __float__(self) -> float:
        return float(certain(self))

    def __repr__(self) -> str:
        beside = "bound lost" if self._parts is None else f"bound={self.bound!r}"
        return f"Rounded({self.value!r}, {beside})"

    __str__ = __repr__

    def __format__(self, specification: str) -> str:
        return format(self.item(), specification) if specification else repr(self)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = (), **keywords: Any) -> Any:
        first = next(x for x in (*inputs, *out) if isinstance(x, Rounded))
        target = _target(out[0]) if out else None
        given = {key: value for key, value in keywords.items() if value is not None}
        where, wide = given.pop("where", True), np.dtype(given.get("dtype", np.float64)) == np.float64
        if method == "reduce" and where is True and wide and ufunc in _REDUCTIONS:
            axis = keywords.get("axis", 0)  # where None means all
            return getattr(inputs[0], _REDUCTIONS[ufunc])(axis=axis, out=target, keepdims=given.get("keepdims", False))
        if method == "at" and ufunc is np.add and not given:
            return _target(inputs[0]).add_at(*inputs[1:])
        if method != "__call__" or not wide or set(given) - {"casting", "order", "subok", "dtype"}:
            raise TypeError(f"np.{ufunc.__name__}.{method} with {sorted(given)} has no rule for rounding")
        result = _apply(ufunc, inputs, first.precision)
        if where is not True:
            if target is None:
                raise TypeError("where= without out= leaves elements that nobody wrote")
            condition = operand(where, first.precision)
            result = elementwise.choose(condition, result, target.parts)
        return first.holding(result) if target is None else target.written(result)

    def __array_function__(self, function: Any, types: Any, arguments: Any, keywords: Any) -> Any:
        own = functions.rule_of(function)
        if own is not None:
            return own(*arguments, **keywords)
        return super().__array_function__(function, types, arguments, keywords)


def rounded(array: Any, dtype: Any = np.float32) -> Rounded:
    """Return a copy of an array, with floats rounded to ``dtype``, as exact values from which bounds start.

    The bound of a subnormal float covers zero, as a GPU may flush it.

    Raises
    ------
    ValueError : (by NumPy) if ``dtype`` is not a float dtype.
    """
    precision, value = Precision.of(dtype), np.array(array)
    error: Any = 0.0
    if value.dtype.kind == "f":
        with np.errstate(all="ignore"):
            value = value.astype(precision.dtype).astype(np.float64)
        error = np.where(np.abs(value) < precision.smallest, np.abs(value), 0.0)
    return Rounded.holding(precision.numbers(value, error))


def constant(array: Any, dtype: Any = np.float32) -> Rounded:
    """Return float64 numbers that a kernel of precision ``dtype`` knows, and may round or not."""
    precision = Precision.of(dtype)
    return Rounded.holding(precision.constants(np.array(array, np.float64)))


def _apply(ufunc: Any, inputs: Any, precision: Precision) -> Parts:
    floating = any(np.result_type(x.value if isinstance(x, Carrier) else x).kind == "f" for x in inputs)
    if len(inputs) == 2 and inputs[0] is inputs[1]:  # x != x is decided, whatever the error of x
        operands = [operand(inputs[0], precision, floating)] * 2
    else:
        operands = [operand(x, precision, floating) for x in inputs]
    if ufunc is np.matmul:
        a, b = operands
        return reductions.product(np.matmul, a, b, a.value.shape[-1])
    return elementwise.apply(ufunc, *operands)


def _target(out: Any) -> Rounded:
    if not isinstance(out, Rounded):
        raise TypeError("the result of an operation on Rounded arrays was to be written into a plain array")
    return out
