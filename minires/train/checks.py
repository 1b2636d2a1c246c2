"""Check single settings. A message names the setting in backticks, shows its value and says what is expected."""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np

from minires import kernels as kernel_sets
from minires.device import canonical
from minires.errors import SettingsError

MOST_THREADS = 1024  # more than any machine needs, and few enough that every machine can start them
_MOST = 2**31 - 1
_FLOAT32_MAX = float(np.finfo(np.float32).max)


def plain(value: Any) -> Any:
    """Convert a number or text of NumPy or another library to Python's type; return anything else unchanged."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    return str(value) if isinstance(value, np.str_) else value


def path(name: str, value: Any) -> str | None:
    """Return a path as text, with ``~`` replaced by the home directory; None stays None.

    Raises
    ------
    SettingsError : if it is not a path, or empty.
    """
    if value is None:
        return None
    text = os.fsdecode(value) if isinstance(value, str | bytes | os.PathLike) else value
    if not isinstance(text, str) or not text:
        raise SettingsError(f"`{name}` must be the path of a directory, got {value!r}")
    return os.path.expanduser(text)


def one_of(name: str, value: Any, choices: Sequence[str]) -> None:
    """Raise SettingsError unless ``value`` is one of ``choices``; the text names the nearest one, except for dtypes."""
    if value not in choices:
        near = "" if name == "dtype" and _bare(str(value)) not in choices else did_you_mean(value, choices)
        raise SettingsError(f"`{name}` {value!r} is not one of {', '.join(choices)}{near}")


def did_you_mean(value: Any, choices: Sequence[str]) -> str:
    """Return "; did you mean 'x'?" for the choice nearest to ``value``, or "" if no choice is near."""
    typed, bare = _bare(str(value)), {_bare(choice): choice for choice in choices}
    near = difflib.get_close_matches(typed, bare, cutoff=0.75)
    if not near:
        return ""

    def likeness(name: str) -> tuple[float, int]:
        """Return the similarity and the length of the common prefix: for resnet21, resnet20 comes before resnet32."""
        begins = sum(typed.startswith(name[:length]) for length in range(1, len(name) + 1))
        return difflib.SequenceMatcher(None, name, typed).ratio(), begins

    best = max(near, key=likeness)
    return f"; did you mean {bare[best]!r}?"


def _bare(text: str) -> str:
    return text.lower().replace("-", "").replace("_", "")


def integer(name: str, value: Any, least: int = 1, most: int = _MOST) -> None:
    """Raise SettingsError unless ``value`` is an integer from ``least`` to ``most``."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise SettingsError(f"`{name}` must be an integer of at least {least}, got {value!r}")
    if value > most:
        raise SettingsError(f"`{name}` must be at most {most}, got {value}")


def threads(value: int | None) -> None:
    """Raise SettingsError unless ``value`` is None or a number of threads from 1 to ``MOST_THREADS``."""
    if value is not None:
        integer("threads", value, most=MOST_THREADS)


def number(name: str, value: Any, positive: bool = False, below: float = math.inf) -> None:
    """Raise SettingsError unless 0 ≤ ``value`` < ``below``, or 0 < ``value`` if ``positive``, and float32 holds it."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value < below or (positive and value == 0):
        least = "greater than 0" if positive else "at least 0"
        limit = "finite" if math.isinf(below) else f"less than {below}"
        raise SettingsError(f"`{name}` must be a number {least} and {limit}, got {value!r}")
    if value > _FLOAT32_MAX:
        raise SettingsError(f"`{name}` must fit into float32, that is, be at most {_FLOAT32_MAX:.3g}; got {value!r}")


def kernels(name: str, device: str) -> None:
    """Raise SettingsError unless ``name`` is a kernel set that computes on ``device``."""
    one_of("kernels", name, kernel_sets.NAMES)
    if not kernels_suit(name, device):
        home = "the CPU" if name == "fast" else "a GPU"
        raise SettingsError(
            f"`kernels` {name} are for {home}, and `device` is {device}; leave `kernels` out for those of the device"
        )


def kernels_suit(name: str, device: str) -> bool:
    """Return whether a kernel set computes on a device; the reference computes on every device."""
    return name == "reference" or (name == "fast") == (canonical(device) == "cpu")


def flag(name: str, value: Any) -> None:
    """Raise SettingsError unless ``value`` is True or False."""
    if not isinstance(value, bool):
        raise SettingsError(f"`{name}` must be True or False, got {value!r}")
