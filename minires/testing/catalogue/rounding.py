"""Check forward and backward passes in float32 against the float64 reference, through the whole engine."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from minires import kernels
from minires.autograd.backward import grad
from minires.autograd.tensor import Tensor
from minires.device import Array
from minires.functional.creation import tensor
from minires.testing.rounding import RoundingReport, check_rounding
from minires.testing.rounding.algorithms import algorithm_of

Function = Callable[..., Any]


def check_derivatives(
    function: Function, reference: Function, arrays: Sequence[Array], gys: Sequence[Array], device: str, own: str | None
) -> RoundingReport:
    """Return `check_rounding` of the outputs and the gradients of a function.

    Parameters
    ----------
    function : a function of Tensors, computed with the kernels in use
    reference : the same function, computed by reference kernels in float64
    arrays, gys : the inputs and the outputs' gradients, float32
    device : where ``function`` computes
    own : the kernel set whose formulas the bound is for; None for the reference's formulas in any order

    Raises
    ------
    RoundingError : as `check_rounding` does.
    """

    def results(function: Function, device: str) -> Function:
        return lambda *given: _results(function, given[: len(arrays)], given[len(arrays) :], device)

    def exact(*given: Any, by: str | kernels.KernelSet = "reference") -> tuple[Any, ...]:
        with kernels.using(by):
            return results(reference, "cpu")(*given)

    algorithm = None if own is None else functools.partial(exact, by=_OwnFormulas(own))
    return check_rounding(results(function, device), exact, *arrays, *gys, algorithm=algorithm)


def gradients_of(function: Function) -> Function:
    """Return the function of Tensors (x, …, gy) ↦ the gradients of ``function`` for each x that has one."""

    def gradients(*tensors: Tensor) -> tuple[Tensor, ...]:
        *inputs, gy = tensors
        found = grad(function(*inputs), inputs, gy, create_graph=True, allow_unused=True)
        return tuple(g for g in found if g is not None)

    return gradients


def _results(function: Function, xs: Sequence[Any], gys: Sequence[Any], device: str) -> tuple[Any, ...]:
    """Return the outputs, and the gradients of the inputs or None."""
    inputs = [tensor(x, requires_grad=True, device=device) for x in xs]
    returned = function(*inputs)
    outputs = returned if isinstance(returned, tuple) else (returned,)
    used = [(y, tensor(gy, device=device)) for y, gy in zip(outputs, gys, strict=True) if y.requires_grad]
    found = grad([y for y, _ in used], inputs, [gy for _, gy in used], allow_unused=True)
    return tuple(None if t is None else t.array for t in (*outputs, *found))


class _OwnFormulas(kernels.KernelSet):
    """The reference kernels, with the formulas of another set where they differ; only for `Rounded` arrays."""

    def __init__(self, of: str) -> None:
        super().__init__("reference")
        self.of = of

    def __getattr__(self, kernel: str) -> Callable[..., Any]:
        own = algorithm_of(self.of, kernel)
        return super().__getattr__(kernel) if own is None else own
