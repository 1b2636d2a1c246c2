"""Convolution, then a scale and a bias, the shortcut of a residual block, and the rectifier: all as one.

    y = relu(scale · conv2d(x, w) + bias + shortcut)

Nothing new is computed here. The fast kernels do what follows the convolution while a piece of its output is still in
the cache; this file says what that has to give, by calling the parts.
"""

from __future__ import annotations

from minires.device import Array
from minires.geometry import Geometry
from minires.kernels.checks import check_per_channel, check_shortcut
from minires.kernels.halves import in_float32
from minires.kernels.reference import activation
from minires.kernels.reference.arithmetic import add, multiply
from minires.kernels.reference.conv import conv2d


@in_float32()
def conv2d_act(
    x: Array,
    w: Array,
    scale: Array | None,
    bias: Array | None,
    shortcut: Array | None,
    relu: bool,
    geometry: Geometry,
) -> Array:
    """Convolve, scale, add a bias and the shortcut, rectify.

        z = scale · conv2d(x, w) + bias + shortcut                                (1)
        y = relu(z)                                                               (2)

    Parameters
    ----------
    x : (N, C, H, W) array
    w : (K, C / groups, R, S) array of the same dtype
    scale : (K,) array of the same dtype, or None for no scaling
    bias : (K,) array of the same dtype, or None for no addition
    shortcut : (N, K, P, Q) array of the same dtype, or None for no addition
    relu : whether to rectify
    geometry : as in `conv2d`

    Returns
    -------
    y : (N, K, P, Q), dtype of x

    Raises
    ------
    ShapeError, DtypeError : as `conv2d` does, and if scale, bias or shortcut do not fit its output.

    Identity that tests it: without scale, bias, shortcut and relu it is `conv2d`.
    """
    y = conv2d(x, w, geometry)
    check_per_channel("scale", scale, y)
    check_per_channel("bias", bias, y)
    check_shortcut(shortcut, y)
    if scale is not None:
        y = multiply(y, scale.reshape(1, -1, 1, 1))
    if bias is not None:
        y = add(y, bias.reshape(1, -1, 1, 1))
    if shortcut is not None:
        y = add(y, shortcut)  # (1)
    return activation.relu(y) if relu else y  # (2)
