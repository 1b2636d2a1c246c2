"""Convolution: two operations, closed under differentiation.

T(x, w, gy) = Σ gy · conv2d(x, w) is linear in each argument, so `Conv2d` is ∂T/∂gy and `Conv2dGrads` is the
pair (∂T/∂x, ∂T/∂w). Every derivative of either, to any order, is again one of the two.
"""

from __future__ import annotations

from typing import Any

from minires.autograd.tensor import Tensor
from minires.device import Array
from minires.errors import ShapeError
from minires.functional.kernel_op import KernelOp
from minires.geometry import Geometry


class Conv2d(KernelOp):
    """y = conv2d(x, w)."""

    def forward(self, x: Array, w: Array, *, geometry: Geometry) -> Any:
        """Compute y (N, K, P, Q)."""
        self.save(x, w)
        self.save_constant(geometry)
        return self.kernels.conv2d(x, w, geometry)

    def backward(self, gy: Tensor) -> Any:
        """Compute gx and gw, which share a pass over gy."""
        x, w = self.saved
        return Conv2dGrads.apply(gy, x, w, geometry=self.constants[0], wants=self.needs_grad)


class Conv2dGrads(KernelOp):
    """(gx, gw) = (∂T/∂x, ∂T/∂w); what is not wanted is None."""

    def forward(self, gy: Array, x: Array, w: Array, *, geometry: Geometry, wants: tuple[bool, bool]) -> Any:
        """Compute gx (N, C, H, W) and gw (K, C / groups, R, S)."""
        self.save(gy, x, w)
        self.save_constant(geometry)
        return self.kernels.conv2d_grads(gy, x, w, geometry, wants)

    def backward(self, ggx: Tensor | None, ggw: Tensor | None) -> Any:
        """Differentiate ⟨ggx, gx⟩ + ⟨ggw, gw⟩ = T(ggx, w, gy) + T(x, ggw, gy) by gy, x and w."""
        gy, x, w = self.saved
        geometry = self.constants[0]
        d_gy = d_x = d_w = None
        if self.needs_grad[0]:
            by_x = None if ggx is None else Conv2d.apply(ggx, w, geometry=geometry)
            by_w = None if ggw is None else Conv2d.apply(x, ggw, geometry=geometry)
            d_gy = by_w if by_x is None else by_x if by_w is None else by_x + by_w
        # x stands beside ggw alone and w beside ggx alone: a term whose partner is missing passes nothing on.
        wants = (self.needs_grad[1] and ggw is not None, self.needs_grad[2] and ggx is not None)
        if any(wants):
            partners = (x if ggx is None else ggx, w if ggw is None else ggw)
            d_x, d_w = Conv2dGrads.apply(gy, *partners, geometry=geometry, wants=wants)
        return d_gy, d_x, d_w


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Convolve images with filters, as `torch.nn.functional.conv2d` does.

    Parameters
    ----------
    x : (N, C, H, W)
    weight : (K, C / groups, R, S)
    bias : (K,) or None
    stride, padding, dilation : an integer, or a pair (vertical, horizontal)
    groups : how many independent parts the channels fall into

    Returns
    -------
    y : (N, K, P, Q)

    Raises
    ------
    ShapeError : if shapes and geometry do not agree.
    DtypeError, DeviceError : if dtypes or devices are mixed.
    """
    if weight.ndim != 4:
        raise ShapeError(f"conv2d expects weights of shape (K, C / groups, R, S), got {weight.shape}")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ShapeError(f"a bias of shape {bias.shape} does not fit {weight.shape[0]} output channels")
    geometry = Geometry((weight.shape[2], weight.shape[3]), stride, padding, dilation, groups)
    y: Tensor = Conv2d.apply(x, weight, geometry=geometry)
    return y if bias is None else y + bias.reshape(1, -1, 1, 1)
