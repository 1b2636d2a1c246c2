"""The memory of devices that are none: pieces of the host's, each with the device that it belongs to.

Every piece lies between two red zones, which nobody may touch, and is full of NaN at first.
"""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

_RED_ZONE = 512  # bytes on both sides of an allocation
# What red zones are full of, before and behind: NaN in float32 and float64, and another one everywhere, so that what
# comes of reading one is not what is there already when it is written into another.
_POISON = (np.uint32(0xFFFF0000) + np.arange(_RED_ZONE // 2, dtype=np.uint32)).tobytes()
_FRESH = 0xFF  # of fresh memory: NaN in every float, −1 in every integer


class Allocation(NamedTuple):
    """A piece of memory: where malloc had it begin, how many bytes it has, and whose it is."""

    begin: int
    size: int
    device: int


class Memory:
    """What is allocated.

    Parameters
    ----------
    host : host.c, compiled

    Attributes
    ----------
    live : allocations by address
    """

    def __init__(self, host: ctypes.PyDLL) -> None:
        self.live: dict[int, Allocation] = {}
        self._changes, self._listed_at, self._places = 0, 0, np.empty((0, 3), np.uintp)
        self._freed: list[int] = []
        self._damaged: Any = host.damaged
        self._damaged.restype = ctypes.c_long
        self._damaged.argtypes = [ctypes.c_long, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
        self._c = ctypes.CDLL(None)
        self._c.malloc.restype, self._c.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
        self._c.free.argtypes = [ctypes.c_void_p]

    def allocate(self, size: int, device: int) -> int:
        """The address of ``size`` bytes, a multiple of 512."""
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
        """Give memory back; address 0 is nothing.

        Garbage is collected at any time, also while somebody looks at ``places``: so it is the host's until the next
        allocation.
        """
        if address in self.live:
            self._freed.append(self.live.pop(address).begin)
            self._changes += 1

    def allocate_of_host(self, size: int) -> int:
        """The address of memory that no kernel sees."""
        begin: int | None = self._c.malloc(max(size, 1))
        if not begin:
            raise MemoryError(f"the host has no {size} bytes more")
        return begin

    def free_of_host(self, address: int) -> None:
        """Give it back."""
        self._c.free(address)

    @property
    def places(self) -> npt.NDArray[np.uintp]:
        """Addresses, sizes and devices, (n, 3), by address."""
        while self._listed_at != self._changes:
            self._listed_at = self._changes
            rows = [(address, piece.size, piece.device) for address, piece in sorted(self.live.copy().items())]
            self._places = np.array(rows, np.uintp).reshape(-1, 3)
        return self._places

    def devices_of(self, words: npt.NDArray[np.uintp]) -> set[int]:
        """Those that the memory belongs to where ``words`` are addresses, if they are any."""
        addresses, sizes, devices = self.places.T
        number = np.searchsorted(addresses, words, side="right") - 1
        inside = (number >= 0) & (words - addresses[number] < sizes[number])
        return set(devices[number[inside]].tolist())

    def damage(self) -> list[str]:
        """What was written into red zones, which are mended: or else every launch from now on would be told of it."""
        damage, places = [], self.places
        while (found := self._damaged(len(places), places.ctypes.data, _RED_ZONE, _POISON)) >= 0:
            number, behind = divmod(found, 2)
            address, size, _ = map(int, places[number])
            _poison(address, size)
            damage.append(f"{'behind' if behind else 'before'} an allocation of {size} bytes")
        return damage


def _poison(address: int, size: int) -> None:
    """Fill the red zones of an allocation."""
    ctypes.memmove(address - _RED_ZONE, _POISON[:_RED_ZONE], _RED_ZONE)
    ctypes.memmove(address + size, _POISON[_RED_ZONE:], _RED_ZONE)
