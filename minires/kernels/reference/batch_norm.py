"""Batch normalisation, its gradients, and their gradients.

Everything here is built from one projection. For a channel with M = N·H·W values x, write

    x_hat = (x − mean) · inv_std,        inv_std = 1 / √(var + eps),
    P(a)  = a − Σa / M − x_hat · Σ(a · x_hat) / M.                                (P)

Normalisation undoes a shift and a stretch of x. P removes from ``a`` what such a shift and stretch could have
produced. It is its own transpose, and the derivative of x_hat by x is inv_std · P, exactly, for every eps.

Sums over a channel's pixels are those of `reduction.sum`, which are equally precise in every memory order. For images
in float16 the statistics are in float32: in float16 a running mean would stop and a variance overflow.
"""

from __future__ import annotations

from minires.device import Array, same_dtype, xp_of
from minires.kernels.checks import check_batch, check_batch_norm, check_batch_norm_grads, check_gradient
from minires.kernels.float16 import in_float32
from minires.kernels.reference import reduction
from minires.kernels.reference.shape import in_order_of

AXES = (0, 2, 3)


@in_float32(statistics=(1, 2, 3))
def batch_norm(x: Array, gamma: Array, beta: Array, eps: float) -> tuple[Array, Array, Array, Array]:
    """Normalise each channel by the statistics of the batch, then scale and shift it.

        mean = Σ x / M,  var = Σ (x − mean)² / M,  inv_std = 1 / √(var + eps)     (1)
        y = gamma · (x − mean) · inv_std + beta                                   (2)

    The variance is computed around the mean, in a second pass: E[x²] − mean² loses all digits where the mean is large
    beside the deviation.

    Parameters
    ----------
    x : (N, C, H, W) float or complex array
    gamma, beta : (C,) arrays of the same dtype
    eps : added to the variance, which keeps the root away from zero

    Returns
    -------
    y : (N, C, H, W), dtype and memory order of x
    mean, var, inv_std : (C,); var is the biased variance, over M; in float32 for an x in float16

    Raises
    ------
    ShapeError : if the shapes do not agree, or a channel has a single value, which has no deviation.
    DtypeError : if dtypes are mixed.

    Identities that test it: each channel of (y − beta) / gamma has mean 0 and variance var / (var + eps);
    a shift of x changes nothing.
    Source: Ioffe & Szegedy 2015, arXiv:1502.03167, algorithm 1.
    """
    check_batch(x, gamma, beta)
    mean = reduction.mean(x, AXES)
    centred = reduction.distances_from_mean(x, AXES)
    var = reduction.mean(centred * centred, AXES)
    inv_std = 1 / xp_of(x).sqrt(var + eps)  # (1)
    y = centred * _spread(gamma * inv_std) + _spread(beta)  # (2)
    return in_order_of(x, y), mean, var, inv_std


@in_float32()
def batch_norm_grads(gy: Array, x: Array, gamma: Array, mean: Array, inv_std: Array) -> tuple[Array, Array, Array]:
    """Return the gradients of the loss with respect to the input, scale and shift of `batch_norm`.

    Each channel's statistics depend on every pixel of that channel. So a pixel's gradient has three terms: its own gy,
    and what the pixel contributes through the mean and through the variance.

        gbeta  = Σ gy                                                             (1)
        ggamma = Σ gy · x_hat                                                     (2)
        gx     = gamma · inv_std · (gy − gbeta / M − x_hat · ggamma / M)          (3)

    gbeta / M is the mean of gy, and ggamma / M the mean of gy · x_hat. Line (3) is gamma · inv_std · P(gy).

    Parameters
    ----------
    gy, x : (N, C, H, W) arrays
    gamma, mean, inv_std : (C,) arrays, the last two as `batch_norm` returned them

    Returns
    -------
    gx : (N, C, H, W), memory order of x; ggamma, gbeta : (C,); dtype of gy

    Raises
    ------
    ShapeError : if the shapes do not agree.
    DtypeError : if dtypes are mixed.

    Identities that test it: Σ gx = 0 (shifting x changes nothing), and, as eps > 0 breaks scale invariance
    just a little, Σ gx · x_hat = gamma · inv_std · ggamma · eps / (var + eps).
    Source: Ioffe & Szegedy 2015, arXiv:1502.03167, section 3; derivation in docs/derivations/batch_norm.md.
    """
    M = check_batch_norm_grads(gy, x, gamma, mean, inv_std)
    x_hat = (x - _spread(mean)) * _spread(inv_std)
    gbeta = _total(gy)  # (1)
    ggamma = _total(gy * x_hat)  # (2)
    through_mean = _spread(gbeta / M)
    through_variance = x_hat * _spread(ggamma / M)
    gx = (gy - through_mean - through_variance) * _spread(gamma * inv_std)  # (3)
    return in_order_of(x, gx), ggamma, gbeta


