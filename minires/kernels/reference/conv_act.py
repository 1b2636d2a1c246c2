"""Convolution, a scale and a bias for each channel, the shortcut of a residual block and ReLU, as one kernel.

    y = relu(scale · conv2d(x, w) + bias + shortcut)

The fast kernels do what follows the convolution while a piece of its output is still in the cache. This file defines
what they compute: it calls the parts.
"""

from __future__ import annotations

from minires.device import Array
from minires.geometry import Geometry
from minires.kernels.checks import check_conv_act
from minires.kernels.float16 import in_float32
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
    """Convolve, multiply by a scale, add a bias and the shortcut, apply ReLU.

        z = scale · conv2d(x, w) + bias + shortcut                                (1)
        y = relu(z)                                                               (2)

    Parameters
    ----------
    x, w, geometry : as in `conv2d`
    scale : (K,) array of the same dtype, or None for no multiplication
    bias : (K,) array of the same dtype, or None for no addition
    shortcut : (N, K, P, Q) array of the same dtype, or None for no addition
    relu : whether to apply ReLU

    Returns
    -------
    y : (N, K, P, Q), dtype of x

    Raises
    ------
    ShapeError, DtypeError : as `conv2d` does, and if scale, bias or shortcut do not fit its output.

    Identity that tests it: without scale, bias, shortcut and ReLU it is `conv2d`.
    """
    z = conv2d(x, w, geometry)
    check_conv_act(z, scale, bias, shortcut)
    if scale is not None:
        z = multiply(z, scale.reshape(1, -1, 1, 1))
    if bias is not None:
        z = add(z, bias.reshape(1, -1, 1, 1))
    if shortcut is not None:
        z = add(z, shortcut)  # (1)
    return activation.relu(z) if relu else z  # (2)
