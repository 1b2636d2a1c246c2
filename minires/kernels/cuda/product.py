"""Matrix products on a GPU: cuBLAS', with sums in float32 or wider.

CuPy's `matmul` serves, but not for halves: it rounds each product of two vectors, converts stacks of matrices to
float32 first, and gives halves alone. Of them cuBLAS is asked here.
"""

from __future__ import annotations

import numpy as np

from minires.device import Array, xp_of
from minires.kernels.cuda.raw import address

_ONE, _ZERO = np.ones((), np.float32), np.zeros((), np.float32)
_NO_SUMS_OF_HALVES = 16  # CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION, of the parts of a long sum


def multiply(a: Array, b: Array, out: Array) -> None:
    """out = a · b, for each matrix of a stack.

    Parameters
    ----------
    a, b : (G, I, K) and (G, K, J) of one dtype
    out : (G, I, J) in C order, of their dtype; of halves also in float32
    """
    if 0 in (*a.shape, *b.shape):
        out.fill(0)
    elif a.dtype == np.float16:
        _multiply_halves(a, b, out)
    elif len(a) == 1:
        xp_of(a).matmul(a[0], b[0], out=out[0])  # which does not copy transposed ones
    else:
        xp_of(a).matmul(a, b, out=out)


def _multiply_halves(a: Array, b: Array, out: Array) -> None:
    """cuBLAS has matrices by columns, so outᵀ = bᵀ · aᵀ."""
    import cupy

    cublas, handle = cupy.cuda.cublas, cupy.cuda.Device().cublas_handle
    (count, I, K), J = a.shape, b.shape[2]
    (a, turns_a, step_a), (b, turns_b, step_b) = _as_it_lies(a), _as_it_lies(b)
    kinds = {"float16": cupy.cuda.runtime.CUDA_R_16F, "float32": cupy.cuda.runtime.CUDA_R_32F}
    first, second, target = (
        [address(array), kinds[array.dtype.name], step] for array, step in ((b, step_b), (a, step_a), (out, J))
    )
    product, how = cublas.gemmEx, [cublas.CUBLAS_COMPUTE_32F, cublas.CUBLAS_GEMM_DEFAULT_TENSOR_OP]
    if count > 1:
        product, how = cublas.gemmStridedBatchedEx, [count, *how]
        for operand, array in ((first, b), (second, a), (target, out)):
            operand.append(array.strides[0] // array.itemsize)  # from one matrix to the next
    before = cublas.getMathMode(handle)
    cublas.setMathMode(handle, _NO_SUMS_OF_HALVES)
    try:
        one, zero = _ONE.ctypes.data, _ZERO.ctypes.data
        product(handle, turns_b, turns_a, J, I, K, one, *first, *second, zero, *target, *how)
    finally:
        cublas.setMathMode(handle, before)


def _as_it_lies(stack: Array) -> tuple[Array, bool, int]:
    """Matrices that lie in rows or in columns, maybe copied; whether in columns; from one row or column to the next."""
    (_, I, J), (row, column) = stack.shape, (stride // stack.itemsize for stride in stack.strides[1:])
    if (column == 1 or J == 1) and (row >= J or I == 1):
        return stack, False, row if I > 1 else J
    if (row == 1 or I == 1) and (column >= I or J == 1):
        return stack, True, column if J > 1 else I
    compact: Array = xp_of(stack).ascontiguousarray(stack)
    return compact, False, J
