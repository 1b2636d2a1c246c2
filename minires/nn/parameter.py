"""What a module learns, and how values from elsewhere come to fit it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import numpy as np

from minires.autograd.tensor import Tensor
from minires.device import Array, asarray, copied, is_array, on_device_of, wide_dtype, xp_of
from minires.errors import CheckpointError
from minires.functional.creation import tensor

T = TypeVar("T")


class Parameter(Tensor):
    """A tensor that a module learns: it requires a gradient, and the module finds it by itself.

    Parameters
    ----------
    data : floating-point numbers, which are copied
    requires_grad : False for a parameter that is frozen
    """

    __slots__ = ()

    def __init__(self, data: Tensor | Array, requires_grad: bool = True) -> None:
        super().__init__(tensor(data)._array)
        self.requires_grad_(requires_grad)


def each_once(named: Iterable[tuple[str, T]]) -> Iterator[tuple[str, T]]:
    """Only the first name of everything that has several."""
    seen: set[int] = set()
    for name, value in named:
        if id(value) not in seen:
            seen.add(id(value))
            yield name, value


def converted(value: Tensor, device: str | None, dtype: Any, wide: bool) -> Tensor:
    """``value`` as `Tensor.to` converts it, as a leaf of the same class; ``value`` itself where nothing changes.

    Integers keep their dtype. A frozen parameter stays frozen, and hooks on a parameter's gradient stay in place.

    Parameters
    ----------
    value : a parameter or buffer
    device, dtype : those that are wanted; None for the value's own
    wide : whether it becomes no less than float32
    """
    plain, own = value.detach(), value.dtype
    if dtype is not None and own.kind in "fc":
        own = wide_dtype(dtype) if wide else dtype
    new = plain.to(device=device, dtype=own)
    if new is plain:
        return value
    if not isinstance(value, Parameter):
        return new
    made = Parameter(new, value.requires_grad)
    if made._node is not None and value._node is not None:
        made._node.hooks = value._node.hooks
    return made


def fitting(name: str, value: Any, own: Tensor) -> Array:
    """A copy of ``value`` with the dtype and on the device of ``own``, for which it is meant.

    Parameters
    ----------
    name : of ``value``, for messages
    value : a tensor or an array
    own : the parameter or buffer that shall have these values

    Raises
    ------
    CheckpointError : if ``value`` is neither a tensor nor an array, its shape or kind of dtype differs, or one of
        its numbers is outside the range of the dtype.
    """
    if not (isinstance(value, Tensor | np.generic) or is_array(value)):
        raise CheckpointError(
            f"{name} is a {type(value).__name__}, but a state holds tensors and arrays by name: convert it"
        )
    array = value.array if isinstance(value, Tensor) else value if is_array(value) else np.asarray(value)
    if array.shape != own.shape:
        raise CheckpointError(f"{name} has shape {array.shape}, but the module's is {own.shape}")
    if not np.can_cast(array.dtype, own.dtype, "same_kind"):
        raise CheckpointError(f"{name} has dtype {array.dtype}, but the module's is {own.dtype}")
    source = asarray(array, own.device)
    with np.errstate(over="ignore"), on_device_of(source):  # what it would warn of is an error here
        new = copied(source, own.dtype)
        xp = xp_of(new)
        lost = xp.isfinite(source) & ~xp.isfinite(new) if own.dtype.kind in "fc" else source != new
        if lost.any():
            raise CheckpointError(f"{name} holds {source[lost][0]}, which is out of range for the module's {own.dtype}")
    return new
