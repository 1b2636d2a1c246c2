"""Softmax, its logarithm, and the cross-entropy of both against labels.

All formulas use the differences x − m from the largest value m of a row. In exact arithmetic this changes nothing, and
exp of a difference never overflows.
"""

from __future__ import annotations

from typing import Any

from minires.device import Array, xp_of
from minires.errors import DataError, ShapeError
from minires.kernels.checks import check_float, check_labels, check_loss_grad
from minires.kernels.float16 import in_float32
from minires.kernels.reference.reduction import mean as mean_over
from minires.kernels.reference.reduction import sum as sum_over
from minires.kernels.reference.shape import in_order_of


@in_float32()
def softmax(x: Array, dim: int) -> Array:
    """Return positive numbers that add up to 1 along one axis.

        y = exp(x − m) / Σ exp(x − m),    m = max x                               (1)

    Parameters
    ----------
    x : float or complex array; of complex values, m is the largest real part
    dim : the axis that holds the classes

    Returns
    -------
    y : shape, dtype and memory order of x

    Raises
    ------
    ShapeError : if there is no such axis, or it is empty.
    DtypeError : for integers.

    Identities that test it: Σ y = 1; y = exp(log_softmax(x)); a constant added to x changes nothing.
    """
    e = xp_of(x).exp(_minus_largest("softmax", x, dim))
    return in_order_of(x, e / sum_over(e, dim, keepdims=True))  # (1)


@in_float32()
def log_softmax(x: Array, dim: int) -> Array:
    """Return the logarithm of the softmax along one axis.

        y = (x − m) − log Σ exp(x − m),    m = max x                              (1)

    Parameters, Returns, Raises
    ---------------------------
    as `softmax`

    Identities that test it: Σ exp(y) = 1; a constant added to x changes nothing.
    """
    xp, shifted = xp_of(x), _minus_largest("log_softmax", x, dim)
    return in_order_of(x, shifted - xp.log(sum_over(xp.exp(shifted), dim, keepdims=True)))  # (1)


@in_float32()
def cross_entropy(logits: Array, labels: Array, label_smoothing: float, ignore_index: int, reduction: str) -> Array:
    """Return the cross-entropy of softmax(logits) against the labels, in nats.

    With log p = log_softmax(logits) and the smoothing s, a row with label t costs

        loss = −(1 − s) · log p[t] − s · Σ_k log p[k] / K                         (1)

    and a row whose label is ``ignore_index`` costs nothing and does not count in the mean.

    Parameters
    ----------
    logits : (N, K) float or complex array
    labels : (N,) int64 array with values in 0 … K − 1, or ``ignore_index``
    label_smoothing : the share s of the target, 0 … 1, that is spread evenly over all classes
    ignore_index : the label of rows to leave out; may be a class
    reduction : "mean" over the rows that count (NaN if there are none), "sum", or "none"

    Returns
    -------
    loss : an array without axes, or (N,) for "none"; dtype of logits

    Raises
    ------
    ShapeError : if the shapes do not agree.
    DtypeError : if the labels are not int64 or the logits not floats.
    DataError : if a label is out of range.

    Identities that test it: equal logits cost log K, whatever the label and the smoothing; a constant added
    to a row changes nothing.
    Source: Szegedy et al. 2016, arXiv:1512.00567, section 7; derivation in docs/derivations/cross_entropy.md.
    """
    check_labels(logits, labels)
    counts, is_label = _targets(logits, labels, ignore_index)
    xp, zero, s = xp_of(logits), logits.dtype.type(0), label_smoothing
    log_p = log_softmax(logits, 1)
    loss = -(1 - s) * sum_over(xp.where(is_label, log_p, zero), 1)
    if s:  # without smoothing, an impossible class (a logit of −∞) costs nothing
        loss = loss - s * mean_over(log_p, 1)  # (1)
    loss = xp.where(counts, loss, zero)
    if reduction == "none":
        return loss
    total = sum_over(loss)
    if reduction == "sum":
        return total
    rows = counts.sum().astype(logits.real.dtype)
    return xp.where(rows > 0, total / xp.maximum(rows, 1), logits.dtype.type("nan"))


@in_float32()
def cross_entropy_grad(
    gy: Array, logits: Array, labels: Array, label_smoothing: float, ignore_index: int, reduction: str
) -> Array:
    """Return the gradient of the loss with respect to the logits of `cross_entropy`.

    Logarithm and exponential cancel. What remains is prediction minus target, with p = softmax(logits):

        glogits[n, k] = gy[n] · (p[n, k] − (1 − s) · [k = label] − s / K)         (1)

    in the rows that count, 0 in the others. For "mean", gy is divided by the number of rows that count.

    Parameters
    ----------
    gy : an array without axes, or (N,) for "none"
    logits, labels, label_smoothing, ignore_index, reduction : as in the forward pass

    Returns
    -------
    glogits : (N, K), dtype and memory order of logits

    Raises
    ------
    as `cross_entropy`; ShapeError and DtypeError also if gy does not have the shape and dtype of the loss.

    Identity that tests it: each row adds up to 0, since a constant added to a row of logits changes nothing.
    Source: derivation in docs/derivations/cross_entropy.md.
    """
    check_labels(logits, labels)
    check_loss_grad(gy, logits, labels, reduction)
    counts, is_label = _targets(logits, labels, ignore_index)
    xp, K, s = xp_of(logits), logits.shape[1], label_smoothing
    if reduction == "mean":
        gy = gy / xp.maximum(counts.sum().astype(logits.real.dtype), 1)
    p = softmax(logits, 1)
    glogits = (xp.where(is_label, p - (1 - s), p) - s / K) * gy.reshape(-1, 1)  # (1)
    return in_order_of(logits, xp.where(counts[:, None], glogits, logits.dtype.type(0)))


def _minus_largest(name: str, x: Array, dim: int) -> Array:
    """Return x − m, in the memory order of x."""
    if not -x.ndim <= dim < x.ndim or not x.shape[dim]:
        raise ShapeError(f"{name} along axis {dim} needs that axis to exist and not to be empty, got {x.shape}")
    check_float(name, x)
    return in_order_of(x, x - x.real.max(axis=dim, keepdims=True))


def _targets(logits: Array, labels: Array, ignore_index: int) -> tuple[Any, Any]:
    """Return which rows count (N,) and which element of each row is its label's (N, K).

    Raises
    ------
    DataError : if a label is out of range.
    """
    K = logits.shape[1]
    counts = labels != ignore_index
    foreign = counts & ((labels < 0) | (labels >= K))
    if bool(foreign.any()):
        row = int(foreign.argmax())
        raise DataError(f"label {int(labels[row])} at row {row} is not one of the {K} classes 0 … {K - 1}")
    return counts, xp_of(logits).arange(K) == labels[:, None]
