"""The matrix product of a fully connected layer, and its two gradients."""

from __future__ import annotations

import math

from minires.blas import single_threaded_blas
from minires.device import Array
from minires.kernels.checks import check_linear, check_linear_grads
from minires.kernels.float16 import in_float32
from minires.kernels.sums import product


@in_float32()
@single_threaded_blas()
def linear(x: Array, weight: Array) -> Array:
    """Multiply the last axis of x by a matrix.

        y[…, k] = Σ_c weight[k, c] · x[…, c]                                      (1)

    Parameters
    ----------
    x : (…, C) array
    weight : (K, C) array of the same dtype

    Returns
    -------
    y : (…, K), dtype of x

    Raises
    ------
    ShapeError : if the shapes do not agree.
    DtypeError : if the dtypes differ.

    Identities that test it: ⟨gy, linear(x, weight)⟩ = ⟨gx, x⟩ = ⟨gweight, weight⟩; it is a 1×1 convolution of a
    1×1 image.
    """
    check_linear(x, weight)
    return product(x, weight.T)  # (1)


@in_float32()
@single_threaded_blas()
def linear_grads(
    gy: Array, x: Array, weight: Array, wants: tuple[bool, bool] = (True, True)
) -> tuple[Array | None, Array | None]:
    """Return the gradients of the loss with respect to the input and the weights of `linear`.

        gx[…, c]      = Σ_k gy[…, k] · weight[k, c]                               (1)
        gweight[k, c] = Σ_… gy[…, k] · x[…, c]                                    (2)

    Parameters
    ----------
    gy : (…, K); x : (…, C); weight : (K, C), all of one dtype
    wants : whether to compute gx and whether to compute gweight

    Returns
    -------
    gx : (…, C); gweight : (K, C); dtype of gy; None if not wanted

    Raises
    ------
    ShapeError : if the shapes do not agree.
    DtypeError : if dtypes are mixed.

    Identity that tests it: the adjoints of `linear`, exactly (see there).
    """
    check_linear_grads(gy, x, weight)
    K, C = weight.shape
    rows = math.prod(x.shape[:-1])
    gx = product(gy, weight) if wants[0] else None  # (1)
    gweight = product(gy.reshape(rows, K).T, x.reshape(rows, C)) if wants[1] else None  # (2)
    return gx, gweight
