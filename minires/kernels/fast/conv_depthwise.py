"""Depthwise convolutions, which have one filter for each channel, and their gradients.

Channels do not mix, so there is no matrix product. A pixel is a row of N·C elements, and the filters f are repeated N
times along such a row:

    y[p, q]   = Σ_taps x[h, w] ⊙ f[tap]                                           (1)
    gx[h, w]  = Σ_taps gy[p, q] ⊙ f[tap]                                          (2)
    gf[tap]   = Σ_pixels x[h, w] ⊙ gy[p, q],  summed over the images              (3)

where the tap joins (h, w) with (p, q) (tap_slices.py). A block of rows stays in the cache while all taps are added.

Images here are arrays (H, W, N, C), the filters are (R, S, 1, C).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minires.device import Array, Size
from minires.geometry import Geometry
from minires.kernels.fast.finish import Finish
from minires.kernels.fast.layout import blocks, contiguous, repeated
from minires.kernels.fast.sums import LONG
from minires.kernels.fast.tap_slices import TapSlices, each_phase, output_taps
from minires.kernels.sums import sum_of_taps
from minires.memory import new_array
from minires.scratch import scratch
from minires.threads import parallel

SUITS = "one filter for each channel"  # how a plan prints it
_BLOCK = 1 << 16  # elements in a block of rows: the block, its products and its sources fit in a core's cache


def suits(x: tuple[int, ...], w: tuple[int, ...], geometry: Geometry, dtype: np.dtype[Any]) -> bool:
    """Return whether this file computes convolutions of logical shapes x (N, C, H, W) and w (K, C / groups, R, S)."""
    return geometry.groups == x[1] == w[0] > 1


def conv2d(x: Array, w: Array, geometry: Geometry, y: Array, finish: Finish) -> None:
    """Set y (P, Q, N, C) to the convolution of x (H, W, N, C) with w (R, S, 1, C), then finish it."""
    taps = output_taps(geometry, (x.shape[0], x.shape[1]))
    _add_taps(_rows(contiguous(x)), taps, repeated(w[:, :, 0], x.shape[2]), _rows(y), finish)  # (1)


def conv2d_grads(
    gy: Array, x_size: Size, w: Array | None, x: Array | None, geometry: Geometry
) -> tuple[Array | None, Array | None]:
    """Return (gx, gw) as (H, W, N, C) and (R, S, 1, C), from gy (P, Q, N, C): gx if w is given, gw if x is."""
    gx = gw = None
    if w is not None:
        gx, filters = new_array((*x_size, *gy.shape[2:]), gy.dtype), repeated(w[:, :, 0], gy.shape[2])
        for _, pixels, taps in each_phase(_rows(gx), geometry):
            _add_taps(_rows(gy), taps, filters, pixels)  # (2)
    if x is not None:
        gw = _filter_gradient(_rows(gy), _rows(contiguous(x)), geometry, gy.shape[3])
    return gx, gw


def _add_taps(
    source: Array, taps: list[TapSlices], filters: Array, target: Array, finish: Finish | None = None
) -> None:
    """Set target = Σ_taps source ⊙ filter, where each tap joins targets with sources; arrays (H, W, N·C)."""

    def run(rows: slice) -> None:
        def add(total: Array, tap: TapSlices) -> None:
            found = tap.within(rows)
            if found is not None:
                target_rows, source_rows = found
                part = total[target_rows.start - rows.start : target_rows.stop - rows.start, tap.cols]
                product = scratch("depthwise product", part.shape, part.dtype)
                np.multiply(source[source_rows, tap.source_cols], filters[tap.r, tap.s], out=product)
                np.add(part, product, out=part)

        zeros = scratch("depthwise sum", (rows.stop - rows.start, *target.shape[1:]), target.dtype)
        zeros.fill(0)
        np.copyto(target[rows], sum_of_taps(zeros, taps, add), casting="same_kind")
        if finish is not None:
            finish.rectangle(rows)

    parallel(run, _blocks(target))


def _filter_gradient(gy: Array, x: Array, geometry: Geometry, C: int) -> Array:
    """Return gf by (3), from arrays (P, Q, N·C) and (H, W, N·C)."""
    taps, parts = output_taps(geometry, (x.shape[0], x.shape[1])), _blocks(gy)
    most = max(rows.stop - rows.start for rows in parts) * gy.shape[1]  # pixels
    dtype = gy.dtype if most <= LONG else np.dtype(np.float64)
    sums = np.zeros((len(parts), *geometry.kernel, gy.shape[2]), dtype)

    def run(index: int) -> None:
        for tap in taps:
            found = tap.within(parts[index])
            if found is not None:
                target_rows, source_rows = found
                pixels, gradients = x[source_rows, tap.source_cols], gy[target_rows, tap.cols]
                np.einsum("pqi,pqi->i", pixels, gradients, out=sums[index, tap.r, tap.s], dtype=dtype)

    parallel(run, range(len(parts)))
    gw: Array = sums.sum(0, dtype=np.float64).reshape(*geometry.kernel, 1, -1, C).sum(3)
    return gw.astype(gy.dtype, copy=False)


def _blocks(image: Array) -> list[slice]:
    return blocks(len(image), max(1, _BLOCK // max(1, image[0].size)))


def _rows(x: Array) -> Array:
    """Return a C-order (H, W, N, C) as (H, W, N·C)."""
    return x.reshape(x.shape[0], x.shape[1], x.shape[2] * x.shape[3])
