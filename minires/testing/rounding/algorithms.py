"""What fast kernels compute where it is not the reference's formula: their own formulas, for `Rounded` arrays.

Run on a `Rounded`, such a formula gives the bound for the kernel (`check_rounding`'s ``algorithm``); values are
never compared with it. Nothing here is fast, or split into blocks: only which numbers are multiplied and added
matters, and sums are good for any order. Where a kernel works in float64 in between, the bound is that of the
lower precision throughout.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minires.device import Array, Size
from minires.geometry import Geometry
from minires.kernels import reference
from minires.kernels.fast import conv_winograd
from minires.kernels.fast.channels import FAR, ChannelRows
from minires.kernels.fast.cook_toom import F43, ShortConvolution
from minires.testing.rounding.double import Rounded, constant
from minires.threads import parallel_steps

AXES = (0, 2, 3)


def algorithm_of(kernel_set: str, kernel: str) -> Callable[..., Any] | None:
    """The formula of a kernel that has one of its own; None where it is the reference's, in whatever order."""
    return _ALGORITHMS.get((kernel_set, kernel))


# Batch norm: kernels/fast/batch_norm.py, equations (1) and (2), and channels.py


def batch_norm_act(
    x: Any, gamma: Any, beta: Any, shortcut: Any, relu: bool, eps: float
) -> tuple[Array, Array, Array, Array]:
    """var = Σ(x − centre)²/M − (mean − centre)², y = (x − centre) · scale + shift (+ shortcut).

    The centre is the mean where that is large, otherwise 0. Whichever float is taken for it, the exact result is
    the same; so the one that the kernel takes is asked for, and is exact.
    """
    M = x.shape[0] * x.shape[2] * x.shape[3]
    _, _, centre = parallel_steps(ChannelRows(np.ascontiguousarray(x.value.astype(x.precision.dtype))).statistics())
    offset = _exactly(np.zeros(x.shape[1]) if centre is None else centre, x)
    centred = x - _wide(offset)
    rest = centred.sum(AXES) / M
    var = np.maximum((centred * centred).sum(AXES) / M - rest * rest, 0)
    inv_std = 1 / np.sqrt(var + eps)
    scale = gamma * inv_std
    y = centred * _wide(scale) + _wide(beta - rest * scale)
    return _finish(y, shortcut, relu), offset + rest, var, inv_std


def batch_norm(x: Any, gamma: Any, beta: Any, eps: float) -> tuple[Array, Array, Array, Array]:
    """`batch_norm_act` without its extras."""
    return batch_norm_act(x, gamma, beta, None, False, eps)


def batch_norm_act_inference(
    x: Any, gamma: Any, beta: Any, mean: Any, var: Any, shortcut: Any, relu: bool, eps: float
) -> Array:
    """y = (x − centre) · scale + (beta − (mean − centre) · scale) (+ shortcut)."""
    inv_std = 1 / np.sqrt(var + eps)
    centre = _centre(mean, inv_std)
    scale = gamma * inv_std
    y = (x - _wide(centre)) * _wide(scale) + _wide(beta - (mean - centre) * scale)
    finished: Array = _finish(y, shortcut, relu)
    return finished


def batch_norm_inference(x: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: float) -> Array:
    """`batch_norm_act_inference` without its extras."""
    return batch_norm_act_inference(x, gamma, beta, mean, var, None, False, eps)


def batch_norm_act_grads(
    gy: Any,
    y: Any,
    x: Any,
    gamma: Any,
    mean: Any,
    inv_std: Any,
    relu: bool,
    wants_shortcut: bool,
    overwrite: bool = False,
) -> tuple[Array, Array, Array, Array | None]:
    """gx = gz · scale + ((x − centre) · slope + level), with ggamma from Σ gz · (x − centre)."""
    M = x.shape[0] * x.shape[2] * x.shape[3]
    gz = reference.relu_grad(gy, y) if relu else gy
    centre = _centre(mean, inv_std)
    centred, offset = x - _wide(centre), mean - centre
    gbeta = gz.sum(AXES)
    ggamma = ((gz * centred).sum(AXES) - offset * gbeta) * inv_std
    scale = gamma * inv_std
    slope = -scale * inv_std * ggamma / M
    level = -scale * gbeta / M - slope * offset
    gx = gz * _wide(scale) + (centred * _wide(slope) + _wide(level))
    return gx, ggamma, gbeta, gz if wants_shortcut else None


