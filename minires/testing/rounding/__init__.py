"""Kernels in float32, on a CPU or a GPU, against their reference in float64: within a bound that is derived.

`check_rounding` runs the reference on a `Rounded`, an array double that carries such a bound beside each element.
`cases` (needs Hypothesis) does so for every kernel of minires.
"""

from minires.testing.rounding.check import RoundingError, RoundingReport, check_rounding
from minires.testing.rounding.double import Rounded, constant, rounded

__all__ = ["Rounded", "RoundingError", "RoundingReport", "check_rounding", "constant", "rounded"]
