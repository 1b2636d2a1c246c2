"""Checks of shapes and dtypes that kernels of several sets share: each raises an error that names what does not fit.

Kernels are public, so each checks its arrays. `minires.functional` checks options such as the probability of dropout.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minires.device import Array, Size, same_dtype, wide_dtype
from minires.errors import DtypeError, ShapeError
from minires.geometry import Geometry, Window, adaptive_windows

# All kernels


def check_float(name: str, array: Array) -> None:
    """Raise DtypeError for an array of integers or booleans."""
    if array.dtype.kind not in "fc":
        raise DtypeError(f"{name} needs a float array, got {array.dtype}: convert with .to(dtype)")


def check_gradient(gradient: Array, array: Array, name: str) -> None:
    """Raise ShapeError unless the gradient has the shape of ``array``, the "input" or "output"."""
    if gradient.shape != array.shape:
        raise ShapeError(f"a gradient of shape {gradient.shape} does not fit an {name} of shape {array.shape}")


def check_alike(kernel: str, a: Array, b: Array) -> None:
    """Raise ShapeError or DtypeError unless both arrays of a kernel have one shape and one dtype."""
    same_dtype(a, b)
    if a.shape != b.shape:
        raise ShapeError(f"{kernel} needs two arrays of one shape, got {a.shape} and {b.shape}")


# Convolution


def check_input_grad(gy: Array, w: Array, geometry: Geometry, size: Size) -> tuple[int, int, int, int]:
    """Return the shape (N, C, H, W) of a convolution's input for gradients gy, filters w and images of a size.

    Raises
    ------
    ShapeError : if the shapes do not agree with each other or with the geometry.
    DtypeError : if gy and w differ in dtype.
    """
    shape = (gy.shape[0], w.shape[1] * geometry.groups, *size)
    geometry.check_conv_grad(gy.shape, shape, w.shape)
    same_dtype(gy, w)
    return shape


def check_weight_grad(gy: Array, x: Array, geometry: Geometry) -> tuple[int, int, int, int]:
    """Return the shape (K, C / groups, R, S) of a convolution's filters for gradients gy and images x.

    Raises
    ------
    ShapeError, DtypeError : as `check_input_grad` does.
    """
    if gy.ndim != 4 or x.ndim != 4:
        raise ShapeError(f"expected gy (N, K, P, Q) and x (N, C, H, W), got {gy.shape} and {x.shape}")
    shape = (gy.shape[1], x.shape[1] // geometry.groups, *geometry.kernel)
    geometry.check_conv_grad(gy.shape, x.shape, shape)
    same_dtype(gy, x)
    return shape


def check_conv_act(y: Array, scale: Array | None, bias: Array | None, shortcut: Array | None) -> None:
    """Raise ShapeError or DtypeError unless scale, bias and shortcut, if given, fit the output y of a convolution."""
    for name, values in (("scale", scale), ("bias", bias)):
        if values is None:
            continue
        if values.shape != y.shape[1:2]:
            raise ShapeError(f"a {name} of shape {values.shape} does not fit {y.shape[1]} output channels")
        same_dtype(y, values)
    check_shortcut(shortcut, y)


def check_shortcut(shortcut: Array | None, y: Array) -> None:
    """Raise ShapeError or DtypeError unless the shortcut, if given, has the shape and dtype of y."""
    if shortcut is None:
        return
    if shortcut.shape != y.shape:
        raise ShapeError(
            f"a shortcut of shape {shortcut.shape} cannot be added to an output of shape {y.shape}: project it first"
        )
    same_dtype(y, shortcut)


# Batch norm


def check_batch(x: Array, gamma: Array, beta: Array) -> int:
    """Check the arguments of a batch norm in training and return M, the number of values in a channel.

    Raises
    ------
    ShapeError, DtypeError : as `check_batch_norm` does; ShapeError also if a channel has a single value.
    """
    M = check_batch_norm(x, gamma, beta)
    if M < 2:
        raise ShapeError(f"batch norm needs more than one value per channel when training, got shape {x.shape}")
    return M


def check_batch_norm(x: Array, *per_channel: Array, statistics: Sequence[Array] = ()) -> int:
    """Check the arguments of a batch norm of x (N, C, H, W) and return M, the number of values in a channel.

    Parameters
    ----------
    x : the images
    per_channel : arrays of shape (C,) in the dtype of x
    statistics : arrays of shape (C,) in the dtype of x, or in float32 if x is in float16

    Raises
    ------
    ShapeError, DtypeError : if a shape or dtype is wrong.
    """
    if x.ndim != 4:
        raise ShapeError(f"batch norm expects an input of shape (N, C, H, W), got {x.shape}")
    for array in (*per_channel, *statistics):
        if array.shape != (x.shape[1],):
            raise ShapeError(f"an input of shape {x.shape} needs ({x.shape[1]},) values per channel, got {array.shape}")
    same_dtype(x, *per_channel)
    for array in statistics:
        if array.dtype != wide_dtype(x.dtype):
            raise DtypeError(f"statistics of images in {x.dtype} are in {wide_dtype(x.dtype)}, not in {array.dtype}")
    return int(x.shape[0] * x.shape[2] * x.shape[3])


def check_batch_norm_grads(gy: Array, x: Array, gamma: Array, mean: Array, inv_std: Array) -> int:
    """Check the arguments of a batch norm's backward pass and return M, the number of values in a channel.

    Raises
    ------
    ShapeError, DtypeError : as `check_batch_norm` does, and if gy does not have the shape and dtype of x.
    """
    M = check_batch_norm(x, gamma, statistics=(mean, inv_std))
    check_gradient(gy, x, "input")
    same_dtype(gy, x)
    return M


# Pooling


def check_pooled(array: Array, expected: tuple[int, ...]) -> None:
    """Raise ShapeError unless the array has the shape that pooling needs."""
    if array.shape != expected:
        raise ShapeError(f"an array of shape {array.shape} was given where pooling needs {expected}")


def winners_dtype(geometry: Geometry) -> np.dtype[Any]:
    """Return the smallest unsigned dtype that holds the index of every tap of a window."""
    return np.min_scalar_type(geometry.kernel[0] * geometry.kernel[1] - 1)


def check_winners(gy: Array, winners: Array, geometry: Geometry, size: Size) -> None:
    """Raise ShapeError unless both arrays have the shape of a pooling's output, for images of this size."""
    shape = geometry.check_pool((*gy.shape[:2], *size))
    check_pooled(gy, shape)
    check_pooled(winners, shape)


