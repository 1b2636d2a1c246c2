"""Arithmetic of two tensors, element by element: operators, maximum, where, comparisons.

The rows below are explained in elementwise.py. A Python or NumPy scalar may stand in for one of the tensors.
"""

from __future__ import annotations

import cmath
import contextlib
import functools
import numbers
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minires.autograd.tensor import Tensor
from minires.device import Array, is_array, on_device_of, xp_of
from minires.errors import DtypeError
from minires.functional.elementary import log
from minires.functional.elementwise import piecewise_linear, rule
from minires.functional.kernel_op import KernelOp
from minires.functional.shape import sum_to


def _of_base(gy: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Return gy · b · a^(b−1); it is 0 where b is 0, also for a = 0, as in PyTorch."""
    return gy * (b * a ** (where(b == 0, 1.0, b) - 1.0))


def _of_exponent(gy: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Return gy · a^b · log a; it is 0 where a is 0 and b ≥ 0, as in PyTorch."""
    vanishes = Tensor((a.array == 0) & (b.array >= 0))
    return gy * (a**b * log(where(vanishes, 1.0, a)))


Add = rule("add", "a + b", "nothing", lambda gy: gy, lambda gy: gy)
Multiply = rule("multiply", "a · b", "inputs", lambda gy, a, b: gy * b, lambda gy, a, b: gy * a)
Divide = rule("divide", "a / b", "inputs", lambda gy, a, b: gy / b, lambda gy, a, b: -gy * (a / b) / b)
Power = rule("power", "a^b", "inputs", _of_base, _of_exponent)
Maximum = piecewise_linear(  # equal operands share the gradient evenly
    "maximum",
    "max(a, b)",
    lambda kernels, a, b: kernels.maximum_mask(a, b),
    lambda kernels, a, b: kernels.maximum_mask(b, a),
)


class Where(KernelOp):
    """y = a where the condition holds, b elsewhere. The condition is boolean and has no gradient."""

    def forward(self, condition: Array, a: Array, b: Array) -> Any:
        """Compute y."""
        self.save(condition)
        self.save_constant(a.shape, b.shape)
        return self.kernels.where(condition, a, b)

    def backward(self, gy: Tensor) -> Any:
        """Give gy to the operand that was chosen, and 0 to the other."""
        (condition,), (shape_a, shape_b), (_, needs_a, needs_b) = self.saved, self.constants, self.needs_grad
        ga = sum_to(where(condition, gy, 0.0), shape_a) if needs_a else None
        gb = sum_to(where(condition, 0.0, gy), shape_b) if needs_b else None
        return None, ga, gb


def _combined(apply: Callable[..., Any], a: Any, b: Any) -> Tensor:
    """Apply an operation to two operands, at least one of them a tensor.

    Where float16 does not hold a number exactly, this computes in float32 and rounds the result to float16.
    """
    a, b = (value[()] if isinstance(value, np.ndarray) and not value.ndim else value for value in (a, b))
    like, other = (a, b) if isinstance(a, Tensor) else (b, a)
    if not isinstance(like, Tensor):
        raise TypeError(f"one of {a!r} and {b!r} must be a Tensor, or they have no dtype: use mr.tensor(…)")
    if like.dtype.char == "e" and _float16_rounds(other):
        like = like.to(np.float32)
        a, b = (like, other) if isinstance(a, Tensor) else (other, like)
        result: Tensor = apply(lift(a, like), lift(b, like))
        return result.to(np.float16) if result.dtype == np.float32 else result
    return apply(lift(a, like), lift(b, like))


def _float16_rounds(value: Any) -> bool:
    """Return whether the value is a real number that float16 does not hold exactly."""
    if not isinstance(value, numbers.Real):
        return False
    with np.errstate(over="ignore"), contextlib.suppress(OverflowError):  # an integer may be too large for any float
        return float(np.float16(value)) != value
    return False


def lift(value: Any, like: Tensor) -> Tensor:
    """Return a number as a tensor with the dtype and device of ``like``; return a tensor unchanged.

    Raises
    ------
    TypeError : if it is neither.
    DtypeError : if the dtype cannot hold the number.
    """
    if isinstance(value, Tensor):
        return value
    if not isinstance(value, numbers.Number | np.bool_):
        raise TypeError(f"cannot combine a Tensor with a {type(value).__name__}: wrap arrays with mr.tensor(…)")
    kind = like.dtype.kind
    with np.errstate(over="ignore"):
        try:
            number = np.asarray(value.item() if isinstance(value, np.generic) else value, like.dtype)
        except (TypeError, ValueError, OverflowError):
            number = None
    is_bool = isinstance(value, bool | np.bool_)
    if number is None or (kind in "biu" and number != value) or (kind == "b" and not is_bool):
        raise DtypeError(f"{value!r} would change the dtype of a {like.dtype} tensor; convert it with .to(dtype)")
    if np.isinf(number) and not cmath.isinf(complex(value)):  # type: ignore[arg-type]
        raise DtypeError(f"{value!r} is infinite in {like.dtype}; convert the tensor with .to(dtype)")
    # Make an array of like's class: array doubles meet their own class, and CuPy ignores shape=().
    with on_device_of(like.array):
        made = xp_of(like.array).empty_like(like.array, shape=(1,)).reshape(())
        made[...] = number
    return Tensor(made)


def add(a: Any, b: Any) -> Tensor:
    """Return a + b, broadcast."""
    return _combined(Add.apply, a, b)


def subtract(a: Any, b: Any) -> Tensor:
    """Return a − b, broadcast."""
    return _combined(lambda x, y: Add.apply(x, -y), a, b)


def multiply(a: Any, b: Any) -> Tensor:
    """Return a · b, broadcast."""
    return _combined(Multiply.apply, a, b)


def divide(a: Any, b: Any) -> Tensor:
    """Return a / b, broadcast."""
    return _combined(Divide.apply, a, b)


def power(a: Any, b: Any) -> Tensor:
    """Return a to the power of b, broadcast."""
    return _combined(Power.apply, a, b)


def maximum(a: Any, b: Any) -> Tensor:
    """Return the larger of a and b, broadcast; NaN where either is NaN. Equal operands share the gradient evenly."""
    return _combined(Maximum.apply, a, b)


def where(condition: Tensor, a: Any, b: Any) -> Tensor:
    """Return a where the condition holds, b elsewhere, broadcast.

    Parameters
    ----------
    condition : boolean tensor, as a comparison returns it
    a, b : tensors of one dtype; one of them may be a number

    Raises
    ------
    DtypeError : if the condition is not boolean, or the dtypes differ.
    ShapeError : if the shapes do not broadcast.
    """
    return _combined(functools.partial(Where.apply, condition), a, b)


def _comparison(kernel: str) -> Any:
    class Comparison(KernelOp):
        def forward(self, a: Array, b: Array) -> Any:
            return getattr(self.kernels, kernel)(a, b)

    def compare(a: Any, b: Any) -> Any:
        if kernel.endswith("equal") and not (_can_be_compared(a) and _can_be_compared(b)):
            return NotImplemented  # then Python answers == with False and != with True, and raises for <= and >=
        return _combined(Comparison.apply, a, b)

    return compare


def _can_be_compared(value: Any) -> bool:
    """Return whether the value can be compared with a tensor's elements; False for None, strings and other objects."""
    if isinstance(value, str | bytes):
        return False
    return isinstance(value, Tensor | numbers.Number | np.bool_ | Sequence) or is_array(value)


equal, not_equal = _comparison("equal"), _comparison("not_equal")
less, less_equal = _comparison("less"), _comparison("less_equal")
greater, greater_equal = _comparison("greater"), _comparison("greater_equal")
