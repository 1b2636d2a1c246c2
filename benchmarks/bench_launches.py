"""What a training step asks of a GPU: launches, waits, memory, and the least time; counted without one.

    python benchmarks/bench_launches.py [--record] [--nvrtc 90]

The networks run at full size on the device that `minires.testing.cupy_on_cpu` puts under CuPy, which writes down what
it is told and computes nothing. The exit status is 1 if a step takes more launches than it may, or waits, or has a
reduction over many numbers that starts few blocks.

Beside each minires kernel stands its roofline on a GPU such as the H100: what it cannot take less than, be it the time
to read and write each of its arrays once, or that of its multiplications outside tensor cores (TF32 off). Copies
between the launches of a kernel, such as the columns of a convolution, are not in it.

With ``--nvrtc``, NVRTC compiles what the steps start, and what the cases start that the tests draw for each kernel of
kernels/cuda, in float16, float32 and float64, for that compute capability times ten.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from bench_step import CASES, contender_of
from harness import machine, write

import minires as mr
from minires import kernels
from minires.device import is_array
from minires.testing import cupy_on_cpu

BANDWIDTH = 3.35e12  # bytes in a second, of an H100's memory
PEAK = 67e12  # float32 operations in a second, an H100's outside its tensor cores
VIEWS = ("getitem", "reshape")  # which read and write nothing
LAUNCH = 2.5e-6  # seconds from one start of a kernel to the next, at least
BUDGET = {"resnet18": 450, "resnet20": 400}  # launches in a step of these networks, at most
LEAST_BLOCKS = 64  # of a reduction over an image: all of these networks have 10⁵ numbers or more
REDUCTIONS = ("statistics", "gradient_sums")


def step_of(network: str, dtype: Any = np.float32) -> Callable[[], object]:
    """A training step of a network on CUDA."""
    contender = contender_of(getattr(mr.models, network)(seed=0).to("cuda", dtype), *CASES[network])
    contender.wait = lambda: None
    return contender.training


class Counting(kernels.KernelSet):
    """The CUDA kernels, and for each what all its calls read, write and multiply."""

    def __init__(self) -> None:
        super().__init__("cuda")
        self.rows: dict[str, dict[str, float]] = defaultdict(lambda: {"calls": 0, "bytes": 0, "operations": 0})

    def wrapped(self, kernel: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, counted."""

        def counted(*arguments: Any, **options: Any) -> Any:
            result = function(*arguments, **options)
            row = self.rows[kernel]
            row["calls"] += 1
            # What a kernel writes into, by the underscore at its end, is read and written: all but the gradients.
            again = () if not kernel.endswith("_") else (arguments[0], *arguments[2:])
            row["bytes"] += (
                0 if kernel in VIEWS else sum(array.nbytes for array in arrays_in((arguments, result, again)))
            )
            row["operations"] += 2 * multiplications(kernel, arguments)
            return result

        return counted


def arrays_in(value: Any) -> Iterator[Any]:
    """The arrays in tuples and lists."""
    if isinstance(value, tuple | list):
        for item in value:
            yield from arrays_in(item)
    elif hasattr(value, "nbytes") and hasattr(value, "strides") and value.ndim:
        yield value


def multiplications(kernel: str, arguments: tuple[Any, ...]) -> int:
    """Of the matrix products, by their definition; 0 of other kernels."""
    if kernel in ("conv2d", "conv2d_act"):
        x, w, geometry = arguments[0], arguments[1], arguments[-1]
        shape, results = geometry.check_conv(x.shape, w.shape), 1
    elif kernel == "conv2d_grads":
        shape, w, results = arguments[0].shape, arguments[2], sum(arguments[4]) if len(arguments) > 4 else 2
    elif kernel in ("linear", "linear_grads"):
        shape, w, results = arguments[0].shape[:1], arguments[-1 if kernel == "linear" else 2], 1
        return math.prod((*shape, *w.shape)) * (2 if kernel == "linear_grads" else 1)
    else:
        return 0
    return results * math.prod(shape) * math.prod(w.shape[1:])


def roofline(rows: dict[str, dict[str, float]]) -> dict[str, dict[str, Any]]:
    """The least seconds of each kernel, and what bounds it; the longest first."""
    found = {}
    for kernel, row in rows.items():
        memory, arithmetic = row["bytes"] / BANDWIDTH, row["operations"] / PEAK
        bound = "memory" if memory > arithmetic else "arithmetic"
        found[kernel] = {**row, "least_seconds": max(memory, arithmetic), "bound": bound}
    return dict(sorted(found.items(), key=lambda item: -item[1]["least_seconds"]))


