"""The layers of a residual network; batch norm is in batch_norm.py. Names, shapes and defaults are PyTorch's."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minires import functional as F
from minires.autograd.tensor import Tensor
from minires.device import Array, on_device_of
from minires.errors import ShapeError
from minires.geometry import Geometry, pair
from minires.nn import init
from minires.nn.module import Module, input_of
from minires.nn.parameter import Parameter
from minires.options import integer, real, several
from minires.random import next_draws


class Conv2d(Module):
    """Convolve images with learnt filters; see `functional.conv2d`.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias : as in PyTorch
    rng : the generator that draws the initial weights; by default the stream "nn.init" of `minires.random`

    Attributes
    ----------
    kernel_size, stride, padding, dilation : pairs (vertical, horizontal)

    Raises
    ------
    ShapeError : if a size is not positive, the padding is negative, or groups does not divide the channels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels = _size("in_channels", in_channels), _size("out_channels", out_channels)
        self.kernel_size, self.stride = pair(kernel_size, "kernel_size"), pair(stride, "stride")
        self.padding, self.dilation = pair(padding, "padding"), pair(dilation, "dilation")
        self.groups = _size("groups", groups)
        Geometry(self.kernel_size, self.stride, self.padding, self.dilation)  # raises for an impossible window
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise ShapeError(f"groups={groups} must divide the channels in ({in_channels}) and out ({out_channels})")
        rng = rng or next_draws("nn.init")
        shape = (self.out_channels, self.in_channels // self.groups, *self.kernel_size)
        fan_in = math.prod(shape[1:])
        self.weight = Parameter(init.in_filter_order(init.uniform_by_fan_in(shape, fan_in, rng)))
        self.bias = Parameter(init.uniform_by_fan_in((out_channels,), fan_in, rng)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Convolve x: (N, C, H, W) -> (N, K, P, Q)."""
        return self.convolve(input_of(self, x), None, relu=False)

    def convolve(
        self, x: Tensor, shortcut: Tensor | None, relu: bool, affine: tuple[Array, Array] | None = None
    ) -> Tensor:
        """Return relu(scale · conv(x) + shift + shortcut) in one operation.

        Parameters
        ----------
        x : (N, C, H, W)
        shortcut : (N, K, P, Q), or None for no addition
        relu : whether ReLU is applied
        affine : scale and shift, (K,) each, or None
        """
        scale: Tensor | None = None
        bias: Tensor | None = self.bias
        if affine is not None:
            with on_device_of(x.array):
                shift = affine[1] if bias is None else affine[1] + affine[0] * bias.array
                scale, bias = (Tensor(array.astype(x.dtype)) for array in (affine[0], shift))
        window = self.stride, self.padding, self.dilation, self.groups
        return F.conv2d_act(x, _weight_of(self), bias, *window, scale=scale, shortcut=shortcut, relu=relu)

    def extra_repr(self) -> str:
        """Return the sizes, and the options that differ from their defaults."""
        usual = {"padding": "(0, 0)", "dilation": "(1, 1)", "groups": "1"}
        shown = _window(self, pair, "kernel_size", "stride", "padding", "dilation") | {"groups": str(self.groups)}
        window = [f"{name}={value}" for name, value in shown.items() if value != usual.get(name)]
        bias = ["bias=False"] if self.bias is None else []
        return ", ".join([str(self.in_channels), str(self.out_channels), *window, *bias])


class ReLU(Module):
    """Return max(x, 0), element by element.

    Parameters
    ----------
    inplace : accepted as in PyTorch, without effect: here ReLU never overwrites its input
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, x: Tensor) -> Tensor:
        """Apply ReLU to x, of any shape."""
        return F.relu(input_of(self, x))


class _Pool2d(Module):
    """The base class of layers with a pooling window.

    Parameters
    ----------
    kernel_size, stride, padding : an integer, or a pair (vertical, horizontal); by default the stride is kernel_size

    Raises
    ------
    ShapeError : if a size or stride is not positive, or a padding negative.
    """

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        super().__init__()
        self.kernel_size, self.padding = _plain(kernel_size, "kernel_size"), _plain(padding, "padding")
        self.stride = self.kernel_size if stride is None else _plain(stride, "stride")
        Geometry(self.kernel_size, self.stride, self.padding)  # raises for an impossible window

    def extra_repr(self) -> str:
        """Return the window."""
        window = _window(self, _plain, "kernel_size", "stride", "padding")
        return ", ".join(f"{name}={value}" for name, value in window.items())


class MaxPool2d(_Pool2d):
    """Take the maximum of each window; see `functional.max_pool2d`."""

    def forward(self, x: Tensor) -> Tensor:
        """Pool x: (N, C, H, W) -> (N, C, P, Q)."""
        return F.max_pool2d(input_of(self, x), self.kernel_size, self.stride, self.padding)


class AvgPool2d(_Pool2d):
    """Take the mean of each window; see `functional.avg_pool2d`."""

    def forward(self, x: Tensor) -> Tensor:
        """Pool x: (N, C, H, W) -> (N, C, P, Q)."""
        return F.avg_pool2d(input_of(self, x), self.kernel_size, self.stride, self.padding)


class AdaptiveAvgPool2d(Module):
    """Take the means over a grid of windows; see `functional.adaptive_avg_pool2d`.

    Parameters
    ----------
    output_size : an integer, or a pair (vertical, horizontal); None in the pair keeps the size of the input

    Raises
    ------
    ShapeError : if the output size is not positive.
    """

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        own = [n is None for n in several(output_size) or ()]
        given = _plain([1 if n is None else n for n in output_size] if any(own) else output_size, "output_size")
        if min(pair(given, "output_size")) < 1:
            raise ShapeError(f"output_size must be at least 1, got {output_size!r}")
        self.output_size = tuple(None if o else n for o, n in zip(own, given, strict=True)) if any(own) else given

    def forward(self, x: Tensor) -> Tensor:
        """Pool x: (N, C, H, W) -> (N, C, *output_size)."""
        return F.adaptive_avg_pool2d(input_of(self, x), self.output_size)

    def extra_repr(self) -> str:
        """Return the output size."""
        return f"output_size={self.output_size}"


class Flatten(Module):
    """Join several axes into one; by default all but the first."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = integer(start_dim, "start_dim"), integer(end_dim, "end_dim")

    def forward(self, x: Tensor) -> Tensor:
        """Join axes of x; by default (N, …) -> (N, product)."""
        return input_of(self, x).flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        """Return the axes."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Linear(Module):
    """Return x · weightᵀ + bias; see `functional.linear`.

    Parameters
    ----------
    in_features, out_features, bias : as in PyTorch
    rng : the generator that draws the initial weights; by default the stream "nn.init" of `minires.random`

    Raises
    ------
    ShapeError : if a size is not positive.
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, rng: np.random.Generator | None = None
    ) -> None:
        super().__init__()
        self.in_features, self.out_features = _size("in_features", in_features), _size("out_features", out_features)
        rng = rng or next_draws("nn.init")
        self.weight = Parameter(init.uniform_by_fan_in((out_features, in_features), in_features, rng))
        self.bias = Parameter(init.uniform_by_fan_in((out_features,), in_features, rng)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to the last axis of x: (…, C) -> (…, K)."""
        return F.linear(input_of(self, x), _weight_of(self), self.bias)

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class CrossEntropyLoss(Module):
    """Return the cross-entropy of logits and labels; see `functional.cross_entropy`."""

    def __init__(self, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.ignore_index, self.reduction, self.label_smoothing = ignore_index, reduction, label_smoothing

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss: (N, K), (N,) -> a scalar, or (N,) with ``reduction="none"``."""
        options = self.reduction, self.label_smoothing, self.ignore_index
        return F.cross_entropy(input_of(self, logits), labels, *options)


class Dropout(Module):
    """Set random elements to 0 while training; see `functional.dropout`.

    Parameters
    ----------
    p : the probability that an element is dropped
    inplace : accepted as in PyTorch, without effect

    Raises
    ------
    ValueError : if p is not between 0 and 1.
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        self.p = real(p, "the probability of dropout", 0, 1)
        self.inplace = inplace

    def forward(self, x: Tensor) -> Tensor:
        """Drop elements of x, of any shape, while training; return x in evaluation."""
        return F.dropout(input_of(self, x), self.p, self.training)

    def extra_repr(self) -> str:
        """Return the probability."""
        return f"p={self.p}"


def _size(name: str, value: Any) -> int:
    """Return ``value`` as an int; raise ShapeError unless it is a positive integer."""
    return integer(value, name, 1)


def _weight_of(layer: Conv2d | Linear) -> Tensor:
    """Return the weight of a layer, or raise TypeError if it was set to something else."""
    if not isinstance(layer.weight, Tensor):
        found = "None" if layer.weight is None else f"a {type(layer.weight).__name__}"
        raise TypeError(f"the weight of {type(layer).__name__} is {found}: set it to a Parameter")
    return layer.weight


def _plain(size: Any, name: str) -> Any:
    """Return an integer as a Python int, and a pair as a tuple of two."""
    vertical, horizontal = pair(size, name)
    return vertical if several(size) is None else (vertical, horizontal)


def _window(layer: Module, read: Callable[[Any, str], Any], *names: str) -> dict[str, str]:
    """Return attributes of a layer as text, each as ``read`` returns it; an impossible size is shown unchanged."""
    shown = {}
    for name in names:
        size = getattr(layer, name)
        with contextlib.suppress(ShapeError):
            size = read(size, name)
        shown[name] = str(size)
    return shown
