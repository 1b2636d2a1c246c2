"""Convolutions whose windows are dense, and their gradients: a copy that serves all rows of the filter, and products.

What the taps of a filter show of an image is copied once for each column of outputs, from top to bottom:

    strip[q, n, h, (s, c)] = x[h, n, q · stride + s, c]

What output (p, q) sees, R rows of S pixels of C numbers, is a contiguous piece of its strip. The next output below
sees a piece that begins a stride further on, so the pieces of one p are the rows of a matrix that BLAS reads in place:

    y[p]  = pieces(p) · w                                                         (1)
    gw    = Σ_p pieces(p)ᵀ · gy[p]                                                (2)

The input's gradient is made of such convolutions too. The pixels (i·s + a, j·t + b) of x, a *phase* of the stride
(s, t), meet only the taps with r ≡ a + padding (mod s), and the outputs that they meet lie side by side. So

    gx[phase] = the convolution of gy, with stride 1, by these taps in reverse    (3)

Each number is a plain sum of products, as in the reference.

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
from minires.kernels.fast.sights import every
from minires.kernels.fast.sums import SMALL_PRODUCT
from minires.memory import new_array
from minires.scratch import scratch
from minires.threads import parallel

SUITS = "a dense window"  # as a plan says
_BLOCK = 1 << 19  # numbers in the strips of a block of outputs
_JOBS = 8  # blocks at least, so that threads end together, where that is worth waking them:
_WORTH = 1 << 17  # numbers in the strips of a block
_ROWS = 256  # rows of a product, if it is large
_FEW_ROWS = 64  # rows of a product at least, if it is small
_LARGE = 1 << 18  # numbers in a filter from which its partial sums take longer than a gather saves
_FEW = 8  # channels; of so few, pixels that a row of the filter sees are first put side by side
_LANES = 16  # partial sums of a filter's gradient
_COPY_BLOCK = 1 << 18  # numbers that one job copies


def suits(x: tuple[int, ...], w: tuple[int, ...], geometry: Geometry, dtype: np.dtype[Any]) -> bool:
    """Whether a convolution of logical shapes x (N, C, H, W) and w (K, C / groups, R, S) is for this file."""
    dense = geometry.groups == 1 and geometry.dilation == (1, 1) and w[2] * w[3] > 1
    return dense and math.prod(w) < _LARGE


def conv2d(x: Array, w: Array, geometry: Geometry, y: Array, finish: Finish) -> None:
    """y (P, Q, N, K) = `kernels.reference.conv2d` of x (H, W, N, C) and w (R, S, C, K), finished."""
    strips = _from_outputs(x, geometry)
    filters = w.reshape(-1, w.shape[3])

    def run(block: tuple[slice, slice]) -> None:
        strips.multiply(block, filters, y)  # (1)
        finish.rectangle(*block)

    parallel(run, strips.blocks(y))


def conv2d_grads(
    gy: Array, x_size: Size, w: Array | None, x: Array | None, geometry: Geometry
) -> tuple[Array | None, Array | None]:
    """(gx, gw) as (H, W, N, C) and (R, S, C, K), from gy (P, Q, N, K): gx if w is given, gw if x is."""
    gx = None if w is None else _input_grad(gy, x_size, w, geometry)
    return gx, None if x is None else _weight_grad(gy, x, geometry)


def _input_grad(gy: Array, x_size: Size, w: Array, geometry: Geometry) -> Array:
    gx = new_array((*x_size, gy.shape[2], w.shape[2]), gy.dtype)
    least, jobs = -(-_JOBS // math.prod(geometry.stride)), []
    for a, b in itertools.product(*map(range, geometry.stride)):
        pixels = every(gx, (a, b), geometry.stride)
        rows, top = _met(a, geometry.kernel[0], geometry.stride[0], geometry.padding[0])
        cols, left = _met(b, geometry.kernel[1], geometry.stride[1], geometry.padding[1])
        if not (rows and cols and pixels.size):
            pixels[...] = 0
            continue
        strips = _Strips(gy, (len(rows), len(cols)), (1, 1), (top, left))
        filters = w[np.ix_(rows, cols)].transpose(0, 1, 3, 2).reshape(strips.inner, w.shape[2])
        jobs += [(strips, block, filters, pixels) for block in strips.blocks(pixels, least)]
    parallel(lambda job: job[0].multiply(*job[1:]), jobs)  # (3)
    return gx


def _met(phase: int, taps: int, stride: int, padding: int) -> tuple[list[int], int]:
    """Along one axis: the taps that a phase meets, in reverse, and the output that its pixel 0 meets by the last."""
    met = [r for r in reversed(range(taps)) if (phase + padding - r) % stride == 0]
    return met, (phase + padding - met[0]) // stride if met else 0


def _weight_grad(gy: Array, x: Array, geometry: Geometry) -> Array:
    strips = _from_outputs(x, geometry)
    parts, K = strips.blocks(gy), gy.shape[3]
    lanes = pieces(len(parts), _LANES)
    sums = scratch("strips sums", (len(lanes), strips.inner, K), gy.dtype)

    def run(lane: int) -> None:
        for number, block in enumerate(parts[lanes[lane]]):
            seen = strips.pieces(*block, K)
            gradients = gy[block].reshape(*seen.shape[:3], K)
            products = scratch("strips products", (*seen.shape[:2], *sums.shape[1:]), gy.dtype)
            np.matmul(seen.transpose(0, 1, 3, 2), gradients, out=products)  # (2)
            if number == 0:
                np.add.reduce(products, axis=(0, 1), out=sums[lane])
            else:
                sums[lane] += np.add.reduce(products, axis=(0, 1))

    parallel(run, range(len(lanes)))
    return np.asarray(np.add.reduce(sums, axis=0).reshape(*geometry.kernel, x.shape[3], K))


class _Strips:
    """What windows of an image see: the first at row and column ``first``, the others a stride further."""

    def __init__(self, image: Array, window: Size, stride: Size, first: Size) -> None:
        self.image, self.window, self.stride, self.first = image, window, stride, first
        self.inner = window[0] * window[1] * image.shape[3]
        # Columns of windows that lie within the image as a whole, and what a row of them sees: (H, columns, S, N, C).
        (H, W, N, C), S = image.shape, window[1]
        self.whole = slice(max(0, -(first[1] // stride[1])), max(0, (W - S - first[1]) // stride[1] + 1))
        h, w, n, c = image.strides
        count, left = max(0, self.whole.stop - self.whole.start), first[1] + self.whole.start * stride[1]
        self.seen = np.lib.stride_tricks.as_strided(
            image[:, left:] if count else image, (H, count, S, N, C), (h, stride[1] * w, w, n, c), writeable=False
        )

    def blocks(self, target: Array, least: int = _JOBS) -> list[tuple[slice, slice]]:
        """The windows of a target (P, Q, N, K), cut into blocks (rows, columns), about ``least`` of them or more."""
        P, Q, N, K = target.shape
        at_once = min(Q, self._at_once(N, K))
        numbers = at_once * N * P * self.stride[0] * self.window[1] * self.image.shape[3]
        least = min(least, max(1, numbers * Q // (at_once * _WORTH)))
        width = at_once * max(1, min(_BLOCK // numbers, Q // at_once // least))
        across = [slice(start, min(start + width, Q)) for start in range(0, Q, width)]
        down = pieces(P, max(-(-numbers // _BLOCK), -(-least // len(across))))
        return list(itertools.product(down, across))

    def _at_once(self, N: int, K: int) -> int:
        """How many columns of windows one product takes."""
        small = SMALL_PRODUCT // (self.inner * K)
        return small // N if small >= max(N, _FEW_ROWS) else -(-_ROWS // N)

    def multiply(self, block: tuple[slice, slice], filters: Array, target: Array) -> None:
        """A block of ``target`` = pieces · filters."""
        part, K = target[block], filters.shape[1]
        seen = self.pieces(*block, K)
        shape = (*seen.shape[:3], K)
        if part.strides[1] == part.shape[2] * part.strides[2]:
            np.matmul(seen, filters, out=part.reshape(shape))
        else:
            product = np.matmul(seen, filters, out=scratch("strips pixels", shape, target.dtype))
            np.copyto(part, product.reshape(part.shape))

    def pieces(self, rows: slice, cols: slice, K: int) -> Array:
        """What the windows of some rows and columns see, in scratch: (rows, columns / g, g·N, R·S·C).

        g columns are taken at once, in products with K columns.
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
            self._show(slice(top + inside.start, top + inside.stop), cols, strips[:, :, inside])
        at_once, number, run = self._at_once(N, K), strips.itemsize, S * C
        at_once = at_once if width % at_once == 0 else width
        shape, row = (rows.stop - rows.start, width // at_once, at_once * N, R * run), height * run * number
        # They overlap; `as_strided` would do, in ten times as long.
        return np.ndarray(shape, strips.dtype, strips, 0, (step * run * number, at_once * N * row, row, number))

    def _show(self, rows: slice, cols: slice, strips: Array) -> None:
        """strips (q, n, h, s, c) = image (h, w, n, c) at w = first + q · stride + s, zero outside."""
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


def _from_outputs(x: Array, geometry: Geometry) -> _Strips:
    """What the outputs of a convolution see of x (H, W, N, C)."""
    return _Strips(_by_row(x), geometry.kernel, geometry.stride, (-geometry.padding[0], -geometry.padding[1]))


def _by_row(x: Array) -> Array:
    """x (H, W, N, C), with few channels so in memory that what a row of a filter sees is contiguous."""
    H, W, N, C = x.shape
    if C > _FEW:
        return x
    copied = scratch("strips rows", (H, N, W, C), x.dtype)

    def copy(rows: slice) -> None:
        for c in range(C):
            np.copyto(copied[rows, ..., c], x[rows, ..., c].transpose(0, 2, 1))

    parallel(copy, blocks(H, max(1, _COPY_BLOCK // copied[0].size)))
    return copied.transpose(0, 2, 1, 3)
