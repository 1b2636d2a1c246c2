"""From features to a loss: linear, softmax, cross-entropy."""

from __future__ import annotations

from typing import Any

import numpy as np

from minires.autograd.tensor import Tensor
from minires.device import Array, asarray, asnumpy
from minires.errors import DataError, DtypeError, ShapeError
from minires.functional.arithmetic import exp, matmul
from minires.functional.kernel_op import KernelOp


class LogSoftmax(KernelOp):
    """log softmax(x)."""

    def forward(self, x: Array, *, dim: int) -> Any:
        """Keep the output, whose exponential is the softmax."""
        y = self.kernels.log_softmax(x, dim)
        self.save(y)
        self.save_constant(dim)
        return y

    def backward(self, gy: Tensor) -> Any:
        """gy − softmax(x) · Σ gy."""
        return gy - exp(self.saved[0]) * gy.sum(self.constants[0], keepdim=True)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x · weightᵀ + bias.

    Parameters
    ----------
    x : (N, C); weight : (K, C); bias : (K,) or None

    Returns
    -------
    y : (N, K)

    Raises
    ------
    ShapeError : if the shapes do not agree.
    """
    if weight.ndim != 2 or not x.ndim or x.shape[-1] != weight.shape[1]:
        raise ShapeError(f"linear expects x (N, C) and weight (K, C), got {x.shape} and {weight.shape}")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ShapeError(f"a bias of shape {bias.shape} does not fit {weight.shape[0]} outputs")
    y = matmul(x, weight.permute(1, 0))
    return y if bias is None else y + bias


def log_softmax(x: Tensor, dim: int = -1) -> Tensor:
    """Logarithm of the softmax along one axis, safe for large inputs."""
    return LogSoftmax.apply(x, dim=dim)  # type: ignore[no-any-return]


def softmax(x: Tensor, dim: int = -1) -> Tensor:
    """exp(x) / Σ exp(x) along one axis, safe for large inputs."""
    return exp(log_softmax(x, dim))


def cross_entropy(
    logits: Tensor,
    labels: Tensor,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
) -> Tensor:
    """Cross-entropy of softmax(logits) against labels, as `torch.nn.functional.cross_entropy` computes it.

    Each row's target is 1 − label_smoothing at its label, plus label_smoothing / K everywhere.

    Parameters
    ----------
    logits : (N, K) float tensor
    labels : (N,) integer tensor with values in 0 … K − 1, or ``ignore_index`` for rows that do not count
    reduction : "mean" over the rows that count, "sum", or "none"

    Returns
    -------
    loss : a scalar, or (N,) with reduction "none"

    Raises
    ------
    ShapeError : if the shapes do not agree.
    DtypeError : if the labels are not integers.
    DataError : if a label is out of range.
    ValueError : for another reduction, or a label_smoothing outside [0, 1].
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ShapeError(f"cross_entropy expects logits (N, K) and labels (N,), got {logits.shape} and {labels.shape}")
    if labels.dtype.kind not in "iu":
        raise DtypeError(f"labels must be integers, not {labels.dtype}")
    if reduction not in ("mean", "sum", "none") or not 0 <= label_smoothing <= 1:
        raise ValueError(f"reduction {reduction!r} or label_smoothing {label_smoothing!r} is not possible")
    numbers, K = asnumpy(labels.array), logits.shape[1]
    counts = numbers != ignore_index
    for row in np.flatnonzero(counts & ((numbers < 0) | (numbers >= K)))[:1]:
        raise DataError(f"label {numbers[row]} at row {row} is not one of the {K} classes 0 … {K - 1}")
    target = np.full(logits.shape, label_smoothing / K, logits.dtype)
    rows = np.flatnonzero(counts)
    target[rows, numbers[rows]] += 1 - label_smoothing
    target[~counts] = 0
    losses = -(log_softmax(logits) * Tensor(asarray(target, logits.device))).sum(1)
    if reduction == "none":
        return losses
    total = losses.sum()
    return total if reduction == "sum" else total / (len(rows) or float("nan"))
