"""Mark arrays read-only, and make them writable inside a block.

A tensor's array is read-only, so a write that goes around the tensor raises. NumPy arrays have a flag for this. CuPy
has no such flag, so there such a write stays unnoticed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from minires.device import Array, asarray, copied, device_of, is_array, on_device_of, xp_of
from minires.errors import DtypeError


def frozen(array: Any) -> Array:
    """Mark a NumPy array read-only and return it; a NumPy scalar becomes an array, a CuPy array stays as it is.

    Raises
    ------
    TypeError : for any other object.
    """
    if isinstance(array, np.generic):
        array = np.asarray(array)
    if isinstance(array, np.ndarray):
        array.setflags(write=False)
    elif not is_array(array):
        raise TypeError(f"a tensor holds an array, not a {type(array).__name__}")
    return array


def thawed(array: Array) -> Array:
    """Mark an array writable and return it.

    Raises
    ------
    ValueError : for a view of memory that is read-only.
    """
    if isinstance(array, np.ndarray):
        array.setflags(write=True)
    return array


@contextlib.contextmanager
def writing(array: Array, owner: Array | None = None) -> Iterator[Array]:
    """Return a context manager inside which an array is writable, on its device; afterwards it is read-only.

    Parameters
    ----------
    array : the array to write into
    owner : the array that it views, which gets the same marks

    Raises
    ------
    ValueError : as `thawed` does.
    """
    memory = array if owner is None else owner
    try:
        with on_device_of(array):
            thawed(memory)
            yield thawed(array)
    finally:
        frozen(array)
        frozen(memory)


def repeats(array: Array) -> bool:
    """Return whether several elements share one memory location, as after broadcasting."""
    axes = zip(array.shape, array.strides, strict=True)
    return array.size > 0 and any(n > 1 and not stride for n, stride in axes)


def writable_into(array: Array, value: Any) -> Array:
    """Return ``value``, an array or a number, as an array that can be written into ``array``.

    It is on the device of ``array``, and on a GPU it shares no memory with it.

    Raises
    ------
    DtypeError : if ``value`` cannot be cast to the dtype of ``array`` within its kind.
    """
    source = value if is_array(value) else np.asarray(value)
    if not np.can_cast(source.dtype, array.dtype, "same_kind"):
        raise DtypeError(f"cannot assign {source.dtype} values to a {array.dtype} tensor; convert them first")
    source = asarray(source, device_of(array))
    with on_device_of(array):
        # CuPy, unlike NumPy, would read what it has just written.
        return copied(source) if xp_of(array).may_share_memory(source, array) else source
