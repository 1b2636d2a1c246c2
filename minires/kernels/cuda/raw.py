"""How kernels are made, and what they share: those of an element at a time, and those of whole blocks of threads.

T is the type of the arrays' numbers, Wide that of arithmetic with them and of sums: float for halves, otherwise T.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from minires.device import wide_dtype

THREADS = 256  # in a block

TYPES = {"float16": "float16", "float32": "float", "float64": "double"}
_WIDE = "typedef decltype(T() + T()) Wide;\n"  # CuPy's float16 is added as a float

# Every source begins so.
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
    """The type of the numbers beside arrays that a kernel takes as Wide."""
    return wide_dtype(dtype).type


def element_kernel(inputs: str, outputs: str, code: str, name: str, preamble: str = "") -> Any:
    """An ElementwiseKernel that knows Wide. Numbers beside its arrays are of a type that it names."""
    import cupy

    return cupy.ElementwiseKernel(inputs, outputs, code, name, preamble=_WIDE + preamble)


def address(array: Any) -> int:
    """Where an array of CuPy begins."""
    return array.data.ptr


def launch(source: str, name: str, dtype: Any, grid: tuple[int, ...], arguments: tuple[Any, ...]) -> None:
    """Start a kernel of ``source`` on a grid of blocks, unless that is empty."""
    if 0 not in grid:
        _compiled(source, name, np.dtype(dtype).name)(grid, (THREADS,), arguments)


@functools.cache
def _compiled(source: str, name: str, dtype: str) -> Any:
    import cupy

    whole = _SHARED % (THREADS, TYPES[dtype]) + _WIDE + source
    needs = "#include <cupy/float16.cuh>\n" if "float16" in whole else ""  # CUDA's headers, which not everybody has
    return cupy.RawKernel(needs + whole, name)
