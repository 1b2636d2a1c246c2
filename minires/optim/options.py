"""Options out of range, told by name."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any


def check_number(name: str, value: Any, fits: Callable[[float], bool], wanted: str) -> None:
    """Make sure that ``value`` is a number that ``fits``; ``wanted`` says in words what does.

    Raises
    ------
    ValueError : if it is not.
    """
    with contextlib.suppress(OverflowError):  # of an integer that no float holds
        if isinstance(value, Real) and fits(float(value)):
            return
    advice = "; take its .item()" if hasattr(value, "item") and not isinstance(value, Real) else ""
    raise ValueError(f"{name} must be {wanted}, got {value!r}{advice}")


def check_not_negative(name: str, value: Any) -> None:
    """Make sure that ``value`` is a finite number from 0 on; raises ValueError if it is not."""
    check_number(name, value, lambda number: 0 <= number < math.inf, "a finite number that is not negative")


def check_positive(name: str, value: Any) -> None:
    """Make sure that ``value`` is a finite number above 0; raises ValueError if it is not."""
    check_number(name, value, lambda number: 0 < number < math.inf, "a finite number above 0")


def check_integer(name: str, value: Any, least: int = 1) -> None:
    """Make sure that ``value`` is an integer from ``least`` on; raises ValueError if it is not."""
    if isinstance(value, bool) or not (isinstance(value, Integral) and int(value) >= least):
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")
