"""An image as a matrix whose rows repeat the channels, and sums over each channel.

**Statistics.** Σx and Σx² of a block are summed in the arrays' own precision, blocks in float64. From these,
var = Σx²/M − mean² loses as many digits as mean² exceeds var by. Where a channel has mean² > 100 · var,
everything is done again, and what follows too, on x − centre, with the mean for a centre; the difference of
two floats of nearly the same size has no rounding error.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from minires.device import Array
from minires.kernels.fast.layout import even, hwnc, nchw_view, pieces, repeated
from minires.kernels.fast.sums import LONG
from minires.memory import new_array
from minires.scratch import scratch
from minires.threads import Steps

FAR = 100.0  # mean² / var from which sums are taken around the mean
_BLOCK = 1 << 19  # numbers in a block: calls shorter than some 30 µs do not gain from threads
_HALVES = 1 << 18  # numbers from which there are two blocks at least
_ROW = 16384  # numbers in a row of a matrix, where the image's size allows: to repeat a shorter one takes longer
_SUMMED = 4096  # numbers in a row of which sums are made: these are the faster, the more rows there are


class ChannelRows:
    """An image as a matrix: (N, C, H, W) in H, W, N, C order, ``fold`` pixels in a row of fold·N·C numbers."""

    def __init__(self, x: Array) -> None:
        self.N, self.C, self.H, self.W = x.shape
        self.fold = _fold(self.H * self.W, self.N * self.C, _ROW)
        self.x = self.matrix(x)
        least = 2 if self.x.size >= _HALVES else 1
        self.blocks = pieces(len(self.x), max(least, even(-(-self.x.size // _BLOCK))))
        self.summed = _fold(self.fold, self.N * self.C, _SUMMED)  # pixels in a row of which sums are made

    def matrix(self, x: Array) -> Array:
        """(N, C, H, W) -> (H·W / fold, fold·N·C)."""
        return hwnc(x).reshape(self.H * self.W // self.fold, self.fold * self.N * self.C)

    def image(self, matrix: Array) -> Array:
        """(H·W / fold, fold·N·C) -> (N, C, H, W), a view."""
        return nchw_view(matrix.reshape(self.H, self.W, self.N, self.C))

    def new(self) -> Array:
        """An uninitialised matrix."""
        return new_array(self.x.shape, self.x.dtype)

    def rows(self, *per_channel: Array) -> Array:
        """Some (C,) -> as many (fold·N·C,), as one array: a number for each place in a row of the matrix."""
        return repeated(np.array(per_channel, self.x.dtype), self.fold * self.N)

    def sums(self, of_block: Callable[[slice], tuple[Array, Array]]) -> Steps[tuple[Array, Array]]:
        """(Σ a, Σ a·b) over each channel in float64, where ``of_block(rows)`` gives a and b: a step of threads."""
        width = self.summed * self.N * self.C
        most = max((rows.stop - rows.start for rows in self.blocks), default=0) * self.fold // self.summed
        # Rows are so many only where they are short, as H·W has no small divisor.
        dtype = self.x.dtype if most <= LONG else np.dtype(np.float64)
        totals, ones = np.empty((2, len(self.blocks), width), dtype), np.ones(most, dtype)

        def run(index: int) -> None:
            block = of_block(self.blocks[index])
            rows = len(block[0]) * self.fold // self.summed
            a, b = (part.reshape(rows, width).astype(dtype, copy=False) for part in block)
            np.matmul(ones[: len(a)], a, out=totals[0, index])
            np.einsum("ij,ij->j", a, b, out=totals[1, index])

        yield run, range(len(self.blocks))
        first, second = totals.sum(1, dtype=np.float64).reshape(2, self.summed * self.N, self.C).sum(1)
        return first, second

    def statistics(self) -> Steps[tuple[Array, Array, Array | None]]:
        """mean, var in float64, and the centre to take x around, None where that is needless: steps of threads."""
        M = self.N * self.H * self.W
        total, squares = yield from self.sums(lambda rows: (self.x[rows], self.x[rows]))
        mean = total / M
        var = squares / M - mean * mean  # where rounding makes it negative, it is taken again below
        if not (mean * mean > FAR * var).any():
            return mean, var, None
        centre = mean.astype(self.x.dtype)
        centred = self.centred(centre)
        total, squares = yield from self.sums(lambda rows: (centred(rows),) * 2)
        rest = total / M
        return centre + rest, np.maximum(squares / M - rest * rest, 0), centre

    def centred(self, centre: Array | None) -> Callable[[slice], Array]:
        """A function that gives rows of x − centre, in scratch; of x itself if there is no centre."""
        if centre is None:
            return lambda rows: self.x[rows]
        (wide,) = self.rows(centre)
        return lambda rows: np.subtract(self.x[rows], wide, out=self.room("batch norm centred", rows))

    def room(self, key: str, rows: slice) -> Array:
        """Scratch for some rows of the matrix."""
        return scratch(key, (rows.stop - rows.start, self.x.shape[1]), self.x.dtype)


@functools.lru_cache(maxsize=4096)
def _fold(pixels: int, numbers: int, row: int) -> int:
    """The largest divisor of ``pixels`` with which a row has no more than ``row`` numbers, or hardly more."""
    most = -(-row // max(1, numbers))
    return max((k for k in range(1, min(pixels, most) + 1) if pixels % k == 0), default=1)
