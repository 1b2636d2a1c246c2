"""Kernels that are written as whole blocks of threads: how they are made, and what they share."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

THREADS = 256  # in a block

_TYPES = {"float32": "float", "float64": "double"}

# Every source begins so, with T for the arrays' numbers.
_SHARED = r"""
#define THREADS %d
typedef %s T;

__device__ double total(double value) { // the sum over the block, for all its threads
    __shared__ double sums[THREADS];
    __syncthreads();
    sums[threadIdx.x] = value;
    for (int half = THREADS / 2; half; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    }
    __syncthreads();
    return sums[0];
}
"""


def launch(source: str, name: str, dtype: Any, grid: tuple[int, ...], arguments: tuple[Any, ...]) -> None:
    """Start a kernel of ``source`` on a grid of blocks, unless that is empty."""
    if 0 not in grid:
        _compiled(source, name, np.dtype(dtype).name)(grid, (THREADS,), arguments)


@functools.cache
def _compiled(source: str, name: str, dtype: str) -> Any:
    import cupy

    return cupy.RawKernel(_SHARED % (THREADS, _TYPES[dtype]) + source, name)
