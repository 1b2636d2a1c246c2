"""Right gradients that are hard to check; `check_vjp` must pass all of them."""

from gradient_cases.cases import RIGHT
from gradient_cases.right import arguments, formulas, kinks, layers, saturated, scales

__all__ = ["RIGHT", "arguments", "formulas", "kinks", "layers", "saturated", "scales"]
