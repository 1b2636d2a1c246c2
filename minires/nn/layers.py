"""The layers of a residual network. Names, shapes and defaults are PyTorch's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minires import functional as F
from minires.autograd.tensor import Tensor
from minires.device import Array
from minires.errors import ShapeError
from minires.functional.creation import tensor
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


class ReLU(Module):
    """max(x, 0)."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return F.relu(x)


class BatchNorm2d(Module):
    """Batch normalisation; see `functional.batch_norm`.

    Parameters
    ----------
    num_features : C
    eps : added to the variance
    momentum : the weight of a batch in the running statistics; None for the mean over all batches
    affine : whether to learn a scale and a shift
    track_running_stats : whether to keep running statistics; without, those of the batch are used in evaluation too
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        super().__init__()
        self.eps, self.momentum, self.track_running_stats = eps, momentum, track_running_stats
        self.weight = Parameter(np.ones(num_features, np.float32)) if affine else None
        self.bias = Parameter(np.zeros(num_features, np.float32)) if affine else None
        kept = track_running_stats
        self.register_buffer("running_mean", tensor(np.zeros(num_features, np.float32)) if kept else None)
        self.register_buffer("running_var", tensor(np.ones(num_features, np.float32)) if kept else None)
        self.register_buffer("num_batches_tracked", tensor(np.array(0, np.int64)) if kept else None)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        return self._normalise(x, None, relu=False)

    def act(self, x: Tensor, relu: Module, shortcut: Tensor | None = None) -> Tensor:
        """relu(self(x) + shortcut), in one pass over memory unless a hook wants to see what is between.

        Parameters
        ----------
        x : (N, C, H, W)
        relu : a `ReLU`; another module is called as it is
        shortcut : (N, C, H, W) or None
        """
        if type(relu) is ReLU and not relu.hooked and not self.hooked:
            return self._normalise(x, shortcut, relu=True)
        y = self(x)
        return relu(y if shortcut is None else y + shortcut)  # type: ignore[no-any-return]

    def _normalise(self, x: Tensor, shortcut: Tensor | None, relu: bool) -> Tensor:
        counts, momentum = self.training and self.track_running_stats, self.momentum
        if momentum is None:
            momentum = 1 / (self.num_batches_tracked.item() + 1) if counts else 0.0
        y = F.batch_norm_act(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            momentum,
            self.eps,
            shortcut=shortcut,
            relu=relu,
        )
        if counts:
            self.num_batches_tracked.update_(_increment)
        return y


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
    """Several axes as one; by default all but the first."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Tensor) -> Tensor:
        """(N, …) -> (N, product)."""
        return x.flatten(self.start_dim, self.end_dim)


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


class Dropout(Module):
    """Drop elements at random while training; see `functional.dropout`."""

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"the probability of dropout must be between 0 and 1, got {p!r}")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return F.dropout(x, self.p, self.training)


def _increment(count: Array) -> None:
    count += 1
