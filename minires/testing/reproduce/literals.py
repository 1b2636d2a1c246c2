"""Write numbers, strings, arrays, and lists of them as Python source."""

from __future__ import annotations

import base64
import types
import warnings
import zlib
from typing import Any

import numpy as np

from minires.device import Array

_PRINTED = 60  # elements; larger arrays are compressed
_CARRIED = 20_000  # elements; larger arrays are left to the reader
_SCALARS = (bool, int, float, complex, str, bytes, types.NoneType, types.EllipsisType)
LITERALS = (*_SCALARS, tuple, list, dict, np.ndarray)  # what `literal` writes; a subclass may hold more


def literal(value: Any) -> str:
    """Return Python source that makes a value of one of `LITERALS` again, bit for bit.

    It is ``...`` and a comment for an array that is too large or has another dtype than numbers and strings.

    Raises
    ------
    TypeError : if a container holds anything else.
    """
    kind = type(value)
    if kind is np.ndarray:
        return _array(value)
    if kind is dict:
        return "{" + ", ".join(f"{literal(key)}: {literal(inner)}" for key, inner in value.items()) + "}"
    if kind is list:
        return "[" + ", ".join(map(literal, value)) + "]"
    if kind is tuple:
        return "(" + "".join(f"{literal(inner)}, " for inner in value).rstrip(" ") + ")"
    if kind not in _SCALARS:
        raise TypeError(f"a {kind.__name__} has no literal")
    if kind in (float, complex) and not np.isfinite(value):  # NaN and infinities have no literal
        return f"{kind.__name__}('{value}')"
    return repr(value)


def _array(array: Array) -> str:
    shape, dtype = tuple(map(int, array.shape)), array.dtype
    if array.size > _CARRIED:
        return f"...  # the array of shape {shape} that was checked"
    if dtype.kind not in "biufcSU" or (dtype.kind not in "SU" and not hasattr(np, dtype.name)):
        return f"...  # the array of shape {shape} and dtype {one_line(dtype)} that was checked"
    name = f"np.{dtype.name}" if dtype.isnative and dtype.kind not in "bSU" else repr(dtype.str)
    if array.size <= _PRINTED or dtype.kind in "SU":
        return f"np.array({literal(array.ravel().tolist())}, {name}).reshape({shape})"
    packed = base64.b85encode(zlib.compress(np.ascontiguousarray(array).tobytes(), 9)).decode()
    unpacked = f"__import__('zlib').decompress(__import__('base64').b85decode({packed!r}))"
    return f"np.frombuffer({unpacked}, {name}).reshape({shape}).copy()"


def one_line(value: Any) -> str:
    """Return ``str(value)`` on one line, for a comment."""
    return " ".join(str(value).split())


def compiles(text: str) -> bool:
    """Return whether a text is Python source."""
    try:
        with warnings.catch_warnings():  # of invalid escapes, say, in the user's code
            warnings.simplefilter("ignore")
            compile(text, "<snippet>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