def batch_norm_grads(gy: Any, x: Any, gamma: Any, mean: Any, inv_std: Any) -> tuple[Array, Array, Array]:
    """`batch_norm_act_grads` without its extras."""
    return batch_norm_act_grads(gy, gy, x, gamma, mean, inv_std, False, False)[:3]


def _centre(mean: Any, inv_std: Any) -> Any:
    """The mean where one is large beside the deviation, otherwise zero; either if that is a close call."""
    return np.where(((mean * inv_std) ** 2 > FAR).any(), mean, 0.0)


def _finish(y: Any, shortcut: Any, relu: bool) -> Any:
    z = y if shortcut is None else y + shortcut
    return np.maximum(z, 0) if relu else z


def _wide(per_channel: Any) -> Any:
    return per_channel.reshape(1, -1, 1, 1)


# Winograd's convolution: kernels/fast/conv_winograd.py, equations (1) to (5)


def conv2d(x: Any, w: Any, geometry: Geometry) -> Any:
    """The reference's sums, or Winograd's for the convolutions that the fast kernel does so."""
    if not _is_winograds(x.shape, w.shape, geometry, x):
        return reference.conv2d(x, w, geometry)
    offset = -geometry.padding[0], -geometry.padding[1]
    return _winograd(x, w, offset, geometry.output_size((x.shape[2], x.shape[3])))


def conv2d_act(x: Any, w: Any, scale: Any, bias: Any, shortcut: Any, relu: bool, geometry: Geometry) -> Any:
    """The same, and what follows it."""
    y = conv2d(x, w, geometry)
    y = y if scale is None else y * _wide(scale)
    return _finish(y if bias is None else y + _wide(bias), shortcut, relu)


def conv2d_input_grad(gy: Any, w: Any, geometry: Geometry, size: Size) -> Any:
    """Winograd's convolution of gy, padded by 2 less, with the filter reversed and its channels exchanged."""
    if not _is_winograds((gy.shape[0], w.shape[1] * geometry.groups, *size), w.shape, geometry, gy):
        return reference.conv2d_input_grad(gy, w, geometry, size)
    offset = geometry.padding[0] - 2, geometry.padding[1] - 2
    return _winograd(gy, w.swapaxes(0, 1)[:, :, ::-1, ::-1], offset, size)


