"""Softmax, its logarithm, and the cross-entropy of it against labels.

All of it is written in differences from the largest value m of a row: a shift changes nothing in exact
arithmetic, and keeps exp from overflowing.
"""

from __future__ import annotations

from typing import Any

from minires.device import Array, xp_of
from minires.errors import DataError, DtypeError, ShapeError
from minires.kernels.checks import check_labels, check_loss_grad
from minires.kernels.halves import in_float32
from minires.kernels.reference.reduction import mean as mean_over
from minires.kernels.reference.reduction import sum as sum_over


@in_float32()
def softmax(x: Array, dim: int) -> Array:
    """Positive numbers that add up to 1 along one axis.

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

    Identities that test it: Σ y = 1; y = exp(log_softmax(x)); a constant added to x changes nothing.
    """
    y = _shifted("softmax", x, dim)
    xp_of(x).exp(y, out=y)
    y /= sum_over(y, dim, keepdims=True)  # (1)
    return y


@in_float32()
def log_softmax(x: Array, dim: int) -> Array:
    """Logarithm of the softmax along one axis.

        y = (x − m) − log Σ exp(x − m),    m = max x                              (1)

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

    Identities that test it: Σ exp(y) = 1; a constant added to x changes nothing.
    """
    xp = xp_of(x)
    y = _shifted("log_softmax", x, dim)
    y -= xp.log(sum_over(xp.exp(y), dim, keepdims=True))  # (1)
    return y


@in_float32()
def cross_entropy(logits: Array, labels: Array, label_smoothing: float, ignore_index: int, reduction: str) -> Array:
    """How unlikely softmax(logits) holds the labels to be, in nats.

    With log p = log_softmax(logits) and the smoothing s, a row with label t costs

        loss = −(1 − s) · log p[t] − s · Σ_k log p[k] / K                         (1)

    and a row whose label is ``ignore_index`` costs nothing and does not count in the mean.

    Parameters
    ----------
    logits : (N, K) float or complex array
    labels : (N,) int64 array with values in 0 … K − 1, or ``ignore_index``
    label_smoothing : the share s, 0 … 1, of the target that is spread evenly over all classes
    ignore_index : the label of rows to leave out; may be a class
    reduction : "mean" over the rows that count (NaN if none does), "sum", or "none"

    Returns
    -------
    loss : an array of no axes, or (N,) for "none"; dtype of logits

    Raises
    ------
    ShapeError : if the shapes do not agree.
    DtypeError : if the labels are not int64 or the logits not floats.
    DataError : if a label is out of range.
    ValueError : for another reduction, or a label_smoothing outside [0, 1].

    Identities that test it: equal logits cost log K, whatever the label and the smoothing; a constant added
    to a row changes nothing.
    Source: Szegedy et al. 2016, arXiv:1512.00567, section 7; derivation in docs/derivations/cross_entropy.md.
    """
    counts, is_label = _targets(logits, labels, label_smoothing, ignore_index, reduction)
    xp = xp_of(logits)
    log_p = log_softmax(logits, 1)
    zero = logits.dtype.type(0)
    loss = -(1 - label_smoothing) * sum_over(xp.where(is_label, log_p, zero), 1)
    if label_smoothing:  # without smoothing, a class that is ruled out (a logit of −∞) costs nothing
        loss -= label_smoothing * mean_over(log_p, 1)  # (1)
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
    """Gradient of the loss with respect to the logits of `cross_entropy`.

    Logarithm and exponential cancel, and what stays is prediction minus target:

        glogits[n, k] = gy[n] · (p[n, k] − (1 − s) · [k = label] − s / K)         (1)

    in the rows that count, 0 in the others; for "mean", gy is divided by the number of rows that count.

    Parameters
    ----------
    gy : an array of no axes, or (N,) for "none"
    logits, labels, label_smoothing, ignore_index, reduction : as in the forward pass

    Returns
    -------
    glogits : (N, K), dtype and memory order of logits

    Raises
    ------
    as `cross_entropy`; ShapeError and DtypeError also if gy has not the shape and dtype of the loss.

    Identity that tests it: each row adds up to 0, as a constant added to a row changes nothing.
    Source: derivation in docs/derivations/cross_entropy.md.
    """
    counts, is_label = _targets(logits, labels, label_smoothing, ignore_index, reduction)
    check_loss_grad(gy, logits, labels, reduction)
    xp = xp_of(logits)
    if reduction == "mean":
        gy = gy / xp.maximum(counts.sum().astype(logits.real.dtype), 1)
    glogits = softmax(logits, 1)
    glogits[...] = xp.where(is_label, glogits - (1 - label_smoothing), glogits)
    glogits -= label_smoothing / logits.shape[1]
    glogits *= gy.reshape(-1, 1)  # (1)
    glogits[...] = xp.where(counts[:, None], glogits, logits.dtype.type(0))
    return glogits


def _shifted(name: str, x: Array, dim: int) -> Array:
    """x − m, in an array of its own."""
    if not -x.ndim <= dim < x.ndim or not x.shape[dim]:
        raise ShapeError(f"{name} along axis {dim} needs that axis to exist and not to be empty, got {x.shape}")
    if x.dtype.kind not in "fc":
        raise DtypeError(f"{name} needs a float array, got {x.dtype}: convert with .to(dtype)")
    xp = xp_of(x)
    y: Array = xp.subtract(x, x.real.max(axis=dim, keepdims=True), out=xp.empty_like(x))
    return y


def _targets(
    logits: Array, labels: Array, label_smoothing: float, ignore_index: int, reduction: str
) -> tuple[Any, Any]:
    """Which rows count (N,), and which element of each row its label names (N, K); checks everything."""
    check_labels(logits, labels, label_smoothing, reduction)
    K = logits.shape[1]
    counts = labels != ignore_index
    foreign = counts & ((labels < 0) | (labels >= K))
    if bool(foreign.any()):
        row = int(foreign.argmax())
        raise DataError(f"label {int(labels[row])} at row {row} is not one of the {K} classes 0 … {K - 1}")
    return counts, xp_of(logits).arange(K) == labels[:, None]
