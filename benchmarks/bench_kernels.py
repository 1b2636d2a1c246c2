"""The fast CPU kernels against PyTorch's, on every convolution, batch norm and pooling of two ResNets.

    python benchmarks/bench_kernels.py [--network resnet20|resnet18|both] [--threads 2] [--rounds 5]

Both sides compute the same thing on the same numbers and the same number of threads, in one process, in turn;
results are compared first. PyTorch runs in both of its memory orders, and the faster one is the measure. The
last line of each network weighs every kernel by how often a training step calls it.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minires.geometry import Geometry
from minires.kernels import fast
from minires.threads import available_cpus, set_num_threads, single_threaded_blas

try:
    import torch
except ImportError:
    sys.exit("bench_kernels.py compares with PyTorch, which is not installed: pip install minires[parity]")

# A group of calls begins after a pause: PyTorch's idle threads spin for a while, and would take our cores.
PAUSE = 0.03


class Conv(NamedTuple):
    """A convolution of (N, C, H, H) with K filters of size × size, ``count`` times in the network."""

    N: int
    C: int
    H: int
    K: int
    size: int
    stride: int
    count: int


class Norm(NamedTuple):
    """A batch norm and rectifier of (N, C, H, H), with a shortcut or without."""

    N: int
    C: int
    H: int
    shortcut: bool
    count: int


class Pool(NamedTuple):
    """A 3×3 max pooling with stride 2 of (N, C, H, H)."""

    N: int
    C: int
    H: int
    count: int


Case = Conv | Norm | Pool
Pair = tuple[Callable[[], object], Callable[[], object]]  # forward, backward

NETWORKS: dict[str, list[Case]] = {
    "resnet20": [
        Conv(128, 3, 32, 16, 3, 1, 1),
        Conv(128, 16, 32, 16, 3, 1, 6),
        Conv(128, 16, 32, 32, 3, 2, 1),
        Conv(128, 32, 16, 32, 3, 1, 5),
        Conv(128, 32, 16, 64, 3, 2, 1),
        Conv(128, 64, 8, 64, 3, 1, 5),
        *(Norm(128, C, H, False, n) for C, H, n in ((16, 32, 4), (32, 16, 3), (64, 8, 3))),
        *(Norm(128, C, H, True, 3) for C, H in ((16, 32), (32, 16), (64, 8))),
    ],
    "resnet18": [
        Conv(16, 3, 224, 64, 7, 2, 1),
        Conv(16, 64, 56, 64, 3, 1, 4),
        *(Conv(16, C, H, 2 * C, 3, 2, 1) for C, H in ((64, 56), (128, 28), (256, 14))),
        *(Conv(16, C, H, 2 * C, 1, 2, 1) for C, H in ((64, 56), (128, 28), (256, 14))),
        *(Conv(16, C, H, C, 3, 1, 3) for C, H in ((128, 28), (256, 14), (512, 7))),
        Norm(16, 64, 112, False, 1),
        *(Norm(16, C, H, False, n) for C, H, n in ((64, 56, 2), (128, 28, 3), (256, 14, 3), (512, 7, 3))),
        *(Norm(16, C, H, True, 2) for C, H in ((64, 56), (128, 28), (256, 14), (512, 7))),
        Pool(16, 64, 112, 1),
    ],
}


def hwnc(rng: np.random.Generator, N: int, C: int, H: int, W: int) -> np.ndarray:
    return rng.standard_normal((H, W, N, C), dtype=np.float32).transpose(2, 3, 0, 1)


def to_torch(array: np.ndarray, channels_last: bool) -> torch.Tensor:
    order = torch.channels_last if channels_last else torch.contiguous_format
    return torch.from_numpy(np.array(array, order="C")).contiguous(memory_format=order)


def conv_pairs(case: Conv, rng: np.random.Generator) -> list[Pair]:
    pad = case.size // 2
    geometry = Geometry((case.size, case.size), (case.stride, case.stride), (pad, pad))
    P, Q = geometry.output_size((case.H, case.H))
    x, gy = hwnc(rng, case.N, case.C, case.H, case.H), hwnc(rng, case.N, case.K, P, Q)
    w = rng.standard_normal((case.size, case.size, case.C, case.K), dtype=np.float32).transpose(3, 2, 0, 1)
    wants = (case.C > 3, True)  # nobody asks for the gradient of the images
    pairs: list[Pair] = [
        (lambda: fast.conv2d(x, w, geometry), lambda: fast.conv2d_grads(gy, x, w, geometry, wants)[::-1])
    ]
    for channels_last in (False, True):
        tx, tw, tgy = (to_torch(array, channels_last) for array in (x, w, gy))

        def forward(tx: torch.Tensor = tx, tw: torch.Tensor = tw) -> object:
            return torch.nn.functional.conv2d(tx, tw, stride=case.stride, padding=pad)

        def backward(tx: torch.Tensor = tx, tw: torch.Tensor = tw, tgy: torch.Tensor = tgy) -> object:
            stride, padding = [case.stride] * 2, [pad] * 2
            gx, gw, _ = torch.ops.aten.convolution_backward(
                tgy, tx, tw, None, stride, padding, [1, 1], False, [0, 0], 1, [*wants, False]
            )
            return gw, gx

        pairs.append((forward, backward))
    return pairs


def norm_pairs(case: Norm, rng: np.random.Generator) -> list[Pair]:
    x, shortcut, gy = (hwnc(rng, case.N, case.C, case.H, case.H) for _ in range(3))
    gamma, beta = (rng.standard_normal(case.C, dtype=np.float32) for _ in range(2))
    addend = shortcut if case.shortcut else None
    y, mean, _, inv_std = fast.batch_norm_act(x, gamma, beta, addend, True, 1e-5)

    def backward() -> object:
        return fast.batch_norm_act_grads(gy, y, x, gamma, mean, inv_std, True, case.shortcut)

    pairs: list[Pair] = [(lambda: fast.batch_norm_act(x, gamma, beta, addend, True, 1e-5), backward)]
    weights = [torch.from_numpy(array) for array in (gamma, beta, mean, inv_std)]
    for channels_last in (False, True):
        images = [to_torch(array, channels_last) for array in (x, shortcut, gy, y)]
        pairs.append(torch_norm_pair(case, images, weights))
    return pairs


def torch_norm_pair(case: Norm, images: list[torch.Tensor], weights: list[torch.Tensor]) -> Pair:
    x, shortcut, gy, y = images
    gamma, beta, mean, inv_std = weights

    def forward() -> object:
        z, *_ = torch.native_batch_norm(x, gamma, beta, None, None, True, 0.1, 1e-5)
        return torch.relu_(z.add_(shortcut) if case.shortcut else z)

    def backward() -> object:
        gz = torch.ops.aten.threshold_backward(gy, y, 0)
        return torch.ops.aten.native_batch_norm_backward(
            gz, x, gamma, None, None, mean, inv_std, True, 1e-5, [True] * 3
        )

    return forward, backward


def pool_pairs(case: Pool, rng: np.random.Generator) -> list[Pair]:
    geometry = Geometry((3, 3), (2, 2), (1, 1))
    x = fast.relu(hwnc(rng, case.N, case.C, case.H, case.H))
    gy = hwnc(rng, case.N, case.C, *geometry.output_size((case.H, case.H)))
    _, winners = fast.max_pool2d_winners(x, geometry)
    pairs: list[Pair] = [
        (
            lambda: fast.max_pool2d_winners(x, geometry),
            lambda: fast.max_pool2d_grad(gy, winners, geometry, x.shape[2:]),
        )
    ]
    for channels_last in (False, True):
        tx, tgy = to_torch(x, channels_last), to_torch(gy, channels_last)
        _, places = torch.nn.functional.max_pool2d(tx, 3, 2, 1, return_indices=True)

        def forward(tx: torch.Tensor = tx) -> object:
            return torch.ops.aten.max_pool2d_with_indices(tx, [3, 3], [2, 2], [1, 1])

        def backward(tx: torch.Tensor = tx, tgy: torch.Tensor = tgy, places: torch.Tensor = places) -> object:
            return torch.ops.aten.max_pool2d_with_indices_backward(
                tgy, tx, [3, 3], [2, 2], [1, 1], [1, 1], False, places
            )

        pairs.append((forward, backward))
    return pairs


def pairs_of(case: Case, rng: np.random.Generator) -> list[Pair]:
    if isinstance(case, Conv):
        return conv_pairs(case, rng)
    return norm_pairs(case, rng) if isinstance(case, Norm) else pool_pairs(case, rng)


def verify(case: Case, pairs: list[Pair]) -> None:
    """Stop if the first results of a pair differ by more than float32 explains."""
    for step in (0, 1):
        ours, *theirs = (pair[step]() for pair in pairs)
        ours = ours[0] if isinstance(ours, tuple) else ours
        for result in theirs:
            expected = (result[0] if isinstance(result, tuple) else result).numpy()
            error = float(np.abs(ours - expected).max() / np.abs(expected).max())
            if not error < 1e-4:
                sys.exit(f"{case}: {('forward', 'backward')[step]} differs from PyTorch by {error:.1e}")


def measure(functions: list[Callable[[], object]], rounds: int) -> list[float]:
    """The median time of each function in milliseconds, the functions taking turns in short groups."""
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(rounds):
        for function, record in zip(functions, times, strict=True):
            time.sleep(PAUSE)
            function()
            for _ in range(3):
                start = time.perf_counter()
                function()
                record.append((time.perf_counter() - start) * 1e3)
    return [statistics.median(record) for record in times]


def run(network: str, rounds: int) -> None:
    rng = np.random.default_rng(0)
    print(f"{network}: forward and backward in ms: minires, torch NCHW, torch channels_last, ratio to the best torch")
    totals = np.zeros((2, 3))
    for case in NETWORKS[network]:
        pairs = pairs_of(case, rng)
        verify(case, pairs)
        columns = []
        for step in (0, 1):
            with single_threaded_blas():
                times = measure([pair[step] for pair in pairs], rounds)
            totals[step] += case.count * np.array(times)
            columns.append("  ".join(f"{t:7.2f}" for t in times) + f"  {times[0] / min(times[1:]):5.2f}")
        name = f"{type(case).__name__.lower()} {'x'.join(str(int(v)) for v in case[:-1])}"
        print(f"{name:26} {case.count} ×  | {columns[0]} | {columns[1]}", flush=True)
    both = totals.sum(0)
    print(
        f"{network}, one training step's kernels: {both[0]:.0f}, {both[1]:.0f}, {both[2]:.0f} ms, "
        f"ratio {both[0] / both[1:].min():.2f}\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=[*NETWORKS, "both"], default="both")
    parser.add_argument("--threads", type=int, default=available_cpus())
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    set_num_threads(options.threads)
    torch.set_num_threads(options.threads)
    print(f"NumPy {np.__version__}, PyTorch {torch.__version__}, {options.threads} threads each")
    for network in NETWORKS if options.network == "both" else [options.network]:
        run(network, options.rounds)


if __name__ == "__main__":
    main()
