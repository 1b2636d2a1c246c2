"""Operations that are linear in each of two inputs: convolution and the fully connected layer.

For y = f(x, w), the scalar T(x, w, gy) = Σ gy · f(x, w) is linear in each of its three arguments. So three partial
derivatives are enough:

    y = ∂T/∂gy,    gx = ∂T/∂x,    gw = ∂T/∂w.

`Bilinear` computes the first. `BilinearGrads` computes the other two, which share work. The derivatives of each are
the other two again, so these two operations compute derivatives of every order.
"""

from __future__ import annotations

from typing import Any

from minires.autograd.tensor import Tensor
from minires.device import Array
from minires.functional.kernel_op import KernelOp


class Bilinear(KernelOp):
    """y = f(x, w), linear in x and in w. A subclass names two kernels.

    Attributes
    ----------
    kernel : the kernel that computes y from (x, w, *options)
    grads : the kernel that computes (gx, gw) from (gy, x, w, *options, wants); None for a gradient that is not wanted
    """

    kernel = ""
    grads = ""
    hands_over = True

    def forward(self, x: Array, w: Array, *, options: tuple[Any, ...] = ()) -> Any:
        """Compute y."""
        self.save(x, w)
        self.save_constant(*options)
        return getattr(self.kernels, self.kernel)(x, w, *options)

    def backward(self, gy: Tensor) -> Any:
        """Compute those of gx and gw that are needed."""
        return BilinearGrads.apply(gy, *self.saved, of=type(self), options=self.constants, wants=self.needs_grad)


class BilinearGrads(KernelOp):
    """(gx, gw) = (∂T/∂x, ∂T/∂w); None for a gradient that is not wanted."""

    def forward(
        self, gy: Array, x: Array, w: Array, *, of: type[Bilinear], options: tuple[Any, ...], wants: tuple[bool, ...]
    ) -> Any:
        """Compute gx and gw."""
        self.save(gy, x, w)
        self.save_constant(of, options)
        return getattr(self.kernels, of.grads)(gy, x, w, *options, wants)

    def backward(self, ggx: Tensor | None, ggw: Tensor | None) -> Any:
        """Differentiate ⟨ggx, gx⟩ + ⟨ggw, gw⟩ = T(ggx, w, gy) + T(x, ggw, gy) by gy, x and w."""
        gy, x, w = self.saved
        of, options = self.constants
        d_gy = d_x = d_w = None
        if self.needs_grad[0]:
            by_x = None if ggx is None else of.apply(ggx, w, options=options)
            by_w = None if ggw is None else of.apply(x, ggw, options=options)
            d_gy = by_w if by_x is None else by_x if by_w is None else by_x + by_w
        # T(x, ggw, gy) depends on x, and T(ggx, w, gy) on w. Without ggw, x gets no gradient; without ggx, w gets none.
        wants = (self.needs_grad[1] and ggw is not None, self.needs_grad[2] and ggx is not None)
        if any(wants):
            partners = (x if ggx is None else ggx, w if ggw is None else ggw)
            d_x, d_w = BilinearGrads.apply(gy, *partners, of=of, options=options, wants=wants)
        return d_gy, d_x, d_w
