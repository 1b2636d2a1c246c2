"""Arithmetic of two tensors, element by element: operators, maximum, where, comparisons.

Each operation names its kernel and its derivatives, which are operations too. The gradient of an operand that was
broadcast is summed back to its shape.
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
from minires.functional.kernel_op import KernelOp
from minires.functional.shape import sum_to


class _Binary(KernelOp):
    """An operation of two operands that broadcast against each other."""

    kernel = ""

    def forward(self, a: Array, b: Array) -> Any:
        """Call the kernel of this operation's name."""
        self.save(a, b)
        return getattr(self.kernels, self.kernel)(a, b)

    def derivatives(self, gy: Tensor, a: Tensor, b: Tensor) -> tuple[Any, Any]:
        """Both gradients, before they are summed to the operands' shapes."""
        raise TypeError(f"{type(self).__name__} does not define derivatives")

    def backward(self, gy: Tensor) -> Any:
        """Sum each derivative over the axes along which its operand was broadcast."""
        operands = self.saved
        full = self.derivatives(gy, *operands)
        return tuple(
            sum_to(g, operand.shape) if needed else None
            for g, operand, needed in zip(full, operands, self.needs_grad, strict=True)
        )


class Add(KernelOp):
    """a + b. Saves no array: only the shapes matter."""

    def forward(self, a: Array, b: Array) -> Any:
        """Add."""
        self.save_constant(a.shape, b.shape)
        return self.kernels.add(a, b)

    def backward(self, gy: Tensor) -> Any:
        """Hand gy to both."""
        return tuple(
            sum_to(gy, shape) if needed else None for shape, needed in zip(self.constants, self.needs_grad, strict=True)
        )


class Multiply(_Binary):
    """a · b."""

    kernel = "multiply"

    def derivatives(self, gy: Tensor, a: Tensor, b: Tensor) -> tuple[Any, Any]:
        """(gy · b, gy · a)."""
        return (gy * b if self.needs_grad[0] else None, gy * a if self.needs_grad[1] else None)


class Divide(_Binary):
    """a / b."""

    kernel = "divide"

    def derivatives(self, gy: Tensor, a: Tensor, b: Tensor) -> tuple[Any, Any]:
        """(gy / b, −gy · a / b²)."""
        return (gy / b if self.needs_grad[0] else None, -gy * (a / b) / b if self.needs_grad[1] else None)


class Power(_Binary):
    """a to the power of b. Where a base or an exponent of 0 would give 0 · ∞, the derivative is 0, as in PyTorch."""

    kernel = "power"

    def derivatives(self, gy: Tensor, a: Tensor, b: Tensor) -> tuple[Any, Any]:
        """(gy · b · a^(b−1), gy · a^b · log a)."""
        ga = gb = None
        if self.needs_grad[0]:
            ga = gy * (b * a ** (where(b == 0, 1.0, b) - 1.0))
        if self.needs_grad[1]:
            vanishes = Tensor((a.array == 0) & (b.array >= 0))
            gb = gy * (a**b * log(where(vanishes, 1.0, a)))
        return ga, gb


class Maximum(_Binary):
    """The larger of a and b; equal operands share the gradient evenly."""

    kernel = "maximum"

    def branches(self) -> tuple[Any, ...]:
        """The share of each operand."""
        a, b = (operand.array for operand in self.saved)
        return self.kernels.maximum_mask(a, b), self.kernels.maximum_mask(b, a)

    def derivatives(self, gy: Tensor, a: Tensor, b: Tensor) -> tuple[Any, Any]:
        """gy to whom is larger."""
        shares = self.branches()
        return gy * Tensor(shares[0]), gy * Tensor(shares[1])


class Where(KernelOp):
    """a where the condition holds, b elsewhere."""

    def forward(self, condition: Array, a: Array, b: Array) -> Any:
        """Choose."""
        self.save(condition)
        self.save_constant(a.shape, b.shape)
        return self.kernels.where(condition, a, b)

    def backward(self, gy: Tensor) -> Any:
        """gy to whom was chosen."""
        (condition,), (a, b), (_, needs_a, needs_b) = self.saved, self.constants, self.needs_grad
        ga = sum_to(where(condition, gy, 0.0), a) if needs_a else None
        return None, ga, sum_to(where(condition, 0.0, gy), b) if needs_b else None


