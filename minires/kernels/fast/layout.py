"""Memory orders of the fast kernels, and how work on them is cut.

Activations are logically (N, C, H, W) and lie in memory as (H, W, N, C): each pixel is one row of N·C numbers,
so whatever is done to a pixel is done to a long contiguous row, and a window over the image is a strided view.
Weights are logically (K, C, R, S) and lie as (R, S, C, K): each tap of the filter is a matrix.

Functions that end in ``_view`` take a logical array to its memory order without touching a number.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from minires.device import Array
from minires.memory import new_array
from minires.threads import parallel

_COPY_BLOCK = 1 << 18  # numbers that one job copies


def hwnc_view(x: Array) -> Array:
    """(N, C, H, W) -> (H, W, N, C), a view."""
    return x.transpose(2, 3, 0, 1)


def nchw_view(x: Array) -> Array:
    """(H, W, N, C) -> (N, C, H, W), a view."""
    return x.transpose(2, 3, 0, 1)


def rsck_view(w: Array) -> Array:
    """(K, C, R, S) -> (R, S, C, K), a view."""
    return w.transpose(2, 3, 1, 0)


def kcrs_view(w: Array) -> Array:
    """(R, S, C, K) -> (K, C, R, S), a view."""
    return w.transpose(3, 2, 0, 1)


def contiguous(view: Array) -> Array:
    """``view`` itself if it is in C order, otherwise a copy that is."""
    if view.flags.c_contiguous and view.flags.aligned:
        return view
    copy = new_array(view.shape, view.dtype)
    jobs = blocks(len(view), max(1, math.ceil(_COPY_BLOCK * len(view) / max(1, view.size))))
    parallel(lambda rows: np.copyto(copy[rows], view[rows]), jobs)
    return copy


def hwnc(x: Array) -> Array:
    """A logical (N, C, H, W) as a C-order (H, W, N, C): a view where it lies so, otherwise a copy."""
    return contiguous(hwnc_view(x))


def rsck(w: Array) -> Array:
    """Logical weights (K, C, R, S) as a C-order (R, S, C, K): a view where they lie so, otherwise a copy."""
    return contiguous(rsck_view(w))


def new_activations(shape: Sequence[int], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """An uninitialised (H, W, N, C) array for a logical shape (N, C, H, W)."""
    N, C, H, W = shape
    return new_array((H, W, N, C), dtype)


def repeated(per_channel: Array, N: int) -> Array:
    """(…, C) -> (…, N·C): a number for each place in the row of a pixel, beginning with a cache line."""
    *others, C = per_channel.shape
    row = new_array((*others, N, C), per_channel.dtype)
    row[...] = per_channel[..., None, :]
    return row.reshape(*others, N * C)


def blocks(n: int, size: int) -> list[slice]:
    """0 … n cut into an even number of slices of nearly equal length, or one; none longer than ``size``, at least 1."""
    return pieces(n, even(-(-n // size)))


def even(count: int) -> int:
    """So many jobs, or one more, so that two threads that share them end together."""
    return count + count % 2 if count > 1 else count


def pieces(n: int, count: int) -> list[slice]:
    """0 … n cut into ``count`` slices of nearly equal length; fewer where some would be empty."""
    count = min(n, count)
    cuts = [n * i // count for i in range(count + 1)] if count else []
    return [slice(a, b) for a, b in itertools.pairwise(cuts) if a < b]
