"""The formulas of fast kernels that differ from the reference's, for `Rounded` arrays.

Run on a `Rounded`, such a formula gives the bound for the kernel (the ``algorithm`` of `check_rounding`); its values
are not compared with the kernel's. Blocks do not matter here, as the bound of a sum holds in any order. It only
matters which numbers are multiplied and added. If a kernel computes a step in float64, the bound is still that of the
lower precision.
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
    """Return the formula of a kernel; None if it is the reference's, in any order of sums."""
    return _OF_FAST.get(kernel) if kernel_set == "fast" else None


# Batch norm: kernels/fast/batch_norm.py, equations (1) and (2), and channels.py


def batch_norm_act(
    x: Any, gamma: Any, beta: Any, shortcut: Any, relu: bool, eps: float
) -> tuple[Array, Array, Array, Array]:
    """Return var = Σ(x − centre)²/M − (mean − centre)² and y = (x − centre) · scale + shift (+ shortcut).

    The centre is the mean if that is large, otherwise 0. The exact result is the same for any centre. So this takes
    the centre of the kernel, without an error.
    """
    M = x.shape[0] * x.shape[2] * x.shape[3]
    _, _, centre = parallel_steps(ChannelRows(np.ascontiguousarray(x.value.astype(x.precision.dtype))).statistics())
    offset = constant(np.zeros(x.shape[1]) if centre is None else centre, x.precision.dtype)
    centred = x - _wide(offset)
    rest = centred.sum(AXES) / M
    var = np.maximum((centred * centred).sum(AXES) / M - rest * rest, 0)
    inv_std = 1 / np.sqrt(var + eps)
    scale = gamma * inv_std
    y = centred * _wide(scale) + _wide(beta - rest * scale)
    return _finish(y, shortcut, relu), offset + rest, var, inv_std


def batch_norm(x: Any, gamma: Any, beta: Any, eps: float) -> tuple[Array, Array, Array, Array]:
    """Return `batch_norm_act` without a shortcut or ReLU."""
    return batch_norm_act(x, gamma, beta, None, False, eps)


def batch_norm_act_inference(
    x: Any, gamma: Any, beta: Any, mean: Any, var: Any, shortcut: Any, relu: bool, eps: float
) -> Array:
    """Return y = (x − centre) · scale + (beta − (mean − centre) · scale) (+ shortcut)."""
    inv_std = 1 / np.sqrt(var + eps)
    centre = _centre(mean, inv_std)
    scale = gamma * inv_std
    y = (x - _wide(centre)) * _wide(scale) + _wide(beta - (mean - centre) * scale)
    finished: Array = _finish(y, shortcut, relu)
    return finished


def batch_norm_inference(x: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: float) -> Array:
    """Return `batch_norm_act_inference` without a shortcut or ReLU."""
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
    """Return gx = gz · scale + ((x − centre) · slope + level), with ggamma from Σ gz · (x − centre)."""
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
    """Return `batch_norm_act_grads` without a shortcut or ReLU."""
    return batch_norm_act_grads(gy, gy, x, gamma, mean, inv_std, False, False)[:3]


def _centre(mean: Any, inv_std: Any) -> Any:
    """Return the mean if one is large beside the deviation, otherwise zero; the union where rounding may decide."""
    return np.where(((mean * inv_std) ** 2 > FAR).any(), mean, 0.0)


def _finish(y: Any, shortcut: Any, relu: bool) -> Any:
    z = y if shortcut is None else y + shortcut
    return np.maximum(z, 0) if relu else z


def _wide(per_channel: Any) -> Any:
    return per_channel.reshape(1, -1, 1, 1)


# Winograd's convolution: kernels/fast/conv_winograd.py, equations (1) to (5)


def conv2d(x: Any, w: Any, geometry: Geometry) -> Any:
    """Return the reference's convolution, or Winograd's where the fast kernel uses it."""
    if not _is_winograds(x.shape, w.shape, geometry, x):
        return reference.conv2d(x, w, geometry)
    offset = -geometry.padding[0], -geometry.padding[1]
    return _winograd(x, w, offset, geometry.output_size((x.shape[2], x.shape[3])))


def conv2d_act(x: Any, w: Any, scale: Any, bias: Any, shortcut: Any, relu: bool, geometry: Geometry) -> Any:
    """Return `conv2d`, scaled, shifted, with a shortcut and ReLU, as far as they are given."""
    y = conv2d(x, w, geometry)
    y = y if scale is None else y * _wide(scale)
    return _finish(y if bias is None else y + _wide(bias), shortcut, relu)


def conv2d_input_grad(gy: Any, w: Any, geometry: Geometry, size: Size) -> Any:
    """Return Winograd's convolution of gy, padded by 2 less, with the filter reversed and its channels exchanged."""
    if not _is_winograds((gy.shape[0], w.shape[1] * geometry.groups, *size), w.shape, geometry, gy):
        return reference.conv2d_input_grad(gy, w, geometry, size)
    offset = geometry.padding[0] - 2, geometry.padding[1] - 2
    return _winograd(gy, w.swapaxes(0, 1)[:, :, ::-1, ::-1], offset, size)


def conv2d_weight_grad(gy: Any, x: Any, geometry: Geometry) -> Any:
    """Return gw = Gᵀ [Σ (Aᵀ x A)ᵀ · (B gy Bᵀ)] G over tiles and images, G reversed as for the input's gradient."""
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
    """Return both gradients, or None for one that is not wanted."""
    gx = conv2d_input_grad(gy, w, geometry, (x.shape[2], x.shape[3])) if wants[0] else None
    return gx, conv2d_weight_grad(gy, x, geometry) if wants[1] else None


def _is_winograds(x: tuple[int, ...], w: tuple[int, ...], geometry: Geometry, like: Any) -> bool:
    return conv_winograd.suits(x, w, geometry, like.precision.dtype)


def _winograd(x: Any, w: Any, offset: Size, size: Size) -> Any:
    """Return Y = A [(G w Gᵀ) ⊙ (B d Bᵀ)] Aᵀ for every tile, with the sum over channels inside."""
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
    """Return (N, C, rows, cols, n, n): for each 4×4 tile of ``size``, n×n pixels from ``offset`` on, zeros outside."""
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
    """Return matrix · d · matrixᵀ, along the first axis of d first, as the kernel does."""
    return (matrix @ windows) @ matrix.T


def _channels_by_tiles(V: Any) -> Any:
    """Return (N, C, rows, cols, n, n) as (n·n, C, N·rows·cols)."""
    N, C, rows, cols, n, _ = V.shape
    return V.transpose(4, 5, 1, 0, 2, 3).reshape(n * n, C, N * rows * cols)


_OF_FAST: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        *(batch_norm, batch_norm_act, batch_norm_act_grads, batch_norm_act_inference, batch_norm_grads),
        *(batch_norm_inference, conv2d, conv2d_act, conv2d_grads, conv2d_input_grad, conv2d_weight_grad),
    )
}
