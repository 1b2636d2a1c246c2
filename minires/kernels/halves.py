"""Half precision in kernels that are written as formulas.

A formula that rounds after each step loses in float16 what it could hold: a sum of ones stops at 2048, a square of 300
is infinite. So where a kernel has more than one step, halves are computed with in float32, and rounded once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np

from minires.device import is_array, wide_dtype

F = TypeVar("F", bound=Callable[..., Any])


def in_float32(*statistics: int) -> Callable[[F], F]:
    """Above a kernel: its halves are given to it in float32, and of its results halves are made.

    Parameters
    ----------
    statistics : places of results that stay in float32
    """

    def decorate(kernel: F) -> F:
        @functools.wraps(kernel)
        def computed(*arguments: Any, **options: Any) -> Any:
            if not any(map(_is_half, (*arguments, *options.values()))):
                return kernel(*arguments, **options)
            wide = {name: _widened(value) for name, value in options.items()}
            found = kernel(*map(_widened, arguments), **wide)
            if not isinstance(found, tuple):
                return rounded(found)
            return tuple(value if place in statistics else rounded(value) for place, value in enumerate(found))

        return cast(F, computed)

    return decorate


def _is_half(value: Any) -> bool:
    return is_array(value) and value.dtype == np.float16


def _widened(value: Any) -> Any:
    return value.astype(wide_dtype(value.dtype)) if _is_half(value) else value


def rounded(value: Any) -> Any:
    """Halves of an array in float32; anything else as it is."""
    return value.astype(np.float16) if is_array(value) and value.dtype == np.float32 else value
