"""Batch normalisation, then the shortcut of a residual block, then the rectifier: the three as one.

    y = relu(batch_norm(x) + shortcut)

Nothing new is computed here. Reading and writing memory is all that these steps cost, so the fast kernels
make one pass of the three; this file says what that pass has to give, by calling the parts.
"""

from __future__ import annotations

from minires.device import Array
from minires.kernels.checks import check_shortcut
from minires.kernels.halves import in_float32
from minires.kernels.reference import activation
from minires.kernels.reference.arithmetic import add
from minires.kernels.reference.batch_norm import batch_norm, batch_norm_grads, batch_norm_inference


@in_float32(1, 2, 3)
def batch_norm_act(
    x: Array, gamma: Array, beta: Array, shortcut: Array | None, relu: bool, eps: float
) -> tuple[Array, Array, Array, Array]:
    """Normalise by the batch, add the shortcut, rectify.

        z = batch_norm(x, gamma, beta, eps) + shortcut                            (1)
        y = relu(z)                                                               (2)

    Parameters
    ----------
    x : (N, C, H, W) array
    gamma, beta : (C,) arrays of the same dtype
    shortcut : (N, C, H, W) array of the same dtype, or None for no addition
    relu : whether to rectify
    eps : as in `batch_norm`

    Returns
    -------
    y : (N, C, H, W), dtype and memory order of x
    mean, var, inv_std : (C,), as `batch_norm` gives them

    Raises
    ------
    ShapeError, DtypeError : as `batch_norm` does, and if the shortcut is not like x.

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
    """`batch_norm_act` by statistics that are given, not taken from x.

    Parameters
    ----------
    x : (N, C, H, W) array
    gamma, beta, mean, var : (C,) arrays of the same dtype
    shortcut, relu, eps : as in `batch_norm_act`

    Returns
    -------
    y : (N, C, H, W), dtype and memory order of x

    Raises
    ------
    ShapeError, DtypeError : as `batch_norm_inference` does, and if the shortcut is not like x.

    Identity that tests it: with shortcut None and relu False it is `batch_norm_inference`.
    """
    check_shortcut(shortcut, x)
    return _finish(batch_norm_inference(x, gamma, beta, mean, var, eps), shortcut, relu)


@in_float32()
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
    """Gradients of the loss with respect to the input, scale, shift and shortcut of `batch_norm_act`.

        gz = 0 where y ≤ 0, else gy; gy itself without the rectifier              (1)
        gx, ggamma, gbeta = batch_norm_grads(gz, …)                               (2)
        gshortcut = gz                                                            (3)

    An addition hands its gradient to both sides unchanged: that is all that a shortcut needs in the backward
    pass, and why a loss far above reaches every block below.

    Parameters
    ----------
    gy, y, x : (N, C, H, W) arrays; y is the output, whose signs are the rectifier's mask
    gamma, mean, inv_std : (C,) arrays, the last two as `batch_norm_act` returned them
    relu : as in the forward pass
    wants_shortcut : whether gshortcut is wanted
    overwrite : whether results may lie in the memory of gy; here they never do

    Returns
    -------
    gx : (N, C, H, W), memory order of x; ggamma, gbeta : (C,)
    gshortcut : (N, C, H, W), memory order of y, or None; without the rectifier it is the array gy itself

    Raises
    ------
    ShapeError, DtypeError : as the parts do.

    Identity that tests it: Σ gx = 0 in each channel, and gshortcut vanishes where y does.
    """
    gz = activation.relu_grad(gy, y) if relu else gy  # (1)
    gx, ggamma, gbeta = batch_norm_grads(gz, x, gamma, mean, inv_std)  # (2)
    return gx, ggamma, gbeta, gz if wants_shortcut else None  # (3)


def _finish(y: Array, shortcut: Array | None, relu: bool) -> Array:
    z = y if shortcut is None else add(y, shortcut)  # (1)
    return activation.relu(z) if relu else z  # (2)
