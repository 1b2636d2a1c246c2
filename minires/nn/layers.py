"""The layers of a residual network. Names, shapes and defaults are PyTorch's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minires import functional as F
from minires.autograd.tensor import Tensor, tensor
from minires.errors import ShapeError
from minires.geometry import pair
from minires.nn import init
from minires.nn.module import Module, Parameter
from minires.random import next_draws


class Conv2d(Module):
    """Convolution; see `functional.conv2d`.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias : as in PyTorch
    rng : where the initial weights are drawn; by default from the stream "nn.init" of `minires.random`

    Raises
    ------
    ShapeError : if groups does not divide the channels.
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
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ShapeError(f"groups={groups} must divide the channels in ({in_channels}) and out ({out_channels})")
        rng = rng or next_draws("nn.init")
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        shape = (out_channels, in_channels // groups, *pair(kernel_size, "kernel_size"))
        fan_in = math.prod(shape[1:])
        self.weight = Parameter(init.uniform_by_fan_in(shape, fan_in, rng))
        self.bias = Parameter(init.uniform_by_fan_in((out_channels,), fan_in, rng)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, K, P, Q)."""
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class BatchNorm2d(Module):
    """Batch normalisation; see `functional.batch_norm`.

    Parameters
    ----------
    num_features : C
    eps, momentum : as in PyTorch
    """

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = Parameter(np.ones(num_features, np.float32))
        self.bias = Parameter(np.zeros(num_features, np.float32))
        self.register_buffer("running_mean", tensor(np.zeros(num_features, np.float32)))
        self.register_buffer("running_var", tensor(np.ones(num_features, np.float32)))
        self.register_buffer("num_batches_tracked", tensor(np.array(0, np.int64)))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        y = F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, self.training, self.momentum, self.eps
        )
        if self.training:
            self.num_batches_tracked.assign_(self.num_batches_tracked.item() + 1)
        return y


class ReLU(Module):
    """max(x, 0)."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return F.relu(x)


class _Pool2d(Module):
    """A module that keeps a pooling window."""

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        super().__init__()
        self.window = (kernel_size, stride, padding)


class MaxPool2d(_Pool2d):
    """The largest value of each window; see `functional.max_pool2d`."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, P, Q)."""
        return F.max_pool2d(x, *self.window)


class AvgPool2d(_Pool2d):
    """The mean of each window; see `functional.avg_pool2d`."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, P, Q)."""
        return F.avg_pool2d(x, *self.window)


class AdaptiveAvgPool2d(Module):
    """Means over a grid of windows; see `functional.adaptive_avg_pool2d`."""

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, *output_size)."""
        return F.adaptive_avg_pool2d(x, self.output_size)


class Flatten(Module):
    """All axes but the first in one."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, …) -> (N, product)."""
        return x.reshape(x.shape[0], -1)


class Linear(Module):
    """x · weightᵀ + bias; see `functional.linear`."""

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, rng: np.random.Generator | None = None
    ) -> None:
        super().__init__()
        rng = rng or next_draws("nn.init")
        self.weight = Parameter(init.uniform_by_fan_in((out_features, in_features), in_features, rng))
        self.bias = Parameter(init.uniform_by_fan_in((out_features,), in_features, rng)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, C) -> (N, K)."""
        return F.linear(x, self.weight, self.bias)


class CrossEntropyLoss(Module):
    """See `functional.cross_entropy`."""

    def __init__(self, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.options = (reduction, label_smoothing, ignore_index)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """(N, K), (N,) -> a scalar."""
        return F.cross_entropy(logits, labels, *self.options)
