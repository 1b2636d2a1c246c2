"""Convolution."""

from __future__ import annotations

from typing import Any

from minires.autograd.tensor import Tensor
from minires.device import Array
from minires.errors import ShapeError
from minires.functional.activation import Rectified, ReluGrad
from minires.functional.bilinear import Bilinear, BilinearGrads
from minires.geometry import Geometry


class Conv2d(Bilinear):
    """y = conv2d(x, w); its gradients are those of every bilinear operation."""

    kernel, grads = "conv2d", "conv2d_grads"


class Conv2dAct(Rectified):
    """y = relu(conv2d(x, w) + bias + shortcut); bias, shortcut and relu may be missing."""

    def forward(
        self, x: Array, w: Array, bias: Array | None, shortcut: Array | None, *, relu: bool, geometry: Geometry
    ) -> Any:
        """Compute y."""
        y = self.kernels.conv2d_act(x, w, bias, shortcut, relu, geometry)
        self.save(x, w, *([y] if relu else []))
        self.save_constant(geometry)
        return y

    def backward(self, gy: Tensor) -> Any:
        """The gradients of the parts, one after the other."""
        x, w, *y = self.saved
        gz = ReluGrad.apply(gy, y[0].detach()) if y else gy
        gx = gw = None
        if any(self.needs_grad[:2]):
            gx, gw = BilinearGrads.apply(gz, x, w, of=Conv2d, options=self.constants, wants=self.needs_grad[:2])
        return gx, gw, gz.sum((0, 2, 3)) if self.needs_grad[2] else None, gz


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
    return conv2d_act(x, weight, bias, stride, padding, dilation, groups, relu=False)


def conv2d_act(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    shortcut: Tensor | None = None,
    relu: bool = True,
) -> Tensor:
    """relu(conv2d(x, …) + shortcut): a residual block without batch norm, in one pass over the output.

    Parameters
    ----------
    x, weight, bias, stride, padding, dilation, groups : as in `conv2d`
    shortcut : what is added before the rectifier, of the output's shape, or None
    relu : whether to rectify

    Returns
    -------
    y : (N, K, P, Q)

    Raises
    ------
    as `conv2d`, and ShapeError if the shortcut has another shape than the output.

    Identity that tests it: equal to the parts one after the other.
    """
    if weight.ndim != 4:
        raise ShapeError(f"conv2d expects weights of shape (K, C / groups, R, S), got {weight.shape}")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ShapeError(f"a bias of shape {bias.shape} does not fit {weight.shape[0]} output channels")
    geometry = Geometry((weight.shape[2], weight.shape[3]), stride, padding, dilation, groups)
    if bias is None and shortcut is None and not relu:
        return Conv2d.apply(x, weight, options=(geometry,))  # type: ignore[no-any-return]
    return Conv2dAct.apply(x, weight, bias, shortcut, relu=relu, geometry=geometry)  # type: ignore[no-any-return]
