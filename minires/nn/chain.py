"""Call layers one after the other, and run a convolution, batch norm, addition and ReLU as one operation.

Batch norm, addition and ReLU are limited by memory, not by arithmetic: as one operation they read and write the
activations once instead of three times. See docs/decisions/0014-chain.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minires.autograd.op import recording
from minires.autograd.tensor import Tensor
from minires.nn.batch_norm import BatchNorm2d, FoldedBatchNorm
from minires.nn.layers import Conv2d, ReLU
from minires.nn.module import Module


class Add:
    """Add a shortcut in a `chain`: ``Add(shortcut)(y)`` is y + shortcut, or y where the shortcut is None."""

    __match_args__ = ("shortcut",)

    def __init__(self, shortcut: Tensor | None) -> None:
        self.shortcut = shortcut

    def __call__(self, y: Tensor) -> Tensor:
        """Return y + shortcut."""
        return y if self.shortcut is None else y + self.shortcut


def chain(x: Any, *layers: Callable[[Any], Any]) -> Any:
    """Call the first layer with x, each other layer with the output before it, and return the last output.

    ``chain(x, conv, norm, Add(shortcut), relu)`` returns ``relu(norm(conv(x)) + shortcut)``. Any module or function
    can be a layer. Neighbours run as one operation where this gives the same result:

    - `BatchNorm2d` and `ReLU`, also with an `Add` between them;
    - a `Conv2d` before these, where nothing is recorded and the batch norm uses its running statistics, or where
      `fold_batch_norm` has put a `FoldedBatchNorm` in its place.

    A layer runs by itself if it has a forward hook, which then sees its input and output, or if its class or the layer
    itself defines another ``forward``.

    Parameters
    ----------
    x : the input of the first layer
    layers : modules or functions of one argument
    """
    while layers:
        x, layers = _run_first(x, layers)
    return x


def _run_first(x: Any, layers: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
    """Run the first layers if they can be one operation, else the first alone; return the output and the others."""
    match [layer if _is_as_written(layer) else None for layer in layers[:4]] if isinstance(x, Tensor) else []:
        case [Conv2d() as conv, BatchNorm2d() as norm, ReLU(), *_] if _can_fold(norm, conv, x):
            return conv.convolve(x, None, True, norm.scale_and_shift()), layers[3:]
        case [Conv2d() as conv, BatchNorm2d() as norm, Add(shortcut), ReLU()] if _can_fold(norm, conv, x):
            return conv.convolve(x, shortcut, True, norm.scale_and_shift()), layers[4:]
        case [Conv2d() as conv, FoldedBatchNorm(), ReLU(), *_]:
            return conv.convolve(x, None, True), layers[3:]
        case [Conv2d() as conv, FoldedBatchNorm(), Add(shortcut), ReLU()]:
            return conv.convolve(x, shortcut, True), layers[4:]
        case [BatchNorm2d() as norm, ReLU(), *_]:
            return norm.normalise(x, None, True), layers[2:]
        case [BatchNorm2d() as norm, Add(shortcut), ReLU(), *_]:
            return norm.normalise(x, shortcut, True), layers[3:]
    return layers[0](x), layers[1:]


def _can_fold(norm: BatchNorm2d, conv: Conv2d, x: Tensor) -> bool:
    """Return whether the convolution can apply the batch norm as a scale and a shift of its output.

    Shapes, dtypes or devices that do not agree return False: the layers then run alone and raise their own errors.
    """
    if recording() or not norm.uses_running_stats or conv.weight is None:
        return False
    if x.dtype == np.float16:  # too narrow for some scales and shifts
        return False
    tensors = [norm.running_mean, norm.running_var, *(t for t in (norm.weight, norm.bias, conv.bias) if t is not None)]
    fitting = conv.weight.shape[:1], x.dtype, x.device
    return all(t is not None and (t.shape, t.dtype, t.device) == fitting for t in tensors)


def _is_as_written(layer: object) -> bool:
    """Return whether calling the layer does what its class in this package does, and no hook sees the call."""
    if type(layer) is Add:
        return True
    for kind, forward, call in _WRITTEN:
        if isinstance(layer, kind):
            own = type(layer).forward is forward and type(layer).__call__ is call and "forward" not in vars(layer)
            return own and not layer.hooked
    return False


# The methods at import, to notice a class whose methods a user replaces later.
_KINDS: tuple[type[Module], ...] = (Conv2d, BatchNorm2d, FoldedBatchNorm, ReLU)
_WRITTEN = [(kind, kind.forward, kind.__call__) for kind in _KINDS]
