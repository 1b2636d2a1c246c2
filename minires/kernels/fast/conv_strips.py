"""Convolutions of images with few channels, such as the first of a network: one copy serves all rows of the filter.

Where a pixel has three numbers, collecting the pixels that each tap shows costs more than the arithmetic. Here they
are collected once for each column of outputs, from the top of the image to its end:

    strip[q, n, h, (s, c)] = x[h, n, q · stride + s, c]

What output (p, q) sees, R rows of S pixels of C numbers, is a contiguous piece of its strip. The next output below
sees a piece that begins a stride further on, so the pieces of one p are the rows of a matrix that BLAS reads in place:

    y[p]  = pieces(p) · w                                                         (1)
    gw    = Σ_p pieces(p)ᵀ · gy[p]                                                (2)

Each number is a plain sum of products, as in the reference. The gradient by the input, which images do not ask for, is
conv_general.py's.

Images here are arrays (H, W, N, C) of any strides, filters are C-order (R, S, C, K).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minires.device import Array, Size
from minires.geometry import Geometry
from minires.kernels.fast import conv_general
from minires.kernels.fast.finish import Finish
from minires.kernels.fast.layout import blocks, pieces
from minires.kernels.fast.sums import add_product
from minires.threads import parallel, scratch

SUITS = "few input channels"  # as a plan says
_FEW = 8  # channels
_LANES = 16  # partial sums of a filter's gradient
_COPY_BLOCK = 1 << 18  # numbers that one job copies
_STRIPS = 1 << 22  # numbers in the strips of one round: no more memory than this is taken


def suits(x: tuple[int, ...], w: tuple[int, ...], geometry: Geometry, dtype: np.dtype[Any]) -> bool:
    """Whether a convolution of logical shapes x (N, C, H, W) and w (K, C / groups, R, S) is for this file."""
    return x[1] <= _FEW and geometry.groups == 1 and geometry.dilation == (1, 1) and w[2] * w[3] > 1


def conv2d(x: Array, w: Array, geometry: Geometry, y: Array, finish: Finish) -> None:
    """y (P, Q, N, K) = `kernels.reference.conv2d` of x (H, W, N, C) and w (R, S, C, K), finished."""
    filters, rows = w.reshape(-1, w.shape[3]), _by_row(x, geometry)
    for columns in _rounds(rows, geometry, y.shape[1]):
        seen = _pieces(_strips(rows, geometry, columns), geometry, y.shape[0])

        def run(block: slice, columns: slice = columns, seen: Array = seen) -> None:
            out = y[block, columns]
            np.matmul(seen[block], filters, out=out.reshape(len(out), seen.shape[1], -1))  # (1)
            finish.rectangle(block, columns)

        parallel(run, pieces(y.shape[0], _LANES))


def conv2d_grads(
    gy: Array, x_size: Size, w: Array | None, x: Array | None, geometry: Geometry
) -> tuple[Array | None, Array | None]:
    """(gx, gw) as (H, W, N, C) and (R, S, C, K), from gy (P, Q, N, K): gx if w is given, gw if x is."""
    gx = None if w is None else conv_general.conv2d_grads(gy, x_size, w, None, geometry)[0]
    return gx, None if x is None else _weight_grad(gy, x, geometry)


def _weight_grad(gy: Array, x: Array, geometry: Geometry) -> Array:
    P, Q, _, K = gy.shape
    rows, lanes = _by_row(x, geometry), pieces(P, _LANES)
    inner = geometry.kernel[0] * geometry.kernel[1] * x.shape[3]
    sums = scratch("strips sums", (len(lanes), inner, K), gy.dtype)
    for columns in _rounds(rows, geometry, Q):
        seen = _pieces(_strips(rows, geometry, columns), geometry, P)

        def run(lane: int, columns: slice = columns, seen: Array = seen) -> None:
            for p in range(lanes[lane].start, lanes[lane].stop):
                first = columns.start == 0 and p == lanes[lane].start
                add_product(sums[lane], seen[p].T, gy[p, columns].reshape(-1, K), first)  # (2)

        parallel(run, range(len(lanes)))
    return np.asarray(sums.sum(0).reshape(*geometry.kernel, x.shape[3], K))


def _by_row(x: Array, geometry: Geometry) -> Array:
    """x (H, W, N, C) as (H, N, padded W, C): what a row of a filter sees is contiguous."""
    return _padded("strips rows", x.transpose(0, 2, 1, 3), geometry.padding[1])


def _rounds(rows: Array, geometry: Geometry, Q: int) -> list[slice]:
    """The columns of outputs, in rounds whose strips are not too large."""
    H, N, _, C = rows.shape
    return blocks(Q, max(1, _STRIPS // (N * (H + 2 * geometry.padding[0]) * geometry.kernel[1] * C)))


def _strips(rows: Array, geometry: Geometry, columns: slice) -> Array:
    """strip (q, n, h, s·c), its padding zero."""
    H, N, _, C = rows.shape
    S, step = geometry.kernel[1], geometry.stride[1]
    h, n, w, c = rows.strides
    shape = columns.stop - columns.start, N, H, S * C
    shown = np.lib.stride_tricks.as_strided(rows[:, :, columns.start * step :], shape, (step * w, n, h, c))
    return _padded("strips", shown, geometry.padding[0])


def _padded(key: str, source: Array, pad: int) -> Array:
    """A copy with zeros before and after the third of four axes."""
    A, B, L, X = source.shape
    copied = scratch(key, (A, B, L + 2 * pad, X), source.dtype)

    def copy(block: slice) -> None:
        copied[block, :, :pad] = 0
        copied[block, :, pad + L :] = 0
        np.copyto(copied[block, :, pad : pad + L], source[block])

    parallel(copy, blocks(A, max(1, _COPY_BLOCK // copied[0].size)))
    return copied


def _pieces(strips: Array, geometry: Geometry, P: int) -> Array:
    """What the outputs of each row see: (P, q·n, R·S·C), a view."""
    q, N, height, run = strips.shape
    number = strips.itemsize
    return np.lib.stride_tricks.as_strided(
        strips,
        (P, q * N, geometry.kernel[0] * run),
        (geometry.stride[0] * run * number, height * run * number, number),
        writeable=False,
    )
