"""Batch norm folded into the convolution before it: a network for inference.

In evaluation mode a batch norm is one scale and one shift per channel, by its running statistics. After a
convolution, which is linear, the scale goes into the weights and the shift into the bias:

    scale = gamma / √(var + eps)                                                  (1)
    shift = beta − scale · mean
    w' = scale · w,    b' = shift + scale · b                                     (2)

The two are then one layer, and a pass over the activations is saved. Source: Jacob et al. 2018,
arXiv:1712.05877, section 3.2; the idea is older.
"""

from __future__ import annotations

import copy
import warnings
import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np

from minires.autograd.op import no_grad
from minires.autograd.tensor import Tensor, Version
from minires.device import Array, copied, on_device_of
from minires.errors import ShapeError
from minires.functional.creation import tensor
from minires.nn.layers import BatchNorm2d, Conv2d, FoldedBatchNorm
from minires.nn.module import Module
from minires.nn.parameter import Parameter

SIZES = (32, 224, 28, 64, 96, 128, 256)  # of the images that are tried where no example is given


def fold_batch_norm(model: Module, example: Tensor | None = None) -> Module:
    """A new model for inference in which each batch norm that directly follows a convolution is part of it.

    What follows what is found by one forward pass, not by names. A batch norm is folded if all it ever gets
    are the outputs of one convolution, nobody else reads those outputs or keeps them, and it has running
    statistics; the others stay batch norms. Only `Conv2d` and `BatchNorm2d` themselves are folded, not classes
    derived from them, nor instances with a forward pass of their own.

    Parameters
    ----------
    model : any module that takes one tensor; it is left as it is, in its mode
    example : an input, (N, C, H, W), for that forward pass; by default one black image of a usual size, with
        the channels of the first convolution

    Returns
    -------
    folded : a deep copy in evaluation mode, without the model's hooks, which stay with the model. Its output
        equals the model's in evaluation mode up to rounding. ``train()`` does not bring the batch norms back:
        they go on with the statistics that were folded in, and training moves the folded weights and biases,
        except where all that they were made of was frozen.

    Raises
    ------
    ShapeError : if no usual image size fits the model: pass an example.
    TypeError : if ``model`` is not a module.

    Warns
    -----
    UserWarning : if the folded network gives something else on an image of noise, because a layer's parameters are
        read elsewhere, too; nothing is folded then.
    """
    if not isinstance(model, Module):
        raise TypeError(f"fold_batch_norm takes a module, not a {type(model).__name__}")
    folded = _copy(model).eval()
    first = next((module for module in folded.modules() if type(module) is Conv2d), None)
    if first is None:
        return folded
    x = _example(folded, first) if example is None else example
    pairs = _pairs(folded, x)
    probe = _noise(x)
    before = _values(folded, probe)
    for conv, norm in pairs:
        _fold(conv, norm)
        _replace(folded, {norm: FoldedBatchNorm()})
    folded.eval()
    if pairs and not _agree(before, folded, probe):
        warnings.warn(
            f"fold_batch_norm folds nothing: folded, {type(model).__name__} would give something else. It reads the "
            "parameters of a convolution or of a batch norm elsewhere, too",
            stacklevel=2,
        )
        return _copy(model).eval()
    return folded


def _copy(model: Module) -> Module:
    """A deep copy whose parameters are leaves of their own, and which nobody's hooks watch."""
    known: dict[int, Any] = {}
    for module in model.modules():
        known[id(module._hooks)] = {}
        for value in (*vars(module).values(), *module._buffers.values()):
            if isinstance(value, Tensor) and id(value) not in known:
                learnt = isinstance(value, Parameter)
                known[id(value)] = Parameter(value, value.requires_grad) if learnt else tensor(value)
    return copy.deepcopy(model, known)


def _fold(conv: Conv2d, norm: BatchNorm2d) -> None:
    """Replace the convolution's parameters. In double precision, so that float32 weights are rounded once."""
    w, b = conv.weight.array, conv.bias
    scale, shift = norm.scale_and_shift()  # (1)
    with on_device_of(w):
        weight = copied(w * scale.reshape(-1, 1, 1, 1), w.dtype, like=w)  # (2)
        bias = copied(shift if b is None else shift + scale * b.array, w.dtype)  # (2)
    learns = any(t is not None and t.requires_grad for t in (conv.weight, b, norm.weight, norm.bias))
    conv.weight, conv.bias = Parameter(weight, learns), Parameter(bias, learns)


def _replace(model: Module, replacements: Mapping[Any, Module]) -> None:
    """Put other modules where these are, wherever that is."""
    for module in list(model.modules()):
        for name, child in module._places():
            if child in replacements:
                setattr(module, name, replacements[child])


# The proof


def _noise(x: Tensor) -> Tensor:
    """An image like the example, of normal numbers."""
    return tensor(np.random.default_rng(0).standard_normal(x.shape), device=x.device, dtype=x.dtype)


