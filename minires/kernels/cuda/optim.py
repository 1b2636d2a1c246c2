"""One step of an optimizer for all parameters on a GPU, in place: one launch for eighty of them.

A launch is given a table of where the parameters, gradients and what is kept lie, by value, and each block of
threads takes a chunk of one parameter: nothing is copied together, and no table has to reach the GPU first.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from minires.device import Array, is_array, is_dense, xp_of
from minires.kernels.checks import check_count, check_momentum, check_step
from minires.kernels.cuda.raw import launch

_MOST = 80  # parameters of one launch, whose arguments may take 4096 bytes
_CHUNK = 4096  # numbers of one block of threads
_ARRAYS = 4  # p, g and two that are kept
_GRADIENT = 1  # the one of them that is not changed
_TABLE = np.dtype(
    [("arrays", "u8", (_ARRAYS, _MOST)), ("sizes", "i8", _MOST), ("blocks", "i4", _MOST), ("count", "i4")], align=True
)


def sgd_(
    ps: Sequence[Array],
    gs: Sequence[Array],
    velocities: Sequence[Array] | None,
    lr: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    first: bool = False,
) -> None:
    """One step of stochastic gradient descent: `minires.kernels.reference.sgd_`.

    Parameters
    ----------
    ps, gs, velocities, lr, momentum, dampening, weight_decay, nesterov, first : as the reference's

    Raises
    ------
    ShapeError, DtypeError : as the reference does.

    Identity that tests it: equal to the reference, within rounding.
    """
    check_momentum(momentum, velocities)
    kept = [velocities] if velocities is not None and momentum else []
    check_step(ps, gs, *([] if velocities is None else [velocities]))
    code = _sgd(bool(momentum), bool(weight_decay), nesterov, first)
    _update(code, (lr, momentum, 1 - dampening, weight_decay), ps, gs, *kept)


def adam_(
    ps: Sequence[Array],
    gs: Sequence[Array],
    ms: Sequence[Array],
    vs: Sequence[Array],
    step: int,
    lr: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled: bool = False,
) -> None:
    """One step of Adam or AdamW: `minires.kernels.reference.adam_`.

    Parameters
    ----------
    ps, gs, ms, vs, step, lr, beta1, beta2, eps, weight_decay, decoupled : as the reference's

    Raises
    ------
    ShapeError, DtypeError : as the reference does.

    Identity that tests it: equal to the reference, within rounding.
    """
    check_step(ps, gs, ms, vs)
    check_count(step)
    shrink = 1 - lr * weight_decay if decoupled else 1.0
    decay = 0.0 if decoupled else weight_decay
    rates = lr / (1 - beta1**step), 1 / (1 - beta2**step) ** 0.5
    numbers = *rates, 1 - beta1, beta2, 1 - beta2, eps, shrink, decay
    _update(_adam(bool(decay), shrink != 1), numbers, ps, gs, ms, vs)


def _update(code: str, numbers: tuple[float, ...], ps: Sequence[Array], *others: Sequence[Array]) -> None:
    """Run ``code`` for each number of all parameters."""
    given = [arrays for arrays in zip(ps, *others, strict=True) if arrays[0].size]
    members = [_alike(arrays) for arrays in given]
    for batch in _batches(members):
        p = batch[0][0]
        table, blocks = _table(batch)
        launch(_source(code, len(numbers)), "update", p.dtype, (blocks,), (table, *(p.dtype.type(n) for n in numbers)))
    for arrays, alike in zip(given, members, strict=True):
        for place, (array, copy) in enumerate(zip(arrays, alike, strict=True)):
            if array is not copy and place != _GRADIENT:
                array[...] = copy


def _alike(arrays: tuple[Array, ...]) -> tuple[Array, ...]:
    """The arrays of a parameter, and copies of those that do not lie as it does; it is a stretch of memory."""
    like = arrays[0] if is_dense(arrays[0]) else xp_of(arrays[0]).empty_like(arrays[0])

    def placed(array: Array) -> Array:
        if is_array(array) and array.strides == like.strides:
            return array
        copy: Array = xp_of(like).empty_like(like)
        copy[...] = array  # a number from the host, where it is a gradient without axes
        return copy

    return tuple(map(placed, arrays))


def _batches(members: list[tuple[Array, ...]]) -> Iterator[list[tuple[Array, ...]]]:
    return (members[start : start + _MOST] for start in range(0, len(members), _MOST))


def _table(members: list[tuple[Array, ...]]) -> tuple[Any, int]:
    """What a launch is told of some parameters, and how many blocks it needs."""
    table = np.zeros((), _TABLE)
    for place, arrays in enumerate(members):
        table["arrays"][: len(arrays), place] = [_address(array) for array in arrays]
    sizes = [arrays[0].size for arrays in members]
    ends = list(itertools.accumulate(-(-size // _CHUNK) for size in sizes))
    table["sizes"][: len(sizes)], table["blocks"][: len(ends)], table["count"] = sizes, ends, len(members)
    return table, ends[-1]


def _address(array: Any) -> int:
    return array.data.ptr  # type: ignore[no-any-return]


# --- Kernels -------------------------------------------------------------------------------------------------

# ``blocks`` tells behind which block each parameter ends; what a parameter does not have is not looked at.
_SOURCE = f"""
struct Table {{
    T *arrays[{_ARRAYS}][{_MOST}];
    long long sizes[{_MOST}];
    int blocks[{_MOST}], count;
}};

extern "C" __global__ void update(const Table table, NUMBERS) {{
    int place = 0;
    while (blockIdx.x >= table.blocks[place]) place++;
    const long long size = table.sizes[place];
    const long long start = (long long)(blockIdx.x - (place ? table.blocks[place - 1] : 0)) * {_CHUNK};
    const long long stop = start + {_CHUNK} < size ? start + {_CHUNK} : size;
    T *ps = table.arrays[0][place], *ms = table.arrays[2][place], *vs = table.arrays[3][place];
    const T *gs = table.arrays[1][place];
    for (long long i = start + threadIdx.x; i < stop; i += THREADS) {{
        T d = gs[i], p = ps[i];
        CODE
        ps[i] = p;
    }}
}}
"""


@functools.cache
def _source(code: str, count: int) -> str:
    names = ", ".join(f"T n{number}" for number in range(count))
    return _SOURCE.replace("NUMBERS", names).replace("CODE", code)


@functools.cache
def _sgd(momentum: bool, decay: bool, nesterov: bool, first: bool) -> str:
    """p of d, the gradient; n0 to n3 are lr, momentum, 1 − dampening and weight_decay, and ms the velocities."""
    code = "d += n3 * p;" if decay else ""
    if momentum:
        code += "T v = d;" if first else "T v = n1 * ms[i] + n2 * d;"
        code += "ms[i] = v;" + ("d += n1 * v;" if nesterov else "d = v;")
    return code + "p -= n0 * d;"


@functools.cache
def _adam(decay: bool, shrinks: bool) -> str:
    """p of d; n0 … n7 are lr / (1 − beta1^t), (1 − beta2^t)^−½, 1 − beta1, beta2, 1 − beta2, eps, shrink and decay."""
    code = "p *= n6;" * shrinks + "d += n7 * p;" * decay
    code += "T m = ms[i] + n2 * (d - ms[i]), v = n3 * vs[i] + n4 * d * d;"
    return code + "ms[i] = m; vs[i] = v; p -= n0 * m / (sqrt(v) * n1 + n5);"
