"""Batch normalisation, the shortcut of a residual block and ReLU, as one kernel.

    y = relu(batch_norm(x) + shortcut)

These steps cost only the time to read and write memory, so the fast kernels make one pass of the three. This file
defines what that pass computes: it calls the parts.
"""

from __future__ import annotations

from minires.device import Array
from minires.kernels.checks import check_shortcut
from minires.kernels.float16 import in_float32
from minires.kernels.reference import activation
from minires.kernels.reference.arithmetic import add
from minires.kernels.reference.batch_norm import batch_norm, batch_norm_grads, batch_norm_inference


@in_float32(statistics=(1, 2, 3))
def batch_norm_act(
    x: Array, gamma: Array, beta: Array, shortcut: Array | None, relu: bool, eps: float
) -> tuple[Array, Array, Array, Array]:
    """Normalise by the batch, add the shortcut, apply ReLU.

        z = batch_norm(x, gamma, beta, eps) + shortcut                            (1)
        y = relu(z)                                                               (2)

    Parameters
    ----------
    x : (N, C, H, W) array
    gamma, beta : (C,) arrays of the same dtype
    shortcut : (N, C, H, W) array of the same dtype, or None for no addition
    relu : whether to apply ReLU
    eps : as in `batch_norm`

    Returns
    -------
    y : (N, C, H, W), dtype and memory order of x
    mean, var, inv_std : (C,), as `batch_norm` returns them

    Raises
    ------
    ShapeError, DtypeError : as `batch_norm` does, and if the shortcut does not have the shape and dtype of x.

    Identity that tests it: with shortcut None and relu False it is `batch_norm`.
    Source: He et al. 2015, arXiv:1512.03385, figure 2; derivation in docs/derivations/residual_add.md.
    """
    check_shortcut(shortcut, x)
    y, mean, var, inv_std = batch_norm(x, gamma, beta, eps)
    return _finish(y, shortcut, relu), mean, var, inv_std


@in_float32()
def batch_norm_act_inference(
    x: Array, gamma: Array, beta: Array, mean: Array, var: Array, shortcut: Array | None, relu: bool, eps: float
) -> Array:
    """Normalise by given statistics, add the shortcut, apply ReLU.

    Parameters
    ----------
    x, gamma, beta, mean, var, eps : as in `batch_norm_inference`
    shortcut, relu : as in `batch_norm_act`

    Returns
    -------
    y : (N, C, H, W), dtype and memory order of x

    Raises
    ------
    ShapeError, DtypeError : as `batch_norm_inference` does, and if the shortcut does not have the shape and dtype
        of x.

    Identity that tests it: with shortcut None and relu False it is `batch_norm_inference`.
    """
    check_shortcut(shortcut, x)
    return _finish(batch_norm_inference(x, gamma, beta, mean, var, eps), shortcut, relu)


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
    """Return the gradients of the loss with respect to the input, scale, shift and shortcut of `batch_norm_act`.

        gz = 0 where y ≤ 0, else gy; without ReLU gz = gy                         (1)
        gx, ggamma, gbeta = batch_norm_grads(gz, …)                               (2)
        gshortcut = gz                                                            (3)

    An addition passes its gradient unchanged to both operands. A shortcut needs nothing else in the backward pass, and
    so the loss reaches every block below it.

    Parameters
    ----------
    gy, y, x : (N, C, H, W) arrays; y is the output, whose signs say what ReLU let through
    gamma, mean, inv_std : (C,) arrays, the last two as `batch_norm_act` returned them
    relu : as in the forward pass
    wants_shortcut : whether to return gshortcut
    overwrite : whether results may use the memory of gy; this kernel never does so

    Returns
    -------
    gx : (N, C, H, W), memory order of x; ggamma, gbeta : (C,)
    gshortcut : (N, C, H, W), memory order of y; without ReLU it is the array gy itself; None if not wanted

    Raises
    ------
    ShapeError, DtypeError : as the parts do.

    Identities that test it: Σ gx = 0 in each channel, and gshortcut is 0 where y is.
    """
    gz = activation.relu_grad(gy, y) if relu else gy  # (1)
    gx, ggamma, gbeta = batch_norm_grads(gz, x, gamma, mean, inv_std)  # (2)
    return gx, ggamma, gbeta, gz if wants_shortcut else None  # (3)


def _finish(y: Array, shortcut: Array | None, relu: bool) -> Array:
    z = y if shortcut is None else add(y, shortcut)  # (1)
    return activation.relu(z) if relu else z  # (2)
