"""Convolution with any stride, padding, dilation and groups, and its gradients: gather, then multiply.

For a block of output rows, the inputs that each tap of the filter shows are gathered side by side, and the sum
over taps and channels is one matrix product:

    columns[p, q, n, (tap, c)] = x[h, w, n, c], the pixel that (p, q) meets through the tap, or 0
    y  = columns · w                                                              (1)
    gw = columnsᵀ · gy                                                            (2)

For the input's gradient, what each *phase* of the input sees of gy (sights.py) is gathered in the same way:

    columns[i, j, n, (tap, k)] = gy[p, q, n, k], met by pixel (i·s + a, j·t + b) through the tap, or 0
    gx[phase] = columns · wᵀ                                                      (3)
    gw = x[phase]ᵀ · columns, for the taps of the phase                           (4)

Each number is a plain sum of products, as in the reference.

Images here are arrays (H, W, N, C) of any strides, filters are C-order (R, S, C / groups, K).
"""

from __future__ import annotations

import math

import numpy as np

from minires.device import Array, Size
from minires.geometry import Geometry
from minires.kernels.fast.finish import Finish
from minires.kernels.fast.layout import contiguous, pieces
from minires.kernels.fast.sights import Sight, each_phase, every, from_outputs
from minires.kernels.fast.sums import add_product
from minires.memory import new_array
from minires.scratch import scratch
from minires.threads import parallel

SUITS = "any window"  # as a plan says
_BLOCK = 1 << 19  # gathered numbers in a block of rows
_LANES = 16  # partial sums of a filter's gradient
_FEW_CHANNELS = 8  # below, channels are gathered as planes, or each copied run would be a few bytes


def conv2d(x: Array, w: Array, geometry: Geometry, y: Array, finish: Finish) -> None:
    """y (P, Q, N, K) = `kernels.reference.conv2d` of x (H, W, N, C) and w (R, S, C / groups, K), finished."""
    gather = _Gather(x, from_outputs(geometry, (x.shape[0], x.shape[1])), (y.shape[0], y.shape[1]), geometry.groups)
    filters = gather.stack(w)

    def run(rows: slice) -> None:
        np.matmul(gather.columns(rows), filters, out=_grouped(y[rows], geometry.groups))  # (1)
        finish.rectangle(rows)

    parallel(run, gather.blocks())


