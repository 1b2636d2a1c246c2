"""Arithmetic of tensors, element by element, and the matrix product.

Each operation names its kernel and its derivatives, which are operations too. The gradient of an operand that was
broadcast is summed back to its shape.
"""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np

from minires.autograd.tensor import Tensor
from minires.device import Array, asarray
from minires.errors import DtypeError
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

    def derivatives(self, gy: Tensor, a: Tensor, b: Tensor) -> tuple[Any, Any]:
        """gy to whom is larger."""
        shares = (self.kernels.maximum_mask(a.array, b.array), self.kernels.maximum_mask(b.array, a.array))
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


class Negative(KernelOp):
    """−a."""

    def forward(self, a: Array) -> Any:
        """Negate."""
        return self.kernels.negative(a)

    def backward(self, gy: Tensor) -> Any:
        """−gy."""
        return -gy


class Exp(KernelOp):
    """e^a."""

    def forward(self, a: Array) -> Any:
        """Keep the output: it is its own derivative."""
        y = self.kernels.exp(a)
        self.save(y)
        return y

    def backward(self, gy: Tensor) -> Any:
        """gy · e^a."""
        return gy * self.saved[0]


class Log(KernelOp):
    """log a."""

    def forward(self, a: Array) -> Any:
        """Natural logarithm."""
        self.save(a)
        return self.kernels.log(a)

    def backward(self, gy: Tensor) -> Any:
        """gy / a."""
        return gy / self.saved[0]


class Sqrt(KernelOp):
    """√a."""

    def forward(self, a: Array) -> Any:
        """Keep the output, which the derivative needs."""
        y = self.kernels.sqrt(a)
        self.save(y)
        return y

    def backward(self, gy: Tensor) -> Any:
        """gy / (2 √a)."""
        return gy / (self.saved[0] * 2.0)


class Absolute(KernelOp):
    """|a|."""

    def forward(self, a: Array) -> Any:
        """Absolute value."""
        self.save(a)
        return self.kernels.absolute(a)

    def backward(self, gy: Tensor) -> Any:
        """gy · sign a, which is 0 at 0."""
        return gy * Tensor(self.kernels.sign(self.saved[0].array))


class Clip(KernelOp):
    """a moved into [low, high]."""

    def forward(self, a: Array, *, low: float | None, high: float | None) -> Any:
        """Clip."""
        self.save(a)
        self.save_constant(low, high)
        return self.kernels.clip(a, low, high)

    def backward(self, gy: Tensor) -> Any:
        """gy where a lay inside, the limits included."""
        return gy * Tensor(self.kernels.clip_mask(self.saved[0].array, *self.constants))


class Matmul(KernelOp):
    """a @ b, with NumPy's rules for one, two and more axes."""

    def forward(self, a: Array, b: Array) -> Any:
        """Multiply matrices."""
        self.save(a, b)
        return self.kernels.matmul(a, b)

    def backward(self, gy: Tensor) -> Any:
        """(gy @ bᵀ, aᵀ @ gy), with vectors as matrices of one row or column."""
        a, b = self.saved
        rows = a.reshape(1, -1) if a.ndim == 1 else a
        cols = b.reshape(-1, 1) if b.ndim == 1 else b
        batch = gy.shape[: len(gy.shape) - (a.ndim > 1) - (b.ndim > 1)]
        gy = gy.reshape(*batch, rows.shape[-2], cols.shape[-1])
        ga = sum_to(matmul(gy, _swap(cols)), rows.shape).reshape(a.shape) if self.needs_grad[0] else None
        gb = sum_to(matmul(_swap(rows), gy), cols.shape).reshape(b.shape) if self.needs_grad[1] else None
        return ga, gb


def _swap(a: Tensor) -> Tensor:
    """The last two axes exchanged."""
    return a.permute(*range(a.ndim - 2), a.ndim - 1, a.ndim - 2)


