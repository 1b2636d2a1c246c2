"""Right gradients that are awkward to check; `check_vjp` must pass them all."""

from gradient_cases.cases import RIGHT
from gradient_cases.right import arguments, formulas, kinks, layers, saturated, scales

__all__ = ["RIGHT", "arguments", "formulas", "kinks", "layers", "saturated", "scales"]
