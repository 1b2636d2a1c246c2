"""Arithmetic of tensors: operators, elementary functions, matrix products.

Each operation names its kernel and its derivatives, which are operations too. The gradient of an operand that was
broadcast is summed back to its shape.
"""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np

from minires.autograd.tensor import METHODS, Tensor
from minires.device import Array, asarray
from minires.errors import DtypeError
from minires.functional.kernel_op import KernelOp
from minires.functional.shape import getitem, mean, permute, reshape, sum, sum_to


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
    """a to the power of b, for a > 0 where b needs a gradient."""

    kernel = "power"

    def derivatives(self, gy: Tensor, a: Tensor, b: Tensor) -> tuple[Any, Any]:
        """(gy · b · a^(b−1), gy · a^b · log a)."""
        ga = gy * (b * a ** (b - 1.0)) if self.needs_grad[0] else None
        return ga, gy * (a**b * log(a)) if self.needs_grad[1] else None


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


METHODS.update(
    {f.__name__: f for f in (add, subtract, multiply, divide, power, matmul, negative, exp, log, sqrt)},
    sum=sum,
    mean=mean,
    reshape=reshape,
    permute=permute,
    getitem=getitem,
    **{k: _comparison(k) for k in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")},
)
