"""Operations that a kernel computes: where arrays and graphs meet."""

from __future__ import annotations

from typing import Any

from minires import kernels
from minires.autograd.op import Op
from minires.device import on_device_of


class KernelOp(Op):
    """An operation whose forward pass is a kernel.

    The kernel set is chosen when the operation is applied, by device, dtype and `kernels.using`, and kept:
    the backward pass runs inside the same choice, wherever and whenever it runs.

    Attributes
    ----------
    kernels : the set to call kernels from, in ``forward`` and in ``backward``
    """

    kernels: kernels.KernelSet

    def branches(self) -> tuple[Any, ...]:
        """The choices made in the forward pass (masks, indices): as long as they stay, the outputs are smooth.

        A gradient check compares them from point to point: where they differ, there is a kink in between.
        """
        return ()

    def run_forward(self, *arrays: Any, **options: Any) -> Any:
        """Choose the kernel set, then call ``forward``."""
        self.kernels = kernels.choose(*(array for array in arrays if array is not None))
        return self.forward(*arrays, **options)

    def run_backward(self, *gradients: Any) -> Any:
        """Call ``backward`` with the kernel set of the forward pass, where the gradients are."""
        arrays = (None if gradient is None else gradient.array for gradient in gradients)
        with kernels.using(self.kernels.choice), on_device_of(*arrays):
            return self.backward(*gradients)
