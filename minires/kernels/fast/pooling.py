"""Pooling, on whole rows of pixels.

The maximum of a window is the maximum of its rows' maxima, and the first maximum in row-major order lies in the
first row that holds it, at the first place in that row that does. So max pooling falls into a step along rows and
a step across them:

    m[h, q] = max_s x[h, (q, s)]           the maximum of window row h                (1)
    y[p, q] = max_r m[(p, r), q]                                                      (2)

and who won is the first r with m = y, and the first s with x = m there. The gradient goes the other way round: a
pixel looks at the few windows that see it, as in sights.py, and at who won them.

Images here are C-order arrays (H, W, N·C).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from minires.device import Array, Size
from minires.geometry import Geometry
from minires.kernels.checks import check_adaptive, check_adaptive_grad, check_winners, winners_dtype
from minires.kernels.fast.elementwise import where
from minires.kernels.fast.layout import blocks, hwnc, hwnc_view, nchw_view, new_activations
from minires.kernels.fast.sights import Sight, each_phase, from_outputs
from minires.kernels.sums import TAPS, sum_of_taps
from minires.memory import new_array
from minires.scratch import scratch
from minires.threads import parallel

_WINDOWS = 4  # rows of windows in a job, at least; the more, the fewer rows are looked at twice
_RUN = 8  # pixels of a column that are added up in the arrays' own precision
_BLOCK = 1 << 21  # numbers of the larger image in a job: shorter calls do not gain from threads


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
    return _max_pool(x, geometry, False)[0]


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
    y, winners = _max_pool(x, geometry, True)
    assert winners is not None
    return y, winners


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
    N, C = gy.shape[:2]
    gradient, winner, gx = _rows(gy), _rows(winners), new_array((*size, N, C), gy.dtype)
    phases = [
        (pixels, sorted(sights, key=lambda sight: sight.cols.start - sight.cols.stop))  # the widest first
        for _, pixels, sights in each_phase(gx.reshape(*size, N * C), geometry)
    ]

    def run(rows: slice) -> None:
        for pixels, sights in phases:
            _from_windows(pixels, slice(rows.start, min(rows.stop, len(pixels))), sights, gradient, winner, geometry)

    most = max((len(pixels) for pixels, _ in phases), default=0)
    parallel(run, blocks(most, max(_WINDOWS, _BLOCK // max(1, geometry.stride[0] * gx[0].size))))
    return nchw_view(gx)


def adaptive_avg_pool2d(x: Array, grid: Size) -> Array:
    """Means over a grid of windows: `minires.kernels.reference.adaptive_avg_pool2d`.

    Columns of eight pixels are summed in the arrays' own precision, and these sums in float64.

    Parameters
    ----------
    x : (N, C, H, W) float array
    grid : (P, Q), each at least 1

    Returns
    -------
    y : (N, C, P, Q), dtype of x

    Raises
    ------
    ShapeError : if x has not four axes or has no pixels, or the grid is not two positive numbers.

    Identity that tests it: equal to the reference, within rounding.
    """
    windows = check_adaptive(x, grid)
    image, y = hwnc_view(x), new_activations((*x.shape[:2], *grid), x.dtype)
    for window in windows:
        np.divide(
            _total(image[window.rows, window.cols]), window.pixels, out=y[window.p, window.q], casting="same_kind"
        )
    return nchw_view(y)


def _total(window: Array) -> Array:
    """(h, w, N, C) -> (N, C), its sum in float64."""
    total = np.zeros(window.shape[2:])
    for top in range(0, len(window), _RUN):
        total += window[top : top + _RUN].sum(0).sum(0, dtype=np.float64)
    return total


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
    ShapeError : if gy has not four axes, or there are no pixels.

    Identity that tests it: equal to the reference, within rounding.
    """
    windows = check_adaptive_grad(gy, size)
    gradient, gx = hwnc_view(gy), new_activations((*gy.shape[:2], *size), gy.dtype)
    few = gy.shape[2] <= size[0] and gy.shape[3] <= size[1]  # windows that hold a pixel: four at most
    total = gx if few else np.empty(gx.shape)
    total[...] = 0
    for window in windows:
        total[window.rows, window.cols] += gradient[window.p, window.q] * gy.dtype.type(1 / window.pixels)
    if total is not gx:
        np.copyto(gx, total, casting="same_kind")
    return nchw_view(gx)


Taps = list[tuple[Any, Any, Any]]  # for each tap in order: its number, where windows lie, what they see through it


class _Taps:
    """A window's taps, rows and columns apart."""

    def __init__(self, geometry: Geometry, size: Size) -> None:
        sights = from_outputs(geometry, size)
        self.rows = list({sight.r: sight for sight in sights}.values())  # sights that differ in their rows
        columns = {sight.s: sight for sight in sights}.values()
        self.along: Taps = [(t.s, (slice(None), t.cols), (slice(None), t.source_cols)) for t in columns]

    def of_windows(self, windows: slice) -> tuple[slice, Taps]:
        """The rows that these windows see, and the taps between the two, both counted from where they begin."""
        shown = [(t.r, *found) for t in self.rows if (found := t.within(windows)) is not None]
        top, bottom = min(seen.start for _, _, seen in shown), max(seen.stop for _, _, seen in shown)
        return slice(top, bottom), [(r, _from(windows.start, out), _from(top, seen)) for r, out, seen in shown]


def _from(start: int, where: slice) -> slice:
    """The same places, counted from ``start``."""
    return slice(where.start - start, where.stop - start, where.step)


