"""The memory of fake devices: pieces of host memory, each with the device that it belongs to.

Every piece lies between two red zones, which no kernel may touch, and is full of NaN at first.
"""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

_RED_ZONE = 512  # bytes on both sides of an allocation
# The contents of the red zones before and after a piece: NaN in float32 and float64, with a different payload in each
# element. If a kernel reads one NaN and writes it elsewhere in a red zone, the difference shows.
_POISON = (np.uint32(0xFFFF0000) + np.arange(_RED_ZONE // 2, dtype=np.uint32)).tobytes()
_FRESH = 0xFF  # every byte of fresh memory: NaN in every float, −1 in every integer


class Allocation(NamedTuple):
    """A piece of memory: where malloc's block begins, the size in bytes, and the device that owns it."""

    begin: int
    size: int
    device: int


class Memory:
    """All allocated memory.

    Parameters
    ----------
    host : host.c, compiled

    Attributes
    ----------
    live : allocations by address
    """

    def __init__(self, host: ctypes.PyDLL) -> None:
        self.live: dict[int, Allocation] = {}
        self._changes, self._listed_at, self._table = 0, 0, np.empty((0, 3), np.uintp)
        self._freed: list[int] = []
        self._damaged: Any = host.damaged
        self._damaged.restype = ctypes.c_long
        self._damaged.argtypes = [ctypes.c_long, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
        self._c = ctypes.CDLL(None)
        self._c.malloc.restype, self._c.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
        self._c.free.argtypes = [ctypes.c_void_p]

    def allocate(self, size: int, device: int) -> int:
        """Return the address of ``size`` bytes, a multiple of 512."""
        while self._freed:
            self._c.free(self._freed.pop())
        begin = self.allocate_of_host(size + 4 * _RED_ZONE)
        address = -(-(begin + _RED_ZONE) // _RED_ZONE) * _RED_ZONE
        ctypes.memset(address, _FRESH, size)
        _poison(address, size)
        self.live[address] = Allocation(begin, size, device)
        self._changes += 1
        return address

    def free(self, address: int) -> None:
        """Free memory; address 0 is ignored.

        Garbage collection may run at any time, also while `table` is read. So the host gets the memory back only at the
        next allocation.
        """
        if address in self.live:
            self._freed.append(self.live.pop(address).begin)
            self._changes += 1

    def allocate_of_host(self, size: int) -> int:
        """Return the address of memory that no kernel can use."""
        begin: int | None = self._c.malloc(max(size, 1))
        if not begin:
            raise MemoryError(f"the host has no {size} bytes more")
        return begin

    def free_of_host(self, address: int) -> None:
        """Free memory from `allocate_of_host`."""
        self._c.free(address)

    @property
    def table(self) -> npt.NDArray[np.uintp]:
        """The addresses, sizes and devices of all allocations, (n, 3), sorted by address."""
        while self._listed_at != self._changes:
            self._listed_at = self._changes
            rows = [(address, piece.size, piece.device) for address, piece in sorted(self.live.copy().items())]
            self._table = np.array(rows, np.uintp).reshape(-1, 3)
        return self._table

    def devices_of(self, words: npt.NDArray[np.uintp]) -> set[int]:
        """Return the devices that own the memory at those of ``words`` that are addresses."""
        addresses, sizes, devices = self.table.T
        if not addresses.size:
            return set()
        index = np.searchsorted(addresses, words, side="right") - 1
        inside = (index >= 0) & (words - addresses[index] < sizes[index])
        return set(devices[index[inside]].tolist())

    def damage(self) -> list[str]:
        """Return what was written into red zones, and restore them, so that each write is reported once."""
        damage, table = [], self.table
        while (found := self._damaged(len(table), table.ctypes.data, _RED_ZONE, _POISON)) >= 0:
            index, behind = divmod(found, 2)
            address, size, _ = map(int, table[index])
            _poison(address, size)
            damage.append(f"{'behind' if behind else 'before'} an allocation of {size} bytes")
        return damage


def _poison(address: int, size: int) -> None:
    """Fill the red zones of an allocation."""
    ctypes.memmove(address - _RED_ZONE, _POISON[:_RED_ZONE], _RED_ZONE)
    ctypes.memmove(address + size, _POISON[_RED_ZONE:], _RED_ZONE)
