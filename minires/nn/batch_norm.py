"""Batch normalisation, in training and in evaluation. Names, shapes and defaults are PyTorch's."""

from __future__ import annotations

import numpy as np

from minires import functional as F
from minires.autograd.tensor import Tensor
from minires.device import Array, on_device_of
from minires.errors import GraphError
from minires.functional.creation import tensor
from minires.nn.containers import Identity
from minires.nn.module import Module, input_of
from minires.nn.parameter import Parameter
from minires.options import integer, real


class BatchNorm2d(Module):
    """Normalise each channel by the mean and variance of the batch; see `functional.batch_norm`.

    Parameters
    ----------
    num_features : C
    eps : is added to the variance
    momentum : the weight of a batch in the running statistics; None for the mean over all batches
    affine : whether to learn a scale and a shift
    track_running_stats : whether to make running statistics, and to update them while training; the attribute can be
        set later, to start or stop the updates. Evaluation uses the running statistics, or those of the batch if both
        are None

    Raises
    ------
    ShapeError : if num_features is not positive.
    ValueError : if eps or the momentum is not a number, or eps is negative.
    """

    wide_buffers = ("running_mean", "running_var")
    optional_buffers = ("num_batches_tracked",)  # PyTorch has this buffer since 2018

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        super().__init__()
        self.num_features = integer(num_features, "num_features", least=1)
        self.eps = real(eps, "eps", least=0)
        self.momentum = None if momentum is None else real(momentum, "momentum")
        self.affine, self.track_running_stats = affine, track_running_stats
        self.weight = Parameter(np.ones(num_features, np.float32)) if affine else None
        self.bias = Parameter(np.zeros(num_features, np.float32)) if affine else None
        tracks = track_running_stats
        self.register_buffer("running_mean", tensor(np.zeros(num_features, np.float32)) if tracks else None)
        self.register_buffer("running_var", tensor(np.ones(num_features, np.float32)) if tracks else None)
        self.register_buffer("num_batches_tracked", tensor(np.array(0, np.int64)) if tracks else None)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x, of shape (N, C, H, W)."""
        return self.normalise(input_of(self, x), None, relu=False)

    def normalise(self, x: Tensor, shortcut: Tensor | None, relu: bool) -> Tensor:
        """Return relu(batch_norm(x) + shortcut) in one operation, and update the running statistics while training.

        Parameters
        ----------
        x : (N, C, H, W)
        shortcut : of the shape of x, or None for no addition
        relu : whether ReLU is applied

        Raises
        ------
        GraphError : if only one of running mean and running variance is None.
        """
        tracks = self.training and self.track_running_stats
        mean, var = (self.running_mean, self.running_var) if tracks or not self.training else (None, None)
        if (mean is None) != (var is None):
            there, lacks = ("running_var", "running_mean") if mean is None else ("running_mean", "running_var")
            raise GraphError(f"BatchNorm2d has a {there}, but its {lacks} is None: set both, or neither")
        count, momentum = self.num_batches_tracked if tracks else None, self.momentum
        if momentum is None:
            momentum = 0.0 if count is None else 1 / (count.item() + 1)
        by_batch = self.training or mean is None
        momentum, eps = real(momentum, "momentum"), real(self.eps, "eps", least=0)
        y = F.batch_norm_act(
            x, mean, var, self.weight, self.bias, by_batch, momentum, eps, shortcut=shortcut, relu=relu
        )
        if count is not None:
            with count.writable() as counted:
                counted += 1
        return y

    @property
    def uses_running_stats(self) -> bool:
        """Whether the next call normalises by the running statistics: in evaluation, unless both are None."""
        return not self.training and not (self.running_mean is None and self.running_var is None)

    def scale_and_shift(self) -> tuple[Array, Array]:
        """Return scale and shift, (C,) each in float64: with the running statistics, y = scale · x + shift."""
        with on_device_of(self.running_mean.array):
            mean, var = (t.array.astype(np.float64) for t in (self.running_mean, self.running_var))
            scale = (1.0 if self.weight is None else self.weight.array) / (var + real(self.eps, "eps", least=0)) ** 0.5
            return scale, (0.0 if self.bias is None else self.bias.array) - scale * mean

    def extra_repr(self) -> str:
        """Return the options."""
        names = ("eps", "momentum", "affine", "track_running_stats")
        return ", ".join([str(self.num_features), *(f"{name}={getattr(self, name)}" for name in names)])


class FoldedBatchNorm(Identity):
    """Replace a batch norm that `fold_batch_norm` has folded into the convolution before it; return the input."""
