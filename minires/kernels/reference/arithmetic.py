"""Elementwise arithmetic, with NumPy's broadcasting.

What all functions here have in common:

- operands are arrays of one dtype, or Python or NumPy scalars, which take the dtype of the arrays; at least
  one is an array;
- the result is a new array of that dtype (comparisons give booleans), also when it has no axes;
- its memory order is that of the first operand that has the result's shape and repeats no element: NumPy's own
  choice would give up the order of activations when they meet an operand in another one;
- `ShapeError` is raised if shapes do not broadcast, `DtypeError` if dtypes differ, or if the dtype cannot
  hold the result, as that of integers cannot hold a quotient.

The functions whose name ends in ``_mask`` are derivatives where the function itself has a corner; there they
follow PyTorch's conventions.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from minires.device import Array, same_dtype, wide_dtype, xp_of
from minires.errors import DtypeError
from minires.kernels.checks import check_alike
from minires.kernels.reference.shape import result_shape

Operand: TypeAlias = Array | complex  # complex stands for Python's numbers, as usual in type annotations
_SCALARS = complex | float | int | np.generic


def add(a: Operand, b: Operand) -> Array:
    """Returns the sum ``a + b``; raises as all functions of this file do."""
    return _elementwise("add", a, b)


def add_(a: Array, b: Array) -> None:
    """a ← a + b, in place.

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


def blend_(a: Array, b: Array, keep: float, share: float) -> None:
    """a ← keep · a + share · b, in place, which the trailing underscore says: a running mean's step.

    Parameters
    ----------
    a : the array that is changed
    b : an array of its shape and dtype
    keep, share : numbers

    Raises
    ------
    ShapeError, DtypeError : if shapes or dtypes differ.
    """
    check_alike("blend_", a, b)
    x, y = (array.astype(wide_dtype(array.dtype)) for array in (a, b))
    a[...] = float(keep) * x + float(share) * y


def subtract(a: Operand, b: Operand) -> Array:
    """Returns the difference ``a - b``; raises as all functions of this file do."""
    return _elementwise("subtract", a, b)


def multiply(a: Operand, b: Operand) -> Array:
    """Returns the product ``a * b``; raises as all functions of this file do."""
    return _elementwise("multiply", a, b)


def divide(a: Operand, b: Operand) -> Array:
    """Returns the quotient ``a / b``; raises as all functions of this file do."""
    return _elementwise("divide", a, b)


def negative(a: Array) -> Array:
    """Returns ``-a``; raises as all functions of this file do."""
    return _elementwise("negative", a)


def power(a: Operand, b: Operand) -> Array:
    """Returns the power ``a ** b``; raises as all functions of this file do.

    A broken power of a negative number is NaN. The square, by far the most frequent, is one multiplication.
    """
    if isinstance(b, int | float | np.generic) and b == 2:
        return _elementwise("multiply", a, a)
    if isinstance(b, int | np.integer) and b < 0 and not isinstance(a, complex | float | int) and a.dtype.kind in "biu":
        raise DtypeError(f"power of {a.dtype} and {b} is not {a.dtype}: convert with .to(dtype)")  # CuPy would give 0
    return _elementwise("power", a, b)


def exp(a: Array) -> Array:
    """Returns the exponential of ``a``; raises as all functions of this file do."""
    return _elementwise("exp", a)


def log(a: Array) -> Array:
    """Returns the natural logarithm of ``a``; raises as all functions of this file do."""
    return _elementwise("log", a)


def sqrt(a: Array) -> Array:
    """Returns the square root of ``a``; raises as all functions of this file do."""
    return _elementwise("sqrt", a)


def absolute(a: Array) -> Array:
    """Returns ``|a|``, whose derivative is `sign`; raises as all functions of this file do."""
    return _elementwise("absolute", a)


def sign(a: Array) -> Array:
    """Returns 1 where ``a > 0``, −1 where ``a < 0``, else 0, so 0 at NaN (PyTorch's convention).

    Raises as all functions of this file do.
    """
    y = _elementwise("greater", a, 0, dtype=a.dtype)
    y -= less(a, 0).astype(a.dtype)
    return y


def maximum(a: Operand, b: Operand) -> Array:
    """Returns the larger of ``a`` and ``b``, NaN if either is; raises as all functions of this file do."""
    return _elementwise("maximum", a, b)


def minimum(a: Operand, b: Operand) -> Array:
    """Returns the smaller of ``a`` and ``b``, NaN if either is; raises as all functions of this file do."""
    return _elementwise("minimum", a, b)


