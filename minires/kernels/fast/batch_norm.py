"""Batch normalisation with the shortcut and the rectifier that follow it, each way in one pass over memory.

    y = relu(gamma · (x − mean) · inv_std + beta + shortcut)

The arithmetic is little, so reading and writing memory is what it costs. An image is one matrix here, a few
pixels to a row, and every per-channel number is repeated along such a row; then all steps are long NumPy calls
on contiguous blocks, and per-channel constants are folded together first:

    forward    y  = x · scale + shift,    scale = gamma · inv_std,  shift = beta − mean · scale      (1)
    backward   gx = gz · scale + x · slope + level,
               slope = −scale · inv_std · ggamma / M,  level = −scale · gbeta / M − slope · mean     (2)

The sums, and the centre that x is taken around where its mean is large, are channels.py's.
"""

from __future__ import annotations

import numpy as np

from minires.device import Array
from minires.kernels.checks import (
    check_batch,
    check_batch_norm,
    check_batch_norm_grads,
    check_gradient,
    check_shortcut,
)
from minires.kernels.fast.channels import FAR, ChannelRows
from minires.kernels.fast.elementwise import rectifier_mask
from minires.threads import Steps, parallel_steps


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
    mean, var, inv_std : (C,); var is the biased variance

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
    gamma, beta, mean, var : (C,) arrays of the same dtype
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
    check_batch_norm_grads(gy, x, gamma, mean, inv_std)
    return parallel_steps(_grads(gy, None, x, gamma, mean, inv_std, False, False))[:3]


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
    mean, var, inv_std : (C,)

    Raises
    ------
    ShapeError : if the shapes do not agree, or a channel has a single value.
    DtypeError : if dtypes are mixed.

    Identity that tests it: equal to the reference, within rounding.
    """
    check_shortcut(shortcut, x)
    check_batch(x, gamma, beta)
    dtype = x.dtype

    def steps() -> Steps[tuple[Array, Array, Array, Array]]:
        image = ChannelRows(x)
        mean, var, centre = yield from image.statistics()
        inv_std = 1 / np.sqrt(var + eps)
        y = yield from _apply(image, gamma * inv_std, beta, mean, centre, shortcut, relu)
        return y, mean.astype(dtype), var.astype(dtype), inv_std.astype(dtype)

    return parallel_steps(steps())


def batch_norm_act_inference(
    x: Array, gamma: Array, beta: Array, mean: Array, var: Array, shortcut: Array | None, relu: bool, eps: float
) -> Array:
    """`batch_norm_act` by given statistics: `minires.kernels.reference.batch_norm_act_inference`.

    Parameters
    ----------
    x : (N, C, H, W) array
    gamma, beta, mean, var : (C,) arrays of the same dtype
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
    inv_std = 1 / np.sqrt(var.astype(np.float64) + eps)
    centre = _centre(mean, inv_std)
    return parallel_steps(_apply(ChannelRows(x), gamma * inv_std, beta, mean, centre, shortcut, relu))


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

        gz = 0 where y ≤ 0, else gy; gy itself without the rectifier

    Parameters
    ----------
    gy, y, x : (N, C, H, W) arrays; y is the output, whose signs are the rectifier's mask
    gamma, mean, inv_std : (C,) arrays, the last two as `batch_norm_act` returned them
    relu : as in the forward pass
    wants_shortcut : whether gshortcut = gz is wanted
    overwrite : whether results may lie in the memory of gy, which saves reading as much as is written

    Returns
    -------
    gx : (N, C, H, W); ggamma, gbeta : (C,)
    gshortcut : (N, C, H, W) or None; without the rectifier it is the array gy itself

    Raises
    ------
    ShapeError, DtypeError : if shapes or dtypes do not agree.

    Identity that tests it: Σ gx = 0 in each channel; equal to the reference, within rounding.
    """
    check_batch_norm_grads(gy, x, gamma, mean, inv_std)
    if relu:
        check_gradient(gy, y, "output")
    return parallel_steps(_grads(gy, y if relu else None, x, gamma, mean, inv_std, wants_shortcut, overwrite))


def _apply(
    image: ChannelRows, scale: Array, beta: Array, mean: Array, centre: Array | None, shortcut: Array | None, relu: bool
) -> Steps[Array]:
    """y of (1), with the shortcut added, rectified."""
    shift = beta - (mean if centre is None else mean - centre) * scale
    centred = image.centred(centre)
    scales, shifts, zeros = image.rows(scale, shift, np.zeros(len(scale)))  # a row of zeros is faster than one zero
    addend = None if shortcut is None else image.matrix(shortcut)
    y = image.new()

    def run(rows: slice) -> None:
        out = y[rows]
        np.multiply(centred(rows), scales, out=out)
        np.add(out, shifts, out=out)  # (1)
        if addend is not None:
            np.add(out, addend[rows], out=out)
        if relu:
            np.maximum(out, zeros, out=out)

    yield run, image.blocks
    return image.image(y)


def _grads(
    gy: Array,
    y: Array | None,
    x: Array,
    gamma: Array,
    mean: Array,
    inv_std: Array,
    wants_shortcut: bool,
    overwrite: bool,
) -> Steps[tuple[Array, Array, Array, Array | None]]:
    """gx, ggamma, gbeta, gz; y is the mask of a rectifier, or None. gx lies where gz lay, unless gz is wanted."""
    M, dtype = x.shape[0] * x.shape[2] * x.shape[3], gy.dtype
    image = ChannelRows(x)
    centre = _centre(mean, inv_std)
    centred, offset = image.centred(centre), mean if centre is None else mean - centre
    gradient, outputs = image.matrix(gy), None if y is None else image.matrix(y)
    gz = gradient if overwrite or outputs is None else image.new()
    gx = image.new() if wants_shortcut or (gz is gradient and not overwrite) else gz

    def of_block(rows: slice) -> tuple[Array, Array]:
        if outputs is not None:
            rectifier_mask(gradient[rows], outputs[rows], gz[rows])
        return gz[rows], centred(rows)

    gbeta, products = yield from image.sums(of_block)
    inv_std = inv_std.astype(np.float64)
    ggamma = (products - offset * gbeta) * inv_std
    scale = gamma * inv_std
    slope = -scale * inv_std * ggamma / M
    level = -scale * gbeta / M - slope * offset
    scales, slopes, levels = image.rows(scale, slope, level)

    def run(rows: slice) -> None:
        rest = image.room("batch norm rest", rows)
        np.multiply(centred(rows), slopes, out=rest)
        np.add(rest, levels, out=rest)
        out = np.multiply(gz[rows], scales, out=gx[rows])
        np.add(out, rest, out=out)  # (2)

    yield run, image.blocks
    gshortcut = None if not wants_shortcut else gy if outputs is None else image.image(gz)
    return image.image(gx), ggamma.astype(dtype), gbeta.astype(dtype), gshortcut


def _centre(mean: Array, inv_std: Array) -> Array | None:
    """The mean where it is large beside the deviation, so that x is taken around it, otherwise None."""
    return mean if bool(((mean * inv_std) ** 2 > FAR).any()) else None
