"""Pooling, on whole rows of pixels.

The maximum of a window is the maximum of its rows' maxima, and the first maximum in row-major order lies in the
first row that holds it, at the first place in that row that does. So max pooling falls into a step along rows and
a step across them, forth and back:

    m[h, q] = max_s x[h, (q, s)]           the maximum of window row h                (1)
    y[p, q] = max_r m[(p, r), q]                                                      (2)
    e[h, q] = Σ gy[p, q] over the windows whose first maximum lies in row h           (3)
    gx[h, w] = Σ e[h, q] over the q whose first maximum in row h lies at w            (4)

(4) need not know p: the place within a row is the same for all windows that share the row.

Images here are C-order arrays (H, W, N·C).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minires.device import Array, Size, same_dtype
from minires.errors import ShapeError
from minires.geometry import Geometry, adaptive_windows
from minires.kernels.fast.elementwise import where
from minires.kernels.fast.layout import blocks, hwnc, hwnc_view, nchw_view, new_activations
from minires.kernels.fast.sights import from_outputs
from minires.memory import new_array
from minires.threads import parallel, scratch

_WINDOWS = 4  # rows of windows in a job, at least; the more, the fewer are looked at twice
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
    N, C, P, Q = geometry.check_pool(x.shape)
    taps, image, y = _Taps(geometry, (x.shape[2], x.shape[3])), _rows(x), new_array((P, Q, N, C), x.dtype)

    def run(windows: slice) -> None:
        rows, down = taps.of_windows(windows)
        maxima = scratch("pool row maxima", (rows.stop - rows.start, Q, N * C), x.dtype)
        _maxima(image[rows], taps.along, maxima)  # (1)
        _maxima(maxima, down, y[windows].reshape(-1, Q, N * C))  # (2)

    parallel(run, blocks(P, max(_WINDOWS, _BLOCK // max(1, geometry.stride[0] * image[0].size))))
    return nchw_view(y)


def max_pool2d_grad(gy: Array, x: Array, geometry: Geometry) -> Array:
    """Gradient by the input of `max_pool2d`: `minires.kernels.reference.max_pool2d_grad`.

    The first maximum of a window, in row-major order, takes its gradient; of NaNs it is the last.

    Parameters
    ----------
    gy : (N, C, P, Q); x : (N, C, H, W), of one dtype
    geometry : as in the forward pass

    Returns
    -------
    gx : (N, C, H, W), dtype of gy

    Raises
    ------
    ShapeError, DtypeError : if shapes or dtypes do not agree.

    Identity that tests it: equal to the reference, exactly where sums are exact; Σ gx = Σ gy.
    """
    shape = geometry.check_pool(x.shape)
    if gy.shape != shape:
        raise ShapeError(f"an array of shape {gy.shape} was given where pooling needs {shape}")
    same_dtype(gy, x)
    N, C, H, W = x.shape
    taps = _Taps(geometry, (H, W))
    image, gradient, gx = _rows(x), _rows(gy), new_array((H, W, N, C), x.dtype)
    met_nan: list[int] = []

    def run(rows: slice) -> None:
        if not _grad_of_rows(rows, gradient, image, taps, gx.reshape(H, W, N * C)):
            met_nan.append(rows.start)

    parallel(run, blocks(H, max(_WINDOWS * geometry.stride[0], _BLOCK // max(1, W * N * C))))
    if met_nan:
        gx = _grad_by_taps(gradient, image, geometry).reshape(H, W, N, C)
    return nchw_view(gx)


def adaptive_avg_pool2d(x: Array, grid: Size) -> Array:
    """Means over a grid of windows: `minires.kernels.reference.adaptive_avg_pool2d`.

    A window is summed down its columns, then along what is left: roundings grow with its height plus its width.

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
    if x.ndim != 4:
        raise ShapeError(f"pooling expects an input of shape (N, C, H, W), got {x.shape}")
    windows = adaptive_windows(grid, (x.shape[2], x.shape[3]))
    image, y = hwnc_view(x), new_activations((*x.shape[:2], *grid), x.dtype)
    for window in windows:
        total = image[window.rows, window.cols].sum(0).sum(0)
        np.multiply(total, x.dtype.type(1 / window.pixels), out=y[window.p, window.q])
    return nchw_view(y)


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
    if gy.ndim != 4:
        raise ShapeError(f"pooling expects a gradient of shape (N, C, P, Q), got {gy.shape}")
    windows = adaptive_windows((gy.shape[2], gy.shape[3]), size)
    gradient, gx = hwnc_view(gy), new_activations((*gy.shape[:2], *size), gy.dtype)
    gx[...] = 0
    for window in windows:
        gx[window.rows, window.cols] += gradient[window.p, window.q] * gy.dtype.type(1 / window.pixels)
    return nchw_view(gx)