def _weight_grad(gy: Array, x: Array, geometry: Geometry) -> Array:
    """gw by (2)."""
    G, C, K = geometry.groups, x.shape[3], gy.shape[3]
    gather = _Gather(x, from_outputs(geometry, (x.shape[0], x.shape[1])), (gy.shape[0], gy.shape[1]), G)
    parts = gather.blocks()
    lanes = pieces(len(parts), _LANES)
    shape = (G, len(gather.sights) * (C // G), K // G)
    sums = scratch("filter sums", (len(lanes), *shape), gy.dtype)

    def run(lane: int) -> None:
        for number, rows in enumerate(parts[lanes[lane]]):
            columns, gradients = gather.columns(rows), _grouped(gy[rows], G)
            add_product(sums[lane], columns.swapaxes(1, 2), gradients, number == 0)  # (2)

    parallel(run, range(len(lanes)))
    total = np.add.reduce(sums, axis=0).reshape(G, len(gather.sights), C // G, K // G)
    gw = np.zeros((*geometry.kernel, C // G, K), gy.dtype)
    for t, sight in enumerate(gather.sights):
        gw[sight.r, sight.s] = total[:, t].transpose(1, 0, 2).reshape(C // G, K)
    return gw


def conv2d_grads(
    gy: Array, x_size: Size, w: Array | None, x: Array | None, geometry: Geometry
) -> tuple[Array | None, Array | None]:
    """(gx, gw) as (H, W, N, C) and (R, S, C / groups, K), from gy (P, Q, N, K): gx if w is given, gw if x is."""
    if w is None:
        return None, None if x is None else _weight_grad(gy, x, geometry)
    G, N, K, C = geometry.groups, gy.shape[2], gy.shape[3], w.shape[2] * geometry.groups
    gx = new_array((*x_size, N, C), gy.dtype)
    most_lanes, phases = max(1, _LANES // math.prod(geometry.stride)), []
    for phase, pixels, sights in each_phase(gx, geometry):
        gather = _Gather(gy, sights, (pixels.shape[0], pixels.shape[1]), G)
        phases.append(_Phase(gather, w, pixels, None if x is None else every(x, phase, geometry.stride), most_lanes))
    phases.sort(key=lambda phase: -len(phase.gather.sights))  # the longest jobs first
    parallel(lambda job: job[0].run(job[1]), [(phase, lane) for phase in phases for lane in range(len(phase.lanes))])
    if x is None:
        return gx, None
    gw = np.zeros((*geometry.kernel, C // G, K), gy.dtype)
    parallel(lambda phase: phase.sum_up(gw), phases)
    return gx, gw


class _Phase:
    """(3) and (4) for one phase, whose pixels gx and x hold; without x, (3) alone."""

    def __init__(self, gather: _Gather, w: Array, gx: Array, x: Array | None, most_lanes: int) -> None:
        self.gather, self.filters, self.gx, self.x = gather, gather.stack_transposed(w), gx, x
        parts = gather.blocks()
        self.lanes = [parts[lane] for lane in pieces(len(parts), most_lanes)]
        G, inner, C = self.filters.shape
        self.sums = None if x is None else new_array((len(self.lanes), G, C, inner), gx.dtype)

    def run(self, lane: int) -> None:
        """The blocks whose products form one partial sum."""
        for number, rows in enumerate(self.lanes[lane]):
            columns = self.gather.columns(rows)
            pixels = scratch("pixels", self.gx[rows].shape, self.gx.dtype)
            grouped = _grouped(pixels, self.gather.groups)
            np.matmul(columns, self.filters, out=grouped)  # (3)
            np.copyto(self.gx[rows], pixels)
            if self.x is not None and self.sums is not None:
                np.copyto(pixels, self.x[rows])
                add_product(self.sums[lane], grouped.swapaxes(1, 2), columns, number == 0)  # (4)

    def sum_up(self, gw: Array) -> None:
        """Set the taps of gw that this phase meets."""
        assert self.sums is not None
        G, C = self.sums.shape[1:3]
        total = np.add.reduce(self.sums, axis=0).reshape(G, C, len(self.gather.sights), -1)
        for t, sight in enumerate(self.gather.sights):
            gw[sight.r, sight.s] = total[:, :, t].transpose(1, 0, 2).reshape(C, -1)


class _Gather:
    """Collects, for rows of ``size`` targets, what each tap shows of ``source`` (H, W, N, G·C)."""

    def __init__(self, source: Array, sights: list[Sight], size: Size, groups: int) -> None:
        H, W, N, channels = source.shape
        self.sights, self.size, self.groups = sights, size, groups
        self.N, self.C = N, channels // groups
        self.planes = self.C < _FEW_CHANNELS
        if self.planes:
            source = contiguous(source.transpose(3, 0, 1, 2)).transpose(1, 2, 3, 0)
        self.source = source.reshape(H, W, N, groups, self.C)

    def blocks(self) -> list[slice]:
        """The target rows, cut into jobs."""
        per_row = self.size[1] * self.N * self.groups * self.C * len(self.sights)
        rows = max(1, min(_BLOCK // max(1, per_row), -(-self.size[0] // 4)))
        return pieces(self.size[0], 2 * -(-self.size[0] // (2 * rows)))

    def columns(self, rows: slice) -> Array:
        """(G, rows·Q·N, taps·C): the matrix of (1) to (4)."""
        G, N, C, Q = self.groups, self.N, self.C, self.size[1]
        count, taps = rows.stop - rows.start, len(self.sights)
        if self.planes:
            buffer = scratch("columns", (G, taps, C, count, Q, N), self.source.dtype)
            view = buffer.transpose(1, 3, 4, 5, 0, 2)
            matrix = buffer.reshape(G, taps * C, count * Q * N).swapaxes(1, 2)
        else:
            buffer = scratch("columns", (G, count, Q, N, taps, C), self.source.dtype)
            view = buffer.transpose(4, 1, 2, 3, 0, 5)
            matrix = buffer.reshape(G, count * Q * N, taps * C)
        for t, sight in enumerate(self.sights):
            self._show(sight, rows, view[t])
        return matrix

    def _show(self, sight: Sight, rows: slice, target: Array) -> None:
        """target (rows, Q, N, G, C) = what one tap shows, zero where it shows padding."""
        found = sight.within(rows)
        if found is None:
            target[...] = 0
            return
        shown, seen = found
        target[: shown.start - rows.start] = 0
        target[shown.stop - rows.start :] = 0
        middle = target[shown.start - rows.start : shown.stop - rows.start]
        middle[:, : sight.cols.start] = 0
        middle[:, sight.cols.stop :] = 0
        middle[:, sight.cols] = self.source[seen, sight.source_cols]

    def stack(self, w: Array) -> Array:
        """w (R, S, C, G·K) -> (G, taps·C, K), the taps as they are gathered."""
        taps = self._taps_of(w)
        return contiguous(taps.transpose(2, 0, 1, 3)).reshape(self.groups, -1, taps.shape[3])

    def stack_transposed(self, w: Array) -> Array:
        """w (R, S, C, G·K) -> (G, taps·K, C), the taps as they are gathered."""
        taps = self._taps_of(w)
        return contiguous(taps.transpose(2, 0, 3, 1)).reshape(self.groups, -1, taps.shape[1])

    def _taps_of(self, w: Array) -> Array:
        """(taps, C, G, K)."""
        picked = w[[sight.r for sight in self.sights], [sight.s for sight in self.sights]]
        return picked.reshape(len(self.sights), w.shape[2], self.groups, w.shape[3] // self.groups)


def _grouped(image: Array, G: int) -> Array:
    """A C-order (H, W, N, G·C) -> (G, H·W·N, C), a view."""
    pixels, channels = image.shape[0] * image.shape[1] * image.shape[2], image.shape[3]
    return image.reshape(pixels, G, channels // G).transpose(1, 0, 2)
