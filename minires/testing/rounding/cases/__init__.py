"""Check every kernel within its rounding bound, on drawn cases. Needs Hypothesis.

Read in this order: `case`, `elements` and `layers` (the cases), this file, `long_sums`.
"""

from __future__ import annotations

import importlib
import inspect
import math
import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minires import kernels
from minires.device import asarray, is_array
from minires.kernels import reference
from minires.kernels.float16 import to_float16
from minires.testing.rounding.algorithms import algorithm_of
from minires.testing.rounding.cases import elements, layers
from minires.testing.rounding.cases.case import Cases, KernelCase
from minires.testing.rounding.check import RoundingReport, check_rounding

CASES: dict[str, Cases] = {**elements.CASES, **layers.CASES}
_STATISTICS = ("mean", "var", "inv_std")  # of a batch norm

__all__ = ["CASES", "KernelCase", "KernelSurvey", "all_in_float16", "cases", "check_kernel", "survey", "table"]


def cases(kernel: str) -> st.SearchStrategy[KernelCase]:
    """Return a strategy of the cases of a kernel; KeyError if it has none."""
    return st.composite(CASES[kernel])()


def check_kernel(
    kernel_set: str, kernel: str, case: KernelCase, device: str = "cpu", dtype: Any = np.float32
) -> RoundingReport:
    """Return `check_rounding` of a kernel, by the kernel's formula if that differs from the reference's.

    Raises
    ------
    RoundingError : if the kernel is farther from the reference than rounding explains.
    """
    algorithm, function = algorithm_of(kernel_set, kernel), getattr(kernels.KernelSet(kernel_set), kernel)
    return check_rounding(
        case.function(all_in_float16(function) if np.dtype(dtype) == np.float16 else function),
        case.function(getattr(reference, kernel)),
        *(_moved(argument, device) for argument in case.arguments),
        dtype=dtype,
        algorithm=None if algorithm is None else case.function(algorithm),
    )


class KernelSurvey(NamedTuple):
    """The result of some cases of a kernel.

    ``used`` is the largest share of a bound. ``resolution`` is the median of the relative errors that a check
    notices, over the cases whose results are not all zero. ``left_out`` elements have no finite bound.
    """

    kernel_set: str
    kernel: str
    examples: int
    used: float
    resolution: float
    elements: int
    left_out: int

    def __str__(self) -> str:
        name, left_out = f"{self.kernel_set}.{self.kernel}", f"  {self.left_out} left out" if self.left_out else ""
        return f"{name:40}{self.elements:>8}{self.used:>9.1%}{self.resolution:>11.1e}{left_out}"


def survey(kernel_set: str, kernel: str, examples: int = 25, device: str = "cpu") -> KernelSurvey:
    """Check a kernel on some cases, the same ones in every call.

    Raises
    ------
    RoundingError : as `check_kernel` does, for the smallest case that Hypothesis finds.
    """
    reports: list[RoundingReport] = []

    def run(case: KernelCase) -> None:
        reports.append(check_kernel(kernel_set, kernel, case, device))

    quietly = settings(
        max_examples=examples, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    quietly(given(case=cases(kernel))(run))()
    resolution = statistics.median([r.resolution for r in reports if r.resolution < math.inf] or [math.inf])
    elements, left_out = (sum(counts) for counts in zip(*((r.elements, r.left_out) for r in reports), strict=True))
    return KernelSurvey(kernel_set, kernel, len(reports), max(r.used for r in reports), resolution, elements, left_out)


def table(kernel_sets: tuple[str, ...] = ("reference", "fast"), examples: int = 25, device: str = "cpu") -> str:
    """Return the `survey` of every kernel of some sets as text: elements, share of the bound used, error excluded."""
    rows = [f"{'kernel':40}{'elements':>8}{'used':>9}{'excluded':>11}"]
    for name in kernel_sets:
        for kernel in kernels.names_of(importlib.import_module(f"minires.kernels.{name}")):
            rows.append(str(survey(name, kernel, examples, device)))
    return "\n".join(rows)


def all_in_float16(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """Return a kernel that takes and returns float16 only: the float32 statistics of a batch norm are rounded too."""
    names = inspect.signature(kernel).parameters

    def computed(*arguments: Any) -> Any:
        given = zip(names, arguments, strict=False)
        found = kernel(*(value.astype(np.float32) if name in _STATISTICS else value for name, value in given))
        return tuple(map(to_float16, found)) if isinstance(found, tuple) else to_float16(found)

    return computed


def _moved(value: Any, device: str) -> Any:
    """Return a value with its arrays on a device."""
    if is_array(value):
        return value if device == "cpu" else asarray(value, device)
    if type(value) in (list, tuple) and any(is_array(item) for item in value):
        return type(value)(_moved(item, device) for item in value)
    return value
