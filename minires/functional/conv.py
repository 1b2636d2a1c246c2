"""Convolution."""

from __future__ import annotations

from typing import Any

from minires.autograd.tensor import Tensor
from minires.device import Array, wide_dtype
from minires.errors import ShapeError
from minires.functional.activation import Rectified
from minires.functional.bilinear import Bilinear, BilinearGrads
from minires.geometry import Geometry


class Conv2d(Bilinear):
    """y = conv2d(x, w); its gradients are those of every bilinear operation."""

    kernel, grads = "conv2d", "conv2d_grads"


class Conv2dAct(Rectified):
    """y = relu(scale · conv2d(x, w) + bias + shortcut); all but x and w may be missing."""

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
        self.rectified = relu
        return y

    def backward(self, gy: Tensor) -> Any:
        """The gradients of the parts, one after the other."""
        x, w, *others = self.saved
        scale = others[: len(others) - self.rectified]
        gz = self.before_rectifier(gy)
        gx = gw = gscale = None
        if any(self.needs_grad[:2]):
            of_conv = gz * scale[0].reshape(1, -1, 1, 1) if scale else gz
            gx, gw = BilinearGrads.apply(of_conv, x, w, of=Conv2d, options=self.constants, wants=self.needs_grad[:2])
        if self.needs_grad[2]:  # so rare that the convolution is computed again and not kept
            wide = wide_dtype(gz.dtype)
            y = Conv2d.apply(x, w, options=self.constants)
            gscale = (gz.to(wide) * y.to(wide)).sum((0, 2, 3)).to(gz.dtype)
        return gx, gw, gscale, gz.sum((0, 2, 3)) if self.needs_grad[3] else None, gz


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
    scale: Tensor | None = None,
    shortcut: Tensor | None = None,
    relu: bool = True,
) -> Tensor:
    """relu(scale · conv2d(x, …) + bias + shortcut): the end of a residual block, in one pass over the output.

    Parameters
    ----------
    x, weight, bias, stride, padding, dilation, groups : as in `conv2d`
    scale : (K,), what each output channel is multiplied by before the bias is added, or None
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
    for name, numbers in (("scale", scale), ("bias", bias)):
        if numbers is not None and numbers.shape != weight.shape[:1]:
            raise ShapeError(f"a {name} of shape {numbers.shape} does not fit {weight.shape[0]} output channels")
    geometry = Geometry((weight.shape[2], weight.shape[3]), stride, padding, dilation, groups)
    if scale is None and bias is None and shortcut is None and not relu:
        return Conv2d.apply(x, weight, options=(geometry,))
    return Conv2dAct.apply(x, weight, scale, bias, shortcut, relu=relu, geometry=geometry)
