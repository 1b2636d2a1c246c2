"""Max pooling, average pooling and adaptive average pooling, with their gradients.

As in conv.py, every function is a loop over the taps of the window, and `Geometry.taps` says which input each output
sees through a tap. Padding is never the maximum, and counts as zeros in a mean. A result has the memory order of the
array from which it is made.
"""

from __future__ import annotations

from minires.device import Array, Size, sum_dtype, xp_of
from minires.geometry import Geometry, Tap
from minires.kernels.checks import (
    check_adaptive,
    check_adaptive_grad,
    check_average,
    check_average_grad,
    check_pooled,
    check_winners,
    winners_dtype,
)
from minires.kernels.float16 import in_float32
from minires.kernels.reference import reduction
from minires.kernels.sums import sum_of_taps


def max_pool2d(x: Array, geometry: Geometry) -> Array:
    """Return the largest value of each window.

    Parameters
    ----------
    x : (N, C, H, W) real array
    geometry : kernel, stride and padding

    Returns
    -------
    y : (N, C, P, Q), dtype of x; NaN if one is in the window

    Raises
    ------
    ShapeError : if the window does not fit, or the padding is not smaller than the window.

    Identity that tests it: each output is an element of its window, and no element is larger.
    Source: derivation in docs/derivations/pooling.md.
    """
    return max_pool2d_winners(x, geometry)[0]


def max_pool2d_winners(x: Array, geometry: Geometry) -> tuple[Array, Array]:
    """Return the largest value of each window, and the index of its tap.

    Of equal values, where no derivative exists, the first in row-major window order wins, as in PyTorch. NaN counts as
    larger than everything, and the last NaN wins.

    Parameters
    ----------
    x : (N, C, H, W) real array
    geometry : kernel (R, S), stride and padding

    Returns
    -------
    y : (N, C, P, Q), dtype of x
    winners : (N, C, P, Q) unsigned integers, r · S + s for the tap (r, s)

    Raises
    ------
    ShapeError : if the window does not fit, or the padding is not smaller than the window.

    Identity that tests it: max_pool2d_gather(x, winners) = y.
    """
    xp, shape = xp_of(x), geometry.check_pool(x.shape)
    y, winners = xp.zeros_like(x, shape=shape), xp.zeros_like(x, dtype=winners_dtype(geometry), shape=shape)
    seen = xp.zeros(shape[2:], dtype=bool)
    for tap in geometry.taps((x.shape[2], x.shape[3])):
        out = (..., tap.rows_out, tap.cols_out)
        candidate = x[..., tap.rows_in, tap.cols_in]
        better = ~seen[out] | (candidate > y[out]) | (candidate != candidate)
        y[out] = xp.where(better, candidate, y[out])
        winners[out] = xp.where(better, winners.dtype.type(geometry.tap_index(tap)), winners[out])
        seen[out] = True
    return y, winners


@in_float32()
def max_pool2d_grad(gy: Array, winners: Array, geometry: Geometry, size: Size) -> Array:
    """Return the gradient of the loss with respect to the input of `max_pool2d`.

        gx[n, c, h, w] = Σ gy[n, c, p, q] over the windows that (h, w) won        (1)

    Parameters
    ----------
    gy : (N, C, P, Q) array, the gradient with respect to the output
    winners : (N, C, P, Q), as `max_pool2d_winners` returned them
    geometry : as in the forward pass
    size : (H, W) of the input

    Returns
    -------
    gx : (N, C, H, W), dtype and memory order of gy

    Raises
    ------
    ShapeError : if the shapes do not agree.

    Identity that tests it: the adjoint of `max_pool2d_gather`, exactly; Σ gx = Σ gy.
    """
    check_winners(gy, winners, geometry, size)
    xp, zero = xp_of(gy), gy.dtype.type(0)

    def add(gx: Array, tap: Tap) -> None:
        out = (..., tap.rows_out, tap.cols_out)
        won = winners[out] == geometry.tap_index(tap)
        gx[..., tap.rows_in, tap.cols_in] += xp.where(won, gy[out], zero)  # (1)

    gx = sum_of_taps(xp.zeros_like(gy, shape=(*gy.shape[:2], *size)), geometry.taps(size), add)
    return gx.astype(gy.dtype, copy=False)


def max_pool2d_gather(v: Array, winners: Array, geometry: Geometry) -> Array:
    """Read ``v`` at the winners: the adjoint of `max_pool2d_grad`, which its derivatives need.

    Parameters
    ----------
    v : (N, C, H, W) array
    winners : (N, C, P, Q), as `max_pool2d_winners` returned them
    geometry : as in the forward pass

    Returns
    -------
    y : (N, C, P, Q), dtype and memory order of v

    Raises
    ------
    ShapeError : if the shapes do not agree.

    Identity that tests it: read from x, it gives max_pool2d(x).
    """
    check_pooled(winners, geometry.check_pool(v.shape))
    xp = xp_of(v)
    y: Array = xp.zeros_like(v, shape=winners.shape)
    for tap in geometry.taps((v.shape[2], v.shape[3])):
        out = (..., tap.rows_out, tap.cols_out)
        won = winners[out] == geometry.tap_index(tap)
        y[out] = xp.where(won, v[..., tap.rows_in, tap.cols_in], y[out])
    return y


