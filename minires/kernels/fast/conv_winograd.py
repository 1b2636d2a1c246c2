"""3×3 convolutions with stride 1, and their gradients, by Winograd's F(4×4, 3×3).

The image is cut into 4×4 tiles. To a tile belongs a window d of 6×6 inputs, and with the matrices A, B, G of
cook_toom.py

    U = G w Gᵀ        (6×6 numbers for each pair of channels)                     (1)
    V = B d Bᵀ        (6×6 numbers for each tile, image and channel)              (2)
    M = V · U         (for each of the 36, a matrix product over channels)        (3)
    y = A M Aᵀ        (4×4 outputs for each tile)                                 (4)

The gradient with respect to the input is the same with gy for x, the filter reversed and its channels
exchanged. It has transformed gy already, and this transform is all that the gradient of the filter needs:

    gw = Gᵀ [Σ (Aᵀ x A)ᵀ · V] G,    the sum over tiles and images.                (5)

Each step is a batch of small matrix products. A pixel is one contiguous row of N·C numbers, so applying B to
a window's six rows or columns is a product of a 6×6 matrix with a 6 × N·C one, read in place through strides;
where a window reaches into the padding, the matrix simply loses those columns.

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

SUITS = "3×3 with stride 1 in float32"  # as a plan says
_BLOCK = 36 * 16384  # transformed numbers in a block of tiles: what a core's cache holds, more or less
_LARGE = 128 * 128  # from so many numbers in a tap, U does not fit the cache beside them: work in three phases
_FEW = 8  # channels up to which a plain sum is faster
_LANES = 16  # partial sums of a filter's gradient
_WORTH = 140 * 10**6  # multiplications, of which a transform takes the time of 96, for which threads are woken
_FILTER_BLOCK = 8192  # pairs of channels of which one job transforms the filter
_DTYPE = np.float32
_FORWARD, _BACKWARD = F43.astype(_DTYPE), F43.flipped().astype(_DTYPE)
_m, _n = F43.outputs, F43.window


class _Block(NamedTuple):
    """Neighbouring tiles: tile columns ``start`` to ``stop`` of tile row ``row``."""

    row: int
    start: int
    stop: int


def suits(x: tuple[int, ...], w: tuple[int, ...], geometry: Geometry, dtype: Any) -> bool:
    """Whether a convolution of logical shapes x (N, C, H, W) and w (K, C, R, S) is for this file, and gains."""
    possible = (
        geometry.kernel == (3, 3)
        and geometry.stride == geometry.dilation == (1, 1)
        and geometry.groups == 1
        and max(geometry.padding) <= 2
    )
    return possible and dtype == _DTYPE and x[1] > _FEW and x[1] * w[0] >= 48 and x[0] * x[2] * x[3] >= 64


def conv2d(x: Array, w: Array, geometry: Geometry, y: Array, finish: Finish) -> None:
    """y (P, Q, N, K) = `kernels.reference.conv2d` of x (H, W, N, C) and w (3, 3, C, K), finished."""
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
    """(gx, gw) as (H, W, N, C) and (3, 3, C, K), from gy (P, Q, N, K): gx if w is given, gw if x is.

    gx is the convolution of gy, padded by two less the forward padding, with the filter reversed.
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
    """One walk over all tiles: transform ``source`` (2), then (3) and (4) into ``target``, (5) with ``partner``."""

    def __init__(self, matrices: ShortConvolution, source: Array, offset: Size, size: Size) -> None:
        self.A, self.B = matrices.A, matrices.B
        self.source, self.offset = source, offset  # the first window begins at row and column ``offset``
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
            yield from self._three_phases(blocks)
            return
        transformed = _n * _n * self.rows * self.cols * self.batch * max(C, *others)
        lanes = [blocks[lane] for lane in pieces(len(blocks), _LANES if transformed * (C + 96) > _WORTH else 1)]
        if self.partner is not None:
            self.products = new_array((len(lanes), _n * _n, self.partner.shape[3], C), _DTYPE)
        yield lambda lane: self._lane(lane, lanes[lane]), range(len(lanes))

    def _blocks(self, C: int, K: int) -> list[_Block]:
        per_tile = _n * _n * self.batch * max(C, K)
        count = max(round(self.cols * per_tile / _BLOCK + 0.49), -(-4 // self.rows))
        if C * K < _LARGE and self.batch * C * K <= SMALL_PRODUCT:
            count = max(count, -(-self.cols * self.batch * C * K // SMALL_PRODUCT))
        columns = pieces(self.cols, min(self.cols, count + self.rows * count % 2))  # an even number of blocks
        return [_Block(row, c.start, c.stop) for row in range(self.rows) for c in columns]

    def _lane(self, lane: int, blocks: list[_Block]) -> None:
        """Blocks whose every step happens in the cache, and whose products form one partial sum."""
        for number, block in enumerate(blocks):
            tiles = block.stop - block.start
            V = self._room("winograd V", self.source, tiles)
            self._transform_source(block, V)
            if self.target is not None:
                M = self._room("winograd M", self.target, tiles)
                self._multiply(V, M, slice(None))
                self._back(M, block)
            if self.partner is not None:
                X = self._room("winograd M", self.partner, tiles)
                self._transform_partner(block, X)
                self._correlate(V, X, slice(None), lane, first=number == 0)

    def _three_phases(self, blocks: list[_Block]) -> Steps[None]:
        """Each step over the whole image before the next: filters are read once, and not once a block.

        What is large is there one after the other, in the same memory: M and the partner's tiles, U and the products.
        """
        V = self._everything(self.source)
        yield lambda block: self._transform_source(block, self._within(V, block)), blocks
        if self.target is not None:
            M = self._everything(self.target)
            yield lambda part: self._multiply(V, M, part), pieces(_n * _n, 12)
            self.U = None
            yield lambda block: self._back(self._within(M, block), block), blocks
            del M
        if self.partner is not None:
            X = self._everything(self.partner)
            yield lambda block: self._transform_partner(block, self._within(X, block)), blocks
            self.products = new_array((1, _n * _n, self.partner.shape[3], self.source.shape[3]), _DTYPE)
            yield lambda part: self._correlate(V, X, part, 0, first=True), pieces(_n * _n, 12)

    def _everything(self, image: Array) -> Array:
        """Room for the transforms of all tiles of an image."""
        return new_array((_n, _n, self.rows * self.cols, image.shape[2] * image.shape[3]), _DTYPE)

    def _within(self, everything: Array, block: _Block) -> Array:
        first = block.row * self.cols
        return everything[:, :, first + block.start : first + block.stop]

    def _room(self, key: str, image: Array, tiles: int) -> Array:
        return scratch(key, (_n, _n, tiles, image.shape[2] * image.shape[3]), _DTYPE)

    def _transform_source(self, block: _Block, V: Array) -> None:
        _tiles_forth(self.B, self.source, block, self.offset, V)  # (2)

    def _transform_partner(self, block: _Block, X: Array) -> None:
        assert self.partner is not None
        _tiles_forth(np.ascontiguousarray(self.A.T), self.partner, block, (0, 0), X)

    def _back(self, M: Array, block: _Block) -> None:
        assert self.target is not None
        rows, cols = _tiles_back(self.A, M, block, self.target)  # (4)
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
        """(6, 6, tiles, N·C) -> (36, tiles·N, C)."""
        return V.reshape(_n * _n, V.shape[2] * self.batch, V.shape[3] // self.batch)


def _tiles_forth(matrix: Array, image: Array, block: _Block, offset: Size, out: Array) -> None:
    """out[:, :, t] = matrix · window · matrixᵀ for each tile t; windows are 4 apart, the first at ``offset``."""
    (H, W), n, tiles = image.shape[:2], matrix.shape[1], block.stop - block.start
    image = image.reshape(H, W, -1)
    top, left = block.row * _m + offset[0], block.start * _m + offset[1]
    rows = slice(max(0, top), min(H, top + n))
    cols = slice(max(0, left), min(W, left + _m * (tiles - 1) + n))
    half = scratch("winograd rows", (_m * (tiles - 1) + n, len(matrix), image.shape[2]), _DTYPE)
    half[: cols.start - left] = half[cols.stop - left :] = 0
    inside = half[cols.start - left : cols.stop - left]
    np.matmul(matrix[:, rows.start - top : rows.stop - top], image[rows, cols].transpose(1, 0, 2), out=inside)
    col, row, number = half.strides
    shape = tiles, half.shape[1], n, half.shape[2]
    windows: Array = np.ndarray(shape, half.dtype, half, 0, (_m * col, row, col, number))  # they overlap
    np.matmul(matrix, windows, out=out.transpose(2, 0, 1, 3))


def _tiles_back(A: Array, M: Array, block: _Block, image: Array) -> tuple[slice, slice]:
    """The tiles of ``image`` = A · M · Aᵀ, and where they are; what reaches over the image's edge is left out."""
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
    """U (36, C, K) of (1)."""
    C, K = w.shape[2:]
    taps, U = w.reshape(3, 3, C * K), new_array((_n, _n, C * K), _DTYPE)

    def transform(part: slice) -> None:
        half = scratch("winograd filter", (3, _n, part.stop - part.start), _DTYPE)
        np.matmul(G, taps[:, :, part], out=half)
        np.matmul(G, half.transpose(1, 0, 2), out=U[:, :, part].transpose(1, 0, 2))  # (1)

    yield transform, pieces(C * K, -(-C * K // _FILTER_BLOCK))
    return U.reshape(_n * _n, C, K)


def _transposed_filter_transform(w: Array, G: Array) -> Steps[Array]:
    """Uᵀ (36, K, C): of a small filter a copy, because BLAS takes twice as long with small transposed matrices."""
    if w.shape[2] * w.shape[3] < _LARGE:
        return (yield from _filter_transform(np.ascontiguousarray(w.transpose(0, 1, 3, 2)), G))
    U = yield from _filter_transform(w, G)
    return U.transpose(0, 2, 1)


def _filter_gradient(products: Array) -> Steps[Array]:
    """gw (3, 3, C, K) of (5), from the partial sums (lanes, 36, C, K)."""
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
