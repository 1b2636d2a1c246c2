"""Short convolutions with few multiplications: the algebra behind Winograd's kernels.

m outputs of a filter w with r taps over a window d of n = m + r − 1 inputs,

    y[i] = Σ_k w[k] · d[i + k],    i = 0 … m − 1,

take m·r multiplications directly, and n by the algorithm of Toom and Cook:

    y = A · [(G · w) ⊙ (B · d)].                                                  (1)

This is polynomial multiplication, transposed. To multiply two polynomials of degree r − 1 and m − 1, evaluate both at n
points, multiply the values, and interpolate. One of the points may be ∞, where the value of a polynomial is its leading
coefficient. Evaluation is a matrix with rows (1, p, p², …): G for the filter, Aᵀ for the other factor. Interpolation,
transposed, is B. Its row for the point p_i holds the coefficients of

    Π_{j≠i} (t − p_j),  and its row for ∞ those of  Π_j (t − p_j).                (2)

The divisor Π_{j≠i} (p_i − p_j) of Lagrange's formula is moved to row i of G. A factor may be moved between a row of B
and the same row of G; powers of two are moved so that both stay near 1.

An image is transformed along both axes, Y = A · [(G w Gᵀ) ⊙ (B d Bᵀ)] · Aᵀ. For m = 4 and r = 3 this takes 36
multiplications instead of 144. Sums over channels go inside the brackets, where they are matrix products.

(1) is bilinear, so its two gradients are (1) with the roles of the three matrices exchanged:

    gw = Gᵀ · [(Aᵀ · gy) ⊙ (B · d)].                                              (3)

**Rounding.** Products of intermediate values are larger than the sums that they end in. With unit round-off u, each
path from an input to an output has at most n_ops roundings, so

    |error| ≤ γ(n_ops) · |A| · [(|G| · |w|) ⊙ (|B| · |d|)],    γ(n) = n·u / (1 − n·u),    (4)

with absolute values taken element by element. `ShortConvolution.growth` is the largest ratio of the right-hand side
(without γ) to Σ|w| · max|d|. The points 0, ±3/4, ±3/2, ∞ have half the error of the usual 0, ±1, ±2, ∞, and B and
A remain exact in binary.

Source: Winograd 1980; Lavin & Gray 2015, arXiv:1509.09308; points: Barabasz et al. 2018, arXiv:1803.10986.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minires.device import Array


class ShortConvolution(NamedTuple):
    """The matrices A (m, n), G (n, r), B (n, n) of (1)."""

    A: Array
    G: Array
    B: Array

    @property
    def outputs(self) -> int:
        """m, the number of outputs."""
        return len(self.A)

    @property
    def window(self) -> int:
        """n, the number of inputs, and of multiplications."""
        return len(self.B)

    def flipped(self) -> ShortConvolution:
        """Return the same algorithm for a filter that is given in reverse."""
        return ShortConvolution(self.A, np.ascontiguousarray(self.G[:, ::-1]), self.B)

    def astype(self, dtype: type[np.floating]) -> ShortConvolution:
        """Return the same algorithm with its matrices rounded to ``dtype``."""
        return ShortConvolution(*(np.ascontiguousarray(matrix, dtype) for matrix in self))

    def growth(self) -> float:
        """Return the largest value of |A| · [(|G| · |w|) ⊙ (|B| · |d|)] over Σ|w| · max|d|, for one axis."""
        A, G, B = (np.abs(matrix) for matrix in self)
        return float((A @ (B.sum(1, keepdims=True) * G)).max())


def cook_toom(m: int, r: int, points: tuple[float, ...]) -> ShortConvolution:
    """Return the algorithm (1) for m outputs and r taps, with m + r − 2 finite points and ∞."""
    n = m + r - 1
    A, G, B = np.zeros((m, n)), np.zeros((n, r)), np.zeros((n, n))
    for i, p in enumerate(points):
        others = [q for q in points if q != p]
        A[:, i] = p ** np.arange(m)
        G[i] = p ** np.arange(r) / np.prod(p - np.array(others))
        B[i, : n - 1] = np.poly(others)[::-1]  # (2)
    A[-1, -1] = G[-1, -1] = 1
    B[-1] = np.poly(points)[::-1]  # (2)
    for i in range(n):
        scale = 2.0 ** np.round(np.log2(np.abs(B[i]).max()))
        B[i] /= scale
        G[i] *= scale
    return ShortConvolution(A, G, B)


F43 = cook_toom(4, 3, (0.0, 0.75, -0.75, 1.5, -1.5))
