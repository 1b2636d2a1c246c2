"""Batch normalisation with the shortcut and the ReLU that follow it, in one pass over memory each way.

    y = relu(gamma · (x − mean) · inv_std + beta + shortcut)

The time goes into reading and writing memory, not into arithmetic. So the image is one matrix here: a row holds a few
pixels, and each per-channel value is repeated along the row. All steps are then long NumPy calls on contiguous blocks.
The per-channel constants are combined first:

    forward    y  = x · scale + shift,    scale = gamma · inv_std,  shift = beta − mean · scale      (1)
    backward   gx = gz · scale + x · slope + level,
               slope = −scale · inv_std · ggamma / M,  level = −scale · gbeta / M − slope · mean     (2)

Where the mean is large beside the standard deviation, a centre is first subtracted from x and mean. channels.py
computes the centre and the sums.

Results are equal to the reference's within rounding. Images lie in memory as (H, W, N, C).
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
from minires.kernels.fast.activation import relu_grad_into
from minires.kernels.fast.channels import FAR, ChannelRows
from minires.threads import Steps, parallel_steps


def batch_norm(x: Array, gamma: Array, beta: Array, eps: float) -> tuple[Array, Array, Array, Array]:
    """Normalise by the batch's statistics, as `reference.batch_norm.batch_norm`."""
    return batch_norm_act(x, gamma, beta, None, False, eps)


def batch_norm_inference(x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float) -> Array:
    """Normalise by given statistics, as `reference.batch_norm.batch_norm_inference`."""
    return batch_norm_act_inference(x, gamma, beta, mean, var, None, False, eps)


def batch_norm_grads(gy: Array, x: Array, gamma: Array, mean: Array, inv_std: Array) -> tuple[Array, Array, Array]:
    """Return gx, ggamma and gbeta, as `reference.batch_norm.batch_norm_grads`."""
    check_batch_norm_grads(gy, x, gamma, mean, inv_std)
    return parallel_steps(_grads(gy, None, x, gamma, mean, inv_std, False, False))[:3]


def batch_norm_act(
    x: Array, gamma: Array, beta: Array, shortcut: Array | None, relu: bool, eps: float
) -> tuple[Array, Array, Array, Array]:
    """Normalise by the batch's statistics, add the shortcut and apply ReLU.

    As `reference.batch_norm_act.batch_norm_act`, in one pass after the statistics.
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
    """Normalise by given statistics, add the shortcut and apply ReLU.

    As `reference.batch_norm_act.batch_norm_act_inference`, in one pass.
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
    """Return gx, ggamma, gbeta and gshortcut, as `reference.batch_norm_act.batch_norm_act_grads`.

        gz = 0 where y ≤ 0, else gy; without ReLU, gz = gy

    With ``overwrite``, gz and gx may lie in the memory of gy, so the processor fetches no other memory to write into.
    """
    if relu:
        check_gradient(gy, y, "output")
    check_batch_norm_grads(gy, x, gamma, mean, inv_std)
    return parallel_steps(_grads(gy, y if relu else None, x, gamma, mean, inv_std, wants_shortcut, overwrite))


def _apply(
    image: ChannelRows, scale: Array, beta: Array, mean: Array, centre: Array | None, shortcut: Array | None, relu: bool
) -> Steps[Array]:
    """Return y of (1), with the shortcut added and ReLU applied."""
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
    """Return gx, ggamma, gbeta and gshortcut by (2); gz = gy if y is None, otherwise 0 where y ≤ 0.

    gx lies in the memory of gz, unless gz is the shortcut's gradient, or is gy and ``overwrite`` is False.
    """
    M, dtype = x.shape[0] * x.shape[2] * x.shape[3], gy.dtype
    image = ChannelRows(x)
    centre = _centre(mean, inv_std)
    centred, offset = image.centred(centre), mean if centre is None else mean - centre
    gradient, outputs = image.matrix(gy), None if y is None else image.matrix(y)
    gz = gradient if overwrite or outputs is None else image.new()
    gx = image.new() if wants_shortcut or (gz is gradient and not overwrite) else gz

    def of_block(rows: slice) -> tuple[Array, Array]:
        if outputs is not None:
            relu_grad_into(gradient[rows], outputs[rows], gz[rows])
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
    """Return ``mean`` if any channel's mean is large beside its standard deviation, otherwise None."""
    return mean if bool(((mean * inv_std) ** 2 > FAR).any()) else None
