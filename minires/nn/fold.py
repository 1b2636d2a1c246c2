"""Fold each batch norm into the convolution before it, to make a network for inference.

In evaluation mode a batch norm is one scale and one shift per channel, given by its running statistics. After a
convolution, which is linear, the scale goes into the weights and the shift into the bias:

    scale = gamma / √(var + eps)                                                  (1)
    shift = beta − scale · mean
    w' = scale · w,    b' = shift + scale · b                                     (2)

The two are then one layer, which saves a pass over the activations. Source: Jacob et al. 2018, arXiv:1712.05877,
section 3.2; the idea is older.
"""

from __future__ import annotations

import copy
import warnings
import weakref
from functools import partial
from typing import Any

import numpy as np

from minires.autograd.op import no_grad
from minires.autograd.tensor import Tensor
from minires.device import Array, copied, on_device_of
from minires.errors import ShapeError
from minires.functional.creation import tensor
from minires.nn.batch_norm import BatchNorm2d, FoldedBatchNorm
from minires.nn.layers import Conv2d
from minires.nn.module import Module
from minires.nn.parameter import Parameter

SIZES = (32, 224, 28, 64, 96, 128, 256)  # image sizes to try when no example is given


def fold_batch_norm(model: Module, example: Tensor | None = None) -> Module:
    """Return a copy of the model for inference, with each batch norm folded into the convolution before it.

    One forward pass finds which layer follows which. A batch norm is folded if it has running statistics, each of its
    inputs is an output of one convolution, and nothing else reads or keeps the outputs of this convolution. All other
    batch norms stay. Layers of a subclass of `Conv2d` or `BatchNorm2d` are not folded, nor layers whose ``forward``
    was replaced.

    Parameters
    ----------
    model : a module that takes one tensor; it is not changed
    example : an input (N, C, H, W) for the forward pass; by default one black image of a usual size, with the channels
        of the first convolution

    Returns
    -------
    folded : a deep copy in evaluation mode, without hooks. Its output equals the model's in evaluation mode up to
        rounding. ``train()`` does not bring the batch norms back: their statistics stay folded. The folded weights and
        biases can be trained, unless everything they were made of was frozen.

    Raises
    ------
    ShapeError : if no usual image size fits the model: pass an example.
    TypeError : if ``model`` is not a module.

    Warns
    -----
    UserWarning : if the folded network gives another output for an image of noise, because something else reads a
        layer's parameters, too. Then nothing is folded.
    """
    if not isinstance(model, Module):
        raise TypeError(f"fold_batch_norm takes a module, not a {type(model).__name__}")
    folded = _copy(model).eval()
    first = next((module for module in folded.modules() if type(module) is Conv2d), None)
    if first is None:
        return folded
    x = _example(folded, first) if example is None else example
    noise = tensor(np.random.default_rng(0).standard_normal(x.shape), device=x.device, dtype=x.dtype)
    expected = _outputs(folded, noise)
    pairs = _pairs(folded, x)
    for conv, norm in pairs:
        _fold(conv, norm)
    _replace(folded, {norm: FoldedBatchNorm().eval() for _, norm in pairs})
    if pairs and not _agrees(folded, noise, expected):
        warnings.warn(
            f"fold_batch_norm folds nothing: folded, {type(model).__name__} would give something else. It reads the "
            "parameters of a convolution or of a batch norm elsewhere, too",
            stacklevel=2,
        )
        return _copy(model).eval()
    return folded


def _copy(model: Module) -> Module:
    """Return a deep copy without hooks and gradients, whose tensors are leaves even where the model's are computed."""
    memo: dict[int, Any] = {}
    for module in model.modules():
        memo[id(module._hooks)] = {}
        for value in (*vars(module).values(), *module._buffers.values()):
            if isinstance(value, Tensor) and id(value) not in memo:
                is_parameter = isinstance(value, Parameter)
                memo[id(value)] = Parameter(value, value.requires_grad) if is_parameter else tensor(value)
    return copy.deepcopy(model, memo)


def _example(model: Module, first: Conv2d) -> Tensor:
    """Return a black image of the first usual size that the model takes."""
    w = first.weight
    for size in SIZES:
        x = tensor(np.zeros((1, w.shape[1] * first.groups, size, size), w.dtype), device=w.device)
        try:
            with no_grad():
                model(x)
            return x
        except ShapeError as error:
            refusal = error
    raise ShapeError(
        f"{type(model).__name__} takes no image of shape {x.shape[:2]} + (size, size) with a size among {SIZES}: "
        f"pass an example to fold_batch_norm ({refusal})"
    ) from refusal


