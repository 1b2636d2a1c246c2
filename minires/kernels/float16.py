"""float16 in kernels that are written as formulas.

A formula rounds after each step. In float16 this loses what the result could hold: a sum of ones stops at 2048, and
the square of 300 is infinite. So a kernel of more than one step computes in float32 and rounds its results once.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np

from minires.device import is_array

F = TypeVar("F", bound=Callable[..., Any])


def in_float32(*, statistics: tuple[int, ...] = (), changes: tuple[str, ...] = ()) -> Callable[[F], F]:
    """Decorator: compute with float16 arguments in float32, and round the results to float16.

    Arguments of other dtypes reach the kernel unchanged.

    Parameters
    ----------
    statistics : indices of the results that stay in float32
    changes : names of the arguments that the kernel changes in place: arrays, or lists of arrays
    """

    def decorate(kernel: F) -> F:
        signature = inspect.signature(kernel)

        @functools.wraps(kernel)
        def computed(*arguments: Any, **options: Any) -> Any:
            if not any(map(_is_float16, (*arguments, *options.values()))):
                return kernel(*arguments, **options)
            given = signature.bind(*arguments, **options).arguments
            wide = {name: to_float32(value) for name, value in given.items()}
            found = kernel(**wide)
            for name in changes:
                _write(given.get(name), wide.get(name))
            if not isinstance(found, tuple):
                return to_float16(found)
            return tuple(value if i in statistics else to_float16(value) for i, value in enumerate(found))

        return cast(F, computed)

    return decorate


def _is_float16(value: Any) -> bool:
    """Return whether the value is a float16 array, or a list that begins with one."""
    first = value[0] if isinstance(value, list | tuple) and value else value
    return is_array(first) and first.dtype == np.float16


def to_float32(value: Any) -> Any:
    """Return a float16 array, or a list of them, in float32; anything else unchanged."""
    if not _is_float16(value):
        return value
    if isinstance(value, list | tuple):
        return [to_float32(item) for item in value]
    return value.astype(np.float32)


def to_float16(value: Any) -> Any:
    """Return a float32 array rounded to float16; anything else unchanged."""
    return value.astype(np.float16) if is_array(value) and value.dtype == np.float32 else value


def _write(into: Any, value: Any) -> None:
    """Round float32 results into the float16 arrays that the caller gave."""
    if isinstance(into, list | tuple):
        for target, source in zip(into, value, strict=True):
            _write(target, source)
    elif _is_float16(into):
        into[...] = value
