"""Count what each kernel reads, writes and multiplies, and compute the least time that a GPU needs for that.

It is an estimate for kernels that compute by their definition. Other convolution algorithms multiply less, and data
that is still in a cache takes less time to read.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from minires import kernels
from minires.device import device_of, is_array, xp_of

BANDWIDTH = 3.35e12  # bytes per second of an H100's memory
PEAK = 67e12  # float32 operations per second of an H100 outside its tensor cores
CONVOLUTIONS = ("conv2d", "conv2d_act", "conv2d_grads", "conv2d_input_grad")


class Counting(kernels.KernelSet):
    """The CUDA kernels; ``rows`` counts for each kernel what its calls read, write and multiply."""

    def __init__(self) -> None:
        super().__init__("cuda")
        self.rows: dict[str, dict[str, int]] = defaultdict(lambda: {"calls": 0, "bytes": 0, "operations": 0})

    def wrapped(self, kernel: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function with its calls counted."""
        signature = inspect.signature(function)

        @functools.wraps(function)
        def counted(*arguments: Any, **options: Any) -> Any:
            result = function(*arguments, **options)
            given = signature.bind(*arguments, **options)
            given.apply_defaults()
            row = self.rows[kernel]
            row["calls"] += 1
            row["bytes"] += traffic(kernel, given.arguments, result)
            row["operations"] += 2 * multiplications(kernel, given.arguments, result)
            return result

        return counted


def traffic(kernel: str, given: Mapping[str, Any], result: Any) -> int:
    """Return the bytes of a call: each array argument is read once, and each new array is written once.

    A kernel whose name ends in an underscore writes into all its arguments except the second. A result that shares
    memory with an argument is a view and is not written. A kernel that only returns views does not read its arguments.
    """
    values = list(given.values())
    read = list(arrays_in(values))
    results = list(arrays_in(result))
    made = [array for array in results if not any(xp_of(array).may_share_memory(array, other) for other in read)]
    if kernel.endswith("_"):
        made += arrays_in((values[0], *values[2:]))
    elif results and not made:
        return 0
    return sum(array.nbytes for array in (*read, *made))


def arrays_in(value: Any) -> Iterator[Any]:
    """Yield the arrays on a GPU in nested tuples and lists."""
    if isinstance(value, tuple | list):
        for item in value:
            yield from arrays_in(item)
    elif is_array(value) and device_of(value) != "cpu":
        yield value


def multiplications(kernel: str, given: Mapping[str, Any], result: Any) -> int:
    """Return the number of multiplications in a call's matrix products, by the definition; 0 for other kernels.

    Each element of the output takes one multiplication for each term of its sum. Each wanted gradient takes as many as
    the output.
    """
    if kernel in CONVOLUTIONS:
        terms = math.prod(given["w"].shape[1:])
    elif kernel == "conv2d_weight_grad":
        terms = math.prod(result.shape[1:])
    elif kernel in ("linear", "linear_grads"):
        terms = given["weight"].shape[1]
    elif kernel == "matmul":
        terms = given["a"].shape[-1]
    else:
        return 0
    output = given.get("gy", result)
    return int(output.size * terms * sum(given.get("wants", (True,))))


def roofline(rows: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, Any]]:
    """Return the least seconds of each kernel, and which limit they come from, the longest first."""
    found = {}
    for kernel, row in rows.items():
        memory, arithmetic = row["bytes"] / BANDWIDTH, row["operations"] / PEAK
        bound = "memory" if memory >= arithmetic else "arithmetic"
        found[kernel] = {**row, "least_seconds": max(memory, arithmetic), "bound": bound}
    return dict(sorted(found.items(), key=lambda item: -item[1]["least_seconds"]))
