"""Convolution."""

from __future__ import annotations

from typing import Any

from minires.autograd.tensor import Tensor
from minires.device import Array
from minires.errors import ShapeError
from minires.functional.activation import WithRelu
from minires.functional.bilinear import Bilinear, BilinearGrads
from minires.functional.cast import widened
from minires.geometry import Geometry


class Conv2d(Bilinear):
    """y = conv2d(x, w), a bilinear operation."""

    kernel, grads = "conv2d", "conv2d_grads"


class Conv2dAct(WithRelu):
    """y = relu(scale · conv2d(x, w) + bias + shortcut). Scale, bias, shortcut and ReLU are optional."""

    def forward(
        self,
        x: Array,
        w: Array,
        scale: Array | None,
        bias: Array | None,
        shortcut: Array | None,
        *,
        relu: bool,
        geometry: Geometry,
    ) -> Any:
        """Compute y."""
        y = self.kernels.conv2d_act(x, w, scale, bias, shortcut, relu, geometry)
        self.save(x, w, *([] if scale is None else [scale]), *([y] if relu else []))
        self.save_constant(geometry)
        self.has_relu = relu
        return y

    def backward(self, gy: Tensor) -> Any:
        """Compute the gradients part by part."""
        x, w, *others = self.saved
        scale = others[: len(others) - self.has_relu]
        gz = self.through_relu(gy)
        gx = gw = gscale = None
        if any(self.needs_grad[:2]):
            of_conv = gz * scale[0].reshape(1, -1, 1, 1) if scale else gz
            gx, gw = BilinearGrads.apply(of_conv, x, w, of=Conv2d, options=self.constants, wants=self.needs_grad[:2])
        if self.needs_grad[2]:  # this is rare, so the convolution is computed again instead of saved
            g, y = widened(gz, Conv2d.apply(x, w, options=self.constants))
            gscale = (g * y).sum((0, 2, 3)).to(gz.dtype)
        gbias = gz.sum((0, 2, 3)) if self.needs_grad[3] else None
        return gx, gw, gscale, gbias, gz


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
    groups : the number of independent groups of channels

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
    scale: Tensor | None = None,
    shortcut: Tensor | None = None,
    relu: bool = True,
) -> Tensor:
    """Return relu(scale · conv2d(x, …) + bias + shortcut), the end of a residual block, in one pass over the output.

    Parameters
    ----------
    x, weight, bias, stride, padding, dilation, groups : as in `conv2d`
    scale : (K,), a factor for each output channel, applied before the bias, or None
    shortcut : what to add before ReLU, of the shape of the output, or None
    relu : whether to apply ReLU

    Returns
    -------
    y : (N, K, P, Q)

    Raises
    ------
    as `conv2d`; and ShapeError if the shortcut has another shape than the output.

    Identity that tests it: the result equals that of the parts, one after another.
    """
    if weight.ndim != 4:
        raise ShapeError(f"conv2d expects weights of shape (K, C / groups, R, S), got {weight.shape}")
    geometry = Geometry((weight.shape[2], weight.shape[3]), stride, padding, dilation, groups)
    if scale is None and bias is None and shortcut is None and not relu:
        return Conv2d.apply(x, weight, options=(geometry,))
    return Conv2dAct.apply(x, weight, scale, bias, shortcut, relu=relu, geometry=geometry)
