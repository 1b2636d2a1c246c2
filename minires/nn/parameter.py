"""What a module learns, and how it is converted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from minires.autograd.tensor import Tensor
from minires.device import Array, wide_dtype
from minires.errors import DtypeError
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
        values = tensor(data)
        if requires_grad and values.dtype.kind not in "fc":
            raise DtypeError(
                f"only floating-point tensors have gradients, not {values.dtype}: convert the data, .astype('float32')"
            )
        super().__init__(values._array)
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
    if (node := value._node or value._frozen_node) is not None:
        made.requires_grad_()
        assert made._node is not None
        made._node.hooks = node.hooks
        made.requires_grad_(value.requires_grad)
    return made


def input_of(layer: object, x: Any) -> Tensor:
    """Return ``x``, the input of a layer, if it is a tensor.

    Raises
    ------
    TypeError : if it is not.
    """
    if not isinstance(x, Tensor):
        made = ": make one with mr.tensor(x)" if hasattr(x, "__array__") or isinstance(x, list) else ""
        raise TypeError(f"{type(layer).__name__} takes a tensor, not a {type(x).__name__}{made}")
    return x
