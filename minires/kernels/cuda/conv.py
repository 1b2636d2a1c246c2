"""Convolution and its two gradients on a GPU: the reference's functions, by a copy and one matrix product.

What each output sees of the image is written side by side, a column for each output, by a kernel of our own:

    columns[(g, r, s, c), (n, p, q)] = x[n, g·C + c, h, w], the pixel that (p, q) meets through (r, s), or 0

and with filters as matrices w[(r, s, c), k] and gradients gy[k, (n, p, q)], for each of the groups g,

    y        = wᵀ · columns                                                       (1)
    gw       = columns · gyᵀ                                                      (2)
    gcolumns = w · gy                                                             (3)
    gx[n, c, h, w] = Σ of gcolumns over the (r, s) and (p, q) that meet (h, w)    (4)

(4) is gathered, a thread for each pixel, so nothing is added by two threads and results are the same every time. Of
1×1 filters with stride 1 the columns are the image. Columns are made for as many images at once as fit `_COLUMNS`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from minires.device import Array, Size, same_dtype, wide_dtype, xp_of
from minires.errors import ShapeError
from minires.geometry import Geometry
from minires.kernels.checks import check_per_channel, check_shortcut
from minires.kernels.cuda.layout import cnhw, kcrs_view, nchw_view, rsck
from minires.kernels.cuda.product import multiply
from minires.kernels.cuda.raw import element_kernel
from minires.kernels.cuda.window import each_window, window_kernel, window_numbers

_COLUMNS = 256 << 20  # bytes of columns at once


def conv2d(x: Array, w: Array, geometry: Geometry) -> Array:
    """Convolution of images with filters: `minires.kernels.reference.conv2d`.

    Parameters
    ----------
    x : (N, C, H, W) array
    w : (K, C / groups, R, S) array of the same dtype
    geometry : stride, padding, dilation and groups, with kernel (R, S)

    Returns
    -------
    y : (N, K, P, Q), dtype of x

    Raises
    ------
    ShapeError : if the shapes do not agree with each other or with the geometry.
    DtypeError : if x and w differ in dtype.

    Identity that tests it: equal to the reference, within the rounding of its sums.
    """
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
    """Convolve, scale, add a bias and the shortcut, rectify: `minires.kernels.reference.conv2d_act`.

    Parameters
    ----------
    x : (N, C, H, W) array
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

    Identity that tests it: equal to the reference, within the rounding of its sums.
    """
    N, K, P, Q = geometry.check_conv(x.shape, w.shape)
    y: Array = xp_of(x).empty((K, N, P, Q), same_dtype(x, w))
    check_per_channel("scale", scale, nchw_view(y))
    check_per_channel("bias", bias, nchw_view(y))
    check_shortcut(shortcut, nchw_view(y))
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

    Identity that tests it: equal to the reference, within the rounding of its sums.
    """
    N, C = gy.shape[0], w.shape[1] * geometry.groups
    geometry.check_conv_grad(gy.shape, (N, C, *size), w.shape)
    gx, _ = _grads(gy, None, w, geometry, (N, C, *size), w.shape)
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

    Identity that tests it: equal to the reference, within the rounding of its sums.
    """
    if gy.ndim != 4 or x.ndim != 4:
        raise ShapeError(f"expected gy (N, K, P, Q) and x (N, C, H, W), got {gy.shape} and {x.shape}")
    shape_w = (gy.shape[1], x.shape[1] // geometry.groups, *geometry.kernel)
    geometry.check_conv_grad(gy.shape, x.shape, shape_w)
    _, gw = _grads(gy, x, None, geometry, x.shape, shape_w)
    assert gw is not None
    return gw


def conv2d_grads(
    gy: Array, x: Array, w: Array, geometry: Geometry, wants: tuple[bool, bool] = (True, True)
) -> tuple[Array | None, Array | None]:
    """Both gradients of `conv2d`: `minires.kernels.reference.conv2d_grads`.

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

    Identity that tests it: equal to the reference, within the rounding of its sums.
    """
    if not any(wants):
        geometry.check_conv(x.shape, w.shape)
        return None, None
    geometry.check_conv_grad(gy.shape, x.shape, w.shape)
    return _grads(gy, x if wants[1] else None, w if wants[0] else None, geometry, x.shape, w.shape)


def _convolve(x: Array, w: Array, geometry: Geometry, y: Array) -> None:
    """y (K, N, P, Q) by (1), whose shapes are checked; of halves, it may be in float32."""
    if 0 in (x.size, w.size):
        y.fill(0)
        return
    filters = _filters(w, geometry.groups)
    for images, columns in _Columns(x, geometry, (y.shape[2], y.shape[3])).parts():
        target = _whole(y, images)
        multiply(filters.swapaxes(1, 2), columns, target.reshape(len(columns), -1, columns.shape[2]))  # (1)
        if target is not y:
            y[:, images] = target


def _grads(
    gy: Array, x: Array | None, w: Array | None, geometry: Geometry, shape_x: tuple[int, ...], shape_w: tuple[int, ...]
) -> tuple[Array | None, Array | None]:
    """gx if w is given, gw if x is; the shapes are checked."""
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
            for images, columns in _Columns(x, geometry, (gy.shape[2], gy.shape[3])).parts():
                part = _whole(gradients, images, copy=True).reshape(G, K // G, columns.shape[2])
                target = gw if images.start == 0 else xp.empty_like(gw)
                multiply(columns, part.swapaxes(1, 2), target)  # (2)
                if target is not gw:
                    gw += target
    if gw is not None:  # (G, (R, S, C), K) -> (R, S, C, (G, K))
        gw = gw.astype(dtype, copy=False).reshape(G, R, S, C // G, K // G)
        gw = gw.transpose(1, 2, 3, 0, 4).reshape(R, S, C // G, K)
    return None if gx is None else nchw_view(gx), None if gw is None else kcrs_view(gw)


def _input_grad(gy: Array, filters: Array, geometry: Geometry, gx: Array) -> None:
    """gx (C, N, H, W) by (3) and (4), from gy (K, N, P, Q)."""
    xp, (G, rows, _), (_, N, P, Q), wide = xp_of(gy), filters.shape, gy.shape, wide_dtype(gy.dtype)
    for images in _parts(N, G * rows * P * Q * wide.itemsize):
        part = _whole(gy, images, copy=True)
        count = part.shape[1]
        columns = _whole(gx, images) if _is_pointwise(geometry) else xp.empty((G * rows, count, P, Q), wide)
        multiply(filters, part.reshape(G, -1, count * P * Q), columns.reshape(G, rows, -1))  # (3)
        if not _is_pointwise(geometry):
            numbers = _numbers(geometry, gx.shape, (P, Q), images)
            _gather()(columns, *numbers, gx, size=gx.size // N * count)  # (4)
        elif columns is not gx:
            gx[:, images] = columns


class _Columns:
    """What the outputs (P, Q) of a convolution see of x (N, C, H, W)."""

    def __init__(self, x: Array, geometry: Geometry, size: Size) -> None:
        self.x, self.geometry, self.size = cnhw(x), geometry, size

    def parts(self) -> Iterator[tuple[slice, Array]]:
        """Images, and their columns (G, R·S·C, n·P·Q), until all are done."""
        C, N = self.x.shape[:2]
        rows, pixels = C * math.prod(self.geometry.kernel), math.prod(self.size)
        for images in _parts(N, rows * pixels * self.x.itemsize):
            count = images.stop - images.start
            if _is_pointwise(self.geometry):
                columns = _whole(self.x, images, copy=True)
            else:
                columns = xp_of(self.x).empty((rows, count * pixels), self.x.dtype)
                _spread()(self.x, *_numbers(self.geometry, self.x.shape, self.size, images), columns)
            yield images, columns.reshape(self.geometry.groups, -1, count * pixels)


def _parts(N: int, per_image: int) -> list[slice]:
    """The images, in parts whose columns fit."""
    count = max(1, min(N, _COLUMNS // max(1, per_image)))
    return [slice(start, min(start + count, N)) for start in range(0, N, count)]


def _whole(array: Array, images: slice, copy: bool = False) -> Array:
    """Some of the images of (C, N, H, W): the array if they are all, otherwise a compact one, a copy or empty."""
    if images == slice(0, array.shape[1]):
        return array
    xp, part = xp_of(array), array[:, images]
    compact: Array = xp.ascontiguousarray(part) if copy else xp.empty(part.shape, part.dtype)
    return compact


def _is_pointwise(geometry: Geometry) -> bool:
    """Whether the columns are the image."""
    return geometry.kernel == geometry.stride == (1, 1) and geometry.padding == (0, 0)


def _filters(w: Array, G: int) -> Array:
    """(G·K, C, R, S) -> (G, R·S·C, K)."""
    taps = rsck(w)
    R, S, C, K = taps.shape
    if G == 1:
        return taps.reshape(1, R * S * C, K)
    grouped: Array = xp_of(w).ascontiguousarray(taps.reshape(R, S, C, G, K // G).transpose(3, 0, 1, 2, 4))
    return grouped.reshape(G, R * S * C, K // G)


# --- Kernels -------------------------------------------------------------------------------------------------

# Beside the window: channels of a group, images of all, the first that is meant and how many are.
_SIZES = "int32 C, int32 N, int32 first, int32 n"


def _numbers(geometry: Geometry, image: tuple[int, ...], size: Size, images: slice) -> list[Any]:
    """What `_SIZES` names, and the window's, for an image (C, N, H, W)."""
    C, N, H, W = image
    sizes = C // geometry.groups, N, images.start, images.stop - images.start
    return [*map(np.int32, sizes), *window_numbers(geometry, (H, W), size)]


