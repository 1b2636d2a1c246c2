"""Memory layout of the CUDA kernels.

Activations have the logical shape (N, C, H, W) and lie in memory as (C, N, H, W). A channel is then contiguous, as its
statistics need it, and for 1×1 filters the image is a matrix (C, N·H·W). Filters have the logical shape (K, C, R, S)
and lie as (R, S, C, K), as on the CPU. Arrays with another layout are copied first.
"""

from __future__ import annotations

from minires.device import Array, xp_of


def cnhw(x: Array) -> Array:
    """Return a logical (N, C, H, W) as a C-order (C, N, H, W): a view if possible, otherwise a copy."""
    return _contiguous(x.transpose(1, 0, 2, 3))


def nchw_view(x: Array) -> Array:
    """View (C, N, H, W) as (N, C, H, W)."""
    return x.transpose(1, 0, 2, 3)


def rsck(w: Array) -> Array:
    """Return logical filters (K, C, R, S) as a C-order (R, S, C, K): a view if possible, otherwise a copy."""
    return _contiguous(w.transpose(2, 3, 1, 0))


def kcrs_view(w: Array) -> Array:
    """View (R, S, C, K) as (K, C, R, S)."""
    return w.transpose(3, 2, 0, 1)


def _contiguous(x: Array) -> Array:
    contiguous: Array = xp_of(x).ascontiguousarray(x)
    return contiguous
