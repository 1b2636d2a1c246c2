"""Addition of long arrays, in threads."""

from __future__ import annotations

import numpy as np

from minires.device import Array, memory_order
from minires.kernels import reference
from minires.kernels.fast.elementwise import flat_view, flat_views, in_threads, new_like
from minires.kernels.reference.arithmetic import Operand

_LONG = 1 << 15  # elements from which threads are faster


def add(a: Operand, b: Operand) -> Array:
    """Return a + b, as `reference.arithmetic.add`; equal to it in every bit.

    Threads share the work if both operands are long arrays in one memory order. Otherwise the reference computes it.
    """
    vectors = _long_flat_views(a, b)
    if vectors is None:
        return reference.add(a, b)
    assert isinstance(a, np.ndarray)
    y = new_like(a, a.dtype)
    in_threads(np.add, *vectors, flat_view(y, memory_order(y)))
    return y


def add_(a: Array, b: Array) -> None:
    """Add b to a in place, as `reference.arithmetic.add_`, in threads under the same condition as `add`."""
    vectors = _long_flat_views(a, b)
    if vectors is None:
        reference.add_(a, b)
    else:
        in_threads(lambda x, y: np.add(x, y, out=x), *vectors)


def _long_flat_views(a: Operand, b: Operand) -> list[Array] | None:
    """Return `flat_views` of operands that are long enough for threads, otherwise None."""
    return flat_views(a, b) if isinstance(a, np.ndarray) and a.size >= _LONG else None