def check_average(x: Array, geometry: Geometry) -> tuple[int, int, int, int]:
    """Return the shape (N, C, P, Q) of the output of an average pooling of x (N, C, H, W).

    Raises
    ------
    ShapeError : if the window does not fit.
    DtypeError : for integers.
    """
    check_float("average pooling", x)
    return geometry.check_pool(x.shape)


def check_average_grad(gy: Array, geometry: Geometry, size: Size) -> None:
    """Raise ShapeError or DtypeError unless gy can be the gradient of an average pooling of images of this size."""
    check_float("average pooling", gy)
    check_pooled(gy, geometry.check_pool((*gy.shape[:2], *size)))


def check_adaptive(x: Array, grid: Any) -> list[Window]:
    """Return the windows of a grid over images x (N, C, H, W).

    Raises
    ------
    ShapeError : if x has another number of axes, or there are no windows or pixels.
    DtypeError : for integers.
    """
    _check_averaged(x, "an input of shape (N, C, H, W)")
    return adaptive_windows(grid, (x.shape[2], x.shape[3]))


def check_adaptive_grad(gy: Array, size: Size) -> list[Window]:
    """Return the windows over images of a size for gradients gy (N, C, P, Q); raise as `check_adaptive`."""
    _check_averaged(gy, "a gradient of shape (N, C, P, Q)")
    return adaptive_windows((gy.shape[2], gy.shape[3]), size)


def _check_averaged(array: Array, expected: str) -> None:
    if array.ndim != 4:
        raise ShapeError(f"pooling expects {expected}, got {array.shape}")
    check_float("average pooling", array)


# The fully connected layer


