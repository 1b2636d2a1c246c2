"""The functions of CUDA's runtime and driver that CuPy calls, for a `NullDevice`.

Each dictionary has the names and arguments of cupy_backends.cuda.api.runtime or .driver. tables.py puts its functions
in their place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minires.cupy_on_cpu.null_device import MAJOR, MINOR, NullDevice

_MEMORY = 80 << 30  # bytes of memory that the device reports
_DRIVER = 12090  # the CUDA version that the device reports
_ON_DEVICE = 2  # cudaMemoryTypeDevice


def runtime(device: NullDevice) -> dict[str, Callable[..., Any]]:
    """Return the functions of cupy_backends.cuda.api.runtime by name."""
    return {
        **dict.fromkeys(("_ensure_context", "streamDestroy", "eventDestroy", "eventRecord"), _nothing),
        **dict.fromkeys(("streamWaitEvent",), _nothing),
        **dict.fromkeys(("streamIsCapturing", "deviceCanAccessPeer"), _zero),
        **dict.fromkeys(("streamQuery", "eventQuery"), _zero),  # done
        **dict.fromkeys(("deviceSynchronize", "streamSynchronize", "eventSynchronize"), device.synchronise),
        **dict.fromkeys(("eventCreate", "eventCreateWithFlags"), device.new_handle),
        **dict.fromkeys(("streamCreate", "streamCreateWithFlags", "streamCreateWithPriority"), device.new_handle),
        "deviceGetDefaultMemPool": device.new_handle,
        "driverGetVersion": lambda: _DRIVER,
        "getDevice": lambda: device.current,
        "setDevice": device.make_current,
        "getDeviceCount": lambda: device.devices,
        "getDeviceProperties": lambda _: _properties(device.attributes),
        "deviceGetAttribute": lambda attribute, _: device.attributes.get(attribute, 0),
        "pointerGetMemoryType": lambda _: _ON_DEVICE,
        "memGetInfo": lambda: (_MEMORY, _MEMORY),
        "eventElapsedTime": lambda *_: 0.0,
        **dict.fromkeys(("malloc", "mallocAsync"), lambda size, *_: device.malloc(size)),
        **dict.fromkeys(("free", "freeAsync"), lambda address, *_: device.memory.free(address)),
        "hostAlloc": lambda size, *_: device.memory.allocate_of_host(size),
        "freeHost": device.memory.free_of_host,
        **dict.fromkeys(("memset", "memsetAsync"), device.memset),
        **dict.fromkeys(("memcpy", "memcpyAsync"), device.memcpy),
    }


def driver(device: NullDevice) -> dict[str, Callable[..., Any]]:
    """Return the functions of cupy_backends.cuda.api.driver by name."""
    return {
        **dict.fromkeys(("ctxSetCurrent", "moduleUnload", "funcSetAttribute"), _nothing),
        "funcGetAttribute": _zero,
        "ctxGetDevice": lambda: device.current,
        "ctxGetCurrent": lambda: 1 + device.current,
        "occupancyMaxActiveBlocksPerMultiprocessor": lambda *_: 2,
        "moduleLoadData": device.load,
        "moduleGetFunction": device.function,
        "launchKernel": device.launch,
    }


def _properties(attributes: dict[int, int]) -> dict[str, Any]:
    return {
        "name": b"null device",
        "major": attributes[MAJOR],
        "minor": attributes[MINOR],
        "multiProcessorCount": attributes[16],
        "maxThreadsPerBlock": attributes[1],
        "maxThreadsDim": (attributes[2], attributes[3], attributes[4]),
        "maxGridSize": (attributes[5], attributes[6], attributes[7]),
        "maxThreadsPerMultiProcessor": attributes[39],
        "sharedMemPerBlock": attributes[8],
        "sharedMemPerMultiprocessor": attributes[97],
        "warpSize": attributes[10],
        "totalGlobalMem": _MEMORY,
        "l2CacheSize": 40 << 20,
        "pciBusID": 0,
    }


def _nothing(*_: Any) -> None:
    return None


def _zero(*_: Any) -> int:
    return 0