def conv2d_weight_grad(gy: Any, x: Any, geometry: Geometry) -> Any:
    """gw = Gᵀ [Σ (Aᵀ x A)ᵀ · (B gy Bᵀ)] G over tiles and images, G reversed as for the input's gradient."""
    shape_w = (gy.shape[1], x.shape[1] // geometry.groups, *geometry.kernel)
    if not _is_winograds(x.shape, shape_w, geometry, gy):
        return reference.conv2d_weight_grad(gy, x, geometry)
    size, offset = (x.shape[2], x.shape[3]), (geometry.padding[0] - 2, geometry.padding[1] - 2)
    A, G, B = _matrices(F43.flipped(), gy)
    V = _transformed(B, _windows(gy, offset, size, 6))  # (N, K, rows, cols, 6, 6)
    X = _transformed(A.T, _windows(x, (0, 0), size, 4))
    products = _channels_by_tiles(X) @ _channels_by_tiles(V).swapaxes(1, 2)  # (36, C, K), sums over tiles
    total = products.reshape(6, 6, *products.shape[1:]).transpose(3, 2, 0, 1)
    return G.T @ (total @ G)  # along the second axis first, as the kernel does


def conv2d_grads(
    gy: Any, x: Any, w: Any, geometry: Geometry, wants: tuple[bool, bool] = (True, True)
) -> tuple[Any, Any]:
    """Both gradients, or those that are wanted."""
    gx = conv2d_input_grad(gy, w, geometry, (x.shape[2], x.shape[3])) if wants[0] else None
    return gx, conv2d_weight_grad(gy, x, geometry) if wants[1] else None


def _is_winograds(x: tuple[int, ...], w: tuple[int, ...], geometry: Geometry, like: Any) -> bool:
    return conv_winograd.suits(x, w, geometry, like.precision.dtype)


def _winograd(x: Any, w: Any, offset: Size, size: Size) -> Any:
    """Y = A [(G w Gᵀ) ⊙ (B d Bᵀ)] Aᵀ for every tile, with the sum over channels inside."""
    A, G, B = _matrices(F43, x)
    U = (G @ (w @ G.T)).transpose(2, 3, 0, 1)  # (6, 6, K, C), along the second axis first, as the kernel does
    V = _transformed(B, _windows(x, offset, size, 6))
    N, _, rows, cols = V.shape[:4]
    K = w.shape[0]
    M = U.reshape(36, K, w.shape[1]) @ _channels_by_tiles(V)  # (36, K, N · tiles), sums over channels
    M = M.reshape(6, 6, K, N, rows, cols).transpose(3, 2, 4, 5, 0, 1)
    tiles = A @ (M @ A.T)  # and so are the tiles
    y = tiles.transpose(0, 1, 2, 4, 3, 5).reshape(N, K, 4 * rows, 4 * cols)
    return y[:, :, : size[0], : size[1]]


def _matrices(algorithm: ShortConvolution, like: Rounded) -> tuple[Any, Any, Any]:
    dtype = like.precision.dtype
    return constant(algorithm.A, dtype), constant(algorithm.G, dtype), constant(algorithm.B, dtype)


def _windows(image: Any, offset: Size, size: Size, n: int) -> Any:
    """(N, C, rows, cols, n, n): for each 4×4 tile of ``size``, the n×n pixels from ``offset`` on, zeros outside."""
    N, C, H, W = image.shape
    rows, cols = -(-size[0] // 4), -(-size[1] // 4)
    top, left = -offset[0], -offset[1]
    high, wide = max(H + top, 4 * rows + n), max(W + left, 4 * cols + n)
    padded = np.zeros_like(image, shape=(N, C, high, wide))
    padded[:, :, top : top + H, left : left + W] = image
    windows = np.zeros_like(image, shape=(N, C, rows, cols, n, n))
    for i in range(n):
        for j in range(n):
            windows[..., i, j] = padded[:, :, i : i + 4 * rows : 4, j : j + 4 * cols : 4]
    return windows


def _transformed(matrix: Any, windows: Any) -> Any:
    """matrix · d · matrixᵀ, along the first axis of d first, as the kernel does."""
    return (matrix @ windows) @ matrix.T


def _channels_by_tiles(V: Any) -> Any:
    """(N, C, rows, cols, n, n) -> (n·n, C, N·rows·cols)."""
    N, C, rows, cols, n, _ = V.shape
    return V.transpose(4, 5, 1, 0, 2, 3).reshape(n * n, C, N * rows * cols)


def _exactly(array: Any, like: Any) -> Any:
    """Floats of the precision of ``like``, as a `Rounded`."""
    return constant(array, like.precision.dtype)


_ALGORITHMS: dict[tuple[str, str], Callable[..., Any]] = {
    ("fast", "batch_norm"): batch_norm,
    ("fast", "batch_norm_act"): batch_norm_act,
    ("fast", "batch_norm_act_grads"): batch_norm_act_grads,
    ("fast", "batch_norm_act_inference"): batch_norm_act_inference,
    ("fast", "batch_norm_grads"): batch_norm_grads,
    ("fast", "batch_norm_inference"): batch_norm_inference,
    ("fast", "conv2d"): conv2d,
    ("fast", "conv2d_act"): conv2d_act,
    ("fast", "conv2d_grads"): conv2d_grads,
    ("fast", "conv2d_input_grad"): conv2d_input_grad,
    ("fast", "conv2d_weight_grad"): conv2d_weight_grad,
}
