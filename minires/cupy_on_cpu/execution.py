"""CUDA source, compiled by g++ and run: what the null device does when a kernel is launched.

CuPy hands the source of a kernel to NVRTC and the binary that it gets to the driver. Here both ends are held: the
source is kept under its binary, and a launch of that binary runs the source, compiled with include/cuda_on_cpu.h.
Compiled kernels are kept on disk, by the hash of all that they are made of.
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

from minires.cupy_on_cpu.null_device import DeviceFault, Launch, NullDevice

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
# What every kernel of CuPy's includes, compiled once.
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
_MOST_BYTES = 1 << 28  # to compare after all threads, or blocks, of a launch that is watched: 0.1 s
_FAULTS = {  # by what a kernel gives, and find_race
    1: "some threads wait at a barrier to which others do not come",
    2: "an integer is divided by zero, or the least one by −1",
    -1: "a race, {count} bytes are written by several {who}",
    -2: "a race, {count} bytes are otherwise if the threads take turns otherwise",
}
_MOST_PARAMETERS = 4096  # bytes of all of them
_LAST = ctypes.c_size_t(-1).value  # what stands behind the sizes of a kernel's parameters
_NO_BINARY = b"source "  # what stands for the binary of a program that NVRTC has not compiled


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
    """Runs kernels from their source.

    Parameters
    ----------
    device : whose memory they work on
    nvrtc : whether NVRTC compiles each program too, which takes as long again and finds what g++ does not mind
    cache : a folder for compiled kernels
    host : host.c, compiled
    """

    def __init__(self, device: NullDevice, nvrtc: bool, cache: pathlib.Path, host: ctypes.PyDLL) -> None:
        self.device, self.nvrtc, self.cache = device, nvrtc, cache
        pointer, number = ctypes.c_void_p, ctypes.c_long
        self._find_race: Any = host.find_race
        self._find_race.argtypes = [pointer, pointer, number, number, pointer, pointer, number, pointer]
        self.sources: dict[bytes, str] = {}
        self.instances: dict[str, dict[str, str]] = {}  # of templates: for each source, names to expressions
        self._libraries: dict[str, ctypes.CDLL] = {}
        self.cupy_include = ""

    def watch(self, compiler: Any) -> None:
        """See all that CuPy's module ``compiler`` compiles."""
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
        """Run a kernel whose parameters' addresses lie at ``parameters``."""
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
        places, count = self.device.memory.places, ctypes.c_long()
        if self.device.races and launch.blocks * max(1, alone) * int(places[:, 1].sum()) <= _MOST_BYTES:
            self.device.note(_count_watched)
            atomics = ctypes.c_long.in_dll(library, "on_cpu_atomics")
            where = ctypes.cast(run, ctypes.c_void_p), ctypes.byref(how), launch.blocks, alone, ctypes.byref(atomics)
            found = self._find_race(*where, places.ctypes.data, len(places), ctypes.byref(count))
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
        """A file that includes all headers; beside it lies the same precompiled."""
        text = "".join(f"#include <{header}>\n" for header in _HEADERS)
        own = [path.read_text(encoding="utf-8") for path in sorted(INCLUDE.rglob("*.*h"))]
        path = self.cache / f"{_hash(text, *own, *_FLAGS, self.cupy_include)}.h"
        compiled = path.with_suffix(".h.gch")
        if not compiled.exists():
            path.write_text(text, encoding="utf-8")
            self._compile(text, compiled, "-x", "c++-header")
        return path

    def _compile(self, text: str, path: pathlib.Path, *how: Any) -> None:
        """g++ into a file beside, renamed when it is whole: other processes may want the same."""
        with tempfile.TemporaryDirectory(dir=self.cache) as folder:
            code, made = pathlib.Path(folder, "kernel.cpp"), pathlib.Path(folder, "made")
            code.write_text(text, encoding="utf-8")
            include = [f"-I{INCLUDE}", f"-I{self.cupy_include}"]
            done = subprocess.run(["g++", *_FLAGS, *include, *how, "-o", made, code], capture_output=True, text=True)
            if done.returncode:
                raise DeviceFault(f"g++ does not compile this kernel:\n{done.stderr[:4000]}")
            os.replace(made, path)


def _words(sizes: Any, parameters: int) -> Any:
    """All that may be an address in the parameters whose addresses lie at ``parameters``: words of eight bytes."""
    counts = (ctypes.c_size_t * _MOST_PARAMETERS)()
    sizes(counts)
    words = [
        ctypes.string_at(ctypes.c_void_p.from_address(parameters + 8 * place).value or 0, count // 8 * 8)
        for place, count in enumerate(itertools.takewhile(lambda count: count != _LAST, counts))
    ]
    return np.frombuffer(b"".join(words), np.uintp)


def _hash(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:32]


def _count_compilation(record: Any) -> None:
    record.compilations += 1


def _count_watched(record: Any) -> None:
    record.watched += 1


def _flushes(source: str) -> bool:
    """Whether subnormal numbers are flushed: not where there are none of float32."""
    return re.search(r"\bfloat\b", source) is not None or re.search(r"\bdouble\b", source) is None
