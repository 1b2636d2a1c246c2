"""Convolution and its two gradients, as sums over the taps of the filter.

Read the three functions side by side: they are one loop. A tap (r, s) of the filter joins each output pixel (p, q)
with one input pixel (h, w). Through it, the matrix ``w[:, :, r, s]`` joins C input channels with K output channels.
The loss depends on all of this through one number,

    T(x, w, gy) = Σ gy[n, k, p, q] · w[k, c, r, s] · x[n, c, h, w],

summed over all (p, q), (r, s) and the (h, w) that they meet. T is linear in each of its three arguments. So each
partial derivative is what remains when that argument is struck out:

    y  = ∂T/∂gy :  y[out] += W · x[in]                                            (1)
    gx = ∂T/∂x  :  gx[in] += Wᵀ · gy[out]                                         (2)
    gw = ∂T/∂w  :  gw[tap] = Σ gy[out] · x[in]ᵀ                                   (3)

That is the whole backward pass of a convolution. `Geometry.taps` says which ``in`` belongs to which ``out``: there
stride, padding and dilation become slices, and here they never appear.
"""

from __future__ import annotations

from minires.blas import single_threaded_blas
from minires.device import Array, Size, same_dtype, xp_of
from minires.geometry import Geometry, Tap
from minires.kernels.checks import check_input_grad, check_weight_grad
from minires.kernels.float16 import in_float32
from minires.kernels.sums import product, sum_of_taps


