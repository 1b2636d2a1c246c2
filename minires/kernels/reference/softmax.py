"""The logarithm of the softmax."""

from __future__ import annotations

from minires.device import Array, xp_of
from minires.errors import ShapeError


def log_softmax(x: Array, dim: int) -> Array:
    """Logarithm of the softmax along one axis.

        y = (x − m) − log Σ exp(x − m),    m = max x

    The shift by m changes nothing in exact arithmetic, and keeps exp from overflowing.

    Parameters
    ----------
    x : float or complex array; of complex values, m is the largest real part
    dim : the axis that holds the classes

    Returns
    -------
    y : shape and dtype of x

    Raises
    ------
    ShapeError : if there is no such axis, or it is empty.

    Identities that test it: Σ exp(y) = 1; a constant added to x changes nothing.
    """
    if not -x.ndim <= dim < x.ndim or not x.shape[dim]:
        raise ShapeError(f"log_softmax along axis {dim} needs that axis to exist and not to be empty, got {x.shape}")
    xp = xp_of(x)
    shifted = x - x.real.max(axis=dim, keepdims=True)
    return shifted - xp.log(xp.exp(shifted).sum(axis=dim, keepdims=True))  # type: ignore[no-any-return]
