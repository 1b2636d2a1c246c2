"""Batch normalisation of images, alone or together with the shortcut and ReLU that follow it in a residual block."""

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
from minires.functional.activation import WithRelu
from minires.functional.cast import widened
from minires.functional.kernel_op import KernelOp
from minires.options import real
from minires.write_guard import thawed

_AXES = (0, 2, 3)


class BatchNormAct(WithRelu):
    """y = relu(gamma · x_hat + beta + shortcut), with the statistics of the batch. Shortcut and ReLU are optional."""

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
        """Compute y, and call ``observe`` with the batch mean and the biased batch variance."""
        y, mean, var, inv_std = self.kernels.batch_norm_act(x, gamma, beta, shortcut, relu, eps)
        self.save(x, gamma, *([y] if relu else []))
        self.save_constant(mean, inv_std, eps)
        self.has_relu = relu
        self.hands_over = relu or shortcut is None  # otherwise the shortcut's gradient is gy itself
        observe(mean, var)
        return y

    def backward(self, gy: Tensor) -> Any:
        """Compute all gradients in one kernel, or part by part where the backward pass is recorded."""
        x, gamma, *y = self.saved
        mean, inv_std, eps = self.constants
        if recording():
            gz = self.through_relu(gy)
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
    """The gradients (gx, ggamma, gbeta) of a batch norm.

    ``mean`` and ``inv_std`` are options, not inputs. They are functions of x, and the derivatives by x include them.
    """

    def forward(self, gy: Array, x: Array, gamma: Array, *, mean: Array, inv_std: Array, eps: float) -> Any:
        """Compute the three gradients."""
        self.save(gy, x, gamma)
        self.save_constant(mean, inv_std, eps)
        return self.kernels.batch_norm_grads(gy, x, gamma, mean, inv_std)

    def backward(self, ggx: Tensor, gggamma: Tensor, ggbeta: Tensor) -> Any:
        """Differentiate by gy, x and gamma: with a kernel, or as a composition of operations where that is recorded."""
        gy, x, gamma = self.saved
        mean, inv_std, eps = self.constants
        if not recording():
            arrays = (t.array for t in (ggx, gggamma, ggbeta, gy, x, gamma))
            return tuple(Tensor(a) for a in self.kernels.batch_norm_grads_grads(*arrays, mean, inv_std))
        # Make new nodes: gy may depend on x, but only the partial derivatives are wanted.
        gy, x, gamma = (t.reshape(t.shape) for t in (gy, x, gamma))
        wanted = [t for t, needed in zip((gy, x, gamma), self.needs_grad, strict=True) if needed]
        results = zip(_grads(gy, x, gamma, eps), (ggx, gggamma, ggbeta), strict=True)
        # gbeta is a function of gy alone, so it has no graph where gy has none.
        outputs, gradients = zip(*((y, g) for y, g in results if y.requires_grad), strict=True)
        found = iter(grad(outputs, wanted, gradients, create_graph=True, allow_unused=True))
        return tuple(next(found) if needed else None for needed in self.needs_grad)