@in_float32()
def batch_norm_grads_grads(
    ggx: Array, gggamma: Array, ggbeta: Array, gy: Array, x: Array, gamma: Array, mean: Array, inv_std: Array
) -> tuple[Array, Array, Array]:
    """Return the gradients of a function of the results of `batch_norm_grads` with respect to gy, x and gamma.

    With A = Σ ggx · P(gy), a = Σ ggx · x_hat and b = Σ gy · x_hat, the quantity to differentiate is
    gamma · inv_std · A + gggamma · b + ggbeta · Σ gy. It depends on x only through x_hat and inv_std:

        d_gy    = gamma · inv_std · P(ggx) + gggamma · x_hat + ggbeta             (1)
        d_gamma = inv_std · A                                                     (2)
        q       = gggamma · gy − gamma · inv_std · (b · ggx + a · gy) / M         (3)
        d_x     = inv_std · P(q) − gamma · A · inv_std² · x_hat / M               (4)

    where q is the derivative by x_hat.

    Parameters
    ----------
    ggx : (N, C, H, W); gggamma, ggbeta : (C,): the gradients with respect to gx, ggamma and gbeta
    gy, x : (N, C, H, W); gamma, mean, inv_std : (C,): as in `batch_norm_grads`

    Returns
    -------
    d_gy, d_x : (N, C, H, W), memory order of x; d_gamma : (C,)

    Raises
    ------
    ShapeError : if the shapes do not agree.
    DtypeError : if dtypes are mixed.

    Identity that tests it: `batch_norm_grads` is linear in gy, and (1) is its transpose.
    Source: derivation in docs/derivations/batch_norm.md.
    """
    M = check_batch_norm_grads(gy, x, gamma, mean, inv_std)
    check_batch_norm(x, gggamma, ggbeta)
    check_gradient(ggx, x, "input")
    same_dtype(ggx, x)
    x_hat = (x - _spread(mean)) * _spread(inv_std)

    def project(v: Array) -> Array:
        projected: Array = v - _spread(_total(v) / M) - x_hat * _spread(_total(v * x_hat) / M)  # (P)
        return projected

    scale, A = gamma * inv_std, _total(ggx * project(gy))
    a, b = _total(ggx * x_hat), _total(gy * x_hat)
    d_gy = project(ggx) * _spread(scale) + x_hat * _spread(gggamma) + _spread(ggbeta)  # (1)
    d_gamma = inv_std * A  # (2)
    q = gy * _spread(gggamma) - (ggx * _spread(b) + gy * _spread(a)) * _spread(scale / M)  # (3)
    through_std = x_hat * _spread(gamma * A * inv_std * inv_std / M)
    d_x = project(q) * _spread(inv_std) - through_std  # (4)
    return in_order_of(x, d_gy), in_order_of(x, d_x), d_gamma


@in_float32()
def batch_norm_inference(x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float) -> Array:
    """Normalise each channel by given statistics, then scale and shift it.

        y = gamma · (x − mean) · inv_std + beta,    inv_std = 1 / √(var + eps)    (1)

    Parameters
    ----------
    x : (N, C, H, W) float or complex array
    gamma, beta : (C,) arrays of the same dtype
    mean, var : (C,) arrays of the same dtype; in float32 for an x in float16
    eps : as in `batch_norm`

    Returns
    -------
    y : (N, C, H, W), dtype and memory order of x

    Raises
    ------
    ShapeError : if the shapes do not agree.
    DtypeError : if dtypes are mixed.

    Identity that tests it: with the batch's own mean and variance it is `batch_norm`.
    Source: Ioffe & Szegedy 2015, arXiv:1502.03167, algorithm 2.
    """
    check_batch_norm(x, gamma, beta, statistics=(mean, var))
    scale = gamma / xp_of(x).sqrt(var + eps)
    y = (x - _spread(mean)) * _spread(scale) + _spread(beta)  # (1)
    return in_order_of(x, y)


@in_float32()
def batch_norm_inference_grads(
    gy: Array, x: Array, gamma: Array, mean: Array, inv_std: Array
) -> tuple[Array, Array, Array]:
    """Return the gradients of the loss with respect to the input, scale and shift of `batch_norm_inference`.

    The statistics are constants here, so of the three terms of a pixel's gradient only gy remains:

        gbeta  = Σ gy                                                             (1)
        ggamma = Σ gy · x_hat                                                     (2)
        gx     = gamma · inv_std · gy                                             (3)

    Parameters, Returns, Raises
    ---------------------------
    as `batch_norm_grads`, with the mean of the forward pass and inv_std = 1 / √(var + eps)

    Identity that tests it: ⟨gy, y⟩ = ⟨gx, x − mean⟩ + ⟨gbeta, beta⟩ = ⟨ggamma, gamma⟩ + ⟨gbeta, beta⟩.
    """
    check_batch_norm_grads(gy, x, gamma, mean, inv_std)
    x_hat = (x - _spread(mean)) * _spread(inv_std)
    gbeta = _total(gy)  # (1)
    ggamma = _total(gy * x_hat)  # (2)
    gx = gy * _spread(gamma * inv_std)  # (3)
    return in_order_of(x, gx), ggamma, gbeta


def _total(a: Array) -> Array:
    """Return the sum over the pixels of each channel: (N, C, H, W) -> (C,)."""
    return reduction.sum(a, AXES)


def _spread(per_channel: Array) -> Array:
    """Return (C,) as (1, C, 1, 1), which broadcasts with images."""
    return per_channel.reshape(1, -1, 1, 1)
