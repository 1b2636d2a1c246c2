"""Batch normalisation, its gradients, and their gradients.

Everything here is built from one projection. For a channel with M = N·H·W values x, write

    x_hat = (x − mean) · inv_std,        inv_std = 1 / √(var + eps),
    P(a)  = a − Σa / M − x_hat · Σ(a · x_hat) / M.                                (P)

P takes out of ``a`` what a shift and a stretch of x could have produced, which is what normalisation undoes.
It is its own transpose, and the derivative of x_hat by x is inv_std · P, exactly, whatever eps is.

Sums over a channel's pixels are `reduction.sum`'s, which are as good in one memory order as in another. Statistics of
images in float16 are in float32: running ones would stand still, and a variance be infinite.
"""

from __future__ import annotations

from minires.device import Array, same_dtype, xp_of
from minires.errors import ShapeError
from minires.kernels.checks import check_batch_norm, check_gradient
from minires.kernels.halves import in_float32
from minires.kernels.reference import reduction

AXES = (0, 2, 3)


@in_float32(1, 2, 3)
def batch_norm(x: Array, gamma: Array, beta: Array, eps: float) -> tuple[Array, Array, Array, Array]:
    """Normalise each channel by the statistics of the batch, then scale and shift it.

        mean = Σ x / M,  var = Σ (x − mean)² / M,  inv_std = 1 / √(var + eps)     (1)
        y = gamma · (x − mean) · inv_std + beta                                   (2)

    The variance is computed around the mean, in a second pass: E[x²] − mean² would lose all digits where
    the mean is large beside the deviation.

    Parameters
    ----------
    x : (N, C, H, W) float or complex array
    gamma, beta : (C,) arrays of the same dtype
    eps : keeps the root away from zero

    Returns
    -------
    y : (N, C, H, W), dtype and memory order of x
    mean, var, inv_std : (C,); var is the biased variance, over M

    Raises
    ------
    ShapeError : if the shapes do not agree, or a channel has a single value, whose deviation is undefined.
    DtypeError : if dtypes are mixed.

    Identities that test it: each channel of (y − beta) / gamma has mean 0 and variance var / (var + eps);
    a shift of x changes nothing.
    Source: Ioffe & Szegedy 2015, arXiv:1502.03167, algorithm 1.
    """
    M = check_batch_norm(x, gamma, beta)
    if M < 2:
        raise ShapeError(f"batch norm needs more than one value per channel when training, got shape {x.shape}")
    same_dtype(x, gamma, beta)
    xp = xp_of(x)
    mean = reduction.mean(x, AXES)
    centred = reduction.distances_from_mean(x, AXES)
    var = reduction.mean(centred * centred, AXES)  # (1)
    inv_std = 1 / xp.sqrt(var + eps)
    y = xp.add(centred * _spread(gamma * inv_std), _spread(beta), out=xp.empty_like(x))  # (2)
    return y, mean, var, inv_std


