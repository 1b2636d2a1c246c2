"""The layers of a residual network. Names, shapes and defaults are PyTorch's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minires import functional as F
from minires.autograd.tensor import Tensor
from minires.device import Array, on_device_of
from minires.errors import GraphError, ShapeError
from minires.functional.creation import tensor
from minires.geometry import Geometry, pair
from minires.nn import init
from minires.nn.containers import Identity
from minires.nn.module import Module
from minires.nn.parameter import Parameter, input_of
from minires.options import integer, real
from minires.random import next_draws


class Conv2d(Module):
    """Convolution; see `functional.conv2d`.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias : as in PyTorch
    rng : where the initial weights are drawn; by default from the stream "nn.init" of `minires.random`

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
        Geometry(self.kernel_size, self.stride, self.padding, self.dilation)  # refuses an impossible one
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise ShapeError(f"groups={groups} must divide the channels in ({in_channels}) and out ({out_channels})")
        rng = rng or next_draws("nn.init")
        shape = (self.out_channels, self.in_channels // self.groups, *self.kernel_size)
        fan_in = math.prod(shape[1:])
        self.weight = Parameter(init.in_filter_order(init.uniform_by_fan_in(shape, fan_in, rng)))
        self.bias = Parameter(init.uniform_by_fan_in((out_channels,), fan_in, rng)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, K, P, Q)."""
        return self.convolve(input_of(self, x), None, relu=False)

    def convolve(
        self, x: Tensor, shortcut: Tensor | None, relu: bool, affine: tuple[Array, Array] | None = None
    ) -> Tensor:
        """The convolved x, each channel by a scale and a shift of its own, with a shortcut added, rectified."""
        scale: Tensor | None = None
        bias: Tensor | None = self.bias
        if affine is not None:
            with on_device_of(x.array):
                shift = affine[1] if bias is None else affine[1] + affine[0] * bias.array
                scale, bias = (Tensor(array.astype(x.dtype)) for array in (affine[0], shift))
        window = self.stride, self.padding, self.dilation, self.groups
        return F.conv2d_act(x, _weight_of(self), bias, *window, scale=scale, shortcut=shortcut, relu=relu)

    def extra_repr(self) -> str:
        """The sizes, and what is not the default."""
        usual = {"padding": 0, "dilation": 1, "groups": 1}
        given = {name: getattr(self, name) if name == "groups" else _shown(getattr(self, name)) for name in usual}
        others = [f"{name}={value}" for name, value in given.items() if np.any(np.asarray(value) != usual[name])]
        others += ["bias=False"] if self.bias is None else []
        window = f"kernel_size={_shown(self.kernel_size)}, stride={_shown(self.stride)}"
        return ", ".join([f"{self.in_channels}, {self.out_channels}, {window}", *others])


class ReLU(Module):
    """max(x, 0).

    Parameters
    ----------
    inplace : accepted for PyTorch's sake, and without effect: a rectifier never overwrites its input here
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return F.relu(input_of(self, x))


class BatchNorm2d(Module):
    """Batch normalisation; see `functional.batch_norm`.

    Parameters
    ----------
    num_features : C
    eps : added to the variance
    momentum : the weight of a batch in the running statistics; None for the mean over all batches
    affine : whether to learn a scale and a shift
    track_running_stats : whether to make and update running statistics. Set later, it decides whether training
        updates them. Evaluation goes by them where there are any, and by those of the batch where both are None

    Raises
    ------
    ShapeError : if num_features is not positive.
    ValueError : if eps or the momentum is not a number, or eps negative.
    """

    wide_buffers = ("running_mean", "running_var")
    optional_buffers = ("num_batches_tracked",)  # which PyTorch began to count in 2018

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        super().__init__()
        self.num_features = _size("num_features", num_features)
        self.eps, self.momentum = (
            real(eps, "eps", least=0),
            None if momentum is None else real(momentum, "momentum"),
        )
        self.affine, self.track_running_stats = affine, track_running_stats
        self.weight = Parameter(np.ones(num_features, np.float32)) if affine else None
        self.bias = Parameter(np.zeros(num_features, np.float32)) if affine else None
        kept = track_running_stats
        self.register_buffer("running_mean", tensor(np.zeros(num_features, np.float32)) if kept else None)
        self.register_buffer("running_var", tensor(np.ones(num_features, np.float32)) if kept else None)
        self.register_buffer("num_batches_tracked", tensor(np.array(0, np.int64)) if kept else None)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        return self.normalise(input_of(self, x), None, relu=False)

    @property
    def goes_by_running_stats(self) -> bool:
        """Whether the next batch is normalised by the running statistics: in evaluation, where there are any."""
        return not self.training and not (self.running_mean is None and self.running_var is None)

    def scale_and_shift(self) -> tuple[Array, Array]:
        """What evaluation by the running statistics comes to: y = scale · x + shift, (C,) each, in float64."""
        with on_device_of(self.running_mean.array):
            mean, var = (t.array.astype(np.float64) for t in (self.running_mean, self.running_var))
            scale = (1.0 if self.weight is None else self.weight.array) / (var + real(self.eps, "eps", least=0)) ** 0.5
            return scale, (0.0 if self.bias is None else self.bias.array) - scale * mean

    def normalise(self, x: Tensor, shortcut: Tensor | None, relu: bool) -> Tensor:
        """The normalised x, with a shortcut added, rectified.

        Raises
        ------
        GraphError : if there is a running mean without a running variance, or the other way round.
        """
        tracks = self.training and self.track_running_stats
        mean, var = (self.running_mean, self.running_var) if tracks or not self.training else (None, None)
        if (mean is None) != (var is None):
            there, lacks = ("running_var", "running_mean") if mean is None else ("running_mean", "running_var")
            raise GraphError(f"BatchNorm2d has a {there}, but its {lacks} is None: set both, or neither")
        count, momentum = self.num_batches_tracked if tracks else None, self.momentum
        if momentum is None:
            momentum = 0.0 if count is None else 1 / (count.item() + 1)
        y = F.batch_norm_act(
            x,
            mean,
            var,
            self.weight,
            self.bias,
            self.training or mean is None,
            real(momentum, "momentum"),
            real(self.eps, "eps", least=0),
            shortcut=shortcut,
            relu=relu,
        )
        if count is not None:
            with count.writable() as counted:
                counted += 1
        return y

    def extra_repr(self) -> str:
        """The options."""
        names = ("eps", "momentum", "affine", "track_running_stats")
        return ", ".join([str(self.num_features), *(f"{name}={getattr(self, name)}" for name in names)])


class FoldedBatchNorm(Identity):
    """Stands where a batch norm was; the convolution before it does the work. See `fold_batch_norm`."""


class Flatten(Module):
    """Several axes as one; by default all but the first."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = integer(start_dim, "start_dim"), integer(end_dim, "end_dim")

    def forward(self, x: Tensor) -> Tensor:
        """(N, …) -> (N, product)."""
        return input_of(self, x).flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        """The axes."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Linear(Module):
    """x · weightᵀ + bias; see `functional.linear`.

    Parameters
    ----------
    in_features, out_features, bias : as in PyTorch
    rng : where the initial weights are drawn; by default from the stream "nn.init" of `minires.random`

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
        """(…, C) -> (…, K)."""
        return F.linear(input_of(self, x), _weight_of(self), self.bias)

    def extra_repr(self) -> str:
        """The sizes."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class CrossEntropyLoss(Module):
    """See `functional.cross_entropy`."""

    def __init__(self, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.ignore_index, self.reduction, self.label_smoothing = ignore_index, reduction, label_smoothing

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """(N, K), (N,) -> a scalar."""
        smoothing = real(self.label_smoothing, "label_smoothing")
        return F.cross_entropy(input_of(self, logits), labels, self.reduction, smoothing, self.ignore_index)


class Dropout(Module):
    """Drop elements at random while training; see `functional.dropout`.

    Parameters
    ----------
    p : the probability that an element is dropped
    inplace : accepted for PyTorch's sake, and without effect

    Raises
    ------
    ValueError : if p is not between 0 and 1.
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        p = real(p, "the probability of dropout", 0, 1)
        self.p = p
        self.inplace = inplace

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return F.dropout(input_of(self, x), self.p, self.training)

    def extra_repr(self) -> str:
        """The probability."""
        return f"p={self.p}"


def _size(name: str, value: Any) -> int:
    """``value`` as a positive integer."""
    return integer(value, name, 1)


def _weight_of(layer: Conv2d | Linear) -> Tensor:
    """Return the weight of a layer, or raise TypeError if it was set to something else."""
    if not isinstance(layer.weight, Tensor):
        found = "None" if layer.weight is None else f"a {type(layer.weight).__name__}"
        raise TypeError(f"the weight of {type(layer).__name__} is {found}: set it to a Parameter")
    return layer.weight


def _shown(size: Any) -> Any:
    """Return a size as a pair; as it is, if it was set to what is none."""
    try:
        return pair(size, "size")
    except ShapeError:
        return size