@in_float32()
def avg_pool2d(x: Array, geometry: Geometry) -> Array:
    """Return the mean of each window, with padding counted as zeros.

        y[n, c, p, q] = Σ_{r, s} x[n, c, h, w] / (R · S)                          (1)

    Parameters
    ----------
    x : (N, C, H, W) float or complex array
    geometry : kernel, stride and padding

    Returns
    -------
    y : (N, C, P, Q), dtype and memory order of x

    Raises
    ------
    ShapeError : if the window does not fit, or the padding is not smaller than the window.
    DtypeError : for integers.

    Identity that tests it: ⟨gy, avg_pool2d(x)⟩ = ⟨avg_pool2d_grad(gy), x⟩.
    """
    zeros = xp_of(x).zeros_like(x, shape=check_average(x, geometry))
    R, S = geometry.kernel

    def add(y: Array, tap: Tap) -> None:
        y[..., tap.rows_out, tap.cols_out] += x[..., tap.rows_in, tap.cols_in]

    y = sum_of_taps(zeros, geometry.taps((x.shape[2], x.shape[3])), add)
    y /= R * S  # (1), in place: CuPy's quotient would lose the memory order
    return y.astype(x.dtype, copy=False)


@in_float32()
def avg_pool2d_grad(gy: Array, geometry: Geometry, size: Size) -> Array:
    """Return the gradient of the loss with respect to the input of `avg_pool2d`: each pixel gets an equal share.

        gx[n, c, h, w] = Σ gy[n, c, p, q] / (R · S) over the windows that hold (h, w)    (1)

    Parameters, Returns
    -------------------
    as `max_pool2d_grad`, without winners

    Raises
    ------
    ShapeError : if the shapes do not agree.
    DtypeError : for integers.

    Identity that tests it: the adjoint of `avg_pool2d` (see there).
    """
    check_average_grad(gy, geometry, size)
    zeros = xp_of(gy).zeros_like(gy, shape=(*gy.shape[:2], *size))
    R, S = geometry.kernel

    def add(gx: Array, tap: Tap) -> None:
        gx[..., tap.rows_in, tap.cols_in] += gy[..., tap.rows_out, tap.cols_out]

    gx = sum_of_taps(zeros, geometry.taps(size), add)
    gx /= R * S  # (1)
    return gx.astype(gy.dtype, copy=False)


def adaptive_avg_pool2d(x: Array, grid: Size) -> Array:
    """Return the means over a grid of P × Q windows that cover the image, whatever its size.

        y[n, c, p, q] = mean of x[n, c, h, w] over  ⌊p·H / P⌋ ≤ h < ⌈(p + 1)·H / P⌉       (1)

    and in the same way for w, with q, W and Q. Where P does not divide H, adjacent windows may share a row.

    Parameters
    ----------
    x : (N, C, H, W) float or complex array
    grid : (P, Q), each at least 1

    Returns
    -------
    y : (N, C, P, Q), dtype and memory order of x

    Raises
    ------
    ShapeError : if x does not have four axes or has no pixels, or the grid is not two positive integers.
    DtypeError : for integers.

    Identities that test it: grid (1, 1) is the mean over all pixels, grid (H, W) is x, and where (P, Q)
    divides (H, W) it is `avg_pool2d`.
    """
    windows = check_adaptive(x, grid)
    y: Array = xp_of(x).empty_like(x, shape=(*x.shape[:2], *grid))
    for window in windows:
        y[..., window.p, window.q] = reduction.mean(x[..., window.rows, window.cols], (2, 3))  # (1)
    return y


@in_float32()
def adaptive_avg_pool2d_grad(gy: Array, size: Size) -> Array:
    """Return the gradient of the loss with respect to the input of `adaptive_avg_pool2d`.

        gx[n, c, h, w] = Σ gy[n, c, p, q] / (pixels in window p, q)  over the windows that hold (h, w)    (1)

    Parameters, Returns
    -------------------
    as `max_pool2d_grad`, without winners and geometry

    Raises
    ------
    ShapeError : if gy does not have four axes, or there are no pixels.
    DtypeError : for integers.

    Identity that tests it: the adjoint of `adaptive_avg_pool2d`; Σ gx = Σ gy.
    """
    windows = check_adaptive_grad(gy, size)
    gx: Array = xp_of(gy).zeros_like(gy, shape=(*gy.shape[:2], *size), dtype=sum_dtype(gy.dtype))
    for window in windows:
        share = gy[..., window.p, window.q] / window.pixels
        gx[..., window.rows, window.cols] += share[..., None, None]  # (1)
    return gx.astype(gy.dtype, copy=False)
