"""Batch normalisation with the shortcut and the rectifier that follow it, on a GPU: three launches each way.

    y  = relu(gamma · (x − mean) · inv_std + beta + shortcut)                     (1)
    gx = gamma · inv_std · (gz − gbeta / M − x_hat · ggamma / M),  gz = gy where y > 0    (2)

An image lies as (C, N·H·W). Sums over a channel are made in two steps, so that enough blocks have work whatever the
number of channels: `_parts` blocks for each channel, of 256 threads, then one thread for each channel. All sums are
in float64, and none depends on which block comes first.

Of each part its mean and Σ(x − mean)² are taken, in two passes over what the cache holds, and put together by

    mean = Σ n_i · mean_i / M,    M · var = Σ (M2_i + n_i · (mean_i − mean)²).    (3)

So nothing is lost where the mean is large beside the deviation. Source of (3): Chan, Golub & LeVeque 1983.
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

_PART = 1024  # numbers in a part, at least
_BLOCKS = 2048  # from so many on, parts need not be more


def batch_norm(x: Array, gamma: Array, beta: Array, eps: float) -> tuple[Array, Array, Array, Array]:
    """Normalise each channel by the statistics of the batch: `minires.kernels.reference.batch_norm`.

    Parameters
    ----------
    x : (N, C, H, W) float array
    gamma, beta : (C,) arrays of the same dtype
    eps : keeps the root away from zero

    Returns
    -------
    y : (N, C, H, W), dtype of x
    mean, var, inv_std : (C,), of halves in float32; var is the biased variance

    Raises
    ------
    ShapeError : if the shapes do not agree, or a channel has a single value.
    DtypeError : if dtypes are mixed.

    Identity that tests it: equal to the reference, within rounding.
    """
    return batch_norm_act(x, gamma, beta, None, False, eps)


def batch_norm_inference(x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float) -> Array:
    """Normalise by statistics that are given: `minires.kernels.reference.batch_norm_inference`.

    Parameters
    ----------
    x : (N, C, H, W) float array
    gamma, beta : (C,) arrays of the same dtype
    mean, var : (C,) arrays of the same dtype, of halves in float32
    eps : keeps the root away from zero

    Returns
    -------
    y : (N, C, H, W), dtype of x

    Raises
    ------
    ShapeError, DtypeError : if shapes or dtypes do not agree.

    Identity that tests it: equal to the reference, within rounding.
    """
    return batch_norm_act_inference(x, gamma, beta, mean, var, None, False, eps)


def batch_norm_grads(gy: Array, x: Array, gamma: Array, mean: Array, inv_std: Array) -> tuple[Array, Array, Array]:
    """Gradients of a training-mode batch norm: `minires.kernels.reference.batch_norm_grads`.

    Parameters
    ----------
    gy, x : (N, C, H, W) arrays
    gamma, mean, inv_std : (C,) arrays, the last two as `batch_norm` returned them

    Returns
    -------
    gx : (N, C, H, W); ggamma, gbeta : (C,); dtype of gy

    Raises
    ------
    ShapeError, DtypeError : if shapes or dtypes do not agree.

    Identity that tests it: Σ gx = 0; equal to the reference, within rounding.
    """
    return batch_norm_act_grads(gy, gy, x, gamma, mean, inv_std, False, False)[:3]


def batch_norm_act(
    x: Array, gamma: Array, beta: Array, shortcut: Array | None, relu: bool, eps: float
) -> tuple[Array, Array, Array, Array]:
    """Normalise by the batch, add the shortcut, rectify: `minires.kernels.reference.batch_norm_act`.

    Parameters
    ----------
    x : (N, C, H, W) array
    gamma, beta : (C,) arrays of the same dtype
    shortcut : (N, C, H, W) array of the same dtype, or None for no addition
    relu : whether to rectify
    eps : keeps the root away from zero

    Returns
    -------
    y : (N, C, H, W), dtype of x
    mean, var, inv_std : (C,), of halves in float32

    Raises
    ------
    ShapeError : if the shapes do not agree, or a channel has a single value.
    DtypeError : if dtypes are mixed.

    Identity that tests it: equal to the reference, within rounding.
    """
    check_shortcut(shortcut, x)
    M = check_batch(x, gamma, beta)
    dtype, xp, C = x.dtype, xp_of(x), x.shape[1]
    image = cnhw(x)
    mean, var, inv_std = (xp.empty(C, wide_dtype(dtype)) for _ in range(3))
    parts, found = _parts(C, M), xp.empty((C, _parts(C, M), 2))
    long, blocks = np.int64(M), (-(-C // THREADS),)
    launch(REDUCTIONS, "statistics", dtype, (C, parts), (image, found, long))
    numbers = np.int32(C), np.int32(parts), long, np.float64(eps)
    launch(REDUCTIONS, "mean_and_variance", dtype, blocks, (found, mean, var, inv_std, *numbers))
    return _apply(image, gamma, beta, mean, inv_std, shortcut, relu), mean, var, inv_std


def batch_norm_act_inference(
    x: Array, gamma: Array, beta: Array, mean: Array, var: Array, shortcut: Array | None, relu: bool, eps: float
) -> Array:
    """`batch_norm_act` by given statistics: `minires.kernels.reference.batch_norm_act_inference`.

    Parameters
    ----------
    x : (N, C, H, W) array
    gamma, beta : (C,) arrays of the same dtype
    mean, var : (C,) arrays of the same dtype, of halves in float32
    shortcut, relu, eps : as in `batch_norm_act`

    Returns
    -------
    y : (N, C, H, W), dtype of x

    Raises
    ------
    ShapeError, DtypeError : if shapes or dtypes do not agree.

    Identity that tests it: equal to the reference, within rounding.
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
    """Gradients of `batch_norm_act`: `minires.kernels.reference.batch_norm_act_grads`.

    Parameters
    ----------
    gy, y, x : (N, C, H, W) arrays; y is the output, whose signs are the rectifier's mask
    gamma, mean, inv_std : (C,) arrays, the last two as `batch_norm_act` returned them
    relu : as in the forward pass
    wants_shortcut : whether gshortcut = gz is wanted
    overwrite : whether results may lie in the memory of gy; here they never do

    Returns
    -------
    gx : (N, C, H, W); ggamma, gbeta : (C,)
    gshortcut : (N, C, H, W) or None; without the rectifier it is the array gy itself

    Raises
    ------
    ShapeError, DtypeError : if shapes or dtypes do not agree.

    Identity that tests it: Σ gx = 0 in each channel; equal to the reference, within rounding.
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
        numbers = np.int64(M), np.int32(relu)
        launch(REDUCTIONS, "gradient_sums", dtype, (C, parts), (gradient, outputs, image, mean, found, *numbers))
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
    """Into how many parts the M values of each channel are cut."""
    return max(1, min(-(-M // _PART), -(-_BLOCKS // max(C, 1))))


def _apply(
    image: Array, gamma: Array, beta: Array, mean: Array, inv_std: Array, shortcut: Array | None, relu: bool
) -> Array:
    """(1), of an image (C, N, H, W)."""
    y = xp_of(image).empty_like(image)
    channels = [a.reshape(-1, 1, 1, 1) for a in (gamma, beta, mean, inv_std)]
    more = [] if shortcut is None else [shortcut.transpose(1, 0, 2, 3)]
    normalised(shortcut is not None, relu)(image, *channels, *more, y)
    return nchw_view(y)
