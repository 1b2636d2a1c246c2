"""Find what the catalogue does not cover: operations that no case reaches, and names without an entry."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from minires import functional
from minires.autograd.backward import grad, inputs_first
from minires.autograd.op import Op
from minires.autograd.tensor import Tensor
from minires.errors import MiniresError
from minires.functional.creation import tensor
from minires.testing.catalogue.entry import Case, Entry
from minires.testing.catalogue.laid_out import in_order
from minires.values import METHODS

_WITHOUT_DERIVATIVES = ("minires.functional.creation", "minires.functional.in_place")


def operations_reached(case: Case) -> set[type[Op]]:
    """Return the operations that compute the output of a case, its gradients, and their gradients."""
    kinds = case.smooth or case.exact
    assert kinds is not None, f"{case.text} has no values"
    function = in_order(case.function, "C", "reference")
    inputs = [tensor(array, requires_grad=True) for array in case.values(kinds, seed=0)]
    y = function(*inputs)
    gy = _ones_like(y)
    first = _gradients([y], inputs, [gy])
    second = _gradients(first, [*inputs, gy], [_ones_like(g) for g in first])
    return {type(op) for op in inputs_first([y, *first, *second])}


def _ones_like(y: Tensor) -> Tensor:
    return tensor(np.ones(y.shape), requires_grad=True, device=y.device, dtype=y.dtype)


def _gradients(outputs: list[Tensor], inputs: list[Tensor], gys: list[Tensor]) -> list[Tensor]:
    used = [(y, gy) for y, gy in zip(outputs, gys, strict=True) if y.requires_grad]
    if not used:
        return []
    ys, gys = (list(part) for part in zip(*used, strict=True))
    return [g for g in grad(ys, inputs, gys, create_graph=True, allow_unused=True) if g is not None]


def differentiable_operations() -> list[type[Op]]:
    """Return the operations of minires that have a derivative.

    These are the subclasses of `Op` that define or inherit a ``backward``; comparisons have none. A class with
    subclasses in minires is their common part and no operation itself.
    """
    found, stack = [], [Op]
    while stack:
        below = [cls for cls in stack.pop().__subclasses__() if cls.__module__.partition(".")[0] == "minires"]
        stack += below
        found += [cls for cls in below if cls.backward is not Op.backward]
    inner = {base for cls in found for base in cls.__mro__[1:]}
    return sorted((cls for cls in found if cls not in inner), key=lambda cls: (cls.__module__, cls.__qualname__))


def public_functions() -> dict[str, Callable[..., Any]]:
    """Return the functions that a user calls by name: those of `functional`, and Tensor's operators and methods."""
    exported = {name: getattr(functional, name) for name in functional.__all__}
    named = {**{name: function for name, function in METHODS.items() if name[0] != "_"}, **exported}
    return {name: function for name, function in named.items() if callable(function)}


def unchecked(entries: Iterable[Entry], reached: set[type[Op]]) -> list[str]:
    """Return what no entry checks: operations that were not reached, and public functions without an entry.

    A function needs an entry unless it creates tensors from other values (functional/creation.py), writes in place
    without being recorded (functional/in_place.py), or returns booleans, as comparisons do. A function with two names
    needs one entry.
    """
    functions = public_functions()
    names = {entry.operation for entry in entries}
    covered = {id(function) for name, function in functions.items() if name in names}
    missing = [f"{cls.__module__}.{cls.__qualname__}" for cls in differentiable_operations() if cls not in reached]
    for name, function in sorted(functions.items()):
        if id(function) not in covered and function.__module__ not in _WITHOUT_DERIVATIVES:
            missing += [name] * _has_derivative(function)
    return missing


def _has_derivative(function: Callable[..., Any]) -> bool:
    x = tensor(np.ones(1), requires_grad=True)
    try:
        y = function(x, x)
    except (MiniresError, TypeError, ValueError):
        return True  # not a comparison
    return not (isinstance(y, Tensor) and y.dtype.kind == "b")
