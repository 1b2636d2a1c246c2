"""Batch normalisation of images, alone and with what follows it in a residual block."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minires import kernels
from minires.autograd.backward import grad
from minires.autograd.op import recording
from minires.autograd.tensor import Tensor
from minires.device import Array, asarray, same_device, wide_dtype, xp_of
from minires.errors import DtypeError, GraphError, ShapeError
from minires.functional.activation import Rectified
from minires.functional.kernel_op import KernelOp
from minires.options import real
from minires.write_guard import thawed

_AXES = (0, 2, 3)


class BatchNormAct(Rectified):
    """y = relu(gamma · x_hat + beta + shortcut) by the batch's own statistics; shortcut and relu may be missing."""

    def forward(
        self,
        x: Array,
        gamma: Array,
        beta: Array,
        shortcut: Array | None,
        *,
        relu: bool,
        eps: float,
        observe: Callable[[Array, Array], None],
    ) -> Any:
        """Compute y; ``observe`` is told the mean and the biased variance."""
        y, mean, var, inv_std = self.kernels.batch_norm_act(x, gamma, beta, shortcut, relu, eps)
        self.save(x, gamma, *([y] if relu else []))
        self.save_constant(mean, inv_std, eps)
        self.rectified = relu
        self.hands_over = relu or shortcut is None  # otherwise the shortcut's gradient is gy itself
        observe(mean, var)
        return y

    def backward(self, gy: Tensor) -> Any:
        """All gradients in one pass; as the parts, one after the other, where the backward pass is recorded."""
        x, gamma, *y = self.saved
        mean, inv_std, eps = self.constants
        if recording():
            gz = self.before_rectifier(gy)
            return *BatchNormGrads.apply(gz, x, gamma, mean=mean, inv_std=inv_std, eps=eps), gz
        output, arrays = (y or [x])[0].array, (x.array, gamma.array)
        wants_shortcut = self.needs_grad[3] and bool(y)
        overwrite = self.may_overwrite and self.hands_over
        given = thawed(gy._array) if overwrite else gy.array
        *found, gz = self.kernels.batch_norm_act_grads(
            given, output, *arrays, mean, inv_std, bool(y), wants_shortcut, overwrite
        )
        return *(Tensor(a) for a in found), Tensor(gz) if wants_shortcut else gy


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
    M, own = x.numel() // x.shape[1], x.dtype
    gy, x, gamma = (t.to(wide_dtype(own)) for t in (gy, x, gamma))
    centred = x - x.mean(_AXES, keepdim=True)
    inv_std = ((centred * centred).mean(_AXES, keepdim=True) + eps) ** -0.5
    x_hat = centred * inv_std
    gbeta, ggamma = gy.sum(_AXES, keepdim=True), (gy * x_hat).sum(_AXES, keepdim=True)
    gx = gamma.reshape(1, -1, 1, 1) * inv_std * (gy - gbeta / M - x_hat * ggamma / M)
    return gx.to(own), ggamma.reshape(-1).to(own), gbeta.reshape(-1).to(own)