def _values(model: Module, x: Tensor) -> list[Array] | None:
    """The arrays that a model gives, if it gives a tensor or a collection of tensors."""
    with no_grad():
        output = model(x)
    outputs = output.values() if isinstance(output, dict) else output if isinstance(output, list | tuple) else [output]
    return [y.numpy() for y in outputs] if all(isinstance(y, Tensor) for y in outputs) else None


def _agree(before: list[Array] | None, folded: Module, x: Tensor) -> bool:
    """Whether the folded network gives the same, within what rounding explains, where that can be told."""
    if before is None or not all(np.isfinite(y).all() for y in before):
        return True
    try:
        after = _values(folded, x)
    except AttributeError:  # of a batch norm that is gone
        return False
    assert after is not None
    return all(
        np.abs(a - b).max(initial=0) <= np.sqrt(np.finfo(b.dtype).eps) * np.abs(b).max(initial=0)
        for a, b in zip(after, before, strict=True)
        if b.dtype.kind == "f"
    )


# The trace


class _Call:
    """One call of a convolution: who got its output, whether anybody else read it, and whether it still lives."""

    def __init__(self, conv: Conv2d) -> None:
        self.conv = conv
        self.got_by: list[_Probe] = []
        self.read = False
        self.output: weakref.ref[_Watched] | None = None


class _Watched(Tensor):
    """The output of a convolution, which notes if its values are read: every operation asks for ``_array``."""

    __slots__ = ("call", "values")

    def __init__(self, values: Array, call: _Call) -> None:
        self.values, self.call = values, call
        self._op, self._node, self._version, self.grad = None, None, Version(values), None
        call.output = weakref.ref(self)

    @property
    def _array(self) -> Array:  # type: ignore[override]
        self.call.read = True
        return self.values


class _Probe(FoldedBatchNorm):
    """Stands where a batch norm is during the trace, and notes which call's output it gets."""

    def __init__(self, norm: BatchNorm2d) -> None:
        super().__init__()
        self.norm = norm
        self.calls: list[_Call | None] = []

    def __getattr__(self, name: str) -> Any:
        """What is asked of the batch norm itself."""
        return getattr(vars(self)["norm"], name)

    def forward(self, x: Tensor) -> Tensor:
        """Do what the batch norm does."""
        call = x.call if isinstance(x, _Watched) else None
        self.calls.append(call)
        if isinstance(x, _Watched):
            x.call.got_by.append(self)
            x = Tensor(x.values)
        y: Tensor = self.norm(x)
        return y

    def partner(self, calls: list[_Call]) -> Conv2d | None:
        """The convolution that this batch norm can be folded into, given all calls of all convolutions."""
        mine = {call.conv for call in self.calls if call is not None}
        if len(mine) != 1 or None in self.calls:
            return None
        (conv,) = mine
        for call in calls:
            kept = call.output is not None and call.output() is not None
            if call.conv is conv and (set(call.got_by) != {self} or call.read or kept):
                return None
        return conv


def _pairs(model: Module, x: Tensor) -> list[tuple[Conv2d, BatchNorm2d]]:
    """Each convolution with the batch norm that can be folded into it, by one forward pass."""
    known = [module for module in model.modules() if "forward" not in vars(module)]
    convs = [module for module in known if type(module) is Conv2d]
    norms = [module for module in known if type(module) is BatchNorm2d]
    probes = {norm: _Probe(norm) for norm in norms if norm.goes_by_running_stats}
    if not convs or not probes:
        return []
    calls: list[_Call] = []

    def watch(conv: Module, _: tuple[Any, ...], y: Tensor) -> Tensor:
        assert isinstance(conv, Conv2d)
        calls.append(_Call(conv))
        return _Watched(y.array, calls[-1])

    handles = [conv.register_forward_hook(watch) for conv in convs]
    _replace(model, probes)
    with no_grad():
        output = model(x)  # held while the calls are judged: an output of the model is not for us to change
    found = [(probe.partner(calls), norm) for norm, probe in probes.items()]
    del output
    _replace(model, {probe: norm for norm, probe in probes.items()})
    for handle in handles:
        handle.remove()
    return [(conv, norm) for conv, norm in found if conv is not None]


def _example(model: Module, first: Conv2d) -> Tensor:
    """A black image of the first usual size that the model takes."""
    w = first.weight
    for size in SIZES:
        x = tensor(np.zeros((1, w.shape[1] * first.groups, size, size), w.dtype), device=w.device)
        try:
            with no_grad():
                model(x)
        except ShapeError as error:
            refusal = error
        else:
            return x
    raise ShapeError(
        f"{type(model).__name__} takes no image of shape {x.shape[:2]} + (size, size) with a size among {SIZES}: "
        f"pass an example to fold_batch_norm ({refusal})"
    ) from refusal
