"""Convolution with any stride, padding, dilation and groups, and its gradients: gather, then multiply.

For a block of output rows, the inputs that each tap of the filter joins with them are gathered side by side. The sum
over taps and channels is then one matrix product with the filters as a matrix F[(tap, c), k]:

    columns[p, q, n, (tap, c)] = x[h, w, n, c], the pixel that the tap joins with (p, q), or 0
    y  = columns · F                                                              (1)
    gF = columnsᵀ · gy                                                            (2)

For the gradient with respect to the input, gy is gathered in the same way for each *phase* of the input
(tap_slices.py). With the filters of its taps as a matrix F[(tap, k), c]:

    columns[i, j, n, (tap, k)] = gy[p, q, n, k], which the tap joins with pixel (i·s + a, j·t + b), or 0
    gx[phase] = columns · F                                                       (3)
    gFᵀ       = x[phase]ᵀ · columns                                               (4)

Each result is a plain sum of products, as in the reference.

Images here are arrays (H, W, N, C) of any strides, filters are C-order (R, S, C / groups, K).
"""

from __future__ import annotations

import math

import numpy as np

from minires.device import Array, Size
from minires.geometry import Geometry
from minires.kernels.fast.finish import Finish
from minires.kernels.fast.layout import contiguous, pieces
from minires.kernels.fast.sums import add_product
from minires.kernels.fast.tap_slices import TapSlices, each_phase, output_taps, phase_of
from minires.memory import new_array
from minires.scratch import scratch
from minires.threads import parallel

SUITS = "any window"  # how a plan prints it
_BLOCK = 1 << 19  # gathered elements in a block of rows
_LANES = 16  # partial sums of a filter's gradient
_FEW_CHANNELS = 8  # with fewer, channels are gathered as planes: otherwise each copied run would be a few bytes


def conv2d(x: Array, w: Array, geometry: Geometry, y: Array, finish: Finish) -> None:
    """Set y (P, Q, N, K) to the convolution of x (H, W, N, C) with w (R, S, C / groups, K), then finish it."""
    gather = _Gather(x, output_taps(geometry, (x.shape[0], x.shape[1])), (y.shape[0], y.shape[1]), geometry.groups)
    filters = gather.stack(w)

    def run(rows: slice) -> None:
        np.matmul(gather.columns(rows), filters, out=_grouped(y[rows], geometry.groups))  # (1)
        finish.rectangle(rows)

    parallel(run, gather.blocks())


