"""What kernels of several sets ask of their operands' shapes, and say when it is not so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minires.device import Array, Size, same_dtype, wide_dtype
from minires.errors import DtypeError, ShapeError
from minires.geometry import Geometry, Window, adaptive_windows

REDUCTIONS = ("mean", "sum", "none")  # of the losses of a batch


def check_batch_norm(x: Array, *per_channel: Array) -> int:
    """M, the number of values per channel of x (N, C, H, W), once each of ``per_channel`` has shape (C,).

    Raises
    ------
    ShapeError : if it has not.
    """
    if x.ndim != 4:
        raise ShapeError(f"batch norm expects an input of shape (N, C, H, W), got {x.shape}")
    for array in per_channel:
        if array.shape != (x.shape[1],):
            raise ShapeError(f"an input of shape {x.shape} needs ({x.shape[1]},) values per channel, got {array.shape}")
    return int(x.shape[0] * x.shape[2] * x.shape[3])


def check_statistics(dtype: Any, *statistics: Array) -> None:
    """Raise DtypeError unless a batch norm's statistics are as wide as those of images of this dtype."""
    for array in statistics:
        if array.dtype != wide_dtype(dtype):
            raise DtypeError(f"statistics of images in {dtype} are in {wide_dtype(dtype)}, not in {array.dtype}")


def check_per_channel(name: str, numbers: Array | None, y: Array) -> None:
    """Raise ShapeError or DtypeError unless the numbers, if there are any, are one for each channel of y."""
    if numbers is None:
        return
    if numbers.shape != y.shape[1:2]:
        raise ShapeError(f"a {name} of shape {numbers.shape} does not fit {y.shape[1]} output channels")
    same_dtype(y, numbers)


def check_gradient(gradient: Array, array: Array, name: str) -> None:
    """Raise ShapeError unless the gradient has the shape of ``array``, the "input" or "output"."""
    if gradient.shape != array.shape:
        raise ShapeError(f"a gradient of shape {gradient.shape} does not fit an {name} of shape {array.shape}")


def check_shortcut(shortcut: Array | None, x: Array) -> None:
    """Raise ShapeError or DtypeError unless the shortcut, if there is one, is like x."""
    if shortcut is None:
        return
    if shortcut.shape != x.shape:
        raise ShapeError(
            f"a shortcut of shape {shortcut.shape} cannot be added to an output of shape {x.shape}: project it first"
        )
    same_dtype(x, shortcut)


def check_pooled(array: Array, expected: tuple[int, ...]) -> None:
    """Raise ShapeError unless the array has the shape that pooling needs."""
    if array.shape != expected:
        raise ShapeError(f"an array of shape {array.shape} was given where pooling needs {expected}")


def check_adaptive(x: Array, grid: Any) -> list[Window]:
    """The windows of a grid over images x (N, C, H, W); ShapeError if there are none."""
    if x.ndim != 4:
        raise ShapeError(f"pooling expects an input of shape (N, C, H, W), got {x.shape}")
    return adaptive_windows(grid, (x.shape[2], x.shape[3]))


def check_adaptive_grad(gy: Array, size: Size) -> list[Window]:
    """The windows over images of a size to which gradients (N, C, P, Q) belong; ShapeError if there are none."""
    if gy.ndim != 4:
        raise ShapeError(f"pooling expects a gradient of shape (N, C, P, Q), got {gy.shape}")
    return adaptive_windows((gy.shape[2], gy.shape[3]), size)


def check_has_mean(array: Array) -> None:
    """Raise DtypeError for integers."""
    if array.dtype.kind not in "fc":
        raise DtypeError(f"average pooling needs a float array, got {array.dtype}: convert with .to(dtype)")


def winners_dtype(geometry: Geometry) -> np.dtype[Any]:
    """The least unsigned integers that number the taps of a window."""
    return np.min_scalar_type(geometry.kernel[0] * geometry.kernel[1] - 1)


def check_winners(gy: Array, winners: Array, geometry: Geometry, size: Size) -> None:
    """Raise ShapeError unless both have the shape of a pooling's output, for images of this size."""
    shape = geometry.check_pool((*gy.shape[:2], *size))
    check_pooled(gy, shape)
    check_pooled(winners, shape)


def check_linear(x: Array, weight: Array) -> None:
    """Raise ShapeError or DtypeError unless the last axis of x can be multiplied by a matrix (K, C)."""
    if weight.ndim != 2 or not x.ndim or x.shape[-1] != weight.shape[1]:
        raise ShapeError(f"linear expects x (…, C) and weight (K, C), got {x.shape} and {weight.shape}")
    same_dtype(x, weight)


