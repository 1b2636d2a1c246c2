"""Run CUDA kernels from their source, compiled by g++.

CuPy passes the source of a kernel to NVRTC, and the binary that NVRTC returns to the driver. Here both ends are
replaced: the source is stored under its binary, and a launch of that binary runs the source, compiled with
include/cuda_on_cpu.h. Compiled kernels are cached on disk under the hash of all their inputs.
"""

from __future__ import annotations

import ctypes
import hashlib
import itertools
import os
import pathlib
import re
import subprocess
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np

from minires.cupy_on_cpu.null_device import NullDevice
from minires.cupy_on_cpu.record import DeviceFault, Launch

HERE = pathlib.Path(__file__).parent
INCLUDE = HERE / "include"
_FLAGS = (
    "-std=c++17",
    "-O1",
    "-w",
    "-mfma",
    "-mf16c",
    "-ffp-contract=fast",
    "-fPIC",
    "-fno-gnu-unique",
    "-U_FORTIFY_SOURCE",
)
# The headers that every CuPy kernel includes, compiled once.
_HEADERS = (
    "cuda_on_cpu.h",
    *(f"cupy/{name}" for name in ("complex.cuh", "carray.cuh", "atomics.cuh", "math_constants.h")),
)
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_BOUNDS = r"(?:__launch_bounds__\s*\([^)]*\)\s*)?"
_KERNEL = re.compile(rf"__global__\s+{_BOUNDS}void\s+{_BOUNDS}(\w+)\s*\(")
_DYNAMIC = re.compile(
    r"extern\s+((?:volatile\s+)?)__shared__\s+(?:__align__\([^)]*\)\s*)?([\w\s]+?)\s+(\w+)\s*\[\s*\]\s*;"
)
_BARRIERS = ("__syncthreads", "__syncwarp", "__shfl")
_ENTRY = """
extern "C" int run_%(name)s(const on_cpu::Started *how, long first, long last, long only, bool backwards) {
    return on_cpu::launch(%(kernel)s, *how, first, last, only, backwards);
}
extern "C" void sizes_%(name)s(size_t *bytes) { on_cpu::sizes(%(kernel)s, bytes); }"""
_MOST_BYTES = 1 << 28  # to compare in a launch that is searched for races, over all its threads or blocks: 0.1 s
_FAULTS = {  # by the value that a kernel or find_race returns
    1: "some threads wait at a barrier to which others do not come",
    2: "an integer is divided by zero, or the least one by −1",
    -1: "a race, {count} bytes are written by several {who}",
    -2: "a race, {count} bytes are otherwise if the threads take turns otherwise",
}
_MOST_PARAMETERS = 4096  # bytes of all parameters
_LAST = ctypes.c_size_t(-1).value  # the end of the sizes of a kernel's parameters
_NO_BINARY = b"source "  # in place of a binary, for a program that NVRTC has not compiled


class _Started(ctypes.Structure):
    """The struct of this name in include/cuda_on_cpu.h."""

    _fields_ = (
        ("parameters", ctypes.c_void_p),
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared", ctypes.c_uint),
        ("flushes", ctypes.c_bool),
        ("barriers", ctypes.c_bool),
    )


