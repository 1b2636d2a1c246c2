"""Prove hand-written gradients, in minires and in any library that uses NumPy arrays.

`check_vjp` takes a function of plain arrays and its gradient, `check_gradient` a function of Tensors. `check_exact`
proves linear, bilinear and piecewise linear maps with integers, without any tolerance. `check_complex_step` is a second
oracle for analytic functions. `check_rounding` compares a kernel in float32 with its reference in float64, within a
derived bound. `strategies` (needs Hypothesis) draws shapes, geometries, memory orders and values for property tests,
and `gradients` makes such a test of a function in one line.
"""

from typing import TYPE_CHECKING

from minires.lazy import lazily

if TYPE_CHECKING:  # why the names come twice: see minires/__init__.py
    from minires.testing import strategies
    from minires.testing.complex_step import check_complex_step
    from minires.testing.exact import check_exact
    from minires.testing.layouts import MEMORY_ORDERS, lay_out
    from minires.testing.property_test import gradients
    from minires.testing.report import GradientError, GradientReport, Inconclusive
    from minires.testing.rounding import RoundingError, RoundingReport, check_rounding
    from minires.testing.tensors import check_gradient
    from minires.testing.vjp import check_vjp
else:
    __getattr__, __dir__ = lazily(
        __name__,
        modules=("strategies",),
        names={
            "complex_step": ("check_complex_step",),
            "exact": ("check_exact",),
            "layouts": ("MEMORY_ORDERS", "lay_out"),
            "property_test": ("gradients",),
            "report": ("GradientError", "GradientReport", "Inconclusive"),
            "rounding": ("RoundingError", "RoundingReport", "check_rounding"),
            "tensors": ("check_gradient",),
            "vjp": ("check_vjp",),
        },
    )

__all__ = [
    "MEMORY_ORDERS",
    "GradientError",
    "GradientReport",
    "Inconclusive",
    "RoundingError",
    "RoundingReport",
    "check_complex_step",
    "check_exact",
    "check_gradient",
    "check_rounding",
    "check_vjp",
    "gradients",
    "lay_out",
    "strategies",
]
