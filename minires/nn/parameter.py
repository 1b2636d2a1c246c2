"""Parameters: the tensors that a module learns."""

from __future__ import annotations

from minires.autograd.tensor import Tensor
from minires.device import Array
from minires.errors import DtypeError
from minires.functional.creation import tensor


class Parameter(Tensor):
    """A tensor that a module learns: it requires a gradient, and `Module.parameters` finds it.

    Parameters
    ----------
    data : floating-point numbers, which are copied
    requires_grad : False for a frozen parameter

    Raises
    ------
    DtypeError : if it requires a gradient and is not a floating-point tensor.
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
