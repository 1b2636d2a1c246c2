"""Small operations in plain NumPy, each with a hand-written gradient."""

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


def grouped_conv(x, w, groups=2):
    xs, ws = np.split(x, groups, 1), np.split(w, groups)
    return np.concatenate([conv(a, b) for a, b in zip(xs, ws, strict=True)], 1)


def grouped_conv_vjp(gy, x, w, groups=2):
    parts = zip(np.split(gy, groups, 1), np.split(x, groups, 1), np.split(w, groups), strict=True)
    gxs, gws = zip(*(conv_vjp(*part) for part in parts), strict=True)
    return np.concatenate(gxs, 1), np.concatenate(gws)


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


def layer_norm(x, eps=1e-5):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps)


def layer_norm_vjp(gy, x, eps=1e-5):
    inv_std = 1 / np.sqrt(x.var(-1, keepdims=True) + eps)
    x_hat = (x - x.mean(-1, keepdims=True)) * inv_std
    return (inv_std * (gy - gy.mean(-1, keepdims=True) - x_hat * (gy * x_hat).mean(-1, keepdims=True)),)


def average_pool(x):
    """Return means over 3 × 3 windows, stride 2, padding 1; the padding does not count."""
    ones = np.ones((1, 1, 3, 3))
    flat = x.reshape(-1, 1, *x.shape[2:])
    y = conv(flat, ones, 2, 1) / conv(np.ones_like(flat), ones, 2, 1)
    return y.reshape(*x.shape[:2], *y.shape[2:])


def average_pool_vjp(gy, x):
    ones = np.ones((1, 1, 3, 3))
    flat = x.reshape(-1, 1, *x.shape[2:])
    g = gy.reshape(-1, 1, *gy.shape[2:]) / conv(np.ones_like(flat), ones, 2, 1)
    return (conv_vjp(g, flat, ones, 2, 1)[0].reshape(x.shape),)


def max_pool(x):
    """Return maxima over 2 × 2 windows, stride 2, of (N, C, H, W) with even H and W."""
    return _windows(x).max(-1)


def max_pool_vjp(gy, x):
    """Return the gradient; among equal maxima, the first gets it."""
    windows = _windows(x)
    g = np.zeros_like(windows)
    np.put_along_axis(g, windows.argmax(-1)[..., None], gy[..., None], -1)
    N, C, H, W = x.shape
    return (g.reshape(N, C, H // 2, W // 2, 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(x.shape),)


def _windows(x):
    N, C, H, W = x.shape
    return x.reshape(N, C, H // 2, 2, W // 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(N, C, H // 2, W // 2, 4)


def relu(x):
    return np.maximum(x, 0)


def relu_vjp(gy, x):
    return (gy * (x > 0),)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def softmax_vjp(gy, x):
    y = softmax(x)
    return (y * (gy - (gy * y).sum(-1, keepdims=True)),)


def log_softmax(x):
    shifted = x - x.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def log_softmax_vjp(gy, x):
    return (gy - np.exp(log_softmax(x)) * gy.sum(-1, keepdims=True),)


def cross_entropy(x, labels):
    return -log_softmax(x)[np.arange(len(labels)), labels].mean()


def cross_entropy_vjp(gy, x, labels):
    g = np.exp(log_softmax(x))
    g[np.arange(len(labels)), labels] -= 1
    return gy * g / len(labels), None


def attention(q, k, v):
    """Return softmax(q kᵀ / √D) v for (T, D) arrays."""
    return softmax(q @ k.T / np.sqrt(q.shape[1])) @ v


def attention_vjp(gy, q, k, v):
    scale = 1 / np.sqrt(q.shape[1])
    scores = q @ k.T * scale
    gs = softmax_vjp(gy @ v.T, scores)[0] * scale
    return gs @ k, gs.T @ q, softmax(scores).T @ gy


def recurrence(x, w, h):
    """Return the last h of h ← tanh(x_t + w h) over the rows of x."""
    for row in x:
        h = np.tanh(row + w @ h)
    return h


def recurrence_vjp(gy, x, w, h):
    states = [h]
    for row in x:
        states.append(np.tanh(row + w @ states[-1]))
    gx, gw = np.zeros_like(x), np.zeros_like(w)
    for t in reversed(range(len(x))):
        gx[t] = gy * (1 - states[t + 1] ** 2)
        gw += np.outer(gx[t], states[t])
        gy = w.T @ gx[t]
    return gx, gw, gy