def requested(step: Callable[[], object]) -> tuple[int, int]:
    """The bytes that a step asks CuPy's pool for, and how many more than before it holds at the most."""
    import cupy

    class Hook(cupy.cuda.MemoryHook):  # type: ignore[misc]
        name, total, held, most = "requested", 0, 0, 0

        def malloc_postprocess(self, *, mem_size: int, **_: Any) -> None:
            self.total, self.held = self.total + mem_size, self.held + mem_size
            self.most = max(self.most, self.held)

        def free_postprocess(self, *, mem_size: int, **_: Any) -> None:
            self.held -= mem_size

    hook = Hook()
    with hook:
        step()
    return hook.total, hook.most


def count(device: cupy_on_cpu.NullDevice, network: str) -> dict[str, Any]:
    """One step, after one that fills caches; and the same once more for what each kernel reads and multiplies."""
    step = step_of(network)
    step()
    with device.recording() as record:
        step()
    counting = Counting()
    with kernels.using(counting):
        step()
    allocated, peak = requested(step)
    started: dict[str, dict[str, Any]] = defaultdict(lambda: {"launches": 0, "smallest_grid": sys.maxsize})
    for launch in record.launches:
        found = started[launch.kernel]
        found["launches"] += 1
        found["smallest_grid"] = min(found["smallest_grid"], launch.blocks)
    return {
        "launches": len(record.launches),
        "memsets": record.memsets,
        "synchronisations": record.synchronisations,
        "copies": dict(record.copies),
        "allocated_bytes": allocated,
        "peak_bytes": peak,
        "kernels": dict(sorted(started.items(), key=lambda item: -item[1]["launches"])),
        "roofline": roofline(counting.rows),
    }


def start_every_kernel(dtype: Any) -> None:
    """Start what each kernel of kernels/cuda starts for some of its cases."""
    import cupy
    from hypothesis import HealthCheck, given, settings
    from hypothesis.strategies import just

    from minires.kernels import cuda
    from minires.testing.rounding.cases import cases

    def moved(value: Any) -> Any:
        if isinstance(value, tuple | list):
            return type(value)(map(moved, value)) if any(map(is_array, value)) else value
        if not is_array(value):
            return value
        return cupy.asarray(value, dtype if value.dtype.kind == "f" else None)

    quietly = settings(
        max_examples=20, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    for kernel in cuda.__all__:
        started = getattr(cuda, kernel)

        def run(case: Any, started: Callable[..., Any]) -> None:
            case.function(started)(*map(moved, case.arguments))

        quietly(given(case=cases(kernel), started=just(started))(run))()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="write a JSON file to benchmarks/records/")
    parser.add_argument("--nvrtc", type=int, metavar="ARCHITECTURE", help="compile for it, and count nothing")
    options = parser.parse_args()
    compiled = options.nvrtc is not None
    device = cupy_on_cpu.install(execute=False, check=False, nvrtc=compiled, architecture=options.nvrtc or 80)
    if compiled:
        with device.recording() as record:
            for network, dtype in itertools.product(BUDGET, (np.float16, np.float32, np.float64)):
                step_of(network, dtype)()
            for dtype in (np.float16, np.float32, np.float64):
                start_every_kernel(dtype)
        print(f"{record.compilations} programs compiled for sm_{options.nvrtc}")
        cupy_on_cpu.leave(0)
    results = {network: count(device, network) for network in BUDGET}
    for network, found in results.items():
        print(
            f"{network}: {found['launches']} launches of at most {BUDGET[network]}, {found['memsets']} memsets, "
            f"{found['synchronisations']} synchronisations, {found['allocated_bytes'] / 2**20:.0f} MiB from the pool, "
            f"{found['peak_bytes'] / 2**20:.0f} MiB at the same time"
        )
        for kernel, row in found["kernels"].items():
            print(f"    {kernel:44} {row['launches']:4} ×, smallest grid {row['smallest_grid']:6}")
        least = sum(row["least_seconds"] for row in found["roofline"].values())
        print(f"  at least {1e3 * least:.2f} ms, and {1e3 * LAUNCH * found['launches']:.2f} ms for the launches alone:")
        for kernel, row in found["roofline"].items():
            print(
                f"    {kernel:44} {row['calls']:4} ×, {row['bytes'] / 1e6:8.1f} MB, "
                f"{row['operations'] / 1e9:7.1f} G operations: {1e6 * row['least_seconds']:7.1f} µs, {row['bound']}"
            )
    if options.record:
        write("launches", machine(1), results)
    kept = all(
        found["launches"] <= BUDGET[network]
        and not found["synchronisations"]
        and all(found["kernels"][kernel]["smallest_grid"] >= LEAST_BLOCKS for kernel in REDUCTIONS)
        for network, found in results.items()
    )
    cupy_on_cpu.leave(0 if kept else 1)


if __name__ == "__main__":
    main()
