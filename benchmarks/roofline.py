"""What each kernel of a set reads, writes and multiplies in its calls, and how long a GPU takes for that at least.

It is an estimate, for kernels that compute by their definition. A convolution by another algorithm multiplies less,
and what lies in a cache from the kernel before takes less time to read.
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

BANDWIDTH = 3.35e12  # bytes in a second, of an H100's memory
PEAK = 67e12  # float32 operations in a second, an H100's outside its tensor cores
CONVOLUTIONS = ("conv2d", "conv2d_act", "conv2d_grads", "conv2d_input_grad")


class Counting(kernels.KernelSet):
    """The CUDA kernels, and for each what all its calls read, write and multiply."""

    def __init__(self) -> None:
        super().__init__("cuda")
        self.rows: dict[str, dict[str, int]] = defaultdict(lambda: {"calls": 0, "bytes": 0, "operations": 0})

    def wrapped(self, kernel: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, counted."""
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
    """The bytes of a call: of each array that it is given, read once, and of each that it makes, written once.

    An underscore at the end of its name says that a kernel writes into what it is given: into all but its second
    argument. A result in the memory of an argument is a view, or that argument: nobody writes it. Of whoever does no
    more than return such views, arguments are not read.
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
    """The arrays in tuples and lists that are not the host's."""
    if isinstance(value, tuple | list):
        for item in value:
            yield from arrays_in(item)
    elif is_array(value) and device_of(value) != "cpu":
        yield value


def multiplications(kernel: str, given: Mapping[str, Any], result: Any) -> int:
    """Of a call that multiplies matrices, by the definition, for all results that are wanted; 0 of other kernels.

    An element of the output takes one for each term of the sum that it is. Each gradient takes as many as the output.
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
    """The least seconds of each kernel, and what bounds it; the longest first."""
    found = {}
    for kernel, row in rows.items():
        memory, arithmetic = row["bytes"] / BANDWIDTH, row["operations"] / PEAK
        bound = "memory" if memory >= arithmetic else "arithmetic"
        found[kernel] = {**row, "least_seconds": max(memory, arithmetic), "bound": bound}
    return dict(sorted(found.items(), key=lambda item: -item[1]["least_seconds"]))
