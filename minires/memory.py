"""An allocator that reuses the memory of large arrays.

A fresh page costs more than the arithmetic on it: the system clears each page at its first use, and takes it back when
a large array is freed. A network needs the same sizes in every step, so this file keeps freed memory for later arrays.

Large arrays lie in regions, each at the lowest free offset where it fits. Arrays that live at different times share
memory, even if their sizes differ. A page of a region costs nothing before its first use. An array from `new_array`
can be used like any other. Its base is a lease; when Python deletes the lease, the memory is free again.
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
_LARGE = 1 << 18  # bytes; arrays of this size and larger lie in regions
_REGION = 1 << 30  # bytes of a region; a larger array gets a larger region
_PAGE = mmap.PAGESIZE


class _Region:
    """A block of memory that is given to arrays in pieces."""

    def __init__(self, size: int) -> None:
        private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
        self.memory = mmap.mmap(-1, size, **private)
        self.free = [(0, size)]  # (start, stop) of the free pieces, in order; no two are adjacent
        if hasattr(mmap, "MADV_HUGEPAGE"):
            with contextlib.suppress(OSError):  # the system has no huge pages
                self.memory.madvise(mmap.MADV_HUGEPAGE)

    def take(self, size: int) -> int | None:
        """Take ``size`` bytes from the first free piece that is large enough; return their offset, or None."""
        for index, (start, stop) in enumerate(self.free):
            if stop - start >= size:
                self.free[index : index + 1] = [(start + size, stop)] if stop - start > size else []
                return start
        return None

    def give_back(self, start: int, stop: int) -> None:
        """Mark a piece as free and merge it with adjacent free pieces."""
        index = bisect.bisect(self.free, (start, stop))
        if index < len(self.free) and self.free[index][0] == stop:
            _, stop = self.free.pop(index)
        if index > 0 and self.free[index - 1][1] == start:
            index -= 1
            start, _ = self.free.pop(index)
        self.free.insert(index, (start, stop))


_regions: list[_Region] = []
_returned: collections.deque[tuple[_Region, int, int]] = collections.deque()  # pieces to be marked as free
_lock = threading.Lock()


class _Lease(np.ndarray[Any, Any]):
    """The bytes of an array in a region. When Python deletes them, their piece is returned."""

    piece: tuple[_Region, int, int]  # (region, start, stop)

    def __del__(self) -> None:
        piece = getattr(self, "piece", None)
        if piece is not None:
            _returned.append(piece)  # nothing else, as the garbage collector may call this at any time


def new_array(shape: Sequence[int], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return an uninitialised C-order array, as `np.empty` does, aligned to a cache line.

    Parameters
    ----------
    shape : the lengths of the axes
    dtype : a numeric dtype
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
    """Return the memory that no array uses to the system."""
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
    lease.piece = region, start, start + size
    return lease


def _new_region(size: int) -> _Region:
    """Return a new region of the usual size, or of ``size`` bytes only where address space is short."""
    for length in (max(_REGION, size), size):
        with contextlib.suppress(OSError, OverflowError):
            return _Region(length)
    raise MemoryError(f"the system has no {size} bytes more")


def _after_fork() -> None:
    """Start afresh in a child process: a thread of the parent may have held the lock or been changing the lists."""
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
