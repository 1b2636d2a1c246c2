"""What a training step asks of a GPU: launches, waits, memory; counted without one.

    python benchmarks/bench_launches.py [--record] [--nvrtc 90]

The networks run at full size on the device that `minires.testing.cupy_on_cpu` puts under CuPy, which writes down what
it is told and computes nothing. The exit status is 1 if a step takes more launches than it may, or waits, or has a
reduction over many numbers that starts few blocks. With ``--nvrtc``, NVRTC compiles each kernel that the steps start,
in float32 and float64, for that compute capability times ten.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections import defaultdict
from typing import Any

import numpy as np
from harness import machine, write

from minires.testing import cupy_on_cpu

NETWORKS = {"resnet18": (16, 224), "resnet20": (128, 32)}  # images, and their size
BUDGET = {"resnet18": 450, "resnet20": 400}  # launches in a step, at most
LEAST_BLOCKS = 64  # of a reduction over an image: all of these networks have 10⁵ numbers or more
REDUCTIONS = ("statistics", "gradient_sums")


def step_of(network: str, dtype: Any = np.float32) -> Any:
    """A training step of a network on CUDA."""
    import minires as mr

    N, size = NETWORKS[network]
    model = getattr(mr.models, network)(seed=0).to("cuda", dtype)
    optimizer = mr.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    images = mr.tensor(np.zeros((N, 3, size, size), dtype), device="cuda")
    labels = mr.tensor(np.zeros(N, np.int64), device="cuda")

    def step() -> None:
        loss = mr.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def count(device: cupy_on_cpu.NullDevice, network: str) -> dict[str, Any]:
    """One step, after one that fills caches."""
    step = step_of(network)
    step()
    with device.recording() as record:
        step()
    kernels: dict[str, dict[str, Any]] = defaultdict(lambda: {"launches": 0, "smallest_grid": sys.maxsize})
    for launch in record.launches:
        found = kernels[launch.kernel]
        found["launches"] += 1
        found["smallest_grid"] = min(found["smallest_grid"], launch.blocks)
    return {
        "launches": len(record.launches),
        "memsets": record.memsets,
        "synchronisations": record.synchronisations,
        "copies": dict(record.copies),
        "allocated_bytes": record.allocated_bytes,
        "kernels": dict(sorted(kernels.items(), key=lambda item: -item[1]["launches"])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="write a JSON file to benchmarks/records/")
    parser.add_argument("--nvrtc", type=int, metavar="ARCHITECTURE", help="compile for it, and count nothing")
    options = parser.parse_args()
    compiled = options.nvrtc is not None
    device = cupy_on_cpu.install(execute=False, check=False, nvrtc=compiled, architecture=options.nvrtc or 80)
    if compiled:
        with device.recording() as record:
            for network, dtype in itertools.product(NETWORKS, (np.float32, np.float64)):
                step_of(network, dtype)()
        print(f"{record.compilations} programs compiled for sm_{options.nvrtc}")
        cupy_on_cpu.leave(0)
    results = {network: count(device, network) for network in NETWORKS}
    for network, found in results.items():
        print(
            f"{network}: {found['launches']} launches of at most {BUDGET[network]}, {found['memsets']} memsets, "
            f"{found['synchronisations']} synchronisations, {found['allocated_bytes'] / 2**20:.0f} MiB from the device"
        )
        for kernel, row in found["kernels"].items():
            print(f"    {kernel:44} {row['launches']:4} ×, smallest grid {row['smallest_grid']:6}")
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
