"""Pooling, on whole rows of pixels.

The maximum of a window is the maximum of its rows' maxima, and the first maximum in row-major order lies in the
first row that holds it, at the first place in that row that does. So max pooling falls into a step across rows and
a step along them:

    m[h, q] = max_s x[h, (q, s)]           the maximum of window row h                (1)
    y[p, q] = max_r m[(p, r), q]                                                      (2)
    e[h, q] = Σ gy[p, q] over the windows whose first maximum lies in row h           (3)
    gx[h, w] = Σ e[h, q] over the q whose first maximum in row h lies at w            (4)

(4) need not know p: the place within a row is the same for all windows that share the row.

Images here are C-order arrays (H, W, N·C).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minires.device import Array, Size, same_dtype
from minires.errors import ShapeError
from minires.geometry import Geometry, adaptive_windows
from minires.kernels.fast.layout import blocks, hwnc, hwnc_view, nchw_view, new_activations
from minires.memory import new_array
from minires.threads import parallel, scratch

_BLOCK_ROWS = 16  # rows in a job: its neighbours' rows are computed twice, so a few would not do


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
    taps = _Taps(geometry, (x.shape[2], x.shape[3]))
    image, y = _rows(x), new_array((P, Q, N, C), x.dtype)

    def run(block: slice) -> None:
        for p in range(block.start, block.stop):
            rows = [h for _, h in taps.rows_of[p]]
            column_maxima = scratch("pool columns", image.shape[1:], x.dtype)
            _maximum([image[h] for h in rows], column_maxima)
            taps.maximum_along(column_maxima, y[p].reshape(Q, N * C))

    parallel(run, blocks(P, _BLOCK_ROWS))
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

    def run(block: slice) -> None:
        if not _grad_of_rows(block, gradient, image, taps, gx.reshape(H, W, N * C)):
            met_nan.append(block.start)

    parallel(run, blocks(H, _BLOCK_ROWS * geometry.stride[0]))
    if met_nan:
        gx = _grad_by_taps(gradient, image, geometry).reshape(H, W, N, C)
    return nchw_view(gx)


class _Along(NamedTuple):
    """One tap along a row: outputs ``out`` see inputs ``seen``."""

    out: slice
    seen: slice


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


class _Taps:
    """A window's taps, rows and columns apart."""

    def __init__(self, geometry: Geometry, size: tuple[int, int]) -> None:
        P, self.Q = geometry.output_size(size)
        self.rows_of: list[list[tuple[int, int]]] = [[] for _ in range(P)]  # for each p, its (r, h)
        self.windows_of: list[list[int]] = [[] for _ in range(size[0])]  # for each h, the p that see it
        down: dict[int, _Along] = {}
        along: dict[int, _Along] = {}
        for tap in geometry.taps(size):
            down[tap.r] = _Along(tap.rows_out, tap.rows_in)
            along[tap.s] = _Along(tap.cols_out, tap.cols_in)
        for r, tap_rows in down.items():
            pairs = zip(range(P)[tap_rows.out], range(size[0])[tap_rows.seen], strict=True)
            for p, h in pairs:
                self.rows_of[p].append((r, h))
                self.windows_of[h].append(p)
        self.along = [along[s] for s in sorted(along)]
        # Taps that are the first to reach their columns write there and need not add; ``bare`` is what they leave out.
        reached, written = np.zeros((2, size[1]), np.bool_)
        self.writes = []
        for _, seen in self.along:
            self.writes.append(not reached[seen].any())
            reached[seen] = True
            written[seen] |= self.writes[-1]
        self.bare = np.flatnonzero(~written)

    def maximum_along(self, row: Array, out: Array) -> None:
        """(1): the maxima of the windows along a row (W, N·C), into ``out`` (Q, N·C)."""
        widest = sorted(self.along, key=lambda tap: tap.out.start - tap.out.stop)
        if widest[0].out == slice(0, self.Q):
            np.copyto(out, row[widest.pop(0).seen])
        else:
            out.fill(-np.inf)
        for tap in widest:
            np.maximum(out[tap.out], row[tap.seen], out=out[tap.out])


def _grad_of_rows(block: slice, gy: Array, x: Array, taps: _Taps, gx: Array) -> bool:
    """(1) to (4) for a block of input rows; False as soon as a NaN is met."""
    own = range(block.start, block.stop)
    windows = sorted({p for h in own for p in taps.windows_of[h]})
    rows = sorted({h for p in windows for _, h in taps.rows_of[p]})
    shape = (taps.Q, x.shape[2])
    maxima = dict(zip(rows, scratch("pool row maxima", (len(rows), *shape), x.dtype), strict=True))
    shares = dict(zip(own, scratch("pool row shares", (len(own), *shape), x.dtype), strict=True))
    y, rest, won = (scratch(key, shape, x.dtype) for key in ("pool maxima", "pool left", "pool won"))
    for h in rows:
        taps.maximum_along(x[h], maxima[h])  # (1)
    met: set[int] = set()  # rows with a share
    for p in windows:
        *others, last = (h for _, h in taps.rows_of[p])
        _maximum([maxima[h] for h in (*others, last)], y)  # (2)
        if np.isnan(np.max(y, initial=0)):
            return False
        left = shares[last] if last in shares and last not in met else rest
        np.copyto(left, gy[p])
        for h in others:
            _take(maxima[h], y, left, shares[h] if h in shares and h not in met else won)
            if h in met:
                np.add(shares[h], won, out=shares[h])  # (3)
        if last in met:
            np.add(shares[last], left, out=shares[last])
        met.update(h for h in (*others, last) if h in shares)
    for h in own:
        gx[h, taps.bare if h in met else slice(None)] = 0
        for (out, seen), writes in zip(taps.along if h in met else (), taps.writes, strict=False):
            target, left = gx[h, seen], shares[h][out]
            if (out, seen) == taps.along[-1] and out == slice(0, taps.Q):  # all that is left
                np.copyto(target, left) if writes else np.add(target, left, out=target)
                continue
            _take(x[h, seen], maxima[h][out], left, target if writes else won[out])
            if not writes:
                np.add(target, won[out], out=target)  # (4)
    return True


def _take(candidate: Array, maximum: Array, left: Array, won: Array) -> None:
    """won = left where the candidate is the maximum, else 0; and ``left`` loses it.

    Floats are picked as integers of the same bits: exact, whatever they are.
    """
    integer = np.dtype(f"i{left.itemsize}")
    equal = scratch("pool equal", left.shape, np.bool_)
    wide = scratch("pool equal wide", left.shape, integer)
    np.equal(candidate, maximum, out=equal)
    np.copyto(wide, equal.view(np.int8))
    bits = left.view(integer)
    np.multiply(bits, wide, out=won.view(integer))
    np.subtract(bits, won.view(integer), out=bits)


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


def _maximum(rows: list[Array], out: Array) -> None:
    """out = the element-wise maximum; NaN propagates."""
    if len(rows) == 1:
        np.copyto(out, rows[0])
    else:
        np.maximum(rows[0], rows[1], out=out)
        for row in rows[2:]:
            np.maximum(out, row, out=out)


def _rows(x: Array) -> Array:
    """(N, C, H, W) -> (H, W, N·C)."""
    N, C, H, W = x.shape
    return hwnc(x).reshape(H, W, N * C)