@in_float32()
@single_threaded_blas()
def conv2d(x: Array, w: Array, geometry: Geometry) -> Array:
    """Convolve images with filters (strictly, correlate them: the filters are not flipped).

        y[n, k, p, q] = Σ_{c, r, s} w[k, c, r, s] · x[n, c, p·stride + r·dilation − padding, …]   (1)

    Pixels outside the image count as zeros. ``groups`` > 1 splits the channels into as many independent parts.

    Parameters
    ----------
    x : (N, C, H, W) float or complex array
    w : (K, C / groups, R, S) array of the same dtype
    geometry : stride, padding, dilation and groups, with kernel (R, S)

    Returns
    -------
    y : (N, K, P, Q), dtype of x

    Raises
    ------
    ShapeError : if the shapes do not agree with each other or with the geometry.
    DtypeError : if x and w differ in dtype.

    Identities that test it: linear in x and in w; a 1×1 filter is a matrix product;
    ⟨gy, conv2d(x, w)⟩ = ⟨conv2d_input_grad(gy, w), x⟩ = ⟨conv2d_weight_grad(gy, x), w⟩.
    Source: Dumoulin & Visin 2016, arXiv:1603.07285; derivation in docs/derivations/convolution.md.
    """
    N, K, P, Q = geometry.check_conv(x.shape, w.shape)
    G = geometry.groups
    y: Array = xp_of(x).zeros_like(x, shape=(N, G, K // G, P, Q), dtype=same_dtype(x, w))
    x, w = _split_groups(x, G), _filters(w, G)

    def add(y: Array, tap: Tap) -> None:
        y[..., tap.rows_out, tap.cols_out] += _mix(w[..., tap.r, tap.s], x[..., tap.rows_in, tap.cols_in])  # (1)

    y = sum_of_taps(y, geometry.taps((x.shape[3], x.shape[4])), add)
    return y.reshape(N, K, P, Q).astype(x.dtype, copy=False)


@in_float32()
@single_threaded_blas()
def conv2d_input_grad(gy: Array, w: Array, geometry: Geometry, size: Size) -> Array:
    """Return the gradient of the loss with respect to the input of `conv2d`.

        gx[n, c, h, w] = Σ w[k, c, r, s] · gy[n, k, p, q]                         (2)

    over every (r, s) and (p, q) that meet (h, w). An output pixel gives back, through the transposed matrix, what it
    took from an input pixel.

    Parameters
    ----------
    gy : (N, K, P, Q) array, the gradient with respect to the output
    w : (K, C / groups, R, S) array of the same dtype
    geometry : as in the forward pass
    size : (H, W) of the input; with a stride above 1 several sizes give the same (P, Q)

    Returns
    -------
    gx : (N, C, H, W), dtype of gy

    Raises
    ------
    ShapeError, DtypeError : as `conv2d` does.

    Identity that tests it: the adjoint of `conv2d` in x, exactly (see there).
    Source: derivation in docs/derivations/convolution.md.
    """
    N, C, H, W = check_input_grad(gy, w, geometry, size)
    G = geometry.groups
    gx: Array = xp_of(gy).zeros_like(gy, shape=(N, G, C // G, H, W))
    gy, w = _split_groups(gy, G), _filters(w, G)

    def add(gx: Array, tap: Tap) -> None:
        wT = w[..., tap.r, tap.s].swapaxes(1, 2)
        gx[..., tap.rows_in, tap.cols_in] += _mix(wT, gy[..., tap.rows_out, tap.cols_out])  # (2)

    gx = sum_of_taps(gx, geometry.taps((H, W)), add)
    return gx.reshape(N, C, H, W).astype(gy.dtype, copy=False)


@in_float32()
@single_threaded_blas()
def conv2d_weight_grad(gy: Array, x: Array, geometry: Geometry) -> Array:
    """Return the gradient of the loss with respect to the filters of `conv2d`.

        gw[k, c, r, s] = Σ gy[n, k, p, q] · x[n, c, h, w]                         (3)

    over every n and every (p, q) that meets an (h, w) through the tap (r, s). All pixels share a filter, so its
    gradient is a sum over all pixels.

    Parameters
    ----------
    gy : (N, K, P, Q) array, the gradient with respect to the output
    x : (N, C, H, W) array of the same dtype
    geometry : as in the forward pass

    Returns
    -------
    gw : (K, C / groups, R, S), dtype of gy

    Raises
    ------
    ShapeError, DtypeError : as `conv2d` does.

    Identity that tests it: the adjoint of `conv2d` in w, exactly (see there).
    Source: derivation in docs/derivations/convolution.md.
    """
    K, C, R, S = check_weight_grad(gy, x, geometry)
    G = geometry.groups
    gw: Array = xp_of(gy).zeros_like(gy, shape=(G, K // G, C, R, S))
    gy, x = _split_groups(gy, G), _split_groups(x, G)
    for tap in geometry.taps((x.shape[3], x.shape[4])):
        gy_rows = _pixels_last(gy[..., tap.rows_out, tap.cols_out])  # (G, K / G, N·p·q)
        x_rows = _pixels_last(x[..., tap.rows_in, tap.cols_in])  # (G, C / G, N·p·q)
        gw[..., tap.r, tap.s] = product(gy_rows, x_rows.swapaxes(1, 2))  # (3)
    return gw.reshape(K, C, R, S)


@single_threaded_blas()
def conv2d_grads(
    gy: Array, x: Array, w: Array, geometry: Geometry, wants: tuple[bool, bool] = (True, True)
) -> tuple[Array | None, Array | None]:
    """Return both gradients of `conv2d`. The fast kernels compute them together, as they share a transform of gy.

    Parameters
    ----------
    gy : (N, K, P, Q); x : (N, C, H, W); w : (K, C / groups, R, S), all of one dtype
    geometry : as in the forward pass
    wants : whether to compute gx and whether to compute gw

    Returns
    -------
    gx : (N, C, H, W), see `conv2d_input_grad`; None if not wanted
    gw : (K, C / groups, R, S), see `conv2d_weight_grad`; None if not wanted

    Raises
    ------
    ShapeError, DtypeError : as the two kernels do.
    """
    geometry.check_conv(x.shape, w.shape)  # neither kernel gets both x and w
    gx = conv2d_input_grad(gy, w, geometry, (x.shape[2], x.shape[3])) if wants[0] else None
    gw = conv2d_weight_grad(gy, x, geometry) if wants[1] else None
    return gx, gw


def _split_groups(x: Array, G: int) -> Array:
    """Return (N, G·C, H, W) as (N, G, C, H, W)."""
    return x.reshape(x.shape[0], G, x.shape[1] // G, *x.shape[2:])


def _filters(w: Array, G: int) -> Array:
    """Return (G·K, C, R, S) as (G, K, C, R, S)."""
    return w.reshape(G, w.shape[0] // G, *w.shape[1:])


def _mix(matrix: Array, x: Array) -> Array:
    """Multiply the channels of every pixel of x (N, G, C, H, W) by a matrix (G, K, C)."""
    N, G, C, H, W = x.shape
    return product(matrix, x.reshape(N, G, C, H * W)).reshape(N, G, matrix.shape[1], H, W)


def _pixels_last(x: Array) -> Array:
    """Return (N, G, C, H, W) as (G, C, N·H·W)."""
    return x.transpose(1, 2, 0, 3, 4).reshape(x.shape[1], x.shape[2], -1)
