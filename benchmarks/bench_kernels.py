"""Time the fast CPU kernels beside PyTorch's, on every convolution, batch norm and pooling of ResNets.

    python benchmarks/bench_kernels.py [--models resnet20 …] [--threads 2] [--rounds 5] [--record]

The cases are the kernel calls of a forward pass of the networks. Both libraries compute the same on the same numbers,
with the same number of threads, in one process and in turn. The results are compared before the times are measured.
PyTorch runs in both of its memory orders; the ratio is to the faster one.

GFLOP/s count the operations in the definition of a convolution. The percentage beside them is their share of NumPy's
speed for products of large matrices, measured in the same run. It can exceed 100 %, since some algorithms multiply less
than the definition. The last line of each network is the sum over a training step: each kernel counts as often as the
step calls it.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import threadpoolctl
from harness import at_least, describe, in_turns, machine, write

from minires import kernels, models, tensor
from minires.blas import single_threaded_blas
from minires.geometry import Geometry
from minires.kernels import fast
from minires.threads import set_num_threads

try:
    import torch
except ImportError:
    sys.exit("bench_kernels.py compares with PyTorch, which is not installed: make parity")

CALLS = 3  # timed calls in a turn
NETWORKS = {  # images (N, C, H, W)
    "resnet20": (128, 3, 32, 32),
    "resnet56": (128, 3, 32, 32),
    "resnet18": (16, 3, 224, 224),
    "resnet50": (8, 3, 224, 224),
}


class Conv(NamedTuple):
    """A convolution of (N, C, H, H) with K filters of size × size."""

    N: int
    C: int
    H: int
    K: int
    size: int
    stride: int

    @property
    def flops(self) -> float:
        """The operations for the output, or for one of the gradients: 2 for each product of the definition."""
        P = (self.H - 1) // self.stride + 1
        return 2.0 * self.N * self.K * P * P * self.C * self.size**2


class Norm(NamedTuple):
    """A batch norm of (N, C, H, H), with or without a shortcut, with or without ReLU."""

    N: int
    C: int
    H: int
    shortcut: bool
    relu: bool


class Pool(NamedTuple):
    """A 3×3 max pooling with stride 2 of (N, C, H, H)."""

    N: int
    C: int
    H: int


Case = Conv | Norm | Pool
Pair = tuple[Callable[[], object], Callable[[], object]]  # forward, backward


class Seen(kernels.KernelSet):
    """The fast kernels, counting each case of theirs; the cases are recorded for N images."""

    def __init__(self, N: int) -> None:
        super().__init__("fast")
        self.N, self.cases = N, Counter[Case]()

    def wrapped(self, kernel: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function with its calls counted."""

        def counted(*arguments: Any, **options: Any) -> Any:
            case = self._case(kernel, arguments)
            if case is not None:
                self.cases[case] += 1
            return function(*arguments, **options)

        return counted

    def _case(self, kernel: str, arguments: tuple[Any, ...]) -> Case | None:
        _, C, H, _ = arguments[0].shape if np.ndim(arguments[0]) == 4 else (0,) * 4
        if kernel in ("conv2d", "conv2d_act"):
            w, geometry = arguments[1], arguments[-1]
            return Conv(self.N, C, H, w.shape[0], w.shape[2], geometry.stride[0])
        if kernel == "batch_norm_act":
            return Norm(self.N, C, H, arguments[3] is not None, arguments[4])
        return Pool(self.N, C, H) if kernel.startswith("max_pool2d") else None


def cases_of(network: str) -> Counter[Case]:
    """Return the cases of a forward pass in training mode, and how often each is called."""
    N, *image = NETWORKS[network]
    seen = Seen(N)
    with kernels.using(seen):
        getattr(models, network)()(tensor(np.zeros((2, *image), np.float32)))
    return seen.cases


