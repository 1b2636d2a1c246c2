"""Memory of large arrays, used again and again.

Fresh pages cost more than the arithmetic that is done on them: the system clears each one when it is touched first,
and takes it back when an array that large is freed. A network asks for the same sizes in every step, so memory that
an array leaves behind is kept here for others.

Arrays lie in regions, each at the lowest place that is free and wide enough: what was never needed at the same time
shares its place, whatever the sizes. A page of a region costs nothing until it is touched. An array from `new_array`
can be used like any other; under its last view lies a lease, and when that goes its place is free again.
"""

from __future__ import annotations

import bisect
import collections
import contextlib
import math
import mmap
import os
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

_CACHE_LINE = 64  # bytes; NumPy's calls on arrays that begin with one take half the time
_LARGE = 1 << 18  # bytes from which arrays lie in regions
_REGION = 1 << 30  # bytes of a region, more for an array that is larger
_PAGE = mmap.PAGESIZE


class _Region:
    """A stretch of memory, of which arrays take pieces."""

    def __init__(self, size: int) -> None:
        private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
        self.memory = mmap.mmap(-1, size, **private)
        self.free = [(0, size)]  # where pieces begin and end, in order; no two touch
        if hasattr(mmap, "MADV_HUGEPAGE"):
            with contextlib.suppress(OSError):  # a system without huge pages
                self.memory.madvise(mmap.MADV_HUGEPAGE)

    def take(self, size: int) -> int | None:
        """Where the first free piece of so many bytes begins; it is free no longer."""
        for number, (start, stop) in enumerate(self.free):
            if stop - start >= size:
                self.free[number : number + 1] = [(start + size, stop)] if stop - start > size else []
                return start
        return None

    def give_back(self, start: int, stop: int) -> None:
        """Make a piece free, one with free neighbours."""
        number = bisect.bisect(self.free, (start, stop))
        if number < len(self.free) and self.free[number][0] == stop:
            stop = self.free.pop(number)[1]
        if number > 0 and self.free[number - 1][1] == start:
            number -= 1
            start = self.free.pop(number)[0]
        self.free.insert(number, (start, stop))


_regions: list[_Region] = []
_returned: collections.deque[tuple[_Region, int, int]] = collections.deque()  # not yet free
_lock = threading.Lock()


class _Lease(np.ndarray[Any, Any]):
    """The bytes of an array; when they go, their place is returned."""

    place: tuple[_Region, int, int]

    def __del__(self) -> None:
        place = getattr(self, "place", None)
        if place is not None:
            _returned.append(place)  # and no more: the garbage collector calls this at any time


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
        raw = np.empty(size + _CACHE_LINE, np.uint8)
        start = -raw.ctypes.data % _CACHE_LINE
        return raw[start : start + size].view(dtype).reshape(shape)
    lease = _lease(-(-size // _PAGE) * _PAGE)
    return lease.view(np.ndarray)[:size].view(dtype).reshape(shape)


def release_memory() -> None:
    """Give the memory that no array takes back to the system."""
    with _lock:
        _take_back()
        for region in list(_regions):
            if region.free == [(0, len(region.memory))]:
                _regions.remove(region)
            elif hasattr(mmap, "MADV_DONTNEED"):
                for start, stop in region.free:
                    region.memory.madvise(mmap.MADV_DONTNEED, start, stop - start)


def _lease(size: int) -> _Lease:
    with _lock:
        _take_back()
        for region in _regions:
            start = region.take(size)
            if start is not None:
                break
        else:
            region = _new_region(size)
            _regions.append(region)
            start = region.take(size)
            assert start is not None
    lease = _Lease((size,), np.uint8, region.memory, start)
    lease.place = region, start, start + size
    return lease


def _new_region(size: int) -> _Region:
    """A region for an array of ``size`` bytes and others, or for it alone where address space is short."""
    for length in (max(_REGION, size), size):
        with contextlib.suppress(OSError, OverflowError):
            return _Region(length)
    raise MemoryError(f"the system has no {size} bytes more")


def _after_fork() -> None:
    """In a child: the lock may be held, and lists be half changed, by a thread that is not here."""
    global _lock
    _lock = threading.Lock()
    _regions.clear()
    _returned.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _take_back() -> None:
    while _returned:
        region, start, stop = _returned.popleft()
        region.give_back(start, stop)
