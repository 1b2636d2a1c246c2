"""Memory of large arrays, used again and again.

Fresh pages cost more than the arithmetic that is done on them: the system clears each one when it is touched first,
and takes it back when an array that large is freed. A network asks for the same sizes in every step, so what an array
leaves behind is kept here for the next one.

An array from `new_array` owns its memory like any other. When the last view of it is gone, so is the lease under
it, and the memory waits here.
"""

from __future__ import annotations

import contextlib
import math
import mmap
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

CACHE_LINE = 64  # bytes; NumPy's calls on arrays that begin with one take half the time
_LARGE = 1 << 18  # bytes from which memory is kept
_GRAIN = 1 << 16  # sizes are multiples of this
_SLACK = 8  # kept memory may be larger than what is asked for by one part in so many
_HUGE = 1 << 22  # bytes from which huge pages are asked for, where the system has them
_waiting: defaultdict[int, list[mmap.mmap]] = defaultdict(list)  # by size in bytes


class _Lease(np.ndarray[Any, Any]):
    """A run of bytes; when it goes, its memory waits for the next."""

    def __del__(self) -> None:
        if isinstance(self.base, mmap.mmap):
            _waiting[len(self.base)].append(self.base)


def new_array(shape: Sequence[int], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """An uninitialised C-order array, as `np.empty` gives one, that begins with a cache line.

    Parameters
    ----------
    shape : its lengths
    dtype : numbers
    """
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if size < _LARGE:
        raw = np.empty(size + CACHE_LINE, np.uint8)
        start = -raw.ctypes.data % CACHE_LINE
        return raw[start : start + size].view(dtype).reshape(shape)
    grains = -(-size // _GRAIN)
    for count in range(grains, grains + grains // _SLACK + 1):
        found = _waiting.get(count * _GRAIN)
        if found:
            try:
                return _leased(found.pop(), size, shape, dtype)
            except IndexError:  # another thread was faster
                continue
    return _leased(_mapped(grains * _GRAIN), size, shape, dtype)


def release_memory() -> None:
    """Give the memory that waits back to the system."""
    _waiting.clear()


def _mapped(size: int) -> mmap.mmap:
    memory = mmap.mmap(-1, size)
    if size >= _HUGE and hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without them
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


def _leased(memory: mmap.mmap, size: int, shape: Sequence[int], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    lease = _Lease((size,), np.uint8, memory)
    return lease.view(np.ndarray).view(dtype).reshape(shape)
