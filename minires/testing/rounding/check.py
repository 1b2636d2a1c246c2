"""`check_rounding`: check a kernel in a lower precision against its reference in float64, within a derived bound."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minires.device import Array, asnumpy, is_array
from minires.errors import MiniresError
from minires.testing.layouts import copy_in_order
from minires.testing.rounding.double import Rounded, rounded


@dataclass(frozen=True)
class OutOfBound:
    """The element of an output that is farthest outside its bound."""

    output: int
    index: tuple[int, ...]
    value: float
    exact: float
    bound: float
    count: int
    size: int

    def __str__(self) -> str:
        return "\n".join(
            [
                f"output {self.output} is not what rounding makes of the reference's, at index {self.index}",
                f"  value      : {self.value:.17g}",
                f"  exact      : {self.exact:.17g}",
                f"  difference : {abs(self.value - self.exact):.3g}",
                f"  allowed    : {self.bound:.3g}   (what rounding can do to this element)",
                f"  {self.count} of {self.size} elements of this output are outside their bounds",
            ]
        )


class RoundingError(MiniresError, AssertionError):
    """A kernel is farther from its reference than rounding explains, or its outputs have other shapes or dtypes.

    ``finding`` is the wrong element, or None if shapes or outputs differ.
    """

    def __init__(self, text: str, finding: OutOfBound | None = None) -> None:
        super().__init__(text)
        self.finding = finding


@dataclass(frozen=True)
class OutputReport:
    """How one output was compared.

    ``used`` is the largest quotient of a difference and its bound. ``resolution`` is the largest bound divided by the
    largest result: the check notices an error of that relative size in any element compared. ``left_out`` counts the
    elements without a finite bound, where rounding decides a comparison, a divisor or a root.
    """

    output: int
    elements: int
    left_out: int
    used: float
    resolution: float


@dataclass(frozen=True)
class RoundingReport:
    """How much of the bounds a kernel used, and how sharp they are."""

    dtype: np.dtype[Any]
    outputs: tuple[OutputReport, ...]

    @property
    def used(self) -> float:
        """The largest quotient of a difference and its bound, at most 1."""
        return max((output.used for output in self.outputs), default=0.0)

    @property
    def resolution(self) -> float:
        """The smallest error, relative to the largest element of an output, that the check notices in any element."""
        return max((output.resolution for output in self.outputs), default=0.0)

    @property
    def elements(self) -> int:
        """The number of elements of all outputs."""
        return sum(output.elements for output in self.outputs)

    @property
    def left_out(self) -> int:
        """The number of elements without a finite bound."""
        return sum(output.left_out for output in self.outputs)

    def __str__(self) -> str:
        text = f"{self.dtype}: {self.elements} elements used {self.used:.2g} of their bounds, "
        text += f"relative errors above {self.resolution:.1e} excluded"
        return text + (f"; {self.left_out} elements left out, whose bound is infinite" if self.left_out else "")


def check_rounding(
    kernel: Callable[..., Any],
    reference: Callable[..., Any],
    *arguments: Any,
    dtype: Any = np.float32,
    algorithm: Callable[..., Any] | None = None,
) -> RoundingReport:
    """Prove that a kernel computes its reference, up to rounding.

    Float arrays among the arguments (in lists and tuples too) are rounded to ``dtype``, and the kernel runs on them.
    The reference runs in float64 on the same numbers as a `Rounded`. This finds for each element how far *any*
    evaluation of the formula in ``dtype`` may be from the value: blocked, threaded, fused or on a GPU, sums in any
    order. There is no tolerance to choose.

    Parameters
    ----------
    kernel : kernel(*arguments) -> array, None, or a tuple of these; on any device
    reference : the same function, in NumPy operations that have a rule
    arguments : arrays of any memory order, which is kept, and anything else; neither function changes them
    dtype : of the kernel's arrays: float32, float16 or float64
    algorithm : the same function by the kernel's formula, if that is more than another order of sums (Winograd's
        convolution, E[x²] − mean²). Then the bound is that of ``algorithm``, and the values are those of
        ``reference``.

    Returns
    -------
    RoundingReport

    Raises
    ------
    RoundingError : an element is outside its bound; outputs differ in number, shape or dtype; the reference lost
        a bound; or no element has a finite one, so that nothing was compared.
    TypeError : the reference uses a function without a rule.
    """
    dtype = np.dtype(dtype)
    lowered = _each_array(arguments, lambda array: _lowered(array, dtype))
    results = outputs_of(kernel(*_each_array(lowered, _copied)))
    exact = outputs_of(reference(*_doubles(lowered, dtype if algorithm is None else np.float64)))
    _need_same_number(results, exact, "the kernel")
    bounds = [_bound_of(number, output) for number, output in enumerate(exact)]
    if algorithm is not None:
        own = outputs_of(algorithm(*_doubles(lowered, dtype)))
        _need_same_number(own, exact, "the algorithm")
        bounds = [
            None if a is None or b is None else a + b
            for a, b in zip(bounds, (_bound_of(number, output) for number, output in enumerate(own)), strict=True)
        ]
    reports = tuple(
        _compare(number, asnumpy(result), _value_of(output), bound, dtype)
        for number, (result, output, bound) in enumerate(zip(results, exact, bounds, strict=True))
        if output is not None
    )
    report = RoundingReport(dtype, reports)
    if report.elements and report.left_out == report.elements:
        raise RoundingError("no element of the reference has a finite bound, so nothing was compared")
    return report


def _compare(number: int, result: Array, exact: Array, bound: Any, dtype: np.dtype[Any]) -> OutputReport:
    floats = exact.dtype.kind == "f"  # indices and masks may have another width
    if result.shape != exact.shape or (result.dtype != dtype if floats else result.dtype.kind == "f"):
        raise RoundingError(
            f"output {number} is {result.dtype} of shape {result.shape}, and should be "
            f"{dtype if floats else exact.dtype} of shape {exact.shape}"
        )
    value, exact = result.astype(np.float64), exact.astype(np.float64)
    with np.errstate(all="ignore"):
        same = (value == exact) | (np.isnan(value) & np.isnan(exact))
        difference = np.where(same, 0.0, np.abs(value - exact))
        compared = np.isfinite(bound)
        outside = compared & ~(difference <= bound)
        share = np.where(difference == 0, 0.0, difference / np.where(compared, bound, np.inf))
    if outside.any():
        excess = np.where(outside, np.nan_to_num(share, nan=np.inf), -1.0)
        index = tuple(map(int, np.unravel_index(int(np.argmax(excess)), excess.shape)))
        count, size = int(outside.sum()), outside.size
        finding = OutOfBound(number, index, float(value[index]), float(exact[index]), float(bound[index]), count, size)
        raise RoundingError(str(finding), finding)
    seen = compared & np.isfinite(exact)
    largest = float(np.max(np.abs(exact), where=seen, initial=0.0))
    widest = float(np.max(bound, where=seen, initial=0.0))
    resolution = widest / largest if largest else 0.0 if widest == 0 else np.inf
    return OutputReport(number, value.size, int((~compared).sum()), float(np.max(share, initial=0.0)), resolution)


def outputs_of(returned: Any) -> list[Any]:
    """Return the outputs of a function as a list."""
    return list(returned) if isinstance(returned, tuple | list) else [returned]


def _need_same_number(results: Sequence[Any], exact: Sequence[Any], who: str) -> None:
    found, expected = (
        "(" + ", ".join("None" if x is None else "array" for x in outputs) + ")" for outputs in (results, exact)
    )
    if found != expected:
        raise RoundingError(f"{who} returns {found}, the reference {expected}")


def _value_of(output: Any) -> Array:
    return output.value if isinstance(output, Rounded) else np.asarray(output)


def _bound_of(number: int, output: Any) -> Any:
    """Return the bound of an output; zero for plain integers and booleans.

    Raises
    ------
    RoundingError : for plain floats: their bound was lost.
    """
    if output is None:
        return None
    if isinstance(output, Rounded):
        return output.bound
    plain = np.asarray(output)
    if plain.dtype.kind == "f":
        raise RoundingError(
            f"output {number} of the reference has no bound: some function of NumPy's took its arrays for plain ones"
        )
    return np.zeros(plain.shape)


def _each_array(value: Any, function: Callable[[Any], Any]) -> Any:
    """Apply a function to a value if it is an array, and to every array in its lists and tuples."""
    if is_array(value):
        return function(value)
    if type(value) in (list, tuple):
        return type(value)(_each_array(item, function) for item in value)
    return value


def _lowered(array: Any, dtype: np.dtype[Any]) -> Any:
    """Return an array in the kernel's precision, in the same memory order."""
    if array.dtype.kind != "f" or array.dtype == dtype:
        return array
    with np.errstate(over="ignore"):
        return array.astype(dtype)


def _copied(array: Any) -> Any:
    return copy_in_order(array) if isinstance(array, np.ndarray) else array.copy()


def _doubles(arguments: Any, precision: Any) -> Any:
    """Return all arrays as `Rounded`: masks and labels too, as a kernel may allocate an array like them."""
    return _each_array(arguments, lambda array: rounded(asnumpy(array), precision))
