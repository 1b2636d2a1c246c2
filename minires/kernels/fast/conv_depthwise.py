"""Depthwise convolutions, which have one filter for each channel, and their gradients.

Channels do not mix, so there is nothing for a matrix product to do. With a row of N·C numbers for a pixel, and the
filters repeated N times beside it,

    y[p, q]   = Σ_taps x[h, w] ⊙ f[tap]                                           (1)
    gx[h, w]  = Σ_taps gy[p, q] ⊙ f[tap]                                          (2)
    gf[tap]   = Σ_pixels x[h, w] ⊙ gy[p, q],  summed over the images              (3)

where (h, w) and (p, q) meet through the tap (sights.py). A block of rows stays in the cache while all taps are added.

Images here are arrays (H, W, N, C), the filters are (R, S, 1, C).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minires.device import Array, Size
from minires.geometry import Geometry
from minires.kernels.fast.finish import Finish
from minires.kernels.fast.layout import blocks, contiguous, repeated
from minires.kernels.fast.sights import Sight, each_phase, from_outputs
from minires.kernels.fast.sums import LONG
from minires.kernels.sums import sum_of_taps
from minires.memory import new_array
from minires.scratch import scratch
from minires.threads import parallel

SUITS = "one filter for each channel"  # as a plan says
_BLOCK = 1 << 16  # numbers in a block of rows: it, its products, and what it sees fit the cache of a core


def suits(x: tuple[int, ...], w: tuple[int, ...], geometry: Geometry, dtype: np.dtype[Any]) -> bool:
    """Whether a convolution of logical shapes x (N, C, H, W) and w (K, C / groups, R, S) is for this file."""
    return geometry.groups == x[1] == w[0] > 1


def conv2d(x: Array, w: Array, geometry: Geometry, y: Array, finish: Finish) -> None:
    """y (P, Q, N, C) = `kernels.reference.conv2d` of x (H, W, N, C) and w (R, S, 1, C), finished."""
    sights = from_outputs(geometry, (x.shape[0], x.shape[1]))
    _add_taps(_rows(contiguous(x)), sights, repeated(w[:, :, 0], x.shape[2]), _rows(y), finish)  # (1)


def conv2d_grads(
    gy: Array, x_size: Size, w: Array | None, x: Array | None, geometry: Geometry
) -> tuple[Array | None, Array | None]:
    """(gx, gw) as (H, W, N, C) and (R, S, 1, C), from gy (P, Q, N, C): gx if w is given, gw if x is."""
    gx = gw = None
    if w is not None:
        gx, filters = new_array((*x_size, *gy.shape[2:]), gy.dtype), repeated(w[:, :, 0], gy.shape[2])
        for _, pixels, sights in each_phase(_rows(gx), geometry):
            _add_taps(_rows(gy), sights, filters, pixels)  # (2)
    if x is not None:
        gw = _filter_gradient(_rows(gy), _rows(contiguous(x)), geometry, gy.shape[3])
    return gx, gw


def _add_taps(source: Array, sights: list[Sight], filters: Array, target: Array, finish: Finish | None = None) -> None:
    """target = Σ over the taps of what each shows of the source ⊙ its filter; arrays (H, W, N·C)."""

    def run(rows: slice) -> None:
        def add(total: Array, sight: Sight) -> None:
            found = sight.within(rows)
            if found is not None:
                shown, seen = found
                part = total[shown.start - rows.start : shown.stop - rows.start, sight.cols]
                product = scratch("depthwise product", part.shape, part.dtype)
                np.multiply(source[seen, sight.source_cols], filters[sight.r, sight.s], out=product)
                np.add(part, product, out=part)

        zeros = scratch("depthwise sum", (rows.stop - rows.start, *target.shape[1:]), target.dtype)
        zeros.fill(0)
        np.copyto(target[rows], sum_of_taps(zeros, sights, add), casting="same_kind")
        if finish is not None:
            finish.rectangle(rows)

    parallel(run, _blocks(target))


def _filter_gradient(gy: Array, x: Array, geometry: Geometry, C: int) -> Array:
    """(3), from arrays (P, Q, N·C) and (H, W, N·C)."""
    sights, parts = from_outputs(geometry, (x.shape[0], x.shape[1])), _blocks(gy)
    most = max(rows.stop - rows.start for rows in parts) * gy.shape[1]  # pixels
    dtype = gy.dtype if most <= LONG else np.dtype(np.float64)
    sums = np.zeros((len(parts), *geometry.kernel, gy.shape[2]), dtype)

    def run(number: int) -> None:
        for sight in sights:
            found = sight.within(parts[number])
            if found is not None:
                shown, seen = found
                pixels, gradients = x[seen, sight.source_cols], gy[shown, sight.cols]
                np.einsum("pqi,pqi->i", pixels, gradients, out=sums[number, sight.r, sight.s], dtype=dtype)

    parallel(run, range(len(parts)))
    gw: Array = sums.sum(0, dtype=np.float64).reshape(*geometry.kernel, 1, -1, C).sum(3)
    return gw.astype(gy.dtype, copy=False)


def _blocks(image: Array) -> list[slice]:
    return blocks(len(image), max(1, _BLOCK // max(1, image[0].size)))


def _rows(x: Array) -> Array:
    """A C-order (H, W, N, C) -> (H, W, N·C)."""
    return x.reshape(x.shape[0], x.shape[1], x.shape[2] * x.shape[3])
