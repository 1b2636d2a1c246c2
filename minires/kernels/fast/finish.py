"""Scale, bias, shortcut and ReLU after a convolution, applied to a piece of its output while the cache holds it.

    y = relu(scale · y + bias + shortcut)                                         (1)

A pixel is one row of N·K elements; scale and bias are repeated N times along it.
"""

from __future__ import annotations

import numpy as np

from minires.device import Array
from minires.kernels.fast.layout import hwnc, repeated


class Finish:
    """Apply (1) in place to pieces of y (P, Q, N, K); a piece is a rectangle of pixels or a run of them."""

    def __init__(self, y: Array, scale: Array | None, bias: Array | None, shortcut: Array | None, relu: bool) -> None:
        P, Q, N, K = y.shape
        self._image = P, Q, N * K
        self._y = y.reshape(P * Q, N * K)
        self._scale = None if scale is None else repeated(scale, N)
        self._bias = None if bias is None else repeated(bias, N)
        self._shortcut = None if shortcut is None else hwnc(shortcut).reshape(self._y.shape)
        self._zeros = repeated(np.zeros(K, y.dtype), N) if relu else None  # a row of zeros is faster than one zero

    @property
    def nothing(self) -> bool:
        """Whether (1) changes nothing."""
        return all(part is None for part in (self._scale, self._bias, self._shortcut, self._zeros))

    def rectangle(self, rows: slice, cols: slice = slice(None)) -> None:
        """Finish the pixels of these rows and columns."""
        if not self.nothing:
            images = (None if a is None else a.reshape(self._image)[rows, cols] for a in (self._y, self._shortcut))
            self._do(*images)

    def pixels(self, run: slice = slice(None)) -> None:
        """Finish a run of pixels in row-major order."""
        if not self.nothing:
            self._do(self._y[run], None if self._shortcut is None else self._shortcut[run])

    def _do(self, y: Array | None, shortcut: Array | None) -> None:
        assert y is not None
        if self._scale is not None:
            np.multiply(y, self._scale, out=y)
        if self._bias is not None:
            np.add(y, self._bias, out=y)
        if shortcut is not None:
            np.add(y, shortcut, out=y)
        if self._zeros is not None:
            np.maximum(y, self._zeros, out=y)