def _operands(a: Any, b: Any) -> tuple[Tensor, Tensor]:
    """Both as tensors: a Python or NumPy scalar takes the other's dtype and device."""
    like = a if isinstance(a, Tensor) else b
    return _lift(a, like), _lift(b, like)


def _lift(value: Any, like: Tensor) -> Tensor:
    if isinstance(value, Tensor):
        return value
    if not isinstance(value, numbers.Number | np.bool_):
        raise TypeError(f"cannot combine a Tensor with a {type(value).__name__}: wrap arrays with mr.tensor(…)")
    scalar = np.asarray(value)
    kinds = "biufc"
    if kinds.index(scalar.dtype.kind) > max(kinds.index(like.dtype.kind), kinds.index("i")):
        raise DtypeError(f"{value!r} would change the dtype of a {like.dtype} tensor; convert it with .to(dtype)")
    return Tensor(asarray(scalar.astype(like.dtype), like.device))


def add(a: Any, b: Any) -> Tensor:
    """a + b, broadcast."""
    return Add.apply(*_operands(a, b))  # type: ignore[no-any-return]


def subtract(a: Any, b: Any) -> Tensor:
    """a − b, broadcast."""
    a, b = _operands(a, b)
    return add(a, -b)


def multiply(a: Any, b: Any) -> Tensor:
    """a · b, broadcast."""
    return Multiply.apply(*_operands(a, b))  # type: ignore[no-any-return]


def divide(a: Any, b: Any) -> Tensor:
    """a / b, broadcast."""
    return Divide.apply(*_operands(a, b))  # type: ignore[no-any-return]


def power(a: Any, b: Any) -> Tensor:
    """a to the power of b, broadcast."""
    return Power.apply(*_operands(a, b))  # type: ignore[no-any-return]


def maximum(a: Any, b: Any) -> Tensor:
    """The larger of a and b, element by element, broadcast; NaN if either is. Equal ones share the gradient."""
    return Maximum.apply(*_operands(a, b))  # type: ignore[no-any-return]


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
    return Where.apply(condition, *_operands(a, b))  # type: ignore[no-any-return]


def absolute(a: Tensor) -> Tensor:
    """|a|. The gradient at 0 is 0."""
    return Absolute.apply(a)  # type: ignore[no-any-return]


def clip(a: Tensor, min: float | None = None, max: float | None = None) -> Tensor:
    """a moved into [min, max]; None leaves that side open. The gradient is 1 inside, the limits included.

    Raises
    ------
    ValueError : if both limits are None.
    DtypeError : if a limit would change the dtype.
    """
    if min is None and max is None:
        raise ValueError("clip needs min, max or both")
    return Clip.apply(a, low=min, high=max)  # type: ignore[no-any-return]


def matmul(a: Any, b: Any) -> Tensor:
    """The matrix product a @ b.

    Raises
    ------
    ShapeError : if the shapes do not fit.
    """
    return Matmul.apply(a, b)  # type: ignore[no-any-return]


def negative(a: Tensor) -> Tensor:
    """−a."""
    return Negative.apply(a)  # type: ignore[no-any-return]


def exp(a: Tensor) -> Tensor:
    """e to the power of a."""
    return Exp.apply(a)  # type: ignore[no-any-return]


def log(a: Tensor) -> Tensor:
    """The natural logarithm of a."""
    return Log.apply(a)  # type: ignore[no-any-return]


def sqrt(a: Tensor) -> Tensor:
    """The square root of a."""
    return Sqrt.apply(a)  # type: ignore[no-any-return]


def _comparison(kernel: str) -> Any:
    class Comparison(KernelOp):
        def forward(self, a: Array, b: Array) -> Any:
            return getattr(self.kernels, kernel)(a, b)

    return lambda a, b: Comparison.apply(*_operands(a, b))


equal, not_equal = _comparison("equal"), _comparison("not_equal")
less, less_equal = _comparison("less"), _comparison("less_equal")
greater, greater_equal = _comparison("greater"), _comparison("greater_equal")
