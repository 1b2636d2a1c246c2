"""Check the arguments of data sets, transforms and loaders, and describe missing data."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minires.errors import DataError

_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".zip", ".7z", ".rar")
_SHOWN = 3  # names listed in a message


def flag(value: Any, name: str) -> bool:
    """Return True or False. Reject strings such as "no", which Python takes for True.

    Raises
    ------
    TypeError : if it is not True, False, 0 or 1.
    """
    if not isinstance(value, bool | np.bool_ | int) or value not in (0, 1):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def path(value: Any, name: str) -> Path:
    """Return a path with ``~`` replaced by the home directory.

    Raises
    ------
    TypeError : if it is neither a string nor a path.
    DataError : if it is an empty string, which would be the current directory.
    """
    if not isinstance(value, str | bytes | os.PathLike):
        raise TypeError(f"{name} must be a path, as a string or a Path, got {value!r}")
    text = os.fsdecode(value)
    if text == "":
        raise DataError(f"{name} is an empty string; for the current directory write '.'")
    return Path(os.path.expanduser(text))


def channel_values(values: Any, name: str) -> tuple[float, ...]:
    """Return one finite number for each channel.

    Raises
    ------
    DataError : if ``values`` is anything else.
    """
    try:
        if isinstance(values, str):
            raise TypeError
        numbers = tuple(map(float, values))
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} must be one number a channel, as (0.5, 0.5, 0.5) or (0.5,), got {values!r}") from error
    if not numbers or not np.isfinite(numbers).all():
        raise DataError(f"{name} must be one finite number a channel, got {values!r}")
    return numbers


def class_names(classes: Any) -> tuple[str, ...]:
    """Return the names of the classes.

    Raises
    ------
    TypeError : if they are not a sequence of names.
    DataError : if two are the same, or differ only in how accents are encoded.
    """
    if isinstance(classes, str) or not isinstance(classes, Iterable):
        raise TypeError(f"classes must be a list of names, as ['cat', 'dog'], got {classes!r}")
    names = tuple(str(name) if isinstance(name, np.str_) else name for name in classes)
    alike = [unicodedata.normalize("NFC", name) if isinstance(name, str) else name for name in names]
    for label, name in enumerate(alike):
        if (first_label := alike.index(name)) < label:
            raise DataError(f"classes name {name!r} twice, as labels {first_label} and {label}: give each class once")
    return names


def first(names: Sequence[str]) -> str:
    """Return the first names of a list, and how many more there are."""
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: "1 image", "2 images"."""
    return f"{count} {noun}" + ("" if count == 1 else "s")


def what_is_there(root: Path, wanted: str) -> str:
    """Say what a directory holds instead of the file ``wanted``, and what to do."""
    if not root.exists():
        return f"{root} does not exist"
    if not root.is_dir():
        return f"{root} is a file: unpack it, and give the directory that it unpacks to"
    entries = sorted(entry for entry in root.iterdir() if not entry.name.startswith("."))
    if (root / wanted).is_dir():
        return f"{root / wanted} is a directory, not the file"
    within = [entry for entry in entries if (entry / wanted).is_file()]
    if within:
        return f"did you mean {within[0]}?"
    packed = [entry.name for entry in entries if entry.name.endswith(_ARCHIVES)]
    if packed:
        return f"found {first(packed)}: unpack it there"
    return f"found {first([entry.name for entry in entries])}" if entries else f"{root} is empty"
