"""3×3 convolutions with stride 1, and their gradients, by Winograd's F(4×4, 3×3).

The outputs are cut into 4×4 tiles. Each tile depends on a window d of 6×6 inputs. With the matrices A, B, G of
cook_toom.py,

    U = G w Gᵀ        (6×6 values for each pair of channels)                      (1)
    V = B d Bᵀ        (6×6 values for each tile, image and channel)               (2)
    M = V · U         (a matrix product over channels for each of the 36)         (3)
    y = A M Aᵀ        (4×4 outputs for each tile)                                 (4)

The gradient with respect to the input is the same with gy in place of x, with the filter reversed and its channels
exchanged. This transforms gy, and the gradient with respect to the filter needs only this transform:

    gw = Gᵀ [Σ (Aᵀ x A)ᵀ · V] G,    the sum over tiles and images.                (5)

Each step is a batch of small matrix products. A pixel is one contiguous row of N·C elements, so B times the six rows or
columns of a window is a product of a 6×6 matrix with a 6 × N·C one, which is read in place through strides. Where a
window reaches into the padding, the columns of the matrix that would meet the padding are left out.

Images here are C-order arrays (H, W, N·C), the filter is (3, 3, C, K).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minires.device import Array, Size
from minires.geometry import Geometry
from minires.kernels.fast.cook_toom import F43, ShortConvolution
from minires.kernels.fast.finish import Finish
from minires.kernels.fast.layout import contiguous, pieces
from minires.kernels.fast.sums import SMALL_PRODUCT, add_product
from minires.memory import new_array
from minires.scratch import scratch
from minires.threads import Steps, parallel_steps

SUITS = "3×3 with stride 1 in float32"  # how a plan prints it
_BLOCK = 36 * 16384  # transformed elements in a block of tiles: about what a core's cache holds
_LARGE = 128 * 128  # elements in a tap from which U does not fit in the cache beside a block: one step at a time
_FEW = 8  # channels up to which a plain sum is faster
_LANES = 16  # partial sums of a filter's gradient
_WORTH = 140 * 10**6  # multiplications from which waking threads is worth it; a transform counts as 96
_FILTER_BLOCK = 8192  # pairs of channels whose filters one job transforms
_DTYPE = np.float32
_FORWARD, _BACKWARD = F43.astype(_DTYPE), F43.flipped().astype(_DTYPE)
_m, _n = F43.outputs, F43.window


class _Block(NamedTuple):
    """Neighbouring tiles: the tile columns ``start`` to ``stop`` of the tile row ``row``."""

    row: int
    start: int
    stop: int


def suits(x: tuple[int, ...], w: tuple[int, ...], geometry: Geometry, dtype: Any) -> bool:
    """Return whether this file computes convolutions of x (N, C, H, W) and w (K, C, R, S), and is faster."""
    possible = (
        geometry.kernel == (3, 3)
        and geometry.stride == geometry.dilation == (1, 1)
        and geometry.groups == 1
        and max(geometry.padding) <= 2
    )
    return possible and dtype == _DTYPE and x[1] > _FEW and x[1] * w[0] >= 48 and x[0] * x[2] * x[3] >= 64


def conv2d(x: Array, w: Array, geometry: Geometry, y: Array, finish: Finish) -> None:
    """Set y (P, Q, N, K) to the convolution of x (H, W, N, C) with w (3, 3, C, K), then finish it."""
    offset = -geometry.padding[0], -geometry.padding[1]
    forward = _Pass(_FORWARD, contiguous(x), offset, (y.shape[0], y.shape[1]))
    forward.target, forward.finish = y, finish

    def steps() -> Steps[None]:
        forward.U = yield from _filter_transform(w, _FORWARD.G)
        yield from forward.steps()

    parallel_steps(steps())


def conv2d_grads(
    gy: Array, x_size: Size, w: Array | None, x: Array | None, geometry: Geometry
) -> tuple[Array | None, Array | None]:
    """Return (gx, gw) as (H, W, N, C) and (3, 3, C, K), from gy (P, Q, N, K): gx if w is given, gw if x is.

    gx is the convolution of gy, padded by two minus the forward padding, with the filter reversed.
    """
    grad_pass = _Pass(_BACKWARD, gy, (geometry.padding[0] - 2, geometry.padding[1] - 2), x_size)
    if x is not None:
        grad_pass.partner = contiguous(x)

    def steps() -> Steps[tuple[Array | None, Array | None]]:
        if w is not None:
            grad_pass.target = new_array((*x_size, gy.shape[2], w.shape[2]), _DTYPE)
            grad_pass.U = yield from _transposed_filter_transform(w, _BACKWARD.G)
        yield from grad_pass.steps()
        gw = None if grad_pass.products is None else (yield from _filter_gradient(grad_pass.products))
        return grad_pass.target, gw

    return parallel_steps(steps())


class _Pass:
    """One pass over all tiles: (2) from ``source``, then (3) and (4) into ``target``, and (5) with ``partner``."""

    def __init__(self, matrices: ShortConvolution, source: Array, offset: Size, size: Size) -> None:
        self.A, self.B = matrices.A, matrices.B
        self.source, self.offset = source, offset  # row and column of the first window
        self.U: Array | None = None
        self.target: Array | None = None
        self.finish: Finish | None = None
        self.partner: Array | None = None
        self.products: Array | None = None
        self.rows, self.cols = -(-size[0] // _m), -(-size[1] // _m)  # tiles
        self.batch = source.shape[2]

    def steps(self) -> Steps[None]:
        """Fill ``target`` and ``products``."""
        C, others = self.source.shape[3], [a.shape[3] for a in (self.target, self.partner) if a is not None]
        blocks = self._blocks(C, max(others))
        if C * max(others) >= _LARGE:
            yield from self._step_by_step(blocks)
            return
        transformed = _n * _n * self.rows * self.cols * self.batch * max(C, *others)
        lanes = [blocks[lane] for lane in pieces(len(blocks), _LANES if transformed * (C + 96) > _WORTH else 1)]
        if self.partner is not None:
            self.products = new_array((len(lanes), _n * _n, self.partner.shape[3], C), _DTYPE)
        yield lambda lane: self._lane(lane, lanes[lane]), range(len(lanes))

    def _blocks(self, C: int, K: int) -> list[_Block]:
        """Cut the tiles into blocks; C and K are the channels of the source and the most of the others."""
        per_tile = _n * _n * self.batch * max(C, K)
        count = max(round(self.cols * per_tile / _BLOCK + 0.49), -(-4 // self.rows))
        if C * K < _LARGE and self.batch * C * K <= SMALL_PRODUCT:
            count = max(count, -(-self.cols * self.batch * C * K // SMALL_PRODUCT))
        columns = pieces(self.cols, min(self.cols, count + self.rows * count % 2))  # an even number of blocks
        return [_Block(row, c.start, c.stop) for row in range(self.rows) for c in columns]

    def _lane(self, lane: int, blocks: list[_Block]) -> None:
        """Compute blocks one by one; all steps of a block happen in the cache. Their products form one partial sum."""
        for index, block in enumerate(blocks):
            tiles = block.stop - block.start
            V = self._scratch("winograd V", self.source, tiles)
            self._transform_source(block, V)
            if self.target is not None:
                M = self._scratch("winograd M", self.target, tiles)
                self._multiply(V, M, slice(None))
                self._finish(M, block)
            if self.partner is not None:
                X = self._scratch("winograd M", self.partner, tiles)
                self._transform_partner(block, X)
                self._correlate(V, X, slice(None), lane, first=index == 0)

    def _step_by_step(self, blocks: list[_Block]) -> Steps[None]:
        """Compute each step for the whole image before the next, so that filters are read once instead of once a block.

        Large arrays exist one after the other and share memory: M and the partner's tiles, U and the products.
        """
        V = self._all_tiles(self.source)
        yield lambda block: self._transform_source(block, self._tiles_of(V, block)), blocks
        if self.target is not None:
            M = self._all_tiles(self.target)
            yield lambda part: self._multiply(V, M, part), pieces(_n * _n, 12)
            self.U = None
            yield lambda block: self._finish(self._tiles_of(M, block), block), blocks
            del M
        if self.partner is not None:
            X = self._all_tiles(self.partner)
            yield lambda block: self._transform_partner(block, self._tiles_of(X, block)), blocks
            self.products = new_array((1, _n * _n, self.partner.shape[3], self.source.shape[3]), _DTYPE)
            yield lambda part: self._correlate(V, X, part, 0, first=True), pieces(_n * _n, 12)

    def _all_tiles(self, image: Array) -> Array:
        """Return uninitialised memory for the transforms of all tiles of an image."""
        return new_array((_n, _n, self.rows * self.cols, image.shape[2] * image.shape[3]), _DTYPE)

    def _tiles_of(self, tiles: Array, block: _Block) -> Array:
        """Return the part of the transforms that belongs to a block of tiles, a view."""
        first = block.row * self.cols
        return tiles[:, :, first + block.start : first + block.stop]

    def _scratch(self, key: str, image: Array, tiles: int) -> Array:
        """Return scratch memory for the transforms of some tiles of an image."""
        return scratch(key, (_n, _n, tiles, image.shape[2] * image.shape[3]), _DTYPE)

    def _transform_source(self, block: _Block, V: Array) -> None:
        _transform(self.B, self.source, block, self.offset, V)  # (2)

    def _transform_partner(self, block: _Block, X: Array) -> None:
        assert self.partner is not None
        _transform(np.ascontiguousarray(self.A.T), self.partner, block, (0, 0), X)

    def _finish(self, M: Array, block: _Block) -> None:
        assert self.target is not None
        rows, cols = _transform_back(self.A, M, block, self.target)  # (4)
        if self.finish is not None:
            self.finish.rectangle(rows, cols)

    def _multiply(self, V: Array, M: Array, part: slice) -> None:
        assert self.U is not None
        matrices, results = self._by_pixel(V), self._by_pixel(M)
        np.matmul(matrices[part], self.U[part], out=results[part])  # (3)

    def _correlate(self, V: Array, X: Array, part: slice, lane: int, first: bool) -> None:
        assert self.products is not None
        partner, source = self._by_pixel(X)[part].transpose(0, 2, 1), self._by_pixel(V)[part]
        add_product(self.products[lane, part], partner, source, first)  # (5)

    def _by_pixel(self, V: Array) -> Array:
        """Return (6, 6, tiles, N·C) as (36, tiles·N, C)."""
        return V.reshape(_n * _n, V.shape[2] * self.batch, V.shape[3] // self.batch)


def _transform(matrix: Array, image: Array, block: _Block, offset: Size, out: Array) -> None:
    """Set out[:, :, t] = matrix · window · matrixᵀ for each tile t.

    Windows begin at ``offset`` and are 4 pixels apart.
    """
    (H, W), n, tiles = image.shape[:2], matrix.shape[1], block.stop - block.start
    image = image.reshape(H, W, -1)
    top, left = block.row * _m + offset[0], block.start * _m + offset[1]
    rows = slice(max(0, top), min(H, top + n))
    cols = slice(max(0, left), min(W, left + _m * (tiles - 1) + n))
    half = scratch("winograd rows", (_m * (tiles - 1) + n, len(matrix), image.shape[2]), _DTYPE)
    half[: cols.start - left] = half[cols.stop - left :] = 0
    inside = half[cols.start - left : cols.stop - left]
    np.matmul(matrix[:, rows.start - top : rows.stop - top], image[rows, cols].transpose(1, 0, 2), out=inside)
    col, row, item = half.strides
    shape = tiles, half.shape[1], n, half.shape[2]
    windows: Array = np.ndarray(shape, half.dtype, half, 0, (_m * col, row, col, item))  # they overlap
    np.matmul(matrix, windows, out=out.transpose(2, 0, 1, 3))


def _transform_back(A: Array, M: Array, block: _Block, image: Array) -> tuple[slice, slice]:
    """Set the tiles of ``image`` to A · M · Aᵀ, without the pixels beyond its edge; return their rows and columns."""
    H, W = image.shape[:2]
    image = image.reshape(H, W, -1)
    tiles, X = M.shape[2:]
    top, left = block.row * _m, block.start * _m
    rows, cols = slice(top, min(top + _m, H)), slice(left, min(left + _m * tiles, W))
    half = scratch("winograd rows", (tiles, _m, _n, X), _DTYPE)
    np.matmul(A, M.transpose(2, 0, 1, 3), out=half.transpose(0, 2, 1, 3))
    columns = half.reshape(tiles * _m, _n, X)[: cols.stop - left]
    np.matmul(A[: rows.stop - top], columns, out=image[rows, cols].transpose(1, 0, 2))
    return rows, cols


def _filter_transform(w: Array, G: Array) -> Steps[Array]:
    """Return U (36, C, K) of (1)."""
    C, K = w.shape[2:]
    taps, U = w.reshape(3, 3, C * K), new_array((_n, _n, C * K), _DTYPE)

    def transform(part: slice) -> None:
        half = scratch("winograd filter", (3, _n, part.stop - part.start), _DTYPE)
        np.matmul(G, taps[:, :, part], out=half)
        np.matmul(G, half.transpose(1, 0, 2), out=U[:, :, part].transpose(1, 0, 2))  # (1)

    yield transform, pieces(C * K, -(-C * K // _FILTER_BLOCK))
    return U.reshape(_n * _n, C, K)


def _transposed_filter_transform(w: Array, G: Array) -> Steps[Array]:
    """Return Uᵀ (36, K, C), copied if the filter is small.

    BLAS takes twice as long for small transposed matrices.
    """
    if w.shape[2] * w.shape[3] < _LARGE:
        return (yield from _filter_transform(np.ascontiguousarray(w.transpose(0, 1, 3, 2)), G))
    U = yield from _filter_transform(w, G)
    return U.transpose(0, 2, 1)


def _filter_gradient(products: Array) -> Steps[Array]:
    """Return gw (3, 3, C, K) of (5), from the partial sums (lanes, 36, C, K)."""
    C, K = products.shape[2:]
    sums, gw = products.reshape(len(products), _n, _n, C * K), new_array((3, 3, C * K), _DTYPE)
    GT = np.ascontiguousarray(_BACKWARD.G.T)

    def transform(part: slice) -> None:
        columns = part.stop - part.start
        total = scratch("winograd filter sum", (_n, _n, columns), _DTYPE)
        np.add.reduce(sums[..., part], axis=0, out=total)
        half = scratch("winograd filter", (_n, 3, columns), _DTYPE)
        np.matmul(GT, total, out=half)
        np.matmul(GT, half.transpose(1, 0, 2), out=gw[:, :, part].transpose(1, 0, 2))  # (5)

    yield transform, pieces(C * K, -(-C * K * len(products) // _FILTER_BLOCK))
    return gw.reshape(3, 3, C, K)
