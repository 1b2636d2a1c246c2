"""DeZero, and its functions as functions of arrays.

DeZero 0.0.13 was made for NumPy 1. A default argument of a data transform, which is not used here, names ``np.int``,
and NumPy 2 no longer has it. So the alias is defined before the import; nothing else is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

if not hasattr(np, "int"):
    vars(np)["int"] = int

import dezero
import dezero.functions as F

__all__ = ["Pair", "Twice", "dezero"]


class Pair:
    """A function of DeZero's variables as a function of arrays, with its vjp."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def forward(self, *arrays: np.ndarray) -> np.ndarray:
        return self.function(*map(dezero.Variable, arrays)).data

    def vjp(self, gy: np.ndarray, *arrays: np.ndarray) -> list[np.ndarray | None]:
        variables, _ = self.gradients(gy, arrays)
        return [_data(variable.grad) for variable in variables]

    def gradients(self, gy: Any, arrays: Sequence[np.ndarray], create_graph: bool = False) -> tuple[list[Any], Any]:
        """Return the inputs with their ``.grad``, and gy, as variables."""
        variables = list(map(dezero.Variable, arrays))
        y = self.function(*variables)
        y.grad = gy = dezero.Variable(gy)
        if y.creator is not None:  # an operation may return its input
            y.backward(create_graph=create_graph)
        return variables, gy


class Twice:
    """The function (x, …, gy) ↦ gradients of arrays, with the vjp that DeZero's ``create_graph`` computes."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.first = Pair(function)

    def complete(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the inputs and a gy in the shape of the output."""
        y = self.first.forward(*arrays)
        return [*arrays, np.random.default_rng(y.size).standard_normal(y.shape)]

    def forward(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        variables, _ = self.first.gradients(arrays[-1], arrays[:-1])
        return tuple(variable.grad.data for variable in variables if variable.grad is not None)

    def vjp(self, ggx: tuple[np.ndarray, ...], *arrays: np.ndarray) -> list[np.ndarray | None]:
        variables, gy = self.first.gradients(arrays[-1], arrays[:-1], create_graph=True)
        gradients = [variable.grad for variable in variables if variable.grad is not None]
        for variable in (*variables, gy):
            variable.cleargrad()
        products = [F.sum(g * dezero.Variable(weights)) for g, weights in zip(gradients, ggx, strict=True)]
        total = products[0]
        for product in products[1:]:
            total = total + product
        total.backward()
        return [_data(variable.grad) for variable in (*variables, gy)]


def _data(gradient: Any) -> np.ndarray | None:
    return None if gradient is None else gradient.data
