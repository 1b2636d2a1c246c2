"""Record what a program asks of the device: launches, copies, allocations and waits."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

Three = tuple[int, int, int]


class DeviceFault(RuntimeError):
    """A kernel did what a GPU forbids, or may punish: a launch out of limits, a write out of bounds, a race."""


class Launch(NamedTuple):
    """One start of a kernel: its name, blocks in the grid, threads in a block, and bytes of dynamic shared memory."""

    kernel: str
    grid: Three
    block: Three
    shared_memory: int

    @property
    def blocks(self) -> int:
        """The number of blocks."""
        return self.grid[0] * self.grid[1] * self.grid[2]


@dataclass
class Record:
    """What a program asked of the device.

    Attributes
    ----------
    launches : kernels and cuBLAS matrix products, in order
    memsets : how often memory was filled
    copies : the number of copies in each direction, such as "host to device"
    copied_bytes : in all copies
    synchronisations : how often the program would have waited for the device
    allocations, allocated_bytes : memory taken from the device; CuPy's pool takes each piece once
    compilations : programs that CuPy compiled
    watched : launches that were searched for races
    """

    launches: list[Launch] = field(default_factory=list)
    memsets: int = 0
    copies: Counter[str] = field(default_factory=Counter)
    copied_bytes: int = 0
    synchronisations: int = 0
    allocations: int = 0
    allocated_bytes: int = 0
    compilations: int = 0
    watched: int = 0
