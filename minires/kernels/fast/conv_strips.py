"""Convolutions with dense windows, and their gradients: a copy that serves all rows of the filter, and matrix products.

The inputs of each column of outputs are copied once, from top to bottom:

    strip[q, n, h, (s, c)] = x[h, n, q · stride + s, c]

The window of output (p, q), R rows of S pixels of C elements, is a contiguous part of its strip. The window of the next
output below begins a stride further on. So the windows of one p are the rows of a matrix that BLAS reads in place:

    y[p]  = windows(p) · w                                                        (1)
    gw    = Σ_p windows(p)ᵀ · gy[p]                                               (2)

The gradient with respect to the input consists of such convolutions too. Only the taps with r ≡ a + padding (mod s)
reach the pixels (i·s + a, j·t + b) of x, a *phase* of the stride (s, t), and the outputs that they join with them lie
side by side. So

    gx[phase] = the convolution of gy, with stride 1, with these taps in reverse  (3)

Each result is a plain sum of products, as in the reference.

Images here are arrays (H, W, N, C) of any strides, filters are C-order (R, S, C, K).
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from minires.device import Array, Size
from minires.geometry import Geometry
from minires.kernels.fast.finish import Finish
from minires.kernels.fast.layout import blocks, pieces
from minires.kernels.fast.sums import SMALL_PRODUCT
from minires.kernels.fast.tap_slices import phase_of
from minires.memory import new_array
from minires.scratch import scratch
from minires.threads import parallel

SUITS = "a dense window"  # how a plan prints it
_BLOCK = 1 << 19  # elements in the strips of a block of outputs
_JOBS = 8  # the fewest blocks, so that threads end together, if a block is worth waking a thread:
_WORTH = 1 << 17  # elements in the strips of such a block
_ROWS = 256  # rows of a large product
_FEW_ROWS = 64  # the fewest rows of a small product
_LARGE = 1 << 18  # elements in a filter from which its partial sums take longer than a gather saves
_FEW = 8  # channels up to which the pixels of a row of the filter are first copied side by side
_LANES = 16  # partial sums of a filter's gradient
_COPY_BLOCK = 1 << 18  # elements that one job copies


def suits(x: tuple[int, ...], w: tuple[int, ...], geometry: Geometry, dtype: np.dtype[Any]) -> bool:
    """Return whether this file computes convolutions of logical shapes x (N, C, H, W) and w (K, C / groups, R, S)."""
    dense = geometry.groups == 1 and geometry.dilation == (1, 1) and w[2] * w[3] > 1
    return dense and math.prod(w) < _LARGE


def conv2d(x: Array, w: Array, geometry: Geometry, y: Array, finish: Finish) -> None:
    """Set y (P, Q, N, K) to the convolution of x (H, W, N, C) with w (R, S, C, K), then finish it."""
    strips = _output_windows(x, geometry)
    filters = w.reshape(-1, w.shape[3])

    def run(block: tuple[slice, slice]) -> None:
        strips.multiply(block, filters, y)  # (1)
        finish.rectangle(*block)

    parallel(run, strips.blocks(y))


def conv2d_grads(
    gy: Array, x_size: Size, w: Array | None, x: Array | None, geometry: Geometry
) -> tuple[Array | None, Array | None]:
    """Return (gx, gw) as (H, W, N, C) and (R, S, C, K), from gy (P, Q, N, K): gx if w is given, gw if x is."""
    gx = None if w is None else _input_grad(gy, x_size, w, geometry)
    return gx, None if x is None else _weight_grad(gy, x, geometry)


def _input_grad(gy: Array, x_size: Size, w: Array, geometry: Geometry) -> Array:
    """Return gx (H, W, N, C) by (3)."""
    gx = new_array((*x_size, gy.shape[2], w.shape[2]), gy.dtype)
    least, jobs = -(-_JOBS // math.prod(geometry.stride)), []
    for a, b in itertools.product(*map(range, geometry.stride)):
        pixels = phase_of(gx, (a, b), geometry.stride)
        rows, top = _taps_of_phase(a, geometry.kernel[0], geometry.stride[0], geometry.padding[0])
        cols, left = _taps_of_phase(b, geometry.kernel[1], geometry.stride[1], geometry.padding[1])
        if not (rows and cols and pixels.size):
            pixels[...] = 0
            continue
        strips = _Strips(gy, (len(rows), len(cols)), (1, 1), (top, left))
        filters = w[np.ix_(rows, cols)].transpose(0, 1, 3, 2).reshape(strips.inner, w.shape[2])
        jobs += [(strips, block, filters, pixels) for block in strips.blocks(pixels, least)]
    parallel(lambda job: job[0].multiply(*job[1:]), jobs)  # (3)
    return gx


def _taps_of_phase(phase: int, taps: int, stride: int, padding: int) -> tuple[list[int], int]:
    """Return the taps that reach a phase along one axis, in reverse, and the first output.

    That is the output which the last of these taps joins with pixel 0 of the phase; it may be negative.
    """
    met = [r for r in reversed(range(taps)) if (phase + padding - r) % stride == 0]
    return met, (phase + padding - met[0]) // stride if met else 0


def _weight_grad(gy: Array, x: Array, geometry: Geometry) -> Array:
    """Return gw (R, S, C, K) by (2)."""
    strips = _output_windows(x, geometry)
    parts, K = strips.blocks(gy), gy.shape[3]
    lanes = pieces(len(parts), _LANES)
    sums = scratch("strips sums", (len(lanes), strips.inner, K), gy.dtype)

    def run(lane: int) -> None:
        for index, block in enumerate(parts[lanes[lane]]):
            windows = strips.windows(*block, K)
            gradients = gy[block].reshape(*windows.shape[:3], K)
            products = scratch("strips products", (*windows.shape[:2], *sums.shape[1:]), gy.dtype)
            np.matmul(windows.transpose(0, 1, 3, 2), gradients, out=products)  # (2)
            if index == 0:
                np.add.reduce(products, axis=(0, 1), out=sums[lane])
            else:
                sums[lane] += np.add.reduce(products, axis=(0, 1))

    parallel(run, range(len(lanes)))
    return np.asarray(np.add.reduce(sums, axis=0).reshape(*geometry.kernel, x.shape[3], K))


class _Strips:
    """The windows over an image: the first begins at row and column ``first``, the others a stride further each."""

    def __init__(self, image: Array, window: Size, stride: Size, first: Size) -> None:
        self.image, self.window, self.stride, self.first = image, window, stride, first
        self.inner = window[0] * window[1] * image.shape[3]
        # The columns of windows that lie inside the image, and the pixels of their rows: (H, columns, S, N, C).
        (H, W, N, C), S = image.shape, window[1]
        self.whole = slice(max(0, -(first[1] // stride[1])), max(0, (W - S - first[1]) // stride[1] + 1))
        row, col, n, c = image.strides
        count, left = max(0, self.whole.stop - self.whole.start), first[1] + self.whole.start * stride[1]
        self.seen = np.lib.stride_tricks.as_strided(
            image[:, left:] if count else image, (H, count, S, N, C), (row, stride[1] * col, col, n, c), writeable=False
        )

    def blocks(self, target: Array, least: int = _JOBS) -> list[tuple[slice, slice]]:
        """Cut the windows of a target (P, Q, N, K) into at least about ``least`` blocks (rows, columns)."""
        P, Q, N, K = target.shape
        at_once = min(Q, self._at_once(N, K))
        elements = at_once * N * P * self.stride[0] * self.window[1] * self.image.shape[3]
        least = min(least, max(1, elements * Q // (at_once * _WORTH)))
        width = at_once * max(1, min(_BLOCK // elements, Q // at_once // least))
        across = [slice(start, min(start + width, Q)) for start in range(0, Q, width)]
        down = pieces(P, max(-(-elements // _BLOCK), -(-least // len(across))))
        return list(itertools.product(down, across))

    def _at_once(self, N: int, K: int) -> int:
        """Return how many columns of windows one product takes."""
        small = SMALL_PRODUCT // (self.inner * K)
        return small // N if small >= max(N, _FEW_ROWS) else -(-_ROWS // N)

    def multiply(self, block: tuple[slice, slice], filters: Array, target: Array) -> None:
        """Set a block of ``target`` to windows · filters."""
        part, K = target[block], filters.shape[1]
        windows = self.windows(*block, K)
        shape = (*windows.shape[:3], K)
        if part.strides[1] == part.shape[2] * part.strides[2]:
            np.matmul(windows, filters, out=part.reshape(shape))
        else:
            product = np.matmul(windows, filters, out=scratch("strips pixels", shape, target.dtype))
            np.copyto(part, product.reshape(part.shape))

    def windows(self, rows: slice, cols: slice, K: int) -> Array:
        """Return the windows of some rows and columns, in scratch memory: (rows, columns / g, g·N, R·S·C).

        One product with K columns takes g columns of windows.
        """
        H, _, N, C = self.image.shape
        (R, S), (step, _) = self.window, self.stride
        top = rows.start * step + self.first[0]
        height = (rows.stop - rows.start - 1) * step + R
        inside = slice(min(max(0, -top), height), max(0, min(height, H - top)))
        width = cols.stop - cols.start
        strips = scratch("strips", (width, N, height, S, C), self.image.dtype)
        strips[:, :, : inside.start] = 0
        strips[:, :, inside.stop :] = 0
        if inside.start < inside.stop:
            self._fill(slice(top + inside.start, top + inside.stop), cols, strips[:, :, inside])
        at_once, itemsize, run = self._at_once(N, K), strips.itemsize, S * C
        at_once = at_once if width % at_once == 0 else width
        shape, row = (rows.stop - rows.start, width // at_once, at_once * N, R * run), height * run * itemsize
        # The windows overlap. `as_strided` does the same, in ten times as long.
        return np.ndarray(shape, strips.dtype, strips, 0, (step * run * itemsize, at_once * N * row, row, itemsize))

    def _fill(self, rows: slice, cols: slice, strips: Array) -> None:
        """Set strips (q, n, h, s, c) to image (h, w, n, c) at column first + q · stride + s: 0 outside the image."""
        S, W = self.window[1], self.image.shape[1]
        whole = slice(
            min(max(cols.start, self.whole.start), cols.stop), max(cols.start, min(cols.stop, self.whole.stop))
        )
        for q in (*range(cols.start, whole.start), *range(max(whole.start, whole.stop), cols.stop)):
            strip, left = strips[q - cols.start], self.first[1] + q * self.stride[1]
            start, stop = min(max(0, -left), S), max(0, min(S, W - left))
            strip[:, :, :start] = strip[:, :, stop:] = 0
            if start < stop:
                strip[:, :, start:stop] = self.image[rows, left + start : left + stop].transpose(2, 0, 1, 3)
        if whole.start < whole.stop:
            seen = self.seen[rows, whole.start - self.whole.start : whole.stop - self.whole.start]
            np.copyto(strips[whole.start - cols.start : whole.stop - cols.start], seen.transpose(1, 3, 0, 2, 4))


def _output_windows(x: Array, geometry: Geometry) -> _Strips:
    """Return the windows of the outputs of a convolution over x (H, W, N, C)."""
    return _Strips(_by_row(x), geometry.kernel, geometry.stride, (-geometry.padding[0], -geometry.padding[1]))


def _by_row(x: Array) -> Array:
    """Return x (H, W, N, C), copied if there are few channels: the pixels of a row of a filter are then contiguous."""
    H, W, N, C = x.shape
    if C > _FEW:
        return x
    copied = scratch("strips rows", (H, N, W, C), x.dtype)

    def copy(rows: slice) -> None:
        for c in range(C):
            np.copyto(copied[rows, ..., c], x[rows, ..., c].transpose(0, 2, 1))

    parallel(copy, blocks(H, max(1, _COPY_BLOCK // copied[0].size)))
    return copied.transpose(0, 2, 1, 3)