def _fold(conv: Conv2d, norm: BatchNorm2d) -> None:
    """Replace the convolution's parameters. They are computed in float64, so float32 weights are rounded once."""
    w, b = conv.weight.array, conv.bias
    scale, shift = norm.scale_and_shift()  # (1)
    with on_device_of(w):
        weight = copied(w * scale.reshape(-1, 1, 1, 1), w.dtype, like=w)  # (2)
        bias = copied(shift if b is None else shift + scale * b.array, w.dtype)  # (2)
    learns = any(t is not None and t.requires_grad for t in (conv.weight, b, norm.weight, norm.bias))
    conv.weight, conv.bias = Parameter(weight, learns), Parameter(bias, learns)


def _replace(model: Module, replacements: dict[Any, Module]) -> None:
    """Replace modules wherever they are inside the model."""
    for module in list(model.modules()):
        for name, child in module._own_modules():
            if child in replacements:
                setattr(module, name, replacements[child])


# Which convolution each batch norm follows


class _Watched(Tensor):
    """The output of a convolution. Every operation reads ``_array``, which adds None to the readers."""

    __slots__ = ("conv", "readers", "values")

    def __init__(self, values: Array, conv: Module, readers: set[Module | None]) -> None:
        self.readers: set[Module | None] = set()  # for the constructor, which reads, too
        super().__init__(values)
        self.conv, self.readers = conv, readers

    @property
    def _array(self) -> Array:
        self.readers.add(None)
        return self.values

    @_array.setter
    def _array(self, values: Array) -> None:
        self.values = values


def _pairs(model: Module, x: Tensor) -> list[tuple[Conv2d, BatchNorm2d]]:
    """Return each convolution with the batch norm that can be folded into it, found by one forward pass."""
    own = [module for module in model.modules() if "forward" not in vars(module)]
    convs = [module for module in own if type(module) is Conv2d]
    norms = [module for module in own if type(module) is BatchNorm2d and module.uses_running_stats]
    readers: dict[Module, set[Module | None]] = {conv: set() for conv in convs}  # None: not a batch norm
    sources: dict[Module, set[Module | None]] = {norm: set() for norm in norms}  # None: not a convolution
    outputs: list[weakref.ref[_Watched]] = []

    def watch(conv: Module, _: tuple[Any, ...], y: Tensor) -> Tensor:
        watched = _Watched(y.array, conv, readers[conv])
        outputs.append(weakref.ref(watched))
        return watched

    def normalise(norm: BatchNorm2d, x: Tensor) -> Tensor:
        sources[norm].add(x.conv if isinstance(x, _Watched) else None)
        if isinstance(x, _Watched):
            x.readers.add(norm)
            x = Tensor(x.values)
        return BatchNorm2d.forward(norm, x)

    hooks = [conv.register_forward_hook(watch) for conv in convs]
    for norm in norms:
        vars(norm)["forward"] = partial(normalise, norm)
    with no_grad():
        result = model(x)
    for output in outputs:
        if (kept := output()) is not None:  # in the result, or in the model
            kept.readers.add(None)
    del result
    for hook in hooks:
        hook.remove()
    for norm in norms:
        del vars(norm)["forward"]
    return [(conv, norm) for conv in convs for norm in norms if readers[conv] == {norm} and sources[norm] == {conv}]


# Whether the folded network gives the same


def _outputs(model: Module, x: Tensor) -> list[Array] | None:
    """Return the model's output as a list of arrays; None if it is not a tensor or a collection of tensors."""
    with no_grad():
        result = model(x)
    outputs = result.values() if isinstance(result, dict) else result if isinstance(result, list | tuple) else [result]
    return [y.numpy() for y in outputs] if all(isinstance(y, Tensor) for y in outputs) else None


def _agrees(folded: Module, x: Tensor, expected: list[Array] | None) -> bool:
    """Return whether the outputs for x are the expected ones up to rounding; True if they cannot be compared."""
    if expected is None or not all(np.isfinite(y).all() for y in expected):
        return True
    try:
        found = _outputs(folded, x)
    except AttributeError:  # the model reads an attribute of a batch norm that was replaced
        return False
    assert found is not None
    return all(
        np.abs(y - e).max(initial=0) <= np.sqrt(np.finfo(e.dtype).eps) * np.abs(e).max(initial=0)
        for y, e in zip(found, expected, strict=True)
        if e.dtype.kind == "f"
    )
