"""Functions of one tensor, element by element."""

from __future__ import annotations

from minires.autograd.tensor import Tensor
from minires.functional.elementwise import piecewise_linear, rule
from minires.options import number

Negative = rule("negative", "−x", "nothing", lambda gy: -gy)
Exp = rule("exp", "e^x", "output", lambda gy, y: gy * y)
Log = rule("log", "log x", "inputs", lambda gy, x: gy / x)
Sqrt = rule("sqrt", "√x", "output", lambda gy, y: gy / (y * 2.0))
Absolute = piecewise_linear("absolute", "|x|", lambda kernels, x: kernels.sign(x))
Clip = piecewise_linear("clip", "min(max(x, low), high)", lambda kernels, x, low, high: kernels.clip_mask(x, low, high))


def negative(a: Tensor) -> Tensor:
    """Return −a."""
    return Negative.apply(a)


def exp(a: Tensor) -> Tensor:
    """Return e to the power of a."""
    return Exp.apply(a)


def log(a: Tensor) -> Tensor:
    """Return the natural logarithm of a."""
    return Log.apply(a)


def sqrt(a: Tensor) -> Tensor:
    """Return the square root of a."""
    return Sqrt.apply(a)


def absolute(a: Tensor) -> Tensor:
    """Return |a|. The gradient at 0 is 0."""
    return Absolute.apply(a)


def clip(a: Tensor, min: float | None = None, max: float | None = None) -> Tensor:
    """Return a limited to [min, max]; None leaves that side open. The gradient is 1 inside, limits included.

    Raises
    ------
    ValueError : if both limits are None, or one is not a number.
    DtypeError : if a limit would change the dtype.
    """
    if min is None and max is None:
        raise ValueError("clip needs min, max or both")
    low = None if min is None else number(min, "min of clip")
    high = None if max is None else number(max, "max of clip")
    return Clip.apply(a, low=low, high=high)
