"""Options as plain Python numbers: NumPy's are taken where Python's are, and what is no number is told by name.

NumPy's numbers are not handed on. An int8 overflows where an int does not, a float64 makes float64 of float32 arrays,
and an array of no axes is no key of a dictionary.
"""

from __future__ import annotations

import contextlib
import math
import operator
from numbers import Integral, Real
from typing import Any

import numpy as np

from minires.errors import ShapeError


def integer(value: Any, name: str, least: int | None = None) -> int:
    """Return ``value`` as an int.

    Parameters
    ----------
    value : an integer of Python or NumPy
    name : of the option, for messages
    least : the smallest integer that is allowed; None for any

    Raises
    ------
    ShapeError : if it is no integer (a bool is none), or smaller.
    """
    try:
        found = operator.index(value)
    except TypeError:
        found = None
    if found is not None and not isinstance(value, bool) and (least is None or found >= least):
        return found
    wanted = (
        "an integer" if least is None else "a positive integer" if least == 1 else f"an integer of at least {least}"
    )
    raise ShapeError(f"{name} must be {wanted}, got {value!r}")


def several(value: Any) -> tuple[Any, ...] | None:
    """Return the items of a tuple, a list or an array with an axis; None for anything else."""
    if isinstance(value, tuple | list):
        return tuple(value)
    return tuple(value) if getattr(value, "ndim", 0) == 1 else None


def real(value: Any, name: str, least: float = -math.inf, most: float = math.inf) -> float:
    """Return ``value`` as a finite float between ``least`` and ``most``, both included.

    Raises
    ------
    ValueError : if it is no real number of Python or NumPy (a bool is none), not finite as a float64, or beyond.
    """
    with contextlib.suppress(ValueError, OverflowError):
        found = float(number(value, name))
        if math.isfinite(found) and least <= found <= most:
            return found
    bounds = {(-math.inf, math.inf): "a finite number", (0, math.inf): "a finite number that is not negative"}
    wanted = bounds.get((least, most), f"between {least:g} and {most:g}")
    raise ValueError(f"{name} must be {wanted}, got {value!r}")


def number(value: Any, name: str) -> int | float:
    """Return ``value`` as an int or a float, whichever it is.

    Raises
    ------
    ValueError : if it is no real number of Python or NumPy (a bool is none).
    """
    plain = value[()] if isinstance(value, np.ndarray) else value
    if not isinstance(plain, Real) or isinstance(plain, bool):
        raise ValueError(f"{name} must be a number, got {value!r}")
    return int(plain) if isinstance(plain, Integral) else float(plain)
