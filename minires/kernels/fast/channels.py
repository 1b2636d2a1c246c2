"""An image as a matrix whose rows repeat the channels, and sums over each channel.

**Statistics.** Σx and Σx² of a block are summed in the dtype of the image, and the sums of blocks in float64. The
difference var = Σx²/M − mean² loses as many digits as mean² is larger than var. Where a channel has mean² > 100 · var,
the statistics and all that follows are computed from x − centre, where the centre is the mean. The difference of two
floats of nearly the same size has no rounding error.
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
_BLOCK = 1 << 19  # elements in a block: threads do not speed up calls shorter than about 30 µs
_TWO_BLOCKS = 1 << 18  # elements from which there are at least two blocks
_ROW = 16384  # elements in a row of a matrix, if the image's size allows: repeating a shorter one takes longer
_SUM_ROW = 4096  # elements in a row of the matrix that is summed: many short rows are faster than few long ones


class ChannelRows:
    """An image as a matrix: (N, C, H, W) in H, W, N, C order, with ``fold`` pixels, fold·N·C elements, in a row."""

    def __init__(self, x: Array) -> None:
        self.N, self.C, self.H, self.W = x.shape
        self.fold = _fold(self.H * self.W, self.N * self.C, _ROW)
        self.x = self.matrix(x)
        least = 2 if self.x.size >= _TWO_BLOCKS else 1
        self.blocks = pieces(len(self.x), max(least, even(-(-self.x.size // _BLOCK))))
        self.sum_fold = _fold(self.fold, self.N * self.C, _SUM_ROW)  # pixels in a row of the matrix that is summed

    def matrix(self, x: Array) -> Array:
        """Return x (N, C, H, W) as (H·W / fold, fold·N·C)."""
        return hwnc(x).reshape(self.H * self.W // self.fold, self.fold * self.N * self.C)

    def image(self, matrix: Array) -> Array:
        """View (H·W / fold, fold·N·C) as (N, C, H, W)."""
        return nchw_view(matrix.reshape(self.H, self.W, self.N, self.C))

    def new(self) -> Array:
        """Return an uninitialised matrix."""
        return new_array(self.x.shape, self.x.dtype)

    def rows(self, *per_channel: Array) -> Array:
        """Return (len(per_channel), fold·N·C): each array (C,), repeated along a row of the matrix."""
        return repeated(np.array(per_channel, self.x.dtype), self.fold * self.N)

    def sums(self, of_block: Callable[[slice], tuple[Array, Array]]) -> Steps[tuple[Array, Array]]:
        """Return (Σ a, Σ a·b) over each channel in float64; ``of_block(rows)`` returns a and b. One step of threads."""
        width = self.sum_fold * self.N * self.C
        most = max((rows.stop - rows.start for rows in self.blocks), default=0) * self.fold // self.sum_fold
        # A block has more than LONG rows only if H·W has no small divisor, so that a row is short.
        dtype = self.x.dtype if most <= LONG else np.dtype(np.float64)
        totals, ones = np.empty((2, len(self.blocks), width), dtype), np.ones(most, dtype)

        def run(index: int) -> None:
            block = of_block(self.blocks[index])
            rows = len(block[0]) * self.fold // self.sum_fold
            a, b = (part.reshape(rows, width).astype(dtype, copy=False) for part in block)
            np.matmul(ones[: len(a)], a, out=totals[0, index])
            np.einsum("ij,ij->j", a, b, out=totals[1, index])

        yield run, range(len(self.blocks))
        first, second = totals.sum(1, dtype=np.float64).reshape(2, self.sum_fold * self.N, self.C).sum(1)
        return first, second

    def statistics(self) -> Steps[tuple[Array, Array, Array | None]]:
        """Return mean and var in float64, and the centre to take x around, or None. One or two steps of threads."""
        M = self.N * self.H * self.W
        total, squares = yield from self.sums(lambda rows: (self.x[rows], self.x[rows]))
        mean = total / M
        var = squares / M - mean * mean  # rounding may make it negative; then it is computed again below
        if not (mean * mean > FAR * var).any():
            return mean, var, None
        centre = mean.astype(self.x.dtype)
        centred = self.centred(centre)
        total, squares = yield from self.sums(lambda rows: (centred(rows),) * 2)
        rest = total / M
        return centre + rest, np.maximum(squares / M - rest * rest, 0), centre

    def centred(self, centre: Array | None) -> Callable[[slice], Array]:
        """Return a function that returns rows of x − centre in scratch memory, or of x if there is no centre."""
        if centre is None:
            return lambda rows: self.x[rows]
        (wide,) = self.rows(centre)
        return lambda rows: np.subtract(self.x[rows], wide, out=self.room("batch norm centred", rows))

    def room(self, key: str, rows: slice) -> Array:
        """Return scratch memory for some rows of the matrix."""
        return scratch(key, (rows.stop - rows.start, self.x.shape[1]), self.x.dtype)


@functools.lru_cache(maxsize=4096)
def _fold(pixels: int, elements: int, row: int) -> int:
    """Return how many pixels of ``elements`` each fit in about ``row`` elements; the result divides ``pixels``."""
    most = -(-row // max(1, elements))
    return max((k for k in range(1, min(pixels, most) + 1) if pixels % k == 0), default=1)
