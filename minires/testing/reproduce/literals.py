"""Numbers, strings and arrays as Python source."""

from __future__ import annotations

import base64
import warnings
import zlib
from typing import Any

import numpy as np

from minires.device import Array

_PRINTED = 60  # elements; larger arrays are compressed
_CARRIED = 20_000  # elements; larger arrays are left to the reader


def literal(array: Array) -> str:
    """Python source that makes ``array`` again, bit for bit; ``...`` and a comment if it is too large or no numbers."""
    shape, dtype = tuple(map(int, array.shape)), array.dtype
    if array.size > _CARRIED:
        return f"...  # the array of shape {shape} that was checked"
    if dtype.kind not in "biufcSU" or (dtype.kind not in "SU" and not hasattr(np, dtype.name)):
        return f"...  # the array of shape {shape} and dtype {one_line(dtype)} that was checked"
    name = f"np.{dtype.name}" if dtype.isnative and dtype.kind not in "bSU" else repr(dtype.str)
    if array.size <= _PRINTED or dtype.kind in "SU":
        values = ", ".join(map(_number, array.ravel().tolist()))
        return f"np.array([{values}], {name}).reshape({shape})"
    packed = base64.b85encode(zlib.compress(np.ascontiguousarray(array).tobytes(), 9)).decode()
    unpacked = f"__import__('zlib').decompress(__import__('base64').b85decode({packed!r}))"
    return f"np.frombuffer({unpacked}, {name}).reshape({shape}).copy()"


def _number(value: Any) -> str:
    """A number, a string or bytes as source; NaN and infinities have no literal."""
    if isinstance(value, float | complex) and not np.isfinite(value):
        return f"{type(value).__name__}('{value}')"
    return repr(value)


def one_line(value: Any) -> str:
    """What ``str`` makes of a value, for a comment."""
    return " ".join(str(value).split())


def compiles(text: str) -> bool:
    """Whether this is Python source."""
    try:
        with warnings.catch_warnings():  # of invalid escapes, say, in code that is not ours
            warnings.simplefilter("ignore")
            compile(text, "<snippet>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def is_plain(value: Any) -> bool:
    """Whether `plain` makes it again."""
    if type(value) in (tuple, list):
        return all(map(is_plain, value))
    if type(value) is slice:
        return all(map(is_plain, (value.start, value.stop, value.step)))
    return value is None or value is Ellipsis or type(value) in (bool, int, str, float, complex, bytes, range)


def plain(value: Any) -> str:
    """Source of what consists of numbers and strings."""
    if type(value) in (tuple, list):
        inner = ", ".join(map(plain, value))
        return f"[{inner}]" if type(value) is list else f"({inner}{',' * (len(value) == 1)})"
    if type(value) is slice:
        return f"slice({plain(value.start)}, {plain(value.stop)}, {plain(value.step)})"
    return _number(value)