def check_linear_grads(gy: Array, x: Array, weight: Array) -> None:
    """Raise ShapeError or DtypeError unless gy is like the output of such a product."""
    check_linear(x, weight)
    shape = (*x.shape[:-1], len(weight))
    if gy.shape != shape:
        raise ShapeError(f"the gradient of the output has shape {gy.shape}, but the output has {shape}")
    same_dtype(gy, x, weight)


def check_alike(kernel: str, a: Array, b: Array) -> None:
    """Raise ShapeError or DtypeError unless both arrays of a kernel that writes into the first are alike."""
    same_dtype(a, b)
    if a.shape != b.shape:
        raise ShapeError(f"{kernel} needs two arrays of one shape, got {a.shape} and {b.shape}")


def check_dropout(x: Array, mask: Array, p: float) -> None:
    """Raise ShapeError, DtypeError or ValueError unless elements of x can be dropped by the mask."""
    if mask.shape != x.shape:
        raise ShapeError(f"a dropout mask of shape {mask.shape} does not fit an input of shape {x.shape}")
    if x.dtype.kind not in "fc":
        raise DtypeError(f"dropout enlarges what stays, so it needs a float array, not {x.dtype}")
    if mask.dtype.kind != "b":
        raise DtypeError(f"a dropout mask must be of booleans, not {mask.dtype}")
    if not 0 <= p <= 1:
        raise ValueError(f"the probability of dropout must be between 0 and 1, got {p}")


def check_beside(kernel: str, first: Sequence[Array], *others: Sequence[Array]) -> None:
    """Raise ShapeError or DtypeError unless there are arrays, each list has as many of one dtype, and shapes agree."""
    if not first or any(len(beside) != len(first) for beside in others):
        counts = " and ".join(str(len(arrays)) for arrays in (first, *others))
        raise ShapeError(f"{kernel} needs as many arrays in each list, and at least one, got {counts}")
    for arrays in (first, *others):
        same_dtype(*arrays)
    for a, *beside in zip(first, *others, strict=True):
        if any(b.shape != a.shape for b in beside):
            shapes = " and ".join(str(b.shape) for b in (a, *beside))
            raise ShapeError(f"{kernel} needs arrays of one shape beside one another, got {shapes}")


def check_step(ps: Sequence[Array], *others: Sequence[Array]) -> None:
    """Raise ShapeError or DtypeError unless what an optimizer's step takes beside each parameter is like it."""
    if any(len(beside) != len(ps) for beside in others):
        counts = " and ".join(str(len(beside)) for beside in others)
        raise ShapeError(f"{len(ps)} parameters need as many arrays beside them, got {counts}")
    dtypes = {p.dtype for p in ps}
    if len(dtypes) > 1:
        raise DtypeError(f"the parameters of one call have one dtype, got {' and '.join(sorted(map(str, dtypes)))}")
    for p, *beside in zip(ps, *others, strict=True):
        same_dtype(p, *beside)
        if any(other.shape != p.shape for other in beside):
            shapes = " and ".join(str(other.shape) for other in beside)
            raise ShapeError(f"a parameter of shape {p.shape} needs arrays of its shape beside it, got {shapes}")


def check_momentum(momentum: float, velocities: Sequence[Array] | None) -> None:
    """Raise ShapeError if there is momentum, and nothing that keeps it."""
    if momentum and velocities is None:
        raise ShapeError(f"momentum {momentum} needs a velocity for each parameter, got None")


def check_count(step: int) -> None:
    """Raise ShapeError unless Adam's steps are counted from 1."""
    if step < 1:
        raise ShapeError(f"adam_ counts steps from 1, got step {step}")


def check_labels(logits: Array, labels: Array, label_smoothing: float, reduction: str) -> None:
    """Raise ShapeError, DtypeError or ValueError unless cross-entropy can be asked of these, whatever the labels."""
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ShapeError(f"cross_entropy expects logits (N, K) and labels (N,), got {logits.shape} and {labels.shape}")
    if labels.dtype != "int64":
        raise DtypeError(f"labels must be int64, not {labels.dtype}: convert with .to('int64')")
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction {reduction!r} is not one of {', '.join(REDUCTIONS)}")
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing must be between 0 and 1, got {label_smoothing}")
    if logits.dtype.kind not in "fc":
        raise DtypeError(f"cross_entropy needs a float array, got {logits.dtype}: convert with .to(dtype)")


def check_loss_grad(gy: Array, logits: Array, labels: Array, reduction: str) -> None:
    """Raise ShapeError or DtypeError unless gy is like the loss."""
    expected = labels.shape if reduction == "none" else ()
    if gy.shape != expected:
        raise ShapeError(f"the gradient of the loss has shape {gy.shape}, but the loss has {expected}")
    same_dtype(gy, logits)
