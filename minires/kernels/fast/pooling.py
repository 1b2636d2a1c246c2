"""Pooling on whole rows of pixels.

The maximum of a window is the maximum of the maxima of its rows. The first maximum in row-major order is in the first
row that contains it, at the first such column of that row. So max pooling is a step along the rows and a step across
them:

    m[h, q] = max_s x[h, (q, s)]           the maximum of window row h                (1)
    y[p, q] = max_r m[(p, r), q]                                                      (2)

The winner is the first r with m = y, and the first s with x = m in that row. For the gradient, each pixel is the sum
over the few windows that contain it and that it won (tap_slices.py).

Maxima and winners are equal to the reference's in every bit, gradients and means within rounding. Images here are
C-order arrays (H, W, N·C).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from minires.device import Array, Size
from minires.geometry import Geometry
from minires.kernels.checks import check_adaptive, check_adaptive_grad, check_winners, winners_dtype
from minires.kernels.fast.elementwise import keep_where
from minires.kernels.fast.layout import blocks, hwnc, hwnc_view, nchw_view, new_activations
from minires.kernels.fast.tap_slices import TapSlices, each_phase, output_taps
from minires.kernels.sums import TAPS, sum_of_taps
from minires.memory import new_array
from minires.scratch import scratch
from minires.threads import parallel

_WINDOWS = 4  # the fewest rows of windows in a job; with more rows, jobs read fewer rows of pixels twice
_RUN = 8  # pixels of a column that are added up in the dtype of the image
_BLOCK = 1 << 21  # elements of the larger image in a job: threads do not speed up shorter calls


def max_pool2d(x: Array, geometry: Geometry) -> Array:
    """Return the largest value of each window, as `reference.pooling.max_pool2d`."""
    return _max_pool(x, geometry, False)[0]


def max_pool2d_winners(x: Array, geometry: Geometry) -> tuple[Array, Array]:
    """Return the largest values and their taps, as `reference.pooling.max_pool2d_winners`."""
    y, winners = _max_pool(x, geometry, True)
    assert winners is not None
    return y, winners


def max_pool2d_grad(gy: Array, winners: Array, geometry: Geometry, size: Size) -> Array:
    """Return the gradient with respect to the input, as `reference.pooling.max_pool2d_grad`."""
    check_winners(gy, winners, geometry, size)
    N, C = gy.shape[:2]
    gradient, winner, gx = _rows(gy), _rows(winners), new_array((*size, N, C), gy.dtype)
    phases = [
        (pixels, sorted(taps, key=lambda tap: tap.cols.start - tap.cols.stop))  # the widest first
        for _, pixels, taps in each_phase(gx.reshape(*size, N * C), geometry)
    ]

    def run(rows: slice) -> None:
        for pixels, taps in phases:
            _from_windows(pixels, slice(rows.start, min(rows.stop, len(pixels))), taps, gradient, winner, geometry)

    most = max((len(pixels) for pixels, _ in phases), default=0)
    parallel(run, blocks(most, max(_WINDOWS, _BLOCK // max(1, geometry.stride[0] * gx[0].size))))
    return nchw_view(gx)


def adaptive_avg_pool2d(x: Array, grid: Size) -> Array:
    """Return the means over a grid of windows, as `reference.pooling.adaptive_avg_pool2d`.

    Columns of eight pixels are summed in the dtype of x, and these sums in float64.
    """
    windows = check_adaptive(x, grid)
    image, y = hwnc_view(x), new_activations((*x.shape[:2], *grid), x.dtype)
    for window in windows:
        np.divide(
            _total(image[window.rows, window.cols]), window.pixels, out=y[window.p, window.q], casting="same_kind"
        )
    return nchw_view(y)


def _total(window: Array) -> Array:
    """Return the sum of (h, w, N, C) over pixels, (N, C), in float64."""
    total = np.zeros(window.shape[2:])
    for top in range(0, len(window), _RUN):
        total += window[top : top + _RUN].sum(0).sum(0, dtype=np.float64)
    return total


def adaptive_avg_pool2d_grad(gy: Array, size: Size) -> Array:
    """Return the gradient with respect to the input, as `reference.pooling.adaptive_avg_pool2d_grad`."""
    windows = check_adaptive_grad(gy, size)
    gradient, gx = hwnc_view(gy), new_activations((*gy.shape[:2], *size), gy.dtype)
    few = gy.shape[2] <= size[0] and gy.shape[3] <= size[1]  # then at most four windows contain a pixel
    total = gx if few else np.empty(gx.shape)
    total[...] = 0
    for window in windows:
        total[window.rows, window.cols] += gradient[window.p, window.q] * gy.dtype.type(1 / window.pixels)
    if total is not gx:
        np.copyto(gx, total, casting="same_kind")
    return nchw_view(gx)


# For each tap along one axis, in order: its index, its windows, and the elements that it joins with them.
AxisTaps = list[tuple[Any, Any, Any]]


class _WindowTaps:
    """The taps of a window, for rows and columns apart."""

    def __init__(self, geometry: Geometry, size: Size) -> None:
        taps = output_taps(geometry, size)
        self.rows = list({tap.r: tap for tap in taps}.values())  # taps that differ in their rows
        columns = {tap.s: tap for tap in taps}.values()
        self.along: AxisTaps = [(t.s, (slice(None), t.cols), (slice(None), t.source_cols)) for t in columns]

    def of_windows(self, windows: slice) -> tuple[slice, AxisTaps]:
        """Return the rows of pixels of some rows of windows, and the taps that join the two.

        The slices of the taps are relative to the first of these windows and of these rows.
        """
        found_rows = [(t.r, *found) for t in self.rows if (found := t.within(windows)) is not None]
        top, bottom = min(h.start for _, _, h in found_rows), max(h.stop for _, _, h in found_rows)
        return slice(top, bottom), [(r, _relative(windows.start, p), _relative(top, h)) for r, p, h in found_rows]


def _relative(start: int, where: slice) -> slice:
    """Return the same indices relative to ``start``."""
    return slice(where.start - start, where.stop - start, where.step)


def _max_pool(x: Array, geometry: Geometry, wants_winners: bool) -> tuple[Array, Array | None]:
    """Return the maxima and, if wanted, the winners."""
    N, C, P, Q = geometry.check_pool(x.shape)
    taps, image, y = _WindowTaps(geometry, (x.shape[2], x.shape[3])), _rows(x), new_array((P, Q, N, C), x.dtype)
    maxima_of, S = y.reshape(P, Q, N * C), geometry.kernel[1]
    winners = new_array((P, Q, N, C), winners_dtype(geometry)) if wants_winners else None
    with_nan: list[int] = []

    def run(windows: slice) -> None:
        rows, down = taps.of_windows(windows)
        maxima, out = scratch("pool row maxima", (rows.stop - rows.start, Q, N * C), x.dtype), maxima_of[windows]
        _maxima(image[rows], taps.along, maxima)  # (1)
        _maxima(maxima, down, out)  # (2)
        if winners is None:
            return
        if np.isnan(np.max(out, initial=0)):
            with_nan.append(windows.start)
            return
        along = scratch("pool row winners", maxima.shape, winners.dtype)
        _first_winners(image[rows], maxima, taps.along, (winners.dtype.type(s) for s, _, _ in taps.along), along)
        indices = (along[sources] + winners.dtype.type(r * S) for r, _, sources in down)
        _first_winners(maxima, out, down, indices, winners[windows].reshape(out.shape))

    parallel(run, blocks(P, max(_WINDOWS, _BLOCK // max(1, geometry.stride[0] * image[0].size))))
    if winners is not None and with_nan:
        winners = _winners_with_nan(image, geometry, winners.dtype).reshape(winners.shape)
    return nchw_view(y), None if winners is None else nchw_view(winners)


def _maxima(source: Array, taps: AxisTaps, out: Array) -> None:
    """Set ``out`` to the maxima over the taps."""
    out.fill(-np.inf)
    for _, windows, sources in taps:
        np.maximum(out[windows], source[sources], out=out[windows])


def _first_winners(source: Array, maxima: Array, taps: AxisTaps, indices: Iterable[Any], out: Array) -> None:
    """Set ``out`` to the index of the first tap whose element is the maximum; at least one is."""
    undecided = scratch("pool undecided", out.shape, np.bool_)
    undecided.fill(True)
    out.fill(0)
    for (_, windows, sources), index in zip(taps, indices, strict=True):
        won = scratch("pool won", out[windows].shape, np.bool_)
        if sources is taps[-1][2]:
            np.copyto(won, undecided[windows])  # a maximum that no other tap has found is here
        else:
            np.equal(source[sources], maxima[windows], out=won)
            np.logical_and(won, undecided[windows], out=won)
            np.logical_xor(won, undecided[windows], out=undecided[windows])
        share = scratch("pool share", won.shape, out.dtype)
        np.add(out[windows], np.multiply(index, won.view(np.uint8), out=share), out=out[windows])


def _winners_with_nan(x: Array, geometry: Geometry, dtype: np.dtype[Any]) -> Array:
    """Return the winners of images with NaNs, tap by tap: the last NaN of a window wins."""
    H, W, X = x.shape
    P, Q = geometry.output_size((H, W))
    best, winners, begun = np.zeros((P, Q, X), x.dtype), np.zeros((P, Q, X), dtype), np.zeros((P, Q, 1), np.bool_)
    for tap in geometry.taps((H, W)):
        out, candidate = (tap.rows_out, tap.cols_out), x[tap.rows_in, tap.cols_in]
        better = ~begun[out] | (candidate > best[out]) | np.isnan(candidate)
        np.copyto(best[out], candidate, where=better)
        np.copyto(winners[out], dtype.type(geometry.tap_index(tap)), where=better)
        begun[out] = True
    return winners


def _from_windows(
    pixels: Array, rows: slice, taps: Sequence[TapSlices], gy: Array, winners: Array, geometry: Geometry
) -> None:
    """Set some rows of one phase of gx to the sum of the gradients of the windows that they won."""
    if len(taps) > TAPS:
        _from_many_windows(pixels[rows], rows, taps, gy, winners, geometry)
        return
    begun = False
    for tap in taps:
        found = tap.within(rows)
        if found is None:
            continue
        target_rows, source_rows = found
        target, source = pixels[target_rows, tap.cols], (source_rows, tap.source_cols)
        won = np.equal(winners[source], geometry.tap_index(tap), out=scratch("pool won", target.shape, np.bool_))
        if not begun and target.shape[:2] == (rows.stop - rows.start, pixels.shape[1]):
            keep_where(won, gy[source], target)
        else:
            if not begun:
                pixels[rows] = 0
            np.add(target, keep_where(won, gy[source]), out=target)
        begun = True
    if not begun:
        pixels[rows] = 0


def _from_many_windows(
    pixels: Array, rows: slice, taps: Sequence[TapSlices], gy: Array, winners: Array, geometry: Geometry
) -> None:
    """Do what `_from_windows` does, with sums in float64."""

    def add(total: Array, tap: TapSlices) -> None:
        found = tap.within(rows)
        if found is not None:
            target_rows, source = _relative(rows.start, found[0]), (found[1], tap.source_cols)
            total[target_rows, tap.cols] += keep_where(winners[source] == geometry.tap_index(tap), gy[source])

    zeros = scratch("pool gradient sum", pixels.shape, pixels.dtype)
    zeros.fill(0)
    pixels[...] = sum_of_taps(zeros, taps, add)


def _rows(x: Array) -> Array:
    """Return (N, C, H, W) as (H, W, N·C)."""
    N, C, H, W = x.shape
    return hwnc(x).reshape(H, W, N * C)
