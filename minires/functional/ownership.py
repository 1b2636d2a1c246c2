"""What a backward pass may do with gradients whose memory nobody else holds: add to them, and hand them over."""

from __future__ import annotations

from minires import kernels
from minires.autograd.op import recording
from minires.autograd.tensor import Tensor
from minires.device import Array, thawed
from minires.functional.arithmetic import add
from minires.functional.cast import clone


def accumulate(x: Tensor, y: Tensor) -> Tensor:
    """x + y, in the memory of x if nobody else holds it.

    Parameters
    ----------
    x, y : tensors of one shape, dtype and device
    """
    if x._sole and not recording():
        with x.writable() as array:
            kernels.choose(array).add_(array, y._array)
        return x
    total = add(x, y)
    total._sole = not recording()
    return total


def to_overwrite(gradient: Tensor) -> Array | None:
    """The writable array of a gradient that nobody else holds, for the backward pass that was given it; or None."""
    return thawed(gradient._array) if gradient._sole and not recording() else None


def owned(x: Tensor, like: Array) -> Tensor:
    """x as a tensor that nobody else changes, in the memory order of ``like``: itself, or a clone."""
    return x if x._sole and x._array.strides == like.strides else clone(x, like)