def _combined(apply: Callable[..., Any], a: Any, b: Any) -> Tensor:
    """``apply`` to both as tensors. A half meets a number that is none in float32, and what comes of it is rounded."""
    a, b = (value[()] if isinstance(value, np.ndarray) and not value.ndim else value for value in (a, b))
    like, other = (a, b) if isinstance(a, Tensor) else (b, a)
    if isinstance(like, Tensor) and like.dtype.char == "e" and _is_no_half(other):
        result: Tensor = apply(*_operands(*(t.to(np.float32) if t is like else t for t in (a, b))))
        return result.to(np.float16) if result.dtype == np.float32 else result
    return apply(*_operands(a, b))


def _is_no_half(value: Any) -> bool:
    """Whether it is a real number that float16 would round."""
    if not isinstance(value, numbers.Real):
        return False
    with np.errstate(over="ignore"), contextlib.suppress(OverflowError):  # of integers that no float holds
        return float(np.float16(value)) != value
    return False


def _operands(a: Any, b: Any) -> tuple[Tensor, Tensor]:
    """Both as tensors: a Python or NumPy scalar takes the other's dtype and device."""
    if not isinstance(a, Tensor) and not isinstance(b, Tensor):
        raise TypeError(f"one of {a!r} and {b!r} must be a Tensor, or they have no dtype: use mr.tensor(…)")
    like = a if isinstance(a, Tensor) else b
    return lift(a, like), lift(b, like)


def lift(value: Any, like: Tensor) -> Tensor:
    """A number as a tensor of the dtype and on the device of ``like``; a tensor as it is.

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
    inexact = kind in "biu" and (number is None or number != value or (kind == "b" and not _is_bool(value)))
    if number is None or inexact:
        raise DtypeError(f"{value!r} would change the dtype of a {like.dtype} tensor; convert it with .to(dtype)")
    if np.isinf(number) and not cmath.isinf(complex(value)):  # type: ignore[arg-type]
        raise DtypeError(f"{value!r} is infinite in {like.dtype}; convert the tensor with .to(dtype)")
    # Of the same kind, so that array doubles meet their own; and CuPy takes () for no shape at all.
    with on_device_of(like.array):
        made = xp_of(like.array).empty_like(like.array, shape=(1,)).reshape(())
        made[...] = number
    return Tensor(made)


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool | np.bool_)


def add(a: Any, b: Any) -> Tensor:
    """a + b, broadcast."""
    return _combined(Add.apply, a, b)


def subtract(a: Any, b: Any) -> Tensor:
    """a − b, broadcast."""
    return _combined(lambda x, y: Add.apply(x, -y), a, b)


def multiply(a: Any, b: Any) -> Tensor:
    """a · b, broadcast."""
    return _combined(Multiply.apply, a, b)


def divide(a: Any, b: Any) -> Tensor:
    """a / b, broadcast."""
    return _combined(Divide.apply, a, b)


def power(a: Any, b: Any) -> Tensor:
    """a to the power of b, broadcast."""
    return _combined(Power.apply, a, b)


def maximum(a: Any, b: Any) -> Tensor:
    """The larger of a and b, element by element, broadcast; NaN if either is. Equal ones share the gradient."""
    return _combined(Maximum.apply, a, b)


def where(condition: Tensor, a: Any, b: Any) -> Tensor:
    """a where the condition holds, b elsewhere, broadcast.

    Parameters
    ----------
    condition : boolean tensor, as comparisons give it
    a, b : tensors of one dtype, or one of them a number

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
        if kernel.endswith("equal") and any(_is_foreign(operand) for operand in (a, b)):
            return NotImplemented  # what == and != then give is False and True, < and > a TypeError
        return _combined(Comparison.apply, a, b)

    return compare


def _is_foreign(value: Any) -> bool:
    """Whether nobody who writes it beside a tensor can mean its elements: None, a string, an object of some kind."""
    return not (isinstance(value, Tensor | numbers.Number | np.bool_ | Sequence) or is_array(value)) or isinstance(
        value, str | bytes
    )


equal, not_equal = _comparison("equal"), _comparison("not_equal")
less, less_equal = _comparison("less"), _comparison("less_equal")
greater, greater_equal = _comparison("greater"), _comparison("greater_equal")
