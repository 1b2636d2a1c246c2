"""The launches of a program, each with the size of its largest array: so reductions by few blocks are found.

The device knows a launch's grid, and its arrays by their addresses alone. CuPy knows the arrays: it hands them to a
`cupy.cuda.function.Function`, be the kernel one of its own operations or one of kernels/cuda, and a subclass takes
that one's place here.

Two things are not seen. Launches for a list of arrays have their addresses in a table (kernels/cuda/many_arrays.py); a
block of theirs takes 4096 numbers, each for itself. And products are cuBLAS's: the grid that the device writes down
for them is a guess, so nothing is said of them, although a convolution's weight gradient sums over many pixels.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from minires import cupy_on_cpu

LARGE = 10**5  # numbers in an array, from which on its reduction has to start so many blocks:
LEAST_BLOCKS = 64


class Started(NamedTuple):
    """A launch, and how many numbers the largest array has that it was given."""

    launch: cupy_on_cpu.Launch
    numbers: int


def watch(device: cupy_on_cpu.NullDevice) -> list[Started]:
    """The launches from now on, a list that grows; before CuPy loads a kernel, as it keeps those that it has loaded."""
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
    """Raise RuntimeError unless ``started`` has all launches of the record that are not cuBLAS's."""
    known = [launch for launch in record.launches if not launch.kernel.startswith("cublas")]
    if [launch for launch, _ in started] != known:
        raise RuntimeError(f"the arrays of {len(started)} launches were seen, and {len(known)} kernels were started")


def too_few_blocks(started: Iterable[Started]) -> list[Started]:
    """The launches with few blocks and a large array.

    With a thread for each of so many numbers, a launch has 98 blocks or more, of 1024 threads at most. One with fewer
    reduces the array, or it picks a few of its numbers or has many for each thread, which is not told apart.
    """
    return [found for found in started if found.numbers >= LARGE and found.launch.blocks < LEAST_BLOCKS]