class Execution:
    """Run kernels from their source.

    Parameters
    ----------
    device : the device whose memory they use
    nvrtc : whether NVRTC compiles each program too; this takes as long again and finds errors that g++ accepts
    cache : a folder for compiled kernels
    host : host.c, compiled
    """

    def __init__(self, device: NullDevice, nvrtc: bool, cache: pathlib.Path, host: ctypes.PyDLL) -> None:
        self.device, self.nvrtc, self.cache = device, nvrtc, cache
        pointer, long = ctypes.c_void_p, ctypes.c_long
        self._find_race: Any = host.find_race
        self._find_race.argtypes = [pointer, pointer, long, long, pointer, pointer, long, pointer]
        self.sources: dict[bytes, str] = {}
        self.instances: dict[str, dict[str, str]] = {}  # template instances of each source: names to expressions
        self._libraries: dict[str, ctypes.CDLL] = {}
        self.cupy_include = ""

    def watch(self, compiler: Any) -> None:
        """Keep the source of all that CuPy's module ``compiler`` compiles."""
        original: Callable[..., Any] = compiler._NVRTCProgram.compile

        def compiled(program: Any, options: Any = (), log_stream: Any = None) -> Any:
            source = program.src if isinstance(program.src, str) else program.src.decode()
            if self.nvrtc or program.name_expressions or "__global__" not in source:
                binary, names = original(program, options, log_stream)
            else:
                binary, names = _NO_BINARY + hashlib.sha256(source.encode()).digest(), None
            self.device.note(_count_compilation)
            self.sources[bytes(binary)] = source
            if names:
                self.instances.setdefault(source, {}).update({lowered: name for name, lowered in names.items()})
            return binary, names

        compiler._NVRTCProgram.compile = compiled

    def launch(self, binary: bytes, kernel: str, parameters: int, launch: Launch) -> None:
        """Run a kernel; the addresses of its parameters are at ``parameters``."""
        source = self.sources.get(binary)
        if source is None:
            raise DeviceFault(f"{kernel} comes from a binary, not from source")
        library = self._library(source)
        if self.device.devices > 1:
            self.device.check_addresses(kernel, _words(getattr(library, f"sizes_{kernel}"), parameters))
        run = getattr(library, f"run_{kernel}")
        barriers = any(word in source for word in _BARRIERS)
        how = _Started(parameters, launch.grid, launch.block, launch.shared_memory, _flushes(source), barriers)
        alone = 0 if barriers else int(np.prod(launch.block))
        table, count = self.device.memory.table, ctypes.c_long()
        if self.device.races and launch.blocks * max(1, alone) * int(table[:, 1].sum()) <= _MOST_BYTES:
            self.device.note(_count_watched)
            atomics = ctypes.c_long.in_dll(library, "on_cpu_atomics")
            where = ctypes.cast(run, ctypes.c_void_p), ctypes.byref(how), launch.blocks, alone, ctypes.byref(atomics)
            found = self._find_race(*where, table.ctypes.data, len(table), ctypes.byref(count))
        else:
            found = run(how, 0, launch.blocks, -1, False)
        if found:
            fault = _FAULTS[found].format(count=count.value, who="threads" if alone else "blocks")
            raise DeviceFault(f"{kernel}: {fault}")

    def _library(self, source: str) -> ctypes.CDLL:
        if source not in self._libraries:
            self._libraries[source] = self._compiled(source)
        return self._libraries[source]

    def _compiled(self, source: str) -> ctypes.CDLL:
        instances = self.instances.get(source) or {name: name for name in _KERNEL.findall(_COMMENT.sub("", source))}
        text = _DYNAMIC.sub(r"\1\2 *\3 = (\2 *)on_cpu::dynamic_shared.data();", source)
        text += "".join(_ENTRY % {"name": name, "kernel": expression} for name, expression in instances.items())
        headers = self._headers()
        path = self.cache / f"{_hash(text, headers.name)}.so"
        if not path.exists():
            self._compile(text, path, "-shared", "-include", headers)
        library = ctypes.CDLL(str(path))
        for name in instances:
            run = getattr(library, f"run_{name}")
            run.argtypes = [ctypes.POINTER(_Started), *[ctypes.c_long] * 3, ctypes.c_bool]
        return library

    def _headers(self) -> pathlib.Path:
        """Return a file that includes all headers, with a precompiled copy beside it."""
        text = "".join(f"#include <{header}>\n" for header in _HEADERS)
        own = [path.read_text(encoding="utf-8") for path in sorted(INCLUDE.rglob("*.*h"))]
        path = self.cache / f"{_hash(text, *own, *_FLAGS, self.cupy_include)}.h"
        compiled = path.with_suffix(".h.gch")
        if not compiled.exists():
            path.write_text(text, encoding="utf-8")
            self._compile(text, compiled, "-x", "c++-header")
        return path

    def _compile(self, text: str, path: pathlib.Path, *how: Any) -> None:
        """Compile with g++ into a temporary file and rename it when complete, because other processes may read it."""
        with tempfile.TemporaryDirectory(dir=self.cache) as folder:
            code, made = pathlib.Path(folder, "kernel.cpp"), pathlib.Path(folder, "made")
            code.write_text(text, encoding="utf-8")
            include = [f"-I{INCLUDE}", f"-I{self.cupy_include}"]
            done = subprocess.run(["g++", *_FLAGS, *include, *how, "-o", made, code], capture_output=True, text=True)
            if done.returncode:
                raise DeviceFault(f"g++ does not compile this kernel:\n{done.stderr[:4000]}")
            os.replace(made, path)


def _words(sizes: Any, parameters: int) -> Any:
    """Return all words of eight bytes in the parameters of a kernel, since each may be an address."""
    counts = (ctypes.c_size_t * _MOST_PARAMETERS)()
    sizes(counts)
    words = [
        ctypes.string_at(ctypes.c_void_p.from_address(parameters + 8 * index).value or 0, count // 8 * 8)
        for index, count in enumerate(itertools.takewhile(lambda count: count != _LAST, counts))
    ]
    return np.frombuffer(b"".join(words), np.uintp)


def _hash(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:32]


def _count_compilation(record: Any) -> None:
    record.compilations += 1


def _count_watched(record: Any) -> None:
    record.watched += 1


def _flushes(source: str) -> bool:
    """Return whether subnormal numbers are flushed to zero: not in a source with double and without float."""
    return re.search(r"\bfloat\b", source) is not None or re.search(r"\bdouble\b", source) is None
