"""Batch normalisation of images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minires.autograd.backward import grad
from minires.autograd.op import recording
from minires.autograd.tensor import Tensor
from minires.device import Array, asarray
from minires.errors import GraphError, ShapeError
from minires.functional.kernel_op import KernelOp


class BatchNorm(KernelOp):
    """y = gamma · x_hat + beta, by the batch's own statistics."""

    def forward(
        self, x: Array, gamma: Array, beta: Array, *, eps: float, observe: Callable[[Array, Array], None]
    ) -> Any:
        """Compute y; ``observe`` is told the mean and the biased variance."""
        y, mean, var, inv_std = self.kernels.batch_norm(x, gamma, beta, eps)
        self.save(x, gamma)
        self.save_constant(mean, inv_std, eps)
        observe(mean, var)
        return y

    def backward(self, gy: Tensor) -> Any:
        """Compute all three gradients in one operation."""
        mean, inv_std, eps = self.constants
        return BatchNormGrads.apply(gy, *self.saved, mean=mean, inv_std=inv_std, eps=eps)


class BatchNormGrads(KernelOp):
    """(gx, ggamma, gbeta). ``mean`` and ``inv_std`` are no inputs: they are what they are because of x."""

    def forward(self, gy: Array, x: Array, gamma: Array, *, mean: Array, inv_std: Array, eps: float) -> Any:
        """Compute the three gradients."""
        self.save(gy, x, gamma)
        self.save_constant(mean, inv_std, eps)
        return self.kernels.batch_norm_grads(gy, x, gamma, mean, inv_std)

    def backward(self, ggx: Tensor, gggamma: Tensor, ggbeta: Tensor) -> Any:
        """Differentiate by gy, x and gamma: by hand, or through a composition where that is recorded in turn."""
        gy, x, gamma = self.saved
        mean, inv_std, eps = self.constants
        if not recording():
            arrays = (t.array for t in (ggx, gggamma, ggbeta, gy, x, gamma))
            return tuple(Tensor(a) for a in self.kernels.batch_norm_grads_grads(*arrays, mean, inv_std))
        # New nodes for the three: gy may itself depend on x, and only the partial derivatives are asked for.
        gy, x, gamma = (t.reshape(t.shape) for t in (gy, x, gamma))
        wanted = [t for t, needed in zip((gy, x, gamma), self.needs_grad, strict=True) if needed]
        results = _grads(gy, x, gamma, eps)
        found = iter(grad(results, wanted, (ggx, gggamma, ggbeta), create_graph=True, allow_unused=True))
        return tuple(next(found) if needed else None for needed in self.needs_grad)


def _grads(gy: Tensor, x: Tensor, gamma: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """What `BatchNormGrads` computes, as a composition that can be differentiated to any order."""
    M, axes = x.size // x.shape[1], (0, 2, 3)
    centred = x - x.mean(axes, keepdim=True)
    inv_std = ((centred * centred).mean(axes, keepdim=True) + eps) ** -0.5
    x_hat = centred * inv_std
    gbeta, ggamma = gy.sum(axes, keepdim=True), (gy * x_hat).sum(axes, keepdim=True)
    gx = gamma.reshape(1, -1, 1, 1) * inv_std * (gy - gbeta / M - x_hat * ggamma / M)
    return gx, ggamma.reshape(-1), gbeta.reshape(-1)


def batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each channel, as `torch.nn.functional.batch_norm` does.

    When training, by the batch's mean and biased variance, which also enter the running tensors (in place):
    running = (1 − momentum) · running + momentum · batch, there with the unbiased variance. Otherwise by the
    running tensors.

    Parameters
    ----------
    x : (N, C, H, W)
    running_mean, running_var : (C,); None only when training
    weight, bias : gamma and beta, (C,); None for ones and zeros
    training : by the batch's statistics
    momentum : the weight of the batch in the running tensors
    eps : added to the variance

    Returns
    -------
    y : (N, C, H, W)

    Raises
    ------
    ShapeError : if the shapes do not agree; when training, also for a single value per channel.
    GraphError : if the running tensors are missing when not training.
    """
    if x.ndim != 4:
        raise ShapeError(f"batch norm expects an input of shape (N, C, H, W), got {x.shape}")
    C = x.shape[1]
    gamma = weight if weight is not None else _constant(1.0, x)
    beta = bias if bias is not None else _constant(0.0, x)
    for name, given in (
        ("running_mean", running_mean),
        ("running_var", running_var),
        ("weight", gamma),
        ("bias", beta),
    ):
        if given is not None and given.shape != (C,):
            raise ShapeError(f"{name} has shape {given.shape}, but an input of shape {x.shape} needs ({C},)")
    if training:
        M = x.size // C if C else 0

        def observe(mean: Array, var: Array) -> None:
            for running, batch in ((running_mean, mean), (running_var, var * (M / (M - 1)))):
                if running is not None:
                    running.assign_((1 - momentum) * running.array + momentum * batch)

        y: Tensor = BatchNorm.apply(x, gamma, beta, eps=eps, observe=observe)
        return y
    if running_mean is None or running_var is None:
        raise GraphError("batch norm needs running_mean and running_var when it is not training")
    scale = gamma * (running_var.detach() + eps) ** -0.5
    shift = beta - running_mean.detach() * scale
    return x * scale.reshape(1, -1, 1, 1) + shift.reshape(1, -1, 1, 1)


def _constant(value: float, x: Tensor) -> Tensor:
    return Tensor(asarray(np.full(x.shape[1], value, x.dtype), x.device))
