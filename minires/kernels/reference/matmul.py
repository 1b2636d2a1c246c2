"""The matrix product.

It is linear in each factor, so its gradients are matrix products, too. With y = a @ b,

    ga = gy @ bᵀ,    gb = aᵀ @ gy,

summed over the batch axes along which a factor was repeated. So there is no kernel for them.
"""

from __future__ import annotations

from minires.blas import single_threaded_blas
from minires.device import Array, same_dtype
from minires.errors import ShapeError
from minires.kernels.float16 import in_float32
from minires.kernels.reference.shape import result_shape
from minires.kernels.sums import product


@in_float32()
@single_threaded_blas()
def matmul(a: Array, b: Array) -> Array:
    """Multiply matrices, the last two axes, for every index of the axes before them.

        y[…, i, j] = Σ_k a[…, i, k] · b[…, k, j]                                  (1)

    A factor of one axis is a row (as a) or a column (as b), and its axis of size 1 is dropped from the result.

    Parameters
    ----------
    a : (…, I, K) or (K,) array
    b : (…, K, J) or (K,) array of the same dtype; the axes before broadcast with a's

    Returns
    -------
    y : (…, I, J), without I or J for a factor of one axis; two vectors give an array without axes

    Raises
    ------
    ShapeError : if a factor has no axes, K differs, or the batch axes do not broadcast.
    DtypeError : if a and b differ in dtype.

    Identities that test it: linear in a and in b; ⟨gy, a @ b⟩ = ⟨gy @ bᵀ, a⟩ = ⟨aᵀ @ gy, b⟩.
    """
    same_dtype(a, b)
    if a.ndim == 0 or b.ndim == 0 or a.shape[-1] != b.shape[max(b.ndim - 2, 0)]:
        raise ShapeError(
            f"matmul: shapes {a.shape} and {b.shape} do not fit: the last axis of the first must be "
            "as long as the last but one of the second"
        )
    result_shape(f"matmul of {a.shape} and {b.shape}: the batch", a.shape[:-2], b.shape[:-2])
    return product(a, b)  # (1)
