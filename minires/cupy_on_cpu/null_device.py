"""Fake CUDA devices: they use the host's memory, and record what a program asks of them.

Everything is done at once, so streams and events never wait. What would have waited on a GPU is counted.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

from minires.cupy_on_cpu.memory import Memory
from minires.cupy_on_cpu.record import DeviceFault, Launch, Record

# cudaDeviceAttr -> value of an A100, without its architecture
_ATTRIBUTES = {
    1: 1024,  # MaxThreadsPerBlock
    2: 1024,  # MaxBlockDimX
    3: 1024,  # MaxBlockDimY
    4: 64,  # MaxBlockDimZ
    5: 2**31 - 1,  # MaxGridDimX
    6: 65535,  # MaxGridDimY
    7: 65535,  # MaxGridDimZ
    8: 48 << 10,  # MaxSharedMemoryPerBlock
    10: 32,  # WarpSize
    16: 108,  # MultiProcessorCount
    39: 2048,  # MaxThreadsPerMultiProcessor
    97: 163 << 10,  # MaxSharedMemoryPerBlockOptin
}
MAJOR, MINOR = 75, 76  # ComputeCapabilityMajor and Minor
_COPIES = ("host to host", "host to device", "device to host", "device to device", "default")  # cudaMemcpyKind


class NullDevice:
    """All fake devices. Each has its own memory and kernels, and cannot use those of another.

    Parameters
    ----------
    architecture : compute capability times ten, 80 or 90
    check : whether to check the red zones after every launch
    races : whether to search every launch that is small enough for races. All memory in use is compared after each
        thread (in kernels with barriers: after each block); about 1000 threads with 256 KiB are small enough
    devices : the number of devices
    memory : their memory

    Attributes
    ----------
    attributes : values by cudaDeviceAttr
    execute : called with (binary, kernel, address of its parameters, launch) to run a kernel; None to run none
    """

    def __init__(self, architecture: int, check: bool, races: bool, devices: int, memory: Memory) -> None:
        self.check, self.races, self.devices, self.memory = check, races, devices, memory
        self.execute: Callable[[bytes, str, int, Launch], None] | None = None
        self._thread, self._lock = threading.local(), threading.RLock()
        self._records: list[Record] = []
        self.attributes = _ATTRIBUTES | {MAJOR: architecture // 10, MINOR: architecture % 10}
        self._handles = itertools.count(1000)
        self._binaries: dict[int, bytes] = {}
        self._functions: dict[int, tuple[bytes, str, int]] = {}

    @contextlib.contextmanager
    def recording(self) -> Iterator[Record]:
        """Record what a program asks of the device inside the ``with`` block."""
        record = Record()
        self._records.append(record)
        try:
            yield record
        finally:
            self._records = [other for other in self._records if other is not record]

    @contextlib.contextmanager
    def watching_races(self) -> Iterator[None]:
        """Search for races inside the ``with`` block, as `install(races=True)` does from the start."""
        before, self.races = self.races, True
        try:
            yield
        finally:
            self.races = before

    def note(self, write: Callable[[Record], None]) -> None:
        """Call ``write`` on every open record."""
        for record in self._records:
            write(record)

    def note_launch(self, launch: Launch) -> None:
        """Check the limits of a launch and record it."""
        limits = self.attributes
        fits = all(0 < n <= limits[5 + axis] for axis, n in enumerate(launch.grid))
        fits &= all(0 < n <= limits[2 + axis] for axis, n in enumerate(launch.block))
        threads = launch.block[0] * launch.block[1] * launch.block[2]
        if not (fits and threads <= limits[1] and launch.shared_memory <= limits[8]):
            raise DeviceFault(
                f"{launch.kernel}: no device can launch {launch.grid} × {launch.block}, {launch.shared_memory} B"
            )
        self.note(lambda record: record.launches.append(launch))

    # --- Which device ---

    @property
    def current(self) -> int:
        """The index of the device that this thread uses."""
        index: int = getattr(self._thread, "current", 0)
        return index

    def make_current(self, index: int) -> None:
        """Let this thread use another device from now on."""
        self._thread.current = index

    def need_current(self, what: str, owner: int) -> None:
        """Raise DeviceFault unless ``owner`` is the current device; ``what`` belongs to ``owner``."""
        if owner != self.current:
            raise DeviceFault(f"{what} of device {owner} on device {self.current}")

    def check_addresses(self, kernel: str, words: Any) -> None:
        """Raise DeviceFault if one of ``words`` is an address in the memory of another device."""
        if self.devices > 1:
            for owner in self.memory.devices_of(words):
                self.need_current(f"{kernel} was given memory", owner)

    # --- Memory ---

    def malloc(self, size: int) -> int:
        """Return the address of new memory on the current device."""

        def write(record: Record) -> None:
            record.allocations += 1
            record.allocated_bytes += size

        with self._lock:
            self.note(write)
            return self.memory.allocate(size, self.current)

    def memset(self, address: int, value: int, size: int, *stream: int) -> None:
        """Fill memory with one byte value."""

        def write(record: Record) -> None:
            record.memsets += 1

        self.note(write)
        ctypes.memset(address, value, size)

    def memcpy(self, target: int, source: int, size: int, kind: int, *stream: int) -> None:
        """Copy memory. Without a stream, the program waits, which is counted."""

        def write(record: Record) -> None:
            record.copies[_COPIES[kind]] += 1
            record.copied_bytes += size
            record.synchronisations += not stream

        self.note(write)
        ctypes.memmove(target, source, size)

    def synchronise(self, *handle: int) -> None:
        """Count a wait for a device, stream or event."""

        def write(record: Record) -> None:
            record.synchronisations += 1

        self.note(write)

    # --- Kernels ---

    def load(self, binary: bytes) -> int:
        """Return the handle of a new module."""
        handle = self.new_handle()
        self._binaries[handle] = bytes(binary)
        return handle

    def function(self, module: int, name: str | bytes) -> int:
        """Return the handle of a kernel in a module."""
        handle = self.new_handle()
        self._functions[handle] = self._binaries[module], name if isinstance(name, str) else name.decode(), self.current
        return handle

    def launch(self, function: int, *arguments: int) -> BaseException | None:
        """Run a kernel, and return the exception that it raises, because a callback from C cannot raise."""
        grid, block, (shared_memory, _, parameters, _) = arguments[:3], arguments[3:6], arguments[6:]
        binary, kernel, owner = self._functions[function]
        launch = Launch(kernel, tuple(grid), tuple(block), shared_memory)  # type: ignore[arg-type]
        try:
            self.need_current(f"{kernel} was loaded for use", owner)
            self.note_launch(launch)
            with self._lock:
                if self.execute is not None:
                    self.execute(binary, kernel, parameters, launch)
                    if self.check and (damage := self.memory.damage()):
                        raise DeviceFault(f"{kernel} wrote {' and '.join(damage)}")
        except BaseException as error:
            return error
        return None

    def new_handle(self, *_: int) -> int:
        """Return a handle for a stream, an event, a module or a kernel."""
        return next(self._handles)
