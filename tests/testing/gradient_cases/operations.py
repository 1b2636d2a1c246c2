"""Small operations in plain NumPy, each with its gradient by hand."""

import numpy as np


def conv(x, w, stride=1, padding=0):
    x = np.pad(x, ((0, 0), (0, 0), (padding,) * 2, (padding,) * 2))
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], (2, 3))[:, :, ::stride, ::stride]
    return np.einsum("ncpqrs,kcrs->nkpq", windows, w)


def conv_vjp(gy, x, w, stride=1, padding=0):
    (H, W), (R, S), (P, Q) = x.shape[2:], w.shape[2:], gy.shape[2:]
    xp = np.pad(x, ((0, 0), (0, 0), (padding,) * 2, (padding,) * 2))
    gxp, gw = np.zeros_like(xp), np.zeros_like(w)
    for r in range(R):
        for s in range(S):
            at = (
                slice(None),
                slice(None),
                slice(r, r + stride * (P - 1) + 1, stride),
                slice(s, s + stride * (Q - 1) + 1, stride),
            )
            gxp[at] += np.einsum("nkpq,kc->ncpq", gy, w[:, :, r, s])
            gw[:, :, r, s] = np.einsum("nkpq,ncpq->kc", gy, xp[at])
    return gxp[:, :, padding : padding + H, padding : padding + W], gw


def batch_norm(x, gamma, beta, eps=1e-5):
    mean, var = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)
    return gamma[:, None, None] * (x - mean) / np.sqrt(var + eps) + beta[:, None, None]


def batch_norm_vjp(gy, x, gamma, beta, eps=1e-5, mean_term=1.0, var_term=1.0):
    axes, M = (0, 2, 3), x.size / x.shape[1]
    inv_std = 1 / np.sqrt(x.var(axes, keepdims=True) + eps)
    x_hat = (x - x.mean(axes, keepdims=True)) * inv_std
    gbeta, ggamma = gy.sum(axes), (gy * x_hat).sum(axes)
    rest = mean_term * gbeta[:, None, None] / M + var_term * x_hat * ggamma[:, None, None] / M
    return gamma[:, None, None] * inv_std * (gy - rest), ggamma, gbeta


def relu(x):
    return np.maximum(x, 0)


def relu_vjp(gy, x):
    return (gy * (x > 0),)


def log_softmax(x):
    shifted = x - x.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def cross_entropy(x, labels):
    return -log_softmax(x)[np.arange(len(labels)), labels].mean()


def cross_entropy_vjp(gy, x, labels):
    g = np.exp(log_softmax(x))
    g[np.arange(len(labels)), labels] -= 1
    return gy * g / len(labels), None
