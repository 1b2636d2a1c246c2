"""1×1 convolutions and their gradients: matrix products over the channels of each pixel.

With all pixels of all images as the rows of matrices, M = H·W·N,

    y  = x · w                                                                    (1)
    gx = gy · wᵀ                                                                  (2)
    gw = xᵀ · gy                                                                  (3)

Rows are cut into blocks, so that a block of gy serves (2) and (3) while the cache holds it. If there are few rows with
many channels, the result is cut by columns. With a stride, the pixels that the filter reaches are first copied
together.

Images here are C-order arrays (H, W, N, C), the filter is (1, 1, C, K).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minires.device import Array, Size
from minires.geometry import Geometry
from minires.kernels.fast.finish import Finish
from minires.kernels.fast.layout import blocks, contiguous, pieces
from minires.kernels.fast.sums import add_product
from minires.kernels.fast.tap_slices import phase_of
from minires.memory import new_array
from minires.scratch import scratch
from minires.threads import Steps, parallel, parallel_steps

SUITS = "1×1 without padding"  # how a plan prints it
_ROWS = 1792  # pixels in a block
_FEW_ROWS = 512  # pixels from which cutting into blocks of rows is worth it
_WORTH = 1 << 23  # multiplications from which waking a thread is worth it
_LANES = 16  # partial sums of a filter's gradient
_MANY_SUMS = 1 << 17  # elements of partial sums from which two threads add them up
_COPY_BLOCK = 1 << 18  # elements that one job copies
_LARGE = 1 << 18  # elements of a filter from which its gradient is not summed in parts


def suits(x: tuple[int, ...], w: tuple[int, ...], geometry: Geometry, dtype: np.dtype[Any]) -> bool:
    """Return whether this file computes convolutions of logical shapes x (N, C, H, W) and w (K, C / groups, R, S)."""
    return geometry.kernel == (1, 1) and geometry.padding == (0, 0) and geometry.groups == 1


def conv2d(x: Array, w: Array, geometry: Geometry, y: Array, finish: Finish) -> None:
    """Set y (P, Q, N, K) to the convolution of x (H, W, N, C) with w (1, 1, C, K), then finish it."""
    x = contiguous(phase_of(x, (0, 0), geometry.stride))
    _product(_by_pixel(x), w[0, 0], _by_pixel(y), x.shape[2], finish)  # (1)


def conv2d_grads(
    gy: Array, x_size: Size, w: Array | None, x: Array | None, geometry: Geometry
) -> tuple[Array | None, Array | None]:
    """Return (gx, gw) as (H, W, N, C) and (1, 1, C, K), from gy (P, Q, N, K): gx if w is given, gw if x is."""
    gx = gw = None
    if w is not None:
        gx = new_array((*gy.shape[:3], w.shape[2]), gy.dtype)
    if x is not None:
        x = contiguous(phase_of(x, (0, 0), geometry.stride))
        gw = new_array((1, 1, x.shape[3], gy.shape[3]), gy.dtype)
    if w is not None and gx is not None and (gw is None or gw.size > _LARGE):
        _product(_by_pixel(gy), w[0, 0].T, _by_pixel(gx), gy.shape[2])  # (2)
    if x is not None and gw is not None:
        if gw.size > _LARGE:
            _transposed_product(_by_pixel(x), _by_pixel(gy), gw[0, 0])  # (3)
        else:
            _both(gy, w, x, gx, gw)
    if gx is not None and geometry.stride != (1, 1):
        gx = _spread(gx, x_size, geometry.stride)
    return gx, gw


def _spread(pixels: Array, size: Size, stride: Size) -> Array:
    """Return an image of ``size`` with ``pixels`` at each stride and 0 elsewhere."""
    image = new_array((*size, *pixels.shape[2:]), pixels.dtype)

    def fill(rows: slice) -> None:
        image[rows] = 0
        first = -(-rows.start // stride[0])
        last = -(-rows.stop // stride[0])
        image[first * stride[0] : rows.stop : stride[0], :: stride[1]] = pixels[first:last]

    parallel(fill, blocks(size[0], max(1, _COPY_BLOCK // max(1, image[0].size))))
    return image


def _both(gy: Array, w: Array | None, x: Array, gx: Array | None, gw: Array) -> None:
    """Compute (3), and (2) if gx is given, block by block."""
    x_rows, gy_rows, C, K = _by_pixel(x), _by_pixel(gy), *gw.shape[2:]
    parts = blocks(len(x_rows), _ROWS) if len(x_rows) > _ROWS else pieces(len(x_rows), _one_or_two(len(x_rows) * C * K))
    lanes = pieces(len(parts), _LANES)
    sums = scratch("pointwise sums", (len(lanes), C, K), gy.dtype)

    def run(lane: int) -> None:
        for index, rows in enumerate(parts[lanes[lane]]):
            if w is not None and gx is not None:
                np.matmul(gy_rows[rows], w[0, 0].T, out=_by_pixel(gx)[rows])  # (2)
            add_product(sums[lane], x_rows[rows].T, gy_rows[rows], index == 0)  # (3)

    def steps() -> Steps[None]:
        yield run, range(len(lanes))
        parts_of_sum = pieces(C, 2 if sums.size > _MANY_SUMS else 1)
        yield lambda part: np.add.reduce(sums[:, part], axis=0, out=gw[0, 0, part]), parts_of_sum

    parallel_steps(steps())


def _product(a: Array, b: Array, out: Array, N: int, finish: Finish | None = None) -> None:
    """Set out = a · b and finish it, in blocks of pixels with N rows each, or of columns if there are few rows."""
    pixels = len(a) // N
    if len(a) < _FEW_ROWS:
        parallel(lambda cols: np.matmul(a, b[:, cols], out=out[:, cols]), _column_pieces(b.shape[1]))
        if finish is not None:
            finish.pixels()
        return

    def run(part: slice) -> None:
        rows = slice(N * part.start, N * part.stop)
        np.matmul(a[rows], b, out=out[rows])
        if finish is not None:
            finish.pixels(part)

    parts = blocks(pixels, max(1, _ROWS // N)) if len(a) > _ROWS else pieces(pixels, _one_or_two(len(a) * b.size))
    parallel(run, parts)


def _transposed_product(a: Array, b: Array, out: Array) -> None:
    """Set out = aᵀ · b, in blocks along the longer side of the result."""
    if out.shape[0] >= out.shape[1]:
        parallel(lambda part: np.matmul(a[:, part].T, b, out=out[part]), _column_pieces(out.shape[0]))
    else:
        parallel(lambda part: np.matmul(a.T, b[:, part], out=out[:, part]), _column_pieces(out.shape[1]))


def _one_or_two(multiplications: int) -> int:
    """Return 2 if so many multiplications are worth waking a thread, otherwise 1."""
    return 2 if multiplications > _WORTH else 1


def _column_pieces(n: int) -> list[slice]:
    return pieces(n, max(1, min(8, n // 128)))


def _by_pixel(x: Array) -> Array:
    """Return (H, W, N, C) as (H·W·N, C)."""
    return x.reshape(x.shape[0] * x.shape[1] * x.shape[2], x.shape[3])