def _weight_grad(gy: Array, x: Array, geometry: Geometry) -> Array:
    """Return gw by (2)."""
    G, C, K = geometry.groups, x.shape[3], gy.shape[3]
    gather = _Gather(x, output_taps(geometry, (x.shape[0], x.shape[1])), (gy.shape[0], gy.shape[1]), G)
    parts = gather.blocks()
    lanes = pieces(len(parts), _LANES)
    shape = (G, len(gather.taps) * (C // G), K // G)
    sums = scratch("filter sums", (len(lanes), *shape), gy.dtype)

    def run(lane: int) -> None:
        for index, rows in enumerate(parts[lanes[lane]]):
            columns, gradients = gather.columns(rows), _grouped(gy[rows], G)
            add_product(sums[lane], columns.swapaxes(1, 2), gradients, index == 0)  # (2)

    parallel(run, range(len(lanes)))
    total = np.add.reduce(sums, axis=0).reshape(G, len(gather.taps), C // G, K // G)
    gw = np.zeros((*geometry.kernel, C // G, K), gy.dtype)
    for t, tap in enumerate(gather.taps):
        gw[tap.r, tap.s] = total[:, t].transpose(1, 0, 2).reshape(C // G, K)
    return gw


def conv2d_grads(
    gy: Array, x_size: Size, w: Array | None, x: Array | None, geometry: Geometry
) -> tuple[Array | None, Array | None]:
    """Return (gx, gw) as (H, W, N, C) and (R, S, C / groups, K), from gy (P, Q, N, K): gx if w is given, gw if x is."""
    if w is None:
        return None, None if x is None else _weight_grad(gy, x, geometry)
    G, N, K, C = geometry.groups, gy.shape[2], gy.shape[3], w.shape[2] * geometry.groups
    gx = new_array((*x_size, N, C), gy.dtype)
    most_lanes, phases = max(1, _LANES // math.prod(geometry.stride)), []
    for phase, pixels, taps in each_phase(gx, geometry):
        gather = _Gather(gy, taps, (pixels.shape[0], pixels.shape[1]), G)
        phases.append(_Phase(gather, w, pixels, None if x is None else phase_of(x, phase, geometry.stride), most_lanes))
    phases.sort(key=lambda phase: -len(phase.gather.taps))  # the longest jobs first
    parallel(lambda job: job[0].run(job[1]), [(phase, lane) for phase in phases for lane in range(len(phase.lanes))])
    if x is None:
        return gx, None
    gw = np.zeros((*geometry.kernel, C // G, K), gy.dtype)
    parallel(lambda phase: phase.sum_up(gw), phases)
    return gx, gw


class _Phase:
    """(3) and (4) for one phase, with its pixels of gx and x; without x, (3) alone."""

    def __init__(self, gather: _Gather, w: Array, gx: Array, x: Array | None, most_lanes: int) -> None:
        self.gather, self.filters, self.gx, self.x = gather, gather.stack_transposed(w), gx, x
        parts = gather.blocks()
        self.lanes = [parts[lane] for lane in pieces(len(parts), most_lanes)]
        G, inner, C = self.filters.shape
        self.sums = None if x is None else new_array((len(self.lanes), G, C, inner), gx.dtype)

    def run(self, lane: int) -> None:
        """Compute the blocks whose products form one partial sum."""
        for index, rows in enumerate(self.lanes[lane]):
            columns = self.gather.columns(rows)
            pixels = scratch("pixels", self.gx[rows].shape, self.gx.dtype)
            grouped = _grouped(pixels, self.gather.groups)
            np.matmul(columns, self.filters, out=grouped)  # (3)
            np.copyto(self.gx[rows], pixels)
            if self.x is not None and self.sums is not None:
                np.copyto(pixels, self.x[rows])
                add_product(self.sums[lane], grouped.swapaxes(1, 2), columns, index == 0)  # (4)

    def sum_up(self, gw: Array) -> None:
        """Set the taps of gw that reach this phase."""
        assert self.sums is not None
        G, C = self.sums.shape[1:3]
        total = np.add.reduce(self.sums, axis=0).reshape(G, C, len(self.gather.taps), -1)
        for t, tap in enumerate(self.gather.taps):
            gw[tap.r, tap.s] = total[:, :, t].transpose(1, 0, 2).reshape(C, -1)


class _Gather:
    """For rows of ``size`` targets, collect the elements of ``source`` (H, W, N, G·C) that the taps join with them."""

    def __init__(self, source: Array, taps: list[TapSlices], size: Size, groups: int) -> None:
        H, W, N, channels = source.shape
        self.taps, self.size, self.groups = taps, size, groups
        self.N, self.C = N, channels // groups
        self.planes = self.C < _FEW_CHANNELS
        if self.planes:
            source = contiguous(source.transpose(3, 0, 1, 2)).transpose(1, 2, 3, 0)
        self.source = source.reshape(H, W, N, groups, self.C)

    def blocks(self) -> list[slice]:
        """Cut the target rows into jobs."""
        per_row = self.size[1] * self.N * self.groups * self.C * len(self.taps)
        rows = max(1, min(_BLOCK // max(1, per_row), -(-self.size[0] // 4)))
        return pieces(self.size[0], 2 * -(-self.size[0] // (2 * rows)))

    def columns(self, rows: slice) -> Array:
        """Return the matrix of (1) to (4), (G, rows·Q·N, taps·C)."""
        G, N, C, Q = self.groups, self.N, self.C, self.size[1]
        count, tap_count = rows.stop - rows.start, len(self.taps)
        if self.planes:
            buffer = scratch("columns", (G, tap_count, C, count, Q, N), self.source.dtype)
            view = buffer.transpose(1, 3, 4, 5, 0, 2)
            matrix = buffer.reshape(G, tap_count * C, count * Q * N).swapaxes(1, 2)
        else:
            buffer = scratch("columns", (G, count, Q, N, tap_count, C), self.source.dtype)
            view = buffer.transpose(4, 1, 2, 3, 0, 5)
            matrix = buffer.reshape(G, count * Q * N, tap_count * C)
        for t, tap in enumerate(self.taps):
            self._copy_tap(tap, rows, view[t])
        return matrix

    def _copy_tap(self, tap: TapSlices, rows: slice, target: Array) -> None:
        """Set target (rows, Q, N, G, C) to what one tap joins with it: 0 where that is padding."""
        found = tap.within(rows)
        if found is None:
            target[...] = 0
            return
        target_rows, source_rows = found
        target[: target_rows.start - rows.start] = 0
        target[target_rows.stop - rows.start :] = 0
        middle = target[target_rows.start - rows.start : target_rows.stop - rows.start]
        middle[:, : tap.cols.start] = 0
        middle[:, tap.cols.stop :] = 0
        middle[:, tap.cols] = self.source[source_rows, tap.source_cols]

    def stack(self, w: Array) -> Array:
        """Return w (R, S, C, G·K) as (G, taps·C, K), the taps in the order of `columns`."""
        filters = self._filters(w)
        return contiguous(filters.transpose(2, 0, 1, 3)).reshape(self.groups, -1, filters.shape[3])

    def stack_transposed(self, w: Array) -> Array:
        """Return w (R, S, C, G·K) as (G, taps·K, C), the taps in the order of `columns`."""
        filters = self._filters(w)
        return contiguous(filters.transpose(2, 0, 3, 1)).reshape(self.groups, -1, filters.shape[1])

    def _filters(self, w: Array) -> Array:
        """Return the filters of the taps, (taps, C, G, K)."""
        picked = w[[tap.r for tap in self.taps], [tap.s for tap in self.taps]]
        return picked.reshape(len(self.taps), w.shape[2], self.groups, w.shape[3] // self.groups)


def _grouped(image: Array, G: int) -> Array:
    """View a C-order (H, W, N, G·C) as (G, H·W·N, C)."""
    pixels, channels = image.shape[0] * image.shape[1] * image.shape[2], image.shape[3]
    return image.reshape(pixels, G, channels // G).transpose(1, 0, 2)
