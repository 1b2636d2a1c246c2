"""Functions of one tensor, element by element."""

from __future__ import annotations

from typing import Any

from minires.autograd.tensor import Tensor
from minires.device import Array
from minires.functional.kernel_op import KernelOp
from minires.options import number


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

    def branches(self) -> tuple[Any, ...]:
        """The signs."""
        return (self.kernels.sign(self.saved[0].array),)

    def backward(self, gy: Tensor) -> Any:
        """gy · sign a, which is 0 at 0."""
        return gy * Tensor(self.branches()[0])


class Clip(KernelOp):
    """a moved into [low, high]."""

    def forward(self, a: Array, *, low: float | None, high: float | None) -> Any:
        """Clip."""
        self.save(a)
        self.save_constant(low, high)
        return self.kernels.clip(a, low, high)

    def branches(self) -> tuple[Any, ...]:
        """Who lay inside."""
        return (self.kernels.clip_mask(self.saved[0].array, *self.constants),)

    def backward(self, gy: Tensor) -> Any:
        """gy where a lay inside, the limits included."""
        return gy * Tensor(self.branches()[0])


def negative(a: Tensor) -> Tensor:
    """−a."""
    return Negative.apply(a)


def exp(a: Tensor) -> Tensor:
    """e to the power of a."""
    return Exp.apply(a)


def log(a: Tensor) -> Tensor:
    """The natural logarithm of a."""
    return Log.apply(a)


def sqrt(a: Tensor) -> Tensor:
    """The square root of a."""
    return Sqrt.apply(a)


def absolute(a: Tensor) -> Tensor:
    """|a|. The gradient at 0 is 0."""
    return Absolute.apply(a)


def clip(a: Tensor, min: float | None = None, max: float | None = None) -> Tensor:
    """a moved into [min, max]; None leaves that side open. The gradient is 1 inside, the limits included.

    Raises
    ------
    ValueError : if both limits are None, or one is no number.
    DtypeError : if a limit would change the dtype.
    """
    if min is None and max is None:
        raise ValueError("clip needs min, max or both")
    low = None if min is None else number(min, "min of clip")
    high = None if max is None else number(max, "max of clip")
    return Clip.apply(a, low=low, high=high)