class BatchNormActInference(Rectified):
    """y = relu(gamma · (x − mean) · inv_std + beta + shortcut) by given statistics."""

    def forward(
        self,
        x: Array,
        gamma: Array,
        beta: Array,
        shortcut: Array | None,
        *,
        mean: Array,
        var: Array,
        relu: bool,
        eps: float,
    ) -> Any:
        """Compute y, and keep copies of the statistics, which later batches may overwrite."""
        y = self.kernels.batch_norm_act_inference(x, gamma, beta, mean, var, shortcut, relu, eps)
        self.save(x, gamma, *([y] if relu else []))
        self.save_constant(mean.copy(), 1 / xp_of(var).sqrt(var + eps))
        self.rectified = relu
        return y

    def backward(self, gy: Tensor) -> Any:
        """The statistics are constants here, so y is affine in x, and its derivatives a matter of arithmetic."""
        x, gamma, *_ = self.saved
        mean, inv_std = self.constants
        gz = self.before_rectifier(gy)
        if not recording():
            found = self.kernels.batch_norm_inference_grads(gz.array, x.array, gamma.array, mean, inv_std)
            return *(Tensor(a) for a in found), gz
        scale = Tensor(inv_std).reshape(1, -1, 1, 1)
        g, x, gamma = (t.to(scale.dtype) for t in (gz, x, gamma))
        x_hat = (x - Tensor(mean).reshape(1, -1, 1, 1)) * scale
        found = g * (gamma.reshape(1, -1, 1, 1) * scale), (g * x_hat).sum(_AXES), g.sum(_AXES)
        return *(t.to(gz.dtype) for t in found), gz


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
    running_mean, running_var : (C,), in float32 for an x in float16; None only when training
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
    DtypeError, DeviceError : if dtypes or devices are mixed.
    GraphError : if the running tensors are missing when not training.
    """
    return batch_norm_act(x, running_mean, running_var, weight, bias, training, momentum, eps, relu=False)


def batch_norm_act(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    shortcut: Tensor | None = None,
    relu: bool = True,
) -> Tensor:
    """relu(batch_norm(x, …) + shortcut): what follows a convolution in a residual block, in one pass over memory.

    Parameters
    ----------
    x, running_mean, running_var, weight, bias, training, momentum, eps : as in `batch_norm`
    shortcut : what is added before the rectifier, of the shape of x, or None
    relu : whether to rectify

    Returns
    -------
    y : (N, C, H, W)

    Raises
    ------
    as `batch_norm`, and ShapeError if the shortcut has another shape.

    Identity that tests it: equal to the three parts one after the other.
    """
    if x.ndim != 4:
        raise ShapeError(f"batch norm expects an input of shape (N, C, H, W), got {x.shape}")
    C = x.shape[1]
    if x.dtype.kind not in "fc":
        raise DtypeError(f"batch norm needs a float tensor, got {x.dtype}: convert with .to(dtype)")
    eps, momentum = real(eps, "eps"), real(momentum, "momentum")
    if not eps >= 0:
        raise ValueError(f"eps must not be negative, got {eps!r}")
    given = {"running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias}
    for name, tensor in given.items():
        if tensor is not None:
            if not isinstance(tensor, Tensor):
                raise TypeError(f"{name} must be a Tensor, not a {type(tensor).__name__}: use mr.tensor(…)")
            if tensor.shape != (C,):
                raise ShapeError(f"{name} has shape {tensor.shape}, but an input of shape {x.shape} needs ({C},)")
            same_device(x.array, tensor.array)
            wanted = wide_dtype(x.dtype) if name.startswith("running") else x.dtype
            if tensor.dtype != wanted:
                raise DtypeError(f"{name} is in {tensor.dtype}, but an input in {x.dtype} needs {wanted}")
    gamma = weight if weight is not None else _constant(1.0, x)
    beta = bias if bias is not None else _constant(0.0, x)
    if not training:
        if running_mean is None or running_var is None:
            raise GraphError("batch norm needs running_mean and running_var when it is not training")
        options = {"mean": running_mean.array, "var": running_var.array, "relu": relu, "eps": eps}
        return BatchNormActInference.apply(x, gamma, beta, shortcut, **options)

    def observe(mean: Array, var: Array) -> None:
        M = x.numel() // C
        for running, batch, share in ((running_mean, mean, momentum), (running_var, var, momentum * M / (M - 1))):
            if running is not None:
                with running.writable() as array:
                    kernels.choose(array).blend_(array, batch, 1 - momentum, share)

    return BatchNormAct.apply(x, gamma, beta, shortcut, relu=relu, eps=eps, observe=observe)


def _constant(value: float, x: Tensor) -> Tensor:
    return Tensor(asarray(np.full(x.shape[1], value, x.dtype), x.device))
