"""Pooling on a GPU, one launch each way: a thread for each output, and for each pixel of the gradient.

The formulas are those of kernels/reference/pooling.py, with sums in float64. Gradients are gathered: each pixel is the
sum over the few windows that contain it, so no two threads add to the same element.

Maxima and winners are equal to the reference's in every bit, means and gradients within rounding. Images lie in memory
as (C, N, H, W).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minires.device import Array, Size, xp_of
from minires.geometry import Geometry
from minires.kernels.checks import (
    check_adaptive,
    check_adaptive_grad,
    check_average,
    check_average_grad,
    check_winners,
    winners_dtype,
)
from minires.kernels.cuda.layout import cnhw, nchw_view
from minires.kernels.cuda.raw import element_kernel
from minires.kernels.cuda.window import each_tap, each_window, window_arguments, window_kernel


def max_pool2d(x: Array, geometry: Geometry) -> Array:
    """Return the largest value of each window, as `reference.pooling.max_pool2d`."""
    return max_pool2d_winners(x, geometry)[0]


def max_pool2d_winners(x: Array, geometry: Geometry) -> tuple[Array, Array]:
    """Return the largest values and their taps, as `reference.pooling.max_pool2d_winners`."""
    N, C, P, Q = geometry.check_pool(x.shape)
    xp = xp_of(x)
    y, winners = (xp.empty((C, N, P, Q), dtype) for dtype in (x.dtype, winners_dtype(geometry)))
    if y.size:
        _winners()(cnhw(x), *window_arguments(geometry, _size(x), (P, Q)), y, winners)
    return nchw_view(y), nchw_view(winners)


def max_pool2d_grad(gy: Array, winners: Array, geometry: Geometry, size: Size) -> Array:
    """Return the gradient with respect to the input, as `reference.pooling.max_pool2d_grad`."""
    check_winners(gy, winners, geometry, size)
    return _computed(_gather, size, window_arguments(geometry, size, _size(gy)), gy, winners)


def avg_pool2d(x: Array, geometry: Geometry) -> Array:
    """Return the mean of each window, as `reference.pooling.avg_pool2d`."""
    _, _, P, Q = check_average(x, geometry)
    return _computed(_means, (P, Q), window_arguments(geometry, _size(x), (P, Q)), x)


def avg_pool2d_grad(gy: Array, geometry: Geometry, size: Size) -> Array:
    """Return the gradient with respect to the input, as `reference.pooling.avg_pool2d_grad`."""
    check_average_grad(gy, geometry, size)
    return _computed(_shares, size, window_arguments(geometry, size, _size(gy)), gy)


def adaptive_avg_pool2d(x: Array, grid: Size) -> Array:
    """Return the means over a grid of windows, as `reference.pooling.adaptive_avg_pool2d`."""
    check_adaptive(x, grid)
    return _computed(_adaptive_means, grid, [*map(np.int32, (*_size(x), *grid))], x)


def adaptive_avg_pool2d_grad(gy: Array, size: Size) -> Array:
    """Return the gradient with respect to the input, as `reference.pooling.adaptive_avg_pool2d_grad`."""
    check_adaptive_grad(gy, size)
    return _computed(_adaptive_shares, size, [*map(np.int32, (*size, *_size(gy)))], gy)


def _computed(kernel: Callable[[], Any], size: Size, scalars: Sequence[Any], *arrays: Array) -> Array:
    """Return what a kernel computes from arrays (N, C, …): an array (N, C, *size) in the dtype of the first."""
    N, C = arrays[0].shape[:2]
    result: Array = xp_of(arrays[0]).empty((C, N, *size), arrays[0].dtype)
    if result.size:
        kernel()(*map(cnhw, arrays), *scalars, result)
    return nchw_view(result)


def _size(x: Array) -> Size:
    """Return (H, W) of images (N, C, H, W)."""
    return x.shape[2], x.shape[3]


# --- Kernels -------------------------------------------------------------------------------------------------

# Element i of an output (C, N, P, Q), and the first element of its image (H, W).
_OUTPUT = """
    const int q = i % Q, p = i / Q % P;
    const ptrdiff_t image = (ptrdiff_t)(i / Q / P) * H * W;
"""
# Element i of an image (C, N, H, W), and the first element of its output (P, Q).
_PIXEL = """
    const int w = i % W, h = i / W % H;
    const ptrdiff_t output = (ptrdiff_t)(i / W / H) * P * Q;
"""


@functools.cache
def _winners() -> Any:
    """Return a kernel for the maximum of each window and its tap."""
    code = """
        const T value = x[image + h * W + w];
        if (!seen || value > y || value != value) {
            y = value;
            winner = r * S + s;
        }
        seen = true;
    """
    code = _OUTPUT + "bool seen = false;" + each_tap(code)
    return window_kernel("raw T x", "T y, U winner", code, "minires_max_pool")


@functools.cache
def _gather() -> Any:
    """Return a kernel for the sum of the gradients of the windows that each pixel won."""
    term = "if (winners[output + p * Q + q] == r * S + s) sum += gy[output + p * Q + q];"
    code = _PIXEL + "double sum = 0;" + each_window(term) + "gx = sum;"
    return window_kernel("raw T gy, raw U winners", "T gx", code, "minires_max_pool_grad")


@functools.cache
def _means() -> Any:
    """Return a kernel for the mean of each window."""
    code = _OUTPUT + "double sum = 0;" + each_tap("sum += x[image + h * W + w];") + "y = sum / (R * S);"
    return window_kernel("raw T x", "T y", code, "minires_avg_pool")


@functools.cache
def _shares() -> Any:
    """Return a kernel for the sum of the gradients of the windows that contain each pixel, divided by their size."""
    code = _PIXEL + "double sum = 0;" + each_window("sum += gy[output + p * Q + q];") + "gx = sum / (R * S);"
    return window_kernel("raw T gy", "T gx", code, "minires_avg_pool_grad")


@functools.cache
def _adaptive_means() -> Any:
    """Return a kernel for the mean of each window: rows ⌊p·H / P⌋ to ⌈(p + 1)·H / P⌉, and columns by the same rule."""
    code = """
        const int top = first(p, H, P), bottom = last(p, H, P), left = first(q, W, Q), right = last(q, W, Q);
        double sum = 0;
        for (int h = top; h < bottom; h++)
            for (int w = left; w < right; w++) sum += x[image + h * W + w];
        y = sum / ((bottom - top) * (right - left));
    """
    return _adaptive("raw T x", "T y", _OUTPUT + code, "minires_adaptive_avg_pool")


@functools.cache
def _adaptive_shares() -> Any:
    """Return a kernel for the gradient. The windows that contain a row follow the rule for the rows of a window."""
    code = """
        double sum = 0;
        for (int p = first(h, P, H); p < last(h, P, H); p++)
            for (int q = first(w, Q, W); q < last(w, Q, W); q++) {
                const int rows = last(p, H, P) - first(p, H, P), cols = last(q, W, Q) - first(q, W, Q);
                sum += gy[output + p * Q + q] / (rows * cols);
            }
        gx = sum;
    """
    return _adaptive("raw T gy", "T gx", _PIXEL + code, "minires_adaptive_avg_pool_grad")


def _adaptive(source: str, target: str, code: str, name: str) -> Any:
    preamble = """
    __device__ int first(long long index, int n, int count) { return index * n / count; }
    __device__ int last(long long index, int n, int count) { return ((index + 1) * n + count - 1) / count; }
    """
    inputs = f"{source}, int32 H, int32 W, int32 P, int32 Q"
    return element_kernel(inputs, target, code, name, preamble)
