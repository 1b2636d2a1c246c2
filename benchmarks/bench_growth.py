"""Measure how the time of a training step grows with batch, image size, depth and channels.

    python benchmarks/bench_growth.py [--threads 2] [--rounds 7] [--record]

Along each axis the other sizes stay constant. The benchmark prints the exponent between neighbouring sizes, the slope
in a plot of logarithms, and beside it the exponent of the arithmetic: 1 for images, pixels and layers, 2 for channels.
At small sizes, where everything fits into the caches, the cost of each call hides some of the growth. So only the last
exponent is judged: the exit status is 1 if it exceeds that of the arithmetic by more than a quarter.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Callable
from typing import NamedTuple

from bench_step import contender_of
from harness import at_least, describe, in_turns, machine, write

import minires as mr
from minires import models, nn

SLACK = 0.25


class Axis(NamedTuple):
    """Sizes along one axis, the exponent of the arithmetic, and a function size -> training step."""

    name: str
    sizes: tuple[int, ...]
    exponent: int
    step: Callable[[int], Callable[[], object]]


def training(model: mr.nn.Module, *images: int) -> Callable[[], object]:
    """Return a training step on random images (N, C, H, W)."""
    return contender_of(model, images, 10).training


def of_pixels(pixels: int) -> Callable[[], object]:
    """Return a training step of ResNet-20 on 16 square images of ``pixels`` pixels."""
    side = math.isqrt(pixels)
    return training(models.resnet20(), 16, 3, side, side)


def of_width(width: int) -> Callable[[], object]:
    """Return a training step of a residual block between a 1×1 convolution and a classifier, of ``width`` channels."""
    head = nn.Conv2d(16, width, 1)
    tail = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))
    return training(nn.Sequential(head, models.BasicBlock(width, width), tail), 32, 16, 28, 28)


AXES = (
    Axis("batch", (16, 32, 64, 128, 256), 1, lambda n: training(models.resnet20(), n, 3, 32, 32)),
    Axis("pixels", (16**2, 32**2, 64**2, 128**2), 1, of_pixels),
    Axis("depth", (8, 14, 26, 50, 98), 1, lambda n: training(models.CifarResNet(n), 64, 3, 32, 32)),
    Axis("channels", (32, 64, 128, 256, 512), 2, of_width),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=at_least(1), default=2)
    parser.add_argument("--rounds", type=at_least(3), default=7)
    parser.add_argument("--record", action="store_true", help="write a JSON file to benchmarks/records/")
    options = parser.parse_args()
    mr.set_num_threads(options.threads)
    described = machine(options.threads)
    describe(described)
    results, steep = {}, []
    for axis in AXES:
        records = in_turns([axis.step(size) for size in axis.sizes], options.rounds, 1)
        times = [statistics.median(record) for record in records]
        slopes = [
            math.log(times[i + 1] / times[i]) / math.log(axis.sizes[i + 1] / axis.sizes[i])
            for i in range(len(times) - 1)
        ]
        results[axis.name] = {"sizes": axis.sizes, "milliseconds": times, "slopes": slopes, "expected": axis.exponent}
        figures = "  ".join(f"{size}: {t:.1f} ms" for size, t in zip(axis.sizes, times, strict=True))
        print(f"{axis.name:9}{figures}")
        print(
            f"{'':9}exponents {'  '.join(f'{s:.2f}' for s in slopes)}; the arithmetic's is {axis.exponent}", flush=True
        )
        if slopes[-1] > axis.exponent + SLACK:
            steep.append(axis.name)
    if options.record:
        write("growth", described, results, rounds=options.rounds)
    if steep:
        sys.exit(f"steeper than the arithmetic: {', '.join(steep)}")


if __name__ == "__main__":
    main()
