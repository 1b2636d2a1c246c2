"""CUDA devices that are none: their memory is the host's, and what they are told to do is written down.

The functions here have the names and arguments of those in cupy_backends.cuda.api.runtime and .driver, and stand in
their place. Everything is done at once, so streams and events have nothing to wait for; what would have waited on
a GPU is counted.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from minires.cupy_on_cpu.memory import Memory

Three = tuple[int, int, int]

# cudaDeviceAttr -> value, of an A100; the architecture is added to them
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
_MAJOR, _MINOR = 75, 76  # ComputeCapabilityMajor and Minor
_MEMORY = 80 << 30  # bytes that it says to have
_DRIVER = 12090  # the version of CUDA that it says to speak
_ON_DEVICE = 2  # cudaMemoryTypeDevice
_COPIES = ("host to host", "host to device", "device to host", "device to device", "default")  # cudaMemcpyKind


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
        """How many blocks there are."""
        return self.grid[0] * self.grid[1] * self.grid[2]


@dataclass
class Record:
    """What a program asked of the device.

    Attributes
    ----------
    launches : kernels and matrix products of cuBLAS, in order
    memsets : how often memory was filled
    copies : how many copies in each direction, as "host to device"
    copied_bytes : in all copies
    synchronisations : how often the program would have waited for the device
    allocations, allocated_bytes : pieces of memory taken from the device; CuPy's pool takes a piece once
    compilations : programs that CuPy had compiled
    watched : launches in which races were looked for
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


