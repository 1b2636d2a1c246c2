"""How much memory three training steps take beyond the network and its batch, minires beside PyTorch eager.

    python benchmarks/bench_memory.py [--models resnet20 …] [--threads 2] [--record]

Each contender runs in a process of its own, as memory that was once taken is seldom given back. Counted is the
resident set: its peak during the steps, less what it was when network and batch had been made. On Linux only.
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
    """A field of /proc/self/status in bytes: VmRSS, or VmHWM, its peak."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) * 1024


def growth(contender: str, network: str, threads: int) -> int:
    """Bytes that the steps of one contender take; called in a fresh process."""
    mr.set_num_threads(threads)
    chosen = minires_contender(network)
    if contender != "minires":
        import torch
        from torch_twins import twin_of

        torch.set_num_threads(threads)
        order = torch.channels_last if contender.endswith("last") else torch.contiguous_format
        chosen = torch_contender(contender, twin_of(network), chosen, torch.float32, order)
    chosen.mode("training")
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak is what is there now
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
