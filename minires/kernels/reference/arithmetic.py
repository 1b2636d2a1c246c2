"""Elementwise arithmetic, with NumPy's broadcasting.

All functions here have the same operands, results and errors:

- Operands are arrays of one dtype, or Python or NumPy scalars, which take the dtype of the arrays. At least one is an
  array.
- The result is a new array of that dtype (comparisons give booleans), also without axes.
- Its memory order is that of the first operand that has the result's shape and repeats no element. NumPy's own choice
  would lose the order of activations beside an operand in another order.
- They raise `ShapeError` if shapes do not broadcast. They raise `DtypeError` if dtypes differ, or if the dtype cannot
  hold the result: integers cannot hold a quotient.

A function whose name ends in ``_mask`` is the derivative of a function with a corner. At the corner it follows the
conventions of PyTorch.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from minires.device import Array, same_dtype, xp_of
from minires.errors import DtypeError
from minires.kernels.checks import check_alike
from minires.kernels.float16 import in_float32
from minires.kernels.reference.shape import in_order_of, result_shape

Operand: TypeAlias = Array | complex  # in annotations, complex includes int and float
_SCALARS = complex | float | int | np.generic


def add(a: Operand, b: Operand) -> Array:
    """Return the sum ``a + b``. Operands and errors: as this file says."""
    return _elementwise("add", a, b)


def add_(a: Array, b: Array) -> None:
    """Add b to a, in place.

        a ← a + b

    Parameters
    ----------
    a : the array that is changed
    b : an array of its shape and dtype

    Raises
    ------
    ShapeError, DtypeError : if shapes or dtypes differ.
    """
    check_alike("add_", a, b)
    a += b


@in_float32(changes=("a",))
def blend_(a: Array, b: Array, keep: float, share: float) -> None:
    """Move a towards b, in place: one step of a running mean.

        a ← keep · a + share · b

    Parameters
    ----------
    a : the array that is changed
    b : an array of its shape and dtype
    keep, share : scalars

    Raises
    ------
    ShapeError, DtypeError : if shapes or dtypes differ.
    """
    check_alike("blend_", a, b)
    a[...] = float(keep) * a + float(share) * b


def subtract(a: Operand, b: Operand) -> Array:
    """Return the difference ``a - b``. Operands and errors: as this file says."""
    return _elementwise("subtract", a, b)


def multiply(a: Operand, b: Operand) -> Array:
    """Return the product ``a * b``. Operands and errors: as this file says."""
    return _elementwise("multiply", a, b)


def divide(a: Operand, b: Operand) -> Array:
    """Return the quotient ``a / b``. Operands and errors: as this file says."""
    return _elementwise("divide", a, b)


def negative(a: Array) -> Array:
    """Return ``-a``. Operands and errors: as this file says."""
    return _elementwise("negative", a)


def power(a: Operand, b: Operand) -> Array:
    """Return the power ``a ** b``. Operands and errors: as this file says.

    A fractional power of a negative number is NaN. The square, the most frequent power, is one multiplication.
    """
    if isinstance(b, int | float | np.generic) and b == 2:
        return _elementwise("multiply", a, a)
    if isinstance(b, int | np.integer) and b < 0 and not isinstance(a, complex | float | int) and a.dtype.kind in "biu":
        raise DtypeError(f"power of {a.dtype} and {b} is not {a.dtype}: convert with .to(dtype)")  # CuPy would give 0
    return _elementwise("power", a, b)


def exp(a: Array) -> Array:
    """Return the exponential of ``a``. Operands and errors: as this file says."""
    return _elementwise("exp", a)


def log(a: Array) -> Array:
    """Return the natural logarithm of ``a``. Operands and errors: as this file says."""
    return _elementwise("log", a)


def sqrt(a: Array) -> Array:
    """Return the square root of ``a``. Operands and errors: as this file says."""
    return _elementwise("sqrt", a)


def absolute(a: Array) -> Array:
    """Return ``|a|``, whose derivative is `sign`. Operands and errors: as this file says."""
    return _elementwise("absolute", a)


def sign(a: Array) -> Array:
    """Return 1 where ``a > 0``, −1 where ``a < 0``, else 0, also at NaN as in PyTorch.

    Operands and errors: as this file says.
    """
    return subtract(greater(a, 0).astype(a.dtype), less(a, 0).astype(a.dtype))


def maximum(a: Operand, b: Operand) -> Array:
    """Return the larger of ``a`` and ``b``, NaN if either is. Operands and errors: as this file says."""
    return _elementwise("maximum", a, b)


def minimum(a: Operand, b: Operand) -> Array:
    """Return the smaller of ``a`` and ``b``, NaN if either is. Operands and errors: as this file says."""
    return _elementwise("minimum", a, b)


def maximum_mask(a: Operand, b: Operand) -> Array:
    """Return the derivative of ``maximum(a, b)`` with respect to ``a``.

    With respect to b it is maximum_mask(b, a), and so is the derivative of ``minimum(a, b)`` with respect to a.

    Returns
    -------
    share : 1 where a > b, ½ where they are equal, 0 where a < b. Where either is NaN, both derivatives are 1 as in
        PyTorch, so that a NaN in gy reaches both.

    Raises
    ------
    ShapeError, DtypeError : as this file says.

    Identity that tests it: maximum_mask(a, b) + maximum_mask(b, a) = 1 without NaN.
    """
    equals = _elementwise("equal", a, b, dtype=same_dtype(*_arrays("maximum_mask", a, b)))
    return in_order_of(equals, 1 - 0.5 * equals - less(a, b))


def clip(a: Array, low: float | None, high: float | None) -> Array:
    """Limit ``a`` to [low, high]; None leaves that side open, NaN stays NaN, low > high gives high.

    Returns
    -------
    y : min(max(a, low), high), a new array also where both are None

    Raises
    ------
    DtypeError : if the dtype of a cannot hold a limit (0.5 for integers).
    """
    y = a.copy("K") if low is None else maximum(a, low)
    return y if high is None else minimum(y, high)


def clip_mask(a: Array, low: float | None, high: float | None) -> Array:
    """Return the derivative of `clip`.

    Returns
    -------
    mask : 1 where low ≤ a ≤ high, the limits included, else 0, also at NaN; in the dtype of a
    """
    mask: Array = xp_of(a).ones_like(a)
    if low is not None:
        mask *= greater_equal(a, low)
    if high is not None:
        mask *= less_equal(a, high)
    return mask


def where(condition: Array, a: Operand, b: Operand) -> Array:
    """Return the elements of ``a`` where the condition is True, and of ``b`` elsewhere.

    Parameters
    ----------
    condition : boolean array
    a, b : arrays of one dtype, or scalars; at least one is an array

    Returns
    -------
    y : array of the common shape, in the memory order of the first of a, b, condition that has it

    Raises
    ------
    ShapeError : if the three shapes do not broadcast.
    DtypeError : if the condition is not boolean, a and b differ in dtype, or neither is an array.
    """
    if condition.dtype != np.bool_:
        raise DtypeError(f"where: the condition must be boolean, got {condition.dtype}: compare it with 0")
    arrays = _arrays("where", a, b)
    y = _allocate("where", [*arrays, condition], same_dtype(*arrays))
    y[...] = _plain(b)
    xp_of(condition).copyto(y, _plain(a), where=condition)
    return y


def equal(a: Operand, b: Operand) -> Array:
    """Return the booleans ``a == b``. Operands and errors: as this file says."""
    return _elementwise("equal", a, b, dtype=np.bool_)


def not_equal(a: Operand, b: Operand) -> Array:
    """Return the booleans ``a != b``. Operands and errors: as this file says."""
    return _elementwise("not_equal", a, b, dtype=np.bool_)


def less(a: Operand, b: Operand) -> Array:
    """Return the booleans ``a < b``. Operands and errors: as this file says."""
    return _elementwise("less", a, b, dtype=np.bool_)


def less_equal(a: Operand, b: Operand) -> Array:
    """Return the booleans ``a <= b``. Operands and errors: as this file says."""
    return _elementwise("less_equal", a, b, dtype=np.bool_)


def greater(a: Operand, b: Operand) -> Array:
    """Return the booleans ``a > b``. Operands and errors: as this file says."""
    return _elementwise("greater", a, b, dtype=np.bool_)


def greater_equal(a: Operand, b: Operand) -> Array:
    """Return the booleans ``a >= b``. Operands and errors: as this file says."""
    return _elementwise("greater_equal", a, b, dtype=np.bool_)


def _elementwise(name: str, *operands: Any, dtype: Any = None) -> Array:
    """Apply the ufunc ``name``, with a result in ``dtype``; None stands for the dtype of the operands."""
    arrays = _arrays(name, *operands)
    own = same_dtype(*arrays)
    y = _allocate(name, arrays, own if dtype is None else dtype)
    try:
        getattr(xp_of(y), name)(*map(_plain, operands), out=y)
    except (TypeError, ValueError) as error:
        scalars = "".join(f" and {x!r}" for x in operands if _is_scalar(x))
        raise DtypeError(f"{name} of {own}{scalars} is not {y.dtype}: convert with .to(dtype)") from error
    return y


def _allocate(name: str, arrays: list[Any], dtype: Any) -> Array:
    """Return an uninitialised result, in the memory order of the first array that has the result's shape."""
    shape, xp = result_shape(name, *(array.shape for array in arrays)), xp_of(arrays[0])
    model = next((array for array in arrays if array.shape == shape and 0 not in array.strides), None)
    y: Array = (
        xp.empty_like(arrays[0], shape=shape, dtype=dtype, order="C")
        if type(model) is not type(arrays[0])  # None, or a plain condition beside `Rounded` arrays
        else xp.empty_like(model, dtype=dtype)
    )
    return y


def _arrays(name: str, *operands: Any) -> list[Any]:
    """Return the operands that are arrays; they decide the dtype."""
    arrays = [x for x in operands if not _is_scalar(x)]
    if not arrays:
        raise DtypeError(f"{name} of scalars alone, {operands}, has no dtype: give one of them as an array")
    return arrays


def _is_scalar(x: Any) -> bool:
    return isinstance(x, _SCALARS)


def _plain(x: Any) -> Any:
    """Return a NumPy scalar as a Python scalar, which takes the dtype of the arrays; anything else unchanged."""
    return x.item() if isinstance(x, np.generic) else x
