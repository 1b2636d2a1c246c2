"""Wrong gradients; `check_vjp` must catch all of them."""

from gradient_cases.cases import WRONG
from gradient_cases.wrong import contract, elements, formulas, layers, not_finite

__all__ = ["WRONG", "contract", "elements", "formulas", "layers", "not_finite"]
