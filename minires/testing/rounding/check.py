"""`check_rounding`: a kernel in a lower precision against its reference in float64, within a derived bound."""

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
class Finding:
    """The element that is farthest outside its bound."""

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
    """A kernel is farther from its reference than rounding explains, or gives something else altogether.

    ``finding`` holds the numbers where one is wrong, and is None where shapes or outputs differ.
    """

    def __init__(self, text: str, finding: Finding | None = None) -> None:
        super().__init__(text)
        self.finding = finding


@dataclass(frozen=True)
class OutputReport:
    """What was compared of one output.

    ``used`` is the largest difference over its bound. ``resolution`` is the largest bound over the largest result:
    an error of that size would have been noticed in any element compared. ``left_out`` counts the elements without
    a finite bound, where a comparison, a divisor or a root was open.
    """

    output: int
    elements: int
    left_out: int
    used: float
    resolution: float


@dataclass(frozen=True)
class RoundingReport:
    """A kernel that is within rounding of its reference: how much of the bounds it used, and how sharp they are."""

    dtype: np.dtype[Any]
    outputs: tuple[OutputReport, ...]

    @property
    def used(self) -> float:
        """The largest difference over its bound, at most 1."""
        return max((output.used for output in self.outputs), default=0.0)

    @property
    def resolution(self) -> float:
        """The relative error, beside each output's largest element, that no element compared could have had."""
        return max((output.resolution for output in self.outputs), default=0.0)

    @property
    def elements(self) -> int:
        """How many elements the outputs have."""
        return sum(output.elements for output in self.outputs)

    @property
    def left_out(self) -> int:
        """How many of them have no finite bound: a comparison, a division or a root was open."""
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
    """Prove that a kernel is its reference, but for what rounding can explain.

    Float arrays among the arguments (in lists and tuples too) are rounded to ``dtype``. The kernel runs on them as
    it will in use; the reference runs in float64 on the very same numbers, as a `Rounded`, which finds for each
    element how far *any* evaluation of the formula in ``dtype`` may be from the value: blocked, threaded, fused or
    on a GPU, sums in any order. Nothing about it is chosen.

    Parameters
    ----------
    kernel : kernel(*arguments) -> array, None, or a tuple of these; on any device
    reference : the same function, in operations of NumPy's that the double knows (it says so where it does not)
    arguments : arrays of any memory order, which is kept, beside anything else; neither function changes them
    dtype : of the kernel's arrays: float32, float16 or float64
    algorithm : a function like ``reference``, written as the kernel computes, where that is not the same formula
        with sums in another order (Winograd's convolution, E[x²] − mean²). The bound is its bound then, and the
        values stay those of ``reference``.

    Returns
    -------
    RoundingReport

    Raises
    ------
    RoundingError : an element is outside its bound; outputs differ in number, shape or dtype; the reference lost
        a bound; or no element has a finite one, so that nothing was compared.
    TypeError : the reference uses a function for which the double has no rule.
    """
    dtype = np.dtype(dtype)
    lowered = _each_array(arguments, lambda array: _lowered(array, dtype))
    results = _outputs(kernel(*_each_array(lowered, _copied)))
    exact = _outputs(reference(*_doubles(lowered, dtype if algorithm is None else np.float64)))
    _need_same_number(results, exact, "the kernel")
    bounds = [_bound_of(number, output) for number, output in enumerate(exact)]
    if algorithm is not None:
        own = _outputs(algorithm(*_doubles(lowered, dtype)))
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
    floats = exact.dtype.kind == "f"  # of indices and masks a kernel chooses the width
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
        index = np.unravel_index(int(np.argmax(excess)), excess.shape)
        place = tuple(map(int, index))
        count, size = int(outside.sum()), outside.size
        finding = Finding(number, place, float(value[index]), float(exact[index]), float(bound[index]), count, size)
        raise RoundingError(str(finding), finding)
    seen = compared & np.isfinite(exact)
    largest = float(np.max(np.abs(exact), where=seen, initial=0.0))
    widest = float(np.max(bound, where=seen, initial=0.0))
    resolution = widest / largest if largest else 0.0 if widest == 0 else np.inf
    return OutputReport(number, value.size, int((~compared).sum()), float(np.max(share, initial=0.0)), resolution)


def _outputs(returned: Any) -> list[Any]:
    return list(returned) if isinstance(returned, tuple | list) else [returned]


def _need_same_number(results: Sequence[Any], exact: Sequence[Any], who: str) -> None:
    missing = [None if x is None else "array" for x in results]
    expected = [None if x is None else "array" for x in exact]
    if missing != expected:
        raise RoundingError(f"{who} returns {_named(missing)}, the reference {_named(expected)}")


def _named(outputs: Sequence[str | None]) -> str:
    return f"({', '.join(str(output) for output in outputs)})"


def _value_of(output: Any) -> Array:
    return output.value if isinstance(output, Rounded) else np.asarray(output)


def _bound_of(number: int, output: Any) -> Any:
    """The bound of an output; of integers and booleans that are no `Rounded`, zero.

    Raises
    ------
    RoundingError : for floats that are none: their bound was lost on the way.
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
    """``value`` with the function applied to every array in it and in its lists and tuples."""
    if is_array(value):
        return function(value)
    if type(value) in (list, tuple):
        return type(value)(_each_array(item, function) for item in value)
    return value


def _lowered(array: Any, dtype: np.dtype[Any]) -> Any:
    """In the kernel's precision; an array that is in it already keeps its memory order."""
    if array.dtype.kind != "f" or array.dtype == dtype:
        return array
    with np.errstate(over="ignore"):
        return array.astype(dtype)


def _copied(array: Any) -> Any:
    return copy_in_order(array) if isinstance(array, np.ndarray) else array.copy()


def _doubles(arguments: Any, precision: Any) -> Any:
    """Floats as exact values of the precision; masks and labels too, as arrays may be allocated in their likeness."""
    return _each_array(arguments, lambda array: rounded(asnumpy(array), precision))