def _grads(gy: Tensor, x: Tensor, gamma: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return what `BatchNormGrads` computes, as a composition that has derivatives of every order."""
    M, own = x.numel() // x.shape[1], x.dtype
    gy, x, gamma = widened(gy, x, gamma)
    centred = x - x.mean(_AXES, keepdim=True)
    inv_std = ((centred * centred).mean(_AXES, keepdim=True) + eps) ** -0.5
    x_hat = centred * inv_std
    gbeta, ggamma = gy.sum(_AXES, keepdim=True), (gy * x_hat).sum(_AXES, keepdim=True)
    gx = gamma.reshape(1, -1, 1, 1) * inv_std * (gy - gbeta / M - x_hat * ggamma / M)
    return gx.to(own), ggamma.reshape(-1).to(own), gbeta.reshape(-1).to(own)


class BatchNormActInference(WithRelu):
    """y = relu(gamma · (x − mean) · inv_std + beta + shortcut), with given statistics."""

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
        """Compute y, and save copies of the statistics, since later batches may overwrite them."""
        y = self.kernels.batch_norm_act_inference(x, gamma, beta, mean, var, shortcut, relu, eps)
        self.save(x, gamma, *([y] if relu else []))
        self.save_constant(mean.copy(), 1 / xp_of(var).sqrt(var + eps))
        self.has_relu = relu
        return y

    def backward(self, gy: Tensor) -> Any:
        """Compute all gradients. The statistics are constants, so y is affine in x."""
        x, gamma, *_ = self.saved
        mean, inv_std = self.constants
        gz = self.through_relu(gy)
        if not recording():
            found = self.kernels.batch_norm_inference_grads(gz.array, x.array, gamma.array, mean, inv_std)
            return *(Tensor(a) for a in found), gz
        scale = Tensor(inv_std).reshape(1, -1, 1, 1)
        g, x, gamma = widened(gz, x, gamma)
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

    When training, use the mean and the biased variance of the batch, and update the running tensors in place:
    running = (1 − momentum) · running + momentum · batch, with the unbiased variance of the batch. Otherwise use
    the running tensors.

    Parameters
    ----------
    x : (N, C, H, W)
    running_mean, running_var : (C,); in float32 if x is in float16; may be None when training
    weight, bias : gamma and beta, (C,); None for ones and zeros
    training : whether to use the statistics of the batch
    momentum : the weight of the batch in the running tensors
    eps : added to the variance

    Returns
    -------
    y : (N, C, H, W)

    Raises
    ------
    ShapeError : if the shapes do not agree; when training, also for a single value per channel.
    DtypeError, DeviceError : if dtypes or devices are mixed.
    GraphError : if a running tensor is None when not training.
    ValueError : if eps is negative.
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
    """Return relu(batch_norm(x, …) + shortcut), which follows a convolution in a residual block, in one pass.

    Parameters
    ----------
    x, running_mean, running_var, weight, bias, training, momentum, eps : as in `batch_norm`
    shortcut : what to add before ReLU, of the shape of x, or None
    relu : whether to apply ReLU

    Returns
    -------
    y : (N, C, H, W)

    Raises
    ------
    as `batch_norm`; and ShapeError if the shortcut has another shape.

    Identity that tests it: the result equals that of the three parts, one after another.
    """
    if x.ndim != 4:
        raise ShapeError(f"batch norm expects an input of shape (N, C, H, W), got {x.shape}")
    if x.dtype.kind not in "fc":
        raise DtypeError(f"batch norm needs a float tensor, got {x.dtype}: convert with .to(dtype)")
    eps, momentum = real(eps, "eps", least=0), real(momentum, "momentum")
    wide = wide_dtype(x.dtype)
    _check_per_channel("running_mean", running_mean, x, wide)
    _check_per_channel("running_var", running_var, x, wide)
    _check_per_channel("weight", weight, x, x.dtype)
    _check_per_channel("bias", bias, x, x.dtype)
    gamma = weight if weight is not None else _constant(1.0, x)
    beta = bias if bias is not None else _constant(0.0, x)
    if not training:
        if running_mean is None or running_var is None:
            raise GraphError("batch norm needs running_mean and running_var when it is not training")
        options = {"mean": running_mean.array, "var": running_var.array, "relu": relu, "eps": eps}
        return BatchNormActInference.apply(x, gamma, beta, shortcut, **options)

    def observe(mean: Array, var: Array) -> None:
        M = x.numel() // x.shape[1]
        for running, batch, share in ((running_mean, mean, momentum), (running_var, var, momentum * M / (M - 1))):
            if running is not None:
                with running.writable() as array:
                    kernels.choose(array).blend_(array, batch, 1 - momentum, share)

    return BatchNormAct.apply(x, gamma, beta, shortcut, relu=relu, eps=eps, observe=observe)


def _check_per_channel(name: str, tensor: Tensor | None, x: Tensor, dtype: Any) -> None:
    """Raise unless ``tensor`` is None or holds one element of ``dtype`` for each channel, on the device of x."""
    if tensor is None:
        return
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name} must be a Tensor, not a {type(tensor).__name__}: use mr.tensor(…)")
    if tensor.shape != x.shape[1:2]:
        raise ShapeError(f"{name} has shape {tensor.shape}, but an input of shape {x.shape} needs ({x.shape[1]},)")
    same_device(x.array, tensor.array)
    if tensor.dtype != dtype:
        raise DtypeError(f"{name} is in {tensor.dtype}, but an input in {x.dtype} needs {dtype}")


def _constant(value: float, x: Tensor) -> Tensor:
    """Return one ``value`` for each channel of x, in its dtype and on its device."""
    return Tensor(asarray(np.full(x.shape[1], value, x.dtype), x.device))