@in_float32()
def batch_norm_grads(gy: Array, x: Array, gamma: Array, mean: Array, inv_std: Array) -> tuple[Array, Array, Array]:
    """Gradients of the loss with respect to the input, scale and shift of a training-mode batch norm.

    Each channel's statistics depend on every pixel of that channel, so a pixel's gradient has three parts:
    its own, and what it contributes through the mean and through the variance.

        gbeta  = Σ gy                                                             (1)
        ggamma = Σ gy · x_hat                                                     (2)
        gx     = gamma · inv_std · (gy − gbeta / M − x_hat · ggamma / M)          (3)

    Line (3) is gamma · inv_std · P(gy).

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
    M = check_batch_norm(x, gamma, mean, inv_std)
    check_gradient(gy, x, "input")
    same_dtype(gy, x, gamma, mean, inv_std)
    x_hat = (x - _spread(mean)) * _spread(inv_std)
    gbeta = _total(gy)  # (1)
    ggamma = _total(gy * x_hat)  # (2)
    projected = gy - _spread(gbeta / M) - x_hat * _spread(ggamma / M)
    xp = xp_of(x)
    return xp.multiply(projected, _spread(gamma * inv_std), out=xp.empty_like(x)), ggamma, gbeta  # (3)


@in_float32()
def batch_norm_grads_grads(
    ggx: Array, gggamma: Array, ggbeta: Array, gy: Array, x: Array, gamma: Array, mean: Array, inv_std: Array
) -> tuple[Array, Array, Array]:
    """The backward pass of `batch_norm_grads`: what its three results owe to gy, x and gamma.

    With A = Σ ggx · P(gy), a = Σ ggx · x_hat and b = Σ gy · x_hat, the quantity to differentiate is
    gamma · inv_std · A + Σ gggamma · b + Σ ggbeta · gy. It depends on x through x_hat and inv_std alone:

        d_gy    = gamma · inv_std · P(ggx) + gggamma · x_hat + ggbeta             (1)
        d_gamma = inv_std · A                                                     (2)
        q       = gggamma · gy − gamma · inv_std · (b · ggx + a · gy) / M         (3)  by x_hat
        d_x     = inv_std · P(q) − gamma · A · inv_std² · x_hat / M               (4)

    Parameters
    ----------
    ggx : (N, C, H, W); gggamma, ggbeta : (C,): the gradients by the three results
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
    M = check_batch_norm(x, gamma, mean, inv_std, gggamma, ggbeta)
    check_gradient(gy, x, "input")
    check_gradient(ggx, x, "input")
    same_dtype(ggx, gggamma, ggbeta, gy, x, gamma, mean, inv_std)
    xp = xp_of(x)
    x_hat = (x - _spread(mean)) * _spread(inv_std)

    def project(v: Array) -> Array:
        projected: Array = v - _spread(_total(v) / M) - x_hat * _spread(_total(v * x_hat) / M)  # (P)
        return projected

    scale, A = gamma * inv_std, _total(ggx * project(gy))
    a, b = _total(ggx * x_hat), _total(gy * x_hat)
    direct = project(ggx) * _spread(scale) + x_hat * _spread(gggamma)
    d_gy = xp.add(direct, _spread(ggbeta), out=xp.empty_like(x))  # (1)
    d_gamma = inv_std * A  # (2)
    q = gy * _spread(gggamma) - (ggx * _spread(b) + gy * _spread(a)) * _spread(scale / M)  # (3)
    through_std = x_hat * _spread(gamma * A * inv_std * inv_std / M)
    d_x = xp.subtract(project(q) * _spread(inv_std), through_std, out=xp.empty_like(x))  # (4)
    return d_gy, d_x, d_gamma


@in_float32()
def batch_norm_inference(x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float) -> Array:
    """Scale and shift each channel by statistics that are given, not taken from x.

        y = gamma · (x − mean) · inv_std + beta,    inv_std = 1 / √(var + eps)    (1)

    Parameters
    ----------
    x : (N, C, H, W) float or complex array
    gamma, beta, mean, var : (C,) arrays of the same dtype
    eps : keeps the root away from zero

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
    check_batch_norm(x, gamma, beta, mean, var)
    same_dtype(x, gamma, beta, mean, var)
    xp = xp_of(x)
    scale = gamma / xp.sqrt(var + eps)
    y: Array = xp.add((x - _spread(mean)) * _spread(scale), _spread(beta), out=xp.empty_like(x))  # (1)
    return y


@in_float32()
def batch_norm_inference_grads(
    gy: Array, x: Array, gamma: Array, mean: Array, inv_std: Array
) -> tuple[Array, Array, Array]:
    """Gradients of the loss with respect to the input, scale and shift of `batch_norm_inference`.

    The statistics are constants here, so a pixel's gradient is its own part alone:

        gbeta  = Σ gy                                                             (1)
        ggamma = Σ gy · x_hat                                                     (2)
        gx     = gamma · inv_std · gy                                             (3)

    Parameters
    ----------
    gy, x : (N, C, H, W) arrays
    gamma, mean, inv_std : (C,) arrays; inv_std = 1 / √(var + eps)

    Returns
    -------
    gx : (N, C, H, W), memory order of x; ggamma, gbeta : (C,); dtype of gy

    Raises
    ------
    ShapeError : if the shapes do not agree.
    DtypeError : if dtypes are mixed.

    Identity that tests it: ⟨gy, y⟩ = ⟨gx, x − mean⟩ + ⟨gbeta, beta⟩ = ⟨ggamma, gamma⟩ + ⟨gbeta, beta⟩.
    """
    check_batch_norm(x, gamma, mean, inv_std)
    check_gradient(gy, x, "input")
    same_dtype(gy, x, gamma, mean, inv_std)
    xp = xp_of(x)
    x_hat = (x - _spread(mean)) * _spread(inv_std)
    gx: Array = xp.multiply(gy, _spread(gamma * inv_std), out=xp.empty_like(x))  # (3)
    return gx, _total(gy * x_hat), _total(gy)  # (2), (1)


def _total(a: Array) -> Array:
    """(N, C, H, W) -> (C,), summed over the pixels of each channel."""
    return reduction.sum(a, AXES)


def _spread(per_channel: Array) -> Array:
    """(C,) -> (1, C, 1, 1)."""
    return per_channel.reshape(1, -1, 1, 1)
