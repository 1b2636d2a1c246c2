"""PyTorch's operators, at the inputs of PyTorch's own tests.

``op_db`` lists every operator with a generator of sample inputs. A sample takes part if one of its float64 tensors
requires a gradient and an output depends on this tensor. All other values of the sample are fixed. As in PyTorch's own
tests, the operator's ``gradcheck_wrapper`` and the sample's ``output_process_fn_grad`` define the function to
differentiate. A complex output counts as its real and imaginary parts.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch.testing._internal.common_methods_invocations import op_db
from torch.utils import _pytree as pytree

from operators.case import Case, Plant, choose_plant

VERSION = torch.__version__
_LOOKED_AT = 40  # samples of an operator to choose from
_LARGE = 130  # elements; larger samples are used only if there is no smaller one
# The results of these operators depend on the memory order, or they refuse some orders: they get contiguous copies.
_OF_MEMORY = (
    "as_strided",
    "as_strided_copy",
    "as_strided_scatter",
    "view",
    "view_as",
    "view_as_complex",
    "native_group_norm",
)
Skipped = str


def names() -> list[str]:
    """Return the names of all operators, each with its variant."""
    return list(_by_name())


def cases(name: str, number: int) -> Iterator[Case | Skipped]:
    """Yield up to ``number`` cases for an operator, or the reason why there is none."""
    op = _by_name()[name]
    if not op.supports_autograd:
        yield "has no derivative, PyTorch says"
        return
    if not op.supports_dtype(torch.float64, "cpu"):
        yield "does not take float64"
        return
    found: list[Case] = []
    reason = "no sample"
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 (some samples come from the global generator)
    torch.manual_seed(0)
    samples = op.sample_inputs("cpu", torch.float64, requires_grad=True)
    for index, sample in enumerate(itertools.islice(samples, _LOOKED_AT)):
        case = _case(name, index, op, sample)
        if isinstance(case, Case):
            found.append(case)
        else:
            reason = case
    small = [case for case in found if case.size <= _LARGE] or sorted(found, key=lambda case: case.size)[:1]
    if not small:
        yield reason
    rng = np.random.default_rng(0)
    telling = [case for case in small if isinstance(choose_plant(case, rng), Plant)] or small[:1]
    yield from (telling[n] for n in sorted({n * len(telling) // number for n in range(number)} if telling else ()))


def _by_name() -> dict[str, Any]:
    table: dict[str, Any] = {}
    for op in op_db:
        name = f"{op.name}:{op.variant_test_name}" if op.variant_test_name else op.name
        assert name not in table, name
        table[name] = op
    return table


def _case(name: str, index: int, op: Any, sample: Any) -> Case | Skipped:
    leaves, structure = pytree.tree_flatten((sample.input, sample.args, dict(sample.kwargs)))
    places = [n for n, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor) and leaf.requires_grad]
    if not places:
        return "no input requires a gradient"
    if any(leaves[n].dtype != torch.float64 or leaves[n].layout != torch.strided for n in places):
        return "an input is not a dense float64 tensor"

    def on_tensors(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the outputs that depend on the tensors, processed as in PyTorch's tests."""
        full = list(leaves)
        if op.name in _OF_MEMORY:
            tensors = tuple(tensor.contiguous() for tensor in tensors)
        for n, tensor in zip(places, tensors, strict=True):
            full[n] = tensor
        first, args, kwargs = pytree.tree_unflatten(full, structure)
        torch.default_generator.manual_seed(0)  # torch.manual_seed records a traceback at each call
        output = op.gradcheck_wrapper(op.op, first, *args, **kwargs)
        if sample.output_process_fn_grad is not None:
            output = sample.output_process_fn_grad(output)
        outputs = [y for y in pytree.tree_leaves(output) if isinstance(y, torch.Tensor) and y.requires_grad]
        return tuple(torch.view_as_real(y.resolve_conj()) if y.is_complex() else y for y in outputs)

    arrays = tuple(leaves[n].detach().numpy().copy() for n in places)
    with torch.enable_grad():
        outputs = on_tensors(*map(_leaf, arrays))
    if not outputs:
        return "no output depends on the inputs"
    if any(y.layout != torch.strided or y.is_nested or y.dtype != torch.float64 for y in outputs):
        return "an output is not a dense float64 tensor"
    if not any(x.size for x in arrays) or not any(y.numel() for y in outputs):
        return "empty inputs or outputs"
    return Case("torch", name, index, *on_arrays(on_tensors), arrays, _gradcheck(on_tensors, arrays))


def on_arrays(on_tensors: Callable[..., tuple[torch.Tensor, ...]]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return function and vjp on arrays for a function of tensors that returns a tuple of tensors."""

    def function(*arrays: np.ndarray) -> Any:
        outputs = tuple(y.detach().numpy().copy() for y in on_tensors(*map(_leaf, arrays)))
        return outputs if len(outputs) > 1 else outputs[0]

    def vjp(gy: Any, *arrays: np.ndarray) -> tuple[np.ndarray | None, ...]:
        tensors = [_leaf(x) for x in arrays]
        outputs = on_tensors(*tensors)
        incoming = [torch.from_numpy(part) for part in (gy if isinstance(gy, tuple) else (gy,))]
        gradients = torch.autograd.grad(outputs, tensors, incoming, allow_unused=True)
        return tuple(None if g is None else g.numpy(force=True) for g in gradients)

    return function, vjp


def _leaf(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array).requires_grad_()


def _gradcheck(on_tensors: Callable[..., tuple[torch.Tensor, ...]], arrays: tuple[np.ndarray, ...]) -> Any:
    def check(plant: Plant | None) -> None:
        def function(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
            inputs = list(tensors)
            if plant is not None:
                factors = torch.from_numpy(plant.factors(arrays[plant.argument].shape))
                inputs[plant.argument] = wrong = tensors[plant.argument].clone()
                if wrong.requires_grad:
                    wrong.register_hook(lambda g: None if g is None else g * factors)
            return on_tensors(*inputs)

        torch.autograd.gradcheck(function, tuple(_leaf(x.copy()) for x in arrays))

    return check
