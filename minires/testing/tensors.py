"""`check_gradient`: `check_vjp` for functions of Tensors, and for the gradients of their gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minires.autograd.backward import grad
from minires.device import Array
from minires.functional.creation import tensor
from minires.testing.report import GradientReport
from minires.testing.vjp import check_vjp


def check_gradient(
    function: Callable[..., Any],
    *tensors: Any,
    order: int = 1,
    rng: int | np.random.Generator | None = None,
    argnums: int | Sequence[int] | None = None,
    at_kinks: str = "skip",
    deterministic: bool = True,
) -> GradientReport:
    """Prove that `minires.grad` of a function of Tensors is its derivative.

        ⟨grad(function, gy), d⟩ = d/dt ⟨gy, function(x + t d)⟩

    Parameters
    ----------
    function : Tensors -> Tensor or tuple of Tensors
    tensors : the point; float64 where a gradient is checked, integers (labels) are handed through
    order : 2 checks (x, gy) ↦ grad(function, gy) in the same way, too: the gradient of the gradient
    rng, argnums, at_kinks : as for `check_vjp`; by default the tensors that require a gradient, or all float
        tensors where none does
    deterministic : equal calls must give equal bits (True: minires promises it)

    Returns
    -------
    GradientReport, for order 2 that of the second derivatives

    Raises
    ------
    GradientError, Inconclusive, DtypeError : as `check_vjp` does.
    ValueError : for another order than 1 or 2.
    """
    if order not in (1, 2):
        raise ValueError(f"order must be 1 or 2, got {order!r}")
    seed = int(rng.integers(2**32)) if isinstance(rng, np.random.Generator) else int(rng or 0)
    arrays = [tensor.numpy() for tensor in tensors]
    wanted = [n for n, tensor in enumerate(tensors) if tensor.requires_grad]
    if argnums is None:
        argnums = wanted or [n for n, array in enumerate(arrays) if array.dtype.kind == "f"]
    chosen = [argnums] if isinstance(argnums, int) else list(argnums)
    adapter = _Adapter(function, [n % max(len(arrays), 1) for n in chosen], [tensor.device for tensor in tensors])
    options: dict[str, Any] = {"rng": seed, "at_kinks": at_kinks, "deterministic": deterministic}
    report = check_vjp(adapter.forward, adapter.vjp, *arrays, argnums=chosen, **options)
    if order == 1:
        return report
    generator = np.random.default_rng(seed)
    gys = [generator.standard_normal(shape) for shape in adapter.output_shapes(arrays)]
    second = _SecondOrder(adapter, len(arrays), arrays, gys)
    numbers = [*chosen, *range(len(arrays), len(arrays) + len(gys))]
    return check_vjp(second.forward, second.vjp, *arrays, *gys, argnums=numbers, **options)


class _Adapter:
    """A function of Tensors as a function of arrays with its vjp."""

    def __init__(self, function: Callable[..., Any], argnums: Sequence[int], devices: Sequence[str]) -> None:
        self.function, self.argnums, self.devices = function, list(argnums), devices

    def tensors(self, arrays: Sequence[Array]) -> list[Any]:

        return [
            tensor(array, requires_grad=number in self.argnums, device=device)
            for number, (array, device) in enumerate(zip(arrays, self.devices, strict=True))
        ]

    def outputs(self, tensors: Sequence[Any]) -> tuple[Any, ...]:
        returned = self.function(*tensors)
        return tuple(returned) if isinstance(returned, tuple | list) else (returned,)

    def output_shapes(self, arrays: Sequence[Array]) -> list[tuple[int, ...]]:
        return [output.shape for output in self.outputs(self.tensors(arrays)) if output.dtype.kind == "f"]

    def forward(self, *arrays: Array) -> tuple[Array, ...]:
        return tuple(output.numpy() for output in self.outputs(self.tensors(arrays)))

    def vjp(self, gy: tuple[Array | None, ...], *arrays: Array) -> list[Array | None]:
        tensors = self.tensors(arrays)
        outputs = self.outputs(tensors)
        pairs = [(y, g) for y, g in zip(outputs, gy, strict=True) if g is not None]
        return _grad([y for y, _ in pairs], tensors, [g for _, g in pairs])


class _SecondOrder:
    """(x, gy) ↦ vjp(gy, x), with the gradients that the engine records."""

    def __init__(self, first: _Adapter, inputs: int, arrays: Sequence[Array], gys: Sequence[Array]) -> None:
        self.first, self.inputs = first, inputs
        _, gradients = self._gradients([*arrays, *gys])
        self.present = [gradient is not None for gradient in gradients]

    def _gradients(self, arrays: Sequence[Array]) -> tuple[list[Any], list[Any]]:

        tensors = self.first.tensors(arrays[: self.inputs])
        gys = [tensor(gy, requires_grad=True, device=self.first.devices[0]) for gy in arrays[self.inputs :]]
        outputs = [y for y in self.first.outputs(tensors) if y.dtype.kind == "f"]
        used = [(y, gy) for y, gy in zip(outputs, gys, strict=True) if y.requires_grad]
        wanted = [tensors[number] for number in self.first.argnums]
        gradients = grad([y for y, _ in used], wanted, [gy for _, gy in used], create_graph=True, allow_unused=True)
        return [*tensors, *gys], list(gradients)

    def _present(self, gradients: Sequence[Any]) -> list[Any]:
        return [g for g, present in zip(gradients, self.present, strict=True) if present]

    def forward(self, *arrays: Array) -> tuple[Array, ...]:
        _, gradients = self._gradients(arrays)
        return tuple(gradient.numpy() for gradient in self._present(gradients))

    def vjp(self, ggx: tuple[Array, ...], *arrays: Array) -> list[Array | None]:
        tensors, gradients = self._gradients(arrays)
        return _grad(self._present(gradients), tensors, ggx)


def _grad(outputs: Sequence[Any], tensors: Sequence[Any], gy: Sequence[Array]) -> list[Array | None]:
    """Gradients with respect to the tensors that require one, None for the others."""

    used = [(y, tensor(g, device=y.device)) for y, g in zip(outputs, gy, strict=True) if y.requires_grad]
    wanted = [number for number, tensor in enumerate(tensors) if tensor.requires_grad]
    gradients: list[Array | None] = [None] * len(tensors)
    if not used or not wanted:
        return gradients
    found = grad([y for y, _ in used], [tensors[number] for number in wanted], [g for _, g in used], allow_unused=True)
    for number, gradient in zip(wanted, found, strict=True):
        gradients[number] = None if gradient is None else gradient.numpy()
    return gradients
