"""Compile and start kernels: those with one element for each thread, and those of whole blocks of threads.

In their code, T is the dtype of the arrays. Wide is the dtype of arithmetic and sums: float for float16, otherwise T.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from minires.device import wide_dtype

THREADS = 256  # in a block

TYPES = {"float16": "float16", "float32": "float", "float64": "double"}
_WIDE = "typedef decltype(T() + T()) Wide;\n"  # CuPy's float16 is added as a float

# The beginning of every source of a raw kernel.
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


def wide(dtype: Any) -> Any:
    """Return the scalar type that a kernel takes as Wide."""
    return wide_dtype(dtype).type


def element_kernel(inputs: str, outputs: str, code: str, name: str, preamble: str = "") -> Any:
    """Return an ElementwiseKernel whose code may use Wide; scalar inputs must have an explicit type."""
    import cupy

    return cupy.ElementwiseKernel(inputs, outputs, code, name, preamble=_WIDE + preamble)


def address(array: Any) -> int:
    """Return the address of a CuPy array."""
    return array.data.ptr


def launch(source: str, name: str, dtype: Any, grid: tuple[int, ...], arguments: tuple[Any, ...]) -> None:
    """Start a kernel of ``source`` on a grid of blocks, unless the grid is empty."""
    if 0 not in grid:
        _compiled(source, name, np.dtype(dtype).name)(grid, (THREADS,), arguments)


@functools.cache
def _compiled(source: str, name: str, dtype: str) -> Any:
    """Return the kernel ``name`` of ``source``, compiled for T = ``dtype``."""
    import cupy

    whole = _SHARED % (THREADS, TYPES[dtype]) + _WIDE + source
    needs = "#include <cupy/float16.cuh>\n" if "float16" in whole else ""  # it needs CUDA's own headers
    return cupy.RawKernel(needs + whole, name)
