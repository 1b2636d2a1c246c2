"""Softmax, its logarithm, and cross-entropy."""

from __future__ import annotations

from typing import Any

import numpy as np

from minires.autograd.tensor import Tensor
from minires.device import Array, full_like, wide_dtype, xp_of
from minires.errors import DtypeError
from minires.functional.cast import widened
from minires.functional.elementary import exp
from minires.functional.kernel_op import KernelOp
from minires.options import integer, real

_REDUCTIONS = ("mean", "sum", "none")  # of the losses of a batch


class Softmax(KernelOp):
    """y = exp(x) / Σ exp(x)."""

    def forward(self, x: Array, *, dim: int) -> Any:
        """Compute y and keep it for the gradient."""
        y = self.kernels.softmax(x, dim)
        self.save(y)
        self.save_constant(dim)
        return y

    def backward(self, gy: Tensor) -> Any:
        """Return y · (gy − Σ gy · y), computed in float32 for float16, where the products may be too small."""
        y, g = widened(self.saved[0], gy)
        return (y * (g - (g * y).sum(self.constants[0], keepdim=True))).to(gy.dtype)


class LogSoftmax(KernelOp):
    """y = x − log Σ exp(x)."""

    def forward(self, x: Array, *, dim: int) -> Any:
        """Compute y and keep it: the softmax is exp(y)."""
        y = self.kernels.log_softmax(x, dim)
        self.save(y)
        self.save_constant(dim)
        return y

    def backward(self, gy: Tensor) -> Any:
        """Return gy − softmax(x) · Σ gy, computed in float32 for float16, where the sum may be too large."""
        y, g = widened(self.saved[0], gy)
        return (g - exp(y) * g.sum(self.constants[0], keepdim=True)).to(gy.dtype)


class CrossEntropy(KernelOp):
    """loss = −log of the probability that softmax(logits) gives to the labels."""

    def forward(self, logits: Array, labels: Array, **options: Any) -> Any:
        """Compute the loss; ``options`` are the kernel's."""
        self.save(logits, labels)
        self.save_constant(options)
        return self.kernels.cross_entropy(logits, labels, **options)

    def backward(self, gy: Tensor) -> Any:
        """Compute softmax(logits) − target, times gy."""
        return CrossEntropyGrad.apply(gy, *self.saved, **self.constants[0]), None


class CrossEntropyGrad(KernelOp):
    """glogits = gy · (softmax(logits) − target) in the rows that count, 0 in the others."""

    def forward(self, gy: Array, logits: Array, labels: Array, **options: Any) -> Any:
        """Compute glogits (N, K)."""
        self.save(gy, logits, labels)
        self.save_constant(options)
        return self.kernels.cross_entropy_grad(gy, logits, labels, **options)

    def backward(self, ggl: Tensor) -> Any:
        """Compute Σ ggl · glogits / gy and gy · p · (ggl − Σ p · ggl), with p = softmax(logits)."""
        gy, logits, labels = self.saved
        (options,) = self.constants
        d_gy = d_logits = None
        if self.needs_grad[0]:
            unit = Tensor(full_like(gy.array, 1))
            per_unit = CrossEntropyGrad.apply(unit, logits, labels, **options)
            g, unit = widened(ggl, per_unit)
            d_gy = (g * unit).sum(1 if gy.ndim else None).to(gy.dtype)
        if self.needs_grad[1]:
            wide_logits, g = widened(logits, ggl)
            p = softmax(wide_logits, 1)
            d_logits = p * (g - (p * g).sum(1, keepdim=True)) * _weights(gy, labels.array, **options)
            d_logits = d_logits.to(logits.dtype)
        return d_gy, d_logits, None


def _weights(gy: Tensor, labels: Array, *, ignore_index: int, reduction: str, **_: Any) -> Tensor:
    """Return the gradient of the loss of each row, (N, 1); 0 where the row does not count."""
    xp = xp_of(labels)
    counts = xp.empty_like(gy.array, shape=labels.shape, dtype=wide_dtype(gy.dtype))
    counts[...] = labels != ignore_index
    if reduction == "mean":
        counts = counts / xp.maximum(counts.sum(), 1)
    return (gy.to(counts.dtype) * Tensor(counts)).reshape(-1, 1)


def softmax(x: Tensor, dim: int = -1) -> Tensor:
    """Return exp(x) / Σ exp(x) along one axis; large inputs do not overflow.

    Raises
    ------
    ShapeError : if there is no such axis, or it is empty.
    """
    return Softmax.apply(x, dim=integer(dim, "dim"))


def log_softmax(x: Tensor, dim: int = -1) -> Tensor:
    """Return the logarithm of the softmax along one axis; large inputs do not overflow.

    Raises
    ------
    ShapeError : if there is no such axis, or it is empty.
    """
    return LogSoftmax.apply(x, dim=integer(dim, "dim"))


def cross_entropy(
    logits: Tensor,
    labels: Tensor,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
) -> Tensor:
    """Return the cross-entropy of softmax(logits) and labels, as `torch.nn.functional.cross_entropy` does.

    Each row's target is 1 − label_smoothing at its label, plus label_smoothing / K everywhere.

    Parameters
    ----------
    logits : (N, K) float tensor
    labels : (N,) int64 tensor with values in 0 … K − 1, or ``ignore_index`` for rows that do not count
    reduction : "mean" over the rows that count (NaN if no row counts), "sum", or "none"
    label_smoothing : the part of the target that all classes share evenly, 0 … 1
    ignore_index : the label of rows that do not count

    Returns
    -------
    loss : a scalar, or (N,) with reduction "none"

    Raises
    ------
    ShapeError : if the shapes do not agree.
    DtypeError : if the labels are not int64.
    DataError : if a label is out of range, on the CPU. On a GPU, where a check would have to wait, the loss is NaN.
    ValueError : for another reduction, or a label_smoothing outside [0, 1].
    """
    if not isinstance(labels, Tensor):
        raise TypeError(f"labels must be an int64 Tensor, not a {type(labels).__name__}: use mr.tensor(…)")
    if labels.dtype != np.int64:
        raise DtypeError(f"labels must be int64, not {labels.dtype}: convert them with .to('int64')")
    if reduction not in _REDUCTIONS:
        raise ValueError(f"reduction {reduction!r} is not one of {', '.join(_REDUCTIONS)}")
    return CrossEntropy.apply(
        logits,
        labels,
        label_smoothing=real(label_smoothing, "label_smoothing", 0, 1),
        ignore_index=integer(ignore_index, "ignore_index"),
        reduction=reduction,
    )
