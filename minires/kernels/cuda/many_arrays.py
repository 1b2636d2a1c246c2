"""Kernels over the elements of many arrays: one launch for up to eighty parameters and the arrays beside them.

A launch takes a table of the arrays' addresses by value, and each block of threads takes a chunk of one parameter. So
no array is copied, and the table need not be sent to the GPU first.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from minires.device import Array, is_array, is_dense, xp_of
from minires.kernels.cuda.raw import address, launch

_MOST = 80  # parameters in one launch, whose arguments may take 4096 bytes
_CHUNK = 4096  # elements of one block of threads
_ARRAYS = 4  # the most arrays for one parameter
_TABLE = np.dtype(
    [("arrays", "u8", (_ARRAYS, _MOST)), ("sizes", "i8", _MOST), ("blocks", "i4", _MOST), ("count", "i4")], align=True
)


def for_each_element(
    name: str,
    code: str,
    pointers: Sequence[str],
    lists: Sequence[Sequence[Array]],
    parameters: Sequence[str] = (),
    scalars: Sequence[Any] = (),
) -> None:
    """Run ``code`` for each element i of all arrays.

    Parameters
    ----------
    name : the name of the kernel
    code : what to do with element i; T is the dtype of the first list's arrays
    pointers : declarations of the lists in ``code``, such as "T *ps"
    lists : arrays whose shapes and dtypes agree. If the arrays of a parameter differ in memory layout, the kernel works
        on copies, which are then copied back unless their pointer is to ``const``
    parameters : declarations of the scalars in ``code``, such as "Wide factor"
    scalars : NumPy scalars or arrays
    """
    members = [arrays for arrays in zip(*lists, strict=True) if arrays[0].size]
    alike = [_alike(arrays) for arrays in members]
    source = _source(name, code, tuple(pointers), tuple(parameters))
    for batch in _batches(alike):
        table, blocks = _table(batch)
        launch(source, name, batch[0][0].dtype, (blocks,), (table, *scalars))
    for arrays, copies in zip(members, alike, strict=True):
        for array, copy, pointer in zip(arrays, copies, pointers, strict=True):
            if copy is not array and not pointer.startswith("const"):
                array[...] = copy


def _alike(arrays: tuple[Array, ...]) -> tuple[Array, ...]:
    """Return the arrays, with copies of those whose layout differs from the first; all are dense."""
    first = arrays[0]
    like = first if is_dense(first) else xp_of(first).empty_like(first)

    def like_first(array: Array) -> Array:
        if is_array(array) and _order(array) == _order(like):
            return array
        copy: Array = xp_of(like).empty_like(like, dtype=array.dtype)
        copy[...] = array  # a gradient without axes may be a scalar on the host
        return copy

    return tuple(map(like_first, arrays))


def _order(array: Array) -> list[int]:
    """Return the strides, in elements."""
    return [stride // array.itemsize for stride in array.strides]


def _batches(members: list[tuple[Array, ...]]) -> Iterator[list[tuple[Array, ...]]]:
    return (members[start : start + _MOST] for start in range(0, len(members), _MOST))


def _table(members: list[tuple[Array, ...]]) -> tuple[Any, int]:
    """Return the table of a launch for some parameters, and its number of blocks."""
    table = np.zeros((), _TABLE)
    for index, arrays in enumerate(members):
        table["arrays"][: len(arrays), index] = [address(array) for array in arrays]
    sizes = [arrays[0].size for arrays in members]
    ends = list(itertools.accumulate(-(-size // _CHUNK) for size in sizes))
    table["sizes"][: len(sizes)], table["blocks"][: len(ends)], table["count"] = sizes, ends, len(members)
    return table, ends[-1]


# ``blocks`` holds the end of each parameter, counted in blocks of threads.
_SOURCE = f"""
struct Table {{
    void *arrays[{_ARRAYS}][{_MOST}];
    long long sizes[{_MOST}];
    int blocks[{_MOST}], count;
}};

extern "C" __global__ void NAME(PARAMETERS) {{
    int index = 0;
    while (blockIdx.x >= table.blocks[index]) index++;
    const long long size = table.sizes[index];
    const long long start = (long long)(blockIdx.x - (index ? table.blocks[index - 1] : 0)) * {_CHUNK};
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
        f"{pointer} = ({pointer.rpartition('*')[0]}*)table.arrays[{row}][index];"
        for row, pointer in enumerate(pointers)
    )
    source = _SOURCE.replace("NAME", name).replace("PARAMETERS", ", ".join(["const Table table", *parameters]))
    return source.replace("POINTERS", "\n    ".join(declared)).replace("CODE", code)
