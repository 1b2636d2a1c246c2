"""Kernels over the elements of many arrays: one launch for eighty parameters and what is beside them.

A launch is given a table of where the arrays lie, by value, and each block of threads takes a chunk of one parameter:
nothing is copied together, and no table has to reach the GPU first.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from minires.device import Array, is_array, is_dense, xp_of
from minires.kernels.cuda.raw import address, launch

_MOST = 80  # parameters of one launch, whose arguments may take 4096 bytes
_CHUNK = 4096  # numbers of one block of threads
_ARRAYS = 4  # of a parameter, at most
_TABLE = np.dtype(
    [("arrays", "u8", (_ARRAYS, _MOST)), ("sizes", "i8", _MOST), ("blocks", "i4", _MOST), ("count", "i4")], align=True
)


def for_each(
    name: str,
    code: str,
    pointers: Sequence[str],
    lists: Sequence[Sequence[Array]],
    parameters: Sequence[str] = (),
    numbers: Sequence[Any] = (),
) -> None:
    """Run ``code`` for each place i of all arrays.

    Parameters
    ----------
    name : of the kernel
    code, pointers, parameters : what is done at place i, in which the lists have the names of ``pointers``, such as
        "T *ps", and the ``numbers`` those of ``parameters``; T is the dtype of the first list's arrays
    lists : arrays, whose shapes and dtypes are checked; where those of a parameter do not lie alike in memory, copies
        take part, and are copied back but for pointers to ``const``
    numbers : NumPy scalars or arrays
    """
    members = [arrays for arrays in zip(*lists, strict=True) if arrays[0].size]
    alike = [_alike(arrays) for arrays in members]
    source = _source(name, code, tuple(pointers), tuple(parameters))
    for batch in _batches(alike):
        table, blocks = _table(batch)
        launch(source, name, batch[0][0].dtype, (blocks,), (table, *numbers))
    for arrays, copies in zip(members, alike, strict=True):
        for array, copy, pointer in zip(arrays, copies, pointers, strict=True):
            if copy is not array and not pointer.startswith("const"):
                array[...] = copy


def _alike(arrays: tuple[Array, ...]) -> tuple[Array, ...]:
    """The arrays, and copies of those that do not lie as the first, or that as they lie are no stretch of memory."""
    first = arrays[0]
    like = first if is_dense(first) else xp_of(first).empty_like(first)

    def placed(array: Array) -> Array:
        if is_array(array) and _order(array) == _order(like):
            return array
        copy: Array = xp_of(like).empty_like(like, dtype=array.dtype)
        copy[...] = array  # maybe a number from the host, where a gradient has no axes
        return copy

    return tuple(map(placed, arrays))


def _order(array: Array) -> list[int]:
    """The strides, in elements."""
    return [stride // array.itemsize for stride in array.strides]


def _batches(members: list[tuple[Array, ...]]) -> Iterator[list[tuple[Array, ...]]]:
    return (members[start : start + _MOST] for start in range(0, len(members), _MOST))


def _table(members: list[tuple[Array, ...]]) -> tuple[Any, int]:
    """What a launch is told of some parameters, and how many blocks it needs."""
    table = np.zeros((), _TABLE)
    for place, arrays in enumerate(members):
        table["arrays"][: len(arrays), place] = [address(array) for array in arrays]
    sizes = [arrays[0].size for arrays in members]
    ends = list(itertools.accumulate(-(-size // _CHUNK) for size in sizes))
    table["sizes"][: len(sizes)], table["blocks"][: len(ends)], table["count"] = sizes, ends, len(members)
    return table, ends[-1]


# ``blocks`` tells behind which block each parameter ends.
_SOURCE = f"""
struct Table {{
    void *arrays[{_ARRAYS}][{_MOST}];
    long long sizes[{_MOST}];
    int blocks[{_MOST}], count;
}};

extern "C" __global__ void NAME(PARAMETERS) {{
    int place = 0;
    while (blockIdx.x >= table.blocks[place]) place++;
    const long long size = table.sizes[place];
    const long long start = (long long)(blockIdx.x - (place ? table.blocks[place - 1] : 0)) * {_CHUNK};
    const long long stop = start + {_CHUNK} < size ? start + {_CHUNK} : size;
    POINTERS
    for (long long i = start + threadIdx.x; i < stop; i += THREADS) {{
        CODE
    }}
}}
"""


@functools.cache
def _source(name: str, code: str, pointers: tuple[str, ...], parameters: tuple[str, ...]) -> str:
    declared = (
        f"{pointer} = ({pointer.rpartition('*')[0]}*)table.arrays[{row}][place];"
        for row, pointer in enumerate(pointers)
    )
    source = _SOURCE.replace("NAME", name).replace("PARAMETERS", ", ".join(["const Table table", *parameters]))
    return source.replace("POINTERS", "\n    ".join(declared)).replace("CODE", code)
