"""Count what a training step asks of a GPU, without a GPU: launches, waits and memory; estimate its time.

    python benchmarks/bench_launches.py [--record] [--nvrtc 90]

The networks run at full size on the device of `minires.cupy_on_cpu`, which records CuPy's calls and computes nothing
here. The exit status is 1 if a step takes more launches than its budget, if it waits for the device, or if a launch has
few blocks and a large array (watched_launches.py says which arrays it cannot see).

Beside each minires kernel stands its roofline on an H100 (roofline.py). It is the time to read each argument once and
to write each result once, or the time of its matrix products outside tensor cores (TF32 off), whichever is longer. It
does not include arrays between the launches of a kernel, such as the columns of a convolution.

With ``--nvrtc ARCHITECTURE``, NVRTC compiles programs in float16, float32 and float64, and nothing is counted. 90 means
compute capability 9.0. The programs are those of the steps, those of each kernel in kernels/cuda for a few of the cases
that its tests draw, and all variants of the kernels whose code depends on their arguments.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
from bench_step import CASES, contender_of
from harness import machine, write
from roofline import Counting, roofline
from watched_launches import LARGE, LEAST_BLOCKS, Started, need_all, too_few_blocks, watch

import minires as mr
from minires import cupy_on_cpu, kernels
from minires.device import is_array, wide_dtype

LAUNCH = 2.5e-6  # an assumption: seconds between the starts of two kernels in a program that only starts kernels
BUDGET = {"resnet18": 450, "resnet20": 400}  # the largest number of launches in a step


def step_of(network: str, dtype: Any = np.float32) -> Callable[[], object]:
    """Return a training step of a network on CUDA."""
    contender = contender_of(getattr(mr.models, network)(seed=0).to("cuda", dtype), *CASES[network])
    contender.wait = lambda: None
    return contender.training


def requested(step: Callable[[], object]) -> tuple[int, int]:
    """Return the bytes that a step takes from CuPy's pool, and the most that it adds to the bytes in use."""
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


def count(device: cupy_on_cpu.NullDevice, watched: list[Started], network: str) -> dict[str, Any]:
    """Return the counts of one step. An earlier step fills caches; later ones count traffic, products and memory."""
    step = step_of(network)
    step()
    watched.clear()
    with device.recording() as record:
        step()
    need_all(watched, record)
    few = too_few_blocks(watched)
    largest: dict[str, int] = defaultdict(int)
    for launch, numbers in watched:
        largest[launch.kernel] = max(largest[launch.kernel], numbers)
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
        "kernels": {
            kernel: {**row, "largest_array": largest[kernel]}
            for kernel, row in sorted(started.items(), key=lambda item: -item[1]["launches"])
        },
        "too_few_blocks": [
            {"kernel": launch.kernel, "blocks": launch.blocks, "numbers": numbers} for launch, numbers in few
        ],
        "roofline": roofline(counting.rows),
    }


def start_every_kernel(dtype: Any) -> None:
    """Run each kernel of kernels/cuda on some of the cases that its tests draw."""
    import cupy
    from hypothesis import HealthCheck, given, settings
    from hypothesis.strategies import just

    from minires.kernels import cuda
    from minires.testing.rounding.cases import all_in_float16, cases

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
        started = all_in_float16(started) if dtype == np.float16 else started

        def run(case: Any, started: Callable[..., Any]) -> None:
            case.function(started)(*map(moved, case.arguments))

        quietly(given(case=cases(kernel), started=just(started))(run))()


def start_every_variant(dtype: Any) -> None:
    """Run each kernel whose code depends on its arguments, in every variant."""
    import cupy

    from minires.geometry import Geometry
    from minires.kernels import cuda

    x, gamma = cupy.ones((2, 3, 4, 4), dtype), cupy.ones(3, dtype)
    statistic, w = cupy.ones(3, wide_dtype(dtype)), cupy.ones((3, 3, 1, 1), dtype)
    yes = False, True
    for shortcut, relu in itertools.product((None, x), yes):
        for scale, bias in itertools.product((None, gamma), repeat=2):
            cuda.conv2d_act(x, w, scale, bias, shortcut, relu, Geometry((1, 1)))
        cuda.batch_norm_act(x, gamma, gamma, shortcut, relu, 1e-5)
        cuda.batch_norm_act_inference(x, gamma, gamma, statistic, statistic, shortcut, relu, 1e-5)
        cuda.batch_norm_act_grads(x, x, x, gamma, statistic, statistic, relu, shortcut is not None)
    p, g, m, v = ([cupy.ones(3, dtype)] for _ in range(4))
    for momentum, decay, nesterov, first in itertools.product((0.0, 0.9), (0.0, 0.1), yes, yes):
        cuda.sgd_(p, g, m, 0.1, momentum, 0.0, decay, nesterov, first)
    for decay, decoupled in itertools.product((0.0, 0.1), yes):
        cuda.adam_(p, g, m, v, 1, 0.1, 0.9, 0.999, 1e-8, decay, decoupled)


def show(network: str, found: dict[str, Any]) -> None:
    """Print the result of `count`."""
    print(
        f"{network}: {found['launches']} launches of at most {BUDGET[network]}, {found['memsets']} memsets, "
        f"{found['synchronisations']} synchronisations, {found['allocated_bytes'] / 2**20:.0f} MiB from the pool, "
        f"at most {found['peak_bytes'] / 2**20:.0f} MiB more in use than before"
    )
    for kernel, row in found["kernels"].items():
        array = f"largest array {row['largest_array']:9}" if row["largest_array"] else "arrays not seen"
        print(f"    {kernel:44} {row['launches']:4} ×, smallest grid {row['smallest_grid']:6}, {array}")
    for launch in found["too_few_blocks"]:
        print(
            f"  too few blocks: {launch['kernel']} starts {launch['blocks']} for an array of "
            f"{launch['numbers']} numbers, where {LEAST_BLOCKS} are wanted from {LARGE} on"
        )
    least = sum(row["least_seconds"] for row in found["roofline"].values())
    starts = f"{1e3 * LAUNCH * found['launches']:.2f} ms for the launches, {1e6 * LAUNCH} µs each"
    print(f"  {1e3 * least:.2f} ms by the roofline; {starts}:")
    for kernel, row in found["roofline"].items():
        print(
            f"    {kernel:44} {row['calls']:4} ×, {row['bytes'] / 1e6:8.1f} MB, "
            f"{row['operations'] / 1e9:7.1f} G operations: {1e6 * row['least_seconds']:7.1f} µs, {row['bound']}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="write a JSON file to benchmarks/records/")
    parser.add_argument("--nvrtc", type=int, metavar="ARCHITECTURE", help="only compile, for this architecture")
    options = parser.parse_args()
    compiled = options.nvrtc is not None
    device = cupy_on_cpu.install(execute=False, check=False, nvrtc=compiled, architecture=options.nvrtc or 80)
    if compiled:
        with device.recording() as record:
            for network, dtype in itertools.product(BUDGET, (np.float16, np.float32, np.float64)):
                step_of(network, dtype)()
            for dtype in (np.float16, np.float32, np.float64):
                start_every_kernel(dtype)
                start_every_variant(dtype)
        print(f"{record.compilations} programs compiled for sm_{options.nvrtc}")
        return
    watched = watch(device)
    results = {network: count(device, watched, network) for network in BUDGET}
    for network, found in results.items():
        show(network, found)
    if options.record:
        write("launches", machine(1), results)
    kept = all(
        found["launches"] <= BUDGET[network] and not found["synchronisations"] and not found["too_few_blocks"]
        for network, found in results.items()
    )
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
