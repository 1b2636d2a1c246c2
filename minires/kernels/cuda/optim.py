"""One step of an optimizer for all parameters on a GPU, in place: one launch for eighty of them.

A launch is given a table of where the parameters, gradients and what is kept lie, by value, and each block of
threads takes a chunk of one parameter: nothing is copied together, and no table has to reach the GPU first.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from minires.device import Array, is_array, is_dense
from minires.kernels import reference
from minires.kernels.checks import check_count, check_momentum, check_step
from minires.kernels.cuda.raw import launch, wide

_MOST = 80  # parameters of one launch, whose arguments may take 4096 bytes
_CHUNK = 4096  # numbers of one block of threads
_ARRAYS = 4  # p, g and two that are kept
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

    def one(p: Array, g: Array, *v: Array) -> None:
        reference.sgd_([p], [g], list(v) or None, lr, momentum, dampening, weight_decay, nesterov, first)

    code = _sgd(bool(momentum), bool(weight_decay), nesterov, first)
    _update(code, (lr, momentum, 1 - dampening, weight_decay), one, ps, gs, *kept)


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

    def one(p: Array, g: Array, m: Array, v: Array) -> None:
        reference.adam_([p], [g], [m], [v], step, lr, beta1, beta2, eps, weight_decay, decoupled)

    shrink = 1 - lr * weight_decay if decoupled else 1.0
    decay = 0.0 if decoupled else weight_decay
    rates = lr / (1 - beta1**step), 1 / (1 - beta2**step) ** 0.5
    numbers = *rates, 1 - beta1, beta2, 1 - beta2, eps, shrink, decay
    _update(_adam(bool(decay), shrink != 1), numbers, one, ps, gs, ms, vs)


def _update(
    code: str, numbers: tuple[float, ...], one: Callable[..., None], ps: Sequence[Array], *others: Sequence[Array]
) -> None:
    """Run ``code`` for each number of all parameters; ``one`` for a parameter whose arrays are not alike in memory."""
    members = list(zip(ps, *others, strict=True))
    for arrays in itertools.filterfalse(_alike, members):
        one(*arrays)
    for batch in _batches([arrays for arrays in members if arrays[0].size and _alike(arrays)]):
        dtype, (table, blocks) = batch[0][0].dtype, _table(batch)
        launch(_source(code, len(numbers)), "update", dtype, (blocks,), (table, *map(wide(dtype), numbers)))


def _alike(arrays: tuple[Array, ...]) -> bool:
    """Whether all are on the GPU (a number from the host may be a gradient), and lie in memory in one way."""
    p = arrays[0]
    return is_dense(p) and all(is_array(a) and a.strides == p.strides for a in arrays)


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
        Wide d = gs[i], p = ps[i];
        CODE
        ps[i] = p;
    }}
}}
"""


@functools.cache
def _source(code: str, count: int) -> str:
    names = ", ".join(f"Wide n{number}" for number in range(count))
    return _SOURCE.replace("NUMBERS", names).replace("CODE", code)


@functools.cache
def _sgd(momentum: bool, decay: bool, nesterov: bool, first: bool) -> str:
    """p of d, the gradient; n0 to n3 are lr, momentum, 1 − dampening and weight_decay, and ms the velocities."""
    code = "d += n3 * p;" if decay else ""
    if momentum:
        code += "Wide v = d;" if first else "Wide v = n1 * ms[i] + n2 * d;"
        code += "ms[i] = v;" + ("d += n1 * v;" if nesterov else "d = v;")
    return code + "p -= n0 * d;"


@functools.cache
def _adam(decay: bool, shrinks: bool) -> str:
    """p of d; n0 … n7 are lr / (1 − beta1^t), (1 − beta2^t)^−½, 1 − beta1, beta2, 1 − beta2, eps, shrink and decay."""
    code = "p *= n6;" * shrinks + "d += n7 * p;" * decay
    code += "Wide m = ms[i] + n2 * (d - ms[i]), v = n3 * vs[i] + n4 * d * d;"
    return code + "ms[i] = m; vs[i] = v; p -= n0 * m / (sqrt(v) * n1 + n5);"
