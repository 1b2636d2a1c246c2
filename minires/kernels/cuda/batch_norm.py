"""Batch normalisation with the shortcut and the ReLU that follow it, on a GPU: three launches each way.

    y  = relu(gamma · (x − mean) · inv_std + beta + shortcut)                     (1)
    gx = gamma · inv_std · (gz − gbeta / M − x_hat · ggamma / M),  gz = 0 where y ≤ 0, else gy    (2)

An image lies in memory as (C, N·H·W). Sums over a channel take two steps, so that enough blocks have work for any
number of channels: first `_parts` blocks of 256 threads for each channel, then one thread for each channel. All sums
are in float64, and none depends on the order of the blocks.

Each part gives its mean and M2 = Σ(x − mean)², in two passes over data in the cache. They are combined by

    mean = Σ n_i · mean_i / M,    M · var = Σ (M2_i + n_i · (mean_i − mean)²),    (3)

which keeps its precision where the mean is large beside the standard deviation. Source of (3): Chan, Golub & LeVeque
1983.

Results are equal to the reference's within rounding. Statistics of float16 images are in float32.
"""

from __future__ import annotations

import numpy as np

from minires.device import Array, wide_dtype, xp_of
from minires.kernels.checks import (
    check_batch,
    check_batch_norm,
    check_batch_norm_grads,
    check_gradient,
    check_shortcut,
)
from minires.kernels.cuda.batch_norm_code import REDUCTIONS, input_gradient, normalised
from minires.kernels.cuda.layout import cnhw, nchw_view
from minires.kernels.cuda.raw import THREADS, launch

_PART = 1024  # the fewest elements in a part
_BLOCKS = 2048  # blocks from which more parts do not help


def batch_norm(x: Array, gamma: Array, beta: Array, eps: float) -> tuple[Array, Array, Array, Array]:
    """Normalise by the batch's statistics, as `reference.batch_norm.batch_norm`."""
    return batch_norm_act(x, gamma, beta, None, False, eps)


def batch_norm_inference(x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float) -> Array:
    """Normalise by given statistics, as `reference.batch_norm.batch_norm_inference`."""
    return batch_norm_act_inference(x, gamma, beta, mean, var, None, False, eps)


def batch_norm_grads(gy: Array, x: Array, gamma: Array, mean: Array, inv_std: Array) -> tuple[Array, Array, Array]:
    """Return gx, ggamma and gbeta, as `reference.batch_norm.batch_norm_grads`."""
    return batch_norm_act_grads(gy, gy, x, gamma, mean, inv_std, False, False)[:3]


def batch_norm_act(
    x: Array, gamma: Array, beta: Array, shortcut: Array | None, relu: bool, eps: float
) -> tuple[Array, Array, Array, Array]:
    """Normalise by the batch's statistics, add the shortcut and apply ReLU.

    As `reference.batch_norm_act.batch_norm_act`, in three launches.
    """
    check_shortcut(shortcut, x)
    M = check_batch(x, gamma, beta)
    dtype, xp, C = x.dtype, xp_of(x), x.shape[1]
    image = cnhw(x)
    mean, var, inv_std = (xp.empty(C, wide_dtype(dtype)) for _ in range(3))
    parts, found = _parts(C, M), xp.empty((C, _parts(C, M), 2))
    long, blocks = np.int64(M), (-(-C // THREADS),)
    launch(REDUCTIONS, "statistics", dtype, (C, parts), (image, found, long))
    scalars = np.int32(C), np.int32(parts), long, np.float64(eps)
    launch(REDUCTIONS, "mean_and_variance", dtype, blocks, (found, mean, var, inv_std, *scalars))
    return _apply(image, gamma, beta, mean, inv_std, shortcut, relu), mean, var, inv_std


def batch_norm_act_inference(
    x: Array, gamma: Array, beta: Array, mean: Array, var: Array, shortcut: Array | None, relu: bool, eps: float
) -> Array:
    """Normalise by given statistics, add the shortcut and apply ReLU.

    As `reference.batch_norm_act.batch_norm_act_inference`, in one pass.
    """
    check_shortcut(shortcut, x)
    check_batch_norm(x, gamma, beta, statistics=(mean, var))
    inv_std = 1 / xp_of(x).sqrt(var + eps)
    return _apply(cnhw(x), gamma, beta, mean, inv_std, shortcut, relu)


def batch_norm_act_grads(
    gy: Array,
    y: Array,
    x: Array,
    gamma: Array,
    mean: Array,
    inv_std: Array,
    relu: bool,
    wants_shortcut: bool,
    overwrite: bool = False,
) -> tuple[Array, Array, Array, Array | None]:
    """Return gx, ggamma, gbeta and gshortcut, as `reference.batch_norm_act.batch_norm_act_grads`.

    ``overwrite`` has no effect: no result lies in the memory of gy.
    """
    M = check_batch_norm_grads(gy, x, gamma, mean, inv_std)
    if relu:
        check_gradient(gy, y, "output")
    dtype, xp, C = x.dtype, xp_of(x), x.shape[1]
    gradient, image, outputs = cnhw(gy), cnhw(x), cnhw(y)
    mean, inv_std = xp.ascontiguousarray(mean), xp.ascontiguousarray(inv_std)
    ggamma, gbeta, gx = xp.empty(C, dtype), xp.empty(C, dtype), xp.empty_like(image)
    shares = xp.empty((2, C))
    parts, found = _parts(C, M), xp.empty((C, _parts(C, M), 2))
    if M:
        scalars = np.int64(M), np.int32(relu)
        launch(REDUCTIONS, "gradient_sums", dtype, (C, parts), (gradient, outputs, image, mean, found, *scalars))
    else:
        found.fill(0)
    sizes = np.int32(C), np.int32(parts), np.float64(max(M, 1))
    launch(REDUCTIONS, "sums_of_parts", dtype, (-(-C // THREADS),), (found, inv_std, gbeta, ggamma, shares, *sizes))
    channels = [a.reshape(-1, 1, 1, 1) for a in (gamma, mean, inv_std, *shares)]
    kept = relu and wants_shortcut
    gz = [xp.empty_like(image)] if kept else []
    input_gradient(relu, kept)(gradient, outputs, image, *channels, gx, *gz)
    gshortcut = None if not wants_shortcut else nchw_view(gz[0]) if kept else gy
    return nchw_view(gx), ggamma, gbeta, gshortcut


def _parts(C: int, M: int) -> int:
    """Return into how many parts the M values of each channel are cut."""
    return max(1, min(-(-M // _PART), -(-_BLOCKS // max(C, 1))))


def _apply(
    image: Array, gamma: Array, beta: Array, mean: Array, inv_std: Array, shortcut: Array | None, relu: bool
) -> Array:
    """Return y of (1) for an image (C, N, H, W)."""
    y = xp_of(image).empty_like(image)
    channels = [a.reshape(-1, 1, 1, 1) for a in (gamma, beta, mean, inv_std)]
    more = [] if shortcut is None else [shortcut.transpose(1, 0, 2, 3)]
    normalised(shortcut is not None, relu)(image, *channels, *more, y)
    return nchw_view(y)
