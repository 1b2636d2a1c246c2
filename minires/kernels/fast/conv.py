"""Convolution and its two gradients on the CPU: the reference's functions, in the fastest way that fits.

The formulas and shapes are those of kernels/reference/conv.py. Five files compute them; plan.py says which:

- conv_pointwise.py: 1×1 filters, one matrix product;
- conv_winograd.py: 3×3 filters with stride 1 in float32, with a quarter of the multiplications;
- conv_depthwise.py: a filter for each channel, row by row of pixels;
- conv_strips.py: other dense windows, with one copy for all rows of the filter;
- conv_general.py: everything else, dilated, grouped or very large: a gather and a matrix product.

Results lie in memory as (H, W, N, C), gradients of filters as (R, S, C, K); inputs in these orders are read
in place. All are freshly allocated, and the same bits come out for any number of threads.
"""

from __future__ import annotations

import numpy as np

from minires.blas import single_threaded_blas
from minires.device import Array, Size, same_dtype
from minires.geometry import Geometry
from minires.kernels.checks import check_input_grad, check_per_channel, check_shortcut, check_weight_grad
from minires.kernels.fast.finish import Finish
from minires.kernels.fast.layout import hwnc, hwnc_view, kcrs_view, nchw_view, new_activations, rsck
from minires.kernels.fast.plan import plan


def conv2d(x: Array, w: Array, geometry: Geometry) -> Array:
    """Convolution of images with filters: `minires.kernels.reference.conv2d`.

    Parameters
    ----------
    x : (N, C, H, W) float array
    w : (K, C / groups, R, S) array of the same dtype
    geometry : stride, padding, dilation and groups, with kernel (R, S)

    Returns
    -------
    y : (N, K, P, Q), dtype of x

    Raises
    ------
    ShapeError : if the shapes do not agree with each other or with the geometry.
    DtypeError : if x and w differ in dtype.

    Identity that tests it: equal to the reference, within the rounding of the path taken.
    """
    return conv2d_act(x, w, None, None, None, False, geometry)


@single_threaded_blas()
def conv2d_act(
    x: Array,
    w: Array,
    scale: Array | None,
    bias: Array | None,
    shortcut: Array | None,
    relu: bool,
    geometry: Geometry,
) -> Array:
    """Convolve, scale, add a bias and the shortcut, rectify: `minires.kernels.reference.conv2d_act`.

    Parameters
    ----------
    x : (N, C, H, W) float array
    w : (K, C / groups, R, S) array of the same dtype
    scale : (K,) array of the same dtype, or None for no scaling
    bias : (K,) array of the same dtype, or None for no addition
    shortcut : (N, K, P, Q) array of the same dtype, or None for no addition
    relu : whether to rectify
    geometry : stride, padding, dilation and groups, with kernel (R, S)

    Returns
    -------
    y : (N, K, P, Q), dtype of x

    Raises
    ------
    ShapeError, DtypeError : as `conv2d` does, and if scale, bias or shortcut do not fit its output.

    Identity that tests it: equal to the reference, within the rounding of the path taken.
    """
    shape = geometry.check_conv(x.shape, w.shape)
    y = new_activations(shape, same_dtype(x, w))
    result = nchw_view(y)
    check_per_channel("scale", scale, result)
    check_per_channel("bias", bias, result)
    check_shortcut(shortcut, result)
    finish = Finish(y, scale, bias, shortcut, relu)
    if 0 in (x.size, w.size):
        y.fill(0)
        finish.pixels()
    else:
        module = plan(geometry, x.shape, w.shape, y.dtype).module
        module.conv2d(hwnc_view(x), rsck(w), geometry, y, finish)
    return result


def conv2d_input_grad(gy: Array, w: Array, geometry: Geometry, size: Size) -> Array:
    """Gradient by the input of `conv2d`: `minires.kernels.reference.conv2d_input_grad`.

    Parameters
    ----------
    gy : (N, K, P, Q) array, the gradient with respect to the output
    w : (K, C / groups, R, S) array of the same dtype
    geometry : as in the forward pass
    size : (H, W) of the input

    Returns
    -------
    gx : (N, C, H, W), dtype of gy

    Raises
    ------
    ShapeError : if the shapes do not agree with each other or with the geometry.
    DtypeError : if gy and w differ in dtype.

    Identity that tests it: equal to the reference, within the rounding of the path taken.
    """
    shape_x = check_input_grad(gy, w, geometry, size)
    gx, _ = _grads(gy, None, w, geometry, shape_x, w.shape)
    assert gx is not None
    return gx


def conv2d_weight_grad(gy: Array, x: Array, geometry: Geometry) -> Array:
    """Gradient by the filters of `conv2d`: `minires.kernels.reference.conv2d_weight_grad`.

    Parameters
    ----------
    gy : (N, K, P, Q) array, the gradient with respect to the output
    x : (N, C, H, W) array of the same dtype
    geometry : as in the forward pass

    Returns
    -------
    gw : (K, C / groups, R, S), dtype of gy

    Raises
    ------
    ShapeError : if the shapes do not agree with each other or with the geometry.
    DtypeError : if gy and x differ in dtype.

    Identity that tests it: equal to the reference, within the rounding of the path taken.
    """
    shape_w = check_weight_grad(gy, x, geometry)
    _, gw = _grads(gy, x, None, geometry, x.shape, shape_w)
    assert gw is not None
    return gw


def conv2d_grads(
    gy: Array, x: Array, w: Array, geometry: Geometry, wants: tuple[bool, bool] = (True, True)
) -> tuple[Array | None, Array | None]:
    """Both gradients of `conv2d`, which share what is done to gy: `minires.kernels.reference.conv2d_grads`.

    Parameters
    ----------
    gy : (N, K, P, Q); x : (N, C, H, W); w : (K, C / groups, R, S), all of one dtype
    geometry : as in the forward pass
    wants : whether gx and gw are wanted; what is not wanted is not computed

    Returns
    -------
    gx : (N, C, H, W) or None
    gw : (K, C / groups, R, S) or None

    Raises
    ------
    ShapeError : if the shapes do not agree with each other or with the geometry.
    DtypeError : if the dtypes differ.

    Identity that tests it: equal to the reference, within the rounding of the path taken.
    """
    if not any(wants):
        geometry.check_conv(x.shape, w.shape)
        return None, None
    geometry.check_conv_grad(gy.shape, x.shape, w.shape)
    for other, wanted in zip((w, x), wants, strict=True):
        if wanted:
            same_dtype(gy, other)
    return _grads(gy, x if wants[1] else None, w if wants[0] else None, geometry, x.shape, w.shape)


@single_threaded_blas()
def _grads(
    gy: Array, x: Array | None, w: Array | None, geometry: Geometry, shape_x: tuple[int, ...], shape_w: tuple[int, ...]
) -> tuple[Array | None, Array | None]:
    """gx if w is given, gw if x is; the shapes are checked."""
    size = shape_x[2], shape_x[3]
    if 0 in (*shape_x, *shape_w):
        gx = None if w is None else new_activations(shape_x, gy.dtype)
        gw = None if x is None else np.zeros([shape_w[i] for i in (2, 3, 1, 0)], gy.dtype)
        if gx is not None:
            gx.fill(0)
    else:
        filters, images = None if w is None else rsck(w), None if x is None else hwnc_view(x)
        module = plan(geometry, shape_x, shape_w, gy.dtype).module
        gx, gw = module.conv2d_grads(hwnc(gy), size, filters, images, geometry)
    return None if gx is None else nchw_view(gx), None if gw is None else kcrs_view(gw)
