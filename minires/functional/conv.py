"""Convolution."""

from __future__ import annotations

from typing import Any

from minires.autograd.tensor import Tensor
from minires.errors import ShapeError
from minires.functional.bilinear import Bilinear
from minires.geometry import Geometry


class Conv2d(Bilinear):
    """y = conv2d(x, w); its gradients are those of every bilinear operation."""

    kernel, grads = "conv2d", "conv2d_grads"


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
    y: Tensor = Conv2d.apply(x, weight, options=(geometry,))
    return y if bias is None else y + bias.reshape(1, -1, 1, 1)
