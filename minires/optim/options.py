"""Range checks for options of optimizers, schedules and loss scaling. Each error names the option."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any


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
