"""Install the stand-in for a GPU, before CuPy is imported."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
from typing import Any

from minires.cupy_on_cpu import cublas, cuda_api, tables
from minires.cupy_on_cpu.execution import INCLUDE, Execution
from minires.cupy_on_cpu.memory import Memory
from minires.cupy_on_cpu.null_device import NullDevice
from minires.errors import install_command

CUPY_VERSION = "14.2.0"
"""The version of CuPy that this works with."""

_installed: NullDevice | None = None


def install(
    *,
    execute: bool = True,
    check: bool = True,
    races: bool = False,
    nvrtc: bool = False,
    architecture: int = 80,
    devices: int = 1,
) -> NullDevice:
    """Let CuPy compute on the CPU in this process, which has not imported CuPy yet.

    Parameters
    ----------
    execute : whether kernels run; if not, they are only recorded, and arrays hold NaN
    check : whether CuPy allocates each array separately, between red zones that are checked after each launch
    races : whether small kernels run in parts and in several orders, to find threads that write to one byte, or read
        what others write, without a barrier between; `NullDevice.watching_races` does this for a while
    nvrtc : whether NVRTC compiles every kernel too; it needs nvidia-cuda-nvrtc-cu12 and nvidia-cuda-runtime-cu12
    architecture : the compute capability that the device reports, times ten
    devices : the number of devices; a kernel that uses memory of another than the current device fails

    Raises
    ------
    RuntimeError : if CuPy is already imported, or has another version, or the system is not Linux on x86-64.
    ImportError : if CuPy is not installed.
    FileNotFoundError : if gcc, nm or objdump is not installed. (The first kernel needs g++.)
    """
    global _installed
    if _installed is not None or "cupy" in sys.modules:
        raise RuntimeError("CuPy is imported already: install() comes first, once")
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise RuntimeError(f"this needs Linux on x86-64, not {sys.platform} on {platform.machine()}")
    found = importlib.util.find_spec("cupy_backends")
    if found is None or found.origin is None:
        raise ImportError(f"CuPy is not installed: {install_command('cupy-on-cpu')}")
    _check_version(pathlib.Path(found.origin).parent.parent)
    cache = _cache()
    os.environ["CUPY_ACCELERATORS"] = ""  # CUB and cuTENSOR would bring their own runtime
    os.environ["CUPY_CACHE_IN_MEMORY"] = "1"  # kernels from the disk cache would have no source
    host = _host(cache)
    device = NullDevice(architecture, check, races, devices, Memory(host))
    runtime = importlib.import_module("cupy_backends.cuda.api.runtime")
    driver = importlib.import_module("cupy_backends.cuda.api.driver")
    tables.replace(runtime, cuda_api.runtime(device))
    tables.replace(driver, cuda_api.driver(device))
    tables.put_before(driver, "launchKernel", host.guarded_launch, host.set_launch)
    libraries = pathlib.Path(found.origin).parent / "cuda" / "libs"
    cublas.stub(next(libraries.glob("cublas*.so")), cache)
    execution = Execution(device, nvrtc, cache, host)
    cupy: Any = importlib.import_module("cupy")
    execution.cupy_include = str(pathlib.Path(cupy.__file__).parent / "_core" / "include")
    execution.watch(importlib.import_module("cupy.cuda.compiler"))
    cublas.Products(device).replace(importlib.import_module("cupy_backends.cuda.libs.cublas"))
    if check:
        cupy.cuda.set_allocator(None)  # no pool
    if execute:
        device.execute = execution.launch
    _installed = device
    return device


def _host(cache: pathlib.Path) -> ctypes.PyDLL:
    """Compile and load include/host.c."""
    source = INCLUDE / "host.c"
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        made = pathlib.Path(folder, "host.so")
        subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-o", made, source], check=True)
        return ctypes.PyDLL(str(made))


def _check_version(site: pathlib.Path) -> None:
    """Raise RuntimeError unless CuPy has the right version, without importing it."""
    version = (site / "cupy" / "_version.py").read_text(encoding="utf-8").partition("'")[2].partition("'")[0]
    if version != CUPY_VERSION:
        raise RuntimeError(
            f"this knows CuPy {CUPY_VERSION}, and {version} is installed: {install_command('cupy-on-cpu')}"
        )


def _cache() -> pathlib.Path:
    """Return the folder for compiled kernels."""
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    cache = pathlib.Path(home, "minires", "cupy_on_cpu")
    cache.mkdir(parents=True, exist_ok=True)
    return cache
