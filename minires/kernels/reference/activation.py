"""ReLU and its gradient, sigmoid and tanh."""

from __future__ import annotations

from minires.device import Array, xp_of
from minires.kernels.checks import check_float, check_gradient
from minires.kernels.float16 import in_float32
from minires.kernels.reference.shape import in_order_of


def relu(x: Array) -> Array:
    """Return max(x, 0), element by element.

    Parameters
    ----------
    x : real array of any shape

    Returns
    -------
    y : shape, dtype and memory order of x; NaN stays NaN

    Identity that tests it: relu(x) − relu(−x) = x.
    Source: Nair & Hinton 2010.
    """
    return in_order_of(x, xp_of(x).maximum(x, x.dtype.type(0)))


def relu_grad(gy: Array, y: Array) -> Array:
    """Return the gradient of the loss with respect to the input of `relu`, from the output.

        gx = 0 where y ≤ 0, else gy                                               (1)

    The output says as much as the input, and the next layer keeps it anyway. At x = 0, where no derivative exists, the
    gradient is 0. Where y is NaN, gy passes, as in PyTorch.

    Parameters
    ----------
    gy, y : real arrays of one shape

    Returns
    -------
    gx : shape and dtype of gy, memory order of y

    Raises
    ------
    ShapeError : if the shapes differ.

    Identities that test it: linear in gy; a second call changes nothing more.
    """
    check_gradient(gy, y, "output")
    return in_order_of(y, xp_of(y).where(y <= 0, gy.dtype.type(0), gy))  # (1)


@in_float32()
def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + exp(−x)), element by element.

    It is written in terms of z = exp(−|x|), which cannot overflow and keeps every digit where the result is nearly 0:

        y = 1 / (1 + z) for x ≥ 0,    z / (1 + z) for x < 0                       (1)

    Parameters
    ----------
    x : float or complex array of any shape; the sign of the real part selects the formula for complex values

    Returns
    -------
    y : shape, dtype and memory order of x; NaN stays NaN

    Raises
    ------
    DtypeError : for integers.

    Identities that test it: sigmoid(x) + sigmoid(−x) = 1; the derivative is y · (1 − y).
    """
    check_float("sigmoid", x)
    xp = xp_of(x)
    negative = x.real < 0
    z = xp.exp(xp.where(negative, x, -x))
    return in_order_of(x, xp.where(negative, z, xp.ones_like(z)) / (1 + z))  # (1)


def tanh(x: Array) -> Array:
    """Return the hyperbolic tangent, element by element.

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
    check_float("tanh", x)
    return in_order_of(x, xp_of(x).tanh(x))
