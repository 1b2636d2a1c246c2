"""Max pooling on a GPU, one launch each way: a thread for each output, and for each pixel of the gradient.

The formulas are those of kernels/reference/pooling.py. The gradient is gathered: a pixel looks at the few windows
that see it and at who won them, so nothing is added by two threads.
"""

from __future__ import annotations

import functools
from typing import Any

from minires.device import Array, Size, xp_of
from minires.geometry import Geometry
from minires.kernels.checks import check_winners, winners_dtype
from minires.kernels.cuda.layout import cnhw, nchw_view
from minires.kernels.cuda.window import each_tap, each_window, window_kernel, window_numbers


def max_pool2d(x: Array, geometry: Geometry) -> Array:
    """The largest value of each window: `minires.kernels.reference.max_pool2d`.

    Parameters
    ----------
    x : (N, C, H, W) float array
    geometry : kernel, stride and padding

    Returns
    -------
    y : (N, C, P, Q), dtype of x; NaN where a window holds one

    Raises
    ------
    ShapeError : if the window does not fit, or its padding is not smaller than itself.

    Identity that tests it: equal to the reference, exactly.
    """
    return max_pool2d_winners(x, geometry)[0]


def max_pool2d_winners(x: Array, geometry: Geometry) -> tuple[Array, Array]:
    """The largest values and who won: `minires.kernels.reference.max_pool2d_winners`.

    Parameters
    ----------
    x : (N, C, H, W) float array
    geometry : kernel (R, S), stride and padding

    Returns
    -------
    y : (N, C, P, Q), dtype of x
    winners : (N, C, P, Q) unsigned integers, r · S + s: the first maximum in row-major order, of NaNs the last

    Raises
    ------
    ShapeError : if the window does not fit, or its padding is not smaller than itself.

    Identity that tests it: equal to the reference, exactly.
    """
    N, C, P, Q = geometry.check_pool(x.shape)
    xp = xp_of(x)
    y, winners = (xp.empty((C, N, P, Q), dtype) for dtype in (x.dtype, winners_dtype(geometry)))
    if y.size:
        _winners()(cnhw(x), *window_numbers(geometry, (x.shape[2], x.shape[3]), (P, Q)), y, winners)
    return nchw_view(y), nchw_view(winners)


def max_pool2d_grad(gy: Array, winners: Array, geometry: Geometry, size: Size) -> Array:
    """Gradient by the input of `max_pool2d`: `minires.kernels.reference.max_pool2d_grad`.

    Parameters
    ----------
    gy : (N, C, P, Q)
    winners : (N, C, P, Q), as `max_pool2d_winners` returned them
    geometry : as in the forward pass
    size : (H, W) of the input

    Returns
    -------
    gx : (N, C, H, W), dtype of gy

    Raises
    ------
    ShapeError : if the shapes do not agree.

    Identity that tests it: equal to the reference, exactly where sums are exact; Σ gx = Σ gy.
    """
    check_winners(gy, winners, geometry, size)
    N, C, P, Q = gy.shape
    gx: Array = xp_of(gy).empty((C, N, *size), gy.dtype)
    if gx.size:
        _gather()(cnhw(gy), cnhw(winners), *window_numbers(geometry, size, (P, Q)), gx)
    return nchw_view(gx)


@functools.cache
def _winners() -> Any:
    """The maximum of each window, and the tap that shows it."""
    return window_kernel(
        "raw T x",
        "T y, U winner",
        """
        const int q = i % Q, p = i / Q % P;
        const T *image = &x[(ptrdiff_t)(i / Q / P) * H * W];
        bool seen = false;
        """
        + each_tap(
            """
            const T value = image[h * W + w];
            if (!seen || value > y || value != value) {
                y = value;
                winner = r * S + s;
            }
            seen = true;
            """
        ),
        "minires_max_pool",
    )


@functools.cache
def _gather() -> Any:
    """The sum of what the windows hand to each pixel that won them."""
    return window_kernel(
        "raw T gy, raw U winners",
        "T gx",
        """
        const int w = i % W, h = i / W % H;
        const ptrdiff_t image = (ptrdiff_t)(i / W / H) * P * Q;
        double sum = 0;
        """
        + each_window("if (winners[image + p * Q + q] == r * S + s) sum += gy[image + p * Q + q];")
        + "gx = sum;",
        "minires_max_pool_grad",
    )
