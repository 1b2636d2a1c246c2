"""`check_gradient`: check the gradients of functions of Tensors, and the gradients of these gradients."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minires.autograd.backward import grad, inputs_first
from minires.autograd.tensor import Tensor
from minires.device import Array, asnumpy, on_device_of
from minires.functional.creation import tensor
from minires.functional.kernel_op import KernelOp
from minires.testing.calling.arguments import accuracy_of, call_function, choose_arguments, seed_of, type_name
from minires.testing.calling.names import labels_of
from minires.testing.complex_step import check_complex_step
from minires.testing.report import GradientReport, errors_end_here
from minires.testing.reproduce.definitions import definitions
from minires.testing.vjp import check_vjp

__tracebackhide__ = True  # pytest goes from the caller's line to the caller's function


@errors_end_here
def check_gradient(
    function: Callable[..., Any],
    *tensors: Any,
    order: int = 1,
    rng: int | np.random.Generator | None = None,
    argnums: int | Sequence[int] | None = None,
    method: str = "finite differences",
    at_kinks: str = "skip",
    deterministic: bool = True,
    accuracy: float | Sequence[float] = 0.0,
) -> GradientReport:
    """Prove that `minires.grad` of a function of Tensors is its derivative.

        ⟨grad(function, gy), d⟩ = d/dt ⟨gy, function(x + t d)⟩

    Parameters
    ----------
    function : Tensors -> Tensor or tuple of Tensors
    tensors : the point; float64 where a gradient is checked, integers (labels) are passed through
    order : 2 also checks (x, gy) ↦ grad(function, gy) in the same way: the gradient of the gradient
    method : "finite differences"; or "complex step", for functions without kinks whose operations run on complex128,
        as all reference kernels do: ten evaluations instead of two hundred
    argnums : the inputs whose gradients are checked; by default the tensors that require a gradient, or all float
        tensors if none does
    rng, at_kinks, accuracy : as for `check_vjp`
    deterministic : equal calls must give equal bits (True: minires promises it)

    Returns
    -------
    GradientReport, for order 2 that of the second derivatives

    Raises
    ------
    GradientError, Inconclusive, DtypeError : as `check_vjp` does.
    ValueError : for another order or method, and for ``accuracy`` with the complex step, which measures it.
    TypeError : if an input or output is not a Tensor.
    """
    if order not in (1, 2):
        raise ValueError(f"order must be 1 or 2, got {order!r}")
    if method not in ("finite differences", "complex step"):
        raise ValueError(f"method must be 'finite differences' or 'complex step', got {method!r}")
    if method == "complex step" and any(accuracy_of(accuracy)):
        raise ValueError("accuracy is for finite differences; the complex step measures what the function's own is")
    seed = seed_of(rng)

    def check(pair: Any, arrays: Sequence[Array], numbers: Sequence[int]) -> GradientReport:
        if method == "complex step":
            return check_complex_step(pair.forward, pair.vjp, *arrays, argnums=numbers, rng=seed)
        options: dict[str, Any] = {"at_kinks": at_kinks, "deterministic": deterministic, "accuracy": accuracy}
        return check_vjp(pair.forward, pair.vjp, *arrays, argnums=numbers, rng=seed, **options)

    for label, value in zip(labels_of(function, len(tensors)), tensors, strict=True):
        if not isinstance(value, Tensor):
            raise TypeError(
                f"{label} is a {type_name(value)}, expected a Tensor of minires: give minires.tensor(…), or "
                "check a function of plain arrays with check_vjp"
            )
    arrays = [tensor.numpy() for tensor in tensors]
    if argnums is None:
        wanted = [n for n, tensor in enumerate(tensors) if tensor.requires_grad]
        argnums = wanted or [n for n, array in enumerate(arrays) if array.dtype.kind == "f"] or None
    chosen = choose_arguments(arrays, argnums)
    pair = TensorPair(function, chosen, [tensor.device for tensor in tensors])
    report = check(pair, arrays, chosen)
    if order == 1:
        return report
    generator = np.random.default_rng(seed)
    with np.errstate(all="ignore"):  # the point may be outside the domain; the check will say so
        gys = [generator.standard_normal(shape) for shape in pair.output_shapes(arrays)]
        everything = [*arrays, *gys]
        second = SecondOrder(pair, everything)
    return check(second, everything, [*chosen, *range(len(arrays), len(everything))])


class _Branching:
    """The base of both pairs: keep the last outputs, and tell which choices the operations made."""

    _latest: Sequence[Any] = ()

    @property
    def branches(self) -> bytes | None:
        """The fingerprint of these choices, computed when it is asked for; None if there were none to make."""
        return fingerprint(self._latest)


def fingerprint(outputs: Sequence[Tensor]) -> bytes | None:
    """Return a digest of all choices that a graph's operations made; None if there were none to make.

    Two graphs of the same form have the same digest if every ReLU let the same elements through and every maximum
    was found at the same index. Between two such points a network is smooth, so kinks are found with certainty.
    """
    digest = hashlib.blake2b(digest_size=16)
    chose = False
    for op in inputs_first(list(outputs)):
        if isinstance(op, KernelOp):
            with on_device_of(*(saved.array for saved in op.saved)):
                choices = op.branches()
            chose = chose or bool(choices)
            for choice in choices:
                digest.update(asnumpy(choice).tobytes())
    return digest.digest() if chose else None


class TensorPair(_Branching):
    """A function of arrays made from a function of Tensors, with its vjp.

    Parameters
    ----------
    function : Tensors -> Tensor or a sequence of Tensors
    argnums : the indices of inputs that require a gradient
    devices : the device of each input
    """

    def __init__(self, function: Callable[..., Any], argnums: Sequence[int], devices: Sequence[str]) -> None:
        self.function, self.argnums, self.devices = function, list(argnums), list(devices)

    def tensors(self, arrays: Sequence[Array]) -> list[Any]:
        """Return the inputs as new tensors."""
        return [
            tensor(array, requires_grad=number in self.argnums, device=device)
            for number, (array, device) in enumerate(zip(arrays, self.devices, strict=True))
        ]

    def outputs(self, tensors: Sequence[Any]) -> tuple[Any, ...]:
        """Return what the function returns, as a tuple.

        Raises
        ------
        TypeError : if it returns anything but Tensors.
        """
        returned = call_function(self.function, tensors)
        outputs = tuple(returned) if isinstance(returned, tuple | list) else (returned,)
        for output in outputs:
            if not isinstance(output, Tensor):
                raise TypeError(
                    f"function returns a {type_name(output)}, expected a Tensor of minires or a tuple of them; a "
                    "function of plain arrays goes to check_vjp, with its gradient"
                )
        return outputs

    def output_shapes(self, arrays: Sequence[Array]) -> list[tuple[int, ...]]:
        """Return the shapes of the float outputs."""
        return [output.shape for output in self.outputs(self.tensors(arrays)) if output.dtype.kind == "f"]

    def forward(self, *arrays: Array) -> tuple[Array, ...]:
        """Return the outputs' arrays."""
        self._latest = self.outputs(self.tensors(arrays))
        return tuple(output.numpy() for output in self._latest)

    def vjp(self, gy: tuple[Array | None, ...], *arrays: Array) -> list[Array | None]:
        """Return the inputs' gradients, as the engine computes them."""
        tensors = self.tensors(arrays)
        pairs = [(y, g) for y, g in zip(self.outputs(tensors), gy, strict=True) if g is not None]
        return _grad([y for y, _ in pairs], tensors, [g for _, g in pairs])

    def input_labels(self, count: int) -> list[str]:
        """Return what messages call the inputs."""
        return labels_of(self.function, count)

    def reproduction(self) -> list[str]:
        """Return source code that defines ``function`` and ``vjp`` of arrays again."""
        return [
            "from minires.testing.tensors import TensorPair",
            *definitions(of_tensors=self.function),
            f"pair = TensorPair(of_tensors, {self.argnums}, {self.devices})",
            "function, vjp = pair.forward, pair.vjp",
        ]