Taps = list[tuple[Any, Any]]  # for each tap in order: where windows lie, and the pixels that they see through it


class _Taps:
    """A window's taps, rows and columns apart."""

    def __init__(self, geometry: Geometry, size: Size) -> None:
        sights = from_outputs(geometry, size)
        self.rows = {sight.r: sight for sight in sights}.values()  # sights that differ in their rows
        columns = {sight.s: sight for sight in sights}.values()
        self.along: Taps = [((slice(None), t.cols), (slice(None), t.source_cols)) for t in columns]

    def windows_of(self, rows: slice) -> slice:
        """The windows that see one of these rows, which are a stride or more, so that some do."""
        found = [windows for windows in (t.onto(rows) for t in self.rows) if windows.start < windows.stop]
        return slice(min(w.start for w in found), max(w.stop for w in found))

    def of_windows(self, windows: slice) -> tuple[slice, Taps]:
        """The rows that these windows see, and the taps between the two, both counted from where they begin."""
        shown = [found for found in (t.within(windows) for t in self.rows) if found is not None]
        top, bottom = min(seen.start for _, seen in shown), max(seen.stop for _, seen in shown)
        return slice(top, bottom), [(_from(windows.start, out), _from(top, seen)) for out, seen in shown]


def _from(start: int, where: slice) -> slice:
    """The same places, counted from ``start``."""
    return slice(where.start - start, where.stop - start, where.step)


def _maxima(source: Array, taps: Taps, out: Array) -> None:
    """out = the maxima of what each tap shows."""
    out.fill(-np.inf)
    for windows, seen in taps:
        np.maximum(out[windows], source[seen], out=out[windows])


def _to_winners(values: Array, maxima: Array, source: Array, taps: Taps, target: Array) -> None:
    """target = for each pixel of the source the sum of the windows' values of which it is the first maximum."""
    over = scratch("pool over", maxima.shape, np.bool_)
    over.fill(False)
    target.fill(0)
    for windows, seen in taps:
        equal, won = (scratch(key, over[windows].shape, np.bool_) for key in ("pool equal", "pool won"))
        np.equal(source[seen], maxima[windows], out=equal)
        np.greater(equal, over[windows], out=won)
        np.logical_or(equal, over[windows], out=over[windows])
        np.add(target[seen], where(won, values[windows]), out=target[seen])


def _grad_of_rows(rows: slice, gy: Array, x: Array, taps: _Taps, gx: Array) -> bool:
    """(1) to (4) for some rows of gx; False if a NaN is met.

    The windows that reach over the edge of these rows are looked at for the neighbouring ones, too.
    """
    windows = taps.windows_of(rows)
    seen, down = taps.of_windows(windows)
    shape = gy.shape[1:]
    maxima, shares = (
        scratch(key, (seen.stop - seen.start, *shape), x.dtype) for key in ("pool row maxima", "pool row shares")
    )
    y = scratch("pool maxima", (windows.stop - windows.start, *shape), x.dtype)
    _maxima(x[seen], taps.along, maxima)  # (1)
    _maxima(maxima, down, y)  # (2)
    if np.isnan(np.max(y, initial=0)):
        return False
    _to_winners(gy[windows], y, maxima, down, shares)  # (3)
    both = slice(max(rows.start, seen.start), min(rows.stop, seen.stop))  # a stride may leave rows out
    gx[rows.start : both.start] = 0
    gx[both.stop : rows.stop] = 0
    here = _from(seen.start, both)
    _to_winners(shares[here], maxima[here], x[both], taps.along, gx[both])  # (4)
    return True


def _grad_by_taps(gy: Array, x: Array, geometry: Geometry) -> Array:
    """gx tap by tap, for images with NaNs: among several the last one wins."""
    H, W, _ = x.shape
    best = np.zeros(gy.shape, x.dtype)
    winner = np.full(gy.shape, -1)
    taps = list(enumerate(geometry.taps((H, W))))
    for t, tap in taps:
        out, seen = (tap.rows_out, tap.cols_out), x[tap.rows_in, tap.cols_in]
        better = (winner[out] < 0) | (seen > best[out]) | np.isnan(seen)
        np.copyto(best[out], seen, where=better)
        np.copyto(winner[out], t, where=better)
    gx = np.zeros_like(x)
    for t, tap in taps:
        out = tap.rows_out, tap.cols_out
        gx[tap.rows_in, tap.cols_in] += np.where(winner[out] == t, gy[out], gy.dtype.type(0))
    return gx


def _rows(x: Array) -> Array:
    """(N, C, H, W) -> (H, W, N·C)."""
    N, C, H, W = x.shape
    return hwnc(x).reshape(H, W, N * C)