def maximum_mask(a: Operand, b: Operand) -> Array:
    """The derivative of ``maximum(a, b)`` with respect to ``a``; with respect to b it is maximum_mask(b, a).

    Returns
    -------
    share : 1 where a > b, ½ where they are equal, 0 where a < b. Where either is NaN both derivatives are 1,
        which is PyTorch's convention: so a NaN in gy reaches both. That of ``minimum(a, b)`` with respect to
        a is maximum_mask(b, a).

    Raises
    ------
    ShapeError, DtypeError : as all functions of this file do.

    Identity that tests it: maximum_mask(a, b) + maximum_mask(b, a) = 1 without NaN.
    """
    share = _elementwise("equal", a, b, dtype=same_dtype(*_arrays("maximum_mask", a, b)))
    share *= -0.5
    share -= less(a, b)
    share += 1
    return share


def clip(a: Array, low: float | None, high: float | None) -> Array:
    """``a`` moved into [low, high]; None leaves that side open, NaN stays NaN, low > high gives high.

    Returns
    -------
    y : min(max(a, low), high), a new array also where both are None

    Raises
    ------
    DtypeError : if a limit is no number of a's dtype (0.5 for integers).
    """
    y = a.copy("K") if low is None else maximum(a, low)
    return y if high is None else minimum(y, high)


def clip_mask(a: Array, low: float | None, high: float | None) -> Array:
    """The derivative of `clip`.

    Returns
    -------
    mask : 1 where low ≤ a ≤ high, the limits included, else 0, also at NaN; in a's dtype
    """
    mask: Array = xp_of(a).ones_like(a)
    if low is not None:
        mask *= greater_equal(a, low)
    if high is not None:
        mask *= less_equal(a, high)
    return mask


def where(condition: Array, a: Operand, b: Operand) -> Array:
    """Elements of ``a`` where the condition holds, and of ``b`` elsewhere.

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
    """Returns the booleans ``a == b``; raises as all functions of this file do."""
    return _elementwise("equal", a, b, dtype=np.bool_)


def not_equal(a: Operand, b: Operand) -> Array:
    """Returns the booleans ``a != b``; raises as all functions of this file do."""
    return _elementwise("not_equal", a, b, dtype=np.bool_)


def less(a: Operand, b: Operand) -> Array:
    """Returns the booleans ``a < b``; raises as all functions of this file do."""
    return _elementwise("less", a, b, dtype=np.bool_)


def less_equal(a: Operand, b: Operand) -> Array:
    """Returns the booleans ``a <= b``; raises as all functions of this file do."""
    return _elementwise("less_equal", a, b, dtype=np.bool_)


def greater(a: Operand, b: Operand) -> Array:
    """Returns the booleans ``a > b``; raises as all functions of this file do."""
    return _elementwise("greater", a, b, dtype=np.bool_)


def greater_equal(a: Operand, b: Operand) -> Array:
    """Returns the booleans ``a >= b``; raises as all functions of this file do."""
    return _elementwise("greater_equal", a, b, dtype=np.bool_)


def _elementwise(name: str, *operands: Any, dtype: Any = None) -> Array:
    """The ufunc ``name`` of the operands, in a result of ``dtype`` (None: the operands' own)."""
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
    """An uninitialised result of the first array's class, in the order of the first that has the result's shape."""
    shape, xp = result_shape(name, *(array.shape for array in arrays)), xp_of(arrays[0])
    model = next((array for array in arrays if array.shape == shape and 0 not in array.strides), None)
    y: Array = (
        xp.empty_like(arrays[0], shape=shape, dtype=dtype, order="C")
        if type(model) is not type(arrays[0])  # none, or a condition beside array doubles
        else xp.empty_like(model, dtype=dtype)
    )
    return y


def _arrays(name: str, *operands: Any) -> list[Any]:
    """The operands that are arrays; they decide the dtype."""
    arrays = [x for x in operands if not _is_scalar(x)]
    if not arrays:
        raise DtypeError(f"{name} of scalars alone, {operands}, has no dtype: give one of them as an array")
    return arrays


def _is_scalar(x: Any) -> bool:
    return isinstance(x, _SCALARS)


def _plain(x: Any) -> Any:
    """A NumPy scalar as Python's, which takes the dtype of the arrays it meets; anything else as it is."""
    return x.item() if isinstance(x, np.generic) else x