def _max_pool(x: Array, geometry: Geometry, wants_winners: bool) -> tuple[Array, Array | None]:
    N, C, P, Q = geometry.check_pool(x.shape)
    taps, image, y = _Taps(geometry, (x.shape[2], x.shape[3])), _rows(x), new_array((P, Q, N, C), x.dtype)
    maxima_of, S = y.reshape(P, Q, N * C), geometry.kernel[1]
    winners = new_array((P, Q, N, C), winners_dtype(geometry)) if wants_winners else None
    met_nan: list[int] = []

    def run(windows: slice) -> None:
        rows, down = taps.of_windows(windows)
        maxima, out = scratch("pool row maxima", (rows.stop - rows.start, Q, N * C), x.dtype), maxima_of[windows]
        _maxima(image[rows], taps.along, maxima)  # (1)
        _maxima(maxima, down, out)  # (2)
        if winners is None:
            return
        if np.isnan(np.max(out, initial=0)):
            met_nan.append(windows.start)
            return
        along = scratch("pool row winners", maxima.shape, winners.dtype)
        _first(image[rows], maxima, taps.along, (winners.dtype.type(s) for s, _, _ in taps.along), along)
        numbers = (along[seen] + winners.dtype.type(r * S) for r, _, seen in down)
        _first(maxima, out, down, numbers, winners[windows].reshape(out.shape))

    parallel(run, blocks(P, max(_WINDOWS, _BLOCK // max(1, geometry.stride[0] * image[0].size))))
    if winners is not None and met_nan:
        winners = _winners_by_taps(image, geometry, winners.dtype).reshape(winners.shape)
    return nchw_view(y), None if winners is None else nchw_view(winners)


def _maxima(source: Array, taps: Taps, out: Array) -> None:
    """out = the maxima of what each tap shows."""
    out.fill(-np.inf)
    for _, windows, seen in taps:
        np.maximum(out[windows], source[seen], out=out[windows])


def _first(source: Array, maxima: Array, taps: Taps, numbers: Iterable[Any], out: Array) -> None:
    """out = the number, or its element, of the first tap that shows the maximum, which one does."""
    lost = scratch("pool lost", out.shape, np.bool_)
    lost.fill(True)
    out.fill(0)
    for (_, windows, seen), number in zip(taps, numbers, strict=True):
        won = scratch("pool won", out[windows].shape, np.bool_)
        if seen is taps[-1][2]:
            np.copyto(won, lost[windows])  # who has found it nowhere else finds it here
        else:
            np.equal(source[seen], maxima[windows], out=won)
            np.logical_and(won, lost[windows], out=won)
            np.logical_xor(won, lost[windows], out=lost[windows])
        share = scratch("pool share", won.shape, out.dtype)
        np.add(out[windows], np.multiply(number, won.view(np.uint8), out=share), out=out[windows])


def _winners_by_taps(x: Array, geometry: Geometry, dtype: np.dtype[Any]) -> Array:
    """Who won, tap by tap, for images with NaNs: among several the last one wins."""
    H, W, X = x.shape
    P, Q = geometry.output_size((H, W))
    best, winners, met = np.zeros((P, Q, X), x.dtype), np.zeros((P, Q, X), dtype), np.zeros((P, Q, 1), np.bool_)
    for tap in geometry.taps((H, W)):
        out, seen = (tap.rows_out, tap.cols_out), x[tap.rows_in, tap.cols_in]
        better = ~met[out] | (seen > best[out]) | np.isnan(seen)
        np.copyto(best[out], seen, where=better)
        np.copyto(winners[out], dtype.type(geometry.number(tap)), where=better)
        met[out] = True
    return winners


def _from_windows(
    pixels: Array, rows: slice, sights: Sequence[Sight], gy: Array, winners: Array, geometry: Geometry
) -> None:
    """Some rows of one phase of gx = the sum of what their windows hand them."""
    if len(sights) > TAPS:
        _from_many_windows(pixels[rows], rows, sights, gy, winners, geometry)
        return
    begun = False
    for sight in sights:
        found = sight.within(rows)
        if found is None:
            continue
        shown, seen = found
        target, source = pixels[shown, sight.cols], (seen, sight.source_cols)
        won = np.equal(winners[source], geometry.number(sight), out=scratch("pool won", target.shape, np.bool_))
        if not begun and target.shape[:2] == (rows.stop - rows.start, pixels.shape[1]):
            where(won, gy[source], target)
        else:
            if not begun:
                pixels[rows] = 0
            np.add(target, where(won, gy[source]), out=target)
        begun = True
    if not begun:
        pixels[rows] = 0


def _from_many_windows(
    pixels: Array, rows: slice, sights: Sequence[Sight], gy: Array, winners: Array, geometry: Geometry
) -> None:
    """The same, with the sums in float64 in the end."""

    def add(total: Array, sight: Sight) -> None:
        found = sight.within(rows)
        if found is not None:
            shown, source = _from(rows.start, found[0]), (found[1], sight.source_cols)
            total[shown, sight.cols] += where(winners[source] == geometry.number(sight), gy[source])

    zeros = scratch("pool gradient sum", pixels.shape, pixels.dtype)
    zeros.fill(0)
    pixels[...] = sum_of_taps(zeros, sights, add)


def _rows(x: Array) -> Array:
    """(N, C, H, W) -> (H, W, N·C)."""
    N, C, H, W = x.shape
    return hwnc(x).reshape(H, W, N * C)
