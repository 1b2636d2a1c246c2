"""Convolution and its two gradients on the CPU: the reference's functions, by the fastest algorithm that fits.

The formulas and shapes are those of kernels/reference/conv.py. Five files compute them, and plan.py chooses among them:

- conv_pointwise.py: 1×1 filters, one matrix product;
- conv_winograd.py: 3×3 filters with stride 1 in float32, with a quarter of the multiplications;
- conv_depthwise.py: one filter for each channel, row by row of pixels;
- conv_strips.py: other dense windows, with one copy for all rows of the filter;
- conv_general.py: all else (dilated, grouped or very large), by a gather and a matrix product.

Results lie in memory as (H, W, N, C), and gradients of filters as (R, S, C, K); inputs with these layouts are not
copied. All results are newly allocated, and have the same bits for any number of threads. They are equal to the
reference's within the rounding of the algorithm.
"""

from __future__ import annotations

import numpy as np

from minires.blas import single_threaded_blas
from minires.device import Array, Size, same_dtype
from minires.geometry import Geometry
from minires.kernels.checks import check_conv_act, check_input_grad, check_weight_grad
from minires.kernels.fast.finish import Finish
from minires.kernels.fast.layout import hwnc, hwnc_view, kcrs_view, nchw_view, new_activations, rsck
from minires.kernels.fast.plan import plan


def conv2d(x: Array, w: Array, geometry: Geometry) -> Array:
    """Convolve images with filters, as `reference.conv.conv2d`."""
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
    """Convolve, scale, add a bias and the shortcut and apply ReLU, as `reference.conv_act.conv2d_act`.

    All that follows the convolution is done to a block of the output while the cache holds it (finish.py).
    """
    shape = geometry.check_conv(x.shape, w.shape)
    y = new_activations(shape, same_dtype(x, w))
    result = nchw_view(y)
    check_conv_act(result, scale, bias, shortcut)
    finish = Finish(y, scale, bias, shortcut, relu)
    if 0 in (x.size, w.size):
        y.fill(0)
        finish.pixels()
    else:
        module = plan(geometry, x.shape, w.shape, y.dtype).module
        module.conv2d(hwnc_view(x), rsck(w), geometry, y, finish)
    return result


def conv2d_input_grad(gy: Array, w: Array, geometry: Geometry, size: Size) -> Array:
    """Return the gradient with respect to the input, as `reference.conv.conv2d_input_grad`."""
    shape_x = check_input_grad(gy, w, geometry, size)
    gx, _ = _grads(gy, None, w, geometry, shape_x, w.shape)
    assert gx is not None
    return gx


def conv2d_weight_grad(gy: Array, x: Array, geometry: Geometry) -> Array:
    """Return the gradient with respect to the filters, as `reference.conv.conv2d_weight_grad`."""
    shape_w = check_weight_grad(gy, x, geometry)
    _, gw = _grads(gy, x, None, geometry, x.shape, shape_w)
    assert gw is not None
    return gw


def conv2d_grads(
    gy: Array, x: Array, w: Array, geometry: Geometry, wants: tuple[bool, bool] = (True, True)
) -> tuple[Array | None, Array | None]:
    """Return both gradients of `conv2d`, as `reference.conv.conv2d_grads`.

    Together they take less time than one after the other: they share a transform of gy, or its blocks in the cache.
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
    """Return gx if w is given and gw if x is given; the caller has checked the shapes."""
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