def check_linear(x: Array, weight: Array) -> None:
    """Raise ShapeError or DtypeError unless the last axis of x can be multiplied by a matrix (K, C)."""
    if weight.ndim != 2 or not x.ndim or x.shape[-1] != weight.shape[1]:
        raise ShapeError(f"linear expects x (…, C) and weight (K, C), got {x.shape} and {weight.shape}")
    same_dtype(x, weight)


def check_linear_grads(gy: Array, x: Array, weight: Array) -> None:
    """Raise ShapeError or DtypeError unless gy has the shape and dtype of the product x · weightᵀ."""
    check_linear(x, weight)
    shape = (*x.shape[:-1], len(weight))
    if gy.shape != shape:
        raise ShapeError(f"the gradient of the output has shape {gy.shape}, but the output has {shape}")
    same_dtype(gy, x, weight)


# Dropout and losses


def check_dropout(x: Array, mask: Array) -> None:
    """Raise ShapeError or DtypeError unless x is a float array and the mask a boolean array of its shape."""
    if mask.shape != x.shape:
        raise ShapeError(f"a dropout mask of shape {mask.shape} does not fit an input of shape {x.shape}")
    check_float("dropout", x)
    if mask.dtype.kind != "b":
        raise DtypeError(f"a dropout mask must be of booleans, not {mask.dtype}")


def check_labels(logits: Array, labels: Array) -> None:
    """Raise ShapeError or DtypeError unless cross-entropy can compare logits (N, K) with int64 labels (N,)."""
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ShapeError(f"cross_entropy expects logits (N, K) and labels (N,), got {logits.shape} and {labels.shape}")
    if labels.dtype != "int64":
        raise DtypeError(f"labels must be int64, not {labels.dtype}: convert with .to('int64')")
    check_float("cross_entropy", logits)


def check_loss_grad(gy: Array, logits: Array, labels: Array, reduction: str) -> None:
    """Raise ShapeError or DtypeError unless gy has the shape and dtype of the loss."""
    expected = labels.shape if reduction == "none" else ()
    if gy.shape != expected:
        raise ShapeError(f"the gradient of the loss has shape {gy.shape}, but the loss has {expected}")
    same_dtype(gy, logits)


# Optimizers


def check_lists(kernel: str, first: Sequence[Array], *others: Sequence[Array]) -> None:
    """Check lists of arrays that a kernel takes side by side.

    Raises
    ------
    ShapeError : if there are no arrays, the lists differ in length, or arrays side by side differ in shape.
    DtypeError : if the arrays of one list differ in dtype.
    """
    if not first or any(len(beside) != len(first) for beside in others):
        counts = " and ".join(str(len(arrays)) for arrays in (first, *others))
        raise ShapeError(f"{kernel} needs as many arrays in each list, and at least one, got {counts}")
    for arrays in (first, *others):
        same_dtype(*arrays)
    for a, *beside in zip(first, *others, strict=True):
        if any(b.shape != a.shape for b in beside):
            shapes = " and ".join(str(b.shape) for b in (a, *beside))
            raise ShapeError(f"{kernel} needs arrays of one shape beside one another, got {shapes}")


def check_sgd(ps: Sequence[Array], gs: Sequence[Array], velocities: Sequence[Array] | None, momentum: float) -> None:
    """Raise ShapeError or DtypeError unless `sgd_` can change these parameters."""
    if momentum and velocities is None:
        raise ShapeError(f"momentum {momentum} needs a velocity for each parameter, got None")
    _check_step(ps, gs, *([] if velocities is None else [velocities]))


def check_adam(ps: Sequence[Array], gs: Sequence[Array], ms: Sequence[Array], vs: Sequence[Array], step: int) -> None:
    """Raise ShapeError or DtypeError unless `adam_` can change these parameters, with steps counted from 1."""
    _check_step(ps, gs, ms, vs)
    if step < 1:
        raise ShapeError(f"adam_ counts steps from 1, got step {step}")


def _check_step(ps: Sequence[Array], *others: Sequence[Array]) -> None:
    """Check parameters and the lists of arrays that an optimizer's step takes beside them.

    Raises
    ------
    ShapeError : if a list has another length, or an array another shape than its parameter.
    DtypeError : if the dtypes differ.
    """
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
