"""One step of an optimizer for all parameters at once, shared out among the threads.

Most parameters are small, and a call for each would take longer than its arithmetic; a few hold most of the
numbers. So each is cut into blocks, and neighbours are put together until they are a job's worth. What stands
between two steps of a formula is kept for a block, and so stays in the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from minires.device import Array
from minires.kernels.checks import check_count, check_momentum, check_step
from minires.kernels.fast.elementwise import stretches
from minires.kernels.fast.layout import blocks, even
from minires.scratch import scratch
from minires.threads import parallel

_BLOCK = 1 << 17  # numbers that are updated together
_JOB = 1 << 19  # numbers of a job, where there are that many
_HALVES = 1 << 19  # numbers from which there are two jobs at least: below, it is Python that takes the time


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

    Identity that tests it: equal to the reference, exactly.
    """
    check_momentum(momentum, velocities)
    kept = [] if velocities is None else [velocities]
    check_step(ps, gs, *kept)
    lr, momentum, others, weight_decay = float(lr), float(momentum), 1 - float(dampening), float(weight_decay)

    def update(p: Array, g: Array, v: Array | None = None) -> None:
        rest = scratch("step rest", p.shape, p.dtype)
        d = g
        if weight_decay:
            d = np.multiply(p, weight_decay, out=scratch("step direction", p.shape, p.dtype))
            np.add(g, d, out=d)  # (1)
        if momentum and v is not None:
            if first:
                np.copyto(v, d)  # (2)
            else:
                np.multiply(v, momentum, out=v)
                np.add(v, d if others == 1 else np.multiply(d, others, out=rest), out=v)
            d = np.add(d, np.multiply(v, momentum, out=rest), out=rest) if nesterov else v  # (3)
        np.subtract(p, np.multiply(d, lr, out=rest), out=p)  # (4)

    _for_each(update, ps, gs, *kept)


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

    Identity that tests it: equal to the reference, exactly.
    """
    check_step(ps, gs, ms, vs)
    check_count(step)
    lr, beta1, beta2, weight_decay = float(lr), float(beta1), float(beta2), float(weight_decay)

    def update(p: Array, g: Array, m: Array, v: Array) -> None:
        rest = scratch("step rest", p.shape, p.dtype)
        if weight_decay and decoupled:
            np.multiply(p, 1 - lr * weight_decay, out=p)  # (1)
        elif weight_decay:
            decayed = np.multiply(p, weight_decay, out=scratch("step direction", p.shape, p.dtype))
            g = np.add(g, decayed, out=decayed)
        np.multiply(np.subtract(g, m, out=rest), 1 - beta1, out=rest)
        np.add(m, rest, out=m)  # (2)
        np.multiply(v, beta2, out=v)
        np.multiply(np.multiply(g, 1 - beta2, out=rest), g, out=rest)
        np.add(v, rest, out=v)  # (3)
        scale = np.sqrt(v, out=scratch("step scale", p.shape, p.dtype))
        np.divide(scale, (1 - beta2**step) ** 0.5, out=scale)
        np.add(scale, float(eps), out=scale)
        np.divide(np.multiply(m, lr / (1 - beta1**step), out=rest), scale, out=rest)
        np.subtract(p, rest, out=p)  # (4)

    _for_each(update, ps, gs, ms, vs)


def _for_each(update: Callable[..., None], *arrays: Sequence[Array]) -> None:
    """``update(p, g, …)`` for blocks of all parameters and what is beside them."""
    count = sum(p.size for p in arrays[0])
    least = 2 if count >= _HALVES else 1
    jobs = _together(_blocks(*arrays), count / max(least, even(-(-count // _JOB))))

    def run(job: list[tuple[Array, ...]]) -> None:
        for block in job:
            update(*block)

    parallel(run, jobs)


def _blocks(*arrays: Sequence[Array]) -> Iterator[tuple[Array, ...]]:
    """Each parameter and what is beside it in blocks; whole, where they lie in memory in several orders."""
    for alike in zip(*arrays, strict=True):
        vectors = stretches(*alike)
        if vectors is None:
            yield alike
        else:
            yield from (tuple(vector[part] for vector in vectors) for part in blocks(vectors[0].size, _BLOCK))


def _together(parts: Iterator[tuple[Array, ...]], size: float) -> list[list[tuple[Array, ...]]]:
    """Neighbours together in jobs of about ``size`` numbers: in one where their middles fall into the same stretch."""
    jobs: dict[int, list[tuple[Array, ...]]] = {}
    numbers = 0
    for part in parts:
        jobs.setdefault(int((numbers + part[0].size / 2) // max(size, 1)), []).append(part)
        numbers += part[0].size
    return list(jobs.values())
