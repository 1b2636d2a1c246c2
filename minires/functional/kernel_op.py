"""The base class of operations that call kernels. Here kernels and the graph meet."""

from __future__ import annotations

from typing import Any

from minires import kernels
from minires.autograd.op import Op
from minires.device import on_device_of


class KernelOp(Op):
    """An operation whose forward pass is a kernel.

    The kernel set is chosen by device, dtype and `kernels.using` when the operation is applied. Its backward pass uses
    the same set, even if it runs outside `kernels.using`.

    Attributes
    ----------
    kernels : the kernel set for ``forward`` and ``backward``
    """

    kernels: kernels.KernelSet

    def branches(self) -> tuple[Any, ...]:
        """Return the choices of the forward pass (masks, indices). The outputs are smooth while these stay the same.

        A gradient check compares them at different inputs. If they differ, there is a kink in between.
        """
        return ()

    def run_forward(self, *arrays: Any, **options: Any) -> Any:
        """Choose the kernel set, then call ``forward``."""
        self.kernels = kernels.choose(*(array for array in arrays if array is not None))
        return self.forward(*arrays, **options)

    def run_backward(self, *gradients: Any) -> Any:
        """Call ``backward`` with the kernel set of the forward pass, on the device of the gradients."""
        arrays = (None if gradient is None else gradient.array for gradient in gradients)
        with kernels.using(self.kernels.choice), on_device_of(*arrays):
            return self.backward(*gradients)
