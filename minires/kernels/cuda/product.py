"""Matrix products on a GPU by cuBLAS, with sums in float32 or wider.

CuPy's `matmul` serves for float32 and float64. For float16 it has three faults: it rounds each product of two vectors,
converts stacks of matrices to float32 first, and returns float16 only. So float16 products call cuBLAS here.
"""

from __future__ import annotations

import numpy as np

from minires.device import Array, xp_of
from minires.kernels.cuda.raw import address

_ONE, _ZERO = np.ones((), np.float32), np.zeros((), np.float32)
_NO_FLOAT16_SUMS = 16  # CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION, for the parts of a long sum


def multiply(a: Array, b: Array, out: Array) -> None:
    """Set out = a · b for each matrix of a stack.

    Parameters
    ----------
    a, b : (G, I, K) and (G, K, J) of one dtype
    out : (G, I, J) in C order, of the same dtype; float32 is allowed for float16 operands
    """
    if 0 in (*a.shape, *b.shape):
        out.fill(0)
    elif a.dtype == np.float16:
        _multiply_float16(a, b, out)
    elif len(a) == 1:
        xp_of(a).matmul(a[0], b[0], out=out[0])  # `matmul` does not copy transposed matrices
    else:
        xp_of(a).matmul(a, b, out=out)


def _multiply_float16(a: Array, b: Array, out: Array) -> None:
    """Set out = a · b in float16. cuBLAS stores matrices by columns, so it computes outᵀ = bᵀ · aᵀ."""
    import cupy

    cublas, handle = cupy.cuda.cublas, cupy.cuda.Device().cublas_handle
    (count, I, K), J = a.shape, b.shape[2]
    (a, turns_a, step_a), (b, turns_b, step_b) = _blas_layout(a), _blas_layout(b)
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
    cublas.setMathMode(handle, _NO_FLOAT16_SUMS)
    try:
        one, zero = _ONE.ctypes.data, _ZERO.ctypes.data
        product(handle, turns_b, turns_a, J, I, K, one, *first, *second, zero, *target, *how)
    finally:
        cublas.setMathMode(handle, before)


def _blas_layout(stack: Array) -> tuple[Array, bool, int]:
    """Return (stack, whether its matrices lie by columns, the leading dimension); copy it if they lie in neither order.

    The leading dimension is the distance from one row, or column, to the next in elements.
    """
    (_, I, J), (row, column) = stack.shape, (stride // stack.itemsize for stride in stack.strides[1:])
    if (column == 1 or J == 1) and (row >= J or I == 1):
        return stack, False, row if I > 1 else J
    if (row == 1 or I == 1) and (column >= I or J == 1):
        return stack, True, column if J > 1 else I
    compact: Array = xp_of(stack).ascontiguousarray(stack)
    return compact, False, J