class SecondOrder(_Branching):
    """The function (x, gy) ↦ vjp(gy, x), as recorded by the engine; its vjp is the second derivative.

    Parameters
    ----------
    first : the pair to differentiate
    arrays : the point: the inputs, then one gy for each float output
    """

    def __init__(self, first: TensorPair, arrays: Sequence[Array]) -> None:
        self.first = first
        _, gradients = self._gradients(arrays)
        self.present = [gradient is not None for gradient in gradients]

    def _gradients(self, arrays: Sequence[Array]) -> tuple[list[Any], list[Any]]:
        inputs, gys = arrays[: len(self.first.devices)], arrays[len(self.first.devices) :]
        tensors = self.first.tensors(inputs)
        outputs = [y for y in self.first.outputs(tensors) if y.dtype.kind in "fc"]
        seeds = [tensor(gy, requires_grad=True, device=y.device) for y, gy in zip(outputs, gys, strict=True)]
        used = [(y, gy) for y, gy in zip(outputs, seeds, strict=True) if y.requires_grad]
        wanted = [tensors[number] for number in self.first.argnums]
        gradients = grad([y for y, _ in used], wanted, [gy for _, gy in used], create_graph=True, allow_unused=True)
        return [*tensors, *seeds], list(gradients)

    def _present(self, gradients: Sequence[Any]) -> list[Any]:
        return [g for g, present in zip(gradients, self.present, strict=True) if present]

    def forward(self, *arrays: Array) -> tuple[Array, ...]:
        """Return the first derivatives."""
        self._latest = self._present(self._gradients(arrays)[1])
        return tuple(gradient.numpy() for gradient in self._latest)

    def vjp(self, ggx: tuple[Array, ...], *arrays: Array) -> list[Array | None]:
        """Return the gradients of the first derivatives with respect to the inputs and gy."""
        tensors, gradients = self._gradients(arrays)
        return _grad(self._present(gradients), tensors, ggx)

    def input_labels(self, count: int) -> list[str]:
        """Return what messages call the inputs and the gradients of the outputs."""
        inputs = self.first.input_labels(len(self.first.devices))
        gys = count - len(inputs)
        return inputs + (["`gy`"] if gys == 1 else [f"`gy[{n}]`" for n in range(gys)])

    def reproduction(self) -> list[str]:
        """Return source code that defines ``function`` and ``vjp`` again, for given ``arrays``."""
        return [
            *self.first.reproduction(),
            "from minires.testing.tensors import SecondOrder",
            "pair = SecondOrder(pair, arrays)",
            "function, vjp = pair.forward, pair.vjp",
        ]


def _grad(outputs: Sequence[Any], tensors: Sequence[Any], gy: Sequence[Array]) -> list[Array | None]:
    """Return gradients with respect to the tensors that require one, None for the others."""
    used = [(y, tensor(g, device=y.device)) for y, g in zip(outputs, gy, strict=True) if y.requires_grad]
    wanted = [number for number, tensor in enumerate(tensors) if tensor.requires_grad]
    gradients: list[Array | None] = [None] * len(tensors)
    if not used or not wanted:
        return gradients
    found = grad([y for y, _ in used], [tensors[number] for number in wanted], [g for _, g in used], allow_unused=True)
    for number, gradient in zip(wanted, found, strict=True):
        gradients[number] = None if gradient is None else gradient.numpy()
    return gradients
