"""Operations that are linear in each of two inputs: convolution and the fully connected layer.

With y = f(x, w), the number T(x, w, gy) = Σ gy · f(x, w) is linear in each of its three arguments, and so its three
partial derivatives are all there is to know:

    y = ∂T/∂gy,    gx = ∂T/∂x,    gw = ∂T/∂w.

`Bilinear` computes the first and `BilinearGrads` the other two, which share work. Each one's derivatives are the
others, so every derivative, to any order, is again one of the two.
"""

from __future__ import annotations

from typing import Any

from minires.autograd.tensor import Tensor
from minires.device import Array
from minires.functional.kernel_op import KernelOp


class Bilinear(KernelOp):
    """y = f(x, w), computed by two kernels that subclasses name.

    Attributes
    ----------
    kernel : computes y from (x, w, *options)
    grads : computes (gx, gw) from (gy, x, w, *options, wants); what is not wanted is None
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
        """Compute gx and gw, as far as they are needed."""
        return BilinearGrads.apply(gy, *self.saved, of=type(self), options=self.constants, wants=self.needs_grad)


class BilinearGrads(KernelOp):
    """(gx, gw) = (∂T/∂x, ∂T/∂w); what is not wanted is None."""

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
        # x stands beside ggw alone and w beside ggx alone: a term whose partner is missing passes nothing on.
        wants = (self.needs_grad[1] and ggw is not None, self.needs_grad[2] and ggx is not None)
        if any(wants):
            partners = (x if ggx is None else ggx, w if ggw is None else ggw)
            d_x, d_w = BilinearGrads.apply(gy, *partners, of=of, options=options, wants=wants)
        return d_gy, d_x, d_w