class NullDevice:
    """All devices there are. Each has memory and kernels of its own, and is refused those of another.

    Parameters
    ----------
    architecture : compute capability times ten, 80 or 90
    check : whether to look at the red zones after every launch
    races : whether to look for races in every launch that is small enough: memory in use is compared after each of its
        threads (of kernels with barriers: blocks), some 1000 threads with 256 KiB
    devices : how many there are
    memory : what they have allocated

    Attributes
    ----------
    execute : called with (binary, kernel, address of its parameters, launch) to run a kernel; None to run none
    """

    def __init__(self, architecture: int, check: bool, races: bool, devices: int, memory: Memory) -> None:
        self.check, self.races, self.devices, self.memory = check, races, devices, memory
        self.execute: Callable[[bytes, str, int, Launch], None] | None = None
        self._thread, self._lock = threading.local(), threading.RLock()
        self._records: list[Record] = []
        self._attributes = _ATTRIBUTES | {_MAJOR: architecture // 10, _MINOR: architecture % 10}
        self._handles = itertools.count(1000)
        self._binaries: dict[int, bytes] = {}
        self._functions: dict[int, tuple[bytes, str, int]] = {}

    @contextlib.contextmanager
    def recording(self) -> Iterator[Record]:
        """Write down what is asked of the device inside the ``with`` block."""
        record = Record()
        self._records.append(record)
        try:
            yield record
        finally:
            self._records = [other for other in self._records if other is not record]

    @contextlib.contextmanager
    def watching_races(self) -> Iterator[None]:
        """Look for races inside the ``with`` block, as `install(races=True)` does from the start."""
        before, self.races = self.races, True
        try:
            yield
        finally:
            self.races = before

    def note(self, write: Callable[[Record], None]) -> None:
        """Enter something in every open record."""
        for record in self._records:
            write(record)

    def note_launch(self, launch: Launch) -> None:
        """Enter a launch, after a look at its limits."""
        limits = self._attributes
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
        """The number of the device that this thread speaks to."""
        number: int = getattr(self._thread, "current", 0)
        return number

    def make_current(self, number: int) -> None:
        """Speak to another from now on."""
        self._thread.current = number

    def need_current(self, what: str, owner: int) -> None:
        """Raise DeviceFault unless that, which is a device's, is the current one's."""
        if owner != self.current:
            raise DeviceFault(f"{what} of device {owner} on device {self.current}")

    def check_addresses(self, kernel: str, words: Any) -> None:
        """Raise DeviceFault if there are addresses among ``words`` whose memory is another device's."""
        if self.devices > 1:
            for owner in self.memory.devices_of(words):
                self.need_current(f"{kernel} was given memory", owner)

    # --- Memory ---

    def malloc(self, size: int) -> int:
        """Memory of the current device."""

        def write(record: Record) -> None:
            record.allocations += 1
            record.allocated_bytes += size

        with self._lock:
            self.note(write)
            return self.memory.allocate(size, self.current)

    def memset(self, address: int, value: int, size: int, *stream: int) -> None:
        """Fill memory with a byte."""

        def write(record: Record) -> None:
            record.memsets += 1

        self.note(write)
        ctypes.memset(address, value, size)

    def memcpy(self, target: int, source: int, size: int, kind: int, *stream: int) -> None:
        """Copy memory; without a stream, the program waits."""

        def write(record: Record) -> None:
            record.copies[_COPIES[kind]] += 1
            record.copied_bytes += size
            record.synchronisations += not stream

        self.note(write)
        ctypes.memmove(target, source, size)

    def synchronise(self, *handle: int) -> None:
        """Wait for a device, stream or event."""

        def write(record: Record) -> None:
            record.synchronisations += 1

        self.note(write)

    # --- Kernels ---

    def load(self, binary: bytes) -> int:
        """A module's handle."""
        handle = next(self._handles)
        self._binaries[handle] = bytes(binary)
        return handle

    def function(self, module: int, name: str | bytes) -> int:
        """The handle of a module's kernel."""
        handle = next(self._handles)
        self._functions[handle] = self._binaries[module], name if isinstance(name, str) else name.decode(), self.current
        return handle

    def launch(self, function: int, *arguments: int) -> BaseException | None:
        """Run a kernel. What it raises is returned: a callback from C cannot raise."""
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

    # --- The tables ---

    def runtime(self) -> dict[str, Callable[..., Any]]:
        """The functions of cupy_backends.cuda.api.runtime, by name."""
        return {
            **dict.fromkeys(("_ensure_context", "streamDestroy", "eventDestroy", "eventRecord"), _nothing),
            **dict.fromkeys(("streamWaitEvent",), _nothing),
            **dict.fromkeys(("streamIsCapturing", "deviceCanAccessPeer"), _zero),
            **dict.fromkeys(("streamQuery", "eventQuery"), _zero),  # done
            **dict.fromkeys(("deviceSynchronize", "streamSynchronize", "eventSynchronize"), self.synchronise),
            **dict.fromkeys(("eventCreate", "eventCreateWithFlags"), self._new_handle),
            **dict.fromkeys(("streamCreate", "streamCreateWithFlags", "streamCreateWithPriority"), self._new_handle),
            "deviceGetDefaultMemPool": self._new_handle,
            "driverGetVersion": lambda: _DRIVER,
            "getDevice": lambda: self.current,
            "setDevice": self.make_current,
            "getDeviceCount": lambda: self.devices,
            "getDeviceProperties": self._properties,
            "deviceGetAttribute": lambda attribute, _: self._attributes.get(attribute, 0),
            "pointerGetMemoryType": lambda _: _ON_DEVICE,
            "memGetInfo": lambda: (_MEMORY, _MEMORY),
            "eventElapsedTime": lambda *_: 0.0,
            **dict.fromkeys(("malloc", "mallocAsync"), lambda size, *_: self.malloc(size)),
            **dict.fromkeys(("free", "freeAsync"), lambda address, *_: self.memory.free(address)),
            "hostAlloc": lambda size, *_: self.memory.allocate_of_host(size),
            "freeHost": self.memory.free_of_host,
            **dict.fromkeys(("memset", "memsetAsync"), self.memset),
            **dict.fromkeys(("memcpy", "memcpyAsync"), self.memcpy),
        }

    def driver(self) -> dict[str, Callable[..., Any]]:
        """The functions of cupy_backends.cuda.api.driver, by name."""
        return {
            **dict.fromkeys(("ctxSetCurrent", "moduleUnload", "funcSetAttribute"), _nothing),
            "funcGetAttribute": _zero,
            "ctxGetDevice": lambda: self.current,
            "ctxGetCurrent": lambda: 1 + self.current,
            "occupancyMaxActiveBlocksPerMultiprocessor": lambda *_: 2,
            "moduleLoadData": self.load,
            "moduleGetFunction": self.function,
            "launchKernel": self.launch,
        }

    def _new_handle(self, *_: int) -> int:
        return next(self._handles)

    def _properties(self, _: int) -> dict[str, Any]:
        known = self._attributes
        return {
            "name": b"null device",
            "major": known[_MAJOR],
            "minor": known[_MINOR],
            "multiProcessorCount": known[16],
            "maxThreadsPerBlock": known[1],
            "maxThreadsDim": (known[2], known[3], known[4]),
            "maxGridSize": (known[5], known[6], known[7]),
            "maxThreadsPerMultiProcessor": known[39],
            "sharedMemPerBlock": known[8],
            "sharedMemPerMultiprocessor": known[97],
            "warpSize": known[10],
            "totalGlobalMem": _MEMORY,
            "l2CacheSize": 40 << 20,
            "pciBusID": 0,
        }


def _nothing(*_: Any) -> None:
    return None


def _zero(*_: Any) -> int:
    return 0
