"""Wrong gradients, every one of which `check_vjp` must catch."""

from gradient_cases.cases import WRONG
from gradient_cases.wrong import contract, elements, formulas, layers, not_finite

__all__ = ["WRONG", "contract", "elements", "formulas", "layers", "not_finite"]
