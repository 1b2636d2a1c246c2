"""Convolution, then a bias, the shortcut of a residual block, and the rectifier: the four as one.

    y = relu(conv2d(x, w) + bias + shortcut)

Nothing new is computed here. The fast kernels do the last three while a piece of the convolution's output is still
in the cache; this file says what that has to give, by calling the parts.
"""

from __future__ import annotations

from minires.device import Array
from minires.geometry import Geometry
from minires.kernels.checks import check_bias, check_shortcut
from minires.kernels.reference import activation
from minires.kernels.reference.arithmetic import add
from minires.kernels.reference.conv import conv2d


def conv2d_act(x: Array, w: Array, bias: Array | None, shortcut: Array | None, relu: bool, geometry: Geometry) -> Array:
    """Convolve, add a bias and the shortcut, rectify.

        z = conv2d(x, w) + bias + shortcut                                        (1)
        y = relu(z)                                                               (2)

    Parameters
    ----------
    x : (N, C, H, W) array
    w : (K, C / groups, R, S) array of the same dtype
    bias : (K,) array of the same dtype, or None for no addition
    shortcut : (N, K, P, Q) array of the same dtype, or None for no addition
    relu : whether to rectify
    geometry : as in `conv2d`

    Returns
    -------
    y : (N, K, P, Q), dtype of x

    Raises
    ------
    ShapeError, DtypeError : as `conv2d` does, and if the bias or the shortcut does not fit its output.

    Identity that tests it: without bias, shortcut and relu it is `conv2d`.
    """
    y = conv2d(x, w, geometry)
    check_bias(bias, y)
    check_shortcut(shortcut, y)
    if bias is not None:
        y = add(y, bias.reshape(1, -1, 1, 1))
    if shortcut is not None:
        y = add(y, shortcut)  # (1)
    return activation.relu(y) if relu else y  # (2)
