"""Scratch buffers: memory that a kernel uses again in every call.

Fresh pages cost more than the arithmetic on them, so each thread keeps one buffer for each key and dtype.
"""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from minires.memory import new_array

_Views: TypeAlias = dict[tuple[int, ...], npt.NDArray[Any]]
_MOST_VIEWS = 1000  # the number of shapes that are remembered for a buffer


class _Arena:
    """The scratch buffers of one thread by key and dtype, each with its views by shape."""

    def __init__(self) -> None:
        self.buffers: dict[tuple[str, np.dtype[Any]], tuple[npt.NDArray[Any], _Views]] = {}


class _Local(threading.local):
    """The arena that each thread has for itself."""

    def __init__(self) -> None:
        self.arena = _Arena()
        _arenas.add(self.arena)


_arenas: weakref.WeakSet[_Arena] = weakref.WeakSet()
_local = _Local()


def scratch(key: str, shape: Sequence[int], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return an uninitialised C-order array of this thread, in the same memory for the same key and dtype.

    The array is valid until the thread asks for the same key again, so functions share a key only if neither needs its
    array while the other runs. The buffer grows as needed, and stays until `release_scratch`.
    """
    dtype, shape = np.dtype(dtype), tuple(shape)
    buffers = _local.arena.buffers
    buffer, views = buffers.get((key, dtype), (None, {}))
    if shape in views:
        return views[shape]
    size = math.prod(shape) * dtype.itemsize
    if buffer is None or buffer.size < size or len(views) > _MOST_VIEWS:
        buffer, views = buffers[key, dtype] = new_array((size,), np.uint8), {}
    view = views[shape] = buffer[:size].view(dtype).reshape(shape)
    return view


def release_scratch() -> None:
    """Release the scratch buffers of all threads. A kernel that is running keeps its buffers."""
    for arena in list(_arenas):
        arena.buffers.clear()
