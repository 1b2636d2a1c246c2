"""The rectifier and its gradient."""

from __future__ import annotations

from minires.device import Array, xp_of
from minires.errors import ShapeError


def relu(x: Array) -> Array:
    """max(x, 0), element by element.

    Parameters
    ----------
    x : real array of any shape

    Returns
    -------
    y : shape, dtype and memory order of x; NaN stays NaN

    Identity that tests it: relu(x) − relu(−x) = x.
    Source: Nair & Hinton 2010.
    """
    xp = xp_of(x)
    return xp.maximum(x, x.dtype.type(0), out=xp.empty_like(x))  # type: ignore[no-any-return]


def relu_grad(gy: Array, y: Array) -> Array:
    """Gradient of the loss with respect to the input of `relu`, from the output.

        gx = gy where y > 0, else 0

    The output tells as much as the input, and the next layer keeps it anyway. At x = 0, where no derivative
    exists, the gradient is 0, as in PyTorch.

    Parameters
    ----------
    gy, y : real arrays of one shape

    Returns
    -------
    gx : shape and dtype of gy, memory order of y

    Raises
    ------
    ShapeError : if the shapes differ.

    Identity that tests it: linear in gy, and applying it twice changes nothing more.
    """
    if gy.shape != y.shape:
        raise ShapeError(f"a gradient of shape {gy.shape} does not fit an output of shape {y.shape}")
    xp = xp_of(y)
    gx: Array = xp.empty_like(y, dtype=gy.dtype)
    gx[...] = xp.where(y > 0, gy, gy.dtype.type(0))
    return gx
