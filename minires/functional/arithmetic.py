"""Arithmetic of tensors: operators, elementary functions, sums and shapes.

Each operation names its kernel and its derivatives, which are operations too. Broadcasting and summing are
each other's adjoints: the gradient of an operand that was broadcast is summed back to its shape.
"""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np

from minires.autograd.tensor import METHODS, Tensor
from minires.device import Array, asarray
from minires.errors import DtypeError
from minires.functional.kernel_op import KernelOp


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
        return tuple(sum_to(gy, shape) for shape in self.constants)


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


class SumTo(KernelOp):
    """Sum over the axes along which ``shape`` would be broadcast."""

    def forward(self, a: Array, *, shape: tuple[int, ...]) -> Any:
        """Sum to ``shape``."""
        self.save_constant(a.shape)
        return self.kernels.sum_to(a, shape)

    def backward(self, gy: Tensor) -> Any:
        """Broadcast gy back."""
        return broadcast_to(gy, self.constants[0])


class BroadcastTo(KernelOp):
    """Repeat along new axes and axes of length one."""

    def forward(self, a: Array, *, shape: tuple[int, ...]) -> Any:
        """Broadcast to ``shape``."""
        self.save_constant(a.shape)
        return self.kernels.broadcast_to(a, shape)

    def backward(self, gy: Tensor) -> Any:
        """Sum gy back."""
        return sum_to(gy, self.constants[0])


class Sum(KernelOp):
    """The sum over some axes."""

    def forward(self, a: Array, *, dim: Any, keepdim: bool) -> Any:
        """Sum, and remember the shape in which the summed axes have length one."""
        axes = range(a.ndim) if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)
        summed = {axis % a.ndim for axis in axes}
        kept = tuple(1 if axis in summed else n for axis, n in enumerate(a.shape))
        self.save_constant(kept, a.shape)
        return self.kernels.sum(a, dim, keepdim)

    def backward(self, gy: Tensor) -> Any:
        """Every summand gets gy."""
        kept, shape = self.constants
        return broadcast_to(gy.reshape(kept), shape)


class Reshape(KernelOp):
    """The same elements in another shape."""

    def forward(self, a: Array, *, shape: tuple[int, ...]) -> Any:
        """Reshape."""
        self.save_constant(a.shape)
        return self.kernels.reshape(a, shape)

    def backward(self, gy: Tensor) -> Any:
        """Reshape back."""
        return gy.reshape(self.constants[0])


class Permute(KernelOp):
    """The axes in another order."""

    def forward(self, a: Array, *, dims: tuple[int, ...]) -> Any:
        """Transpose."""
        self.save_constant(tuple(int(i) for i in np.argsort([d % len(dims) for d in dims])))
        return self.kernels.transpose(a, dims)

    def backward(self, gy: Tensor) -> Any:
        """Transpose back."""
        return gy.permute(self.constants[0])


class GetItem(KernelOp):
    """a[index]."""

    def forward(self, a: Array, *, index: Any) -> Any:
        """Read."""
        self.save_constant(index, a.shape)
        return self.kernels.getitem(a, index)

    def backward(self, gy: Tensor) -> Any:
        """Put gy where it was read from."""
        index, shape = self.constants
        return PutItem.apply(gy, index=index, shape=shape)


class PutItem(KernelOp):
    """The adjoint of `GetItem`: zeros of ``shape`` with gy added at ``index``."""

    def forward(self, gy: Array, *, index: Any, shape: tuple[int, ...]) -> Any:
        """Add up what was read several times."""
        self.save_constant(index)
        return self.kernels.getitem_grad(gy, index, shape)

    def backward(self, gy: Tensor) -> Any:
        """Read."""
        return GetItem.apply(gy, index=self.constants[0])


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


def _axes(given: tuple[Any, ...]) -> tuple[int, ...]:
    """Accept reshape(2, 3) and reshape((2, 3)) alike."""
    items = given[0] if len(given) == 1 and isinstance(given[0], tuple | list) else given
    return tuple(int(item) for item in items)


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


def sum_to(a: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Sum ``a`` over the axes along which ``shape`` would be broadcast to it."""
    return a if a.shape == shape else SumTo.apply(a, shape=shape)


def broadcast_to(a: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Repeat ``a`` along new axes and axes of length one, without copying."""
    return a if a.shape == shape else BroadcastTo.apply(a, shape=shape)


def sum(a: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """The sum over all elements, one axis, or several."""
    return Sum.apply(a, dim=dim, keepdim=keepdim)  # type: ignore[no-any-return]


def mean(a: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """The mean over all elements, one axis, or several."""
    total = sum(a, dim, keepdim)
    return total / (a.size / total.size if total.size else float("nan"))


def reshape(a: Tensor, *shape: Any) -> Tensor:
    """The same elements in another shape; one length may be -1."""
    return Reshape.apply(a, shape=_axes(shape))  # type: ignore[no-any-return]


def permute(a: Tensor, *dims: Any) -> Tensor:
    """The axes in another order."""
    return Permute.apply(a, dims=_axes(dims))  # type: ignore[no-any-return]


def getitem(a: Tensor, index: Any) -> Tensor:
    """Read a part of ``a``."""
    return GetItem.apply(a, index=index)  # type: ignore[no-any-return]


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
