"""The rectifier with its gradient, and the two smooth switches."""

from __future__ import annotations

from minires.device import Array, xp_of
from minires.errors import DtypeError
from minires.kernels.checks import check_gradient
from minires.kernels.halves import in_float32


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
    return xp.maximum(x, x.dtype.type(0), out=xp.empty_like(x))


def relu_grad(gy: Array, y: Array) -> Array:
    """Gradient of the loss with respect to the input of `relu`, from the output.

        gx = 0 where y ≤ 0, else gy

    The output tells as much as the input, and the next layer keeps it anyway. At x = 0, where no derivative
    exists, the gradient is 0, and NaN lets it through, as in PyTorch.

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
    check_gradient(gy, y, "output")
    xp = xp_of(y)
    gx: Array = xp.empty_like(y, dtype=gy.dtype)
    gx[...] = xp.where(y <= 0, gy.dtype.type(0), gy)
    return gx


@in_float32()
def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(−x)), element by element.

    Written in z = exp(−|x|), which cannot overflow, and keeps every digit where the result is nearly 0:

        y = 1 / (1 + z) for x ≥ 0,    z / (1 + z) for x < 0                       (1)

    Parameters
    ----------
    x : float or complex array of any shape; of complex values, the real part decides

    Returns
    -------
    y : shape, dtype and memory order of x; NaN stays NaN

    Raises
    ------
    DtypeError : for integers.

    Identities that test it: sigmoid(x) + sigmoid(−x) = 1; the derivative is y · (1 − y).
    """
    _need_float("sigmoid", x)
    xp = xp_of(x)
    negative = x.real < 0
    z = xp.exp(xp.where(negative, x, -x))
    y: Array = xp.divide(xp.where(negative, z, xp.ones_like(z)), 1 + z, out=xp.empty_like(x))  # (1)
    return y


def tanh(x: Array) -> Array:
    """The hyperbolic tangent, element by element.

    Parameters
    ----------
    x : float or complex array of any shape

    Returns
    -------
    y : shape, dtype and memory order of x

    Raises
    ------
    DtypeError : for integers.

    Identities that test it: tanh(−x) = −tanh(x); tanh(x) = 2 · sigmoid(2x) − 1; the derivative is 1 − y².
    """
    _need_float("tanh", x)
    xp = xp_of(x)
    return xp.tanh(x, out=xp.empty_like(x))


def _need_float(name: str, x: Array) -> None:
    if x.dtype.kind not in "fc":
        raise DtypeError(f"{name} needs a float array, got {x.dtype}: convert with .to(dtype)")
