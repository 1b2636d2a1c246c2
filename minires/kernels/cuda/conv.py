"""Convolution and its two gradients on a GPU: the reference's functions, by a copy and one matrix product.

With the columns of columns.py, filters as matrices F[(r, s, c), k] and gradients gy[k, (n, p, q)], for each group g,

    y        = Fᵀ · columns                                                       (1)
    gF       = columns · gyᵀ                                                      (2)
    gcolumns = F · gy                                                             (3)

The gcolumns are then added back to their pixels. In float16, sums of several products are in float32.

Results are equal to the reference's within the rounding of their sums, and lie in memory as (C, N, H, W) and
(R, S, C, K).
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from minires.device import Array, Size, same_dtype, wide_dtype, xp_of
from minires.geometry import Geometry
from minires.kernels.checks import check_conv_act, check_input_grad, check_weight_grad
from minires.kernels.cuda.columns import add_back, columns_of, is_pointwise, part_of, parts
from minires.kernels.cuda.layout import cnhw, kcrs_view, nchw_view, rsck
from minires.kernels.cuda.product import multiply
from minires.kernels.cuda.raw import element_kernel


def conv2d(x: Array, w: Array, geometry: Geometry) -> Array:
    """Convolve images with filters, as `reference.conv.conv2d`."""
    N, K, P, Q = geometry.check_conv(x.shape, w.shape)
    y: Array = xp_of(x).empty((K, N, P, Q), same_dtype(x, w))
    _convolve(x, w, geometry, y)
    return nchw_view(y)


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

    One launch does all that follows the convolution.
    """
    N, K, P, Q = geometry.check_conv(x.shape, w.shape)
    y: Array = xp_of(x).empty((K, N, P, Q), same_dtype(x, w))
    check_conv_act(nchw_view(y), scale, bias, shortcut)
    parts = {
        "scale": None if scale is None else scale.reshape(-1, 1, 1, 1),
        "bias": None if bias is None else bias.reshape(-1, 1, 1, 1),
        "shortcut": None if shortcut is None else shortcut.transpose(1, 0, 2, 3),
    }
    given = {name: part for name, part in parts.items() if part is not None}
    z = xp_of(x).empty_like(y, dtype=wide_dtype(y.dtype)) if given and y.dtype == np.float16 else y
    _convolve(x, w, geometry, z)
    if given or relu:
        _finish(tuple(given), relu)(z, *given.values(), y)
    return nchw_view(y)


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
    """Return both gradients of `conv2d`, as `reference.conv.conv2d_grads`."""
    if not any(wants):
        geometry.check_conv(x.shape, w.shape)
        return None, None
    geometry.check_conv_grad(gy.shape, x.shape, w.shape)
    return _grads(gy, x if wants[1] else None, w if wants[0] else None, geometry, x.shape, w.shape)


def _convolve(x: Array, w: Array, geometry: Geometry, y: Array) -> None:
    """Set y (K, N, P, Q) by (1); the caller has checked the shapes. For float16 images, y may be in float32."""
    if 0 in (x.size, w.size):
        y.fill(0)
        return
    filters = _filters(w, geometry.groups)
    for images, columns in columns_of(x, geometry, (y.shape[2], y.shape[3])):
        target = part_of(y, images)
        multiply(filters.swapaxes(1, 2), columns, target.reshape(len(columns), -1, columns.shape[2]))  # (1)
        if target is not y:
            y[:, images] = target


def _grads(
    gy: Array, x: Array | None, w: Array | None, geometry: Geometry, shape_x: tuple[int, ...], shape_w: tuple[int, ...]
) -> tuple[Array | None, Array | None]:
    """Return gx if w is given and gw if x is given; the caller has checked the shapes."""
    xp, dtype = xp_of(gy), same_dtype(*(array for array in (gy, x, w) if array is not None))
    (N, C, *size), (K, _, R, S), G = shape_x, shape_w, geometry.groups
    gx: Any = None if w is None else xp.empty((C, N, *size), dtype)
    gw: Any = None if x is None else xp.empty((G, R * S * C // G, K // G), wide_dtype(dtype))
    if 0 in (*shape_x, *shape_w):
        for array in (gx, gw):
            if array is not None:
                array.fill(0)
    else:
        gradients = cnhw(gy)
        if w is not None:
            _input_grad(gradients, _filters(w, G), geometry, gx)
        if x is not None:
            for images, columns in columns_of(x, geometry, (gy.shape[2], gy.shape[3])):
                part = part_of(gradients, images, copy=True).reshape(G, K // G, columns.shape[2])
                target = gw if images.start == 0 else xp.empty_like(gw)
                multiply(columns, part.swapaxes(1, 2), target)  # (2)
                if target is not gw:
                    gw += target
    if gw is not None:  # (G, (R, S, C), K) -> (R, S, C, (G, K))
        gw = gw.astype(dtype, copy=False).reshape(G, R, S, C // G, K // G)
        gw = gw.transpose(1, 2, 3, 0, 4).reshape(R, S, C // G, K)
    return None if gx is None else nchw_view(gx), None if gw is None else kcrs_view(gw)


def _input_grad(gy: Array, filters: Array, geometry: Geometry, gx: Array) -> None:
    """Set gx (C, N, H, W) by (3), from gy (K, N, P, Q)."""
    xp, (G, rows, _), (_, N, P, Q), wide = xp_of(gy), filters.shape, gy.shape, wide_dtype(gy.dtype)
    for images in parts(N, G * rows * P * Q * wide.itemsize):
        part = part_of(gy, images, copy=True)
        count = part.shape[1]
        columns = part_of(gx, images) if is_pointwise(geometry) else xp.empty((G * rows, count, P, Q), wide)
        multiply(filters, part.reshape(G, -1, count * P * Q), columns.reshape(G, rows, -1))  # (3)
        if not is_pointwise(geometry):
            add_back(columns, geometry, (P, Q), images, gx)
        elif columns is not gx:
            gx[:, images] = columns


def _filters(w: Array, G: int) -> Array:
    """Return filters (G·K, C, R, S) as (G, R·S·C, K)."""
    taps = rsck(w)
    R, S, C, K = taps.shape
    if G == 1:
        return taps.reshape(1, R * S * C, K)
    grouped: Array = xp_of(w).ascontiguousarray(taps.reshape(R, S, C, G, K // G).transpose(3, 0, 1, 2, 4))
    return grouped.reshape(G, R * S * C, K // G)


# --- Kernels -------------------------------------------------------------------------------------------------


@functools.cache
def _finish(given: tuple[str, ...], relu: bool) -> Any:
    """Return a kernel for y = relu(scale · z + bias + shortcut), with the terms that are given."""
    terms = ("z * scale" if "scale" in given else "z", *(name for name in given if name != "scale"))
    code = f"Wide sum = {' + '.join(terms)}; y = " + ("sum < 0 ? Wide(0) : sum;" if relu else "sum;")
    inputs = ", ".join(["U z", *(f"T {name}" for name in given)])
    name = "_".join(["minires_finish", *given, *["relu"] * relu])
    return element_kernel(inputs, "T y", code, name)
