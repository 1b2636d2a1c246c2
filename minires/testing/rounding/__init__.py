"""Check a float32 kernel, on a CPU or a GPU, against its reference in float64, within a derived bound.

`check_rounding` runs the reference on a `Rounded`, an array double that carries a bound beside each element.
`cases` (needs Hypothesis) does so for every kernel of minires.

Read in this order: `model` (the formulas), `elementwise` and `reductions` (the rules), `carrier`, `functions` and
`double` (the array), `check`, `algorithms` (formulas of fast kernels), `cases`.
"""

from minires.testing.rounding.check import RoundingError, RoundingReport, check_rounding
from minires.testing.rounding.double import Rounded, constant, rounded

__all__ = ["Rounded", "RoundingError", "RoundingReport", "check_rounding", "constant", "rounded"]
