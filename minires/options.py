"""Options as plain Python numbers, and checks of their range. Each error names the option.

NumPy's numbers are accepted and converted, because they behave differently: an int8 overflows, a float64 turns float32
arrays into float64, and an array cannot be the key of a dictionary.
"""

from __future__ import annotations

import contextlib
import math
import operator
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import numpy as np

from minires.errors import ShapeError


def integer(value: Any, name: str, least: int | None = None) -> int:
    """Return ``value`` as an int.

    Parameters
    ----------
    value : an integer of Python or NumPy
    name : the name of the option, for messages
    least : the smallest allowed integer; None allows any

    Raises
    ------
    ShapeError : if ``value`` is not an integer (a bool is not), or smaller than ``least``.
    """
    try:
        found = operator.index(value)
    except TypeError:
        found = None
    if found is not None and not isinstance(value, bool) and (least is None or found >= least):
        return found
    if least is None:
        wanted = "an integer"
    elif least == 1:
        wanted = "a positive integer"
    else:
        wanted = f"an integer of at least {least}"
    raise ShapeError(f"{name} must be {wanted}, got {value!r}")


def several(value: Any) -> tuple[Any, ...] | None:
    """Return the items of a tuple, a list or a one-dimensional array; None for anything else."""
    if isinstance(value, tuple | list):
        return tuple(value)
    return tuple(value) if getattr(value, "ndim", 0) == 1 else None


def real(value: Any, name: str, least: float = -math.inf, most: float = math.inf) -> float:
    """Return ``value`` as a finite float between ``least`` and ``most``, both included.

    Raises
    ------
    ValueError : if ``value`` is not a real number of Python or NumPy (a bool is not), not finite, or out of range.
    """
    with contextlib.suppress(ValueError, OverflowError):
        found = float(number(value, name))
        if math.isfinite(found) and least <= found <= most:
            return found
    bounds = {(-math.inf, math.inf): "a finite number", (0, math.inf): "a finite number that is not negative"}
    wanted = bounds.get((least, most), f"between {least:g} and {most:g}")
    raise ValueError(f"{name} must be {wanted}, got {value!r}")


def number(value: Any, name: str) -> int | float:
    """Return ``value`` as an int if it is an integer, otherwise as a float.

    Raises
    ------
    ValueError : if ``value`` is not a real number of Python or NumPy (a bool is not).
    """
    plain = value[()] if isinstance(value, np.ndarray) else value
    if not isinstance(plain, Real) or isinstance(plain, bool):
        raise ValueError(f"{name} must be a number, got {value!r}")
    return int(plain) if isinstance(plain, Integral) else float(plain)


def check_number(name: str, value: Any, fits: Callable[[float], bool], wanted: str) -> None:
    """Raise ValueError unless ``value`` is a number that ``fits``; ``wanted`` says in words which numbers do."""
    with contextlib.suppress(OverflowError):  # an integer may be too large for any float
        if isinstance(value, Real) and fits(float(value)):
            return
    advice = "; take its .item()" if hasattr(value, "item") and not isinstance(value, Real) else ""
    raise ValueError(f"{name} must be {wanted}, got {value!r}{advice}")


def check_not_negative(name: str, value: Any) -> None:
    """Raise ValueError unless ``value`` is a finite number of at least 0."""
    check_number(name, value, lambda number: 0 <= number < math.inf, "a finite number that is not negative")


def check_positive(name: str, value: Any) -> None:
    """Raise ValueError unless ``value`` is a finite number above 0."""
    check_number(name, value, lambda number: 0 < number < math.inf, "a finite number above 0")


def check_integer(name: str, value: Any, least: int = 1) -> None:
    """Raise ValueError unless ``value`` is an integer of at least ``least``."""
    if isinstance(value, bool) or not (isinstance(value, Integral) and int(value) >= least):
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")
