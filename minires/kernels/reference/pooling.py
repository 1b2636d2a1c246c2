"""Pooling: the largest or the mean value of each window, and where their gradients go.

As in conv.py, every function is a loop over the taps of the window, and `Geometry.taps` knows which input a
tap shows to which output. Padding is never a candidate for the maximum, and counts as zeros in a mean.
"""

from __future__ import annotations

from minires.device import Array, Size, same_dtype, xp_of
from minires.errors import ShapeError
from minires.geometry import Geometry, Tap


def max_pool2d(x: Array, geometry: Geometry) -> Array:
    """The largest value of each window.

    Parameters
    ----------
    x : (N, C, H, W) real array
    geometry : kernel, stride and padding

    Returns
    -------
    y : (N, C, P, Q), dtype of x; NaN where a window holds one

    Raises
    ------
    ShapeError : if the window does not fit, or its padding is not smaller than itself.

    Identity that tests it: each output is an element of its window, and no element is larger.
    """
    return _winners(x, geometry)[0]


def max_pool2d_grad(gy: Array, x: Array, geometry: Geometry) -> Array:
    """Gradient of the loss with respect to the input of `max_pool2d`.

        gx[n, c, h, w] = Σ gy[n, c, p, q] over the windows that (h, w) won

    Among equal values, where no derivative exists, the first in row-major window order wins, as in PyTorch.

    Parameters
    ----------
    gy : (N, C, P, Q); x : (N, C, H, W), of one dtype
    geometry : as in the forward pass

    Returns
    -------
    gx : (N, C, H, W), dtype of gy

    Raises
    ------
    ShapeError, DtypeError : if shapes or dtypes do not agree.

    Identity that tests it: the adjoint of `max_pool2d_gather`, exactly; Σ gx = Σ gy.
    """
    xp, (_, winner) = xp_of(x), _winners(x, geometry)
    _same_shape(gy, winner.shape)
    gx: Array = xp.zeros(x.shape, same_dtype(gy, x))
    for tap in geometry.taps(x.shape[2:]):
        won = winner[..., tap.rows_out, tap.cols_out] == _place(x, tap)
        gx[..., tap.rows_in, tap.cols_in] += xp.where(won, gy[..., tap.rows_out, tap.cols_out], gy.dtype.type(0))
    return gx


def max_pool2d_gather(v: Array, x: Array, geometry: Geometry) -> Array:
    """Read ``v`` where ``x`` has its maxima: the adjoint of `max_pool2d_grad`, for derivatives of it.

    Parameters
    ----------
    v, x : (N, C, H, W) arrays of one dtype
    geometry : as in the forward pass

    Returns
    -------
    (N, C, P, Q), dtype of v

    Raises
    ------
    ShapeError, DtypeError : if shapes or dtypes do not agree.

    Identity that tests it: max_pool2d_gather(x, x) = max_pool2d(x).
    """
    xp, (_, winner) = xp_of(x), _winners(x, geometry)
    _same_shape(v, x.shape)
    y: Array = xp.zeros(winner.shape, same_dtype(v, x))
    for tap in geometry.taps(x.shape[2:]):
        won = winner[..., tap.rows_out, tap.cols_out] == _place(x, tap)
        y[..., tap.rows_out, tap.cols_out] += xp.where(won, v[..., tap.rows_in, tap.cols_in], v.dtype.type(0))
    return y


def avg_pool2d(x: Array, geometry: Geometry) -> Array:
    """The mean of each window, padding counted as zeros.

        y[n, c, p, q] = Σ_{r, s} x[n, c, h, w] / (R · S)

    Parameters
    ----------
    x : (N, C, H, W) float or complex array
    geometry : kernel, stride and padding

    Returns
    -------
    y : (N, C, P, Q), dtype of x

    Raises
    ------
    ShapeError : if the window does not fit, or its padding is not smaller than itself.

    Identity that tests it: ⟨gy, avg_pool2d(x)⟩ = ⟨avg_pool2d_grad(gy), x⟩.
    """
    y: Array = xp_of(x).zeros(geometry.check_pool(x.shape), x.dtype)
    for tap in geometry.taps((x.shape[2], x.shape[3])):
        y[..., tap.rows_out, tap.cols_out] += x[..., tap.rows_in, tap.cols_in]
    return y / (geometry.kernel[0] * geometry.kernel[1])


def avg_pool2d_grad(gy: Array, geometry: Geometry, size: Size) -> Array:
    """Gradient of the loss with respect to the input of `avg_pool2d`: each window hands out equal shares.

        gx[n, c, h, w] = Σ gy[n, c, p, q] / (R · S) over the windows that hold (h, w)

    Parameters
    ----------
    gy : (N, C, P, Q) array
    geometry : as in the forward pass
    size : (H, W) of the input

    Returns
    -------
    gx : (N, C, H, W), dtype of gy

    Raises
    ------
    ShapeError : if the shapes do not agree.

    Identity that tests it: the adjoint of `avg_pool2d` (see there).
    """
    _same_shape(gy, geometry.check_pool((*gy.shape[:2], *size)))
    gx: Array = xp_of(gy).zeros((*gy.shape[:2], *size), gy.dtype)
    for tap in geometry.taps(size):
        gx[..., tap.rows_in, tap.cols_in] += gy[..., tap.rows_out, tap.cols_out]
    return gx / (geometry.kernel[0] * geometry.kernel[1])


def _winners(x: Array, geometry: Geometry) -> tuple[Array, Array]:
    """The maxima, and the place h · W + w of each; NaN beats everything."""
    xp, shape = xp_of(x), geometry.check_pool(x.shape)
    y, winner = xp.zeros(shape, x.dtype), xp.full(shape, -1, "int64")
    for tap in geometry.taps((x.shape[2], x.shape[3])):
        out = (..., tap.rows_out, tap.cols_out)
        candidate = x[..., tap.rows_in, tap.cols_in]
        better = (winner[out] < 0) | (candidate > y[out]) | (candidate != candidate)
        y[out] = xp.where(better, candidate, y[out])
        winner[out] = xp.where(better, _place(x, tap), winner[out])
    return y, winner


def _place(x: Array, tap: Tap) -> Array:
    """h · W + w of the inputs that a tap shows."""
    xp, (H, W) = xp_of(x), x.shape[2:]
    rows, cols = xp.arange(H)[tap.rows_in], xp.arange(W)[tap.cols_in]
    return rows[:, None] * W + cols  # type: ignore[no-any-return]


def _same_shape(array: Array, expected: tuple[int, ...]) -> None:
    if array.shape != tuple(expected):
        raise ShapeError(f"an array of shape {array.shape} was given where pooling needs {tuple(expected)}")
