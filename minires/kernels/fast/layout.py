"""Memory layouts of the fast kernels, and how they cut work into blocks.

Activations have the logical shape (N, C, H, W) and lie in memory as (H, W, N, C). Each pixel is one row of N·C
elements, so an operation on a pixel runs over a long contiguous row, and a window over the image is a strided view.
Weights have the logical shape (K, C, R, S) and lie as (R, S, C, K): each tap of the filter is a matrix.

Functions that end in ``_view`` convert between logical shape and memory layout without copying.
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

_COPY_BLOCK = 1 << 18  # elements that one job copies


def hwnc_view(x: Array) -> Array:
    """View (N, C, H, W) as (H, W, N, C)."""
    return x.transpose(2, 3, 0, 1)


def nchw_view(x: Array) -> Array:
    """View (H, W, N, C) as (N, C, H, W)."""
    return x.transpose(2, 3, 0, 1)


def rsck_view(w: Array) -> Array:
    """View (K, C, R, S) as (R, S, C, K)."""
    return w.transpose(2, 3, 1, 0)


def kcrs_view(w: Array) -> Array:
    """View (R, S, C, K) as (K, C, R, S)."""
    return w.transpose(3, 2, 0, 1)


def contiguous(view: Array) -> Array:
    """Return ``view`` itself if it is in C order, otherwise a copy in C order."""
    if view.flags.c_contiguous and view.flags.aligned:
        return view
    copy = new_array(view.shape, view.dtype)
    jobs = blocks(len(view), max(1, math.ceil(_COPY_BLOCK * len(view) / max(1, view.size))))
    parallel(lambda rows: np.copyto(copy[rows], view[rows]), jobs)
    return copy


def hwnc(x: Array) -> Array:
    """Return a logical (N, C, H, W) as a C-order (H, W, N, C): a view if possible, otherwise a copy."""
    return contiguous(hwnc_view(x))


def rsck(w: Array) -> Array:
    """Return logical weights (K, C, R, S) as a C-order (R, S, C, K): a view if possible, otherwise a copy."""
    return contiguous(rsck_view(w))


def new_activations(shape: Sequence[int], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return an uninitialised (H, W, N, C) array for a logical shape (N, C, H, W)."""
    N, C, H, W = shape
    return new_array((H, W, N, C), dtype)


def repeated(per_channel: Array, N: int) -> Array:
    """Return (…, N·C): ``per_channel`` (…, C), repeated N times along the row of a pixel, aligned to a cache line."""
    *others, C = per_channel.shape
    row = new_array((*others, N, C), per_channel.dtype)
    row[...] = per_channel[..., None, :]
    return row.reshape(*others, N * C)


def blocks(n: int, size: int) -> list[slice]:
    """Cut 0 … n into slices of nearly equal length, none longer than ``size``, which is at least 1.

    The number of slices is 1 or even.
    """
    return pieces(n, even(-(-n // size)))


def even(count: int) -> int:
    """Return ``count``, plus one if it is odd and above 1: two threads that share the jobs then end together."""
    return count + count % 2 if count > 1 else count


def pieces(n: int, count: int) -> list[slice]:
    """Cut 0 … n into ``count`` slices of nearly equal length; fewer if some would be empty."""
    count = min(n, count)
    cuts = [n * i // count for i in range(count + 1)] if count else []
    return [slice(a, b) for a, b in itertools.pairwise(cuts) if a < b]