def matrix_speed(threads: int) -> float:
    """Return the GFLOP/s of NumPy's product of large matrices with ``threads`` BLAS threads, the best of several."""
    a, n = np.ones((2048, 2048), np.float32), 2048
    with threadpoolctl.threadpool_limits(threads, user_api="blas"):
        (times,) = in_turns([lambda: a @ a], 5, CALLS)
    return 2e-6 * n**3 / min(times)


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
    wants = (case.C > 3, True)  # the gradient of the images is not needed
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
    y, mean, _, inv_std = fast.batch_norm_act(x, gamma, beta, addend, case.relu, 1e-5)

    def backward() -> object:
        return fast.batch_norm_act_grads(gy, y, x, gamma, mean, inv_std, case.relu, case.shortcut)

    pairs: list[Pair] = [(lambda: fast.batch_norm_act(x, gamma, beta, addend, case.relu, 1e-5), backward)]
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
        z = z.add_(shortcut) if case.shortcut else z
        return torch.relu_(z) if case.relu else z

    def backward() -> object:
        gz = torch.ops.aten.threshold_backward(gy, y, 0) if case.relu else gy
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
    """End the program if results differ from PyTorch's by more than the rounding of float32."""
    for step in (0, 1):
        ours, *theirs = (pair[step]() for pair in pairs)
        ours = ours[0] if isinstance(ours, tuple) else ours
        for result in theirs:
            expected = (result[0] if isinstance(result, tuple) else result).numpy()
            error = float(np.abs(ours - expected).max() / np.abs(expected).max())
            if not error < 1e-4:
                sys.exit(f"{case}: {('forward', 'backward')[step]} differs from PyTorch by {error:.1e}")


def run(network: str, rounds: int, peak: float) -> list[dict[str, Any]]:
    """Measure and print all cases of a network; return the rows for the record."""
    rng = np.random.default_rng(0)
    print(
        f"{network}: forward and backward in ms, minires, torch NCHW, torch channels_last, ratio to the best torch; "
        "of minires' convolutions GFLOP/s and share of NumPy's matrix product"
    )
    totals, rows = np.zeros((2, 3)), []
    for case, count in cases_of(network).items():
        pairs = pairs_of(case, rng)
        verify(case, pairs)
        columns, row = [], {"case": type(case).__name__, **case._asdict(), "count": count}
        for step, name in enumerate(("forward", "backward")):
            with single_threaded_blas():
                records = in_turns([pair[step] for pair in pairs], rounds, CALLS)
            times = [statistics.median(record) for record in records]
            totals[step] += count * np.array(times)
            row[name] = dict(zip(("minires", "torch NCHW", "torch channels_last"), times, strict=True))
            text = "  ".join(f"{t:7.2f}" for t in times) + f"  {times[0] / min(times[1:]):5.2f}"
            if isinstance(case, Conv):
                results = 1 if step == 0 or case.C == 3 else 2  # the gradient of the images is not needed
                row[name]["gflops"] = speed = 1e-6 * results * case.flops / times[0]
                text += f"  {speed:4.0f} {speed / peak:5.0%}"
            columns.append(text)
        rows.append(row)
        title = f"{type(case).__name__.lower()} {'x'.join(str(int(v)) for v in case)}"
        print(f"{title:26} {count:2} ×  | {columns[0]:49} | {columns[1]}", flush=True)
    both = totals.sum(0)
    print(
        f"{network}, one training step's kernels: {both[0]:.0f}, {both[1]:.0f}, {both[2]:.0f} ms, "
        f"ratio {both[0] / both[1:].min():.2f}\n"
    )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--threads", type=at_least(1), default=2)
    parser.add_argument("--rounds", type=at_least(3), default=5)
    parser.add_argument("--record", action="store_true", help="write a JSON file to benchmarks/records/")
    options = parser.parse_args()
    set_num_threads(options.threads)
    torch.set_num_threads(options.threads)
    described = machine(options.threads)
    describe(described)
    peak = matrix_speed(options.threads)
    print(f"NumPy's product of large matrices: {peak:.0f} GFLOP/s\n")
    results = {network: run(network, options.rounds, peak) for network in options.models}
    if options.record:
        write("kernels", described, results, rounds=options.rounds, matrix_gflops=peak)


if __name__ == "__main__":
    main()
