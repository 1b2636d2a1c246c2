"""Move the parameters and buffers of a module to another device, and convert them to another dtype."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from minires.autograd.tensor import Tensor
from minires.device import wide_dtype
from minires.errors import DtypeError, GraphError
from minires.nn.parameter import Parameter

if TYPE_CHECKING:
    from minires.nn.module import Module


def convert(module: Module, device: str | None, dtype: np.dtype[Any] | None) -> None:
    """Move and convert everything in ``module``; see `Module.to`. Nothing changes if anything raises.

    Parameters
    ----------
    module : the module
    device, dtype : by their full names; None keeps what each tensor has
    """
    if dtype is not None and dtype.kind not in "fc":
        raise DtypeError(f"a module's values are floating-point numbers; it cannot be converted to {dtype}")
    Tensor(np.zeros(())).to(device=device)  # raises for a missing device even if the module has no tensors
    wide = {id(inner._buffers.get(name)) for inner in module.modules() for name in type(inner).wide_buffers}
    held: list[Tensor] = [*module.parameters(), *module.buffers()]
    new = {id(value): _converted(value, device, dtype, id(value) in wide) for value in held}
    if any(value.grad is not None and new[id(value)] is not value for value in held):
        raise GraphError("to() would lose gradients: set them to None first, with zero_grad()")
    for inner in module.modules():
        for attributes in (vars(inner), inner._buffers):
            attributes.update({name: new[id(value)] for name, value in attributes.items() if id(value) in new})


def _converted(value: Tensor, device: str | None, dtype: np.dtype[Any] | None, wide: bool) -> Tensor:
    """Return a leaf like ``value`` on the device and in the dtype; ``value`` itself where both are right already.

    Integers keep their dtype. A frozen parameter stays frozen, and a parameter keeps the hooks on its gradient.
    """
    plain, wanted = value.detach(), value.dtype
    if dtype is not None and wanted.kind in "fc":
        wanted = wide_dtype(dtype) if wide else dtype
    new = plain.to(device=device, dtype=wanted)
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
