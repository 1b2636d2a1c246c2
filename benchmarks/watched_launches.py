"""Record each launch of a program with the size of its largest array, to find reductions by few blocks.

The device knows a launch's grid, but only the addresses of its arrays. CuPy knows the arrays: it passes them to a
`cupy.cuda.function.Function`, for its own operations and for those of kernels/cuda. Here a subclass replaces this
class.

Two kinds of launches are not judged. Launches for a list of arrays have the addresses in a table
(kernels/cuda/many_arrays.py); each of their blocks computes 4096 elements independently. And matrix products are
cuBLAS's, whose real grid is not known; so a weight gradient, which sums over many pixels, is not judged.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from minires import cupy_on_cpu

LARGE = 10**5  # elements: from this size on, an array is large
LEAST_BLOCKS = 64  # for the reduction of a large array


class Started(NamedTuple):
    """A launch, and the number of elements of its largest array argument."""

    launch: cupy_on_cpu.Launch
    numbers: int


def watch(device: cupy_on_cpu.NullDevice) -> list[Started]:
    """Return a list to which each later launch is added. Call it before CuPy loads a kernel: CuPy keeps them."""
    import cupy
    from cupy.cuda import compiler, function

    started: list[Started] = []

    def note(start: Callable[[], object], arguments: Iterable[Any]) -> None:
        with device.recording() as record:
            start()
        numbers = max((a.size for a in arguments if isinstance(a, cupy.ndarray)), default=0)
        started.extend(Started(launch, numbers) for launch in record.launches)

    class Function(function.Function):  # type: ignore[misc]
        def __call__(self, grid: Any, block: Any, arguments: Any, *how: Any, **options: Any) -> None:
            note(lambda: function.Function.__call__(self, grid, block, arguments, *how, **options), arguments)

        def linear_launch(self, size: int, arguments: Any, *how: Any, **options: Any) -> None:
            note(lambda: function.Function.linear_launch(self, size, arguments, *how, **options), arguments)

    class Module(function.Module):  # type: ignore[misc]
        def get_function(self, name: str) -> Function:
            return Function(self, name)

    compiler.function = types.SimpleNamespace(**{**vars(function), "Module": Module})
    return started


def need_all(started: Sequence[Started], record: cupy_on_cpu.Record) -> None:
    """Raise RuntimeError unless ``started`` has all launches of the record, except cuBLAS's."""
    known = [launch for launch in record.launches if not launch.kernel.startswith("cublas")]
    if [launch for launch, _ in started] != known:
        raise RuntimeError(f"the arrays of {len(started)} launches were seen, and {len(known)} kernels were started")


def too_few_blocks(started: Iterable[Started]) -> list[Started]:
    """Return the launches with few blocks and a large array.

    A launch with one thread for each of 10⁵ elements has at least 98 blocks, since a block has at most 1024 threads. A
    launch with fewer blocks reduces the array, uses only a few of its elements, or gives many to each thread. These
    cases cannot be told apart.
    """
    return [found for found in started if found.numbers >= LARGE and found.launch.blocks < LEAST_BLOCKS]
