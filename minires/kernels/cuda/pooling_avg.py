"""Average pooling on a GPU, one launch each way: a thread for each output, and for each pixel of the gradient.

The formulas are those of kernels/reference/pooling.py, with sums in float64. Gradients are gathered, as max pooling's
are.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from minires.device import Array, Size, xp_of
from minires.geometry import Geometry
from minires.kernels.checks import check_adaptive, check_adaptive_grad, check_average, check_average_grad
from minires.kernels.cuda.layout import cnhw, nchw_view
from minires.kernels.cuda.raw import element_kernel
from minires.kernels.cuda.window import each_tap, each_window, window_kernel, window_numbers


def avg_pool2d(x: Array, geometry: Geometry) -> Array:
    """The mean of each window, padding counted as zeros: `minires.kernels.reference.avg_pool2d`.

    Parameters
    ----------
    x : (N, C, H, W) float array
    geometry : kernel, stride and padding

    Returns
    -------
    y : (N, C, P, Q), dtype of x

    Raises
    ------
    ShapeError, DtypeError : as the reference does.

    Identity that tests it: equal to the reference, within rounding.
    """
    N, C, P, Q = check_average(x, geometry)
    y: Array = xp_of(x).empty((C, N, P, Q), x.dtype)
    if y.size:
        _means()(cnhw(x), *window_numbers(geometry, (x.shape[2], x.shape[3]), (P, Q)), y)
    return nchw_view(y)


def avg_pool2d_grad(gy: Array, geometry: Geometry, size: Size) -> Array:
    """Gradient by the input of `avg_pool2d`: `minires.kernels.reference.avg_pool2d_grad`.

    Parameters
    ----------
    gy : (N, C, P, Q) array
    geometry : as in the forward pass
    size : (H, W) of the input

    Returns
    -------
    gx : (N, C, H, W), dtype of gy

    Raises
    ------
    ShapeError, DtypeError : as the reference does.

    Identity that tests it: equal to the reference, within rounding.
    """
    check_average_grad(gy, geometry, size)
    N, C, P, Q = gy.shape
    gx: Array = xp_of(gy).empty((C, N, *size), gy.dtype)
    if gx.size:
        _shares()(cnhw(gy), *window_numbers(geometry, size, (P, Q)), gx)
    return nchw_view(gx)


def adaptive_avg_pool2d(x: Array, grid: Size) -> Array:
    """Means over a grid of windows that cover the image: `minires.kernels.reference.adaptive_avg_pool2d`.

    Parameters
    ----------
    x : (N, C, H, W) float array
    grid : (P, Q), each at least 1

    Returns
    -------
    y : (N, C, P, Q), dtype of x

    Raises
    ------
    ShapeError, DtypeError : as the reference does.

    Identity that tests it: equal to the reference, within rounding.
    """
    check_adaptive(x, grid)
    N, C, H, W = x.shape
    y: Array = xp_of(x).empty((C, N, *grid), x.dtype)
    if y.size:
        _adaptive_means()(cnhw(x), *map(np.int32, (H, W, *grid)), y)
    return nchw_view(y)


def adaptive_avg_pool2d_grad(gy: Array, size: Size) -> Array:
    """Gradient by the input of `adaptive_avg_pool2d`: `minires.kernels.reference.adaptive_avg_pool2d_grad`.

    Parameters
    ----------
    gy : (N, C, P, Q) array
    size : (H, W) of the input

    Returns
    -------
    gx : (N, C, H, W), dtype of gy

    Raises
    ------
    ShapeError, DtypeError : as the reference does.

    Identity that tests it: equal to the reference, within rounding.
    """
    check_adaptive_grad(gy, size)
    N, C, P, Q = gy.shape
    gx: Array = xp_of(gy).empty((C, N, *size), gy.dtype)
    if gx.size:
        _adaptive_shares()(cnhw(gy), *map(np.int32, (*size, P, Q)), gx)
    return nchw_view(gx)


@functools.cache
def _means() -> Any:
    """The mean of each window."""
    return window_kernel(
        "raw T x",
        "T y",
        """
        const int q = i % Q, p = i / Q % P;
        const ptrdiff_t image = (ptrdiff_t)(i / Q / P) * H * W;
        double sum = 0;
        """
        + each_tap("sum += x[image + h * W + w];")
        + "y = sum / (R * S);",
        "minires_avg_pool",
    )


@functools.cache
def _shares() -> Any:
    """The sum of what the windows hand to each pixel."""
    return window_kernel(
        "raw T gy",
        "T gx",
        """
        const int w = i % W, h = i / W % H;
        const ptrdiff_t image = (ptrdiff_t)(i / W / H) * P * Q;
        double sum = 0;
        """
        + each_window("sum += gy[image + p * Q + q];")
        + "gx = sum / (R * S);",
        "minires_avg_pool_grad",
    )


@functools.cache
def _adaptive_means() -> Any:
    """The mean of each window: rows ⌊p·H / P⌋ to ⌈(p + 1)·H / P⌉, and columns by the same rule."""
    return _adaptive(
        "raw T x",
        "T y",
        """
        const int q = i % Q, p = i / Q % P;
        const ptrdiff_t image = (ptrdiff_t)(i / Q / P) * H * W;
        const int top = first(p, H, P), bottom = last(p, H, P), left = first(q, W, Q), right = last(q, W, Q);
        double sum = 0;
        for (int h = top; h < bottom; h++)
            for (int w = left; w < right; w++) sum += x[image + h * W + w];
        y = sum / ((bottom - top) * (right - left));
        """,
        "minires_adaptive_avg_pool",
    )


@functools.cache
def _adaptive_shares() -> Any:
    """The sum of what the windows hand to each pixel. Those that hold a row follow the rule of a window's rows."""
    return _adaptive(
        "raw T gy",
        "T gx",
        """
        const int w = i % W, h = i / W % H;
        const ptrdiff_t image = (ptrdiff_t)(i / W / H) * P * Q;
        double sum = 0;
        for (int p = first(h, P, H); p < last(h, P, H); p++)
            for (int q = first(w, Q, W); q < last(w, Q, W); q++) {
                const int rows = last(p, H, P) - first(p, H, P), cols = last(q, W, Q) - first(q, W, Q);
                sum += gy[image + p * Q + q] / (rows * cols);
            }
        gx = sum;
        """,
        "minires_adaptive_avg_pool_grad",
    )


def _adaptive(source: str, target: str, code: str, name: str) -> Any:
    preamble = """
    __device__ int first(long long place, int n, int count) { return place * n / count; }
    __device__ int last(long long place, int n, int count) { return ((place + 1) * n + count - 1) / count; }
    """
    inputs = f"{source}, int32 H, int32 W, int32 P, int32 Q"
    return element_kernel(inputs, target, code, name, preamble)
