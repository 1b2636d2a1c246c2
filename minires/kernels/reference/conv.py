"""Convolution and its two gradients, as sums over the taps of the filter.

Read the three functions side by side: they are one loop. A tap (r, s) of the filter joins each output pixel
(p, q) with one input pixel (h, w), and through it C input channels with K output channels, by the matrix
``w[:, :, r, s]``. The loss feels all of this through one number,

    T(x, w, gy) = Σ gy[n, k, p, q] · w[k, c, r, s] · x[n, c, h, w],    (h, w) met by (p, q) through (r, s),

summed over everything. T is linear in each of its three arguments, so each partial derivative is what stays
when that argument is struck out:

    y  = ∂T/∂gy :  y[out] += W · x[in]                                            (1)
    gx = ∂T/∂x  :  gx[in] += Wᵀ · gy[out]                                         (2)
    gw = ∂T/∂w  :  gw[tap] = Σ gy[out] · x[in]ᵀ                                   (3)

That is the whole backward pass of a convolution. Which ``in`` belongs to which ``out`` is `Geometry.taps`'
business: stride, padding and dilation are slices there, and never appear here.
"""

from __future__ import annotations

from minires.blas import single_threaded_blas
from minires.device import Array, Size, same_dtype, xp_of
from minires.errors import ShapeError
from minires.geometry import Geometry, Tap
from minires.kernels.halves import in_float32
from minires.kernels.sums import product, sum_of_taps


@in_float32()
@single_threaded_blas()
def conv2d(x: Array, w: Array, geometry: Geometry) -> Array:
    """Convolution (in the sense of neural networks: cross-correlation) of images with filters.

        y[n, k, p, q] = Σ_{c, r, s} w[k, c, r, s] · x[n, c, p·stride + r·dilation − padding, …]   (1)

    Pixels outside the image are zeros. With ``groups`` > 1 the channels fall into as many independent parts.

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
    """Gradient of the loss with respect to the input of `conv2d`.

        gx[n, c, h, w] = Σ w[k, c, r, s] · gy[n, k, p, q]                         (2)

    over every (r, s) and (p, q) that meet (h, w): what each output pixel took from an input pixel, it hands
    back, through the transposed matrix.

    Parameters
    ----------
    gy : (N, K, P, Q) array, the gradient with respect to the output
    w : (K, C / groups, R, S) array of the same dtype
    geometry : as in the forward pass
    size : (H, W) of the input; a stride above 1 lets several sizes give the same (P, Q)

    Returns
    -------
    gx : (N, C, H, W), dtype of gy

    Raises
    ------
    ShapeError : if the shapes do not agree with each other or with the geometry.
    DtypeError : if gy and w differ in dtype.

    Identity that tests it: the adjoint of `conv2d` in x, exactly (see there).
    Source: derivation in docs/derivations/convolution.md.
    """
    G, C = geometry.groups, w.shape[1] * geometry.groups
    geometry.check_conv_grad(gy.shape, (gy.shape[0], C, *size), w.shape)
    gx: Array = xp_of(gy).zeros_like(gy, shape=(gy.shape[0], G, C // G, *size), dtype=same_dtype(gy, w))
    gy, w = _split_groups(gy, G), _filters(w, G)

    def add(gx: Array, tap: Tap) -> None:
        wT = w[..., tap.r, tap.s].swapaxes(1, 2)
        gx[..., tap.rows_in, tap.cols_in] += _mix(wT, gy[..., tap.rows_out, tap.cols_out])  # (2)

    gx = sum_of_taps(gx, geometry.taps(size), add)
    return gx.reshape(gx.shape[0], C, *size).astype(gy.dtype, copy=False)


@in_float32()
@single_threaded_blas()
def conv2d_weight_grad(gy: Array, x: Array, geometry: Geometry) -> Array:
    """Gradient of the loss with respect to the filters of `conv2d`.

        gw[k, c, r, s] = Σ gy[n, k, p, q] · x[n, c, h, w]                         (3)

    over every n and every (p, q) that meets an (h, w) through the tap (r, s): a filter is shared by all
    pixels, so its gradient is a sum over all pixels.

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
    ShapeError : if the shapes do not agree with each other or with the geometry.
    DtypeError : if gy and x differ in dtype.

    Identity that tests it: the adjoint of `conv2d` in w, exactly (see there).
    Source: derivation in docs/derivations/convolution.md.
    """
    if gy.ndim != 4 or x.ndim != 4:
        raise ShapeError(f"expected gy (N, K, P, Q) and x (N, C, H, W), got {gy.shape} and {x.shape}")
    G, K, C = geometry.groups, gy.shape[1], x.shape[1]
    geometry.check_conv_grad(gy.shape, x.shape, (K, C // G, *geometry.kernel))
    gw: Array = xp_of(gy).zeros_like(gy, shape=(G, K // G, C // G, *geometry.kernel), dtype=same_dtype(gy, x))
    gy, x = _split_groups(gy, G), _split_groups(x, G)
    for tap in geometry.taps(x.shape[3:]):
        gy_rows = _pixels_last(gy[..., tap.rows_out, tap.cols_out])  # (G, K / G, N·p·q)
        x_rows = _pixels_last(x[..., tap.rows_in, tap.cols_in])  # (G, C / G, N·p·q)
        gw[..., tap.r, tap.s] = product(gy_rows, x_rows.swapaxes(1, 2))  # (3)
    return gw.reshape(K, C // G, *geometry.kernel)


@single_threaded_blas()
def conv2d_grads(
    gy: Array, x: Array, w: Array, geometry: Geometry, wants: tuple[bool, bool] = (True, True)
) -> tuple[Array | None, Array | None]:
    """Both gradients of `conv2d` at once: a fast kernel can let them share a transform of gy.

    Parameters
    ----------
    gy : (N, K, P, Q); x : (N, C, H, W); w : (K, C / groups, R, S), all of one dtype
    geometry : as in the forward pass
    wants : whether gx and gw are wanted; what is not wanted is not computed

    Returns
    -------
    gx : (N, C, H, W), see `conv2d_input_grad`, or None
    gw : (K, C / groups, R, S), see `conv2d_weight_grad`, or None

    Raises
    ------
    ShapeError, DtypeError : as the two kernels do.
    """
    geometry.check_conv(x.shape, w.shape)
    gx = conv2d_input_grad(gy, w, geometry, (x.shape[2], x.shape[3])) if wants[0] else None
    gw = conv2d_weight_grad(gy, x, geometry) if wants[1] else None
    return gx, gw


def _split_groups(x: Array, G: int) -> Array:
    """(N, G·C, H, W) -> (N, G, C, H, W)."""
    return x.reshape(x.shape[0], G, x.shape[1] // G, *x.shape[2:])


def _filters(w: Array, G: int) -> Array:
    """(G·K, C, R, S) -> (G, K, C, R, S)."""
    return w.reshape(G, w.shape[0] // G, *w.shape[1:])


def _mix(matrix: Array, x: Array) -> Array:
    """Apply a matrix (G, K, C) to the channels of every pixel of x (N, G, C, H, W)."""
    N, G, C, H, W = x.shape
    return product(matrix, x.reshape(N, G, C, H * W)).reshape(N, G, matrix.shape[1], H, W)


def _pixels_last(x: Array) -> Array:
    """(N, G, C, H, W) -> (G, C, N·H·W)."""
    return x.transpose(1, 2, 0, 3, 4).reshape(x.shape[1], x.shape[2], -1)
