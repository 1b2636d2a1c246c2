"""Measure the memory of three training steps, beyond the network and its batch, beside PyTorch eager.

    python benchmarks/bench_memory.py [--models resnet20 …] [--threads 2] [--record]

Each contender runs in a separate process, since a process seldom gives memory back. The result is the peak of the
resident set during the steps, minus the resident set before them, when network and batch exist. Linux only.
"""

from __future__ import annotations

import argparse
import pathlib
import subprocess
import sys

from bench_step import CASES, minires_contender, torch_contender
from harness import machine, write

import minires as mr

CONTENDERS = ("minires", "torch NCHW", "torch channels_last")
STEPS = 3


def resident(field: str) -> int:
    """Return a field of /proc/self/status in bytes: VmRSS, or its peak VmHWM."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) * 1024


def growth(contender: str, network: str, threads: int) -> int:
    """Return the bytes that the steps of one contender take; call it in a new process."""
    mr.set_num_threads(threads)
    chosen = minires_contender(network)
    if contender != "minires":
        import torch
        from torch_twins import twin_of

        torch.set_num_threads(threads)
        order = torch.channels_last if contender.endswith("last") else torch.contiguous_format
        chosen = torch_contender(contender, twin_of(network), chosen, torch.float32, order)
    chosen.mode("training")
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # reset the peak to the present size
    before = resident("VmRSS")
    for _ in range(STEPS):
        chosen.training()
    return resident("VmHWM") - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--record", action="store_true", help="write a JSON file to benchmarks/records/")
    parser.add_argument("--child", choices=CONTENDERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(growth(options.child, options.models[0], options.threads))
        return
    print(f"{'MB':10}| " + " | ".join(f"{name:>19}" for name in (*CONTENDERS, "ratio to the least")))
    found: dict[str, dict[str, float]] = {}
    for network in options.models:
        arguments = [sys.executable, __file__, "--models", network, "--threads", str(options.threads), "--child"]
        runs = [subprocess.run([*arguments, name], check=True, capture_output=True, text=True) for name in CONTENDERS]
        ours, *theirs = sizes = [int(run.stdout.split()[-1]) / 1e6 for run in runs]
        found[network] = dict(zip(CONTENDERS, sizes, strict=True))
        print(f"{network:10}| " + " | ".join(f"{size:19.0f}" for size in sizes) + f" | {ours / min(theirs):19.2f}")
    if options.record:
        write("memory", machine(options.threads), found, steps=STEPS, unit="MB")


if __name__ == "__main__":
    main()