@functools.cache
def _spread() -> Any:
    """Columns of x (C, N, H, W)."""
    return window_kernel(
        f"raw T x, {_SIZES}",
        "T column",
        """
        int rest = i;
        const int q = rest % Q; rest /= Q;
        const int p = rest % P; rest /= P;
        const int image = rest % n; rest /= n;
        const int c = rest % C; rest /= C;
        const int s = rest % S; rest /= S;
        const int r = rest % R; rest /= R;
        const int h = p * stride_h + r * dilation_h - pad_h, w = q * stride_w + s * dilation_w - pad_w;
        const bool inside = h >= 0 && h < H && w >= 0 && w < W;
        column = inside ? x[((ptrdiff_t)(rest * C + c) * N + first + image) * H * W + h * W + w] : T(0);
        """,
        "minires_spread",
    )


@functools.cache
def _gather() -> Any:
    """(4), for each pixel of gx (C, N, H, W)."""
    return window_kernel(
        f"raw U columns, {_SIZES}",
        "raw T gx",
        """
        int rest = i;
        const int w = rest % W; rest /= W;
        const int h = rest % H; rest /= H;
        const int image = rest % n; rest /= n;
        const int c = rest % C, g = rest / C;
        Wide sum = 0;
        """
        + each_window("sum += columns[((ptrdiff_t)(((g * R + r) * S + s) * C + c) * n + image) * P * Q + p * Q + q];")
        + """
        gx[((ptrdiff_t)(g * C + c) * N + first + image) * H * W + h * W + w] = sum;
        """,
        "minires_gather",
    )


@functools.cache
def _finish(given: tuple[str, ...], relu: bool) -> Any:
    """y = relu(scale · z + bias + shortcut), of which some are given."""
    terms = ("z * scale" if "scale" in given else "z", *(name for name in given if name != "scale"))
    code = f"Wide sum = {' + '.join(terms)}; y = " + ("sum < 0 ? Wide(0) : sum;" if relu else "sum;")
    inputs = ", ".join(["U z", *(f"T {name}" for name in given)])
    return element_kernel(inputs, "T y", code, f"minires_finish_{'_'.join(given)}{'_relu' * relu}")
